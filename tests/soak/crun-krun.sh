#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A crun that was built for libkrun runs podman's containers on our libkrun.so.1: CRUN is its path (tests/soak/crun-build). What is
# looked at is what crun promises for its handler, which is less than krun-oci does: no exec, no signals, root in the guest.
# timeout: 1800
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
[ -x "${CRUN:?the path of a crun that was built for libkrun}" ] || die "there is no $CRUN"
export PODMAN_RUNTIME=krun
# shellcheck source=../e2e/podman-lib.sh
. "$(dirname "$0")/../e2e/podman-lib.sh"
build=${KRUN_BUILD:-$top}
[ -e "$build/libkrun.so.1" ] || die "no libkrun.so.1 (make)"
[ -e "$build/kernel/vmlinux" ] || die "no kernel (make kernel)"
say "$("$CRUN" --version | head -n 1)"
none=(--network none)

# conmon gives the runtime an environment of its own, so a script has to say where the library is. It is "krun" or "crun": by
# the first name it runs virtual machines without being told to.
runtime() { # NAME [VARIABLE...]
	mkdir -p "$work/bin"
	printf '#!/bin/bash\nexport LD_LIBRARY_PATH=%q %s\nexec -a %s %q "$@"\n' "$build:$work" "${*:2}" "$1" "$CRUN" >"$work/bin/$1"
	chmod 755 "$work/bin/$1"
}
runtime krun
runtime crun
sed -i "s,^crun = .*,crun = [\"$work/bin/crun\"]," "$work/containers.conf"
sed -i "/^crun = /a krun = [\"$work/bin/krun\"]" "$work/containers.conf"
krun() { pod run --rm "${none[@]}" "$@"; }

bundle b busybox
mkdir -p "$work/b/rootfs/tmp"
import_image "$work/b/rootfs"
mkdir "$work/volume" "$work/ro"
echo from the host >"$work/ro/file"

say "run"
begin=$EPOCHREALTIME
status 0 krun $image echo hello
check "its output" hello "$(cat "$work/out")"
say "podman run: each $(bc <<<"scale=2; ($EPOCHREALTIME - $begin) / 1") s"
status 7 krun $image sh -c 'exit 7'
status 127 krun $image no-such-program
# A container's variable does not say which kernel it gets, though an old crun calls the library with the container's environment.
# shellcheck disable=SC2016 # for the container's shell
status 0 krun --workdir /tmp -e A="b c" -e B= -e KRUN_KERNEL=/none --hostname inside -v "$work/volume:/v" -v "$work/ro:/ro:ro" --tmpfs /scratch --memory 200m $image sh -c '
	uname -r >&2; grep -c virtiofs /proc/mounts >/dev/null && echo in a guest
	echo "$$ $(id -u) $(pwd) $A ${B-none}"; [ "$(sed -n "s/^MemTotal: *\([0-9]*\).*/\1/p" /proc/meminfo)" -lt 204800 ] && echo small
	cat /ro/file; touch /ro/x 2>/dev/null || echo read-only; echo written >/v/file; touch /scratch/x && echo scratch'
check "what the workload finds" "in a guest 2 0 /tmp b c small from the host read-only scratch" "$(words "$work/out")"
[ "$(cat "$work/err")" != "$(uname -r)" ] || die "the workload runs on the host's kernel"
ok "a kernel of its own: $(cat "$work/err")"
check "a volume" written "$(cat "$work/volume/file")"
check "stdin" "5 hello" "$(printf hello | krun -i $image sh -c 'x=$(cat); echo "${#x} $x"')"
check "1 MiB through it" "$(head -c 1048576 /dev/zero | cksum)" "$(head -c 1048576 /dev/zero | krun -i $image cat | cksum)"
status 3 script -qec "podman --log-level=error run --rm -it ${none[*]} $image sh -c 'tty; test -t 0 -a -t 1 && echo terminal; exit 3'" /dev/null
check "a terminal" "/dev/pts/0 terminal" "$(grep -o '/dev/pts/0\|terminal' "$work/out" | words -)"
status 0 krun --user 1000:100 --read-only --tmpfs /run $image sh -c 'touch /run/x && ! touch /x && echo ok'
check "a VMM of another user, read-only" ok "$(words "$work/out")"

say "by the annotation"
status 0 pod --runtime crun run --rm "${none[@]}" --annotation run.oci.handler=krun $image cat /proc/cmdline
out_has krun.tsi=on

say "in the background, with a network"
status 0 pod run -d --name web -p 8080:80 $image sh -c 'mkdir -p /www; echo hello >/www/index.html; echo started; echo to stderr >&2; httpd -f -p 80 -h /www'
ip=$(pod inspect --format '{{.NetworkSettings.IPAddress}}' web)
wait_for 120 get "$ip" 80
check "at its address" hello "$(get "$ip" 80)"
check "at the published port" hello "$(get 127.0.0.1 8080)"
status 0 pod logs web
out_has started
err_has "to stderr"
status 0 pod kill web
status 0 pod wait web
out_has 137
status 0 pod rm web

say "the kernel of a libkrunfw.so.5"
"$top/kernel/bundle" "$build/kernel/vmlinux" "$work/libkrunfw.so.5"
runtime krun KRUN_KERNEL=libkrunfw
status 5 krun $image sh -c 'cat /proc/cmdline; exit 5'
out_has init=/init.krun
done_testing
