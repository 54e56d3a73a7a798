#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pause and resume: nothing runs meanwhile, signals wait, the clock is right afterwards, a paused container can be ended.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
bundle b busybox --args '["sh","-c","trap \"echo TERM\" TERM; trap \"date +%s\" USR1; echo up; while :; do echo >>/ticks; sleep 0.1; done"]'
ticks() { stat -c %s "$work/b/rootfs/ticks"; }
cpu() { awk '/usage_usec/ { print $2 }' "/sys/fs/cgroup/$id/cpu.stat"; }

say "not there, created, stopped"
status 1 krun-oci pause "$id"
err_has "does not exist"
status 1 krun-oci resume "$id"
err_has "does not exist"
created "$id" b
check "create" 0 "$rc"
status 0 krun-oci pause "$id"
check "a created container can be paused" paused "$(krun-oci state "$id" | jq -r .status)"
status 1 krun-oci start "$id"
err_has "cannot start"
status 0 krun-oci resume "$id"
check "and is created again" created "$(krun-oci state "$id" | jq -r .status)"
status 0 krun-oci start "$id"
wait_for 20 grep -q up "$work/$id.out"
wait_for 20 test -s "$work/b/rootfs/ticks"

say "paused"
status 0 krun-oci resume "$id"
status 0 krun-oci pause "$id"
check "pause prints nothing" "" "$(cat "$work/out" "$work/err")"
check "state" paused "$(krun-oci state "$id" | jq -r .status)"
check "list" paused "$(krun-oci list --format json | jq -r ".[] | select(.id == \"$id\").status")"
check "its pid stays" "$(cat "$work/$id.pid")" "$(krun-oci state "$id" | jq -r .pid)"
check "the freezer is not used" 0 "$(cat "/sys/fs/cgroup/$id/cgroup.freeze")"
before=$(ticks) used=$(cpu)
doze 2
check "nothing runs" "$before" "$(ticks)"
[ $(($(cpu) - used)) -lt 100000 ] || die "a paused VM used $(($(cpu) - used)) us in 2 s"
ok "no CPU is used"
status 0 krun-oci pause "$id"
status 1 krun-oci start "$id"
err_has "cannot start an already running container"
status 1 krun-oci delete "$id"
err_has "that is not stopped: paused"
status 0 krun-oci kill "$id" TERM
! grep -q TERM "$work/$id.out" || die "a signal arrived while paused"

say "resumed"
since=$(date +%s)
status 0 krun-oci resume "$id"
check "state" running "$(krun-oci state "$id" | jq -r .status)"
wait_for 20 grep -q TERM "$work/$id.out"
ok "a signal that came meanwhile arrived"
grown() { [ "$(ticks)" -gt "$before" ]; }
wait_for 20 grown
ok "it goes on"

say "the host's clock is set while it is paused"
clock_right() { # WHAT: it must be between $since, before the resume, and now; a late answer is no error
	local n
	n=$(grep -c '^[0-9]' "$work/$id.out" || true)
	krun-oci kill "$id" USR1
	told() { [ "$(grep -c '^[0-9]' "$work/$id.out")" -gt "$n" ]; }
	wait_for 20 told
	local seen now
	seen=$(grep '^[0-9]' "$work/$id.out" | tail -n 1)
	now=$(date +%s)
	# it was at some time since
	((seen >= since - 1 && seen <= now + 1)) || die "$1: the guest's clock is at $seen, it was between $since and $now"
	ok "$1: the guest's clock is right"
}
clock_right "after a pause"
status 0 krun-oci pause "$id"
now=$(date +%s)
date -s "@$((now + 5000))" >/dev/null
since=$(date +%s)
status 0 krun-oci resume "$id"
clock_right "after the host's clock was set"
status 0 krun-oci pause "$id"
date -s "@$(($(date +%s) - 5000))" >/dev/null
since=$(date +%s)
status 0 krun-oci resume "$id"
clock_right "and set back"

say "the end of a paused container"
status 0 krun-oci pause "$id"
status 0 krun-oci kill "$id" KILL
check "exit of the VMM" "signal 9" "$(exit_of "$id")"
check "state" stopped "$(krun-oci state "$id" | jq -r .status)"
status 0 krun-oci resume "$id"
status 1 krun-oci pause "$id"
err_has "container not running"
status 0 krun-oci delete "$id"
status 0 krun-oci run --detach --bundle "$work/b" "$id"
status 0 krun-oci pause "$id"
status 0 krun-oci delete --force "$id"
status 1 krun-oci state "$id"
edit b '.process.args = ["true"]'
status 0 krun-oci run --keep --bundle "$work/b" "$id"
status 1 krun-oci resume "$id"
err_has "container not running"
status 0 krun-oci delete "$id"
host_is_as "$work/host.before"
done_testing
