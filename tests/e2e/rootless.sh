#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An ordinary user, who may make user namespaces and open /dev/kvm, and no cgroup.
# host: user
# timeout: 240
export TMPDIR=${HOME:?} # on a disk of the test host, and his own
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" != 0 ] || die "this test runs as root"
[ -r /dev/kvm ] && [ -w /dev/kvm ] || skip "/dev/kvm is not this user's"
unshare -Ur true 2>/dev/null || skip "no user namespaces for this user"
# A root of his own files: those of tests/bundles/make belong to several users.
mkdir -p "$work/b/rootfs/bin"
cp "$(command -v busybox)" "$work/b/rootfs/bin/busybox"
for n in sh id cat echo chown stat; do ln -s busybox "$work/b/rootfs/bin/$n"; done
status 0 krun-oci spec --rootless --bundle "$work/b"
edit b '.process.terminal=false | .process.args=["sh","-c","id -u; echo written >/out; cat /proc/sys/kernel/ostype"] | .root.readonly=false'
cp "$work/b/config.json" "$work/config.good"

status 0 krun-oci check
grep -q "^ok  *namespaces " "$work/out" || die "check does not look at namespaces"
grep -q "^ok  *state-directory  *${XDG_RUNTIME_DIR:?}/" "$work/out" || die "check looks at another state directory"
ok "check knows what an ordinary user may"

status 0 krun-oci --log "$work/log" --log-level warning run --bundle "$work/b" "$id"
check "it runs as root of its own" "0 Linux" "$(paste -sd' ' "$work/out")"
check "its files are the user's" "$(id -u) written" "$(stat -c %u "$work/b/rootfs/out") $(cat "$work/b/rootfs/out")"
grep -q "stays in the caller's" "$work/log" || die "no warning about the cgroup: $(cat "$work/log")"
ok "it warns that there is no cgroup"
check "nothing is left" "" "$(ls -A "$XDG_RUNTIME_DIR/krun-oci")"

say "a user namespace without mappings"
edit b 'del(.linux.uidMappings, .linux.gidMappings)'
status 0 krun-oci run --bundle "$work/b" "$id"
check "root is the caller" "$(id -u)" "$(stat -c %u "$work/b/rootfs/out")"

say "ids of others, which newuidmap and newgidmap give him"
command -v newuidmap newgidmap >/dev/null || die "no newuidmap (tests/deps clients installs it)"
maps() { # FIRST_OF_OTHERS
	cp "$work/config.good" "$work/b/config.json"
	edit b ".linux.uidMappings=[{\"containerID\":0,\"hostID\":$(id -u),\"size\":1},{\"containerID\":1,\"hostID\":$1,\"size\":1000}]
		| .linux.gidMappings=[{\"containerID\":0,\"hostID\":$(id -g),\"size\":1},{\"containerID\":1,\"hostID\":$1,\"size\":1000}]
		| .process.capabilities=(.process.capabilities | map_values(.+[\"CAP_CHOWN\"]))
		| .process.args=[\"sh\",\"-c\",\"echo x >/given; chown 7:8 /given; id -u; stat -c '%u %g' /given\"]"
}
others=$(sed -n "s/^$(id -un):\([0-9]*\):.*/\1/p" /etc/subuid)
maps "${others:?}"
status 0 krun-oci run --bundle "$work/b" "$id"
check "in the container" "0 7 8" "$(words "$work/out")"
check "on the disk" "$((others + 6)) $((others + 7))" "$(stat -c '%u %g' "$work/b/rootfs/given")"
maps 1
status 1 krun-oci run --bundle "$work/b" "$id"
err_has "newuidmap does not map them, /etc/subuid tells which ids may be"

say "limits need a cgroup"
cp "$work/config.good" "$work/b/config.json"
edit b '.linux.resources.pids.limit=100'
status 1 krun-oci run --bundle "$work/b" "$id"
err_has "ermission denied"
status 1 krun-oci --rootless=false run --bundle "$work/b" "$id"
status 1 krun-oci --rootless=perhaps list
err_has "--rootless"
done_testing
