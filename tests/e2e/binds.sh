#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bind mounts: directories and files, read-only, recursive, below a tmpfs of the guest, through symlinks that stay in the root.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox
root=$work/b/rootfs
mkdir -p "$work/src/sub" "$work/secret"
echo from-host >"$work/src/file"
echo one-file >"$work/one"
echo secret >"$work/secret/file"
mount -t tmpfs below "$work/src/sub"
mkdir "$work/plain"
mount -t ramfs plain "$work/plain"
echo no lists >"$work/plain/f"
echo on-submount >"$work/src/sub/f"
# A symlink whose target exists on the host as well: it must be taken inside of the root.
mkdir -p "$root$work/secret"
ln -s "$work/secret" "$root/link"
ln -s ../../../../../../../etc "$root/up"
ln -s loop "$root/loop"
trap 'umount -l "$work/strict" "$root" "$work/flags" 2>/dev/null || true; umount "$work/src/sub" "$work/plain"; cleanup' EXIT
snapshot_host | sort >"$work/host.before"

# Sets binds (a JSON array of mounts added to the others) and a script, and runs it.
case_() { # MOUNTS SCRIPT [JQ]
	cp "$top/tests/bundles/config.json" "$work/b/config.json"
	edit b ".mounts+=$1 | .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$2" '$s')] | ${3:-.}"
	run krun-oci run --bundle "$work/b" "$id"
	[ "$rc" = 0 ] || die "exit status $rc"
}

bind() { # DEST SOURCE OPTIONS_JSON
	echo "[{\"destination\":\"$1\",\"type\":\"bind\",\"source\":\"$2\",\"options\":$3}]"
}

