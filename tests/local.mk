# SPDX-License-Identifier: Apache-2.0
# What `make check` builds and runs. The tests that need guests are run by ./run-tests.

check_LIBRARIES = libfake.a libreplay.a

# list: tests/fake/*.c tests/fake/*.h
libfake_a_SOURCES = \
	tests/fake/fake_guest.c \
	tests/fake/fake_hv.c \
	tests/fake/fake_kern.c \
	tests/fake/fake_kern_attr.c \
	tests/fake/fake_kern_file.c \
	tests/fake/fake_kern_name.c \
	tests/fake/fake_kern_window.c \
	tests/fake/fake_tsi.c \
	tests/fake/fake_vhost.c \
	tests/fake/fake_vsock.c \
	tests/fake/fsop_gen.c \
	tests/fake/fsop_native.c \
	tests/fake/fsop_text.c \
	tests/fake/empty_qcow2.h \
	tests/fake/fake_guest.h \
	tests/fake/fake_hv.h \
	tests/fake/fake_kern.h \
	tests/fake/fake_tsi.h \
	tests/fake/fake_vhost.h \
	tests/fake/fake_vsock.h \
	tests/fake/fsop.h

libreplay_a_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz.h

# For every test program. Without libFuzzer, a fuzz target finds its main() in libreplay.a.
LDADD = $(REPLAY_LIB) libfake.a libkrunapi.a liboci.a libvmmcore.a libfake.a libvmmcore.a libproto.a libutil.a $(RUNTIME_LIBS) $(KRUN_LIBS)
if FUZZERS
REPLAY_LIB =
else
REPLAY_LIB = libreplay.a
endif
# What is looked at in the hypervisor's own layer, beside the fake one.
tests_unit_test_kvm_cpuid_LDADD = libhvkvm.a $(LDADD)

# list: tests/unit/test_*.c !tests/unit/test_agent*.c stem
unit_programs = \
	tests/unit/test_api \
	tests/unit/test_api_devices \
	tests/unit/test_api_kernel \
	tests/unit/test_api_log \
	tests/unit/test_api_signals \
	tests/unit/test_api_start \
	tests/unit/test_api_stdio \
	tests/unit/test_apparmor \
	tests/unit/test_balloon \
	tests/unit/test_blk \
	tests/unit/test_bus \
	tests/unit/test_cgroup \
	tests/unit/test_confine \
	tests/unit/test_console \
	tests/unit/test_console_relay \
	tests/unit/test_exec \
	tests/unit/test_fake_hv \
	tests/unit/test_fs_cred \
	tests/unit/test_fs_dax \
	tests/unit/test_fs_dax_file \
	tests/unit/test_fs_dev \
	tests/unit/test_fs_diff \
	tests/unit/test_fs_io \
	tests/unit/test_fs_lock \
	tests/unit/test_fs_nodes \
	tests/unit/test_fs_random \
	tests/unit/test_fs_virt \
	tests/unit/test_fs_wall \
	tests/unit/test_hooks \
	tests/unit/test_hostfd \
	tests/unit/test_interrupt \
	tests/unit/test_io \
	tests/unit/test_ioapic \
	tests/unit/test_iobuf \
	tests/unit/test_irq \
	tests/unit/test_json \
	tests/unit/test_kernel \
	tests/unit/test_kvm_cpuid \
	tests/unit/test_log \
	tests/unit/test_loop \
	tests/unit/test_mem \
	tests/unit/test_morefds \
	tests/unit/test_mounts \
	tests/unit/test_net \
	tests/unit/test_net_frames \
	tests/unit/test_net_pairs \
	tests/unit/test_net_reader \
	tests/unit/test_net_tap \
	tests/unit/test_netaddrs \
	tests/unit/test_nic \
	tests/unit/test_nic_ns \
	tests/unit/test_notify \
	tests/unit/test_ns \
	tests/unit/test_ops \
	tests/unit/test_proto \
	tests/unit/test_qcow2 \
	tests/unit/test_qcow2_room \
	tests/unit/test_resolve \
	tests/unit/test_rng \
	tests/unit/test_rtc \
	tests/unit/test_rtnl \
	tests/unit/test_save \
	tests/unit/test_seccomp \
	tests/unit/test_serial \
	tests/unit/test_signals \
	tests/unit/test_spec \
	tests/unit/test_spec_bad \
	tests/unit/test_spec_disk \
	tests/unit/test_spec_ignore \
	tests/unit/test_spec_image \
	tests/unit/test_spec_net \
	tests/unit/test_state \
	tests/unit/test_stats \
	tests/unit/test_tsi \
	tests/unit/test_tsi_flood \
	tests/unit/test_tsi_hostile \
	tests/unit/test_tsi_krun \
	tests/unit/test_tsi_krun_late \
	tests/unit/test_tsi_save \
	tests/unit/test_vdev_mmio \
	tests/unit/test_vdev_save \
	tests/unit/test_vhost_user \
	tests/unit/test_vmctl \
	tests/unit/test_vmdk \
	tests/unit/test_vmexec \
	tests/unit/test_vmloop \
	tests/unit/test_vmm \
	tests/unit/test_vmm_balloon \
	tests/unit/test_vmm_end \
	tests/unit/test_vmm_legacy \
	tests/unit/test_vmm_nic \
	tests/unit/test_vmm_split \
	tests/unit/test_vmm_vhost \
	tests/unit/test_vq \
	tests/unit/test_vsock \
	tests/unit/test_vsock_fair \
	tests/unit/test_vsock_hostile \
	tests/unit/test_vsock_map \
	tests/unit/test_vsock_save \
	tests/unit/test_x86_acpi \
	tests/unit/test_x86_cpuid \
	tests/unit/test_x86_loader \
	tests/unit/test_x86_mptable \
	tests/unit/test_x86_smbios

