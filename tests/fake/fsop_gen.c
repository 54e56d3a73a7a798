// SPDX-License-Identifier: Apache-2.0
/* Random operations on a file system: making, naming and comparing them. */
/*
 * How it works
 *
 * Few names in few levels, so that operations meet: a path is one to three of six names, with links
 * (symlinks point at such paths as well), now and then "..", "." and names that are too long. Times
 * are set to values far from now; what a file system sets itself is compared as "now", so an update
 * that should have happened, or should not have, shows. Modes of files do not have SGID without
 * group execution, nor do umasks take that: what becomes of the bit then depends on groups, which
 * the wire does not tell.
 */
#include "fake/fsop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct fsop_user fsop_users[FSOP_PROCS] = {
	{ 0, 0, 0, { 0 } },
	{ 1000, 1000, 1, { 100 } },
	{ 1001, 1001, 1, { 100 } },
	{ 1002, 100, 0, { 0 } },
};

static uint64_t rnd(struct fsop_gen *g, uint64_t n)
{
	g->rnd ^= g->rnd << 13;
	g->rnd ^= g->rnd >> 7;
	g->rnd ^= g->rnd << 17;
	return (g->rnd >> 20) % n;
}

static void random_path(struct fsop_gen *g, char *out)
{
	unsigned depth = (unsigned[]){ 1, 1, 1, 2, 2, 3 }[rnd(g, 6)];
	size_t at = rnd(g, 40) ? 0 : 1;

	out[0] = '/';
	for (unsigned i = 0; i < depth; i++) {
		unsigned odd = (unsigned)rnd(g, 150);

		if (i)
			out[at++] = '/';
		if (i + 1 < depth && odd < 4) {
			at += (size_t)sprintf(out + at, odd < 2 ? ".." : ".");
		} else if (odd == 5) {
			size_t n = 250 + rnd(g, 8);

			memset(out + at, 'x', n);
			at += n;
		} else {
			at += (size_t)sprintf(out + at, "n%u", (unsigned)rnd(g, 6));
		}
		if (at > 280)
			break;
	}
	out[at] = 0;
}

static uint32_t random_mode(struct fsop_gen *g, bool dir)
{
	static const uint16_t file[] = { 0644, 0666, 0755, 0600, 0, 04755, 06777, 02775, 0444, 0222,
		0111, 0640, 0770, 01644, 04711 };
	static const uint16_t dirs[] = { 0755, 0777, 01777, 02775, 02777, 0700, 0, 0555, 0333,
		03777, 01770, 0711, 0770, 0777, 0777 };

	return dir ? dirs[rnd(g, COUNT(dirs))] : file[rnd(g, COUNT(file))];
}

/* As set-id bits of files: see above. */
static uint32_t chmod_mode(struct fsop_gen *g)
{
	uint32_t m = (uint32_t)rnd(g, 010000);

	if (rnd(g, 2))
		return random_mode(g, rnd(g, 2));
	return (m & S_ISGID) && !(m & S_IXGRP) ? m & ~(uint32_t)S_ISGID : m;
}

static void random_time(struct fsop_gen *g, struct timespec *ts)
{
	static const int64_t odd[] = { -1, -0x80000000LL, 0x80000005LL, 0x1ffffffffLL, 0, 1 };

	switch (rnd(g, 8)) {
	case 0:
		ts->tv_sec = 0;
		ts->tv_nsec = UTIME_NOW;
		break;
	case 1:
		ts->tv_sec = 0;
		ts->tv_nsec = UTIME_OMIT;
		break;
	case 2:
		ts->tv_sec = (time_t)odd[rnd(g, COUNT(odd))];
		ts->tv_nsec = (long)rnd(g, 1000000000);
		break;
	default:
		ts->tv_sec = (time_t)(1 + rnd(g, 900000000));
		ts->tv_nsec = (long)rnd(g, 1000000000);
	}
}

