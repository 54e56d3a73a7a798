// SPDX-License-Identifier: Apache-2.0
/* A sandbox container's process: it holds a pod's namespaces, and that is all. */
/*
 * How it works
 *
 * It takes the place of the VMM from the clone on: the same namespaces, tree, cgroup, state and
 * control socket, but no /dev/kvm and no guest. One poll loop: the CLI's sync socket until COMMIT,
 * a signalfd, the control socket and its connections. SIGTERM and SIGINT end it with 0, as they end
 * the programs that usually stand here; every other signal is nobody's, but SIGCHLD: it may be the
 * first process of its pid namespace, to which orphans come. While it is paused these wait.
 *
 * exec is refused: there is no guest to run it in, and on the host's kernel nothing of an image
 * runs.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/proto/msg.h"
#include "oci/ctl.h"
#include "oci/log.h"
#include "oci/sandbox.h"
#include "oci/sync.h"
#include "oci/vmexec.h"
#include "oci/vmproc.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"

/* Connections at a time; who comes when all are taken takes the oldest's place. */
#define CONNS 16

enum {
	AT_SYNC,
	AT_SIGNAL,
	AT_CTL,
	AT_CONN,
	AT_END = AT_CONN + CONNS
};

struct sandbox {
	struct vmproc *p;
	struct pollfd fds[AT_END];
	bool watches[CONNS]; /* has asked for events, of which there are none: kept to the end */
	unsigned next;
	enum phase phase, unpaused;
	bool term, quit;
	int code;
};

static bool args_are(const struct spec_process *p, const char *first, const char *second)
{
	return p->args.n == (second ? 2 : 1) && !strcmp(p->args.v[0], first) &&
		(!second || !strcmp(p->args.v[1], second));
}

bool sandbox_wanted(const struct spec *s)
{
	static const char *const KEYS[] = {
		"io.kubernetes.cri.container-type",
		"io.kubernetes.cri-o.ContainerType",
	};

	for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++) {
		const char *v = spec_annotation(s, KEYS[i]);

		if (v && !strcmp(v, "sandbox"))
			return true;
	}
	return s->process.set &&
		(args_are(&s->process, "/catatonit", "-P") ||
			args_are(&s->process, "/pause", NULL));
}

int sandbox_check(const struct spec *s, struct error *e)
{
	if (s->hooks[SPEC_HOOK_START_CONTAINER].n)
		return err_set(e, ENOTSUP,
			"config.json: hooks.startContainer: nothing of the image is executed in a sandbox container");
	return 0;
}

int sandbox_confine(const struct vmproc *p, struct error *e)
{
	cap_t none = cap_init();
	int r = none && !cap_set_proc(none) ? 0 : -errno;

	(void)cap_free(none);
	for (int fd = 0; !r && fd <= 2; fd++) {
		if (dup2(p->null_fd, fd) < 0)
			r = -errno;
	}
	return r ? err_sys(e, r, "cannot confine the sandbox's process") : 0;
}

static void set_phase(struct sandbox *s, enum phase ph)
{
	s->phase = ph;
	if (status_write(s->p->status_fd, ph, s->code, 0))
		log_err("cannot write the container's status");
}

static void finish(struct sandbox *s, int code)
{
	s->code = code;
	s->quit = true;
	set_phase(s, PHASE_STOPPED);
}

