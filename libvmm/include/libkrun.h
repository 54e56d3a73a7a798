/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkrun.h: the krun_* C API, compatible with libkrun 1.18, on libvmm.
 *
 * A program makes a context, says in it what the VM is to be, and hands its process over with
 * krun_start_enter(), which ends the process with the workload's exit code. Who wants to come back,
 * or to have two VMs, uses vmm.h.
 *
 * For all functions, unless they say otherwise:
 *  - The result is 0 or a value that is not negative; or -errno: -ENOENT for a context that is not
 *    there, -EINVAL for an argument that makes no sense (NULL where a value must be, text that is
 *    not UTF-8 or too long, a number out of range), -ENOMEM, -ENOTSUP for what this library does
 *    not have; krun_has_feature() tells the same in advance.
 *  - Any thread may call, also at the same time; calls on one process's contexts take turns.
 *  - Strings and lists are copied. A list is an array of strings that ends with NULL; one of more
 *    than 4096 entries is -EINVAL. Descriptors are not copied: keep them open until
 *    krun_start_enter().
 *  - Nothing is changed by a call that fails.
 *
 * docs/abi.md says what may change here, and where this library and the original differ.
 */
#ifndef KRUN_LIBKRUN_H
#define KRUN_LIBKRUN_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

/* ---- Logging ---- */

#define KRUN_LOG_TARGET_DEFAULT (-1) /* standard error */

#define KRUN_LOG_LEVEL_OFF   0
#define KRUN_LOG_LEVEL_ERROR 1
#define KRUN_LOG_LEVEL_WARN  2
#define KRUN_LOG_LEVEL_INFO  3
#define KRUN_LOG_LEVEL_DEBUG 4
#define KRUN_LOG_LEVEL_TRACE 5

#define KRUN_LOG_STYLE_AUTO   0 /* colours when the target is a terminal */
#define KRUN_LOG_STYLE_ALWAYS 1
#define KRUN_LOG_STYLE_NEVER  2

#define KRUN_LOG_OPTION_NO_ENV 1 /* the environment changes nothing */

/*
 * What is logged, to standard error; KRUN_LOG_LEVEL_*, and what is above counts as TRACE. The level
 * in the environment variable RUST_LOG (off, error, warn, info, debug, trace; of a list with commas
 * the last that is for all) goes first, as do the colours of RUST_LOG_STYLE (auto, always, never).
 * May be called again: the last call counts. Without a call it is ERROR from krun_start_enter() on.
 */
int32_t krun_set_log_level(uint32_t level);

/*
 * As krun_set_log_level(), with a target. @target_fd: -1 or 2 for standard error, 1 for standard
 * output, 3 and above any descriptor, which this library then owns until it is told another one.
 * -EINVAL: another descriptor, a style or an option that is not listed, or a descriptor that is not
 * open.
 */
int32_t krun_init_log(int target_fd, uint32_t level, uint32_t style, uint32_t options);

/* ---- Contexts and the machine ---- */

/* A new context: its id. -ENOMEM: too many of them, or no memory. Ids are not used twice. */
int32_t krun_create_ctx(void);

/* Forgets a context and all that was said in it. */
int32_t krun_free_ctx(uint32_t ctx_id);

/*
 * Virtual processors, at least 1, and memory in MiB, at least 1; over 16 become 16, and less than
 * 32 becomes 32. Without this call it is 1 and 128. -EINVAL: out of range.
 */
int32_t krun_set_vm_config(uint32_t ctx_id, uint8_t num_vcpus, uint32_t ram_mib);

/* Whether the guest may run guests of its own. krun_start_enter() is -ENOTSUP where this host does
 * not let it (krun_check_nested_virt()). */
int32_t krun_set_nested_virt(uint32_t ctx_id, bool enabled);

/* Whether this host's KVM could: 1 or 0. */
int32_t krun_check_nested_virt(void);

/*
 * The I/O APIC in this process, the local APICs in KVM, and neither an old interrupt controller nor
 * an interval timer: the guest's kernel needs another one (its local APIC's, which Linux takes
 * where KVM's clock or the processor says how fast that is). -EINVAL where there is no such choice,
 * which is everywhere but on x86_64; krun_start_enter() is -ENOTSUP where this host's KVM cannot.
 */
