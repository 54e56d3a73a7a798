// SPDX-License-Identifier: Apache-2.0
/* A guest's kernel without a guest: requests, names and permissions. */
/*
 * How it works
 *
 * A walk keeps the stack of directories it came through, so ".." needs no request. Half of the
 * names that are remembered are used without asking for them again, as a kernel does whose entries
 * are still valid; their attributes are asked for. What was looked up is forgotten some FK_SETTLE
 * lookups later, all in one request or one by one.
 */
#include "fake/fake_kern.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/util.h"

#define LINKS_MAX 40

static unsigned rnd(struct fk *k, unsigned n)
{
	k->rnd ^= k->rnd << 13;
	k->rnd ^= k->rnd >> 7;
	k->rnd ^= k->rnd << 17;
	return (unsigned)(k->rnd >> 33) % n;
}

int fk_call(struct fk *k, const struct fk_proc *p, uint32_t op, uint64_t node, const void *in,
	uint32_t n_in, const void *more, uint32_t n_more, void *out, uint32_t n_out)
{
	struct fuse_in_header h = { .len = (uint32_t)sizeof(h) + n_in + n_more,
		.opcode = op,
		.unique = k->unique += 2,
		.nodeid = node,
		.uid = p ? p->uid : 0,
		.gid = p ? p->gid : 0,
		.pid = 1 };
	struct fuse_out_header oh = { 0 };
	struct fake_out o[3] = { { &h, sizeof(h) }, { in, n_in }, { more, n_more } };
	struct fake_in i[2] = { { &oh, sizeof(oh) }, { out, n_out } };
	bool forget = op == FUSE_FORGET || op == FUSE_BATCH_FORGET;
	int r;

	if (!n_in)
		o[1] = o[2];
	k->requests++;
	r = fake_guest_xfer(
		k->d, forget ? 0 : 1, o, 1 + !!n_in + !!n_more, i, forget ? 0 : 1 + !!n_out);
	if (forget) {
		k->broken |= r != 0;
		return r;
	}
	if (r < (int)sizeof(oh) || oh.len != (uint32_t)r || oh.unique != h.unique || oh.error > 0 ||
		(oh.error && oh.len != sizeof(oh))) {
		printf("# operation %u: %d, length %u, error %d\n", op, r, oh.len, oh.error);
		k->broken = true;
		return -EPROTO;
	}
	k->out_len = oh.len - (uint32_t)sizeof(oh);
	return oh.error;
}

static bool is_open(const struct fk *k, uint64_t id)
{
	for (unsigned i = 0; i < k->nprocs; i++)
		for (unsigned j = 0; j < FK_FILES; j++)
			if (k->procs[i].file[j].used && k->procs[i].file[j].id == id)
				return true;
	return false;
}

/* What stays open is looked up again and again: once in the list is enough. */
static unsigned kept(struct fk *k, unsigned n, const struct fuse_forget_one *f)
{
	for (unsigned i = 0; i < n; i++)
		if (k->forget[i].nodeid == f->nodeid) {
			k->forget[i].nlookup += f->nlookup;
			return n;
		}
	k->forget[n] = *f;
	return n + 1;
}

static void forget_some(struct fk *k)
{
	static struct fuse_forget_one send[FK_FORGETS];
	struct fuse_batch_forget_in b = { 0 };
	unsigned keep = 0;

	for (unsigned i = 0; i < k->nforget; i++) {
		if (is_open(k, k->forget[i].nodeid))
			keep = kept(k, keep, &k->forget[i]);
		else
			send[b.count++] = k->forget[i];
	}
	/* one that is remembered by another name is mapped again when it is read */
	for (unsigned i = 0; i < b.count; i++)
		fk_window_forget(k, send[i].nodeid);
	k->nforget = keep;
	if (!b.count)
		return;
	if (rnd(k, 2)) {
		(void)fk_call(k, NULL, FUSE_BATCH_FORGET, 0, &b, sizeof(b), send,
			b.count * (uint32_t)sizeof(send[0]), NULL, 0);
		return;
	}
	for (unsigned i = 0; i < b.count; i++) {
		struct fuse_forget_in f = { .nlookup = send[i].nlookup };

		(void)fk_call(
			k, NULL, FUSE_FORGET, send[i].nodeid, &f, sizeof(f), NULL, 0, NULL, 0);
	}
}

void fk_looked_up(struct fk *k, uint64_t id)
{
	if (k->nforget == FK_FORGETS)
		abort();
	k->forget[k->nforget++] = (struct fuse_forget_one){ .nodeid = id, .nlookup = 1 };
}

void fk_settle(struct fk *k)
{
	if (k->nforget >= FK_SETTLE)
		forget_some(k);
}

void fk_forget_now(struct fk *k)
{
	forget_some(k);
}