# list: tests/fuzz/fuzz_*.c stem
fuzz_programs = \
	tests/fuzz/fuzz_api \
	tests/fuzz/fuzz_balloon \
	tests/fuzz/fuzz_blk \
	tests/fuzz/fuzz_console \
	tests/fuzz/fuzz_dhcp \
	tests/fuzz/fuzz_fs \
	tests/fuzz/fuzz_ioapic \
	tests/fuzz/fuzz_iobuf \
	tests/fuzz/fuzz_krunfile \
	tests/fuzz/fuzz_loader \
	tests/fuzz/fuzz_mmio \
	tests/fuzz/fuzz_net \
	tests/fuzz/fuzz_pio \
	tests/fuzz/fuzz_proto \
	tests/fuzz/fuzz_qcow2 \
	tests/fuzz/fuzz_save \
	tests/fuzz/fuzz_snapshot \
	tests/fuzz/fuzz_spec \
	tests/fuzz/fuzz_tsi \
	tests/fuzz/fuzz_vhost_user \
	tests/fuzz/fuzz_vq \
	tests/fuzz/fuzz_vsock

# list: tests/proof/proof_*.c stem
proof_programs = \
	tests/proof/proof_iobuf \
	tests/proof/proof_mem \
	tests/proof/proof_ring \
	tests/proof/proof_vdev \
	tests/proof/proof_vq

# The agent's own code, and the protocol as the guest compiles it: built by musl's compiler.
# list: tests/unit/test_agent*.c stem
agent_programs = \
	tests/unit/test_agent \
	tests/unit/test_agent_box \
	tests/unit/test_agent_dhcp \
	tests/unit/test_agent_fds \
	tests/unit/test_agent_nic \
	tests/unit/test_agent_tty
musl_programs = $(agent_programs) tests/unit/test_proto_musl

# list: tests/bench/bench_*.c stem
bench_programs = \
	tests/bench/bench_tsi

check_PROGRAMS += $(unit_programs) $(fuzz_programs) $(proof_programs) $(bench_programs)
check_SCRIPTS += $(musl_programs)
CLEANFILES += $(musl_programs) coverage.txt bench.json bench-files.json bench-disks.json tests/bench/fsdev tests/bench/diskdev

# list: tests/unit/*.h tests/unit/*/*.h tests/proof/*.h tests/fuzz/*.dict
test_headers = \
	tests/unit/agent_host.h \
	tests/unit/blk_rig.h \
	tests/unit/fs_client.h \
	tests/unit/fs_dax_rig.h \
	tests/unit/fs_tree.h \
	tests/unit/image_rig.h \
	tests/unit/net_rig.h \
	tests/unit/nic_rig.h \
	tests/unit/tap_rig.h \
	tests/unit/test.h \
	tests/unit/tsi_krun_rig.h \
	tests/unit/tsi_rig.h \
	tests/unit/vdev_rig.h \
	tests/unit/vmm_rig.h \
	tests/unit/bad_configs/make.h \
	tests/unit/bad_configs/table.h \
	tests/proof/proof.h \
	tests/fuzz/spec.dict

