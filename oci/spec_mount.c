// SPDX-License-Identifier: Apache-2.0
/* The `mounts` section: option words become flags, the rest becomes the file system's data. */
/*
 * How it works: one table maps every option word to one of a few actions. Words that no table knows
 * are data of the file system; tmpfs, devpts and cgroup, which the guest mounts from what we send
 * it, know a closed list, so that a typing error is an error and not a silent no-op. A bind mount
 * has no data: mount(2) passes over it, and so do we with a warning where it would be some file
 * system's.
 */
#include <linux/mount.h>
#include <string.h>

#include "oci/spec_read.h"

enum action {
	SET,
	CLEAR,
	BIND,
	RBIND,
	PROPAGATE,
	REC_SET,
	REC_CLEAR,
	IDMAP,
	RIDMAP,
	COPYUP,
	NOTHING,
};

static const struct option {
	const char *word;
	enum action action;
	unsigned long value;
} OPTIONS[] = {
	{ "defaults", NOTHING, 0 },
	{ "bind", BIND, 0 },
	{ "rbind", RBIND, 0 },
	{ "ro", SET, MS_RDONLY },
	{ "rw", CLEAR, MS_RDONLY },
	{ "nosuid", SET, MS_NOSUID },
	{ "suid", CLEAR, MS_NOSUID },
	{ "nodev", SET, MS_NODEV },
	{ "dev", CLEAR, MS_NODEV },
	{ "noexec", SET, MS_NOEXEC },
	{ "exec", CLEAR, MS_NOEXEC },
	{ "sync", SET, MS_SYNCHRONOUS },
	{ "async", CLEAR, MS_SYNCHRONOUS },
	{ "dirsync", SET, MS_DIRSYNC },
	{ "remount", SET, MS_REMOUNT },
	{ "mand", SET, MS_MANDLOCK },
	{ "nomand", CLEAR, MS_MANDLOCK },
	{ "noatime", SET, MS_NOATIME },
	{ "atime", CLEAR, MS_NOATIME },
	{ "nodiratime", SET, MS_NODIRATIME },
	{ "diratime", CLEAR, MS_NODIRATIME },
	{ "relatime", SET, MS_RELATIME },
	{ "norelatime", CLEAR, MS_RELATIME },
	{ "strictatime", SET, MS_STRICTATIME },
	{ "nostrictatime", CLEAR, MS_STRICTATIME },
	{ "nosymfollow", SET, MS_NOSYMFOLLOW },
	{ "symfollow", CLEAR, MS_NOSYMFOLLOW },
	{ "iversion", SET, MS_I_VERSION },
	{ "noiversion", CLEAR, MS_I_VERSION },
	{ "lazytime", SET, MS_LAZYTIME },
	{ "nolazytime", CLEAR, MS_LAZYTIME },
	{ "silent", SET, MS_SILENT },
	{ "loud", CLEAR, MS_SILENT },
	{ "shared", PROPAGATE, MS_SHARED },
	{ "rshared", PROPAGATE, MS_SHARED | MS_REC },
	{ "slave", PROPAGATE, MS_SLAVE },
	{ "rslave", PROPAGATE, MS_SLAVE | MS_REC },
	{ "private", PROPAGATE, MS_PRIVATE },
	{ "rprivate", PROPAGATE, MS_PRIVATE | MS_REC },
	{ "unbindable", PROPAGATE, MS_UNBINDABLE },
	{ "runbindable", PROPAGATE, MS_UNBINDABLE | MS_REC },
	{ "rro", REC_SET, MOUNT_ATTR_RDONLY },
	{ "rrw", REC_CLEAR, MOUNT_ATTR_RDONLY },
	{ "rnosuid", REC_SET, MOUNT_ATTR_NOSUID },
	{ "rsuid", REC_CLEAR, MOUNT_ATTR_NOSUID },
	{ "rnodev", REC_SET, MOUNT_ATTR_NODEV },
	{ "rdev", REC_CLEAR, MOUNT_ATTR_NODEV },
	{ "rnoexec", REC_SET, MOUNT_ATTR_NOEXEC },
	{ "rexec", REC_CLEAR, MOUNT_ATTR_NOEXEC },
	{ "rnodiratime", REC_SET, MOUNT_ATTR_NODIRATIME },
	{ "rdiratime", REC_CLEAR, MOUNT_ATTR_NODIRATIME },
	{ "rrelatime", REC_CLEAR, MOUNT_ATTR__ATIME },
	{ "rnorelatime", REC_SET, MOUNT_ATTR_STRICTATIME },
	{ "rnoatime", REC_SET, MOUNT_ATTR_NOATIME },
	{ "ratime", REC_CLEAR, MOUNT_ATTR_NOATIME },
	{ "rstrictatime", REC_SET, MOUNT_ATTR_STRICTATIME },
	{ "rnostrictatime", REC_CLEAR, MOUNT_ATTR_STRICTATIME },
	{ "rnosymfollow", REC_SET, MOUNT_ATTR_NOSYMFOLLOW },
	{ "rsymfollow", REC_CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
	{ "idmap", IDMAP, 0 },
	{ "ridmap", RIDMAP, 0 },
	{ "tmpcopyup", COPYUP, 0 },
};

const char *spec_mount_option(size_t i)
{
	return i < ARRAY_SIZE(OPTIONS) ? OPTIONS[i].word : NULL;
}

static const struct option *find_option(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(OPTIONS); i++)
		if (!strcmp(word, OPTIONS[i].word))
			return &OPTIONS[i];
	return NULL;
}

