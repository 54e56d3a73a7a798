// SPDX-License-Identifier: Apache-2.0
/* /.krun_vm.json: what an image says about the size of its guest. */
/*
 * How it works: the file is the image's, so nothing in it is believed. It is looked for in the root
 * without following a link, read when it is a regular file of a sensible size, and gives two
 * numbers, which count only where nobody else has said anything and are cut to what a container
 * without limits would get to use anyway. Nothing in it is an error of the container's: what is
 * wrong, and what an image has no say in, is a warning.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "oci/fsutil.h"
#include "oci/json.h"
#include "oci/spec.h"
#include "oci/spec_limits.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"
#include "util/util.h"

#define NAME ".krun_vm.json"
#define MIB  (1ULL << 20)

/* Its bytes; -ENOENT where there is none. Opened for reading only once it is known to be a file: to
 * open a device may do something. */
static int read_it(int rootfs_fd, char **text, size_t *len)
{
	CLEAN_FD int fd = open_in_root(rootfs_fd, NAME, O_PATH | O_NOFOLLOW);
	char path[32];
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return read_file_at(AT_FDCWD, path, SPEC_LIM_IMAGE_FILE, text, len);
}

/* A whole number above 0 that is there, cut to @max; else 0. */
static uint64_t number(const struct json *root, const char *key, uint64_t max)
{
	int64_t v = 0;

	if (!json_get(root, key))
		return 0;
	if (json_get_i64(root, key, &v) && v > 0)
		return MIN((uint64_t)v, max);
	log_warn("the image's /" NAME ": %s: not a number above 0", key);
	return 0;
}

void spec_image_size(struct spec *s, int rootfs_fd, unsigned host_cpus)
{
	static const char *const NOT[] = { "kernel_path", "kernel_format", "kernel_cmdline",
		"initrd_path", "gpu_flags", "nested_virt", "flavor" };
	CLEAN(json_freep) struct json_doc *doc = NULL;
	CLEAN_FREE char *text = NULL;
	const struct json *root;
	struct error why = { 0 };
	size_t len = 0;
	int r = read_it(rootfs_fd, &text, &len);

	if (r == -ENOENT)
		return;
	if (r)
		return log_warn("the image's /" NAME ": not looked at: %s", err_text(r));
	if (json_parse("/" NAME, text, len, &doc, &why))
		return log_warn("the image's file is not looked at: %s", why.msg);
	root = json_root(doc);
	s->image_cpus =
		(unsigned)number(root, "cpus", MIN(MAX(host_cpus, 1U), (unsigned)LIM_VCPUS));
	s->image_ram = number(root, "ram_mib", spec_host_ram() / 2 / MIB) * MIB;
	for (size_t i = 0; i < ARRAY_SIZE(NOT); i++) {
		if (json_get(root, NOT[i]))
			log_warn("the image's /" NAME ": %s: not an image's to choose", NOT[i]);
	}
}
