// SPDX-License-Identifier: Apache-2.0
/* The network interfaces of the VM that krun_start_enter() makes. */
/*
 * How it works
 *
 * Taps are opened by their name, sockets by their path in the VMM, which connects to them again
 * when their other side has gone. Who is sent datagrams answers by the sender's name, so a socket
 * for them has one, in $TMPDIR, which is removed at the end; a process that is killed leaves it.
 * The descriptors of the program are copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/start.h"
#include "util/cleanup.h"

_Static_assert(LIM_API_NETS <= VMM_MAX_NICS, "what the API takes the VM can have");

#define PASST_MTU 65520 /* what it takes, and tells others to use */

static const uint8_t default_mac[6] = { 0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee };

static int open_queue(const char *name, int flags, struct error *e)
{
	CLEAN_FD int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq ifr = { .ifr_flags = (short)flags };

	if (fd < 0)
		return err_sys(e, errno, "network interface %s: /dev/net/tun", name);
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr))
		return err_sys(e, errno, "network interface %s", name);
	return TAKE_FD(fd);
}

/* One that was made for several queues is opened with one for each processor; the kernel says
 * EINVAL to whoever takes it for the other kind. */
static int open_tap(struct vmm_nic *v, const char *name, unsigned vcpus, struct error *e)
{
	int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

	v->fd = open_queue(name, flags, e);
	if (v->fd == -EINVAL) {
		flags |= IFF_MULTI_QUEUE;
		v->fd = open_queue(name, flags, e);
	}
	while (v->fd >= 0 && flags & IFF_MULTI_QUEUE &&
		v->nqueue_fds + 1 < MIN(vcpus, (unsigned)VMM_MAX_NIC_QUEUES)) {
		int fd = open_queue(name, flags, e);

		if (fd < 0)
			return fd;
		v->queue_fd[v->nqueue_fds++] = fd;
	}
	return MIN(v->fd, 0);
}

/* A datagram socket with a name that is nobody else's. */
static int open_named(struct start *s, struct error *e)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *tmp = secure_getenv("TMPDIR");
	unsigned i = 0;
	int r;

	if (!tmp || *tmp != '/' || strlen(tmp) > sizeof(a.sun_path) - sizeof("/krun-net-") - 32)
		tmp = "/tmp";
	/* its owner alone may write to it, whatever the umask */
	if (fd < 0 || fchmod(fd, 0600))
		return err_sys(e, errno, "network interface: a socket");
	do {
		(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/krun-net-%d-%u.sock", tmp,
			(int)getpid(), i++);
		r = bind(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	} while (r == -EADDRINUSE && i < 1000);
	if (r)
		return err_sys(e, r, "network interface: \"%.108s\"", a.sun_path);
	s->nic_name[s->nnic_names] = strdup(a.sun_path);
	if (!s->nic_name[s->nnic_names]) {
		(void)unlink(a.sun_path);
		return err_sys(e, ENOMEM, "network interface");
	}
	s->nnic_names++;
	return TAKE_FD(fd);
}

static int add(struct start *s, const struct api_net *n, uint16_t mtu, struct error *e)
{
	struct vmm_nic *v = &s->cfg.nic[s->cfg.nnics];

	*v = (struct vmm_nic){ .kind = n->kind == API_NET_STREAM ? VMM_NIC_STREAM
			: n->kind == API_NET_DGRAM		 ? VMM_NIC_DGRAM
								 : VMM_NIC_TAP,
		.fd = -1,
		.mtu = mtu,
		.offloads = n->features,
		.vfkit = n->path && n->flags & NET_FLAG_VFKIT };
	(void)memcpy(v->mac, n->mac, sizeof(v->mac));
	if (n->kind != API_NET_TAP && n->path)
		(void)snprintf(v->path, sizeof(v->path), "%s", n->path);
	if (n->kind == API_NET_TAP) {
		int r = open_tap(v, n->path, s->c->vcpus, e);

		/* also what there is of one that lacks a queue is closed by the end */
		s->cfg.nnics += v->fd >= 0;
		return r;
	}
	if (!n->path) {
		v->fd = fcntl(n->fd, F_DUPFD_CLOEXEC, 3);
		if (v->fd < 0)
			return err_sys(e, errno, "network interface: descriptor %d", n->fd);
	} else if (n->kind == API_NET_DGRAM) {
		v->fd = open_named(s, e);
	} else {
		s->cfg.nnics++;
		return 0;
	}
	if (v->fd < 0)
		return v->fd;
	s->cfg.nnics++;
	return 0;
}

bool start_has_nics(const struct api_ctx *c)
{
	return c->nnets || c->passt_fd >= 0 || c->gvproxy;
}

int start_nics(struct start *s, struct error *e)
{
	const struct api_ctx *c = s->c;
	struct api_net old = { .kind = c->gvproxy ? API_NET_DGRAM : API_NET_STREAM,
		.path = c->gvproxy,
		.fd = c->passt_fd,
		.features = COMPAT_NET_FEATURES,
		.flags = NET_FLAG_VFKIT };
	int r = 0;

	for (unsigned i = 0; !r && i < c->nnets; i++)
		r = add(s, &c->net[i], 0, e);
	if (r || c->nnets || !start_has_nics(c))
		return r;
	(void)memcpy(old.mac, c->mac_set ? c->mac : default_mac, sizeof(old.mac));
	return add(s, &old, c->gvproxy ? 0 : PASST_MTU, e);
}

void start_nics_unname(struct start *s)
{
	while (s->nnic_names) {
		char *name = s->nic_name[--s->nnic_names];

		(void)unlink(name);
		free(name);
	}
}
