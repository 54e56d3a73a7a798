// SPDX-License-Identifier: Apache-2.0
// A hostile guest that speaks both protocols of TSI, and a restless world outside: the input is a
// script of what both do. The policy keeps it on this machine's loopback, at one port.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/vsock_tsi.h"
#include "fake/fake_tsi.h"

#define PEERS 8
#define DIALS 24 /* connections of the guest for one script */

struct script {
	const uint8_t *p;
	size_t n;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ft t = { .f = { .keep = true } };
static int peer[PEERS], listener = -1, udp = -1;
static uint16_t port;
static struct net_rule rule = { .family = 4, .prefix = 8, .ip = { 127 } };
static struct net_rule no_listen = { .deny = true, .family = 4, .prefix = 8, .ip = { 127 } };
static struct net_map map;
static struct vsock_net net = { .egress = &rule, .negress = 1 };
static uint8_t scratch[70000];
static unsigned dials;

static uint32_t take(struct script *s, unsigned bytes)
{
	uint32_t v = 0;

	for (; bytes-- && s->n; s->n--)
		v = v << 8 | *s->p++;
	return v;
}

/* One listener and one datagram socket on the same port, for all scripts. */
static void world(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	if (listener >= 0)
		return;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 16) ||
		getsockname(listener, (struct sockaddr *)&a, &len))
		abort();
	(void)bind(udp, (struct sockaddr *)&a, len);
	port = ntohs(a.sin_port);
	rule.first = rule.last = no_listen.first = no_listen.last = map.guest = port;
	/* what somebody else has or may not have is an answer as well */
	map.host = port ^ 1;
}

/* What the guest may listen on: all, all but @port, or what is mapped. */
static void choose_rules(unsigned how)
{
	net.listen = &no_listen;
	net.nlisten = how & 2 ? 1 : 0;
	net.mapped = how & 4;
	net.map = &map;
	net.nmap = how & 4 && how & 8 ? 1 : 0;
}

static void check_bounds(void)
{
	const struct vsock *vs = vsock_of(t.f.v);
	const struct tsi *k = vs->tsi;
	unsigned n = 0;
	const struct tsi_sock *s;

	TAILQ_FOREACH(s, &k->all, all)
	{
		n++;
		if (s->announced > LIM_TSI_WINDOW || (s->conn && s->conn->arg != s))
			abort();
	}
	if (n != k->nsocks || n > LIM_TSI_SOCKS || vs->nguest > LIM_VSOCK_GUEST ||
		vs->reserved > LIM_VSOCK_BUF || vs->msg_bytes > LIM_TSI_DGRAMS ||
		k->out_len > LIM_TSI_CTL || k->nreply > TSI_REPLY_ROOM ||
		vs->rst_n > LIM_VSOCK_CTRL)
		abort();
}

static struct ft_conn *pick(struct script *s)
{
	struct ft_conn *c = &t.c[take(s, 1) % 32];

	return c->used ? c : NULL;
}

/* Without waiting for room; now and then more than is allowed. */
static void payload(struct ft_conn *c, const void *p, uint32_t n, uint32_t flags, bool wild)
{
	uint32_t room = c->peer_alloc - (c->tx_cnt - c->peer_fwd);
	struct fv_pkt k = { .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = c->gport,
		.dst_port = c->hport,
		.len = n,
		.type = c->type,
		.op = OP_RW,
		.flags = flags,
		.buf_alloc = c->alloc,
		.fwd_cnt = c->fwd_cnt };

	if (n > room && !wild)
		return;
	c->told = c->fwd_cnt;
	if (fv_send(&t.f, &k, p, n))
		c->tx_cnt += n;
}

static void random_addr(struct script *s, struct tsi_addr *a)
{
	unsigned how = take(s, 1);

	*a = ft_in4(0x7f000001 + (how >> 6), how & 1 ? port : 0);
	if (how & 2)
		a->family = (uint8_t)take(s, 1);
	if (how & 4) {
		a->family = TSI_INET6;
		memset(a->ip, 0, 16);
		a->ip[how & 8 ? 15 : 0] = 1;
	}
	if (how & 16)
		a->port = (uint16_t)take(s, 2);
}

