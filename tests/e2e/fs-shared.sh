#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two containers on one volume: locks, a killed process that waited for one, and what each sees of the other's files and when; and
# mounts that the host makes and takes away below a volume whose propagation is "rslave".
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

shared_bundle a busybox
shared_bundle b busybox
program locker "$work/rootfs-busybox/bin/locker"
for c in a b; do cp "$work/$c/config.json" "$work/$c/config.first"; done
v=$work/v
mkdir "$v" "$work/tree"
touch "$v/lock"

guest() { # BUNDLE SCRIPT [OPTIONS_JSON SOURCE]
	edit "$1" ".mounts+=[{\"destination\":\"/v\",\"type\":\"bind\",\"source\":\"${4:-$v}\",\"options\":${3:-[\"bind\"]}}]
		| .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$2" '$s')]"
	created "$id-$1" "$1"
	[ "$rc" = 0 ] || { cp "$work/$id-$1.err" "$work/err"; die "create: status $rc"; }
	status 0 krun-oci start "$id-$1"
}

# The number of a system call in which the process is: 73 flock(), 72 fcntl().
guest a 'locker wait /v/lock sh -c "touch /v/held; until [ -e /v/go ]; do usleep 50000; done"; touch /v/freed
	until [ -e /v/asks ]; do usleep 20000; done
	[ -e /v/late ] && exit 1; n=-100000; trap n=0 USR1; touch /v/asked; until [ -e /v/late ]; do usleep 20000; n=$((n + 1)); done; echo $n >/v/seen
	echo of-a >/v/a.new; mv /v/a.new /v/of-a; until [ -e /v/of-b ]; do usleep 20000; done; cat /v/of-b; touch /v/end-a'
wait_for 60 test -e "$v/held"
guest b 'locker try /v/lock; echo $? >/v/tried
	in_call() { until grep -q "^$1 " /proc/$p/syscall; do usleep 20000; done; }
	locker wait /v/lock & p=$!; in_call 73; kill -9 $p; wait $p; echo $? >/v/flock
	locker posix /v/lock & p=$!; in_call 72; kill -9 $p; wait $p; echo $? >/v/killed
	locker wait /v/lock sh -c "touch /v/got"; locker try /v/lock; echo $? >/v/again
	until [ -e /v/of-a ]; do usleep 20000; done; cat /v/of-a; echo of-b >/v/b.new; mv /v/b.new /v/of-b'
wait_for 60 test -s "$v/killed"
check "the lock of one is in the other's way" 1 "$(cat "$v/tried")"
check "who waits for flock() and is killed is gone" 137 "$(cat "$v/flock")"
check "who waits for a POSIX lock and is killed is gone" 137 "$(cat "$v/killed")"
[ ! -e "$v/got" ] || die "the lock was given to somebody else while it was held"
touch "$v/go"
wait_for 60 test -s "$v/again"
ok "who waits in one gets what the other gives up"
check "and none of the killed holds it" 0 "$(cat "$v/again")"
exec 8<"$v/lock"
flock -n 8 || die "the lock is still held"
ok "nor does anybody on the host see one"
exec 8<&-

touch "$v/asks"
wait_for 60 test -e "$v/asked"
touch "$v/late"
status 0 krun-oci kill "$id-a" USR1
wait_for 60 test -s "$v/seen"
# looks, of which there are fifty a second where nothing else takes time; before the signal it counts from far below zero
[ "$(cat "$v/seen")" -le 60 ] || die "a name that was not there is seen by look $(cat "$v/seen")"
ok "a name that was not there is seen soon"
wait_for 60 test -e "$v/end-a"
check "both ended well" "0 0" "$(exit_of "$id-a") $(exit_of "$id-b")"
check "each reads what the other wrote" "of-b of-a" "$(words "$work/$id-a.out" "$work/$id-b.out")"
for c in a b; do run krun-oci delete --force "$id-$c"; done

