// SPDX-License-Identifier: GPL-2.0-only
/* TCP of TSI: connect, send, receive, poll, shutdown. */

/*
 * How it works
 *
 * A stream is native from the moment when its connect was found to stay in the guest (tsi_sock.nat), and
 * everything is handed to the native socket then. Otherwise tsi_sock.state is what sk_state would be,
 * socket->state is used as inet uses it, tsi_sock.shut is sk_shutdown, and sk_err of the native sock
 * is the pending error. The order of the checks below is that of the kernel's TCP, as programs see it.
 *
 * Bytes go through the data connection without blocking in it. Who has to wait is in the wait queue of
 * the program's socket before the last try, so that no wake-up is missed. The end of the stream is a
 * FIN unless a record ERROR came before it, and that was handled before (guest.h). Whoever sees an end or an
 * error looks for bytes once more: they came before it.
 *
 * vsock copies with its socket's lock held, for which the receive work waits, and with it all other sockets of the
 * guest, the agent's too. So nothing of the program's memory may be brought in there, which may take long or need
 * one of those sockets: page faults are off, and what is not there is brought in outside.
 */

#include <linux/slab.h>
#include <linux/sockios.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/virtio_vsock.h>
#include <net/compat.h>
#include <net/inet_common.h>
#include <net/inet_sock.h>
#include <net/tcp.h>
#include <asm/ioctls.h>

#include "guest.h"

#define TSI_FAULT_BYTES	VIRTIO_VSOCK_MAX_PKT_BUF_SIZE	/* what vsock copies as a whole */
#define TSI_FAULT_TRIES	8

/* The error that made it so is seen as well by who looks for it then (event.c). */
static u8 tsi_state(const struct tsi_sock *ts)
{
	return smp_load_acquire(&ts->state);
}

static u8 tsi_shut(const struct tsi_sock *ts)
{
	return smp_load_acquire(&ts->shut);
}

/* The peer sends no more, or the connection is gone. */
static bool tsi_eof(struct tsi_conn *c)
{
	struct sock *sk = c->vs->sk;

	return (READ_ONCE(vsock_sk(sk)->peer_shutdown) & SEND_SHUTDOWN) || sock_flag(sk, SOCK_DONE) || sk->sk_err;
}

/* What goes without a record of its own, with the transport or the control connection, is reset. */
static void tsi_cut(struct tsi_sock *ts, struct tsi_conn *c)
{
	struct sock *sk = c->vs->sk;

	if (tsi_state(ts) == TSI_S_ESTABLISHED && (sk->sk_err || (sock_flag(sk, SOCK_DONE) && tsi_gone(ts->gen))))
		tsi_stream_error(ts, -ECONNRESET);
}

/* ---- connect ---- */

static int tsi_connect_start(struct tsi_sock *ts, const struct tsi_addr *a)
{
	struct sockaddr_vm any = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY };
	struct socket *vs = tsi_vs_new(SOCK_STREAM, TSI_STREAM_BUF);
	struct tsi_batch *b;
	struct tsi_conn *c;
	struct tsi_msg *m;
	u32 seq, before = ts->id;
	int err;

	if (IS_ERR(vs))
		return PTR_ERR(vs);
	err = kernel_bind(vs, (struct sockaddr *)&any, sizeof(any));
	if (err) {
		sock_release(vs);
		return err;
	}
	c = tsi_conn_new(vs, tsi_vs_port(vs));
	b = tsi_batch_new();
	err = tsi_open(ts, b, 0);
	if (err) {
		kfree(b);
		tsi_conn_put(c);
		return err;
	}
	ts->opening = ts->id != before;
	m = tsi_batch_add(b, TSI_CONNECT, ts->id);
	seq = tsi_seq();
	m->seq = cpu_to_le32(seq);
	m->a = *a;
	m->arg[0] = cpu_to_le32(c->port);

	spin_lock(&ts->lock);
	ts->connect_seq = seq;
	ts->peer = *a;
	WRITE_ONCE(ts->sk->sk_err, 0);
	WRITE_ONCE(ts->shut, 0);
	clear_bit(TSI_NOSPACE, &ts->flags);
	smp_store_release(&ts->state, TSI_S_CONNECTING);
	spin_unlock(&ts->lock);
	kref_get(&c->ref);
	tsi_conn_set(ts, c);
	virtio_vsock_plug();
	err = tsi_ctl_send(b);
	if (!err)
		err = tsi_conn_start(c);
	virtio_vsock_unplug();
	tsi_conn_put(c);
	if (!err)
		return 0;
	spin_lock(&ts->lock);
	WRITE_ONCE(ts->state, TSI_S_CLOSE);
	spin_unlock(&ts->lock);
	tsi_conn_set(ts, NULL);
	tsi_wake(ts->sk, 0);
	return err;
}

