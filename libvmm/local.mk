# SPDX-License-Identifier: Apache-2.0
# The VMM. `tests/lint/srclist --update` refreshes the lists.

noinst_LIBRARIES += libutil.a libvmmcore.a libhvkvm.a libkrunapi.a

# list: libvmm/util/*.c libvmm/util/*.h
libutil_a_SOURCES = \
	libvmm/util/err.c \
	libvmm/util/io.c \
	libvmm/util/log.c \
	libvmm/util/loop.c \
	libvmm/util/save.c \
	libvmm/util/bytes.h \
	libvmm/util/cleanup.h \
	libvmm/util/err.h \
	libvmm/util/io.h \
	libvmm/util/log.h \
	libvmm/util/loop.h \
	libvmm/util/save.h \
	libvmm/util/util.h

# list: libvmm/core/*.c libvmm/core/*.h libvmm/virtio/*.c libvmm/virtio/*.h libvmm/dev/*.c libvmm/dev/*.h libvmm/include/vmm.h libvmm/arch/*.h libvmm/hv/*.h libvmm/arch/generic/*.c libvmm/arch/generic/*.h
libvmmcore_a_SOURCES = \
	libvmm/core/bus.c \
	libvmm/core/irq.c \
	libvmm/core/mem.c \
	libvmm/core/mem_image.c \
	libvmm/core/mem_shm.c \
	libvmm/core/snapshot.c \
	libvmm/core/vcpu.c \
	libvmm/core/vm.c \
	libvmm/core/vm_balloon.c \
	libvmm/core/vm_build.c \
	libvmm/core/vm_check.c \
	libvmm/core/vm_close.c \
	libvmm/core/vm_disk.c \
	libvmm/core/vm_irq.c \
	libvmm/core/vm_legacy.c \
	libvmm/core/vm_log.c \
	libvmm/core/vm_nic.c \
	libvmm/core/vm_probe.c \
	libvmm/core/vm_vsock.c \
	libvmm/core/bus.h \
	libvmm/core/irq.h \
	libvmm/core/limits.h \
	libvmm/core/mem.h \
	libvmm/core/mem_pin.h \
	libvmm/core/vm.h \
	libvmm/virtio/iobuf.c \
	libvmm/virtio/iobuf_nowait.c \
	libvmm/virtio/mmio.c \
	libvmm/virtio/vdev.c \
	libvmm/virtio/vdev_save.c \
	libvmm/virtio/vq.c \
	libvmm/virtio/iobuf.h \
	libvmm/virtio/iobuf_nowait.h \
	libvmm/virtio/mmio.h \
	libvmm/virtio/vdev.h \
	libvmm/virtio/vdev_loop.h \
	libvmm/virtio/vq.h \
	libvmm/dev/balloon.c \
	libvmm/dev/blk.c \
	libvmm/dev/blk_req.c \
	libvmm/dev/console.c \
	libvmm/dev/console_ctl.c \
	libvmm/dev/console_io.c \
	libvmm/dev/disk.c \
	libvmm/dev/disk_io.c \
	libvmm/dev/disk_pool.c \
	libvmm/dev/disk_qcow2.c \
	libvmm/dev/disk_qcow2_io.c \
	libvmm/dev/disk_qcow2_map.c \
	libvmm/dev/disk_qcow2_ref.c \
	libvmm/dev/disk_qcow2_tab.c \
	libvmm/dev/disk_qcow2_zip.c \
	libvmm/dev/disk_ring.c \
	libvmm/dev/disk_vmdk.c \
	libvmm/dev/fs.c \
	libvmm/dev/fs_cred.c \
	libvmm/dev/fs_dax.c \
	libvmm/dev/fs_dax_file.c \
	libvmm/dev/fs_dax_layer.c \
	libvmm/dev/fs_dir.c \
	libvmm/dev/fs_fd.c \
	libvmm/dev/fs_handle.c \
	libvmm/dev/fs_init.c \
	libvmm/dev/fs_io.c \
	libvmm/dev/fs_ioctl.c \
	libvmm/dev/fs_lock.c \
	libvmm/dev/fs_meta.c \
	libvmm/dev/fs_name.c \
	libvmm/dev/fs_node.c \
	libvmm/dev/fs_open.c \
	libvmm/dev/fs_pseudo.c \
	libvmm/dev/fs_rename.c \
	libvmm/dev/fs_req.c \
	libvmm/dev/fs_save.c \
	libvmm/dev/fs_serve.c \
	libvmm/dev/fs_table.c \
	libvmm/dev/fs_virt.c \
	libvmm/dev/fs_wait.c \
	libvmm/dev/fs_work.c \
	libvmm/dev/fs_xattr.c \
	libvmm/dev/fs_xfer.c \
	libvmm/dev/hostfd.c \
	libvmm/dev/ioapic.c \
	libvmm/dev/net.c \
	libvmm/dev/net_ctl.c \
	libvmm/dev/net_dgram.c \
	libvmm/dev/net_pairs.c \
	libvmm/dev/net_rx.c \
	libvmm/dev/net_save.c \
	libvmm/dev/net_sock.c \
	libvmm/dev/net_stream.c \
	libvmm/dev/net_tap.c \
	libvmm/dev/net_tx.c \
	libvmm/dev/rng.c \
	libvmm/dev/rtc.c \
	libvmm/dev/serial.c \
	libvmm/dev/serial_regs.c \
	libvmm/dev/vhost_user.c \
	libvmm/dev/vhost_user_msg.c \
	libvmm/dev/vsock.c \
	libvmm/dev/vsock_conn.c \
	libvmm/dev/vsock_end.c \
	libvmm/dev/vsock_map.c \
	libvmm/dev/vsock_msg.c \
	libvmm/dev/vsock_rx.c \
	libvmm/dev/vsock_save.c \
	libvmm/dev/vsock_tsi.c \
	libvmm/dev/vsock_tsi_ctl.c \
	libvmm/dev/vsock_tsi_dgram.c \
	libvmm/dev/vsock_tsi_krun.c \
	libvmm/dev/vsock_tsi_opt.c \
	libvmm/dev/vsock_tsi_own.c \
	libvmm/dev/vsock_tsi_policy.c \
	libvmm/dev/vsock_tsi_save.c \
	libvmm/dev/vsock_tsi_sock.c \
	libvmm/dev/vsock_tx.c \
	libvmm/dev/blk.h \
	libvmm/dev/console.h \
	libvmm/dev/dev.h \
	libvmm/dev/disk.h \
	libvmm/dev/disk_io.h \
	libvmm/dev/disk_pool.h \
	libvmm/dev/disk_qcow2.h \
	libvmm/dev/disk_qcow2_be.h \
	libvmm/dev/disk_ring.h \
	libvmm/dev/disk_vmdk.h \
	libvmm/dev/fs.h \
	libvmm/dev/fs_dax.h \
	libvmm/dev/fs_proto.h \
	libvmm/dev/fs_work.h \
	libvmm/dev/hostfd.h \
	libvmm/dev/ioapic.h \
	libvmm/dev/net.h \
	libvmm/dev/rekick.h \
	libvmm/dev/rtc.h \
	libvmm/dev/serial.h \
	libvmm/dev/serial_priv.h \
	libvmm/dev/vhost_user.h \
	libvmm/dev/vsock.h \
	libvmm/dev/vsock_tsi.h \
	libvmm/include/vmm.h \
	libvmm/arch/arch.h \
	libvmm/hv/hv.h

