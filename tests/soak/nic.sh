#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A guest's interface by a tap, by passt, and by sockets as gvproxy and QEMU have them (tests/soak/wire.c): an address by DHCP, iperf3 both
# ways, and what is behind it killed under load and started again. SECONDS_EACH (5) of each iperf3, NIC_KILLS (5) kills.
# timeout: 3600
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
build=${KRUN_BUILD:-$top}
# shellcheck disable=SC2154 # of lib.sh: $top, $work, $rc
[ -e "$build/libkrun.so" ] || skip "no libkrun.so (./configure --enable-libkrun)"
export LD_LIBRARY_PATH=$build
seconds=${SECONDS_EACH:-5} kills=${NIC_KILLS:-5}

program krun-api "$work/prog"
gcc -O2 -o "$work/wire" "$top/tests/soak/wire.c" 2>"$work/err" || die "cannot compile tests/soak/wire.c"
bundle b net
root=$work/b/rootfs jobs=$work/b/rootfs/srv/jobs
mkdir "$jobs"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/urandom" c 1 9

# What the guest runs: each script that is given to it, one after the other.
cat >"$root/srv/guest" <<'END'
n=0
iperf3 -s -p 5202 -D
: >/srv/jobs/up
while [ ! -e /srv/jobs/end ]; do
	[ -e /srv/jobs/$n.do ] || { sleep 0.1; continue; }
	rc=0
	sh /srv/jobs/$n.do >/srv/jobs/$n.out 2>&1 || rc=$?
	echo $rc >/srv/jobs/$n.rc.new
	mv /srv/jobs/$n.rc.new /srv/jobs/$n.rc
	n=$((n + 1))
done
END
job=0
start_job() { # SCRIPT
	echo "$1" >"$jobs/$job.new"
	mv "$jobs/$job.new" "$jobs/$job.do"
}
end_job() { # WHAT; its output is in $work/out
	local end=$((EPOCHSECONDS + 600))
	until [ -e "$jobs/$job.rc" ]; do
		kill -0 "$vm" 2>/dev/null || die "$1: the guest has ended"
		[ "$EPOCHSECONDS" -lt "$end" ] || die "$1: it does not end"
		sleep 0.1
	done
	cp "$jobs/$job.out" "$work/out"
	[ "$(cat "$jobs/$job.rc")" = 0 ] || { tail -n 5 "$work/out"; die "$1: status $(cat "$jobs/$job.rc") in the guest"; }
	job=$((job + 1))
}
in_guest() { # SCRIPT
	start_job "$1"
	end_job "$1"
}

