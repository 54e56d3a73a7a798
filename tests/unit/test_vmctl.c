// SPDX-License-Identifier: Apache-2.0
/* The VMM's control socket, whose askers come, wait and give up; the agent is this test, and says
 * nothing. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "oci/ctl.h"
#include "oci/nic.h"
#include "oci/vmloop.h"
#include "test.h"
#include "util/util.h"

static struct vmproc p;
static struct vmloop l;
static struct error e;
static int guest = -1; /* the agent's end */

static void nothing(struct loop_src *src, uint32_t events)
{
	(void)src;
	(void)events;
}

static int begin(void)
{
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	int lfd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), sv[2];

	p = (struct vmproc){ .tty_fd = -1 };
	l = (struct vmloop){ .p = &p,
		.phase = PHASE_RUNNING,
		.pause_conn = -1,
		.update_conn = -1,
		.ready_conn = -1,
		.start_conn = -1,
		.nic_conn = -1,
		.ctl = { .fd = lfd, .name = "ctl", .fn = vmctl_on_asked, .arg = &l } };
	for (unsigned i = 0; i < CTL_ASKERS; i++)
		l.asker[i].fd = -1;
	for (unsigned i = 0; i < WATCHERS; i++)
		l.watcher[i] = -1;
	/* no name of a file: the kernel gives it one of its own */
	if (lfd < 0 || bind(lfd, (const struct sockaddr *)&any, sizeof(any.sun_family)) ||
		listen(lfd, 8) || loop_new("test", &l.loop, &e) ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return -1;
	l.agent = (struct agent){ .loop = l.loop,
		.src = { .fd = sv[0], .name = "agent", .fn = nothing } };
	guest = sv[1];
	return loop_add(l.loop, &l.agent.src, EPOLLIN) || loop_add(l.loop, &l.ctl, EPOLLIN);
}

static void end(void)
{
	loop_del(l.loop, &l.ctl);
	agent_close(&l.agent);
	(void)close(l.ctl.fd);
	(void)close(guest);
	if (l.update_conn >= 0)
		(void)close(l.update_conn);
	loop_free(l.loop);
}

/* A connection with a request on it, which the VMM has taken. */
static int ask(uint32_t op, uint32_t arg)
{
	const struct ctl_req q = { .op = op, .arg = arg };
	struct sockaddr_un a;
	socklen_t n = sizeof(a);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || getsockname(l.ctl.fd, (struct sockaddr *)&a, &n) ||
		connect(fd, (struct sockaddr *)&a, n) || send(fd, &q, sizeof(q), 0) < 0 ||
		loop_once(l.loop, 0) < 0) {
		printf("# %s\n", strerror(errno));
		return -1;
	}
	return fd;
}

/* The code of the answer; 0 is success, -1 none yet. */
static int answer(int fd)
{
	struct ctl_reply r;

	return recv(fd, &r, sizeof(r), MSG_DONTWAIT) == (ssize_t)sizeof(r) ? r.code : -1;
}

/* One update waits for the guest at a time; who has given up does not. */
static void update_that_is_given_up(void)
{
	uint32_t first;
	int a, b, c;

	CHECK(!begin());
	a = ask(CTL_GUEST_PIDS, 50);
	CHECK_EQ(answer(a), -1);
	first = l.update_seq;
	CHECK(first);
	b = ask(CTL_GUEST_PIDS, 60);
	CHECK_EQ(answer(b), EBUSY);
	CHECK(!close(a));
	c = ask(CTL_GUEST_PIDS, 70);
	CHECK_EQ(answer(c), -1);
	/* it is its own reply that the third waits for */
	CHECK(l.update_conn >= 0 && l.update_seq != first);
	CHECK(!close(b) && !close(c));
	end();
}

/* What the VM was not made for, or is not there, is not started with. */
static void an_interface_that_is_missing(void)
{
	struct spec s = { .process.set = true };
	int a, b, c, d;

	CHECK(!begin());
	p.spec = &s;
	l.phase = PHASE_CREATED;
	a = ask(CTL_NIC, 0);
	CHECK_EQ(answer(a), ENODEV);
	p.nic.kind = SPEC_NIC_TAKE;
	b = ask(CTL_NIC, 0);
	CHECK_EQ(answer(b), 0);
	CHECK(!close(a) && !close(b));
	a = ask(CTL_START, 0);
	CHECK_EQ(answer(a), EINVAL);
	CHECK_EQ(l.start_seq, 0);
	/* a description without descriptors, and one that is too long */
	b = ask(CTL_NIC, sizeof(struct msg_nic));
	c = ask(CTL_NIC, NIC_BYTES_MAX + 1);
	CHECK_EQ(answer(b), EINVAL);
	CHECK_EQ(answer(c), EINVAL);
	l.nic_up = true;
	d = ask(CTL_NIC, 0);
	CHECK_EQ(answer(d), EALREADY);
	CHECK(!close(a) && !close(b) && !close(c) && !close(d));
	a = ask(CTL_START, 0);
	CHECK_EQ(answer(a), -1);
	CHECK(l.start_seq && l.start_conn >= 0);
	l.phase = PHASE_RUNNING;
	l.nic_up = false;
	b = ask(CTL_NIC, 0);
	CHECK_EQ(answer(b), EBUSY);
	CHECK(!close(a) && !close(b) && !close(l.start_conn));
	end();
}

static const struct test_case cases[] = {
	TEST(update_that_is_given_up),
	TEST(an_interface_that_is_missing),
};

TEST_MAIN(cases)