bool spec_propagation(const char *word, unsigned long *flags)
{
	const struct option *o = find_option(word);

	if (!o || o->action != PROPAGATE)
		return false;
	*flags = o->value;
	return true;
}

/* A later word overrides an earlier opposite one, as with mount(8). All times but one form one
 * choice. */
static void apply(struct spec_mount *m, const struct option *o, bool *bind)
{
	const unsigned long times = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;

	switch (o->action) {
	case SET:
		m->set = (m->set & ~(o->value & times ? times : 0)) | o->value;
		m->clear &= ~o->value;
		break;
	case CLEAR:
		m->set &= ~o->value;
		m->clear |= o->value;
		break;
	case BIND:
		*bind = true;
		break;
	case RBIND:
		*bind = m->recursive = true;
		break;
	case PROPAGATE:
		m->propagation = o->value;
		break;
	case REC_SET:
		/* To choose an access time mode, mount_setattr wants the old one cleared in the
		 * same call. */
		if (o->value & MOUNT_ATTR__ATIME) {
			m->rec_set &= ~(uint64_t)MOUNT_ATTR__ATIME;
			m->rec_clear |= MOUNT_ATTR__ATIME;
		} else {
			m->rec_clear &= ~(uint64_t)o->value;
		}
		m->rec_set |= o->value;
		break;
	case REC_CLEAR:
		m->rec_set &= ~(uint64_t)o->value;
		m->rec_clear |= o->value & MOUNT_ATTR__ATIME ? MOUNT_ATTR__ATIME : o->value;
		break;
	case IDMAP:
	case RIDMAP:
		m->idmap = m->idmap_option = true;
		m->idmap_recursive = o->action == RIDMAP;
		break;
	case COPYUP:
		m->tmpcopyup = true;
		break;
	case NOTHING:
		break;
	}
}

/* [0-9]+ with one of @units behind it, or none. */
static bool number_with(const char *s, const char *units)
{
	size_t n = strspn(s, "0123456789");

	if (!n || n > 19)
		return false;
	s += n;
	return !*s || (strchr(units, *s) && !s[1]);
}

static bool octal(const char *s)
{
	size_t n = strspn(s, "01234567");

	return n && n <= 5 && !s[n];
}

enum data_type {
	D_SIZE,
	D_COUNT,
	D_MODE,
	D_ID,
	D_WORD, /* any value */
	D_FLAG, /* no value */
};

struct data_key {
	const char *key;
	enum data_type type;
};

static const struct data_key TMPFS_DATA[] = {
	{ "size", D_SIZE },
	{ "nr_blocks", D_COUNT },
	{ "nr_inodes", D_COUNT },
	{ "mode", D_MODE },
	{ "uid", D_ID },
	{ "gid", D_ID },
	{ "huge", D_WORD },
	{ "mpol", D_WORD },
	{ "noswap", D_FLAG },
	{ "inode32", D_FLAG },
	{ "inode64", D_FLAG },
};

static const struct data_key DEVPTS_DATA[] = {
	{ "newinstance", D_FLAG },
	{ "mode", D_MODE },
	{ "ptmxmode", D_MODE },
	{ "uid", D_ID },
	{ "gid", D_ID },
	{ "max", D_COUNT },
};

