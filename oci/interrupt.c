// SPDX-License-Identifier: Apache-2.0
/* Signals to a command that has no process yet to pass them on to. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "oci/interrupt.h"
#include "util/util.h"

static const int SIGNALS[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP };

static volatile sig_atomic_t came, vmm, conn = -1;

static void strike(void)
{
	if (vmm > 0)
		(void)kill(vmm, SIGKILL);
	if (conn >= 0)
		(void)shutdown(conn, SHUT_RDWR);
}

static void on_signal(int sig)
{
	int old = errno;

	if (!came)
		came = sig;
	strike();
	errno = old;
}

static bool is_ignored(int sig)
{
	struct sigaction sa;

	return sigaction(sig, NULL, &sa) || sa.sa_handler == SIG_IGN;
}

void interrupt_begin(void)
{
	/* what is made and undone meanwhile need not know of it */
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	sigset_t set;

	came = 0;
	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++) {
		if (!is_ignored(SIGNALS[i]) && !sigaction(SIGNALS[i], &sa, NULL))
			(void)sigaddset(&set, SIGNALS[i]);
	}
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Set first, looked at afterwards: a signal in between finds it, too. */
void interrupt_kills(pid_t pid)
{
	vmm = pid;
	if (came)
		strike();
}

void interrupt_hangs_up(int fd)
{
	conn = fd;
	if (came)
		strike();
}

int interrupt_end(void)
{
	struct sigaction sa;
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++) {
		if (!sigaction(SIGNALS[i], NULL, &sa) && sa.sa_handler == on_signal)
			(void)sigaddset(&set, SIGNALS[i]);
	}
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	vmm = 0;
	conn = -1;
	return came;
}

int interrupt_error(int sig, int *code, struct error *e)
{
	*code = 128 + sig;
	return err_set(e, EINTR, "ended by signal %d before the process ran", sig);
}