uint64_t fk_name_take(struct fk *k, uint64_t dir, const char *name)
{
	for (unsigned i = 0; i < FK_NAMES; i++) {
		struct fk_name *n = &k->name[i];
		uint64_t id = n->id;

		if (!id || n->dir != dir || strcmp(n->name, name))
			continue;
		n->id = 0;
		return id;
	}
	return 0;
}

static uint64_t name_of(struct fk *k, uint64_t dir, const char *name)
{
	for (unsigned i = 0; i < FK_NAMES; i++)
		if (k->name[i].id && k->name[i].dir == dir && !strcmp(k->name[i].name, name))
			return k->name[i].id;
	return 0;
}

/* Takes over one counted lookup of @id. */
void fk_name_put(struct fk *k, uint64_t dir, const char *name, uint64_t id)
{
	struct fk_name *n = &k->name[rnd(k, FK_NAMES)];
	uint64_t was = fk_name_take(k, dir, name);

	if (was)
		fk_looked_up(k, was);
	if (strlen(name) >= sizeof(n->name)) {
		fk_looked_up(k, id);
		return;
	}
	if (n->id)
		fk_looked_up(k, n->id);
	n->dir = dir;
	n->id = id;
	strcpy(n->name, name);
}

void fk_forget_all(struct fk *k)
{
	for (unsigned i = 0; i < FK_NAMES; i++) {
		if (!k->name[i].id)
			continue;
		fk_looked_up(k, k->name[i].id);
		k->name[i].id = 0;
	}
	forget_some(k);
}

int fk_getattr(struct fk *k, const struct fk_proc *p, uint64_t id, struct fuse_attr *a)
{
	struct fuse_getattr_in in = { 0 };
	struct fuse_attr_out o = { 0 };
	int r = fk_call(k, p, FUSE_GETATTR, id, &in, sizeof(in), NULL, 0, &o, sizeof(o));

	*a = o.attr;
	return r;
}

static int lookup(
	struct fk *k, const struct fk_proc *p, uint64_t dir, const char *name, struct fk_inode *out)
{
	struct fuse_entry_out e = { 0 };
	uint64_t known = rnd(k, 2) ? name_of(k, dir, name) : 0;
	int r;

	if (known) {
		out->id = known;
		return fk_getattr(k, p, known, &out->a);
	}
	r = fk_call(
		k, p, FUSE_LOOKUP, dir, NULL, 0, name, (uint32_t)strlen(name) + 1, &e, sizeof(e));
	if (!r && !e.nodeid)
		r = -ENOENT;
	if (r < 0)
		return r;
	fk_name_put(k, dir, name, e.nodeid);
	out->id = e.nodeid;
	out->a = e.attr;
	return 0;
}

bool fk_in_group(const struct fk_proc *p, uint32_t gid)
{
	if (p->gid == gid)
		return true;
	for (unsigned i = 0; i < p->ngroups; i++)
		if (p->groups[i] == gid)
			return true;
	return false;
}

int fk_permission(const struct fk_proc *p, const struct fuse_attr *a, int mask)
{
	uint32_t m = a->mode;

	if (!p->uid) {
		if (S_ISDIR(m) || !(mask & X_OK) || (m & 0111))
			return 0;
		return -EACCES;
	}
	if (p->uid == a->uid)
		m >>= 6;
	else if (fk_in_group(p, a->gid))
		m >>= 3;
	return (uint32_t)mask & ~m & 7 ? -EACCES : 0;
}

uint32_t fk_new_mode(const struct fk_proc *p, const struct fuse_attr *dir, uint32_t mode)
{
	if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && (dir->mode & S_ISGID) &&
		p->uid && !fk_in_group(p, dir->gid))
		mode &= ~(uint32_t)S_ISGID;
	return mode & ~p->umask;
}

static int may_follow(const struct fk *k, const struct fk_proc *p, const struct fuse_attr *dir,
	const struct fuse_attr *link)
{
	if (!k->symlinks || p->uid == link->uid)
		return 0;
	if ((dir->mode & (S_ISVTX | S_IWOTH)) != (S_ISVTX | S_IWOTH) || dir->uid == link->uid)
		return 0;
	return -EACCES;
}

struct walk {
	struct fk_inode stack[FK_DEPTH];
	unsigned depth, links;
	char rest[8192], next[8192];
};

/* The text of the link @l in front of what is left of the path. */
static int follow(struct fk *k, const struct fk_proc *p, struct walk *w, const struct fk_inode *l)
{
	int r = may_follow(k, p, &w->stack[w->depth].a, &l->a);
	uint32_t n;

	if (w->links++ == LINKS_MAX)
		return -ELOOP;
	if (!r)
		r = fk_call(k, p, FUSE_READLINK, l->id, NULL, 0, NULL, 0, w->next, 4096);
	if (r < 0)
		return r;
	n = k->out_len;
	(void)snprintf(w->next + n, sizeof(w->next) - n, "%s%s", *w->rest ? "/" : "", w->rest);
	strcpy(w->rest, w->next);
	if (w->rest[0] == '/')
		w->depth = 0;
	return 0;
}