/* Of the whole hierarchy: from inside of a cgroup namespace the kernel takes and ignores them. */
static const struct data_key CGROUP_DATA[] = {
	{ "nsdelegate", D_FLAG },
	{ "favordynmods", D_FLAG },
	{ "nofavordynmods", D_FLAG },
	{ "memory_localevents", D_FLAG },
	{ "memory_recursiveprot", D_FLAG },
};

static bool data_ok(const char *value, enum data_type t)
{
	if (t == D_FLAG)
		return !value;
	if (!value || !*value)
		return false;
	switch (t) {
	case D_SIZE:
		return number_with(value, "kKmMgG%");
	case D_COUNT:
		return number_with(value, "kKmMgG");
	case D_MODE:
		return octal(value);
	case D_ID:
		return number_with(value, "") && strlen(value) <= 10;
	default:
		return true;
	}
}

static const struct data_key *find_key(const struct data_key *t, size_t count, const char *word)
{
	size_t len = strcspn(word, "=");

	for (size_t i = 0; i < count; i++)
		if (strlen(t[i].key) == len && !strncmp(t[i].key, word, len))
			return &t[i];
	return NULL;
}

/* The kernel splits data at commas and gives no hint which word it disliked, so look first. */
static bool check_data(struct rd *p, const struct json *n, const struct data_key *t, size_t count,
	const char *type)
{
	const struct data_key *k = find_key(t, count, n->text);
	const char *value = strchr(n->text, '=');

	if (!k)
		return rd_fail(p, n, NULL, "unknown option %s for %s", QUOTE(n->text), type);
	if (!data_ok(value ? value + 1 : NULL, k->type))
		return rd_fail(p, n, NULL, "bad value in %s", QUOTE(n->text));
	return true;
}

static bool some_file_systems(const char *word)
{
	return find_key(TMPFS_DATA, ARRAY_SIZE(TMPFS_DATA), word) ||
		find_key(DEVPTS_DATA, ARRAY_SIZE(DEVPTS_DATA), word) ||
		find_key(CGROUP_DATA, ARRAY_SIZE(CGROUP_DATA), word);
}

/* Whether it belongs to the data. */
static bool data_word(struct rd *p, const struct json *n, const struct spec_mount *m)
{
	/* what another kernel is to understand may come as it is written for mount(2) */
	if (!n->len || (m->kind != SPEC_MNT_OTHER && strchr(n->text, ',')))
		return rd_fail(p, n, NULL, "%s is not one option", QUOTE(n->text));
	switch (m->kind) {
	case SPEC_MNT_BIND:
		if (some_file_systems(n->text)) {
			rd_warn(p, n, NULL, "%s means nothing for a bind mount", QUOTE(n->text));
			return false;
		}
		return rd_fail(p, n, NULL, "unknown option %s for a bind mount", QUOTE(n->text));
	case SPEC_MNT_TMPFS:
		return check_data(p, n, TMPFS_DATA, ARRAY_SIZE(TMPFS_DATA), "tmpfs");
	case SPEC_MNT_DEVPTS:
		return check_data(p, n, DEVPTS_DATA, ARRAY_SIZE(DEVPTS_DATA), "devpts");
	case SPEC_MNT_CGROUP:
		return check_data(p, n, CGROUP_DATA, ARRAY_SIZE(CGROUP_DATA), m->type);
	case SPEC_MNT_SYSFS:
	case SPEC_MNT_MQUEUE:
		return rd_fail(p, n, NULL, "unknown option %s for %s", QUOTE(n->text), m->type);
	default:
		return true;
	}
}

static void read_data(struct rd *p, const struct json *list, struct spec_mount *m)
{
	char *data = rd_alloc(p, SPEC_LIM_MOUNT_DATA + 1, 1);
	const struct json *n;
	size_t len = 0;

	m->data = data;
	if (!list || !data)
		return;
	json_for_each(n, list)
	{
		if (find_option(n->text))
			continue;
		if (!data_word(p, n, m)) {
			if (p->err)
				return;
			continue;
		}
		if (len + n->len + 1 > SPEC_LIM_MOUNT_DATA) {
			rd_fail(p, list, NULL, "more than %d bytes of options",
				SPEC_LIM_MOUNT_DATA);
			return;
		}
		if (len)
			data[len++] = ',';
		memcpy(data + len, n->text, n->len);
		len += n->len;
	}
	m->data = rd_dup(p, data);
}

