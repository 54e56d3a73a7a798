// SPDX-License-Identifier: Apache-2.0
/* A vhost-user back end for tests, written from the other side. */
/*
 * How it works
 *
 * One poll loop: the socket, the kicks of the rings that have one, and an eventfd that ends it. A
 * message is a header of three words, its payload, and descriptors in the control message of the
 * first byte. Payloads are read by offset, so that the layout is written down a second time here.
 * A ring is served when it was kicked, has been given everything, and is enabled.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake/fake_vhost.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/util.h"

#define PAGE 4096ULL

struct message {
	uint32_t what, flags, size;
	uint8_t p[512];
	int fd[8];
	unsigned nfds;
};

static _Noreturn void die(const char *why)
{
	perror(why);
	abort();
}

static bool read_all(int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = read(fd, p, n);

		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static bool get_message(int fd, struct message *m)
{
	uint8_t head[12], control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec iov = { head, sizeof(head) };
	struct msghdr h = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&h) : NULL;

	m->nfds = 0;
	if (n <= 0 || !read_all(fd, head + n, sizeof(head) - (size_t)n))
		return false;
	*m = (struct message){
		.what = get_le32(head), .flags = get_le32(head + 4), .size = get_le32(head + 8)
	};
	if (c) {
		m->nfds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(m->fd, CMSG_DATA(c), m->nfds * sizeof(int));
	}
	return m->size <= sizeof(m->p) && read_all(fd, m->p, m->size);
}

/* True: it goes on. */
static bool put(struct fake_vhost *f, const struct message *m, const void *p, uint32_t n)
{
	enum fake_vhost_fault fault = f->fault_at == m->what ? f->fault : FAKE_VHOST_GOOD;
	uint32_t flags = 1 | 4, what = m->what, said = n;
	uint8_t buf[12 + 512];
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { buf, 12 + n };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	memcpy(buf + 12, p, n);
	if (f->fault == FAKE_VHOST_SLOW && f->seen[f->fault_at])
		(void)usleep(FAKE_VHOST_SLOW_MS * 1000);
	if (fault == FAKE_VHOST_SILENT)
		return true;
	if (fault == FAKE_VHOST_OTHER)
		what++;
	if (fault == FAKE_VHOST_VERSION)
		flags = 2 | 4;
	if (fault == FAKE_VHOST_NO_REPLY)
		flags = 1;
	if (fault == FAKE_VHOST_LONG)
		said = UINT32_MAX - 1;
	if (fault == FAKE_VHOST_SHORT)
		said = 0;
	if (fault == FAKE_VHOST_REFUSE || fault == FAKE_VHOST_WRONG)
		memset(buf + 12, 0x7f, n);
	if (said < n)
		iov.iov_len = 12 + said;
	if (fault == FAKE_VHOST_HALF)
		iov.iov_len = 12 + n / 2;
	put_le32(buf, what);
	put_le32(buf + 4, flags);
	put_le32(buf + 8, said);
	if (fault == FAKE_VHOST_FDS) {
		h.msg_control = control;
		h.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &f->stop_fd, sizeof(int));
	}
	if (sendmsg(f->fd, &h, MSG_NOSIGNAL) < 0)
		return false;
	if (fault == FAKE_VHOST_CHATTY && sendmsg(f->fd, &h, MSG_NOSIGNAL) < 0)
		return false;
	return fault != FAKE_VHOST_HALF;
}

static void *at_user(struct fake_vhost *f, uint64_t user, uint64_t n)
{
	for (unsigned i = 0; i < f->nregions; i++) {
		const struct fake_vhost_region *r = &f->region[i];

		if (user >= r->user && user - r->user < r->size && n <= r->size - (user - r->user))
			return r->p + (user - r->user);
	}
	f->error = true;
	return NULL;
}

static void *at_gpa(struct fake_vhost *f, uint64_t gpa, uint64_t n)
{
	for (unsigned i = 0; i < f->nregions; i++) {
		const struct fake_vhost_region *r = &f->region[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size && n <= r->size - (gpa - r->gpa))
			return r->p + (gpa - r->gpa);
	}
	return NULL;
}

static void forget_memory(struct fake_vhost *f)
{
	for (unsigned i = 0; i < f->nregions; i++)
		(void)munmap(f->region[i].map, f->region[i].map_len);
	f->nregions = 0;
}

