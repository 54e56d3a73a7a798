// SPDX-License-Identifier: Apache-2.0
// TSI: datagrams with their addresses, between messages of the guest and sockets of the host.
//
// How it works
//
// Each message begins with struct tsi_dgram. From the guest it is copied once and becomes the name
// and, where a source address is asked for, the packet info of one sendmsg() whose payload is guest
// memory. To the guest the payload is received behind room for the header, which is filled in from
// the name and packet info that came with it. What goes wrong with one datagram is a soft error of
// the socket, as an ICMP message is on the host: it never ends it.

/* #syscalls:io sendmsg recvmsg */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "dev/vsock_tsi.h"
#include "util/log.h"

#define RECV_TRIES 4 /* errors that one look may meet before it waits for the next event */

_Static_assert(VSOCK_DGRAM_HDR == sizeof(struct tsi_dgram), "one header, two names");
_Static_assert(VSOCK_MSG_MAX == TSI_DGRAM_MAX + sizeof(struct tsi_dgram), "the largest message");

union ctl_buf {
	struct cmsghdr align;
	uint8_t b[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

/* Adds the source address that the guest asks for. */
static int put_source(struct msghdr *m, union ctl_buf *buf, const struct tsi_addr *a)
{
	struct cmsghdr *c;

	if (a->family == TSI_NONE)
		return 0;
	memset(buf, 0, sizeof(*buf));
	m->msg_control = buf;
	if (a->family == TSI_INET) {
		struct in_pktinfo info = { 0 };

		memcpy(&info.ipi_spec_dst, a->ip, 4);
		m->msg_controllen = CMSG_SPACE(sizeof(info));
		c = CMSG_FIRSTHDR(m);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return 0;
	}
	if (a->family == TSI_INET6) {
		struct in6_pktinfo info = { .ipi6_ifindex = le32toh(a->scope) };

		memcpy(&info.ipi6_addr, a->ip, 16);
		m->msg_controllen = CMSG_SPACE(sizeof(info));
		c = CMSG_FIRSTHDR(m);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return 0;
	}
	return -EAFNOSUPPORT;
}

static int send_one(struct tsi_sock *s, int fd, const struct tsi_dgram *d, struct iobuf *b)
{
	struct sockaddr_storage ss;
	union ctl_buf buf;
	struct msghdr m = { 0 };
	ssize_t n;
	int r = 0;

	if (d->peer.family != TSI_NONE) {
		m.msg_name = &ss;
		r = tsi_to_sockaddr(&d->peer, &ss, &m.msg_namelen);
		if (!r)
			r = tsi_may_reach(s, &ss);
	}
	if (!r)
		r = put_source(&m, &buf, &d->local);
	if (r)
		return r;
	n = iobuf_sendmsg(b, fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? (int)n : 0;
}

static int dgram_send(struct vsock_conn *c, struct iobuf *b)
{
	struct tsi_sock *s = c->arg;
	struct tsi_dgram d;
	int r;

	if (iobuf_pull(b, &d, sizeof(d)) < 0) {
		log_guest("tsi: a datagram of %zu bytes has no header", b->left);
		return -EBADMSG;
	}
	/* closed: what was held may still go, if it is known where to */
	if (!s)
		return 0;
	r = send_one(s, c->rd.fd, &d, b);
	if (r == -EAGAIN || r == -EFAULT)
		return r;
	if (r < 0 && r != -EINTR)
		s->proto->soft(s, r);
	return 0;
}

/* The destination address of a datagram, when the option is on. */
static void got_control(struct msghdr *m, struct tsi_dgram *d)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			d->local.family = TSI_INET;
			memcpy(d->local.ip, &info.ipi_addr, 4);
			d->ifindex = htole32((uint32_t)info.ipi_ifindex);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			d->local.family = TSI_INET6;
			memcpy(d->local.ip, &info.ipi6_addr, 16);
			d->ifindex = htole32(info.ipi6_ifindex);
		}
	}
}

static ssize_t dgram_recv(struct vsock_conn *c, struct iobuf *b, uint8_t *tail)
{
	struct iovec more = { .iov_base = tail, .iov_len = TSI_DGRAM_MAX };
	struct tsi_sock *s = c->arg;
	struct sockaddr_storage ss;
	struct tsi_dgram d = { 0 };
	union ctl_buf buf;
	struct iobuf head;
	struct msghdr m;
	ssize_t n = -EAGAIN;

	if (!s)
		return -EAGAIN;
	if (iobuf_take(b, sizeof(d), &head) < 0)
		return -EFAULT;
	for (unsigned i = 0; i < RECV_TRIES; i++) {
		m = (struct msghdr){ .msg_name = &ss,
			.msg_namelen = sizeof(ss),
			.msg_control = &buf,
			.msg_controllen = sizeof(buf) };
		n = iobuf_recvmsg(b, c->rd.fd, &m, &more, MSG_DONTWAIT);
		if (n >= 0 || n == -EAGAIN || n == -EFAULT)
			break;
		if (n == -E2BIG) /* the guest's buffer, in too many pieces */
			return -EFAULT;
		if (n != -EINTR)
			s->proto->soft(s, (int)n);
	}
	if (n < 0)
		return n == -EFAULT ? n : -EAGAIN;
	if (m.msg_namelen)
		tsi_from_sockaddr(&ss, &d.peer);
	got_control(&m, &d);
	return iobuf_push(&head, &d, sizeof(d)) < 0 ? -EFAULT : n + (ssize_t)sizeof(d);
}

static void dgram_soft(struct vsock_conn *c, int error)
{
	struct tsi_sock *s = c->arg;

	if (s)
		s->proto->soft(s, error);
}

static void dgram_failed(struct vsock_conn *c, int error)
{
	if (c->arg)
		own_error(c->arg, error, 0);
	ctl_reset_late(c->vs->tsi, c);
}

static void dgram_gone(struct vsock_conn *c)
{
	struct tsi_sock *s = c->arg;

	if (!s)
		return;
	s->conn = NULL;
	s->state = TSI_DEAD;
	c->arg = NULL;
}

const struct conn_ops tsi_dgram_ops = {
	.take = vmsg_take,
	.give = vmsg_give,
	.send = dgram_send,
	.recv = dgram_recv,
	.soft = dgram_soft,
	.failed = dgram_failed,
	.gone = dgram_gone,
};
