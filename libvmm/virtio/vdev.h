/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device: what is common to all, and the record that tells one from another.
 *
 * The core (vdev.c) owns status, feature negotiation, config bytes, reset, interrupts and the queue
 * geometry, which is frozen at DRIVER_OK. A device supplies a const struct vdev_class: data where
 * the answer is constant, and start/kick/stop, which all run on the device's owner loop and so need
 * no lock among themselves.
 *
 * Threads: register accesses (vdev_reg_*) run on vCPU threads under @lock; start and stop are
 * handed to the owner loop with loop_call() and waited for. Nothing on the owner loop may take
 * @lock or wait for a vCPU.
 */
#ifndef KRUN_VIRTIO_VDEV_H
#define KRUN_VIRTIO_VDEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/irq.h"
#include "core/limits.h"
#include "core/mem.h"
#include "util/loop.h"
#include "util/save.h"
#include "virtio/vq.h"

/* Device status bits, virtio 1.2 section 2.1 */
#define VDEV_S_ACKNOWLEDGE 1
#define VDEV_S_DRIVER	   2
#define VDEV_S_DRIVER_OK   4
#define VDEV_S_FEATURES_OK 8
#define VDEV_S_NEEDS_RESET 64
#define VDEV_S_FAILED	   128

/* Feature bits that the core offers for every device */
#define VDEV_F_INDIRECT	 (1ULL << 28)
#define VDEV_F_EVENT_IDX (1ULL << 29)
#define VDEV_F_VERSION_1 (1ULL << 32)

/* Interrupt status bits, section 4.2.2 */
#define VDEV_INT_USED	1
#define VDEV_INT_CONFIG 2

struct vdev;

struct vdev_class {
	const char *name;
	uint32_t id;	   /* virtio device id, section 5 */
	uint64_t features; /* beside the core's; a device may clear bits in vdev.offered before the
			      freeze */
	unsigned nqueues;  /* default; vdev_init() may be told fewer or more */
	const uint16_t *qsizes; /* nqueues entries; the last one repeats */
	unsigned cfg_len;	/* bytes of config space */
	bool essential;		/* when it breaks the VM ends with an error that names it */
	/* Another process serves the queues, and waits for their kick_fd: kicks do not come here,
	 * and vq_*() is for the core alone. */
	bool elsewhere;

	/*
	 * Requests that are in flight when the VM is saved have had no effect yet: they may be
	 * popped again after load. Without it vdev_save() is -EBUSY while there are any.
	 */
	bool redo;

	/* On the owner loop. Queues are pinned, features final. -errno marks the device broken, and
	 * stop is not called then. */
	int (*start)(struct vdev *v);
	/* Queue @q was kicked, or may have entries (after start and after resume). Drain it. */
	void (*kick)(struct vdev *v, unsigned q);
	/* The driver reset the device or the VM ends: forget every request; fds of the device
	 * itself stay. */
	void (*stop)(struct vdev *v);
	/*
	 * Optional, on the owner loop: from pause(true) to pause(false) no callback of the device's
	 * own sources or workers may touch queues or state, and no worker holds a request that is
	 * half done. The core has the kicks covered. Called whether the device runs or not.
	 */
	void (*pause)(struct vdev *v, bool paused);
	/*
	 * Optional, on the owner loop: the guest touched a page that the host cannot give it. Where
	 * the device's window promises what is no more, something else takes its place. Returns in
	 * how many places since the device was made, whoever asked; it may wrap.
	 */
	unsigned (*mend)(struct vdev *v);
	/*
	 * Optional: the driver wrote config bytes; off + len <= cfg_len. On the vCPU thread, under
	 * the lock. v->cfg is unchanged: take what the device accepts, under vdev_cfg_lock().
	 */
	void (*cfg_write)(struct vdev *v, uint32_t off, const uint8_t *data, unsigned len);
	/*
	 * On the owner loop, paused. State of the device beyond the core's. load is called on a
	 * fresh device in place of start when the device was running (v->running tells; queues are
	 * pinned), and also when it was not: host-side state. A device without load gets start if
	 * it was running. pause(false) and the first kicks come with vdev_resume().
	 */
	void (*save)(struct vdev *v, struct save_out *s);
	int (*load)(struct vdev *v, struct save_in *s);
	/* Frees the device (the struct that embeds vdev). Not started any more. */
	void (*destroy)(struct vdev *v);
};

