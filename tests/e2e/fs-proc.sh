#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The host's procfs, bound into a container: it reads as on the host, but the process that serves it is not in it, and nobody's memory
# can be had by it.
# timeout: 240
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox
created "$id-2" b # a VMM with the same rights
check "create" 0 "$rc"
other=$(cat "$work/$id-2.pid")
edit b '.mounts+=[{destination:"/hp",type:"bind",source:"/proc",options:["rbind"]}]'

# shellcheck disable=SC2016 # the guest expands it
script='cd /hp; self=$(readlink self); test -n "$self" && echo self; ls 2>/dev/null | grep -cx "$self"; ls -d "$self" "$self/mem" thread-self/ 2>&1 | grep -c "No such file"
	cut -d" " -f1 OTHER/stat; grep -c "^Linux version" version; for f in OTHER/mem OTHER/task/OTHER/mem; do dd if=$f bs=1 count=1 2>&1 | grep -o "Permission denied"; dd of=$f bs=1 count=0 2>&1 | grep -o "Permission denied"; done'
edit b ".process.args=[\"sh\",\"-c\",$(jq -n --arg s "${script//OTHER/$other}" '$s')]"
run krun-oci run --bundle "$work/b" "$id"
check "the VMM is not there; of another what is known, not what is in it" \
	"0 self 0 3 $other 1 Permission denied Permission denied Permission denied Permission denied" "$rc $(paste -sd' ' "$work/out")"
status 0 krun-oci delete --force "$id-2"
done_testing
