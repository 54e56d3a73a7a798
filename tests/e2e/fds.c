// SPDX-License-Identifier: Apache-2.0
/* For a guest, what a program does with descriptors that it was given:
 *   fds serve N        takes N connections from descriptor 3 (LISTEN_FDS), answers each with the
 *                      number of bytes that came to their end, and ends
 *   fds count FD       reads descriptor FD to its end, writes the number of bytes there
 *   fds fill FD BYTES  writes so many bytes there and ends at once */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int count(int fd)
{
	char buf[65536], text[32];
	long all = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		all += n;
	if (n < 0)
		return 3;
	n = snprintf(text, sizeof(text), "%ld\n", all);
	return write(fd, text, (size_t)n) != n;
}

static int serve(int n)
{
	const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");

	if (!fds || atoi(fds) != 1 || !pid || atoi(pid) != getpid())
		return 4;
	while (n--) {
		int fd = accept(3, NULL, NULL);

		if (fd < 0 || count(fd))
			return 5;
		(void)close(fd);
	}
	return 0;
}

static int fill(int fd, long n)
{
	static char buf[1000];

	memset(buf, 'x', sizeof(buf));
	while (n > 0) {
		ssize_t k = write(fd, buf, n < (long)sizeof(buf) ? (size_t)n : sizeof(buf));

		if (k <= 0)
			return 6;
		n -= k;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]));
	if (argc == 3 && !strcmp(argv[1], "count"))
		return count(atoi(argv[2]));
	if (argc == 4 && !strcmp(argv[1], "fill"))
		return fill(atoi(argv[2]), atol(argv[3]));
	return 2;
}
