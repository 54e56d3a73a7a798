#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guest has the very interface of the container's network namespace, or a tap that is there.
# timeout: 300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# The container's namespace, and that of the machine at the other end, each held by a process.
unshare --net sleep infinity &
net=$!
unshare --net sleep infinity &
far=$!
web=''
stop() {
	[ -z "$web" ] || kill "$web" 2>/dev/null || true
	kill "$net" "$far" 2>/dev/null || true
	cleanup
}
trap stop EXIT
for p in $net $far; do
	until [ "$(readlink "/proc/$p/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
done
in_net() { nsenter --net="/proc/$net/ns/net" "$@"; }
in_far() { nsenter --net="/proc/$far/ns/net" "$@"; }
in_net_bg() { exec nsenter --net="/proc/$net/ns/net" "$@"; } # with &: then $! is what is to be killed
in_far_bg() { exec nsenter --net="/proc/$far/ns/net" "$@"; }
in_net ip link set lo up

bundle b busybox --args '["sh","-c","mkdir /tmp/www; head -c 1000000 /dev/urandom >/tmp/www/big; httpd -p 80 -h /tmp/www; sleep 1000"]'
edit b ".linux.namespaces |= map(if .type == \"network\" then .path = \"/proc/$net/ns/net\" else . end)"
edit b '.annotations["krun-oci.net"] = "tap" | .mounts += [{ destination: "/tmp", type: "tmpfs", source: "tmpfs" }]'
cp "$work/b/config.json" "$work/config.plain"

create_flags=(--trust-annotations)
say "what cannot be"
edit b '.linux.namespaces |= map(select(.type != "network"))'
status 1 krun-oci --trust-annotations create --bundle "$work/b" "$id" </dev/null
err_has 'annotations["krun-oci.net"]: "tap" needs a network namespace of the container'"'"'s own'
cp "$work/config.plain" "$work/b/config.json"

say "a namespace that is complete only when the container starts"
created "$id" b
check "made" 0 "$rc"
status 1 krun-oci start "$id"
err_has "the container's network namespace has no interface that is up"
check "it can still be started" created "$(krun-oci state "$id" | jq -r .status)"
in_net ip link add eth0 mtu 1400 type veth peer name far mtu 1400
in_net ip link set far netns "$far"
in_net ip link set eth0 address 02:00:00:0a:0b:0c up
in_far ip link set lo up
in_far ip link set far up
in_far ip address add 10.9.8.1/24 dev far
in_far ip address add fd77::1/64 dev far nodad
in_net ip address add 10.9.8.7/24 brd + dev eth0
in_net ip address add fd77::7/64 dev eth0 nodad
in_net ip route add 192.0.2.1 dev eth0
in_net ip route add default via 10.9.8.1 metric 100
in_net ip -6 route add default via fd77::1 dev eth0
in_net ip neigh add 192.0.2.1 lladdr 02:00:00:07:07:07 dev eth0 nud permanent
# the preferred source is another interface's: the guest's kernel refuses that
in_net ip address add 10.3.3.3/32 dev lo
in_net ip route add 10.4.0.0/16 dev eth0 src 10.3.3.3
status 1 krun-oci start "$id"
err_has "route to: 10.4.0.0/16: Invalid argument"
in_net tc qdisc show dev eth0 ingress >"$work/hooks"
check "the namespace has its interface back" "" "$(cat "$work/hooks")"
in_net ip route del 10.4.0.0/16
addresses() { # COMMAND...: those of eth0 and its routes, as ip(8) of busybox lists them
	"$@" busybox ip -o address show dev eth0 | sed 's/^[0-9]*: //;s/ *\\.*//;s/  */ /g;s/ noprefixroute//;s/ nodad//;s/ tentative//;s/ flags 02//' | sort
	"$@" busybox ip route | sed 's/ *$//' | sort
	"$@" busybox ip -6 route | grep -v '^ff00' | sed 's/ error .*//;s/ *$//;s/  */ /g;s/ pref medium//;s/ expires .*//' | sort
	"$@" busybox ip -o link show dev eth0 | grep -o -e 'mtu [0-9]*' -e 'link/ether [0-9a-f:]*'
}
addresses in_net env >"$work/wanted"
status 0 krun-oci start "$id"
addresses krun-oci exec "$id" >"$work/seen"
diff "$work/wanted" "$work/seen" >"$work/out" || die "the guest's interface differs"
ok "the guest's interface is the namespace's: $(wc -l <"$work/seen") lines"
status 0 krun-oci exec "$id" ip neigh
out_has "192.0.2.1 dev eth0 lladdr 02:00:00:07:07:07"
check "one interface beside loopback" "eth0 lo" "$(krun-oci exec "$id" ls /sys/class/net | words -)"

say "TCP both ways, whole segments at a time"
mkdir "$work/www"
head -c 1000000 /dev/urandom >"$work/www/big"
in_far_bg busybox httpd -f -p 8080 -h "$work/www" &
web=$!
sum=$(md5sum <"$work/www/big")
wait_for 60 in_far busybox wget -q -O /dev/null http://10.9.8.7/big
wait_for 60 in_far busybox wget -q -O /dev/null http://10.9.8.1:8080/big
check "to the guest" "$sum" "$(krun-oci exec "$id" sh -c 'wget -q -O - http://10.9.8.1:8080/big | md5sum')"
check "to the guest, IPv6" "$sum" "$(krun-oci exec "$id" sh -c 'wget -q -O - http://[fd77::1]:8080/big | md5sum')"
sum=$(krun-oci exec "$id" md5sum /tmp/www/big | cut -d' ' -f1)
check "from the guest" "$sum  -" "$(in_far busybox wget -q -O - http://10.9.8.7/big | md5sum)"
check "from the guest, IPv6" "$sum  -" "$(in_far busybox wget -q -O - 'http://[fd77::7]/big' | md5sum)"
in_net ip -s link show krun0 | tr -s ' ' >"$work/out"
out_has "NOARP,UP"

say "a VMM that is killed; the namespace lives on"
kill -KILL "$(cat "$work/$id.pid")"
wait_for 60 container_is "$id" stopped
in_net ip -o link >"$work/links"
check "its tap has gone" "" "$(grep krun "$work/links" || true)"
status 0 krun-oci delete "$id"
in_net tc qdisc show dev eth0 ingress >"$work/hooks"
check "no hook stays" "" "$(cat "$work/hooks")"
check "the interface is the namespace's again" 0 "$(in_net busybox ping -c 1 -W 60 10.9.8.1 >/dev/null 2>&1; echo $?)"
kill "$web"
wait "$web" 2>/dev/null || true
web=''

say "a tap that is there, and who hands out addresses behind it"
edit b 'del(.annotations["krun-oci.net"]) | .annotations["krun.tap_name"] = "tap5"'
created "$id" b
check "made" 0 "$rc"
status 1 krun-oci start "$id"
err_has 'the container'"'"'s network namespace has no tap "tap5"'
in_net ip tuntap add tap5 mode tap
in_net ip address add 10.7.7.1/24 dev tap5
in_net ip link set tap5 up
printf '%s\n' 'start 10.7.7.5' 'end 10.7.7.5' 'interface tap5' "lease_file $work/leases" 'option subnet 255.255.255.0' 'option router 10.7.7.1' >"$work/udhcpd.conf"
: >"$work/leases"
in_net_bg busybox udhcpd -f "$work/udhcpd.conf" >"$work/udhcpd.log" 2>&1 &
web=$!
served() { [ -n "$(in_net ss -Hlun 'sport = :67')" ]; }
wait_for 60 served
status 0 krun-oci start "$id"
status 0 krun-oci exec "$id" ip route
check "its address and route" "default via 10.7.7.1 dev eth0 10.7.7.0/24 dev eth0 scope link src 10.7.7.5" "$(tr -s ' ' <"$work/out" | sed 's/ *$//' | words -)"
wait_for 30 in_net busybox wget -q -O /dev/null http://10.7.7.5/big
status 0 krun-oci delete --force "$id"
check "the tap stays" 1 "$(in_net ip -o link show tap5 | wc -l)"
kill "$web"
wait "$web" 2>/dev/null || true
web=''

say "passt, with the addresses of one interface of two"
command -v passt >/dev/null || die "no passt (tests/deps e2e installs it)"
edit b 'del(.annotations["krun.tap_name"]) | .annotations += { "krun.use_passt": "1", "krun-oci.net.listen": "allow 80", "krun-oci.net.interface": "eth0" }'
created "$id" b
check "made" 0 "$rc"
status 0 krun-oci start "$id"
in_far_bg busybox httpd -f -p 8080 -h "$work/www" &
web=$!
check "addresses and MTU" "10.9.8.7/24 fd77::7/64 mtu 65520" "$(krun-oci exec "$id" ip address show dev eth0 | grep -o -e '10.9.8.7/24' -e 'fd77::7/64' -e 'mtu [0-9]*' | sort | words -)"
sum=$(md5sum <"$work/www/big")
wait_for 60 in_far busybox wget -q -O /dev/null http://10.9.8.7/big
wait_for 60 in_far busybox wget -q -O /dev/null http://10.9.8.1:8080/big
check "to the guest" "$sum" "$(krun-oci exec "$id" sh -c 'wget -q -O - http://10.9.8.1:8080/big | md5sum')"
sum=$(krun-oci exec "$id" md5sum /tmp/www/big | cut -d' ' -f1)
check "from the guest" "$sum  -" "$(in_far busybox wget -q -O - http://10.9.8.7/big | md5sum)"
check "from the guest, IPv6" "$sum  -" "$(in_far busybox wget -q -O - 'http://[fd77::7]/big' | md5sum)"
check "it is in the container's cgroup" 1 "$(xargs -I{} cat /proc/{}/comm <"/sys/fs/cgroup$(cut -d: -f3 "/proc/$(cat "$work/$id.pid")/cgroup")/cgroup.procs" | grep -c passt)"
kill -KILL "$(cat "$work/$id.pid")"
passt_gone() { [ -z "$(in_net ss -Hltn 'sport = :80')" ]; }
wait_for 60 passt_gone
ok "it ends with the VMM"
status 0 krun-oci delete "$id"
kill "$web"
wait "$web" 2>/dev/null || true
web=''
done_testing
