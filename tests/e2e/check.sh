#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `check` on a host that can run containers, and on one that cannot.
# timeout: 180
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox --args '["true"]'
run krun-oci check
check "a fit host: status" 0 "$rc"
for fact in kvm-device kvm-api kvm-guest kvm-cmpxchg16b kvm-int3 kvm-xsave cgroup-v2 guest-kernel; do
	grep -q "^ok  *$fact " "$work/out" || die "check does not say ok for $fact"
done
ok "one line a fact"
status 0 krun-oci check --json
jq -e '.fit == true' "$work/out" >/dev/null || die "check --json: $(cat "$work/out")"
ok "check --json"

# What an unfit host's KVM lets the probe find out is its verdict for this boot; create reads it.
unfit() { # COMMAND...
	# shellcheck disable=SC2016 # sh's variables
	unshare -m sh -c 'mount --bind /dev/null /dev/kvm && exec "$@"' sh "$@"
}
status 1 unfit krun-oci check
grep -qv '^ok' "$work/out" || die "check finds nothing wrong without KVM"
status 1 unfit krun-oci check --json
jq -e '.fit == false' "$work/out" >/dev/null || die "check --json: $(cat "$work/out")"
ok "check --json without KVM"
took=1000
# the best of some: others may be at work
for ((i = 0; i < 5 && took >= 1000; i++)); do
	start=${EPOCHREALTIME/./}
	status 1 unfit krun-oci create --bundle "$work/b" "$id"
	took=$(((${EPOCHREALTIME/./} - start) / 1000))
done
check "create without KVM: one line" 1 "$(wc -l <"$work/err")"
[ "$took" -lt 1000 ] || die "it took $took ms"
ok "in less than a second"
status 0 krun-oci list -q
check "nothing is left" "" "$(grep -F "$id" "$work/out" || true)"
done_testing