int32_t krun_split_irqchip(uint32_t ctx_id, bool enable);

/* The most processors that a VM has. -EINVAL: /dev/kvm cannot be opened. */
int32_t krun_get_max_vcpus(void);

#define KRUN_FEATURE_NET		 0
#define KRUN_FEATURE_BLK		 1
#define KRUN_FEATURE_GPU		 2
#define KRUN_FEATURE_SND		 3
#define KRUN_FEATURE_INPUT		 4
#define KRUN_FEATURE_EFI		 5
#define KRUN_FEATURE_TEE		 6
#define KRUN_FEATURE_AMD_SEV		 7
#define KRUN_FEATURE_INTEL_TDX		 8
#define KRUN_FEATURE_AWS_NITRO		 9
#define KRUN_FEATURE_VIRGL_RESOURCE_MAP2 10
#define KRUN_FEATURE_INIT_BLOB		 11

/* 1 when this library has it, 0 when not. -EINVAL: no such feature is known. */
int32_t krun_has_feature(uint64_t feature);

/* The user and group that krun_start_enter() changes this process to before it makes the VM; group
 * first. When it cannot, it returns that error. */
int32_t krun_setuid(uint32_t ctx_id, uid_t uid);
int32_t krun_setgid(uint32_t ctx_id, gid_t gid);

/* OEM strings of the machine's SMBIOS table (type 11, seen in /sys/firmware/dmi by kernels that
 * have DMI): at most 255, and 60 KiB in all (-ENOSPC); an empty one is a space there. An empty list
 * clears. A kernel of krun_set_kernel() finds such a table in any case, others with strings alone.
 */
int32_t krun_set_smbios_oem_strings(uint32_t ctx_id, const char *const oem_strings[]);

/* ---- Files: directories shared by virtio-fs ---- */

#define KRUN_FS_ROOT_TAG "/dev/root"

/*
 * The directory that is the guest's root, read and write. It is looked at by krun_start_enter().
 * -EEXIST: there is a root.
 */
int32_t krun_set_root(uint32_t ctx_id, const char *root_path);

/*
 * A further directory, which the guest mounts by its tag: mount -t virtiofs TAG DIR. Tags have 1 to
 * 36 bytes; "root" is this library's own. KRUN_FS_ROOT_TAG makes it the guest's root. @shm_size:
 * bytes of a window for DAX, rounded up to 2 MiB; 0 for none. @c_path: NULL for a share that has
 * nothing but krun_fs_add_overlay_*(). -EEXIST: the tag is in use; -ENOSPC: no more than 8 shares.
 */
int32_t krun_add_virtiofs(uint32_t ctx_id, const char *c_tag, const char *c_path);
int32_t krun_add_virtiofs2(
	uint32_t ctx_id, const char *c_tag, const char *c_path, uint64_t shm_size);
int32_t krun_add_virtiofs3(
	uint32_t ctx_id, const char *c_tag, const char *c_path, uint64_t shm_size, bool read_only);

/*
 * Deprecated; krun_add_virtiofs() is for that. Directories of the host at places in the guest,
 * "HOST:GUEST", both absolute; mounted before the workload begins. Replaces the list of an earlier
 * call.
 */
int32_t krun_set_mapped_volumes(uint32_t ctx_id, const char *const mapped_volumes[]);

/* The root directory's own /init.krun is the guest's first process, instead of this library's
 * agent. To be called before the root is named: -EINVAL afterwards. */
int32_t krun_disable_implicit_init(uint32_t ctx_id);

/* The agent's program: a pointer to memory that stays, and its length. It serves this library's own
 * start alone: put back as the root's "init.krun" by krun_fs_add_overlay_file() it is the implicit
 * init again; started by other means it says so on the console and ends the guest, with 125 where a
 * share takes the code. */
int32_t krun_get_default_init(const uint8_t **data_out, size_t *len_out);

