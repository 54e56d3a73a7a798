// SPDX-License-Identifier: Apache-2.0
/*
 * Many frames to the other side of a socket and back, while that side, a process, is killed and
 * started again: what comes is whole and in order, and nothing is lost but what was on its way when
 * it died. NET_FRAMES (20000) of each kind, NET_KILLS (5), NET_SEED.
 *
 * How it works: the guest keeps up to WINDOW frames on their way, and counts those that come back.
 * The time of the next kill is a number of frames. The link goes down then; when it is up again the
 * guest begins with the next number, and what is missing was lost.
 */

#include <sys/wait.h>
#include <time.h>

#include "unit/net_rig.h"

#define WINDOW	64
#define LONGEST 9060

static uint8_t frame[FRAME_MAX + 1], back[FRAME_MAX + NET_HDR];
static uint32_t state;

static uint32_t upto(uint32_t n)
{
	state = state * 1664525 + 1013904223;
	return (state >> 8) % n;
}

static unsigned long number(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 10) : otherwise;
}

static uint32_t length_of(uint32_t seq)
{
	return seq % 50 ? 60 + seq * 131 % 1455 : 60 + seq * 137 % (LONGEST - 60);
}

/* ---- the other side: a process that sends back what it gets ---- */

static void echo_stream(int l)
{
	static char buf[65536];
	int fd = accept(l, NULL, NULL);
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t at = 0, m; at < n; at += m) {
			m = send(fd, buf + at, (size_t)(n - at), MSG_NOSIGNAL);
			if (m <= 0)
				_exit(0);
		}
	}
}

static void echo_datagrams(int fd)
{
	struct sockaddr_un from;
	socklen_t len = sizeof(from);
	ssize_t n;

	if (recvfrom(fd, back, sizeof(back), 0, (struct sockaddr *)&from, &len) != 4 ||
		memcmp(back, "VFKT", 4) != 0 || connect(fd, (struct sockaddr *)&from, len))
		_exit(1);
	while ((n = recv(fd, back, sizeof(back), 0)) > 0 && send(fd, back, (size_t)n, 0) == n)
		;
}

static pid_t start_server(enum net_kind kind)
{
	int fd = named(kind == NET_STREAM ? SOCK_STREAM : SOCK_DGRAM, server);
	pid_t pid = fork();

	if (!pid) {
		if (kind == NET_STREAM)
			echo_stream(fd);
		else
			echo_datagrams(fd);
		_exit(0);
	}
	(void)close(fd);
	return pid;
}