static void take_memory(struct fake_vhost *f, struct message *m)
{
	unsigned n = get_le32(m->p);

	forget_memory(f);
	if (n > 8 || m->nfds != n || m->size != 8 + 32 * n)
		die("fake vhost: a table of memory that makes no sense");
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *p = m->p + 8 + 32 * i;
		struct fake_vhost_region *r = &f->region[i];
		uint64_t off = get_le64(p + 24);

		*r = (struct fake_vhost_region){
			.gpa = get_le64(p), .size = get_le64(p + 8), .user = get_le64(p + 16)
		};
		r->map_len = r->size + off;
		r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[i], 0);
		if (r->map == MAP_FAILED || r->gpa % PAGE)
			die("fake vhost: memory");
		r->p = r->map + off;
		f->nregions++;
	}
}

static void set_fd(struct message *m, int *to)
{
	if (*to >= 0)
		(void)close(*to);
	*to = m->nfds == 1 ? TAKE_FD(m->fd[0]) : -1;
}

static void stop_ring(struct fake_vhost_ring *r)
{
	if (r->kick >= 0)
		(void)close(TAKE_FD(r->kick));
	if (r->call >= 0)
		(void)close(TAKE_FD(r->call));
	r->started = false;
}

static void ring_message(struct fake_vhost *f, struct message *m)
{
	struct fake_vhost_ring *r = &f->ring[get_le32(m->p) % FAKE_VHOST_QUEUES];
	uint32_t v = get_le32(m->p + 4);

	if (get_le32(m->p) >= FAKE_VHOST_QUEUES) {
		f->error = true;
		return;
	}
	switch (m->what) {
	case 8:
		r->num = v;
		break;
	case 9:
		r->desc = at_user(f, get_le64(m->p + 8), 16ULL * r->num);
		r->used = at_user(f, get_le64(m->p + 16), 6 + 8ULL * r->num);
		r->avail = at_user(f, get_le64(m->p + 24), 6 + 2ULL * r->num);
		break;
	case 10:
		r->last = (uint16_t)v;
		break;
	case 12:
		set_fd(m, &r->kick);
		r->started = true;
		break;
	case 13:
		set_fd(m, &r->call);
		break;
	default:
		r->enabled = v;
	}
}

/* A message that wants an answer of its own; @done: it was one. True: it goes on. */
static bool question(struct fake_vhost *f, struct message *m, bool *done)
{
	struct fake_vhost_ring *r = &f->ring[get_le32(m->p) % FAKE_VHOST_QUEUES];
	uint8_t out[268] = { 0 };
	uint32_t n = 8;

	*done = true;
	switch (m->what) {
	case 1:
		put_le64(out, f->features);
		break;
	case 15:
		put_le64(out, f->protocol);
		break;
	case 17:
		put_le64(out, f->queues);
		break;
	case 11:
		put_le32(out, get_le32(m->p));
		put_le32(out + 4, r->last);
		stop_ring(r);
		break;
	case 24:
		n = 12 + get_le32(m->p + 4);
		if (get_le32(m->p) || n > sizeof(out) || m->size != n)
			f->error = true;
		memcpy(out, m->p, 12);
		memcpy(out + 12, f->config, MIN(n, (uint32_t)sizeof(out)) - 12);
		if (get_le32(m->p + 4) > f->config_len)
			n = 12;
		break;
	default:
		*done = false;
		return true;
	}
	return put(f, m, out, n);
}

static void order(struct fake_vhost *f, struct message *m)
{
	switch (m->what) {
	case 2:
		f->acked = get_le64(m->p);
		if (f->acked & ~f->features)
			f->error = true;
		break;
	case 3:
		f->owned = true;
		break;
	case 5:
		take_memory(f, m);
		break;
	case 16:
		if (get_le64(m->p) & ~f->protocol)
			f->error = true;
		f->agreed = get_le64(m->p) & 8;
		break;
	case 25:
		if (get_le32(m->p) + get_le32(m->p + 4) <= f->config_len)
			memcpy(f->config + get_le32(m->p), m->p + 12, get_le32(m->p + 4));
		break;
	case 8:
	case 9:
	case 10:
	case 12:
	case 13:
	case 18:
		ring_message(f, m);
		break;
	default:
		f->error = true;
	}
}

