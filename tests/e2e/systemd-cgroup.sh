#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The systemd cgroup driver: scope, slice, properties, delegation, update, and nothing left; for root.
# timeout: 900
# host: systemd
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
[ -d /run/systemd/system ] || skip "no systemd runs here"

mib=$((1024 * 1024))
bundle b busybox --args '["sleep","1000"]'
unit=krunt-$$.scope
edit b '.linux.cgroupsPath="krunt.slice:krunt:'$$'" | .linux.resources={"memory":{"limit":'$((128 * mib))'},"cpu":{"quota":150000,"period":100000,"shares":512,"cpus":"0"},"pids":{"limit":50}} | .annotations["krun.cpus"]="1"'
show() { systemctl show -P "$1" "$unit"; }

say "root"
status 0 krun-oci --systemd-cgroup --root "$work/s" run --detach --bundle "$work/b" --pid-file "$work/pid" "$id"
pid=$(cat "$work/pid")
check "the VMM is in the scope" "0::/krunt.slice/$unit" "$(cat "/proc/$pid/cgroup")"
cg=/sys/fs/cgroup/krunt.slice/$unit
check "the unit" "active yes" "$(show ActiveState) $(show Delegate)"
check "properties" "$(cat "$cg/memory.max") 20 114 1.500000s 0" "$(show MemoryMax) $(show CPUWeight) $(show TasksMax) $(show CPUQuotaPerSecUSec) $(show AllowedCPUs)"
check "files" "150000 100000 20 114 0" "$(words "$cg/cpu.max" "$cg/cpu.weight" "$cg/pids.max" "$cg/cpuset.cpus")"
systemctl daemon-reload
check "a reload of systemd takes nothing away" "150000 100000 20 114" "$(words "$cg/cpu.max" "$cg/cpu.weight" "$cg/pids.max")"
status 0 krun-oci --systemd-cgroup --root "$work/s" update --pids-limit 60 --cpu-quota 100000 "$id"
check "update" "124 124 100000 100000" "$(show TasksMax) $(words "$cg/pids.max" "$cg/cpu.max")"
status 0 krun-oci --root "$work/s" events --stats "$id"
check "events" 124 "$(jq .data.pids.limit "$work/out")"
status 0 krun-oci --root "$work/s" delete --force "$id"
[ ! -e "$cg" ] || die "the cgroup is left"
gone() { [ "$(systemctl show -P LoadState "$unit")" = not-found ]; }
wait_for 20 gone
ok "scope and cgroup are gone"

say "one scope for a container after the other"
# sandboxes: it is their scopes that are looked at, and they have no VM to be booted
edit b '.process.args=["/pause"]'
status 0 krun-oci --systemd-cgroup --root "$work/s" run --detach --bundle "$work/b" "$id"
status 0 krun-oci --root "$work/s" kill "$id" KILL
wait_for 20 gone
status 0 krun-oci --systemd-cgroup --root "$work/s" run --detach --bundle "$work/b" "$id-b"
status 0 krun-oci --root "$work/s" delete "$id"
check "delete of the first leaves the second alone" "running active" "$(krun-oci --root "$work/s" state "$id-b" | jq -r .status) $(show ActiveState)"
status 0 krun-oci --root "$work/s" delete --force "$id-b"
wait_for 20 gone
[ ! -e "$cg" ] || die "the cgroup is left"
ok "that of the second removes it"

say "what is refused"
edit b '.linux.cgroupsPath="/a/b"'
status 1 krun-oci --systemd-cgroup --root "$work/s" create --bundle "$work/b" "$id"
err_has 'expected "slice:prefix:name" with the systemd driver, not "/a/b"'
status 1 krun-oci --root "$work/s" state "$id"
edit b '.linux.cgroupsPath="krunt.slice:krunt:'$$'"'
systemd-run --quiet --scope --slice krunt.slice --unit "$unit" sleep 1000 &
other=$!
wait_for 20 systemctl --quiet is-active "$unit"
status 1 krun-oci --systemd-cgroup --root "$work/s" create --bundle "$work/b" "$id"
err_has "systemd: cannot make the scope $unit"
check "the other scope is unharmed" active "$(show ActiveState)"
kill "$other"
wait "$other" || true

say "without cgroupsPath"
edit b 'del(.linux.cgroupsPath)'
status 0 krun-oci --cgroup-manager systemd --root "$work/s" run --detach --bundle "$work/b" --pid-file "$work/pid" "$id"
check "the default" "0::/system.slice/krun-oci-$id.scope" "$(cat "/proc/$(cat "$work/pid")/cgroup")"
status 0 krun-oci --root "$work/s" kill "$id" KILL
wait_for 20 sh -c "[ \$(krun-oci --root '$work/s' state '$id' | jq -r .status) = stopped ]"
status 0 krun-oci --root "$work/s" delete "$id"
done_testing