case_ "$(bind /mnt/rw "$work/src" '["bind"]')" 'cat /mnt/rw/file; echo new >/mnt/rw/new; ls /mnt/rw/sub; ln /mnt/rw/new /mnt/rw/hard; mv /mnt/rw/hard /mnt/rw/moved; chmod 600 /mnt/rw/moved'
check "a directory, not its submounts" from-host "$(cat "$work/out")"
check "what the guest writes is on the host" "new 600" "$(cat "$work/src/new") $(stat -c %a "$work/src/moved")"
case_ "$(bind /mnt/r "$work/src" '["rbind"]')" 'cat /mnt/r/sub/f; echo back >/mnt/r/sub/g; stat -c %d /mnt/r /mnt/r/sub | uniq | wc -l; find /mnt/r -xdev -name f | wc -l; find /mnt/r -name f'
check "rbind: with its submounts, which are devices of their own" "on-submount 2 0 /mnt/r/sub/f back" "$(words "$work/out" "$work/src/sub/g")"
case_ "$(bind /mnt/other "$work/src/sub" '["bind"]')" 'stat -c %d / /mnt/other | uniq | wc -l; df /mnt/other | awk "END { print \$6 }"; cat /mnt/other/f'
check "another file system is another device before anybody has been there" "2 /mnt/other on-submount" "$(words "$work/out")"
user='.process.user={uid:1000,gid:1000}'
mkdir -m 770 "$work/src/sub/list"
setfacl -m u:1000:rx "$work/src/sub/list"
echo by list >"$work/src/sub/list/f"
case_ "$(bind /mnt/other "$work/src/sub" '["bind"]')" 'cat /mnt/other/list/f; touch /mnt/other/list/x 2>&1 | sed "s/.*: //"' "$user"
check "its access control lists count" "by list Permission denied" "$(words "$work/out")"
setfacl -m u:1000:- "$work/src/sub/list"
chmod 777 "$work/src/sub/list" # the list's mask
case_ "$(bind /mnt/other "$work/src/sub" '["bind"]')" 'cat /mnt/other/list/f 2>&1 | sed "s/.*: //"' "$user"
check "also where they take away" "Permission denied" "$(words "$work/out")"
case_ "$(jq -nc '$ARGS.positional | add' --jsonargs "$(bind /mnt/plain "$work/plain" '["bind"]')" "$(bind /etc/one "$work/plain/f" '["bind"]')")" 'cat /mnt/plain/f /etc/one; touch /mnt/plain/x 2>&1 | sed "s/.*: //"' "$user"
check "a file system that has none" "no lists no lists Permission denied" "$(words "$work/out")"
case_ "$(bind /mnt/ro "$work/src" '["rbind","ro"]')" 'cat /mnt/ro/file; touch /mnt/ro/x 2>&1; rm /mnt/ro/file 2>&1; awk "\$2 == \"/mnt/ro\" { print substr(\$4,1,2) }" /proc/mounts'
check "read-only" "from-host ro" "$(sed -n '1p;$p' "$work/out" | paste -sd' ')"
check "its errors" 2 "$(grep -c "Read-only file system" "$work/out")"
[ -e "$work/src/file" ] || die "a file of a read-only bind was removed"
case_ "$(bind /mnt/rro "$work/src" '["rbind","rro"]')" 'touch /mnt/rro/sub/x 2>&1; cat /mnt/rro/sub/f'
out_has "Read-only file system"
out_has on-submount
case_ "$(bind /etc/one "$work/one" '["bind"]')" 'cat /etc/one; echo changed >/etc/one; rm /etc/one 2>&1; true'
check "a file" one-file "$(head -n 1 "$work/out")"
check "written in place" changed "$(cat "$work/one")"
out_has "busy"
echo one-file >"$work/one"
case_ "$(bind /etc/hosts "$work/one" '["bind","ro"]')" 'cat /etc/hosts; echo x 2>&1 >/etc/hosts; true'
check "a read-only file over one of the image" one-file "$(head -n 1 "$work/out")"
check "is not written" one-file "$(cat "$work/one")"
case_ "[{\"destination\":\"/run/t\",\"type\":\"tmpfs\",\"source\":\"t\"},$(bind /run/t/below "$work/src" '["bind"]' | tr -d '[]' | sed 's/"options":"bind"/"options":["bind"]/')]" 'touch /run/t/mine; cat /run/t/below/file; ls /run/t; awk "\$2 ~ \"^/run/t\" { print \$3 }" /proc/mounts | uniq'
check "below a tmpfs of the guest" "from-host below mine tmpfs virtiofs" "$(paste -sd' ' "$work/out")"
case_ "$(bind /dev/shm/x "$work/one" '["bind"]')" 'cat /dev/shm/x'
check "a file below /dev/shm" one-file "$(cat "$work/out")"
case_ "$(bind /mnt/exec "$work/src" '["bind","noexec","nosuid","nodev"]')" 'cp /bin/busybox /mnt/exec/sh; /mnt/exec/sh true 2>&1; awk "\$2 == \"/mnt/exec\" { print \$4 }" /proc/mounts; rm /mnt/exec/sh'
out_has "ermission denied"
out_has "nosuid,nodev,noexec"

say "what the source's own mount forbids"
mkdir "$work/strict"
mount -t tmpfs -o nosuid,nodev,noexec strict "$work/strict"
cp "$root/bin/busybox" "$work/strict/busybox"
chmod 4755 "$work/strict/busybox"
mknod "$work/strict/null" c 1 3
case_ "$(bind /mnt/strict "$work/strict" '["bind"]')" 'awk "\$2 == \"/mnt/strict\" { print \$4 }" /proc/mounts | grep -o "nosuid,nodev,noexec"; /mnt/strict/busybox true 2>&1; cat /mnt/strict/null 2>&1; true'
check "holds in the guest" "nosuid,nodev,noexec 2" "$(head -n 1 "$work/out") $(grep -c "Permission denied" "$work/out")"
case_ "$(bind /mnt/strict "$work/strict" '["bind","exec"]')" '/mnt/strict/busybox echo runs'
check "but for what the config says" runs "$(cat "$work/out")"
umount "$work/strict"

