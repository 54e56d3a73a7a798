#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vhost-user, by a program of libkrun.so.1: a disk of qemu-storage-daemon's and a directory of virtiofsd's, read and written in the
# guest and compared on the host; then the disk's daemon is killed under the guest.
# timeout: 1200
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
build=${KRUN_BUILD:-$top}
# shellcheck disable=SC2154 # of lib.sh: $top, $work, $rc
[ -e "$build/libkrun.so" ] || skip "no libkrun.so (./configure --enable-libkrun)"
command -v qemu-storage-daemon >/dev/null || die "no qemu-storage-daemon (tests/deps host installs it)"
virtiofsd=/usr/lib/qemu/virtiofsd
[ -x $virtiofsd ] || die "no virtiofsd (tests/deps host installs it)"
export LD_LIBRARY_PATH=$build

program krun-api "$work/prog"
bundle b busybox
root=$work/b/rootfs
mkdir -p "$work/dir" "$root/mnt"
head -c 1048576 /dev/urandom >"$work/disk"
truncate -s 64M "$work/disk"
head -c 300000 /dev/urandom >"$root/blob"
echo of the host >"$work/dir/file"

LD_LIBRARY_PATH='' qemu-storage-daemon --blockdev driver=file,node-name=disk,filename="$work/disk" \
	--export type=vhost-user-blk,id=export,addr.type=unix,addr.path="$work/disk.sock",node-name=disk,writable=on,num-queues=2 >"$work/daemon" 2>&1 &
daemon=$! vm=''
LD_LIBRARY_PATH='' $virtiofsd --socket-path="$work/dir.sock" -o source="$work/dir" -o cache=none -f >"$work/fsd" 2>&1 &
fsd=$!
# shellcheck disable=SC2317 # called by the trap
end_daemons() {
	[ -z "$vm" ] || kill "$vm" 2>/dev/null || true
	kill -KILL $daemon $fsd 2>/dev/null || true
	cleanup
}
trap end_daemons EXIT
wait_for 60 test -S "$work/disk.sock"
wait_for 60 test -S "$work/dir.sock"

# shellcheck disable=SC2016 # the guest's shell expands these
timeout 1000 "$work/prog" vhost-user "$root" "$work/disk.sock" "$work/dir.sock" /bin/sh -c '
	echo "$(cat /sys/block/vda/size) sectors"
	dd if=/dev/vda bs=64k count=16 2>/dev/null | md5sum
	# a reset: the rings are stopped, and begin anew
	d=$(basename "$(readlink -f /sys/block/vda/device)")
	cd /sys/bus/virtio/drivers/virtio_blk; echo "$d" >unbind; [ ! -e /sys/block/vda ] || echo still there; echo "$d" >bind; cd /
	dd if=/dev/vda bs=4k count=100 iflag=direct 2>/dev/null | md5sum
	dd if=/blob of=/dev/vda bs=50000 seek=200 conv=fsync 2>/dev/null || echo cannot write
	dd if=/blob of=/dev/vda bs=4k seek=8192 count=64 oflag=direct 2>/dev/null || echo cannot write directly
	mount -t virtiofs theirs /mnt || echo cannot mount
	cat /mnt/file; cp /blob /mnt/blob; mkdir /mnt/d; mv /mnt/blob /mnt/d/moved; ln -s moved /mnt/d/link; md5sum </mnt/d/link; rm /mnt/file
	touch /ready
	while ! [ -e /gone ]; do sleep 0.5; done
	cat /mnt/later; exit 3' >"$work/out" 2>"$work/err" </dev/null &
vm=$!
wait_for 900 test -e "$root/ready"
sum() { md5sum | cut -d' ' -f1; }
part() { dd if="${3:-$work/disk}" iflag=skip_bytes,count_bytes bs=64k skip="$1" count="$2" status=none; } # FROM BYTES [FILE]
check "what the guest finds" "131072 sectors $(part 0 1048576 | sum) $(part 0 409600 | sum) of the host $(sum <"$root/blob")" \
	"$(sed 's/ *-$//' "$work/out" | words -)"
check "the disk, as the guest wrote it" "$(sum <"$root/blob")" "$(part 10000000 300000 | sum)"
check "and directly" "$(part 0 262144 "$root/blob" | sum)" "$(part 33554432 262144 | sum)"
check "the directory" "d d/link d/moved" "$(cd "$work/dir" && find . -mindepth 1 | sed 's,^\./,,' | sort | words -)"
cmp "$root/blob" "$work/dir/d/moved" || die "the file that the guest wrote"
ok "a file of the guest's"

kill -KILL $daemon
wait_for 60 grep -q "vhost-user disk: device stopped: its back end is gone" "$work/err"
ok "the end of a daemon is told"
echo still there >"$work/dir/later"
touch "$root/gone"
rc=0
wait "$vm" || rc=$?
vm=''
check "the guest goes on" "3 still there" "$rc $(tail -n 1 "$work/out")"

run timeout 100 "$work/prog" vhost-user "$root" "$work/disk.sock" "$work/dir.sock" /bin/true
[ "$rc" != 0 ] || die "a start without a back end"
err_has "vhost-user device: \"$work/disk.sock\""
done_testing
