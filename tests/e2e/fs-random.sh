#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random file system calls by processes of four users: in a guest on its root, and on a directory of the host's same file system.
# The two traces and the two trees must be equal. FS_OPS operations (1000, with LONG 3000) with FS_SEED; the soak run takes a seed
# that nobody knows before.
# timeout: 1500
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

seed=${FS_SEED:-1795726309} ops=${FS_OPS:-${LONG:+3000}}
ops=${ops:-1000}
say "FS_SEED=$seed FS_OPS=$ops"
# A guest has the capabilities of its config, and the host's protections of links and of files in sticky directories are set as there.
bundle b busybox --args "[\"/fs-random\",\"/share\",\"$seed\",\"$ops\"]" \
	--set '.process.capabilities |= map_values(["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_DAC_READ_SEARCH","CAP_FOWNER","CAP_FSETID","CAP_SETGID","CAP_SETUID","CAP_SETFCAP","CAP_SYS_CHROOT","CAP_MKNOD","CAP_LINUX_IMMUTABLE","CAP_KILL"])'
program fs-random "$work/b/rootfs/fs-random"
mkdir -m 777 "$work/b/rootfs/share" "$work/native"

run krun-oci run --bundle "$work/b" "$id"
[ "$rc" = 0 ] || die "fs-random in the guest: status $rc"
mv "$work/out" "$work/guest.trace"
run "$work/b/rootfs/fs-random" "$work/native" "$seed" "$ops"
[ "$rc" = 0 ] || die "fs-random on the host: status $rc"
mv "$work/out" "$work/host.trace"
if ! diff "$work/host.trace" "$work/guest.trace" | head -n 40 >"$work/err" || [ -s "$work/err" ]; then
	n=$(sed -n '1s/^\([0-9]*\).*/\1/p' "$work/err")
	head -n "$n" "$work/host.trace" | tail -n 40 >"$work/out"
	die "the traces differ from line $n on"
fi
ok "$(grep -c '^[0-9]* ' "$work/host.trace") operations, one trace"
[ "$(grep -cE '^[0-9]+ .* = [0-9]' "$work/host.trace")" -gt $((ops / 10)) ] || die "hardly any operation worked"

# Type, mode, owners, links, where a link leads, size and content, attributes.
tree() { # DIR
	(cd "$1" && find . -printf '%p %y %m %U:%G %n %l ' \( -type f -printf '%s' -exec md5sum {} \; -o -printf '\n' \) | sed 's,  \./.*,,' | sort
		{ getfattr -R -d -m - -P . 2>/dev/null || true; } | sort)
}
tree "$work/native" >"$work/native.tree"
tree "$work/b/rootfs/share" >"$work/share.tree"
diff "$work/native.tree" "$work/share.tree" >"$work/out" || die "the trees differ"
ok "$(wc -l <"$work/native.tree") lines of the tree"
done_testing