static void record(struct script *s)
{
	static const uint16_t types[] = { TSI_HELLO, TSI_OPEN, TSI_CLOSE, TSI_BIND, TSI_CONNECT,
		TSI_LISTEN, TSI_TAKEN, TSI_NAMES, TSI_SETOPT, TSI_GETOPT, TSI_ROUTE, TSI_OPEN,
		TSI_CONNECT, TSI_ACCEPTED };
	unsigned how = take(s, 1);
	struct tsi_msg m = { .type = types[take(s, 1) % ARRAY_SIZE(types)] };

	if (!t.ctl || !t.ctl->used)
		return;
	m.id = take(s, 1) % 8;
	if (how & 1)
		m.id |= TSI_ID_HOST;
	m.seq = how & 2 ? ++t.seq : 0;
	m.flags = how & 4 ? TSI_F_ABORT : 0;
	for (unsigned i = 0; i < 3; i++)
		m.arg[i] = take(s, how & 8 ? 4 : 1);
	if (m.type == TSI_OPEN && !(how & 16)) {
		m.arg[0] = m.arg[0] & 1 ? TSI_INET6 : TSI_INET;
		m.arg[1] = 1 + m.arg[1] % 3;
		m.arg[2] = 6000 + m.id;
	}
	if (m.type == TSI_CONNECT && !(how & 16))
		m.arg[0] = 5000 + m.id;
	if (m.type == TSI_HELLO && !(how & 16)) {
		m.arg[0] = TSI_MAGIC;
		m.arg[1] = TSI_VERSION;
		m.id = 0;
	}
	random_addr(s, &m.a);
	payload(t.ctl, &m, how & 32 ? take(s, 1) % sizeof(m) : sizeof(m), 0, how & 64);
}

static void dial(struct script *s)
{
	static const uint32_t ports[] = { TSI_DATA_PORT, TSI_CTL_PORT, 620, 77 };
	unsigned how = take(s, 1);
	uint32_t gport = (how & 1 ? 5000 : 6000) + take(s, 1) % 8, hport = ports[how >> 1 & 3];

	if (hport == TSI_CTL_PORT)
		gport = TSI_CTL_PORT;
	if (dials++ >= DIALS || ft_conn(&t, gport, hport))
		return;
	if (hport == TSI_CTL_PORT)
		t.ctl = ft_dial(&t, 1, gport, hport);
	else
		(void)ft_dial(&t, how & 16 ? 2 : 1, gport, hport);
}

static void send_some(struct script *s)
{
	struct ft_conn *c = pick(s);
	unsigned how = take(s, 1);
	uint32_t n = take(s, 2);
	struct tsi_dgram d = { .peer = { 0 } };

	if (!c || c == t.ctl)
		return;
	random_addr(s, &d.peer);
	if (how & 1)
		random_addr(s, &d.local);
	memcpy(scratch, &d, sizeof(d));
	payload(c, scratch, n, how & 2 ? VSOCK_SEQ_EOM : how >> 4, how & 4);
}

