#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One file against its model, in a guest: FS_OPS (10000) reads, writes, mappings, truncations, holes and copies, with FS_SEED.
# long: yes
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

seed=${FS_SEED:-1795726324} ops=${FS_OPS:-10000}
say "FS_SEED=$seed FS_OPS=$ops"
bundle b busybox --args "[\"/fs-x\",\"/file\",\"$seed\",\"$ops\"]"
program fs-x "$work/b/rootfs/fs-x"
status 0 krun-oci run --bundle "$work/b" "$id"
out_has "$ops operations"
cp "$work/b/rootfs/file" "$work/file"
"$work/b/rootfs/fs-x" "$work/native" "$seed" "$ops" >/dev/null || die "fs-x on the host"
cmp "$work/file" "$work/native" || die "the guest's file is not what the same operations make on the host"
ok "the file holds what the same operations make on the host"
done_testing
