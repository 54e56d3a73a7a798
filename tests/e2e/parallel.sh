#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One run after the other, and some at once: every exit code and output right, nothing left, and the host has lost no memory,
# descriptors or cgroups. SEQUENTIAL, ROUNDS and AT_ONCE set the numbers: 2, 1 and 4, with LONG 10, 1 and 16.
# timeout: 870
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=losses-lib.sh
. "$(dirname "$0")/losses-lib.sh"

numbers=(2 1 4)
! long || numbers=(10 1 16)
sequential=${SEQUENTIAL:-${numbers[0]}} rounds=${ROUNDS:-${numbers[1]}} at_once=${AT_ONCE:-${numbers[2]}}
root=$work/root
for ((i = 0; i < at_once; i++)); do
	"$top/tests/bundles/make" busybox "$work/b$i" --rootfs "$root" \
		--args "[\"sh\",\"-c\",\"echo out $i; exit $((i * 3))\"]" --set '.linux.resources.memory.limit=100663296'
done

# The first run of a host makes what stays.
run krun-oci run --bundle "$work/b0" "$id-first"
check "a first run" "0 out 0" "$rc $(cat "$work/out")"
snapshot_host | sort >"$work/host.before"
facts_before

start=$EPOCHREALTIME
for ((i = 0; i < sequential; i++)); do
	run krun-oci run --bundle "$work/b$((i % at_once))" "$id-$i"
	[ "$rc" = $((i % at_once * 3)) ] && [ "$(cat "$work/out")" = "out $((i % at_once))" ] || die "run $i: status $rc"
	[ ! -s "$work/err" ] || die "run $i: something on stderr"
done
ok "$sequential runs, one after the other"
[ "$sequential" = 0 ] || say "$(echo "scale=2; ($EPOCHREALTIME - $start) / $sequential" | bc) s each"
host_is_as "$work/host.before"
no_loss

for ((r = 0; r < rounds; r++)); do
	pids=()
	start=$EPOCHREALTIME
	for ((i = 0; i < at_once; i++)); do
		krun-oci run --bundle "$work/b$i" "$id-$r-$i" >"$work/o$i" 2>"$work/e$i" </dev/null &
		pids+=($!)
	done
	for ((i = 0; i < at_once; i++)); do
		rc=0
		wait "${pids[i]}" || rc=$?
		if [ "$rc" != $((i * 3)) ] || [ "$(cat "$work/o$i")" != "out $i" ]; then
			cp "$work/e$i" "$work/err"
			die "round $r, run $i: status $rc, output '$(cat "$work/o$i")'"
		fi
	done
	say "$at_once at once: $(echo "scale=1; ($EPOCHREALTIME - $start) / 1" | bc) s"
done
ok "$at_once at once, $rounds times"
host_is_as "$work/host.before"
no_loss
done_testing
