#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Locks on a shared file: between the host and a container, both ways, waiting too. And caching by annotation.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox
program locker "$work/b/rootfs/bin/locker"
mkdir "$work/src"
touch "$work/src/lock"

guest() { # SCRIPT [CACHE]
	cp "$top/tests/bundles/config.json" "$work/b/config.json"
	edit b ".mounts+=[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"$work/src\",\"options\":[\"bind\"]}]
		| .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$1" '$s')] | .annotations[\"krun-oci.virtiofs.cache\"]=\"${2:-auto}\""
}

exec 8<"$work/src/lock"
flock -x 8
guest 'locker try /mnt/lock; echo $?; touch /mnt/waits; locker wait /mnt/lock echo got'
(
	wait_for 300 test -e "$work/src/waits"
	flock -u 8
) 8<&8 &
run krun-oci run --bundle "$work/b" "$id"
[ "$rc" = 0 ] || die "exit status $rc"
wait
check "a lock of the host is in the way, until it is given up" "1 got" "$(paste -sd' ' "$work/out")"

guest 'locker wait /mnt/lock sh -c "touch /mnt/held; until [ -e /mnt/go ]; do sleep 1; done"; touch /mnt/ended; sleep 1000'
run krun-oci create --bundle "$work/b" "$id"
run krun-oci start "$id"
wait_for 300 test -e "$work/src/held"
flock -n 8 && die "the guest's lock is not felt on the host"
ok "a lock of the guest is in the way on the host"
touch "$work/src/go"
wait_for 60 test -e "$work/src/ended"
flock -n 8 || die "the guest's lock outlives its holder"
ok "and goes with who held it"
run krun-oci delete --force "$id"

if long; then
	guest 'cat /mnt/lock' 'none,/mnt=always'
	run krun-oci run --bundle "$work/b" "$id"
	check "an annotation of caching by mount is taken" 0 "$rc"
fi
guest true '/elsewhere=always'
run krun-oci run --bundle "$work/b" "$id"
err_has "/elsewhere is the destination of no bind mount"
done_testing
