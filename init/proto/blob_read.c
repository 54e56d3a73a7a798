// SPDX-License-Identifier: Apache-2.0
/* Reads the flat description of a container or process, trusting nothing in it. */

/*
 * How it works
 *
 * First pass: every record is held against the table below (place, length, number and length of
 * strings, zero padding) and counted. One allocation then takes all the arrays. Second pass:
 * pointers and copies go in, and the values are checked. What the second pass reads, the first has
 * proven to be there.
 */
#include "blob.h"
#include "blob_tags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define C  (1u << BLOB_CREATE)
#define CE (C | 1u << BLOB_EXEC)
#define CU (C | 1u << BLOB_UPDATE)
#define E  (1u << BLOB_EXEC)

static const struct blob_tag_info tags[BLOB_TAGS] = {
	[BLOB_T_PROCESS] = { CE, sizeof(struct blob_process), 0, 0, 1, 0 },
	[BLOB_T_ARG] = { CE, 0, 1, 0, BLOB_MAX_ARGS, BLOB_MAX_STR },
	[BLOB_T_ENV] = { CE, 0, 1, 0, BLOB_MAX_ENV, BLOB_MAX_STR },
	[BLOB_T_CWD] = { CE, 0, 1, 0, 1, BLOB_MAX_PATH },
	[BLOB_T_GIDS] = { CE, 0, 0, 4, 1, BLOB_MAX_GIDS },
	[BLOB_T_RLIMIT] = { CE, sizeof(struct blob_rlimit), 0, 0, BLOB_MAX_RLIMITS, 0 },
	[BLOB_T_SECCOMP] = { CE, sizeof(struct blob_seccomp), 0, 8, 1, BLOB_MAX_BPF },
	[BLOB_T_FD] = { CE, sizeof(struct blob_fd), 0, 0, PROTO_MORE_MAX, 0 },
	[BLOB_T_IN_CGROUP] = { E, 0, 1, 0, 1, BLOB_MAX_PATH },
	[BLOB_T_CONTAINER] = { C, sizeof(struct blob_container), 0, 0, 1, 0 },
	[BLOB_T_ROOT] = { C, 0, 3, 0, 1, BLOB_MAX_PATH },
	[BLOB_T_HOSTNAME] = { C, 0, 1, 0, 1, 65 },
	[BLOB_T_DOMAINNAME] = { C, 0, 1, 0, 1, 65 },
	[BLOB_T_MOUNT] = { C, sizeof(struct blob_mount), 4, 0, BLOB_MAX_MOUNTS, BLOB_MAX_PATH },
	[BLOB_T_MASKED] = { C, 0, 1, 0, BLOB_MAX_PATHS, BLOB_MAX_PATH },
	[BLOB_T_READONLY] = { C, 0, 1, 0, BLOB_MAX_PATHS, BLOB_MAX_PATH },
	[BLOB_T_DEVICE] = { C, sizeof(struct blob_device), 1, 0, BLOB_MAX_DEVICES, BLOB_MAX_PATH },
	[BLOB_T_SYSCTL] = { C, 0, 2, 0, BLOB_MAX_SYSCTLS, BLOB_MAX_PATH },
	[BLOB_T_TIMEOFF] = { C, sizeof(struct blob_timeoff), 0, 0, BLOB_MAX_TIMEOFFS, 0 },
	[BLOB_T_HOOK] = { C, sizeof(struct blob_hook), 1, 0, BLOB_MAX_HOOKS, BLOB_MAX_PATH },
	[BLOB_T_HOOK_ARG] = { C, 0, 1, 0, BLOB_MAX_ARGS, BLOB_MAX_STR },
	[BLOB_T_HOOK_ENV] = { C, 0, 1, 0, BLOB_MAX_ENV, BLOB_MAX_STR },
	[BLOB_T_HOOK_STATE] = { C, 0, 1, 0, 1, BLOB_MAX_STR },
	[BLOB_T_NOTIFY] = { C, 0, 1, 0, 1, BLOB_MAX_PATH },
	[BLOB_T_CGROUP] = { CU, 0, 2, 0, BLOB_MAX_CGROUP, BLOB_MAX_PATH },
};

const struct blob_tag_info *blob_tag_info(uint16_t tag)
{
	return tag < BLOB_TAGS && tags[tag].max ? &tags[tag] : NULL;
}

