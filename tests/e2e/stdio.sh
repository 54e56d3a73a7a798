#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# stdin, stdout and stderr: apart, whole, in every kind of file, and ended in every order. STDIO_MIB sets the size of the big copy (8,
# with LONG 64); kinds of files that are alike only with LONG.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

mib=${STDIO_MIB:-${LONG:+64}}
mib=${mib:-8}
snapshot_host | sort >"$work/host.before"
bundle b busybox
n=0

# Sets the workload's shell script.
script() { # TEXT
	edit b ".process.args=[\"sh\",\"-c\",$(jq -n --arg s "$1" '$s')]"
}

# Runs it, for at most two minutes, with the caller's stdio; sets rc.
go() {
	n=$((n + 1))
	rc=0
	limited 120 "$id-$n" krun-oci run --bundle "$work/b" "$id-$n" || rc=$?
	[ "$rc" != 124 ] || die "the container hangs"
}

head -c 1000000 /dev/urandom >"$work/in"
sum=$(md5sum <"$work/in")
none=$(md5sum </dev/null)
say "two streams, and a regular file"
script 'cat | md5sum; echo to stderr >&2; exit 5'
go <"$work/in" >"$work/o" 2>"$work/e"
check "exit status" 5 "$rc"
check "stdin and stdout" "$sum" "$(cat "$work/o")"
check "stderr" "to stderr" "$(cat "$work/e")"

say "closed ones"
go <&- >&- 2>"$work/e"
check "stdin and stdout" "5 to stderr" "$rc $(cat "$work/e")"
go <&- >"$work/o" 2>&-
check "stdin and stderr" "5 $none" "$rc $(cat "$work/o")"

say "kinds of stdin"
script 'cat | md5sum'
perl -MSocket -e '
	socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
	if (!fork()) { close($b); open(my $f, "<", shift) or die; local $/; print {$a} <$f>; exit; }
	close($a); open(STDIN, "<&", $b) or die; close($b); shift; shift; exec(@ARGV);' "$work/in" -- \
	timeout 120 krun-oci run --bundle "$work/b" "$id-sock" >"$work/o" 2>"$work/e" || die "with a socket: status $?"
check "a socket" "$sum" "$(cat "$work/o")"
if long; then
	# shellcheck disable=SC2002 # a pipe is what is tested
	cat "$work/in" | go >"$work/o" 2>"$work/e"
	check "a pipe" "$sum" "$(cat "$work/o")"
	go </dev/null >"$work/o" 2>"$work/e"
	check "/dev/null" "$none" "$(cat "$work/o")"
	: >"$work/empty"
	go <"$work/empty" >"$work/o" 2>"$work/e"
	check "an empty file" "$none" "$(cat "$work/o")"
	mkfifo "$work/fifo"
	cat "$work/in" >"$work/fifo" &
	go <"$work/fifo" >"$work/o" 2>"$work/e"
	check "a FIFO" "$sum" "$(cat "$work/o")"
fi

say "kinds of stdout"
script 'echo one; echo two >&2'
echo before >"$work/o"
go </dev/null >>"$work/o" 2>&1
check "append to a file" $'before\none\ntwo' "$(sort "$work/o")"
if long; then
	go </dev/null 2>&1 | sort >"$work/o"
	check "both in one pipe" $'one\ntwo' "$(cat "$work/o")"
	go </dev/null >/dev/null 2>"$work/e"
	check "/dev/null" "0 two" "$rc $(cat "$work/e")"
fi
script 'echo x >/dev/full; echo $?'
go </dev/null >/dev/full 2>"$work/e"
check "a full device ends nothing" 0 "$rc"

say "/dev/stdout and the like can be opened again"
script 'echo one >/dev/stdout; echo two >/dev/stderr; cat /dev/stdin'
if long; then
	echo three | go >"$work/o" 2>"$work/e"
	check "through /dev" "one three two" "$(cat "$work/o" "$work/e" | paste -sd' ' -)"
fi
edit b '.process.user={"uid":1000,"gid":1000}'
echo three | go >"$work/o" 2>"$work/e"
check "through /dev, also for an ordinary user" "one three two" "$(cat "$work/o" "$work/e" | paste -sd' ' -)"
edit b '.process.user={"uid":0,"gid":0}'

