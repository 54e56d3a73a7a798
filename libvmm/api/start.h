/* SPDX-License-Identifier: Apache-2.0 */
/*
 * krun_start_enter(), in parts: which kernel (kernel.c, unpack.c, bundle.c), what the workload is
 * (work.c), what its standard streams are (stdio.c), the VM's devices (devices.c), and
 * the loop that ends the process (run.c). All on the thread of the caller.
 */
#ifndef KRUN_API_START_H
#define KRUN_API_START_H

#include "api/api.h"
#include "util/err.h"
#include "vmm.h"

/* ---- kernel.c ---- */

enum boot {
	BOOT_AGENT, /* our kernel: the agent comes in an initramfs */
	BOOT_TREE,  /* a kernel that mounts a root share at once: the agent comes in one */
	BOOT_OWN,   /* the caller's own first process: no agent */
};

struct api_kernel {
	enum boot boot;
	int fd;	      /* owned */
	bool foreign; /* not ours: it may want an interval timer */
};

/* The kernel of the context, or the one that was found when the library was loaded. */
int kernel_find(const struct api_ctx *c, struct api_kernel *k, struct error *e) NODISCARD;
/* @buf and @end of LIM_CMDLINE bytes each: in front of the descriptions of devices, and behind
 * them. -E2BIG, or -EINVAL for what cannot stand on a command line. */
int kernel_line(const struct api_ctx *c, const struct api_kernel *k, bool tsi, char *buf, char *end,
	struct error *e) NODISCARD;

/* ---- unpack.c ---- */

/*
 * Finds the first part of @in that is packed as @format (KRUN_KERNEL_FORMAT_*) says and holds an
 * ELF file, and writes that to @out, a file that is empty. -ENOEXEC: there is none; -E2BIG: it is
 * larger than @max.
 */
int unpack(const uint8_t *in, size_t len, uint32_t format, int out, uint64_t max,
	struct error *e) NODISCARD;

/* ---- bundle.c ---- */

/* What krunfw_get_kernel() says: an image, where it belongs in the guest, and its entry there. */
struct bundle {
	const void *image; /* stays as long as the process */
	size_t load, entry, size;
};
/* -ENOENT: no such library. */
int bundle_find(struct bundle *b, struct error *e) NODISCARD;
/* The same as an ELF file: its descriptor. -ENOEXEC: it makes no sense. */
int bundle_elf(const struct bundle *b, struct error *e) NODISCARD;

/* ---- work.c ---- */

struct words {
	char **v;
	size_t n, cap;
};

/* The workload: what was set in the context, and where that says nothing /.krun_config.json. */
struct work {
	struct words args, env;
	char *cwd, *tmpfs; /* or NULL */
	const char *hostname;
};

/* @root_fd: the root's directory, or -1. A config that is a one-shot file of the root is gone from
 * there afterwards. */
int work_make(struct api_ctx *c, int root_fd, struct work *w, struct error *e) NODISCARD;
/* Takes from the text of a config what is not set yet. -EINVAL: it is no such text. */
int work_config(struct work *w, const struct api_ctx *c, const char *text, size_t len,
	struct error *e) NODISCARD;
/* @s, absolute, without empty parts, "." and ".." */
void work_path(const char *s, char out[LIM_API_PATH]);
/* blob.c: is something mounted at @dest, such a path, whatever a config says? */
bool work_mounts(const struct api_ctx *c, const char *dest) NODISCARD;
void work_free(struct work *w);
/* What the agent is told: the message's payload, heap. @tty is what the workload's terminal is
 * here, or -1; @hvc0: it is what the guest's programs find as hvc0, too. */
int work_blob(const struct work *w, const struct api_ctx *c, unsigned stdio, int tty, bool hvc0,
	uint8_t **out, size_t *len, struct error *e) NODISCARD;

/* ---- stdio.c ---- */

/* A terminal of this side. */
struct stdio_term {
	int fd;	  /* borrowed */
	int port; /* the console port that has its size, or -1: the agent's, or nobody */
	bool raw; /* it is read: a cable to the guest's */
};

#define STDIO_TERMS (1 + VMM_MAX_PORTS + LIM_SERIALS)

struct stdio {
	int fd[3];			 /* or -1; borrowed, but for @file */
	int tty;			 /* or -1: a terminal in place of the three */
	int file;			 /* of krun_set_console_output(), or -1 */
	int in, out;			 /* of hvc0, or -1; for output the log then */
	const struct api_port *hvc0;	 /* the program's port that comes first, or NULL */
	const struct api_port *named[3]; /* the port by whose name a stream is @fd, or NULL */
	/* all that there are: of the streams by stdio_find(), of ports by start_devices() */
	struct stdio_term term[STDIO_TERMS];
	unsigned nterms;
};

/* Takes those of the descriptors 0 to 2 that are not open, so that nothing that is opened later
 * passes for a stream of the program's; stdio_let_go() gives them back. */