/* Back to an unconnected socket. Its port stays if bind() asked for it. Under cfg. */
static void tsi_disconnect(struct socket *sock, struct tsi_sock *ts)
{
	bool reset;

	spin_lock(&ts->lock);
	reset = ts->state == TSI_S_ESTABLISHED || ts->state == TSI_S_CONNECTING;
	WRITE_ONCE(ts->state, TSI_S_CLOSE);
	WRITE_ONCE(ts->shut, 0);
	ts->peer.family = TSI_NONE;
	if (!ts->bound)
		ts->local.family = TSI_NONE;
	else
		ts->local = ts->asked;
	spin_unlock(&ts->lock);
	tsi_forget(ts, TSI_F_ABORT);
	tsi_accept_flush(ts);
	tsi_conn_set(ts, NULL);
	WRITE_ONCE(sock->sk->sk_err, reset ? ECONNRESET : 0);
	sock->state = SS_UNCONNECTED;
	tsi_wake(sock->sk, 0);
}

/* Starts what the program asks for; 1: it is done natively, -EINPROGRESS and -EALREADY: wait. Under cfg. */
static int tsi_connect_begin(struct socket *sock, struct sockaddr *ua, int len)
{
	struct tsi_sock *ts = sock->tsi;
	struct tsi_addr a;
	int err;

	if (ts->nat)
		return 1;
	if (ua->sa_family == AF_UNSPEC) {
		if (inet_sk_state_load(sock->sk) == TCP_LISTEN) {
			err = ts->native->connect(sock, ua, len, 0);
			if (err)
				return err;
		}
		tsi_disconnect(sock, ts);
		return 0;
	}
	switch (sock->state) {
	case SS_CONNECTED:
		return -EISCONN;
	case SS_CONNECTING:
		return -EALREADY;
	case SS_UNCONNECTED:
		break;
	default:
		return -EINVAL;
	}
	if (tsi_state(ts) == TSI_S_LISTEN || inet_sk_state_load(sock->sk) == TCP_LISTEN)
		return -EISCONN;
	err = tsi_addr_in(ts, ua, len, &a);
	if (err)
		return err;
	if (tsi_stays(ts, &a)) {
		ts->nat = true;
		return 1;
	}
	err = tsi_connect_start(ts, &a);
	if (err)
		return err;
	sock->state = SS_CONNECTING;
	return -EINPROGRESS;
}

static int tsi_connect_wait(struct tsi_sock *ts, long timeo, int err)
{
	struct sock *sk = ts->sk;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);

	/* As in TCP, whose lock keeps the answer away so long: it is never done by the call that began it. */
	if (!timeo && err == -EINPROGRESS)
		return err;
	if (tsi_state(ts) != TSI_S_CONNECTING)
		return 0;
	if (!timeo)
		return err;
	add_wait_queue(sk_sleep(sk), &wait);
	while (tsi_state(ts) == TSI_S_CONNECTING) {
		if (!timeo)
			break;
		if (signal_pending(current)) {
			err = sock_intr_errno(timeo);
			break;
		}
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return tsi_state(ts) == TSI_S_CONNECTING ? err : 0;
}

static int tsi_stream_connect(struct socket *sock, struct sockaddr *ua, int len, int flags)
{
	struct tsi_sock *ts = sock->tsi;
	struct sock *sk = sock->sk;
	int err;

	if (len < (int)sizeof(ua->sa_family))
		return -EINVAL;
	mutex_lock(&ts->cfg);
	err = tsi_connect_begin(sock, ua, len);
	mutex_unlock(&ts->cfg);
	if (err == 1) {
		err = ts->native->connect(sock, ua, len, flags);
		mutex_lock(&ts->cfg);
		if (sock->state == SS_UNCONNECTED)
			ts->nat = false;
		mutex_unlock(&ts->cfg);
		return err;
	}
	if (err != -EINPROGRESS && err != -EALREADY)
		return err;
	err = tsi_connect_wait(ts, sock_sndtimeo(sk, flags & O_NONBLOCK), err);
	if (err)
		return err;

	mutex_lock(&ts->cfg);
	if (sock->state != SS_CONNECTING) {
		/* Another thread was here before, or has disconnected it. */
		err = sock->state == SS_CONNECTED ? 0 : -EPIPE;
	} else if (tsi_state(ts) == TSI_S_ESTABLISHED) {
		sock->state = SS_CONNECTED;
	} else {
		err = sock_error(sk) ? : -ECONNABORTED;
		sock->state = SS_UNCONNECTED;
		spin_lock(&ts->lock);
		WRITE_ONCE(ts->shut, 0);
		ts->peer.family = TSI_NONE;
		spin_unlock(&ts->lock);
		tsi_conn_set(ts, NULL);
		/* As natively, where its port goes. An OPEN, or its BIND, that was refused may do better next time. */
		if (!ts->bound || ts->opening)
			tsi_forget(ts, 0);
	}
	mutex_unlock(&ts->cfg);
	return err;
}

