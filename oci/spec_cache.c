// SPDX-License-Identifier: Apache-2.0
/* The annotation krun-oci.virtiofs.cache: how the guest caches the files of the root and of binds.
 */
/*
 * How it works
 *
 * The value is a list, separated by commas, of MODE or DESTINATION=MODE. A mode alone is for the
 * root and for every mount that is not named; a destination is that of a bind in mounts[], letter
 * for letter. A server knows mounts by their number, so the destinations are looked up, in the
 * finished tree, once that exists.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/mounts.h"
#include "oci/spec.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"
#include "vmm.h"

#define KEY "krun-oci.virtiofs.cache"

static int mode_of(const char *s, size_t n, enum vmm_fs_cache *out)
{
	static const struct {
		const char *word;
		enum vmm_fs_cache cache;
	} modes[] = {
		{ "auto", VMM_FS_CACHE_AUTO },
		{ "always", VMM_FS_CACHE_ALWAYS },
		{ "none", VMM_FS_CACHE_NONE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strlen(modes[i].word) == n && !memcmp(s, modes[i].word, n)) {
			*out = modes[i].cache;
			return 0;
		}
	return -EINVAL;
}

static bool is_bind(const struct spec *s, const char *dest)
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (!mount_is_guests(&s->mounts[i]) && !strcmp(s->mounts[i].destination, dest))
			return true;
	return false;
}

/* One entry of @n bytes; @root_fd -1: only looked at. */
static int rule(const struct spec *s, int root_fd, const char *at, size_t n, struct vmm_fs *f,
	struct error *e)
{
	const char *eq = memrchr(at, '=', n);
	enum vmm_fs_cache cache;
	char dest[PATH_MAX];
	struct statx sx;
	size_t len = eq ? (size_t)(eq - at) : 0;

	if (mode_of(eq ? eq + 1 : at, eq ? n - len - 1 : n, &cache))
		return err_set(e, EINVAL,
			"config.json: annotations[\"" KEY
			"\"]: %.*s has none of auto, always, none",
			(int)MIN(n, (size_t)80), at);
	if (!eq) {
		f->cache = cache;
		return 0;
	}
	if (len >= sizeof(dest) || f->nat == VMM_MAX_FS_AT)
		return err_set(e, E2BIG, "config.json: annotations[\"" KEY "\"]: too long");
	memcpy(dest, at, len);
	dest[len] = 0;
	if (!is_bind(s, dest))
		return err_set(e, EINVAL,
			"config.json: annotations[\"" KEY
			"\"]: %s is the destination of no bind mount",
			dest);
	if (root_fd >= 0) {
		CLEAN_FD int fd = open_in_root(root_fd, dest, O_PATH);

		if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) < 0)
			return err_sys(e, fd < 0 ? fd : errno, "mount at %s", dest);
		f->at[f->nat].mnt_id = sx.stx_mnt_id;
	}
	f->at[f->nat++].cache = cache;
	return 0;
}

int spec_cache_rules(const struct spec *s, int root_fd, struct vmm_fs *f, struct error *e)
{
	const char *at = spec_annotation(s, KEY);
	int r = 0;

	f->cache = VMM_FS_CACHE_AUTO;
	f->nat = 0;
	f->drop_idle = s->linux_.rootfs_propagation & MS_SLAVE;
	for (size_t i = 0; i < s->n_mounts; i++)
		f->drop_idle |=
			!mount_is_guests(&s->mounts[i]) && (s->mounts[i].propagation & MS_SLAVE);
	while (at && !r) {
		size_t n = strcspn(at, ",");

		r = rule(s, root_fd, at, n, f, e);
		at = at[n] ? at + n + 1 : NULL;
	}
	return r;
}
