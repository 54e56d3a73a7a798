#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs that take their time, in a guest and on its host side. NET_HEAVY (redis) names the sections that are run, which are the
# functions below; `tests/soak/run net` runs all.
# timeout: 900
# shellcheck source=../e2e/net-lib.sh
. "$(dirname "$0")/../e2e/net-lib.sh"
net_start .
rootfs=$work/b/rootfs
requests=${REQUESTS:-2000}

redis() {
	for on in host guest; do
		port=6380
		[ $on = host ] || port=6381
		${on}_bg redis-$on redis-server --port $port --bind 127.0.0.1 ::1 --save '' --dir /tmp --maxclients 2000
	done
	listening 6380
	listening 6381
	for from in guest host; do
		port=6380
		[ $from = guest ] || port=6381
		for opts in "-c 50 -t ping,set,get,lpush,mset" "-c 20 -P 16 -d 4000 -t set,get"; do
			# shellcheck disable=SC2086 # words
			$from redis-benchmark -h 127.0.0.1 -p $port -n "$requests" --csv $opts >"$work/out" 2>"$work/err" || die "redis-benchmark $opts"
			! grep -qi 'error\|closed' "$work/out" "$work/err" || die "redis-benchmark $opts"
			say "$from's redis-benchmark $opts, requests/s each: $(awk -F'","' 'NR > 1 { sub(/^"/, "", $1); printf "%s %d, ", $1, $2 }' "$work/out")"
			ok "$from's redis-benchmark $opts"
		done
		check "$from's redis-cli through ::1" "$requests" "$($from redis-cli -h ::1 -p $port eval 'for i = 1, tonumber(ARGV[1]) do redis.call("incr", "n") end return redis.call("get", "n")' 0 "$requests")"
	done
}

postgresql() {
	owner=$(stat -c %u:%g "$rootfs/var/lib/postgresql/15/main")
	printf 'host all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n' >"$rootfs/srv/pg_hba.conf"
	krun-oci exec --user "$owner" "$id" /usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/15/main/postgresql.conf \
		-c hba_file=/srv/pg_hba.conf -c listen_addresses='127.0.0.1,::1' -c port=5433 -c unix_socket_directories=/tmp -c ssl=off \
		-c external_pid_file=/tmp/pg.pid >"$work/postgres.log" 2>&1 </dev/null &
	listening 5433
	pg=(-h 127.0.0.1 -p 5433 -U postgres)
	for from in host guest; do
		$from /usr/lib/postgresql/15/bin/pgbench "${pg[@]}" -i -s 2 -q postgres >"$work/out" 2>&1 || die "pgbench -i"
		ok "$from's pgbench makes its tables"
		for opts in "-c 8 -t 50" "-c 8 -t 50 -M prepared -S" "-c 4 -t 20 -C"; do
			# shellcheck disable=SC2086 # words
			$from /usr/lib/postgresql/15/bin/pgbench "${pg[@]}" -n $opts postgres >"$work/out" 2>"$work/err" || die "pgbench $opts"
			grep -q 'failed transactions: 0 ' "$work/out" || die "pgbench $opts"
			say "$from's pgbench $opts: each $(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/out" | tail -n 1) transactions/s"
			ok "$from's pgbench $opts"
		done
		check "$from's psql, 2 MB in one answer" 2000000 "$($from psql "${pg[@]}" -h ::1 -At -c "select repeat('x', 2000000)" postgres | tr -d '\n' | wc -c)"
	done
}

iperf3() {
	for on in host guest; do
		port=5201
		[ $on = host ] || port=5202
		${on}_bg iperf-$on iperf3 -s -p $port
	done
	listening 5201
	listening 5202
	for from in guest host; do
		port=5201
		[ $from = guest ] || port=5202
		for opts in "" -R "-P 4" "-P 4 -R" --bidir "-u -b 5M -l 1400" "-u -b 5M -l 1400 -R" "-u -b 2M -l 8000 -P 4"; do
			# shellcheck disable=SC2086 # words
			$from iperf3 -c 127.0.0.1 -p $port -t 3 --connect-timeout 20000 -J $opts >"$work/out" 2>"$work/err" || die "iperf3 $opts: $(jq -r .error "$work/out")"
			said=$(jq -r '.end | (.sum_received // .sum) | "\(.bytes) bytes, \(.bits_per_second / 1e6 | floor) Mbit/s\(if .lost_packets then ", \(.lost_packets) of \(.packets) lost" else "" end)"' "$work/out")
			[ "${said%% *}" -gt 100000 ] || die "iperf3 $opts: $said"
			say "$from's iperf3 $opts, each: $said"
			ok "$from's iperf3 $opts"
		done
	done
}

