#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Containers that are created, started, exec'ed into, paused, updated, killed and deleted in random order, some at a time: each answer,
# state, output and exit code is the right one at each step, and nothing is left. CONTAINERS, WORKERS and SEED set how many, how many at
# a time, and the order.
# timeout: 870
# mem: 4096
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=losses-lib.sh
. "$(dirname "$0")/losses-lib.sh"
containers=${CONTAINERS:-6} workers=${WORKERS:-3} seed=${SEED:-$RANDOM}
say "SEED=$seed"
# eight guests that boot on one emulated processor take their time
create_seconds=600

# The workload says when it is up, notes each SIGUSR1, and ends by SIGTERM with its own number. Neither it nor what waits for it runs
# programs meanwhile: eight of each would take the emulated processor for themselves.
# shellcheck disable=SC2016 # the guest's shell
workload='n=0; trap "exit $CODE" TERM; trap "n=\$((n + 1)); echo \$n >/shared/usr1" USR1; sleep 1000000 & echo up; while :; do wait; done'
exec {never}<> <(:)
sleep() { read -rt "$1" -u "$never" || true; }
mkdir "$work/root"
for ((w = 0; w < workers; w++)); do
	mkdir -p "$work/w$w/shared"
	"$top/tests/bundles/make" busybox "$work/w$w/b" --rootfs "$work/root/fs" --set \
		".linux.resources.memory.limit=100663296 | .process.args=[\"sh\",\"-c\",$(jq -n --arg w "$workload" '$w')]
		| .mounts+=[{\"destination\":\"/shared\",\"type\":\"bind\",\"source\":\"$work/w$w/shared\",\"options\":[\"bind\",\"rw\"]}]" >"$work/err" 2>&1 ||
		die "tests/bundles/make"
done

line_is() { # LINE FILE
	local l
	[ -e "$2" ] && read -r l <"$2" && [ "$l" = "$1" ]
}

is() { # STATUS; of the container $c
	container_is "$c" "$1" || die "$c should be $1, and its state is $(krun-oci state "$c" 2>&1 | tr -d '\n')"
}

refused() { # WORDS COMMAND...; it fails and says so, and the container stays what it is
	run "${@:2}"
	[ "$rc" != 0 ] || die "$status: done although it is $status: ${*:2}"
	grep -qiE -- "$1" "$work/err" || die "$status: other words than /$1/: ${*:2}"
	is "$status"
}

one_of() { # WORD...
	shift $((RANDOM % $#))
	echo "$1"
}

try_exec() {
	local code=$((RANDOM % 200))
	run krun-oci exec "$c" sh -c "echo here \$\$ >&2; echo $code; exit $code"
	[ "$rc $(cat "$work/out")" = "$code $code" ] || die "$status: exec ended with $rc, not $code"
}

try_exec_detached() {
	rm -f "$work/shared/d"
	run krun-oci exec -d --pid-file "$work/exec.pid" "$c" sh -c 'echo done >/shared/d'
	[ "$rc" = 0 ] || die "$status: exec -d: $rc"
	wait_for 60 line_is 'done' "$work/shared/d"
}

try_signal() {
	usr1=$((usr1 + 1))
	run krun-oci kill "$c" USR1
	[ "$rc" = 0 ] || die "$status: kill USR1: $rc"
	wait_for 60 line_is "$usr1" "$work/shared/usr1"
}

try_update() {
	local pids=$((64 + RANDOM % 64))
	run krun-oci update --pids-limit $pids "$c"
	[ "$rc" = 0 ] || die "$status: update: $rc"
	run krun-oci exec "$c" cat /sys/fs/cgroup/pids.max
	[ "$(cat "$work/out")" = $pids ] || die "$status: pids.max is $(cat "$work/out"), not $pids"
}

try_list() {
	run krun-oci list
	awk -v c="$c" -v s="$status" '$1 == c && $3 == s { found = 1 } END { exit !found }' "$work/out" || die "the list does not say that $c is $status"
	if [ "$status" = running ]; then
		run krun-oci ps --format json "$c"
		[ "$rc" = 0 ] && [ "$(jq length "$work/out")" -ge 1 ] || die "ps: $rc"
	fi
}

try_pause() {
	run krun-oci pause "$c"
	[ "$rc" = 0 ] || die "pause: $rc"
	status=paused
	is paused
	[ $((RANDOM % 2)) = 0 ] || refused 'paused' krun-oci exec "$c" true
	[ $((RANDOM % 2)) = 0 ] || refused 'paused' krun-oci delete "$c"
	run krun-oci pause "$c"
	[ "$rc" = 0 ] || die "a second pause: $rc" # as crun's
	is paused
	run krun-oci resume "$c"
	[ "$rc" = 0 ] || die "resume: $rc"
	status=running
	is running
}

start() {
	run krun-oci start "$c"
	[ "$rc" = 0 ] || die "start: $rc"
	status=running
	wait_for 60 line_is up "$work/$c.out"
	is running
}

# What a container of this status may be asked for, some of it being wrong.
step() {
	case $status.$((RANDOM % 8)) in
	*.0) try_list ;;
	created.[12]) try_exec ;;
	created.[3-7]) start ;;
	running.[12]) try_exec ;;
	running.3) try_exec_detached ;;
	running.4) try_signal ;;
	running.5) try_update ;;
	running.6) try_pause ;;
	running.7) refused 'running' krun-oci "$(one_of start delete)" "$c" ;;
	esac
}

