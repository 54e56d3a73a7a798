// SPDX-License-Identifier: Apache-2.0
/*
 * Random file system calls of processes of four users, as a trace: run in a guest and on its host,
 * with one seed, the traces must be equal.
 *
 *   fs-random DIR SEED OPERATIONS
 *
 * A line for each operation and its result, and for a look by root at what it may have changed.
 * Times of access are left out: the guest's cache answers reads that the host then has not seen.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake/fsop.h"

/* Where data and holes begin depends on what of a file is in whose cache. */
static void print_res(const struct fsop *op, struct fsres *r)
{
	memset(r->atime, 0, sizeof(r->atime));
	if (op->kind == FSOP_LSEEK && r->ret >= 0)
		r->ret = 0;
	fsop_print_res(stdout, r);
}

static int run(struct fsop_native *n, const struct fsop *op, struct fsres *r)
{
	int e = fsop_native_run(n, op, r);

	if (e < 0)
		fprintf(stderr, "process %u: %s\n", op->proc, strerror(-e));
	return e;
}

int main(int argc, char **argv)
{
	struct fsop_gen g = { 0 };
	struct fsop_native n;
	struct fsop op, look;
	struct fsres r;
	unsigned long ops;

	if (argc != 4) {
		fprintf(stderr, "usage: fs-random DIR SEED OPERATIONS\n");
		return 2;
	}
	(void)umask(0);
	g.rnd = strtoull(argv[2], NULL, 0) | 1;
	ops = strtoul(argv[3], NULL, 0);
	if (fsop_native_start(&n, argv[1], false) < 0) {
		perror("fs-random");
		return 1;
	}
	for (unsigned long i = 0; i < ops; i++) {
		fsop_next(&g, &op);
		/* Linux asks for the capability only where no security module answers, and where
		 * AppArmor and BPF are on, as on Debian 12, one does: anybody may. */
		if (op.kind == FSOP_REMOVEXATTR && fsop_users[op.proc].uid &&
			!strcmp(op.path2, "security.capability"))
			op.kind = FSOP_GETXATTR;
		if (run(&n, &op, &r) < 0)
			return 1;
		fsop_done(&g, &op, &r);
		printf("%lu ", i);
		fsop_print(stdout, &op);
		printf(" = ");
		print_res(&op, &r);
		printf("\n");
		for (unsigned k = 0; r.ret >= 0 && fsop_look(&op, k, &look); k++) {
			struct fsres l;

			if (run(&n, &look, &l) < 0)
				return 1;
			printf("%lu.%u ", i, k);
			print_res(&look, &l);
			printf("\n");
		}
	}
	fsop_native_stop(&n);
	return fflush(stdout) || ferror(stdout);
}
