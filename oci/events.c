// SPDX-License-Identifier: Apache-2.0
/* events: what a container uses, and that the guest's kernel killed in it. */
/*
 * How it works
 *
 * The figures are read by us from the container's cgroup, once or at every interval. That the guest
 * ran out of memory only its kernel knows: the agent tells the VMM, and the VMM those who keep a
 * connection of CTL_EVENTS open, one packet a time. The connection ends with the container.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "oci/cgroup.h"
#include "oci/clock.h"
#include "oci/create.h"
#include "oci/ctl.h"
#include "oci/runtime.h"
#include "oci/state.h"
#include "oci/stats.h"
#include "util/cleanup.h"

static int put(FILE *out, const char *text, size_t len)
{
	return fwrite(text, 1, len, out) == len && !fflush(out) ? 0 : -EIO;
}

static int put_stats(const struct container *c, FILE *out, struct error *e)
{
	CLEAN_FD int dir = cgroup_open(c->cgroup);
	CLEAN_FREE char *text = NULL;
	size_t len = 0;
	int r = dir < 0 ? dir : stats_json(dir, c->id, &text, &len);

	if (!r)
		r = put(out, text, len);
	return r ? err_sys(e, r, "the figures of container \"%s\"", c->id) : 0;
}

static int put_oom(const struct container *c, FILE *out, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	size_t len = 0;
	int r = stats_oom_json(c->id, &text, &len);

	if (!r)
		r = put(out, text, len);
	return r ? err_sys(e, r, "cannot write the output") : 0;
}

/* One packet of the VMM: 1, or 0 when it is gone. */
static int take_event(int fd)
{
	struct ctl_reply m;
	ssize_t n;

	do {
		n = recv(fd, &m, sizeof(m), 0);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(m);
}

/* Without a cgroup nobody counts what it uses: then there are no figures, only what happens. */
static int stream(const struct container *c, int fd, unsigned ms, FILE *out, struct error *e)
{
	int64_t next = now_ms() + ms;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = next - now_ms();
		int n = poll(&p, 1, !c->cgroup ? -1 : left > 0 ? (int)left : 0), r = 0;

		if (n < 0 && errno != EINTR)
			return err_sys(e, errno, "poll");
		if (n > 0 && !take_event(fd))
			return 0;
		if (n > 0)
			r = put_oom(c, out, e);
		if (n == 0) {
			next += ms;
			/* that it has ended shows on the connection */
			if (container_phase(c, NULL) != PHASE_STOPPED)
				r = put_stats(c, out, e);
		}
		if (r)
			return r;
	}
}

int rt_events(
	const struct rt *rt, const char *id, bool stats, unsigned ms, FILE *out, struct error *e)
{
	CLEAN(container_free) struct container c;
	const struct ctl_req q = { .op = CTL_EVENTS };
	CLEAN_FD int fd = -1;
	int r = container_open(rt, id, &c, e);
	enum phase ph;

	if (r)
		return r;
	ph = container_phase(&c, NULL);
	if (ph == PHASE_STOPPED || ph == PHASE_CREATING)
		return err_set(
			e, ESRCH, "container \"%s\" is not running: container not running", id);
	if (stats && !c.cgroup)
		return err_set(e, ENOTSUP,
			"container \"%s\" has no cgroup of its own, so nobody counts what it uses",
			id);
	if (stats)
		return put_stats(&c, out, e);
	r = ctl_open(&c, &q, CTL_EVENTS_MS, &fd, e);
	return r ? r : stream(&c, fd, ms, out, e);
}
