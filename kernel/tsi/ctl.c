// SPDX-License-Identifier: GPL-2.0-only
/* The control connection of TSI: records out, answers in, the table of ids. */

/*
 * How it works
 *
 * One vsock stream to the host's port TSI_CTL_PORT, connected from the same port by a work item that
 * late_initcall starts; socket() waits until it is known whether there is a host half. Senders write
 * whole batches of records under ctl.tx. They wait for room by themselves and not in vsock's sendmsg,
 * which a signal would leave with half a record sent.
 *
 * Records that come are handled in the data_ready callback of the socket, that is on the work item of
 * the vsock driver, in the order of the receive queue and before the next packet. Whoever asked
 * something sleeps on its struct tsi_call. The receive work itself may not wait for room, as the room
 * may come by a packet behind the one that it handles: its few records go through a list and a work
 * item of their own.
 *
 * When the connection ends, every stream has ECONNRESET. If it had worked before, a new one is tried until
 * there is one: that is what happens to a VM that was saved and loaded. Listeners and datagram sockets are
 * made again on it; until then what needs the host is ENETDOWN. Where nobody takes the first one, all sockets
 * are native.
 */

#include <linux/init.h>
#include <linux/slab.h>
#include <linux/virtio_vsock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "guest.h"

#define TSI_HELLO_TIME	(10 * HZ)
#define TSI_AGAIN_TIME	(HZ / 10)	/* ... and twice as long after each failure */
#define TSI_AGAIN_MOST	(10 * HZ)

static void tsi_start(struct work_struct *work);
static void tsi_end(struct work_struct *work);
static void tsi_post_all(struct work_struct *work);

static struct {
	bool wanted;			/* krun.tsi=on */
	bool up;			/* HELLO was answered and nothing has ended since */
	u32 gen;
	u32 gone;			/* the last one that has ended */
	unsigned long again;		/* time until the next try */
	struct completion ready;	/* whether there is a host half is known */
	struct delayed_work start;
	struct work_struct end;

	struct mutex tx;		/* vs, and whole batches on it */
	struct socket *vs;
	wait_queue_head_t room;		/* vsock's own queue wakes only who may be interrupted */

	spinlock_t lock;		/* what follows */
	struct list_head calls;
	u32 seq;
	struct list_head posts;
	struct work_struct post;

	/* The receive work's own: a record of which a part has come. */
	u8 part[sizeof(struct tsi_msg)];
	unsigned int have;
	void (*state_change)(struct sock *sk);
	void (*error_report)(struct sock *sk);
	void (*write_space)(struct sock *sk);
} ctl = {
	.ready = COMPLETION_INITIALIZER(ctl.ready),
	.start = __DELAYED_WORK_INITIALIZER(ctl.start, tsi_start, 0),
	.end = __WORK_INITIALIZER(ctl.end, tsi_end),
	.tx = __MUTEX_INITIALIZER(ctl.tx),
	.room = __WAIT_QUEUE_HEAD_INITIALIZER(ctl.room),
	.lock = __SPIN_LOCK_UNLOCKED(ctl.lock),
	.calls = LIST_HEAD_INIT(ctl.calls),
	.posts = LIST_HEAD_INIT(ctl.posts),
	.post = __WORK_INITIALIZER(ctl.post, tsi_post_all),
};

struct tsi_post {
	struct list_head link;
	u16 type, flags;
	u32 id, arg;
};

bool tsi_up(void)
{
	return READ_ONCE(ctl.up);
}

int tsi_wait_ready(void)
{
	if (!ctl.wanted)
		return 0;
	return wait_for_completion_killable(&ctl.ready) ? -EINTR : 0;
}

u32 tsi_gen(void)
{
	return READ_ONCE(ctl.gen);
}

bool tsi_gone(u32 gen)
{
	return READ_ONCE(ctl.gone) == gen;
}

/* ---- out ---- */

