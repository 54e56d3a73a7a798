#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd drives the runtime through ctr and its runc shim: run, exec, kill, pause, metrics, ps, a network by CNI.
# CLIENT_RUNTIME=runc says what is runc's.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck source=containerd-lib.sh
. "$(dirname "$0")/containerd-lib.sh"

runtime=${CLIENT_RUNTIME:-krun-oci}
run_opts=(--runc-binary "$(command -v "$runtime")" --runc-root "$work/runc")
httpd=''
# shellcheck disable=SC2317 # called by the trap
end_tasks() {
	local t
	[ -z "$httpd" ] || kill "$httpd" 2>/dev/null || true
	for t in $(ctr_ task ls -q 2>/dev/null || true); do ctr_ task rm -f "$t" >/dev/null 2>&1 || true; done
	end_containerd
}
trap end_tasks EXIT
bundle b busybox
rootfs=$work/b/rootfs

say "run"
status 7 ctr_ run --rm "${run_opts[@]}" --rootfs --cwd /tmp --env A=b "$rootfs" "$id-1" /bin/sh -c 'echo "hello $A $(pwd) $$"; exit 7'
out_has "hello b /tmp 1"
run ctr_ run --rm "${run_opts[@]}" --rootfs "$rootfs" "$id-1" no-such-program
[ "$rc" != 0 ] || die "a missing program runs"
err_has "not found"

say "in the background"
status 0 ctr_ run -d "${run_opts[@]}" --memory-limit 200000000 --rootfs "$rootfs" "$id-2" /bin/sh -c 'trap "exit 3" TERM; sleep 1000000 & while :; do wait; done'
check "running" RUNNING "$(ctr_ task ls | awk -v c="$id-2" '$1 == c { print $3 }')"
pid=$(ctr_ task ls | awk -v c="$id-2" '$1 == c { print $2 }')
status 0 ctr_ task exec --exec-id e1 "$id-2" /bin/sh -c 'echo in there'
out_has "in there"
status 9 ctr_ task exec --exec-id e2 "$id-2" /bin/sh -c 'exit 9'
status 0 ctr_ task ps "$id-2"
out_has "$pid"
status 0 ctr_ task metrics "$id-2"
out_has memory.usage
status 0 ctr_ task pause "$id-2"
check "paused" PAUSED "$(ctr_ task ls | awk -v c="$id-2" '$1 == c { print $3 }')"
status 0 ctr_ task resume "$id-2"
status 0 ctr_ task kill -s TERM "$id-2"
stopped() { [ "$(ctr_ task ls | awk -v c="$id-2" '$1 == c { print $3 }')" = STOPPED ]; }
wait_for 60 stopped
status 0 ctr_ task rm "$id-2"
err_has "exit code 3"
status 0 ctr_ container rm "$id-2"
say "a network of CNI's plugins"
# ctr itself runs the plugins, and looks for them and their configuration where the machine's own are.
[ -x /usr/lib/cni/ptp ] || die "no CNI plugins (tests/deps clients installs them)"
mkdir -p "$work/cni/net.d" "$work/www" "$rootfs/www"
cat >"$work/cni/net.d/10-test.conflist" <<-END
	{ "cniVersion": "0.4.0", "name": "krun-test", "plugins": [{ "type": "ptp", "ipam": { "type": "host-local",
	"subnet": "10.99.0.0/24", "dataDir": "$work/ipam", "routes": [{ "dst": "0.0.0.0/0" }] } }] }
END
echo from the host >"$work/www/index.html"
echo from the guest >"$rootfs/www/index.html"
busybox httpd -f -p 8081 -h "$work/www" &
httpd=$!
# shellcheck disable=SC2016 # the other shell's arguments
with_cni() { # COMMAND...
	unshare --mount bash -euc 'mount -t tmpfs tmpfs /opt; mkdir -p /opt/cni /etc/cni; ln -s /usr/lib/cni /opt/cni/bin; mount --bind "$0" /etc/cni; exec "$@"' "$work/cni" "$@"
}
with_cni ctr --address "$sock" run --rm --cni "${run_opts[@]}" --rootfs "$rootfs" "$id-3" \
	/bin/sh -c 'wget -q -O - http://10.99.0.1:8081/; httpd -f -p 80 -h /www' >"$work/cni.out" 2>"$work/err" </dev/null &
run=$!
address() { ip=$(find "$work/ipam" -name '10.*' -printf '%f\n' 2>/dev/null) && [ -n "$ip" ]; }
wait_for 120 address
wait_for 120 get "$ip" 80
check "the host reaches the container" "from the guest" "$(get "$ip" 80)"
check "the container reaches the host" "from the host" "$(cat "$work/cni.out")"
status 0 ctr_ task kill -s KILL "$id-3"
wait $run || true
kill "$httpd"
check "its address is free again" "" "$(find "$work/ipam" -name '10.*')"
check "nothing is left" "" "$("$runtime" --root "$work/runc/default" list --quiet 2>/dev/null || "$runtime" --root "$work/runc" list --quiet)"
done_testing
