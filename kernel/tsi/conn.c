// SPDX-License-Identifier: GPL-2.0-only
/* Data connections of TSI: vsock sockets in the kernel, and whom they wake. */

/*
 * How it works
 *
 * A data connection is a kernel socket of AF_VSOCK that never blocks: all waiting is done on the wait
 * queue of the program's socket, to which the callbacks below pass on what happens. The callbacks find
 * it by sk_user_data, a tsi_sock, under the socket's sk_callback_lock; tsi_conn_set() clears it under
 * the same lock, so that nobody is woken who is gone.
 *
 * Incoming connections wait in the accept queue of tsi_listener until the record ACCEPTED names their
 * port. The protocol promises that the two come in the same order; one that the guest's vsock refused
 * (no memory) leaves a record without connection, and one whose record is lost a connection without
 * record, so those that were taken from the queue in search of another one are kept in a list.
 */

#include <linux/slab.h>
#include <linux/virtio_vsock.h>

#include "guest.h"

#define TSI_BACKLOG 4096		/* more than the host can have */
#define TSI_CONNECT_TIME (60 * HZ)	/* the host answers at once; a stopped VM must not make it late */

struct socket *tsi_listener;

/* Connections that were accepted before their record; of the receive work. */
static LIST_HEAD(tsi_early);

struct tsi_early {
	struct list_head link;
	struct tsi_conn *conn;
};

void tsi_wake(struct sock *sk, __poll_t events)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq)) {
		if (events)
			wake_up_interruptible_poll(&wq->wait, events);
		else
			wake_up_interruptible_all(&wq->wait);
	}
	if (events & EPOLLOUT)
		sk_wake_async_rcu(sk, SOCK_WAKE_SPACE, POLL_OUT);
	else
		sk_wake_async_rcu(sk, SOCK_WAKE_WAITD, POLL_IN);
	rcu_read_unlock();
}

static struct tsi_sock *tsi_of(struct sock *vsk)
{
	return vsk->sk_user_data;
}

static void tsi_vs_ready(struct sock *vsk)
{
	struct tsi_sock *ts;
	bool dgram = false;

	read_lock_bh(&vsk->sk_callback_lock);
	ts = tsi_of(vsk);
	if (ts && ts->kind != TSI_TCP) {
		dgram = refcount_inc_not_zero(&ts->ref);
	} else if (ts && ts->sk) {
		tsi_wake(ts->sk, EPOLLIN | EPOLLPRI | EPOLLRDNORM | EPOLLRDBAND);
	}
	read_unlock_bh(&vsk->sk_callback_lock);
	if (dgram) {
		tsi_dgram_ready(ts, vsk);
		tsi_put(ts);
	}
}

static void tsi_vs_space(struct sock *vsk)
{
	struct tsi_sock *ts;

	read_lock_bh(&vsk->sk_callback_lock);
	ts = tsi_of(vsk);
	if (ts && ts->sk && test_bit(TSI_NOSPACE, &ts->flags) && test_and_clear_bit(TSI_NOSPACE, &ts->flags))
		tsi_wake(ts->sk, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	read_unlock_bh(&vsk->sk_callback_lock);
}

static void tsi_vs_state(struct sock *vsk)
{
	struct tsi_sock *ts;

	read_lock_bh(&vsk->sk_callback_lock);
	ts = tsi_of(vsk);
	/*
	 * A data connection stands long before the host has connected. Who waits for that waits for the answer; one
	 * that is woken with nothing to see (io_uring) would take it that the connect has failed.
	 */
	if (ts && ts->sk && !(ts->kind == TSI_TCP && READ_ONCE(ts->state) == TSI_S_CONNECTING))
		tsi_wake(ts->sk, 0);
	read_unlock_bh(&vsk->sk_callback_lock);
}

struct socket *tsi_vs_new(int type, u32 bufsize)
{
	struct vsock_sock *vsk;
	struct socket *vs;
	int err;

	err = sock_create_kern(&init_net, AF_VSOCK, type, 0, &vs);
	if (err)
		return ERR_PTR(err);
	vsk = vsock_sk(vs->sk);
	vsk->buffer_size = bufsize;
	vsk->connect_timeout = TSI_CONNECT_TIME;
	vs->sk->sk_allocation = GFP_KERNEL;
	return vs;
}

u32 tsi_vs_port(struct socket *vs)
{
	return vsock_sk(vs->sk)->local_addr.svm_port;
}

struct tsi_conn *tsi_conn_new(struct socket *vs, u32 port)
{
	struct tsi_conn *c = kmalloc(sizeof(*c), GFP_KERNEL | __GFP_NOFAIL);
	struct sock *sk = vs->sk;

	kref_init(&c->ref);
	c->vs = vs;
	c->port = port;
	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	sk->sk_data_ready = tsi_vs_ready;
	sk->sk_write_space = tsi_vs_space;
	sk->sk_state_change = tsi_vs_state;
	sk->sk_error_report = tsi_vs_state;
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
	return c;
}

int tsi_conn_start(struct tsi_conn *c)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = TSI_DATA_PORT };
	int err = kernel_connect(c->vs, (struct sockaddr *)&a, sizeof(a), O_NONBLOCK);

	return err == -EINPROGRESS ? 0 : err;
}

