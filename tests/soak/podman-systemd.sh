#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman run --systemd=always: Debian's systemd as the container's PID 1, to multi-user.target and down again; --userns=auto.
# timeout: 1800
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=../e2e/podman-lib.sh
. "$(dirname "$0")/../e2e/podman-lib.sh"

say "systemd"
bundle s systemd
status 0 pod run -d --name s1 --network none --systemd=always --stop-timeout 300 --rootfs "$work/s/rootfs" /sbin/init
sc() { podman exec s1 systemctl "$@"; }
# its socket first; then it says so when all jobs are done; "degraded" is a unit that failed
wait_for 300 podman exec s1 test -S /run/systemd/private
run timeout 900 podman exec s1 systemctl is-system-running --wait
say "systemctl is-system-running: $(words "$work/out")"
sc --failed --no-legend >"$work/failed" 2>&1 || true
sed 's/^/# failed: /' "$work/failed"
check "multi-user.target" active "$(sc is-active multi-user.target)"
check "no unit failed" "" "$(awk '{ print $2 }' "$work/failed" | words -)"
check "it is PID 1" systemd "$(podman exec s1 cat /proc/1/comm)"
check "its cgroup" "0::/init.scope" "$(podman exec s1 cat /proc/1/cgroup)"
check "an exec is no process of a unit's" 0 "$(podman exec s1 grep -c '\.service' /proc/self/cgroup || true)"
check "a service" "active 42" "$(sc is-active dbus) $(podman exec s1 systemd-run -q --pipe --wait sh -c 'echo $((6 * 7))')"
run podman exec s1 journalctl -b --no-pager
out_has 'Reached target'
podman exec s1 systemd-run -q --unit=trapper sh -c 'trap "echo ended >/var/stopped; exit 0" TERM; touch /var/ready; while :; do sleep 0.2; done'
wait_for 60 podman exec s1 test -e /var/ready
status 0 pod stop -t 300 s1
check "the service was told" ended "$(cat "$work/s/rootfs/var/stopped")"
code=$(pod inspect --format '{{.State.ExitCode}}' s1)
# SIGRTMIN+3 halts it; a container's systemd ends with 0 then, or by the signal with which reboot(2) in a pid namespace ends it
case $code in 0 | 130 | 133) ok "exit status $code" ;; *) die "exit status $code" ;; esac
status 0 pod rm s1

say "--userns=auto"
if grep -qs '^containers:' /etc/subuid; then mine=''; else mine=1; fi
[ -z "$mine" ] || echo containers:2147483647:2147483648 | tee -a /etc/subuid >>/etc/subgid
bundle b busybox
import_image "$work/b/rootfs"
mkdir "$work/v"
chmod 777 "$work/v"
status 0 pod run --rm --network none --userns=auto -v "$work/v:/v" $image sh -c 'id -u; touch /v/file /file; chown 1000:1000 /file; stat -c "%u %g" /file /v/file; cat /proc/self/uid_map >&2'
check "ids in it" "0 1000 1000 0 0" "$(words "$work/out")"
[ "$(stat -c %u "$work/v/file")" -ge 65536 ] || die "a file of root's is the host's $(stat -c %u "$work/v/file")"
ok "root of it is not the host's"
status 0 pod run -d --name u1 --network none --userns=auto:size=5000 $image sleep 1000
check "exec" "0 4242" "$(podman exec u1 id -u) $(podman exec --user 4242 u1 id -u)"
pid=$(pod inspect --format '{{.State.Pid}}' u1)
check "its size" 5000 "$(awk '{ n += $3 } END { print n }' "/proc/$pid/uid_map")"
status 0 pod rm --force --time 0 u1
done_testing
