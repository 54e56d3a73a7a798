// SPDX-License-Identifier: Apache-2.0
/* Control connections: requests in, replies and events out. */
/*
 * How it works
 *
 * Each request is answered in turn, in the loop; none waits for a process. What takes time (making
 * a process) is answered later by proc.c, under the sequence number of the request. A handler
 * returns 0 for "reply with success", 1 for "the reply is made elsewhere", or an errno that becomes
 * a failure.
 *
 * Output is one buffer per connection that grows to AGENT_MAX_OUT; EPOLLOUT is asked for only while
 * it holds something. A host that does not read loses its connection, not the agent's memory.
 *
 * New connections are accepted before each request is handled: the host opens the streams of a
 * process first and then asks for the process, and epoll does not promise to show both in that
 * order.
 */
#include "agent.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A start waits for them; a server may look for two seconds who has an address. */
#define NIC_DHCP_TRIES 3

#define K_RNDADDENTROPY 0x40085203
#define K_RNDRESEEDCRNG 0x5207

static void flush(struct agent *a, struct conn *c)
{
	size_t off = 0;

	while (off < c->out_len) {
		ssize_t n =
			send(c->ev.fd, c->out + off, c->out_len - off, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			conn_close(a, c);
			return;
		}
		if (n <= 0)
			break;
		off += (size_t)n;
	}
	memmove(c->out, c->out + off, c->out_len - off);
	c->out_len -= off;
	if (c->want_out != !!c->out_len) {
		c->want_out = !!c->out_len;
		agent_rewatch(a, &c->ev, EPOLLIN | (c->want_out ? EPOLLOUT : 0));
		if (!c->want_out)
			notify_resume(a);
	}
}

static void send_msg(struct agent *a, struct conn *c, const struct msg_hdr *proto, const void *p1,
	size_t n1, const void *p2, size_t n2)
{
	struct msg_hdr h = *proto;
	size_t need = sizeof(h) + n1 + n2;
	uint8_t *p;

	if (!c || c->dead)
		return;
	h.len = (uint32_t)need;
	if (c->out_len + need > c->out_cap) {
		/* A host that asks and never listens is cut off. */
		p = c->out_len + need <= AGENT_MAX_OUT ? realloc(c->out, c->out_len + need + 1024)
						       : NULL;
		if (!p) {
			conn_close(a, c);
			return;
		}
		c->out = p;
		c->out_cap = c->out_len + need + 1024;
	}
	p = c->out + c->out_len;
	memcpy(p, &h, sizeof(h));
	if (n1)
		memcpy(p + sizeof(h), p1, n1);
	if (n2)
		memcpy(p + sizeof(h) + n1, p2, n2);
	c->out_len += need;
	flush(a, c);
}

void ctrl_reply(struct agent *a, struct conn *c, uint16_t type, uint32_t seq, const void *payload,
	size_t len)
{
	struct msg_hdr h = { .type = type, .flags = MSG_F_REPLY, .seq = seq };

	send_msg(a, c, &h, payload, len, NULL, 0);
}

void ctrl_fail(struct agent *a, struct conn *c, uint16_t type, uint32_t seq, uint32_t stage,
	int err, const char *text)
{
	struct msg_hdr h = { .type = type, .flags = MSG_F_REPLY, .seq = seq, .status = -abs(err) };
	struct msg_error e = { .stage = stage, .text_len = (uint32_t)strlen(text) };

	if (e.text_len > MSG_TEXT_MAX)
		e.text_len = MSG_TEXT_MAX;
	send_msg(a, c, &h, &e, sizeof(e), text, e.text_len);
}

void ctrl_send_event(
	struct agent *a, struct conn *c, uint16_t type, const void *payload, size_t len)
{
	struct msg_hdr h = { .type = type, .flags = MSG_F_EVENT };

	send_msg(a, c, &h, payload, len, NULL, 0);
}

void ctrl_broadcast(struct agent *a, uint16_t type, const void *payload, size_t len)
{
	for (struct conn *c = a->conns; c; c = c->next) {
		if (c->control)
			ctrl_send_event(a, c, type, payload, len);
	}
}

static uint64_t boottime_ns(void)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* @forked: the generator's state may be known to a sibling that came from the same snapshot. */
static int reseed(const uint8_t entropy[32], bool forked)
{
	struct {
		int bits, size;
		uint8_t buf[32];
	} pool = { 256, 32, { 0 } };
	int fd, err = 0;

	if (forked) {
		fd = open("/dev/krun-vmfork", O_WRONLY | O_CLOEXEC);
		if (fd >= 0) {
			err = write(fd, entropy, 32) == 32 ? 0 : -EIO;
			(void)close(fd);
			return err;
		}
	}
	memcpy(pool.buf, entropy, sizeof(pool.buf));
	fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, K_RNDADDENTROPY, &pool) || (forked && ioctl(fd, K_RNDRESEEDCRNG)))
		err = -errno;
	explicit_bzero(&pool, sizeof(pool));
	(void)close(fd);
	return err;
}

