// SPDX-License-Identifier: Apache-2.0
/* A container's use of its cgroup, as JSON. */
/*
 * How it works
 *
 * The names and units are those of runc's events, which its Go client decodes; the files are those
 * of cgroup v2. Everything of the guest is in there: its memory is the VMM's, its CPU time that of
 * the vCPU threads, its file I/O that of the file server. Only pids counts the VMM's threads.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oci/fsutil.h"
#include "oci/json_write.h"
#include "oci/stats.h"
#include "util/cleanup.h"
#include "util/err.h"

#define FILE_MAX (256U << 10)
#define DAY_MS	 (24U * 3600 * 1000)

/* The first number of a file; "max" is the largest there is. */
static uint64_t read_u64(int dir, const char *name)
{
	CLEAN_FREE char *text = NULL;

	if (read_file_at(dir, name, 4096, &text, NULL))
		return 0;
	return strncmp(text, "max", 3) ? strtoull(text, NULL, 10) : UINT64_MAX;
}

/* The number behind "KEY " at the beginning of a line. */
static uint64_t value_of(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		if (!strncmp(p, key, n) && p[n] == ' ')
			return strtoull(p + n + 1, NULL, 10);
	}
	return 0;
}

static void put_cpu(struct json_writer *w, int dir)
{
	CLEAN_FREE char *text = NULL;
	const char *t = read_file_at(dir, "cpu.stat", FILE_MAX, &text, NULL) ? "" : text;

	jw_object(w, "cpu");
	jw_object(w, "usage");
	jw_u64(w, "total", value_of(t, "usage_usec") * 1000);
	jw_u64(w, "kernel", value_of(t, "system_usec") * 1000);
	jw_u64(w, "user", value_of(t, "user_usec") * 1000);
	jw_end(w);
	jw_object(w, "throttling");
	jw_u64(w, "periods", value_of(t, "nr_periods"));
	jw_u64(w, "throttledPeriods", value_of(t, "nr_throttled"));
	jw_u64(w, "throttledTime", value_of(t, "throttled_usec") * 1000);
	jw_end(w);
	jw_end(w);
}

static void put_usage(struct json_writer *w, const char *key, uint64_t usage, uint64_t limit,
	uint64_t max, uint64_t failcnt)
{
	jw_object(w, key);
	jw_u64(w, "limit", limit);
	jw_u64(w, "usage", usage);
	if (max)
		jw_u64(w, "max", max);
	jw_u64(w, "failcnt", failcnt);
	jw_end(w);
}

/* Each line "name number" as a member. */
static void put_raw(struct json_writer *w, char *text)
{
	char *save = NULL;

	jw_object(w, "raw");
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *blank = strchr(line, ' ');

		if (!blank)
			continue;
		*blank = 0;
		jw_u64(w, line, strtoull(blank + 1, NULL, 10));
	}
	jw_end(w);
}

static void put_memory(struct json_writer *w, int dir)
{
	CLEAN_FREE char *stat = NULL;
	CLEAN_FREE char *events = NULL;
	CLEAN_FREE char *swap = NULL;
	bool have = !read_file_at(dir, "memory.stat", FILE_MAX, &stat, NULL);
	const char *ev = read_file_at(dir, "memory.events", FILE_MAX, &events, NULL) ? "" : events;
	const char *sw = read_file_at(dir, "memory.swap.events", FILE_MAX, &swap, NULL) ? "" : swap;

	jw_object(w, "memory");
	jw_u64(w, "cache", have ? value_of(stat, "file") : 0);
	put_usage(w, "usage", read_u64(dir, "memory.current"), read_u64(dir, "memory.max"),
		read_u64(dir, "memory.peak"), value_of(ev, "max"));
	put_usage(w, "swap", read_u64(dir, "memory.swap.current"), read_u64(dir, "memory.swap.max"),
		read_u64(dir, "memory.swap.peak"), value_of(sw, "max"));
	/* cgroup v2 has no accounts of these */
	put_usage(w, "kernel", 0, 0, 0, 0);
	put_usage(w, "kernelTCP", 0, 0, 0, 0);
	if (have)
		put_raw(w, stat);
	jw_end(w);
}

static void put_io_entry(
	struct json_writer *w, unsigned major, unsigned minor, const char *op, uint64_t value)
{
	jw_object(w, NULL);
	jw_u64(w, "major", major);
	jw_u64(w, "minor", minor);
	jw_string(w, "op", op);
	jw_u64(w, "value", value);
	jw_end(w);
}

