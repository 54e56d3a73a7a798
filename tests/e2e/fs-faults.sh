#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What goes wrong below a container's files: a full disk, a quota, a disk that fails, a VMM that may open few files, and files that
# the host truncates, removes and replaces. The container must get the error that it would get without a VM, lose nothing that was
# written before, and go on.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Disks are filled and mounted here.
[ "${KRUN_TESTHOST_INSIDE:-}" = 1 ] || skip "this is no test host"
bundle b busybox
for p in fs-many fs-faults; do program $p "$work/b/rootfs/bin/$p"; done
cp "$work/b/config.json" "$work/config.good"
v=$work/v
mkdir "$v"
loop='' dm=''
# shellcheck disable=SC2317 # called by the trap
undo() {
	umount -l "$v" 2>/dev/null || true
	if [ -n "$dm" ]; then dmsetup remove --force "$dm" >/dev/null 2>&1 || true; fi
	if [ -n "$loop" ]; then losetup -d "$loop" 2>/dev/null || true; fi
	cleanup
}
trap undo EXIT

guest() { # SCRIPT [JQ]
	cp "$work/config.good" "$work/b/config.json"
	edit b ".mounts+=[{\"destination\":\"/v\",\"type\":\"bind\",\"source\":\"$v\",\"options\":[\"bind\"]}]
		| .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$1" '$s')] | ${2:-.}"
}

image() { # MiB [OPTION of mkfs]...
	rm -f "$work/image"
	truncate -s "$1M" "$work/image"
	mkfs.ext4 -q -F "${@:2}" "$work/image" 2>"$work/err" || die "mkfs.ext4"
	loop=$(losetup -f --show "$work/image") || die "no loop device"
}

say "a full disk"
image 8 -m 0
mount "$loop" "$v"
guest 'echo before >/v/kept; dd if=/dev/zero of=/v/big bs=64k 2>&1 | grep -o "No space left on device"; mkdir /v/d 2>&1; echo text >/v/small 2>&1; cat /v/kept
	rm /v/big; echo after >/v/small && cat /v/small; dd if=/dev/urandom of=/v/rnd bs=64k count=16 2>/dev/null; md5sum </v/rnd; touch /root-works && echo root'
run krun-oci run --bundle "$work/b" "$id"
check "the container goes on" 0 "$rc"
check "ENOSPC, and all is well when there is room again" "No space left on device before after $(md5sum <"$v/rnd" | cut -d' ' -f1) root" \
	"$(grep -vE '^(mkdir|sh):' "$work/out" | sed 's/  -$//' | paste -sd' ')"
check "the host sees what was written before and after" "before after" "$(words "$v/kept" "$v/small")"
umount "$v"

if long; then
	say "blocks reserved for root"
	losetup -d "$loop"
	image 8 -m 10
	mount "$loop" "$v"
	chmod 1777 "$v"
	reserved=$(($(stat -f -c %f "$v") - $(stat -f -c %a "$v")))
	guest 'dd if=/dev/zero of=/v/mine bs=64k 2>&1 | grep -o "No space left on device"' '.process.user={uid:1000,gid:1000}'
	run krun-oci run --bundle "$work/b" "$id"
	check "any user of the guest takes them, as docs/files.md says" "0 No space left on device 1" \
		"$rc $(cat "$work/out") $(($(stat -f -c %f "$v") < reserved / 2))"
	umount "$v"
fi

say "a quota"
losetup -d "$loop"
image 32 -O quota
modprobe quota_v2
mount -o usrquota "$loop" "$v"
chmod 1777 "$v"
# quotactl(2): Q_SETQUOTA for user 1000, a hard limit of 2 MiB of blocks
perl -e 'my $q = pack("Q8 L x4", 2048, 2048, 0, 0, 0, 0, 0, 0, 1); syscall(179, 0x80000800, $ARGV[0], 1000, $q) == 0 or die "$!\n"' "$loop" 2>"$work/err" || die "quotactl"
guest 'dd if=/dev/zero of=/v/mine bs=64k count=64 2>&1 | grep -oi "quota exceeded"; ls -l /v/mine | awk "{ print (\$5 > 1000000 && \$5 <= 2097152) }"; rm /v/mine; echo small >/v/mine && cat /v/mine' \
	'.process.user={uid:1000,gid:1000}'
run krun-oci run --bundle "$work/b" "$id"
check "EDQUOT at the limit of the guest's user" "0 uota exceeded 1 small" "$rc $(paste -sd' ' "$work/out" | sed 's/[Qq]uota/uota/')"
umount "$v"

