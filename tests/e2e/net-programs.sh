#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's programs, unmodified, in a guest and on its host side, in both directions: curl, nginx, python's asyncio, dig
# and unbound, glibc's resolver, ping.
# long: yes
# timeout: 900
# shellcheck source=net-lib.sh
. "$(dirname "$0")/net-lib.sh"
hosts=$work/hosts resolv=$work/resolv.conf
printf '127.0.0.1 localhost\n::1 localhost\n192.0.2.9 given.by.hosts\nfd77::9 given.by.hosts\n' >"$hosts"
printf 'nameserver 127.0.0.1\noptions timeout:30\n' >"$resolv"
net_start '.mounts += [{ destination: "/etc/hosts", type: "bind", source: "'"$hosts"'", options: ["rbind", "ro"] },
	{ destination: "/etc/resolv.conf", type: "bind", source: "'"$resolv"'", options: ["rbind", "ro"] }] |
	.linux.sysctl = { "net.ipv4.conf.eth0.arp_ignore": "1", "net.ipv6.neigh.eth0.gc_stale_time": "61" }'
cp "$hosts" "$resolv" "$work/b/rootfs/etc/"
rootfs=$work/b/rootfs
mkdir "$rootfs/srv/www"
head -c 5000000 /dev/urandom >"$rootfs/srv/www/blob"
echo hello >"$rootfs/srv/www/small"
sum=$(sha256sum <"$rootfs/srv/www/blob")

# nginx with two workers, on PORT of all addresses of both families, and with its files in /tmp/NAME.
nginx_conf() { # NAME PORT [OPTIONS of listen]
	cat >"$rootfs/srv/$1.conf" <<-END
		daemon off; worker_processes 2; pid /tmp/$1.pid; error_log /tmp/$1.log;
		worker_rlimit_nofile 8192;
		events { worker_connections 4096; }
		http {
			access_log off; keepalive_requests 100000; client_body_temp_path /tmp/$1-body; proxy_temp_path /tmp/$1-proxy;
			fastcgi_temp_path /tmp/$1-f; uwsgi_temp_path /tmp/$1-u; scgi_temp_path /tmp/$1-s;
			sendfile on; tcp_nopush on;
			server {
				listen $2 ${3:-}; listen [::]:$2 ipv6only=on ${3:-};
				root /srv/www;
				location /put/ { root /tmp; client_max_body_size 100m; dav_methods PUT; create_full_put_path on; }
				location /back/ { proxy_pass http://127.0.0.1:\$arg_port/small; }
			}
		}
	END
}

say "curl and nginx"
nginx_conf here 8080
nginx_conf there 8081 reuseport
host_bg nginx-host nginx -c /srv/here.conf
guest_bg nginx-guest nginx -c /srv/there.conf
listening 8080
listening 8081
for from in guest host; do
	port=8081
	[ $from = host ] || port=8080
	for to in 127.0.0.1 "[::1]" "$HOST_IP" "[$HOST_IP6]" localhost; do
		check "$from's curl from $to" "$sum" "$($from curl -sS "http://$to:$port/blob" | sha256sum)"
	done
	check "$from's curl sends a file" "201 $sum" "$($from curl -sS -o /dev/null -w '%{http_code}' -T /srv/www/blob "http://127.0.0.1:$port/put/blob-$from") $(
		$from curl -sS "http://127.0.0.1:$port/put/blob-$from" | sha256sum)"
	check "$from's curl, twenty in parallel" 20 "$($from curl -sS -Z --parallel-immediate "http://127.0.0.1:$port/small?[1-20]" 2>"$work/err" | grep -c hello)"
done
check "nginx of the guest is a proxy for that of the host" hello "$(host curl -sS 'http://127.0.0.1:8081/back/?port=8080')"
check "nginx of the host is a proxy for that of the guest" hello "$(guest curl -sS 'http://127.0.0.1:8080/back/?port=8081')"
run guest curl -sS http://127.0.0.1:8099/
check "curl from nobody" 7 "$rc"

