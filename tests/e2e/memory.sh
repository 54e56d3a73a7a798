#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory that a container has used and given up is the host's again: what the workload frees, and the page cache that a lower limit takes
# from it. What the container needs it gets again.
# timeout: 480
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
bundle b busybox
script='step() { touch /at-$1; until [ -e /go-$1 ]; do sleep 0.1; done; }
	fill() { dd if=/dev/zero of=/m/f bs=1M count=$1 2>/dev/null; }
	step idle; fill 160; step full; rm /m/f; step freed; fill 160; md5sum </m/f; step again
	rm /m/f; cat /big >/dev/null; step cached; echo fine'
edit b ".annotations[\"krun.ram_mib\"]=\"320\" | .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$script" '$s')]
	| .mounts+=[{destination:\"/m\",type:\"tmpfs\",source:\"tmpfs\",options:[\"size=200m\"]}]"
root=$work/b/rootfs
head -c 180M /dev/zero >"$root/big"
created "$id" b
check "create" 0 "$rc"

# MiB of the guest's RAM that the host holds.
held() {
	awk '/^Size:/ { size = $2 } /^Rss:/ { if (size > big) { big = size; rss = $2 } } END { printf "%d\n", rss / 1024 }' \
		"/proc/$(cat "$work/$id.pid")/smaps"
}
holds_less() { # MiB
	[ "$(held)" -lt "$1" ]
}
falls_below() { # MiB WHAT
	local begin=$EPOCHREALTIME most=$1 ms looks=0
	less() { looks=$((looks + 1)); holds_less "$most"; }
	wait_for 60 less
	ms=$(((${EPOCHREALTIME/./} - ${begin/./}) / 1000))
	# of what the guest frees two seconds are promised, on a machine that does nothing else; who is seldom let look counts looks
	[ "$ms" -le "$(long && echo 2000 || echo 5000)" ] || { ! long && [ "$looks" -le 15 ]; } || die "$2 is the host's after $ms ms, $looks looks"
	ok "$2 is the host's after $ms ms"
}
at() { # STEP
	wait_for 120 test -e "$root/at-$1"
}

status 0 krun-oci start "$id"
at idle
idle=$(held)
touch "$root/go-idle"
at full
! holds_less $((idle + 140)) || die "160 MiB are written, $(held) MiB are held, $idle before"
touch "$root/go-full"
at freed
falls_below $((idle + 40)) "what the workload frees"
touch "$root/go-freed"
at again
! holds_less $((idle + 140)) || die "160 MiB are written once more, $(held) MiB are held"
touch "$root/go-again"
at cached
! holds_less $((idle + 150)) || die "180 MiB of a file are cached, $(held) MiB are held"
status 0 krun-oci update --memory 64m "$id"
falls_below $((idle + 100)) "what the limit takes"
touch "$root/go-cached"
check "the container ends by itself" 0 "$(exit_of "$id")"
check "it had what it wrote" "$(head -c 160M /dev/zero | md5sum) fine" "$(paste -sd' ' "$work/$id.out")"
status 0 krun-oci delete "$id"
rm "$root/big"
host_is_as "$work/host.before"
done_testing
