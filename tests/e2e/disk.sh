#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Disks by annotation: raw, qcow2 and read-only, what was written and what is left of it after kill -9, and what is refused.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
command -v qemu-img >/dev/null || skip "no qemu-img (tests/deps images installs it)"

bundle b busybox
program disk "$work/b/rootfs/bin/disk"
mkdir "$work/src"

guest() { # SCRIPT [JQ]
	cp "$top/tests/bundles/config.json" "$work/b/config.json"
	edit b ".mounts+=[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"$work/src\",\"options\":[\"bind\"]}]
		| .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$1" '$s')] | ${2:-.}"
}
disk() { # N PATH [OPTIONS]
	echo ".annotations[\"krun-oci.disk.$1\"]=\"$2\"${3:+ | .annotations[\"krun-oci.disk.$1.options\"]=\"$3\"}"
}

truncate -s 16M "$work/b/raw"
qemu-img create -q -f qcow2 "$work/q" 16M
head -c 4M /dev/urandom >"$work/ro"
three="$(disk 0 raw) | $(disk 1 "$work/q" format=qcow2) | $(disk 2 "$work/ro" ro)"
guest 'set -e
	for d in vda vdb vdc; do echo $(stat -c "%a %F" /dev/$d) $(cat /sys/block/$d/size /sys/block/$d/ro /sys/block/$d/serial); done
	disk fill /dev/vda 3; disk check /dev/vda 3; disk fill /dev/vdb 5; disk check /dev/vdb 5
	sha256sum </dev/vdc; if dd if=/dev/zero of=/dev/vdc bs=4096 count=1 conv=fsync 2>/dev/null; then echo written; fi' "$three"
run krun-oci --trust-annotations run --bundle "$work/b" "$id"
[ "$rc" = 0 ] || die "exit status $rc"
check "the guest's view of three disks" "$(printf '%s\n' '600 block special file 32768 0 disk0' '600 block special file 32768 0 disk1' \
	'600 block special file 8192 1 disk2' "$(sha256sum <"$work/ro")")" "$(cat "$work/out")"
"$work/b/rootfs/bin/disk" check "$work/b/raw" 3 || die "raw: not what the guest wrote"
ok "the raw image holds what the guest wrote"
qemu-img check -q "$work/q" && qemu-img convert -f qcow2 -O raw "$work/q" "$work/q.raw"
"$work/b/rootfs/bin/disk" check "$work/q.raw" 5 || die "qcow2: not what the guest wrote"
ok "and the qcow2 image, which qemu-img calls clean"

# A workload that ends, with the guest's page cache bypassed and no flush at all: it was told that it is written. The host's is
# bypassed too, and the image is the caller's alone, who is nobody in the container's user namespace.
chmod 755 "$work"
chmod 600 "$work/q"
guest 'head -c 1048576 /dev/zero | tr "\\000" w | dd of=/dev/vda bs=64k iflag=fullblock oflag=direct 2>/dev/null' "$(disk 0 "$work/q" format=qcow2,direct) |
	.linux.namespaces+=[{\"type\":\"user\"}] | .linux.uidMappings=[{\"containerID\":0,\"hostID\":200000,\"size\":65536}] | .linux.gidMappings=.linux.uidMappings"
run krun-oci --trust-annotations run --bundle "$work/b" "$id"
[ "$rc" = 0 ] || die "exit status $rc"
qemu-img check -q "$work/q" && qemu-img convert -f qcow2 -O raw "$work/q" "$work/q.raw"
check "what was written and never flushed" "$(head -c 1048576 /dev/zero | tr '\000' w | sha256sum)" "$(head -c 1048576 "$work/q.raw" | sha256sum)"

# Killed under load; by KILLS as often as one likes.
kills=1 clean=0
! long || kills=2
for round in $(seq 1 "${KILLS:-$kills}"); do
	rm -f "$work/src/safe"
	rm -f "$work/q"
	qemu-img create -q -f qcow2 -o cluster_size=$((round % 2 ? 65536 : 4096)) "$work/q" 16M
	guest 'disk load /dev/vda /mnt/safe' "$(disk 0 "$work/q" format=qcow2)"
	run krun-oci --trust-annotations create --bundle "$work/b" "$id"
	[ "$rc" = 0 ] || die "create: exit status $rc"
	if [ "$round" = 1 ]; then
		cp -r "$work/b/config.json" "$work/keep"
		run krun-oci --trust-annotations run --bundle "$work/b" "$id-2"
		[ "$rc" != 0 ] || die "one image, two machines"
		err_has "somebody else has the image in use"
	fi
	run krun-oci start "$id"
	# enough pieces are safe that the tables have been through several turns
	wait_for 300 sh -c "[ -s '$work/src/safe' ] && [ \$(od -An -v -t u8 -w8 '$work/src/safe' | grep -vc ' 0\$') -gt 100 ]"
	kill -9 "$(krun-oci state "$id" | jq .pid)"
	krun-oci delete --force "$id"
	rc=0
	qemu-img check -q "$work/q" >"$work/out" 2>"$work/err" || rc=$?
	[ $rc = 0 ] || [ $rc = 3 ] || die "qemu-img check after kill -9: $rc"
	clean=$((clean + !rc))
	ok "qemu-img calls the image clean or leaked after kill -9 ($rc)"
	qemu-img convert -f qcow2 -O raw "$work/q" "$work/q.raw"
	"$work/b/rootfs/bin/disk" look "$work/q.raw" "$work/src/safe" >"$work/out" 2>"$work/err" || die "what was flushed is lost"
	ok "and what was flushed is there ($(cat "$work/out") pieces)"
done
say "killed, and clean: $clean"
say "killed, and clusters leaked: $((${KILLS:-$kills} - clean))"

refused() { # WORDS JQ
	guest true "$2"
	run krun-oci --trust-annotations run --bundle "$work/b" "$id"
	[ "$rc" != 0 ] || die "not refused: $2"
	err_has "$1"
}
ln -s "$work/q" "$work/b/link"
qemu-img create -q -f qcow2 -F raw -b /etc/passwd "$work/below" 1M
refused 'krun-oci.disk.0' "$(disk 0 nothing)"
refused 'krun-oci.disk.0' "$(disk 0 link format=qcow2)"
refused 'krun-oci.disk.1' "$(disk 1 raw)"
refused 'krun-oci.disk.0.options' "$(disk 0 raw rw)"
refused 'has a backing file' "$(disk 0 "$work/below" format=qcow2)"
refused 'no qcow2 image' "$(disk 0 raw format=qcow2)"
refused 'no regular file' "$(disk 0 /dev/null)"
done_testing
