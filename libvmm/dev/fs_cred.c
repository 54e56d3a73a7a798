// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: as whom the serving thread acts on the host.
 *
 * How it works: access is checked by the guest's kernel (default_permissions), so the server serves
 * with all the rights it has. Only what it creates must belong to the guest's user from its first
 * moment, with the group rules of the directory, default ACLs and quota of that user: creating as
 * root and chown() after would show a root-owned file in between, and leave one behind when the
 * process is killed there. So the file system ids are switched around the one call that creates;
 * leaving uid 0 drops capabilities that override permissions, which come back by capset(), since
 * the user's right (maybe by a supplementary group) has been checked already. Users other than the
 * server's pay 6 short calls, all others none. A change of ids makes the process undumpable, which
 * is put back. Without CAP_SETUID and CAP_SETGID files are our own.
 *
 * Set-id bits fall on write, as the guest asks (KILLPRIV_V2), when the thread lacks CAP_FSETID. The
 * capability is taken away and given back only when the wish changes, so a stream of writes by one
 * kind of user costs nothing.
 *
 * All this belongs to the thread, not to a server: servers that share a thread must share the one
 * record of it, or each would take what the other has left for what it found. So the record is
 * thread-local, as what it mirrors is in the kernel.
 */
/* #syscalls:fs unshare:CLONE_FS umask fchdir capget capset setfsuid setfsgid
 * prctl:PR_GET_DUMPABLE prctl:PR_SET_DUMPABLE */
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dev/fs.h"

#define CAP_BIT(c) (1ULL << (c))

static __thread struct fs_cred cred;

static struct __user_cap_header_struct cap_header(void)
{
	return (struct __user_cap_header_struct){ .version = _LINUX_CAPABILITY_VERSION_3 };
}

static int set_effective(struct fs_cred *c, uint64_t eff)
{
	struct __user_cap_header_struct h = cap_header();
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)eff, (uint32_t)c->permitted, (uint32_t)c->inheritable },
		{ (uint32_t)(eff >> 32), (uint32_t)(c->permitted >> 32),
			(uint32_t)(c->inheritable >> 32) },
	};

	if (syscall(SYS_capset, &h, d) < 0) {
		c->cur = 0; /* not known: the next wish is tried for real */
		return -errno;
	}
	c->cur = eff;
	return 0;
}

int fs_attach_thread(struct fs *fs)
{
	struct __user_cap_header_struct h = cap_header();
	struct __user_cap_data_struct d[2] = { { 0 }, { 0 } };
	struct fs_cred *c = &cred;
	uint64_t need = CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID);

	if (c->attached)
		return 0;
	/* xattrs of what has only an O_PATH fd are reached as "N" in /proc/self/fd, which is this
	 * thread's cwd. */
	if (unshare(CLONE_FS) < 0 || fchdir(fs->proc_fd) < 0 || syscall(SYS_capget, &h, d) < 0)
		return -errno;
	(void)umask(0); /* the guest's kernel has applied the caller's, or says what it is */
	c->base = (uint64_t)d[1].effective << 32 | d[0].effective;
	c->permitted = (uint64_t)d[1].permitted << 32 | d[0].permitted;
	c->inheritable = (uint64_t)d[1].inheritable << 32 | d[0].inheritable;
	c->cur = c->base;
	c->uid = (uint32_t)setfsuid((uid_t)-1);
	c->gid = (uint32_t)setfsgid((gid_t)-1);
	c->ok_uid = c->uid;
	c->ok_gid = c->gid;
	c->can_setid = (c->base & need) == need;
	c->dumpable = prctl(PR_GET_DUMPABLE) == 1;
	c->attached = true;
	return 0;
}

bool fs_thread_attached(void)
{
	return cred.attached;
}

void fs_cred_leave(struct fs *fs)
{
	struct fs_cred *c = &cred;

	(void)fs;
	if (c->masked)
		(void)umask(0);
	c->masked = false;
	if (!c->entered)
		return;
	c->entered = false;
	(void)setfsuid(c->uid);
	(void)setfsgid(c->gid);
	/* The kernel gives and takes capabilities by itself where one side is uid 0. */
	(void)set_effective(c, c->base);
	if (c->dumpable)
		(void)prctl(PR_SET_DUMPABLE, 1);
}

static int enter_ids(struct fs *fs, uint32_t uid, uint32_t gid)
{
	struct fs_cred *c = &cred;
	int r;

	fs_cred_fsetid(true);
	if (!c->can_setid || (uid == c->uid && gid == c->gid))
		return 0;
	c->entered = true;
	if (gid != c->gid)
		(void)setfsgid(gid);
	if (uid != c->uid)
		(void)setfsuid(uid);
	/* Both return the id from before and say nothing of failure: an id without a mapping in our
	 * user namespace. */
	if (uid != c->ok_uid || gid != c->ok_gid) {
		if ((uint32_t)setfsuid((uid_t)-1) != uid || (uint32_t)setfsgid((gid_t)-1) != gid) {
			fs_cred_leave(fs);
			return -EOVERFLOW;
		}
		c->ok_uid = uid;
		c->ok_gid = gid;
	}
	r = set_effective(c, c->base);
	if (r < 0)
		fs_cred_leave(fs);
	return r;
}

int fs_cred_enter(struct fs *fs, uint32_t uid, uint32_t gid, uint32_t mask)
{
	int r = enter_ids(fs, uid, gid);

	/* An unattached thread has its umask in common with others. */
	if (!r && cred.attached && (fs->flags & FS_I_DONT_MASK) && (mask & 0777)) {
		(void)umask(mask & 0777);
		cred.masked = true;
	}
	return r;
}

void fs_cred_fsetid(bool keep_bits)
{
	struct fs_cred *c = &cred;
	uint64_t want = keep_bits ? c->base : c->base & ~CAP_BIT(CAP_FSETID);

	if (c->attached && want != c->cur)
		(void)set_effective(c, want);
}
