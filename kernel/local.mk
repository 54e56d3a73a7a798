# SPDX-License-Identifier: Apache-2.0
# The guest kernel. kernel/build knows by hash whether there is work to do.

kernel_inputs = \
	kernel/build \
	kernel/check-config \
	kernel/config/10-base.config \
	kernel/config/20-x86.config \
	kernel/config/30-time-sched.config \
	kernel/config/40-mm.config \
	kernel/config/50-syscalls.config \
	kernel/config/60-containers.config \
	kernel/config/70-fs.config \
	kernel/config/80-virtio.config \
	kernel/config/90-net.config \
	kernel/config/required \
	kernel/patches/0001-drivers-krun.patch \
	kernel/patches/0002-x86-quick-return-sites.patch \
	kernel/patches/0003-dummy-none-at-start.patch \
	kernel/patches/0004-virtio-fs-lock-interrupt.patch \
	kernel/patches/0005-fuse-flush-for-locks.patch \
	kernel/patches/0006-net-tsi.patch \
	kernel/patches/0007-vsock-receive-buffers.patch \
	kernel/patches/0008-vsock-fewer-exits.patch \
	kernel/patches/0009-page-reporting-sooner.patch \
	kernel/patches/0010-fuse-locks-show.patch \
	kernel/patches/0011-fuse-each-write.patch \
	kernel/patches/0012-open-again.patch \
	kernel/patches/0013-fuse-submount-acl.patch \
	kernel/src/drivers/krun/Kconfig \
	kernel/src/drivers/krun/Makefile \
	kernel/src/drivers/krun/power.c \
	kernel/src/drivers/krun/vmfork.c \
	kernel/tsi/Kconfig \
	kernel/tsi/Makefile \
	kernel/tsi/accept.c \
	kernel/tsi/addr.c \
	kernel/tsi/conn.c \
	kernel/tsi/ctl.c \
	kernel/tsi/dgram.c \
	kernel/tsi/event.c \
	kernel/tsi/guest.h \
	kernel/tsi/opts.c \
	kernel/tsi/sock.c \
	kernel/tsi/stream.c \
	init/proto/tsi.h

EXTRA_DIST += $(kernel_inputs) kernel/README.md kernel/debug.config

# Not only our files count but the versions of the source package, gcc and ld, which make does not see: so it is asked
# every time, which takes a quarter of a second.
kernel/vmlinux: $(kernel_inputs) FORCE
	$(srcdir)/kernel/build --out kernel

# Both come from one run.
kernel/bzImage kernel/vmlinux.config: kernel/vmlinux

.PHONY: kernel FORCE
kernel: kernel/vmlinux

CLEANFILES += kernel/vmlinux kernel/bzImage kernel/vmlinux.config

# The same kernel as a library, for libkrun.
EXTRA_DIST += kernel/bundle
kernel/libkrunfw.so.5: kernel/vmlinux kernel/bundle
	$(AM_V_GEN)$(srcdir)/kernel/bundle kernel/vmlinux $@

krunfw: kernel/libkrunfw.so.5
.PHONY: krunfw
CLEANFILES += kernel/libkrunfw.so.5

install-kernel: kernel/vmlinux
	$(MKDIR_P) "$(DESTDIR)$(pkglibdir)"
	$(INSTALL_DATA) kernel/vmlinux "$(DESTDIR)$(pkglibdir)/vmlinux"

uninstall-kernel:
	rm -f "$(DESTDIR)$(pkglibdir)/vmlinux"

.PHONY: install-kernel uninstall-kernel
