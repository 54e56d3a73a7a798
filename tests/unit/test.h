/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit test is a program: a table of cases, run in order, one TAP line each; exit 0 when all
 * passed, else 1. CHECK() notes a failure with its place and leaves the case. `prog NAME` runs the
 * cases whose name contains NAME.
 */
#ifndef KRUN_TESTS_UNIT_TEST_H
#define KRUN_TESTS_UNIT_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*fn)(void);
};

static bool test_failed_;

#define CHECK(cond)                                                         \
	do {                                                                \
		if (!(cond)) {                                              \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
			test_failed_ = true;                                \
			return;                                             \
		}                                                           \
	} while (0)

#define CHECK_EQ(a, b)                                                                          \
	do {                                                                                    \
		long long a_ = (long long)(a), b_ = (long long)(b);                             \
		if (a_ != b_) {                                                                 \
			printf("# %s:%d: %s == %s: %lld != %lld\n", __FILE__, __LINE__, #a, #b, \
				a_, b_);                                                        \
			test_failed_ = true;                                                    \
			return;                                                                 \
		}                                                                               \
	} while (0)

#define CHECK_STR(a, b)                                                                   \
	do {                                                                              \
		const char *a_ = (a), *b_ = (b);                                          \
		if (!a_ || !b_ || strcmp(a_, b_)) {                                       \
			printf("# %s:%d: %s: \"%s\" != \"%s\"\n", __FILE__, __LINE__, #a, \
				a_ ? a_ : "(null)", b_ ? b_ : "(null)");                  \
			test_failed_ = true;                                              \
			return;                                                           \
		}                                                                         \
	} while (0)

#define TEST(fn_)         \
	{                 \
#fn_, fn_ \
	}

static inline int test_run_(const struct test_case *t, size_t n, int argc, char **argv)
{
	unsigned bad = 0, ran = 0;

	for (size_t i = 0; i < n; i++) {
		if (argc > 1 && !strstr(t[i].name, argv[1]))
			continue;
		test_failed_ = false;
		t[i].fn();
		printf("%s %u - %s\n", test_failed_ ? "not ok" : "ok", ++ran, t[i].name);
		(void)fflush(stdout);
		bad += test_failed_;
	}
	printf("1..%u\n", ran);
	return bad || !ran;
}

#define TEST_MAIN(cases)                                                                 \
	int main(int argc, char **argv)                                                  \
	{                                                                                \
		return test_run_(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv); \
	}

#endif
