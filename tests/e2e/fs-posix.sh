#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The file system suite: each call with each error of its manual page, as root and as an ordinary user, on a directory of the host
# and on the root of a guest that lies in the same file system. Both must print the same but for what fs-posix.differs lists.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# The user's run on the host goes through it.
chmod 755 "$work"
caps='["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_DAC_READ_SEARCH","CAP_FOWNER","CAP_FSETID","CAP_SETGID","CAP_SETUID","CAP_SETFCAP","CAP_SYS_CHROOT","CAP_MKNOD","CAP_SYS_ADMIN","CAP_KILL","CAP_SYS_RESOURCE"]'
bundle b busybox --args '["/fs-posix","/share"]' --set ".process.capabilities |= map_values($caps)"
gcc -D_GNU_SOURCE -O2 -static -o "$work/b/rootfs/fs-posix" "$top"/tests/e2e/fs-posix*.c 2>"$work/err" || die "cannot compile fs-posix*.c"

# Prints what differs between two outputs and is not in the list; and what is in the list and does not differ.
# A line of the list is "PART: WHAT = REASON"; it stands for one line of output each.
compare() { # HOST GUEST
	sed -n '/^#/d; s/ = .*//p' "$top/tests/e2e/fs-posix.differs" | sort >"$work/listed"
	{ diff <(sed 's/ = /\t/' "$1") <(sed 's/ = /\t/' "$2") || true; } | sed -n 's/^[<>] //p' | cut -f1 | sort -u >"$work/differ"
	comm -3 "$work/listed" "$work/differ" | sed 's/^\t/unexpected: /; t; s/^/not any more: /'
}

for who in 0:0 1000:1000; do
	say "as ${who%:*}"
	rm -rf "$work/native" "$work/b/rootfs/share"
	mkdir "$work/native" "$work/b/rootfs/share"
	chown "$who" "$work/native" "$work/b/rootfs/share"
	edit b ".process.user={uid:${who%:*},gid:${who#*:}}"
	run krun-oci run --bundle "$work/b" "$id"
	[ "$rc" = 0 ] || die "fs-posix in the guest: status $rc"
	mv "$work/out" "$work/guest.txt"
	run setpriv --reuid "${who%:*}" --regid "${who#*:}" --clear-groups "$work/b/rootfs/fs-posix" "$work/native"
	[ "$rc" = 0 ] || die "fs-posix on the host: status $rc"
	mv "$work/out" "$work/host.txt"
	check "the suite ended on both" 2 "$(grep -cx end "$work/host.txt" "$work/guest.txt" | grep -c ':1$')"
	compare "$work/host.txt" "$work/guest.txt" >"$work/out"
	# What only root's run has is not missed in the other's.
	if [ "$who" != 0:0 ]; then sed -i '/^not any more: /d' "$work/out"; fi
	diff "$work/host.txt" "$work/guest.txt" >"$work/err" || true
	cp "$work/host.txt" "$work/guest.txt" "${FS_POSIX_KEEP:-$work}/" 2>/dev/null || true
	[ ! -s "$work/out" ] || die "the outputs differ in other lines than fs-posix.differs has"
	ok "$(wc -l <"$work/host.txt") lines, $(wc -l <"$work/differ") of them with a reason to differ"
done
# A line that differs and is not listed must be seen.
sed 's/^names: open: EISDIR = .*/names: open: EISDIR = EPERM/' "$work/host.txt" >"$work/lie.txt"
compare "$work/host.txt" "$work/lie.txt" | grep -q '^unexpected: names: open: EISDIR$' || die "a difference is not found"
ok "a difference is found"
done_testing
