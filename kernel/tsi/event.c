// SPDX-License-Identifier: GPL-2.0-only
/* What the host says by itself, and what becomes of sockets when the control connection is replaced. */

#include <linux/slab.h>

#include "guest.h"

/*
 * Under ts->lock. An error is there before the state and the end that it causes: who has seen one of those
 * (tsi_state() and the like have the barrier) finds it.
 */
static struct sock *tsi_error_locked(struct tsi_sock *ts, int err)
{
	if (ts->sk)
		WRITE_ONCE(ts->sk->sk_err, -err);
	else
		ts->err = -err;
	return ts->sk;
}

static void tsi_over_locked(struct tsi_sock *ts)
{
	smp_store_release(&ts->shut, SHUTDOWN_MASK);
	smp_store_release(&ts->state, TSI_S_CLOSE);
}

void tsi_set_error(struct tsi_sock *ts, int err)
{
	struct sock *sk;

	spin_lock(&ts->lock);
	sk = tsi_error_locked(ts, err);
	spin_unlock(&ts->lock);
	if (sk)
		tsi_wake(sk, 0);
}

/* The outcome of a connect. Before it the guest sends nothing, so the state is all that there is. */
static void tsi_connected(struct tsi_sock *ts, const struct tsi_msg *m, int status)
{
	bool mine;

	spin_lock(&ts->lock);
	mine = ts->state == TSI_S_CONNECTING && ts->connect_seq == le32_to_cpu(m->seq);
	if (mine && !status) {
		ts->local = m->a;
		ts->peer = m->b;
		smp_store_release(&ts->state, TSI_S_ESTABLISHED);
	} else if (mine) {
		tsi_error_locked(ts, status);
		tsi_over_locked(ts);
	}
	spin_unlock(&ts->lock);
	if (!mine)
		return;
	/* Bytes of the peer may have come before, when nobody could be told. */
	tsi_wake(ts->sk, status ? 0 : EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	if (!status)
		sk_wake_async(ts->sk, SOCK_WAKE_IO, POLL_OUT);
}

/* Of a connection, or of a listener, which stays one. */
void tsi_stream_error(struct tsi_sock *ts, int err)
{
	struct sock *sk;

	spin_lock(&ts->lock);
	sk = tsi_error_locked(ts, err);
	if (ts->state == TSI_S_ESTABLISHED || ts->state == TSI_S_CONNECTING)
		tsi_over_locked(ts);
	spin_unlock(&ts->lock);
	if (sk)
		tsi_wake(sk, 0);
}

/* What was wrong with one destination is nothing to the calls for the others: as natively, only who has one hears of it. */
static void tsi_dgram_error(struct tsi_sock *ts, u16 flags, int err)
{
	if (!(flags & TSI_F_SOFT) || READ_ONCE(ts->peer.family))
		tsi_set_error(ts, err);
}

void tsi_event(const struct tsi_msg *m)
{
	struct tsi_sock *ts = tsi_id_get(le32_to_cpu(m->id));
	int status = (s32)le32_to_cpu(m->status);

	if (status > 0 || status < -MAX_ERRNO)
		status = -EPROTO;
	switch (le16_to_cpu(m->type)) {
	case TSI_CONNECT:
		if (ts && ts->kind == TSI_TCP && (le16_to_cpu(m->flags) & TSI_F_REPLY))
			tsi_connected(ts, m, status);
		break;
	case TSI_ACCEPTED:
		tsi_accepted(ts, m);
		break;
	case TSI_ERROR:
		if (ts && ts->kind == TSI_TCP)
			tsi_stream_error(ts, status);
		else if (ts)
			tsi_dgram_error(ts, le16_to_cpu(m->flags), status);
		break;
	}
	if (ts)
		tsi_put(ts);
}

void tsi_lost(struct tsi_sock *ts)
{
	u8 state;

	mutex_lock(&ts->cfg);
	spin_lock(&ts->lock);
	state = ts->state;
	spin_unlock(&ts->lock);
	if (ts->kind != TSI_TCP) {
		tsi_conn_set(ts, NULL);
	} else if (state == TSI_S_LISTEN) {
		tsi_accept_flush(ts);
	} else {
		/* One that is not connected has lost nothing: it is made again when it is needed. */
		if (state != TSI_S_CLOSE)
			tsi_stream_error(ts, -ECONNRESET);
		tsi_id_drop(ts);
	}
	mutex_unlock(&ts->cfg);
}

/* As before, under the same id. What the host cannot give again is an error of the socket. */
void tsi_again(struct tsi_sock *ts)
{
	struct tsi_addr peer;
	int err = 0;

	mutex_lock(&ts->cfg);
	if (!ts->ended && ts->gen != tsi_gen() && ts->id && !(ts->id & TSI_ID_HOST)) {
		tsi_id_drop(ts);
		peer = ts->peer;
		if (ts->kind != TSI_TCP)
			err = tsi_dgram_open(ts, &peer);
		else if (ts->state == TSI_S_LISTEN)
			err = tsi_listen_host(ts);
		if (err)
			tsi_set_error(ts, err);
	}
	mutex_unlock(&ts->cfg);
}
