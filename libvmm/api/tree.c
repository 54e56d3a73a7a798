// SPDX-License-Identifier: Apache-2.0
/* A small directory with the agent in it, the root share of kernels that have no initramfs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/start.h"
#include "oci/initramfs.h"
#include "util/cleanup.h"
#include "util/io.h"

#define INIT "init.krun"

/* Where the agent mounts: there, so that the share can be read-only. */
static const char *const dirs[] = { "dev", "proc", "sys", "r", "c", "cg" };

static int fill(struct tree *t)
{
	CLEAN_FD int init = -1;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (mkdirat(t->fd, dirs[i], 0755))
			return -errno;
	}
	init = openat(t->fd, INIT, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (init < 0)
		return -errno;
	return io_pwrite(init, agent_image,
		(size_t)((uintptr_t)agent_image_end - (uintptr_t)agent_image), 0);
}

int tree_make(struct tree *t, struct error *e)
{
	const char *tmp = secure_getenv("TMPDIR");
	int r;

	t->fd = -1;
	if (!tmp || *tmp != '/' || strlen(tmp) > sizeof(t->path) - sizeof("/libkrun-XXXXXX"))
		tmp = "/tmp";
	(void)snprintf(t->path, sizeof(t->path), "%s/libkrun-XXXXXX", tmp);
	if (!mkdtemp(t->path)) {
		r = err_sys(e, errno, "a directory for the agent, in %s", tmp);
		t->path[0] = 0;
		return r;
	}
	t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = t->fd < 0 ? -errno : fill(t);
	if (!r && fchmod(t->fd, 0755))
		r = -errno;
	if (r)
		tree_remove(t);
	return r ? err_sys(e, r, "a directory for the agent") : 0;
}

void tree_remove(struct tree *t)
{
	if (!t->path[0])
		return;
	if (t->fd >= 0) {
		(void)unlinkat(t->fd, INIT, 0);
		for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
			(void)unlinkat(t->fd, dirs[i], AT_REMOVEDIR);
		(void)close(TAKE_FD(t->fd));
	}
	(void)rmdir(t->path);
	t->path[0] = 0;
}
