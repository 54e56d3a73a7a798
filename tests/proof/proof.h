/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded proofs: a body that makes choices and asserts, run for every sequence of choices.
 *
 * Built as a program, choose() counts through a tree: the digits of one run are the path, and the
 * last digit that can still go up makes the next run. A body may decide what to choose by what it
 * chose before. For a model checker (__CPROVER__) a choice is a nondeterministic value and the body
 * runs once for all of them; the bounds are the same.
 *
 * A failure prints the path. `prog DIGIT...` runs that one path.
 */
#ifndef KRUN_TESTS_PROOF_H
#define KRUN_TESTS_PROOF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __CPROVER__

unsigned nondet_unsigned(void);

static inline unsigned choose(unsigned n)
{
	unsigned v = nondet_unsigned();

	__CPROVER_assume(v < n);
	return v;
}

#define PROVE(cond) __CPROVER_assert(cond, #cond)
#define PROOF_MAIN(body)  \
	int main(void)    \
	{                 \
		body();   \
		return 0; \
	}

#else

#define PROOF_DEPTH 128

static struct {
	unsigned digit[PROOF_DEPTH], radix[PROOF_DEPTH];
	unsigned used, known; /* choices made in this run; digits that are given */
} proof_;

static inline _Noreturn void proof_fail_(const char *file, int line, const char *what)
{
	(void)fprintf(stderr, "%s:%d: %s\npath:", file, line, what);
	for (unsigned i = 0; i < proof_.used; i++)
		(void)fprintf(stderr, " %u", proof_.digit[i]);
	(void)fprintf(stderr, "\n");
	exit(1);
}

#define PROVE(cond)                                             \
	do {                                                    \
		if (!(cond))                                    \
			proof_fail_(__FILE__, __LINE__, #cond); \
	} while (0)

/* One of 0..n-1. */
static inline unsigned choose(unsigned n)
{
	unsigned i = proof_.used;

	if (i == PROOF_DEPTH || !n)
		proof_fail_(__FILE__, __LINE__, "too many choices, or none to make");
	if (i == proof_.known) {
		proof_.digit[i] = 0;
		proof_.known++;
	}
	proof_.radix[i] = n;
	proof_.used++;
	return proof_.digit[i];
}

/* The next path; false when there is none. */
static inline bool proof_next_(void)
{
	unsigned i = proof_.used;

	while (i && proof_.digit[i - 1] + 1 == proof_.radix[i - 1])
		i--;
	if (!i)
		return false;
	proof_.digit[i - 1]++;
	proof_.known = i;
	proof_.used = 0;
	return true;
}

static inline int proof_run_(void (*body)(void), int argc, char **argv)
{
	unsigned long long n = 0;

	for (int i = 1; i < argc && i <= PROOF_DEPTH; i++)
		proof_.digit[proof_.known++] = (unsigned)strtoul(argv[i], NULL, 10);
	do {
		body();
		n++;
	} while (argc == 1 && proof_next_());
	(void)printf("%llu cases\n", n);
	return 0;
}

#define PROOF_MAIN(body)                             \
	int main(int argc, char **argv)              \
	{                                            \
		return proof_run_(body, argc, argv); \
	}

#endif

#define CHOOSE_OF(set) ((set)[choose(sizeof(set) / sizeof((set)[0]))])

#endif