/* The guest's clock goes on while it is paused, and what the message took on its way would set it
 * back: only a clock that is really wrong is set. */
static bool clock_is_right(uint64_t ns)
{
	struct timespec ts = { 0 };
	uint64_t now;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	return (now > ns ? now - ns : ns - now) < 100000000u;
}

static int set_time(struct agent *a, const struct msg_hdr *h, const uint8_t *p, bool forked)
{
	struct msg_time t;
	struct timespec ts;
	int err = msg_take(h, p, &t, sizeof(t), NULL, NULL);

	if (err || t.flags & ~MSG_TIME_RESEED || t.reserved)
		return -EPROTO;
	if (!a->cfg.machine)
		return 0;
	if (t.realtime_ns && !(forked && clock_is_right(t.realtime_ns))) {
		ts.tv_sec = (time_t)(t.realtime_ns / 1000000000u);
		ts.tv_nsec = (long)(t.realtime_ns % 1000000000u);
		if (clock_settime(CLOCK_REALTIME, &ts))
			return -errno;
	}
	return t.flags & MSG_TIME_RESEED ? reseed(t.entropy, forked) : 0;
}

static int on_hello(struct agent *a, struct conn *c, const struct msg_hdr *h, const uint8_t *p)
{
	struct msg_hello_reply r = { .version = PROTO_VERSION,
		.started_ns = a->cfg.started_ns,
		.ready_ns = a->cfg.ready_ns };
	int err = set_time(a, h, p, false);

	if (err)
		return err;
	r.now_ns = boottime_ns();
	ctrl_reply(a, c, MSG_HELLO, h->seq, &r, sizeof(r));
	return 1;
}

/* MSG_CREATE, MSG_EXEC */
static int on_spawn(struct agent *a, struct conn *c, const struct msg_hdr *h, const uint8_t *p)
{
	bool create = h->type == MSG_CREATE;
	struct fail f = { 0 };
	struct msg_proc mp;
	const uint8_t *blob;
	const char *why;
	struct blob_view s;
	size_t len;
	int err;

	err = msg_take(h, p, &mp, sizeof(mp), &blob, &len);
	if (err || mp.flags & ~MSG_PROC_KILL_ON_CLOSE || !mp.proc)
		return -EPROTO;
	if ((mp.proc == PROTO_PROC_INIT) != create)
		return -EINVAL;
	if (proc_find(a, mp.proc) || a->nprocs >= AGENT_MAX_PROCS)
		return -EEXIST;
	if (mp.proc > a->last_proc)
		a->last_proc = mp.proc;
	err = blob_read(blob, len, create ? BLOB_CREATE : BLOB_EXEC, &s, &why);
	if (err) {
		stream_drop_proc(a, mp.proc);
		ctrl_fail(a, c, h->type, h->seq, MSG_STAGE_PROTO, err, why);
		return 1;
	}
	err = proc_spawn(a, c, h->type, h->seq, mp.proc, mp.flags, &s, &f);
	blob_view_free(&s);
	if (err) {
		stream_drop_proc(a, mp.proc);
		ctrl_fail(a, c, h->type, h->seq, MSG_STAGE_SETUP, err, f.text);
	}
	return 1;
}

static int on_start(struct agent *a, struct conn *c, const struct msg_hdr *h, const uint8_t *p)
{
	struct msg_proc mp;
	struct proc *pr;

	if (msg_take(h, p, &mp, sizeof(mp), NULL, NULL) || mp.flags)
		return -EPROTO;
	pr = proc_find(a, mp.proc);
	if (!pr)
		return -ESRCH;
	return proc_release(a, pr, c, h->seq);
}

static int on_signal(struct agent *a, const struct msg_hdr *h, const uint8_t *p)
{
	struct msg_signal m;
	struct proc *pr;

	if (msg_take(h, p, &m, sizeof(m), NULL, NULL) || m.flags > MSG_SIGNAL_DROP || m.reserved)
		return -EPROTO;
	if (!m.signo || m.signo > 64)
		return -EINVAL;
	pr = proc_find(a, m.proc);
	if (m.flags == MSG_SIGNAL_DROP)
		return proc_drop_output(a, pr);
	if (!pr || pr->reaped)
		return -ESRCH;
	/* Everything in this machine but the agent is the container's. */
	if (m.flags & MSG_SIGNAL_ALL)
		return kill(-1, (int)m.signo) ? -errno : 0;
	return kill(pr->pid, (int)m.signo) ? -errno : 0;
}

