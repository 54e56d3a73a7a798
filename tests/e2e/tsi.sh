#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guest's sockets are the host's: busybox on both sides, in both directions, and the conformance program.
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

say "the guest as the client"
mkdir "$work/www"
head -c 3000000 /dev/urandom >"$work/www/blob"
in_net_bg "$busybox" httpd -f -p 127.0.0.1:8080 -h "$work/www" &
httpd=$!
listening 8080
guest 'wget -q -O - http://127.0.0.1:8080/blob | sha256sum; wget -q -O /dev/null http://127.0.0.1:8081/; echo $?'
check "wget from the host's httpd" "$(sha256sum <"$work/www/blob")" "$(head -n 1 "$work/out")"
check "wget from nobody" 1 "$(tail -n 1 "$work/out")"
grep -q 'Connection refused' "$work/err" || die "no 'Connection refused'"
ok "which is told as refused"

say "a network namespace that the guest makes"
rights='.process.capabilities |= map_values(. + ["CAP_SYS_ADMIN","CAP_NET_ADMIN"] | unique)'
cp "$work/b/config.json" "$work/config.plain"
edit b "$rights"
guest 'unshare -n sh -c "ip link set lo up && echo made; wget -q -O /dev/null http://127.0.0.1:8080/blob; echo \$?
httpd -p 8080 -h /etc && wget -q -O - http://127.0.0.1:8080/os-release | tail -n 1"'
check "is native: the host's httpd is not there, its own is" "made 1 ID=krun-test" "$(tr '\n' ' ' <"$work/out" | sed 's/ $//')"
cp "$work/config.plain" "$work/b/config.json"
kill "$httpd"

say "the guest as the server"
cp "$work/www/blob" "$work/b/rootfs/blob"
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

say "inside the guest"
guest 'httpd -p 127.0.0.1:8083 -h /; wget -q -O - http://127.0.0.1:8083/blob | sha256sum; grep -c ":1F93 " /proc/net/tcp'
check "wget from the guest's own httpd" "$(sha256sum <"$work/www/blob")" "$(head -n 1 "$work/out")"
[ "$(tail -n 1 "$work/out")" -ge 2 ] || die "the connection was not native: $(tail -n 1 "$work/out") sockets in /proc/net/tcp"
ok "over the guest's own loopback"

say "conformance"
gcc -O1 -D_GNU_SOURCE -static -o "$work/peer" "$top/tests/guest/tsi/peer.c" 2>"$work/err" || die "cannot compile the peer"
gcc -O1 -D_GNU_SOURCE -static -o "$work/conform" "$top"/tests/guest/tsi/conform*.c 2>"$work/err" || die "cannot compile the cases"
cp "$work/conform" "$work/b/rootfs/conform"
in_net_bg "$work/peer" 7000 "$work/ready" &
peer_pid=$!
until [ -s "$work/ready" ]; do
	kill -0 "$peer_pid" 2>/dev/null || die "the peer has ended"
	sleep 0.1
done
in_net sh -c 'echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range'
in_net "$work/conform" 7000 >"$work/native" 2>"$work/err" || die "the native run"
[ "$(wc -l <"$work/native")" -ge 200 ] || die "fewer than 200 cases"
# The guest needs the rights that the native run has: to change its user, and raw sockets to be refused them.
edit b '.process.args=["/conform","7000"] | .process.capabilities |= map_values(. + ["CAP_SETUID","CAP_SETGID","CAP_NET_RAW","CAP_NET_BIND_SERVICE"] | unique)'
edit b '.linux.sysctl["net.ipv4.ping_group_range"] = "0 2147483647"'
grep '^[<>]' "$top/tests/guest/tsi/differences" >"$work/allowed" || true
# With two processors the host's answer may come while the call that asked still runs.
for cpus in 1 2; do
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
