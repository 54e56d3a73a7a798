#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --version, --help and wrong words, and that none of them leaves anything.
# timeout: 180
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
status 0 krun-oci --version
check "the name and version" "krun-oci version $(cat "$top/VERSION")" "$(head -n 1 "$work/out")"
grep -qE '^commit: ([0-9a-f]{12}(-dirty)?|unknown)$' "$work/out" || die "no line \"commit: ...\""
ok "the commit"
out_has "spec: 1."
check "nothing on stderr" "" "$(cat "$work/err")"

status 0 krun-oci --help
cp "$work/out" "$work/help"
for verb in create start state kill delete run list spec features check; do
	grep -qE "^ +$verb " "$work/help" || die "--help does not name $verb"
	run krun-oci "$verb" --help
	if [ "$rc" != 0 ] || ! grep -q "^Usage: krun-oci $verb" "$work/out"; then die "$verb --help: status $rc"; fi
done
ok "--help names every verb, and each has its own"

status 1 krun-oci --no-such-flag list
err_has no-such-flag
status 1 krun-oci no-such-verb
err_has no-such-verb
status 1 krun-oci create --no-such-flag "$id"
err_has no-such-flag
status 1 krun-oci state "$id"
err_has "does not exist"
host_is_as "$work/host.before"
done_testing