/*
 * A file or directory that the guest finds in share @tag and the host does not have, in place of
 * what the share's directory has under that name. @path: from the share's root, with a slash in
 * front or without; the directories in it must have been added before (-ENOENT, -ENOTDIR). It is
 * root's, has the permissions in @mode and never changes, and nothing can be made in such a
 * directory; @data is copied. With @one_shot the name is there until it is looked up, and the file
 * until it is closed after that. Of a path that is added again the last call counts. -ENOENT: also
 * for a tag that no share has; -ENOSPC: over 256 in a share, or 256 MiB in all.
 */
int32_t krun_fs_add_overlay_file(uint32_t ctx_id, const char *tag, const char *path,
	const uint8_t *data, size_t len, uint32_t mode, bool one_shot);
int32_t krun_fs_add_overlay_dir(uint32_t ctx_id, const char *tag, const char *path, uint32_t mode);

/*
 * The guest's root is a file system on one of its disks: "/dev/vda1", its type, NULL or "auto" for
 * one that the guest's kernel finds out, and mount options or NULL. What can only be read is
 * mounted so. KRUN_FS_ROOT_TAG is then a share without a path that only a first process of the
 * caller's sees, with what was added to it: the agent's workload does not find overlay files of
 * that tag. -EINVAL: there is a root, or no disk was added by krun_add_disk*().
 */
int32_t krun_set_root_disk_remount(
	uint32_t ctx_id, const char *device, const char *fstype, const char *options);

/* ---- Disks: KRUN_FEATURE_BLK ---- */

#define KRUN_DISK_FORMAT_RAW   0
#define KRUN_DISK_FORMAT_QCOW2 1
#define KRUN_DISK_FORMAT_VMDK  2

#define KRUN_SYNC_NONE	  0 /* no flush is offered to the guest */
#define KRUN_SYNC_RELAXED 1 /* on Linux as FULL */
#define KRUN_SYNC_FULL	  2

/* Deprecated. The first and the second disk, raw, read and write; used only when no
 * krun_add_disk*() was called. */
int32_t krun_set_root_disk(uint32_t ctx_id, const char *disk_path);
int32_t krun_set_data_disk(uint32_t ctx_id, const char *disk_path);

/*
 * A disk; the guest finds them as vda, vdb, ... in the order of the calls. @block_id names it
 * within this context. The file, or block device, is opened by krun_start_enter(), before the
 * change of user, locked for as long as the VM lasts, and trusted to have the format that is said
 * here; nothing is guessed. What an image names itself (a backing file, an extent) is found in the
 * image's directory or below it, and nowhere else. -ENOSPC: over 8 disks; -ENOTSUP: a VMDK that is
 * not @read_only, or with @direct_io.
 */
int32_t krun_add_disk(uint32_t ctx_id, const char *block_id, const char *disk_path, bool read_only);
int32_t krun_add_disk2(uint32_t ctx_id, const char *block_id, const char *disk_path,
	uint32_t disk_format, bool read_only);
int32_t krun_add_disk3(uint32_t ctx_id, const char *block_id, const char *disk_path,
	uint32_t disk_format, bool read_only, bool direct_io, uint32_t sync_mode);

/* ---- Network interfaces: KRUN_FEATURE_NET ---- */

#define NET_FLAG_VFKIT	     (1 << 0) /* say "VFKT" first */
#define NET_FLAG_DHCP_CLIENT (1 << 1) /* the guest asks for its address */

#define NET_FEATURE_CSUM       (1 << 0)
#define NET_FEATURE_GUEST_CSUM (1 << 1)
#define NET_FEATURE_GUEST_TSO4 (1 << 7)
#define NET_FEATURE_GUEST_TSO6 (1 << 8)
#define NET_FEATURE_GUEST_UFO  (1 << 10)
#define NET_FEATURE_HOST_TSO4  (1 << 11)
#define NET_FEATURE_HOST_TSO6  (1 << 12)
#define NET_FEATURE_HOST_UFO   (1 << 14)

