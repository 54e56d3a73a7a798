// SPDX-License-Identifier: Apache-2.0
/* run without --detach: waits for the end of the VMM. */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/console.h"
#include "oci/foreground.h"
#include "oci/ready.h"
#include "oci/signals.h"
#include "util/cleanup.h"
#include "util/util.h"

struct foreground {
	const struct container *c;
	struct console_peer peer; /* the VMM; .fd: what is left of @ready_fd */
};

void foreground_signals(sigset_t *set)
{
	(void)sigfillset(set);
	(void)sigdelset(set, SIGTTIN);
	(void)sigdelset(set, SIGTTOU);
	(void)sigdelset(set, SIGPIPE);
}

static bool vmm_ended(void *arg, int *code)
{
	struct foreground *f = arg;
	struct pollfd p = { .fd = f->peer.fd, .events = POLLIN };
	int status;

	/* the command is the main process of who waits for it, and stays that */
	if (p.fd >= 0 && poll(&p, 1, 0) == 1)
		ready_tell(f->c, TAKE_FD(f->peer.fd), false);
	if (waitpid(f->c->pid, &status, WNOHANG) != f->c->pid)
		return false;
	*code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return true;
}

static void signal_vmm(void *arg, int signo)
{
	const struct foreground *f = arg;

	(void)kill(f->c->pid, signo);
}

static int wait_vmm(struct foreground *f)
{
	struct signalfd_siginfo si;
	CLEAN_FD int sfd = -1;
	int code = 0;
	sigset_t set;

	foreground_signals(&set);
	sfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	while (!vmm_ended(f, &code)) {
		struct pollfd p[2] = { { .fd = sfd, .events = POLLIN },
			{ .fd = f->peer.fd, .events = POLLIN } };

		/* without that descriptor signals are not passed on, but the end is seen */
		(void)poll(p, 2, sfd < 0 ? 100 : -1);
		while (read(sfd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
			if (signal_is_passed((int)si.ssi_signo, si.ssi_code, (pid_t)si.ssi_pid))
				signal_vmm(f, (int)si.ssi_signo);
		}
	}
	return code;
}

int foreground_wait(const struct container *c, int master, int ready_fd)
{
	struct foreground f = { .c = c,
		.peer = { .fd = ready_fd, .ready = vmm_ended, .signal = signal_vmm } };
	int code;

	f.peer.arg = &f;
	code = master >= 0 ? console_relay(master, &f.peer) : wait_vmm(&f);
	if (f.peer.fd >= 0)
		(void)close(f.peer.fd);
	return code;
}