pids=() behind='' vm=''
stop_all() {
	local rc=$?
	[ $rc = 0 ] || tail -n 8 "$work"/*.log 2>/dev/null | sed 's/^/# /' || true
	kill "${pids[@]}" ${behind:+"$behind"} ${vm:+"$vm"} 2>/dev/null || true
	wait 2>/dev/null || true
	cleanup
}
trap stop_all EXIT
ip link set lo up
unshare --net sleep infinity &
holder=$!
pids+=("$holder")
wait_for 20 sh -c "[ \"\$(readlink /proc/$holder/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
in_net() { nsenter --net="/proc/$holder/ns/net" "$@"; }
in_net_bg() { exec nsenter --net="/proc/$holder/ns/net" "$@"; } # with &: then $! is what is to be killed
in_net ip link set lo up
in_net_bg chroot "$root" iperf3 -s -p 5201 >"$work/iperf.log" 2>&1 </dev/null &
pids+=($!)

# A tap with a server of addresses behind it.
tap_up() { # NAME NET
	in_net ip tuntap add "$1" mode tap
	in_net ip address add "$2.1/24" dev "$1"
	in_net ip link set "$1" up
	printf '%s\n' "start $2.5" "end $2.5" "interface $1" "lease_file $work/leases.$1" "pidfile $work/pid.$1" 'option subnet 255.255.255.0' "option router $2.1" >"$work/conf.$1"
	: >"$work/leases.$1"
	in_net_bg busybox udhcpd -f "$work/conf.$1" >"$work/udhcpd.$1.log" 2>&1 </dev/null &
	pids+=($!)
}
start_guest() { # KIND WHERE
	rm -rf "$jobs"
	mkdir "$jobs"
	job=0
	in_net_bg env TMPDIR="$work" timeout 3000 "$work/prog" nic "$root" "$1" "$2" /bin/sh /srv/guest >"$work/guest.log" 2>&1 </dev/null &
	vm=$!
	wait_for 120 test -e "$jobs/up"
}
end_guest() {
	rc=0
	: >"$jobs/end"
	wait "$vm" || rc=$?
	vm=''
	check "the guest ends" 0 "$rc"
}
# What the receiver got, of the report in $work/out.
told() { # WHAT
	local mbit
	mbit=$(jq -er '.end.sum_received | select(.bytes > 0) | .bits_per_second / 1e4 | floor / 100' "$work/out" 2>"$work/err") || die "$1: nothing came"
	say "$1, each: $mbit Mbit/s"
}
measure() { # WHAT SERVER-FOR-THE-GUEST SERVER-FOR-THE-HOST
	local way dir
	for way in '' -R; do
		dir=to
		[ -z "$way" ] || dir=from
		in_guest "iperf3 -J -c $2 -p 5201 -t $seconds $way"
		told "$1, the guest calls, $dir the host"
		in_net timeout 600 chroot "$root" iperf3 -J -c "$3" -p 5202 -t "$seconds" $way >"$work/out" 2>&1 || die "$1: iperf3 to the guest"
		told "$1, the host calls, $dir the guest"
	done
	ok "$1: iperf3 both ways, called by both"
}
linked() {
	in_guest 'cat /sys/class/net/eth0/operstate'
	grep -q up "$work/out"
}
frames() {
	in_guest 'cat /sys/class/net/eth0/statistics/*x_packets'
	say "$1, frames to and from the guest, each: $(words "$work/out")"
}

say "a tap"
tap_up t5 10.7.5
start_guest tap t5
in_guest 'ip -4 -o address show dev eth0; ip route'
out_has 10.7.5.5/24
out_has 'default via 10.7.5.1'
measure "tap" 10.7.5.1 10.7.5.5
frames "tap"
end_guest

for kind in vfkit stream; do
	say "a socket: $kind"
	tap_up "$kind" 10.7.6
	behind_it() {
		rm -f "$work/sock"
		in_net_bg "$work/wire" $kind "$work/sock" "$kind" >"$work/wire.log" 2>&1 </dev/null &
		behind=$!
		wait_for 20 test -S "$work/sock"
	}
	behind_it
	start_guest $kind "$work/sock"
	in_guest 'ip -4 -o address show dev eth0'
	out_has 10.7.6.5/24
	measure "$kind" 10.7.6.1 10.7.6.5
	# TCP lives through it: what was lost is sent again
	start_job "iperf3 -J -c 10.7.6.1 -p 5201 -t $((kills * 4 + 4))"
	for ((i = 0; i < kills; i++)); do
		sleep 2
		kill -KILL "$behind" 2>/dev/null || die "$kind: what is behind it has ended: $(cat "$work/wire.log")"
		wait "$behind" 2>/dev/null || true
		behind_it
	done
	end_job "iperf3 while what is behind it was killed $kills times"
	told "$kind, killed $kills times meanwhile"
	ok "a connection lives through $kills kills"
	in_guest 'cat /sys/class/net/eth0/carrier_down_count'
	[ "$(cat "$work/out")" -ge 1 ] || die "$kind: the link never went down"
	wait_for 60 linked
	ok "$kind: its link went down, and is up"
	frames "$kind"
	end_guest
	kill "$behind" 2>/dev/null || true
	wait "$behind" 2>/dev/null || true
	behind=''
	in_net ip link del "$kind"
done

say "passt"
command -v passt >/dev/null || die "no passt (tests/deps e2e installs it)"
in_net ip link add up0 type dummy
in_net ip address add 10.9.0.2/24 dev up0
in_net ip link set up0 up
in_net ip route add default via 10.9.0.1
passt_up() {
	rm -f "$work/sock"
	# Debian's gives up root for a user of its own, who has to reach the socket
	in_net_bg passt -f -q -s "$work/sock" -P "$work/passt.pid" -4 -t 5202 --runas 0 >"$work/passt.log" 2>&1 </dev/null &
	behind=$!
	wait_for 20 test -S "$work/sock"
}
passt_up
start_guest stream "$work/sock"
in_guest 'ip -4 -o address show dev eth0'
out_has 10.9.0.2/24
measure "passt" 10.9.0.1 127.0.0.1
kill -KILL "$behind" 2>/dev/null || die "passt has ended: $(cat "$work/passt.log")"
wait "$behind" 2>/dev/null || true
passt_up
wait_for 60 linked
in_guest "iperf3 -J -c 10.9.0.1 -p 5201 -t $seconds"
told "passt, after it was killed and started again"
ok "a new passt is a link that is up"
frames "passt"
end_guest
done_testing