struct rd {
	const uint8_t *p;
	size_t len;
	size_t off;
	uint32_t counts[BLOB_TAGS];
	size_t used[BLOB_TAGS];
	const char *why;
};

static int bad(struct rd *r, const char *why)
{
	r->why = why;
	return -EPROTO;
}

/* The record at r->off, which moves behind it; *@payload has rec->len bytes. */
static int next_record(struct rd *r, struct blob_rec *rec, const uint8_t **payload)
{
	size_t padded;

	if (r->len - r->off < sizeof(*rec))
		return bad(r, "a record header is cut off");
	memcpy(rec, r->p + r->off, sizeof(*rec));
	r->off += sizeof(*rec);
	padded = ((size_t)rec->len + 7) & ~(size_t)7;
	if (padded > r->len - r->off)
		return bad(r, "a record is cut off");
	*payload = r->p + r->off;
	r->off += padded;
	if (rec->reserved)
		return bad(r, "a reserved field of a record is set");
	for (size_t i = rec->len; i < padded; i++) {
		if ((*payload)[i])
			return bad(r, "the padding of a record is not zero");
	}
	return 0;
}

/* Lengths: the fixed part, then nstr strings or whole array elements, and nothing behind. */
static int check_shape(
	struct rd *r, const struct blob_tag_info *ti, const struct blob_rec *rec, const uint8_t *p)
{
	size_t left = rec->len;

	if (left < ti->fixed)
		return bad(r, "a record is too short");
	p += ti->fixed;
	left -= ti->fixed;
	if (ti->array) {
		if (!left || left % ti->array || left / ti->array > ti->str_max)
			return bad(r, "an array has a wrong length");
		return 0;
	}
	for (unsigned i = 0; i < ti->nstr; i++) {
		const uint8_t *nul = memchr(p, 0, left < ti->str_max ? left : ti->str_max);
		size_t n;

		if (!nul)
			return bad(r, "a string is too long or not terminated");
		n = (size_t)(nul - p) + 1;
		p += n;
		left -= n;
	}
	return left ? bad(r, "a record is too long") : 0;
}

static int count_all(struct rd *r, uint32_t count, uint16_t kind)
{
	const struct blob_tag_info *ti;
	struct blob_rec rec;
	const uint8_t *p;
	int err;

	for (uint32_t i = 0; i < count; i++) {
		err = next_record(r, &rec, &p);
		if (err)
			return err;
		ti = blob_tag_info(rec.tag);
		if (!ti || !(ti->kinds & 1u << kind))
			return bad(r, "an unknown record, or one that does not belong here");
		err = check_shape(r, ti, &rec, p);
		if (err)
			return err;
		if (++r->counts[rec.tag] > ti->max)
			return bad(r, "too many records of one kind");
	}
	if (r->off != r->len)
		return bad(r, "bytes follow the last record");
	if (kind != BLOB_UPDATE && (!r->counts[BLOB_T_PROCESS] || !r->counts[BLOB_T_ARG]))
		return bad(r, "no process or no arguments");
	if (kind == BLOB_CREATE && !r->counts[BLOB_T_CONTAINER])
		return bad(r, "no container");
	return 0;
}

/* One allocation for every array; the elements that need alignment of 8 come first, and all of them
 * do. */