/* Of io.stat ("8:0 rbytes=1 wbytes=2 rios=3 ..."), per device the two named counters. */
static void put_io_list(
	struct json_writer *w, const char *key, const char *text, const char *rd, const char *wr)
{
	unsigned major, minor;

	jw_array(w, key);
	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		size_t n = strcspn(p, "\n");
		const char *r = memmem(p, n, rd, strlen(rd)), *x = memmem(p, n, wr, strlen(wr));

		if (sscanf(p, "%u:%u", &major, &minor) != 2 || !r || !x)
			continue;
		put_io_entry(w, major, minor, "Read", strtoull(r + strlen(rd), NULL, 10));
		put_io_entry(w, major, minor, "Write", strtoull(x + strlen(wr), NULL, 10));
	}
	jw_end(w);
}

static void put_blkio(struct json_writer *w, int dir)
{
	CLEAN_FREE char *text = NULL;
	const char *t = read_file_at(dir, "io.stat", FILE_MAX, &text, NULL) ? "" : text;

	jw_object(w, "blkio");
	put_io_list(w, "ioServiceBytesRecursive", t, " rbytes=", " wbytes=");
	put_io_list(w, "ioServicedRecursive", t, " rios=", " wios=");
	jw_end(w);
}

/* hugetlb.<size>.current says which sizes there are. */
static void put_hugetlb(struct json_writer *w, int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEAN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	jw_object(w, "hugetlb");
	while (d && (de = readdir(d))) {
		char size[32], max[64];

		if (sscanf(de->d_name, "hugetlb.%31[0-9KMGTB]", size) != 1 ||
			!strstr(de->d_name, ".current") || strstr(de->d_name, "rsvd"))
			continue;
		(void)snprintf(max, sizeof(max), "hugetlb.%s.max", size);
		put_usage(w, size, read_u64(dir, de->d_name), read_u64(dir, max), 0, 0);
	}
	jw_end(w);
}

int stats_json(int dir, const char *id, char **out, size_t *len)
{
	struct json_writer w;

	jw_init(&w, false);
	jw_object(&w, NULL);
	jw_string(&w, "type", "stats");
	jw_string(&w, "id", id);
	jw_object(&w, "data");
	put_cpu(&w, dir);
	put_memory(&w, dir);
	jw_object(&w, "pids");
	jw_u64(&w, "current", read_u64(dir, "pids.current"));
	jw_u64(&w, "limit", read_u64(dir, "pids.max"));
	jw_end(&w);
	put_blkio(&w, dir);
	put_hugetlb(&w, dir);
	return jw_finish(&w, out, len);
}

int stats_oom_json(const char *id, char **out, size_t *len)
{
	struct json_writer w;

	jw_init(&w, false);
	jw_object(&w, NULL);
	jw_string(&w, "type", "oom");
	jw_string(&w, "id", id);
	return jw_finish(&w, out, len);
}

/* Milliseconds of the unit at *@p, which moves behind it; 0 for none. */
static unsigned unit_ms(const char **p)
{
	static const struct {
		const char *name;
		unsigned ms;
	} UNITS[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };

	for (size_t i = 0; i < ARRAY_SIZE(UNITS); i++) {
		size_t n = strlen(UNITS[i].name);

		if (strncmp(*p, UNITS[i].name, n) != 0)
			continue;
		*p += n;
		return UNITS[i].ms;
	}
	return 0;
}

int stats_interval(const char *text, unsigned *ms, struct error *e)
{
	const char *p = text;
	uint64_t sum = 0;

	while (isdigit((unsigned char)*p)) {
		uint64_t n = 0, unit;

		for (; isdigit((unsigned char)*p) && n <= DAY_MS; p++)
			n = n * 10 + (uint64_t)(*p - '0');
		unit = unit_ms(&p);
		if (!unit)
			sum = 0;
		if (!unit || n > DAY_MS)
			break;
		sum += n * unit;
	}
	if (*p || !sum || sum > DAY_MS)
		return err_set(e, EINVAL,
			"--interval: \"%.40s\" is no time from 1ms to 24h (as 500ms, 5s, 1m30s)",
			text);
	*ms = (unsigned)sum;
	return 0;
}
