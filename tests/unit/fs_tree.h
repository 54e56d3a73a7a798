/* SPDX-License-Identifier: Apache-2.0 */
/* Compares two directory trees by the calls of this process: names, attributes, contents. For tests
 * of one file, which include it once. */
#ifndef KRUN_TESTS_FS_TREE_H
#define KRUN_TESTS_FS_TREE_H

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fake/fsop.h"
#include "util/util.h"

/* The two trees, by calls of this process: each line of one must be one of the other. */
static char tree_text[1 << 17];
static uint8_t tree_data[FSOP_IO];
static FILE *tree_out;
static size_t tree_cut;

static void tree_content(const char *path, const struct stat *st, struct fsres *r)
{
	uint64_t sum = 0;
	ssize_t n;
	int fd;

	if (S_ISLNK(st->st_mode)) {
		n = readlink(path, tree_text, sizeof(tree_text));
		fsop_sum(r, tree_text, n < 0 ? 0 : (size_t)n);
		return;
	}
	if (!S_ISREG(st->st_mode) || st->st_size > 1 << 22)
		return;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
	while ((n = read(fd, tree_data, sizeof(tree_data))) > 0) {
		fsop_sum(r, tree_data, (size_t)n);
		sum = sum * 31 + r->hash;
	}
	r->hash = sum;
	(void)close(fd);
}

static int tree_line(const char *path, const struct stat *st, int type, struct FTW *f)
{
	struct fsres r = { .ret = 0 }, x = { .ret = 0 };
	ssize_t n = llistxattr(path, tree_text, sizeof(tree_text));

	(void)type;
	(void)f;
	for (ssize_t i = 0; i < n; i++)
		if (!tree_text[i])
			tree_text[i] = '\n';
	tree_text[n > 0 ? n : 0] = 0;
	fsop_sum_lines(&x, tree_text, n > 0 ? (size_t)n : 0);
	tree_content(path, st, &r);
	fprintf(tree_out, "%s %o %u:%u %u %" PRId64 " %" PRIx64 " x%" PRIx64 "\n", path + tree_cut,
		st->st_mode, st->st_uid, st->st_gid, (unsigned)st->st_nlink,
		S_ISDIR(st->st_mode) ? 0 : (int64_t)st->st_size, r.hash, x.hash);
	return 0;
}

static bool tree(const char *path, char **out)
{
	struct fsres r = { .ret = 0 };
	size_t n;

	tree_out = open_memstream(out, &n);
	tree_cut = strlen(path);
	if (!tree_out || nftw(path, tree_line, 32, FTW_PHYS) < 0)
		return false;
	return !fclose(tree_out) && n && (fsop_sum(&r, *out, n), true);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **lines_of(char *s, size_t *n)
{
	char **line = calloc(100000, sizeof(*line));

	*n = 0;
	for (char *l = strtok(s, "\n"); l && *n < 100000; l = strtok(NULL, "\n"))
		line[(*n)++] = l;
	qsort(line, *n, sizeof(*line), by_text);
	return line;
}

static bool trees_same(const char *one, const char *other, bool tell)
{
	char *a = NULL, *b = NULL, **la, **lb;
	size_t na, nb;
	bool ok;

	if (!tree(one, &a) || !tree(other, &b))
		return false;
	la = lines_of(a, &na);
	lb = lines_of(b, &nb);
	ok = na == nb;
	for (size_t i = 0; i < MIN(na, nb); i++) {
		if (!strcmp(la[i], lb[i]))
			continue;
		if (tell)
			printf("# trees differ: \"%s\" and \"%s\"\n", la[i], lb[i]);
		ok = false;
		break;
	}
	free(la);
	free(lb);
	free(a);
	free(b);
	return ok;
}

#endif
