#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the runtime or of the VMM at any moment: state tells the truth, delete --force cleans up, nothing is left. KILLS sets
# the number.
# timeout: 870
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

kills=${KILLS:-10} seed=${SEED:-$RANDOM}
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

declare -A seen=()
for ((k = 0; k < kills; k++)); do
	c=$id-$k
	what=$((RANDOM % 2))
	after=$(((RANDOM * 32768 + RANDOM) % (span + span / 8)))
	krun-oci run --detach --bundle "$work/b" "$c" >/dev/null 2>&1 </dev/null &
	cli=$!
	nap "$after"
	if [ $what = 0 ]; then
		victim=runtime
		kill -9 "$cli" 2>/dev/null || true
	else
		victim=VMM
		vm=$(pgrep -x krun-oci-vm | head -n 1 || true)
		[ -z "$vm" ] || kill -9 "$vm" 2>/dev/null || true
	fi
	wait "$cli" 2>/dev/null || true
	# The kernel ends the VMM with its parent asynchronously: what state says may change once, but never to a lie.
	s=$(truth "$c")
	seen[$victim:$s]=$((${seen[$victim:$s]:-0} + 1))
	say "kill $k: the $victim after $((after / 1000)) ms: $s"
	status 0 krun-oci delete --force "$c"
	[ "$(truth "$c")" = gone ] || die "delete --force left it"
	# What a create that was killed left aside goes with the next create at the latest.
	status 0 krun-oci run --bundle "$work/b" --detach "$c"
	status 0 krun-oci delete --force "$c"
	host_is_as "$work/host.before"
done
for s in "${!seen[@]}"; do say "$s: ${seen[$s]}"; done
done_testing