static int open_flags(struct fsop_gen *g)
{
	static const int acc[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR };
	int f = acc[rnd(g, COUNT(acc))];

	if (rnd(g, 5) < 3)
		f |= O_CREAT;
	if ((f & O_CREAT) && !rnd(g, 4))
		f |= O_EXCL;
	if (!rnd(g, 5))
		f |= O_TRUNC;
	if (!rnd(g, 6))
		f |= O_APPEND;
	if (!rnd(g, 6))
		f |= O_NOFOLLOW;
	if (!(f & O_CREAT) && !rnd(g, 5))
		f |= O_DIRECTORY;
	if (!rnd(g, 20))
		f |= O_NOATIME;
	/* What waits for a disk is the same on both sides, and takes most of the time. */
	if (!rnd(g, 400))
		f |= O_SYNC;
	return f;
}

static int64_t random_off(struct fsop_gen *g)
{
	static const int64_t far[] = { 1LL << 31, (1LL << 32) + 5, 1LL << 44, -1 };

	if (!rnd(g, 80))
		return far[rnd(g, COUNT(far))];
	return (int64_t)rnd(g, rnd(g, 4) ? 20000 : 200000);
}

static int64_t random_len(struct fsop_gen *g)
{
	switch (rnd(g, 12)) {
	case 0:
		return 0;
	case 1:
		return (int64_t)rnd(g, FSOP_IO);
	case 2:
		return 4096;
	default:
		return 1 + (int64_t)rnd(g, 9000);
	}
}