static bool answer(struct fake_vhost *f, struct message *m)
{
	const uint8_t zero[8] = { 0 };
	bool done, on;

	f->seen[m->what % 64]++;
	if ((m->flags & 3) != 1)
		f->error = true;
	if (m->what == f->fault_at && f->fault == FAKE_VHOST_CLOSE)
		return false;
	on = question(f, m, &done);
	if (done)
		return on;
	order(f, m);
	if (m->flags & 8)
		return put(f, m, zero, sizeof(zero));
	/* what agreed on acknowledgements was not asked for one */
	if (f->agreed && m->what != 16)
		f->error = true;
	return true;
}

static bool on_message(struct fake_vhost *f)
{
	struct message m;
	bool on = get_message(f->fd, &m) && answer(f, &m);

	for (unsigned i = 0; i < m.nfds; i++)
		if (m.fd[i] >= 0)
			(void)close(m.fd[i]);
	return on;
}

/* Copies what is readable into what is writable, and begins anew when it ends. */
static uint32_t echo(struct fake_vhost *f, struct fake_vhost_ring *r, uint16_t head)
{
	uint8_t data[8192];
	uint32_t have = 0, done = 0;
	uint16_t i = head;

	for (unsigned steps = 0; steps < r->num; steps++) {
		const uint8_t *d = r->desc + 16U * (i % r->num);
		uint32_t n = get_le32(d + 8), flags = get_le16(d + 12);
		uint8_t *p = at_gpa(f, get_le64(d), n);

		if (!p)
			break;
		if (!(flags & 2)) {
			n = MIN(n, (uint32_t)sizeof(data) - have);
			memcpy(data + have, p, n);
			have += n;
		}
		for (uint32_t k = 0; flags & 2 && k < n; k++, done++)
			p[k] = have ? data[done % have] : 0x5a;
		if (!(flags & 1))
			break;
		i = get_le16(d + 14);
	}
	return done;
}

static void serve(struct fake_vhost *f, struct fake_vhost_ring *r)
{
	const uint64_t one = 1;
	uint16_t *used = (void *)(r->used + 2), *avail = (void *)(r->avail + 2);
	uint64_t n;

	if (read(r->kick, &n, sizeof(n)) != (ssize_t)sizeof(n) || !r->enabled)
		return;
	while (r->last != le16toh(__atomic_load_n(avail, __ATOMIC_ACQUIRE))) {
		uint16_t head = get_le16(r->avail + 4 + 2U * (r->last % r->num));
		uint8_t *elem = r->used + 4 + 8U * (r->last % r->num);

		put_le32(elem, head);
		put_le32(elem + 4, echo(f, r, head));
		r->last++;
		f->served++;
		__atomic_store_n(used, htole16(r->last), __ATOMIC_RELEASE);
	}
	if (r->call < 0 || write(r->call, &one, sizeof(one)) < 0)
		f->error = true;
}

static void *run(void *arg)
{
	struct fake_vhost *f = arg;
	bool on = true;

	while (on) {
		struct pollfd p[2 + FAKE_VHOST_QUEUES] = { { .fd = f->stop_fd, .events = POLLIN },
			{ .fd = f->fd, .events = POLLIN } };

		for (unsigned i = 0; i < FAKE_VHOST_QUEUES; i++)
			p[2 + i] = (struct pollfd){ .fd = f->ring[i].started ? f->ring[i].kick : -1,
				.events = POLLIN };
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[0].revents)
			break;
		for (unsigned i = 0; i < FAKE_VHOST_QUEUES; i++)
			if (p[2 + i].revents & POLLIN)
				serve(f, &f->ring[i]);
		if (p[1].revents)
			on = on_message(f);
	}
	for (unsigned i = 0; i < FAKE_VHOST_QUEUES; i++)
		stop_ring(&f->ring[i]);
	forget_memory(f);
	(void)close(f->fd);
	return NULL;
}

int fake_vhost_start(struct fake_vhost *f)
{
	int s[2];

	for (unsigned i = 0; i < FAKE_VHOST_QUEUES; i++)
		f->ring[i] = (struct fake_vhost_ring){
			.kick = -1, .call = -1, .enabled = !(f->features >> 30 & 1)
		};
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (f->stop_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s))
		die("fake vhost: socket");
	f->fd = s[0];
	if (pthread_create(&f->thread, NULL, run, f))
		die("fake vhost: thread");
	return s[1];
}

void fake_vhost_end(struct fake_vhost *f)
{
	const uint64_t one = 1;

	if (write(f->stop_fd, &one, sizeof(one)) < 0)
		die("fake vhost: end");
	(void)pthread_join(f->thread, NULL);
	(void)close(f->stop_fd);
}