/* ---- send ---- */

/*
 * One try; what was taken is gone from msg->msg_iter. vsock says ENOMEM when it could not copy, as when it had no
 * memory: that is what it is when what is to be copied is there.
 */
static int tsi_vs_send(struct tsi_conn *c, struct msghdr *msg)
{
	struct msghdr m = { .msg_iter = msg->msg_iter, .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	bool user = user_backed_iter(&m.msg_iter);
	size_t len = msg_data_left(msg);
	int n, tries;

	for (tries = 0; tries < TSI_FAULT_TRIES; tries++) {
		if (user)
			pagefault_disable();
		n = READ_ONCE(c->vs->ops)->sendmsg(c->vs, &m, len);
		if (user)
			pagefault_enable();
		if (!user || (n != -EFAULT && n != -ENOMEM))
			break;
		len = min_t(size_t, len, TSI_FAULT_BYTES);
		if (fault_in_iov_iter_readable(&m.msg_iter, len)) {
			n = -EFAULT;
			break;
		}
	}
	msg->msg_iter = m.msg_iter;
	return n;
}

/* -EAGAIN: it has to wait. */
static int tsi_send_try(struct tsi_sock *ts, struct msghdr *msg)
{
	struct tsi_conn *c;
	int n;

	if (ts->sk->sk_err || (tsi_shut(ts) & SEND_SHUTDOWN))
		return -EPIPE;
	if (tsi_state(ts) == TSI_S_CONNECTING)
		return -EAGAIN;
	c = tsi_conn_get(ts);
	if (!c || tsi_state(ts) != TSI_S_ESTABLISHED) {
		tsi_conn_put(c);
		return -EPIPE;
	}
	n = tsi_vs_send(c, msg);
	if (n == -EAGAIN && tsi_conn_room(ts, c, 1))
		n = tsi_vs_send(c, msg);
	if (n < 0 && n != -EAGAIN && n != -EFAULT && n != -ENOMEM) {
		tsi_cut(ts, c);
		n = -EPIPE;
	}
	tsi_conn_put(c);
	return n;
}

static int tsi_send_loop(struct tsi_sock *ts, struct msghdr *msg, long timeo)
{
	struct sock *sk = ts->sk;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	size_t size = msg_data_left(msg);
	int err = 0;

	add_wait_queue(sk_sleep(sk), &wait);
	while (msg_data_left(msg) > 0) {
		err = tsi_send_try(ts, msg);
		if (err >= 0)
			continue;
		if (err != -EAGAIN || !timeo)
			break;
		if (signal_pending(current)) {
			err = sock_intr_errno(timeo);
			break;
		}
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	size -= msg_data_left(msg);
	return size ? size : err;
}

static int tsi_stream_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)
{
	struct tsi_sock *ts = sock->tsi;
	struct sock *sk = sock->sk;
	int n;

	if (ts->nat)
		return ts->native->sendmsg(sock, msg, size);
	if (msg->msg_flags & (MSG_OOB | MSG_FASTOPEN))
		return -EOPNOTSUPP;
	if (tsi_state(ts) == TSI_S_CLOSE || tsi_state(ts) == TSI_S_LISTEN || sk->sk_err)
		return sk_stream_error(sk, msg->msg_flags, -EPIPE);
	n = tsi_send_try(ts, msg);
	if (n == -EAGAIN || (n > 0 && msg_data_left(msg) > 0)) {
		int more = tsi_send_loop(ts, msg, sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT));

		n = n > 0 ? n + max(more, 0) : more;
	}
	return n < 0 ? sk_stream_error(sk, msg->msg_flags, n) : n;
}

/* ---- receive ---- */