static void random_node(struct fsop_gen *g, struct fsop *op)
{
	static const uint32_t types[] = { S_IFREG, S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
	static const uint32_t rdevs[] = { 0, 0, 0x1ff | 0xfff << 8, 0xfffab3ff, 0x00100105 };
	uint32_t type = types[rnd(g, COUNT(types))];

	op->mode = type | random_mode(g, false);
	if (type == S_IFCHR || type == S_IFBLK)
		op->rdev = rdevs[rnd(g, COUNT(rdevs))];
}

static void random_xattr(struct fsop_gen *g, struct fsop *op)
{
	static const char *const names[] = { "user.a", "user.b", "user.c/../d", "user.",
		"security.capability", "user.long" };

	strcpy(op->path2, names[rnd(g, 6)]);
	op->len = (int64_t)rnd(g, rnd(g, 10) ? 60 : 6000);
	if (!strcmp(op->path2, "security.capability"))
		op->len = 20;
	op->flags = (int[]){ 0, 0, XATTR_CREATE, XATTR_REPLACE }[rnd(g, 4)];
}

static void random_owner(struct fsop_gen *g, struct fsop *op)
{
	static const uint32_t uids[] = { 0, 1000, 1001, 1002, UINT32_MAX, UINT32_MAX };
	static const uint32_t gids[] = { 0, 100, 100, 1000, 1001, UINT32_MAX };

	do {
		op->uid = uids[rnd(g, COUNT(uids))];
		op->gid = gids[rnd(g, COUNT(gids))];
	} while (op->uid == UINT32_MAX && op->gid == UINT32_MAX);
}

static void fill_details(struct fsop_gen *g, struct fsop *op)
{
	static const int fmodes[] = { 0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE };
	static const unsigned rflags[] = { 0, 0, 0, 0, 1 /* NOREPLACE */, 2 /* EXCHANGE */,
		4 /* WHITEOUT */, 3 };

	switch (op->kind) {
	case FSOP_OPEN:
		op->flags = open_flags(g);
		op->mode = random_mode(g, false);
		break;
	case FSOP_TMPFILE:
		op->flags = (open_flags(g) & (O_ACCMODE | O_APPEND | O_SYNC)) | O_TMPFILE;
		op->mode = random_mode(g, false);
		break;
	case FSOP_MKDIR:
		op->mode = random_mode(g, true);
		break;
	case FSOP_MKNOD:
		random_node(g, op);
		break;
	case FSOP_CHMOD:
	case FSOP_FCHMOD:
		op->mode = chmod_mode(g);
		break;
	case FSOP_CHOWN:
	case FSOP_FCHOWN:
		random_owner(g, op);
		break;
	case FSOP_RENAME:
		op->flags = (int)rflags[rnd(g, COUNT(rflags))];
		break;
	case FSOP_UTIMES:
		random_time(g, &op->ts[0]);
		random_time(g, &op->ts[1]);
		break;
	case FSOP_ACCESS:
		op->flags = (int)rnd(g, 8);
		break;
	case FSOP_LSEEK:
		op->flags = rnd(g, 2) ? SEEK_DATA : SEEK_HOLE;
		break;
	case FSOP_FALLOCATE:
		op->flags = fmodes[rnd(g, COUNT(fmodes))];
		break;
	case FSOP_SETXATTR:
	case FSOP_GETXATTR:
	case FSOP_REMOVEXATTR:
		random_xattr(g, op);
		if (op->kind == FSOP_GETXATTR)
			op->len = rnd(g, 4) ? 64 << 10 : (int64_t)rnd(g, 50);
		break;
	case FSOP_LISTXATTR:
		op->len = rnd(g, 4) ? 64 << 10 : (int64_t)rnd(g, 40);
		break;
	case FSOP_UMASK:
		op->mode = (uint32_t[]){ 022, 0, 026, 002, 007, 027 }[rnd(g, 6)];
		break;
	default:
		break;
	}
}

/* A slot of @op's process that is in use, or not; false when there is none. */
static bool slot(struct fsop_gen *g, const struct fsop *op, bool used, uint8_t *out)
{
	unsigned at = (unsigned)rnd(g, FSOP_SLOTS);

	for (unsigned i = 0; i < FSOP_SLOTS; i++, at = (at + 1) % FSOP_SLOTS)
		if (g->used[op->proc][at] == used) {
			*out = (uint8_t)at;
			return true;
		}
	return false;
}

static bool slots(struct fsop_gen *g, struct fsop *op)
{
	switch (op->kind) {
	case FSOP_OPEN:
	case FSOP_TMPFILE:
		return slot(g, op, false, &op->slot);
	case FSOP_COPY:
		return slot(g, op, true, &op->slot) && slot(g, op, true, &op->slot2);
	case FSOP_CLOSE:
	case FSOP_READ:
	case FSOP_WRITE:
	case FSOP_FSYNC:
	case FSOP_LSEEK:
	case FSOP_FALLOCATE:
	case FSOP_FTRUNCATE:
	case FSOP_FSTAT:
	case FSOP_FCHMOD:
	case FSOP_FCHOWN:
	case FSOP_LINKFD:
		return slot(g, op, true, &op->slot);
	default:
		return true;
	}
}

void fsop_next(struct fsop_gen *g, struct fsop *op)
{
	static const uint8_t weight[FSOP_KINDS] = { [FSOP_OPEN] = 12,
		[FSOP_TMPFILE] = 2,
		[FSOP_CLOSE] = 8,
		[FSOP_READ] = 8,
		[FSOP_WRITE] = 9,
		[FSOP_FSYNC] = 1,
		[FSOP_LSEEK] = 3,
		[FSOP_FALLOCATE] = 4,
		[FSOP_COPY] = 4,
		[FSOP_FTRUNCATE] = 3,
		[FSOP_FSTAT] = 3,
		[FSOP_FCHMOD] = 2,
		[FSOP_FCHOWN] = 1,
		[FSOP_LINKFD] = 2,
		[FSOP_MKDIR] = 18,
		[FSOP_MKNOD] = 2,
		[FSOP_SYMLINK] = 4,
		[FSOP_LINK] = 5,
		[FSOP_UNLINK] = 7,
		[FSOP_RMDIR] = 3,
		[FSOP_RENAME] = 10,
		[FSOP_CHMOD] = 6,
		[FSOP_CHOWN] = 5,
		[FSOP_TRUNCATE] = 3,
		[FSOP_UTIMES] = 4,
		[FSOP_STAT] = 4,
		[FSOP_ACCESS] = 2,
		[FSOP_READLINK] = 3,
		[FSOP_SETXATTR] = 4,
		[FSOP_GETXATTR] = 2,
		[FSOP_LISTXATTR] = 2,
		[FSOP_REMOVEXATTR] = 2,
		[FSOP_LIST] = 4,
		[FSOP_UMASK] = 1 };
	unsigned sum = 0, at;

	for (unsigned i = 0; i < FSOP_KINDS; i++)
		sum += weight[i];
	do {
		*op = (struct fsop){ .proc = (uint8_t[]){ 0, 0, 1, 2, 3 }[rnd(g, 5)] };
		at = (unsigned)rnd(g, sum);
		while (at >= weight[op->kind])
			at -= weight[op->kind++];
	} while (!slots(g, op) || (op->kind == FSOP_FSYNC && rnd(g, 8)));
	op->seed = (uint32_t)rnd(g, UINT32_MAX);
	op->follow = rnd(g, 3) != 0;
	op->off = random_off(g);
	op->off2 = random_off(g);
	op->len = random_len(g);
	random_path(g, op->path);
	random_path(g, op->path2);
	/* Only root may give a name to an open file, on older kernels. */
	if (op->kind == FSOP_LINKFD && op->proc &&
		slot(g, &(struct fsop){ .proc = 0 }, true, &op->slot))
		op->proc = 0;
	/* Whether reading nothing is an access, file systems do not agree upon. */
	if (op->kind == FSOP_READ && !op->len)
		op->len = 1;
	/* How large a file may be the guest's kernel does not know of its host. */
	if (op->kind == FSOP_COPY) {
		op->off = (int64_t)rnd(g, 20000);
		op->off2 = (int64_t)rnd(g, 200000);
	}
	fill_details(g, op);
}

void fsop_done(struct fsop_gen *g, const struct fsop *op, const struct fsres *res)
{
	if ((op->kind == FSOP_OPEN || op->kind == FSOP_TMPFILE) && !res->ret)
		g->used[op->proc][op->slot] = true;
	if (op->kind == FSOP_CLOSE)
		g->used[op->proc][op->slot] = false;
}

bool fsop_close_one(const struct fsop_gen *g, struct fsop *op)
{
	for (unsigned p = 0; p < FSOP_PROCS; p++)
		for (unsigned s = 0; s < FSOP_SLOTS; s++)
			if (g->used[p][s]) {
				*op = (struct fsop){
					.kind = FSOP_CLOSE, .proc = (uint8_t)p, .slot = (uint8_t)s
				};
				return true;
			}
	return false;
}

bool fsop_look(const struct fsop *op, unsigned which, struct fsop *look)
{
	bool two = op->kind == FSOP_RENAME || op->kind == FSOP_LINK;

	*look = (struct fsop){ .kind = FSOP_STAT };
	switch (op->kind) {
	case FSOP_READ:
	case FSOP_WRITE:
	case FSOP_FALLOCATE:
	case FSOP_COPY:
	case FSOP_FTRUNCATE:
	case FSOP_FCHMOD:
	case FSOP_FCHOWN:
	case FSOP_FSYNC:
		if (which)
			return false;
		look->kind = FSOP_FSTAT;
		look->proc = op->proc;
		look->slot = op->kind == FSOP_COPY ? op->slot2 : op->slot;
		return true;
	case FSOP_CLOSE:
	case FSOP_FSTAT:
	case FSOP_STAT:
	case FSOP_UMASK:
	case FSOP_LSEEK:
		return false;
	default:
		if (which > two)
			return false;
		strcpy(look->path, which ? op->path2 : op->path);
		return true;
	}
}

void fsop_fill(const struct fsop *op, uint8_t *b, size_t n)
{
	static const uint8_t cap[20] = { 1, 0, 0, 2, 0, 4 };
	uint32_t s = op->seed | 1;

	if (op->kind == FSOP_SETXATTR && !strncmp(op->path2, "security", 8)) {
		memcpy(b, cap, sizeof(cap));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		s = s * 1664525 + 1013904223;
		b[i] = (uint8_t)(s >> 24);
	}
}
