#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Again and again a file as stdin, with the machine busy, LOOPS times: no run may hang. On a hang it tells where everything stands.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

loops=${LOOPS:-3}
bundle b busybox
edit b '.process.args=["sh","-c","cat | md5sum; id; cat /proc/mounts; ls -la /; echo err >&2; exit 7"]'
head -c 1000000 /dev/urandom >"$work/in"
sum=$(md5sum <"$work/in")
# Two spinning processes: wake-ups that come late are what is looked for.
spinners=()
for _ in 1 2; do (while :; do :; done) & spinners+=("$!"); done
trap 'kill "${spinners[@]}"; cleanup' EXIT

where_it_stands() { # PID of the VMM
	local t
	for t in /proc/"$1"/task/*; do
		echo "# thread ${t##*/} $(cat "$t/comm"): $(paste -sd' ' "$t/stack")"
	done
	for f in "/proc/$1/fd"/*; do echo "# $f $(readlink "$f")"; done
	grep -H '' /proc/"$1"/fdinfo/* | grep -E 'tfd|eventfd-count' | sed 's/^/# /'
	ss -xp | grep "pid=$1," | sed 's/^/# /' || true
	if command -v gdb >/dev/null; then gdb -p "$1" -batch -nx -ex 'thread apply all bt 12' 2>/dev/null | grep -E '^(#|Thread)' | sed 's/^/# /'; fi
}

for ((i = 0; i < loops; i++)); do
	rm -f "$work/log"
	krun-oci --debug --log "$work/log" run --bundle "$work/b" "$id-$i" <"$work/in" >"$work/out" 2>"$work/err" &
	cli=$!
	end=$((EPOCHSECONDS + 60))
	while kill -0 $cli 2>/dev/null; do
		if [ "$EPOCHSECONDS" -ge "$end" ]; then
			where_it_stands "$(krun-oci state "$id-$i" | jq .pid)"
			die "run $i hangs"
		fi
		sleep 0.1
	done
	rc=0
	wait $cli || rc=$?
	[ "$rc" = 7 ] || { tail -n 40 "$work/log" >"$work/out"; die "run $i: exit status $rc"; }
	[ "$(head -n 1 "$work/out")" = "$sum" ] || die "run $i: a wrong sum"
done
ok "$loops runs"
done_testing
