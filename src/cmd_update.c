// SPDX-License-Identifier: Apache-2.0
/* update. */
/*
 * How it works
 *
 * The options are made a linux.resources object, which is then read as one from a file would be, so
 * that every value is checked in one place. With --resources there are no others.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oci/json_write.h"
#include "oci/spec.h"
#include "src/cli.h"
#include "util/cleanup.h"
#include "util/util.h"

static const char *resources;
static const char *memory, *reservation, *swap, *kernel, *kernel_tcp;
static const char *period, *quota, *burst, *shares, *idle, *rt_period, *rt_runtime;
static const char *cpus, *mems, *weight, *pids, *l3, *mem_bw;

enum kind {
	BYTES,
	NUMBER,
	TEXT,
};

/* In the order of the sections: each is written whole. */
static const struct field {
	const char *section, *key, *option;
	const char **value;
	enum kind kind;
} FIELDS[] = {
	{ "memory", "limit", "--memory", &memory, BYTES },
	{ "memory", "reservation", "--memory-reservation", &reservation, BYTES },
	{ "memory", "swap", "--memory-swap", &swap, BYTES },
	{ "memory", "kernel", "--kernel-memory", &kernel, BYTES },
	{ "memory", "kernelTCP", "--kernel-memory-tcp", &kernel_tcp, BYTES },
	{ "cpu", "period", "--cpu-period", &period, NUMBER },
	{ "cpu", "quota", "--cpu-quota", &quota, NUMBER },
	{ "cpu", "burst", "--cpu-burst", &burst, NUMBER },
	{ "cpu", "shares", "--cpu-share", &shares, NUMBER },
	{ "cpu", "idle", "--cpu-idle", &idle, NUMBER },
	{ "cpu", "realtimePeriod", "--cpu-rt-period", &rt_period, NUMBER },
	{ "cpu", "realtimeRuntime", "--cpu-rt-runtime", &rt_runtime, NUMBER },
	{ "cpu", "cpus", "--cpuset-cpus", &cpus, TEXT },
	{ "cpu", "mems", "--cpuset-mems", &mems, TEXT },
	{ "blockIO", "weight", "--blkio-weight", &weight, NUMBER },
	{ "pids", "limit", "--pids-limit", &pids, NUMBER },
};

/* "-1", "1048576", "512m": with a binary suffix where @bytes. */
static int number(const struct field *f, int64_t *out, struct error *e)
{
	static const char units[] = "bkmgt";
	const char *text = *f->value;
	char *end;
	long long v;
	unsigned shift = 0;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (f->kind == BYTES && *end && v > 0) {
		const char *u = strchr(units, tolower((unsigned char)*end));

		shift = u && *u ? 10 * (unsigned)(u - units) : 64;
		end += shift < 64;
		end += shift && shift < 64 && tolower((unsigned char)*end) == 'b';
	}
	if (end == text || *end || errno || shift == 64 || v > INT64_MAX >> shift)
		return err_set(e, EINVAL, "%s: \"%.60s\" is not a %s", f->option, text,
			f->kind == BYTES ? "size (as 1048576, 512m, -1)" : "number");
	*out = v > 0 ? v << shift : v;
	return 0;
}

static int put_fields(struct json_writer *w, bool *any, struct error *e)
{
	const char *section = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(FIELDS); i++) {
		const struct field *f = &FIELDS[i];
		int64_t v = 0;
		int r = *f->value && f->kind != TEXT ? number(f, &v, e) : 0;

		if (r)
			return r;
		if (!*f->value)
			continue;
		*any = true;
		if (!section || strcmp(section, f->section) != 0) {
			if (section)
				jw_end(w);
			jw_object(w, f->section);
			section = f->section;
		}
		if (f->kind == TEXT)
			jw_string(w, f->key, *f->value);
		else
			jw_i64(w, f->key, v);
	}
	return 0;
}

