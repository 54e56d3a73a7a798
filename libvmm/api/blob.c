// SPDX-License-Identifier: Apache-2.0
/* The workload as the agent is told of it: a container with nothing taken away. */
#include <errno.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "api/start.h"
#include "init/proto/blob.h"
#include "util/cleanup.h"

#define QUIET (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV)

/* The original's way to be PID 1, and to go without signals that have no handler. */
static bool wants_pid1(const struct work *w)
{
	for (size_t i = 0; i < w->env.n; i++) {
		if (!strncmp(w->env.v[i], "KRUN_INIT_PID1=1", sizeof("KRUN_INIT_PID1=1") - 1))
			return true;
	}
	return false;
}

static void put_process(struct blob_w *b, const struct work *w, const struct api_ctx *c,
	unsigned stdio, int tty, bool hvc0)
{
	struct blob_process p = { .stdio = stdio, .flags = wants_pid1(w) ? 0 : BLOB_P_REAPER };
	struct winsize ws;
	uint64_t v[3];

	if (tty >= 0 && hvc0)
		p.flags |= BLOB_P_HVC0;
	if (tty >= 0 && !ioctl(tty, TIOCGWINSZ, &ws)) {
		p.rows = ws.ws_row;
		p.cols = ws.ws_col;
	}
	blob_put_process(b, &p);
	for (size_t i = 0; i < w->args.n; i++)
		blob_put_str(b, BLOB_T_ARG, w->args.v[i]);
	for (size_t i = 0; i < w->env.n; i++)
		blob_put_str(b, BLOB_T_ENV, w->env.v[i]);
	if (w->cwd)
		blob_put_str(b, BLOB_T_CWD, w->cwd);
	for (size_t i = 0; i < c->rlimits.n; i++) {
		if (api_rlimit(c->rlimits.v[i], v))
			blob_put_rlimit(b, (uint32_t)v[0], v[1], v[2]);
	}
}

/* What the original's first process mounts. */
static const struct {
	const char *type, *dest, *data;
	uint64_t attr;
	uint32_t flags;
} base[] = {
	{ "devtmpfs", "/dev", "", MOUNT_ATTR_NOSUID, 0 },
	{ "proc", "/proc", "", QUIET, 0 },
	{ "sysfs", "/sys", "", QUIET, 0 },
	{ "cgroup2", "/sys/fs/cgroup", "", QUIET, BLOB_M_OPTIONAL },
	{ "devpts", "/dev/pts", "mode=620,ptmxmode=666", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0 },
	{ "tmpfs", "/dev/shm", "mode=1777", QUIET, 0 },
};

bool work_mounts(const struct api_ctx *c, const char *dest)
{
	char path[LIM_API_PATH];

	for (size_t i = 0; i < ARRAY_SIZE(base); i++) {
		if (!strcmp(base[i].dest, dest))
			return true;
	}
	for (size_t i = 0; i < c->volumes.n; i++) {
		work_path(api_volume_guest(c->volumes.v[i]), path);
		if (!strcmp(path, dest))
			return true;
	}
	return !strcmp(dest, "/");
}

static void put_mount(struct blob_w *b, const char *type, const char *dest, const char *data,
	uint64_t attr, uint32_t flags)
{
	struct blob_mount m = { .kind = BLOB_M_FS, .flags = flags, .attr_set = attr };

	blob_put_mount(b, &m, type, type, dest, data);
}

/* Those, and then what this program and the config want. */
static void put_mounts(struct blob_w *b, const struct work *w, const struct api_ctx *c)
{
	const struct blob_mount share = { .kind = BLOB_M_FS };
	char tag[32];

	for (size_t i = 0; i < ARRAY_SIZE(base); i++)
		put_mount(b, base[i].type, base[i].dest, base[i].data, base[i].attr, base[i].flags);
	if (w->tmpfs)
		put_mount(b, "tmpfs", w->tmpfs, "", QUIET, 0);
	for (size_t i = 0; i < c->volumes.n; i++) {
		(void)snprintf(tag, sizeof(tag), "libkrun.%zu", i);
		blob_put_mount(b, &share, "virtiofs", tag, api_volume_guest(c->volumes.v[i]), "");
	}
}

int work_blob(const struct work *w, const struct api_ctx *c, unsigned stdio, int tty, bool hvc0,
	uint8_t **out, size_t *len, struct error *e)
{
	struct blob_container k = { .namespaces = BLOB_NS_CGROUP,
		.root_propagation = MS_REC | MS_SHARED };
	struct msg_proc head = { .proc = PROTO_PROC_INIT };
	struct blob_w b;
	int r;

	blob_begin(&b, BLOB_CREATE, sizeof(head));
	put_process(&b, w, c, stdio, tty, hvc0);
	blob_put_container(&b, &k);
	if (c->remount_dev)
		blob_put_root(&b, c->remount_type ? c->remount_type : "auto", c->remount_dev,
			c->remount_opts ? c->remount_opts : "");
	blob_put_str(&b, BLOB_T_HOSTNAME, w->hostname);
	put_mounts(&b, w, c);
	r = blob_done(&b, out, len);
	if (r)
		return err_sys(e, r, "the workload's description is too large for the guest");
	(void)memcpy(*out, &head, sizeof(head));
	return 0;
}