static void krun(struct script *s)
{
	uint32_t op = 1024 + take(s, 1) % 9, n;
	uint8_t m[160];

	memset(m, 0, sizeof(m));
	m[0] = 0x88 + (uint8_t)(take(s, 1) % 8); /* 5000 and on */
	m[1] = 0x13;
	if (op == 1024) {
		m[4] = take(s, 1) & 1 ? AF_INET : AF_INET6;
		m[6] = (uint8_t)(1 + take(s, 1) % 2);
	} else {
		struct sockaddr_in a = { .sin_family = AF_INET,
			.sin_port = htons(take(s, 1) & 1 ? port : 0),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

		m[4] = m[12] = (uint8_t)(take(s, 1) & 1 ? sizeof(a) : take(s, 1));
		memcpy(m + (op == 1029 ? 16 : 8), &a, sizeof(a));
	}
	n = take(s, 1) & 1 ? 144 : take(s, 1) % sizeof(m);
	(void)ft_krun(&t, op == 1032 ? 5000 + take(s, 1) % 8 : op,
		op == 1028 ? 5000 + take(s, 1) % 8 : 3000, m, n);
}

/* What the world does. */
static void outside(struct script *s)
{
	unsigned how = take(s, 1), i = how >> 4 & (PEERS - 1);
	const struct linger now = { .l_onoff = 1 };
	struct tsi_sock *k;
	struct sockaddr_in a = { 0 };
	socklen_t len = sizeof(a);

	switch (how & 7) {
	case 0:
		if (peer[i] >= 0)
			(void)close(peer[i]);
		peer[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		break;
	case 1:
		if (peer[i] >= 0)
			(void)!write(peer[i], scratch, take(s, 2));
		break;
	case 2:
		if (peer[i] >= 0)
			(void)!read(peer[i], scratch, sizeof(scratch));
		break;
	case 3:
		if (peer[i] >= 0)
			(void)shutdown(peer[i], SHUT_WR);
		break;
	case 4:
		if (peer[i] >= 0) {
			(void)setsockopt(peer[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
			(void)close(peer[i]);
		}
		peer[i] = -1;
		break;
	case 5: /* to whatever the guest listens on */
		TAILQ_FOREACH(k, &vsock_of(t.f.v)->tsi->all, all)
		{
			if (k->state == TSI_LISTENING && k->family == TSI_INET && peer[i] < 0 &&
				!getsockname(k->src.fd, (struct sockaddr *)&a, &len)) {
				peer[i] = socket(
					AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
				(void)connect(peer[i], (struct sockaddr *)&a, len);
			}
		}
		break;
	case 6:
		while (recvfrom(udp, scratch, sizeof(scratch), 0, (struct sockaddr *)&a, &len) >= 0)
			(void)sendto(udp, scratch, take(s, 2), 0, (struct sockaddr *)&a, len);
		break;
	default:
		t.refuse = take(s, 1) & 1;
		break;
	}
}

static void save_and_load(struct script *s)
{
	struct vsock_cfg cfg = { .guest_cid = FV_CID, .net = &net };
	struct save_out out = { 0 };
	struct save_in in;
	struct vdev *twin;
	bool damaged = false;

	vdev_pause(t.f.v);
	if (vdev_save(t.f.v, &out) || vsock_new(t.f.loop, &t.f.g.mem, &cfg, &twin, NULL))
		abort();
	if (take(s, 1) & 1 && out.len) {
		uint8_t flip = (uint8_t)take(s, 1);
		uint16_t at = (uint16_t)take(s, 2);

		out.buf[at % out.len] ^= flip;
		damaged = flip;
	}
	twin->irq = &t.f.d.irq;
	in = (struct save_in){ .buf = out.buf, .len = out.len };
	if (vdev_load(twin, &in)) {
		vdev_fini(twin);
		twin->cls->destroy(twin);
	} else {
		t.f.damaged |= damaged;
		vdev_fini(t.f.v);
		t.f.v->cls->destroy(t.f.v);
		t.f.v = t.f.d.v = t.f.d.mmio.v = twin;
	}
	vdev_resume(t.f.v);
	save_out_free(&out);
}

static void one_step(struct script *s)
{
	struct ft_conn *c;

	switch (take(s, 1) % 10) {
	case 0:
		dial(s);
		break;
	case 1:
	case 2:
	case 3:
		record(s);
		break;
	case 4:
		send_some(s);
		break;
	case 5:
		krun(s);
		break;
	case 6:
		c = pick(s);
		if (c)
			(void)ft_op(&t, c, (uint16_t)(take(s, 1) % 9), take(s, 1) & 3);
		break;
	case 7:
	case 8:
		outside(s);
		break;
	default:
		if (take(s, 1) & 1 && t.f.d.q[0].size)
			save_and_load(s);
		else
			t.f.no_refill = take(s, 1) & 1;
		break;
	}
	(void)fv_step(&t.f);
	check_bounds();
	t.nrec = t.ndg = 0;
	for (unsigned i = 0; i < FT_CONNS; i++) {
		if (t.c[i].reset)
			t.c[i].used = false;
		t.c[i].nmsgs = 0;
		if (&t.c[i] != t.ctl)
			t.c[i].nrx = 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, size };
	unsigned how;

	(void)signal(SIGPIPE, SIG_IGN);
	world();
	for (unsigned i = 0; i < PEERS; i++)
		peer[i] = -1;
	dials = 0;
	how = take(&s, 1);
	choose_rules(how);
	if (ft_up(&t, &net, NULL, 0))
		abort();
	if (how & 1) {
		const struct tsi_msg m = ft_msg(TSI_HELLO, 0, TSI_MAGIC, TSI_VERSION, 0);

		t.ctl = ft_dial(&t, 1, TSI_CTL_PORT, TSI_CTL_PORT);
		fv_settle(&t.f);
		payload(t.ctl, &m, sizeof(m), 0, false);
	}
	while (s.n && t.f.d.q[0].size)
		one_step(&s);
	fv_settle(&t.f);
	fake_dev_reset(&t.f.d);
	if (vsock_of(t.f.v)->tsi->nsocks || vsock_of(t.f.v)->msg_bytes)
		abort();
	ft_down(&t);
	for (unsigned i = 0; i < PEERS; i++) {
		if (peer[i] >= 0)
			(void)close(peer[i]);
	}
	return 0;
}
