// SPDX-License-Identifier: Apache-2.0
/* The terminal on the host's side. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "oci/console.h"
#include "util/cleanup.h"

static int set_size(int master, const struct spec_process *p, int like)
{
	struct winsize ws = { .ws_row = p->rows, .ws_col = p->cols };

	if (!ws.ws_row && !ws.ws_col && (like < 0 || ioctl(like, TIOCGWINSZ, &ws)))
		return 0;
	return ioctl(master, TIOCSWINSZ, &ws) ? -errno : 0;
}

static int make_raw(int slave)
{
	struct termios t;

	if (tcgetattr(slave, &t))
		return -errno;
	cfmakeraw(&t);
	return tcsetattr(slave, TCSANOW, &t) ? -errno : 0;
}

int console_open(const struct spec_process *p, int like, int *master, int *slave, struct error *e)
{
	CLEAN_FD int m = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	CLEAN_FD int s = -1;
	int zero = 0, r;

	if (m < 0 || ioctl(m, TIOCSPTLCK, &zero))
		return err_sys(e, errno, "cannot make a terminal (/dev/ptmx)");
	/* by descriptor: which directory the ptys are mounted on does not matter */
	s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s < 0)
		return err_sys(e, errno, "cannot open the terminal's other side");
	r = make_raw(s);
	if (!r)
		r = set_size(m, p, like);
	if (r)
		return err_sys(e, r, "cannot set up the terminal");
	*master = TAKE_FD(m);
	*slave = TAKE_FD(s);
	return 0;
}

int socket_send_fd(const char *flag, const char *path, const char *text, int send, struct error *e)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} c = { .buf = { 0 } };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = c.buf,
		.msg_controllen = sizeof(c.buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, ENAMETOOLONG, "%s: \"%.120s\" is longer than a socket's address",
			flag, path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return err_sys(e, errno, "%s: \"%.120s\"", flag, path);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	(void)memcpy(CMSG_DATA(h), &send, sizeof(int));
	if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)iov.iov_len)
		return err_sys(e, errno, "%s: cannot send to \"%.100s\"", flag, path);
	return 0;
}

int console_take(int slave, struct error *e)
{
	if (ioctl(slave, TIOCSCTTY, 0))
		return err_sys(e, errno, "cannot take the terminal");
	return 0;
}
