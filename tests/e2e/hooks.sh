#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hooks: all six kinds, where they run, in which order, with what state; those that fail, hang or are missing, and signals meanwhile.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
shared_bundle b busybox --args '["sh","-c","echo workload >>/log; exec sleep 1000"]'
log=$work/b.log
# A hook of the host: its name, status and pid from the state, its namespaces, where it stands.
cat >"$work/hook" <<-END
	#!/bin/sh
	state=\$(cat)
	{
	printf '%s %s %s' "\$1" "\$(echo "\$state" | jq -r .status)" "\$(echo "\$state" | jq -r .pid)"
	[ "\$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/self/ns/mnt)" ] && printf ' host' || printf ' container'
	[ "\$(pwd)" = "$work/b" ] && printf ' bundle'
	[ -e "\$(echo "\$state" | jq -r .root)/bin/busybox" ] && printf ' root'
	[ -z "\$KEY" ] || printf ' %s' "\$KEY"
	echo
	} >>$log
END
chmod +x "$work/hook"
export KEY=inherited
hook() { # KIND ENV
	printf '{"path":"%s","args":["hook","%s"]%s}' "$work/hook" "$1" "${2:+,\"env\":[\"KEY=$2\",\"PATH=$PATH\"]}"
}

say "all six"
edit b ".hooks = {
	prestart: [$(hook prestart)], createRuntime: [$(hook createRuntime own), $(hook createRuntime2)],
	createContainer: [$(hook createContainer)],
	startContainer: [{path: \"/bin/sh\", args: [\"sh\", \"-c\", \"cat >/state; echo startContainer \$\$ \$(hostname) >>/log; [ \$(readlink /proc/1/ns/mnt) = \$(readlink /proc/self/ns/mnt) ] && echo inside >>/log\"]}],
	poststart: [$(hook poststart)], poststop: [$(hook poststop)]}"
created "$id" b
[ "$rc" = 0 ] || { cat "$work/$id.err"; die "create: status $rc"; }
pid=$(cat "$work/$id.pid")
printf '%s\n' "prestart created $pid host bundle root inherited" "createRuntime created $pid host bundle root own" \
	"createRuntime2 created $pid host bundle root inherited" "createContainer created 1 container bundle root inherited" >"$work/want"
diff "$work/want" "$log" || die "the hooks of create"
ok "the hooks of create: order, status, pid, namespace, directory, environment"
[ ! -e "$work/rootfs-busybox/state" ] || die "startContainer hooks ran at create"
check "the VMM keeps nothing of its environment" "" "$(tr -d '\0' <"/proc/$pid/environ")"
status 0 krun-oci start "$id"
check "startContainer hooks read the state" "$id created 1" "$(jq -r '"\(.id) \(.status) \(.pid)"' "$work/rootfs-busybox/state")"
wait_for 30 grep -q workload "$work/rootfs-busybox/log"
check "they run before the process, in its namespaces" "startContainer inside workload" "$(tr '\n' ' ' <"$work/rootfs-busybox/log" | sed -E 's/startContainer [0-9]+ [^ ]*/startContainer/; s/ $//')"
check "poststart" "poststart running $pid host bundle root inherited" "$(tail -n 1 "$log")"
status 0 krun-oci kill "$id" KILL
check "exit of the VMM" "signal 9" "$(exit_of "$id")"
check "poststop hooks wait for delete" poststart "$(tail -n 1 "$log" | cut -d' ' -f1)"
status 0 krun-oci delete "$id"
check "poststop" "poststop stopped 0 host bundle root inherited" "$(tail -n 1 "$log")"

say "a hook that fails fails the create, and nothing stays"
fail_create() { # WHAT KIND HOOK TEXT
	edit b ".hooks = {$2: [$3], poststop: [$(hook poststop)]}"
	: >"$log"
	status 1 krun-oci create --bundle "$work/b" --pid-file "$work/pid" "$id"
	err_has "$4"
	[ ! -e "$work/pid" ] || die "a pid file"
	check "$1: poststop hooks ran" "poststop stopped 0 host bundle root inherited" "$(cat "$log")"
	status 1 krun-oci state "$id"
	err_has "does not exist"
}
for kind in prestart createRuntime createContainer; do
	fail_create "$kind" $kind '{"path":"/bin/false"}' "error running $kind hook #0: \"/bin/false\": exit status 1"
done
fail_create "a missing one" createRuntime '{"path":"/no/such"}' 'error running createRuntime hook #0: "/no/such": No such file or directory'
! long || fail_create "a missing one" createContainer '{"path":"/no/such"}' 'error running createContainer hook #0: "/no/such": No such file or directory'
# by a name that a look at the host's processes does not pass over
cp /bin/sleep "$work/hang"
hang='{"path":"/bin/sh","args":["sh","-c","exec <&-; '$work/hang' 1000 & '$work/hang' 1000"],"timeout":1}'
! long || fail_create "one that hangs" prestart "$hang" 'error running prestart hook #0: "/bin/sh": timed out after 1 s and was killed'
fail_create "one that hangs" createContainer "$hang" 'error running createContainer hook #0: "/bin/sh": timed out after 1 s and was killed'

say "delete --force while a hook hangs"
edit b '.hooks = {prestart: [{path: "/bin/sleep", args: ["sleep", "1000"]}]}'
created_in_background() {
	krun-oci create --bundle "$work/b" "$id" </dev/null >"$work/out" 2>"$work/err" &
	creator=$!
	wait_for 30 pgrep -x -P "$creator" sleep
}
created_in_background
status 0 krun-oci delete --force "$id"
wait "$creator" && die "the create succeeded"
ok "a create whose hook hangs ends with a delete --force"

say "a create that is killed while a createContainer hook hangs"
edit b ".hooks = {createContainer: [{path: \"/bin/sh\", args: [\"sh\", \"-c\", \"echo \$\$ >$work/hooked; exec sleep 1000\"]}]} | .linux.namespaces |= map(select(.type != \"pid\"))"
krun-oci create --bundle "$work/b" "$id" </dev/null >"$work/out" 2>"$work/err" &
creator=$!
wait_for 30 grep -q . "$work/hooked"
hanging=$(cat "$work/hooked")
kill -KILL "$creator"
wait "$creator" && die "the create succeeded"
wait_for 60 test ! -e "/proc/$hanging"
ok "the hook goes with the VMM, also without a pid namespace"
status 0 krun-oci delete --force "$id"
edit b '.linux.namespaces += [{"type":"pid"}]'

say "a signal to run while a hook hangs"
run_in_background() {
	krun-oci run --bundle "$work/b" --pid-file "$work/pid" "$id" </dev/null >"$work/out" 2>"$work/err" &
	runner=$!
}
ends_by() { # WHILE NAME NUMBER
	kill -s "$2" "$runner"
	rc=0
	ended 60 "$id" "$runner" || rc=$?
	check "$2 during $1 ends it" $((128 + $3)) "$rc"
	err_has "ended by signal $3 before the process ran"
	[ ! -e "$work/pid" ] || die "a pid file"
	check "poststop hooks ran" "poststop stopped 0 host bundle root inherited" "$(cat "$log")"
	status 1 krun-oci state "$id"
}
edit b ".hooks = {prestart: [{path: \"/bin/sleep\", args: [\"sleep\", \"1000\"]}], poststop: [$(hook poststop)]}"
: >"$log"
run_in_background
wait_for 30 pgrep -x -P "$runner" sleep
hanging=$(pgrep -x -P "$runner" sleep)
ends_by prestart TERM 15
[ ! -e "/proc/$hanging" ] || die "the hook goes on"
edit b ".hooks = {startContainer: [{path: \"/bin/sh\", args: [\"sh\", \"-c\", \"echo hangs >>/log; sleep 1000\"]}], poststop: [$(hook poststop)]}"
: >"$log"
: >"$work/rootfs-busybox/log"
run_in_background
wait_for 60 grep -q hangs "$work/rootfs-busybox/log"
ends_by startContainer HUP 1

say "startContainer and poststart"
edit b '.hooks = {startContainer: [{path: "/bin/sh", args: ["sh", "-c", "exit 9"]}]}'
created "$id" b
check "create" 0 "$rc"
status 1 krun-oci start "$id"
err_has 'error running startContainer hook #0: "/bin/sh": exit status 9'
wait_for 20 container_is "$id" stopped
status 0 krun-oci delete "$id"
if long; then
	edit b '.hooks = {startContainer: [{path: "/bin/sleep", args: ["sleep", "1000"], timeout: 1}]}'
	status 1 krun-oci run --bundle "$work/b" "$id"
	err_has 'error running startContainer hook #0: "/bin/sleep": timed out after 1 s and was killed'
fi
edit b ".hooks = {poststart: [{path: \"/bin/false\"}], poststop: [$(hook poststop)]}"
: >"$log"
created "$id" b
check "create" 0 "$rc"
status 1 krun-oci start "$id"
err_has 'error running poststart hook #0: "/bin/false": exit status 1'
check "a poststart hook that fails ends the container" "signal 9" "$(exit_of "$id")"
wait_for 20 container_is "$id" stopped
status 0 krun-oci delete "$id"
check "and poststop hooks run at its delete" poststop "$(cut -d' ' -f1 "$log")"

say "a process that ends during a poststart hook; poststop hooks only warn"
edit b ".process.args = [\"sh\",\"-c\",\"exit 5\"] | .hooks = {poststart: [{path: \"/bin/sh\", args: [\"sh\", \"-c\", \"until krun-oci state $id | grep -q stopped; do sleep 0.1; done; echo late >>$log\"], timeout: 60}],
	poststop: [{path: \"/bin/false\"}, $(hook poststop)]}"
: >"$log"
status 5 krun-oci --log "$work/log" --log-level warning run --bundle "$work/b" "$id"
check "is no failure, and the hook goes on; the hook behind one that fails ran" "late poststop" "$(cut -d' ' -f1 "$log" | words -)"
grep -q 'error running poststop hook #0: "/bin/false": exit status 1' "$work/log" || die "no warning"
ok "a warning"

say "a signal to run during a poststart hook is the process's"
edit b ".process.args = [\"sh\",\"-c\",\"trap 'exit 6' TERM; echo up; while :; do sleep 0.1; done\"] | .hooks = {poststart: [{path: \"/bin/sh\",
	args: [\"sh\", \"-c\", \"until grep -q up $work/out; do sleep 0.1; done; kill -TERM \$PPID\"], timeout: 60}]}"
status 6 krun-oci run --bundle "$work/b" "$id"
rm -f "$log"
host_is_as "$work/host.before"
done_testing
