// SPDX-License-Identifier: Apache-2.0
/* For a guest: locker try|wait|posix FILE [COMMAND...] takes flock() and a POSIX lock of the file
 * ("posix": that alone, waiting), then runs COMMAND; 1 when they are taken. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int wait, posix, fd;

	if (argc < 3)
		return 2;
	posix = !strcmp(argv[1], "posix");
	wait = posix || !strcmp(argv[1], "wait");
	fd = open(argv[2], O_RDWR);
	if (fd < 0)
		return 2;
	if (!posix && flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0)
		return 1;
	/* Not the same lock as the one above. */
	if (fcntl(fd, wait ? F_SETLKW : F_SETLK, &l) < 0)
		return 1;
	if (argc == 3)
		return 0;
	(void)execvp(argv[3], argv + 3);
	return 2;
}
