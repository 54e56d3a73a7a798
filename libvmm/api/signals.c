// SPDX-License-Identifier: Apache-2.0
/* Signals that would end the process at once, made an event of the loop's. */
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/start.h"
#include "util/cleanup.h"
#include "util/log.h"

static const int ends[] = { SIGTERM, SIGINT, SIGHUP };

/* One process has one such VM. */
static volatile sig_atomic_t first; /* the signal, or 0 */
static volatile sig_atomic_t event = -1;
static bool taken[ARRAY_SIZE(ends)];

static void on_signal(int n)
{
	const uint64_t one = 1;
	int err = errno;

	/* who sends another one does not want to wait: pending until we return */
	if (first) {
		(void)sigaction(n, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
		(void)raise(n);
	} else {
		first = n;
	}
	/* a counter that is full is one that is read soon */
	IGNORE_RESULT(write(event, &one, sizeof(one)));
	errno = err;
}

int signals_take(void)
{
	struct sigaction ours = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, old;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* of a PID namespace: nothing ends it by default, and "podman kill -s HUP" is no end */
	bool is_init = getpid() == 1;

	if (fd < 0)
		return -errno;
	(void)sigfillset(&ours.sa_mask);
	first = 0;
	event = fd;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		taken[i] = !is_init && !sigaction(ends[i], NULL, &old) &&
			!(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL &&
			!sigaction(ends[i], &ours, NULL);
	}
	return fd;
}

void signals_give_back(void)
{
	const struct sigaction none = { .sa_handler = SIG_DFL };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (taken[i])
			(void)sigaction(ends[i], &none, NULL);
		taken[i] = false;
	}
}

int signals_first(void)
{
	return first;
}