static int from_options(struct spec **s, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	struct json_writer w;
	bool any = false;
	size_t len = 0;
	int r;

	if (l3 || mem_bw)
		return err_set(e, ENOTSUP, "%s: linux.intelRdt is not supported by this version",
			l3 ? "--l3-cache-schema" : "--mem-bw-schema");
	jw_init(&w, false);
	jw_object(&w, NULL);
	r = put_fields(&w, &any, e);
	if (r) {
		jw_free(&w);
		return r;
	}
	r = jw_finish(&w, &text, &len);
	if (r)
		return err_sys(e, r, "update");
	if (!any)
		return err_set(e, EINVAL, "update: nothing is to be changed");
	return spec_parse_resources(text, len, s, e);
}

static int from_file(struct spec **s, struct error *e)
{
	CLEAN_FD int fd = -1;

	for (size_t i = 0; i < ARRAY_SIZE(FIELDS); i++) {
		if (*FIELDS[i].value)
			return err_set(
				e, EINVAL, "%s: not together with --resources", FIELDS[i].option);
	}
	fd = strcmp(resources, "-") ? open(resources, O_RDONLY | O_CLOEXEC | O_NOCTTY)
				    : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(e, errno, "--resources \"%.150s\"", resources);
	return spec_load_resources(fd, s, e);
}

static int update(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	int r = resources ? from_file(&s, e) : from_options(&s, e);

	(void)n;
	return r || rt_update(rt, args[0], s, e) ? 1 : 0;
}

static const struct opt update_opts[] = {
	{ "resources", 'r', OPT_STRING, "FILE",
		"a linux.resources object; - reads it from stdin; without other options",
		&resources },
	{ "memory", 0, OPT_STRING, "SIZE", "limit of memory, at most the guest's RAM", &memory },
	{ "memory-reservation", 0, OPT_STRING, "SIZE", "memory.low on the host", &reservation },
	{ "memory-swap", 0, OPT_STRING, "SIZE", "memory and swap; needs --memory", &swap },
	{ "cpu-period", 0, OPT_STRING, "US", "period of the CPU quota", &period },
	{ "cpu-quota", 0, OPT_STRING, "US", "CPU time in a period", &quota },
	{ "cpu-burst", 0, OPT_STRING, "US", "CPU time saved up at most", &burst },
	{ "cpu-share", 0, OPT_STRING, "N", "relative weight, 2 to 262144", &shares },
	{ "cpu-idle", 0, OPT_STRING, "N", "1: only when nobody else wants the CPU", &idle },
	{ "cpuset-cpus", 0, OPT_STRING, "LIST", "CPUs of the host", &cpus },
	{ "cpuset-mems", 0, OPT_STRING, "LIST", "memory nodes of the host", &mems },
	{ "blkio-weight", 0, OPT_STRING, "N", "relative weight of I/O, 10 to 1000", &weight },
	{ "pids-limit", 0, OPT_STRING, "N", "number of processes, -1 for any", &pids },
	{ "cpu-rt-period", 0, OPT_STRING, "US", NULL, &rt_period },
	{ "cpu-rt-runtime", 0, OPT_STRING, "US", NULL, &rt_runtime },
	{ "kernel-memory", 0, OPT_STRING, "SIZE", NULL, &kernel },
	{ "kernel-memory-tcp", 0, OPT_STRING, "SIZE", NULL, &kernel_tcp },
	{ "l3-cache-schema", 0, OPT_STRING, "S", NULL, &l3 },
	{ "mem-bw-schema", 0, OPT_STRING, "S", NULL, &mem_bw },
	OPT_END,
};

const struct cmd cmd_update = { "update", "ID", "Change the limits of a container",
	"At once, on the host and in the guest. What is not named stays. The guest keeps the RAM and the CPUs\n"
	"that it was made with: limits of memory are possible up to that RAM.",
	update_opts, 1, 1, update };
