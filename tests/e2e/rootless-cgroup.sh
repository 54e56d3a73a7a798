#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An ordinary user whose part of the cgroup tree is not the one that he is in: what cannot be moved there stays with the caller.
# timeout: 240
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || die "this test does not run as root"
uid=$(id -u krun-user 2>/dev/null) || skip "no user krun-user, which the test host has"
his=/sys/fs/cgroup/t-$$
state=$work/state
as_user() { # COMMAND...
	setpriv --reuid "$uid" --regid "$uid" --init-groups --inh-caps=-all -- "$@"
}
as_user test -r /dev/kvm -a -w /dev/kvm || skip "/dev/kvm is not this user's"
inside() ( # COMMAND...: the same, in his cgroup
	echo $BASHPID >"$his/mine/cgroup.procs"
	as_user "$@"
)
oci() { krun-oci --root "$state" --log "$state/log" --log-level warning "$@"; }
over() {
	as_user krun-oci --root "$state" delete --force "$id" 2>/dev/null || true
	rmdir "$his"/*/ "$his" 2>/dev/null || true
	cleanup
}
trap over EXIT

chmod 711 "$work"
mkdir -p "$work/b/rootfs/bin" "$state"
cp "$(command -v busybox)" "$work/b/rootfs/bin/busybox"
for n in sh sleep echo; do ln -s busybox "$work/b/rootfs/bin/$n"; done
chown -R "$uid:$uid" "$work/b" "$state"
snapshot_host | sort >"$work/host.before"
mkdir "$his" "$his/mine"
for d in "$his" "$his/mine"; do chown "$uid:$uid" "$d" "$d"/cgroup.{procs,threads,subtree_control}; done
as_user krun-oci spec --rootless --bundle "$work/b"
edit b '.process.terminal=false | .process.args=["sleep","1000"] | .root.readonly=false | .linux.cgroupsPath="/t-'$$'/c"'
chown "$uid:$uid" "$work/b/config.json"
export -f oci
export state

say "who is outside"
vmm_cgroup() { cat "/proc/$(as_user krun-oci --root "$state" state "$id" | jq .pid)/cgroup"; }
here=$(cat /proc/self/cgroup)
status 0 as_user bash -c 'oci run --detach --bundle "$@"' - "$work/b" "$id"
check "the VMM stays where the caller is" "$here" "$(vmm_cgroup)"
grep -q "cannot move the VMM into cgroup .*: the container stays in the caller's" "$state/log" || die "no warning: $(cat "$state/log")"
ok "with a warning"
[ ! -e "$his/c" ] || die "the cgroup is still there"
status 0 as_user krun-oci --root "$state" exec "$id" echo hello
out_has hello
status 0 as_user krun-oci --root "$state" delete --force "$id"
edit b '.linux.resources.pids.limit=100'
chmod 644 "$work/b/config.json"
status 1 as_user krun-oci --root "$state" run --detach --bundle "$work/b" "$id"
err_has "ermission denied"

say "an exec from outside"
edit b 'del(.linux.resources)'
chmod 644 "$work/b/config.json"
status 0 inside bash -c 'oci run --detach --bundle "$@"' - "$work/b" "$id"
check "the VMM is in its cgroup" "0::/t-$$/c" "$(vmm_cgroup)"
rm "$state/log"
# shellcheck disable=SC2016 # the other shell's
status 0 as_user bash -c 'oci exec --detach --pid-file "$0/p" "$@"' "$state" "$id" sleep 1000
check "its proxy stays where the caller is" "$here" "$(cat "/proc/$(cat "$state/p")/cgroup")"
grep -q "the exec's process stays in the caller's" "$state/log" || die "no warning: $(cat "$state/log")"
ok "with a warning"
status 0 inside krun-oci --root "$state" exec --detach --pid-file "$state/p" "$id" sleep 1000
check "from inside it is in the container's" "0::/t-$$/c" "$(cat "/proc/$(cat "$state/p")/cgroup")"
status 0 as_user krun-oci --root "$state" delete --force "$id"
rmdir "$his/mine" "$his"
rm -f "$state/log"
host_is_as "$work/host.before"
done_testing