static enum spec_mount_kind kind_of(const char *type)
{
	static const struct rd_name KINDS[] = {
		{ "tmpfs", SPEC_MNT_TMPFS },
		{ "proc", SPEC_MNT_PROC },
		{ "sysfs", SPEC_MNT_SYSFS },
		{ "devpts", SPEC_MNT_DEVPTS },
		{ "mqueue", SPEC_MNT_MQUEUE },
		{ "cgroup", SPEC_MNT_CGROUP },
		{ "cgroup2", SPEC_MNT_CGROUP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++)
		if (!strcmp(type, KINDS[i].name))
			return (enum spec_mount_kind)KINDS[i].value;
	return SPEC_MNT_OTHER;
}

/* Managers bind the host's own kernel file systems where a namespace is shared; the guest has its
 * own. */
static void host_kernel_fs(struct spec_mount *m)
{
	static const struct {
		const char *path;
		enum spec_mount_kind kind;
	} SAME[] = {
		{ "/proc", SPEC_MNT_PROC },
		{ "/sys", SPEC_MNT_SYSFS },
		{ "/dev/pts", SPEC_MNT_DEVPTS },
		{ "/dev/mqueue", SPEC_MNT_MQUEUE },
		{ "/sys/fs/cgroup", SPEC_MNT_CGROUP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(SAME); i++)
		if (!strcmp(m->destination, SAME[i].path) && !strcmp(m->source, SAME[i].path)) {
			m->kind = SAME[i].kind;
			m->from_host = true;
		}
}

static void read_destination(struct rd *p, const struct json *n, struct spec_mount *m)
{
	const char *given = rd_need_string(p, n, "destination");

	if (!given)
		return;
	if (strlen(given) > SPEC_LIM_PATH) {
		rd_fail(p, n, "destination", "the path is longer than %d bytes", SPEC_LIM_PATH);
		return;
	}
	if (given[0] != '/')
		rd_warn(p, n, "destination", "%s is relative and taken from the root",
			QUOTE(given));
	m->destination = rd_clean(p, given);
	if (m->destination && !m->destination[1])
		rd_fail(p, n, "destination", "would cover the root of the container");
}

static void read_mount(struct rd *p, const struct json *n, struct spec_mount *m)
{
	const struct json *list = rd_array(p, n, "options", SPEC_LIM_OPTIONS, JSON_STRING), *o;
	bool bind;

	m->data = "";
	read_destination(p, n, m);
	m->type = rd_string(p, n, "type");
	m->source = rd_string(p, n, "source");
	rd_strings(p, n, "options", SPEC_LIM_OPTIONS, &m->options);
	spec_read_id_maps(p, n, "uidMappings", &m->uid_maps);
	spec_read_id_maps(p, n, "gidMappings", &m->gid_maps);
	if (p->err)
		return;
	bind = m->type && !strcmp(m->type, "bind");
	if (list)
		json_for_each(o, list)
		{
			const struct option *known = find_option(o->text);

			if (known)
				apply(m, known, &bind);
		}
	if (!bind && (!m->type || !m->type[0])) {
		rd_fail(p, n, "type", "missing");
		return;
	}
	if (bind && (!m->source || !m->source[0])) {
		rd_fail(p, n, "source", "missing, a bind mount needs one");
		return;
	}
	if (m->source && strlen(m->source) > SPEC_LIM_PATH)
		rd_fail(p, n, "source", "the path is longer than %d bytes", SPEC_LIM_PATH);
	if (!m->uid_maps.n != !m->gid_maps.n)
		rd_fail(p, n, m->uid_maps.n ? "gidMappings" : "uidMappings",
			"missing, user and group mappings go together");
	m->idmap = m->idmap || m->uid_maps.n;
	m->kind = bind ? SPEC_MNT_BIND : kind_of(m->type);
	if (m->tmpcopyup && m->kind != SPEC_MNT_TMPFS)
		rd_fail(p, n, "options", "tmpcopyup belongs to tmpfs");
	read_data(p, list, m);
	if (bind && !p->err)
		host_kernel_fs(m);
}

void spec_read_mounts(struct rd *p, const struct json *root)
{
	const struct json *a = rd_array(p, root, "mounts", SPEC_LIM_MOUNTS, JSON_OBJECT), *n;
	struct spec *s = p->s;

	if (!a)
		return;
	s->mounts = rd_alloc(p, a->n, sizeof(*s->mounts));
	json_for_each(n, a)
	{
		if (p->err)
			return;
		read_mount(p, n, &s->mounts[s->n_mounts++]);
	}
}