# list: tests/lint/*[!~] !tests/lint/lib.sh !tests/lint/srclist !tests/lint/*.* !tests/lint/tidy !tests/lint/cppcheck
lint_scripts = \
	tests/lint/format \
	tests/lint/headers \
	tests/lint/includes \
	tests/lint/kernel-config \
	tests/lint/listed \
	tests/lint/man \
	tests/lint/shell \
	tests/lint/sizes \
	tests/lint/spdx \
	tests/lint/syscalls \
	tests/lint/words
# list: tests/lint/tidy tests/lint/cppcheck
slow_lint_scripts = \
	tests/lint/tidy \
	tests/lint/cppcheck

# list: tests/build/*[!~] !tests/build/*.*
build_scripts = \
	tests/build/abi \
	tests/build/deb \
	tests/build/fs-watch \
	tests/build/help \
	tests/build/install \
	tests/build/krunfw \
	tests/build/options

# list: tests/e2e/*.sh tests/e2e/*.c tests/e2e/*.h tests/e2e/*.py tests/e2e/*.differs tests/e2e/*.matrix tests/soak/* tests/guest/*.sh tests/guest/*/run tests/guest/*/*.sh tests/guest/*/*.c tests/guest/*/*.h tests/guest/tsi/differences
guest_files = \
	tests/e2e/apparmor.sh \
	tests/e2e/bad-configs.sh \
	tests/e2e/binds.sh \
	tests/e2e/cgroup.sh \
	tests/e2e/check.sh \
	tests/e2e/confine.sh \
	tests/e2e/containerd-lib.sh \
	tests/e2e/ctr.sh \
	tests/e2e/debian-kernel.sh \
	tests/e2e/delete.sh \
	tests/e2e/disk.sh \
	tests/e2e/docker.sh \
	tests/e2e/events.sh \
	tests/e2e/exec-terminal.sh \
	tests/e2e/exec.sh \
	tests/e2e/exit-codes.sh \
	tests/e2e/faults.sh \
	tests/e2e/fds.sh \
	tests/e2e/fields.sh \
	tests/e2e/figures.sh \
	tests/e2e/fs-dax.sh \
	tests/e2e/fs-faults.sh \
	tests/e2e/fs-mapped.sh \
	tests/e2e/fs-posix-disk.sh \
	tests/e2e/fs-posix-lib.sh \
	tests/e2e/fs-posix.sh \
	tests/e2e/fs-proc.sh \
	tests/e2e/fs-random.sh \
	tests/e2e/fs-shared.sh \
	tests/e2e/fs-x.sh \
	tests/e2e/guest-process.sh \
	tests/e2e/hooks.sh \
	tests/e2e/hugepages.sh \
	tests/e2e/images.sh \
	tests/e2e/kill9.sh \
	tests/e2e/krun-api.sh \
	tests/e2e/krun-disks.sh \
	tests/e2e/lib.sh \
	tests/e2e/lifecycle.sh \
	tests/e2e/locks.sh \
	tests/e2e/losses-lib.sh \
	tests/e2e/many.sh \
	tests/e2e/memory.sh \
	tests/e2e/net-device.sh \
	tests/e2e/net-lib.sh \
	tests/e2e/net-programs.sh \
	tests/e2e/notify.sh \
	tests/e2e/parallel.sh \
	tests/e2e/pause.sh \
	tests/e2e/podman-build.sh \
	tests/e2e/podman-lib.sh \
	tests/e2e/podman-net.sh \
	tests/e2e/podman-pod.sh \
	tests/e2e/podman-rootless.sh \
	tests/e2e/podman.sh \
	tests/e2e/programs-tty.sh \
	tests/e2e/ps.sh \
	tests/e2e/rootless-cgroup.sh \
	tests/e2e/rootless.sh \
	tests/e2e/sandbox.sh \
	tests/e2e/size.sh \
	tests/e2e/spec.sh \
	tests/e2e/stdin-loop.sh \
	tests/e2e/stdio.sh \
	tests/e2e/systemd-cgroup.sh \
	tests/e2e/systemd-notify.sh \
	tests/e2e/terminal.sh \
	tests/e2e/tsi-policy.sh \
	tests/e2e/tsi.sh \
	tests/e2e/unit-kernel.sh \
	tests/e2e/update.sh \
	tests/e2e/userns.sh \
	tests/e2e/version.sh \
	tests/e2e/vhost-user.sh \
	tests/e2e/counter.c \
	tests/e2e/disk.c \
	tests/e2e/fault.c \
	tests/e2e/fds.c \
	tests/e2e/fs-dax.c \
	tests/e2e/fs-faults.c \
	tests/e2e/fs-many.c \
	tests/e2e/fs-posix-attr.c \
	tests/e2e/fs-posix-binds.c \
	tests/e2e/fs-posix-cross.c \
	tests/e2e/fs-posix-data.c \
	tests/e2e/fs-posix-disk.c \
	tests/e2e/fs-posix-map.c \
	tests/e2e/fs-posix-names.c \
	tests/e2e/fs-posix-open.c \
	tests/e2e/fs-posix.c \
	tests/e2e/fs-random.c \
	tests/e2e/fs-x.c \
	tests/e2e/krun-api.c \
	tests/e2e/krun-guest.c \
	tests/e2e/lives.c \
	tests/e2e/locker.c \
	tests/e2e/mapped.c \
	tests/e2e/notify.c \
	tests/e2e/pty-host.c \
	tests/e2e/signals.c \
	tests/e2e/tsi-try.c \
	tests/e2e/fs-posix.h \
	tests/e2e/net-echo.py \
	tests/e2e/fs-posix.differs \
	tests/e2e/fs-posix.matrix \
	tests/soak/crun-build \
	tests/soak/crun-krun.sh \
	tests/soak/disk-fio.sh \
	tests/soak/fs-apps.sh \
	tests/soak/net-heavy.sh \
	tests/soak/net-http.js \
	tests/soak/net-many.py \
	tests/soak/net-many.sh \
	tests/soak/nic.sh \
	tests/soak/podman-all.sh \
	tests/soak/podman-database.sh \
	tests/soak/podman-systemd-cgroup.sh \
	tests/soak/podman-systemd.sh \
	tests/soak/run \
	tests/soak/validation.sh \
	tests/soak/wire.c \
	tests/guest/boot/run \
	tests/guest/snapshot/run \
	tests/guest/tsi/run \
	tests/guest/snapshot/work.sh \
	tests/guest/boot/boot_smoke.c \
	tests/guest/boot/boot_vmm.c \
	tests/guest/boot/init.c \
	tests/guest/boot/level.c \
	tests/guest/snapshot/damage.c \
	tests/guest/snapshot/guest.c \
	tests/guest/snapshot/snapshot.c \
	tests/guest/tsi/conform.c \
	tests/guest/tsi/conform_async.c \
	tests/guest/tsi/conform_client.c \
	tests/guest/tsi/conform_level.c \
	tests/guest/tsi/conform_opts.c \
	tests/guest/tsi/conform_ping.c \
	tests/guest/tsi/conform_refused.c \
	tests/guest/tsi/conform_server.c \
	tests/guest/tsi/conform_udp.c \
	tests/guest/tsi/conform_unix.c \
	tests/guest/tsi/conform_wait.c \
	tests/guest/tsi/init.c \
	tests/guest/tsi/peer.c \
	tests/guest/tsi/vm.c \
	tests/guest/snapshot/damage.h \
	tests/guest/snapshot/guest.h \
	tests/guest/tsi/conform.h \
	tests/guest/tsi/differences

