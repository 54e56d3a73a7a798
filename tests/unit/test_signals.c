// SPDX-License-Identifier: Apache-2.0
/* Signal and capability names. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "oci/caps.h"
#include "oci/signals.h"
#include "tests/unit/test.h"
#include "util/err.h"
#include "util/util.h"

static void good(void)
{
	static const struct {
		const char *s;
		int n;
	} T[] = {
		{ "9", 9 },
		{ "KILL", 9 },
		{ "SIGKILL", 9 },
		{ "sigkill", 9 },
		{ "Term", 15 },
		{ "HUP", 1 },
		{ "1", 1 },
		{ "64", 64 },
		{ "SIGRTMIN", 34 },
		{ "RTMIN+0", 34 },
		{ "rtmin+3", 37 },
		{ "SIGRTMIN+30", 64 },
		{ "RTMAX", 64 },
		{ "SIGRTMAX-14", 50 },
		{ "RTMAX-30", 34 },
		{ "CLD", SIGCHLD },
		{ "IOT", SIGABRT },
		{ "WINCH", SIGWINCH },
		{ "STKFLT", 16 },
		{ "SYS", 31 },
		{ "PWR", 30 },
		{ "05", 5 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(T); i++)
		CHECK_EQ(signal_parse(T[i].s, NULL), T[i].n);
}

static void bad(void)
{
	static const char *const T[] = { "", "0", "65", "-1", "+9", "9 ", " 9", "SIG", "SIGSIGKILL",
		"KILLL", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMAX-31", "RTMIN+", "RTMIN+999",
		"SIG9", "0x9", "015", "99999999999999999999", "KILL\n" };

	for (size_t i = 0; i < ARRAY_SIZE(T); i++) {
		struct error e = { 0 };

		CHECK_EQ(signal_parse(T[i], &e), -EINVAL);
		CHECK(!strncmp(e.msg, "unknown signal \"", 16));
	}
}

/* Every number that has a name in this libc comes back by it. */
static void names_of_libc(void)
{
	for (int n = 1; n < 32; n++)
		CHECK_EQ(signal_parse(sigabbrev_np(n), NULL), n);
}

static void passed(void)
{
	CHECK(signal_is_passed(SIGTERM, SI_USER, 1) && signal_is_passed(SIGINT, SI_KERNEL, 0));
	CHECK(signal_is_passed(SIGCHLD, SI_USER, getppid()));
	CHECK(signal_is_passed(SIGPIPE, SI_QUEUE, getppid()));
	CHECK(!signal_is_passed(SIGCHLD, CLD_EXITED, getppid()));
	CHECK(!signal_is_passed(SIGPIPE, SI_USER, getpid()));
}

static void capabilities(void)
{
	CHECK_EQ(cap_bit("CAP_CHOWN"), 0);
	CHECK_EQ(cap_bit("cap_sys_admin"), 21);
	CHECK_EQ(cap_bit("CAP_CHECKPOINT_RESTORE"), 40);
	CHECK_EQ(cap_bit("CHOWN"), -1);
	CHECK_EQ(cap_bit(""), -1);
	CHECK_EQ(cap_bit("CAP_"), -1);
	CHECK(!cap_bit_name(41));
	CHECK(!cap_bit_name(-1));
	for (int i = 0; i <= 40; i++) {
		CHECK(cap_bit_name(i));
		CHECK_EQ(cap_bit(cap_bit_name(i)), i);
	}
}

static const struct test_case CASES[] = {
	TEST(good),
	TEST(bad),
	TEST(names_of_libc),
	TEST(passed),
	TEST(capabilities),
};

TEST_MAIN(CASES)
