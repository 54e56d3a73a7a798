#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The figures with a bar that do not depend on the machine: exits of the VM until PID 1 and until exec, memory of the VMM, sizes.
# long: yes
# timeout: 480
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
run "$top/tests/bench/run" --counts --runs 3
sed 's/^/# /' "$work/out"
check "no figure is over its bar" 0 "$rc"
for figure in "KVM_RUN returns until PID 1 answered" "KVM_RUN returns from there to exec" "VMM's own memory" "guest kernel, ELF" "guest agent"; do
	check "$figure" 1 "$(grep -F "$figure" "$work/out" | grep -c ' PASS$')"
done

# A bar that is passed is told: a kernel that is too large.
mkdir -p "$work/build/kernel" "$work/build/init"
ln -s "${KRUN_BUILD:-$top}/krun-oci" "$work/build/krun-oci"
cp "${KRUN_BUILD:-$top}/init/agent" "$work/build/init/agent"
truncate -s 21M "$work/build/kernel/vmlinux"
status 1 env KRUN_BUILD="$work/build" "$top/tests/bench/run" --counts --only sizes
out_has "over its bar: guest kernel, ELF"
host_is_as "$work/host.before"
done_testing
