#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Unit tests that want of the kernel what a machine for tests may not have (hooks of tc, dummy interfaces), on one that has it.
# timeout: 300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

build=${KRUN_BUILD:-$top}
unit() { # NAME [CASE...]
	local program=$top/build-asan/tests/unit/$1
	[ -x "$program" ] || program=$build/tests/unit/$1
	[ -x "$program" ] || die "$1 was not built"
	run timeout 240 "$program" "${@:2}"
	case $rc in
	0) ok "$1: $(grep -c '^ok' "$work/out") tests" ;;
	77) skip "$1: $(tail -n 1 "$work/out")" ;;
	*) die "$1: status $rc" ;;
	esac
}
unit test_nic
unit test_nic_ns
unit test_agent_box network_addresses
# which passes without them, too
if ip link add krundummy type dummy 2>/dev/null; then
	ip link delete krundummy
	ok "there are dummy interfaces"
else
	[ "${KRUN_TESTHOST_INSIDE:-direct}" = direct ] || die "the test host has no dummy interfaces"
fi
done_testing
