// SPDX-License-Identifier: Apache-2.0
/* `run` and `exec` with a terminal: relays between the caller's terminal and the container's. */
/*
 * How it works
 *
 * One poll loop over stdin, the pty's master and a signalfd. Each direction has one small buffer
 * and is read only while that is empty, so a side that does not read stops the other and nothing
 * grows. poll() is all that waits: a terminal is writable as soon as it has room for one byte, so
 * the master, whose description is ours alone, does not block, and a terminal that is our stdout,
 * which is not ours to change, is written to in small parts. The end is the peer's (the VMM, or the
 * process of an exec): when it has gone, what the master still holds is passed on.
 *
 * When nobody reads our stdout any more, which is the terminal as the process sees it, that is a
 * hangup: the process gets SIGHUP, and what it says goes nowhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "oci/console.h"
#include "oci/signals.h"
#include "util/util.h"

#define TTY_WRITE_MAX 256 /* what a terminal that polls writable has room for */

struct way {
	int from, to;
	size_t most; /* that a write may take, so that it does not wait */
	char buf[4096];
	size_t len, at;
	bool over; /* nothing more will come, or nobody takes it */
	bool lost; /* nobody takes it, and it is read all the same */
};

struct saved_tty {
	bool set;
	struct termios t;
};

static void raw_mode(struct saved_tty *s)
{
	struct termios t;

	s->set = !tcgetattr(STDIN_FILENO, &s->t);
	if (!s->set)
		return;
	t = s->t;
	cfmakeraw(&t);
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
}

static void copy_size(int master, const struct console_peer *peer)
{
	struct winsize ws;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws))
		return;
	(void)ioctl(master, TIOCSWINSZ, &ws);
	if (peer->size)
		peer->size(peer->arg, &ws);
}

static void way_read(struct way *w)
{
	ssize_t n = read(w->from, w->buf, sizeof(w->buf));

	if (n > 0) {
		w->len = w->lost ? 0 : (size_t)n;
		w->at = 0;
	} else if (!n || (errno != EAGAIN && errno != EINTR)) {
		/* EIO: the pty's other side is closed */
		w->over = true;
	}
}

static void way_write(struct way *w)
{
	ssize_t n = write(w->to, w->buf + w->at, MIN(w->len - w->at, w->most));

	if (n > 0)
		w->at += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		w->lost = true;
	if (w->at == w->len || w->lost)
		w->at = w->len = 0;
}

static void way_poll(const struct way *w, struct pollfd *in, struct pollfd *out)
{
	*in = (struct pollfd){ .fd = w->over || w->len ? -1 : w->from, .events = POLLIN };
	*out = (struct pollfd){ .fd = w->over || !w->len ? -1 : w->to, .events = POLLOUT };
}

static void way_serve(struct way *w, const struct pollfd *in, const struct pollfd *out)
{
	if (in->fd >= 0 && in->revents)
		way_read(w);
	if (out->fd >= 0 && out->revents)
		way_write(w);
}

/* True when all is over, with its code. */
static bool on_signals(int sfd, int master, const struct console_peer *peer, int *code)
{
	struct signalfd_siginfo si;

	while (read(sfd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGWINCH)
			copy_size(master, peer);
		else if (signal_is_passed((int)si.ssi_signo, si.ssi_code, (pid_t)si.ssi_pid))
			peer->signal(peer->arg, (int)si.ssi_signo);
	}
	return peer->ready(peer->arg, code);
}

int console_relay(int master, const struct console_peer *peer)
{
	struct way in = { .from = STDIN_FILENO, .to = master, .most = sizeof(in.buf) },
		   out = { .from = master, .to = STDOUT_FILENO, .most = sizeof(out.buf) };
	struct saved_tty tty;
	struct pollfd p[6];
	bool ended = false, hung_up = false;
	int code = 0, sfd;
	sigset_t set;

	/* the caller has blocked these already */
	(void)sigfillset(&set);
	(void)sigdelset(&set, SIGTTIN);
	(void)sigdelset(&set, SIGTTOU);
	(void)sigdelset(&set, SIGPIPE);
	sfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	raw_mode(&tty);
	(void)fcntl(master, F_SETFL, fcntl(master, F_GETFL) | O_NONBLOCK);
	if (isatty(STDOUT_FILENO))
		out.most = TTY_WRITE_MAX;
	while (!ended || !out.over) {
		way_poll(&in, &p[0], &p[1]);
		way_poll(&out, &p[2], &p[3]);
		p[4] = (struct pollfd){ .fd = ended ? -1 : sfd, .events = POLLIN };
		p[5] = (struct pollfd){ .fd = ended ? -1 : peer->fd, .events = POLLIN };
		/* once the VMM has let go of it the master tells the end of what it holds by an
		 * error */
		if (poll(p, 6, ended ? 1000 : -1) == 0)
			break;
		way_serve(&in, &p[0], &p[1]);
		way_serve(&out, &p[2], &p[3]);
		/* the other way a loss is the master's end, which its reader sees as well */
		in.over |= in.lost;
		if (out.lost && !hung_up && !ended)
			peer->signal(peer->arg, SIGHUP);
		hung_up |= out.lost;
		if (!ended && (p[4].revents || p[5].revents || sfd < 0))
			ended = on_signals(sfd, master, peer, &code);
		/* what is typed now is for whoever has the terminal next */
		in.over |= ended;
	}
	if (tty.set)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &tty.t);
	(void)close(sfd);
	return code;
}
