#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Disks of programs that were written for libkrun (tests/e2e/krun-api.c): what the guest sees of them, and what is in the images afterwards.
# long: yes
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
build=${KRUN_BUILD:-$top}
# shellcheck disable=SC2154 # of lib.sh: $top, $work, $rc
[ -e "$build/libkrun.so" ] || skip "no libkrun.so (./configure --enable-libkrun)"
command -v qemu-img >/dev/null || skip "no qemu-img (tests/deps images installs it)"
export LD_LIBRARY_PATH=$build

program krun-api "$work/prog"
bundle b busybox
root=$work/b/rootfs
program disk "$root/bin/disk"
prog() { run timeout 300 "$work/prog" "$@"; }

mkdir "$work/images" && cd "$work/images"
truncate -s 4M raw
head -c 2M /dev/urandom >below
qemu-img create -q -f qcow2 -F raw -b below q 8M
head -c 3M /dev/urandom >ro
# shellcheck disable=SC2016 # the guest's shell expands these
prog disks "$root" "$work/images/raw" "$work/images/q" "$work/images/ro" /bin/sh -c 'set -e; cd /sys/block
	for d in vda vdb vdc; do echo $d $(cat $d/size $d/ro $d/queue/write_cache); done
	head -c 2097152 /dev/vdb | sha256sum; sha256sum </dev/vdc
	disk fill /dev/vda 3; disk check /dev/vda 3; disk fill /dev/vdb 5; disk check /dev/vdb 5
	if dd if=/dev/zero of=/dev/vdc bs=4096 count=1 conv=fsync 2>/dev/null; then echo written; fi; exit 9'
[ "$rc" = 9 ] || die "three disks: exit status $rc"
check "sizes, which is read-only, which has nothing to flush; what is below an image" \
	"$(printf '%s\n' 'vda 8192 0 write through' 'vdb 16384 0 write back' 'vdc 6144 1 write back' "$(sha256sum <below)" "$(sha256sum <ro)")" \
	"$(cat "$work/out")"
"$root/bin/disk" check raw 3 || die "raw: not what the guest wrote"
qemu-img check -q q && qemu-img convert -f qcow2 -O raw q q.raw
"$root/bin/disk" check q.raw 5 || die "qcow2: not what the guest wrote"
ok "the images hold what the guest wrote, and qemu-img calls the qcow2 one clean"

# Not flushed, and the VM ends: the guest was told that it is written.
qemu-img create -q -f qcow2 q 8M
truncate -s 1M ro
prog disks "$root" "$work/images/raw" "$work/images/q" "$work/images/ro" \
	/bin/sh -c 'head -c 1048576 /dev/zero | tr "\000" w | dd of=/dev/vdb bs=64k iflag=fullblock oflag=direct 2>/dev/null'
check "the program ends" 0 "$rc"
qemu-img check -q q && qemu-img convert -f qcow2 -O raw q q.raw
check "what was written and never flushed" "$(head -c 1048576 /dev/zero | tr '\000' w | sha256sum)" "$(head -c 1048576 q.raw | sha256sum)"

# The same where somebody ends the program: SIGTERM does what it does to any, after that.
rm -f q "$root/written"
qemu-img create -q -f qcow2 q 8M
"$work/prog" disks "$root" "$work/images/raw" "$work/images/q" "$work/images/ro" /bin/sh -c 'head -c 1048576 /dev/zero | tr "\000" t |
	dd of=/dev/vdb bs=64k iflag=fullblock oflag=direct 2>/dev/null; touch /written; while :; do sleep 1; done' >"$work/out" 2>"$work/err" </dev/null &
vm=$!
wait_for 300 test -e "$root/written"
kill -TERM "$vm"
rc=0
wait "$vm" || rc=$?
check "SIGTERM ends the program" 143 "$rc"
qemu-img check -q q && qemu-img convert -f qcow2 -O raw q q.raw
check "what was written and never flushed, after SIGTERM" "$(head -c 1048576 /dev/zero | tr '\000' t | sha256sum)" "$(head -c 1048576 q.raw | sha256sum)"

