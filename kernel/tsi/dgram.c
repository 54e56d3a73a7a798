// SPDX-License-Identifier: GPL-2.0-only
/* UDP and ICMP echo of TSI. */

/*
 * How it works
 *
 * What comes from the host becomes a packet as the network would have brought it, with IP and UDP headers
 * written into the room of the record's header, and goes into the receive queue of the native socket. So
 * receiving, peeking, names, control messages, FIONREAD and poll are the native ones, and datagrams of
 * other programs in the guest and of the host lie in one queue. As with any UDP socket, what finds the
 * queue full is dropped.
 *
 * Each datagram that is sent goes the way that the rule says: natively, or behind a struct tsi_dgram as
 * one message of the data connection. There are no errors in that direction, so a program that sends
 * to a new destination without connect asks the host once whether something could get there (ROUTE), for
 * ENETUNREACH, EACCES and the like to be the answer of sendto(). Whoever has sent something here can be
 * answered without asking.
 */

#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/jhash.h>
#include <linux/slab.h>
#include <linux/udp.h>
#include <linux/virtio_vsock.h>
#include <net/inet_common.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/udp.h>

#include "guest.h"

#define TSI_YOUNG_TIME	(10 * HZ)

struct proto_ops tsi_dgram_ops __ro_after_init, tsi_dgram6_ops __ro_after_init;

/* ---- known destinations ---- */

static u64 tsi_route_hash(const struct tsi_addr *a)
{
	u32 h = jhash(a->ip, sizeof(a->ip), 0);

	/* Never 0, which is an empty place. */
	return ((u64)h << 32) | jhash_2words((__force u32)a->port, (__force u32)a->scope, h) | 1;
}

static void tsi_route_keep(struct tsi_sock *ts, const struct tsi_addr *a)
{
	u64 h = tsi_route_hash(a);

	WRITE_ONCE(ts->routes[(h >> 32) % TSI_ROUTES], h);
}

static int tsi_route(struct tsi_sock *ts, const struct tsi_addr *a)
{
	u64 h = tsi_route_hash(a);
	struct tsi_msg reply;
	int err;

	if (READ_ONCE(ts->routes[(h >> 32) % TSI_ROUTES]) == h)
		return 0;
	mutex_lock(&ts->cfg);
	err = tsi_ask(ts, TSI_ROUTE, a, 0, &reply);
	mutex_unlock(&ts->cfg);
	if (!err)
		tsi_route_keep(ts, a);
	return err;
}

/* ---- from the host, on the receive work ---- */

static void tsi_headers4(struct tsi_sock *ts, struct sk_buff *skb, const struct tsi_dgram *d, int tlen)
{
	struct in_pktinfo *info = PKTINFO_SKB_CB(skb);
	struct iphdr *ip = ip_hdr(skb);

	memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = 64;
	ip->protocol = ts->sk->sk_protocol;
	ip->tot_len = htons(sizeof(*ip) + tlen);
	memcpy(&ip->saddr, d->peer.ip, sizeof(ip->saddr));
	memcpy(&ip->daddr, d->local.ip, sizeof(ip->daddr));
	skb->protocol = htons(ETH_P_IP);
	info->ipi_ifindex = le32_to_cpu(d->ifindex);
	info->ipi_spec_dst.s_addr = ip->daddr;
}

static void tsi_addr_mapped(const struct tsi_addr *a, struct in6_addr *in6)
{
	if (a->family == TSI_INET)
		ipv6_addr_set_v4mapped(*(const __be32 *)a->ip, in6);
	else
		memcpy(in6, a->ip, sizeof(*in6));
}

static void tsi_headers6(struct tsi_sock *ts, struct sk_buff *skb, const struct tsi_dgram *d, int tlen)
{
	struct ipv6hdr *ip = ipv6_hdr(skb);

	memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->hop_limit = 64;
	ip->nexthdr = ts->sk->sk_protocol;
	ip->payload_len = htons(tlen);
	tsi_addr_mapped(&d->peer, &ip->saddr);
	tsi_addr_mapped(&d->local, &ip->daddr);
	skb->protocol = htons(ETH_P_IPV6);
	IP6CB(skb)->iif = le32_to_cpu(d->ifindex) ? : le32_to_cpu(d->peer.scope);
}

