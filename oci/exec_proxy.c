// SPDX-License-Identifier: Apache-2.0
/* The process of ours that stands for one in the guest: signals in, exit code out. */
/*
 * How it works
 *
 * The VMM carries the streams, so there is nothing to do but to wait on two descriptors: the
 * connection and a signalfd. With --detach this is a child that the caller of the runtime inherits,
 * in the container's cgroup; without, it is the command itself. The size of a terminal that is not
 * ours is followed by SIGWINCH: the child leads a session whose terminal it is.
 */
/* #syscalls:proxy poll ppoll read recvfrom ioctl:TIOCGWINSZ signalfd4 close */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init/proto/msg.h"
#include "oci/console.h"
#include "oci/create.h"
#include "oci/ctl.h"
#include "oci/exec.h"
#include "oci/signals.h"
#include "oci/vmexec.h"
#include "util/util.h"

#define CODE_VM_GONE 137 /* as if it had been killed: so it has */

/* 1: *@v is there; 0: not yet; -ECONNRESET: there will be none; -errno: it cannot be read. */
static int next_event(int conn, struct exec_event *v)
{
	ssize_t n = ctl_read(conn, v, sizeof(*v), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != (ssize_t)sizeof(*v))
		return n < 0 ? -errno : -ECONNRESET;
	v->text[sizeof(v->text) - 1] = 0;
	return 1;
}

/* Managers look for these words: "not found" is their 127, "permission denied" their 126. */
static int not_executed(const char *name, int code, struct error *e)
{
	switch (code) {
	case ENOENT:
		return err_set(e, ENOENT,
			"executable file not found in $PATH: `%.120s`: no such file or directory",
			name);
	case EACCES:
		return err_set(e, EACCES, "open executable `%.150s`: permission denied", name);
	default:
		return err_sys(e, code, "exec `%.150s`", name);
	}
}

int exec_proxy_started(const struct exec_proxy *p, bool pause_waits, int *code, struct error *e)
{
	struct pollfd pf = { .fd = p->conn, .events = POLLIN };
	struct exec_event v;
	int r;

	*code = 1;
	do {
		r = poll(&pf, 1, CTL_START_MS);
	} while ((r < 0 && errno == EINTR) ||
		(!r && pause_waits && container_phase(p->c, NULL) == PHASE_PAUSED));
	if (r == 0)
		return err_sys(e, ETIMEDOUT, "container \"%s\" does not answer", p->c->id);
	if (r < 0)
		return err_sys(e, errno, "cannot wait for container \"%s\"", p->c->id);
	r = next_event(p->conn, &v);
	if (r < 0 && r != -ECONNRESET)
		return err_sys(e, r, "container \"%s\" cannot be heard", p->c->id);
	if (r <= 0)
		return err_set(e, ECONNRESET, "container \"%s\" is not running", p->c->id);
	if (v.what == EXEC_STARTED)
		return 0;
	if (v.what != EXEC_FAILED)
		return err_set(e, EPROTO, "the guest of container \"%s\" talks nonsense", p->c->id);
	if (v.stage != MSG_STAGE_EXEC)
		return err_set(e, v.code ? v.code : EPROTO, "%s", v.text);
	*code = v.code == ENOENT ? 127 : 126;
	return not_executed(p->name, v.code, e);
}

static void send_req(const struct exec_proxy *p, uint32_t op, uint32_t arg)
{
	struct ctl_req q = { .op = op, .arg = arg };

	/* when the VMM is gone the connection tells us so */
	(void)send(p->conn, &q, sizeof(q), MSG_NOSIGNAL);
}

static void pass_size(void *arg, const struct winsize *ws)
{
	if (ws->ws_row || ws->ws_col)
		send_req(arg, CTL_EXEC_SIZE, (uint32_t)ws->ws_row << 16 | ws->ws_col);
}

static void pass_signal(void *arg, int signo)
{
	send_req(arg, CTL_EXEC_SIGNAL, (uint32_t)signo);
}

/* As console_peer wants it; a negative code is what went wrong. */
static bool ended(void *arg, int *code)
{
	const struct exec_proxy *p = arg;
	struct exec_event v;
	int r = next_event(p->conn, &v);

	if (r < 0)
		*code = r == -ECONNRESET ? CODE_VM_GONE : r;
	else if (r > 0 && v.what == EXEC_ENDED)
		*code = v.code & 0xff;
	else
		return false;
	return true;
}

/* Our end of the connection goes with us, and the process with that. */
static int no_end(int why, struct error *e)
{
	return err_sys(e, why, "cannot wait for the process's end, it is killed");
}

static void on_signals(const struct exec_proxy *p, int sfd)
{
	struct signalfd_siginfo si;
	struct winsize ws;

	while (read(sfd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (!signal_is_passed((int)si.ssi_signo, si.ssi_code, (pid_t)si.ssi_pid))
			continue;
		if (si.ssi_signo != SIGWINCH || p->tty < 0)
			pass_signal((void *)(uintptr_t)p, (int)si.ssi_signo);
		else if (!ioctl(p->tty, TIOCGWINSZ, &ws))
			pass_size((void *)(uintptr_t)p, &ws);
	}
}

int exec_proxy_wait(const struct exec_proxy *p, struct error *e)
{
	struct pollfd pf[2] = { { .fd = p->conn, .events = POLLIN }, { .events = POLLIN } };
	struct winsize ws;
	sigset_t set;
	int code;

	(void)sigfillset(&set);
	pf[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (pf[1].fd < 0)
		return err_sys(e, errno, "cannot hear of signals");
	/* who holds the terminal may have set its size before we were told of changes */
	if (p->tty >= 0 && !ioctl(p->tty, TIOCGWINSZ, &ws))
		pass_size((void *)(uintptr_t)p, &ws);
	for (;;) {
		if (poll(pf, 2, -1) < 0) {
			code = -errno;
			if (code == -EINTR)
				continue;
			break;
		}
		if (pf[1].revents)
			on_signals(p, pf[1].fd);
		if (pf[0].revents && ended((void *)(uintptr_t)p, &code))
			break;
	}
	(void)close(pf[1].fd);
	return code < 0 ? no_end(code, e) : code;
}

int exec_proxy_relay(const struct exec_proxy *p, int master, struct error *e)
{
	const struct console_peer peer = { .fd = p->conn,
		.arg = (void *)(uintptr_t)p,
		.ready = ended,
		.signal = pass_signal,
		.size = pass_size };
	int code = console_relay(master, &peer);

	return code < 0 ? no_end(code, e) : code;
}
