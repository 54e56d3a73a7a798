# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # names that the tests read, and those of lib.sh
# What the tests with Podman share: a Podman whose files are all below $work, with the tree's krun-oci as its runtime, and an image
# of busybox made here. Sourced after lib.sh. PODMAN_CGROUPS=systemd takes Podman's other cgroup manager, its default.

command -v podman >/dev/null || die "no podman (tests/deps clients installs it)"
[ "$(id -u)" != 0 ] || [ -w /var/lib/krun-test ] || skip "podman's storage wants a scratch disk that takes overlays"
image=localhost/busybox:test

pod() { podman --log-level=error "$@"; }

# shellcheck disable=SC2317 # called by the trap
end_podman() {
	podman rm --all --force --time 0 >/dev/null 2>&1 || true
	podman pod rm --all --force --time 0 >/dev/null 2>&1 || true
	umount "$work/storage/overlay" 2>/dev/null || true
	# an ordinary user's storage has files of his subordinate ids
	[ "$(id -u)" = 0 ] || podman unshare rm -rf "$work/storage" 2>/dev/null || true
	rm -rf "${podman_run:-}"
	cleanup
}
trap end_podman EXIT

# Podman looks at nothing of this machine's configuration, but at what comes with the runtime.
mkdir "$work/tmp" "$work/net"
# Not below $work: where this is longer than 50 characters Podman refuses it as an option, with which it runs its own cleanup, in vain
# then and without a word, though not as a configuration.
podman_run=$(mktemp -d /tmp/podman.XXXXXX)
cat >"$work/engine.conf" <<END_OF_FILE
cgroup_manager = "${PODMAN_CGROUPS:-cgroupfs}"
events_logger = "file"
tmp_dir = "$podman_run/libpod"
runtime = "${PODMAN_RUNTIME:-krun-oci}"
END_OF_FILE
cat >"$work/containers.conf" <<END_OF_FILE
[containers]
log_driver = "k8s-file"
[network]
network_backend = "netavark"
network_config_dir = "$work/net"
$(sed -e "/^\[engine\]\$/r $work/engine.conf" -e "s,^krun-oci = .*,krun-oci = [\"$(command -v krun-oci)\"]\ncrun = [\"/usr/bin/crun\"]," "$top/packaging/containers.conf")
END_OF_FILE
cat >"$work/storage.conf" <<END_OF_FILE
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$podman_run/storage"
END_OF_FILE
if [ "$(id -u)" != 0 ]; then
	mkdir -p "$HOME/.config/containers"
	echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$HOME/.config/containers/policy.json"
fi
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf TMPDIR=$work/tmp

# The image, from a root file system DIR.
import_image() { # DIR
	tar -C "$1" -c . | pod import - $image >"$work/out" 2>"$work/err" || die "podman import"
	ok "an image"
}

# A container that has ended is "stopped" until Podman's own cleanup has been, which its monitor starts. Where that does not come,
# what there is, and why a cleanup by hand does not work, is shown.
is_exited() { [ "$(podman inspect --format '{{.State.Status}}' "$1")" = exited ]; }
await_exited() { # NAME SECONDS
	local line
	if (wait_for "$2" is_exited "$1") >/dev/null 2>&1; then return; fi
	{
		podman inspect --format '{{.State.Status}} {{.State.ExitCode}} pid {{.State.Pid}} execs {{.ExecIDs}}' "$1" || true
		krun-oci list || true
		ps -e -o pid,ppid,stat,etimes,wchan:20,args | awk '/[p]odman|[c]onmon|[k]run-oci/'
		timeout 60 podman --log-level=debug container cleanup "$1" || true
	} 2>&1 | while IFS= read -r line; do echo "# ${line:0:250}"; done
	die "waited in vain for the cleanup of $1"
}