# list: tests/host/* !tests/host/*~
host_files = \
	tests/host/agent.c \
	tests/host/agent.h \
	tests/host/agent_job.c \
	tests/host/as-user \
	tests/host/chan.h \
	tests/host/client.c \
	tests/host/init \
	tests/host/kernel.pin \
	tests/host/kvmprobe.c \
	tests/host/lib.sh \
	tests/host/run \
	tests/host/selftest \
	tests/host/session \
	tests/host/session.sh \
	tests/host/systemd-units

# list: tests/bundles/* !tests/bundles/*~
bundle_files = \
	tests/bundles/config.json \
	tests/bundles/hello.c \
	tests/bundles/make

# list: tests/bench/blkread.c tests/bench/clients.sh tests/bench/compile.sh tests/bench/disk-vm.sh tests/bench/diskdev.c tests/bench/disks tests/bench/fields.sh tests/bench/files tests/bench/fsdev.c tests/bench/net.c tests/bench/net.sh tests/bench/nic.sh tests/bench/run tests/soak/*
bench_files = \
	tests/bench/blkread.c \
	tests/bench/clients.sh \
	tests/bench/compile.sh \
	tests/bench/disk-vm.sh \
	tests/bench/diskdev.c \
	tests/bench/disks \
	tests/bench/fields.sh \
	tests/bench/files \
	tests/bench/fsdev.c \
	tests/bench/net.c \
	tests/bench/net.sh \
	tests/bench/nic.sh \
	tests/bench/run \
	tests/soak/crun-build \
	tests/soak/crun-krun.sh \
	tests/soak/disk-fio.sh \
	tests/soak/fs-apps.sh \
	tests/soak/net-heavy.sh \
	tests/soak/net-http.js \
	tests/soak/net-many.py \
	tests/soak/net-many.sh \
	tests/soak/nic.sh \
	tests/soak/podman-all.sh \
	tests/soak/podman-database.sh \
	tests/soak/podman-systemd-cgroup.sh \
	tests/soak/podman-systemd.sh \
	tests/soak/run \
	tests/soak/validation.sh \
	tests/soak/wire.c

