#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Large files through the DAX window: who gets it, both sides' stores, files that shrink, go and are replaced, a working set above the window.
# timeout: 1500
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox
root=$work/b/rootfs
program fs-dax "$root/bin/fs-dax"

# A file of MIB MiB as fs-dax.c wants it. The same bytes again and again, so it is made once.
blocks() { # PATH MIB
	[ -e "$work/blocks" ] || python3 -c '
import struct, sys
with open(sys.argv[1], "wb") as f:
    for i in range(8 << 8): f.write(struct.pack("<Q", i) + bytes(4088))' "$work/blocks"
	head -c "$(($2 << 20))" "$work/blocks" >"$1"
}

guest() { # SCRIPT [DAX [JQ]]
	cp "$top/tests/bundles/config.json" "$work/b/config.json"
	edit b ".process.args=[\"sh\",\"-c\",$(jq -n --arg s "$1" '$s')] | .annotations[\"krun-oci.virtiofs.dax\"]=\"${2:-on}\" | ${3:-.}"
}

out() {
	paste -sd' ' "$work/out"
}

blocks "$root/big" 4
blocks "$root/tool" 4
chmod 755 "$root/tool"
head -c 1000000 "$root/big" >"$root/small"
truncate -s 4M "$root/sparse"
# A disk that is full when a hole comes under a mapping; and the guest itself that truncates, again and again.
mkdir "$work/small" "$root/small.d"
mount -t tmpfs -o size=8m tmpfs "$work/small"
trap 'umount "$work/small" 2>/dev/null || true; cleanup' EXIT
blocks "$work/small/f" 4
blocks "$root/f" 4
blocks "$root/setid" 4
seconds=1 # for as long as sizes are looked at several times
! long || seconds=4
# set-id bits without CAP_FSETID, as any user; the file is open, and so in the window, when the bit comes
guest 'for f in big small tool sparse; do fs-dax kind /$f; done; fs-dax scan /big >/dev/null; fs-dax random 500 3 /big >/dev/null; fs-dax mapped /big; md5sum </big
	echo then; exec 3<>/setid; fs-dax kind /setid; chmod 4664 /setid; printf x >&3; stat -c %a /setid; exec 3>&-
	chmod 4664 /setid; printf x | dd of=/setid conv=notrunc 2>/dev/null; stat -c %a /setid
	echo then; fs-dax regrow /f '$seconds' && fs-dax kind /f; echo then; fs-dax kind /small.d/f; fs-dax full /small.d/f /small.d/o' on \
	".mounts += [{destination:\"/small.d\", source:\"$work/small\", type:\"bind\", options:[\"rbind\",\"rw\"]}]"
run krun-oci run --bundle "$work/b" "$id"
last=$(od -An -tu8 -j$((127 * 4096 + 8)) -N8 "$work/small/f" | xargs)
umount "$work/small"
trap cleanup EXIT
[ "$rc" = 0 ] || die "status $rc"
part() { sed 's/^then$/\x1/' "$work/out" | tr '\n\001' ' \n' | sed -n "${1}p" | sed 's/^ //; s/ $//'; } # NUMBER: between two lines "then"
check "large files have it, small ones, programs and holes have not; the host has what the guest wrote" \
	"dax cache cache cache mapped $(md5sum <"$root/big")" "$(part 1)"
check "a store of the guest is in the file" "42 4711" \
	"$(od -An -tu8 -j8 -N8 "$root/big" | xargs) $(od -An -tu8 -j4104 -N8 "$root/big" | xargs)"
check "a write takes set-id bits away" "dax 664 664" "$(part 2)"
check "a file that the guest truncates and writes again, touched all the while" "regrown dax" "$(part 3)"
check "no place for holes is an errno, and a store has its place" "dax No space left on device No space left on device done 1048576 128" "$(part 4) $last"
blocks "$root/big" 4
chmod 644 "$root/big"

if long; then
	guest 'fs-dax kind /big' off
	run krun-oci run --bundle "$work/b" "$id"
	check "off by annotation" "cache" "$(out)"
fi
guest 'fs-dax kind /big' on '.annotations["krun.ram_mib"]="256"'
run krun-oci run --bundle "$work/b" "$id"
check "no window in a small guest" "cache" "$(out)"
guest true 1024
run krun-oci run --bundle "$work/b" "$id"
err_has "more than a guest of 1024 MiB may have"

