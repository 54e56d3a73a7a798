// SPDX-License-Identifier: Apache-2.0
/* The process of an exec: from a --process file, or from the container's and the options. */
/*
 * How it works
 *
 * Nothing here looks at the host or the guest, so it can be tested by itself. What comes out is
 * what config.json's own process would be, and is digested for the guest by the same code. Strings
 * are borrowed; what has to be put together lies in the arena of *own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "oci/apparmor.h"
#include "oci/arena.h"
#include "oci/caps.h"
#include "oci/exec.h"
#include "oci/json_text.h"
#include "oci/spec_limits.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"
#include "util/util.h"

/* Of a file, a pipe or a process substitution. */
static int read_process_file(const char *path, char **out, size_t *len, struct error *e)
{
	CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	CLEAN_FREE char *buf = malloc(SPEC_LIM_FILE + 1);
	size_t n = 0;

	if (fd < 0)
		return err_sys(e, errno, "--process \"%.150s\"", path);
	while (buf && n <= SPEC_LIM_FILE) {
		ssize_t r = read(fd, buf + n, SPEC_LIM_FILE + 1 - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, errno, "--process \"%.150s\"", path);
		if (!r)
			break;
		n += (size_t)r;
	}
	if (!buf)
		return err_sys(e, ENOMEM, "--process");
	if (n > SPEC_LIM_FILE)
		return err_set(e, E2BIG, "--process \"%.150s\": larger than %u bytes", path,
			SPEC_LIM_FILE);
	*out = TAKE_PTR(buf);
	*len = n;
	return 0;
}

/* The tables speak of config.json, which this is not. */
static int pass_refusal(const struct error *why, struct error *e)
{
	static const char prefix[] = "config.json: ";
	const char *text = why->msg;

	if (!strncmp(text, prefix, sizeof(prefix) - 1))
		text += sizeof(prefix) - 1;
	return err_set(e, why->code, "%s", text);
}

/* It is the VMM that is in a profile: one process of its guest cannot be in another. */
static int check_profile(const struct spec *s, const char *what, const char *want, struct error *e)
{
	const char *have = s->process.apparmor_profile;

	if (apparmor_suits(have, want) || !apparmor_on() ||
		spec_ignores(s, "process.apparmorProfile"))
		return 0;
	return err_set(e, ENOTSUP, "%s: %s, but the container is in %s", what, QUOTE(want),
		have && *have ? QUOTE(have) : "none");
}

static int from_file(const struct spec *s, const struct rt_exec *o, struct spec **own,
	struct spec_process *out, struct error *e)
{
	const struct {
		const char *name;
		bool given;
	} others[] = {
		{ "the command", o->n_args > 0 },
		{ "--cwd", o->cwd },
		{ "--user", o->user },
		{ "--env", o->env.n },
		{ "--cap", o->caps.n },
		{ "--additional-gids", o->gids.n },
		{ "--no-new-privs", o->no_new_privs },
		{ "--apparmor", o->apparmor },
		{ "--process-label", o->label },
	};
	CLEAN_FREE char *text = NULL;
	struct error why = { 0 };
	size_t len = 0;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (others[i].given)
			return err_set(e, EINVAL, "%s: the process is that of --process already",
				others[i].name);
	}
	r = read_process_file(o->process, &text, &len, e);
	if (!r)
		r = spec_parse_process(text, len, own, e);
	if (r)
		return r;
	if (spec_ignore(*own, s, &why) || spec_refusals(*own, &why) ||
		spec_check_lsm(*own, spec_host_has_selinux(), &why))
		return pass_refusal(&why, e);
	r = check_profile(s, "process.apparmorProfile", (*own)->process.apparmor_profile, e);
	if (r)
		return r;
	for (size_t i = 0; i < (*own)->warnings.n; i++)
		log_warn("%s", (*own)->warnings.v[i]);
	*out = (*own)->process;
	/* as crun and runc have it: docker names no capabilities when it means the container's */
	if (!out->user_set)
		out->user = s->process.user;
	if (!out->caps.set)
		out->caps = s->process.caps;
	if (!out->n_rlimits) {
		out->rlimits = s->process.rlimits;
		out->n_rlimits = s->process.n_rlimits;
	}
	return 0;
}

