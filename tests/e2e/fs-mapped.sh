#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pages that were written through a mapping, and which nobody has asked to be written back: they are on the host when the container has
# ended, and when it is paused, so that killing the VMM then loses nothing. What write(2) has returned for is there at any time.
# timeout: 240
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox --args '["/mapped","/ended"]'
root=$work/b/rootfs
program mapped "$root/mapped"
bytes() { tr -d m <"$1" | wc -c; } # that are not what was written

status 0 krun-oci run --bundle "$work/b" "$id"
check "they are there when the container has ended" "8192 0" "$(stat -c %s "$root/ended") $(bytes "$root/ended")"

edit b '.process.args=["/mapped","/paused","/mark"]'
create_flags=(--log "$work/log" --log-level warning)
created "$id" b
create_flags=()
check "create" 0 "$rc"
status 0 krun-oci start "$id"
wait_for 60 test -e "$root/mark"
status 0 krun-oci pause "$id"
# a guest that was too slow for the time it has to write back is told again
for ((i = 0; i < 10; i++)); do
	grep -q "has not written back" "$work/log" || break
	: >"$work/log"
	status 0 krun-oci resume "$id"
	status 0 krun-oci pause "$id"
done
check "and when it is paused" "8192 0" "$(stat -c %s "$root/paused") $(bytes "$root/paused")"
kill -KILL "$(cat "$work/$id.pid")"
check "it is gone" "signal 9" "$(exit_of "$id")"
check "and they are still there" 0 "$(bytes "$root/paused")"
status 0 krun-oci delete --force "$id"

# A file that is open and was never synced, at the moment after its last write.
edit b '.process.args=["sh","-c","exec 3>/written; head -c 3000000 /dev/zero | tr \"\\000\" m >&3; echo last >&3; touch /mark-w; sleep 1000"]'
created "$id" b
check "create" 0 "$rc"
status 0 krun-oci start "$id"
wait_for 60 test -e "$root/mark-w"
kill -KILL "$(cat "$work/$id.pid")"
check "the VMM is gone" "signal 9" "$(exit_of "$id")"
check "what was written is not" "3000005 last" "$(stat -c %s "$root/written") $(tail -c 5 "$root/written")"
check "none of it" 0 "$(head -c 3000000 "$root/written" | tr -d m | wc -c)"
status 0 krun-oci delete --force "$id"
done_testing