ssh() {
	head -c 2000000 /dev/urandom >"$rootfs/srv/blob"
	sum=$(sha256sum <"$rootfs/srv/blob")
	mkdir -m 700 "$rootfs/srv/ssh"
	host ssh-keygen -q -t ed25519 -N '' -f /srv/ssh/key
	host ssh-keygen -q -t ed25519 -N '' -f /srv/ssh/host
	cp "$rootfs/srv/ssh/key.pub" "$rootfs/srv/ssh/keys"
	sshd=(-D -e -f /dev/null -h /srv/ssh/host -o AuthorizedKeysFile=/srv/ssh/keys -o PermitRootLogin=yes -o Subsystem="sftp internal-sftp" -o UsePAM=no)
	ssh_opts=(-i /srv/ssh/key -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR -o BatchMode=yes)
	for on in host guest; do $on mkdir -p /run/sshd; done
	host_bg sshd-host /usr/sbin/sshd "${sshd[@]}" -p 2201
	guest_bg sshd-guest /usr/sbin/sshd "${sshd[@]}" -p 2202
	listening 2201
	listening 2202
	for from in guest host; do
		port=2202
		[ $from = host ] || port=2201
		other=guest
		[ $from = host ] || other=host
		check "$from's ssh, which uname tells" "$($other uname -r)" "$($from ssh "${ssh_opts[@]}" -p $port root@127.0.0.1 uname -r 2>&1)"
		check "$from's ssh, bytes through cat" "$sum" "$($from ssh "${ssh_opts[@]}" -p $port root@127.0.0.1 cat <"$rootfs/srv/blob" | sha256sum)"
		$from scp -q "${ssh_opts[@]}" -P $port /srv/blob "root@[::1]:/tmp/scp-to" </dev/null 2>"$work/err" || die "scp"
		$from scp -q "${ssh_opts[@]}" -P $port "root@[::1]:/tmp/scp-to" /tmp/scp-back </dev/null 2>"$work/err" || die "scp back"
		check "$from's scp there and back" "$sum" "$($from sha256sum </dev/null /tmp/scp-back | sed 's/ .*/  -/')"
	done
}

# nginx on both sides, for two sections.
nginx_start() {
	[ -z "${bg[nginx-host]:-}" ] || return 0
	cat >"$rootfs/srv/nginx.conf" <<-'END'
		daemon off; worker_processes 2; error_log /tmp/nginx.log; pid /tmp/nginx.pid;
		events { worker_connections 4096; }
		http {
			access_log off; keepalive_requests 1000000; client_body_temp_path /tmp/n1; proxy_temp_path /tmp/n2;
			fastcgi_temp_path /tmp/n3; uwsgi_temp_path /tmp/n4; scgi_temp_path /tmp/n5;
			server { listen PORT reuseport backlog=4096; location / { return 200 "hello from memory"; } location /packages { root /srv; } }
		}
	END
	for on in host guest; do
		port=8080
		[ $on = host ] || port=8081
		sed "s/PORT/$port/" "$rootfs/srv/nginx.conf" >"$rootfs/srv/nginx-$on.conf"
		${on}_bg nginx-$on nginx -c /srv/nginx-$on.conf
	done
	listening 8080
	listening 8081
}

wrk() {
	nginx_start
	for from in guest host; do
		port=8080
		[ $from = guest ] || port=8081
		for conns in 10 400; do
			$from wrk -t 1 -c $conns -d 10 --timeout 10s "http://127.0.0.1:$port/" >"$work/out" 2>&1 || die "wrk -c $conns"
			! grep -q 'Socket errors\|Non-2xx' "$work/out" || die "wrk -c $conns: errors"
			say "$from's wrk -c $conns, requests/s each: $(awk '/Requests.sec/ { print $2 }' "$work/out")"
			ok "$from's wrk -c $conns"
		done
	done
}

apt() {
	nginx_start
	apt=(apt-get -qq -o APT::Update::Error-Mode=any -o Dir::Etc::sourcelist=/srv/sources.list -o Dir::Etc::sourceparts=/dev/null)
	echo "deb [trusted=yes] http://127.0.0.1:8080/packages ./" >"$rootfs/srv/sources.list"
	status 0 guest "${apt[@]}" update
	status 0 guest "${apt[@]}" install hello
	check "the installed program" "Hello, world!" "$(guest hello)"
}

node() {
	cp "$top/tests/soak/net-http.js" "$rootfs/srv/"
	host_bg node-host node /srv/net-http.js serve 8092
	guest_bg node-guest node /srv/net-http.js serve 8093
	listening 8092
	listening 8093
	for from in guest host; do
		port=8092
		[ $from = guest ] || port=8093
		for to in 127.0.0.1 ::1; do
			check "$from's node to $to, 60 connections kept" "1000 right, connections kept" "$($from node /srv/net-http.js call $to $port 60 1000 2>&1)"
		done
	done
}

for section in ${NET_HEAVY:-redis}; do
	say "$section"
	"$section"
done
done_testing