static int take_user(const char *arg, struct spec_user *u, struct error *e)
{
	char *end;
	unsigned long long uid, gid = 0;

	errno = 0;
	uid = strtoull(arg, &end, 10);
	if (*arg < '0' || *arg > '9')
		end = (char *)(uintptr_t)arg;
	else if (*end == ':' && end[1] >= '0' && end[1] <= '9')
		gid = strtoull(end + 1, &end, 10);
	if (end == arg || *end || errno || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return err_set(e, EINVAL,
			"--user: \"%.80s\" is not of the form UID[:GID], both numbers", arg);
	/* a umask of the config goes on to hold; its groups were those of the other user */
	u->uid = (uint32_t)uid;
	u->gid = (uint32_t)gid;
	u->n_groups = 0;
	return 0;
}

/* Each word may hold several, with commas between. */
static int add_gids(struct arena *a, const struct rt_words *w, struct spec_user *u, struct error *e)
{
	size_t most = u->n_groups;
	uint32_t *v;

	if (!w->n)
		return 0;
	for (unsigned i = 0; i < w->n; i++)
		most += strlen(w->v[i]) / 2 + 1;
	v = most > SPEC_LIM_GROUPS ? NULL : arena_alloc(a, most * sizeof(*v));
	if (!v)
		return err_set(e, E2BIG, "--additional-gids: too many");
	if (u->n_groups)
		(void)memcpy(v, u->groups, u->n_groups * sizeof(*v));
	u->groups = v;
	for (unsigned i = 0; i < w->n; i++) {
		for (const char *p = w->v[i];; p++) {
			char *end;
			unsigned long long gid = strtoull(p, &end, 10);

			if (*p < '0' || *p > '9' || (*end && *end != ',') || gid >= UINT32_MAX)
				return err_set(e, EINVAL,
					"--additional-gids: \"%.80s\" is not a list of numbers",
					w->v[i]);
			v[u->n_groups++] = (uint32_t)gid;
			p = end;
			if (!*p)
				break;
		}
	}
	return 0;
}

static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return n == strcspn(b, "=") && !strncmp(a, b, n);
}

/* The container's, with ours in place of those of the same name. */
static int merge_env(struct arena *a, const struct rt_words *w, struct strv *env, struct error *e)
{
	char **v = arena_alloc(a, (env->n + w->n + 1) * sizeof(*v));
	size_t n = env->n;

	if (!v)
		return err_sys(e, ENOMEM, "--env");
	if (n)
		(void)memcpy(v, env->v, n * sizeof(*v));
	for (unsigned i = 0; i < w->n; i++) {
		const char *word = w->v[i];
		size_t at = 0;

		if (*word == '=' || !strchr(word, '='))
			return err_set(
				e, EINVAL, "--env: \"%.80s\" is not of the form NAME=VALUE", word);
		while (at < n && !same_name(v[at], word))
			at++;
		v[at] = (char *)(uintptr_t)word;
		if (at == n)
			n++;
	}
	v[n] = NULL;
	*env = (struct strv){ v, n };
	return 0;
}

static int add_caps(const struct rt_words *w, struct spec_caps *caps, struct error *e)
{
	for (unsigned i = 0; i < w->n; i++) {
		int bit = cap_bit(w->v[i]);

		if (bit < 0)
			return err_set(e, EINVAL, "--cap: unknown capability \"%.80s\"", w->v[i]);
		caps->set = true;
		caps->bounding |= 1ULL << bit;
		caps->permitted |= 1ULL << bit;
		caps->effective |= 1ULL << bit;
	}
	return 0;
}

static int from_options(const struct spec *s, const struct rt_exec *o, struct spec **own,
	struct spec_process *out, struct error *e)
{
	static const char nothing[] = "{\"args\":[\"/\"],\"cwd\":\"/\"}";
	int r = spec_parse_process(nothing, sizeof(nothing) - 1, own, e);

	if (r)
		return r;
	if (!o->n_args || !o->args[0][0])
		return err_set(e, EINVAL, "exec: needs a command, or --process FILE");
	*out = s->process.set ? s->process : (*own)->process;
	out->args = (struct strv){ o->args, o->n_args };
	out->terminal = false;
	out->rows = out->cols = 0;
	if (o->cwd && *o->cwd != '/')
		return err_set(e, EINVAL, "--cwd: \"%.150s\" is not an absolute path", o->cwd);
	if (o->cwd)
		out->cwd = o->cwd;
	if (o->user)
		r = take_user(o->user, &out->user, e);
	if (!r)
		r = add_gids((*own)->arena, &o->gids, &out->user, e);
	if (!r)
		r = merge_env((*own)->arena, &o->env, &out->env, e);
	if (!r)
		r = add_caps(&o->caps, &out->caps, e);
	out->no_new_privs |= o->no_new_privs;
	return r;
}

int exec_process(const struct spec *s, const struct rt_exec *o, struct spec **own,
	struct spec_process *out, struct error *e)
{
	int r;

	*own = NULL;
	r = check_profile(s, "--apparmor", o->apparmor, e);
	if (r)
		return r;
	if (o->label && *o->label && spec_host_has_selinux() &&
		!spec_ignores(s, "process.selinuxLabel"))
		return err_set(
			e, ENOTSUP, "--process-label: this version applies no SELinux label");
	r = o->process ? from_file(s, o, own, out, e) : from_options(s, o, own, out, e);
	if (r)
		return r;
	out->terminal |= o->tty;
	return 0;
}
