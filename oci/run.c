// SPDX-License-Identifier: Apache-2.0
/* run: makes a container, starts it, waits for its end, and takes it away. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/create.h"
#include "oci/creation.h"
#include "oci/foreground.h"
#include "oci/interrupt.h"
#include "oci/ready.h"
#include "util/cleanup.h"
#include "util/log.h"

/*
 * stdin and stdout are the workload's from now on: what we held open, a reader would wait for and a
 * writer would go on to fill. stderr stays, for our own words.
 */
static void leave_stdio(const struct create *x)
{
	(void)dup2(x->p.null_fd, STDIN_FILENO);
	(void)dup2(x->p.null_fd, STDOUT_FILENO);
}

/* After its end; unless somebody else has deleted it, or does so now. */
static void remove_ended(struct container *c)
{
	struct error why = { 0 };
	int r = container_lock(c, LOCK_MS, &why);

	if (!r)
		r = container_destroy(c, DESTROY_MS, &why);
	if (r && r != -ENOENT)
		log_warn("%s", why.msg);
}

/* The start failed: nothing stays, and the exit status is a shell's when exec() was what failed. */
static int not_started(struct create *x, bool asked, struct error *e)
{
	CLEAN_FD int fd = (int)syscall(SYS_pidfd_open, x->c.pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int status, code = 1;

	if (x->o->pid_file)
		(void)unlink(x->o->pid_file);
	/* it ends by itself then, as soon as it has told us why; unless it was never asked */
	if (asked && fd >= 0 && poll(&p, 1, FAILED_MS) == 1 &&
		waitpid(x->c.pid, &status, 0) == x->c.pid) {
		if (WIFEXITED(status) && (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127))
			code = WEXITSTATUS(status);
		x->reaped = true;
	}
	create_undo(x, e);
	return code;
}

/* Until the process runs. A signal that comes meanwhile ends it all, as there is nothing yet that
 * it could be passed on to. */
static int make_and_start(struct create *x, int *code, struct error *e)
{
	struct error why = { 0 };
	bool asked = false;
	int sig, r;

	if (x->foreground)
		interrupt_begin();
	r = create_make(x, &why);
	if (!r) {
		r = container_network(&x->c, x->spec, &why);
		asked = !r;
		if (!r)
			r = container_start(&x->c, x->spec, CTL_START_MS, &why);
		sig = interrupt_end();
		if (r || sig)
			*code = not_started(x, asked, &why);
	} else {
		sig = interrupt_end();
	}
	if (sig)
		return interrupt_error(sig, code, e);
	return r ? err_set(e, r, "%s", why.msg) : 0;
}

int rt_run(const struct rt *rt, const struct rt_create *o, int *code, struct error *e)
{
	CLEAN(create_free) struct create x;
	sigset_t set;
	int r, ready;

	*code = 1;
	create_init(&x, rt, o);
	x.foreground = !o->detach;
	foreground_signals(&set);
	/* blocked from here on: what comes once the process runs reaches that, not us */
	if (!o->detach)
		(void)sigprocmask(SIG_BLOCK, &set, NULL);
	/* whoever reads what we write may go: the container must not lose us by that */
	(void)signal(SIGPIPE, SIG_IGN);
	r = make_and_start(&x, code, e);
	if (r)
		return r;
	/* others may delete it now, also while we wait for its end */
	container_unlock(&x.c);
	*code = 0;
	ready = ready_ask(&x.c);
	if (o->detach && ready >= 0)
		ready_tell(&x.c, ready, true);
	if (o->detach)
		return 0;
	/* the master tells the end once the VMM alone has held the other side */
	if (x.p.tty_fd >= 0)
		(void)close(TAKE_FD(x.p.tty_fd));
	else
		leave_stdio(&x);
	*code = foreground_wait(&x.c, x.master, ready);
	/* its own words went to the log; our stderr is the one that is left */
	if (container_was_lost(&x.c))
		r = err_set(e, EIO, "the VM of container \"%s\" ended under its process", o->id);
	if (!o->keep)
		remove_ended(&x.c);
	return r;
}
