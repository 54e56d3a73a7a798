/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front end's half of the vhost-user protocol: messages on a unix stream socket, one at a time.
 *
 * All of it is the owner loop's, which may wait here for the back end, but never longer than the
 * connection's wait_ms for one piece of work. An answer is looked at as hostile: its code, version
 * and length have to be those that were asked for, and what else comes is refused. A connection of
 * which one message went wrong is closed, as nobody knows what the next bytes of it would be.
 */
#ifndef KRUN_DEV_VHOST_USER_H
#define KRUN_DEV_VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"
#include "util/util.h"

enum vhu_request {
	VHU_GET_FEATURES = 1,
	VHU_SET_FEATURES = 2,
	VHU_SET_OWNER = 3,
	VHU_SET_MEM_TABLE = 5,
	VHU_SET_VRING_NUM = 8,
	VHU_SET_VRING_ADDR = 9,
	VHU_SET_VRING_BASE = 10,
	VHU_GET_VRING_BASE = 11,
	VHU_SET_VRING_KICK = 12,
	VHU_SET_VRING_CALL = 13,
	VHU_GET_PROTOCOL_FEATURES = 15,
	VHU_SET_PROTOCOL_FEATURES = 16,
	VHU_GET_QUEUE_NUM = 17,
	VHU_SET_VRING_ENABLE = 18,
	VHU_GET_CONFIG = 24,
	VHU_SET_CONFIG = 25,
};

#define VHU_F_PROTOCOL	    (1ULL << 30)
#define VHU_PROTO_MQ	    (1ULL << 0)
#define VHU_PROTO_REPLY_ACK (1ULL << 3)
#define VHU_PROTO_CONFIG    (1ULL << 9)

#define VHU_VERSION    1U
#define VHU_REPLY      (1U << 2)
#define VHU_NEED_REPLY (1U << 3)

#define VHU_REGIONS 8 /* of memory in one message: as many as every back end takes */
/*
 * What the protocol calls the front end's addresses need not be such: rings are given as the
 * guest's address and this, and so is each region. The back end learns nothing of where this
 * process has its memory, and no address is 0.
 */
#define VHU_USER_BASE (1ULL << 44)

struct vhu_header {
	uint32_t request, flags, size; /* of what follows */
};

struct vhu_state {
	uint32_t index, num;
};

struct vhu_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct vhu_region {
	uint64_t gpa, size, user, offset; /* offset: in the file of the descriptor */
};

struct vhu_mem {
	uint32_t n, pad;
	struct vhu_region r[VHU_REGIONS];
};

struct vhu_config {
	uint32_t offset, size, flags;
	uint8_t bytes[LIM_CFG_SPACE];
};

#define VHU_CONFIG_HEAD 12U

_Static_assert(sizeof(struct vhu_header) == 12 && sizeof(struct vhu_state) == 8 &&
		sizeof(struct vhu_addr) == 40 && sizeof(struct vhu_region) == 32 &&
		sizeof(struct vhu_mem) == 8 + 32 * VHU_REGIONS &&
		sizeof(struct vhu_config) == VHU_CONFIG_HEAD + LIM_CFG_SPACE,
	"as the protocol has them");

struct vhu_conn {
	int fd;		  /* owned; -1: closed, for good */
	unsigned wait_ms; /* for all messages from a vhu_begin() on */
	int64_t end;	  /* then, in ms of the monotonic clock */
	bool reply_ack;	  /* VHU_PROTO_REPLY_ACK was agreed on */
};

void vhu_close(struct vhu_conn *c);
/* The time for the messages that follow begins. */
void vhu_begin(struct vhu_conn *c);

/*
 * Errors of both: -ENOTCONN (it is closed), -EPIPE (the other side has closed it), -ETIMEDOUT,
 * -EPROTO (an answer that makes no sense), -errno of the socket; the connection is closed then.
 */
/* Sends a message that has no answer, with up to VHU_REGIONS descriptors; where acknowledgements
 * were agreed on it waits for one. -EREMOTEIO: the back end refuses; the connection stays. */
int vhu_tell(struct vhu_conn *c, enum vhu_request what, const void *p, uint32_t len, const int *fds,
	unsigned nfds) NODISCARD;
/* Sends a message and gets its answer of @min to @max bytes: its length. */
int vhu_ask(struct vhu_conn *c, enum vhu_request what, const void *p, uint32_t len, void *answer,
	uint32_t min, uint32_t max) NODISCARD;

#endif