/*
 * One try; what was copied has been passed in msg->msg_iter. vsock copies with page faults off, so it stops in front
 * of a page of the buffer that is not in memory, without a word when it had copied something: then that is brought
 * in, and the rest read too, for less than asked means to a program that there was no more. What is only looked at is
 * read again from its beginning.
 */
static int tsi_vs_recv(struct tsi_conn *c, struct msghdr *msg, size_t len, int flags)
{
	struct msghdr m = { .msg_iter = msg->msg_iter };
	bool peek = flags & MSG_PEEK, user;
	size_t done = 0, more;
	int n, tries;

	/* Bytes to throw away. */
	if (flags & MSG_TRUNC)
		iov_iter_discard(&m.msg_iter, ITER_DEST, len);
	user = user_backed_iter(&m.msg_iter);
	for (tries = 0;; tries++) {
		if (user)
			pagefault_disable();
		n = READ_ONCE(c->vs->ops)->recvmsg(c->vs, &m, len - done, (flags & MSG_PEEK) | MSG_DONTWAIT);
		if (user)
			pagefault_enable();
		if (!user || (n <= 0 && n != -EFAULT))
			break;
		if (n > 0 && !peek) {
			done += n;
			tries = 0;
		}
		more = min_t(u64, len - done, max_t(s64, tsi_conn_data(c), n < 0));
		if (n > 0 && (peek ? more <= n : !more))
			break;
		if (tries == TSI_FAULT_TRIES || fatal_signal_pending(current))
			break;
		if (!peek)
			more = min_t(size_t, more, TSI_FAULT_BYTES);
		/* Where the last of it cannot be written does not matter. */
		if (fault_in_iov_iter_writeable(peek ? &msg->msg_iter : &m.msg_iter, more) == more)
			break;
		if (peek)
			m.msg_iter = msg->msg_iter;
	}
	if (!(flags & MSG_TRUNC))
		msg->msg_iter = m.msg_iter;
	return done ? done : n;
}

/* Bytes, 0 at the end, -EAGAIN when there is nothing yet. The error of an end is in sk_err, and left there. */
static int tsi_recv_data(struct tsi_sock *ts, struct msghdr *msg, size_t len, int flags)
{
	struct tsi_conn *c = tsi_conn_get(ts);
	int n = -EAGAIN;

	if (c && len > 0)
		n = tsi_vs_recv(c, msg, len, flags);
	else if (c && tsi_conn_data(c) > 0)
		n = 0;
	if (len > 0 && (n == 0 || (n < 0 && n != -EAGAIN && n != -EFAULT && n != -ENOMEM))) {
		tsi_cut(ts, c);
		n = 0;
	}
	tsi_conn_put(c);
	return n;
}

/* The same, with bytes looked for once more when the end is seen. */
static int tsi_recv_next(struct tsi_sock *ts, struct msghdr *msg, size_t len, int flags, bool *end)
{
	u8 state = tsi_state(ts);
	u8 shut;
	int n = -EAGAIN;

	if (state != TSI_S_CONNECTING)
		n = tsi_recv_data(ts, msg, len, flags);
	*end = n == 0 && len > 0;
	if (n != -EAGAIN)
		return n;
	shut = tsi_shut(ts);
	if (!ts->sk->sk_err && !(shut & RCV_SHUTDOWN))
		return state == TSI_S_CLOSE || state == TSI_S_LISTEN ? -ENOTCONN : -EAGAIN;
	smp_rmb();
	if (state != TSI_S_CONNECTING)
		n = tsi_recv_data(ts, msg, len, flags);
	*end = n == -EAGAIN || (n == 0 && len > 0);
	return *end ? 0 : n;
}

/* Bytes, 0 at the end, -EAGAIN when there is nothing yet, or the error of the socket. */
static int tsi_recv_try(struct tsi_sock *ts, struct msghdr *msg, size_t len, int flags)
{
	bool end;
	int n = tsi_recv_next(ts, msg, len, flags, &end);

	return end ? sock_error(ts->sk) : n;
}

/* Nothing more will come than what is there. */
static bool tsi_recv_ended(struct tsi_sock *ts)
{
	struct tsi_conn *c;
	bool ended;

	if (ts->sk->sk_err || (tsi_shut(ts) & RCV_SHUTDOWN))
		return true;
	c = tsi_conn_get(ts);
	ended = c && tsi_eof(c);
	tsi_conn_put(c);
	return ended;
}

