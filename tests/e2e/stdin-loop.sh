#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Again and again a file as stdin, with the machine busy, LOOPS times: no run may hang. On a hang it tells where everything stands.
# long: yes
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

for ((i = 0; i < loops; i++)); do
	rm -f "$work/log"
	rc=0
	limited 60 "$id-$i" krun-oci --debug --log "$work/log" run --bundle "$work/b" "$id-$i" <"$work/in" >"$work/out" 2>"$work/err" || rc=$?
	[ "$rc" = 7 ] || { tail -n 40 "$work/log" >"$work/out"; die "run $i: exit status $rc (124: it hung)"; }
	[ "$(head -n 1 "$work/out")" = "$sum" ] || die "run $i: a wrong sum"
done
ok "$loops runs"
done_testing
