// SPDX-License-Identifier: GPL-2.0-only
/* What all sockets of TSI share: making, bind, names, release. */

/*
 * How it works
 *
 * tsi_sock_attach() is called for every new socket (net/socket.c). It leaves the native one as it is and
 * puts our proto_ops over its own. On the host nothing happens before the program binds, connects,
 * listens or sends: then OPEN goes there with the options that were set meanwhile, in one write with the
 * first question.
 *
 * A bind is made on the host, whose answer counts, and then natively on the port that the host gave. The
 * native one takes any address (as with IP_FREEBIND): an address that is not loopback leads nobody in
 * the guest to it, but two programs of the guest that want the same port meet there with the errors
 * that they expect, and SO_ACCEPTCONN and the like need no hand of ours.
 */

#include <linux/capability.h>
#include <linux/slab.h>
#include <linux/virtio_vsock.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/tcp.h>

#include "guest.h"

struct tsi_sock *tsi_new(u8 kind, bool v6)
{
	struct tsi_sock *ts = kzalloc(sizeof(*ts), GFP_KERNEL_ACCOUNT);

	if (!ts)
		return NULL;
	refcount_set(&ts->ref, 1);
	mutex_init(&ts->cfg);
	mutex_init(&ts->tx);
	spin_lock_init(&ts->lock);
	INIT_LIST_HEAD(&ts->queue);
	INIT_LIST_HEAD(&ts->link);
	ts->kind = kind;
	ts->v6 = v6;
	return ts;
}

void tsi_put(struct tsi_sock *ts)
{
	if (!refcount_dec_and_test(&ts->ref))
		return;
	if (ts->conn)
		tsi_conn_set(ts, NULL);
	kfree_skb(ts->part);
	if (ts->sk)
		sock_put(ts->sk);
	kfree_rcu(ts, rcu);
}

static int tsi_kind(const struct socket *sock)
{
	int proto = sock->sk->sk_protocol;

	if (sock->type == SOCK_STREAM && proto == IPPROTO_TCP)
		return TSI_TCP;
	if (sock->type == SOCK_DGRAM && proto == IPPROTO_UDP)
		return TSI_UDP;
	if (sock->type == SOCK_DGRAM && (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6))
		return TSI_PING;
	return -EPROTONOSUPPORT;
}

static void tsi_adopt(struct socket *sock, struct tsi_sock *ts)
{
	struct sock *sk = sock->sk;

	sock_hold(sk);
	spin_lock(&ts->lock);
	ts->native = READ_ONCE(sock->ops);
	ts->sk = sk;
	if (ts->err)
		WRITE_ONCE(sk->sk_err, ts->err);
	spin_unlock(&ts->lock);
	sock->tsi = ts;
	if (ts->kind == TSI_TCP)
		WRITE_ONCE(sock->ops, ts->v6 ? &tsi_stream6_ops : &tsi_stream_ops);
	else
		WRITE_ONCE(sock->ops, ts->v6 ? &tsi_dgram6_ops : &tsi_dgram_ops);
	/* Zero-copy means notices that nothing here would send. */
	clear_bit(SOCK_SUPPORT_ZC, &sock->flags);
	set_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags);
}

int tsi_sock_attach(struct net *net, struct socket *sock, int kern)
{
	struct tsi_sock *ts;
	int kind;

	if (kern || !sock->sk || !net_eq(net, &init_net) ||
	    (sock->sk->sk_family != AF_INET && sock->sk->sk_family != AF_INET6))
		return 0;
	if (tsi_wait_ready())
		return -EINTR;
	/* When the host half was there once it comes again. */
	if (!tsi_up() && !tsi_gen())
		return 0;
	kind = tsi_kind(sock);
	if (kind < 0)
		return kind;
	ts = tsi_new(kind, sock->sk->sk_family == AF_INET6);
	if (!ts)
		return -ENOMEM;
	tsi_adopt(sock, ts);
	return 0;
}

int tsi_sock_like(struct socket *newsock, struct tsi_sock *ts, const struct tsi_sock *like)
{
	struct socket *tmp;
	struct sock *sk;
	int err;

	err = __sock_create(&init_net, like->v6 ? AF_INET6 : AF_INET, newsock->type, like->sk->sk_protocol, &tmp, 0);
	if (err)
		return err;
	sk = tmp->sk;
	newsock->ops = tmp->tsi ? tmp->tsi->native : tmp->ops;
	if (tmp->tsi)
		tsi_put(tmp->tsi);
	tmp->tsi = NULL;
	tmp->sk = NULL;
	tmp->ops = NULL;
	sock_release(tmp);

	sk->sk_rcvtimeo = like->sk->sk_rcvtimeo;
	sk->sk_sndtimeo = like->sk->sk_sndtimeo;
	sk->sk_rcvlowat = like->sk->sk_rcvlowat;
	lock_sock(sk);
	sock_graft(sk, newsock);
	release_sock(sk);
	tsi_opts_copy(newsock, ts, like);
	tsi_adopt(newsock, ts);
	return 0;
}

