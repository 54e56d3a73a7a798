// SPDX-License-Identifier: Apache-2.0
/* A seccomp profile compiled by libseccomp and taken out as bytes. */
/*
 * How it works: what runc and crun have made the meaning of a profile is kept: the native
 * architecture is always in; names that libseccomp does not know are skipped (a profile lists the
 * calls of many kernels); a rule whose action is the default changes nothing; comparisons of one
 * rule are all to hold, unless two of them look at the same argument, then each stands for itself.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/json_text.h"
#include "oci/seccomp_compile.h"
#include "oci/spec.h"
#include "oci/spec_limits.h"
#include "util/cleanup.h"
#include "util/err.h"

static void release(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

static struct scmp_arg_cmp compare(const struct spec_seccomp_arg *a)
{
	/* For MASKED_EQ the profile's value is the mask and valueTwo the datum: libseccomp's order.
	 */
	return (struct scmp_arg_cmp){
		.arg = a->index,
		.op = (enum scmp_compare)a->op,
		.datum_a = a->value,
		.datum_b = a->value_two,
	};
}

static bool same_index_twice(const struct spec_seccomp_rule *r)
{
	unsigned seen = 0;

	for (size_t i = 0; i < r->n_args; i++) {
		if (seen & 1U << r->args[i].index)
			return true;
		seen |= 1U << r->args[i].index;
	}
	return false;
}

static int add_call(scmp_filter_ctx ctx, const struct spec_seccomp_rule *r, int nr)
{
	struct scmp_arg_cmp cmp[6];
	unsigned n = 0;
	int rc;

	if (!same_index_twice(r)) {
		for (size_t i = 0; i < r->n_args; i++)
			cmp[n++] = compare(&r->args[i]);
		rc = seccomp_rule_add_array(ctx, r->action, nr, n, cmp);
		return rc == -EEXIST ? 0 : rc;
	}
	for (size_t i = 0; i < r->n_args; i++) {
		cmp[0] = compare(&r->args[i]);
		rc = seccomp_rule_add_array(ctx, r->action, nr, 1, cmp);
		if (rc && rc != -EEXIST)
			return rc;
	}
	return 0;
}

static int add_rules(scmp_filter_ctx ctx, const struct spec_seccomp *sc, struct error *e)
{
	for (size_t i = 0; i < sc->n_rules; i++) {
		const struct spec_seccomp_rule *r = &sc->rules[i];

		if (r->action == sc->default_action)
			continue;
		for (size_t k = 0; k < r->names.n; k++) {
			int nr = seccomp_syscall_resolve_name(r->names.v[k]), rc;

			if (nr == __NR_SCMP_ERROR)
				continue;
			rc = add_call(ctx, r, nr);
			if (rc)
				return err_sys(e, rc,
					"config.json: linux.seccomp.syscalls[%zu]: %s", i,
					QUOTE(r->names.v[k]));
		}
	}
	return 0;
}

static int add_archs(scmp_filter_ctx ctx, const struct spec_seccomp *sc, struct error *e)
{
	for (size_t i = 0; i < sc->n_archs; i++) {
		int rc = seccomp_arch_add(ctx, sc->archs[i]);

		/* An architecture of another byte order can never be that of a call here. */
		if (rc && rc != -EEXIST && rc != -EDOM)
			return err_sys(e, rc, "config.json: linux.seccomp.architectures[%zu]", i);
	}
	return 0;
}

static int take_out(scmp_filter_ctx ctx, struct seccomp_prog *out, struct error *e)
{
	CLEAN_FD int fd = memfd_create("seccomp", MFD_CLOEXEC);
	CLEAN_FREE void *buf = NULL;
	struct stat st;
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "cannot make memory for the seccomp program");
	rc = seccomp_export_bpf(ctx, fd);
	if (rc)
		return err_sys(e, rc, "config.json: linux.seccomp: cannot be compiled");
	if (fstat(fd, &st))
		return err_sys(e, errno, "cannot examine the seccomp program");
	if (st.st_size <= 0 || st.st_size > (off_t)SPEC_LIM_BPF_BYTES ||
		st.st_size % (off_t)sizeof(struct sock_filter))
		return err_set(e, E2BIG,
			"config.json: linux.seccomp: the program has %lld bytes, the kernel "
			"takes %u",
			(long long)st.st_size, SPEC_LIM_BPF_BYTES);
	buf = malloc((size_t)st.st_size);
	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	if (pread(fd, buf, (size_t)st.st_size, 0) != st.st_size)
		return err_set(e, EIO, "cannot read the seccomp program");
	out->bpf = TAKE_PTR(buf);
	out->len = (size_t)st.st_size;
	return 0;
}

int seccomp_compile(const struct spec_seccomp *sc, struct seccomp_prog *out, struct error *e)
{
	CLEAN(release) scmp_filter_ctx ctx = NULL;
	int r;

	*out = (struct seccomp_prog){ 0 };
	if (!sc->set)
		return 0;
	/* What the guest's kernel knows counts, not what libseccomp would find on this host. */
	(void)seccomp_api_set(6);
	ctx = seccomp_init(sc->default_action);
	if (!ctx)
		return err_set(e, EINVAL, "config.json: linux.seccomp.defaultAction: not possible");
	/* no_new_privs is the process section's to say. */
	r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	if (r)
		return err_sys(e, r, "cannot set up the seccomp filter");
	r = add_archs(ctx, sc, e);
	if (!r)
		r = add_rules(ctx, sc, e);
	if (!r)
		r = take_out(ctx, out, e);
	if (!r)
		out->flags = sc->flags;
	return r;
}

void seccomp_prog_free(struct seccomp_prog *p)
{
	free(p->bpf);
	*p = (struct seccomp_prog){ 0 };
}
