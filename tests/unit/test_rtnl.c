// SPDX-License-Identifier: Apache-2.0
/* Answers by netlink that are not those that were asked for, or not whole. */
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci/nic_look.h"
#include "oci/rtnl.h"
#include "test.h"
#include "util/cleanup.h"
#include "util/util.h"

/* What is done to the next answers. */
static unsigned torn, interrupted;
static int done_with;

static void change(uint8_t *p, size_t n)
{
	struct nlmsghdr h;

	while (n >= sizeof(h)) {
		memcpy(&h, p, sizeof(h));
		if (torn && h.nlmsg_flags & NLM_F_MULTI) {
			h.nlmsg_flags |= NLM_F_DUMP_INTR;
			memcpy(p, &h, sizeof(h));
		}
		if (h.nlmsg_type == NLMSG_DONE) {
			torn -= torn > 0;
			if (done_with && h.nlmsg_len >= sizeof(h) + sizeof(done_with))
				memcpy(p + sizeof(h), &done_with, sizeof(done_with));
		}
		if (h.nlmsg_len < sizeof(h) || NLMSG_ALIGN(h.nlmsg_len) > n)
			return;
		p += NLMSG_ALIGN(h.nlmsg_len);
		n -= NLMSG_ALIGN(h.nlmsg_len);
	}
}

/* In the place of the C library's. */
ssize_t recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *restrict a,
	socklen_t *restrict len)
{
	ssize_t r;

	if (interrupted) {
		interrupted--;
		errno = EINTR;
		return -1;
	}
	r = syscall(SYS_recvfrom, fd, buf, n, flags, a, len);
	if (r > 0)
		change(buf, MIN((size_t)r, n));
	return r;
}

static bool fresh(void)
{
	return !unshare(CLONE_NEWNET) &&
		!system("ip link set lo up && ip tuntap add eth0 mode tap && "
			"ip link set eth0 up && ip addr add 10.9.8.7/24 dev eth0");
}

static int count(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	(void)h;
	(void)p;
	(void)n;
	++*(unsigned *)arg;
	return 0;
}

static int links(int fd, unsigned *n)
{
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };

	*n = 0;
	return rtnl_list(fd, RTM_GETLINK, &i, sizeof(i), count, n);
}

static int set_mtu(int fd, uint32_t mtu)
{
	struct ifinfomsg i = { .ifi_index = (int)if_nametoindex("eth0") };
	struct rtnl_req r = rtnl_req(RTM_NEWLINK, 0, &i, sizeof(i));

	(void)rtnl_add(&r, IFLA_MTU, &mtu, sizeof(mtu));
	return rtnl_ask(fd, &r);
}

static void not_whole(void)
{
	CLEAN_FD int fd = -1;
	unsigned n;

	CHECK(fresh());
	fd = rtnl_open();
	CHECK_EQ(links(fd, &n), 0);
	CHECK_EQ(n, 2);
	torn = 1;
	CHECK_EQ(links(fd, &n), -EAGAIN);
	CHECK(!torn && n == 2);
	done_with = -EMSGSIZE;
	CHECK_EQ(links(fd, &n), -EMSGSIZE);
	done_with = 0;
	interrupted = 2;
	CHECK_EQ(links(fd, &n), 0);
	CHECK(!interrupted && n == 2);
	interrupted = 1;
	CHECK_EQ(set_mtu(fd, 1400), 0);
}

/* An interface is what it was at one time, or nothing is said of it. */
static void changed_meanwhile(void)
{
	static struct nic_if o;
	CLEAN_FD int fd = -1;
	struct error e = { 0 };
	unsigned whole;

	CHECK(fresh());
	fd = rtnl_open();
	CHECK_EQ(nic_look(fd, "eth0", &o, &e), 0);
	whole = o.head.nitems;
	CHECK(whole);
	for (unsigned i = 1; i <= 7; i++) {
		torn = i;
		CHECK_EQ(nic_look(fd, "eth0", &o, &e), 0);
		CHECK(!torn && o.head.nitems == whole);
	}
	CHECK_STR(e.msg, "");
	torn = 1000;
	CHECK_EQ(nic_look(fd, "eth0", &o, &e), -EAGAIN);
	CHECK(torn < 1000 && strstr(e.msg, "network namespace"));
	torn = 0;
}

/* The rest of a list that nobody has read is no answer to what is asked next. */
static void somebody_elses_answer(void)
{
	CLEAN_FD int fd = -1;
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	struct rtnl_req q = rtnl_req(RTM_GETLINK, NLM_F_DUMP | NLM_F_REQUEST, &i, sizeof(i));

	CHECK(fresh());
	fd = rtnl_open();
	CHECK_EQ(send(fd, &q, q.h.nlmsg_len, 0), q.h.nlmsg_len);
	CHECK_EQ(set_mtu(fd, 1300), 0);
	CHECK(!system("ip link show eth0 | grep -q 'mtu 1300'"));
}

/* Who is in the namespace can send to us; he may even guess the number. */
static void not_the_kernel(void)
{
	CLEAN_FD int fd = -1;
	CLEAN_FD int liar = -1;
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
	} lie = { .h = { .nlmsg_len = sizeof(lie), .nlmsg_type = NLMSG_ERROR },
		.e = { .error = -ENOSPC } };
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	struct ifinfomsg i = { .ifi_index = 1 };
	struct rtnl_req q = rtnl_req(RTM_NEWLINK, 0, &i, sizeof(i));
	socklen_t len = sizeof(to);

	CHECK(fresh());
	fd = rtnl_open();
	liar = rtnl_open();
	CHECK_EQ(rtnl_ask(fd, &q), 0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)&to, &len), 0);
	lie.h.nlmsg_seq = q.h.nlmsg_seq + 1;
	CHECK_EQ(sendto(liar, &lie, sizeof(lie), 0, (struct sockaddr *)&to, sizeof(to)),
		sizeof(lie));
	CHECK_EQ(set_mtu(fd, 1200), 0);
	CHECK(!system("ip link show eth0 | grep -q 'mtu 1200'"));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		TEST(not_whole),
		TEST(changed_meanwhile),
		TEST(somebody_elses_answer),
		TEST(not_the_kernel),
	};

	if (!fresh()) {
		printf("1..0 # SKIP no network namespace, or no taps: %s\n", strerror(errno));
		return 77;
	}
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