/* ---- the host's socket ---- */

int tsi_open(struct tsi_sock *ts, struct tsi_batch *b, u32 port)
{
	struct tsi_msg *m;
	int err;

	/* An id of a former control connection; datagram sockets are made again by tsi_again() alone. */
	if (ts->id && ts->kind == TSI_TCP && !(ts->id & TSI_ID_HOST) && ts->gen != tsi_gen())
		tsi_id_drop(ts);
	if (ts->id)
		return 0;
	err = tsi_id_new(ts);
	if (err)
		return err;
	ts->gen = tsi_gen();
	m = tsi_batch_add(b, TSI_OPEN, ts->id);
	m->arg[0] = cpu_to_le32(ts->v6 ? TSI_INET6 : TSI_INET);
	m->arg[1] = cpu_to_le32(ts->kind);
	m->arg[2] = cpu_to_le32(port);
	tsi_opts_add(ts, b);
	if (ts->bound)
		tsi_batch_add(b, TSI_BIND, ts->id)->a = ts->asked;
	return 0;
}

void tsi_forget(struct tsi_sock *ts, u16 flags)
{
	struct tsi_batch *b;

	if (!ts->id)
		return;
	b = tsi_batch_new();
	tsi_batch_add(b, TSI_CLOSE, ts->id)->flags = cpu_to_le16(flags);
	(void)tsi_ctl_send(b);	/* without a connection the host has forgotten it already */
	tsi_id_drop(ts);
}

/* The data connection of datagrams; it is named in OPEN and follows it. */
static struct tsi_conn *tsi_dgram_conn(void)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY };
	struct socket *vs = tsi_vs_new(SOCK_SEQPACKET, TSI_DGRAM_BUF);
	int err;

	if (IS_ERR(vs))
		return ERR_CAST(vs);
	err = kernel_bind(vs, (struct sockaddr *)&a, sizeof(a));
	if (err) {
		sock_release(vs);
		return ERR_PTR(err);
	}
	return tsi_conn_new(vs, tsi_vs_port(vs));
}

int tsi_ask(struct tsi_sock *ts, u16 type, const struct tsi_addr *a, u32 arg, struct tsi_msg *reply)
{
	struct tsi_conn *c = NULL;
	struct tsi_batch *b;
	struct tsi_call call;
	struct tsi_msg *m;
	u32 before = ts->id;
	bool fresh;
	int err;

	if (!before && ts->kind != TSI_TCP) {
		c = tsi_dgram_conn();
		if (IS_ERR(c))
			return PTR_ERR(c);
	}
	b = tsi_batch_new();
	err = tsi_open(ts, b, c ? c->port : 0);
	if (err) {
		kfree(b);
		tsi_conn_put(c);
		return err;
	}
	/* An id of a control connection that is gone has been replaced. */
	fresh = ts->id != before;
	m = tsi_batch_add(b, type, ts->id);
	if (a)
		m->a = *a;
	m->arg[0] = cpu_to_le32(arg);
	if (c) {
		kref_get(&c->ref);
		tsi_conn_set(ts, c);
	}
	virtio_vsock_plug();
	tsi_call_start(&call, b);
	if (c) {
		/* A refusal shows itself by an answer that is an error, or at the first datagram. */
		(void)tsi_conn_start(c);
		tsi_conn_put(c);
	}
	virtio_vsock_unplug();
	err = tsi_call_wait(&call);
	if (!err) {
		*reply = call.reply;
	} else if (fresh) {
		tsi_forget(ts, 0);
		if (c)
			tsi_conn_set(ts, NULL);
	}
	return err;
}

/* ---- bind ---- */

int tsi_bind_native(struct tsi_sock *ts, const struct tsi_addr *a, __be16 port)
{
	struct tsi_addr at = *a;
	struct sockaddr_storage ss;
	struct sock *sk = ts->sk;
	bool freebind = inet_test_bit(FREEBIND, sk);
	int err, len;

	at.port = port;
	len = tsi_addr_out(ts, &at, (struct sockaddr *)&ss);
	inet_set_bit(FREEBIND, sk);
	err = ts->native->bind(sk->sk_socket, (struct sockaddr *)&ss, len);
	if (!freebind)
		inet_clear_bit(FREEBIND, sk);
	/* An address that means nothing here (a scope, say) is one that nobody here can reach either. */
	return err == -EADDRINUSE || err == -EACCES ? err : 0;
}

