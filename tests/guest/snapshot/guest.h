/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for the snapshot test: a VM as the runtime builds it (our kernel and agent, a root by
 * virtio-fs, vsock, rng, console) with a workload whose stdin and stdout are pipes of ours.
 *
 * Every function ends the program with a sentence when something fails or takes over WAIT_S
 * seconds, so callers go straight on.
 */
#ifndef KRUN_TESTS_SNAPSHOT_GUEST_H
#define KRUN_TESTS_SNAPSHOT_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "init/proto/msg.h"
#include "util/err.h"
#include "vmm.h"

#define WAIT_S 120

struct guest_opts {
	const char *root, *kernel;
	const char *disk; /* a raw image, with which there are an interface and a balloon too */
	unsigned vcpus, mib;
	bool memfd;
	char *const *args; /* of the workload, NULL-terminated; not for a load */
};

struct guest {
	const struct guest_opts *o;
	struct vmm *vm;
	int ctrl;    /* our end of the control stream */
	int in, out; /* our ends of the workload's stdin and stdout */
	int in_rest; /* another descriptor of the VM's end of stdin: what nobody has read yet */
	int done[2]; /* reports of ended streams */
	int wire;    /* the other side of the interface, with @disk */
	struct msg_rx rx;
	uint32_t seq;
	bool exited;
	struct msg_exit exit;
	char line[4096]; /* bytes of stdout that are no whole line yet */
	size_t line_len;
	uint64_t received; /* bytes of stdout so far, those before a load included */
};

_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
double now_ms(void);
/* Exit 77 where KVM runs no guests; call it once, first. */
void need_kvm(void);

/* Boots, makes and starts the workload. */
void guest_boot(struct guest *g, const struct guest_opts *o);
/* The VM of @file with new streams, running and told that it was away. */
void guest_load(struct guest *g, const struct guest_opts *o, int file);
/* vmm_new() and vmm_load() alone: 0, or -errno with a sentence in @e; *vm is to be freed then too.
 */
int guest_try_load(
	const struct guest_opts *o, int file, int done_fd, struct vmm **vm, struct error *e);
void guest_free(struct guest *g);

/* Sends a request and waits for its reply, which must be a success. */
void guest_ask(struct guest *g, enum msg_type type, const void *payload, size_t len);
/* Waits for the end of the workload and of its stdout. */
void guest_wait_exit(struct guest *g);
/* The next line of stdout without its newline; NULL at its end. Valid until the next call. */
const char *guest_line(struct guest *g);
/* What stdout holds, without waiting: bytes, 0 when there are none now, -1 at its end. */
long guest_read(struct guest *g, void *buf, size_t len);
bool guest_readable(const struct guest *g, int timeout_ms);
void guest_say(struct guest *g, const char *text);

#endif
