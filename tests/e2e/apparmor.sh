#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# process.apparmorProfile: the VMM is in it, and what it denies the guest feels; a missing one, exec, a sandbox, and podman's own.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || skip "AppArmor is off here"
command -v apparmor_parser >/dev/null || die "no apparmor_parser (tests/deps e2e installs it)"

profile=krun-test-$$
cat >"$work/profile" <<END_OF_FILE
profile $profile flags=(attach_disconnected,mediate_deleted) {
	file,
	network,
	capability,
	signal,
	ptrace,
	unix,
	deny /secret r,
	deny /kept/** w,
}
END_OF_FILE
apparmor_parser --skip-cache --replace "$work/profile" >"$work/out" 2>"$work/err" || die "apparmor_parser"
label() { cat "/proc/$1/attr/apparmor/current"; }

bundle b busybox --args '["sh","-c","cat /secret; echo x >/kept/x; echo x >/free && cat /free; exec 3</free; rm /free; cat /proc/self/fd/3; sleep 1000"]'
edit b '.root.readonly=false | .process.apparmorProfile="'$profile'"'
echo secret >"$work/b/rootfs/secret"
mkdir "$work/b/rootfs/kept"
snapshot_host | sort >"$work/host.before"

check "features says so" true "$(krun-oci features | jq .linux.apparmor.enabled)"

say "the VMM"
created "$id" b
check "create" 0 "$rc"
pid=$(cat "$work/$id.pid")
for t in "/proc/$pid"/task/*; do
	check "$(cat "$t/comm") is in the profile" "$profile (enforce)" "$(cat "$t/attr/apparmor/current")"
done
status 0 krun-oci start "$id"
wait_for 60 sh -c "[ \$(grep -c x '$work/$id.out') = 2 ]"
wait_for 60 sh -c "[ \$(grep -c 'Permission denied' '$work/$id.err') -ge 2 ]"
check "what it denies" 2 "$(grep -cE "(/secret|/kept/x).*: Permission denied" "$work/$id.err")"
check "and no more" "x x" "$(words "$work/$id.out")"
check "nothing of it is on the disk" no "$([ -e "$work/b/rootfs/kept/x" ] && echo yes || echo no)"

say "exec"
status 0 krun-oci exec --apparmor "$profile" "$id" true
status 1 krun-oci exec --apparmor "$profile" "$id" cat /secret
err_has "Permission denied"
status 1 krun-oci exec --apparmor other "$id" true
err_has "--apparmor: \"other\", but the container is in \"$profile\""
status 1 krun-oci exec --apparmor unconfined "$id" true
process() { jq -n --arg p "$1" '{args: ["true"], cwd: "/", apparmorProfile: $p}' >"$work/process.json"; }
process "$profile"
status 0 krun-oci exec --process "$work/process.json" "$id"
process other
status 1 krun-oci exec --process "$work/process.json" "$id"
err_has "process.apparmorProfile: \"other\", but the container is in \"$profile\""
status 0 krun-oci kill "$id" TERM
status 0 krun-oci delete --force "$id"

if long; then
	say "the guest is out of memory"
	edit b '.linux.resources={"memory":{"limit":67108864}} | .process.args=["sh","-c","tail /dev/zero"]'
	status 137 krun-oci run --bundle "$work/b" "$id"
	[ -e "$work/b/oom" ] || die "no file says so"
	ok "a file says so"
fi

say "a user namespace"
edit b 'del(.linux.resources) | .process.args=["cat","/secret"] | .linux.namespaces += [{"type":"user"}] |
	.linux.uidMappings=[{"containerID":0,"hostID":0,"size":65536}] | .linux.gidMappings=.linux.uidMappings'
status 1 krun-oci run --bundle "$work/b" "$id"
err_has "Permission denied"

say "others"
edit b '.process.apparmorProfile="krun-test-none"'
status 1 krun-oci create --bundle "$work/b" "$id"
err_has 'config.json: process.apparmorProfile: "krun-test-none": this host has no such profile loaded: `/proc/self/attr/apparmor/current`'
# the default, and what podman asks for
defaults=(unconfined)
! long || defaults+=('')
for p in "${defaults[@]}"; do
	edit b '.process.apparmorProfile="'"$p"'"'
	status 0 krun-oci run --bundle "$work/b" "$id"
done
if long; then
	edit b '.process.apparmorProfile="'$profile'" | .annotations["krun-oci.ignore"]="process.apparmorProfile"'
	status 0 krun-oci --trust-annotations --log-level warning run --bundle "$work/b" "$id"
	err_has "process.apparmorProfile: ignored"
fi

say "a sandbox"
edit b '.process.apparmorProfile="'$profile'" | .process.args=["/pause"] | .annotations={}'
created "$id" b
check "its process is in it" "$profile (enforce)" "$(label "$(cat "$work/$id.pid")")"
status 0 krun-oci start "$id"
status 0 krun-oci kill "$id" TERM
check "and can be ended" 0 "$(exit_of "$id")"
status 0 krun-oci delete "$id"
host_is_as "$work/host.before"

say "podman"
# shellcheck source=podman-lib.sh
. "$(dirname "$0")/podman-lib.sh"
import_image "$work/b/rootfs"
status 0 pod run -d --name c1 --network none $image sleep 1000
default=$(pod inspect --format '{{.AppArmorProfile}}' c1)
[[ $default = containers-default-* ]] || die "podman gives no profile of its own: '$default'"
check "the VMM is in podman's own" "$default (enforce)" "$(label "$(pod inspect --format '{{.State.Pid}}' c1)")"
status 0 pod exec c1 sh -c 'echo x >/x && cat /x'
status 0 pod stop --time 0 c1
status 0 pod rm c1
! long || status 0 pod run --rm --network none --security-opt "apparmor=$profile" $image sh -c '! cat /secret'
! long || status 0 pod run --rm --network none --security-opt apparmor=unconfined $image cat /secret
apparmor_parser --remove "$work/profile"
done_testing
