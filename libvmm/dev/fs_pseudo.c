// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: what differs on file systems that the host's kernel makes up. */
/*
 * A procfs in the tree (a bind of /proc, or of a tree that has one) would show the guest the very
 * process that serves it. The kernel lets every thread open its own process's memory, whoever it
 * is and whatever it may do: reading it is all of the VMM, writing it is code in it. So on a procfs
 * the directories of this process and its threads are not there, and nobody's "mem" can be opened,
 * another VMM's would be as good. Whose a directory is says procfs itself, by the numbers of that
 * mount, and what a file's name is says the kernel: no name of the guest's is believed.
 *
 * System calls: none where the directory, or the file's file system, cannot be one of those.
 */
/* #syscalls:fs statx fstatfs readlinkat */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/fs.h"

#define PROC_ROOT_INO 1
#define PID_DIGITS    10

/* All these have device numbers without a device. */
static bool may_be_pseudo(const struct fs_node *n)
{
	return !(n->dev >> 32);
}

static bool is_procfs(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && st.f_type == PROC_SUPER_MAGIC;
}

bool fs_pseudo_hidden(const struct fs_node *dir, int dfd, const char *name)
{
	char path[sizeof("self/task/") + PID_DIGITS];
	size_t len = strspn(name, "0123456789");
	struct statx sx;
	int r;

	if (dir->ino != PROC_ROOT_INO || !may_be_pseudo(dir))
		return false;
	if (!len || name[len] || len > PID_DIGITS || !is_procfs(dfd))
		return false;
	/* The main thread's number is the process's. Threads have directories here too, which are
	 * not listed. */
	(void)snprintf(path, sizeof(path), "self/task/%s", name);
	r = fs_stat_at(dfd, path, &sx);
	return r != -ENOENT && r != -ESRCH;
}

/* Whether the open file @fd is "mem" of a process, by the kernel's word; true if that is not to be
 * had. */
static bool is_memory(const struct fs *fs, int fd)
{
	char num[16], path[4096];
	const char *name;
	ssize_t n;

	(void)snprintf(num, sizeof(num), "%d", fd);
	n = readlinkat(fs->proc_fd, num, path, sizeof(path) - 1);
	if (n < 0)
		return true;
	path[n] = 0;
	name = strrchr(path, '/');
	/* " (deleted)" follows when the process has just ended. */
	return !name || (!strncmp(name, "/mem", 4) && (!name[4] || name[4] == ' '));
}

int fs_pseudo_opened(const struct fs *fs, const struct fs_node *n, int fd)
{
	struct statx sx;
	int r;

	if (!may_be_pseudo(n))
		return 0;
	r = fs_stat_fd(fd, &sx);
	if (r < 0)
		return r;
	/* Nothing of a process has a size; what has one is spared the call. */
	if (sx.stx_size || !is_procfs(fd))
		return 0;
	return is_memory(fs, fd) ? -EACCES : 0;
}
