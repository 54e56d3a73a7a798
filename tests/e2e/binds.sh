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

# Cases share a container: each has mounts (a JSON array, of which others may go before) and a script, whose output is in /out/NAME.
mounts='' scripts=''
mounted() { # MOUNTS
	mounts+=,${1:1:-1}
}
case_() { # NAME MOUNTS SCRIPT
	mounted "$2"
	scripts+="( $3"$'\n'") >/out/$1"$'\n'
}
run_cases() { # [JQ]
	rm -rf "$root/out"
	mkdir -m 777 "$root/out"
	cp "$top/tests/bundles/config.json" "$work/b/config.json"
	edit b ".mounts+=[${mounts#,}] | .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$scripts exit 0" '$s')] | ${1:-.}"
	run krun-oci run --bundle "$work/b" "$id"
	[ "$rc" = 0 ] || die "exit status $rc"
	mounts='' scripts=''
}
shown() { words "$root/out/$1"; } # NAME
has() { # NAME TEXT
	grep -qF -- "$2" "$root/out/$1" || die "$1 does not hold: $2: $(shown "$1")"
	ok "$1 holds: $2"
}

bind() { # DEST SOURCE OPTIONS_JSON
	echo "[{\"destination\":\"$1\",\"type\":\"bind\",\"source\":\"$2\",\"options\":$3}]"
}
tmpfs() { # DEST
	echo "[{\"destination\":\"$1\",\"type\":\"tmpfs\",\"source\":\"t\"}]"
}

