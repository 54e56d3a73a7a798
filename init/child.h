/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the child that becomes the workload share; nothing here runs in the agent
 * itself. */
#ifndef KRUN_INIT_CHILD_H
#define KRUN_INIT_CHILD_H

#include "agent.h"

/* The agent's end sees one of these per SOCK_SEQPACKET message; the terminal's master travels with
 * SYNC_READY. */
void child_warn(struct child *c, const struct fail *f);
/* Writes a file of the agent's /proc/self, which stays reachable by fd after the root was changed.
 * 0 or -errno. */
int child_write_self(struct child *c, const char *name, const char *value);

/* mounts.c */
int mounts_build(struct child *c, struct fail *f);
int mounts_enter(struct child *c, struct fail *f); /* the tree becomes "/" */
/*
 * O_PATH fd of @path in the container's tree, whose links cannot lead out of it. With @make 'd' or
 * 'f' what is missing is made, the last component as a directory or an empty file. -errno; *@f (may
 * be NULL) is filled.
 */
int tree_open(struct child *c, const char *path, char make, struct fail *f);
/* Puts the detached mount @mnt on @dest; both are fds. 0 or -errno. */
int mount_on(int mnt, int dest);
/* A new, detached filesystem with comma-separated options; an fd or -errno with *@f filled. */
int mount_new(
	const char *type, const char *source, const char *data, unsigned attr, struct fail *f);
/* The mount whose destination is @dest, the last one, or NULL. */
const struct blob_view_mount *mount_at(const struct blob_view *s, const char *dest);

/* copyup.c: copies what is in directory @from into the detached mount @mnt. */
int copyup(int from, int mnt, struct fail *f);

/* devices.c */
int devices_mount_dev(struct child *c, struct fail *f);
int devices_make(struct child *c, struct fail *f);
int devices_mask(struct child *c, struct fail *f);
/* Where /dev is the guest's own: the terminal @slave as /dev/console, which is made; with @hvc0
 * over the device /dev/hvc0 as well, if there is one. */
int devices_console(struct child *c, const char *slave, bool hvc0, struct fail *f);

/* home.c: the environment, with a HOME if it has none. On the heap or @s's own. */
char **env_with_home(const struct blob_view *s);

/* hooks.c: runs the startContainer hooks; the first that fails ends it, with *@f. */
int hooks_run(struct child *c, struct fail *f);

/* notify.c: while the tree is built. *@sock is what the agent reads, or -1. */
int notify_make(struct child *c, int *sock, struct fail *f);

/* process.c */
/* Applies the settings and executes the program; returns only on failure, with *@stage. */
int process_exec(struct child *c, uint32_t *stage, struct fail *f);

#endif