static void answer(int conn, int code, const char *text)
{
	struct ctl_reply r = { .code = code };

	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	(void)send(conn, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void refuse_exec(int conn)
{
	struct exec_event v = { .what = EXEC_FAILED, .code = ENOTSUP };

	(void)snprintf(
		v.text, sizeof(v.text), "cannot exec in a sandbox container: it has no guest");
	(void)send(conn, &v, sizeof(v), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_term(struct sandbox *s)
{
	s->term = true;
	if (s->phase != PHASE_PAUSED)
		finish(s, 0);
}

static void start(struct sandbox *s, int conn)
{
	if (s->phase != PHASE_CREATED)
		return answer(conn, EBUSY, "cannot start an already running container");
	if (!s->p->spec->process.set)
		return answer(conn, EINVAL,
			"config.json: process: the config has none, there is nothing to start");
	set_phase(s, PHASE_RUNNING);
	answer(conn, 0, "");
}

static void pause_it(struct sandbox *s, int conn)
{
	if (s->phase != PHASE_PAUSED) {
		s->unpaused = s->phase;
		set_phase(s, PHASE_PAUSED);
	}
	answer(conn, 0, "");
}

static void resume_it(struct sandbox *s, int conn)
{
	if (s->phase == PHASE_PAUSED)
		set_phase(s, s->unpaused);
	answer(conn, 0, "");
	if (s->term)
		finish(s, 0);
}

/* Whether the connection stays. */
static bool request(struct sandbox *s, int conn, const struct ctl_req *q)
{
	const struct msg_ps_reply nobody = { .count = 0 };

	switch (q->op) {
	case CTL_START:
		start(s, conn);
		break;
	case CTL_SIGNAL:
		answer(conn, q->arg < 1 || q->arg > 64 ? EINVAL : 0, "unknown signal");
		if (q->arg == SIGTERM || q->arg == SIGINT)
			on_term(s);
		break;
	case CTL_PAUSE:
		pause_it(s, conn);
		break;
	case CTL_RESUME:
		resume_it(s, conn);
		break;
	case CTL_PS:
		answer(conn, 0, "");
		(void)send(conn, &nobody, sizeof(nobody), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case CTL_EVENTS:
		answer(conn, 0, "");
		return true;
	case CTL_READY:
		answer(conn, ENODATA, "a sandbox container says nothing");
		break;
	case CTL_EXEC:
		refuse_exec(conn);
		break;
	default:
		answer(conn, ENOTSUP, "a sandbox container does not know this request");
	}
	return false;
}

static void drop(struct sandbox *s, unsigned i)
{
	if (s->fds[AT_CONN + i].fd >= 0)
		(void)close(TAKE_FD(s->fds[AT_CONN + i].fd));
	s->watches[i] = false;
}

static void on_conn(struct sandbox *s, unsigned i)
{
	int fds[CTL_MAX_FDS], r;
	struct ctl_req q;

	/* a watcher says nothing any more: it has hung up */
	if (s->watches[i])
		return drop(s, i);
	r = ctl_recv(s->fds[AT_CONN + i].fd, &q, fds);
	if (!r)
		return;
	if (r > 0) {
		s->watches[i] = request(s, s->fds[AT_CONN + i].fd, &q);
		for (unsigned n = 0; n < CTL_MAX_FDS; n++) {
			if (fds[n] >= 0)
				(void)close(fds[n]);
		}
	}
	if (r < 0 || !s->watches[i])
		drop(s, i);
}

static void on_ctl(struct sandbox *s)
{
	int conn = accept4(s->fds[AT_CTL].fd, NULL, NULL, SOCK_CLOEXEC);
	unsigned i = s->next;

	if (conn < 0)
		return;
	/* a free place; else the oldest that watches nothing */
	for (unsigned k = 0; k < CONNS && s->fds[AT_CONN + i].fd >= 0; k++)
		i = (i + 1) % CONNS;
	for (unsigned k = 0; k < CONNS && s->fds[AT_CONN + i].fd >= 0 && s->watches[i]; k++)
		i = (i + 1) % CONNS;
	s->next = (i + 1) % CONNS;
	drop(s, i);
	s->fds[AT_CONN + i].fd = conn;
}

static void on_signal(struct sandbox *s)
{
	struct signalfd_siginfo si;

	while (read(s->fds[AT_SIGNAL].fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			on_term(s);
		while (si.ssi_signo == SIGCHLD && waitpid(-1, NULL, WNOHANG) > 0)
			continue;
	}
}

static void on_sync(struct sandbox *s)
{
	struct error e = { 0 };

	if (sync_wait(s->fds[AT_SYNC].fd, SYNC_COMMIT, &e))
		return finish(s, 1);
	(void)prctl(PR_SET_PDEATHSIG, 0);
	oci_log_alone();
	/* a CLI that ended before this call would have taken us with it */
	IGNORE_RESULT(sync_send(s->fds[AT_SYNC].fd, SYNC_COMMITTED));
	(void)close(TAKE_FD(s->fds[AT_SYNC].fd));
}

static int begin(struct sandbox *s)
{
	sigset_t all;

	for (unsigned i = 0; i < AT_END; i++)
		s->fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN | POLLRDHUP };
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	s->fds[AT_SYNC].fd = s->p->sync_fd;
	s->fds[AT_CTL].fd = s->p->ctl_fd;
	s->fds[AT_SIGNAL].fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fds[AT_SIGNAL].fd < 0)
		return -errno;
	set_phase(s, PHASE_CREATED);
	return sync_send(s->p->sync_fd, SYNC_READY);
}

int sandbox_run(struct vmproc *p)
{
	struct sandbox s = { .p = p };
	struct error e = { 0 };

	if (begin(&s)) {
		(void)err_set(&e, EIO, "cannot hold the sandbox's namespaces");
		IGNORE_RESULT(sync_send_error(p->sync_fd, &e));
		finish(&s, 1);
	}
	while (!s.quit) {
		if (poll(s.fds, AT_END, -1) < 0)
			continue;
		if (s.fds[AT_SYNC].revents)
			on_sync(&s);
		if (!s.quit && s.fds[AT_SIGNAL].revents)
			on_signal(&s);
		for (unsigned i = 0; i < CONNS && !s.quit; i++) {
			if (s.fds[AT_CONN + i].revents)
				on_conn(&s, i);
		}
		if (!s.quit && s.fds[AT_CTL].revents)
			on_ctl(&s);
	}
	return s.code;
}
