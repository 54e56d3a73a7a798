# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names that run sets
# The rows of sockets, sourced by tests/bench/run: the same program (net.c) talks natively over loopback, through a relay without any VM, in our
# guest by TSI, and in QEMU's microvm by virtio-net and passt. All four stand while the rounds go on, in a network namespace of their own.
#
# "out" is from the guest (where there is one) to the host, "in" to it: who connects, sends or asks. Natively both are processes of the host.

net_tests=(stream rr crr udp)
net_sides=(native relay tsi passt)
net_ms=300

# Ports: a node takes two. The guest's, as the host reaches it, and the host's, as the guest does.
declare -A net_guest=([native]=4000 [relay]=7100 [tsi]=5000 [passt]=6000)
declare -A net_host=([native]="127.0.0.1 3001" [relay]="127.0.0.1 7001" [tsi]="127.0.0.1 3001" [passt]="10.9.0.1 3001")

net_in() {
	nsenter --net="/proc/$net_holder/ns/net" "$@"
}

# One that stays, to be called with &: the subshell becomes it, so that $! is what net_stop has to end.
net_stay() {
	exec nsenter --net="/proc/$net_holder/ns/net" "$@"
}

net_stop() {
	local p
	krun-oci delete --force "bench-net-$$" >/dev/null 2>&1 || true
	for p in "${net_pids[@]}"; do
		kill "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
	net_pids=()
}

# Until the node answers.
net_wait() { # WHO
	local i
	for ((i = 0; i < 300; i++)); do
		if net_in "$work/netbench" ask "${net_guest[$1]}" rr "${net_host[$1]% *}" "${net_host[$1]#* }" 10 >/dev/null 2>&1; then return; fi
		sleep 0.2
	done
	echo "tests/bench/net.sh: $1 does not answer" >&2
	tail -n 20 "$work/net.$1.log" >&2
	exit 1
}