EXTRA_DIST += $(test_headers) $(lint_scripts) $(slow_lint_scripts) tests/lint/lib.sh tests/lint/srclist $(guest_files) $(host_files) \
	$(bundle_files) $(bench_files) $(build_scripts) tests/coverage/run tests/deps tests/programs tests/fuzz/corpus tests/fuzz/run tests/fuzz/watch tests/unit/goldens run-tests quickstart .ci/run \
	$(addsuffix .c,$(agent_programs))

# A fuzz target is built of libFuzzer's main instead; objects are instrumented by SAN_FLAGS.
if FUZZERS
$(fuzz_programs): AM_LDFLAGS += $(FUZZ_LDFLAGS)
endif

$(agent_programs): tests/unit/%: tests/unit/%.c tests/unit/test.h tests/unit/agent_host.h $(agent_sources) $(libproto_a_SOURCES) config.status
	$(AM_V_CCLD)$(MKDIR_P) tests/unit && \
	$(MUSL_CC) $(agent_cflags) -I$(top_srcdir)/tests/unit -o $@ \
		$(filter-out %/main.c init/main.c,$(filter %.c,$^))

tests/unit/test_proto_musl: tests/unit/test_proto.c tests/unit/test.h $(libproto_a_SOURCES) config.status
	$(AM_V_CCLD)$(MKDIR_P) tests/unit && \
	$(MUSL_CC) $(agent_cflags) -I$(top_srcdir)/tests/unit -o $@ $(filter %.c,$^)

TESTS += $(lint_scripts) $(unit_programs) $(musl_programs) $(proof_programs)
if !FUZZERS
TESTS += $(fuzz_programs)
endif

AM_TESTS_ENVIRONMENT = abs_top_builddir='$(abs_top_builddir)'; abs_top_srcdir='$(abs_top_srcdir)'; \
	export abs_top_builddir abs_top_srcdir; $(SAN_ENV)

# Every program of the tests, without running them.
test-programs: $(check_LIBRARIES) $(check_PROGRAMS)

