/* SPDX-License-Identifier: Apache-2.0 */
/* Images in a directory of the test's own, made and looked at by qemu-img. */
#ifndef KRUN_TESTS_UNIT_IMAGE_RIG_H
#define KRUN_TESTS_UNIT_IMAGE_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dev/disk.h"
#include "unit/test.h"

static char dir[] = "/tmp/krun-image-XXXXXX";

/* A command in the test's directory; its exit status. */
PRINTF(1, 2) static inline int sh(const char *fmt, ...)
{
	char cmd[1024], all[1200];
	va_list ap;
	int r;

	va_start(ap, fmt);
	(void)vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	(void)snprintf(all, sizeof(all), "cd %s && { %s; } >out 2>&1", dir, cmd);
	r = system(all);
	r = WIFEXITED(r) ? WEXITSTATUS(r) : -1;
	return r;
}

/* What the last command said. */
static inline void said(void)
{
	char cmd[128];

	(void)snprintf(cmd, sizeof(cmd), "sed 's/^/# /' %s/out | tail -n 20", dir);
	(void)!system(cmd);
}

#define SH_OK(...)                         \
	do {                               \
		int rc_ = sh(__VA_ARGS__); \
		if (rc_)                   \
			said();            \
		CHECK_EQ(rc_, 0);          \
	} while (0)

static inline int image_fd(const char *name, int flags)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

static inline int open_below(void *arg, const char *name)
{
	int fd;

	(void)arg;
	fd = image_fd(name, O_RDONLY);
	return fd < 0 ? -errno : fd;
}

static inline struct disk *open_disk(const char *name, bool readonly, bool direct, struct error *e)
{
	struct disk_cfg cfg = { .fd = image_fd(name, readonly ? O_RDONLY : O_RDWR),
		.format = DISK_QCOW2,
		.sync = DISK_SYNC_FULL,
		.readonly = readonly,
		.direct = direct,
		.open_backing = open_below };
	struct disk *d = NULL;

	return disk_open(&cfg, &d, e) ? NULL : d;
}

/* As the device does it: what lies in one place from there, the rest by disk_run(). */
static inline int request(struct disk *d, enum disk_cmd cmd, uint64_t at, uint8_t *p, uint64_t n)
{
	struct disk_extent x;

	if (cmd != DISK_READ && cmd != DISK_WRITE)
		return disk_run(d, cmd, NULL, at, n);
	for (; n; at += x.len, p += x.len, n -= x.len) {
		struct iovec v = { p, 0 };
		struct iobuf b;
		int r = 0;

		disk_map(d, cmd == DISK_WRITE, at, n, &x);
		if (!x.len || x.len > n)
			return -EPROTO;
		v.iov_len = x.len;
		iobuf_init(&b, &v, 1);
		if (x.where == DISK_ZEROES) {
			memset(p, 0, x.len);
		} else if (x.where == DISK_ASIDE) {
			r = disk_run(d, cmd, &b, at, x.len);
			if (!r && b.left)
				return -EPROTO;
		} else if (cmd == DISK_WRITE) {
			r = disk_write_all(d->fd, &b, x.off, x.len);
		} else {
			r = disk_read_all(d->fd, &b, x.off, x.len);
			if (r == -ENODATA) {
				memset(p + b.done, 0, b.left);
				r = 0;
			}
		}
		if (r)
			return r;
	}
	return 0;
}

/* A test's main(): with the directory, or 77 where there are no such tools. */
static inline int image_main(const struct test_case *t, size_t n, int argc, char **argv)
{
	int r;

	if (!mkdtemp(dir))
		return 1;
	if (sh("qemu-img --version && qemu-io --version")) {
		printf("# no qemu-img and qemu-io (qemu-utils)\n");
		(void)rmdir(dir);
		return 77;
	}
	r = test_run_(t, n, argc, argv);
	(void)sh("rm -rf %s", dir);
	return r;
}

#define IMAGE_MAIN(cases)                                                \
	int main(int argc, char **argv)                                  \
	{                                                                \
		return image_main(cases, ARRAY_SIZE(cases), argc, argv); \
	}

#endif
