// SPDX-License-Identifier: Apache-2.0
/* What a container manager does with a terminal: takes its master side at a --console-socket and
 * holds it. */
/*
 *   pty-host SOCKET    listens, and takes one terminal. Lines of stdin are commands: "size ROWS
 * COLS" sets the terminal's size, "type TEXT" types TEXT and Enter. What the terminal says goes to
 * stdout, until it ends.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int take_master(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room,
		.msg_controllen = sizeof(room) };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c, master;

	/* the name appears when somebody listens */
	snprintf(a.sun_path, sizeof(a.sun_path), "%s.new", path);
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 1) ||
		rename(a.sun_path, path))
		return -1;
	c = accept(s, NULL, NULL);
	if (c < 0 || recvmsg(c, &m, 0) < 0 || !CMSG_FIRSTHDR(&m))
		return -1;
	memcpy(&master, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(master));
	close(c);
	close(s);
	return master;
}

static bool obey(int master)
{
	struct winsize ws = { .ws_row = 0 };
	char line[256];

	if (!fgets(line, sizeof(line), stdin))
		return false;
	if (sscanf(line, "size %hu %hu", &ws.ws_row, &ws.ws_col) == 2)
		return !ioctl(master, TIOCSWINSZ, &ws) &&
			dprintf(STDOUT_FILENO, "size %d %d is set\n", ws.ws_row, ws.ws_col) > 0;
	return !strncmp(line, "type ", 5) &&
		write(master, line + 5, strlen(line + 5)) == (ssize_t)strlen(line + 5);
}

int main(int argc, char **argv)
{
	int master = argc == 2 ? take_master(argv[1]) : -1;
	struct pollfd p[2] = { { .fd = master, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN } };
	char buf[4096];

	if (master < 0) {
		perror("pty-host");
		return 1;
	}
	/* a command a read, so that poll() sees the next one */
	setvbuf(stdin, NULL, _IONBF, 0);
	while (poll(p, 2, -1) > 0) {
		if (p[0].revents) {
			ssize_t n = read(master, buf, sizeof(buf));

			/* an error: nobody has the other side any more */
			if (n <= 0)
				return 0;
			if (write(STDOUT_FILENO, buf, (size_t)n) != n)
				return 1;
		}
		if (p[1].revents && !obey(master))
			p[1].fd = -1;
	}
	return 1;
}
