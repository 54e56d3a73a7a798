/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a context of the krun_* API holds, and what the files of libvmm/api offer to each other.
 *
 * A context is reached by api_get(), which takes the one lock of all contexts, and let go by
 * api_put(): a function of the API has it for its whole body, as CLEAN(api_put). What is in here
 * has been checked; krun_start_enter() takes the context out of the table and owns it alone.
 *
 * libkrun.h is the contract with the callers.
 */
#ifndef KRUN_API_H
#define KRUN_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/limits.h"
#include "libkrun.h"
#include "util/util.h"
#include "vmm.h"

/* A list of strings; NULL-terminated, NULL when it is empty. */
struct api_list {
	char **v;
	size_t n;
};

struct api_fs {
	char *tag, *path; /* path NULL: no directory of the host's */
	uint64_t dax;	  /* bytes, a multiple of 2 MiB */
	bool readonly;
	struct vmm_fs_virt *virt; /* room for LIM_FS_VIRT, or NULL; paths and data on the heap */
	unsigned nvirt;
};

struct api_disk {
	char *id, *path;
	uint32_t format, sync;
	bool readonly, direct;
};

enum api_net_kind {
	API_NET_STREAM,
	API_NET_DGRAM,
	API_NET_TAP,
};

struct api_net {
	enum api_net_kind kind;
	char *path; /* of the socket, or the tap's name; NULL: @fd */
	int fd;
	uint8_t mac[6];
	uint32_t features, flags;
};

struct api_vhost {
	char *path, *name; /* name: or NULL */
	uint32_t type;
	uint16_t nqueues, size[LIM_VQS]; /* 0: not said */
};

struct api_vsock_port {
	uint32_t port;
	bool listen;
	char *path;
};

struct api_map {
	uint16_t host, guest;
};

struct api_port {
	char *name; /* or NULL */
	uint32_t console;
	int in, out; /* or -1 */
	bool tty;
};

struct api_console {
	bool multiport;	  /* its ports are in api_ctx.port */
	int in, out, err; /* or -1 */
};

struct api_serial {
	int in, out; /* or -1 */
};

struct api_ctx {
	uint32_t id;
	unsigned vcpus;
	uint32_t ram_mib;
	bool set_uid, set_gid, nested, split_irqchip;
	bool gpu; /* was asked for */
	uid_t uid;
	gid_t gid;
	struct api_list smbios;

	struct api_fs fs[LIM_API_FS];
	unsigned nfs;
	bool no_init;
	struct api_list volumes; /* "HOST:GUEST" */
	/* The root is on a disk; then there is a share with the root's tag, which is the original's
	 * first process's. Type NULL: any that the guest knows. */
	char *remount_dev, *remount_type, *remount_opts;

	struct api_disk disk[LIM_API_DISKS];
	unsigned ndisks;
	char *root_disk, *data_disk;

	struct api_net net[LIM_API_NETS];
	unsigned nnets;
	struct api_vhost vhost[LIM_API_VHOST];
	unsigned nvhost;
	int passt_fd; /* or -1 */
	char *gvproxy;
	uint8_t mac[6];
	bool mac_set;

	bool no_vsock, vsock_added;
	uint32_t tsi; /* of krun_add_vsock() */
	struct api_vsock_port vsock[LIM_API_VSOCK_PORTS];
	unsigned nvsock;
	bool mapped;
	struct api_map map[LIM_API_PORT_MAP];
	unsigned nmap;

	/* Descriptors 0 to 2 (bits) that were not open at the start: what stands there is ours. */
	unsigned no_std;
	bool no_console;
	char *console_file, *kernel_console;
	struct api_console console[LIM_API_CONSOLES];
	unsigned nconsoles;
	struct api_port port[LIM_API_CONSOLE_PORTS];
	unsigned nports;
	struct api_serial serial[LIM_SERIALS];
	unsigned nserials;

	char *kernel, *initramfs, *cmdline; /* kernel NULL: the library's */
	uint32_t kernel_format;
	char *workdir, *exec;
	struct api_list args, env, rlimits;
	bool env_set;
	int shutdown_fd; /* or -1 */
};

/* The context and the lock, or NULL. */
struct api_ctx *api_get(uint32_t id) NODISCARD;
void api_put(struct api_ctx **c);
/* Takes the context out of the table; the caller owns it. NULL: there is none. */
struct api_ctx *api_take(uint32_t id) NODISCARD;
void api_free(struct api_ctx *c);

/* 0, or -EINVAL: NULL, not UTF-8, or @max bytes and more. */
int api_check(const char *s, size_t max) NODISCARD;
/* A copy of @s in place of *@to. -EINVAL as above, -ENOMEM; *@to is then what it was. */
int api_set(char **to, const char *s, size_t max) NODISCARD;
/* As api_set(), with NULL for none. */
int api_set_or_null(char **to, const char *s, size_t max) NODISCARD;
int api_set_list(struct api_list *to, const char *const v[]) NODISCARD;
void api_list_free(struct api_list *l);
/* A decimal number up to @max that ends at @end, and where it ends. */
bool api_number(const char **s, char end, uint64_t max, uint64_t *out) NODISCARD;

/* share.c: the share with this tag, or NULL; and a new one, -errno as krun_add_virtiofs3(). */
struct api_fs *api_fs_find(struct api_ctx *c, const char *tag);
int api_fs_add(
	struct api_ctx *c, const char *tag, const char *path, uint64_t shm, bool ro) NODISCARD;

/*
 * overlay.c. api_virt_find(): the entry of this path, @len bytes without a slash in front, or NULL.
 * api_virt_put(): a copy of @v at the end of the list, where there is room, and in place of what
 * had its path. api_virt_drop(): takes one out of the list, and all that is in it.
 */
#define API_INIT_NAME "init.krun" /* of the root share, where the original has its init */
const struct vmm_fs_virt *api_virt_find(const struct api_fs *f, const char *path, size_t len);
int api_virt_put(struct api_fs *f, const struct vmm_fs_virt *v) NODISCARD;
void api_virt_drop(struct api_fs *f, const char *path);
void api_virt_free(struct api_fs *f);

/* console.c: the default console that is the workload's standard streams, or NULL. */
const struct api_console *api_workload_console(const struct api_ctx *c);
/* log.c: errors go to standard error, where the program has said nothing of the log. */
void api_log_default(void);
/* Is @fd open? */
bool api_fd_ok(int fd);
/* Resource, soft and hard of "NUMBER=SOFT:HARD" or "NUMBER:SOFT:HARD". */
bool api_rlimit(const char *s, uint64_t v[3]) NODISCARD;
/* Where the part after the colon of a volume begins, or NULL. */
const char *api_volume_guest(const char *s);

#endif
