# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names of lib.sh
# A containerd of the test's own, all of whose files are below $work. Sourced after lib.sh.

[ -w /var/lib/krun-test ] || skip "containerd's storage wants a scratch disk that takes overlays"
command -v containerd >/dev/null || die "no containerd (tests/deps clients installs it)"
sock=$work/containerd.sock
cat >"$work/config.toml" <<END_OF_FILE
version = 2
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$sock"
END_OF_FILE
containerd --config "$work/config.toml" --log-level warn >"$work/containerd.log" 2>&1 &
containerd=$!

ctr_() { ctr --address "$sock" "$@"; }

# For the test's trap, after it has removed its containers.
# shellcheck disable=SC2317 # called by the trap
end_containerd() {
	kill $containerd 2>/dev/null || true
	wait $containerd 2>/dev/null || true
	awk -v w="$work/" 'index($2, w) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
	cleanup
}
trap end_containerd EXIT
wait_for 90 ctr_ version