say "early ends"
# The workload closes stdout: the reader sees the end while the workload goes on.
script 'echo first; exec >&-; echo second >&2; read x; echo "read $x" >&2'
mkfifo "$work/f.in" "$work/f.out"
krun-oci run --bundle "$work/b" "$id-early" <"$work/f.in" >"$work/f.out" 2>"$work/e" &
early=$!
exec 7>"$work/f.in"
check "its stdout ends early" first "$(timeout 60 cat "$work/f.out" || echo "(no end)")"
kill -0 $early || die "the container ended too early"
echo go >&7
exec 7>&-
rc=0
ended 120 "$id-early" $early || rc=$?
check "and the workload goes on" "0 second read go" "$rc $(paste -sd' ' "$work/e")"
# Our reader goes away: the workload gets SIGPIPE, or EPIPE when it ignores that.
script 'sh -c "while :; do echo line; done" 2>/dev/null; echo "status $?" >&2'
go </dev/null 2>"$work/e" | head -n 1 >"$work/o"
check "SIGPIPE in the workload" "line status 141" "$(cat "$work/o") $(cat "$work/e")"
# The workload does not read: the writer gets EPIPE, and the container's end does not wait for stdin.
script 'exec <&-; echo closed'
mkfifo "$work/f.noread"
krun-oci run --bundle "$work/b" "$id-noread" <"$work/f.noread" >"$work/o" 2>"$work/e" &
noread=$!
(trap '' PIPE; while echo data 2>/dev/null; do :; done; echo gone >"$work/writer") >"$work/f.noread" &
ended 120 "$id-noread" $noread || die "status $?"
check "a workload that closes stdin" closed "$(cat "$work/o")"
wait_for 20 test -s "$work/writer"
ok "whoever feeds it gets EPIPE"
script 'echo done'
go < <(sleep 1000) >"$work/o" 2>"$work/e"
check "a stdin that never ends keeps nothing" "0 done" "$rc $(cat "$work/o")"
# Output that a child writes after PID 1 has ended is not waited for; all that PID 1 wrote is.
script 'head -c 3000000 /dev/zero; exit 9'
go </dev/null 2>"$work/e" | { sleep 1; wc -c; } >"$work/o"
check "what was written before the end arrives at a slow reader" 3000000 "$(cat "$work/o")"

say "a workload that has ended, and whose output nobody takes"
mkfifo "$work/f.stands"
exec 8<>"$work/f.stands"
# shellcheck disable=SC2317 # called by wait_for
dead() { ! krun-oci exec "$id-stands" true 2>/dev/null; }
# shellcheck disable=SC2317
gone() { ! krun-oci state "$id-stands" >/dev/null 2>&1; }
stands() { # COMMAND
	script "$1; exit 7"
	krun-oci run --bundle "$work/b" "$id-stands" </dev/null >"$work/f.stands" 2>"$work/e" &
	cli=$!
	wait_for 60 container_is "$id-stands" running
	wait_for 60 dead
	check "it runs until all is written" running "$(krun-oci state "$id-stands" | jq -r .status)"
	status 0 krun-oci kill "$id-stands" WINCH
	status 0 krun-oci kill "$id-stands" TERM
}
stands 'head -c 66000 /dev/zero' # what is left is with the VMM
check "who reads then gets all" 66000 "$(timeout 60 head -c 66000 <&8 | wc -c)"
rc=0
ended 60 "$id-stands" $cli || rc=$?
check "the code" 7 "$rc"
if long; then
	stands 'head -c 9000000 /dev/zero & sleep 1' # ... and in the guest's pipe, which the writer's end does not empty
	wait_for 60 gone
	rc=0
	ended 60 "$id-stands" $cli || rc=$?
	check "a signal ends it, with its own code" 7 "$rc"
fi
script 'sleep 1000'
krun-oci run -d --bundle "$work/b" "$id-stands" </dev/null >/dev/null 2>"$work/e" || die "run -d"
krun-oci exec "$id-stands" sh -c 'head -c 66000 /dev/zero; exit 8' </dev/null >"$work/f.stands" 2>"$work/e" &
cli=$!
# shellcheck disable=SC2317
started() { readlink "/proc/$cli/fd/"* 2>/dev/null | grep -q signalfd; }
wait_for 30 started
# shellcheck disable=SC2317
over() { ! krun-oci exec "$id-stands" ps | grep -q 'exit 8'; }
wait_for 30 over
kill -TERM $cli
rc=0
ended 60 "$id-stands" $cli || rc=$?
check "an exec too" 8 "$rc"
krun-oci delete --force "$id-stands"
exec 8>&-

say "$mib MiB through stdin and stdout"
head -c $((mib * 1048576)) /dev/urandom >"$work/big"
want=$(md5sum <"$work/big")
edit b '.process.args=["cat"]'
start=$EPOCHREALTIME
# shellcheck disable=SC2002
check "a pipe in, a pipe out" "$want" "$(cat "$work/big" | limited 280 "$id-big" krun-oci run --bundle "$work/b" "$id-big" | md5sum)"
say "$(echo "scale=1; $mib / ($EPOCHREALTIME - $start)" | bc) MiB/s"
if long; then
	start=$EPOCHREALTIME
	limited 280 "$id-big2" krun-oci run --bundle "$work/b" "$id-big2" <"$work/big" >"$work/big.out"
	check "a file in, a file out" "$want" "$(md5sum <"$work/big.out")"
	say "$(echo "scale=1; $mib / ($EPOCHREALTIME - $start)" | bc) MiB/s"
fi
rm -f "$work/big" "$work/big.out"
host_is_as "$work/host.before"
done_testing
