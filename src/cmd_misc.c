// SPDX-License-Identifier: Apache-2.0
/* features, spec, check: the verbs without a container. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "oci/fsutil.h"
#include "oci/spec.h"
#include "src/cli.h"
#include "util/cleanup.h"

static const struct opt no_opts[] = { OPT_END };

static int features(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	size_t len = 0;
	int r = features_json(PACKAGE_VERSION, &text, &len);

	(void)rt;
	(void)args;
	(void)n;
	if (!r && (fwrite(text, 1, len, stdout) != len || fflush(stdout)))
		r = -EIO;
	return r ? (err_sys(e, r, "features"), 1) : 0;
}

const struct cmd cmd_features = { "features", "", "Print what this runtime supports, as JSON", NULL,
	no_opts, 0, 0, features };

static const char *bundle;
static bool rootless;

static int spec(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	CLEAN_FD int dir = open(bundle ? bundle : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEAN_FD int fd = -1;
	size_t len = 0;
	int r;

	(void)rt;
	(void)args;
	(void)n;
	if (dir < 0)
		return err_sys(e, errno, "bundle \"%.150s\"", bundle ? bundle : "."), 1;
	r = spec_default(rootless, getuid(), getgid(), &text, &len);
	if (r)
		return err_sys(e, r, "spec"), 1;
	fd = openat(dir, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return err_sys(e, errno, "config.json"), 1;
	r = write_full(fd, text, len);
	return r ? (err_sys(e, r, "config.json"), 1) : 0;
}

static const struct opt spec_opts[] = {
	{ "bundle", 'b', OPT_STRING, "DIR", "where to write it (default: here)", &bundle },
	{ "rootless", 0, OPT_FLAG, NULL, "for an ordinary user: with a user namespace", &rootless },
	OPT_END,
};

const struct cmd cmd_spec = { "spec", "", "Write a config.json to start from",
	"It runs \"sh\" in the directory rootfs.", spec_opts, 0, 0, spec };

static bool json;

static int check(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	bool fit = false;

	(void)args;
	(void)n;
	return rt_check(rt, json, stdout, &fit, e) || !fit ? 1 : 0;
}

static const struct opt check_opts[] = {
	{ "json", 0, OPT_FLAG, NULL, "as JSON", &json },
	OPT_END,
};

const struct cmd cmd_check = { "check", "",
	"Tell whether this host can run containers in microVMs, and what to change",
	"One line per fact. The exit status is 0 when all is well. The verdict on KVM is kept until the next boot.",
	check_opts, 0, 0, check };
