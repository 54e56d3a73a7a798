/* SPDX-License-Identifier: Apache-2.0 */
/* A FUSE client with a DAX window, for the tests of it. */
#ifndef KRUN_TESTS_UNIT_FS_DAX_RIG_H
#define KRUN_TESTS_UNIT_FS_DAX_RIG_H

#include <sys/statfs.h>

#include "core/mem.h"
#include "dev/fs_dax.h"
#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

#define R      FS_DAX_RANGE
#define RANGES 5U
#define FIT    4U /* of them, that are promised: Linux wants a fifth free */
#define NO_FH  UINT64_MAX
#define MAP_R  FUSE_SETUPMAPPING_FLAG_READ
#define MAP_RW (FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE)

struct rig {
	struct mem mem;
	struct fc c;
	const uint8_t *w; /* the window as the guest would see it */
};

static inline int setup(struct rig *r, const struct fs_cfg *base)
{
	int ret;

	mem_init(&r->mem);
	ret = mem_add_shm(&r->mem, GPA(FC_WINDOW_GPA), (uint64_t)RANGES * R, NULL);
	if (ret)
		return ret;
	r->w = r->mem.r[0].hva;
	fc_window = &r->mem;
	return fc_new(&r->c, base, NULL);
}

static inline bool teardown(struct rig *r)
{
	bool ok = fc_free(&r->c);

	mem_destroy(&r->mem);
	fc_window = NULL;
	return ok;
}

static inline const char *host_path(const struct rig *r, const char *name)
{
	static char path[120];

	(void)snprintf(path, sizeof(path), "%s/%s", r->c.path, name);
	return path;
}

/* A file of @len bytes whose pages begin with their number, from 1; its blocks are there. */
static inline int file(struct rig *r, const char *name, uint64_t len, mode_t mode)
{
	int fd = openat(r->c.dir, name, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
	int ret = fd < 0 || posix_fallocate(fd, 0, (off_t)len) || fchmod(fd, mode) ? -EIO : 0;

	for (uint64_t at = 0, n; !ret && at < len; at += 4096) {
		n = at / 4096 + 1;
		ret = pwrite(fd, &n, 8, (off_t)at) == 8 ? 0 : -EIO;
	}
	(void)close(fd);
	return ret;
}

/* Whether the guest is told to use the window for it. */
static inline bool admitted(struct rig *r, const char *name, uint64_t *node)
{
	struct fuse_entry_out e = { 0 };

	if (fc_lookup_n(&r->c, 1, name, strlen(name) + 1, &e))
		return false;
	*node = e.nodeid;
	return e.attr.flags & FS_ATTR_DAX;
}

static inline int map(struct rig *r, uint64_t node, uint64_t fh, uint64_t off, uint64_t len,
	uint64_t flags, uint64_t at)
{
	struct fuse_setupmapping_in in = {
		.fh = fh, .foffset = off, .len = len, .flags = flags, .moffset = at
	};

	return fc_call(&r->c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0, NULL, 0);
}

static inline int unmap(struct rig *r, uint64_t node, const struct fuse_removemapping_one *one,
	uint32_t n, uint32_t count)
{
	struct fuse_removemapping_in in = { .count = count };

	return fc_call(
		&r->c, FUSE_REMOVEMAPPING, node, &in, sizeof(in), one, n * sizeof(*one), NULL, 0);
}

static inline uint64_t page(const struct rig *r, uint64_t n)
{
	uint64_t v;

	memcpy(&v, r->w + n * 4096, 8);
	return v;
}

/* Whether the byte there can be read without a signal. */
static inline bool there(const struct rig *r, uint64_t at)
{
	int p[2];
	bool ok;

	if (pipe(p) < 0)
		return false;
	ok = write(p[1], r->w + at, 1) == 1;
	(void)close(p[0]);
	(void)close(p[1]);
	return ok;
}

/* How many ranges end in zero pages. */
static inline unsigned ended(const struct rig *r)
{
	unsigned n = 0;

	for (uint32_t i = 1; i <= RANGES; i++)
		n += r->c.fs->dax->map[i].node && r->c.fs->dax->map[i].shown < FS_DAX_PAGES;
	return n;
}

static inline int again(struct rig *r, const struct save_out *s, const struct fs_cfg *cfg)
{
	struct save_in in = { .buf = s->buf, .len = s->len };
	int ret;

	fs_dax_reset(r->c.fs);
	fs_server_free(r->c.fs);
	ret = fc_server(&r->c, cfg, NULL);
	return ret ? ret : fs_load(r->c.fs, &in);
}

/* 77 where the tests' directory is on a file system that is not mapped. */
static inline int main_(const struct test_case *cases, size_t n, int argc, char **argv)
{
	static const uint32_t plain[] = { 0xef53, 0x58465342, 0x01021994 };
	struct statfs st;
	bool ok = false;

	if (!statfs("/var/tmp", &st))
		for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
			ok |= (uint32_t)st.f_type == plain[i];
	if (!ok) {
		puts("/var/tmp is on a file system whose files are not mapped");
		return 77;
	}
	return test_run_(cases, n, argc, argv);
}

#endif
