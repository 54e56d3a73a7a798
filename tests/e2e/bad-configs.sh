#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bad configs and bad bundles: one sentence on stderr, one JSON object in the log, status 1, nothing left. LONG=1: every bad config of
# test_spec_bad, which looks at the sentences of all; else one of twelve.
# timeout: 720
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

build=${KRUN_BUILD:-$top}
dump=''
for f in "$build/tests/unit/test_spec_bad" "$build/build-asan/tests/unit/test_spec_bad"; do
	if [ -x "$f" ]; then dump=$f; fi
done
[ -n "$dump" ] || die "tests/unit/test_spec_bad is not built"
mkdir "$work/bad"
"$dump" --dump "$work/bad" >/dev/null
bundle b busybox
cp "$work/b/config.json" "$work/config.good"
snapshot_host | sort >"$work/host.before"

# Runs create with a log in JSON, expects the failure. No other program: there are many of these.
mkdir "$work/logs"
logs=0
declare -A wants=() names=() # by log: numbered, since a name may not be UTF-8 and jq would change it
fails() { # NAME WANT [ARG...]
	local name=$1 want=$2 log=$work/logs/$((logs++)).log err
	shift 2
	rc=0
	krun-oci --log "$log" --log-format json create --pid-file "$work/pid" "$@" >"$work/out" 2>"$work/err" </dev/null || rc=$?
	[ "$rc" = 1 ] || die "$name: status $rc, not 1"
	[ ! -s "$work/out" ] || die "$name: output on stdout"
	err=$(<"$work/err")
	[[ -n $err && $err != *$'\n'* ]] || die "$name: not one line on stderr"
	[[ $err == *"$want"* ]] || die "$name: stderr lacks: $want"
	[ ! -e "$work/pid" ] || die "$name: a pid file"
	wants[$log]=$want
	names[$log]=$name
	n=$((n + 1))
}

# Each log holds one object, of level error, with a time, and the message in it.
logs_hold() {
	local log rest seen=0
	while IFS=$'\t' read -r log rest; do
		[[ $rest == 1$'\t'error$'\t'true$'\t'* ]] || die "${names[$log]}: $rest"
		[[ $rest == *"${wants[$log]}"* ]] || die "${names[$log]}: $rest lacks: ${wants[$log]}"
		seen=$((seen + 1))
	done < <(jq -nr 'reduce inputs as $x ({}; .[input_filename] += [$x]) | to_entries[] |
		"\(.key)\t\(.value | length)\t\(.value[0].level)\t\(.value[0].time | test("^[0-9]{4}-[0-9-]+T[0-9:.]+Z$"))\t\(.value[0].msg)"' "$work/logs"/*.log)
	[ "$seen" = "${#wants[@]}" ] || die "$seen logs of ${#wants[@]}"
	ok "each log holds one object with level error, and the same words"
}

n=0
start=$EPOCHSECONDS
bad=("$work/bad"/*.json)
[ "${#bad[@]}" -ge 60 ] || die "only ${#bad[@]} bad configs"
step=12
! long || step=1
for ((i = 0; i < ${#bad[@]}; i += step)); do
	f=${bad[i]}
	name=${f##*/}
	name=${name%.json}
	ln -f "$f" "$work/b/config.json"
	fails "$name" "$(<"$work/bad/$name.want")" --bundle "$work/b" "$id"
done
logs_hold
ok "$n bad configs in $((EPOCHSECONDS - start)) s"
host_is_as "$work/host.before"

say "bad bundles"
n=0
good() { # [JQ]
	rm -rf "$work/b/config.json"
	cp "$work/config.good" "$work/b/config.json"
	[ $# = 0 ] || edit b "$1"
}
fails "no bundle" "No such file or directory" --bundle "$work/no-such" "$id"
fails "a bundle that is a file" "ot a directory" --bundle "$work/config.good" "$id"
rm "$work/b/config.json"
fails "no config" "config.json" --bundle "$work/b" "$id"
mkdir "$work/b/config.json"
fails "config.json is a directory" "config.json" --bundle "$work/b" "$id"
rmdir "$work/b/config.json"
mkfifo "$work/b/config.json"
fails "config.json is a FIFO" "config.json" --bundle "$work/b" "$id"
good '.root.path="no-such"'
fails "no rootfs" "root.path" --bundle "$work/b" "$id"
good '.root.path="config.json"'
fails "a rootfs that is a file" "root.path" --bundle "$work/b" "$id"
good 'del(.root)'
fails "no root" "root" --bundle "$work/b" "$id"
good '.mounts+=[{"destination":"/mnt","type":"bind","source":"/no/such/source","options":["bind"]}]'
fails "no bind source" "/no/such/source" --bundle "$work/b" "$id"
good '.linux.namespaces|=map(if .type=="ipc" then .path="/no/such/ns" else . end)'
fails "no namespace" "/no/such/ns" --bundle "$work/b" "$id"
good '.linux.namespaces|=map(if .type=="network" then .path="/proc/self/ns/mnt" else . end)'
fails "a namespace of another type" "namespace" --bundle "$work/b" "$id"
good '.process.args=["/no/such/program"]'
fails "no program" "no such file or directory" --bundle "$work/b" "$id"
good
for bad in .. . a/../b "x$(printf '\xff')" '-'; do
	fails "id '$bad'" "id" --bundle "$work/b" -- "$bad"
done
fails "an empty id" "id" --bundle "$work/b" ""
logs_hold
ok "$n bad bundles and ids"
status 1 krun-oci --log-format xml create --bundle "$work/b" "$id"
status 1 krun-oci --log /no/such/dir/log create --bundle "$work/b" "$id"
status 1 krun-oci create --pid-file /no/such/dir/pid --bundle "$work/b" "$id"
status 1 krun-oci --systemd-cgroup create --bundle "$work/b" "$id"
host_is_as "$work/host.before"

say "a rootfs through a symlink is where the link leads"
mv "$work/b/rootfs" "$work/elsewhere"
ln -s ../elsewhere "$work/b/rootfs"
edit b '.process.args=["sh","-c","exit 12"]'
status 12 krun-oci run --bundle "$work/b" "$id"
host_is_as "$work/host.before"
done_testing
