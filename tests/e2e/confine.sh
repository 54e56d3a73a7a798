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
done_testing
