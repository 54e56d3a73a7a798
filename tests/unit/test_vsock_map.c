// SPDX-License-Identifier: Apache-2.0
// vsock ports mapped to unix sockets, streams and messages, in both directions.

#include <signal.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "unit/tsi_rig.h"

static char dir[] = "/tmp/test_vsock_map.XXXXXX";

static int listen_at(const char *name, int type, char path[108])
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(path, 108, "%s/%s", dir, name);
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", dir, name);
	(void)unlink(path);
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8) ? -1 : fd;
}

static void guest_to_host(void)
{
	struct vsock_port p[] = { { .port = 80, .fd = -1 }, { .port = 81, .fd = -1 } };
	int l = listen_at("s", SOCK_STREAM, p[0].path), fd;
	struct ft_conn *c;

	(void)snprintf(p[1].path, sizeof(p[1].path), "%s/none", dir);
	CHECK(l >= 0);
	CHECK_EQ(ft_up(&t, NULL, p, 2), 0);
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 7000, 80);
	CHECK(ft_until(&t, is_up, c));
	fd = host_accept(l);
	fv_fill(big, 100000, 0, FV_TO_HOST);
	CHECK(ft_write(&t, c, big, 100000));
	CHECK_EQ(host_read(fd, buf, 100000), 100000);
	CHECK(!memcmp(buf, big, 100000));
	CHECK(host_write(fd, big, 50000) && guest_has(c, 50000));
	CHECK(ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_SEND));
	CHECK_EQ(host_read(fd, buf, 1), 0);
	CHECK(host_write(fd, "end", 3));
	(void)close(fd);
	CHECK(ft_until(&t, is_shut, c));
	CHECK_EQ(c->nrx, 50003);
	/* nobody listens there; nothing is mapped there; not of that type */
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 7001, 81);
	CHECK(ft_until(&t, is_reset, c));
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 7002, 82);
	CHECK(ft_until(&t, is_reset, c));
	c = ft_dial(&t, VSOCK_TYPE_SEQPACKET, 7003, 80);
	CHECK(ft_until(&t, is_reset, c));
	(void)close(l);
	down();
}

static void messages_stay_whole(void)
{
	struct vsock_port p = { .port = 80, .fd = -1 };
	int l = listen_at("q", SOCK_SEQPACKET, p.path), fd;
	static const size_t sizes[] = { 1, 5000, 60000, 3, 65599 };
	struct ft_conn *c;
	size_t at = 0;

	CHECK(l >= 0);
	CHECK_EQ(ft_up(&t, NULL, &p, 1), 0);
	c = ft_dial(&t, VSOCK_TYPE_SEQPACKET, 7000, 80);
	CHECK(ft_until(&t, is_up, c));
	fd = host_accept(l);
	CHECK(fd >= 0);
	fv_fill(big, 70000, 0, FV_TO_HOST);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK(ft_write(&t, c, big, sizes[i]));
		CHECK_EQ(host_recv(fd), sizes[i]);
		CHECK(!memcmp(buf, big, sizes[i]));
		CHECK_EQ(send(fd, big, sizes[i], 0), sizes[i]);
		CHECK(guest_has_msgs(c, i + 1));
		CHECK_EQ(c->end[i] - at, sizes[i]);
		at = c->end[i];
	}
	/* a reader that sleeps: messages wait, and come one by one */
	for (unsigned i = 0; i < 40; i++)
		CHECK(ft_write(&t, c, big, 4000));
	ft_settle(&t);
	for (unsigned i = 0; i < 40; i++)
		CHECK_EQ(host_recv(fd), 4000);
	(void)close(fd);
	CHECK(ft_until(&t, is_shut, c));
	(void)close(l);
	down();
}

/* More than the backlog of the host's listener has room for: the rest wait until it accepts, or for
 * as long as is allowed, and may be given up meanwhile. */
