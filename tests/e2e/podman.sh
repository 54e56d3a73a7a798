#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman as root drives the runtime: run, logs, exec, cp, top, kill, stop, inspect, rm, with images made here and without a network.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck source=podman-lib.sh
. "$(dirname "$0")/podman-lib.sh"

bundle b busybox
import_image "$work/b/rootfs"
status 0 podman info
run_opts=(--network none)

say "run"
# what one run can show
mkdir -m 777 "$work/volume" "$work/below"
echo written >"$work/below/file"
chmod 666 "$work/below/file"
rc=0
printf hello | pod run -i --rm "${run_opts[@]}" --user 1000:100 --hostname inside --workdir /tmp -e A=b --read-only --tmpfs /scratch --tmpfs /etc \
	-v "$work/volume:/v" -v "$work/below:/o:O" $image sh -c 'x=$(cat); echo "${#x} $x"; echo "$(id -u):$(id -g) $(hostname) $(pwd) $A $$"
	touch /scratch/x && touch /x 2>&1 | grep -o "Read-only file system"; grep -q root /etc/passwd && grep -o "^[a-z]* /etc " /proc/mounts; echo written >/v/file
	cat /o/file; echo gone >/o/file; cat /o/file; exit 7' >"$work/out" 2>"$work/err" || rc=$?
check "its exit code" 7 "$rc"
out_has "5 hello"
out_has "1000:100 inside /tmp b 1"
check "a read-only root, tmpfs (one with what is below it), an overlay" "Read-only file system tmpfs /etc written gone" "$(tail -n 4 "$work/out" | words -)"
check "a volume; what is below the overlay is as it was" "written written" "$(words "$work/volume/file" "$work/below/file")"
status 127 pod run --rm "${run_opts[@]}" $image no-such-program
err_has "not found"
if long; then
	status 0 pod run --rm "${run_opts[@]}" $image echo hello
	check "its output" hello "$(cat "$work/out")"
	status 126 pod run --rm "${run_opts[@]}" $image /etc
	status 143 pod run --rm "${run_opts[@]}" $image sh -c 'kill -TERM $$; sleep 5; exit 143'
fi
if [ "${PODMAN_RUNTIME:-krun-oci}" = krun-oci ]; then
	run pod run --rm "${run_opts[@]}" --privileged $image true
	[ "$rc" != 0 ] || die "--privileged is not refused: has this host no device that a guest has not?"
	err_has "the guest has no such device"
	status 0 podman --log-level=error --runtime-flag ignore=linux.devices run --rm "${run_opts[@]}" --privileged $image sh -c 'sed -n "s/^CapEff:.*1ff/all/p" /proc/self/status; test -c /dev/null; test ! -e /dev/kmsg'
	out_has all
	# Debian's Podman hands on what annotations an image has
	printf 'FROM %s\n' $image >"$work/Containerfile"
	status 0 pod build --quiet --annotation krun-oci.disk.0=/etc/hostname --tag localhost/greedy "$work"
	run pod run --rm "${run_opts[@]}" localhost/greedy true
	[ "$rc" != 0 ] || die "an image has chosen a disk for itself"
	err_has 'annotations["krun-oci.disk.0"]: an image may have set it'
	status 0 podman --log-level=error --runtime-flag trust-annotations run --rm "${run_opts[@]}" localhost/greedy test -b /dev/vda
fi

say "in the background"
status 0 pod run -d --name c1 "${run_opts[@]}" $image sh -c 'trap "echo bye; exit 5" TERM; echo started; echo to stderr >&2; sleep 1000000 & while :; do wait; done'
wait_for 30 sh -c "podman logs c1 | grep -q started"
status 0 pod logs c1
out_has started
err_has "to stderr"
check "inspect" "running true" "$(pod inspect --format '{{.State.Status}} {{.State.Running}}' c1)"
check "ps" c1 "$(pod ps --format '{{.Names}}')"

say "exec"
status 0 pod exec c1 echo in there
check "its output" "in there" "$(cat "$work/out")"
status 9 pod exec c1 sh -c 'exit 9'
status 127 pod exec c1 no-such-program
status 126 pod exec c1 /etc
check "stdin" "got it" "$(echo it | pod exec -i c1 sh -c 'read x; echo "got $x"')"
check "options" "7 /tmp b" "$(pod exec --user 7 --workdir /tmp --env A=b c1 sh -c 'echo "$(id -u) $(pwd) $A"')"
status 0 pod exec -d c1 sh -c 'echo detached >/tmp/detached'
wait_for 30 podman exec c1 test -s /tmp/detached
ok "a detached exec runs"
check "a terminal" "/dev/pts/0" "$(script -qec "podman --log-level=error exec -it c1 tty" /dev/null </dev/null | grep -o '/dev/pts/0')"

say "top, cp"
status 0 pod top c1 -o pid,args
out_has "sleep 1000000"
echo content >"$work/file"
status 0 pod cp "$work/file" c1:/tmp/file
check "cp in" content "$(pod exec c1 cat /tmp/file)"
status 0 pod exec c1 sh -c 'echo back >/tmp/out'
status 0 pod cp c1:/tmp/out "$work/out.cp"
check "cp out" back "$(cat "$work/out.cp")"

say "stop, start, kill, rm"
begin=$EPOCHSECONDS
status 0 pod stop --time 30 c1
[ $((EPOCHSECONDS - begin)) -lt 30 ] || die "podman stop had to wait for its time limit"
ok "stop is heard"
check "its exit code" 5 "$(pod inspect --format '{{.State.ExitCode}}' c1)"
status 0 pod logs c1
out_has bye
status 0 pod start c1
wait_for 30 sh -c "[ \$(podman logs c1 | grep -c started) = 2 ]"
status 0 pod kill c1
status 0 pod wait c1
out_has 137
check "not by the OOM killer" false "$(pod inspect --format '{{.State.OOMKilled}}' c1)"
status 0 pod rm c1
if long; then
	status 0 pod run -d --name c2 "${run_opts[@]}" $image sleep 1000
	status 0 pod rm --force --time 0 c2
fi
run pod ps --all --quiet
check "nothing is left" "0 " "$rc $(cat "$work/out")"
run krun-oci list --quiet
check "nor in the runtime" "0 " "$rc $(cat "$work/out")"
done_testing