static int make_arrays(struct rd *r, struct blob_view *s)
{
	struct {
		void *slot;
		size_t n, size;
	} a[] = {
		{ &s->args, r->counts[BLOB_T_ARG] + 1, sizeof(char *) },
		{ &s->env, r->counts[BLOB_T_ENV] + 1, sizeof(char *) },
		{ &s->rlimits, r->counts[BLOB_T_RLIMIT], sizeof(*s->rlimits) },
		{ &s->fds, r->counts[BLOB_T_FD], sizeof(*s->fds) },
		{ &s->mounts, r->counts[BLOB_T_MOUNT], sizeof(*s->mounts) },
		{ &s->masked, r->counts[BLOB_T_MASKED], sizeof(char *) },
		{ &s->readonly, r->counts[BLOB_T_READONLY], sizeof(char *) },
		{ &s->devices, r->counts[BLOB_T_DEVICE], sizeof(*s->devices) },
		{ &s->sysctls, r->counts[BLOB_T_SYSCTL], sizeof(*s->sysctls) },
		{ &s->cgroup, r->counts[BLOB_T_CGROUP], sizeof(*s->cgroup) },
		{ &s->timeoffs, r->counts[BLOB_T_TIMEOFF], sizeof(*s->timeoffs) },
		{ &s->hooks, r->counts[BLOB_T_HOOK], sizeof(*s->hooks) },
		{ &s->hook_strs,
			(size_t)r->counts[BLOB_T_HOOK_ARG] + r->counts[BLOB_T_HOOK_ENV] +
				(size_t)2 * r->counts[BLOB_T_HOOK],
			sizeof(char *) },
	};
	size_t total = 0;
	uint8_t *mem;

	for (size_t i = 0; i < sizeof(a) / sizeof(a[0]); i++)
		total += (a[i].n * a[i].size + 7) & ~(size_t)7;
	mem = calloc(1, total);
	if (!mem)
		return -ENOMEM;
	s->mem = mem;
	for (size_t i = 0; i < sizeof(a) / sizeof(a[0]); i++) {
		memcpy(a[i].slot, &mem, sizeof(mem));
		mem += (a[i].n * a[i].size + 7) & ~(size_t)7;
	}
	return 0;
}

static int check_process(struct rd *r, const struct blob_process *p)
{
	if (p->flags & ~BLOB_P_ALL || p->stdio & ~0xfu)
		return bad(r, "unknown flags of the process");
	if (p->stdio & BLOB_STDIO(PROTO_TTY) && p->stdio != BLOB_STDIO(PROTO_TTY))
		return bad(r, "a terminal beside other streams");
	if (p->umask & ~0777u || p->oom_score_adj < -1000 || p->oom_score_adj > 1000)
		return bad(r, "umask or oom_score_adj out of range");
	if (p->uid == UINT32_MAX || p->gid == UINT32_MAX)
		return bad(r, "uid or gid out of range");
	return 0;
}

static int check_propagation(uint32_t v)
{
	v &= ~(uint32_t)MS_REC;
	return !v || v == MS_SHARED || v == MS_SLAVE || v == MS_PRIVATE || v == MS_UNBINDABLE;
}

static int check_mount(struct rd *r, const struct blob_view_mount *m)
{
	if ((m->m.kind != BLOB_M_FS && m->m.kind != BLOB_M_BIND) || m->m.flags & ~BLOB_M_ALL ||
		m->m.reserved)
		return bad(r, "unknown kind or flags of a mount");
	if (!check_propagation(m->m.propagation))
		return bad(r, "wrong propagation of a mount");
	if (m->dest[0] != '/' || (m->m.kind == BLOB_M_BIND && m->source[0] != '/'))
		return bad(r, "a mount's path is not absolute");
	return 0;
}

static int check_device(struct rd *r, const struct blob_view_device *d)
{
	if (d->d.type != S_IFCHR && d->d.type != S_IFBLK && d->d.type != S_IFIFO)
		return bad(r, "a device is of no known type");
	if (d->d.mode & ~07777u || d->path[0] != '/')
		return bad(r, "a device's mode or path is wrong");
	return 0;
}

static int check_container(struct rd *r, const struct blob_container *c)
{
	if (c->flags & ~BLOB_C_ALL || c->namespaces & ~BLOB_NS_ALL || c->reserved)
		return bad(r, "unknown flags of the container");
	if (!check_propagation(c->root_propagation))
		return bad(r, "wrong propagation of the root");
	return 0;
}

/* A file of a cgroup: no path. */
static int plain_name(const char *s)
{
	return s[0] && s[0] != '.' && !strchr(s, '/');
}

static int fill_fd(struct rd *r, struct blob_view *s, const uint8_t *p)
{
	struct blob_fd *f = &s->fds[s->nfds++];

	memcpy(f, p, sizeof(*f));
	return f->kind && f->kind < BLOB_FD_KINDS && !f->reserved
		? 0
		: bad(r, "an unknown kind of descriptor");
}

static int fill_process_tag(
	struct rd *r, struct blob_view *s, const struct blob_rec *rec, const uint8_t *p)
{
	char *str = (char *)(uintptr_t)p; /* argv is char **; nobody writes */

