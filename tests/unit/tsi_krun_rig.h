/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of libkrun's protocol share: its requests, byte by byte, and their answers. */
#ifndef KRUN_TESTS_UNIT_TSI_KRUN_RIG_H
#define KRUN_TESTS_UNIT_TSI_KRUN_RIG_H

#include "unit/tsi_rig.h"
#include "util/bytes.h"

/* As on libkrun's wire */
enum {
	DATA = 620,
	CREATE = 1024,
	CONNECT,
	GETNAME,
	SENDTO_ADDR,
	SENDTO_DATA,
	LISTEN,
	ACCEPT,
	RELEASE,
};
#define CTL 3000 /* the guest's control socket */

static inline void sockaddr4(uint8_t *p, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	memset(p, 0, 128);
	memcpy(p, &a, sizeof(a));
}

static inline bool create(uint32_t svm, uint16_t family, uint16_t type)
{
	uint8_t m[8];

	put_le32(m, svm);
	put_le16(m + 4, family);
	put_le16(m + 6, type);
	return ft_krun(&t, CREATE, CTL, m, sizeof(m));
}

/* The result in the answer to the request before; 1: none came, or not of its own length. */
static inline int result(uint32_t op)
{
	const struct ft_dgram *d = ft_krun_answer(&t, op, CTL, 4);

	if (!d || d->p.src_cid != 2 || d->p.dst_cid != FV_CID || d->p.op != OP_RW ||
		(op != GETNAME && d->p.len != 4))
		return 1;
	return (int)get_le32(d->data);
}

static inline bool with_addr(uint32_t op, uint32_t svm, uint16_t port)
{
	uint8_t m[8 + 128];

	put_le32(m, svm);
	put_le32(m + 4, sizeof(struct sockaddr_in));
	sockaddr4(m + 8, port);
	return ft_krun(&t, op, CTL, m, sizeof(m));
}

static inline int listen_on(uint32_t svm, uint32_t vm_port, uint16_t port)
{
	uint8_t m[16 + 128];

	put_le32(m, svm);
	put_le32(m + 4, vm_port);
	put_le32(m + 8, 16);
	put_le32(m + 12, sizeof(struct sockaddr_in));
	sockaddr4(m + 16, port);
	return ft_krun(&t, LISTEN, CTL, m, sizeof(m)) ? result(LISTEN) : 1;
}

static inline bool two(uint32_t op, uint32_t a, uint32_t b)
{
	uint8_t m[8];

	put_le32(m, a);
	put_le32(m + 4, b);
	return ft_krun(&t, op, CTL, m, sizeof(m));
}

static inline bool krun_up(const struct vsock_net *net)
{
	return !ft_up(&t, net, NULL, 0) && (t.f.d.features & VSOCK_F_DGRAM);
}

static inline int getname(uint32_t svm, uint32_t peer, struct sockaddr_in *a)
{
	uint8_t m[12];
	const struct ft_dgram *d;

	put_le32(m, svm);
	put_le32(m + 4, peer);
	put_le32(m + 8, 1);
	if (!ft_krun(&t, GETNAME, CTL, m, sizeof(m)))
		return 1;
	d = ft_krun_answer(&t, GETNAME, CTL, 136);
	if (!d || d->p.len != 136)
		return 1;
	if (get_le32(d->data + 4) == sizeof(*a))
		memcpy(a, d->data + 8, sizeof(*a));
	return (int)get_le32(d->data);
}

static inline bool has_incoming(struct ft *f, void *arg)
{
	struct ft_conn **c = arg;

	for (unsigned i = 0; i < FT_CONNS; i++) {
		if (f->c[i].used && !f->c[i].mine && f->c[i].up && f->c[i].gport == 6000) {
			*c = &f->c[i];
			return true;
		}
	}
	return false;
}

static inline bool has_datagram(struct ft *f, void *arg)
{
	uint32_t port = *(uint32_t *)arg;

	for (unsigned i = 0; i < f->ndg; i++) {
		if (f->dg[i].p.dst_port == port)
			return true;
	}
	return false;
}

#endif
