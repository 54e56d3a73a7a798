/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-physical memory.
 *
 * The table is built by one thread, frozen before the first vCPU runs and read by every thread
 * after that without a lock. There are three doors: copies (mem_read/mem_write), gpa -> iovec[]
 * (mem_iov), and mem_pin.h, which hands out pointers and is for vq.c and for loading the kernel
 * alone. What lies behind a door changes under our hands at any time.
 */
#ifndef KRUN_CORE_MEM_H
#define KRUN_CORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/limits.h"
#include "util/err.h"
#include "util/util.h"

/* A guest-physical address. Not a number by accident: it cannot be dereferenced or added to
 * unawares. */
typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(x) ((gpa_t){ .v = (x) })

enum mem_kind {
	MEM_RAM, /* rings, headers and payload may be here */
	MEM_SHM, /* a DAX window: payload only, through iovecs */
};

enum mem_backing {
	MEM_ANON,  /* private anonymous */
	MEM_MEMFD, /* shared mapping of a memfd, saved by reading, discarded by punching holes */
	MEM_FILE,  /* private mapping of a file (kernel image, template) */
};

#define MEM_SHM_RANGE (2U << 20) /* a window is filled in these */

struct mem_region {
	uint64_t gpa, len; /* bytes, page-aligned, gpa + len does not wrap */
	uint8_t *hva;
	enum mem_kind kind;
	enum mem_backing backing;
	int fd; /* owned; -1 when anonymous */
	uint64_t fd_off;
	bool readonly; /* the guest may not write (KVM_MEM_READONLY), nor a device for it */
	bool borrowed; /* by mem_add_borrowed(): not ours to unmap */
	bool huge; /* MEM_MEMFD of the host's huge pages, all of them taken: none is given back */
};

struct mem {
	struct mem_region r[LIM_REGIONS]; /* sorted by gpa */
	unsigned n;
	unsigned nshm; /* of them MEM_SHM */
	bool frozen;
};

void mem_init(struct mem *m);
void mem_destroy(struct mem *m); /* unmaps and closes everything */

struct mem_ram_opts {
	bool memfd; /* else private anonymous */
	bool thp;   /* ask for transparent huge pages */
	bool huge;  /* a memfd of 2 MiB pages of the host's pool */
};

/*
 * Maps @len bytes (MAP_NORESERVE, nothing touched) at @gpa. -EEXIST when it overlaps another
 * region. With @huge, where both are multiples of MEM_HUGE_PAGE, every page is taken here, and
 * -ENOSPC says that the host has too few: one that is missing later would end the guest.
 */
#define MEM_HUGE_PAGE (2U << 20)
int mem_add_ram(
	struct mem *m, gpa_t gpa, uint64_t len, const struct mem_ram_opts *o, struct error *e);
/* A window of PROT_NONE that mem_shm_map() fills. */
int mem_add_shm(struct mem *m, gpa_t gpa, uint64_t len, struct error *e);
/* Before the freeze: neither the guest nor a device for it may write to the region that begins at
 * @gpa. */
void mem_set_readonly(struct mem *m, gpa_t gpa);
/* Test and fuzz harnesses: a region over memory that the caller owns (not unmapped by
 * mem_destroy()). */
int mem_add_borrowed(struct mem *m, gpa_t gpa, void *hva, uint64_t len);
void mem_freeze(struct mem *m);

/* All or nothing copies that may cross regions; RAM only. -EFAULT when a byte lies outside (or is
 * read-only, writing). */
int mem_read(const struct mem *m, void *dst, gpa_t src, size_t n) NODISCARD;
int mem_write(const struct mem *m, gpa_t dst, const void *src, size_t n) NODISCARD;

/*
 * Describes [gpa, gpa + len) as iovecs, split at region borders. Returns how many, or -EFAULT (a
 * byte outside, or read-only when we are to write), -E2BIG (more than @max). @iov is written up to
 * the count; on failure its content is undefined. len 0 gives 0 and checks nothing.
 */
#define MEM_IOV_SHM   1U /* MEM_SHM is fine too: payload */
#define MEM_IOV_WRITE 2U /* we write into it */
int mem_iov(const struct mem *m, gpa_t gpa, uint64_t len, unsigned flags, struct iovec *iov,
	unsigned max) NODISCARD;

/* True when host address @p lies in a MEM_SHM region, where only the kernel may follow it (EFAULT
 * instead of a signal). */
bool mem_in_window(const struct mem *m, const void *p);

/*
 * What a window shows: pages of a file, nothing (PROT_NONE), or zero pages of the guest's own.
 * @window is the gpa where the region begins. Offsets and lengths page-aligned, -EINVAL outside.
 * Any thread; two calls on one window must not race.
 */
int mem_shm_map(struct mem *m, gpa_t window, uint64_t off, uint64_t len, int fd, uint64_t fd_off,
	bool write);
int mem_shm_unmap(struct mem *m, gpa_t window, uint64_t off, uint64_t len);
int mem_shm_zero(struct mem *m, gpa_t window, uint64_t off, uint64_t len);
/* Where a file is mapped: the next write to each page is seen by the file's file system again,
 * which sets its times. Zero pages would lose what was written. */
int mem_shm_settle(struct mem *m, gpa_t window, uint64_t off, uint64_t len);
/*
 * Gives pages back to the host; the guest reads zeroes there afterwards (or the file, if MEM_FILE).
 * RAM only, page-aligned, may cross regions; -EINVAL / -EFAULT with nothing done when the range is
 * not such, else the errno of the first region that failed. -EOPNOTSUPP: huge pages, which stay.
 */
int mem_discard(struct mem *m, gpa_t gpa, uint64_t len);
/* The same for the whole pages within [@hva, @hva + len), a piece of what mem_iov() gave. */
int mem_discard_iov(struct mem *m, const void *hva, uint64_t len);

/* Whether any RAM can be given back. */
bool mem_gives_back(const struct mem *m);

/* Total bytes of RAM; the end of the highest region (for placing windows). */
uint64_t mem_ram_bytes(const struct mem *m);
uint64_t mem_top(const struct mem *m);

#endif