net_namespace() {
	unshare --net sleep infinity &
	net_holder=$!
	net_pids+=("$net_holder")
	until [ "$(readlink "/proc/$net_holder/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
	# the address and the route are what passt gives to its guest
	net_in sh -ec 'ip link set lo up; ip link add up0 type dummy; ip addr add 10.9.0.2/24 dev up0; ip link set up0 up
		ip route add default via 10.9.0.1; echo 9000 65000 >/proc/sys/net/ipv4/ip_local_port_range'
}

# QEMU's guest has our kernel, too.
net_initrd() {
	local d=$work/net.initrd.d
	mkdir -p "$d/bin" "$d/dev" "$d/proc" "$d/sys"
	cp "$(command -v busybox)" "$d/bin/busybox"
	cp "$work/netbench" "$d/net"
	# what the kernel's command line says of it is in init's environment
	cat >"$d/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox mount -t proc proc /proc
		/bin/busybox mount -t sysfs sys /sys
		/bin/busybox ip link set lo up
		/bin/busybox ip link set eth0 mtu ${mtu:-65520} up
		/bin/busybox ip addr add ${addr:-10.9.0.2}/24 dev eth0
		/bin/busybox ip route add default via ${router:-10.9.0.1}
		exec /net node ${node:-6000}
	END
	chmod 755 "$d/init"
	(cd "$d" && find . | cpio -o -H newc --quiet) >"$work/net.initrd"
}

net_passt() {
	local i
	net_initrd
	# Debian's gives up root for a user of its own, who has to reach the socket.
	net_stay passt -f -q -s "$work/net.sock" -P "$work/net.passt.pid" -4 -t 6000,6001 -u 6001 --runas 0 >"$work/net.passt.log" 2>&1 &
	net_pids+=($!)
	for ((i = 0; i < 100; i++)); do
		[ ! -S "$work/net.sock" ] || break
		sleep 0.1
	done
	net_stay qemu-system-x86_64 -M microvm,acpi=off -enable-kvm -cpu host -m 256 -smp 1 -nodefaults -no-user-config -display none -no-reboot \
		-kernel "$build/kernel/vmlinux" -initrd "$work/net.initrd" -append "quiet panic=-1 tsc=reliable no_timer_check" \
		-netdev "stream,id=n,server=off,addr.type=unix,addr.path=$work/net.sock" \
		-device virtio-net-device,netdev=n </dev/null >"$work/net.qemu.log" 2>&1 &
	net_pids+=($!)
}

# The native side, and ours.
net_start_tsi() {
	local p
	net_pids=()
	trap 'net_stop; rm -rf "$work"' EXIT
	chmod 755 "$work"
	gcc -std=gnu11 -O2 -D_GNU_SOURCE -static -o "$work/netbench" "$top/tests/bench/net.c"
	net_namespace
	for p in "node 3000" "node 4000" "relay 7001 3001 7100 4000 7101 4001"; do
		# shellcheck disable=SC2086 # words
		net_stay "$work/netbench" $p >"$work/net.${p%% *}.log" 2>&1 &
		net_pids+=($!)
	done
	bundle net '["/net","node","5000"]'
	cp "$work/netbench" "$work/net/rootfs/net"
	jq ".linux.namespaces |= map(if .type == \"network\" then .path = \"/proc/$net_holder/ns/net\" else . end)" \
		"$work/net/config.json" >"$work/net/config.new"
	mv "$work/net/config.new" "$work/net/config.json"
	krun-oci run -b "$work/net" "bench-net-$$" </dev/null >"$work/net.tsi.log" 2>&1 &
	net_pids+=($!)
	net_wait tsi
}

net_start() {
	local p
	net_start_tsi
	net_passt
	for p in "${net_sides[@]}"; do
		net_wait "$p"
	done
}

net_measure() { # SIDE TEST WAY
	if [ "$3" = out ]; then
		net_in "$work/netbench" ask "${net_guest[$1]}" "$2" "${net_host[$1]% *}" "${net_host[$1]#* }" "$net_ms"
	else
		net_in "$work/netbench" test "$2" 127.0.0.1 $((net_guest[$1] + 1)) "$net_ms"
	fi
}

net_row() { # TEST WAY NAME UNIT SCALE AIM
	local side
	local -A v
	for side in "${net_sides[@]}"; do
		v[$side]=$(awk -v s="$5" '{ printf "%.1f\n", $1 / s }' "$work/net.$side.$1.$2" | median)
	done
	row "$3, $2" "${v[tsi]}" "$4" passt "${v[passt]}" "1x+"
	row "$3, $2" "${v[tsi]}" "$4" native "${v[native]}" "${6:--}"
	row "$3, $2" "${v[tsi]}" "$4" relay "${v[relay]}"
}

bench_net() {
	local i side t way
	net_start
	for ((i = 0; i <= (runs + 1) / 2; i++)); do
		for t in "${net_tests[@]}"; do
			for way in out in; do
				for side in "${net_sides[@]}"; do
					# the first round warms up
					net_measure "$side" "$t" "$way" >>"$work/net.$([ "$i" = 0 ] && echo warm || echo "$side.$t.$way")"
				done
			done
		done
	done
	net_stop
	for way in out in; do
		net_row stream $way "TCP stream" MB/s 1000000 "~0.5x+"
		net_row rr $way "TCP request and response" 1/s 1 "~0.25x+"
		net_row crr $way "TCP connect, request, response" 1/s 1 "~0.25x+"
		net_row udp $way "UDP datagrams" 1/s 1
	done
}

# What one operation costs, whatever the machine: exits of the guest, and the VMM's system calls, which want a turn of their own, as strace slows
# all of it down. A slow machine has more ticks of the clock in an operation, and so some more exits.
bench_netcounts() {
	local pid stats t way n a b unit
	net_start_tsi
	pid=$(krun-oci state "bench-net-$$" | jq .pid)
	mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
	stats=$(echo "/sys/kernel/debug/kvm/$pid"-*)
	for t in "${net_tests[@]}"; do
		# a stream's operation is 64 KiB
		unit=$([ "$t" = stream ] && echo 65536 || echo 1)
		for way in out in; do
			net_measure tsi "$t" "$way" >/dev/null
			a=$(cat "$stats/exits")
			n=$(net_measure tsi "$t" "$way")
			b=$(cat "$stats/exits")
			row "$t, $way: exits of one" "$(awk -v d=$((b - a)) -v n="$n" -v ms="$net_ms" -v u="$unit" \
				'BEGIN { printf "%.1f", d / (n * ms / 1000 / u) }')" ""
			command -v strace >/dev/null || continue
			strace -c -f -q -p "$pid" -o "$work/strace" &
			a=$!
			until [ "$(awk '/TracerPid/ { print $2 }' "/proc/$pid/status")" != 0 ]; do sleep 0.1; done
			n=$(net_measure tsi "$t" "$way")
			kill -INT "$a"
			wait "$a" || true
			row "$t, $way: system calls of the VMM" "$(awk -v n="$n" -v ms="$net_ms" -v u="$unit" \
				'$NF == "total" { printf "%.1f", $(NF - 2) / (n * ms / 1000 / u) }' "$work/strace")" ""
		done
	done
	net_stop
}