/* The set that suits what the deprecated calls connect to. */
#define COMPAT_NET_FEATURES                                                   \
	(NET_FEATURE_CSUM | NET_FEATURE_GUEST_CSUM | NET_FEATURE_GUEST_TSO4 | \
		NET_FEATURE_GUEST_UFO | NET_FEATURE_HOST_TSO4 | NET_FEATURE_HOST_UFO)

/*
 * An interface whose frames go through a unix socket: a stream (passt: each frame after its length
 * in 4 bytes, big-endian) or datagrams (gvproxy, vfkit). Either @c_path or @fd, the other one being
 * NULL or -1. What is at @c_path must be there when the VM starts; when it goes away the guest's
 * link is down until it is there again. @c_mac: 6 bytes, no group address. NET_FLAG_VFKIT is for
 * datagrams by a path only. Of @features the guest is offered what can be had: behind a socket
 * nobody computes checksums, so none. With NET_FLAG_DHCP_CLIENT eth0 has an address, a default
 * route and an MTU before the workload runs, as a DHCP server says (IPv4), whose name servers lie
 * over the root's /etc/resolv.conf in the guest; the flag is one for all. A context with an
 * interface has no TSI unless asked for.
 */
int32_t krun_add_net_unixstream(uint32_t ctx_id, const char *c_path, int fd, uint8_t *const c_mac,
	uint32_t features, uint32_t flags);
int32_t krun_add_net_unixgram(uint32_t ctx_id, const char *c_path, int fd, uint8_t *const c_mac,
	uint32_t features, uint32_t flags);

/* An interface on a tap device of the host, which the process must be allowed to open; one that is
 * not there is made where it may be. Of one that was made for several queues the guest has one for
 * each processor, up to 4; the kernel gives them to whoever asks, so it must be nobody else's.
 * -EINVAL: also when a GUEST_TSO or GUEST_UFO feature comes without GUEST_CSUM. */
int32_t krun_add_net_tap(
	uint32_t ctx_id, char *c_tap_name, uint8_t *const c_mac, uint32_t features, uint32_t flags);

/* Deprecated: one interface to passt by its socket, or to gvproxy by its path, and the address of
 * that. -EINVAL: there is an interface by krun_add_net_*(). To passt its MTU is 65520. */
int32_t krun_set_passt_fd(uint32_t ctx_id, int fd);
int32_t krun_set_gvproxy_path(uint32_t ctx_id, char *c_path);
int32_t krun_set_net_mac(uint32_t ctx_id, uint8_t *const c_mac);

/* ---- vsock and TSI ---- */

/*
 * Ports of the guest that the host may connect to, "HOST:GUEST", with TSI. Without this call, or
 * with NULL, each port that the guest listens on is the host's too; with a list only those in it,
 * with an empty one none. -EINVAL: a malformed entry, a port twice on one side, or a network
 * interface is there; -ENOSPC: over 256 entries; -ENODEV: krun_disable_implicit_vsock() was called.
 */
int32_t krun_set_port_map(uint32_t ctx_id, const char *const port_map[]);

/*
 * A port of vsock that is a unix socket of the host. Without @listen what the guest connects to at
 * (2, @port) is connected to @c_filepath; with it this library listens on @c_filepath, until the
 * end of the VM, and connects who comes to the guest's @port. A port that is mapped again: the last
 * call counts. Ports 5 and 6 are the agent's: -EINVAL. -EEXIST: with @listen, the path exists;
 * -ENOSPC: no more than 256 ports; -ENODEV as above.
 */
int32_t krun_add_vsock_port(uint32_t ctx_id, uint32_t port, const char *c_filepath);
int32_t krun_add_vsock_port2(uint32_t ctx_id, uint32_t port, const char *c_filepath, bool listen);

#define KRUN_TSI_HIJACK_INET (1 << 0)
#define KRUN_TSI_HIJACK_UNIX (1 << 1)

/* No TSI and no mapped ports, those of earlier calls included, until krun_add_vsock(). The device
 * itself stays where the agent is, which is reached by it. */
int32_t krun_disable_implicit_vsock(uint32_t ctx_id);

/*
 * vsock with the TSI features that are named: KRUN_TSI_HIJACK_INET or 0. -EEXIST:
 * krun_disable_implicit_vsock() was not called, or vsock was added already; -ENOTSUP for
 * KRUN_TSI_HIJACK_UNIX.
 */