static int tsi_recv_loop(struct tsi_sock *ts, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = ts->sk;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	long timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	size_t target = min_t(size_t, sock_rcvlowat(sk, flags & MSG_WAITALL, len), INT_MAX);
	size_t copied = 0;
	bool ended, end;
	int n;

	/* What is only looked at stays in the buffer, so no more can be waited for than comes for sure. */
	if (flags & MSG_PEEK)
		target = min_t(size_t, target, TSI_SURE);
	add_wait_queue(sk_sleep(sk), &wait);
	for (;;) {
		/* Looked at again: from its beginning. */
		if ((flags & MSG_PEEK) && copied) {
			if (!(flags & MSG_TRUNC))
				iov_iter_revert(&msg->msg_iter, copied);
			copied = 0;
		}
		ended = (flags & MSG_PEEK) && tsi_recv_ended(ts);
		/* An error behind bytes is for the next call. */
		n = tsi_recv_next(ts, msg, len - copied, flags, &end);
		if (end && !copied)
			n = sock_error(sk);
		if (n > 0)
			copied += n;
		if (copied >= target || n == 0 || (n > 0 && ended))
			break;
		if (n > 0 && !(flags & MSG_PEEK))
			continue;
		if (n < 0 && n != -EAGAIN)
			break;
		if (!timeo)
			break;
		if (signal_pending(current)) {
			n = sock_intr_errno(timeo);
			break;
		}
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return copied ? copied : n;
}

/* TCP_INQ: how much more there is, 1 at the end. */
static void tsi_put_inq(struct tsi_sock *ts, struct msghdr *msg)
{
	struct tsi_conn *c = tsi_conn_get(ts);
	int inq = c ? tsi_conn_data(c) : 0;

	tsi_conn_put(c);
	if (!inq && tsi_recv_ended(ts))
		inq = 1;
	put_cmsg(msg, SOL_TCP, TCP_CM_INQ, sizeof(inq), &inq);
}

static int tsi_stream_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct tsi_sock *ts = sock->tsi;
	int n;

	if (ts->nat || (flags & MSG_ERRQUEUE))
		return ts->native->recvmsg(sock, msg, len, flags);
	if (flags & MSG_OOB)
		return -EINVAL;
	msg->msg_namelen = 0;
	n = -EAGAIN;
	if (!(flags & (MSG_WAITALL | MSG_PEEK)) && ts->sk->sk_rcvlowat <= 1)
		n = tsi_recv_try(ts, msg, len, flags);
	if (n == -EAGAIN)
		n = tsi_recv_loop(ts, msg, len, flags);
	if (n >= 0 && tcp_sk(ts->sk)->recvmsg_inq)
		tsi_put_inq(ts, msg);
	return n;
}

/* ---- poll, shutdown, ioctl ---- */

static __poll_t tsi_stream_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct tsi_sock *ts = sock->tsi;
	struct sock *sk = sock->sk;
	u8 state, shut;
	struct tsi_conn *c;
	__poll_t mask = 0;
	bool eof;

	if (ts->nat)
		return ts->native->poll(file, sock, wait);
	state = tsi_state(ts);
	if (state == TSI_S_LISTEN || inet_sk_state_load(sk) == TCP_LISTEN) {
		mask = ts->native->poll(file, sock, wait);
		if (inet_sk_state_load(sk) != TCP_LISTEN)
			mask &= ~(EPOLLHUP | EPOLLOUT | EPOLLWRNORM);
		if (!list_empty_careful(&ts->queue))
			mask |= EPOLLIN | EPOLLRDNORM;
		if (sk->sk_err)
			mask |= EPOLLERR;
		return mask;
	}
	sock_poll_wait(file, sock, wait);
	if (tsi_state(ts) == TSI_S_CONNECTING)
		return 0;
	/* The end before the error that may be its cause. */
	c = tsi_conn_get(ts);
	eof = c && tsi_eof(c);
	smp_rmb();
	if (c)
		tsi_cut(ts, c);
	state = tsi_state(ts);
	shut = tsi_shut(ts);
	if (sk->sk_err)
		mask |= EPOLLERR;
	if (c && tsi_conn_data(c) >= sock_rcvlowat(sk, 0, TSI_SURE))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (eof)
		shut |= RCV_SHUTDOWN;
	if (shut == SHUTDOWN_MASK || state == TSI_S_CLOSE)
		mask |= EPOLLHUP;
	if (shut & RCV_SHUTDOWN)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if ((shut & SEND_SHUTDOWN) || !c || state == TSI_S_CLOSE || c->vs->sk->sk_state != TCP_ESTABLISHED ||
	    tsi_conn_room(ts, c, 1))
		mask |= EPOLLOUT | EPOLLWRNORM;
	tsi_conn_put(c);
	return mask;
}

