#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# linux.resources: limits on the host and in the guest, out of memory, cgroupsPath.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
mib=$((1024 * 1024))
bundle b busybox
edit b '.process.args=["sh","-c","cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; grep -c ^processor /proc/cpuinfo; awk \"/^MemTotal/ { print \\$2 }\" /proc/meminfo; exec sleep 1000"]
	| .linux.cgroupsPath="/krun-test/a/'"$id"'" | .linux.resources={"memory":{"limit":'$((128 * mib))'},"cpu":{"quota":150000,"period":100000,"shares":512},"pids":{"limit":50}} | del(.annotations)'
created "$id" b
[ "$rc" = 0 ] || { cp "$work/$id.err" "$work/err"; die "create: status $rc"; }
pid=$(cat "$work/$id.pid")
cg=/sys/fs/cgroup/krun-test/a/$id
check "the VMM is in cgroupsPath" "0::/krun-test/a/$id" "$(cat "/proc/$pid/cgroup")"
max=$(cat "$cg/memory.max")
[ "$max" -gt $((128 * mib)) ] && [ "$max" -le $((208 * mib)) ] || die "memory.max on the host is $max"
ok "memory.max on the host is the limit and an overhead: $((max / mib)) MiB"
check "cpu.max on the host" "150000 100000" "$(cat "$cg/cpu.max")"
check "cpu.weight on the host" 20 "$(cat "$cg/cpu.weight")"
[ "$(cat "$cg/pids.max")" -gt 50 ] || die "pids.max on the host leaves no room for threads"
ok "pids.max on the host is the limit and the VMM's threads: $(cat "$cg/pids.max")"
status 0 krun-oci start "$id"
wait_for 20 sh -c "[ \$(wc -l <'$work/$id.out') = 4 ]"
check "memory.max in the guest" $((128 * mib)) "$(sed -n 1p "$work/$id.out")"
check "pids.max in the guest" 50 "$(sed -n 2p "$work/$id.out")"
check "CPUs for a quota of 1.5, where the host has them" "$(($(nproc) < 2 ? 1 : 2))" "$(sed -n 3p "$work/$id.out")"
say "MemTotal in the guest: $(sed -n 4p "$work/$id.out") kB"
run krun-oci exec "$id" sh -c 'for i in $(seq 60); do sleep 100 & done; echo not reached'
err_has "can't fork"
check "pids.limit at work" "" "$(cat "$work/out")"
status 0 krun-oci delete --force "$id"
[ ! -e "$cg" ] || die "the cgroup is left"
ok "the cgroup is gone"

say "128 MiB are enough to work in; more than that is not there"
edit b 'del(.linux.cgroupsPath, .linux.resources.pids) | .process.args=["sh","-c","dd if=/dev/zero of=/dev/shm/x bs=1M count=32 2>/dev/null; ls -R / >/dev/null 2>&1; md5sum /bin/busybox >/dev/null; echo done; tail /dev/zero; echo status $?; exec tail /dev/zero"]'
run krun-oci run --bundle "$work/b" "$id"
check "a child takes too much, and the container goes on; PID 1 does: exit status" "137 done status 137" "$rc $(words "$work/out")"
rm -f "$work/b/oom"

say "a cgroup that another process is in, or is below"
for where in "$id.x" "$id.x/below"; do
	mkdir -p "/sys/fs/cgroup/$where"
	sleep 1000 &
	other=$!
	echo $other >"/sys/fs/cgroup/$where/cgroup.procs"
	edit b ".linux.cgroupsPath=\"/$id.x\""
	status 1 krun-oci create --bundle "$work/b" "$id"
	err_has "holds processes already"
	# The runtime was killed before it could look: a delete must not take the other process for the container's.
	mkdir -p "/run/krun-oci/$id"
	jq -n --arg id "$id" '{type:"krun-oci",id:$id,bundle:"/b",rootfs:"/r",cgroup:($id+".x"),cgroupKept:0,created:"2026-01-01T00:00:00Z",owner:0,pid:0,pidStart:0}' \
		>"/run/krun-oci/$id/state.json"
	touch "/run/krun-oci/$id/lock"
	status 0 krun-oci delete --force "$id"
	kill -0 $other || die "the other process was killed"
	ok "the other process lives"
	kill $other
	wait $other || true
	wait_for 60 rmdir "/sys/fs/cgroup/$where"
done
rmdir "/sys/fs/cgroup/$id.x"

