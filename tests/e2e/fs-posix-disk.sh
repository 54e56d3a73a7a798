#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The file system suite on small disks: no block and no inode left, the same by a quota, no link left, and FAT, which cannot do
# much. The program runs on a disk in the host, and in a guest that has an equal disk as a bind; both must print the same but for
# what fs-posix.differs lists, and each pair of fs-posix.matrix must be among it.
# long: yes
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=fs-posix-lib.sh
. "$(dirname "$0")/fs-posix-lib.sh"

# Disks are filled and mounted here.
[ "${KRUN_TESTHOST_INSIDE:-}" = 1 ] || skip "this is no test host"
v=$work/v
mkdir "$v"
# shellcheck disable=SC2317 # called by the trap
undo() {
	umount -l "$v" 2>/dev/null || true
	cleanup
}
trap undo EXIT
suite_bundle
mkdir "$work/b/rootfs/share"

mounted() { # IMAGE [OPTION]
	mount -o "loop${2:+,$2}" "$1" "$v" 2>"$work/err" || die "mount of $1"
}

# Runs PART on two copies of $work/image; SETUP sees $v each time.
both() { # PART UID OPTION [SETUP]
	local side
	for side in host guest; do
		cp --sparse=always "$work/image" "$work/disk"
		mounted "$work/disk" "$3"
		${4:-true}
		if [ $side = host ]; then
			run setpriv --reuid "$2" --regid "$2" --clear-groups "$work/b/rootfs/fs-posix" "$v" "$1"
		else
			cp "$work/config.good" "$work/b/config.json"
			edit b ".process.user={uid:$2,gid:$2} | .process.args+=[\"$1\"] | .mounts+=[{destination:\"/share\",type:\"bind\",source:\"$v\",options:[\"bind\"]}]"
			run krun-oci run --bundle "$work/b" "$id"
		fi
		[ "$rc" = 0 ] || die "fs-posix on the disk, $side: status $rc"
		mv "$work/out" "$work/$side.txt"
		umount "$v"
	done
	agree "$([ "$2" != 0 ] || echo root)" "$1-$2"
}

ext4() { # MiB [OPTION of mkfs]...
	rm -f "$work/image"
	truncate -s "$1M" "$work/image"
	mkfs.ext4 -q -F -b 4096 -m 0 "${@:2}" "$work/image" 2>"$work/err" || die "mkfs.ext4"
}

say "a full disk"
ext4 12 -N 128
both full 0 ''

# quotactl(2): Q_SETQUOTA for user 1000: 400 blocks of 1 KiB, 24 inodes
# shellcheck disable=SC2317 # called by name
limits() {
	chown 1000:1000 "$v"
	perl -e 'my $q = pack("Q8 L x4", 400, 400, 0, 24, 24, 0, 0, 0, 5); syscall(179, 0x80000800, $ARGV[0], 1000, $q) == 0 or die "$!\n"' \
		"$(findmnt -n -o SOURCE "$v")" 2>"$work/err" || die "quotactl"
}
say "a quota"
ext4 32 -O quota
modprobe quota_v2
both full 1000 usrquota limits

say "as many links as there can be"
ext4 12 -O ^dir_nlink
mounted "$work/image"
mkdir "$v/many"
echo text | tee "$v/much" >"$v/many/f"
umount "$v"
for f in many much; do debugfs -w -R "set_inode_field $f links_count 65000" "$work/image" >"$work/out" 2>&1 || die "debugfs"; done
both links 0 ''

say "FAT"
rm -f "$work/image"
mkfs.vfat -C "$work/image" 16384 >"$work/out" 2>&1 || die "mkfs.vfat"
both fat 0 codepage=437,iocharset=ascii

pairs 'full|links|fat'
done_testing