static void tsi_conn_free(struct kref *ref)
{
	struct tsi_conn *c = container_of(ref, struct tsi_conn, ref);
	struct sock *sk = c->vs->sk;

	/* The time limit of a connect holds the socket until it has passed. */
	if (cancel_delayed_work(&vsock_sk(sk)->connect_work))
		sock_put(sk);
	/* What the host had to know it knows by records; it need not answer. */
	vsock_sk(sk)->reset_on_close = true;
	sock_release(c->vs);
	kfree(c);
}

void tsi_conn_put(struct tsi_conn *c)
{
	if (c)
		kref_put(&c->ref, tsi_conn_free);
}

struct tsi_conn *tsi_conn_get(struct tsi_sock *ts)
{
	struct tsi_conn *c;

	spin_lock(&ts->lock);
	c = ts->conn;
	if (c)
		kref_get(&c->ref);
	spin_unlock(&ts->lock);
	return c;
}

void tsi_conn_set(struct tsi_sock *ts, struct tsi_conn *c)
{
	struct tsi_conn *old;
	struct sock *sk;

	spin_lock(&ts->lock);
	old = ts->conn;
	ts->conn = c;
	spin_unlock(&ts->lock);
	if (old) {
		sk = old->vs->sk;
		write_lock_bh(&sk->sk_callback_lock);
		sk->sk_user_data = NULL;
		write_unlock_bh(&sk->sk_callback_lock);
		tsi_conn_put(old);
	}
	if (c) {
		sk = c->vs->sk;
		write_lock_bh(&sk->sk_callback_lock);
		sk->sk_user_data = ts;
		write_unlock_bh(&sk->sk_callback_lock);
	}
}

s64 tsi_conn_data(struct tsi_conn *c)
{
	struct vsock_sock *vsk = vsock_sk(c->vs->sk);

	return READ_ONCE(vsk->transport) ? vsock_stream_has_data(vsk) : 0;
}

s64 tsi_conn_space(struct tsi_conn *c)
{
	struct vsock_sock *vsk = vsock_sk(c->vs->sk);

	return READ_ONCE(vsk->transport) && c->vs->sk->sk_state == TCP_ESTABLISHED ? vsock_stream_has_space(vsk) : 0;
}

u32 tsi_conn_most(struct tsi_conn *c)
{
	struct virtio_vsock_sock *vvs = vsock_sk(c->vs->sk)->trans;

	return vvs ? min(READ_ONCE(vvs->peer_buf_alloc), READ_ONCE(vvs->buf_alloc)) : 0;
}

bool tsi_conn_room(struct tsi_sock *ts, struct tsi_conn *c, s64 need)
{
	if (tsi_conn_space(c) >= need)
		return true;
	set_bit(TSI_NOSPACE, &ts->flags);
	sk_set_bit(SOCKWQ_ASYNC_NOSPACE, ts->sk);	/* a signal, where the program wants one */
	smp_mb__after_atomic();	/* room that came before the bit was seen woke nobody */
	return tsi_conn_space(c) >= need;
}

/* ---- incoming ---- */

static struct tsi_conn *tsi_early_take(u32 port)
{
	struct tsi_conn *c, *found = NULL;
	struct tsi_early *e, *next;

	list_for_each_entry_safe(e, next, &tsi_early, link) {
		c = e->conn;
		if (c->port != port && !c->vs->sk->sk_err && !sock_flag(c->vs->sk, SOCK_DONE))
			continue;
		list_del(&e->link);
		kfree(e);
		/* What has ended was of a former control connection, or is of no use. */
		if (c->port != port || c->vs->sk->sk_err || found)
			tsi_conn_put(c);
		else
			found = c;
	}
	return found;
}

struct tsi_conn *tsi_conn_take(u32 port)
{
	struct tsi_conn *c = tsi_early_take(port);
	struct tsi_early *e;
	struct socket *vs;

	while (!c && !kernel_accept(tsi_listener, &vs, O_NONBLOCK)) {
		c = tsi_conn_new(vs, vsock_sk(vs->sk)->remote_addr.svm_port);
		if (c->port == port)
			break;
		e = kmalloc(sizeof(*e), GFP_KERNEL | __GFP_NOFAIL);
		e->conn = c;
		list_add_tail(&e->link, &tsi_early);
		c = NULL;
	}
	return c;
}

int tsi_conn_open_listener(void)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = TSI_DATA_PORT };
	struct socket *vs = tsi_vs_new(SOCK_STREAM, TSI_STREAM_BUF);
	int err;

	if (IS_ERR(vs))
		return PTR_ERR(vs);
	err = kernel_bind(vs, (struct sockaddr *)&a, sizeof(a));
	if (!err)
		err = kernel_listen(vs, TSI_BACKLOG);
	if (err)
		sock_release(vs);
	else
		tsi_listener = vs;
	return err;
}
