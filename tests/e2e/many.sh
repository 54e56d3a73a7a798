#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Containers that are created, started, exec'ed into, paused, updated, killed and deleted in random order, some at a time: each answer,
# state, output and exit code is the right one at each step (lives.c), and nothing is left. CONTAINERS, WORKERS and SEED set how many, how
# many at a time, and the order.
# long: yes
# timeout: 870
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=losses-lib.sh
. "$(dirname "$0")/losses-lib.sh"
containers=${CONTAINERS:-6} workers=${WORKERS:-3} seed=${SEED:-$RANDOM}
say "SEED=$seed"
program lives "$work/lives"

# The workload says when it is up, notes each SIGUSR1, and ends by SIGTERM with its own number. It runs no programs meanwhile: eight of
# each would take the emulated processor for themselves.
# shellcheck disable=SC2016 # the guest's shell
workload='n=0; trap "exit $CODE" TERM; trap "n=\$((n + 1)); echo \$n >/shared/usr1" USR1; sleep 1000000 & echo up; while :; do wait; done'
mkdir "$work/root"
for ((w = 0; w < workers; w++)); do
	mkdir -p "$work/w$w/shared"
	"$top/tests/bundles/make" busybox "$work/w$w/b" --rootfs "$work/root/fs" --set \
		".linux.resources.memory.limit=100663296 | .process.args=[\"sh\",\"-c\",$(jq -n --arg w "$workload" '$w')]
		| .process.env=[\"PATH=/bin\",\"CODE=@CODE\"]
		| .mounts+=[{\"destination\":\"/shared\",\"type\":\"bind\",\"source\":\"$work/w$w/shared\",\"options\":[\"bind\",\"rw\"]}]" >"$work/err" 2>&1 ||
		die "tests/bundles/make"
	cp "$work/w$w/b/config.json" "$work/w$w/config.json"
done

# The first container of a host makes what stays.
status 0 krun-oci create --bundle "$work/w0/b" "$id-first"
status 0 krun-oci delete --force "$id-first"
snapshot_host | sort >"$work/host.before"
facts_before
start=$EPOCHREALTIME
pids=()
for ((w = 0; w < workers; w++)); do
	"$work/lives" "$work/w$w" "$id" $w "$containers" "$workers" "$seed" >"$work/w$w/lived" 2>"$work/w$w/log" &
	pids+=($!)
done
bad=''
for ((w = 0; w < workers; w++)); do
	wait "${pids[w]}" || bad+=" $w"
done
for w in $bad; do sed "s/^/# worker $w: /" "$work/w$w/log"; done
[ -z "$bad" ] || die "workers that failed:$bad"
check "all lived to their end" "$containers" "$(cat "$work"/w*/lived | paste -sd+ | bc)"
say "$(echo "scale=2; ($EPOCHREALTIME - $start) / $containers" | bc) s each, $workers at a time"
ok "every state, answer and exit code"
host_is_as "$work/host.before"
no_loss
done_testing
