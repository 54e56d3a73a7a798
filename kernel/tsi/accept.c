// SPDX-License-Identifier: GPL-2.0-only
/* TCP of TSI: listen on both sides, accept from either. */

/*
 * How it works
 *
 * A connection of the host's comes as a vsock connection and a record ACCEPTED. Together they are an
 * embryo, a tsi_sock without a native socket, in the queue of its listener; it has its id in the table
 * already, so that errors find it. accept() gives it a native socket, with the options of the listener.
 * The host announces no more than a window of connections that nobody has taken; TAKEN is sent for
 * several at once.
 *
 * Connections of the guest itself are in the native queue. Who waits for one waits for both, on one
 * wait queue.
 */

#include <linux/slab.h>
#include <net/inet_connection_sock.h>
#include <net/inet_sock.h>
#include <net/tcp.h>

#include "guest.h"

/* Nobody will take it: the peer gets an RST, as from a listener that is closed. */
static void tsi_embryo_drop(struct tsi_sock *e, bool in_rx)
{
	struct tsi_batch *b;

	if (in_rx) {
		tsi_ctl_post(TSI_CLOSE, TSI_F_ABORT, e->id, 0);
		tsi_id_drop(e);
	} else {
		b = tsi_batch_new();
		tsi_batch_add(b, TSI_CLOSE, e->id)->flags = cpu_to_le16(TSI_F_ABORT);
		if (e->id)
			(void)tsi_ctl_send(b);
		else
			kfree(b);
		tsi_id_drop(e);
	}
	tsi_conn_set(e, NULL);
	tsi_put(e);
}

static struct tsi_sock *tsi_embryo_pop(struct tsi_sock *ts)
{
	struct tsi_sock *e;

	spin_lock(&ts->lock);
	e = list_first_entry_or_null(&ts->queue, struct tsi_sock, link);
	if (e)
		list_del_init(&e->link);
	spin_unlock(&ts->lock);
	return e;
}

void tsi_accept_flush(struct tsi_sock *ts)
{
	struct tsi_sock *e;

	while ((e = tsi_embryo_pop(ts)))
		tsi_embryo_drop(e, false);
}

/* On the receive work. @ts may be NULL: a listener that was closed meanwhile. */
void tsi_accepted(struct tsi_sock *ts, const struct tsi_msg *m)
{
	u32 id = le32_to_cpu(m->arg[0]);
	struct tsi_conn *c = tsi_conn_take(le32_to_cpu(m->arg[1]));
	struct tsi_sock *e = NULL;
	bool queued = false;

	if (!(id & TSI_ID_HOST)) {
		tsi_conn_put(c);
		return;
	}
	if (ts && c)
		e = tsi_new(TSI_TCP, ts->v6);
	if (!e || tsi_id_host(e, id)) {
		tsi_ctl_post(TSI_CLOSE, TSI_F_ABORT, id, 0);
		if (ts)
			tsi_ctl_post(TSI_TAKEN, 0, le32_to_cpu(m->id), 1);
		tsi_conn_put(c);
		if (e)
			tsi_put(e);
		return;
	}
	e->state = TSI_S_ESTABLISHED;
	e->gen = tsi_gen();
	e->listener = le32_to_cpu(m->id);
	e->local = m->a;
	e->peer = m->b;
	tsi_conn_set(e, c);
	spin_lock(&ts->lock);
	if (ts->state == TSI_S_LISTEN && !ts->ended) {
		list_add_tail(&e->link, &ts->queue);
		queued = true;
	}
	spin_unlock(&ts->lock);
	if (queued)
		tsi_wake(ts->sk, EPOLLIN | EPOLLRDNORM);
	else
		tsi_embryo_drop(e, true);
}

/* ---- listen ---- */

static void tsi_state_set(struct tsi_sock *ts, u8 state)
{
	spin_lock(&ts->lock);
	WRITE_ONCE(ts->state, state);
	spin_unlock(&ts->lock);
}

int tsi_listen_host(struct tsi_sock *ts)
{
	u8 before = ts->state;
	u32 id = ts->id;
	struct tsi_msg reply;
	int err;

	/* The first connection may be announced right behind the answer. */
	tsi_state_set(ts, TSI_S_LISTEN);
	err = tsi_ask(ts, TSI_LISTEN, NULL, ts->backlog, &reply);
	if (err) {
		tsi_state_set(ts, before);
		return err;
	}
	ts->window = max_t(u32, 1, le32_to_cpu(reply.arg[0]));
	if (before != TSI_S_LISTEN || ts->id != id)
		ts->taken = 0;
	spin_lock(&ts->lock);
	ts->local = reply.a;
	spin_unlock(&ts->lock);
	return 0;
}

