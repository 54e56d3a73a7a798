#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pods by hand: a sandbox container holds the namespaces and has no VM, another container joins them.
# timeout: 300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle s busybox --args '["/pause"]' --set '.hostname="the-pod" | .linux.namespaces |= map(select(.type != "network")) + [{"type":"network"}]'
shared_bundle c busybox
snapshot_host | sort >"$work/host.before"
sb=$id-s
sandbox() { # ARGS EDIT
	edit s ".process.args=$1 | $2"
	created "$sb" s
	[ "$rc" = 0 ] || die "create: $(cat "$work/$sb.err")"
	pid=$(cat "$work/$sb.pid")
}

say "a sandbox"
sandbox '["/pause"]' .
[ -z "$(find "/proc/$pid/fd" -lname '*kvm*')" ] || die "it has /dev/kvm open"
check "one thread, and no VM" 1 "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)"
check "no capability" 0000000000000000 "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")"
check "no memory to speak of" yes "$([ "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")" -lt 4096 ] && echo yes)"
status 0 krun-oci start "$sb"
status 1 krun-oci start "$sb"
err_has "already running"
container_is "$sb" running || die "it is not running"
status 1 krun-oci exec "$sb" sh
err_has "sandbox container"
status 1 krun-oci exec --detach --pid-file "$work/exec.pid" "$sb" sh
check "no pid file of it" no "$([ -e "$work/exec.pid" ] && echo yes || echo no)"
status 0 krun-oci ps --format json "$sb"
check "ps" "[$pid]" "$(tr -d ' \n' <"$work/out")"
status 0 krun-oci ps "$sb"
check "it has no processes" 1 "$(wc -l <"$work/out")"
status 0 krun-oci pause "$sb"
container_is "$sb" paused || die "it is not paused"
status 0 krun-oci kill "$sb" HUP
status 0 krun-oci resume "$sb"
container_is "$sb" running || die "it has ended of a signal that nobody takes"

say "a container in its namespaces"
edit c ".process.args=[\"sh\",\"-c\",\"hostname; wget -q -O- http://127.0.0.1:8000/\"] | del(.hostname) | .linux.namespaces |= map(select(.type | IN(\"network\", \"uts\", \"ipc\") | not))
	+ [\"network\", \"uts\", \"ipc\" | {type: (if . == \"network\" then \"network\" else . end), path: \"/proc/$pid/ns/\\(if . == \"network\" then \"net\" else . end)\"}]"
mkdir "$work/www"
echo from the pod >"$work/www/index.html"
nsenter -t "$pid" -n busybox httpd -f -p 127.0.0.1:8000 -h "$work/www" >"$work/httpd" 2>&1 &
httpd=$!
wait_for 60 nsenter -t "$pid" -n busybox wget -q -O /dev/null http://127.0.0.1:8000/
run krun-oci --log "$work/log" --log-level warning run --bundle "$work/c" "$id"
kill $httpd
check "it runs" 0 "$rc"
check "its name and its network" "the-pod from the pod" "$(words "$work/out")"
check "one warning" 1 "$(grep -c "joined on the host only" "$work/log")"
edit c ".linux.namespaces |= map(select(.type != \"pid\")) + [{type: \"pid\", path: \"/proc/$pid/ns/pid\"}]"
status 1 krun-oci run --bundle "$work/c" "$id"
err_has "a pid namespace cannot be shared"

say "its end"
status 0 krun-oci kill "$sb" TERM
check "exit status" 0 "$(exit_of "$sb")"
status 0 krun-oci delete "$sb"
sandbox '["/no/such/program"]' '.annotations={"io.kubernetes.cri.container-type":"sandbox"}'
status 0 krun-oci start "$sb"
status 0 krun-oci kill "$sb" KILL
check "killed" "signal 9" "$(exit_of "$sb")"
status 0 krun-oci delete "$sb"
sandbox '["/catatonit","-P"]' '.annotations={}'
status 0 krun-oci delete --force "$sb"
edit s '.hooks={"startContainer":[{"path":"/bin/true"}]}'
status 1 krun-oci create --bundle "$work/s" "$sb"
err_has "hooks.startContainer"
host_is_as "$work/host.before"
done_testing