if ARCH_X86_64
# list: libvmm/arch/x86_64/*.c libvmm/arch/x86_64/*.h
libvmmcore_a_SOURCES += \
	libvmm/arch/x86_64/acpi.c \
	libvmm/arch/x86_64/boot.c \
	libvmm/arch/x86_64/cpuid.c \
	libvmm/arch/x86_64/dsdt.c \
	libvmm/arch/x86_64/layout.c \
	libvmm/arch/x86_64/load_bzimage.c \
	libvmm/arch/x86_64/load_elf.c \
	libvmm/arch/x86_64/loader.c \
	libvmm/arch/x86_64/mptable.c \
	libvmm/arch/x86_64/smbios.c \
	libvmm/arch/x86_64/arch_state.h \
	libvmm/arch/x86_64/x86.h
endif

# What links in place of the hypervisor in tests is tests/fake/fake_hv.c.
# list: libvmm/hv/kvm/*.c libvmm/hv/kvm/*.h
libhvkvm_a_SOURCES = \
	libvmm/hv/kvm/kvm_boot.c \
	libvmm/hv/kvm/kvm_cpuid.c \
	libvmm/hv/kvm/kvm_msrs.c \
	libvmm/hv/kvm/kvm_state.c \
	libvmm/hv/kvm/kvm_vcpu.c \
	libvmm/hv/kvm/kvm_vm.c \
	libvmm/hv/kvm/probe.c \
	libvmm/hv/kvm/kvm_int.h \
	libvmm/hv/kvm/probe_code.h