int tsi_listen(struct socket *sock, int backlog)
{
	struct tsi_sock *ts = sock->tsi;
	struct sock *sk = sock->sk;
	u32 backlog_was;
	int err, tries;

	mutex_lock(&ts->cfg);
	err = -EINVAL;
	if (ts->nat || sock->state != SS_UNCONNECTED ||
	    (ts->state != TSI_S_CLOSE && ts->state != TSI_S_LISTEN))
		goto out;
	if (ts->only) {
		err = ts->native->listen(sock, backlog);
		goto out;
	}
	backlog_was = ts->backlog;
	ts->backlog = backlog;
	for (tries = 0; tries < TSI_PORT_TRIES; tries++) {
		err = tsi_listen_host(ts);
		if (err == -EPERM) {
			err = ts->native->listen(sock, backlog);
			break;
		}
		if (err) {
			ts->backlog = backlog_was;
			break;
		}
		if (!inet_sk(sk)->inet_num) {
			struct tsi_addr any = { .family = ts->v6 ? TSI_INET6 : TSI_INET };

			err = tsi_bind_native(ts, &any, ts->local.port);
		}
		if (!err) {
			err = ts->native->listen(sock, backlog);
			WRITE_ONCE(ts->shut, 0);
			break;
		}
		/* The host has chosen a port that is taken here: another one. */
		tsi_state_set(ts, TSI_S_CLOSE);
		tsi_forget(ts, TSI_F_ABORT);
		tsi_accept_flush(ts);
		ts->local.family = TSI_NONE;
		if (ts->bound)
			break;
	}
out:
	mutex_unlock(&ts->cfg);
	return err;
}

/* ---- accept ---- */

static int tsi_embryo_take(struct tsi_sock *ts, struct tsi_sock *e, struct socket *newsock)
{
	struct tsi_batch *b = NULL;
	int err;

	mutex_lock(&ts->cfg);
	/* It may have been of a listener that this socket was before: the host has forgotten that one, and its window. */
	if (ts->id && e->listener == ts->id && ++ts->taken >= max_t(u32, 1, ts->window / 4)) {
		b = tsi_batch_new();
		tsi_batch_add(b, TSI_TAKEN, ts->id)->arg[0] = cpu_to_le32(ts->taken);
		ts->taken = 0;
		(void)tsi_ctl_send(b);	/* its failure is the end of the listener */
	}
	err = tsi_sock_like(newsock, e, ts);
	mutex_unlock(&ts->cfg);
	if (err)
		tsi_embryo_drop(e, false);
	else
		newsock->state = SS_CONNECTED;
	return err;
}

static int tsi_accept_try(struct socket *sock, struct socket *newsock, struct proto_accept_arg *arg)
{
	struct tsi_sock *ts = sock->tsi;
	struct tsi_sock *e = tsi_embryo_pop(ts);
	int err, flags = arg->flags;

	if (e)
		return tsi_embryo_take(ts, e, newsock);
	if (inet_sk_state_load(sock->sk) == TCP_LISTEN) {
		arg->flags |= O_NONBLOCK;
		err = ts->native->accept(sock, newsock, arg);
		arg->flags = flags;
		if (!err)
			newsock->ops = ts->native;
	} else {
		err = READ_ONCE(ts->state) == TSI_S_LISTEN ? -EAGAIN : -EINVAL;
	}
	/* The host's side of the listener is dead: nobody comes from there any more. */
	if (err == -EAGAIN && sock->sk->sk_err)
		err = sock_error(sock->sk) ? : err;
	return err;
}

int tsi_accept(struct socket *sock, struct socket *newsock, struct proto_accept_arg *arg)
{
	struct sock *sk = sock->sk;
	long timeo = sock_rcvtimeo(sk, arg->flags & O_NONBLOCK);
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int err;

	err = tsi_accept_try(sock, newsock, arg);
	if (err != -EAGAIN || !timeo)
		return err;
	add_wait_queue_exclusive(sk_sleep(sk), &wait);
	while ((err = tsi_accept_try(sock, newsock, arg)) == -EAGAIN) {
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
