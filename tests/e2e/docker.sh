#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Docker's daemon with the runtime added: run, exec, logs, top, stop, a published port.
# CLIENT_RUNTIME=runc says what is runc's.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# Debian's own, whatever else is on PATH
docker=/usr/bin/docker
[ -x $docker ] && command -v dockerd >/dev/null || die "no docker (tests/deps clients installs docker.io)"
# shellcheck source=containerd-lib.sh
. "$(dirname "$0")/containerd-lib.sh"
mkdir "$work/config"
runtime=$(command -v "${CLIENT_RUNTIME:-krun-oci}")
echo "{\"runtimes\":{\"lenient\":{\"path\":\"$runtime\",\"runtimeArgs\":[\"--ignore=linux.devices\"]}}}" >"$work/daemon.json"
dockerd --add-runtime "tried=$runtime" --default-runtime tried --data-root "$work/data" --exec-root "$work/exec" --containerd "$sock" --host "unix://$work/docker.sock" \
	--pidfile "$work/docker.pid" --config-file "$work/daemon.json" --exec-opt native.cgroupdriver=cgroupfs --log-level warn >"$work/dockerd.log" 2>&1 &
daemon=$!
d() { $docker --config "$work/config" --host "unix://$work/docker.sock" "$@"; }
# shellcheck disable=SC2317 # called by the trap
end_docker() {
	d ps -aq 2>/dev/null | while read -r c; do d rm -f "$c" >/dev/null 2>&1; done || true
	kill $daemon 2>/dev/null || true
	wait $daemon 2>/dev/null || true
	end_containerd
}
trap end_docker EXIT
for ((i = 0; i < 120; i++)); do
	! d version >/dev/null 2>&1 || break
	kill -0 $daemon 2>/dev/null || break
	sleep 1
done
run d version
[ "$rc" = 0 ] || die "the daemon does not answer: $(tail -n 20 "$work/dockerd.log")"
bundle b busybox
tar -C "$work/b/rootfs" -c . | d import - busybox:test >"$work/out" 2>"$work/err" || die "docker import"
ok "an image"

say "run"
# docker sends no limits: they are what the daemons run under
status 7 d run --rm --network none busybox:test sh -c 'echo hello; ulimit -Hn; exit 7'
files=$(ulimit -Hn)
check "its output, and open files" "hello $((files < 1048576 ? files : 1048576))" "$(words "$work/out")"
status 127 d run --rm --network none busybox:test no-such-program
! long || status 126 d run --rm --network none busybox:test /etc
if long && [ "${runtime##*/}" = krun-oci ]; then
	run d run --rm --network none --privileged busybox:test true
	[ "$rc" != 0 ] || die "--privileged is not refused: has this host no device that a guest has not?"
	err_has "the guest has no such device"
	status 0 d run --rm --network none --runtime lenient --privileged busybox:test test -c /dev/null
fi

say "a web server behind a published port"
status 0 d run -d --name web -p 8084:80 --memory 200m --user 0 busybox:test \
	sh -c 'trap "exit 3" TERM; mkdir /www; echo hello >/www/index.html; httpd -p 80 -h /www; echo started; sleep 1000000 & while :; do wait; done'
started() { d logs web | grep -q started; }
wait_for 60 started
if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
	check "the VMM is in docker's profile" "docker-default (enforce)" "$(cat "/proc/$(d inspect --format '{{.State.Pid}}' web)/attr/apparmor/current")"
fi
check "at its address" hello "$(get "$(d inspect --format '{{.NetworkSettings.IPAddress}}' web)" 80)"
check "at the published port" hello "$(get 127.0.0.1 8084)"
status 5 d exec web sh -c 'echo in there; cat /etc/hostname; exit 5'
out_has "in there"
check "its capabilities are the container's" 1 "$(d exec web sed -n 's/^CapEff:.//p' /proc/1/status /proc/self/status | uniq | wc -l)"
check "stdin" "got it" "$(echo it | d exec -i web sh -c 'read x; echo "got $x"')"
status 0 d top web
status 0 d pause web
check "paused" paused "$(d inspect --format '{{.State.Status}}' web)"
status 0 d unpause web
status 0 d stop --time 30 web
check "its exit code" 3 "$(d inspect --format '{{.State.ExitCode}}' web)"
status 0 d rm web
done_testing
