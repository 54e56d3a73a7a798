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
 * Files whose content is made when it is read have the size 0 there. The guest's page cache would
 * take that for the end of the file, so they are read past it.
 *
 * System calls: none where the directory, or the file's file system, cannot be one of those; OPEN 1
 * (statx) on a file system without a device, 2 for an empty file there.
 */
/* #syscalls:fs statx fstatfs readlinkat */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/fs.h"

#ifndef CONFIGFS_MAGIC
#define CONFIGFS_MAGIC 0x62656570
#endif
#define PROC_ROOT_INO 1
#define PID_DIGITS    10

/* All these have device numbers without a device. */
static bool may_be_pseudo(const struct fs_node *n)
{
	return !(n->dev >> 32);
}

/* Of the file system of @fd; 0 when that is not told, as none of these would do. */
static uint32_t magic(int fd)
{
	struct statfs st;

	return fstatfs(fd, &st) < 0 ? 0 : (uint32_t)st.f_type;
}

bool fs_pseudo_hidden(const struct fs_node *dir, int dfd, const char *name)
{
	char path[sizeof("self/task/") + PID_DIGITS];
	size_t len = strspn(name, "0123456789");
	struct statx sx;
	int r;

	if (dir->ino != PROC_ROOT_INO || !may_be_pseudo(dir))
		return false;
	if (!len || name[len] || len > PID_DIGITS || magic(dfd) != PROC_SUPER_MAGIC)
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

/* Whose files say that their size is 0, and can be read all the same. */
static bool sizeless(uint32_t fs_magic)
{
	static const uint32_t those[] = { PROC_SUPER_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
		SYSFS_MAGIC, TRACEFS_MAGIC, DEBUGFS_MAGIC, SECURITYFS_MAGIC, BPF_FS_MAGIC,
		BINFMTFS_MAGIC, SELINUX_MAGIC, SMACK_MAGIC, RDTGROUP_SUPER_MAGIC };

	for (unsigned i = 0; i < ARRAY_SIZE(those); i++)
		if (those[i] == fs_magic)
			return true;
	return false;
}

int fs_pseudo_opened(const struct fs *fs, const struct fs_node *n, int fd, bool *direct)
{
	struct statx sx;
	uint32_t m;
	int r;

	*direct = false;
	if (!may_be_pseudo(n))
		return 0;
	r = fs_stat_fd(fd, &sx);
	/* What has both is stored somewhere: a file of sysfs has a page's size, or its device's. */
	if (r < 0 || (sx.stx_size && sx.stx_blocks))
		return r;
	m = magic(fd);
	if (m == PROC_SUPER_MAGIC && is_memory(fs, fd))
		return -EACCES;
	*direct = m == SYSFS_MAGIC || m == CONFIGFS_MAGIC || (!sx.stx_size && sizeless(m));
	return 0;
}
