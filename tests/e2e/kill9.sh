#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the runtime, of the VMM or of a delete at any moment: state tells the truth, delete --force cleans up, nothing is left.
# KILLS sets the number.
# long: yes
# timeout: 870
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

kills=${KILLS:-6} seed=${SEED:-$RANDOM}
say "SEED=$seed"
RANDOM=$seed
bundle b busybox
edit b '.process.args=["sh","-c","exec sleep 1000"] | .linux.resources.memory.limit=134217728'
snapshot_host | sort >"$work/host.before"

# How long an undisturbed create and start take, in microseconds: kills fall anywhere in that, and a bit later.
now() { echo "${EPOCHREALTIME/./}"; }
start=$(now)
status 0 krun-oci run --detach --bundle "$work/b" --pid-file "$work/pid" "$id"
span=$(($(now) - start))
say "run --detach takes $((span / 1000)) ms"
status 0 krun-oci delete --force "$id"
host_is_as "$work/host.before"

nap() { # MICROSECONDS
	sleep "$(printf '%d.%06d' $(($1 / 1000000)) $(($1 % 1000000)))"
}

# The status that `state` tells must be what the host's facts say.
truth() { # ID; prints the status
	local s pid
	run krun-oci state "$1"
	if [ "$rc" != 0 ]; then
		grep -qF "does not exist" "$work/err" || die "state fails with something else"
		echo gone
		return
	fi
	s=$(jq -r .status "$work/out")
	pid=$(jq -r .pid "$work/out")
	case $s in
	stopped) [ "$pid" = 0 ] || die "stopped, with pid $pid" ;;
	creating) ;;
	created | running) grep -q '^krun-oci-vm$' "/proc/$pid/comm" || die "$s, but the VMM $pid does not live" ;;
	*) die "state says $s" ;;
	esac
	echo "$s"
}

# Every other container is in a cgroup below cgroups of its own, which have to go as well.
place() { # ID
	if [ $((hits % 2)) = 0 ]; then
		edit b 'del(.linux.cgroupsPath)'
	else
		edit b ".linux.cgroupsPath=\"/$id-a/b/$1\""
	fi
}

random_up_to() { # MICROSECONDS
	echo $(((RANDOM * 32768 + RANDOM) % ($1 + $1 / 8)))
}

# The span of what was to be killed, MICROSECONDS, corrected by what became of it: what the shell adds to a measured span, and a
# machine that is busier or less so, would else make most kills come too late.
corrected() { # MICROSECONDS GOT
	echo $(($2 ? $1 * 9 / 10 : $1 * 21 / 20))
}

# Kills PID when it lives; false: it has ended before (a child that is not waited for stays as a zombie).
hit() { # PID
	local state
	[ -n "$1" ] || return 1
	state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 1
	case $state in '' | Z | X) return 1 ;; esac
	kill -9 "$1" 2>/dev/null
}

# Kills what makes container ID, or its VMM, at a moment of the first SPAN microseconds.
kill_of_run() { # ID runtime|VMM
	local cli got=0 victim
	krun-oci run --detach --bundle "$work/b" "$1" >/dev/null 2>&1 </dev/null &
	cli=$!
	nap "$(random_up_to "$span")"
	victim=$cli
	[ "$2" = runtime ] || victim=$(pgrep -x krun-oci-vm | head -n 1 || true)
	hit "$victim" || got=1
	wait "$cli" 2>/dev/null || true
	[ "$2" != runtime ] || span=$(corrected "$span" $got) # a VMM lives on: it tells nothing
	return $got
}

# Kills a delete --force of a running container.
kill_of_delete() { # ID
	local cli got=0
	status 0 krun-oci run --detach --bundle "$work/b" "$1"
	krun-oci delete --force "$1" >/dev/null 2>&1 </dev/null &
	cli=$!
	nap "$(random_up_to "$delete_span")"
	hit "$cli" || got=1
	wait "$cli" 2>/dev/null || true
	delete_span=$(corrected "$delete_span" $got)
	return $got
}

status 0 krun-oci run --detach --bundle "$work/b" "$id"
start=$(now)
status 0 krun-oci delete --force "$id"
delete_span=$(($(now) - start))
say "delete --force takes $((delete_span / 1000)) ms"

declare -A seen=()
victims=(runtime VMM delete)
hits=0 misses=0
while [ "$hits" -lt "$kills" ]; do
	c=$id-$((hits + misses))
	victim=${victims[(hits + misses) % 3]}
	place "$c"
	got=1
	if [ "$victim" = delete ]; then
		! kill_of_delete "$c" || got=0
	else
		! kill_of_run "$c" "$victim" || got=0
	fi
	# The kernel ends the VMM with its parent asynchronously: what state says may change once, but never to a lie.
	s=$(truth "$c")
	status 0 krun-oci delete --force "$c"
	[ "$(truth "$c")" = gone ] || die "delete --force left it"
	host_is_as "$work/host.before"
	# The name is free again.
	status 0 krun-oci run --bundle "$work/b" --detach "$c"
	status 0 krun-oci delete --force "$c"
	host_is_as "$work/host.before"
	if [ $got = 0 ]; then
		hits=$((hits + 1))
		seen[$victim:$s]=$((${seen[$victim:$s]:-0} + 1))
		say "kill $hits: the $victim: $s"
	else
		misses=$((misses + 1))
		[ "$misses" -lt $((3 * kills + 10)) ] || die "$misses kills found nothing to kill, $hits did"
	fi
done
ok "$hits kills that hit, $misses that came too early or late"
for s in "${!seen[@]}"; do say "$s: ${seen[$s]}"; done
say "misses: $misses"
done_testing