static int tsi_bind_addr(struct tsi_sock *ts, struct sockaddr *ua, int len, struct tsi_addr *a)
{
	struct sockaddr_in *s = (struct sockaddr_in *)ua;
	u16 port;
	int err;

	if (!ts->v6 && len >= (int)sizeof(*s) && s->sin_family == AF_UNSPEC && s->sin_addr.s_addr == 0)
		s->sin_family = AF_INET;
	if (ts->v6 && ua->sa_family != AF_INET6 && len >= SIN6_LEN_RFC2133)
		return -EAFNOSUPPORT;
	err = tsi_addr_in(ts, ua, len, a);
	if (err)
		return err;
	port = ntohs(a->port);
	if (ts->kind != TSI_PING && port && inet_port_requires_bind_service(&init_net, port) &&
	    !ns_capable(init_net.user_ns, CAP_NET_BIND_SERVICE))
		return -EACCES;
	return 0;
}

int tsi_bind(struct socket *sock, struct sockaddr *ua, int len)
{
	struct tsi_sock *ts = sock->tsi;
	struct tsi_msg reply;
	struct tsi_addr a;
	int err, tries;

	err = tsi_bind_addr(ts, ua, len, &a);
	if (err)
		return err;
	mutex_lock(&ts->cfg);
	err = -EINVAL;
	if (ts->bound || ts->only || ts->nat || ts->state != TSI_S_CLOSE || ts->local.family || inet_sk(ts->sk)->inet_num)
		goto out;
	for (tries = 0; tries < TSI_PORT_TRIES; tries++) {
		err = tsi_ask(ts, TSI_BIND, &a, 0, &reply);
		if (err == -EPERM) {
			/* A port map leaves it out: it is there for the guest alone. */
			err = ts->native->bind(sock, ua, len);
			ts->only = !err;
			break;
		}
		if (err)
			break;
		if (reply.a.port)
			err = tsi_bind_native(ts, &a, reply.a.port);
		if (!err) {
			ts->bound = true;
			ts->asked = a;
			ts->asked.port = reply.a.port;
			spin_lock(&ts->lock);
			ts->local = reply.a;
			spin_unlock(&ts->lock);
			break;
		}
		tsi_conn_set(ts, NULL);
		tsi_forget(ts, TSI_F_ABORT);
		if (a.port)
			break;
	}
out:
	mutex_unlock(&ts->cfg);
	return err;
}

/* ---- names ---- */

/* Both directions have ended: as in TCP, there is no peer any more. */
static bool tsi_finished(struct tsi_sock *ts)
{
	struct tsi_conn *c;
	bool done = false;

	if (ts->kind != TSI_TCP)
		return false;
	c = tsi_conn_get(ts);
	if (c)
		done = (READ_ONCE(ts->shut) & SEND_SHUTDOWN) &&
		       (READ_ONCE(vsock_sk(c->vs->sk)->peer_shutdown) & SEND_SHUTDOWN);
	tsi_conn_put(c);
	return done;
}

int tsi_getname(struct socket *sock, struct sockaddr *ua, int peer)
{
	struct tsi_sock *ts = sock->tsi;
	struct tsi_addr a;
	bool there;

	/* accept() asks by the listener's operations also for a connection that is native. */
	if (!ts)
		return READ_ONCE(sock->ops)->getname(sock, ua, peer);
	if (ts->nat || (ts->only && !peer))
		return ts->native->getname(sock, ua, peer);
	spin_lock(&ts->lock);
	a = peer ? ts->peer : ts->local;
	there = ts->kind != TSI_TCP || ts->state == TSI_S_ESTABLISHED || peer == 2;
	spin_unlock(&ts->lock);
	if (peer && (!there || !a.family || (peer == 1 && tsi_finished(ts))))
		return -ENOTCONN;
	if (!a.family)
		return ts->native->getname(sock, ua, peer);
	return tsi_addr_out(ts, &a, ua);
}

/* ---- the end ---- */

/* An RST and not a FIN is what the peer gets. */
static bool tsi_aborts(struct tsi_sock *ts)
{
	struct tsi_conn *c;
	bool unread = false;

	if (ts->kind != TSI_TCP)
		return false;
	if (sock_flag(ts->sk, SOCK_LINGER) && !ts->sk->sk_lingertime)
		return true;
	c = tsi_conn_get(ts);
	if (c)
		unread = ts->state == TSI_S_ESTABLISHED && tsi_conn_data(c) > 0;
	tsi_conn_put(c);
	return unread;
}

int tsi_release(struct socket *sock)
{
	struct tsi_sock *ts = sock->tsi;
	const struct proto_ops *native;

	/* What accept() had prepared and nothing came for: it has our operations and nothing else. */
	if (!ts)
		return 0;
	native = ts->native;
	sock->tsi = NULL;
	mutex_lock(&ts->cfg);
	spin_lock(&ts->lock);
	ts->ended = true;
	spin_unlock(&ts->lock);
	virtio_vsock_plug();
	tsi_forget(ts, tsi_aborts(ts) ? TSI_F_ABORT : 0);
	tsi_accept_flush(ts);
	tsi_conn_set(ts, NULL);
	virtio_vsock_unplug();
	mutex_unlock(&ts->cfg);
	tsi_put(ts);
	return native->release(sock);
}
