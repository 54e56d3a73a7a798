#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the annotations let a guest reach and listen on, and a guest without a network.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# A network namespace that both sides share, held by a process; in it the conformance test's peer, which echoes.
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
program tsi-peer "$work/peer"
program tsi-try "$work/b/rootfs/try"
cp "$work/b/config.json" "$work/config.plain"
in_net_bg "$work/peer" 7000 "$work/ready" &
peer_pid=$!
wait_for 60 test -s "$work/ready"
tcp=7001 other=7002 udp=7010 other_udp=7011 # services of the peer

# A guest with these annotations (a JSON object) that makes these tries.
with() { # ANNOTATIONS TRY...
	cp "$work/config.plain" "$work/b/config.json"
	edit b ".annotations += $1 | .process.args = $(jq -nc '$ARGS.positional' --args /try "${@:2}")"
	: >"$work/log"
}
tries() { # ANNOTATIONS TRY...
	with "$@"
	status 0 krun-oci --log "$work/log" --log-level warning run --bundle "$work/b" "$id"
}
logged() { # TEXT
	grep -qF -- "$1" "$work/log" || die "the log does not hold: $1: $(cat "$work/log")"
	ok "the log holds: $1"
}

say "what may be reached"
in_net ip link add eth0 type dummy && in_net ip address add 192.0.2.1/24 dev eth0 && in_net ip link set eth0 up
tries "{\"krun-oci.net.egress\": \"deny 127.0.0.0/8:$tcp, deny :$other_udp, deny [::1/128]:$tcp-$other, deny 192.0.2.0/24, allow all\"}" \
	connect 127.0.0.1 $tcp connect 127.0.0.1 $other connect ::1 $tcp connect ::1 $other connect ::ffff:127.0.0.1 $tcp connect 0.0.0.0 $tcp \
	sendto 127.0.0.1 $other_udp datagram 127.0.0.1 $other_udp sendto ::1 $other_udp sendto 127.0.0.1 $udp datagram ::1 $udp \
	connect 192.0.2.77 80 sendto 192.0.2.77 53
check "the first rule that matches, of both protocols" "EACCES 0 EACCES EACCES EACCES EACCES EACCES EACCES EACCES 0 0 EACCES EACCES" "$(words "$work/out")"
logged "network policy: 127.0.0.1 port $tcp may not be reached"
tries "{\"krun-oci.net.egress\": \"allow 127.0.0.1:$tcp, allow :$udp\"}" connect 127.0.0.1 $tcp connect 127.0.0.1 $other connect ::1 $tcp sendto ::1 $udp
check "what no rule allows is denied" "0 EACCES EACCES 0" "$(words "$work/out")"

say "what may be listened on"
tries '{"krun-oci.net.listen": "deny 8000-8099, allow all"}' listen 8000 listen 8099 listen 8100 bind 8050 bind 8100 choose connect 127.0.0.1 $tcp sendto 127.0.0.1 $udp
check "ports that are denied, of both protocols" "EACCES EACCES 0 EACCES 0 0 0 0" "$(words "$work/out")"
logged "network policy: port 8000 may not be listened on"
with '{"krun-oci.net.listen": "allow 8200"}' listen 8201 choose bind 8201 bind 0 sendto 127.0.0.1 $udp hold 8200
krun-oci --log "$work/log" --log-level warning run --bundle "$work/b" "$id" >"$work/out" 2>"$work/err" </dev/null &
guest=$!
held() { in_net "$work/b/rootfs/bin/busybox" nc 127.0.0.1 8200 </dev/null | grep -q held; }
wait_for 60 held
wait $guest || die "the guest that listens"
check "ports that no rule allows, the host's choice too; one that is allowed is reached" "EACCES EACCES EACCES 0 0 0" "$(words "$work/out")"

say "no network"
tries '{"krun-oci.net": "none"}' connect 127.0.0.1 $tcp connect ::1 $tcp connect 192.0.2.77 80 sendto 192.0.2.77 53 listen 8000 bind 8000
check "loopback of its own, and nothing else" "ECONNREFUSED ECONNREFUSED ENETUNREACH ENETUNREACH 0 0" "$(words "$work/out")"

say "rules that are none"
wrong() { # ANNOTATION VALUE WANT
	cp "$work/config.plain" "$work/b/config.json"
	edit b ".annotations[\"$1\"] = \"$2\""
	status 1 krun-oci run --bundle "$work/b" "$id"
	check "one line" 1 "$(wc -l <"$work/err")"
	err_has "annotations[\"$1\"]"
	err_has "$3"
}
wrong krun-oci.net.egress "allow 127.0.0.0/8, forbid all" 'rule 2, " forbid all"'
wrong krun-oci.net.egress "allow 127.0.0.1/8" 'rule 1, "allow 127.0.0.1/8"'
wrong krun-oci.net.listen "allow 80-70" 'rule 1, "allow 80-70"'
wrong krun-oci.net.ports "allow 80" "there is no such one"
wrong krun-oci.net off '"off" is not'
done_testing
