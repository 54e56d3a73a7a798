// SPDX-License-Identifier: Apache-2.0
/* A limit for output that nobody takes, of a process that has ended and is sent a signal. */
#include <errno.h>
#include <signal.h>
#include <sys/timerfd.h>

#include "init/proto/msg.h"
#include "oci/agent.h"
#include "oci/unread.h"

/* #syscalls:main timerfd_settime */

/* What a process without a handler does not die of, that is no wish to see it end. */
static bool ends(uint32_t signo)
{
	switch (signo) {
	case SIGCHLD:
	case SIGCONT:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGURG:
	case SIGWINCH:
		return false;
	default:
		return true;
	}
}

static void begin(struct unread *u, struct unread_tick *t)
{
	const struct itimerspec each = { .it_value.tv_sec = 1, .it_interval.tv_sec = 1 };

	if (u->left || u->over)
		return;
	u->left = UNREAD_SECONDS;
	/* where it ticks for others already the first second is a part of one */
	if (!t->on)
		t->on = !timerfd_settime(t->fd, 0, &each, NULL);
}

bool unread_signal(struct unread *u, struct agent *a, uint32_t proc, uint32_t signo, uint32_t flags,
	bool ended, struct unread_tick *t)
{
	uint32_t seq;

	if (ended) {
		if (ends(signo))
			begin(u, t);
		return true;
	}
	seq = agent_signal(a, proc, signo, flags);
	if (ends(signo))
		u->seq = seq;
	return seq;
}

bool unread_reply(struct unread *u, const struct agent_reply *r, struct unread_tick *t)
{
	if (r->type != MSG_SIGNAL || !u->seq || r->seq != u->seq)
		return false;
	u->seq = 0;
	if (r->status == -ESRCH)
		begin(u, t);
	return true;
}

bool unread_count(struct unread *u, struct agent *a, uint32_t proc, bool ended)
{
	if (!u->left || --u->left)
		return u->left;
	u->over = true;
	if (!ended)
		(void)agent_signal(a, proc, SIGKILL, MSG_SIGNAL_DROP);
	return false;
}
