// SPDX-License-Identifier: Apache-2.0
/* The file system that becomes the root, where it is not the share that main() has mounted. */
#include "agent.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What can only be read is mounted so, as the kernel does with a root of its own. */
static int try(const struct blob_view *s, const char *dir, const char *type, unsigned long flags)
{
	int err = sys_mount(s->root_source, dir, type, flags, s->root_data) ? errno : 0;

	if ((err == EACCES || err == EROFS) &&
		!sys_mount(s->root_source, dir, type, flags | K_MS_RDONLY, s->root_data))
		return 0;
	return -err;
}

/* All types for disks that the kernel has, in its order. What is said of the last but "it is none
 * of mine" is the error. */
static int try_all(const struct blob_view *s, const char *dir)
{
	char list[4096], *save = NULL;
	int fd = open("/proc/filesystems", O_RDONLY | O_CLOEXEC), r = -EINVAL, err;
	ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof(list) - 1);

	if (n < 0)
		r = -errno;
	if (fd >= 0)
		(void)close(fd);
	list[n < 0 ? 0 : n] = 0;
	for (char *t = strtok_r(list, "\n", &save); t; t = strtok_r(NULL, "\n", &save)) {
		if (*t != '\t')
			continue;
		err = try(s, dir, t + 1, K_MS_SILENT);
		if (!err)
			return 0;
		if (err != -EINVAL)
			r = err;
	}
	return r;
}

int root_mount(const struct blob_view *s, const char *dir, struct fail *f)
{
	bool all = !strcmp(s->root_type, "auto");
	int err = all ? try_all(s, dir) : try(s, dir, s->root_type, 0);
	char name[128];

	if (err == -EINVAL && all)
		return fail_set(
			f, err, "the root: no file system that this kernel knows", s->root_source);
	(void)snprintf(name, sizeof(name), "%.80s (%.32s)", s->root_source, s->root_type);
	return err ? fail_set(f, err, "mounting the root", name) : 0;
}
