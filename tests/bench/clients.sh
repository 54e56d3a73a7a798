# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names of tests/bench/run, which reads this
# What managers make a runtime do, beside crun and runc: a container's life in separate commands, and all of it through Podman.

# Runs ROUND with each runtime in turn, the first round to warm caches up; rows of its medians.
beside() { # ROW ROUND
	local i p
	for i in $(seq 0 "$runs"); do
		for p in krun-oci crun runc; do
			ms "$2" "$p" "bench-$p-$$-$i" >>"$work/$2.$([ "$i" = 0 ] && echo warm || echo "$p")"
		done
	done
	for p in crun runc; do
		row "$1" "$(median <"$work/$2.krun-oci")" ms "$p" "$(median <"$work/$2.$p")"
	done
}

cycle() { # RUNTIME ID
	"$1" create -b "$work/cycle" "$2"
	"$1" start "$2"
	"$1" delete --force "$2"
}

bench_cycle() {
	bundle cycle '["sleep","1000"]'
	beside "create, start, delete" cycle
}

podman_true() { # RUNTIME ID
	podman --runtime "$1" --log-level error run --rm --network none --name "$2" localhost/bench:true /bin/true
}

# A Podman whose files are all below $work.
bench_podman() {
	local p
	command -v podman >/dev/null || { echo "tests/bench/run: no podman (tests/deps bench installs it)" >&2; return 1; }
	bundle podman '["true"]'
	mkdir "$work/podman.run" "$work/podman.net"
	{
		printf '[containers]\nlog_driver = "k8s-file"\n[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "%s"\n' "$work/podman.net"
		printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\ntmp_dir = "%s"\n' "$work/podman.run/libpod"
		printf 'runtime_supports_json = ["crun", "runc", "krun-oci"]\nruntime_supports_nocgroups = ["crun", "krun-oci"]\nruntime_supports_kvm = ["krun-oci"]\n[engine.runtimes]\n'
		for p in krun-oci crun runc; do printf '%s = ["%s"]\n' "$p" "$(command -v "$p")"; done
	} >"$work/containers.conf"
	printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/podman.storage" "$work/podman.run/storage" >"$work/storage.conf"
	(
		export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
		tar -C "$work/podman/rootfs" -c . | podman --log-level error import - localhost/bench:true >/dev/null 2>&1
		beside "podman run --rm true" podman_true
	)
	umount "$work/podman.storage/overlay" 2>/dev/null || true
}
