#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `run` exits with: the workload's code, 128 + n, and 126 or 127 or an error of create where nothing could run.
# ALL=1 tries each of the 256 codes, LONG=1 some more of them, of the faults and of the signals.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
bundle b busybox
n=0

runs() { # EXPECTED WHAT ARGS_JSON
	n=$((n + 1))
	edit b ".process.args=$3"
	run krun-oci run --bundle "$work/b" "$id-$n"
	[ "$rc" = "$1" ] || die "$2: exit status $rc, not $1"
	ok "$2: $1"
}

codes=(127 255)
! long || codes=(0 1 2 42 126 127 128 255)
[ -z "${ALL:-}" ] || mapfile -t codes < <(seq 0 255)
for code in "${codes[@]}"; do
	runs "$code" "exit $code" "[\"sh\",\"-c\",\"exit $code\"]"
	check "no message of the runtime's" "" "$(cat "$work/out" "$work/err")"
done
say "PID 1 dies of a signal: by faults, since it ignores what is sent from inside without a handler"
program fault "$work/b/rootfs/fault"
cp "$work/b/config.json" "$work/config.good"
faults=("SEGV 139")
! long || faults+=("ILL 132" "FPE 136" "TRAP 133")
for fault in "${faults[@]}"; do
	runs "${fault#* }" "PID 1 dies of SIG${fault% *}" "[\"/fault\",\"${fault% *}\"]"
	check "no message of the runtime's" "" "$(cat "$work/out" "$work/err")"
done
edit b '.linux.seccomp={"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_KILL_PROCESS"}]}'
runs 159 "PID 1 dies of SIGSYS, by its seccomp filter" '["/fault","SYS"]'
cp "$work/config.good" "$work/b/config.json"
# abort() sends a signal, which PID 1 does not feel, and then faults; in a child it is felt.
! long || runs 139 "PID 1 calls abort()" '["/fault","ABRT"]'
runs 143 "a child killed by signal 15" '["sh","-c","/fault ABRT; echo $?; sh -c \"kill -9 \\$\\$\"; echo $?; sh -c \"kill -15 \\$\\$\"; exit $?"]'
check "one that dies of SIGABRT, and one of signal 9" "134 137" "$(words "$work/out")"

say "signals from outside: PID 1 feels those that it handles, and SIGKILL"
edit b '.process.args=["sh","-c","trap \"echo alive\" USR2; trap \"exit 44\" TERM; echo up; sleep 1000000 & while :; do wait; done"]'
created "$id" b
check "create" 0 "$rc"
status 0 krun-oci start "$id"
wait_for 20 grep -q up "$work/$id.out"
alive=0
lives() { [ "$(grep -c alive "$work/$id.out")" -gt "$alive" ]; }
for sig in HUP USR1 RTMIN+3; do
	status 0 krun-oci kill "$id" "$sig"
	status 0 krun-oci kill "$id" USR2
	wait_for 20 lives
	check "PID 1 without a handler survives $sig" running "$(krun-oci state "$id" | jq -r .status)"
	alive=$(grep -c alive "$work/$id.out")
done
# A signal that is sent to the VMM's process itself, as container managers do, reaches the workload as well.
kill -TERM "$(cat "$work/$id.pid")"
check "exit status after kill(2) of the VMM" 44 "$(exit_of "$id")"
status 0 krun-oci delete "$id"
# and one to the foreground run
krun-oci run --bundle "$work/b" "$id" >"$work/run.out" 2>"$work/err" </dev/null &
wait_for 60 grep -q up "$work/run.out"
kill -TERM $!
got=0
wait $! || got=$?
check "exit status of run after SIGTERM to it" 44 "$got"

say "signals that can be caught are seen"
signals=(1 2 3 10 13 15 17 20 28 34 49 64)
! long || mapfile -t signals < <(seq 64 | grep -vx -e 9 -e 19) # KILL and STOP
program signals "$work/b/rootfs/signals"
edit b '.process.args=["/signals"]'
created "$id" b
check "create" 0 "$rc"
status 0 krun-oci start "$id"
wait_for 20 grep -qx ready "$work/$id.out"
for n in "${signals[@]}"; do
	krun-oci kill "$id" "$n" 2>"$work/err" || die "kill $n"
	wait_for 20 grep -qx "signal $n" "$work/$id.out"
done
check "each of ${#signals[@]}, once" "${#signals[@]} ${#signals[@]}" "$(grep -c signal "$work/$id.out") $(grep signal "$work/$id.out" | sort -u | wc -l)"
# Also those that its process would have for itself, or that a terminal sends.
count() { grep -cx "signal $1" "$work/$id.out" || true; }
# shellcheck disable=SC2317 # called by wait_for
more() { [ "$(count "$1")" -gt "$2" ]; }
for n in 13 17 21 22; do
	before=$(count $n)
	kill -$n "$(cat "$work/$id.pid")"
	wait_for 20 more $n "$before"
