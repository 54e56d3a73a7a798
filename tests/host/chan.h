/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel between client.c (outside) and agent.c (inside the test host): one virtio-serial port
 * per command.
 *
 * A port outlives its clients, and either end may have been cut off in the middle of a frame. So a
 * client opens with CHAN_PREAMBLE bytes of 0xff: at most one frame's worth is swallowed as the rest
 * of a torn frame, the next header has an impossible length and sends the agent back to looking for
 * the magic. The agent answers with the magic and the client's nonce; the client discards
 * everything before them.
 *
 * After that both ends speak frames: a header, then `len` bytes. All fields are little-endian (both
 * ends are the same machine type, so they are copied as they are). The agent never stops reading:
 * the client keeps at most CHAN_WINDOW bytes of CHAN_IN without CHAN_ACK, so a signal or CHAN_STOP
 * always gets through.
 */
#ifndef TESTHOST_CHAN_H
#define TESTHOST_CHAN_H

#include <stdint.h>

#define CHAN_MAGIC     "\x01krun-testhost\x02\x03" /* 16 bytes without the terminating zero */
#define CHAN_MAGIC_LEN 16u
#define CHAN_NONCE_LEN 16u
#define CHAN_HELLO_LEN (CHAN_MAGIC_LEN + CHAN_NONCE_LEN)
_Static_assert(sizeof(CHAN_MAGIC) - 1 == CHAN_MAGIC_LEN, "the magic has a fixed length");

struct chan_hdr {
	uint32_t len;
	uint32_t type;
};

/* The driver writes at most 32 KiB at once: a full frame is one write. */
#define CHAN_FRAME    (32u * 1024)
#define CHAN_PAYLOAD  (CHAN_FRAME - (uint32_t)sizeof(struct chan_hdr))
#define CHAN_PREAMBLE (CHAN_FRAME + (uint32_t)sizeof(struct chan_hdr))
#define CHAN_WINDOW   (256u * 1024)
#define CHAN_REQUEST  (2u * 1024 * 1024)

enum chan_type {
	/* client to agent */
	CHAN_REQ = 1, /* a piece of the request */
	CHAN_START,   /* the request is complete: run it */
	CHAN_IN,      /* stdin; empty: end of file */
	CHAN_SIG,     /* uint32_t: send this signal to the command's process group */
	CHAN_WINCH,   /* 2 x uint32_t: rows, columns */
	CHAN_STOP,    /* time is up: say where it stands, end the command's processes */
	/* agent to client */
	CHAN_OUT = 32,
	CHAN_ERR,
	CHAN_LOG,  /* the agent's own words */
	CHAN_ACK,  /* uint32_t: so many bytes of CHAN_IN are with the command */
	CHAN_EXIT, /* struct chan_exit; the last frame */
};

struct chan_exit {
	uint32_t code; /* as a shell has it: 128+n for a signal */
	uint32_t flags;
};
#define CHAN_EXIT_STOPPED 1u /* ended by CHAN_STOP */
#define CHAN_EXIT_FAILED  2u /* the command could not be started; CHAN_LOG says why */

/* The request: this, then zero-terminated strings: the directory, nenv of NAME=VALUE, nargs
 * arguments. */
struct chan_request {
	uint32_t flags;
	uint32_t rows, cols;
	uint32_t nenv, nargs;
	uint32_t reserved;
	uint64_t clock_ns; /* the client's CLOCK_REALTIME */
};
_Static_assert(sizeof(struct chan_request) == 32, "the same at both ends");
#define CHAN_REQ_TTY   1u
#define CHAN_REQ_STDIN 2u

#endif
