// SPDX-License-Identifier: Apache-2.0
/* For a guest: mapped FILE MARK writes FILE through a shared mapping of a closed descriptor, makes
 * MARK, and stays. "mapped FILE" ends at once instead. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = argc < 2 ? -1 : open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);
	char *p;

	if (fd < 0 || ftruncate(fd, 8192))
		return 2;
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || close(fd))
		return 2;
	memset(p, 'm', 8192);
	if (argc == 2)
		return 0;
	fd = open(argv[2], O_WRONLY | O_CREAT, 0644);
	if (fd < 0)
		return 2;
	for (;;)
		(void)pause();
}
