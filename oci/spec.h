/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json as a checked struct (OCI runtime-spec 1.0 to 1.3: config.md, config-linux.md,
 * config-vm.md).
 *
 * Callers: the CLI and the set-up half of the lifecycle, single-threaded. Everything inside a
 * struct spec (strings, arrays, the struct itself) lives in one arena: owned by the spec, read-only
 * for users, freed at once by spec_free(). Absent strings are NULL, absent lists have n == 0,
 * absent numbers .set == false. Every list of strings is NULL-terminated as well, so that .v can go
 * to execve().
 *
 * What parsing has proven when it returns 0: types, ranges, enum values, counts, UTF-8, no NUL
 * inside a string, absolute paths where the spec wants them, required members of what is present.
 * It has not looked at the host. Unknown properties are skipped; unknown values are errors.
 * spec_refusals() then tells what this version does not honour.
 *
 * Errors are one sentence: `config.json: process.rlimits[1].type: unknown resource "RLIMIT_FOO"`.
 */
#ifndef KRUN_OCI_SPEC_H
#define KRUN_OCI_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct arena;

/* The newest version of the runtime specification that is known here. */
#define SPEC_VERSION	   "1.3.0"
#define SPEC_VERSION_MINOR 3

struct strv {
	char **v; /* v[n] is NULL; v itself is never NULL after a parse */
	size_t n;
};

struct spec_kv {
	const char *key;
	const char *value;
};

struct opt_i64 {
	bool set;
	int64_t v;
};

struct opt_u64 {
	bool set;
	uint64_t v;
};

struct opt_u32 {
	bool set;
	uint32_t v;
};

/* process */

struct spec_rlimit {
	int resource;	  /* RLIMIT_* */
	const char *name; /* "RLIMIT_NOFILE" */
	uint64_t soft, hard;
};

struct spec_user {
	uint32_t uid, gid;
	struct opt_u32 umask;
	uint32_t *groups;
	size_t n_groups;
};

