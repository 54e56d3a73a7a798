#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What goes wrong below a container's files: a full disk, a quota, a disk that fails, a VMM that may open few files, and files that
# the host truncates, removes and replaces. The container must get the error that it would get without a VM, lose nothing that was
# written before, and go on.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Disks are filled and mounted here.
[ "${KRUN_TESTHOST_INSIDE:-}" = 1 ] || skip "this is no test host"
bundle b busybox
gcc -O1 -static -o "$work/b/rootfs/bin/fs-many" "$top/tests/e2e/fs-many.c" 2>"$work/err" || die "cannot compile tests/e2e/fs-many.c"
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
sync -f "$v"
umount "$v"
mount "/dev/mapper/$dm" "$v"
guest 'cat /v/cached; ls /v >/dev/null; touch /v/ready; until [ -e /go ]; do usleep 50000; done
	cat /v/data 2>&1 >/dev/null | grep -oi "i/o error\|input/output error"; dd if=/dev/zero of=/v/new bs=4k count=1 conv=fsync >/tmp/dd 2>&1; echo $?; echo alive >/alive; cat /alive'
created "$id" b
[ "$rc" = 0 ] || die "create: status $rc"
status 0 krun-oci start "$id"
wait_for 60 test -e "$v/ready"
dmsetup suspend "$dm"
dmsetup reload "$dm" --table "0 $sectors error"
dmsetup resume "$dm"
touch "$work/b/rootfs/go"
check "a container whose disk failed ends by itself" 0 "$(exit_of "$id")"
check "EIO where it failed, and nowhere else" "cached i/o error 1 alive" "$(paste -sd' ' "$work/$id.out" | sed 's/[Ii]nput\/output/i\/o/; s/I\/O/i\/o/')"
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
run krun-oci run --bundle "$work/b" "$id"
check "there are enough otherwise" "0 enough fine" "$rc $(head -n 2 "$work/out" | paste -sd' ')"
rm -f "$v"/f*

say "the host's hand"
head -c 100000 /dev/zero | tr '\0' x >"$v/cut"
echo old >"$v/replaced"
echo kept-open >"$v/removed"
mkdir "$v/dir"
echo inside >"$v/dir/f"
guest 'exec 3<>/v/cut 4</v/removed 5</v/replaced; cd /v/dir; stat -c %s /v/cut; touch /v/open; until [ -e /v/done ]; do usleep 50000; done
	until [ "$(stat -c %s /v/cut)" = 10 ]; do usleep 50000; done; wc -c <&3; echo more >&3
	cat <&4; until ! cat /v/removed 2>/dev/null; do usleep 50000; done; cat /v/removed 2>&1 | grep -o "No such file.*"
	cat <&5; until [ "$(cat /v/replaced)" = new ]; do usleep 50000; done; cat /v/replaced
	until ! ls /v/dir >/dev/null 2>&1; do usleep 50000; done; echo x 2>/dev/null >/v/dir/g || echo no-dir; echo fine >/v/fine; cat /v/fine'
created "$id" b
[ "$rc" = 0 ] || die "create: status $rc"
status 0 krun-oci start "$id"
wait_for 60 test -e "$v/open"
truncate -s 10 "$v/cut"
rm "$v/removed"
echo new >"$v/replaced.new"
mv "$v/replaced.new" "$v/replaced"
rm -r "$v/dir"
touch "$v/done"
check "the container ends by itself" 0 "$(exit_of "$id")"
check "truncated, removed, replaced: by the open file and by the name" "100000 10 kept-open No such file or directory old new no-dir fine" "$(paste -sd' ' "$work/$id.out")"
check "what was written afterwards is there" "xxxxxxxxxxmore" "$(cat "$v/cut")"
run krun-oci delete --force "$id"
done_testing