# Of root alone, with a file below, and twice open where that is: all before the change of user.
rm -f q
qemu-img create -q -f qcow2 -F raw -b below q 8M
chmod 0600 raw below q
chmod 0700 .
chmod 755 "$work"
direct=0
if dd if=q of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; then direct=1; fi
prog user-disks "$root" 65534 "$work/images/raw" "$work/images/q" "$direct" /bin/sh -c 'head -c 2097152 /dev/vdb | sha256sum; disk check /dev/vda 3'
[ "$rc" = 0 ] || die "disks that the user may not open: exit status $rc"
check "disks that the user may not open (O_DIRECT: $direct)" "$(sha256sum <below)" "$(cat "$work/out")"
chmod 0755 .

# What an image names may be beside it and nowhere else.
rm -f q
qemu-img create -q -f qcow2 -F raw -b /etc/passwd q 8M
prog disks "$root" "$work/images/raw" "$work/images/q" "$work/images/ro" /bin/true
[ "$rc" != 0 ] || die "a file of the host's below an image"
err_has "backing file"

# The root on a disk. What the workload has written is in it, though the guest's kernel alone had it in memory, and it was left in order.
PATH=$PATH:/sbin:/usr/sbin
truncate -s 64M root
mkfs.ext4 -q -F -d "$root" root 2>"$work/err" || die "mkfs.ext4"
root_disk() { prog root-disk "$work/images/root" "$@"; }
# shellcheck disable=SC2016 # the guest's shell expands these
root_disk 0 /dev/vda ext4 nodelalloc /bin/sh -c 'awk "\$2 == \"/\" { print \$1, \$3, \$4 ~ /^rw/, \$4 ~ /nodelalloc/ }" /proc/mounts; pwd; echo kept >/written; exit 5'
[ "$rc" = 5 ] || die "a root on a disk: exit status $rc"
check "a root on a disk, of a type and with options" "/dev/vda ext4 1 1 /" "$(paste -sd' ' "$work/out")"
check "what was written there" kept "$(debugfs -R 'cat /written' root 2>>"$work/err")"
e2fsck -fn root >"$work/out" 2>"$work/err" || die "the file system was not left in order"
grep -q 'needs_recovery' <<<"$(dumpe2fs -h root 2>/dev/null)" && die "the file system was not unmounted"
ok "its file system was left in order"
# shellcheck disable=SC2016 # the guest's shell expands these
root_disk 1 /dev/vda - - /bin/sh -c 'awk "\$2 == \"/\" { print \$3, \$4 ~ /^ro/ }" /proc/mounts; cat /written; touch /new 2>/dev/null || echo refused'
check "one for reading, of a type that is found out" "ext4 1 kept refused" "$(paste -sd' ' "$work/out")"
root_disk 0 /dev/vdb ext4 - /bin/true
check "a disk that is not there" 125 "$rc"
err_has "mounting the root: /dev/vdb (ext4): No such file or directory"
truncate -s 0 root && truncate -s 1M root
root_disk 0 /dev/vda - - /bin/true
check "a disk with nothing on it" 125 "$rc"
err_has "the root: no file system that this kernel knows: /dev/vda"

loop=$(losetup --find --show raw 2>"$work/err") || loop=''
if [ -n "$loop" ]; then
	prog old-disks "$root" "$loop" "$work/images/ro" /bin/sh -c 'disk check /dev/vda 3; cat /sys/block/vda/size /sys/block/vdb/size | paste -sd" "'
	losetup -d "$loop"
	[ "$rc" = 0 ] || die "a block device: exit status $rc"
	check "a block device, and the calls for a root and a data disk" "8192 2048" "$(cat "$work/out")"
else
	echo "# no loop devices here: a block device is not tried"
fi
done_testing