say "what is written under a lock"
program counter "$work/rootfs-busybox/bin/counter"
for f in flock posix mapped; do head -c 4096 /dev/zero >"$v/n-$f"; done
rm -f "$v"/count-*
for c in a b; do
	cp "$work/$c/config.first" "$work/$c/config.json"
	guest $c "for f in flock posix mapped; do touch /v/count-$c-\$f; until [ -e /v/count-a-\$f ] && [ -e /v/count-b-\$f ]; do usleep 10000; done
		counter \$f /v/n-\$f 200; done"
done
check "both ended well" "0 0" "$(exit_of "$id-a" 300) $(exit_of "$id-b" 300)"
check "no increment is lost" "400 400 400" "$(for f in flock posix mapped; do od -An -tu4 -N4 "$v/n-$f"; done | xargs)"
for c in a b; do run krun-oci delete --force "$id-$c"; done

if long; then
	say "a file that is made and removed, records of one page, a lock that becomes one for reading"
	program counter "$work/counter"
	rm -f "$v"/begun
	for f in records down; do head -c 4096 /dev/zero >"$v/n-$f"; done
	cp "$work/a/config.first" "$work/a/config.json"
	edit a '.annotations["krun.cpus"]="2"'
	guest a 'touch /v/begun; counter made /v/made 1500; echo made $?; counter records /v/n-records 500; echo records $?; exec counter downgrade /v/n-down'
	wait_for 60 test -e "$v/begun"
	until grep -q '^made' "$work/$id-a.out"; do "$work/counter" made "$v/made" 200 || die "the host cannot open it"; done
	check "it can always be opened" "made 0" "$(sed -n 1p "$work/$id-a.out")"
	wait_for 60 grep -q '^for reading' "$work/$id-a.out"
	check "each finds its own record as it wrote it" "records 0" "$(sed -n 2p "$work/$id-a.out")"
	check "what a mapping wrote is there for other readers" 77 "$(od -An -tu4 -N4 "$v/n-down" | xargs)"
	run krun-oci delete --force "$id-a"
fi

say "what was not there when the guest looked"
mkdir -m 1777 "$v/open"
mkfifo "$work/go"
cp "$work/a/config.first" "$work/a/config.json"
edit a ".mounts+=[{destination:\"/v\",type:\"bind\",source:\"$v\",options:[\"bind\"]}] | .process.user={uid:1000,gid:1000}
	| .process.args=[\"sh\",\"-c\",$(jq -n --arg s 'cd /v/open; counter flags flags; echo flags $?; [ ! -e s ] && echo ready; read x
		(exec 3<>s) 2>&1; (: >s) 2>&1' '$s')]"
krun-oci run --bundle "$work/a" "$id" <"$work/go" >"$work/out" 2>"$work/err" &
p=$!
exec 7>"$work/go"
wait_for 60 grep -q ready "$work/out"
(umask 077; echo secret >"$v/open/s")
echo now >&7
wait "$p" || true
exec 7>&-
check "flags of a write go before those of the file" "flags 0 ready" "$(sed -n 1,2p "$work/out" | paste -sd' ')"
check "a file that root has just made is not an ordinary user's" "2 secret" "$(grep -c "Permission denied" "$work/out") $(cat "$v/open/s")"

say "mounts of the host"
mkdir "$work/tree/below"
mount --bind "$work/tree" "$work/tree"
trap 'umount -l "$work/tree/below" 2>/dev/null || true; umount -l "$work/tree" || true; cleanup' EXIT
mount --make-shared "$work/tree"
shared_bundle c busybox
guest c 'until [ -e /v/below/file ]; do usleep 50000; done; cat /v/below/file; touch /v/read; until [ ! -e /v/below/file ]; do usleep 50000; done; echo gone' '["rbind","rslave"]' "$work/tree"
mount -t tmpfs late "$work/tree/below"
echo on-late-mount >"$work/tree/below/file"
wait_for 20 test -e "$work/tree/read"
ok "a late mount appears"
# Once by itself: the wait is for the half second that an idle file is kept.
wait_for 60 umount "$work/tree/below"
ok "and the host can unmount it"
check "the container saw both" "0 on-late-mount gone" "$(exit_of "$id-c") $(words "$work/$id-c.out")"
run krun-oci delete --force "$id-c"
done_testing