mount --bind "$root" "$root"
mount -o remount,bind,nosuid,nodev,nosymfollow "$root"
case_ '[]' '' '.process.args=["/bin/busybox","awk","$5 == \"/\" { print $6 }","/proc/self/mountinfo"]'
check "and of the root's" rw,nosuid,nodev,relatime,nosymfollow "$(cat "$work/out")"
umount "$root"

say "flags of a file system"
case_ '[{"destination":"/run/f","type":"tmpfs","source":"t","options":["sync","dirsync","lazytime","size=1m"]}]' 'awk "\$2 == \"/run/f\" { print \$4 }" /proc/mounts'
check "a tmpfs has the flags that it is given" "sync dirsync lazytime size=1024k" "$(tr , '\n' <"$work/out" | grep -E '^(sync|dirsync|lazytime|size.*)$' | words -)"

say "flags, one by one: those of a mount, and of what is mounted below it"
mkdir "$work/flags"
mount -t tmpfs flags "$work/flags"
n=0 mounts=''
: >"$work/flags.want"
flags() { # OPTIONS OF_THE_MOUNT
	n=$((n + 1))
	mounts+=",{\"destination\":\"/mnt/f$n\",\"type\":\"bind\",\"source\":\"$work/flags\",\"options\":[\"${1//,/\",\"}\"]}"
	mounts+=",{\"destination\":\"/run/f$n\",\"type\":\"tmpfs\",\"source\":\"t\",\"options\":[\"${1//,/\",\"}\"]}"
	printf '%s %s\n' "/mnt/f$n" "$2" "/run/f$n" "$2" >>"$work/flags.want"
}
for o in atime nostrictatime relatime diratime symfollow rw suid dev exec; do flags "$o" rw,relatime; done
flags noatime rw,noatime
flags strictatime rw
flags nodiratime rw,nodiratime,relatime
flags nosymfollow rw,relatime,nosymfollow
flags ro,nosuid,nodev,noexec ro,nosuid,nodev,noexec,relatime
flags rnosuid,rnodev,rnoexec rw,nosuid,nodev,noexec,relatime
flags rnoatime rw,noatime
flags rstrictatime rw
flags rnodiratime,rnosymfollow rw,nodiratime,relatime,nosymfollow
flags rro ro,relatime
ln -s file "$work/flags/ln"
# shellcheck disable=SC2016 # awk's
case_ "[${mounts#,}]" 'awk "\$5 ~ \"^/(mnt|run)/f[0-9]\" { print \$5, \$6 }" /proc/self/mountinfo; cat /mnt/f13/ln 2>&1 | sed "s/.*: //"'
check "a link where none is followed" "Too many levels of symbolic links" "$(tail -n 1 "$work/out")"
sed -i '$d' "$work/out"
diff <(sort "$work/flags.want") <(sort "$work/out") >"$work/err" || die "flags"
ok "flags of $((n * 2)) mounts"
umount "$work/flags"

say "file systems that the host mounts"
mkdir "$work/upper" "$work/overlay"
overlay='[{"destination":"/mnt/o","type":"overlay","source":"o","options":["lowerdir='$work/src',upperdir='$work/upper',workdir='$work/overlay'"'
case_ "$overlay"',"nosuid"]}]' 'cat /mnt/o/file; echo over >/mnt/o/file; rm /mnt/o/new; ls /mnt/o; awk "\$2 == \"/mnt/o\" { print \$3, \$4 ~ /nosuid/ }" /proc/mounts | uniq'
check "an overlay" "from-host file moved sub virtiofs 1" "$(words "$work/out")"
check "what lies below is as before" "from-host new" "$(cat "$work/src/file" "$work/src/new" | words -)"
check "what was written is in its upper layer" "over c" "$(cat "$work/upper/file") $(stat -c %A "$work/upper/new" | cut -c 1)"
case_ "$overlay"',"ro"]}]' 'cat /mnt/o/file; touch /mnt/o/x 2>&1 || true'
out_has over
out_has "Read-only file system"