/* What the transport tells the VM; set by vm_build, a test's own in tests. */
struct vdev_host {
	/* An essential device broke. Any thread, maybe under the device's lock: must not wait, nor
	 * call the device. */
	void (*fatal)(void *arg, const char *device, const char *why);
	void *arg;
};

struct vdev {
	const struct vdev_class *cls;
	struct loop *loop; /* owner loop */
	struct mem *mem;
	struct irq_line *irq;
	struct vdev_host host;

	pthread_mutex_t lock;	  /* register accesses; held while the owner loop is waited for */
	pthread_mutex_t cfg_lock; /* cfg and cfg_gen; a leaf, held for a copy */
	uint64_t offered, acked;
	uint32_t status;     /* atomic */
	uint32_t int_status; /* atomic */
	uint32_t cfg_gen;    /* under cfg_lock */
	bool running;	     /* between start and stop; written on the owner loop */
	bool paused;	     /* between vdev_pause() and vdev_resume(); written on the owner loop */
	bool broken;	     /* atomic */
	unsigned nqueues;
	struct vq vq[LIM_VQS];
	int kick_fd[LIM_VQS]; /* eventfds, owned */
	struct loop_src kick_src[LIM_VQS];
	uint8_t cfg[LIM_CFG_SPACE];
	/* a shared-memory window, section 4.2.2: shm_len 0 when there is none */
	uint64_t shm_gpa, shm_len;
};

/*
 * Prepares the common part, wiping @v; the queues are made here (@nqueues 0: as many as the class
 * says). Not yet reachable by the guest. The VM sets irq and host afterwards. After a failure there
 * is nothing for vdev_fini() to do.
 */
int vdev_init(struct vdev *v, const struct vdev_class *cls, unsigned nqueues, struct loop *loop,
	struct mem *mem, struct error *e);
/* Stops it if it runs, releases the common part. Called by the core after the loops have ended,
 * then cls->destroy. */
void vdev_fini(struct vdev *v);

/* On the owner loop: returns pushed entries of @q and interrupts if the driver asked for it. */
void vdev_flush(struct vdev *v, unsigned q);
/* On the owner loop: interrupts, as another process has returned entries. */
void vdev_used(struct vdev *v);
/* Around every change of v->cfg once the guest may run, on any thread; nothing else may be waited
 * for in between. */
void vdev_cfg_lock(struct vdev *v);
void vdev_cfg_unlock(struct vdev *v);
/* Any thread: config bytes changed (already written under vdev_cfg_lock()): tell the driver. */
void vdev_cfg_changed(struct vdev *v);
/* On a vCPU's thread, holding nothing: has cls->mend run on the owner loop, and waits for it. 0
 * also while the device does not run. */
unsigned vdev_mend(struct vdev *v);
/* Any thread: the driver broke the rules, @why in one phrase. NEEDS_RESET, config interrupt, one
 * rate-limited line. */
void vdev_broken(struct vdev *v, const char *why);
bool vdev_is_broken(const struct vdev *v);

static inline bool vdev_has(const struct vdev *v, uint64_t feature)
{
	return (v->acked & feature) == feature;
}

/* Transport side (mmio.c): on vCPU threads, v->lock held. */
uint32_t vdev_status(struct vdev *v);
void vdev_set_status(struct vdev *v, uint32_t status);
void vdev_set_features(struct vdev *v, unsigned word, uint32_t bits);
/* True while the geometry of a queue may be written: not ready, and the driver not ready either. */
bool vdev_queue_open(struct vdev *v, unsigned q);
void vdev_kick(struct vdev *v, unsigned q); /* a trapped notify; any number */
/* Beyond cfg_len reads give zeroes and writes go nowhere. */
void vdev_cfg_read(struct vdev *v, uint64_t off, uint8_t *data, unsigned len);
void vdev_cfg_write(struct vdev *v, uint64_t off, const uint8_t *data, unsigned len);

/*
 * Pause/resume of the whole VM, vCPUs parked, on any thread but with the owner loop free to answer:
 * after pause no callback of the device runs until resume, which kicks every queue. Nested calls
 * are not counted.
 */
void vdev_pause(struct vdev *v);
void vdev_resume(struct vdev *v);
/*
 * While paused. Load wants a device built the same way, before its guest runs, and leaves it paused
 * whatever it was: vdev_resume() sets it going. When load fails the device is unusable but for
 * vdev_fini(), which does not call stop.
 */
int vdev_save(struct vdev *v, struct save_out *s) NODISCARD;
int vdev_load(struct vdev *v, struct save_in *s) NODISCARD;

#endif