/* Writes the headers of a packet before the payload, where struct tsi_dgram was. */
static void tsi_headers(struct tsi_sock *ts, struct sk_buff *skb, const struct tsi_dgram *d)
{
	int iplen = ts->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct udphdr *udp;

	BUILD_BUG_ON(sizeof(struct tsi_dgram) < sizeof(struct ipv6hdr) + sizeof(struct udphdr));
	memset(skb->cb, 0, sizeof(skb->cb));
	if (ts->kind == TSI_UDP) {
		udp = skb_push(skb, sizeof(*udp));
		udp->source = d->peer.port;
		udp->dest = ts->local.port;
		udp->len = htons(min_t(u32, skb->len, U16_MAX));
		udp->check = 0;
	}
	skb_reset_transport_header(skb);
	skb_push(skb, iplen);
	skb_reset_network_header(skb);
	skb_reset_mac_header(skb);
	if (ts->v6)
		tsi_headers6(ts, skb, d, skb->len - iplen);
	else
		tsi_headers4(ts, skb, d, skb->len - iplen);
	__skb_pull(skb, iplen);
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	skb->pkt_type = PACKET_HOST;
	skb->dev = NULL;
}

static void tsi_inject(struct tsi_sock *ts, struct sk_buff *skb)
{
	struct sock *sk = ts->sk;
	struct tsi_dgram d;
	int err;

	if (skb_headlen(skb) < sizeof(d) || READ_ONCE(ts->nat))
		goto drop;
	memcpy(&d, skb->data, sizeof(d));
	__skb_pull(skb, sizeof(d));
	tsi_headers(ts, skb, &d);
	tsi_route_keep(ts, &d.peer);
	if (ts->kind == TSI_PING) {
		if (sock_queue_rcv_skb(sk, skb))
			kfree_skb(skb);
		return;
	}
	if (sk_filter_trim_cap(sk, skb, sizeof(struct udphdr)))
		goto drop;
	__skb_pull(skb, sizeof(struct udphdr));
	local_bh_disable();
	err = __udp_enqueue_schedule_skb(sk, skb);
	local_bh_enable();
	if (err)
		kfree_skb(skb);	/* it is counted */
	return;
drop:
	atomic_inc(&sk->sk_drops);
	kfree_skb(skb);
}

/* A message of several packets is one skb with a list. */
static struct sk_buff *tsi_join(struct sk_buff *head, struct sk_buff *skb)
{
	struct sk_buff *last;

	if (!head)
		return skb;
	if (head->len + skb->len > TSI_DGRAM_MAX + sizeof(struct tsi_dgram)) {
		kfree_skb(skb);
		return head;
	}
	if (!skb_has_frag_list(head)) {
		skb_shinfo(head)->frag_list = skb;
	} else {
		for (last = skb_shinfo(head)->frag_list; last->next; last = last->next)
			;
		last->next = skb;
	}
	skb->next = NULL;
	head->len += skb->len;
	head->data_len += skb->len;
	head->truesize += skb->truesize;
	return head;
}

/* Where the actor leaves what it was given; there is one receive work. */
static struct sk_buff *tsi_got;

static int tsi_dgram_skb(struct sock *vsk, struct sk_buff *skb)
{
	tsi_got = skb;
	return skb->len;
}

void tsi_dgram_ready(struct tsi_sock *ts, struct sock *sk)
{
	struct vsock_sock *vsk = vsock_sk(sk);
	struct sk_buff *skb;
	bool end;

	/* The rest of a message that was cut off with its data connection never comes. */
	if (ts->part_port != vsk->local_addr.svm_port) {
		kfree_skb(ts->part);
		ts->part = NULL;
		ts->part_port = vsk->local_addr.svm_port;
	}
	/* An empty read_skb() is the end: has_data() does not count messages of no bytes. */
	while (vsk->transport && vsock_stream_has_data(vsk) > 0) {
		tsi_got = NULL;
		if (vsk->transport->read_skb(vsk, tsi_dgram_skb) < 0 || !tsi_got)
			break;
		skb = tsi_got;
		end = le32_to_cpu(virtio_vsock_hdr(skb)->flags) & VIRTIO_VSOCK_SEQ_EOM;
		skb_orphan(skb);
		ts->part = tsi_join(ts->part, skb);
		if (end) {
			skb = ts->part;
			ts->part = NULL;
			tsi_inject(ts, skb);
		}
	}
}

/* ---- the host's side ---- */

