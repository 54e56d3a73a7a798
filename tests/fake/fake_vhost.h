/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user back end for tests, on a thread of its own: it speaks the protocol as a program
 * does that shares no code with ours, maps the memory that it is given, and answers each request of
 * a ring by copying what the driver wrote, in circles, into what it may write. It can be told to do
 * one thing wrong.
 */
#ifndef KRUN_TESTS_FAKE_VHOST_H
#define KRUN_TESTS_FAKE_VHOST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_VHOST_QUEUES  4
#define FAKE_VHOST_SLOW_MS 60

enum fake_vhost_fault {
	FAKE_VHOST_GOOD,
	FAKE_VHOST_CLOSE,    /* it goes away instead */
	FAKE_VHOST_SILENT,   /* it does not answer */
	FAKE_VHOST_REFUSE,   /* the acknowledgement says no */
	FAKE_VHOST_OTHER,    /* the answer is to something else */
	FAKE_VHOST_VERSION,  /* of another version */
	FAKE_VHOST_NO_REPLY, /* that is not marked as an answer */
	FAKE_VHOST_LONG,     /* longer than was asked for, and than 4 GiB less one */
	FAKE_VHOST_SHORT,    /* of no bytes */
	FAKE_VHOST_HALF,     /* it goes away in the middle of it */
	FAKE_VHOST_WRONG,    /* the bytes are not of what was asked for */
	FAKE_VHOST_FDS,	     /* right, but with descriptors */
	FAKE_VHOST_CHATTY,   /* right, and then once more */
	FAKE_VHOST_SLOW,     /* right, but each from then on takes FAKE_VHOST_SLOW_MS */
};

struct fake_vhost {
	/* before fake_vhost_start() */
	uint64_t features, protocol, queues;
	uint8_t config[256];
	unsigned config_len;
	uint32_t fault_at; /* the request that goes wrong */
	enum fake_vhost_fault fault;

	/* after fake_vhost_end() */
	uint64_t acked;
	unsigned seen[64]; /* how often each request came */
	unsigned served;   /* chains */
	bool error;	   /* the front end did what it may not */

	int fd, stop_fd;
	pthread_t thread;
	bool owned, agreed;
	struct fake_vhost_region {
		uint64_t gpa, size, user;
		uint8_t *p, *map;
		uint64_t map_len;
	} region[8];
	unsigned nregions;
	struct fake_vhost_ring {
		uint32_t num;
		uint8_t *desc, *avail, *used;
		uint16_t last;
		int kick, call;
		bool enabled, started;
	} ring[FAKE_VHOST_QUEUES];
};

/* Begins; returns the front end's socket. */
int fake_vhost_start(struct fake_vhost *f);
/* Ends its thread, and the connection. */
void fake_vhost_end(struct fake_vhost *f);

#endif
