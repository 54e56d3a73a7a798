// SPDX-License-Identifier: Apache-2.0
/* The VMM process gives up what it does not need. */
#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "oci/apparmor.h"
#include "oci/confine.h"
#include "util/util.h"

/* What acting on files for any user takes, and binding low ports for the guest. */
static const cap_value_t kept[] = {
	CAP_CHOWN,
	CAP_DAC_OVERRIDE,
	CAP_FOWNER,
	CAP_FSETID,
	CAP_MKNOD,
	CAP_SETUID,
	CAP_SETGID,
	CAP_SETFCAP,
	CAP_NET_BIND_SERVICE,
};

static int drop_bounding(void)
{
	for (cap_value_t c = 0; c <= 63; c++) {
		int have = prctl(PR_CAPBSET_READ, c);

		if (have < 0)
			return 0;
		if (have && prctl(PR_CAPBSET_DROP, c) && errno != EPERM)
			return -errno;
	}
	return 0;
}

static int drop_caps(void)
{
	cap_t want = cap_init(), have = cap_get_proc();
	cap_value_t one[ARRAY_SIZE(kept)];
	int n = 0, r = 0;

	if (!want || !have)
		r = -ENOMEM;
	for (size_t i = 0; !r && i < ARRAY_SIZE(kept); i++) {
		cap_flag_value_t v = CAP_CLEAR;

		/* asking for what the caller never had would fail the whole call */
		if (!cap_get_flag(have, kept[i], CAP_PERMITTED, &v) && v == CAP_SET)
			one[n++] = kept[i];
	}
	if (!r && n &&
		(cap_set_flag(want, CAP_PERMITTED, n, one, CAP_SET) ||
			cap_set_flag(want, CAP_EFFECTIVE, n, one, CAP_SET)))
		r = -errno;
	if (!r && cap_set_proc(want))
		r = -errno;
	(void)cap_free(want);
	(void)cap_free(have);
	return r;
}

int confine(int attr_fd, const char *profile, struct error *e)
{
	/* the bounding set takes a capability that the profile may not give */
	int r = drop_bounding();

	if (!r && profile) {
		/* while there still are capabilities: some hosts ask for one, of who is in none */
		r = apparmor_enter(attr_fd, profile, e);
		if (r)
			return r;
	}
	if (!r)
		r = drop_caps();
	if (!r && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		r = -errno;
	return r ? err_sys(e, r, "cannot give up capabilities") : 0;
}