# The krun_* API: linked into tests as an archive, and what libkrun.so.1 is made of.
# list: libvmm/api/*.c libvmm/api/*.h libvmm/include/libkrun*.h
libkrunapi_a_SOURCES = \
	libvmm/api/absent.c \
	libvmm/api/blob.c \
	libvmm/api/bundle.c \
	libvmm/api/console.c \
	libvmm/api/ctx.c \
	libvmm/api/devices.c \
	libvmm/api/disk.c \
	libvmm/api/drives.c \
	libvmm/api/kernel.c \
	libvmm/api/log.c \
	libvmm/api/machine.c \
	libvmm/api/net.c \
	libvmm/api/nics.c \
	libvmm/api/overlay.c \
	libvmm/api/run.c \
	libvmm/api/share.c \
	libvmm/api/signals.c \
	libvmm/api/start.c \
	libvmm/api/stdio.c \
	libvmm/api/text.c \
	libvmm/api/unpack.c \
	libvmm/api/vhost.c \
	libvmm/api/vsock.c \
	libvmm/api/work.c \
	libvmm/api/workload.c \
	libvmm/api/api.h \
	libvmm/api/start.h \
	libvmm/include/libkrun.h \
	libvmm/include/libkrun_display.h \
	libvmm/include/libkrun_input.h

# A shared library is a program with other flags here: every object of this build can be part of one (-fPIC) and hides its
# names (-fvisibility=hidden), so nothing is compiled twice and no libtool is needed. No version is in the symbols: a program
# that was linked against either of the two libraries runs with the other.
EXTRA_DIST += libvmm/api/libkrun.map libvmm/api/libkrun.pc.in
if LIBKRUN
krunlibdir = $(libdir)
krunlib_PROGRAMS = libkrun.so.1
libkrun_so_1_SOURCES = $(libkrunapi_a_SOURCES)
libkrun_so_1_LDADD = liboci.a libvmmcore.a libhvkvm.a libvmmcore.a libproto.a libutil.a $(KRUN_LIBS)
libkrun_so_1_LDFLAGS = -shared -Wl,-soname,libkrun.so.1 -Wl,--as-needed -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs \
	-Wl,--version-script=$(srcdir)/libvmm/api/libkrun.map $(SAN_FLAGS)
EXTRA_libkrun_so_1_DEPENDENCIES = libvmm/api/libkrun.map

include_HEADERS = libvmm/include/libkrun.h libvmm/include/libkrun_display.h libvmm/include/libkrun_input.h
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = libvmm/api/libkrun.pc
noinst_DATA = libkrun.so
CLEANFILES += libkrun.so

# For programs that are built in the tree: -L. -lkrun
libkrun.so: libkrun.so.1
	$(AM_V_GEN)$(LN_S) -f libkrun.so.1 $@

install-libkrun:
	$(MKDIR_P) "$(DESTDIR)$(libdir)"
	cd "$(DESTDIR)$(libdir)" && $(LN_S) -f libkrun.so.1 libkrun.so

uninstall-libkrun:
	rm -f "$(DESTDIR)$(libdir)/libkrun.so"
else
install-libkrun uninstall-libkrun:
endif
.PHONY: install-libkrun uninstall-libkrun

# libvmm.a: one object of all that the VMM is made of, io_uring's archive with it, in which only what vmm.h declares has a name
# for others. Of objects for link-time optimisation machine code is made first (LTO_NO): in those no name can be hidden.
EXTRA_DIST += libvmm/libvmm.pc.in
if LIBVMM
vmm_whole = libvmmcore.a libhvkvm.a
libvmm.a: $(vmm_whole) libutil.a
	$(AM_V_at)rm -f $@ $@.tmp libvmm.o
	$(AM_V_AR)$(CC) $(CFLAGS) -r -nostdlib $(LTO_NO) -o libvmm.o -Wl,--whole-archive $(vmm_whole) -Wl,--no-whole-archive libutil.a $(LIBURING_ARCHIVE)
	$(AM_V_at)$(OBJCOPY) --wildcard --keep-global-symbol='vmm_*' libvmm.o
	$(AM_V_at)$(AR) $(ARFLAGS) $@.tmp libvmm.o && rm -f libvmm.o && mv $@.tmp $@

vmmlibdir = $(libdir)
vmmlib_DATA = libvmm.a
vmmpcdir = $(libdir)/pkgconfig
vmmpc_DATA = libvmm/libvmm.pc
vmmincludedir = $(includedir)/libvmm
vmminclude_HEADERS = libvmm/include/vmm.h libvmm/include/vmm_error.h
vmmexampledir = $(docdir)/examples
dist_vmmexample_DATA = docs/examples/libvmm.c

uninstall-libvmm:
	-rmdir "$(DESTDIR)$(vmmincludedir)" "$(DESTDIR)$(vmmexampledir)" "$(DESTDIR)$(docdir)"
else
EXTRA_DIST += docs/examples/libvmm.c
uninstall-libvmm:
endif
CLEANFILES += libvmm.a libvmm.a.tmp libvmm.o
.PHONY: uninstall-libvmm
