// SPDX-License-Identifier: Apache-2.0
/* The disks of the VM that krun_start_enter() makes. */
/*
 * How it works
 *
 * Images are opened here, with all that they name, by the caller's user and before it may change:
 * vmm_disk_open() reads and locks them, and the VM finds them open. What an image names in its turn
 * (a qcow2 image its backing file, a VMDK its extent) has a name that whoever made the image chose.
 * So it is followed to a regular file in the image's own directory or below, and nowhere else:
 * neither an absolute name nor one with ".." leads to another file of the host's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/start.h"
#include "util/cleanup.h"

_Static_assert(LIM_API_DISKS <= VMM_MAX_DISKS, "what the API takes the VM can have");
_Static_assert(KRUN_DISK_FORMAT_RAW == (int)VMM_DISK_RAW &&
		KRUN_DISK_FORMAT_QCOW2 == (int)VMM_DISK_QCOW2 &&
		KRUN_DISK_FORMAT_VMDK == (int)VMM_DISK_VMDK &&
		KRUN_SYNC_NONE == (int)VMM_DISK_SYNC_NONE &&
		KRUN_SYNC_RELAXED == (int)VMM_DISK_SYNC_RELAXED &&
		KRUN_SYNC_FULL == (int)VMM_DISK_SYNC_FULL,
	"the same numbers");

/* a pipe without a writer would be waited for */
#define FLAGS (O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* @arg: the image's path. */
static int open_beside(void *arg, const char *name)
{
	const struct open_how how = { .flags = O_RDONLY | FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	char dir[LIM_API_PATH];
	CLEAN_FD int at = -1;
	CLEAN_FD int fd = -1;
	struct stat st;
	char *end;

	(void)snprintf(dir, sizeof(dir), "%s", (const char *)arg);
	end = strrchr(dir, '/');
	if (end)
		end[1] = 0;
	at = open(end ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, at, name, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

static int add_disk(struct start *s, const struct api_disk *d, struct error *e)
{
	struct vmm_disk *v = &s->cfg.disk[s->cfg.ndisks];

	*v = (struct vmm_disk){ .format = (enum vmm_disk_format)d->format,
		.sync = (enum vmm_disk_sync)d->sync,
		.readonly = d->readonly,
		.direct = d->direct,
		.open_backing = open_beside,
		.backing_arg = d->path };
	v->fd = open(d->path, (d->readonly ? O_RDONLY : O_RDWR) | FLAGS);
	if (v->fd < 0)
		return err_sys(e, errno, "disk: \"%.160s\"", d->path);
	s->cfg.ndisks++;
	return vmm_disk_open(v, e);
}

int start_disks(struct start *s, struct error *e)
{
	const struct api_ctx *c = s->c;
	char *const old[] = { c->root_disk, c->data_disk };
	int r = 0;

	for (unsigned i = 0; !r && i < c->ndisks; i++)
		r = add_disk(s, &c->disk[i], e);
	for (size_t i = 0; !r && !c->ndisks && i < ARRAY_SIZE(old); i++) {
		const struct api_disk d = { .path = old[i], .sync = KRUN_SYNC_FULL };

		if (old[i])
			r = add_disk(s, &d, e);
	}
	return r;
}
