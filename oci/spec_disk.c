// SPDX-License-Identifier: Apache-2.0
/* The annotations krun-oci.disk.N: disks of the guest's beside the container's tree. */
/*
 * How it works
 *
 * krun-oci.disk.0 to .7 name images, krun-oci.disk.N.options says how: a list of words, each at
 * most once. A number that is left out would shift the names that the guest gives the others, so
 * it is an error; so is a name that nobody reads.
 *
 * A bundle's files may be the image's, which is why no symlink is followed below it and nothing but
 * a regular file is opened: what is opened here is written to with the caller's rights, and a
 * device node out of an image's layers would be the host's device. An absolute path is the caller's
 * own choice.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci/spec_disk.h"
#include "oci/spec_read.h"
#include "util/cleanup.h"
#include "util/err.h"

#define PREFIX	"krun-oci.disk."
#define OPTIONS ".options"
#define KEY_MAX (sizeof(PREFIX) + sizeof(OPTIONS) + 1)

_Static_assert(VMM_MAX_DISKS <= 10, "a disk's number is one digit");

static const char *disk_key(char key[KEY_MAX], unsigned i, const char *rest)
{
	(void)snprintf(key, KEY_MAX, PREFIX "%c%.8s", (char)('0' + i % 10), rest);
	return key;
}

unsigned spec_disk_count(const struct spec *s)
{
	char key[KEY_MAX];
	unsigned n = 0;

	while (n < VMM_MAX_DISKS && spec_annotation(s, disk_key(key, n, "")))
		n++;
	return n;
}

/* One of the names that are read, for a disk that is there. */
static bool known(const char *key, unsigned count)
{
	const char *p = key + strlen(PREFIX);

	return *p >= '0' && *p < '0' + (int)count && (!p[1] || !strcmp(p + 1, OPTIONS));
}

static int check_names(const struct spec *s, unsigned count, struct error *e)
{
	for (size_t i = 0; i < s->n_annotations; i++) {
		const char *key = s->annotations[i].key;

		if (!strncmp(key, PREFIX, strlen(PREFIX)) && !known(key, count))
			return err_set(e, EINVAL,
				"config.json: annotations[%s]: there is no such one: disks are numbered from 0, "
				"without a gap, to %u at most",
				QUOTE(key), VMM_MAX_DISKS - 1);
	}
	return 0;
}

/* Sets what word @w of length @n says; false: nothing does. */
static bool option(struct vmm_disk *d, const char *w, size_t n, unsigned *seen)
{
	static const char *const WORDS[] = { "ro", "direct", "threads", "format=raw",
		"format=qcow2", "sync=full", "sync=none" };
	/* words that say the same thing */
	static const unsigned GROUP[] = { 1, 2, 4, 8, 8, 16, 16 };
	unsigned i = 0;

	while (i < ARRAY_SIZE(WORDS) && (strlen(WORDS[i]) != n || strncmp(WORDS[i], w, n) != 0))
		i++;
	if (i == ARRAY_SIZE(WORDS) || (*seen & GROUP[i]))
		return false;
	*seen |= GROUP[i];
	d->readonly = d->readonly || i == 0;
	d->direct = d->direct || i == 1;
	d->threads = d->threads || i == 2;
	if (i == 4)
		d->format = VMM_DISK_QCOW2;
	if (i == 6)
		d->sync = VMM_DISK_SYNC_NONE;
	return true;
}

static int options(const struct spec *s, unsigned i, struct vmm_disk *d, struct error *e)
{
	char key[KEY_MAX];
	const char *p = spec_annotation(s, disk_key(key, i, OPTIONS));
	unsigned seen = 0;

	*d = (struct vmm_disk){ .fd = -1, .sync = VMM_DISK_SYNC_FULL };
	(void)snprintf(d->serial, sizeof(d->serial), "disk%u", i);
	while (p) {
		size_t n = strcspn(p, ",");

		if (!option(d, p, n, &seen))
			return err_set(e, EINVAL,
				"config.json: annotations[\"%s\"]: %s is no list of ro, direct, threads, "
				"format=raw, format=qcow2, sync=full, sync=none, each thing once",
				key, QUOTE(p));
		p = p[n] ? p + n + 1 : NULL;
	}
	return 0;
}

/* A file of the bundle's, looked at before it is opened: to open a device is an act already. */
static int open_below(int bundle_fd, const char *path, int flags)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	CLEAN_FD int at = (int)syscall(SYS_openat2, bundle_fd, path, &how, sizeof(how));
	struct stat st;
	char self[48];
	int fd;

	if (at < 0 || fstat(at, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOTBLK;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", at);
	fd = open(self, flags);
	return fd < 0 ? -errno : fd;
}

static int open_absolute(const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)flags, .resolve = RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

static int open_image(
	const struct spec *s, unsigned i, int bundle_fd, struct vmm_disk *d, struct error *e)
{
	char key[KEY_MAX];
	const char *path = spec_annotation(s, disk_key(key, i, ""));
	/* a pipe without a writer would be waited for */
	int flags = (d->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

	d->fd = *path == '/' ? open_absolute(path, flags) : open_below(bundle_fd, path, flags);
	if (d->fd == -ENOTBLK)
		return err_set(e, EINVAL,
			"config.json: annotations[\"%s\"]: %s is no regular file; a block device needs an absolute path",
			key, QUOTE(path));
	return d->fd < 0
		? err_sys(e, d->fd, "config.json: annotations[\"%s\"]: %s", key, QUOTE(path))
		: 0;
}

int spec_disks(const struct spec *s, int bundle_fd, struct vmm_disk out[VMM_MAX_DISKS], unsigned *n,
	struct error *e)
{
	unsigned count = spec_disk_count(s);
	int r = check_names(s, count, e);

	*n = 0;
	for (unsigned i = 0; !r && i < count; i++) {
		char key[KEY_MAX];

		r = options(s, i, &out[i], e);
		if (!r && !*spec_annotation(s, disk_key(key, i, "")))
			r = err_set(e, EINVAL, "config.json: annotations[\"%s\"]: no path", key);
		if (!r && bundle_fd >= 0)
			r = open_image(s, i, bundle_fd, &out[i], e);
		*n = i + !r;
	}
	for (unsigned i = 0; r && i < *n; i++) {
		if (out[i].fd >= 0)
			(void)close(TAKE_FD(out[i].fd));
	}
	return r;
}
