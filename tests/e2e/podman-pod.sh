#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pods of podman: an infra container without a VM, containers that share its network, kube play. With LONG a pod by hand, whose parts
# are those of tests/e2e/sandbox.sh.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=podman-lib.sh
. "$(dirname "$0")/podman-lib.sh"

bundle b busybox
import_image "$work/b/rootfs"
server='mkdir /www; echo "from $(hostname)" >/www/index.html; exec httpd -f -p 80 -h /www'

say "kube play: two containers on one network namespace"
cat >"$work/pod.yaml" <<END_OF_FILE
apiVersion: v1
kind: Pod
metadata: {name: kube}
spec:
  containers:
  - {name: server, image: $image, command: [sh, -c, '$server'], ports: [{containerPort: 80, hostPort: 8082}]}
  - {name: client, image: $image, command: [sh, -c, 'until wget -q -O - http://127.0.0.1/; do sleep 0.2; done; exec sleep 1000']}
END_OF_FILE
status 0 pod kube play "$work/pod.yaml"
wait_for 90 sh -c "podman logs kube-client | grep -q from"
check "over loopback" "from kube" "$(pod logs kube-client)"
check "at the published port" "from kube" "$(get 127.0.0.1 8082)"
infra=$(pod pod inspect kube --format '{{.InfraContainerID}}')
pid=$(pod inspect --format '{{.State.Pid}}' "$infra")
check "the infra container has no VM" 1 "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)"
check "the network is its" "$(readlink "/proc/$pid/ns/net")" "$(readlink "/proc/$(pod inspect --format '{{.State.Pid}}' kube-server)/ns/net")"
run pod exec "$infra" sh
[ "$rc" != 0 ] || die "exec into the infra container"
err_has "sandbox container"
status 0 pod kube down "$work/pod.yaml"
run krun-oci list --quiet
check "nothing is left" "0 " "$rc $(cat "$work/out")"

if ! long; then
	done_testing
	exit 0
fi
say "a pod by hand"
status 0 pod pod create --name two --share net,uts,ipc
status 0 pod run --pod two --rm $image sh -c 'hostname; ls -d /dev/shm'
check "its name" two "$(head -n 1 "$work/out")"
status 0 pod pod stop --time 20 two
status 0 pod pod rm two
status 0 pod pod create --name pids --share net,pid
run pod run --pod pids --rm $image true
check "a shared pid namespace" 126 "$rc"
err_has "a pid namespace cannot be shared"
status 0 pod pod rm --force --time 0 pids
done_testing
