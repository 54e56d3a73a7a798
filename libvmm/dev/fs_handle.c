// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: open files and directories, by index and generation. */
/*
 * How it works
 *
 * A handle number is index and generation. Closing counts the generation up, so a number that the
 * guest uses after RELEASE finds nothing instead of the next file; a handle is also good only
 * together with the node it was opened through. Handles lie in chunks that never move, free ones
 * are a list by index, and those of one node are a list too: with a file unlinked, an open handle
 * is the only way to it, and the last one closed leaves its fd to the node if the guest still knows
 * that.
 *
 * A load puts handles back at their own numbers, in any order. Free indices are listed anew after
 * it, with a generation above all that were ever given out.
 */
/* #syscalls:fs close */
#include <errno.h>
#include <unistd.h>

#include "dev/fs.h"

struct fs_handle *fs_handle_at(const struct fs *fs, uint32_t idx)
{
	return fs_table_at(&fs->hands, idx, sizeof(struct fs_handle));
}

uint64_t fs_handle_id(const struct fs_handle *h)
{
	return (uint64_t)h->gen << 32 | h->idx;
}

struct fs_handle *fs_handle_get(const struct fs *fs, const struct fs_node *n, uint64_t fh)
{
	struct fs_handle *h = fs_handle_at(fs, (uint32_t)fh);

	if (!h || !n || h->kind == FS_H_FREE || h->gen != fh >> 32 || h->node != n->idx)
		return NULL;
	return h;
}

bool fs_handle_room(const struct fs *fs)
{
	return fs->hands.used < fs->hands.max;
}

void fs_handle_link(struct fs *fs, struct fs_handle *h, struct fs_node *n)
{
	h->node = n->idx;
	h->prev = 0;
	h->next = n->handles;
	if (h->next)
		fs_handle_at(fs, h->next)->prev = h->idx;
	n->handles = h->idx;
}

int fs_handle_new(struct fs *fs, struct fs_node *n, enum fs_hkind kind, int fd, int flags,
	struct fs_handle **out)
{
	struct fs_table *t = &fs->hands;
	struct fs_handle *h;
	int r = fs_handle_room(fs) ? 0 : -ENFILE;

	if (!r && !t->free) {
		if (!t->next)
			t->next = 1;
		r = fs_table_grow(t, sizeof(*h), t->next);
	}
	if (r < 0) {
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	if (t->free) {
		h = fs_handle_at(fs, t->free);
		t->free = h->next;
	} else {
		t->next++;
		h = fs_handle_at(fs, t->next - 1);
		h->idx = t->next - 1;
		h->gen = t->gen;
	}
	*h = (struct fs_handle){ .idx = h->idx,
		.gen = h->gen,
		.fd = fd,
		.flags = flags,
		.kind = (uint8_t)kind,
		.flock = F_UNLCK,
		.append = flags & O_APPEND };
	fs_handle_link(fs, h, n);
	t->used++;
	*out = h;
	return 0;
}

void fs_handle_close(struct fs *fs, struct fs_handle *h)
{
	struct fs_node *n = fs_node_at(fs, h->node);

	/* No guest in its right mind closes what it reads. */
	if (h->uses)
		fs->drain(fs->answer_arg);
	if (h->kind == FS_H_DIR)
		fs_dirbuf_drop(fs, fs_handle_id(h));
	fs_lock_close(fs, h);
	if (h->prev)
		fs_handle_at(fs, h->prev)->next = h->next;
	else
		n->handles = h->next;
	if (h->next)
		fs_handle_at(fs, h->next)->prev = h->prev;
	/* The last way to a file without a name that the guest still knows: it becomes the node's.
	 */
	if (h->fd >= 0 && !n->handles && !n->parent && n->idx != FS_ROOT && n->fd < 0 &&
		n->nlookup) {
		fs_fd_keep(fs, n, h->fd);
		fs_fd_pin(fs, n);
	} else if (h->fd >= 0) {
		(void)close(h->fd);
	}
	h->kind = FS_H_FREE;
	h->fd = -1;
	h->gen++;
	h->next = fs->hands.free;
	fs->hands.free = h->idx;
	fs->hands.used--;
	fs_node_put(fs, n);
}

void fs_handles_clear(struct fs *fs)
{
	for (uint32_t i = 1; i < fs->hands.next; i++) {
		struct fs_handle *h = fs_handle_at(fs, i);

		if (h->kind != FS_H_FREE && h->fd >= 0)
			(void)close(h->fd);
	}
	fs_table_free(&fs->hands);
}

int fs_handle_new_at(struct fs *fs, uint32_t idx, uint32_t gen, struct fs_handle **out)
{
	struct fs_handle *h;
	int r;

	if (!idx || idx > fs->hands.max)
		return -EINVAL;
	r = fs_table_grow(&fs->hands, sizeof(*h), idx);
	if (r < 0)
		return r;
	if (!fs->hands.next)
		fs->hands.next = 1;
	for (; fs->hands.next <= idx; fs->hands.next++) {
		uint32_t i = fs->hands.next;

		h = (struct fs_handle *)fs->hands.chunk[i / FS_CHUNK] + i % FS_CHUNK;
		*h = (struct fs_handle){ .idx = i, .fd = -1 };
	}
	h = fs_handle_at(fs, idx);
	if (h->kind != FS_H_FREE)
		return -EEXIST;
	*h = (struct fs_handle){ .idx = idx, .gen = gen, .fd = -1, .flock = F_UNLCK, .pos = -1 };
	fs->hands.used++;
	*out = h;
	return 0;
}

void fs_handles_relist(struct fs *fs, uint32_t gen)
{
	fs->hands.free = 0;
	fs->hands.gen = gen;
	for (uint32_t i = fs->hands.next; i-- > 1;) {
		struct fs_handle *h = fs_handle_at(fs, i);

		if (h->kind != FS_H_FREE)
			continue;
		h->gen = gen;
		h->next = fs->hands.free;
		fs->hands.free = i;
	}
}
