#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real images: a Debian root, one static binary and nothing else. With LONG the Debian forks 1,000 times and copies its programs.
# timeout: 840
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle d debian
bundle s static
snapshot_host | sort >"$work/host.before"

say "one static binary"
run krun-oci run --bundle "$work/s" "$id"
say "$(cat "$work/out")"
check "exit status" 0 "$rc"
[ -s "$work/out" ] || die "it said nothing"
# What the mounts of config.json need as mount points is all that is added to the image.
check "the image" "dev hello proc sys" "$(cd "$work/s/rootfs" && echo *)"

say "Debian"
deb() { # SCRIPT
	edit d ".process.args=[\"sh\",\"-c\",$(jq -n --arg s "$1" '$s')]"
	run krun-oci run --bundle "$work/d" "$id"
}
deb 'apt-get --version | head -n 1; dpkg -l | grep -c ^ii; . /etc/os-release; echo $VERSION_CODENAME; uname -r; perl -e "print 6*7, qq(\n)"; bash -c "echo \${BASH_VERSION%%.*}"'
check "exit status" 0 "$rc"
check "apt-get --version" "apt 2" "$(head -n 1 "$work/out" | cut -c1-5)"
[ "$(sed -n 2p "$work/out")" -gt 50 ] || die "dpkg -l lists $(sed -n 2p "$work/out") packages"
ok "dpkg -l"
check "os-release" bookworm "$(sed -n 3p "$work/out")"
grep -q '^6\.12' <(sed -n 4p "$work/out") || die "the guest's kernel is $(sed -n 4p "$work/out")"
ok "the kernel is the guest's"
check "perl, bash" "42 5" "$(tail -n 2 "$work/out" | words -)"
if long; then
	start=$EPOCHREALTIME
	deb 'i=0; while [ $i -lt 1000 ]; do /bin/true || exit 1; i=$((i+1)); done; echo $i'
	check "1,000 forks" 1000 "$(cat "$work/out")"
	say "1,000 forks and execs: $(echo "$EPOCHREALTIME - $start" | bc) s with the boot"
	deb 'set -e; mkdir /t; cd /t; tar cf - -C /usr/bin . | tar xf - --no-same-owner --no-same-permissions; cd /usr/bin; for f in *; do [ -h $f ] || cmp $f /t/$f; done; rm -r /t'
	check "tar, cmp" "0" "$rc$(cat "$work/out")"
fi
host_is_as "$work/host.before"
done_testing
