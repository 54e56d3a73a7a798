// SPDX-License-Identifier: Apache-2.0
/* File systems that the host's kernel mounts for a container: overlay, and those of a network. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci/mount_fs.h"
#include "oci/json_text.h"
#include "oci/spec_limits.h"
#include "util/cleanup.h"
#include "util/util.h"

#define VALUE_MAX 255 /* fsconfig(2) copies 256 bytes of a string */

bool mount_fs_type(const char *type)
{
	static const char *const TYPES[] = {
		"overlay",
		"nfs",
		"nfs4",
		"cifs",
		"smb3",
		"9p",
		"ceph",
		"virtiofs",
	};

	for (size_t i = 0; i < ARRAY_SIZE(TYPES); i++)
		if (!strcmp(type, TYPES[i]))
			return true;
	return false;
}

/* @value NULL: a word alone. */
static int set(int fs, const char *key, const char *value)
{
	unsigned cmd = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

	if (value && strlen(value) > VALUE_MAX)
		return -ENAMETOOLONG;
	return syscall(SYS_fsconfig, fs, cmd, key, value, 0) ? -errno : 0;
}

/* Flags of the file system as a whole. */
static int set_flags(int fs, unsigned long ms)
{
	static const struct {
		unsigned long ms;
		const char *word;
	} FLAGS[] = {
		{ MS_RDONLY, "ro" },
		{ MS_SYNCHRONOUS, "sync" },
		{ MS_DIRSYNC, "dirsync" },
		{ MS_LAZYTIME, "lazytime" },
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(FLAGS); i++)
		r = ms & FLAGS[i].ms ? set(fs, FLAGS[i].word, NULL) : 0;
	return r;
}

/* One of the words of the mount's data: the first @len bytes of @word. */
static int set_word(int fs, const char *word, size_t len, struct error *e, const char *where)
{
	char key[SPEC_LIM_MOUNT_DATA + 1];
	char *eq;
	int r;

	(void)snprintf(key, sizeof(key), "%.*s", (int)len, word);
	eq = strchr(key, '=');
	if (eq)
		*eq = 0;
	r = set(fs, key, eq ? eq + 1 : NULL);
	if (r == -ENAMETOOLONG)
		return err_set(e, ENAMETOOLONG,
			"config.json: %s.options: the value of %s is longer than %d bytes, which is what the kernel takes",
			where, QUOTE(key), VALUE_MAX);
	return r ? err_sys(e, r, "config.json: %s.options: %s", where, QUOTE(key)) : 0;
}

static int set_data(int fs, const char *data, struct error *e, const char *where)
{
	for (size_t n; *data; data += n + !!data[n]) {
		int r;

		n = strcspn(data, ",");
		r = n ? set_word(fs, data, n, e, where) : 0;
		if (r)
			return r;
	}
	return 0;
}

/* What the kernel says of a mount that failed, if it says something: "e overlay: ...". */
static const char *reason(int fs, char text[static 200])
{
	ssize_t n = read(fs, text, 199);

	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return n > 2 && text[1] == ' ' ? text + 2 : "";
}

int mount_fs_make(const struct spec *s, size_t i, struct error *e)
{
	const struct spec_mount *m = &s->mounts[i];
	CLEAN_FD int fs = (int)syscall(SYS_fsopen, m->type, FSOPEN_CLOEXEC);
	char where[32], text[200];
	int r = 0, mnt;

	(void)snprintf(where, sizeof(where), "mounts[%zu]", i);
	if (fs < 0)
		return err_sys(e, errno, "config.json: %s.type: %s", where, QUOTE(m->type));
	if (m->source)
		r = set(fs, "source", m->source);
	if (r)
		return err_sys(e, r, "config.json: %s.source: %s", where, QUOTE(m->source));
	r = set_flags(fs, m->set);
	if (r)
		return err_sys(e, r, "config.json: %s.options", where);
	r = set_data(fs, m->data, e, where);
	if (r)
		return r;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) {
		r = -errno;
		return err_sys(e, r, "config.json: %s: cannot mount %s %.180s", where,
			QUOTE(m->type), reason(fs, text));
	}
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	return mnt < 0
		? err_sys(e, errno, "config.json: %s: cannot mount %s", where, QUOTE(m->type))
		: mnt;
}
