#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fio in a guest writes and verifies by checksum, over a raw and two qcow2 disks at once: deep queues, sizes of all kinds, twice with a
# discard between; then on the host the images say the same. FIO_MIB (64) of each disk, FIO_LOOPS (1).
# timeout: 3600
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
command -v qemu-img >/dev/null || skip "no qemu-img (tests/deps images installs it)"
mib=${FIO_MIB:-64} loops=${FIO_LOOPS:-1}

bundle b devel
qemu-img create -q -f raw "$work/raw" "${mib}M"
qemu-img create -q -f qcow2 "$work/q" "${mib}M"
# clusters of an older file below, by what qemu-img wrote: a copy on write each
head -c $((mib << 20)) /dev/urandom >"$work/below.raw"
qemu-img convert -q -f raw -O qcow2 "$work/below.raw" "$work/full"
qemu-img snapshot -c before "$work/full"
cat >"$work/b/rootfs/srv/job" <<END
[global]
ioengine=libaio
direct=1
verify=crc32c
verify_fatal=1
verify_backlog=4096
do_verify=1
loops=$loops
randrepeat=0
group_reporting=1
[raw-random]
filename=/dev/vda
rw=randwrite
bssplit=512/10:4k/50:24k/20:128k/20
iodepth=32
size=$((mib / 2))m
[raw-rest]
filename=/dev/vda
offset=$((mib / 2))m
size=$((mib / 2))m
rw=write
bs=256k
iodepth=8
fsync=16
[qcow2-random]
filename=/dev/vdb
rw=randwrite
bssplit=4k/60:64k/30:100k/10
iodepth=32
size=$((mib / 2))m
[qcow2-rest]
filename=/dev/vdb
offset=$((mib / 2))m
size=$((mib / 2))m
rw=randwrite
bs=8k
iodepth=16
fdatasync=64
[snapshot-below]
filename=/dev/vdc
rw=randwrite
bs=12k
iodepth=16
size=${mib}m
END
edit b '.annotations += { "krun-oci.disk.0": "'"$work/raw"'", "krun-oci.disk.1": "'"$work/q"'", "krun-oci.disk.1.options": "format=qcow2",
	"krun-oci.disk.2": "'"$work/full"'", "krun-oci.disk.2.options": "format=qcow2", "krun.ram_mib": "1024" }
	| .process.args = ["sh", "-c", "cd /srv && fio job >out 2>&1 && for d in vda vdb vdc; do blkdiscard -o 1M -l '"$((mib / 4))"'M /dev/$d || exit 99; done && fio job >>out 2>&1; rc=$?; for d in vda vdb vdc; do sha256sum </dev/$d; done; exit $rc"]'
run timeout 3400 krun-oci --trust-annotations run --bundle "$work/b" "$id"
out=$work/b/rootfs/srv/out
[ "$rc" = 0 ] || { tail -n 20 "$out" 2>/dev/null || true; die "fio: status $rc"; }
! grep -qi 'verify:\|bad magic\|error=' "$out" || { grep -i -m5 'verify:\|bad magic\|error=' "$out"; die "fio found what it had not written"; }
ok "fio verified all that it wrote"
grep -E '^ *(READ|WRITE): ' "$out" | sed 's/^ */# each job: /'
n=0
for image in raw q full; do
	n=$((n + 1))
	[ $image = raw ] || qemu-img check -q "$work/$image" || die "$image: qemu-img check: status $?"
	[ $image = raw ] || qemu-img convert -f qcow2 -O raw "$work/$image" "$work/$image.raw"
	[ $image != raw ] || ln "$work/raw" "$work/raw.raw"
	check "$image: the host reads what the guest did" "$(sed -n ${n}p "$work/out")" "$(sha256sum <"$work/$image.raw")"
done
qemu-img convert -l before -f qcow2 -O raw "$work/full" "$work/before.raw"
cmp "$work/before.raw" "$work/below.raw" || die "the snapshot below has changed"
ok "the snapshot below is as it was"
done_testing
