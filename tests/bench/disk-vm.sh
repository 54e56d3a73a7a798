# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names that run sets
# The rows of disks in a guest, sourced by tests/bench/run: the same program (blkread.c) on the same kernel reads the same file through our
# virtio-blk and through that of QEMU's microvm, each with io_uring. The two have their turns: one guest at a time, one read of each kind in it.

disk_ms=1000
disk_kinds=("random 4096 32" "random 4096 1" "sequential 131072 32")

disk_initrd() {
	local d=$work/disk.d
	mkdir -p "$d/bin" "$d/dev" "$d/proc"
	cp "$(command -v busybox)" "$d/bin/busybox"
	cp "$work/blkread" "$d/blkread"
	{
		echo '#!/bin/busybox sh'
		echo '/bin/busybox mount -t devtmpfs dev /dev; until [ -c /dev/hvc0 ]; do /bin/busybox sleep 0.1; done; exec >/dev/hvc0'
		for k in "${disk_kinds[@]}"; do echo "echo \"of $k: \$(/blkread /dev/vda $k $disk_ms)\""; done
		echo 'exec /bin/busybox poweroff -f'
	} >"$d/init"
	chmod 755 "$d/init"
	(cd "$d" && find . | cpio -o -H newc --quiet) >"$work/disk.initrd"
}

bench_disk() {
	local i k
	gcc -std=gnu11 -O2 -D_GNU_SOURCE -static -o "$work/blkread" "$top/tests/bench/blkread.c"
	head -c 64M /dev/urandom >"$work/disk.raw"
	disk_initrd
	bundle disk "$(printf '%s\n' "${disk_kinds[@]}" | jq -R -s --arg ms "$disk_ms" '["sh", "-c", ([split("\n")[] | select(. != "") |
		"echo \"of \(.): $(/blkread /dev/vda \(.) \($ms))\""] | join("; "))]')"
	cp "$work/blkread" "$work/disk/rootfs/blkread"
	jq --arg f "$work/disk.raw" '.annotations += { "krun-oci.disk.0": $f, "krun-oci.disk.0.options": "ro" }' "$work/disk/config.json" >"$work/disk/new"
	mv "$work/disk/new" "$work/disk/config.json"
	for ((i = 0; i <= (runs + 1) / 2; i++)); do
		krun-oci --trust-annotations run -b "$work/disk" "bench-disk-$$-$i" </dev/null >"$work/disk.ours"
		timeout 600 qemu-system-x86_64 -M microvm,acpi=off -enable-kvm -cpu host -m 256 -smp 1 -nodefaults -no-user-config -display none -no-reboot \
			-kernel "$build/kernel/vmlinux" -initrd "$work/disk.initrd" -append "quiet panic=-1 tsc=reliable no_timer_check" \
			-chardev stdio,id=c -device virtio-serial-device,max_ports=1 -device virtconsole,chardev=c \
			-drive "file=$work/disk.raw,format=raw,if=none,id=d,readonly=on,aio=io_uring" -device virtio-blk-device,drive=d </dev/null \
			>"$work/disk.qemu" 2>"$work/disk.log"
		for k in "${disk_kinds[@]}"; do
			for p in ours qemu; do
				# the first round warms caches up
				sed -n "s/^of $k: \([0-9][0-9]*\).*/\1/p" "$work/disk.$p" | grep . >>"$work/disk.$([ "$i" = 0 ] && echo warm || echo "$p.$k")" || { echo "tests/bench/disk-vm.sh: $p has no figure of $k" >&2; exit 1; }
			done
		done
	done
	for k in "${disk_kinds[@]}"; do
		# shellcheck disable=SC2086 # words
		set -- $k
		row "disk in a guest, $1, $2 bytes, depth $3" "$(median <"$work/disk.ours.$k")" 1/s microvm "$(median <"$work/disk.qemu.$k")" "~1x+"
	done
}
