// SPDX-License-Identifier: Apache-2.0
/* pause and resume: the VMM parks its vCPUs and quiets its devices. */
#include <errno.h>
#include <time.h>

#include "oci/create.h"
#include "oci/ctl.h"
#include "oci/runtime.h"
#include "oci/state.h"
#include "util/cleanup.h"

#define TRIES 20 /* for a guest whose CPU is in the middle of an access without end */

static int ask(const struct container *c, uint32_t op, struct error *e)
{
	const struct timespec nap = { .tv_nsec = 50 * 1000 * 1000 };
	struct ctl_req q = { .op = op };

	for (int i = 0;; i++) {
		struct error why = { 0 };
		int r = ctl_ask(c, &q, CTL_PAUSE_MS, &why);

		if (r != -EAGAIN || i == TRIES)
			return r ? err_set(e, r, "%s", why.msg) : 0;
		(void)nanosleep(&nap, NULL);
	}
}

static int not_running(const struct container *c, const char *what, struct error *e)
{
	return err_set(e, ESRCH, "cannot %s container \"%s\": container not running", what, c->id);
}

static int run(const struct rt *rt, const char *id, uint32_t op, const char *what, struct error *e)
{
	CLEAN(container_free) struct container c;
	int r = container_open(rt, id, &c, e);

	if (r)
		return r;
	switch (container_phase(&c, NULL)) {
	case PHASE_CREATED:
	case PHASE_RUNNING:
	case PHASE_PAUSED:
		r = ask(&c, op, e);
		break;
	case PHASE_STOPPED:
		/* a manager kills what is paused, and then has it resumed */
		if (op == CTL_RESUME && status_read(&c) == PHASE_PAUSED)
			return 0;
		return not_running(&c, what, e);
	case PHASE_CREATING:
		return not_running(&c, what, e);
	}
	return r;
}

int rt_pause(const struct rt *rt, const char *id, struct error *e)
{
	return run(rt, id, CTL_PAUSE, "pause", e);
}

int rt_resume(const struct rt *rt, const char *id, struct error *e)
{
	return run(rt, id, CTL_RESUME, "resume", e);
}