static int on_winsize(struct agent *a, const struct msg_hdr *h, const uint8_t *p)
{
	struct msg_winsize m;
	struct winsize ws;
	struct stream *s;

	if (msg_take(h, p, &m, sizeof(m), NULL, NULL) || m.reserved)
		return -EPROTO;
	s = stream_find(a, m.proc, PROTO_TTY);
	if (!s || s->pipe.fd < 0)
		return -ENOTTY;
	ws = (struct winsize){
		.ws_row = m.rows, .ws_col = m.cols, .ws_xpixel = m.xpixel, .ws_ypixel = m.ypixel
	};
	return ioctl(s->pipe.fd, TIOCSWINSZ, &ws) ? -errno : 0;
}

static int on_attach(struct agent *a, struct conn *c, const struct msg_hdr *h, const uint8_t *p)
{
	struct msg_proc mp;
	struct proc *pr;

	if (msg_take(h, p, &mp, sizeof(mp), NULL, NULL) || mp.flags)
		return -EPROTO;
	pr = proc_find(a, mp.proc);
	if (!pr)
		return -ESRCH;
	pr->owner = c;
	ctrl_reply(a, c, h->type, h->seq, NULL, 0);
	proc_maybe_exit(a, mp.proc);
	return 1;
}

static int on_update(struct agent *a, struct conn *c, const struct msg_hdr *h, const uint8_t *p)
{
	struct fail f = { 0 };
	struct msg_proc mp;
	const uint8_t *blob;
	const char *why;
	struct blob_view s;
	size_t len;
	int err;

	if (msg_take(h, p, &mp, sizeof(mp), &blob, &len) || mp.flags || mp.proc != PROTO_PROC_INIT)
		return -EPROTO;
	err = blob_read(blob, len, BLOB_UPDATE, &s, &why);
	if (err) {
		ctrl_fail(a, c, h->type, h->seq, MSG_STAGE_PROTO, err, why);
		return 1;
	}
	if (a->cg_fd < 0)
		err = fail_set(&f, ENOTSUP, "no cgroup to update", NULL);
	else
		err = cgroup_write_all(a->cg_fd, s.cgroup, s.ncgroup, &f);
	blob_view_free(&s);
	if (!err)
		return 0;
	ctrl_fail(a, c, h->type, h->seq, MSG_STAGE_SETUP, err, f.text);
	return 1;
}

static int on_ps(struct agent *a, struct conn *c, const struct msg_hdr *h, const uint8_t *p)
{
	uint8_t out[MSG_MAX_TO_HOST - sizeof(*h)];
	struct msg_ps m;
	size_t len;
	int err;

	if (msg_take(h, p, &m, sizeof(m), NULL, NULL) || m.reserved)
		return -EPROTO;
	err = ps_list(m.after, out, &len);
	if (err)
		return err;
	ctrl_reply(a, c, h->type, h->seq, out, len);
	return 1;
}

static int on_shutdown(struct agent *a)
{
	if (!a->cfg.machine) {
		a->stop = true;
		return 0;
	}
	(void)kill(-1, SIGKILL);
	sync();
	/* a disk's file system is then one that was left in order, unless something holds it */
	(void)sys_umount(a->cfg.share);
	(void)reboot(RB_AUTOBOOT);
	return -errno;
}

static int sync_in_child(struct agent *a)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		sync();
		_exit(0);
	}
	a->sync_pid = pid;
	a->sync_again = false;
	return 0;
}

/* The last who asked is answered, when all that was written before has been synced. */
static int on_sync(struct agent *a, struct conn *c, const struct msg_hdr *h)
{
	int err = 0;

	if (h->len != sizeof(*h))
		return -EPROTO;
	if (a->sync_pid)
		a->sync_again = true;
	else
		err = sync_in_child(a);
	if (err)
		return err;
	a->sync_to = c;
	a->sync_seq = h->seq;
	return 1;
}

void ctrl_synced(struct agent *a)
{
	int err = 0;

	a->sync_pid = 0;
	if (a->sync_to && a->sync_again)
		err = sync_in_child(a);
	if (a->sync_to && err)
		ctrl_fail(
			a, a->sync_to, MSG_SYNC, a->sync_seq, MSG_STAGE_PROTO, err, strerror(-err));
	else if (a->sync_to && !a->sync_pid)
		ctrl_reply(a, a->sync_to, MSG_SYNC, a->sync_seq, NULL, 0);
	if (!a->sync_pid)
		a->sync_to = NULL;
}

