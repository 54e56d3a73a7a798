/* SPDX-License-Identifier: Apache-2.0 */
/* What a config.json may grow to. A config comes from an image builder or a manager: it is checked,
 * not trusted. */
#ifndef KRUN_OCI_SPEC_LIMITS_H
#define KRUN_OCI_SPEC_LIMITS_H

#define SPEC_LIM_FILE	    (4U << 20) /* bytes of config.json, a process file, a resources file */
#define SPEC_LIM_IMAGE_FILE 65536      /* bytes of /.krun_vm.json */
#define SPEC_LIM_DEPTH	    64	       /* nesting of arrays and objects */
#define SPEC_LIM_NODES	    (1U << 18) /* values in one document */
#define SPEC_LIM_STRING	    (128U << 10) /* bytes of one string: MAX_ARG_STRLEN of the kernel */
#define SPEC_LIM_PATH	    4095
#define SPEC_LIM_NAME	    255 /* one path component; also a container's id */
#define SPEC_LIM_ARGS	    32768
#define SPEC_LIM_ENV	    32768
#define SPEC_LIM_ARG_BYTES \
	(2U << 20)		    /* args and env together: what execve takes at an 8 MiB stack */
#define SPEC_LIM_GROUPS	      65536 /* NGROUPS_MAX */
#define SPEC_LIM_CAPS	      1024
#define SPEC_LIM_MOUNTS	      4096
#define SPEC_LIM_OPTIONS      256	  /* of one mount */
#define SPEC_LIM_MOUNT_DATA   4095	  /* a page with its NUL */
#define SPEC_LIM_ID_MAPS      340	  /* UID_GID_MAP_MAX_EXTENTS */
#define SPEC_LIM_HOOKS	      256	  /* of one kind */
#define SPEC_LIM_HOOK_TIMEOUT (24 * 3600) /* seconds */
#define SPEC_LIM_ANNOTATIONS  4096
#define SPEC_LIM_SYSCTLS      1024
#define SPEC_LIM_PATHS	      4096 /* maskedPaths, readonlyPaths */
#define SPEC_LIM_DEVICES      4096
#define SPEC_LIM_DEV_RULES    4096
#define SPEC_LIM_RES_ITEMS \
	1024 /* throttles, huge page sizes, priorities, rdma devices, unified keys */
#define SPEC_LIM_NETDEVS       64
#define SPEC_LIM_SYSCALLS      4096 /* rules of a seccomp profile */
#define SPEC_LIM_SYSCALL_NAMES 4096 /* names of one rule */
#define SPEC_LIM_SYSCALL_ARGS  64   /* comparisons of one rule; several on one index are allowed */
#define SPEC_LIM_BPF_BYTES     (4096U * 8U) /* BPF_MAXINSNS instructions */
#define SPEC_LIM_WARNINGS      32	    /* kept; the rest is counted by the last one */
#define SPEC_LIM_HOSTNAME      64

#endif
