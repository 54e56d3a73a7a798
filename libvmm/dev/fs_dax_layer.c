// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: on which file systems a file may be mapped. */
/*
 * How it works
 *
 * A store through the window has no errno, and a page that cannot be read has none either: both end
 * the VM. So nothing is mapped of the kernel's own file systems, whose files may be a device's
 * registers, of those over a network, and of those that write elsewhere each time, where a store
 * can meet a full disk.
 *
 * overlayfs says nothing of what it lies on but in the mount table. That is read once, before the
 * host's /proc and directories are out of sight: a mount without an upper layer is never written
 * to, and one whose upper layer can be found, is of the size that overlayfs tells as its own, and
 * on a file system that writes in place, is as good as that. Any other one is mapped on a read-only
 * share only. So is one that is mounted later. Lower layers are only read; which they are is not
 * asked.
 */
/* #syscalls:fs fstatfs */
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/fs_dax.h"
#include "util/cleanup.h"

#define EXT   0xef53U
#define XFS   0x58465342U
#define TMPFS 0x01021994U

/* Stores have a place where the file has blocks. */
static bool in_place(uint32_t magic)
{
	return magic == EXT || magic == XFS || magic == TMPFS;
}

static bool only_read(uint32_t magic)
{
	return magic == 0xe0f5e1e2 /* erofs */ || magic == 0x73717368 /* squashfs */;
}

static bool layer_known(const struct fs *fs, uint64_t mnt, const struct statfs *st)
{
	const struct fs_dax *d = fs->dax;

	for (unsigned i = 0; i < d->nlayers; i++)
		if (d->layer[i].mnt == mnt)
			return !d->layer[i].upper ||
				(d->layer[i].blocks == (uint64_t)st->f_blocks &&
					d->layer[i].bsize == (uint64_t)st->f_bsize);
	return fs->readonly;
}

uint32_t fs_dax_type(struct fs *fs, struct fs_node *n)
{
	struct fs_dax *d = fs->dax;
	uint32_t magic;
	struct statfs st;
	int fd;

	for (unsigned i = 0; i < d->nseen; i++)
		if (d->seen[i].mnt == n->mnt)
			return d->seen[i].magic;
	fd = fs_dax_fd_of(fs, n);
	if (fd < 0 || fstatfs(fd, &st) < 0)
		return 0;
	magic = (uint32_t)st.f_type;
	if (!in_place(magic) && !only_read(magic) &&
		!(magic == FS_DAX_OVERLAY && layer_known(fs, n->mnt, &st)))
		magic = 0;
	/* The last place is anybody's. */
	if (d->nseen < ARRAY_SIZE(d->seen))
		d->nseen++;
	d->seen[d->nseen - 1] = (struct fs_dax_mount){ n->mnt, magic };
	return magic;
}

/* The mount table writes blanks, commas and backslashes of a path as three octal digits. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
			s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to = *s++;
		}
	}
	*to = 0;
}

/* Whether stores have a place on the directory @path, and the size of its file system. */
static bool upper_is_plain(const char *path, struct fs_layer *l)
{
	const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_MAGICLINKS };
	struct statfs st;

	/* A relative one is so to a directory that whoever mounted it was in; backslashes may stand
	 * for themselves or for what follows. */
	if (path[0] != '/' || strchr(path, '\\'))
		return false;

	CLEAN_FD int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	if (fd < 0 || fstatfs(fd, &st) < 0 || !in_place((uint32_t)st.f_type))
		return false;
	l->blocks = (uint64_t)st.f_blocks;
	l->bsize = (uint64_t)st.f_bsize;
	return true;
}

/* One line of the mount table; false when it is none of a mount that may be mapped. */
static bool layer_of(char *line, struct fs_layer *l)
{
	char *type = strstr(line, " - "), *opts, *at;

	*l = (struct fs_layer){ .mnt = strtoull(line, NULL, 10) };
	if (!type || strncmp(type + 3, "overlay ", 8) != 0)
		return false;
	opts = strchr(type + 11, ' ');
	if (!opts)
		return false;
	opts[strcspn(opts, "\n")] = 0;
	at = strstr(opts, ",upperdir=");
	if (!at)
		return true;
	at += strlen(",upperdir=");
	at[strcspn(at, ",")] = 0;
	unescape(at);
	l->upper = true;
	return upper_is_plain(at, l);
}

int fs_dax_layers(struct fs_dax *d)
{
	CLEAN_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
	CLEAN_FREE char *line = NULL;
	struct fs_layer l;
	size_t size = 0;

	/* Without a table nothing is known of any. */
	while (f && d->nlayers < FS_DAX_LAYERS && getline(&line, &size, f) > 0) {
		struct fs_layer *more;

		if (!layer_of(line, &l))
			continue;
		more = realloc(d->layer, (d->nlayers + 1) * sizeof(l));
		if (!more)
			return -ENOMEM;
		d->layer = more;
		d->layer[d->nlayers++] = l;
	}
	return 0;
}
