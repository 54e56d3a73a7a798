/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's directory below the state root.
 *
 *	config.json	the config as it was at create
 *	state.json	identity: bundle, rootfs, cgroup, creation time, size of the VM; the VMM's
 *			pid with its start time once it exists
 *	status		16 bytes that the VMM itself keeps up to date: phase and exit code
 *	lock		flock()ed by create, start and delete for as long as they work
 *	s		control socket of the VMM
 *	seccomp		the compiled filter, from the first exec on
 *
 * The directory appears complete (built aside, renamed), goes the same way, state.json is replaced
 * by rename, and what the VMM says of itself counts only while that very process lives: so a kill
 *-9 at any moment leaves something that can be read, is true, and can be deleted.
 */
#ifndef KRUN_OCI_STATE_H
#define KRUN_OCI_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "oci/runtime.h"
#include "util/err.h"

enum phase {
	PHASE_CREATING,
	PHASE_CREATED,
	PHASE_RUNNING,
	PHASE_PAUSED,
	PHASE_STOPPED,
};

const char *phase_name(enum phase p);

/* The status file: little-endian, written whole at offset 0 by the VMM alone. */
#define STATUS_MAGIC 0x5453524bU /* "KRST" */
struct status_file {
	uint32_t magic;
	uint32_t phase;
	int32_t exit_code; /* valid when phase is STOPPED */
	uint32_t flags;	   /* STATUS_* */
};
#define STATUS_LOST 1u /* the VM ended under the workload: exit_code is not the workload's */
_Static_assert(sizeof(struct status_file) == 16, "on disk");

struct container {
	char *id;
	int root_fd, dir_fd, lock_fd; /* state root, own directory, lock; -1 when not open */
	char *bundle, *rootfs,
		*cgroup;    /* cgroup: below the mount of cgroup2, NULL when there is none */
	char *scope;	    /* systemd's unit that the cgroup is, or NULL */
	char *created;	    /* RFC 3339 */
	char *version;	    /* ociVersion of the config */
	char *ignore;	    /* what it was created with of refusals to ignore, or NULL */
	size_t cgroup_kept; /* bytes of @cgroup that were there before this container */
	uint32_t owner;
	pid_t pid;	    /* 0 until it exists */
	uint64_t pid_start; /* its start time, field 22 of stat */
	uint32_t vcpus;	    /* what the VM was made with; 0: none, or not recorded */
	uint64_t ram;	    /* bytes */
	uint32_t hooks;	    /* HOOK_BIT()s of the kinds that the config has */
	uint32_t nic;	    /* enum spec_nic_kind: start makes it */
	/* the interface whose frames go to the guest: its network namespace, and its number there;
	 * 0: none */
	uint64_t net_inode;
	uint32_t net_index;
};

void container_free(
	struct container *c); /* for CLEAN(): takes a pointer to the struct, NULLs its members */

/* Opens the state root, creating it (0700) when @create. -ENOENT leaves @e unset when it is the
 * default one. */
int state_root(const struct rt *rt, bool create, struct error *e);
/* Its path; -ENAMETOOLONG. */
int state_root_path(const struct rt *rt, char *buf, size_t n);
/* Removes what creates and deletes that were killed left aside. Best effort. */
void state_sweep(int root_fd);

/* Makes the directory with config.json and state.json of @c, locked. -EEXIST "… already exists". */
int container_make(const struct rt *rt, struct container *c, const char *config, size_t config_len,
	struct error *e);
/* Rewrites state.json from @c. */
int container_store(const struct container *c, struct error *e);
/* Opens an existing one; -ENOENT "container "x" does not exist" when the directory (or the root) is
 * missing, -ENODATA when it is there without a state.json. */
int container_open(const struct rt *rt, const char *id, struct container *c, struct error *e);
/* Reads state.json again. Errors as container_open(). */
int container_refresh(struct container *c, struct error *e);
/*
 * Takes the lock within @ms: -EBUSY; -ENOENT when the container went away meanwhile, whether or not
 * there is a new one of its id; -ENOLCK when there is no lock. Held until container_unlock() or
 * container_free().
 */
int container_lock(struct container *c, unsigned ms, struct error *e);
void container_unlock(struct container *c);
/* Removes the directory; the caller holds the lock. */
int container_remove(struct container *c, struct error *e);

/* What it is doing now; *exit_code may be NULL. */
enum phase container_phase(const struct container *c, int *exit_code);
/* A pidfd of the VMM, checked against its start time; -ESRCH. */
int container_pidfd(const struct container *c);
/* The VMM's side: opens the status file for writing and stores @p. */
int status_open(const struct container *c);
int status_write(int fd, enum phase p, int exit_code, uint32_t flags);
/* The phase that the VMM has written last, whether or not it lives. */
enum phase status_read(const struct container *c);
/* True when the VM ended under the workload. */
bool container_was_lost(const struct container *c);

/* Kills whatever is left and waits up to @ms; removes cgroup and directory. */
int container_destroy(struct container *c, unsigned ms, struct error *e);

#endif
