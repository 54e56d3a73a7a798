/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls and kernel constants that musl has no names for (and that glibc's and the kernel's
 * headers define in conflicting ways): those the agent needs, under names of our own. All return 0
 * or more, or -1 with errno.
 */
#ifndef KRUN_INIT_SYS_H
#define KRUN_INIT_SYS_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same on every architecture that this is built for. */
#define NR_open_tree	 428
#define NR_move_mount	 429
#define NR_fsopen	 430
#define NR_fsconfig	 431
#define NR_fsmount	 432
#define NR_pidfd_open	 434
#define NR_clone3	 435
#define NR_close_range	 436
#define NR_openat2	 437
#define NR_mount_setattr 442

#define K_MS_RDONLY  1
#define K_MS_NOSUID  2
#define K_MS_REMOUNT 32
#define K_MS_BIND    0x1000
#define K_MS_NODEV   4
#define K_MS_NOEXEC  8
#define K_MS_MOVE    0x2000
#define K_MS_REC     0x4000
#define K_MS_SILENT  0x8000
#define K_MS_PRIVATE 0x40000

#define K_MNT_DETACH 2

#define K_AT_RECURSIVE	    0x8000
#define K_OPEN_TREE_CLONE   1
#define K_OPEN_TREE_CLOEXEC O_CLOEXEC
#define K_MOVE_F_EMPTY	    0x04
#define K_MOVE_T_EMPTY	    0x40

#define K_ATTR_RDONLY	   0x01
#define K_ATTR_NOSUID	   0x02
#define K_ATTR_NODEV	   0x04
#define K_ATTR_NOEXEC	   0x08
#define K_ATTR__ATIME	   0x70
#define K_ATTR_NODIRATIME  0x80
#define K_ATTR_NOSYMFOLLOW 0x200000

#define K_FSCONFIG_SET_FLAG   0
#define K_FSCONFIG_SET_STRING 1
#define K_FSCONFIG_CMD_CREATE 6

#define K_RESOLVE_NO_MAGICLINKS 0x02
#define K_RESOLVE_NO_SYMLINKS	0x04
#define K_RESOLVE_BENEATH	0x08
#define K_RESOLVE_IN_ROOT	0x10

#define K_CLONE_NEWTIME	    0x00000080u
#define K_CLONE_NEWNS	    0x00020000u
#define K_CLONE_NEWCGROUP   0x02000000u
#define K_CLONE_NEWUTS	    0x04000000u
#define K_CLONE_NEWIPC	    0x08000000u
#define K_CLONE_NEWPID	    0x20000000u
#define K_CLONE_PIDFD	    0x00001000u
#define K_CLONE_INTO_CGROUP 0x200000000ULL

struct k_mount_attr {
	uint64_t set, clr, propagation, userns_fd;
};

struct k_open_how {
	uint64_t flags, mode, resolve;
};

struct k_clone_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size, cgroup;
};

static inline int sys_open_tree(int dfd, const char *path, unsigned flags)
{
	return (int)syscall(NR_open_tree, dfd, path, flags);
}

static inline int sys_move_mount(int ffd, const char *from, int tfd, const char *to, unsigned flags)
{
	return (int)syscall(NR_move_mount, ffd, from, tfd, to, flags);
}

static inline int sys_fsopen(const char *type)
{
	return (int)syscall(NR_fsopen, type, 1 /* close on exec */);
}

static inline int sys_fsconfig(int fd, unsigned cmd, const char *key, const char *value)
{
	return (int)syscall(NR_fsconfig, fd, cmd, key, value, 0);
}

static inline int sys_fsmount(int fd, unsigned attr)
{
	return (int)syscall(NR_fsmount, fd, 1 /* close on exec */, attr);
}

static inline int sys_mount_setattr(int dfd, unsigned flags, const struct k_mount_attr *a)
{
	return (int)syscall(NR_mount_setattr, dfd, "", flags | AT_EMPTY_PATH, a, sizeof(*a));
}

static inline int sys_mount(
	const char *src, const char *dst, const char *type, unsigned long flags, const void *data)
{
	return (int)syscall(SYS_mount, src, dst, type, flags, data);
}

static inline int sys_umount(const char *path)
{
	return (int)syscall(SYS_umount2, path, K_MNT_DETACH);
}

static inline int sys_openat2(int dfd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct k_open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };

	return (int)syscall(NR_openat2, dfd, path, &how, sizeof(how));
}

static inline long sys_clone3(struct k_clone_args *a)
{
	return syscall(NR_clone3, a, sizeof(*a));
}

static inline int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return (int)syscall(NR_close_range, first, last, flags);
}

#endif
