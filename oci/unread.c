// SPDX-License-Identifier: Apache-2.0
/* A limit for output that nobody takes, of a process that has ended and is sent a signal. */
#include <errno.h>
#include <signal.h>
#include <sys/timerfd.h>

#include "init/proto/msg.h"
#include "oci/agent.h"
#include "oci/unread.h"

/* #syscalls:main timerfd_settime */

static void count(struct unread *u, int tick_fd)
{
	const struct itimerspec t = { .it_value.tv_sec = 1, .it_interval.tv_sec = 1 };

	if (u->left || u->over)
		return;
	u->left = UNREAD_SECONDS;
	/* that others count from an earlier second on, and ours is cut short, does no harm */
	(void)timerfd_settime(tick_fd, 0, &t, NULL);
}

bool unread_signal(struct unread *u, struct agent *a, uint32_t proc, uint32_t signo, uint32_t flags,
	bool ended, int tick_fd)
{
	if (ended) {
		count(u, tick_fd);
		return true;
	}
	u->seq = agent_signal(a, proc, signo, flags);
	return u->seq;
}

bool unread_reply(struct unread *u, const struct agent_reply *r, int tick_fd)
{
	if (r->type != MSG_SIGNAL || r->seq != u->seq)
		return false;
	if (r->status == -ESRCH)
		count(u, tick_fd);
	return true;
}

bool unread_tick(struct unread *u, struct agent *a, uint32_t proc, bool ended)
{
	if (!u->left || --u->left)
		return u->left;
	u->over = true;
	if (!ended)
		(void)agent_signal(a, proc, SIGKILL, MSG_SIGNAL_DROP);
	return false;
}
