#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# CONNS (1000) connections at once, guest as the client and as the server, and SHORT (2000) short ones each way: none lost, nothing left.
# CPUS (1) of the guest.
# timeout: 900
# shellcheck source=../e2e/net-lib.sh
. "$(dirname "$0")/../e2e/net-lib.sh"
short=${SHORT:-2000} conns=${CONNS:-1000}
net_start ".annotations[\"krun.cpus\"] = \"${CPUS:-1}\""
cp "$top/tests/soak/net-many.py" "$work/b/rootfs/srv/"
many=(bash -c 'ulimit -n 8192; exec python3 /srv/net-many.py "$@"' many)
host_bg many-host "${many[@]}" serve 8100
guest_bg many-guest "${many[@]}" serve 8101
listening 8100
listening 8101

# What each side holds: sockets of the VMM, one for each of the guest's; sockets of programs in the guest, and those of vsock beneath them.
held() {
	local n
	n=$(find "/proc/$vmm/fd" -lname 'socket:*' 2>/dev/null | wc -l)
	echo "$n sockets of the VMM, in the guest $(guest sh -c 'sed -n "s/^sockets: used/used/p; s/^TCP: \(inuse [0-9]* orphan [0-9]*\).*/\1/p" /proc/net/sockstat; ss -H --vsock -a | wc -l' | words -)"
}
# The figures come to rest when the ends of all connections have crossed.
as_before() { # WHAT
	local i now
	for ((i = 0; i < 20; i++)); do
		now=$(held)
		[ "$now" != "$before" ] || break
		sleep 0.2
	done
	check "$1" "$before" "$now"
}

check "warm: the guest calls" 20 "$(guest "${many[@]}" short 127.0.0.1 8100 20 5)"
check "warm: the host calls" 20 "$(host "${many[@]}" short 127.0.0.1 8101 20 5)"
# What came before has ended when two counts agree.
before=$(held)
for ((i = 0; i < 20; i++)); do
	now=$(held)
	[ "$now" != "$before" ] || break
	before=$now
done
check "the counts have come to rest" "$before" "$now"
say "at first: $before"
for from in guest host; do
	port=8100
	[ $from = guest ] || port=8101
	start=$EPOCHSECONDS
	check "$from: $conns connections at once" "$conns" "$($from "${many[@]}" hold 127.0.0.1 $port "$conns" 2>&1)"
	as_before "... and nothing left of them"
	say "$conns connections at once, called by the $from, seconds: $((EPOCHSECONDS - start))"
	start=$EPOCHSECONDS
	check "$from: $short short connections" "$short" "$($from "${many[@]}" short 127.0.0.1 $port "$short" 20 2>&1)"
	as_before "... and nothing left of them"
	say "$short short connections, called by the $from, seconds: $((EPOCHSECONDS - start))"
done
done_testing
