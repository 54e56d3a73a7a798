/* SPDX-License-Identifier: Apache-2.0 */
/* What fills the ranges of a window; between mem.c, which owns it, and mem_shm.c. */
#ifndef KRUN_CORE_MEM_WINDOW_H
#define KRUN_CORE_MEM_WINDOW_H

#include <pthread.h>
#include <stdint.h>

struct mem_window {
	pthread_mutex_t lock; /* @pages, and every change of what is mapped; a leaf */
	unsigned mended;      /* atomic: ranges with zero pages in them */
	uint32_t n;
	/* Of each range: 0 when it is empty or not filled as a whole, else 1 and how many of its
	 * pages, from the first on, are the file's; those behind are zero pages. */
	uint16_t pages[];
};

struct mem_window *mem_window_new(uint64_t len); /* NULL: no memory */
void mem_window_free(struct mem_window *w);	 /* NULL is fine */

#endif
