#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guest's sockets are the host's: busybox on both sides, in both directions, and the conformance program: with LONG all of it, with
# one processor and two, else what tests/guest/tsi/run leaves out (the addresses of IPv6), with two.
# timeout: 1200
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# A network namespace that both sides share, held by a process.
unshare --net sleep infinity &
holder=$!
peer_pid=''
stop() {
	[ -z "$peer_pid" ] || kill "$peer_pid" 2>/dev/null || true
	kill "$holder" 2>/dev/null || true
	cleanup
}
trap stop EXIT
until [ "$(readlink "/proc/$holder/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
in_net() { nsenter --net="/proc/$holder/ns/net" "$@"; }
in_net_bg() { exec nsenter --net="/proc/$holder/ns/net" "$@"; } # with &: then $! is what is to be killed
in_net ip link set lo up

bundle b busybox
edit b ".linux.namespaces |= map(if .type == \"network\" then .path = \"/proc/$holder/ns/net\" else . end)"
busybox=$work/b/rootfs/bin/busybox
guest() { # SCRIPT: runs it in a container, output in $work/out
	edit b ".process.args=[\"sh\",\"-c\",$(jq -Rs . <<<"$1")]"
	run krun-oci run --bundle "$work/b" "$id"
}
listening() { # PORT: waits until somebody listens in the namespace
	local i
	for ((i = 0; i < 600; i++)); do
		if in_net "$busybox" netstat -tln | grep -q "[:.]$1 "; then return; fi
		sleep 0.1
	done
	die "nobody listens on port $1"
}

say "the guest as the client, of the host and of itself, and in a network namespace that it makes"
mkdir "$work/www"
head -c 3000000 /dev/urandom >"$work/www/blob"
in_net_bg "$busybox" httpd -f -p 127.0.0.1:8080 -h "$work/www" &
httpd=$!
listening 8080
cp "$work/www/blob" "$work/b/rootfs/blob"
cp "$work/b/config.json" "$work/config.plain"
# a setting of an interface, which is the namespace's, goes to the guest's view of it
in_net ip link add eth0 type dummy && in_net ip address add 192.0.2.1/24 dev eth0 && in_net ip link set eth0 up
edit b '.process.capabilities |= map_values(. + ["CAP_SYS_ADMIN","CAP_NET_ADMIN"] | unique) | .linux.sysctl={"net.ipv4.conf.eth0.arp_ignore":"1"}'
guest 'wget -q -O - http://127.0.0.1:8080/blob | sha256sum; wget -q -O /dev/null http://127.0.0.1:8081/; echo $?
httpd -p 127.0.0.1:8083 -h /; wget -q -O - http://127.0.0.1:8083/blob | sha256sum; grep -c ":1F93 " /proc/net/tcp; cat /proc/sys/net/ipv4/conf/eth0/arp_ignore
unshare -n sh -c "ip link set lo up && echo made; wget -q -O /dev/null http://127.0.0.1:8080/blob; echo \$?
httpd -p 8080 -h /etc && wget -q -O - http://127.0.0.1:8080/os-release | tail -n 1"'
sum=$(sha256sum <"$work/www/blob")
check "wget from the host's httpd, and from nobody" "$sum 1" "$(sed -n 1,2p "$work/out" | paste -sd' ')"
grep -q 'Connection refused' "$work/err" || die "no 'Connection refused'"
ok "which is told as refused"
check "wget from the guest's own httpd" "$sum" "$(sed -n 3p "$work/out")"
[ "$(sed -n 4p "$work/out")" -ge 2 ] || die "the connection was not native: $(sed -n 4p "$work/out") sockets in /proc/net/tcp"
ok "over the guest's own loopback"
check "a setting of an interface" 1 "$(sed -n 5p "$work/out")"
check "the namespace of its own is native: the host's httpd is not there, its own is" "made 1 ID=krun-test" "$(tail -n 3 "$work/out" | words -)"
cp "$work/config.plain" "$work/b/config.json"
kill "$httpd"
in_net ip link del eth0

say "the guest as the server"
edit b '.process.args=["httpd","-f","-p","8082","-h","/"]'
krun-oci run --bundle "$work/b" "$id" >"$work/server.out" 2>&1 &
listening 8082
check "wget from the guest's httpd" "$(sha256sum <"$work/www/blob")" "$(in_net "$busybox" wget -q -O - http://127.0.0.1:8082/blob | sha256sum)"
for i in 1 2 3 4 5 6 7 8 9 10; do
	in_net "$busybox" wget -q -O /dev/null http://127.0.0.1:8082/etc/passwd || die "request $i"
done
ok "ten requests"
krun-oci kill "$id" KILL
wait $! || true

say "conformance"
program tsi-peer "$work/peer"
program tsi-conform "$work/conform"
cp "$work/conform" "$work/b/rootfs/conform"
in_net_bg "$work/peer" 7000 "$work/ready" &
peer_pid=$!
until [ -s "$work/ready" ]; do
	kill -0 "$peer_pid" 2>/dev/null || die "the peer has ended"
	sleep 0.1
done
in_net sh -c 'echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range'
families=(v6 mapped) numbers=(2)
! long || families=(v4 v6 mapped) numbers=(1 2)
in_net "$work/conform" 7000 "${families[@]}" >"$work/native" 2>"$work/err" || die "the native run"
[ "$(wc -l <"$work/native")" -ge 200 ] || die "fewer than 200 cases"
# The guest needs the rights that the native run has: to change its user, and raw sockets to be refused them.
edit b '.process.args=["/conform","7000"]+('"$(jq -nc '$ARGS.positional' --args "${families[@]}")"') | .process.capabilities |= map_values(. + ["CAP_SETUID","CAP_SETGID","CAP_NET_RAW","CAP_NET_BIND_SERVICE"] | unique)'
edit b '.linux.sysctl["net.ipv4.ping_group_range"] = "0 2147483647"'
grep -E "^[<>] (SIGPIPE )?($(IFS='|'; echo "${families[*]}")) " "$top/tests/guest/tsi/differences" >"$work/allowed" || true
# With two processors the host's answer may come while the call that asked still runs.
for cpus in "${numbers[@]}"; do
	edit b ".annotations[\"krun.cpus\"] = \"$cpus\""
	status 0 krun-oci run --bundle "$work/b" "$id"
	cp "$work/out" "$work/guest"
	check "as many cases" "$(wc -l <"$work/native")" "$(wc -l <"$work/guest")"
	# What differs, and may: each in tests/guest/tsi/differences, and docs/networking.md says why.
	diff "$work/native" "$work/guest" | grep '^[<>]' >"$work/differ" || true
	diff <(sort "$work/allowed") <(sort "$work/differ") >"$work/err" || die "other differences than those that are documented"
	ok "$cpus processors: $(wc -l <"$work/native") cases, $(grep -c '^>' "$work/differ" || true) documented differences"
done
done_testing
