#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fields that only a guest can show: scheduler, ioPriority, personality, time offsets, tmpcopyup, cgroup files by name, I/O limits.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
bundle b busybox
cp "$work/b/config.json" "$work/config.good"
# Fields share a container: each has an edit of the config and a script, whose output is in /out/NUMBER.
edits=. scripts='' whats=() wants=()
field() { # WHAT EXPECTED SCRIPT JQ
	edits+=" | $4"
	scripts+="( $3"$'\n'") >/out/${#whats[@]}"$'\n'
	whats+=("$1")
	wants+=("$2")
}
fields_are() {
	local i
	rm -rf "$work/b/rootfs/out"
	mkdir "$work/b/rootfs/out"
	jq --tab --arg s "$scripts exit 0" "$edits | .process.args=[\"sh\",\"-c\",\$s]" "$work/config.good" >"$work/b/config.json"
	run krun-oci run --bundle "$work/b" "$id"
	check "exit status" 0 "$rc"
	for i in "${!whats[@]}"; do check "${whats[i]}" "${wants[i]}" "$(words "$work/b/rootfs/out/$i")"; done
	edits=. scripts='' whats=() wants=()
}

# Fields 18, 19, 40 and 41 of stat: priority, nice, rt_priority, policy.
stat='cut -d" " -f18,19,40,41 /proc/self/stat'
propagation() { # PROPAGATION OF_ROOT PRIVATE UNBINDABLE
	local tag='awk "\$5 == \"/\" || \$5 ~ \"^/run/p\" { sub(/:.*/, \"\", \$7); print \$5, \$7 }" /proc/self/mountinfo'
	field "rootfsPropagation $1" "/ $2 /run/pp $3 /run/ps shared /run/pu $4" "$tag" ".linux.rootfsPropagation=\"$1\"
		| .mounts+=([\"shared\",\"private\",\"unbindable\"] | map({destination:(\"/run/p\" + .[0:1]),type:\"tmpfs\",source:\"t\",options:[.]}) | sort_by(.destination))"
}
field "scheduler: round robin" "-6 0 5 2" "$stat" '.process.scheduler={"policy":"SCHED_RR","priority":5}'
field "ioPriority" "idle" "ionice -p 1 | cut -d: -f1" '.process.ioPriority={"class":"IOPRIO_CLASS_IDLE"}'
field "personality" "i686" "uname -m" '.linux.personality={"domain":"LINUX32"}'
# shellcheck disable=SC2016 # awk's
field "time offsets" "monotonic 1000 5 boottime 864000 0 1" 'awk "{ print \$1, \$2, \$3 }" /proc/self/timens_offsets; awk "{ print (\$1 > 864000) }" /proc/uptime' \
	'.linux.namespaces+=[{"type":"time"}] | .linux.timeOffsets={"monotonic":{"secs":1000,"nanosecs":5},"boottime":{"secs":864000}}'
mkdir -p "$work/b/rootfs/seed/sub"
echo one >"$work/b/rootfs/seed/sub/file"
ln -s sub/file "$work/b/rootfs/seed/link"
field "tmpcopyup" "one one tmpfs 1700" 'cat /seed/link; echo two >/seed/sub/file; cat /.seed/sub/file; stat -f -c %T /seed; stat -c %a /seed' \
	'.mounts+=[{"destination":"/.seed","type":"bind","source":"'"$work/b/rootfs/seed"'","options":["bind"]},{"destination":"/seed","type":"tmpfs","source":"tmpfs","options":["tmpcopyup","mode=1700"]}]'
field "unified in the guest" "65536000 1" 'cat /sys/fs/cgroup/memory.high /sys/fs/cgroup/memory.oom.group' \
	'.linux.resources.unified={"memory.high":"65536000","memory.oom.group":"1"}'
# shellcheck disable=SC2016 # awk's
field "devices: modes, owners, a pipe, a number without a driver; a mount option of proc" \
	"640 7 8 1 5 character special file 600 9 0 fifo No such device or address hidepid=invisible" \
	'stat -c "%a %u %g %t %T %F" /dev/mine; stat -c "%a %u %g %F" /dev/pipe; cat /dev/none 2>&1 | sed "s/.*: //"; awk "\$2 == \"/proc\" { print \$4 }" /proc/mounts | grep -o "hidepid=[a-z]*"' \
	'.linux.devices=[{"path":"/dev/mine","type":"c","major":1,"minor":5,"fileMode":416,"uid":7,"gid":8},{"path":"/dev/pipe","type":"p","fileMode":384,"uid":9,"gid":0},
		{"path":"/dev/none","type":"c","major":4095,"minor":1}] | (.mounts[] | select(.destination == "/proc")).options=["hidepid=2"]'
propagation shared shared - unbindable
fields_are
rmdir "$work/b/rootfs/.seed" 2>/dev/null || true
field "scheduler: batch, nice" "27 7 0 3" "$stat" '.process.scheduler={"policy":"SCHED_BATCH","nice":7}'
field "the usual personality" "x86_64" "uname -m" '.linux.personality={"domain":"LINUX"}'
propagation private - - unbindable
fields_are
if long; then
	propagation rshared shared shared shared
	fields_are
fi

say "refusals that are to be warnings"
cp "$work/config.good" "$work/b/config.json"
edit b '.process.args=["sh","-c","ls /dev/kmsg /dev/mine"] | .linux.devices=[{"path":"/dev/kmsg","type":"c","major":1,"minor":11},{"path":"/dev/mine","type":"c","major":1,"minor":5}]'
status 1 krun-oci run --bundle "$work/b" "$id"
err_has "linux.devices[0]"
if long; then
	status 1 krun-oci --log "$work/log" --log-level warning --ignore linux.sysctl,linux.devices run --bundle "$work/b" "$id"
	check "by an option: the device that a guest can have" /dev/mine "$(cat "$work/out")"
	rm "$work/log"
fi
edit b '.annotations["krun-oci.ignore"]="linux.devices, linux.sysctl"'
status 1 krun-oci run --bundle "$work/b" "$id"
err_has 'annotations["krun-oci.ignore"]: an image may have set it: honoured with --trust-annotations only'
status 1 krun-oci --trust-annotations --log "$work/log" --log-level warning run --bundle "$work/b" "$id"
check "the device that a guest can have" /dev/mine "$(cat "$work/out")"
grep -q 'linux.devices\[0\]: .*/dev/kmsg.*: ignored: the guest has no such device' "$work/log" || die "no warning: $(cat "$work/log")"
ok "with a warning"
edit b '.annotations["krun-oci.ignore"]="linux.namespaces.pid.path"'
status 1 krun-oci --trust-annotations run --bundle "$work/b" "$id"
err_has 'annotations["krun-oci.ignore"]: "linux.namespaces.pid.path" is a refusal that cannot be ignored'
status 1 krun-oci --ignore linux.devices,mounts state "$id"
err_has '--ignore: "mounts" is no field that can be ignored'
rm -f "$work/log"

say "limits that the config does not name are those of the caller, of an exec those of its own"
# shellcheck disable=SC2016 # the other shells'
limits='ulimit -Hn "$2"; ulimit -Sn "$1"; ulimit -Sc 5; ulimit -Hc 9; ulimit -Su 4321; shift 2; exec "$@"'
# shellcheck disable=SC2016 # awk's
look='["awk","/^Max (open files|core|processes|stack)/ { print $(NF - 2), $(NF - 1) }","/proc/self/limits"]'
stack="$(ulimit -Ss)"
[ "$stack" = unlimited ] || stack=$((stack * 1024))
cp "$work/config.good" "$work/b/config.json"
edit b ".process.args=$look | .process.rlimits=[{\"type\":\"RLIMIT_STACK\",\"soft\":4194304,\"hard\":8388608}]"
run bash -c "$limits" - 777 7777 krun-oci run --bundle "$work/b" "$id"
check "of run" "0 4194304 8388608 5120 9216 4321 777 7777" "$rc $(awk '/^(4194304|777|5120) / { print } /^4321 / { print $1 }' "$work/out" | paste -sd' ')"
disk=$(lsblk -dno MAJ:MIN | tr -d ' ' | grep -v '^7:' | head -n 1)
[ -n "$disk" ] && grep -qw io /sys/fs/cgroup/cgroup.controllers || die "no disk to limit, or no controller for it"
edit b '.process.args=["sleep","1000"] | del(.process.rlimits) | .linux.resources.unified={"cpu.weight":"77","memory.low":"8192"}
	| .linux.resources.blockIO={"throttleReadBpsDevice":[{"major":'"${disk%:*}"',"minor":'"${disk#*:}"',"rate":1048576}]}'
status 0 krun-oci run --detach --bundle "$work/b" "$id"
run bash -c "$limits" - 888 8888 krun-oci exec "$id" awk '/^Max (open|stack)/ { print $(NF - 2) }' /proc/self/limits
check "of exec" "0 $stack 888" "$rc $(paste -sd' ' "$work/out")"
check "unified on the host" "77 8192" "$(words "/sys/fs/cgroup/$id/cpu.weight" "/sys/fs/cgroup/$id/memory.low")"
check "a throttle" "$disk rbps=1048576 wbps=max riops=max wiops=max" "$(cat "/sys/fs/cgroup/$id/io.max")"
status 0 krun-oci delete --force "$id"
host_is_as "$work/host.before"
done_testing