struct tsi_batch *tsi_batch_new(void)
{
	struct tsi_batch *b = kmalloc(sizeof(*b), GFP_KERNEL | __GFP_NOFAIL);

	b->n = 0;
	return b;
}

struct tsi_msg *tsi_batch_add(struct tsi_batch *b, u16 type, u32 id)
{
	struct tsi_msg *m = &b->m[b->n++];

	memset(m, 0, sizeof(*m));
	m->type = cpu_to_le16(type);
	m->id = cpu_to_le32(id);
	return m;
}

/* 0 is the number of what is not answered. */
u32 tsi_seq(void)
{
	u32 seq;

	spin_lock(&ctl.lock);
	if (++ctl.seq == 0)
		ctl.seq = 1;
	seq = ctl.seq;
	spin_unlock(&ctl.lock);
	return seq;
}

static bool tsi_ctl_gone(struct sock *sk)
{
	return sk->sk_err || sk->sk_state != TCP_ESTABLISHED || READ_ONCE(vsock_sk(sk)->peer_shutdown);
}

static bool tsi_ctl_writable(struct sock *sk)
{
	return tsi_ctl_gone(sk) || vsock_stream_has_space(vsock_sk(sk)) > 0;
}

/* Under ctl.tx. */
static int tsi_ctl_write(struct tsi_batch *b)
{
	struct kvec v = { .iov_base = b->m, .iov_len = b->n * sizeof(b->m[0]) };
	int err = 0;

	while (v.iov_len > 0) {
		struct msghdr m = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };

		if (!ctl.vs)
			return -ENETDOWN;
		err = kernel_sendmsg(ctl.vs, &m, &v, 1, v.iov_len);
		if (err > 0) {
			v.iov_base += err;
			v.iov_len -= err;
			err = 0;
		} else if (err == -EAGAIN && !tsi_ctl_gone(ctl.vs->sk)) {
			virtio_vsock_unplug();
			wait_event(ctl.room, tsi_ctl_writable(ctl.vs->sk));
		} else {
			queue_work(system_long_wq, &ctl.end);
			return -ENETDOWN;
		}
	}
	return 0;
}

int tsi_ctl_send(struct tsi_batch *b)
{
	int err = -ENETDOWN;

	mutex_lock(&ctl.tx);
	/* Before HELLO is answered nothing else goes out. */
	if (tsi_up())
		err = tsi_ctl_write(b);
	mutex_unlock(&ctl.tx);
	kfree(b);
	return err;
}

static void tsi_call_begin(struct tsi_call *c, struct tsi_batch *b)
{
	c->seq = tsi_seq();
	c->err = -EINPROGRESS;
	init_completion(&c->done);
	b->m[b->n - 1].seq = cpu_to_le32(c->seq);

	spin_lock(&ctl.lock);
	list_add_tail(&c->link, &ctl.calls);
	spin_unlock(&ctl.lock);
}

/* Who has had no answer yet gets @err. */
static void tsi_call_fail(struct tsi_call *c, int err)
{
	spin_lock(&ctl.lock);
	if (c->err == -EINPROGRESS) {
		c->err = err;
		list_del(&c->link);
		complete(&c->done);
	}
	spin_unlock(&ctl.lock);
}

void tsi_call_start(struct tsi_call *c, struct tsi_batch *b)
{
	int err;

	tsi_call_begin(c, b);
	err = tsi_ctl_send(b);
	if (err)
		tsi_call_fail(c, err);
}

int tsi_call_wait(struct tsi_call *c)
{
	if (wait_for_completion_killable(&c->done))
		tsi_call_fail(c, -EINTR);
	return c->err;
}

int tsi_call(struct tsi_call *c, struct tsi_batch *b)
{
	tsi_call_start(c, b);
	return tsi_call_wait(c);
}

