#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A unit of type notify that runs a container: it is active when the container says so, whichever cgroup the VMM is in.
# long: yes
# timeout: 300
# host: systemd
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
[ -d /run/systemd/system ] || skip "no systemd runs here"

bundle b busybox
program notify "$work/b/rootfs/bin/notify"
edit b '.root.readonly=false | .process.args = ["sh","-c","trap \"exit 0\" TERM; touch /up; while [ ! -e /go ]; do sleep 0.1; done; notify READY=1; while [ ! -e /said ]; do sleep 0.1; done; notify STATUS=said; while :; do sleep 0.1; done"]'
unit=krunt-$$.service
show() { systemctl show -P "$1" "$unit"; }
# A unit that runs COMMAND: whose main process it has when it has started.
unit_is() { # MAIN_PROCESS COMMAND...
	local who=$1
	shift
	rm -f "$work/b/rootfs"/{up,go,said}
	systemd-run --quiet --service-type=notify --unit "$unit" --setenv "PATH=$PATH" "$@" >"$work/out" 2>"$work/err" &
	cli=$!
	wait_for 60 test -e "$work/b/rootfs/up"
	check "it starts" activating "$(show ActiveState)"
	touch "$work/b/rootfs/go"
	rc=0
	wait "$cli" || rc=$?
	check "it has started" "0 active" "$rc $(show ActiveState)"
	check "its main process is the $who" "$([ "$who" = VMM ] && echo krun-oci-vm || echo krun-oci)" "$(cat "/proc/$(show MainPID)/comm")"
}

say "run in the foreground"
unit_is command krun-oci run --bundle "$work/b" "$id"
status 0 krun-oci kill "$id" KILL
wait_for 20 sh -c "! systemctl --quiet is-active $unit"
systemctl reset-failed "$unit" 2>/dev/null || true

say "run that detaches"
unit_is VMM krun-oci run --detach --bundle "$work/b" "$id"
touch "$work/b/rootfs/said"
said() { [ "$(show StatusText)" = said ]; }
wait_for 20 said
ok "what it says later is heard"
status 0 systemctl stop "$unit"
wait_for 20 container_is "$id" stopped
status 0 krun-oci delete "$id"
done_testing
