#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `spec` of other runtimes (and, with LONG, of this one) writes runs as it is, but for the terminal. terminal.sh tries this one's.
# timeout: 360
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
bundle b busybox
runtimes=(crun runc)
! long || runtimes+=(krun-oci)
for rt in "${runtimes[@]}"; do
	command -v "$rt" >/dev/null || die "no $rt (tests/deps e2e installs it)"
	rm "$work/b/config.json"
	(cd "$work/b" && "$rt" spec) || die "$rt spec"
	edit b '.process.terminal=false'
	echo 'echo "$0 runs as PID $$ on $(hostname)"; id -u; exit 7' >"$work/script"
	rc=0
	krun-oci run --bundle "$work/b" "$id" <"$work/script" >"$work/out" 2>"$work/err" || rc=$?
	check "$rt spec: exit status" 7 "$rc"
	grep -q "^sh runs as PID 1 on " "$work/out" || die "$rt spec: no word of the shell"
	ok "$rt spec: $(head -n 1 "$work/out")"
done
(cd "$work/b" && run krun-oci spec; [ "$rc" = 1 ]) || die "spec overwrites a config.json"
ok "spec overwrites nothing"
host_is_as "$work/host.before"
done_testing
