# SPDX-License-Identifier: Apache-2.0
# The OCI runtime: everything but the command line.

noinst_LIBRARIES += liboci.a

# list: oci/*.c oci/*.h !oci/thread_syscalls.h
liboci_a_SOURCES = \
	oci/agent.c \
	oci/apparmor.c \
	oci/arena.c \
	oci/caps.c \
	oci/cgroup.c \
	oci/cgroup_limits.c \
	oci/cgroup_mark.c \
	oci/cgroup_property.c \
	oci/cgroup_systemd.c \
	oci/check.c \
	oci/confine.c \
	oci/confine_thread.c \
	oci/console.c \
	oci/console_proxy.c \
	oci/create.c \
	oci/create_look.c \
	oci/ctl.c \
	oci/events.c \
	oci/exec.c \
	oci/exec_process.c \
	oci/exec_proxy.c \
	oci/features.c \
	oci/foreground.c \
	oci/fsutil.c \
	oci/guest_blob.c \
	oci/hooks.c \
	oci/initramfs.c \
	oci/interrupt.c \
	oci/json.c \
	oci/json_text.c \
	oci/json_write.c \
	oci/kernel.c \
	oci/list.c \
	oci/log.c \
	oci/morefds.c \
	oci/mount_fs.c \
	oci/mounts.c \
	oci/netaddrs.c \
	oci/nic.c \
	oci/nic_hook.c \
	oci/nic_look.c \
	oci/nic_ns.c \
	oci/nic_passt.c \
	oci/nic_tap.c \
	oci/nic_walls.c \
	oci/notify.c \
	oci/ns.c \
	oci/ops.c \
	oci/pause.c \
	oci/ps.c \
	oci/ready.c \
	oci/resolve.c \
	oci/rtnl.c \
	oci/run.c \
	oci/sandbox.c \
	oci/seccomp_cache.c \
	oci/seccomp_compile.c \
	oci/signals.c \
	oci/spawn.c \
	oci/spec.c \
	oci/spec_blkio.c \
	oci/spec_cache.c \
	oci/spec_dax.c \
	oci/spec_default.c \
	oci/spec_devices.c \
	oci/spec_disk.c \
	oci/spec_ignore.c \
	oci/spec_image.c \
	oci/spec_linux.c \
	oci/spec_mount.c \
	oci/spec_net.c \
	oci/spec_process.c \
	oci/spec_read.c \
	oci/spec_refuse.c \
	oci/spec_resources.c \
	oci/spec_seccomp.c \
	oci/spec_trust.c \
	oci/spec_vm.c \
	oci/state.c \
	oci/stats.c \
	oci/sync.c \
	oci/trace.c \
	oci/unread.c \
	oci/update.c \
	oci/vmctl.c \
	oci/vmexec.c \
	oci/vmloop.c \
	oci/vmproc.c \
	oci/agent.h \
	oci/apparmor.h \
	oci/arena.h \
	oci/caps.h \
	oci/cgroup.h \
	oci/cgroup_limits.h \
	oci/cgroup_mark.h \
	oci/cgroup_systemd.h \
	oci/clock.h \
	oci/confine.h \
	oci/confine_thread.h \
	oci/console.h \
	oci/create.h \
	oci/creation.h \
	oci/ctl.h \
	oci/exec.h \
	oci/foreground.h \
	oci/fsutil.h \
	oci/guest_blob.h \
	oci/hooks.h \
	oci/initramfs.h \
	oci/interrupt.h \
	oci/json.h \
	oci/json_text.h \
	oci/json_write.h \
	oci/kernel.h \
	oci/log.h \
	oci/morefds.h \
	oci/mount_fs.h \
	oci/mounts.h \
	oci/netaddrs.h \
	oci/nic.h \
	oci/nic_hook.h \
	oci/nic_look.h \
	oci/nic_ns.h \
	oci/nic_passt.h \
	oci/nic_tap.h \
	oci/notify.h \
	oci/ns.h \
	oci/ready.h \
	oci/resolve.h \
	oci/rtnl.h \
	oci/runtime.h \
	oci/sandbox.h \
	oci/seccomp_cache.h \
	oci/seccomp_compile.h \
	oci/signals.h \
	oci/spawn.h \
	oci/spec.h \
	oci/spec_disk.h \
	oci/spec_limits.h \
	oci/spec_net.h \
	oci/spec_read.h \
	oci/state.h \
	oci/stats.h \
	oci/sync.h \
	oci/trace.h \
	oci/unread.h \
	oci/vmexec.h \
	oci/vmloop.h \
	oci/vmproc.h

liboci_a_CPPFLAGS = $(AM_CPPFLAGS) -DAGENT_FILE=\"$(abs_top_builddir)/init/agent\"

# What each thread calls is said beside the code that does.
EXTRA_DIST += oci/gen-syscalls
CLEANFILES += oci/thread_syscalls.h
syscall_sources = $(libutil_a_SOURCES) $(libvmmcore_a_SOURCES) $(libhvkvm_a_SOURCES) $(liboci_a_SOURCES)
oci/thread_syscalls.h: oci/gen-syscalls $(syscall_sources)
	$(AM_V_GEN)mkdir -p oci && $(top_srcdir)/oci/gen-syscalls --header $(filter %.c,$^) >$@.tmp && mv $@.tmp $@
oci/liboci_a-confine_thread.$(OBJEXT): oci/thread_syscalls.h

# The agent is part of this object.
oci/liboci_a-initramfs.$(OBJEXT): init/agent
