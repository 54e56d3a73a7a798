/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host fd that is read and written without ever blocking the loop and without changing the flags
 * of a file description that other processes share (an inherited stdin is the shell's too).
 *
 * hostfd_open() decides once how that is done:
 *
 *   socket                      MSG_DONTWAIT (and MSG_NOSIGNAL)
 *   pipe, FIFO, pty slave       a file description of our own, non-blocking, opened through /proc;
 * the first is closed the same, where that fails  as it is if it has O_NONBLOCK (who passes such a
 * one vouches that nobody takes that away), RWF_NOWAIT, and where the kernel has none for
 * this file: poll first, then one read, or one write that is small enough for what poll promised
 *   regular file, block device  plain calls; such a file is always ready and epoll refuses it
 *
 * The process ignores SIGPIPE (whoever makes the VM sees to that): a reader that is gone is -EPIPE.
 *
 * Threads: hostfd_open() may run anywhere; after hostfd_bind() the loop's owner alone uses it.
 */
#ifndef KRUN_DEV_HOSTFD_H
#define KRUN_DEV_HOSTFD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/loop.h"
#include "util/save.h"
#include "virtio/iobuf.h"

enum hostfd_kind {
	HOSTFD_FILE, /* never waits */
	HOSTFD_SOCK,
	HOSTFD_OWN,    /* O_NONBLOCK is set and nobody else holds the description */
	HOSTFD_NOWAIT, /* RWF_NOWAIT; becomes HOSTFD_POLL when refused */
	HOSTFD_POLL,
};

struct hostfd {
	int fd; /* owned; -1: none */
	enum hostfd_kind kind;
	bool pollable;	 /* false once epoll has refused it: always ready */
	uint32_t events; /* what the loop watches now */
	struct loop *loop;
	struct loop_src src;
};

/* Takes @fd (-1: a hostfd that has none). Cannot fail: the last resort works with every fd. */
void hostfd_open(struct hostfd *h, int fd);
/* Where its events go; nothing is watched yet. */
void hostfd_bind(struct hostfd *h, struct loop *l, const char *name, loop_fn *fn, void *arg);
/* Watches for @events (0: for nothing, not even hang-up). -EPERM: always ready, there will be no
 * events. */
int hostfd_watch(struct hostfd *h, uint32_t events);
void hostfd_close(struct hostfd *h);

static inline bool hostfd_is_open(const struct hostfd *h)
{
	return h->fd >= 0;
}

/* Up to @n bytes; returns bytes, 0 at end of file (read), -EAGAIN or another -errno. */
ssize_t hostfd_read(struct hostfd *h, struct iobuf *b, size_t n);
ssize_t hostfd_write(struct hostfd *h, struct iobuf *b, size_t n);
/* Half-closes a socket (SHUT_RD, SHUT_WR); nothing on other files. */
void hostfd_shutdown(const struct hostfd *h, int how);

/* Bytes on their way to a hostfd that is full. Memory exists only while there are some. */
struct hostbuf {
	uint8_t *p; /* ring, owned; NULL when empty */
	uint32_t cap, head, len;
};

/* Adds @n bytes of @src to a buffer that never exceeds @cap (constant while bytes are held).
 * -ENOSPC, -ENOMEM. */
int hostbuf_put(struct hostbuf *b, uint32_t cap, struct iobuf *src, size_t n);
/* Writes what @h takes; returns bytes (0 only when there are none), -EAGAIN or the error of @h. */
ssize_t hostbuf_drain(struct hostbuf *b, struct hostfd *h);
void hostbuf_drop(struct hostbuf *b);
void hostbuf_save(const struct hostbuf *b, struct save_out *s);
/* The buffer must be empty; errors go to @s. */
void hostbuf_load(struct hostbuf *b, uint32_t cap, struct save_in *s);

#endif
