// SPDX-License-Identifier: Apache-2.0
/* For a guest: fs-many DIRECTORY COUNT opens files of it (made where there are none) until one
 * fails or COUNT are open, checks that those that are open work and that what needs no open file
 * does, closes all, and opens one more. Prints "enough" or the error's number, then "fine". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* As natively, where a process that may open no more can still do all of this. */
static int names_work(void)
{
	struct stat st;
	char b[8];

	return !stat("f0", &st) && !mkdir("many", 0755) && !rename("many", "more") &&
		!symlink("f0", "more/ln") && readlink("more/ln", b, sizeof(b)) == 2 &&
		!link("f0", "more/hard") && !mknod("more/fifo", S_IFIFO | 0600, 0) &&
		!chmod("more/hard", 0600) && !truncate("f0", 1) && !unlink("more/hard") &&
		!unlink("more/fifo") && !unlink("more/ln") && !rmdir("more");
}

int main(int argc, char **argv)
{
	struct rlimit l;
	int count = argc == 3 ? atoi(argv[2]) : 0, n = 0,
	    *fd = calloc((size_t)count + 1, sizeof(*fd));
	char name[64], c = 'x';

	if (!fd || count < 1 || chdir(argv[1]) || getrlimit(RLIMIT_NOFILE, &l))
		return 2;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l))
		return 2;
	for (; n < count; n++) {
		(void)snprintf(name, sizeof(name), "f%d", n);
		fd[n] = open(name, O_RDWR | O_CREAT, 0644);
		if (fd[n] < 0)
			break;
	}
	if (n == count)
		printf("enough\n");
	else
		printf("%d\n", errno);
	if (!names_work()) {
		printf("names: %d\n", errno);
		return 1;
	}
	for (int i = 0; i < n; i++)
		if (pwrite(fd[i], &c, 1, 0) != 1 || pread(fd[i], &c, 1, 0) != 1 || close(fd[i]))
			return 1;
	fd[0] = open("f0", O_RDONLY);
	if (fd[0] < 0 || pread(fd[0], &c, 1, 0) != 1)
		return 1;
	printf("fine\n");
	return 0;
}