static void kill_server(pid_t pid)
{
	/* first the name, so that nobody calls who would find nothing */
	(void)unlink(server);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

/* ---- the guest ---- */

struct line {
	struct rig r;
	uint64_t at[WINDOW]; /* transmit buffers */
	unsigned idle[WINDOW], nidle;
	unsigned of_head[LIM_VQ_SIZE];
	uint32_t sent, seen; /* sent: the next number; seen: the next that may come */
	unsigned long came, lost;
	uint64_t used; /* of the guest's memory, before the first indirect table */
};

static void send_one(struct line *l)
{
	uint32_t len = length_of(l->sent);
	unsigned b = l->idle[--l->nidle];
	struct fake_seg s[2] = { { l->at[b], NET_HDR }, { l->at[b] + NET_HDR, len } };
	uint8_t *p = fake_ptr(&l->r.g, GPA(l->at[b]), NET_HDR + len);
	int head;

	memset(p, 0, NET_HDR);
	make_frame(p + NET_HDR, guest_mac, len, l->sent);
	put_le32(p + NET_HDR + 14, l->sent);
	l->sent++;
	/* long before a table is used a second time its frame has gone */
	if (l->r.g.used > RAM - (1U << 20))
		l->r.g.used = l->used;
	head = fake_add(&l->r.d, NET_TX, s, 2, NULL, 0);
	CHECK(head >= 0);
	l->of_head[head] = b;
}

static void take_back(struct line *l)
{
	uint16_t head;
	uint32_t len;
	int n;

	while ((n = fake_reap(&l->r.d, NET_TX, &head, &len)) == 1) {
		CHECK(!len);
		l->idle[l->nidle++] = l->of_head[head];
	}
	CHECK_EQ(n, 0);
}

/* All that have come: each whole, and none that should have come before. */
static void receive(struct line *l)
{
	uint32_t seq;
	int n;

	while ((n = rx_get(&l->r, back)) > 0) {
		CHECK(n >= 60);
		seq = get_le32(back + 14);
		CHECK_EQ(seq, l->seen);
		make_frame(frame, guest_mac, length_of(seq), seq);
		put_le32(frame + 14, seq);
		CHECK_EQ(n, length_of(seq));
		CHECK(!memcmp(frame, back, (size_t)n));
		l->seen = seq + 1;
		l->came++;
	}
	CHECK_EQ(n, 0);
}

/* Sends and receives until @until have been sent, and where @all all of them are back. */
static void talk(struct line *l, uint32_t until, bool all)
{
	uint32_t seen = l->seen;
	time_t last = time(NULL);

	while (l->sent < until || (all && l->seen != l->sent)) {
		while (l->sent < until && l->nidle && l->sent - l->seen < WINDOW)
			send_one(l);
		(void)fake_kick(&l->r.d, NET_TX);
		fake_poll(&l->r.d);
		take_back(l);
		receive(l);
		if (l->seen != seen)
			last = time(NULL);
		seen = l->seen;
		CHECK(time(NULL) - last < 60); /* it stands still */
	}
}

/* Until the link has gone: datagrams find out when the next one is sent. */
static void until_down(struct line *l)
{
	for (unsigned i = 0; link_status(&l->r) & NET_S_LINK_UP; i++) {
		CHECK(i < 10000000);
		if (l->nidle)
			send_one(l);
		(void)fake_kick(&l->r.d, NET_TX);
		fake_poll(&l->r.d);
		take_back(l);
		receive(l);
	}
	/* with nobody there what is sent goes nowhere, and comes back to the driver */
	for (unsigned i = 0; l->nidle != WINDOW; i++) {
		CHECK(i < 10000000);
		fake_poll(&l->r.d);
		take_back(l);
	}
	receive(l);
	l->lost += l->sent - l->seen;
	l->seen = l->sent;
}

static void open_line(struct line *l, enum net_kind kind)
{
	struct net_cfg cfg = net_cfg_of(kind);

	memset(l, 0, sizeof(*l));
	l->r.peer = -1;
	(void)snprintf(cfg.path, sizeof(cfg.path), "%s", server);
	if (kind == NET_DGRAM) {
		cfg.fd = named(SOCK_DGRAM, client);
		cfg.vfkit = true;
	}
	CHECK_EQ(rig_make(&l->r, &cfg), 0);
	CHECK_EQ(rig_go(&l->r, ALL_FEATURES & ~NET_F_GUEST_ANNOUNCE), 0);
	rx_post(&l->r, 256, BUF);
	for (; l->nidle < WINDOW; l->nidle++) {
		l->at[l->nidle] = fake_alloc(&l->r.g, NET_HDR + LONGEST, 8).v;
		l->idle[l->nidle] = l->nidle;
	}
	l->used = l->r.g.used;
}

static void frames(enum net_kind kind)
{
	unsigned long n = number("NET_FRAMES", 20000) / 2, kills = number("NET_KILLS", 5);
	struct line l;
	pid_t pid;

	state = (uint32_t)number("NET_SEED", 1);
	names();
	pid = start_server(kind);
	open_line(&l, kind);
	for (unsigned long i = 0; i < kills; i++) {
		/* some time in the middle of it */
		talk(&l,
			(uint32_t)(n * (i + 1) / (kills + 1)) -
				upto((uint32_t)(n / (kills + 1) / 2)),
			false);
		kill_server(pid);
		until_down(&l);
		pid = start_server(kind);
		CHECK_EQ(wait_link(&l.r, NET_S_LINK_UP), 0);
	}
	talk(&l, (uint32_t)n, true);
	CHECK(l.lost <= kills * 2 * WINDOW);
	CHECK_EQ(l.came + l.lost, l.sent);
	(void)printf("# %s: %lu frames and as many back, %lu kills, %lu lost with them\n",
		kind == NET_STREAM ? "stream" : "datagrams", l.came, kills, l.lost);
	kill_server(pid);
	rig_down(&l.r);
	no_names();
}

static void stream(void)
{
	frames(NET_STREAM);
}

static void datagrams(void)
{
	frames(NET_DGRAM);
}

static const struct test_case cases[] = {
	TEST(stream),
	TEST(datagrams),
};

TEST_MAIN(cases)