int32_t krun_add_vsock(uint32_t ctx_id, uint32_t tsi_features);

/* ---- Consoles ---- */

/* The workload's standard input, output and error are not this process's, unless a console says
 * so. */
int32_t krun_disable_implicit_console(uint32_t ctx_id);

/* A file, made or emptied by krun_start_enter(), that gets what the guest writes to its console,
 * its standard output and error; its input is empty. It is the implicit console's: without that it
 * is not made. -EINVAL: called twice. */
int32_t krun_set_console_output(uint32_t ctx_id, const char *c_filepath);

/*
 * A console on descriptors, negative ones for none. The first such is the workload's standard
 * input, output and error: a terminal of the guest where they all are one. Beside the implicit
 * console it is that only when none of its descriptors is a terminal. Each other one is a terminal
 * hvcN of the guest. -ENOSPC: see krun_add_console_port_tty().
 */
int32_t krun_add_virtio_console_default(uint32_t ctx_id, int input_fd, int output_fd, int err_fd);

/*
 * A console that gets its ports by the next two functions. Its number: how many consoles were added
 * before it. Without the implicit console, and where no default console comes before it, its first
 * terminal is the workload's (hvc0 of a first process of the caller's), but for the streams that
 * have a port by the name krun-stdin, krun-stdout or krun-stderr, of whichever console.
 */
int32_t krun_add_virtio_console_multiport(uint32_t ctx_id);

/*
 * A port: a terminal (hvcN in the guest) on one that this process has, with its size, a cable to
 * the guest's until the end, or two descriptors, -1 for none (/dev/vportNpM, found in the guest by
 * its name in /sys/class/virtio-ports). @name: at most 32 bytes, or NULL. -ENOTTY: @tty_fd is no
 * terminal; -EINVAL: @console_id is no such console, or the descriptor is not open; -ENOSPC: no
 * more than 6 ports, and default consoles but the one that is the workload's. A first process of
 * the caller's has up to 3 of them for the standard streams that are no terminal: what is then too
 * many is found by krun_start_enter().
 */
int32_t krun_add_console_port_tty(
	uint32_t ctx_id, uint32_t console_id, const char *name, int tty_fd);
int32_t krun_add_console_port_inout(
	uint32_t ctx_id, uint32_t console_id, const char *name, int input_fd, int output_fd);

/*
 * A serial port (a 16550A: ttyS0 to ttyS3 in the order of the calls) between two descriptors, -1
 * for none. The kernel's console is there by krun_set_kernel_console("ttyS0"), or with a command
 * line of the caller's; of our kernel it is not, as that has no driver for it (a line in the log
 * says so). A terminal that is read is a cable to the guest's until the end. -EINVAL: a descriptor
 * is not open; -ENOSPC: there are 4.
 */
int32_t krun_add_serial_console_default(uint32_t ctx_id, int input_fd, int output_fd);

/* The value of console= on the kernel's command line. -EINVAL: empty, or not one word. */
int32_t krun_set_kernel_console(uint32_t ctx_id, const char *console_id);

/* ---- Kernel and workload ---- */

#define KRUN_KERNEL_FORMAT_RAW	      0 /* an ELF file or a bzImage as it is */
#define KRUN_KERNEL_FORMAT_ELF	      1
#define KRUN_KERNEL_FORMAT_PE_GZ      2
#define KRUN_KERNEL_FORMAT_IMAGE_BZ2  3
#define KRUN_KERNEL_FORMAT_IMAGE_GZ   4
#define KRUN_KERNEL_FORMAT_IMAGE_ZSTD 5

/*
 * A kernel of the caller's. Of the compressed formats the first compressed part of the file is
 * unpacked, and has to be an ELF file. @initramfs, or NULL: then the kernel mounts the root share
 * and runs this library's agent. @cmdline, or NULL for the library's own: a caller's replaces it,
 * "init=" included. -EINVAL: no such format, or a file cannot be opened.
 */