say "python's asyncio"
cp "$top/tests/e2e/net-echo.py" "$rootfs/srv/"
host_bg echo-host python3 /srv/net-echo.py serve 8090
guest_bg echo-guest python3 /srv/net-echo.py serve 8091
listening 8090
listening 8091
for from in guest host; do
	for to in 127.0.0.1 ::1; do
		n=0
		[ $from = guest ] || n=1
		check "$from's asyncio to $to" "40 streams 60 datagrams" "$($from python3 /srv/net-echo.py call $to $((8090 + n)) 40 60 2>&1)"
	done
done
check "asyncio inside the guest" "10 streams 20 datagrams" "$(guest python3 /srv/net-echo.py call ::1 8091 10 20 2>&1)"

say "dig and unbound"
# Answers over 4 KiB, so that a truncated one has to be asked for again by TCP.
{
	printf 'server:\n do-daemonize: no\n username: ""\n chroot: ""\n use-syslog: no\n num-threads: 1\n pidfile: ""\n so-reuseport: yes\n'
	printf ' max-udp-size: 1232\n local-zone: "test." static\n local-data: "a.test. A 192.0.2.7"\n local-data: "here.test. A 127.0.0.1"\n'
	printf ' local-data: "six.test. AAAA fd77::2"\n local-data: "here4.test. A %s"\n' "$HOST_IP"
	for i in {1..30}; do printf ' local-data: "big.test. TXT %0200d"\n' "$i"; done
	printf 'remote-control:\n control-enable: no\n'
} >"$rootfs/srv/unbound.conf"
for n in 53 5301; do
	sed "s/^server:/&\n interface: 127.0.0.1@$n\n interface: ::1@$n/" "$rootfs/srv/unbound.conf" >"$rootfs/srv/unbound-$n.conf"
done
host_bg unbound-host unbound -c /srv/unbound-53.conf
guest_bg unbound-guest unbound -c /srv/unbound-5301.conf
for n in 53 5301; do listening $n tcp && listening $n udp; done
for from in guest host; do
	port=53
	[ $from = guest ] || port=5301
	for to in 127.0.0.1 ::1; do
		check "$from's dig at $to" 192.0.2.7 "$($from dig +short +tries=1 +notcp @$to -p $port a.test)"
		check "... by TCP" 192.0.2.7 "$($from dig +short +tries=1 +tcp @$to -p $port a.test)"
		check "... by both, as it is long" 30 "$($from dig +short +tries=1 @$to -p $port big.test TXT | wc -l)"
	done
	check "$from's dig, forty questions" 40 "$(printf 'a.test\n%.0s' {1..40} | $from dig +short +tries=1 @127.0.0.1 -p $port -f - | grep -c 192.0.2.7)"
done

say "names, by the files that a manager gives"
check "resolv.conf" "192.0.2.7" "$(guest getent ahostsv4 a.test | awk '/STREAM/ { print $1 }')"
check "hosts" "192.0.2.9" "$(guest getent ahostsv4 given.by.hosts | awk '/STREAM/ { print $1 }')"
check "curl by a name" hello "$(guest curl -sS http://here.test:8080/small)"
check "curl by a name of the other family" hello "$(guest curl -sS http://six.test:8080/small)"
config='import socket, sys; print(*(a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80, int(sys.argv[2]), socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)))'
for from in host guest; do
	check "$from's AI_ADDRCONFIG, IPv4" 192.0.2.9 "$($from python3 -c "$config" given.by.hosts 2 2>&1 | tail -n 1)"
	check "$from's AI_ADDRCONFIG, IPv6" fd77::9 "$($from python3 -c "$config" given.by.hosts 10 2>&1 | tail -n 1)"
	check "$from's AI_ADDRCONFIG, both" "192.0.2.9 fd77::9" "$($from python3 -c "$config" given.by.hosts 0 2>&1 | tail -n 1 | tr ' ' '\n' | sort | words -)"
done

say "settings of an interface"
for from in host guest; do
	check "$from's" "1 61" "$($from cat /proc/sys/net/ipv4/conf/eth0/arp_ignore /proc/sys/net/ipv6/neigh/eth0/gc_stale_time | words -)"
done

say "ping"
for to in 127.0.0.1 ::1 "$HOST_IP" "$HOST_IP6"; do
	run guest ping -q -c 3 -i 0.2 -W 20 "$to"
	out_has "3 received"
done
run guest ping -q -c 2 -i 0.2 -W 20 -s 5000 "$HOST_IP"
out_has "2 received"

done_testing