void tsi_ctl_post(u16 type, u16 flags, u32 id, u32 arg)
{
	struct tsi_post *p = kmalloc(sizeof(*p), GFP_KERNEL | __GFP_NOFAIL);

	*p = (struct tsi_post){ .type = type, .flags = flags, .id = id, .arg = arg };
	spin_lock(&ctl.lock);
	list_add_tail(&p->link, &ctl.posts);
	spin_unlock(&ctl.lock);
	queue_work(system_long_wq, &ctl.post);
}

static void tsi_post_all(struct work_struct *work)
{
	struct tsi_batch *b;
	struct tsi_msg *m;
	struct tsi_post *p;

	for (;;) {
		spin_lock(&ctl.lock);
		p = list_first_entry_or_null(&ctl.posts, struct tsi_post, link);
		if (p)
			list_del(&p->link);
		spin_unlock(&ctl.lock);
		if (!p)
			return;
		b = tsi_batch_new();
		m = tsi_batch_add(b, p->type, p->id);
		m->flags = cpu_to_le16(p->flags);
		m->arg[0] = cpu_to_le32(p->arg);
		kfree(p);
		(void)tsi_ctl_send(b);	/* its error is the end of all, which is seen elsewhere */
	}
}

/* ---- in ---- */

static bool tsi_answer(const struct tsi_msg *m)
{
	u32 seq = le32_to_cpu(m->seq);
	struct tsi_call *c;

	spin_lock(&ctl.lock);
	list_for_each_entry(c, &ctl.calls, link) {
		if (c->seq != seq)
			continue;
		list_del(&c->link);
		c->reply = *m;
		c->err = (s32)le32_to_cpu(m->status);
		if (c->err > 0 || c->err < -MAX_ERRNO)
			c->err = -EPROTO;
		complete(&c->done);
		spin_unlock(&ctl.lock);
		return true;
	}
	spin_unlock(&ctl.lock);
	return false;
}

static void tsi_record(const struct tsi_msg *m)
{
	if ((le16_to_cpu(m->flags) & TSI_F_REPLY) && tsi_answer(m))
		return;
	tsi_event(m);
}

static int tsi_ctl_skb(struct sock *sk, struct sk_buff *skb)
{
	const u8 *p = skb->data;
	unsigned int n, left = skb->len;

	if (skb_linearize(skb)) {
		queue_work(system_long_wq, &ctl.end);
		left = 0;
	}
	p = skb->data;
	while (left > 0) {
		n = min_t(unsigned int, left, sizeof(ctl.part) - ctl.have);
		memcpy(ctl.part + ctl.have, p, n);
		ctl.have += n;
		p += n;
		left -= n;
		if (ctl.have == sizeof(ctl.part)) {
			struct tsi_msg m;

			memcpy(&m, ctl.part, sizeof(m));
			ctl.have = 0;
			tsi_record(&m);
		}
	}
	n = skb->len;
	kfree_skb(skb);
	return n;
}

/* The caller, the receive work, holds the socket's lock. */
static void tsi_ctl_ready(struct sock *sk)
{
	struct vsock_sock *vsk = vsock_sk(sk);

	while (vsk->transport && vsock_stream_has_data(vsk) > 0)
		if (vsk->transport->read_skb(vsk, tsi_ctl_skb) < 0)
			break;
}

static void tsi_ctl_space(struct sock *sk)
{
	ctl.write_space(sk);
	wake_up_all(&ctl.room);
}

static void tsi_ctl_state(struct sock *sk)
{
	bool end = sock_flag(sk, SOCK_DONE) || READ_ONCE(vsock_sk(sk)->peer_shutdown);

	if (end)
		WRITE_ONCE(ctl.gone, ctl.gen);
	ctl.state_change(sk);
	wake_up_all(&ctl.room);
	if (end)
		queue_work(system_long_wq, &ctl.end);
}

/* After a reset of the transport this comes with a spinlock held. */
static void tsi_ctl_error(struct sock *sk)
{
	WRITE_ONCE(ctl.gone, ctl.gen);
	ctl.error_report(sk);
	wake_up_all(&ctl.room);
	queue_work(system_long_wq, &ctl.end);
}