int tsi_dgram_open(struct tsi_sock *ts, const struct tsi_addr *peer)
{
	struct tsi_addr any = { .family = ts->v6 ? TSI_INET6 : TSI_INET };
	struct tsi_msg reply;
	int err = 0;

	if (ts->id)
		return 0;
	if (peer && peer->family) {
		err = tsi_ask(ts, TSI_CONNECT, peer, 0, &reply);
	} else if (ts->bound) {
		err = tsi_ask(ts, TSI_NAMES, NULL, 0, &reply);
	} else {
		/* A port that a native datagram has chosen before is kept if it is free, and allowed. */
		any.port = htons(inet_sk(ts->sk)->inet_num);
		err = tsi_ask(ts, TSI_BIND, &any, 0, &reply);
		if (any.port && (err == -EADDRINUSE || err == -EPERM || err == -EACCES)) {
			any.port = 0;
			err = tsi_ask(ts, TSI_BIND, &any, 0, &reply);
		}
		if (!err && !inet_sk(ts->sk)->inet_num)
			(void)tsi_bind_native(ts, &any, reply.a.port);
	}
	if (err)
		return err;
	spin_lock(&ts->lock);
	ts->local = reply.a;
	spin_unlock(&ts->lock);
	return 0;
}

static int tsi_dgram_dissolve(struct socket *sock, struct tsi_sock *ts)
{
	struct sockaddr un = { .sa_family = AF_UNSPEC };
	struct tsi_addr none = {};
	struct tsi_msg reply;

	if (ts->nat) {
		ts->native->connect(sock, &un, sizeof(un), 0);
		ts->nat = false;
	}
	if (ts->id && ts->peer.family) {
		(void)tsi_ask(ts, TSI_CONNECT, &none, 0, &reply);
		if (tsi_ask(ts, TSI_NAMES, NULL, 0, &reply))
			reply.a = ts->asked;
		spin_lock(&ts->lock);
		ts->peer.family = TSI_NONE;
		ts->local = reply.a;
		if (!ts->bound && !reply.a.port)
			ts->local.family = TSI_NONE;
		spin_unlock(&ts->lock);
	}
	return 0;
}

static int tsi_dgram_connect_to(struct socket *sock, struct sockaddr *ua, int len, int flags)
{
	struct tsi_sock *ts = sock->tsi;
	struct tsi_msg reply;
	struct tsi_addr a;
	int err;

	err = tsi_addr_in(ts, ua, len, &a);
	if (err)
		return err;
	if (tsi_stays(ts, &a)) {
		tsi_dgram_dissolve(sock, ts);
		err = ts->native->connect(sock, ua, len, flags);
		ts->nat = !err;
		return err;
	}
	if (ts->nat)
		tsi_dgram_dissolve(sock, ts);
	err = tsi_ask(ts, TSI_CONNECT, &a, 0, &reply);
	if (err)
		return err;
	spin_lock(&ts->lock);
	ts->local = reply.a;
	ts->peer = reply.b.family ? reply.b : a;
	spin_unlock(&ts->lock);
	return 0;
}

static int tsi_dgram_connect(struct socket *sock, struct sockaddr *ua, int len, int flags)
{
	struct tsi_sock *ts = sock->tsi;
	int err;

	if (len < (int)sizeof(ua->sa_family))
		return -EINVAL;
	mutex_lock(&ts->cfg);
	if (ua->sa_family == AF_UNSPEC)
		err = tsi_dgram_dissolve(sock, ts);
	else
		err = tsi_dgram_connect_to(sock, ua, len, flags);
	mutex_unlock(&ts->cfg);
	return err;
}

/* ---- send ---- */

/* A source address that the message asks for. What else it asks for is the socket's to say. */
static int tsi_dgram_cmsg(struct tsi_sock *ts, struct msghdr *msg, struct tsi_dgram *d)
{
	struct in6_pktinfo *i6;
	struct cmsghdr *c;

	for_each_cmsghdr(c, msg) {
		if (!CMSG_OK(msg, c))
			return -EINVAL;
		if (c->cmsg_level == SOL_UDP)
			return -EINVAL;
		if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_PKTINFO && !ts->v6) {
			if (c->cmsg_len != CMSG_LEN(sizeof(struct in_pktinfo)))
				return -EINVAL;
			d->local.family = TSI_INET;
			memcpy(d->local.ip, &((struct in_pktinfo *)CMSG_DATA(c))->ipi_spec_dst, 4);
			if (!memchr_inv(d->local.ip, 0, 4))
				d->local.family = TSI_NONE;
		} else if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_PKTINFO && ts->v6) {
			if (c->cmsg_len < CMSG_LEN(sizeof(*i6)))
				return -EINVAL;
			i6 = (struct in6_pktinfo *)CMSG_DATA(c);
			if (ipv6_addr_any(&i6->ipi6_addr))
				continue;
			d->local.family = TSI_INET6;
			d->local.scope = cpu_to_le32(i6->ipi6_ifindex);
			memcpy(d->local.ip, &i6->ipi6_addr, sizeof(i6->ipi6_addr));
		}
	}
	return 0;
}