static void backlog_that_is_full(void)
{
	enum {
		CONNS = 16
	};
	struct vsock_port p = { .port = 80, .fd = -1 };
	int l = listen_at("s", SOCK_STREAM, p.path), fd[CONNS];
	struct ft_conn *c[CONNS];
	struct vsock_conn *k;
	unsigned ups = 0, i;

	CHECK(l >= 0);
	CHECK_EQ(ft_up(&t, NULL, &p, 1), 0);
	for (i = 0; i < CONNS; i++)
		c[i] = ft_dial(&t, VSOCK_TYPE_STREAM, 7000 + i, 80);
	ft_settle(&t);
	for (i = 0; i < CONNS; i++) {
		ups += c[i]->up;
		CHECK(!c[i]->reset);
	}
	/* listen(8), and Linux gives one more */
	CHECK_EQ(ups, 9);
	/* one may not send before the answer, one gives up: neither hurts the others */
	c[11]->peer_alloc = 100;
	CHECK(ft_write(&t, c[11], "x", 1) && ft_op(&t, c[12], OP_RST, 0));
	CHECK(ft_until(&t, is_reset, c[11]));
	for (i = 0; i < CONNS - 2; i++) {
		fd[i] = host_accept(l);
		CHECK(fd[i] >= 0);
	}
	for (i = 0; i < CONNS; i++)
		CHECK(i == 11 || i == 12 || ft_until(&t, is_up, c[i]));
	CHECK(ft_write(&t, c[15], "late", 4));
	CHECK_EQ(host_read(fd[CONNS - 3], buf, 4), 4);
	for (i = 0; i < CONNS - 2; i++)
		(void)close(fd[i]);
	/* the last try of one that waits */
	for (i = 0; i < 10; i++)
		c[i] = ft_dial(&t, VSOCK_TYPE_STREAM, 7100 + i, 80);
	ft_settle(&t);
	CHECK(c[8]->up && !c[9]->up && !c[9]->reset);
	k = conn_find(vsock_of(t.f.v), 7109, 80);
	CHECK(k && k->tries);
	k->tries = LIM_VSOCK_TRIES;
	CHECK(ft_until(&t, is_reset, c[9]));
	(void)close(l);
	down();
}

/* A window that the beginning of a message fills, because what had left before was not told yet: it
 * is told then, else the rest could never come. */
static void room_for_the_rest(void)
{
	enum {
		CONNS = 160
	};
	struct vsock_port p = { .port = 80, .fd = -1 };
	int l = listen_at("q", SOCK_SEQPACKET, p.path), fd[CONNS];
	struct ft_conn *c = NULL;
	uint32_t first, len;

	CHECK(l >= 0);
	CHECK_EQ(ft_up(&t, NULL, &p, 1), 0);
	/* the more there are the smaller is the window of the next */
	for (uint32_t i = 0; i < CONNS; i++) {
		c = ft_dial(&t, VSOCK_TYPE_SEQPACKET, 7000 + i, 80);
		CHECK(ft_until(&t, is_up, c));
		fd[i] = host_accept(l);
	}
	first = c->peer_alloc / 2 - 1;
	len = c->peer_alloc;
	CHECK(len < 65536);
	CHECK(ft_write(&t, c, big, first));
	CHECK_EQ(host_recv(fd[CONNS - 1]), first);
	CHECK(ft_write(&t, c, big, len));
	CHECK_EQ(host_recv(fd[CONNS - 1]), len);
	for (unsigned i = 0; i < CONNS; i++)
		(void)close(fd[i]);
	(void)close(l);
	down();
}

/* Short messages within the credit, to a reader that sleeps: all of them come. */
static void many_messages_wait(void)
{
	enum {
		MSGS = 1500
	};
	struct vsock_port p = { .port = 80, .fd = -1 };
	int l = listen_at("m", SOCK_SEQPACKET, p.path), fd;
	struct ft_conn *c;

	CHECK(l >= 0);
	CHECK_EQ(ft_up(&t, NULL, &p, 1), 0);
	c = ft_dial(&t, VSOCK_TYPE_SEQPACKET, 7000, 80);
	CHECK(ft_until(&t, is_up, c));
	fd = host_accept(l);
	fv_fill(big, MSGS * 100, 0, FV_TO_HOST);
	CHECK(c->peer_alloc >= MSGS * 100);
	for (unsigned i = 0; i < MSGS; i++) {
		CHECK(ft_write(&t, c, big + (size_t)i * 100, 100));
		ft_settle(&t);
	}
	CHECK(!c->reset);
	for (unsigned i = 0; i < MSGS; i++) {
		CHECK_EQ(host_recv(fd), 100);
		CHECK(!memcmp(buf, big + (size_t)i * 100, 100));
	}
	(void)close(fd);
	(void)close(l);
	down();
}

