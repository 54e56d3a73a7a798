#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One run after the other, and 16 at once: every exit code and output right, nothing left, and the host has lost no memory, descriptors
# or cgroups. SEQUENTIAL and ROUNDS set the numbers.
# timeout: 870
# mem: 4096
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

sequential=${SEQUENTIAL:-20} rounds=${ROUNDS:-1} at_once=16
root=$work/root
for ((i = 0; i < at_once; i++)); do
	"$top/tests/bundles/make" busybox "$work/b$i" --rootfs "$root" \
		--args "[\"sh\",\"-c\",\"echo out $i; exit $((i * 3))\"]" --set '.linux.resources.memory.limit=100663296'
done

# What each run may lose a little of, in KiB and numbers: free memory, the kernel's own, open files of all processes, cgroups, and those
# that are gone but cannot die. (Open files are counted per processor in batches of 32 at least: one per run shows in 300 runs, not
# in 20.) Caches are dropped first, which hold some of them for a good reason; pages on the processors' own lists, tens of MiB, are free
# but not counted as such.
declare -A before=() after=()
facts() { # prints NAME VALUE lines
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^ +count: / { free += 4 * $2 } /^MemAvailable/ { free += $2 } /^(Slab|KernelStack|PageTables|Percpu):/ { n += $2 }
		END { print "memory", free; print "kernel", n }' /proc/zoneinfo /proc/meminfo
	awk '{ print "files", $1 }' /proc/sys/fs/file-nr
	awk '$1 == "nr_descendants" { print "cgroups", $2 } $1 == "nr_dying_descendants" { print "dying", $2 }' /sys/fs/cgroup/cgroup.stat
}

lost() { # prints what is more than before, beyond what an idle host moves by itself
	[ "${after[memory]}" -ge $((before[memory] - 8192)) ] || echo "$((before[memory] - after[memory])) KiB of memory"
	[ "${after[kernel]}" -le $((before[kernel] + 4096)) ] || echo "$((after[kernel] - before[kernel])) KiB of the kernel's memory"
	[ "${after[files]}" -le $((before[files] + 96)) ] || echo "$((after[files] - before[files])) open files"
	[ "${after[cgroups]}" -le "${before[cgroups]}" ] || echo "$((after[cgroups] - before[cgroups])) cgroups"
	[ "${after[dying]}" -le $((before[dying] + 4)) ] || echo "$((after[dying] - before[dying])) cgroups that do not die"
}

# What the kernel frees later has half a minute. Elsewhere than in the test host others use the memory as well.
no_loss() {
	local what='' name value i
	[ "${KRUN_TESTHOST_INSIDE:-}" = 1 ] || { say "not in the test host: memory is not compared"; return 0; }
	for i in {1..30}; do
		while read -r name value; do after[$name]=$value; done < <(facts)
		what=$(lost | paste -sd,)
		[ -n "$what" ] || break
		sleep 1
	done
	for i in memory kernel files cgroups dying; do say "$i before and after: ${before[$i]} ${after[$i]}"; done
	[ -z "$what" ] || { cat /proc/meminfo >"$work/out"; cp "$work/meminfo" "$work/err"; die "the host has lost $what (its /proc/meminfo was and is)"; }
	ok "the host has lost nothing"
}

# The first run of a host makes what stays.
run krun-oci run --bundle "$work/b0" "$id-first"
check "a first run" "0 out 0" "$rc $(cat "$work/out")"
snapshot_host | sort >"$work/host.before"
while read -r name value; do before[$name]=$value; done < <(facts)
cat /proc/meminfo >"$work/meminfo"

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