say "a disk that fails"
losetup -d "$loop"
image 16
dm=krun-faults-$$
sectors=$(blockdev --getsz "$loop")
dmsetup create "$dm" --table "0 $sectors linear $loop 0" 2>"$work/err" || die "dmsetup create"
mount "/dev/mapper/$dm" "$v" 2>"$work/err" || { dmsetup mknodes; mount "/dev/mapper/$dm" "$v"; }
head -c 1M /dev/urandom >"$v/data"
echo cached >"$v/cached"
mkdir "$v/cold"
touch "$v/cold/f" "$v/attr"
ln -s "$(printf '%0100d' 1)" "$v/link"
setfattr -n user.large -v "$(printf '%0700d' 1)" "$v/attr" 2>"$work/err" || die "setfattr"
sync -f "$v"
umount "$v"
# The calls come before ext4 writes its journal, which is to be every five seconds: it is read-only once that has failed.
mount -o commit=600 "/dev/mapper/$dm" "$v"
guest 'cat /v/cached; ls /v >/dev/null; touch /v/ready; until [ -e /go ]; do usleep 50000; done
	fs-faults disk /v; echo alive >/alive; cat /alive'
created "$id" b
[ "$rc" = 0 ] || die "create: status $rc"
status 0 krun-oci start "$id"
wait_for 60 test -e "$v/ready"
dmsetup suspend "$dm"
dmsetup reload "$dm" --table "0 $sectors error"
dmsetup resume "$dm"
touch "$work/b/rootfs/go"
check "a container whose disk failed ends by itself" 0 "$(exit_of "$id")"
check "it has its other files, from the first line to the last" "cached alive" "$(sed -n '1p; $p' "$work/$id.out" | paste -sd' ')"
check "EIO where it failed, and nowhere else" "6 EIO EIO SIGBUS EIO EIO EIO EIO 0 EIO" "$(sed -n '1d; $d; s/.* = //p' "$work/$id.out" | paste -sd' ')"
# The write has ended the file system's journal, so that natively it is another error then.
run "$work/b/rootfs/bin/fs-faults" disk "$v"
check "natively it is the same" "$(sed '1d; $d' "$work/$id.out" | head -n 8)" "$(head -n 8 "$work/out")"
run krun-oci delete --force "$id"
umount -l "$v"
dmsetup remove --force "$dm" || true
losetup -d "$loop"
loop='' dm=''

say "few open files"
few() { # FILES COMMAND...
	prlimit --nofile="$1:$1" setpriv --bounding-set=-sys_resource "${@:2}"
}
guest 'fs-many /v 1000; ls /bin | wc -l' '.process.rlimits=[{"type":"RLIMIT_NOFILE","hard":4096,"soft":4096}]'
run few 512 krun-oci run --bundle "$work/b" "$id"
check "ENFILE when the VMM has no more, and all is well when some are closed" "0 23 fine" "$rc $(head -n 2 "$work/out" | paste -sd' ')"
if long; then
	run krun-oci run --bundle "$work/b" "$id"
	check "there are enough otherwise" "0 enough fine" "$rc $(head -n 2 "$work/out" | paste -sd' ')"
fi
rm -f "$v"/f*

say "the host's hand"
# What the host does to the files of $v, as soon as "ready" is there.
things() {
	rm -rf "${v:?}"/*
	head -c 100000 /dev/zero | tr '\0' x >"$v/cut"
	for f in removed replaced typed; do echo "$f by nobody" >"$v/$f"; done
	mkdir "$v/gone" "$v/moved"
	echo inside | tee "$v/gone/f" >"$v/moved/f"
}

hand() {
	wait_for 120 test -e "$v/ready"
	truncate -s 10 "$v/cut"
	rm "$v/removed" "$v/typed"
	mkdir "$v/typed"
	echo new >"$v/replaced.new"
	mv "$v/replaced.new" "$v/replaced"
	rm -r "$v/gone"
	mv "$v/moved" "$v/moved-now"
	touch "$v/done"
}

things
guest 'fs-faults hand /v; echo $?; cd /v; echo fine >fine; cat fine'
created "$id" b
[ "$rc" = 0 ] || die "create: status $rc"
status 0 krun-oci start "$id"
hand
check "the container ends by itself" 0 "$(exit_of "$id")"
check "it went on" "0 fine" "$(tail -n 2 "$work/$id.out" | paste -sd' ')"
run krun-oci delete --force "$id"
check "what was written behind the end is there" "60004 more" "$(stat -c %s "$v/cut") $(tail -c 4 "$v/cut")"
things
"$work/b/rootfs/bin/fs-faults" hand "$v" >"$work/native.txt" &
native=$!
hand
wait $native || die "fs-faults natively"
head -n -2 "$work/$id.out" | diff "$work/native.txt" - >"$work/out" || die "cut, removed, replaced, moved: not as natively"
ok "cut, removed, replaced, moved: $(wc -l <"$work/native.txt") lines as natively, by the open file, by the name and in mappings"
done_testing