/* More messages than are held, to a reader that sleeps: the connection ends, the device does not.
 */
static void flood_of_messages(void)
{
	struct vsock_port p = { .port = 80, .fd = -1 };
	int l = listen_at("f", SOCK_SEQPACKET, p.path), fd;
	struct ft_conn *c;

	CHECK(l >= 0);
	CHECK_EQ(ft_up(&t, NULL, &p, 1), 0);
	c = ft_dial(&t, VSOCK_TYPE_SEQPACKET, 7000, 80);
	CHECK(ft_until(&t, is_up, c));
	fd = host_accept(l);
	for (unsigned i = 0; i < 10000 && !c->reset; i++) {
		(void)ft_write(&t, c, "x", 1);
		ft_settle(&t);
	}
	CHECK(c->reset);
	(void)close(fd);
	(void)close(l);
	down();
}

static bool has_incoming(struct ft *f, void *arg)
{
	struct ft_conn **c = arg;

	for (unsigned i = 0; i < FT_CONNS; i++) {
		if (f->c[i].used && !f->c[i].mine) {
			*c = &f->c[i];
			return true;
		}
	}
	return false;
}

static void host_to_guest(void)
{
	struct vsock_port p = { .port = 5555 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct ft_conn *c = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	p.fd = listen_at("l", SOCK_STREAM, p.path);
	memcpy(a.sun_path, p.path, sizeof(a.sun_path));
	CHECK_EQ(ft_up(&t, NULL, &p, 1), 0);
	CHECK(!connect(fd, (struct sockaddr *)&a, sizeof(a)));
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	CHECK(host_write(fd, "early", 5));
	CHECK(ft_until(&t, has_incoming, &c));
	CHECK_EQ(c->gport, 5555);
	CHECK(guest_has(c, 5));
	CHECK(ft_write(&t, c, "answer", 6));
	CHECK_EQ(host_read(fd, buf, 6), 6);
	(void)close(fd);
	CHECK(ft_until(&t, is_shut, c));
	/* the guest refuses: at once */
	c->used = false;
	t.refuse = true;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!connect(fd, (struct sockaddr *)&a, sizeof(a)));
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	CHECK_EQ(host_read(fd, buf, 1), 0);
	(void)close(fd);
	down();
}

/* No descriptor for what comes: it waits, nothing spins meanwhile, and it is taken when there is
 * one, without anything that the guest does. */
static void host_without_descriptors(void)
{
	struct vsock_port p = { .port = 5555 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ft_conn *c = NULL;
	struct rlimit was, none;
	unsigned woken = 0;

	p.fd = listen_at("l", SOCK_STREAM, p.path);
	memcpy(a.sun_path, p.path, sizeof(a.sun_path));
	CHECK_EQ(ft_up(&t, NULL, &p, 1), 0);
	ft_settle(&t);
	CHECK(!getrlimit(RLIMIT_NOFILE, &was));
	none = was;
	none.rlim_cur = 0;
	CHECK(!setrlimit(RLIMIT_NOFILE, &none));
	CHECK(!connect(fd, (struct sockaddr *)&a, sizeof(a)));
	/* it looks now and then; who spins has something each time */
	for (unsigned i = 0; i < 1000; i++)
		woken += loop_once(t.f.loop, 0) > 0;
	CHECK(woken < 500);
	CHECK(!has_incoming(&t, &c));
	CHECK(!setrlimit(RLIMIT_NOFILE, &was));
	CHECK(loop_once(t.f.loop, FAKE_TIMEOUT_MS) > 0);
	CHECK(ft_until(&t, has_incoming, &c));
	(void)close(fd);
	CHECK(ft_until(&t, is_shut, c));
	down();
}

static const struct test_case cases[] = {
	TEST(guest_to_host),
	TEST(backlog_that_is_full),
	TEST(messages_stay_whole),
	TEST(room_for_the_rest),
	TEST(many_messages_wait),
	TEST(flood_of_messages),
	TEST(host_to_guest),
	TEST(host_without_descriptors),
};

int main(int argc, char **argv)
{
	static const char *const names[] = { "s", "q", "f", "l", "m" };
	char path[108];
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		return 1;
	r = test_run_(cases, ARRAY_SIZE(cases), argc, argv);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(dir);
	return r;
}