say "below a read-only root"
case_ "$(bind /mnt/w "$work/src" '["rbind"]' | sed 's/]$//'),$(bind /etc/one "$work/one" '["rbind"]' | sed 's/^\[//')" \
	'touch /x 2>&1; echo dir >/mnt/w/ro-new; echo sub >/mnt/w/sub/ro-new; echo changed >/etc/one; cat /etc/one' '.root.readonly=true'
check "the root cannot be written" "1 changed" "$(grep -c "Read-only file system" "$work/out") $(tail -n 1 "$work/out")"
check "a directory can, its submount, and a file" "dir sub changed" "$(cat "$work/src/ro-new") $(cat "$work/src/sub/ro-new") $(cat "$work/one")"
echo one-file >"$work/one"

say "symlinks"
rm -rf "$root/var/run"
mkdir -p "$root/var"
ln -s /run "$root/var/run"
case_ "[{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"t\"},$(bind /var/run/x "$work/src" '["rbind"]' | sed 's/^\[//')" \
	'touch /run/mine; cat /run/x/file; ls /var/run'
check "a symlink below a tmpfs of the guest" "from-host mine x" "$(paste -sd' ' "$work/out")"
case_ "$(bind /link/inner "$work/src" '["bind"]')" 'cat /link/inner/file; cat /link/file 2>/dev/null; true'
check "a symlink as destination is taken inside of the root" from-host "$(cat "$work/out")"
check "nothing was made in the host's directory of that name" file "$(ls "$work/secret")"
case_ "$(bind /up/inner "$work/src" '["bind"]')" 'cat /etc/inner/file'
check "'..' does not leave the root" from-host "$(cat "$work/out")"
[ ! -e /etc/inner ] || die "a directory was made in the host's /etc"
# Systems with systemd-resolved link it so; what the link leads to is made, on the host or in a tmpfs of the guest.
rm -f "$root/etc/resolv.conf"
ln -s ../run/systemd/resolve/resolv.conf "$root/etc/resolv.conf"
case_ "$(bind /etc/resolv.conf "$work/one" '["bind","ro"]')" 'cat /etc/resolv.conf; cat /run/systemd/resolve/resolv.conf'
check "a link to what is missing" "one-file one-file" "$(paste -sd' ' "$work/out")"
case_ "[{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"t\"},$(bind /etc/resolv.conf "$work/one" '["bind","ro"]' | sed 's/^\[//')" \
	'cat /etc/resolv.conf; stat -f -c %T /run/systemd'
check "a link to what is missing in a tmpfs of the guest" "one-file tmpfs" "$(paste -sd' ' "$work/out")"
ln -s self/x "$root/self"

say "what cannot be bound"
refused() { # TEXT MOUNTS
	cp "$top/tests/bundles/config.json" "$work/b/config.json"
	edit b ".mounts+=$2"
	run krun-oci run --bundle "$work/b" "$id"
	[ "$rc" = 1 ] || die "status $rc, not 1: $2"
	err_has "$1"
	check "one line" 1 "$(wc -l <"$work/err")"
}
refused "No such file or directory" "$(bind /mnt/x "$work/no-such" '["bind"]')"
refused "not a directory" "$(bind /etc/hosts "$work/src" '["bind"]')"
refused "ot a directory" "$(bind /etc/hosts/x "$work/src" '["bind"]')"
refused "irectory" "$(bind /home "$work/one" '["bind"]')"
refused 'mounts[7].type: "ext4"' '[{"destination":"/mnt","type":"ext4","source":"/dev/vda"}]'
refused 'mounts[7]' '[{"destination":"/mnt","type":"overlay","source":"o","options":["lowerdir=/no-such"]}]'
refused "symbolic links" "$(bind /self "$work/one" '["bind"]')"
refused "symbolic links" "$(bind /loop/x "$work/src" '["bind"]')"
host_is_as "$work/host.before"
done_testing
