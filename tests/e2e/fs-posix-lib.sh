# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names of lib.sh
# What fs-posix.sh and fs-posix-disk.sh share: the suite's program in a bundle, and the comparison of its two outputs.

# A bundle b whose root has the program as /fs-posix; its files are of the share /share.
suite_bundle() {
	local caps='["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_DAC_READ_SEARCH","CAP_FOWNER","CAP_FSETID","CAP_SETGID","CAP_SETUID","CAP_SETFCAP","CAP_SYS_CHROOT","CAP_MKNOD","CAP_SYS_ADMIN","CAP_KILL","CAP_SYS_RESOURCE"]'
	# The user's run on the host goes through it.
	chmod 755 "$work"
	bundle b busybox --args '["/fs-posix","/share"]' --set ".process.capabilities |= map_values($caps)"
	program fs-posix "$work/b/rootfs/fs-posix"
	cp "$work/b/config.json" "$work/config.good"
	: >"$work/all.txt"
}

# Prints what differs between two outputs and is not in the list; and what is in the list of the parts that ran, and does not differ.
# A line of the list is "PART: WHAT = REASON"; it stands for one line of output each.
compare() { # HOST GUEST
	cut -d: -f1 "$1" | sort -u | sed 's/^/^/; s/$/: /' >"$work/parts"
	sed -n '/^#/d; s/ = .*//p' "$top/tests/e2e/fs-posix.differs" | grep -f "$work/parts" | sort >"$work/listed" || true
	{ diff <(sed 's/ = /\t/' "$1") <(sed 's/ = /\t/' "$2") || true; } | sed -n 's/^[<>] //p' | cut -f1 | sort -u >"$work/differ"
	comm -3 "$work/listed" "$work/differ" | sed 's/^\t/unexpected: /; t; s/^/not any more: /'
}

# The outputs of the two sides must agree. FS_POSIX_KEEP names a directory that gets them.
agree() { # WHO NAME
	check "the suite ended on both" 2 "$(grep -cx end "$work/host.txt" "$work/guest.txt" | grep -c ':1$')"
	compare "$work/host.txt" "$work/guest.txt" >"$work/out"
	# What only root's run has is not missed in another's.
	if [ "$1" != root ]; then sed -i '/^not any more: /d' "$work/out"; fi
	diff "$work/host.txt" "$work/guest.txt" >"$work/err" || true
	if [ -n "${FS_POSIX_KEEP:-}" ]; then
		for side in host guest; do cp "$work/$side.txt" "$FS_POSIX_KEEP/$test_name.$2.$side.txt"; done
	fi
	[ ! -s "$work/out" ] || die "the outputs differ in other lines than fs-posix.differs has"
	cat "$work/host.txt" >>"$work/all.txt"
	ok "$(wc -l <"$work/host.txt") lines, $(wc -l <"$work/differ") of them with a reason to differ"
}

# Every pair of call and error of fs-posix.matrix whose line belongs to the parts that ran was seen, with that error.
pairs() { # PARTS (a regular expression)
	sed '/^#/d' "$top/tests/e2e/fs-posix.matrix" | grep -E "^[a-z0-9_]+ E[A-Z0-9]+ ($1): " >"$work/matrix" || die "no pair of $1"
	# CALL ERROR LINE -> LINE = ERROR
	sed -E 's/^[^ ]+ ([^ ]+) (.*)$/\2 = \1/; s/ENOTSUP$/EOPNOTSUPP/; s/EWOULDBLOCK$/EAGAIN/' "$work/matrix" | sort -u >"$work/wanted"
	sort -u "$work/all.txt" | comm -23 "$work/wanted" - >"$work/out"
	[ ! -s "$work/out" ] || die "pairs of fs-posix.matrix that no line shows"
	ok "$(wc -l <"$work/matrix") pairs of call and error are shown"
}
