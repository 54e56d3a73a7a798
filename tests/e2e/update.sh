#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# update: limits on the host and in the guest, by options and by a file; what a running guest cannot follow.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
mib=$((1024 * 1024))
bundle b busybox
edit b '.annotations={"krun.ram_mib":"256","krun.cpus":"3"} | .process.args=["sh","-c","trap \"cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max | tr \\\"\\n\\\" \\\" \\\"; echo\" USR1; echo up; sleep 1000000 & while :; do wait; done"]'
cg=/sys/fs/cgroup/$id
inside() { # memory.max and pids.max in the guest
	local n
	n=$(wc -l <"$work/$id.out")
	krun-oci kill "$id" USR1
	wait_for 20 sh -c "[ \$(wc -l <'$work/$id.out') -gt $n ]"
	tail -n 1 "$work/$id.out" | sed 's/ $//'
}
cpus() { # those that a process finds, and those that the VM has
	krun-oci exec "$id" sh -c 'nproc; cat /sys/devices/system/cpu/online' </dev/null | words -
}

status 1 krun-oci update --memory 64m "$id"
err_has "does not exist"
created "$id" b
check "create" 0 "$rc"
status 0 krun-oci update --pids-limit 70 "$id"
status 0 krun-oci start "$id"
wait_for 20 grep -q up "$work/$id.out"
check "a created container can be updated" "max 70" "$(inside)"

say "by options"
status 0 krun-oci update --memory 200m --pids-limit=50 --cpu-quota 50000 --cpu-share 512 --memory-reservation 1m "$id"
check "in the guest" "$((200 * mib)) 50" "$(inside)"
check "on the host: memory" $(((256 + 64 + 32) * mib)) "$(cat "$cg/memory.max")"
check "on the host: the rest" "114 50000 100000 20 $mib" "$(words "$cg/pids.max" "$cg/cpu.max" "$cg/cpu.weight" "$cg/memory.low")"
status 0 krun-oci update --cpu-period 200000 "$id"
check "a period keeps the quota" "50000 200000" "$(cat "$cg/cpu.max")"
check "the guest's CPUs are those that the quota is for" "1 0-2" "$(cpus)"
status 0 krun-oci update --cpu-quota 300000 "$id"
check "more of them" "2 0-2" "$(cpus)"
status 0 krun-oci update --cpu-quota -1 --cpuset-cpus 0 "$id"
check "no quota keeps the period" "max 200000 0" "$(words "$cg/cpu.max" "$cg/cpuset.cpus")"
check "one CPU of the host" "1 0-2" "$(cpus)"
check "what is not named stays" "$((200 * mib)) 50" "$(inside)"

say "by a file"
echo '{"memory":{"limit":'$((128 * mib))',"swap":'$((192 * mib))'},"pids":{"limit":60},"unknown":1}' >"$work/r"
status 0 krun-oci update --resources "$work/r" "$id"
check "in the guest" "$((128 * mib)) 60" "$(inside)"
check "swap on the host" $((64 * mib)) "$(cat "$cg/memory.swap.max")"
status 0 krun-oci update --pids-limit 0 "$id"
check "0 is no limit and no change" "$((128 * mib)) 60 124" "$(inside) $(cat "$cg/pids.max")"
echo '{"pids":{"limit":-1}, "memory":{"limit":-1}}' >"$work/r"
rc=0
krun-oci update -r - "$id" <"$work/r" >"$work/out" 2>"$work/err" || rc=$?
check "from stdin" 0 "$rc"
check "no limits in the guest" "max max" "$(inside)"
check "no limits on the host" "max max" "$(words "$cg/memory.max" "$cg/pids.max")"

say "what is refused leaves all as it was"
status 0 krun-oci update --memory 100m "$id"
status 1 krun-oci update --memory 1g --pids-limit 5 "$id"
err_has "resources: memory.limit: 1073741824 bytes are more than the 256 MiB of RAM that the guest was made with"
status 1 krun-oci update --memory 12q "$id"
err_has '--memory: "12q" is not a size'
status 1 krun-oci update --cpu-rt-runtime 5 "$id"
err_has "linux.resources.cpu.realtimeRuntime"
status 1 krun-oci update --l3-cache-schema x "$id"
err_has "intelRdt"
status 1 krun-oci update "$id"
err_has "nothing is to be changed"
status 1 krun-oci update --resources "$work/r" --memory 64m "$id"
err_has "--memory: not together with --resources"
echo '{"memory":{"limit":"x"}}' >"$work/r"
status 1 krun-oci update --resources "$work/r" "$id"
err_has "memory.limit"
check "nothing has changed" "$((100 * mib)) max" "$(inside)"
status 0 krun-oci --log "$work/log" --log-level warning update --cpu-quota 1000000 "$id"
grep -q "the guest was made with" "$work/log" || die "no warning: $(cat "$work/log")"
ok "more CPUs than the guest has: a warning"
check "one CPU of the host is still one" "1 0-2" "$(cpus)"

say "paused, and stopped"
status 0 krun-oci pause "$id"
status 0 krun-oci update --pids-limit 33 "$id"
status 0 krun-oci resume "$id"
check "a paused guest follows when it goes on" "$((100 * mib)) 33" "$(inside)"
status 0 krun-oci kill "$id" KILL
wait_for 20 container_is "$id" stopped
status 1 krun-oci update --pids-limit 5 "$id"
err_has "container not running"
status 0 krun-oci delete "$id"

if long; then
	say "fewer CPUs than the config asks for: create's caller may use one, who updates may use all"
	edit b 'del(.annotations["krun.cpus"])'
	one_cpu() { taskset -c "$(grep -m 1 -oE '^[0-9]+' /sys/devices/system/cpu/online)" krun-oci "$@"; }
	status 0 one_cpu run --detach --bundle "$work/b" "$id"
	check "the VM" "1 0" "$(cpus)"
	status 0 krun-oci update --cpu-quota 50000 "$id"
	status 0 krun-oci update --cpu-quota -1 "$id"
	check "a quota that comes and goes" "1 0 max 100000" "$(cpus) $(cat "$cg/cpu.max")"
	status 0 krun-oci --log "$work/log" --log-level warning update --cpu-quota 300000 "$id"
	grep -q "the guest was made with 1 CPUs" "$work/log" || die "no warning: $(cat "$work/log")"
	ok "more than it was made with: a warning that says how many"
	jq 'del(.vcpus, .ram)' "/run/krun-oci/$id/state.json" >"$work/r"
	cp "$work/r" "/run/krun-oci/$id/state.json"
	status 1 krun-oci update --pids-limit 5 "$id"
	err_has "did not record the size of its VM"
	status 0 krun-oci delete --force "$id"
fi
rm -f "$work/log"
host_is_as "$work/host.before"
done_testing