/* Bit n is capability n. Absent from the config: all sets empty (the same as an empty object). */
struct spec_caps {
	bool set;
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

struct spec_scheduler {
	bool set;
	uint32_t policy; /* SCHED_* */
	int32_t nice;
	int32_t priority;
	uint64_t flags; /* SCHED_FLAG_* */
	uint64_t runtime, deadline, period;
};

struct spec_ioprio {
	bool set;
	int class; /* IOPRIO_CLASS_* */
	int priority;
};

struct spec_process {
	bool set; /* false: no "process" in the config, start must fail */
	bool terminal;
	bool no_new_privs;
	uint16_t rows, cols; /* consoleSize, 0 when absent */
	bool user_set;	     /* "user" stands there */
	struct spec_user user;
	struct strv args; /* at least one when set, args[0] not empty */
	struct strv env;
	const char *cwd; /* absolute */
	struct spec_caps caps;
	struct spec_rlimit *rlimits; /* no resource twice */
	size_t n_rlimits;
	const char *apparmor_profile;
	const char *selinux_label;
	struct opt_i64 oom_score_adj; /* -1000..1000 */
	struct spec_scheduler scheduler;
	struct spec_ioprio ioprio;
	/* execCPUAffinity: lists of the host's and the guest's CPUs, syntax checked; of an exec */
	const char *cpu_initial, *cpu_final;
};

/* mounts */

/* What the mount is for the guest. A bind of the host's own /proc, /sys, /dev/mqueue, /dev/pts or
 * /sys/fs/cgroup on the same path is the guest's own file system of that kind, with .from_host set.
 */
enum spec_mount_kind {
	SPEC_MNT_BIND, /* of a directory or a file: the executor finds out which */
	SPEC_MNT_TMPFS,
	SPEC_MNT_PROC,
	SPEC_MNT_SYSFS,
	SPEC_MNT_DEVPTS,
	SPEC_MNT_MQUEUE,
	SPEC_MNT_CGROUP, /* "cgroup" or "cgroup2" */
	SPEC_MNT_OTHER,	 /* a file system type for the host's kernel: see .type */
};

struct spec_id_map {
	uint32_t container, host, size;
};

struct spec_id_maps {
	struct spec_id_map *v; /* size > 0, no overlap on either side */
	size_t n;
};

struct spec_mount {
	enum spec_mount_kind kind;
	bool from_host;
	const char *destination; /* absolute, no "." or ".." or "//", never "/" */
	const char *type;	 /* as given; NULL for a bind without one */
	const char *source; /* as given, NULL when absent; a bind's may be relative to the bundle */
	struct strv options; /* as given */
	bool recursive;	     /* rbind */
	bool tmpcopyup;
	bool idmap;	      /* "idmap" or "ridmap" or own mappings */
	bool idmap_recursive; /* "ridmap" */
	bool idmap_option;    /* the word itself was there */
	unsigned long set;    /* MS_* to set: RDONLY NOSUID NODEV NOEXEC NOATIME ... */
	unsigned long
		clear; /* MS_* named by their opposite ("rw", "suid", ...): clear them on a bind */
	unsigned long
		propagation; /* 0 or one of MS_SHARED/SLAVE/PRIVATE/UNBINDABLE, maybe | MS_REC */
	uint64_t rec_set, rec_clear; /* MOUNT_ATTR_* for mount_setattr(AT_RECURSIVE) */
	uint64_t source_attr; /* MOUNT_ATTR_* that a bind's source has: by mount_plan_execute() */
	const char *data;     /* the file system's own options, comma-joined; "" when none */
	struct spec_id_maps uid_maps, gid_maps;
};

/* hooks */

enum spec_hook_kind {
	SPEC_HOOK_PRESTART,
	SPEC_HOOK_CREATE_RUNTIME,
	SPEC_HOOK_CREATE_CONTAINER,
	SPEC_HOOK_START_CONTAINER,
	SPEC_HOOK_POSTSTART,
	SPEC_HOOK_POSTSTOP,
	SPEC_HOOK_KINDS,
};

struct spec_hook {
	const char *path; /* absolute */
	struct strv args; /* argv, argv[0] included; n == 0: argv is {path} */
	bool env_set;	  /* false: inherit the runtime's environment */
	struct strv env;
	unsigned timeout; /* seconds, 0: none */
};

struct spec_hooks {
	struct spec_hook *v;
	size_t n;
};

/* linux */

enum spec_ns_type {
	SPEC_NS_MOUNT,
	SPEC_NS_PID,
	SPEC_NS_NETWORK,
	SPEC_NS_IPC,
	SPEC_NS_UTS,
	SPEC_NS_USER,
	SPEC_NS_CGROUP,
	SPEC_NS_TIME,
	SPEC_NS_TYPES,
};

struct spec_ns {
	bool set;	  /* listed: a new one, or the one at path */
	const char *path; /* absolute, or NULL */
};

struct spec_time_offset {
	bool set;
	int64_t secs;
	uint32_t nsecs;
};

struct spec_device {
	const char *path; /* absolute, normalised */
	char type;	  /* 'c' (also for 'u'), 'b', 'p' */
	uint32_t major, minor;
	struct opt_u32 mode, uid, gid;
};

struct spec_netdev {
	const char *host_name;
	const char *name; /* NULL: the same */
};

struct spec_dev_rule {
	bool allow;
	char type;	      /* 'a', 'c', 'b' */
	int64_t major, minor; /* -1: any */
	bool r, w, m;
};

struct spec_memory {
	bool set;
	struct opt_i64 limit, reservation, swap, kernel, kernel_tcp; /* bytes, -1 unlimited */
	struct opt_u64 swappiness;				     /* 0..100 */
	bool disable_oom_killer, use_hierarchy, check_before_update;
};

struct spec_cpu {
	bool set;
	struct opt_u64 shares, burst, period, rt_period;
	struct opt_i64 quota, rt_runtime, idle;
	const char *cpus, *mems; /* lists, syntax checked; NULL when absent or empty */
	unsigned n_cpus;	 /* how many CPUs .cpus names, 0 when absent */
};

struct spec_throttle {
	uint32_t major, minor;
	uint64_t rate;
};

struct spec_throttles {
	struct spec_throttle *v;
	size_t n;
};

struct spec_weight_device {
	uint32_t major, minor;
	struct opt_u32 weight, leaf_weight;
};

struct spec_blkio {
	bool set;
	struct opt_u32 weight, leaf_weight; /* 0 or 10..1000 */
	struct spec_weight_device *weight_devices;
	size_t n_weight_devices;
	struct spec_throttles read_bps, write_bps, read_iops, write_iops;
};

struct spec_hugepage {
	const char *page_size; /* "2MB" */
	uint64_t limit;
};

struct spec_net_prio {
	const char *name;
	uint32_t priority;
};

struct spec_rdma {
	const char *device;
	struct opt_u32 handles, objects;
};

struct spec_resources {
	bool set;
	struct spec_dev_rule *devices;
	size_t n_devices;
	struct spec_memory memory;
	struct spec_cpu cpu;
	struct opt_i64 pids; /* limit; -1 unlimited */
	struct spec_blkio blkio;
	struct spec_hugepage *hugepages;
	size_t n_hugepages;
	struct opt_u32 net_class;
	struct spec_net_prio *net_prios;
	size_t n_net_prios;
	struct spec_rdma *rdma;
	size_t n_rdma;
	struct spec_kv *unified; /* cgroup v2 file names: no '/', no leading dot */
	size_t n_unified;
};

struct spec_seccomp_arg {
	uint32_t index; /* 0..5 */
	uint32_t op;	/* enum scmp_compare */
	uint64_t value, value_two;
};

struct spec_seccomp_rule {
	struct strv names;
	uint32_t action; /* SCMP_ACT_*, data included */
	struct spec_seccomp_arg *args;
	size_t n_args;
};

struct spec_seccomp {
	bool set;
	uint32_t default_action;
	uint32_t *archs; /* SCMP_ARCH_* */
	size_t n_archs;
	uint32_t flags; /* SECCOMP_FILTER_FLAG_* */
	bool notify;	/* some action is SCMP_ACT_NOTIFY */
	const char *listener_path, *listener_metadata;
	struct spec_seccomp_rule *rules;
	size_t n_rules;
};

struct spec_rdt {
	bool set;
	const char *clos_id, *l3_schema, *mem_bw_schema;
	struct strv schemata;
	bool monitoring;
};

struct spec_mempolicy {
	bool set;
	unsigned mode;	/* MPOL_* */
	unsigned flags; /* MPOL_F_* */
	const char *nodes;
};

struct spec_linux {
	bool set;
	struct spec_ns ns[SPEC_NS_TYPES];
	struct spec_id_maps uid_maps,
		gid_maps; /* both empty in a new user namespace: 0 is the caller */
	struct spec_time_offset monotonic, boottime;
	struct spec_device *devices; /* no path twice */
	size_t n_devices;
	struct spec_netdev *netdevs;
	size_t n_netdevs;
	const char *cgroups_path; /* as given: a path, or slice:prefix:name */
	struct spec_resources res;
	unsigned long rootfs_propagation; /* as spec_mount.propagation */
	struct spec_seccomp seccomp;
	struct spec_kv
		*sysctl; /* "net.ipv4.conf.eth0/1.mtu": '.' is the separator, '/' a dot in a name */
	size_t n_sysctl;
	struct strv masked_paths, readonly_paths; /* absolute, normalised */
	const char *mount_label;
	struct spec_rdt rdt;
	bool personality_set;
	unsigned long personality; /* PER_LINUX or PER_LINUX32 */
	struct spec_mempolicy mempolicy;
};

/* vm */

struct spec_vm {
	bool set;
	const char *hypervisor; /* absolute, or NULL */
	struct strv hypervisor_params;
	const char *kernel; /* absolute; NULL: the built-in one */
	struct strv kernel_params;
	const char *initrd;
	const char *image, *image_format;
	struct opt_u64 vcpus;
	struct opt_u64 memory; /* bytes */
	const char *device_tree;
	size_t n_dtdevs, n_iomems, n_irqs;
};

struct spec {
	struct arena *arena; /* of spec.c */
	const char *version;
	bool root_set;
	const char *root; /* as given: absolute, or relative to the bundle */
	bool root_readonly;
	uint64_t root_attr; /* MOUNT_ATTR_* that its mount has: by mount_plan_execute() */
	const char *hostname, *domainname;
	struct spec_process process;
	struct spec_mount *mounts;
	size_t n_mounts;
	struct spec_hooks hooks[SPEC_HOOK_KINDS];
	struct spec_kv *annotations; /* no key twice */
	size_t n_annotations;
	bool annotations_ignored; /* those that are refused, by spec_ignore() */
	const char *ignore;	  /* fields for spec_ignore(): the annotation's, unless the caller
				     of the reader sets others; NULL: none */
	struct spec_linux linux_; /* "linux" is a macro of some compilers */
	struct spec_vm vm;
	unsigned image_cpus;  /* what the image says, cut to what it may: spec_image_size() */
	uint64_t image_ram;   /* bytes; both 0: nothing */
	struct strv warnings; /* sentences for the log at level warning */
};

/*
 * Parses a whole config from memory. 0 with *@out to be freed, or -EINVAL/-ENOMEM/-E2BIG and @e.
 * @text need not be NUL-terminated.
 */
int spec_parse(const char *text, size_t len, struct spec **out, struct error *e);

/* Reads @name below @dirfd (a regular file of at most SPEC_LIM_FILE bytes) and parses it. Where
 * @text is not NULL it gets the bytes that were parsed, to be stored and freed by the caller. */
int spec_load(
	int dirfd, const char *name, struct spec **out, char **text, size_t *len, struct error *e);

/* The same from an open file or pipe, which the caller keeps; @name is what messages call it. */
int spec_load_fd(
	int fd, const char *name, struct spec **out, char **text, size_t *len, struct error *e);

/* A `process` object alone (exec --process): only .process and .warnings are set. */
int spec_parse_process(const char *text, size_t len, struct spec **out, struct error *e);

/* A `linux.resources` object alone (update): only .linux_.res and .warnings are set. The second
 * reads it from an open file or pipe, which the caller keeps. */
int spec_parse_resources(const char *text, size_t len, struct spec **out, struct error *e);
int spec_load_resources(int fd, struct spec **out, struct error *e);

void spec_free(struct spec *s);

/* For CLEAN(). */
void spec_freep(struct spec **s);

/* The value of an annotation, or NULL. */
const char *spec_annotation(const struct spec *s, const char *key);
/* Does the @value (NULL: none) of one of crun's switches say yes? */
bool spec_annotation_on(const char *value);

/* "prestart", "createRuntime", ... */
const char *spec_hook_name(enum spec_hook_kind k);

/* "mount", "pid", "network", ... */
const char *spec_ns_name(enum spec_ns_type t);

/* The mount options that have a meaning of their own, by number; NULL at the end. */
const char *spec_mount_option(size_t i);

/* The words that linux.seccomp may hold, by number; NULL at the end. */
enum spec_seccomp_list {
	SPEC_SECCOMP_ACTIONS,
	SPEC_SECCOMP_ARCHS,
	SPEC_SECCOMP_OPERATORS,
	SPEC_SECCOMP_FLAGS,
};
const char *spec_seccomp_word(enum spec_seccomp_list list, size_t i);

/* Entries of blockIO together that are honoured. */
#define SPEC_MAX_THROTTLES 32

/* Who gets a key of linux.resources.unified: the VMM's cgroup on the host, or the workload's in the
 * guest; nobody: refused. */
enum spec_unified_side {
	SPEC_UNIFIED_NOBODY,
	SPEC_UNIFIED_HOST,
	SPEC_UNIFIED_GUEST,
};
enum spec_unified_side spec_unified_side(const char *key);

/*
 * What config.json asks for and this version cannot give: -ENOTSUP and a sentence that names the
 * field. Needs no host; one row per refusal in spec_refuse.c.
 */
int spec_refusals(const struct spec *s, struct error *e);
/* Warns of what of @field would be refused. */
void spec_warn_refusals(const struct spec *s, const char *field);

/* spec_trust.c: -EPERM for an annotation that reaches into the host or undoes a refusal, and names
 * it: an image may have set it (Podman before 4.6 copies an image's). */
int spec_check_trust(const struct spec *s, struct error *e);

#define SPEC_IGNORE_KEY "krun-oci.ignore"
/*
 * spec_ignore.c: takes out of @s what @ignore of @by (the container's config, most often @s itself)
 * lists, with a warning each, so that it is not refused and not seen by anybody. -EINVAL for what
 * cannot be ignored. To be called before spec_refusals() and spec_check_lsm().
 */
int spec_ignore(struct spec *s, const struct spec *by, struct error *e);
/* Whether @by lists @field; the fields that can be listed, NULL at the end. */
bool spec_ignores(const struct spec *by, const char *field);
/* Each field once that one of two such lists (or NULL) has; malloc'ed, NULL: no memory. */
char *spec_ignore_join(const char *a, const char *b);
/* The same -EINVAL for a list of the command line's, which @where names. */
int spec_check_ignore(const char *list, const char *where, struct error *e);
const char *spec_ignorable(size_t i);

/* Mount options that are flags of a file system as a whole; those that one which is new can have.
 */
#define SPEC_SUPER_FLAGS                                                                          \
	((unsigned long)(MS_SYNCHRONOUS | MS_DIRSYNC | MS_MANDLOCK | MS_I_VERSION | MS_LAZYTIME | \
		MS_REMOUNT))
#define SPEC_NEW_FS_FLAGS ((unsigned long)(MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME))
/* The flags of @m that are not honoured. */
unsigned long spec_refused_flags(const struct spec_mount *m);
/* A device that the host has and a guest has not. */
bool spec_is_host_device(const struct spec_device *d);
/* One of a namespace of the container's. */
bool spec_sysctl_allowed(const char *key);
struct vmm_fs;
/*
 * spec_cache.c: fills cache, at and drop_idle of @f from the annotation krun-oci.virtiofs.cache and
 * the mounts. @root_fd: the finished tree, or -1 to look only whether the annotation is right.
 */
int spec_cache_rules(const struct spec *s, int root_fd, struct vmm_fs *f, struct error *e);

/* spec_dax.c: bytes of the window for files that a guest of @ram bytes gets, 0 for none, by the
 * annotation krun-oci.virtiofs.dax. */
int spec_dax(const struct spec *s, uint64_t ram, uint64_t *bytes, struct error *e);

/* spec_dax.c: whether guest RAM is to be in the host's huge pages, by krun-oci.hugepages. */
int spec_hugepages(const struct spec *s, bool *huge, struct error *e);

/* Whether a row of that table carries this field's name; the rows by number, NULL at the end. */
bool spec_is_refused(const char *field);
const char *spec_refused_field(size_t i);

#define SPEC_CPU_WORDS 128 /* of 64 CPUs */
/* A list of CPUs ("0-3,8") as the first @words of its bits; false when none of them is set. */
bool spec_cpu_bits(const char *list, uint64_t *bits, size_t words);

/*
 * -ENOTSUP when an SELinux label is asked for and @selinux says that it would mean something on
 * this host: none is applied. Where the module is not there, neither are its labels.
 */
int spec_check_lsm(const struct spec *s, bool selinux, struct error *e);
bool spec_host_has_selinux(void);

/*
 * What `krun-oci spec` writes: a config for a bundle with a rootfs folder, one that parses and is
 * not refused. @rootless: in a user namespace of the caller's ids, on the host's network. *@out is
 * malloc'ed.
 */
int spec_default(bool rootless, uint32_t uid, uint32_t gid, char **out, size_t *len);

/* What `krun-oci features` writes (features.md of the runtime-spec), truthful as of
 * spec_refusals(). */
int features_json(const char *version, char **out, size_t *len);

/* A container's id: [A-Za-z0-9_+.-]+, no leading dot, at most SPEC_LIM_NAME bytes. */
int spec_check_id(const char *id, struct error *e);

/* Host memory that a VM needs beside guest RAM, however large: cgroup memory.max is guest RAM,
 * this, and LIM_FS_NODE_RAM(). */
#define VM_OVERHEAD_BYTES (64ULL << 20)
#define VM_RAM_DEFAULT	  (1024ULL << 20)
#define VM_RAM_FLOOR	  (64ULL << 20)
#define VM_CPUS_DEFAULT	  4U /* at most; never more than the host's */

struct vm_size {
	unsigned vcpus;
	unsigned cpus;	    /* of these, how many the workload runs on: quota and cpuset say it */
	uint64_t ram;	    /* bytes, whole MiB */
	uint64_t guest_max; /* memory.max of the workload in the guest; 0: none */
	uint64_t host_max;  /* memory.max of the container's cgroup on the host; 0: none */
	uint64_t dax;	    /* bytes of the window for files; 0: none */
	bool hugepages;	    /* RAM is a multiple of 2 MiB and in the host's huge pages */
};

/*
 * spec_image.c: image_cpus and image_ram from /.krun_vm.json below @rootfs_fd, which is the image's
 * and untrusted. What is wrong with it is a warning.
 */
void spec_image_size(struct spec *s, int rootfs_fd, unsigned host_cpus);
uint64_t spec_host_ram(void);

/*
 * The size of the guest. CPUs: krun.cpus, else vm.hwConfig.vcpus, else min(cpuset,
 * ceil(quota/period)), else image_cpus, else VM_CPUS_DEFAULT; never above LIM_VCPUS; @host_cpus (of
 * the caller's affinity) bounds all but the two explicit ones. RAM: krun.ram_mib above 128, else
 * vm.hwConfig.memory, else memory.limit rounded up to MiB, else image_ram, else VM_RAM_DEFAULT;
 * with krun-oci.hugepages rounded down to 2 MiB.
 * -EINVAL and @e for a bad annotation or one above memory.limit.
 */
int spec_vm_size(const struct spec *s, unsigned host_cpus, struct vm_size *out, struct error *e);

#endif