	switch (rec->tag) {
	case BLOB_T_PROCESS:
		memcpy(&s->p, p, sizeof(s->p));
		return check_process(r, &s->p);
	case BLOB_T_ARG:
		s->args[s->nargs++] = str;
		return 0;
	case BLOB_T_ENV:
		s->env[s->nenv++] = str;
		return 0;
	case BLOB_T_CWD:
		s->cwd = str;
		return str[0] == '/' ? 0 : bad(r, "cwd is not absolute");
	case BLOB_T_GIDS:
		s->gids = (const uint32_t *)(const void *)p;
		s->ngids = rec->len / 4;
		return 0;
	case BLOB_T_RLIMIT:
		memcpy(&s->rlimits[s->nrlimits], p, sizeof(*s->rlimits));
		return s->rlimits[s->nrlimits++].resource < 16 ? 0 : bad(r, "an unknown rlimit");
	case BLOB_T_FD:
		return fill_fd(r, s, p);
	case BLOB_T_IN_CGROUP:
		s->in_cgroup = str;
		return *str && *str != '/' ? 0 : bad(r, "a cgroup's path is not relative");
	default: /* BLOB_T_SECCOMP */
		memcpy(&s->seccomp_flags, p, sizeof(s->seccomp_flags));
		s->bpf = p + sizeof(struct blob_seccomp);
		s->nbpf = (rec->len - sizeof(struct blob_seccomp)) / 8;
		return 0;
	}
}

static const char *second(const char *s)
{
	return s + strlen(s) + 1;
}

static int fill_mount(struct rd *r, struct blob_view *s, const uint8_t *p)
{
	struct blob_view_mount *m = &s->mounts[s->nmounts++];

	memcpy(&m->m, p, sizeof(m->m));
	m->type = (const char *)p + sizeof(m->m);
	m->source = second(m->type);
	m->dest = second(m->source);
	m->data = second(m->dest);
	return check_mount(r, m);
}

/* A hook's strings follow it: arguments, then environment. Its two lists end where the next one's
 * begin, with a NULL that is there from the start. */
static int fill_hook_tag(
	struct rd *r, struct blob_view *s, const struct blob_rec *rec, const uint8_t *p)
{
	struct blob_view_hook *h = s->nhooks ? &s->hooks[s->nhooks - 1] : NULL;
	char *str = (char *)(uintptr_t)p;

	if (rec->tag == BLOB_T_HOOK) {
		if (h && !h->args[0])
			return bad(r, "a hook without arguments");
		s->nhook_strs += h ? 1 + !h->env : 0;
		h = &s->hooks[s->nhooks++];
		memcpy(&h->h, p, sizeof(h->h));
		h->path = str + sizeof(h->h);
		h->args = s->hook_strs + s->nhook_strs;
		return h->path[0] == '/' && !(h->h.flags & ~BLOB_HOOK_ENV) ? 0
									   : bad(r, "a wrong hook");
	}
	if (!h || (rec->tag == BLOB_T_HOOK_ARG && h->env) ||
		(rec->tag == BLOB_T_HOOK_ENV && !(h->h.flags & BLOB_HOOK_ENV)))
		return bad(r, "a hook's string in a wrong place");
	if (rec->tag == BLOB_T_HOOK_ENV && !h->env)
		h->env = s->hook_strs + ++s->nhook_strs;
	s->hook_strs[s->nhook_strs++] = str;
	return 0;
}

static int fill_container_tag(
	struct rd *r, struct blob_view *s, const struct blob_rec *rec, const uint8_t *p)
{
	const char *str = (const char *)p;
	struct blob_view_device *d;