say "one cgroupsPath for a container after the other"
# a sandbox: it is the cgroup that is looked at, and it has no VM to be booted
edit b '.linux.cgroupsPath="/krun-test/'"$id"'/same" | .linux.resources={} | .process.args=["/pause"]'
cg=/sys/fs/cgroup/krun-test/$id/same
stopped() { # ID; runs it until it is killed
	status 0 krun-oci run --detach --bundle "$work/b" "$1"
	status 0 krun-oci kill "$1" KILL
	wait_for 20 container_is "$1" stopped
}
stopped "$id"
status 0 krun-oci run --detach --bundle "$work/b" "$id-b"
status 0 krun-oci delete "$id"
check "delete of the first leaves the second alone" "running 1" "$(krun-oci state "$id-b" | jq -r .status) $(grep -c . "$cg/cgroup.procs")"
status 0 krun-oci delete --force "$id-b"
[ ! -e /sys/fs/cgroup/krun-test ] || die "a cgroup is left"
ok "that of the second removes what was made for both"

say "the cgroup was removed, and made again by somebody else"
stopped "$id"
rmdir "$cg"
mkdir "$cg"
sleep 1000 &
other=$!
echo $other >"$cg/cgroup.procs"
status 0 krun-oci delete --force "$id"
kill -0 $other || die "the other process was killed"
ok "the other process lives"
kill $other
wait $other || true
wait_for 60 rmdir "$cg"
rmdir "${cg%/*}" /sys/fs/cgroup/krun-test

say "a create that was killed: before the cgroup had its mark, and after"
for mark in "" "0 2026-01-01T00:00:00Z $id"; do
	mkdir -p "$cg" "/run/krun-oci/$id"
	[ -z "$mark" ] || perl -e '($d, $v, $n) = (@ARGV, "user.krun-oci"); syscall(188, $d, $n, $v, length($v), 0) == 0 or die "setxattr: $!"' "$cg" "$mark"
	jq -n --arg id "$id" '{type:"krun-oci",id:$id,bundle:"/b",rootfs:"/r",cgroup:("krun-test/"+$id+"/same"),cgroupKept:0,created:"2026-01-01T00:00:00Z",owner:0,pid:0,pidStart:0}' \
		>"/run/krun-oci/$id/state.json"
	touch "/run/krun-oci/$id/lock"
	status 0 krun-oci delete --force "$id"
	[ ! -e /sys/fs/cgroup/krun-test ] || die "a cgroup is left"
done
edit b '.linux.cgroupsPath="/../x"'
status 1 krun-oci create --bundle "$work/b" "$id"
err_has linux.cgroupsPath

say "--cgroup-manager disabled"
edit b 'del(.linux.cgroupsPath) | .linux.resources={} | .process.args=["true"]'
edit b '.annotations={"krun.ram_mib":"128"} | .process.args=["sh","-c","until [ -e /go ]; do sleep 0.1; done; tail /dev/zero; echo status $?; while [ -e /go ]; do sleep 0.1; done"]'
krun-oci --cgroup-manager disabled run --detach --bundle "$work/b" "$id" >"$work/$id.out" 2>"$work/err" </dev/null || die "run --detach"
status 1 krun-oci events --stats "$id"
err_has "has no cgroup of its own"
krun-oci events --interval 1ms "$id" >"$work/events" 2>&1 &
stream=$!
# so that it watches before there is something to see
watches() { grep -qs 'State.*sleeping' "/proc/$stream/status" && [ -n "$(find "/proc/$stream/fd" -lname 'socket:*')" ]; }
wait_for 20 watches
touch "$work/b/rootfs/go"
wait_for 120 grep -q "status 137" "$work/$id.out"
rm "$work/b/rootfs/go"
wait "$stream" || die "the stream's status"
check "what happens is told, without figures" "{\"type\":\"oom\",\"id\":\"$id\"}" "$(sort -u "$work/events")"
status 0 krun-oci delete --force "$id"
rm -f "$work/b/oom"

say "a host on cgroup v1"
unshare -m sh -c 'mount -t tmpfs t /sys/fs/cgroup && exec krun-oci create --bundle "$1" "$2"' sh "$work/b" "$id" 2>"$work/err" && die "create without cgroup v2"
err_has "only cgroup v2 is supported"
check "one line" 1 "$(wc -l <"$work/err")"
host_is_as "$work/host.before"
done_testing
