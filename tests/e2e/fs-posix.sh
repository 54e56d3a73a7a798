#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The file system suite: each call with each error of its manual page, as root and as an ordinary user, on a directory of the host
# and on the root of a guest that lies in the same file system; then binds, read-only ones, and files that the host has marked
# immutable and append-only. Both must print the same but for what fs-posix.differs lists, and each pair of fs-posix.matrix must be
# among it. Binds and marks as an ordinary user only with LONG.
# timeout: 1500
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=fs-posix-lib.sh
. "$(dirname "$0")/fs-posix-lib.sh"

suite_bundle
b=$work/b/rootfs
# shellcheck disable=SC2317 # called by the trap
undo() {
	umount "$work/native/tree" "$work/native/vol" 2>/dev/null || true
	chattr -R -i -a "$work" 2>/dev/null || true
	cleanup
}
trap undo EXIT

# What the suite works in; its files are the user's.
fresh() { # UID DIR
	rm -rf "$2"
	mkdir "$2"
	chown "$1:$1" "$2"
}

in_guest() { # UID [JQ]
	cp "$work/config.good" "$work/b/config.json"
	edit b ".process.user={uid:$1,gid:$1} | ${2:-.}"
	run krun-oci run --bundle "$work/b" "$id"
	[ "$rc" = 0 ] || die "fs-posix in the guest: status $rc"
	mv "$work/out" "$work/guest.txt"
}

on_host() { # UID [PART]...
	run setpriv --reuid "$1" --regid "$1" --clear-groups "$b/fs-posix" "$work/native" "${@:2}"
	[ "$rc" = 0 ] || die "fs-posix on the host: status $rc"
	mv "$work/out" "$work/host.txt"
}

for who in 0 1000; do
	say "as $who"
	fresh $who "$work/native"
	fresh $who "$b/share"
	in_guest $who
	on_host $who
	agree "$([ $who != 0 ] || echo root)" $who
done

# Beside what is bound, "fixed", whose files are marked when the program asks for it.
bound() { # UID DIR
	fresh "$1" "$2"
	rm -rf "$work/src" "$work/vol"
	mkdir -p "$2"/tree "$2"/vol "$2"/fixed/immdir "$2"/fixed/appdir "$work"/src/d "$work/vol"
	echo text | tee "$work/src/f" >"$work/vol/f"
	ln -s f "$work/src/ln"
	for f in imm app immdir/f appdir/f; do head -c 100 /dev/zero | tr '\0' x >"$2/fixed/$f"; done
	chown -R "$1:$1" "$2" "$work/src" "$work/vol"
}

marks() { # UID DIR
	for _ in {1..6000}; do
		[ ! -e "$2/ask" ] || break
		sleep 0.05
	done
	chattr +i "$2/fixed/imm" "$2/fixed/immdir" && chattr +a "$2/fixed/app" "$2/fixed/appdir" && touch "$2/told"
}

whose=(0)
! long || whose+=(1000)
for who in "${whose[@]}"; do
	say "binds and marks, as $who"
	bound "$who" "$b/share"
	marks "$who" "$b/share" &
	marker=$!
	in_guest "$who" ".process.args+=[\"binds\"] | .linux.readonlyPaths=[] | .mounts+=[
		{destination:\"/share/tree\",type:\"bind\",source:\"$work/src\",options:[\"bind\",\"ro\"]},
		{destination:\"/share/vol\",type:\"bind\",source:\"$work/vol\",options:[\"bind\"]}]"
	wait $marker || die "chattr"
	chattr -R -i -a "$b/share/fixed"
	bound "$who" "$work/native"
	mount --bind "$work/src" "$work/native/tree"
	mount -o remount,bind,ro "$work/native/tree"
	mount --bind "$work/vol" "$work/native/vol"
	marks "$who" "$work/native" &
	marker=$!
	on_host "$who" binds
	wait $marker || die "chattr"
	umount "$work/native/tree" "$work/native/vol"
	chattr -R -i -a "$work/native/fixed"
	agree "$([ "$who" != 0 ] || echo root)" "binds-$who"
done

# A line that differs and is not listed must be seen, and a pair that is not shown.
sed 's/^binds: open: an immutable file = .*/binds: open: an immutable file = EPERM/' "$work/host.txt" >"$work/lie.txt"
compare "$work/host.txt" "$work/lie.txt" | grep -q '^unexpected: binds: open: an immutable file$' || die "a difference is not found"
ok "a difference is found"
pairs "names|move|attr|xattr|data|space|locks|cross|open|map|user|mount${LONG:+|binds}"
sed -i '/^names: open: EISDIR = /d' "$work/all.txt"
if (pairs names) >"$work/lie.txt"; then die "a pair that is not shown is not missed"; fi
ok "a pair that is not shown is missed"
done_testing