	switch (rec->tag) {
	case BLOB_T_CONTAINER:
		memcpy(&s->c, p, sizeof(s->c));
		return check_container(r, &s->c);
	case BLOB_T_ROOT:
		s->root_type = str;
		s->root_source = second(str);
		s->root_data = second(s->root_source);
		return 0;
	case BLOB_T_HOSTNAME:
		s->hostname = str;
		return 0;
	case BLOB_T_DOMAINNAME:
		s->domainname = str;
		return 0;
	case BLOB_T_NOTIFY:
		s->notify = str;
		if (str[0] != '/' || strrchr(str, '/') == str)
			return bad(r, "the path of NOTIFY_SOCKET has no directory of its own");
		return 0;
	case BLOB_T_MOUNT:
		return fill_mount(r, s, p);
	case BLOB_T_MASKED:
		s->masked[s->nmasked++] = str;
		return str[0] == '/' ? 0 : bad(r, "a masked path is not absolute");
	case BLOB_T_READONLY:
		s->readonly[s->nreadonly++] = str;
		return str[0] == '/' ? 0 : bad(r, "a read-only path is not absolute");
	case BLOB_T_DEVICE:
		d = &s->devices[s->ndevices++];
		memcpy(&d->d, p, sizeof(d->d));
		d->path = str + sizeof(d->d);
		return check_device(r, d);
	case BLOB_T_SYSCTL:
		s->sysctls[s->nsysctls++] = (struct blob_view_pair){ str, second(str) };
		/* as a file name, dots and slashes change places */
		return strstr(str, "..") || strstr(str, "//") || str[0] == '/' || !str[0]
			? bad(r, "a wrong sysctl name")
			: 0;
	case BLOB_T_CGROUP:
		s->cgroup[s->ncgroup++] = (struct blob_view_pair){ str, second(str) };
		return plain_name(str) ? 0 : bad(r, "a wrong name of a cgroup file");
	case BLOB_T_HOOK:
	case BLOB_T_HOOK_ARG:
	case BLOB_T_HOOK_ENV:
		return fill_hook_tag(r, s, rec, p);
	case BLOB_T_HOOK_STATE:
		s->hook_state = str;
		return 0;
	default: /* BLOB_T_TIMEOFF */
		memcpy(&s->timeoffs[s->ntimeoffs], p, sizeof(*s->timeoffs));
		return s->timeoffs[s->ntimeoffs++].nsecs >= 1000000000u
			? bad(r, "a wrong time offset")
			: 0;
	}
}

static int fill_all(struct rd *r, uint32_t count, struct blob_view *s)
{
	struct blob_rec rec;
	const uint8_t *p;
	int err = 0;

	r->off = sizeof(struct blob_hdr);
	for (uint32_t i = 0; i < count && !err; i++) {
		err = next_record(r, &rec, &p);
		if (err)
			break;
		if (rec.tag < BLOB_T_CONTAINER)
			err = fill_process_tag(r, s, &rec, p);
		else
			err = fill_container_tag(r, s, &rec, p);
	}
	if (!err && s->nhooks && !s->hooks[s->nhooks - 1].args[0])
		err = bad(r, "a hook without arguments");
	return err;
}

int blob_read(const void *blob, size_t len, uint16_t kind, struct blob_view *s, const char **why)
{
	struct rd r = { .p = blob, .len = len, .off = sizeof(struct blob_hdr) };
	struct blob_hdr h;
	int err;

	*why = "";
	memset(s, 0, sizeof(*s));
	if (len < sizeof(h) || len > BLOB_MAX || (uintptr_t)blob % 8) {
		*why = "the blob's size or place is wrong";
		return -EPROTO;
	}
	memcpy(&h, blob, sizeof(h));
	if (h.magic != BLOB_MAGIC || h.version != PROTO_VERSION || h.kind != kind || h.len != len) {
		*why = "the blob's header is wrong";
		return -EPROTO;
	}
	err = count_all(&r, h.count, kind);
	if (!err)
		err = make_arrays(&r, s);
	if (!err)
		err = fill_all(&r, h.count, s);
	if (err) {
		*why = r.why ? r.why : "out of memory";
		blob_view_free(s);
		return err;
	}
	if (kind != BLOB_CREATE && s->p.flags & (BLOB_P_REAPER | BLOB_P_HVC0)) {
		*why = "a PID 1 or a console for a process that is no container's";
		blob_view_free(s);
		return -EPROTO;
	}
	s->kind = kind;
	/* lists that no string came for: an empty one */
	for (size_t i = 0; i < s->nhooks; i++) {
		if (!s->hooks[i].env)
			s->hooks[i].env = s->args + s->nargs;
	}
	if (!s->cwd)
		s->cwd = "/";
	if (!s->root_type && kind == BLOB_CREATE) {
		s->root_type = "virtiofs";
		s->root_source = "root";
		s->root_data = "";
	}
	return 0;
}

void blob_view_free(struct blob_view *s)
{
	free(s->mem);
	memset(s, 0, sizeof(*s));
}