/* Set at once, but for an address that somebody else gives. */
static int on_nic(struct agent *a, struct conn *c, const struct msg_hdr *h, const uint8_t *p)
{
	const uint8_t *items = NULL;
	struct fail f = { 0 };
	struct msg_nic n;
	size_t len = 0;
	pid_t pid;
	int err = msg_take(h, p, &n, sizeof(n), &items, &len);

	if (!err)
		err = nic_set(&n, items, len, &f);
	if (err && f.err) {
		ctrl_fail(a, c, h->type, h->seq, MSG_STAGE_SETUP, err, f.text);
		return 1;
	}
	if (!err && f.text[0])
		ctrl_send_event(a, c, MSG_LOG, f.text, strlen(f.text));
	if (err || !(n.flags & MSG_NIC_DHCP))
		return err;
	if (a->dhcp_pid)
		return -EALREADY;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(-dhcp_run(n.name, NIC_DHCP_TRIES, NULL) & 0xff);
	a->dhcp_pid = pid;
	a->dhcp_to = c;
	a->dhcp_seq = h->seq;
	return 1;
}

void ctrl_dhcp_done(struct agent *a, int wstatus)
{
	int err = WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : EIO;

	a->dhcp_pid = 0;
	if (a->dhcp_to && err)
		ctrl_fail(a, a->dhcp_to, MSG_NIC, a->dhcp_seq, MSG_STAGE_SETUP, err,
			"no address by DHCP");
	else if (a->dhcp_to)
		ctrl_reply(a, a->dhcp_to, MSG_NIC, a->dhcp_seq, NULL, 0);
	a->dhcp_to = NULL;
}

/* 0: reply with success; 1: a reply was or will be sent; -errno: reply with failure. */
static int dispatch(struct agent *a, struct conn *c, const struct msg_hdr *h, const uint8_t *p)
{
	switch ((enum msg_type)h->type) {
	case MSG_HELLO:
		return on_hello(a, c, h, p);
	case MSG_CREATE:
	case MSG_EXEC:
		return on_spawn(a, c, h, p);
	case MSG_START:
		return on_start(a, c, h, p);
	case MSG_SIGNAL:
		return on_signal(a, h, p);
	case MSG_WINSIZE:
		return on_winsize(a, h, p);
	case MSG_ATTACH:
		return on_attach(a, c, h, p);
	case MSG_RESUMED:
		return set_time(a, h, p, true);
	case MSG_UPDATE:
		return on_update(a, c, h, p);
	case MSG_PS:
		return on_ps(a, c, h, p);
	case MSG_NET:
		return netif_show(p, h->len - sizeof(*h));
	case MSG_NIC:
		return on_nic(a, c, h, p);
	case MSG_SYNC:
		return on_sync(a, c, h);
	case MSG_SHUTDOWN:
	case MSG_PING:
		if (h->len != sizeof(*h))
			return -EPROTO;
		return h->type == MSG_SHUTDOWN ? on_shutdown(a) : 0;
	case MSG_EXIT:
	case MSG_OOM:
	case MSG_LOG:
	case MSG_NOTIFY:
		break;
	}
	return -EPROTO;
}

static const char *refusal(int err)
{
	switch (err) {
	case -EPROTO:
		return "malformed request";
	case -ESRCH:
		return "no such process";
	case -EEXIST:
		return "the process id is taken";
	case -EBUSY:
		return "the process was started already";
	case -EINVAL:
		return "the request does not fit the process";
	case -ENOTTY:
		return "the process has no terminal";
	default:
		return strerror(-err);
	}
}

void ctrl_event(struct agent *a, struct ev *ev, uint32_t events)
{
	struct conn *c = ev_owner(ev, struct conn, ev);
	const uint8_t *payload;
	struct msg_hdr h;
	size_t room;
	ssize_t n;
	void *p;
	int r;

	if (events & EPOLLOUT)
		flush(a, c);
	if (c->dead || !(events & ~(uint32_t)EPOLLOUT))
		return;
	p = msg_rx_space(&c->rx, &room);
	n = p ? recv(ev->fd, p, room, 0) : 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(a, c);
		return;
	}
	msg_rx_add(&c->rx, (size_t)n);
	while (!c->dead && (r = msg_rx_next(&c->rx, &h, &payload))) {
		if (r < 0) {
			conn_close(a, c);
			return;
		}
		/* Streams that the host opened before this request are known before it is done. */
		conn_accept_all(a);
		r = dispatch(a, c, &h, payload);
		if (!r)
			ctrl_reply(a, c, h.type, h.seq, NULL, 0);
		else if (r < 0)
			ctrl_fail(a, c, h.type, h.seq, MSG_STAGE_PROTO, r, refusal(r));
	}
}