int32_t krun_set_kernel(uint32_t ctx_id, const char *kernel_path, uint32_t kernel_format,
	const char *initramfs, const char *cmdline);

/* Firmware in place of a kernel: -ENOTSUP. */
int32_t krun_set_firmware(uint32_t ctx_id, const char *firmware_path);

/* The workload's working directory, made when it is not there; a relative path begins at the root.
 * "": as if it had not been said. */
int32_t krun_set_workdir(uint32_t ctx_id, const char *workdir_path);

/*
 * The workload: a program of the guest's tree, its arguments without its name (NULL: none), its
 * environment (NULL: this process's). Without this call /.krun_config.json in the root says, and
 * without that it is /bin/sh. Variables that mean something here: KRUN_CONFIG (another place for
 * that file), KRUN_HOME and KRUN_TERM (HOME and TERM), HOSTNAME (the guest's name), KRUN_INIT_PID1
 * (when it begins with 1 the workload is PID 1, which ignores signals that it has no handler for).
 */
int32_t krun_set_exec(
	uint32_t ctx_id, const char *exec_path, const char *const argv[], const char *const envp[]);

/* The environment alone, for who leaves the program to /.krun_config.json. NULL: this process's. */
int32_t krun_set_env(uint32_t ctx_id, const char *const envp[]);

/* Resource limits of the workload: "NUMBER=SOFT:HARD" or "NUMBER:SOFT:HARD", numbers as in
 * <sys/resource.h>; of a resource that is named again the last counts. */
int32_t krun_set_rlimits(uint32_t ctx_id, const char *const rlimits[]);

/* For confidential VMs: -ENOTSUP. */
int32_t krun_set_tee_config_file(uint32_t ctx_id, const char *filepath);

/*
 * An eventfd that stays valid while the VM runs, for another thread: a write of 8 bytes asks the
 * workload to end (SIGTERM to all its processes), and ends the VM 10 seconds later if it did not. A
 * first process of the caller's is not asked: its VM ends at once.
 * Owned by the library; the same one on each call.
 */
int32_t krun_get_shutdown_eventfd(uint32_t ctx_id);

/*
 * Makes the VM and runs it. Returns only when that could not be done, with -errno and a line in the
 * log; the context is gone in every case. Otherwise it ends the process by _exit() with the code of
 * the workload, 0 where it restarted or ended the machine, 128 + n where signal n ended it, 127 and
 * 126 where it was not found or could not be run, 125 where the guest could not be set up. To be
 * called with no other thread that counts on user ids, which this changes.
 */
int32_t krun_start_enter(uint32_t ctx_id);

/* ---- GPU, displays, input: KRUN_FEATURE_GPU, KRUN_FEATURE_INPUT ---- */

#define VIRGLRENDERER_USE_EGL		 (1 << 0)
#define VIRGLRENDERER_THREAD_SYNC	 (1 << 1)
#define VIRGLRENDERER_USE_GLX		 (1 << 2)
#define VIRGLRENDERER_USE_SURFACELESS	 (1 << 3)
#define VIRGLRENDERER_USE_GLES		 (1 << 4)
#define VIRGLRENDERER_USE_EXTERNAL_BLOB	 (1 << 5)
#define VIRGLRENDERER_VENUS		 (1 << 6)
#define VIRGLRENDERER_NO_VIRGL		 (1 << 7)
#define VIRGLRENDERER_USE_ASYNC_FENCE_CB (1 << 8)
#define VIRGLRENDERER_RENDER_SERVER	 (1 << 9)
#define VIRGLRENDERER_DRM		 (1 << 10)

#define KRUN_MAX_DISPLAYS 16

/* A GPU: flags of virglrenderer, and bytes of its memory window. Without effect but for a line in
 * the log: there is none, as krun_has_feature() says. */
int32_t krun_set_gpu_options(uint32_t ctx_id, uint32_t virgl_flags);
int32_t krun_set_gpu_options2(uint32_t ctx_id, uint32_t virgl_flags, uint64_t shm_size);