/* A group that is reached as by default goes by the host's routes. What the program chose itself the host does not know. */
static bool tsi_dgram_group(struct tsi_sock *ts, const struct tsi_addr *a)
{
	const struct inet_sock *inet = inet_sk(ts->sk);
	const struct ipv6_pinfo *np;
	__be32 ip;

	if (tsi_addr_v4(a, &ip))
		return ipv4_is_multicast(ip) && (READ_ONCE(inet->mc_ttl) != 1 || READ_ONCE(inet->mc_index) ||
						 READ_ONCE(inet->mc_addr) || !inet_test_bit(MC_LOOP, ts->sk));
	np = inet6_sk(ts->sk);
	return ipv6_addr_is_multicast((const struct in6_addr *)a->ip) &&
	       (READ_ONCE(np->mcast_hops) != IPV6_DEFAULT_MCASTHOPS || READ_ONCE(np->mcast_oif) ||
		!inet6_test_bit(MC6_LOOP, ts->sk));
}

/* One message, whole or not at all. */
static int tsi_dgram_put(struct tsi_sock *ts, void *buf, size_t len)
{
	struct msghdr m = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct kvec v = { .iov_base = buf, .iov_len = len };
	struct tsi_conn *c = tsi_conn_get(ts);
	int n = -EAGAIN;

	if (!c)
		return -ENETDOWN;
	/* Nobody else takes the room that was seen. */
	mutex_lock(&ts->tx);
	if (c->vs->sk->sk_err || sock_flag(c->vs->sk, SOCK_DONE))
		n = -ENETDOWN;
	else if (c->vs->sk->sk_state == TCP_ESTABLISHED && len > tsi_conn_most(c))
		n = -EMSGSIZE;
	else if (tsi_conn_room(ts, c, len))
		n = kernel_sendmsg(c->vs, &m, &v, 1, len);
	mutex_unlock(&ts->tx);
	tsi_conn_put(c);
	return n;
}

/* The host has not answered the request of the data connection yet, which it does at once. */
static bool tsi_dgram_young(struct tsi_sock *ts)
{
	struct tsi_conn *c = tsi_conn_get(ts);
	bool young = c && READ_ONCE(c->vs->sk->sk_state) == TCP_SYN_SENT;

	tsi_conn_put(c);
	return young;
}

static int tsi_dgram_out(struct tsi_sock *ts, void *buf, size_t len, long timeo)
{
	struct sock *sk = ts->sk;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int err = tsi_dgram_put(ts, buf, len);

	if (err != -EAGAIN)
		return err;
	/* EAGAIN means a full buffer, which a socket that has never sent has not. */
	if (!timeo && tsi_dgram_young(ts))
		timeo = TSI_YOUNG_TIME;
	if (!timeo)
		return err;
	add_wait_queue(sk_sleep(sk), &wait);
	while ((err = tsi_dgram_put(ts, buf, len)) == -EAGAIN) {
		if (!timeo)
			break;
		if (signal_pending(current)) {
			err = sock_intr_errno(timeo);
			break;
		}
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return err;
}

static int tsi_dgram_host(struct tsi_sock *ts, struct msghdr *msg, size_t size, const struct tsi_addr *to)
{
	struct sock *sk = ts->sk;
	struct tsi_dgram *d;
	long timeo;
	__be32 ip;
	bool v4;
	int err;

	v4 = tsi_addr_v4(to ? to : &ts->peer, &ip);
	/* Version 6 does not look at MSG_OOB. */
	if ((msg->msg_flags & MSG_MORE) || ((msg->msg_flags & MSG_OOB) && v4) || tsi_dgram_group(ts, to ? to : &ts->peer))
		return -EOPNOTSUPP;
	/* What IP can carry: behind both headers of version 4, behind UDP's of version 6. */
	if (size > TSI_DGRAM_MAX - (v4 ? 28 : 8))
		return -EMSGSIZE;
	err = sock_error(sk);
	if (err)
		return err;
	if (sk->sk_shutdown & SEND_SHUTDOWN)
		return -EPIPE;
	if (!ts->id) {
		mutex_lock(&ts->cfg);
		err = tsi_dgram_open(ts, NULL);
		mutex_unlock(&ts->cfg);
	}
	if (!err && to)
		err = tsi_route(ts, to);
	if (err)
		return err;
	d = kvmalloc(sizeof(*d) + size, GFP_KERNEL);
	if (!d)
		return -ENOMEM;
	memset(d, 0, sizeof(*d));
	if (to)
		d->peer = *to;
	err = tsi_dgram_cmsg(ts, msg, d);
	if (!err && !copy_from_iter_full(d + 1, size, &msg->msg_iter))
		err = -EFAULT;
	if (!err) {
		timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
		err = tsi_dgram_out(ts, d, sizeof(*d) + size, timeo);
	}
	kvfree(d);
	return err < 0 ? err : size;
}

static int tsi_dgram_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)
{
	struct tsi_sock *ts = sock->tsi;
	struct sockaddr *name = msg->msg_name;
	struct tsi_addr to;
	int err;

	if (!name) {
		if (ts->nat || !READ_ONCE(ts->peer.family))
			return ts->native->sendmsg(sock, msg, size);
		err = tsi_dgram_host(ts, msg, size, NULL);
	} else {
		if (!ts->v6 && msg->msg_namelen >= (int)sizeof(struct sockaddr_in) && name->sa_family == AF_UNSPEC)
			name->sa_family = AF_INET;
		err = tsi_addr_in(ts, name, msg->msg_namelen, &to);
		if (err)
			return err;
		if (!to.port && ts->kind == TSI_UDP)
			return -EINVAL;
		if (tsi_stays(ts, &to))
			return ts->native->sendmsg(sock, msg, size);
		err = tsi_dgram_host(ts, msg, size, &to);
	}
	if (err == -EPIPE && !(msg->msg_flags & MSG_NOSIGNAL))
		send_sig(SIGPIPE, current, 0);
	return err;
}