done
ok "PIPE, CHLD, TTIN and TTOU to the VMM too"
stopped() { [ "$(krun-oci exec "$id" cut -d' ' -f3 /proc/1/stat)" = T ]; }
continued=$(grep -cx 'signal 18' "$work/$id.out" || true)
again() { [ "$(grep -cx 'signal 18' "$work/$id.out")" -gt "$continued" ]; }
status 0 krun-oci kill "$id" STOP
wait_for 20 stopped
status 0 krun-oci kill "$id" CONT
wait_for 20 again
ok "SIGSTOP stops it, SIGCONT lets it go on"
status 0 krun-oci delete --force "$id"

say "kill --all reaches every process of the container"
edit b '.process.args=["sh","-c","trap \"echo one\" USR1; sh -c \"trap \\\"echo two\\\" USR1; echo up; while :; do sleep 0.1; done\" & while :; do sleep 0.1; done"]'
created "$id" b
check "create" 0 "$rc"
status 0 krun-oci start "$id"
wait_for 20 grep -qx up "$work/$id.out"
krun-oci exec "$id" sh -c 'trap "echo three; exit 5" USR1; echo up; while :; do sleep 0.1; done' >"$work/exec.out" 2>&1 </dev/null &
exec_pid=$!
wait_for 20 grep -qx up "$work/exec.out"
status 0 krun-oci kill "$id" USR1
wait_for 20 grep -qx one "$work/$id.out"
if grep -qs -e two -e three "$work/$id.out" "$work/exec.out"; then die "without --all others get it, too"; fi
ok "without it PID 1 alone"
status 0 krun-oci kill --all "$id" USR1
wait_for 20 grep -qx two "$work/$id.out"
got=0
wait $exec_pid || got=$?
check "an exec" "5 three" "$got $(tail -n 1 "$work/exec.out")"
# shellcheck disable=SC2317 # called by wait_for
twice() { [ "$(grep -cx one "$work/$id.out")" = 2 ]; }
wait_for 20 twice
ok "PID 1 again"
status 0 krun-oci kill --all "$id" KILL
case $(exit_of "$id") in 137 | "signal 9") ok "SIGKILL ends all" ;; *) die "exit $(exit_of "$id") after SIGKILL" ;; esac
status 0 krun-oci kill --all "$id" TERM
status 0 krun-oci delete "$id"

say "what cannot be executed is an error of create"
mkdir "$work/b/rootfs/adir"
echo text >"$work/b/rootfs/notexec"
chmod 644 "$work/b/rootfs/notexec"

refused() { # TEXT ARGS_JSON
	edit b ".process.args=$2"
	run krun-oci create --bundle "$work/b" --pid-file "$work/pid" "$id"
	[ "$rc" = 1 ] || die "create of $2: status $rc"
	grep -qi -- "$1" "$work/err" || die "create of $2: stderr lacks: $1"
	[ "$(wc -l <"$work/err")" = 1 ] || die "create of $2: more than one line on stderr"
	[ ! -e "$work/pid" ] || die "create of $2 failed and left a pid file"
	run krun-oci state "$id"
	[ "$rc" = 1 ] || die "create of $2 failed and left a container"
	ok "create of $2: $1"
}

refused 'executable file not found in \$PATH: .*no-such-command.*: no such file or directory' '["no-such-command"]'
refused 'no such file or directory' '["/no/such/file"]'
refused 'permission denied' '["/notexec"]'
refused 'permission denied' '["/adir"]'
edit b '.process.user.uid=1000'
cp "$work/b/rootfs/bin/busybox" "$work/b/rootfs/adir/sh"
chmod 700 "$work/b/rootfs/adir/sh"
refused 'permission denied' '["/adir/sh"]'
edit b '.process.user.uid=0'

say "what only the guest can tell"
printf '#!/no/such/interpreter\n' >"$work/b/rootfs/badscript"
printf 'no program\n' >"$work/b/rootfs/badformat"
chmod 755 "$work/b/rootfs/badscript" "$work/b/rootfs/badformat"
late() { # EXPECTED ARGS_JSON
	edit b ".process.args=$2"
	created "$id" b
	check "create of $2" 0 "$rc"
	status 1 krun-oci start "$id"
	[ -s "$work/err" ] || die "start of $2 says nothing"
	check "the VMM's exit status for $2" "$1" "$(exit_of "$id")"
	status 0 krun-oci delete "$id"
}
late 127 '["/badscript"]'
! long || late 126 '["/badformat"]'

say "a process that is not there"
edit b 'del(.process)'
created "$id" b
check "create without process" 0 "$rc"
status 1 krun-oci start "$id"
err_has "process"
status 0 krun-oci delete "$id"
host_is_as "$work/host.before"
done_testing