# The first of all: nobody has been there.
case_ other "$(bind /mnt/other "$work/src/sub" '["bind"]')" 'stat -c %d / /mnt/other | uniq | wc -l; df /mnt/other | awk "END { print \$6 }"; cat /mnt/other/f'
case_ rw "$(bind /mnt/rw "$work/src" '["bind"]')" 'cat /mnt/rw/file; echo new >/mnt/rw/new; ls /mnt/rw/sub; ln /mnt/rw/new /mnt/rw/hard; mv /mnt/rw/hard /mnt/rw/moved; chmod 600 /mnt/rw/moved'
case_ r "$(bind /mnt/r "$work/src" '["rbind"]')" 'cat /mnt/r/sub/f; echo back >/mnt/r/sub/g; stat -c %d /mnt/r /mnt/r/sub | uniq | wc -l; find /mnt/r -xdev -name f | wc -l; find /mnt/r -name f'
case_ ro "$(bind /mnt/ro "$work/src" '["rbind","ro"]')" 'cat /mnt/ro/file; touch /mnt/ro/x 2>&1; rm /mnt/ro/file 2>&1; awk "\$2 == \"/mnt/ro\" { print substr(\$4,1,2) }" /proc/mounts'
case_ rro "$(bind /mnt/rro "$work/src" '["rbind","rro"]')" 'touch /mnt/rro/sub/x 2>&1; cat /mnt/rro/sub/f'
echo one-file >"$work/other-one"
case_ file "$(bind /etc/one "$work/one" '["bind"]')" 'cat /etc/one; echo changed >/etc/one; rm /etc/one 2>&1'
case_ rofile "$(bind /etc/hosts "$work/other-one" '["bind","ro"]')" 'cat /etc/hosts; echo x 2>&1 >/etc/hosts'
mounted "$(tmpfs /run/t)"
case_ below "$(bind /run/t/below "$work/src" '["bind"]')" 'touch /run/t/mine; cat /run/t/below/file; ls /run/t; awk "\$2 ~ \"^/run/t\" { print \$3 }" /proc/mounts | uniq'
case_ shm "$(bind /dev/shm/x "$work/other-one" '["bind"]')" 'cat /dev/shm/x'
case_ exec "$(bind /mnt/exec "$work/src" '["bind","noexec","nosuid","nodev"]')" 'cp /bin/busybox /mnt/exec/sh; /mnt/exec/sh true 2>&1; awk "\$2 == \"/mnt/exec\" { print \$4 }" /proc/mounts; rm /mnt/exec/sh'
# what the source's own mount forbids
mkdir "$work/strict"
mount -t tmpfs -o nosuid,nodev,noexec strict "$work/strict"
cp "$root/bin/busybox" "$work/strict/busybox"
chmod 4755 "$work/strict/busybox"
mknod "$work/strict/null" c 1 3
case_ strict "$(bind /mnt/strict "$work/strict" '["bind"]')" 'awk "\$2 == \"/mnt/strict\" { print \$4 }" /proc/mounts | grep -o "nosuid,nodev,noexec"; /mnt/strict/busybox true 2>&1; cat /mnt/strict/null 2>&1'
case_ strict-exec "$(bind /mnt/strict-exec "$work/strict" '["bind","exec"]')" '/mnt/strict-exec/busybox echo runs'
case_ tmpfs '[{"destination":"/run/f","type":"tmpfs","source":"t","options":["sync","dirsync","lazytime","size=1m"]}]' 'awk "\$2 == \"/run/f\" { print \$4 }" /proc/mounts'
# flags, one by one: those of a mount, and of what is mounted below it
mkdir "$work/flags"
mount -t tmpfs flags "$work/flags"
n=0 flagged=''
: >"$work/flags.want"
flags() { # OPTIONS OF_THE_MOUNT
	n=$((n + 1))
	flagged+=",{\"destination\":\"/mnt/f$n\",\"type\":\"bind\",\"source\":\"$work/flags\",\"options\":[\"${1//,/\",\"}\"]}"
	flagged+=",{\"destination\":\"/run/f$n\",\"type\":\"tmpfs\",\"source\":\"t\",\"options\":[\"${1//,/\",\"}\"]}"
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
case_ flags "[${flagged#,}]" 'awk "\$5 ~ \"^/(mnt|run)/f[0-9]\" { print \$5, \$6 }" /proc/self/mountinfo; cat /mnt/f13/ln 2>&1 | sed "s/.*: //"'
# file systems that the host mounts
mkdir -p "$work/low/sub" "$work/upper" "$work/overlay" "$work/upper2" "$work/overlay2"
echo from-host >"$work/low/file"
echo new >"$work/low/new"
overlay() { # DEST UPPER WORK OPTION
	echo '[{"destination":"'"$1"'","type":"overlay","source":"o","options":["lowerdir='"$work/low,upperdir=$work/$2,workdir=$work/$3"'","'"$4"'"]}]'
}
case_ overlay "$(overlay /mnt/o upper overlay nosuid)" 'cat /mnt/o/file; echo over >/mnt/o/file; rm /mnt/o/new; ls /mnt/o; awk "\$2 == \"/mnt/o\" { print \$3, \$4 ~ /nosuid/ }" /proc/mounts | uniq'
case_ overlay-ro "$(overlay /mnt/oro upper2 overlay2 ro)" 'cat /mnt/oro/file; touch /mnt/oro/x 2>&1'
run_cases
umount "$work/strict" "$work/flags"
check "another file system is another device before anybody has been there" "2 /mnt/other on-submount" "$(shown other)"
check "a directory, not its submounts" from-host "$(shown rw)"
check "what the guest writes is on the host" "new 600" "$(cat "$work/src/new") $(stat -c %a "$work/src/moved")"
check "rbind: with its submounts, which are devices of their own" "on-submount 2 0 /mnt/r/sub/f back" "$(words "$root/out/r" "$work/src/sub/g")"
check "read-only" "from-host ro" "$(sed -n '1p;$p' "$root/out/ro" | paste -sd' ')"
check "its errors" 2 "$(grep -c "Read-only file system" "$root/out/ro")"
[ -e "$work/src/file" ] || die "a file of a read-only bind was removed"
has rro "Read-only file system"
has rro on-submount
check "a file" one-file "$(head -n 1 "$root/out/file")"
check "written in place" changed "$(cat "$work/one")"
has file busy
echo one-file >"$work/one"
check "a read-only file over one of the image" one-file "$(head -n 1 "$root/out/rofile")"
check "is not written" one-file "$(cat "$work/other-one")"
check "below a tmpfs of the guest" "from-host below mine tmpfs virtiofs" "$(shown below)"
check "a file below /dev/shm" one-file "$(shown shm)"
has exec "ermission denied"
has exec "nosuid,nodev,noexec"
check "what the source's own mount forbids holds in the guest" "nosuid,nodev,noexec 2" "$(head -n 1 "$root/out/strict") $(grep -c "Permission denied" "$root/out/strict")"
check "but for what the config says" runs "$(shown strict-exec)"
check "a tmpfs has the flags that it is given" "sync dirsync lazytime size=1024k" "$(tr , '\n' <"$root/out/tmpfs" | grep -E '^(sync|dirsync|lazytime|size.*)$' | words -)"
check "a link where none is followed" "Too many levels of symbolic links" "$(tail -n 1 "$root/out/flags")"
diff <(sort "$work/flags.want") <(sed '$d' "$root/out/flags" | sort) >"$work/err" || die "flags"
ok "flags of $((n * 2)) mounts"
check "an overlay" "from-host file sub virtiofs 1" "$(shown overlay)"
check "what lies below is as before" "from-host new" "$(cat "$work/low/file" "$work/low/new" | words -)"
check "what was written is in its upper layer" "over c" "$(cat "$work/upper/file") $(stat -c %A "$work/upper/new" | cut -c 1)"
has overlay-ro from-host
has overlay-ro "Read-only file system"

say "what the mount of the root forbids"
mount --bind "$root" "$root"
mount -o remount,bind,nosuid,nodev,nosymfollow "$root"
cp "$top/tests/bundles/config.json" "$work/b/config.json"
edit b '.process.args=["/bin/busybox","awk","$5 == \"/\" { print $6 }","/proc/self/mountinfo"]'
run krun-oci run --bundle "$work/b" "$id"
check "holds in the guest" "0 rw,nosuid,nodev,relatime,nosymfollow" "$rc $(cat "$work/out")"
umount "$root"

say "an ordinary user"
mkdir -m 770 "$work/src/sub/list" "$work/src/sub/none"
setfacl -m u:1000:rx "$work/src/sub/list"
setfacl -m u:1000:- "$work/src/sub/none"
chmod 777 "$work/src/sub/none" # the list's mask
echo by list | tee "$work/src/sub/list/f" >"$work/src/sub/none/f"
case_ list "$(bind /mnt/other "$work/src/sub" '["bind"]')" 'cat /mnt/other/list/f; touch /mnt/other/list/x 2>&1 | sed "s/.*: //"; cat /mnt/other/none/f 2>&1 | sed "s/.*: //"'
mounted "$(bind /mnt/plain "$work/plain" '["bind"]')"
case_ plain "$(bind /etc/one "$work/plain/f" '["bind"]')" 'cat /mnt/plain/f /etc/one; touch /mnt/plain/x 2>&1 | sed "s/.*: //"'
# Systems with systemd-resolved link it so; what the link leads to is made, on the host or in a tmpfs of the guest.
rm -f "$root/etc/resolv.conf"
ln -s ../run/systemd/resolve/resolv.conf "$root/etc/resolv.conf"
case_ resolv "$(bind /etc/resolv.conf "$work/one" '["bind","ro"]')" 'cat /etc/resolv.conf; cat /run/systemd/resolve/resolv.conf'
run_cases '.process.user={uid:1000,gid:1000}'
check "access control lists count, also where they take away" "by list Permission denied Permission denied" "$(shown list)"
check "a file system that has none" "no lists no lists Permission denied" "$(shown plain)"
check "a link to what is missing" "one-file one-file" "$(shown resolv)"

say "below a read-only root"
mkdir -m 777 "$work/said"
mounted "$(bind /out "$work/said" '["bind"]')"
mounted "$(bind /mnt/w "$work/src" '["rbind"]')"
case_ ro-root "$(bind /etc/one "$work/one" '["rbind"]')" 'touch /x 2>&1; echo dir >/mnt/w/ro-new; echo sub >/mnt/w/sub/ro-new; echo changed >/etc/one; cat /etc/one'
run_cases '.root.readonly=true'
check "the root cannot be written" "1 changed" "$(grep -c "Read-only file system" "$work/said/ro-root") $(tail -n 1 "$work/said/ro-root")"
check "a directory can, its submount, and a file" "dir sub changed" "$(cat "$work/src/ro-new") $(cat "$work/src/sub/ro-new") $(cat "$work/one")"
echo one-file >"$work/one"

say "symlinks"
rm -rf "$root/var/run"
mkdir -p "$root/var"
ln -s /run "$root/var/run"
mounted "$(tmpfs /run)"
case_ run "$(bind /var/run/x "$work/src" '["rbind"]')" 'touch /run/mine; cat /run/x/file; ls /var/run'
case_ link "$(bind /link/inner "$work/src" '["bind"]')" 'cat /link/inner/file; cat /link/file 2>/dev/null'
case_ up "$(bind /up/inner "$work/src" '["bind"]')" 'cat /etc/inner/file'
case_ resolv "$(bind /etc/resolv.conf "$work/one" '["bind","ro"]')" 'cat /etc/resolv.conf; stat -f -c %T /run/systemd'
run_cases
check "a symlink below a tmpfs of the guest" "from-host mine systemd x" "$(shown run)"
check "a symlink as destination is taken inside of the root" from-host "$(shown link)"
check "nothing was made in the host's directory of that name" file "$(ls "$work/secret")"
check "'..' does not leave the root" from-host "$(shown up)"
[ ! -e /etc/inner ] || die "a directory was made in the host's /etc"
check "a link to what is missing in a tmpfs of the guest" "one-file tmpfs" "$(shown resolv)"
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