/* ---- the rest ---- */

/*
 * Room for the largest datagram, or for half of all: who was told that there is room does not meet EAGAIN. What is
 * broken gives its error at once.
 */
static bool tsi_dgram_writable(struct tsi_sock *ts, struct tsi_conn *c)
{
	struct sock *vsk = c->vs->sk;

	return vsk->sk_err || sock_flag(vsk, SOCK_DONE) || tsi_dgram_young(ts) ||
	       tsi_conn_room(ts, c, min_t(u32, tsi_conn_most(c) / 2, TSI_DGRAM_MAX + sizeof(struct tsi_dgram)));
}

static __poll_t tsi_dgram_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct tsi_sock *ts = sock->tsi;
	__poll_t mask = ts->native->poll(file, sock, wait);
	struct tsi_conn *c;

	if (ts->nat || !(mask & EPOLLOUT))
		return mask;
	c = tsi_conn_get(ts);
	if (c && !tsi_dgram_writable(ts, c))
		mask &= ~(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	tsi_conn_put(c);
	return mask;
}

static int tsi_dgram_shutdown(struct socket *sock, int how)
{
	struct tsi_sock *ts = sock->tsi;
	int err = ts->native->shutdown(sock, how);

	/* The native socket does not know that it is connected. */
	return err == -ENOTCONN && !ts->nat && READ_ONCE(ts->peer.family) ? 0 : err;
}

static int tsi_dgram_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)
{
	return sock->tsi->native->recvmsg(sock, msg, size, flags);
}

static int tsi_dgram_peek_off(struct sock *sk, int val)
{
	const struct proto_ops *native = sk->sk_socket->tsi->native;

	return native->set_peek_off ? native->set_peek_off(sk, val) : -EOPNOTSUPP;
}

static void __init tsi_dgram_fill(struct proto_ops *ops, const struct proto_ops *native)
{
	*ops = *native;
	ops->release = tsi_release;
	ops->bind = tsi_bind;
	ops->connect = tsi_dgram_connect;
	ops->getname = tsi_getname;
	ops->poll = tsi_dgram_poll;
	ops->shutdown = tsi_dgram_shutdown;
	ops->setsockopt = tsi_setsockopt;
	ops->getsockopt = tsi_getsockopt;
	ops->sendmsg = tsi_dgram_sendmsg;
	ops->recvmsg = tsi_dgram_recvmsg;
	ops->set_peek_off = tsi_dgram_peek_off;
	ops->read_skb = NULL;
	ops->splice_eof = NULL;
}

void __init tsi_dgram_init(void)
{
	tsi_dgram_fill(&tsi_dgram_ops, &inet_dgram_ops);
	tsi_dgram_fill(&tsi_dgram6_ops, &inet6_dgram_ops);
}
