#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd drives the runtime through ctr and its runc shim: run, exec, kill, pause, metrics, ps.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck source=containerd-lib.sh
. "$(dirname "$0")/containerd-lib.sh"

run_opts=(--runc-binary "$(command -v krun-oci)" --runc-root "$work/runc")
# shellcheck disable=SC2317 # called by the trap
end_tasks() {
	local t
	for t in $(ctr_ task ls -q 2>/dev/null || true); do ctr_ task rm -f "$t" >/dev/null 2>&1 || true; done
	end_containerd
}
trap end_tasks EXIT
bundle b busybox
rootfs=$work/b/rootfs

say "run"
status 0 ctr_ run --rm "${run_opts[@]}" --rootfs --cwd /tmp --env A=b "$rootfs" "$id-1" sh -c 'echo "hello $A $(pwd) $$"'
out_has "hello b /tmp 1"
status 7 ctr_ run --rm "${run_opts[@]}" --rootfs "$rootfs" "$id-1" sh -c 'exit 7'
run ctr_ run --rm "${run_opts[@]}" --rootfs "$rootfs" "$id-1" no-such-program
[ "$rc" != 0 ] || die "a missing program runs"
err_has "not found"

say "in the background"
status 0 ctr_ run -d "${run_opts[@]}" --memory-limit 200000000 --rootfs "$rootfs" "$id-2" sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done'
check "running" RUNNING "$(ctr_ task ls | awk -v c="$id-2" '$1 == c { print $3 }')"
pid=$(ctr_ task ls | awk -v c="$id-2" '$1 == c { print $2 }')
status 0 ctr_ task exec --exec-id e1 "$id-2" sh -c 'echo in there'
out_has "in there"
status 9 ctr_ task exec --exec-id e2 "$id-2" sh -c 'exit 9'
status 0 ctr_ task ps "$id-2"
out_has "$pid"
status 0 ctr_ task metrics "$id-2"
out_has memory.usage
status 0 ctr_ task pause "$id-2"
check "paused" PAUSED "$(ctr_ task ls | awk -v c="$id-2" '$1 == c { print $3 }')"
status 0 ctr_ task resume "$id-2"
status 0 ctr_ task kill -s TERM "$id-2"
stopped() { [ "$(ctr_ task ls | awk -v c="$id-2" '$1 == c { print $3 }')" = STOPPED ]; }
wait_for 60 stopped
status 0 ctr_ task rm "$id-2"
err_has "exit code 3"
status 0 ctr_ container rm "$id-2"
check "nothing is left" "" "$(krun-oci --root "$work/runc/default" list --quiet 2>/dev/null || krun-oci --root "$work/runc" list --quiet)"
done_testing
