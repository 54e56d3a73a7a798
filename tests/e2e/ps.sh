#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ps: the guest's processes as a table, the host's as JSON.
# timeout: 300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox --args '["sleep","100000"]'
snapshot_host | sort >"$work/host.before"
created "$id" b
check "create" 0 "$rc"
vmm=$(cat "$work/$id.pid")
check "JSON while created" "[$vmm]" "$(krun-oci ps --format json "$id")"
status 0 krun-oci start "$id"
status 0 krun-oci ps "$id"
check "its first line" "UID PID PPID C STIME TTY TIME CMD" "$(head -n 1 "$work/out" | tr -s ' ')"
check "one process" 2 "$(wc -l <"$work/out")"
check "it is PID 1" "0 1 0" "$(awk 'NR == 2 { print $1, $2, $3 }' "$work/out")"
check "with its command line" "sleep 100000" "$(awk 'NR == 2 { print $8, $9 }' "$work/out")"
krun-oci exec -d --pid-file "$work/p" -u 1000 "$id" sh -c 'sleep 1234 & wait' </dev/null >/dev/null 2>&1 || die "exec"
in_table() { krun-oci ps "$id" -ef >"$work/out" && grep -Eq "$1" "$work/out"; }
wait_for 30 in_table '^1000 .* sleep 1234$'
parent=$(awk '/sh -c sleep 1234/ { print $2 }' "$work/out")
check "a child has its parent" "$parent" "$(awk '/ sleep 1234$/ { print $3 }' "$work/out" | tail -n 1)"
check "JSON has the VMM and the proxy" "$(printf '%s\n' "$vmm" "$(cat "$work/p")" | sort)" "$(krun-oci ps -f json "$id" | jq '.[]' | sort)"
status 0 krun-oci ps "$id" -o pid,args
out_has "sleep 1234"
check "with options it is the container's own ps" "PID COMMAND" "$(head -n 1 "$work/out" | tr -s ' ' | sed 's/^ //; s/ $//')"
# a name that would draw on a terminal, and many processes
krun-oci exec "$id" sh -c 'for i in $(seq 150); do sleep 4321 & done; exec sh -c "sleep 1000; :" "$(printf "\033[31mred")" & sleep 1; true' </dev/null >/dev/null 2>&1 || die "exec"
many() { [ "$(krun-oci ps "$id" | grep -c ' sleep 4321$')" = 150 ]; }
wait_for 60 many
ok "150 processes, more than one message holds"
krun-oci ps "$id" >"$work/out"
grep -q red "$work/out" || die "the name that would draw is not there"
check "no control characters" 0 "$(tr -d '\n' <"$work/out" | grep -c '[[:cntrl:]]' || true)"
status 1 krun-oci ps --format yaml "$id"
status 1 krun-oci ps "$id-none"
err_has "does not exist"
status 0 krun-oci kill "$id" KILL
wait_for 30 container_is "$id" stopped
status 1 krun-oci ps "$id"
err_has "is not running"
status 0 krun-oci delete "$id"
host_is_as "$work/host.before"
done_testing