# One of the ways to end, with what a parent of the VMM sees then.
end() {
	local want=''
	case $status.$((RANDOM % 4)) in
	running.[01]) run krun-oci kill "$c" TERM && want=$code ;;
	running.2) run krun-oci kill "$c" KILL && want=137 ;;
	created.[012]) run krun-oci kill "$c" KILL && want=137 ;;
	*.3) run krun-oci delete --force "$c" ;;
	esac
	[ "$rc" = 0 ] || die "$status: the end: $rc"
	if [ -n "$want" ]; then
		seen=$(exit_of "$c")
		[ "$seen" = "$want" ] || [ "$seen $want" = 'signal 9 137' ] || die "$c was $status and ended with '$seen', not $want"
		status=stopped
		is stopped
		[ $((RANDOM % 2)) = 0 ] || refused 'stopped|not running|no such process' krun-oci "$(one_of kill exec)" "$c" TERM
		[ $((RANDOM % 2)) = 0 ] || try_list
		run krun-oci delete "$c"
		[ "$rc" = 0 ] || die "delete: $rc"
	fi
	run krun-oci state "$c"
	[ "$rc" != 0 ] && grep -q 'does not exist' "$work/err" || die "$c is still there: $rc"
	wait_for 60 no_children
	rm -f "$work/$c".*
}
no_children() { ! kill -0 "${monitors[0]}" 2>/dev/null; }

# A worker's containers, in a directory of its own.
live() { # WORKER
	local n status code usr1 c
	trap - EXIT
	work=$work/w$1
	RANDOM=$((seed + $1))
	for ((n = $1; n < containers; n += workers)); do
		c=$id-$n status=created code=$((1 + RANDOM % 120)) usr1=0 monitors=()
		rm -f "$work"/shared/*
		edit b ".process.env=[\"PATH=/bin\",\"CODE=$code\"]"
		created "$c" b
		[ "$rc" = 0 ] || { cp "$work/$c.err" "$work/err"; die "create: $rc"; }
		is created
		for ((k = 2 + RANDOM % 8; k > 0; k--)); do step; done
		end
		echo "$c" >>"$work/done"
	done
}

# The first container of a host makes what stays.
edit w0/b '.process.env=["PATH=/bin","CODE=1"]'
status 0 krun-oci create --bundle "$work/w0/b" "$id-first"
status 0 krun-oci delete --force "$id-first"
snapshot_host | sort >"$work/host.before"
facts_before
start=$EPOCHREALTIME
pids=()
for ((w = 0; w < workers; w++)); do
	live $w >"$work/w$w.log" 2>&1 &
	pids+=($!)
done
bad=''
for ((w = 0; w < workers; w++)); do
	wait "${pids[w]}" || bad+=" $w"
done
for w in $bad; do sed "s/^/# worker $w: /" "$work/w$w.log"; done
[ -z "$bad" ] || die "workers that failed:$bad"
check "all lived to their end" "$containers" "$(cat "$work"/w*/done | wc -l)"
say "$(echo "scale=2; ($EPOCHREALTIME - $start) / $containers" | bc) s each, $workers at a time"
ok "every state, answer and exit code"
host_is_as "$work/host.before"
no_loss
done_testing