static int tsi_shutdown_stream(struct socket *sock, int how)
{
	struct tsi_sock *ts = sock->tsi;
	struct tsi_conn *c;
	u8 was;

	if (sock->state == SS_CONNECTING)
		sock->state = tsi_state(ts) == TSI_S_ESTABLISHED ? SS_CONNECTED : SS_DISCONNECTING;
	if (ts->only && inet_sk_state_load(sock->sk) == TCP_LISTEN)
		return ts->native->shutdown(sock, how - 1);
	switch (tsi_state(ts)) {
	case TSI_S_LISTEN:
		if (!(how & RCV_SHUTDOWN))
			return 0;
		ts->native->shutdown(sock, how - 1);
		fallthrough;
	case TSI_S_CONNECTING:
		tsi_disconnect(sock, ts);
		return 0;
	}
	spin_lock(&ts->lock);
	was = ts->shut;
	WRITE_ONCE(ts->shut, was | how);
	spin_unlock(&ts->lock);
	if (tsi_state(ts) == TSI_S_CLOSE)
		return -ENOTCONN;
	c = tsi_conn_get(ts);
	if (c && (how & SEND_SHUTDOWN) && !(was & SEND_SHUTDOWN))
		READ_ONCE(c->vs->ops)->shutdown(c->vs, SHUT_WR);
	tsi_conn_put(c);
	return 0;
}

static int tsi_stream_shutdown(struct socket *sock, int how)
{
	struct tsi_sock *ts = sock->tsi;
	int err;

	if (ts->nat)
		return ts->native->shutdown(sock, how);
	how++;
	if ((how & ~SHUTDOWN_MASK) || !how)
		return -EINVAL;
	mutex_lock(&ts->cfg);
	err = tsi_shutdown_stream(sock, how);
	mutex_unlock(&ts->cfg);
	tsi_wake(sock->sk, 0);
	return err;
}

static int tsi_stream_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct tsi_sock *ts = sock->tsi;
	struct tsi_conn *c;
	s64 n = 0;

	if (ts->nat || (cmd != SIOCINQ && cmd != SIOCOUTQ && cmd != SIOCOUTQNSD))
		return ts->native->ioctl(sock, cmd, arg);
	if (tsi_state(ts) == TSI_S_LISTEN)
		return -EINVAL;
	c = tsi_conn_get(ts);
	if (c && tsi_state(ts) != TSI_S_CONNECTING) {
		if (cmd == SIOCINQ)
			n = tsi_conn_data(c);
		else if (vsock_sk(c->vs->sk)->transport)
			n = vsock_sk(c->vs->sk)->transport->unsent_bytes(vsock_sk(c->vs->sk)) + tsi_outq(ts);
	}
	tsi_conn_put(c);
	return put_user((int)n, (int __user *)arg);
}

#ifdef CONFIG_COMPAT
static int tsi_stream_compat_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	if (cmd == SIOCINQ || cmd == SIOCOUTQ || cmd == SIOCOUTQNSD)
		return tsi_stream_ioctl(sock, cmd, (unsigned long)compat_ptr(arg));
	return sock->tsi->native->compat_ioctl(sock, cmd, arg);
}
#define TSI_COMPAT .compat_ioctl = tsi_stream_compat_ioctl,
#else
#define TSI_COMPAT
#endif

#define TSI_STREAM_OPS(fam)			\
	{					\
		.family = fam,			\
		.owner = THIS_MODULE,		\
		.release = tsi_release,		\
		.bind = tsi_bind,		\
		.connect = tsi_stream_connect,	\
		.socketpair = sock_no_socketpair, \
		.accept = tsi_accept,		\
		.getname = tsi_getname,		\
		.poll = tsi_stream_poll,	\
		.ioctl = tsi_stream_ioctl,	\
		.gettstamp = sock_gettstamp,	\
		.listen = tsi_listen,		\
		.shutdown = tsi_stream_shutdown, \
		.setsockopt = tsi_setsockopt,	\
		.getsockopt = tsi_getsockopt,	\
		.sendmsg = tsi_stream_sendmsg,	\
		.recvmsg = tsi_stream_recvmsg,	\
		.mmap = sock_no_mmap,		\
		TSI_COMPAT			\
	}

const struct proto_ops tsi_stream_ops = TSI_STREAM_OPS(PF_INET);
const struct proto_ops tsi_stream6_ops = TSI_STREAM_OPS(PF_INET6);