/* ---- ids ---- */

static DEFINE_XARRAY_ALLOC1(tsi_ids);
static u32 tsi_next_id;

int tsi_id_new(struct tsi_sock *ts)
{
	u32 id;
	int err;

	refcount_inc(&ts->ref);
	err = xa_alloc_cyclic(&tsi_ids, &id, ts, XA_LIMIT(1, TSI_ID_HOST - 1), &tsi_next_id, GFP_KERNEL);
	if (err < 0) {
		tsi_put(ts);
		return err;
	}
	spin_lock(&ts->lock);
	ts->id = id;
	spin_unlock(&ts->lock);
	return 0;
}

int tsi_id_host(struct tsi_sock *ts, u32 id)
{
	int err;

	refcount_inc(&ts->ref);
	err = xa_insert(&tsi_ids, id, ts, GFP_KERNEL);
	if (err) {
		tsi_put(ts);
		return err;
	}
	ts->id = id;
	return 0;
}

void tsi_id_drop(struct tsi_sock *ts)
{
	u32 id;

	spin_lock(&ts->lock);
	id = ts->id;
	ts->id = 0;
	spin_unlock(&ts->lock);
	if (id && xa_erase(&tsi_ids, id))
		tsi_put(ts);
}

struct tsi_sock *tsi_id_get(u32 id)
{
	struct tsi_sock *ts;

	rcu_read_lock();
	ts = xa_load(&tsi_ids, id);
	if (ts && !refcount_inc_not_zero(&ts->ref))
		ts = NULL;
	rcu_read_unlock();
	return ts;
}

void tsi_id_each(void (*fn)(struct tsi_sock *ts))
{
	struct tsi_sock *ts;
	unsigned long id;

	xa_for_each(&tsi_ids, id, ts) {
		ts = tsi_id_get(id);
		if (!ts)
			continue;
		fn(ts);
		tsi_put(ts);
	}
}

/* ---- beginning and end ---- */

static int tsi_hello(struct socket *vs)
{
	struct tsi_batch *b = tsi_batch_new();
	struct tsi_msg *m = tsi_batch_add(b, TSI_HELLO, 0);
	struct tsi_call c;
	int err;

	m->arg[0] = cpu_to_le32(TSI_MAGIC);
	m->arg[1] = cpu_to_le32(TSI_VERSION);
	tsi_call_begin(&c, b);
	mutex_lock(&ctl.tx);
	ctl.vs = vs;
	err = tsi_ctl_write(b);
	mutex_unlock(&ctl.tx);
	kfree(b);
	if (err)
		tsi_call_fail(&c, err);
	else if (!wait_for_completion_timeout(&c.done, TSI_HELLO_TIME))
		tsi_call_fail(&c, -ETIMEDOUT);
	if (!c.err && (le32_to_cpu(c.reply.arg[0]) != TSI_MAGIC ||
		       le32_to_cpu(c.reply.arg[1]) != TSI_VERSION))
		c.err = -EPROTONOSUPPORT;
	return c.err;
}

/* The receive work holds its lock while it handles records, and takes those of other sockets of vsock then. */
static void tsi_ctl_class(struct sock *sk)
{
	static struct lock_class_key key, skey;

	sock_lock_init_class_and_name(sk, "slock-AF_VSOCK-TSI", &skey, "sk_lock-AF_VSOCK-TSI", &key);
}

