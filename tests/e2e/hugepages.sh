#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A guest in the host's huge pages: it has all of them from the beginning or is not made, and they come back when it ends.
# timeout: 300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

pool=/proc/sys/vm/nr_hugepages
free_pages() {
	awk '/^HugePages_Free:/ { print $2 }' /proc/meminfo
}
# a pool that somebody has made is his
[ "$(cat $pool)" = 0 ] || skip "this host has a pool of huge pages already"
trap 'echo 0 >$pool; cleanup' EXIT
# shellcheck disable=SC2154 # of lib.sh: $work, $id, $rc
snapshot_host | sort >"$work/host.before"
bundle b busybox
create_flags=(--trust-annotations)
huge() { # MIB SCRIPT
	edit b ".annotations[\"krun.ram_mib\"]=\"$1\" | .annotations[\"krun-oci.hugepages\"]=\"on\"
		| .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$2" '$s')]"
}

huge 161 'dd if=/dev/zero bs=1M count=4 2>/dev/null | tr "\000" x >/tmp/f; md5sum </tmp/f; touch /full; until [ -e /go ]; do sleep 0.1; done'
run krun-oci --trust-annotations create --bundle "$work/b" "$id"
[ "$rc" != 0 ] || die "a guest in huge pages on a host that has none"
err_has 'too few free ones'
echo 85 >$pool
[ "$(free_pages)" = 85 ] || skip "no 85 huge pages to be had: $(free_pages)"
# 161 MiB are 160
created "$id" b
check "create" 0 "$rc"
check "the guest's pages are taken by create" 5 "$(free_pages)"
run krun-oci --trust-annotations create --bundle "$work/b" "$id-2"
[ "$rc" != 0 ] || die "a second guest where there is place for one"
err_has 'too few free ones'
check "which has taken none" 5 "$(free_pages)"
status 0 krun-oci start "$id"
wait_for 120 test -e "$work/b/rootfs/full"
check "the VMM's largest mapping is in huge pages" "163840 kB 2048 kB" \
	"$(awk '/^Size:/ { size = $2 } /^KernelPageSize:/ && size >= big { big = size; page = $2 } END { print big " kB", page " kB" }' \
		"/proc/$(cat "$work/$id.pid")/smaps")"
touch "$work/b/rootfs/go"
check "the container ends by itself" 0 "$(exit_of "$id")"
check "what it wrote" "$(head -c 4M /dev/zero | tr '\000' x | md5sum)" "$(cat "$work/$id.out")"
status 0 krun-oci delete "$id"
check "the pages are back" 85 "$(free_pages)"
echo 0 >$pool
host_is_as "$work/host.before"
done_testing
