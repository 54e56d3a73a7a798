#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each thread of the VMM is confined, the proxy of exec too; and a SIGSYS that somebody sends is the workload's.
# timeout: 300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# As many files at once as call for workers.
script='trap "echo got SYS >/got" SYS; (for i in 1 2 3 4 5 6 7 8; do (dd if=/dev/zero of=/f$i bs=64k count=16; sync) 2>/dev/null & done; wait); echo up >/up; while :; do sleep 1; done'
bundle b busybox --args "$(jq -nc --arg s "$script" '["sh","-c",$s]')"
edit b '.root.readonly=false'
created "$id" b
check "create" 0 "$rc"
status 0 krun-oci start "$id"
wait_for 60 test -s "$work/b/rootfs/up"
pid=$(cat "$work/$id.pid")
status 0 krun-oci exec -d --pid-file "$work/p" "$id" sleep 1000

say "every thread"
names=''
for t in "/proc/$pid"/task/* "/proc/$(cat "$work/p")"; do
	name=$(cat "$t/comm")
	names+="$name "
	check "$name: seccomp filters its calls" 2 "$(awk '/^Seccomp:/ { print $2 }' "$t/status")"
	check "$name: no new privileges" 1 "$(awk '/^NoNewPrivs:/ { print $2 }' "$t/status")"
done
for name in io fs vcpu0 krun-oci-exec; do
	[[ " $names" == *" $name "* ]] || die "no thread $name: $names"
done

say "SIGSYS from outside"
kill -SYS "$pid"
wait_for 60 test -s "$work/b/rootfs/got"
check "reaches the workload" "got SYS" "$(cat "$work/b/rootfs/got")"
check "and the VM lives" running "$(krun-oci state "$id" | jq -r .status)"
status 0 krun-oci delete --force "$id"

say "datagrams for a guest that does not read"
program tsi-try "$work/b/rootfs/try"
edit b '.linux.namespaces |= map(select(.type != "network")) |
	.process.args=["sh","-c","/try echo 9753 & until [ -e /bound ]; do sleep 0.1; done; kill -STOP $!; echo up >/up2; while [ ! -e /over ]; do sleep 1; done; echo alive"]'
krun-oci run --bundle "$work/b" "$id" </dev/null >"$work/out" 2>"$work/err" &
run_pid=$!
bound() { [ -n "$(ss -Hlun 'sport = :9753')" ]; }
wait_for 60 bound
touch "$work/b/rootfs/bound"
wait_for 60 test -s "$work/b/rootfs/up2"
python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in (60000, 1000, 60000, 200):
	for i in range(300):
		try:
			s.sendto(bytes(n), ("127.0.0.1", 9753))
		except OSError:
			pass'
touch "$work/b/rootfs/over"
rc=0
wait $run_pid || rc=$?
check "the VM lives" "0 alive" "$rc $(cat "$work/out")"

say "a guest whose kernel gives up"
edit b '.linux.readonlyPaths=[] | .linux.maskedPaths=[] | .linux.resources.memory={limit: 100000000} |
	.process.args=["sh","-c","echo 2 >/proc/sys/vm/panic_on_oom; tail /dev/zero"]'
rc=0
timeout 120 krun-oci --log "$work/log" run --bundle "$work/b" "$id" </dev/null >"$work/out" 2>"$work/err" || rc=$?
check "exit status" 125 "$rc"
grep -q "panic" "$work/log" || die "the log does not say why: $(cat "$work/log")"
ok "the log says why"
done_testing
