#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# create, state, start, kill, delete, list: each in its order and out of it.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
bundle b busybox
# The handler tells that the signal came; the marker tells that anything ran at all.
edit b '.process.args=["sh","-c","trap \"echo got TERM; exit 33\" TERM; echo up; touch /marker; sleep 1000000 & while :; do wait; done"] | .annotations={"org.example.key":"a value"}'
cp "$work/b/config.json" "$work/config.good"

say "create"
created "$id" b
[ "$rc" = 0 ] || { cat "$work/$id.err"; die "create: status $rc"; }
check "the pid file holds digits and nothing else" "" "$(tr -d '0-9' <"$work/$id.pid" | od -c | head -n 1 | sed -n 's/^0000000 //p')"
pid=$(cat "$work/$id.pid")
[ -d "/proc/$pid" ] || die "the pid of the pid file is not alive"
check "its process is the VMM" krun-oci-vm "$(cat "/proc/$pid/comm")"
check "it was re-parented to the caller" perl "$(cat "/proc/$(awk '{ print $4 }' "/proc/$pid/stat")/comm")"
[ ! -e "$work/b/rootfs/marker" ] || die "the workload ran before start"
ok "nothing of the workload ran"
check "create printed nothing" "" "$(cat "$work/$id.out" "$work/$id.err")"

status 0 krun-oci state "$id"
check "state: status" created "$(jq -r .status "$work/out")"
check "state: id" "$id" "$(jq -r .id "$work/out")"
check "state: pid" "$pid" "$(jq -r .pid "$work/out")"
check "state: bundle" "$work/b" "$(jq -r .bundle "$work/out")"
check "state: rootfs" "$work/b/rootfs" "$(jq -r .rootfs "$work/out")"
check "state: ociVersion" 1.0.2 "$(jq -r .ociVersion "$work/out")"
check "state: annotation" "a value" "$(jq -r '.annotations["org.example.key"]' "$work/out")"
date -d "$(jq -r .created "$work/out")" >/dev/null || die "state: created is no time"
ok "state: created is a time"

say "namespaces and cgroup of the VMM"
for ns in mnt net ipc uts pid cgroup; do
	[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] || die "the VMM shares the host's $ns namespace"
done
ok "the VMM is in namespaces of its own"
# Seen from the host's cgroup namespace.
check "the VMM is in the container's cgroup" "0::/$id" "$(cat "/proc/$pid/cgroup")"
[ -e "/proc/$pid/root/bin/busybox" ] || die "/proc/PID/root is not the container's tree"
ok "/proc/PID/root is the container's tree"
leftover=$(find "/proc/$pid/fd" -lname "*$work*" -printf '%l\n' | grep -vF "$work/b/rootfs" | grep -v '/t-.*\.\(out\|err\)$' || true)
check "no descriptor of the caller's stays open but stdio" "" "$leftover"

say "what must be refused"
status 1 krun-oci create --bundle "$work/b" "$id"
err_has "already exists"
check "the first one is unharmed" created "$(krun-oci state "$id" | jq -r .status)"
status 1 krun-oci kill "$id" NOSUCH
err_has "unknown signal"
status 1 krun-oci kill "$id" 65
err_has "unknown signal"

say "edits of config.json after create have no effect"
edit b '.process.args=["sh","-c","echo the edited config ran; exit 99"]'
status 0 krun-oci start "$id"
check "start prints nothing" "" "$(cat "$work/out" "$work/err")"
wait_for 20 grep -q up "$work/$id.out"
check "state: running" running "$(krun-oci state "$id" | jq -r .status)"
[ -e "$work/b/rootfs/marker" ] || die "the workload's file is not in the rootfs"
ok "the workload runs and its file is in the rootfs"
status 1 krun-oci start "$id"
err_has "cannot start an already running container"
check "a second start had no effect" running "$(krun-oci state "$id" | jq -r .status)"
status 1 krun-oci delete "$id"
err_has "cannot delete container"
err_has "that is not stopped: running"
check "delete had no effect" running "$(krun-oci state "$id" | jq -r .status)"

say "list"
status 0 krun-oci list
head -n 1 "$work/out" | grep -qE '^ID +PID +STATUS +BUNDLE +CREATED +OWNER' || die "no header: $(head -n 1 "$work/out")"
grep -qE "^$id +$pid +running +$work/b +[0-9T:.Z-]+ +root$" "$work/out" || die "no line of the container"
ok "list as a table"
status 0 krun-oci list --format json
check "list as JSON" "$id $pid running root" "$(jq -r '.[] | "\(.id) \(.pid) \(.status) \(.owner)"' "$work/out")"
status 0 krun-oci list -q
check "list -q" "$id" "$(cat "$work/out")"

say "kill reaches a handler, and the exit code tells"
status 0 krun-oci kill "$id" TERM
check "exit status of the VMM" 33 "$(exit_of "$id")"
grep -q "got TERM" "$work/$id.out" || die "the handler did not write"
ok "the handler wrote"
if grep -q "edited" "$work/$id.out"; then die "the edited config ran"; fi
check "state: stopped" stopped "$(krun-oci state "$id" | jq -r .status)"
check "state: pid is 0" 0 "$(krun-oci state "$id" | jq -r .pid)"
status 1 krun-oci kill "$id" TERM
err_has "container not running: no such process"
status 0 krun-oci kill --all "$id" KILL
status 1 krun-oci start "$id"
err_has "cannot start a container that has stopped"
status 0 krun-oci delete "$id"
status 1 krun-oci state "$id"
err_has "does not exist"
check "list is empty" "[]" "$(krun-oci list --format json)"

say "unknown ids"
for verb in state start kill delete; do
	status 1 krun-oci "$verb" "$id"
	err_has "does not exist"
done
status 0 krun-oci delete --force "$id"
for verb in create start state kill delete run; do
	status 1 krun-oci "$verb"
done
for bad in .. . ../x a/b .hidden '' 'a b' $'a\nb' "$(printf 'x%.0s' {1..2000})"; do
	run krun-oci create --bundle "$work/b" "$bad"
	[ "$rc" = 1 ] || die "create accepts the id '$bad'"
done
ok "bad ids are refused"

say "kill -KILL of a created container"
cp "$work/config.good" "$work/b/config.json"
rm -f "$work/b/rootfs/marker"
created "$id" b
check "create again with the same id" 0 "$rc"
status 0 krun-oci kill "$id" KILL
case $(exit_of "$id") in 137 | "signal 9") ok "SIGKILL ends a created container" ;; *) die "exit $(exit_of "$id")" ;; esac
status 1 krun-oci start "$id"
status 0 krun-oci delete "$id"

say "--root"
status 1 krun-oci --root "$work/no-such-root" list
status 1 krun-oci --root / list
odd=$id-A_b+c.d # odd but legal
run krun-oci --root "$work/root" create "$odd" --bundle "$work/b" --pid-file "$work/$odd.pid"
check "create ID --bundle DIR, below --root" 0 "$rc"
check "list below --root" "$odd" "$(krun-oci --root "$work/root" list -q)"
check "not in the default root" "" "$(krun-oci list -q)"
mkdir "$work/root/other"
echo '{"id":"other"}' >"$work/root/other/state.json"
check "what another runtime keeps there is not listed" "$odd" "$(krun-oci --root "$work/root" list -q)"
status 0 krun-oci --root "$work/root" delete "$odd"
[ ! -e "$work/b/rootfs/marker" ] || die "the workload of a deleted container ran"
ok "delete of a created container runs nothing"
host_is_as "$work/host.before"
done_testing