static int tsi_connect_ctl(void)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = TSI_CTL_PORT };
	struct socket *vs = tsi_vs_new(SOCK_STREAM, TSI_STREAM_BUF);
	struct sock *sk;
	int err;

	if (IS_ERR(vs))
		return PTR_ERR(vs);
	sk = vs->sk;
	tsi_ctl_class(sk);
	ctl.have = 0;
	ctl.state_change = sk->sk_state_change;
	ctl.error_report = sk->sk_error_report;
	ctl.write_space = sk->sk_write_space;
	err = kernel_bind(vs, (struct sockaddr *)&a, sizeof(a));
	if (!err) {
		a.svm_cid = VMADDR_CID_HOST;
		sk->sk_data_ready = tsi_ctl_ready;
		err = kernel_connect(vs, (struct sockaddr *)&a, sizeof(a), 0);
	}
	if (err) {
		sock_release(vs);
		return err;
	}
	sk->sk_state_change = tsi_ctl_state;
	sk->sk_error_report = tsi_ctl_error;
	sk->sk_write_space = tsi_ctl_space;
	return tsi_hello(vs);
}

static void tsi_drop_ctl(void)
{
	struct tsi_call *c, *next;
	struct socket *vs;

	mutex_lock(&ctl.tx);
	vs = ctl.vs;
	WRITE_ONCE(ctl.vs, NULL);
	mutex_unlock(&ctl.tx);
	if (vs) {
		/* So that nothing comes any more when sock_release() has the lock. */
		lock_sock(vs->sk);
		vs->sk->sk_data_ready = ctl.state_change;
		vs->sk->sk_state_change = ctl.state_change;
		vs->sk->sk_error_report = ctl.error_report;
		vs->sk->sk_write_space = ctl.write_space;
		release_sock(vs->sk);
		sock_release(vs);
	}
	spin_lock(&ctl.lock);
	list_for_each_entry_safe(c, next, &ctl.calls, link) {
		list_del(&c->link);
		c->err = -ENETDOWN;
		complete(&c->done);
	}
	spin_unlock(&ctl.lock);
}

static void tsi_start(struct work_struct *work)
{
	int err = tsi_listener ? 0 : tsi_conn_open_listener();

	if (!err)
		err = tsi_connect_ctl();
	if (err) {
		if (!ctl.gen)
			pr_info("tsi: no host half (%d); sockets are the guest's own\n", err);
		tsi_drop_ctl();
		/* Sockets wait for what was there once. */
		if (ctl.gen) {
			queue_delayed_work(system_long_wq, &ctl.start, ctl.again);
			ctl.again = min(2 * ctl.again, (unsigned long)TSI_AGAIN_MOST);
		}
	} else {
		WRITE_ONCE(ctl.gen, ctl.gen + 1);
		/* It may have ended since the answer, on another CPU: one of the two sees the other. */
		smp_store_mb(ctl.up, true);
		if (!READ_ONCE(ctl.vs))
			queue_work(system_long_wq, &ctl.end);
		tsi_id_each(tsi_again);
	}
	complete_all(&ctl.ready);
}

static void tsi_end(struct work_struct *work)
{
	if (!READ_ONCE(ctl.vs) && !READ_ONCE(ctl.up))
		return;
	tsi_drop_ctl();
	if (!xchg(&ctl.up, false))
		return;
	pr_warn("tsi: the control connection has ended\n");
	tsi_id_each(tsi_lost);
	ctl.again = 2 * TSI_AGAIN_TIME;
	queue_delayed_work(system_long_wq, &ctl.start, TSI_AGAIN_TIME);
}

static int __init tsi_param(char *arg)
{
	ctl.wanted = arg && !strcmp(arg, "on");
	return 1;
}
__setup("krun.tsi=", tsi_param);

/*
 * What libkrun says to its own kernel, "tsi_hijack" and "tsi_hijack_unix", for a protocol that this
 * one does not have. Words that no one takes are arguments of the first process, which would have
 * this one in front of its own.
 */
static int __init tsi_other(char *arg)
{
	return 1;
}
__setup("tsi_hijack", tsi_other);

static int __init tsi_init(void)
{
	tsi_dgram_init();
	if (ctl.wanted)
		queue_delayed_work(system_long_wq, &ctl.start, 0);
	return 0;
}
late_initcall(tsi_init);
