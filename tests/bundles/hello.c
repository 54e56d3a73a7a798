// SPDX-License-Identifier: Apache-2.0
// The one file of the `static` bundle: shows what a program sees in a root that has nothing else.
/*
 *   /hello               prints "hello", its arguments, and what lies in /; exit 0
 *   /hello exit N        exits with N
 *   /hello cat           copies stdin to stdout until its end
 *   /hello err TEXT      writes TEXT to stderr
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int copy(void)
{
	static char buf[65536];
	ssize_t n;

	while ((n = read(0, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0, done; at < n; at += done) {
			done = write(1, buf + at, (size_t)(n - at));
			if (done < 0)
				return 1;
		}
	return n < 0;
}

int main(int argc, char **argv)
{
	struct dirent *e;
	DIR *dir;

	if (argc > 2 && !strcmp(argv[1], "exit"))
		return atoi(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "err"))
		return fprintf(stderr, "%s\n", argv[2]) < 0;
	if (argc > 1 && !strcmp(argv[1], "cat"))
		return copy();
	printf("hello from pid %d\n", (int)getpid());
	for (int i = 1; i < argc; i++)
		printf("argument %s\n", argv[i]);
	dir = opendir("/");
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			printf("/%s\n", e->d_name);
	return fflush(stdout) != 0;
}
