// SPDX-License-Identifier: Apache-2.0
/* An interrupt that is written to a descriptor, and one that it does not take. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/irq.h"
#include "unit/test.h"

static unsigned lost_gsi;
static int lost_err, nlost;

static void lost(void *arg, unsigned gsi, int err)
{
	CHECK(arg == &nlost);
	lost_gsi = gsi;
	lost_err = err;
	nlost++;
}

static void called(void *arg, unsigned gsi)
{
	*(unsigned *)arg += gsi;
}

static void by_descriptor(void)
{
	struct irq_line l = { .gsi = 7, .lost = lost, .arg = &nlost };
	uint64_t n = UINT64_MAX - 1;

	l.efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	irq_raise(&l);
	irq_raise(&l);
	CHECK_EQ(read(l.efd, &n, sizeof(n)), sizeof(n));
	CHECK_EQ(n, 2);
	/* as many as it holds: one more makes no difference */
	n = UINT64_MAX - 1;
	CHECK_EQ(write(l.efd, &n, sizeof(n)), sizeof(n));
	irq_raise(&l);
	CHECK_EQ(nlost, 0);
	CHECK_EQ(l.count, 3);
	(void)close(l.efd);
}

static void not_taken(void)
{
	struct irq_line l = { .gsi = 7, .lost = lost, .arg = &nlost };

	l.efd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	CHECK(l.efd >= 0);
	irq_raise(&l);
	CHECK_EQ(nlost, 1);
	CHECK_EQ(lost_gsi, 7);
	CHECK_EQ(lost_err, -ENOSPC);
	/* a line of nobody's */
	l.lost = NULL;
	irq_raise(&l);
	CHECK_EQ(nlost, 1);
	(void)close(l.efd);
}

static void by_call(void)
{
	unsigned sum = 0;
	struct irq_line l = { .efd = -1, .gsi = 9, .raise = called, .arg = &sum };

	irq_raise(&l);
	irq_raise(&l);
	CHECK_EQ(sum, 18);
}

static const struct test_case cases[] = {
	TEST(by_descriptor),
	TEST(not_taken),
	TEST(by_call),
};

TEST_MAIN(cases)
