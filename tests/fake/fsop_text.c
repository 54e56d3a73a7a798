// SPDX-License-Identifier: Apache-2.0
/* Random operations on a file system: what they look like, and whether results are the same. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fake/fsop.h"

static const char *const names[FSOP_KINDS] = { "open", "tmpfile", "close", "read", "write", "fsync",
	"lseek", "fallocate", "copy", "ftruncate", "fstat", "fchmod", "fchown", "linkfd", "mkdir",
	"mknod", "symlink", "link", "unlink", "rmdir", "rename", "chmod", "chown", "truncate",
	"utimes", "stat", "access", "readlink", "setxattr", "getxattr", "listxattr", "removexattr",
	"list", "umask" };

static void print_path(FILE *f, const char *s)
{
	size_t n = strlen(s);

	if (n > 60)
		fprintf(f, "%.20s...(%zu)", s, n);
	else
		fprintf(f, "%s", s);
}

void fsop_print(FILE *f, const struct fsop *op)
{
	fprintf(f, "%u %s ", op->proc, names[op->kind]);
	print_path(f, op->path);
	if (op->path2[0]) {
		fprintf(f, " ");
		print_path(f, op->path2);
	}
	fprintf(f, " fd %u/%u flags %#o mode %#o", op->slot, op->slot2, (unsigned)op->flags,
		op->mode);
	if (op->kind == FSOP_CHOWN || op->kind == FSOP_FCHOWN)
		fprintf(f, " owner %d:%d", (int)op->uid, (int)op->gid);
	if (op->kind == FSOP_UTIMES)
		fprintf(f, " times %lld.%ld %lld.%ld", (long long)op->ts[0].tv_sec,
			op->ts[0].tv_nsec, (long long)op->ts[1].tv_sec, op->ts[1].tv_nsec);
	if (op->follow)
		fprintf(f, " follow");
	fprintf(f, " off %" PRId64 "/%" PRId64 " len %" PRId64, op->off, op->off2, op->len);
}

void fsop_print_res(FILE *f, const struct fsres *r)
{
	fprintf(f, "%" PRId64, r->ret);
	if (r->attr)
		fprintf(f,
			" mode %o owner %u:%u links %u rdev %x size %" PRId64 " atime %" PRId64
			".%" PRId64 " mtime %" PRId64 ".%" PRId64,
			r->mode, r->uid, r->gid, r->nlink, r->rdev, r->size, r->atime[0],
			r->atime[1], r->mtime[0], r->mtime[1]);
	if (r->n)
		fprintf(f, " %u bytes %016" PRIx64, r->n, r->hash);
}

bool fsop_same(const struct fsres *a, const struct fsres *b, bool atime)
{
	if (a->ret != b->ret || a->attr != b->attr || a->n != b->n || a->hash != b->hash)
		return false;
	if (!a->attr)
		return true;
	if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid || a->nlink != b->nlink ||
		a->rdev != b->rdev || a->size != b->size)
		return false;
	if (memcmp(a->mtime, b->mtime, sizeof(a->mtime)))
		return false;
	/* Following a link is a read of it, which a kernel that caches its text does once. */
	return !atime || S_ISLNK(a->mode) || !memcmp(a->atime, b->atime, sizeof(a->atime));
}

void fsop_sum(struct fsres *r, const void *b, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)b)[i]) * 0x100000001b3ULL;
	r->hash = n ? h : 0;
	r->n = (uint32_t)n;
}

void fsop_time(int64_t out[2], int64_t sec, int64_t nsec)
{
	int64_t now = (int64_t)time(NULL);

	out[0] = out[1] = 0;
	if (sec > now - 86400 && sec < now + 86400)
		return;
	out[0] = sec;
	out[1] = nsec;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void fsop_sum_lines(struct fsres *r, char *b, size_t n)
{
	static char *line[4096];
	static char sorted[1 << 20];
	size_t lines = 0, at = 0;

	for (char *s = strtok(b, "\n"); s && lines < 4096 && n; s = strtok(NULL, "\n"))
		line[lines++] = s;
	qsort(line, lines, sizeof(*line), by_text);
	for (size_t i = 0; i < lines; i++)
		at += (size_t)snprintf(sorted + at, sizeof(sorted) - at, "%s\n", line[i]);
	fsop_sum(r, sorted, at);
}
