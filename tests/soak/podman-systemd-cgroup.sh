#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman with the systemd cgroup manager, its default: scope, limits, exec, stats, pause, update, OOM, nothing left; as root and as a user.
# In a test host with systemd: tests/host/run --systemd --timeout 1200 tests/soak/podman-systemd-cgroup.sh
[ "$(id -u)" = 0 ] || export TMPDIR=${HOME:?} # on a disk of the test host, and his own
export PODMAN_CGROUPS=systemd
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
[ -d /run/systemd/system ] || skip "no systemd runs here"
# shellcheck source=../e2e/podman-lib.sh
. "$(dirname "$0")/../e2e/podman-lib.sh"
cd "$work" # conmon leaves its "oom" where it is

if [ "$(id -u)" = 0 ]; then
	say "root"
	sc() { systemctl "$@"; }
	slice=machine.slice place=/machine.slice
else
	say "the user $(id -un)"
	sc() { systemctl --user "$@"; }
	slice=user.slice place=/user.slice/user-$UID.slice/user@$UID.service/user.slice
fi
show() { sc show -P "$1" "$unit"; }
gone() { [ "$(show LoadState)" = not-found ]; }
in_scope() { sed 's,.*,/proc/&/comm,' "$cg/cgroup.procs" | xargs cat | sort | words -; }

mkdir -p "$work/rootfs/bin" "$work/rootfs/etc" "$work/rootfs/tmp"
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for n in sh sleep cat tail touch; do ln -s busybox "$work/rootfs/bin/$n"; done
echo root:x:0:0:root:/:/bin/sh >"$work/rootfs/etc/passwd"
import_image "$work/rootfs"
# shellcheck disable=SC2016 # the container's shell
status 0 pod run -d --name c1 --network none --memory 128m --cpus 0.5 --pids-limit 50 --tmpfs /t $image \
	sh -c 'until [ -e /t/go ]; do sleep 0.2; done; exec tail /dev/zero'
unit=libpod-$(cat "$work/out").scope
cg=/sys/fs/cgroup$place/$unit
pid=$(pod inspect --format '{{.State.Pid}}' c1)
check "the VMM is in the scope" "0::$place/$unit" "$(cat "/proc/$pid/cgroup")"
check "the unit" "active yes $slice" "$(show ActiveState) $(show Delegate) $(show Slice)"
[ "$(cat "$cg/memory.max")" -ge $((128 << 20)) ] || die "memory.max is $(cat "$cg/memory.max")"
check "its properties" "$(cat "$cg/memory.max") 114 500ms" "$(show MemoryMax) $(show TasksMax) $(show CPUQuotaPerSecUSec)"
check "its files" "114 50000 100000" "$(words "$cg/pids.max" "$cg/cpu.max")"

status 0 pod exec -d c1 sleep 1000
check "the exec is in the scope" "krun-oci-exec krun-oci-vm" "$(in_scope)"
check "stats" $((128 << 20)) "$(pod stats --no-stream --format '{{.MemLimit}}' c1)"
status 0 pod pause c1
check "pause" paused "$(pod inspect --format '{{.State.Status}}' c1)"
status 0 pod unpause c1
status 0 pod update --memory 96m --cpus 2 c1
check "update" "2s 200000 100000" "$(show CPUQuotaPerSecUSec) $(words "$cg/cpu.max")"

say "out of memory"
status 0 pod exec c1 cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max
check "the guest's limits" "$((96 << 20)) 50" "$(words "$work/out")"
status 0 pod exec -d c1 touch /t/go
check "its end" 137 "$(timeout 120 podman --log-level=error wait c1)"
await_exited c1 120
check "OOMKilled" "exited true" "$(pod inspect --format '{{.State.Status}} {{.State.OOMKilled}}' c1)"
wait_for 60 gone
[ ! -e "$cg" ] || die "the cgroup is left"
ok "its scope is gone"

say "once more, and removed while it runs"
status 0 pod start c1
status 0 pod rm --force --time 0 c1
wait_for 60 gone
[ ! -e "$cg" ] || die "the cgroup is left"
left() { find /sys/fs/cgroup -name "*${unit#libpod-}"; sc list-units --all --plain --no-legend "*${unit#libpod-}"; }
nothing_left() { [ -z "$(left)" ]; } # Podman's own scope is there until conmon has ended
wait_for 60 nothing_left
ok "nothing is left"

# The user as he is after a login: in a cgroup that is not of his own service manager, which Podman has to ask for one.
if [ "$(id -u)" = 0 ]; then
	uid=$(id -u krun-user 2>/dev/null) || skip "no user krun-user, which the test host has"
	wait_for 60 test -S "/run/user/$uid/bus"
	as_user=(env "HOME=$(getent passwd krun-user | cut -d: -f6)" USER=krun-user LOGNAME=krun-user "XDG_RUNTIME_DIR=/run/user/$uid"
		"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$uid/bus" setpriv --reuid "$uid" --regid "$uid" --init-groups --inh-caps=-all --)
	"${as_user[@]}" test -r /dev/kvm -a -w /dev/kvm || skip "/dev/kvm is not this user's"
	cd /
	"${as_user[@]}" env -u CONTAINERS_CONF -u CONTAINERS_STORAGE_CONF -u TMPDIR bash "$top/tests/soak/podman-systemd-cgroup.sh" || die "as an ordinary user: status $?"
	ok "as an ordinary user"
fi
done_testing