/* A display of the GPU: its number; and what it tells of itself. -ENOTSUP. */
int32_t krun_add_display(uint32_t ctx_id, uint32_t width, uint32_t height);
int32_t krun_display_set_edid(
	uint32_t ctx_id, uint32_t display_id, const uint8_t *edid_blob, size_t blob_size);
int32_t krun_display_set_dpi(uint32_t ctx_id, uint32_t display_id, uint32_t dpi);
int32_t krun_display_set_physical_size(
	uint32_t ctx_id, uint32_t display_id, uint16_t width_mm, uint16_t height_mm);
int32_t krun_display_set_refresh_rate(uint32_t ctx_id, uint32_t display_id, uint32_t refresh_rate);

/* Who shows the displays: a struct krun_display_backend (libkrun_display.h) and its size.
 * -ENOTSUP. */
int32_t krun_set_display_backend(uint32_t ctx_id, const void *display_backend, size_t backend_size);

/* An input device: structs of libkrun_input.h with their sizes, or a descriptor of an evdev device.
 * -ENOTSUP. */
int32_t krun_add_input_device(uint32_t ctx_id, const void *config_backend,
	size_t config_backend_size, const void *events_backend, size_t events_backend_size);
int32_t krun_add_input_device_fd(uint32_t ctx_id, int input_fd);

/* A sound device, which later versions of the original no longer have: -ENOTSUP for true. */
int32_t krun_set_snd_device(uint32_t ctx_id, bool enable);

/* ---- Devices of other processes ---- */

#define KRUN_VIRTIO_DEVICE_CONSOLE 3
#define KRUN_VIRTIO_DEVICE_RNG	   4
#define KRUN_VIRTIO_DEVICE_RTC	   17
#define KRUN_VIRTIO_DEVICE_INPUT   18
#define KRUN_VIRTIO_DEVICE_VSOCK   19
#define KRUN_VIRTIO_DEVICE_SND	   25
#define KRUN_VIRTIO_DEVICE_CAN	   36

/* How many queues the back ends of these mostly have, and of how many entries. */
#define KRUN_VHOST_USER_CONSOLE_NUM_QUEUES  4
#define KRUN_VHOST_USER_CONSOLE_QUEUE_SIZES ((uint16_t[]){ 128, 128, 64, 64 })
#define KRUN_VHOST_USER_RNG_NUM_QUEUES	    1
#define KRUN_VHOST_USER_RNG_QUEUE_SIZES	    ((uint16_t[]){ 256 })
#define KRUN_VHOST_USER_RTC_NUM_QUEUES	    2
#define KRUN_VHOST_USER_RTC_QUEUE_SIZES	    ((uint16_t[]){ 1024, 1024 })
#define KRUN_VHOST_USER_INPUT_NUM_QUEUES    2
#define KRUN_VHOST_USER_INPUT_QUEUE_SIZES   ((uint16_t[]){ 1024, 1024 })
#define KRUN_VHOST_USER_SND_NUM_QUEUES	    4
#define KRUN_VHOST_USER_SND_QUEUE_SIZES	    ((uint16_t[]){ 64, 64, 64, 64 })
#define KRUN_VHOST_USER_VSOCK_NUM_QUEUES    3
#define KRUN_VHOST_USER_VSOCK_QUEUE_SIZES   ((uint16_t[]){ 128, 128, 128 })
#define KRUN_VHOST_USER_CAN_NUM_QUEUES	    3
#define KRUN_VHOST_USER_CAN_QUEUE_SIZES	    ((uint16_t[]){ 64, 64, 64 })

/* A device that another process serves by vhost-user: its virtio type, the socket's path, a name or
 * NULL, how many queues (0: ask) and their sizes (with 0 queues up to a 0) or NULL. It is connected
 * to at the start. Beside the types above but VSOCK these are 2, a disk, and 26, a file system, of
 * which the name is the tag; -ENOTSUP for others. The process gets all of the guest's memory. With
 * an RNG the guest has no other; with any of them file systems have no DAX window. */
int32_t krun_add_vhost_user_device(uint32_t ctx_id, uint32_t device_type, const char *socket_path,
	const char *name, uint16_t num_queues, const uint16_t *queue_sizes);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