int stdio_hold(struct api_ctx *c, struct error *e) NODISCARD;
void stdio_let_go(struct api_ctx *c);
/* @own: a first process of the caller's, for which each stream that is no terminal has a port. */
int stdio_find(const struct api_ctx *c, bool own, struct stdio *s, struct error *e) NODISCARD;
/* Another one, where @fd is a terminal. */
void stdio_add_term(struct stdio *s, int fd, int port, bool raw);
/* Those that are read as cables to the guest's, until stdio_restore(). */
void stdio_raw(const struct stdio *s);
void stdio_restore(void);

/* ---- devices.c ---- */

#define START_FIRST 8

/* A start on its way; start.c makes it and takes it apart. */
struct start {
	struct api_ctx *c;
	struct vmm *vm;
	struct vmm_config cfg; /* owns its descriptors until vmm_build() */
	struct api_kernel kernel;
	struct vmm_fs_virt first[START_FIRST]; /* of the share in which other kernels begin */
	struct stdio stdio;
	struct work work;
	char line[LIM_CMDLINE], line_end[LIM_CMDLINE];
	void *initrd;
	int kvm_fd, done[2];
	int signal;		      /* that ended the loop, or 0 */
	int32_t code;		      /* atomic: of an init of the caller's, or RUN_NO_CODE */
	unsigned nvsock;	      /* ports of the context whose sockets were made */
	char *nic_name[LIM_API_NETS]; /* of sockets that were made for network interfaces */
	unsigned nnic_names;
};

/* The share that is the guest's root, or NULL. */
const struct api_fs *start_root(const struct api_ctx *c);
/* Is TSI on? Without an interface it is, unless it was said otherwise. */
bool start_tsi(const struct api_ctx *c);
/* Fills what s->cfg says of devices. What it has opened stays in there also when it fails. */
int start_devices(struct start *s, struct error *e) NODISCARD;
/* Of a start that failed: closes what s->cfg still has, and removes the names of sockets that were
 * made. */
void start_devices_undo(struct start *s);
/* Removes the names of the sockets that vsock ports listen on. */
void start_vsock_unname(struct start *s);

/* ---- nics.c ---- */

bool start_has_nics(const struct api_ctx *c);
/* As start_devices(), of the network interfaces. */
int start_nics(struct start *s, struct error *e) NODISCARD;
/* Removes the names of their sockets. */
void start_nics_unname(struct start *s);

/* ---- vhost.c ---- */

/* Is there a vhost-user device of this virtio type? */
bool start_has_vhost(const struct api_ctx *c, uint32_t type);
/* As start_devices(), of devices that other processes serve. */
int start_vhost(struct start *s, struct error *e) NODISCARD;
/* Connects @fd, a unix stream socket, to @path; -ETIMEDOUT when who is there takes no connection
 * within @ms. */
int start_vhost_connect(int fd, const char *path, unsigned ms) NODISCARD;

/* ---- drives.c ---- */

/* As start_devices(), of the disks; by the user who called. */
int start_disks(struct start *s, struct error *e) NODISCARD;

/* ---- signals.c ---- */

/*
 * SIGTERM, SIGINT and SIGHUP no longer end the process where they would have, by whichever thread:
 * the eventfd that is returned becomes readable. -errno. For one VM of a process.
 */
int signals_take(void) NODISCARD;
/* They end it again. Nothing to do when they do. */
void signals_give_back(void);
int signals_first(void); /* that came since signals_take(), or 0 */

/* ---- run.c ---- */

#define RUN_NO_CODE INT32_MAX

/* What is known when a VM has ended. */
struct run_end {
	enum vmm_end how;
	bool panicked;	   /* vmm_panicked() */
	bool work;	   /* there is an agent */
	bool created;	   /* and it has made the workload's place */
	bool exited;	   /* and the workload has ended, with @code */
	bool stopping;	   /* the shutdown eventfd was written */
	int code;	   /* of the workload */
	int32_t init_code; /* what an init of the caller's told, or RUN_NO_CODE */
};

struct msg_exit; /* init/proto/msg.h */

/* The workload's, from how the first process of its PID namespace ended. */
int run_exit_code(const struct msg_exit *x) NODISCARD;
/* The exit code of the process. */
int run_end_code(const struct run_end *x) NODISCARD;

struct run_cfg {
	struct vmm *vm;
	const struct api_ctx *c;
	const struct stdio *stdio;
	const struct work *work; /* NULL: no agent */
	int done_fd;		 /* read end of what vmm_config.vsock_done_fd is */
	const int32_t *code;	 /* atomic: vmm_fs.exit_code, RUN_NO_CODE at first */
	int *signal;		 /* 0 at first; see run() */
};

/* Starts the VM and serves it until it has ended: the exit code, or -errno when it did not start.
 * With *signal set the process is to end by that. */
int run(const struct run_cfg *cfg, struct error *e) NODISCARD;

#endif
