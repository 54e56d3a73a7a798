# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names that run and net.sh set
# The rows of a guest's interface, sourced by tests/bench/run after net.sh: the same program (net.c) in our guest (by libkrun.so.1) and in that of
# QEMU's microvm, on the same kernel, both by virtio-net: on a passt of its own each, with the same options, and on a tap of its own each. One pair
# stands at a time; the rounds go to and fro between the two.

nic_tests=(stream rr crr)

# A passt that sends PORT and the next one to its guest.
nic_passt() { # NAME PORT
	local i
	net_stay passt -f -q -s "$work/nic.$1.sock" -P "$work/nic.$1.pid" -4 -t "$2,$(($2 + 1))" --runas 0 >"$work/nic.$1.log" 2>&1 &
	net_pids+=($!)
	for ((i = 0; i < 100; i++)); do
		[ ! -S "$work/nic.$1.sock" ] || break
		sleep 0.1
	done
	[ -S "$work/nic.$1.sock" ] || { cat "$work/nic.$1.log" >&2; exit 1; }
}

nic_tap() { # NAME NET
	net_in sh -ec "ip tuntap add $1 mode tap vnet_hdr; ip addr add $2.1/24 dev $1; ip link set $1 up"
	printf '%s\n' "start $2.5" "end $2.5" "interface $1" "lease_file $work/nic.$1.leases" "pidfile $work/nic.$1.pid" 'option subnet 255.255.255.0' \
		"option router $2.1" >"$work/nic.$1.conf"
	: >"$work/nic.$1.leases"
	net_stay busybox udhcpd -f "$work/nic.$1.conf" >"$work/nic.$1.log" 2>&1 &
	net_pids+=($!)
}

nic_qemu() { # NAME NETDEV KERNEL-WORDS
	net_stay qemu-system-x86_64 -M microvm,acpi=off -enable-kvm -cpu host -m 256 -smp 1 -nodefaults -no-user-config -display none -no-reboot \
		-kernel "$build/kernel/vmlinux" -initrd "$work/net.initrd" -append "quiet panic=-1 tsc=reliable no_timer_check $3" \
		-netdev "$2" -device virtio-net-device,netdev=n </dev/null >"$work/net.$1.log" 2>&1 &
	net_pids+=($!)
}

nic_ours() { # NAME KIND WHERE PORT
	LD_LIBRARY_PATH=$build net_stay "$work/krun" nic "$work/nic/rootfs" "$2" "$3" /net node "$4" </dev/null >"$work/net.$1.log" 2>&1 &
	net_pids+=($!)
}

# What net.sh's own functions ask for: where the node of a side is, and the host as it sees it.
nic_start() { # KIND
	if [ "$1" = passt ]; then
		nic_passt ours 6100
		nic_passt qemu 6000
		nic_ours ours stream "$work/nic.ours.sock" 6100
		nic_qemu qemu "stream,id=n,server=off,addr.type=unix,addr.path=$work/nic.qemu.sock" "node=6000"
		net_guest[ours]=6100 net_host[ours]="10.9.0.1 3001" net_guest[qemu]=6000 net_host[qemu]="10.9.0.1 3001"
	else
		nic_tap nictap 10.8.1
		net_in sh -ec 'ip tuntap add qemutap mode tap vnet_hdr; ip addr add 10.8.2.1/24 dev qemutap; ip link set qemutap up'
		nic_ours ours tap nictap 6100
		nic_qemu qemu "tap,id=n,ifname=qemutap,script=no,downscript=no,vhost=off" "node=6000 mtu=1500 addr=10.8.2.5 router=10.8.2.1"
		net_guest[ours]=10.8.1.5:6100 net_host[ours]="10.8.1.1 3001" net_guest[qemu]=10.8.2.5:6000 net_host[qemu]="10.8.2.1 3001"
	fi
	net_wait ours
	net_wait qemu
}

nic_measure() { # SIDE TEST WAY
	local at=${net_guest[$1]}
	if [ "$3" = out ]; then
		net_in timeout 120 "$work/netbench" ask "$at" "$2" "${net_host[$1]% *}" "${net_host[$1]#* }" "$net_ms"
	else
		[[ $at == *:* ]] || at=127.0.0.1:$at
		net_in timeout 120 "$work/netbench" test "$2" "${at%:*}" $((${at#*:} + 1)) "$net_ms"
	fi
}

bench_nic() {
	local i kind side t way unit scale
	# where TCP has not found its pace within a third of a second
	local net_ms=3000
	[ -e "$build/libkrun.so" ] || { echo "tests/bench/nic.sh: no libkrun.so, no rows of an interface" >&2; return 0; }
	net_pids=()
	trap 'net_stop; rm -rf "$work"' EXIT
	chmod 755 "$work"
	gcc -std=gnu11 -O2 -D_GNU_SOURCE -static -o "$work/netbench" "$top/tests/bench/net.c"
	KRUN_BUILD=$build "$top/tests/programs" krun-api "$work/krun"
	bundle nic '["true"]'
	cp "$work/netbench" "$work/nic/rootfs/net"
	net_initrd
	for kind in passt tap; do
		net_namespace
		net_stay "$work/netbench" node 3000 >"$work/net.node.log" 2>&1 &
		net_pids+=($!)
		nic_start $kind
		for ((i = 0; i <= (runs + 1) / 2; i++)); do
			for t in "${nic_tests[@]}"; do
				for way in out in; do
					for side in ours qemu; do
						# the first round warms up
						nic_measure $side "$t" $way >>"$work/nic.$([ "$i" = 0 ] && echo warm || echo "$kind.$side.$t.$way")"
					done
				done
			done
		done
		net_stop
		for t in "${nic_tests[@]}"; do
			unit=1/s scale=1
			[ "$t" != stream ] || unit=MB/s scale=1000000
			for way in out in; do
				row "virtio-net by $kind, TCP $t, $way" "$(awk -v s=$scale '{ printf "%.1f\n", $1 / s }' "$work/nic.$kind.ours.$t.$way" | median)" $unit \
					microvm "$(awk -v s=$scale '{ printf "%.1f\n", $1 / s }' "$work/nic.$kind.qemu.$t.$way" | median)" "~1x+"
			done
		done
	done
}
