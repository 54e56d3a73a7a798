// SPDX-License-Identifier: Apache-2.0
/* Devices that other processes serve by vhost-user: kept here, connected to at the start. */
/*
 * How it works
 *
 * What krun_add_vhost_user_device() says is looked at and copied into the context. The start makes
 * a socket for each and connects it, by the user whom the VM runs as, within a time limit; the VM
 * gets it connected, and asks the back end for everything else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "api/start.h"
#include "util/cleanup.h"

_Static_assert(LIM_API_VHOST <= VMM_MAX_VHOST_USER && LIM_VQS == VMM_MAX_QUEUES,
	"what the API takes the VM can have");

#define TYPE_BLK 2
#define TYPE_FS	 26

/* VSOCK is not here: a guest has one such device, which is the agent's. */
static bool known(uint32_t type)
{
	static const uint32_t types[] = { TYPE_BLK, KRUN_VIRTIO_DEVICE_CONSOLE,
		KRUN_VIRTIO_DEVICE_RNG, KRUN_VIRTIO_DEVICE_RTC, KRUN_VIRTIO_DEVICE_INPUT,
		KRUN_VIRTIO_DEVICE_SND, TYPE_FS, KRUN_VIRTIO_DEVICE_CAN };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i] == type)
			return true;
	return false;
}

/* As many as there are queues, or, where the back end says how many, up to a 0. */
static int take_sizes(struct api_vhost *d, const uint16_t *sizes)
{
	for (unsigned i = 0; sizes; i++) {
		if (d->nqueues ? i == d->nqueues : !sizes[i])
			break;
		if (i == LIM_VQS || !IS_POW2(sizes[i]) || sizes[i] > LIM_VQ_SIZE)
			return -EINVAL;
		d->size[i] = sizes[i];
	}
	return 0;
}

static int take(struct api_ctx *c, struct api_vhost *d, const char *path, const char *name)
{
	size_t max = sizeof(((struct vmm_vhost_user *)0)->name);
	int r = d->type == TYPE_FS && (!name || !*name) ? -EINVAL : 0;

	if (!r)
		r = api_set(&d->path, path, sizeof(((struct sockaddr_un *)0)->sun_path));
	if (!r)
		r = api_set_or_null(&d->name, name, max);
	if (!r && !known(d->type))
		r = -ENOTSUP;
	if (!r && c->nvhost == LIM_API_VHOST)
		r = -ENOSPC;
	return r;
}

int32_t krun_add_vhost_user_device(uint32_t ctx_id, uint32_t device_type, const char *socket_path,
	const char *name, uint16_t num_queues, const uint16_t *queue_sizes)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	struct api_vhost d = { .type = device_type, .nqueues = num_queues };
	int r;

	if (!c)
		return -ENOENT;
	if (!device_type || !socket_path || !*socket_path || num_queues > LIM_VQS)
		return -EINVAL;
	r = take_sizes(&d, queue_sizes);
	if (!r)
		r = take(c, &d, socket_path, name);
	if (r) {
		free(d.path);
		free(d.name);
		return r;
	}
	c->vhost[c->nvhost++] = d;
	return 0;
}

bool start_has_vhost(const struct api_ctx *c, uint32_t type)
{
	for (unsigned i = 0; i < c->nvhost; i++)
		if (c->vhost[i].type == type)
			return true;
	return false;
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * Who listens and takes no connection holds up one that comes when his backlog is full, for ever:
 * the time that a socket may send for is also that of its connect(). A signal's handler ends the
 * wait, so what is left of the time is set anew.
 */
int start_vhost_connect(int fd, const char *path, unsigned ms)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct timeval for_ever = { 0 };
	int64_t end = now_ms() + ms;
	int r;

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	do {
		int64_t left = MAX(end - now_ms(), (int64_t)1);
		const struct timeval t = { .tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 };

		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)))
			return -errno;
		r = connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	} while (r == -EINTR && now_ms() < end);
	if (r == -EAGAIN || r == -EINTR)
		return -ETIMEDOUT;
	if (!r && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &for_ever, sizeof(for_ever)))
		r = -errno;
	return r;
}

int start_vhost(struct start *s, struct error *e)
{
	for (unsigned i = 0; i < s->c->nvhost; i++) {
		const struct api_vhost *d = &s->c->vhost[i];
		struct vmm_vhost_user *v = &s->cfg.vhost_user[i];
		int r;

		*v = (struct vmm_vhost_user){ .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
			.type = d->type,
			.queues = d->nqueues };
		if (v->fd < 0)
			return err_sys(e, errno, "vhost-user device: a socket");
		s->cfg.nvhost_user++;
		(void)memcpy(v->queue_size, d->size, sizeof(v->queue_size));
		(void)snprintf(v->name, sizeof(v->name), "%s", d->name ? d->name : "");
		r = start_vhost_connect(v->fd, d->path, LIM_VHU_WAIT_MS);
		if (r)
			return err_sys(e, r, "vhost-user device: \"%.108s\"", d->path);
	}
	return 0;
}
