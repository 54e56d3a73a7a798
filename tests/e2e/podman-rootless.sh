#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman as an ordinary user: run, exec, logs, stop, volumes, keep-id, slirp4netns with a published port.
# host: user
# timeout: 900
export TMPDIR=${HOME:?} # on a disk of the test host, and his own
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=podman-lib.sh
. "$(dirname "$0")/podman-lib.sh"
[ "$(id -u)" != 0 ] || die "this test runs as root"
[ -r /dev/kvm ] && [ -w /dev/kvm ] || skip "/dev/kvm is not this user's"
command -v newuidmap slirp4netns >/dev/null || die "no newuidmap or slirp4netns (tests/deps clients installs them)"

# A root of his own files: those of tests/bundles/make belong to several users.
mkdir -p "$work/rootfs/bin" "$work/rootfs/etc" "$work/rootfs/tmp"
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for n in $(busybox --list); do [ -e "$work/rootfs/bin/$n" ] || ln -s busybox "$work/rootfs/bin/$n"; done
echo root:x:0:0:root:/:/bin/sh >"$work/rootfs/etc/passwd"
import_image "$work/rootfs"

say "a web server behind slirp4netns"
mkdir "$work/v"
status 0 pod run -d --name web -p 8083:80 -v "$work/v:/v" -v named:/named $image \
	sh -c 'trap "exit 3" TERM; mkdir /www; echo hello >/www/index.html; httpd -p 80 -h /www; echo started; sleep 1000000 & while :; do wait; done'
wait_for 60 sh -c "podman logs web | grep -q started"
check "at the published port" hello "$(get 127.0.0.1 8083)"
status 0 pod exec web sh -c 'id -u; touch /v/a /named/a; chown 7 /v/a; stat -c %u /v/a'
check "ids inside" "0 7" "$(words "$work/out")"
check "ids outside" 500006 "$(stat -c %u "$work/v/a")"
begin=$EPOCHSECONDS
status 0 pod stop --time 60 web
[ $((EPOCHSECONDS - begin)) -lt 60 ] || die "podman stop had to wait for its time limit"
check "its exit code" 3 "$(pod inspect --format '{{.State.ExitCode}}' web)"
status 0 pod rm web

say "keep-id, the host's network"
# shellcheck disable=SC2016 # the container's shell
status 5 pod run --rm --userns keep-id --network host -v "$work/v:/v" $image sh -c 'id -u; touch /v/mine; exit 5'
check "his own id" "$(id -u)" "$(cat "$work/out")"
check "his own file" "$(id -u)" "$(stat -c %u "$work/v/mine")"
! long || status 5 pod run --rm --network none --user 1000 $image sh -c 'exit 5'
run krun-oci list --quiet
check "nothing is left" "0 " "$rc $(cat "$work/out")"
done_testing
