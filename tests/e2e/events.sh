#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# events: figures once and in a row, OOM kills as a line and as a file in the bundle, the end of the stream.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
mib=$((1024 * 1024))
bundle b busybox
edit b '.linux.resources={"memory":{"limit":'$((96 * mib))'},"pids":{"limit":50}} | .process.args=["sh","-c","until [ -e /go ]; do sleep 0.1; done; tail /dev/zero; echo status $?; until [ -e /go2 ]; do sleep 0.1; done; exec tail /dev/zero"]'

status 1 krun-oci events "$id"
err_has "does not exist"
created "$id" b
check "create" 0 "$rc"
status 1 krun-oci events --interval 5 "$id"
err_has '--interval: "5" is no time'
status 0 krun-oci events --stats "$id"
check "figures: one line" 1 "$(wc -l <"$work/out")"
check "figures: type and id" "stats $id" "$(jq -r '"\(.type) \(.id)"' "$work/out")"
check "figures of memory" true "$(jq ".data.memory.usage | .usage > $((8 * mib)) and .usage < $((300 * mib)) and .limit == $(cat "/sys/fs/cgroup/$id/memory.max")" "$work/out")"
check "figures of the CPU" true "$(jq '.data.cpu.usage | .total > 1000000 and .total >= .kernel' "$work/out")"
check "figures of pids" "true 114" "$(jq -r '"\(.data.pids.current > 3) \(.data.pids.limit)"' "$work/out")"
status 0 krun-oci start "$id"

say "a stream"
krun-oci events --interval 300ms "$id" >"$work/events" 2>"$work/events.err" &
stream=$!
lines() { [ "$(grep -c '"stats"' "$work/events")" -ge "$1" ]; }
wait_for 20 lines 2
[ ! -e "$work/b/oom" ] || die "a file oom before there was any"
touch "$work/b/rootfs/go"
wait_for 120 grep -q '"oom"' "$work/events"
check "an OOM kill is a line" "{\"type\":\"oom\",\"id\":\"$id\"}" "$(grep '"oom"' "$work/events" | head -n 1)"
check "and an empty file in the bundle" 0 "$(stat -c %s "$work/b/oom")"
wait_for 20 grep -q "status 137" "$work/$id.out"
check "the container goes on" running "$(krun-oci state "$id" | jq -r .status)"
rm "$work/b/oom"
touch "$work/b/rootfs/go2"
check "PID 1 is killed: exit status" 137 "$(exit_of "$id")"
[ -e "$work/b/oom" ] || die "no file oom"
ok "the file again"
wait "$stream" || die "the stream's status"
ok "the stream ends with the container, with status 0"
jq -es 'length > 0 and all(.[]; .type == "stats" or .type == "oom")' "$work/events" >/dev/null || die "not JSON, or of another type"
ok "every line is JSON"
check "it says nothing else" "" "$(cat "$work/events.err")"
status 1 krun-oci events --stats "$id"
err_has "container not running"
status 0 krun-oci delete "$id"

say "figures without limits"
edit b 'del(.linux.resources) | .process.args=["sleep","1000"]'
created "$id" b
check "create" 0 "$rc"
[ ! -e "$work/b/oom" ] || die "the file oom of the container before"
ok "the next container of the bundle has not run out of memory"
status 0 krun-oci events --stats "$id"
check "of memory, the CPU and pids" "true true true" "$(jq -r ".data | \"\(.memory.usage.usage > $((8 * mib))) \(.cpu.usage.total > 1000000) \(.pids.current > 3)\"" "$work/out")"
[ -e "/sys/fs/cgroup/$id/memory.events" ] || die "no memory.events for those who watch it"
ok "memory.events is there to be watched"

say "whoever does not listen holds nobody"
status 0 krun-oci start "$id"
for _ in {1..20}; do
	krun-oci events --interval 1h "$id" >/dev/null 2>>"$work/events.err" &
	pids+=($!)
done
wait_for 20 grep -q "too many watch" "$work/events.err"
check "four of twenty are too many" 4 "$(wait_for 20 sh -c "[ \$(grep -c 'too many' $work/events.err) = 4 ]"; grep -c 'too many' "$work/events.err")"
kill "${pids[@]}" 2>/dev/null || true
wait "${pids[@]}" || true
status 0 krun-oci delete --force "$id"
rm -f "$work/log" "$work/b/oom"
host_is_as "$work/host.before"
done_testing