# Those that look at how threads meet.
# list: tests/unit/test_api.c tests/unit/test_loop.c tests/unit/test_vdev*.c tests/unit/test_rng.c tests/unit/test_serial.c tests/unit/test_balloon.c tests/unit/test_vsock*.c tests/unit/test_tsi*.c tests/unit/test_fake_hv.c tests/unit/test_vm*.c tests/unit/test_vcpu*.c tests/unit/test_fs*.c tests/unit/test_hostfd.c tests/unit/test_console*.c tests/unit/test_blk*.c tests/unit/test_net.c stem
thread_programs = \
	tests/unit/test_api \
	tests/unit/test_loop \
	tests/unit/test_vdev_mmio \
	tests/unit/test_vdev_save \
	tests/unit/test_rng \
	tests/unit/test_serial \
	tests/unit/test_balloon \
	tests/unit/test_vsock \
	tests/unit/test_vsock_fair \
	tests/unit/test_vsock_hostile \
	tests/unit/test_vsock_map \
	tests/unit/test_vsock_save \
	tests/unit/test_tsi \
	tests/unit/test_tsi_flood \
	tests/unit/test_tsi_hostile \
	tests/unit/test_tsi_krun \
	tests/unit/test_tsi_krun_late \
	tests/unit/test_tsi_save \
	tests/unit/test_fake_hv \
	tests/unit/test_vmctl \
	tests/unit/test_vmdk \
	tests/unit/test_vmexec \
	tests/unit/test_vmloop \
	tests/unit/test_vmm \
	tests/unit/test_vmm_balloon \
	tests/unit/test_vmm_end \
	tests/unit/test_vmm_legacy \
	tests/unit/test_vmm_nic \
	tests/unit/test_vmm_split \
	tests/unit/test_vmm_vhost \
	tests/unit/test_fs_cred \
	tests/unit/test_fs_dax \
	tests/unit/test_fs_dax_file \
	tests/unit/test_fs_dev \
	tests/unit/test_fs_diff \
	tests/unit/test_fs_io \
	tests/unit/test_fs_lock \
	tests/unit/test_fs_nodes \
	tests/unit/test_fs_random \
	tests/unit/test_fs_virt \
	tests/unit/test_fs_wall \
	tests/unit/test_hostfd \
	tests/unit/test_console \
	tests/unit/test_console_relay \
	tests/unit/test_blk \
	tests/unit/test_net

thread-programs: $(thread_programs)

print-thread-programs:
	@printf '%s\n' $(thread_programs)

# clang-tidy and cppcheck: minutes.
lint-slow:
	@s=0; for t in $(slow_lint_scripts); do \
		abs_top_builddir='$(abs_top_builddir)' $(srcdir)/$$t || test $$? = 77 || s=1; \
	done; exit $$s

fuzz-programs: $(fuzz_programs)

if FUZZERS
fuzz: $(fuzz_programs)
	$(srcdir)/tests/fuzz/run --build . --seconds $(FUZZ_SECONDS)
else
fuzz:
	@echo 'make fuzz: this build has no libFuzzer; make one with: CC=clang ./configure --enable-fuzzers' >&2; exit 1
endif
FUZZ_SECONDS = 60

if COVERAGE
coverage: $(unit_programs) $(fuzz_programs)
	$(srcdir)/tests/coverage/run --build . $(unit_programs) $(fuzz_programs)
else
coverage:
	@echo 'make coverage: this build does not count lines; make one with: ./configure --enable-coverage' >&2; exit 1
endif

# Made for `make bench` alone.
EXTRA_PROGRAMS = tests/bench/fsdev tests/bench/diskdev
tests_bench_fsdev_SOURCES = tests/bench/fsdev.c
tests_bench_fsdev_LDADD = libvmmcore.a libutil.a $(RUNTIME_LIBS)
tests_bench_diskdev_SOURCES = tests/bench/diskdev.c

# What needs no guest first, on this machine as it is.
bench: all kernel/vmlinux tests/bench/fsdev tests/bench/diskdev $(bench_programs)
	KRUN_BUILD='$(abs_top_builddir)' $(srcdir)/tests/bench/files --json '$(abs_top_builddir)/bench-files.json' || test $$? = 77
	tests/bench/bench_tsi
	KRUN_BUILD='$(abs_top_builddir)' $(srcdir)/tests/bench/disks --json '$(abs_top_builddir)/bench-disks.json' || test $$? = 77
	$(srcdir)/tests/bundles/make --cache devel
	KRUN_BUILD='$(abs_top_builddir)' $(srcdir)/tests/host/run --mem 4096 --timeout 3600 \
		$(abs_srcdir)/tests/bench/run --json '$(abs_top_builddir)/bench.json'

soak: all kernel/vmlinux
	KRUN_BUILD='$(abs_top_builddir)' $(srcdir)/tests/soak/run

.PHONY: test-programs thread-programs print-thread-programs lint-slow fuzz-programs fuzz coverage bench soak

musl-programs: $(musl_programs)
proof-programs: $(proof_programs)
.PHONY: musl-programs proof-programs
