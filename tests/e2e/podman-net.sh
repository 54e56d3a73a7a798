#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman as root: a bridge network with a published port, names; limits, volumes and what else costs no second container. With LONG the
# host's network, a policy and a restart, of what was committed.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=podman-lib.sh
. "$(dirname "$0")/podman-lib.sh"
[ -x /usr/lib/podman/netavark ] || die "no netavark (tests/deps clients installs it)"

bundle b busybox
try=$work/b/rootfs/try
program tsi-try "$try"
import_image "$work/b/rootfs"
mkdir "$work/ro" "$work/own" "$work/z"
echo from the host >"$work/ro/file"

say "a web server behind a published port"
# shellcheck disable=SC2016 # for the container's shell
status 0 pod run -d --name web -p 8080:80 -p 8053:53/udp --add-host other:192.0.2.7 --dns 192.0.2.53 --init --user 0 \
	--memory 200m --cpus 1 --pids-limit 60 --ulimit nofile=77:99 --sysctl net.ipv4.ip_forward=1 --cap-add NET_ADMIN --cap-drop CHOWN \
	--device /dev/null:/dev/other-null --read-only --tmpfs /www:size=1m -v named:/named -v "$work/ro:/ro:ro" -v "$work/own:/own:U" -v "$work/z:/z:z" \
	--health-cmd 'test -e /www/healthy' --health-interval disable $image \
	sh -c 'trap "exit 3" TERM; echo hello >/www/index.html; httpd -p 80 -h /www; /try echo 53 & while :; do wait; done'
ip=$(pod inspect --format '{{.NetworkSettings.IPAddress}}' web)
wait_for 60 get "$ip" 80
check "at its address" hello "$(get "$ip" 80)"
check "at the published port" hello "$(get 127.0.0.1 8080)"
bound() { [ -n "$(nsenter -t "$(pod inspect --format '{{.State.Pid}}' web)" -n ss -Hlun 'sport = :53')" ]; }
wait_for 60 bound
check "datagrams, at its address and at the published port" "0 0" "$("$try" datagram "$ip" 53 sendto 127.0.0.1 8053 | words -)"
check "a port that is not published" ECONNREFUSED "$("$try" connect 127.0.0.1 53)"
# shellcheck disable=SC2016
status 0 pod exec web sh -c 'cat /etc/resolv.conf; grep other /etc/hosts; wget -q -O - http://127.0.0.1/; grep -c " web$" /etc/hosts
	ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max; nproc
	cat /ro/file; touch /ro/x 2>/dev/null || echo read-only; touch /x 2>/dev/null || echo read-only; touch /named/a /own/b /z/c; chown 1 /z/c 2>/dev/null || echo no chown
	df -m /www | tail -n 1 | tr -s " " | cut -d" " -f2; ls /dev/other-null; cat /proc/1/comm'
check "names, limits, volumes" "nameserver 192.0.2.53 192.0.2.7 other hello 1 77 99 1 60 209715200 1 from the host read-only read-only no chown 1 /dev/other-null podman-init" \
	"$(tr -s ' \t\n' ' ' <"$work/out" | sed 's/ $//')"
check "bind mounts" "b c" "$(ls "$work/own") $(ls "$work/z")"
check "a named volume" a "$(ls "$(pod volume inspect --format '{{.Mountpoint}}' named)")"

say "health, figures, pause, update, diff, commit"
status 1 pod healthcheck run web
status 0 pod exec web touch /www/healthy
status 0 pod healthcheck run web
status 0 pod stats --no-stream --format '{{.Name}} {{.PIDs}} {{.NetIO}}' web
out_has "web "
status 0 pod pause web
check "paused" paused "$(pod inspect --format '{{.State.Status}}' web)"
status 0 pod unpause web
status 0 pod update --cpus 0.5 web
check "its cgroup" "50000 100000" "$(cat "/sys/fs/cgroup$(cut -d: -f3 "/proc/$(pod inspect --format '{{.State.Pid}}' web)/cgroup")/cpu.max")"
status 0 pod diff web
out_has "A /named"
status 0 pod commit web localhost/committed
status 0 pod stop --time 30 web
check "its exit code" 3 "$(pod inspect --format '{{.State.ExitCode}}' web)"
status 0 pod rm web

say "the very interface of the bridge, in place of sockets"
# shellcheck disable=SC2016 # the container's shell expands it
status 0 podman --log-level=error --runtime-flag trust-annotations run -d --name nic -p 8082:80 --annotation krun-oci.net=tap --dns 192.0.2.53 --tmpfs /www $image \
	sh -c 'trap "exit 4" TERM; echo by the bridge >/www/index.html; httpd -p 80 -h /www; while :; do sleep 1; done'
ip=$(pod inspect --format '{{.NetworkSettings.IPAddress}}' nic)
gateway=$(pod inspect --format '{{.NetworkSettings.Gateway}}' nic)
netns=$(pod inspect --format '{{.NetworkSettings.SandboxKey}}' nic)
wait_for 60 get "$ip" 80
check "at its address" "by the bridge" "$(get "$ip" 80)"
check "at the published port" "by the bridge" "$(get 127.0.0.1 8082)"
interface() { # COMMAND...
	"$@" ip -o address show dev eth0 | grep -o -e 'inet [0-9./]*' -e 'link/ether [0-9a-f:]*' | sort
	"$@" ip -o link show dev eth0 | grep -o -e 'mtu [0-9]*' -e 'link/ether [0-9a-f:]*'
	"$@" ip route | sed 's/ *$//;s/ proto [a-z]*//;s/ metric [0-9]*//;s/  */ /g' | sort
}
interface nsenter --net="$netns" busybox >"$work/wanted"
interface podman --log-level=error exec nic busybox >"$work/seen"
diff "$work/wanted" "$work/seen" >"$work/out" || die "the guest's interface is not the container's"
ok "address, route, MTU and MAC are what the container has: $(words "$work/seen")"
status 0 pod exec nic sh -c "ping -c 1 -W 60 $gateway | grep -c '1 packets received'; cat /etc/resolv.conf; ls /sys/class/net | grep -c ."
check "the host answers, its name server, and what interfaces there are" "1 nameserver 192.0.2.53 2" "$(words "$work/out")"
status 0 pod stop --time 30 nic
check "its exit code" 4 "$(pod inspect --format '{{.State.ExitCode}}' nic)"
status 0 pod rm nic

if ! long; then
	done_testing
	exit 0
fi
say "the host's network, a policy, a restart"
echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}' >"$work/seccomp.json"
mkdir "$work/www"
echo host >"$work/www/index.html"
busybox httpd -f -p 127.0.0.1:8081 -h "$work/www" &
httpd=$!
# shellcheck disable=SC2016
run pod run --name again --network host --security-opt "seccomp=$work/seccomp.json" --security-opt no-new-privileges --restart on-failure:1 localhost/committed \
	sh -c 'wget -q -O - http://127.0.0.1:8081/; mkdir /x 2>&1 | grep -o "Permission denied"; grep NoNewPrivs /proc/self/status | tr "\t" " "; exit 4'
# it is podman's cleanup, in the background, that starts it again
finished() { [ "$(pod inspect --format '{{.RestartCount}} {{.State.Status}}' again)" = "1 exited" ]; }
wait_for 120 finished
kill $httpd
check "twice" "4 host Permission denied NoNewPrivs: 1 host Permission denied NoNewPrivs: 1" "$rc $(pod logs again | words -)"
status 0 pod rm again
done_testing