/* Takes the next component off the path. */
static bool component(struct walk *w, char name[300])
{
	char *s = w->rest + strspn(w->rest, "/");
	size_t n = strcspn(s, "/");

	if (!n)
		return false;
	n = MIN(n, (size_t)299);
	memcpy(name, s, n);
	name[n] = 0;
	s += n;
	s += strspn(s, "/");
	memmove(w->rest, s, strlen(s) + 1);
	return true;
}

static int step(struct fk *k, const struct fk_proc *p, struct walk *w, int how, struct fk_at *at)
{
	struct fk_inode *dir = &w->stack[w->depth];
	int r = S_ISDIR(dir->a.mode) ? fk_permission(p, &dir->a, X_OK) : -ENOTDIR;

	if (r < 0)
		return r;
	if (!strcmp(at->last, "."))
		return 0;
	if (!strcmp(at->last, "..")) {
		w->depth -= w->depth > 0;
		return 0;
	}
	if (!*w->rest && (how & FK_PARENT)) {
		at->dir = *dir;
		return 1;
	}
	r = lookup(k, p, dir->id, at->last, &at->node);
	if (r == -ENOENT && !*w->rest) {
		at->dir = *dir;
		at->found = false;
		return 1;
	}
	if (r < 0)
		return r;
	if (S_ISLNK(at->node.a.mode) && (*w->rest || (how & FK_FOLLOW)))
		return follow(k, p, w, &at->node);
	if (!*w->rest) {
		at->dir = *dir;
		at->found = true;
		return 1;
	}
	if (w->depth + 1 == FK_DEPTH)
		return -ENAMETOOLONG;
	w->stack[++w->depth] = at->node;
	return 0;
}

int fk_walk(struct fk *k, const struct fk_proc *p, const char *path, int how, struct fk_at *at)
{
	static struct walk w;
	int r;

	w.depth = w.links = 0;
	w.stack[0].id = 1;
	(void)snprintf(w.rest, sizeof(w.rest), "%s", path);
	*at = (struct fk_at){ .found = false };
	if (!*path)
		return -ENOENT;
	r = fk_getattr(k, p, 1, &w.stack[0].a);
	while (!r && component(&w, at->last))
		r = step(k, p, &w, how, at);
	for (at->nup = 0; at->nup <= w.depth; at->nup++)
		at->up[at->nup] = w.stack[at->nup].id;
	if (r)
		return MIN(r, 0);
	/* It ended at a directory by "/", "." or "..". */
	at->node = w.stack[w.depth];
	at->dir = w.stack[w.depth ? w.depth - 1 : 0];
	at->found = true;
	at->last[0] = 0;
	return 0;
}

int fk_last(struct fk *k, const struct fk_proc *p, struct fk_at *at)
{
	int r = fk_permission(p, &at->dir.a, X_OK);

	if (!r && *at->last)
		r = lookup(k, p, at->dir.id, at->last, &at->node);
	at->found = !r;
	return r == -ENOENT ? 0 : r;
}

int fk_find(struct fk *k, const struct fk_proc *p, const char *path, int how, struct fk_at *at)
{
	int r = fk_walk(k, p, path, how, at);

	return r < 0 ? r : at->found ? 0 : -ENOENT;
}

static unsigned sysctl(const char *name)
{
	char path[64];
	unsigned v = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/sys/fs/protected_%s", name);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%u", &v) != 1)
		v = 0;
	(void)fclose(f);
	return v;
}

int fk_init(struct fk *k, struct fake_dev *d, uint64_t seed)
{
	/* ASYNC_READ ATOMIC_O_TRUNC BIG_WRITES AUTO_INVAL_DATA DO_READDIRPLUS READDIRPLUS_AUTO
	 * PARALLEL_DIROPS MAX_PAGES CACHE_SYMLINKS HANDLE_KILLPRIV_V2 */
	struct fuse_init_in in = { .major = 7,
		.minor = 41,
		.max_readahead = 1 << 17,
		.flags = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 18 |
			1 << 22 | 1 << 23 | 1 << 28 };
	struct fuse_init_out o = { 0 };
	int r;

	*k = (struct fk){ .d = d, .rnd = seed | 1 };
	r = fk_call(k, NULL, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &o, sizeof(o));
	if (r < 0)
		return r;
	k->flags = o.flags;
	k->symlinks = sysctl("symlinks");
	k->hardlinks = sysctl("hardlinks");
	k->fifos = sysctl("fifos");
	k->regular = sysctl("regular");
	/* What this kernel does rests on these two. */
	return (o.flags & (1 << 28)) && (o.flags & (1 << 3)) ? 0 : -EPROTO;
}
