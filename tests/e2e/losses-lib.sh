# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names of lib.sh
# What many containers may have cost their host, for the tests that make many: facts_before, then no_loss after each part.

# What each container may lose a little of, in KiB and numbers: free memory, the kernel's own, open files of all processes, cgroups, and
# those that are gone but cannot die. (Open files are counted per processor in batches of 32 at least: one per run shows in 300 runs, not
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

# After a first container, which makes what stays.
facts_before() {
	local name value
	while read -r name value; do before[$name]=$value; done < <(facts)
	cat /proc/meminfo >"$work/meminfo"
}