# What the host does to files that the guest has mapped; the guest's programs go on and end well.
for f in stored shortened removed replaced; do blocks "$root/$f" 4; done
guest 'for f in stored shortened removed replaced; do (fs-dax shrink /$f /go >/said.$f; echo status $? >>/said.$f) & done; wait'
krun-oci run --bundle "$work/b" "$id" >"$work/out" 2>"$work/err" </dev/null &
for f in stored shortened removed replaced; do wait_for 300 grep -q ready "$root/said.$f"; done
printf '\x2a' | dd of="$root/stored" bs=1 seek=$((1023 * 4096)) conv=notrunc status=none
truncate -s 8192 "$root/shortened"
rm "$root/removed"
head -c 4M /dev/zero >"$root/g"
mv "$root/g" "$root/replaced"
touch "$root/go"
wait $! || die "the container"
check "a store of the host is in the guest's mapping" "ready $((1023 / 256 * 256 + 42)) 1 status 0" "$(words "$root/said.stored")"
case $(words "$root/said.shortened") in
"ready SIGBUS 1 status 0" | "ready 0 1 status 0") ok "a file that the host shortens is a signal or zeroes, and the guest goes on" ;;
*) die "shortened under its mapping: $(words "$root/said.shortened")" ;;
esac
check "a file that the host removes stays mapped" "ready 1023 1 status 0" "$(words "$root/said.removed")"
check "a file that the host replaces stays what it was" "ready 1023 1 status 0" "$(words "$root/said.replaced")"

# A window of five ranges, of which the guest's kernel wants one free; eight files of two.
for i in 1 2 3 4 5 6 7 8; do blocks "$root/s$i" 4; done
guest 'for i in 1 2 3 4 5 6 7 8; do fs-dax kind /s$i; done; fs-dax random 2000 5 /s? >/dev/null && cat /s? | md5sum' 10
run krun-oci run --bundle "$work/b" "$id"
[ "$rc" = 0 ] || die "status $rc"
check "as many as fit, and all of it right" "dax dax cache cache cache cache cache cache $(cat "$root"/s? | md5sum)" "$(out)"

if long; then
	guest 'fs-dax kind /s1; fs-dax scan /s1 >/dev/null; md5sum </s1; echo x 2>&1 >>/s1 | grep -c Read-only' on '.root.readonly=true | .mounts=[]'
	run krun-oci run --bundle "$work/b" "$id"
	check "a share that is read-only as a whole" "dax $(md5sum <"$root/s1") 1" "$(out)"
fi

# overlayfs: mapped for reading from the lower tree, then written to.
mkdir "$work/upper" "$work/wd" "$work/merged"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/wd" "$work/merged"
mkdir "$work/o"
guest 'fs-dax kind /s2; fs-dax scan /s2 >/dev/null; fs-dax mapped /s2; md5sum </s2; fs-dax kind /s2; fs-dax first /s3' on ".root.path=\"$work/merged\""
mv "$work/b/config.json" "$work/o/config.json"
run krun-oci run --bundle "$work/o" "$id"
sum=$(md5sum <"$work/merged/s2")
umount "$work/merged"
[ "$rc" = 0 ] || die "status $rc"
check "a file of a lower tree, read and then written" "dax mapped $sum dax 4711 4711" "$(out)"

# Mounted so that nobody can tell what it lies on.
(cd "$work" && mkdir upper2 wd2 && mount -t overlay overlay -o "lowerdir=b/rootfs,upperdir=upper2,workdir=wd2" merged)
guest 'fs-dax kind /s4; fs-dax mapped /s4' on ".root.path=\"$work/merged\""
mv "$work/b/config.json" "$work/o/config.json"
run krun-oci run --bundle "$work/o" "$id"
umount "$work/merged"
check "an overlay on nobody knows what has no window" "cache mapped" "$(out)"

# Unless all of the share is read-only, which is so when all its mounts are. The guest's own (the config's others) do not count.
unknown() { # EXPECTED WHAT JQ
	(cd "$work" && mount -t overlay overlay -o "lowerdir=b/rootfs,upperdir=upper2,workdir=wd2" merged)
	guest 'fs-dax kind /s4; echo x 2>&1 >>/s4 | grep -c Read-only; echo x 2>/dev/null >>/small.d/new && echo written' on ".root.path=\"$work/merged\" | .root.readonly=true | $3"
	mv "$work/b/config.json" "$work/o/config.json"
	run krun-oci run --bundle "$work/o" "$id"
	umount "$work/merged"
	check "$2" "$1" "$(out)"
}
mkdir "$work/sub" "$work/sub/deep"
mount -t tmpfs tmpfs "$work/sub/deep"
bind() { echo ".mounts += [{destination:\"/small.d\", source:\"$work/sub\", type:\"bind\", options:$1}]"; }
! long || unknown "dax 1" "a read-only root" .
! long || unknown "dax 1" "a read-only root and a read-only bind" "$(bind '["bind","ro"]')"
unknown "cache 1 written" "not with a bind that can be written to" "$(bind '["bind"]')"
! long || unknown "cache 1" "nor with one that has such a mount below it" "$(bind '["rbind","ro"]')"
unknown "dax 1" "but with one that is read-only with all below it" "$(bind '["rbind","rro"]')"
umount "$work/sub/deep"
done_testing
