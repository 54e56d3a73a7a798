#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# System calls of create, start, exec and delete fail, one at a time: each command tells why or works, and nothing stays behind.
#
# FAULTS=N is how many of each command's calls (1, with LONG 4; chosen by FAULTS_SEED; "all": each of them, hours), FAULTS_OF the
# commands (create and exec; with LONG all). FAULTS_FROM=NAME and FAULTS_TO=NAME: the calls from that name to this one.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

command -v strace >/dev/null || die "no strace (tests/deps lint installs it)"
faults=${FAULTS:-${LONG:+4}}
faults=${faults:-1}
commands="create exec"
! long || commands="create start exec delete"
seed=${FAULTS_SEED:-1}
bundle b busybox --args '["sh","-c","echo up >/up; exec sleep 100000"]'
up=$work/b/rootfs/up
snapshot_host | sort >"$work/host.before"

# What the loader does before main() is not ours; what ends a process, or cannot fail, says nothing.
skip_calls='execve exit exit_group brk arch_prctl set_tid_address set_robust_list rseq rt_sigreturn restart_syscall munmap close
	getpid gettid getuid geteuid getgid getegid clock_gettime sched_yield futex umask rt_sigprocmask rt_sigaction'

# "PID NAME" a line each, of an strace -f.
calls_of() { # FILE
	sed -nE 's/^([0-9]+) +([a-z_0-9]+)\(.*/\1 \2/p' "$1"
}
# "NAME N": the Nth call of that name by the process (or thread) that makes most of them.
candidates() { # TRACE
	calls_of "$1" | awk -v skip="$skip_calls" -v loader="$work/loader.calls" '
		BEGIN {
			n = split(skip, s)
			for (i = 1; i <= n; i++) no[s[i]] = 1
			while ((getline line < loader) > 0) { split(line, f, " "); first[f[2]]++ }
		}
		!no[$2] { c = ++count[$1 " " $2]; if (c > most[$2]) most[$2] = c }
		END { for (name in most) for (i = first[name] + 1; i <= most[name] && i <= first[name] + 60; i++) print name, i }' | sort
}
error_for() { # NAME
	case $1 in
	open* | socket* | pipe* | eventfd* | memfd* | epoll_create* | signalfd* | timerfd_create | accept* | dup*) echo EMFILE ;;
	mmap | clone* | mremap) echo ENOMEM ;;
	write* | pwrite* | ftruncate | mkdir* | mknod* | link* | symlink* | rename*) echo ENOSPC ;;
	*) echo EIO ;;
	esac
}
traced() { # STRACE_OPTION... -- COMMAND...: its own status; the tracer ends with what it traces
	local opts=()
	while [ "$1" != -- ]; do
		opts+=("$1")
		shift
	done
	shift
	rc=0
	timeout 150 strace -D -f -qq -o "$work/trace" "${opts[@]}" "$@" </dev/null >"$work/out" 2>"$work/err" || rc=$?
}
settled() { # the tracers of earlier commands are gone
	wait_for 30 sh -c '! pgrep -x strace >/dev/null'
}
run_one() { # COMMAND STRACE_OPTION...
	local cmd=$1
	shift
	case $cmd in
	create) traced "$@" -- krun-oci --log "$work/log" create --bundle "$work/b" --pid-file "$work/p" "$id" ;;
	start) traced "$@" -- krun-oci start "$id" ;;
	exec) traced "$@" -- krun-oci exec "$id" echo 'done' ;;
	delete) traced "$@" -- krun-oci delete "$id" ;;
	esac
}
quietly() { # COMMAND...: no line of output
	"$@" >/dev/null 2>&1
}
state_of() {
	krun-oci state "$id" 2>/dev/null | jq -r .status
}
runs_not() {
	case $(state_of) in created | stopped) ;; *) return 1 ;; esac
}
prepare() { # COMMAND
	rm -f "$up" "$work/log"
	case $1 in
	start | delete) quietly krun-oci --log "$work/log" create --bundle "$work/b" "$id" </dev/null || die "cannot create" ;;
	exec)
		quietly krun-oci --log "$work/log" create --bundle "$work/b" "$id" </dev/null || die "cannot create"
		quietly krun-oci start "$id" || die "cannot start"
		;;
	esac
}
# A VM that failed after it was said to be there has ended, and tells why in its log.
in_state() { # STATE WHAT
	local state
	state=$(state_of)
	[ "$state" != "$1" ] || return 0
	[ "$state" = stopped ] || die "$2: status 0, and the container is ${state:-unknown}"
	grep -q 'level=error' "$work/log" || die "$2: status 0, and then the VM ended without a word"
}
works_or_ended() {
	test -s "$up" || [ "$(state_of)" = stopped ]
}
# What says that it has done its work has.
has_done() { # COMMAND WHAT
	case $1 in
	create) in_state created "$2" ;;
	start)
		wait_for 60 works_or_ended
		in_state running "$2"
		;;
	exec) [ "$(cat "$work/out")" = 'done' ] || die "$2: status 0, and the process has said: $(cat "$work/out")" ;;
	delete) ! quietly krun-oci state "$id" || die "$2: status 0, and the container is there" ;;
	esac
}
# The whole of the host takes as long to look at as a command, so that is for every tenth.
ours() {
	pgrep -l krun-oci || true
	find /run/krun-oci -mindepth 1 2>/dev/null || true
	find /sys/fs/cgroup -type d -name "*$id*" 2>/dev/null || true
	grep -F "$work" /proc/self/mounts || true
}
nothing_of_ours() {
	local _
	for _ in {1..20}; do
		[ "$(ours)" != "$at_first" ] || return 0
		sleep 0.1
	done
	return 1
}
# What is found once is not found again.
from_here() {
	snapshot_host | sort >"$work/host.before"
	at_first=$(ours)
}
as_before() { # WHAT
	if (host_is_as "$work/host.before") >"$work/left" 2>&1; then return; fi
	sed 's/^/# /' "$work/left"
	wrong+=("$1: the host is not as before")
	from_here
}
check_one() { # COMMAND NAME N ERROR
	local what="$1: $2 number $3 fails with $4"
	[ "$rc" != 124 ] || die "$what: it hangs"
	if [ "$rc" != 0 ]; then
		# who cannot write to stderr cannot tell
		grep -qE '^[0-9]+ +writev?\(2,.*INJECTED' "$work/trace" || grep -q '^krun-oci: ' "$work/err" || { cat "$work/err"; die "$what: status $rc, and it does not tell why"; }
		if [ "$1" = create ]; then
			# the same call fails in each process, so also where the command cleans up
			! quietly krun-oci state "$id" || grep -q '^krun-oci: .*what was made stays until delete --force: ' "$work/err" ||
				die "$what: it failed, and left a container without a word"
			[ ! -e "$work/p" ] || die "$what: it failed, and left its pid file"
		fi
		# who is told of a failure may try again, or give up
		[ "$1" != start ] || wait_for 60 runs_not
	else
		has_done "$1" "$what"
	fi
	quietly krun-oci delete --force "$id" || die "$what: delete --force fails"
	rm -f "$work/p" "$up"
	settled
	nothing_of_ours || die "$what: left behind: $(ours)"
	told=$(grep -m1 '^krun-oci: ' "$work/err" | cut -c11-110 || true)
	echo "# $what: status $rc${told:+, $told}"
}

traced -- krun-oci --version
calls_of "$work/trace" >"$work/loader.calls"
at_first=$(ours)
wrong=()
for cmd in ${FAULTS_OF:-$commands}; do
	prepare "$cmd"
	run_one "$cmd"
	[ "$rc" = 0 ] || { cat "$work/err"; die "$cmd fails when it is traced: status $rc"; }
	quietly krun-oci delete --force "$id"
	rm -f "$work/p" "$up"
	settled
	candidates "$work/trace" >"$work/all.$cmd"
	n=$(wc -l <"$work/all.$cmd")
	[ "$n" -gt 10 ] || die "$cmd: only $n calls seen"
	if [ "$faults" = all ]; then
		awk -v from="${FAULTS_FROM:-}" -v to="${FAULTS_TO:-}" '$1 >= from && (to == "" || $1 <= to)' "$work/all.$cmd" >"$work/chosen"
	else
		shuf -n "$faults" --random-source=<(yes "$seed") "$work/all.$cmd" >"$work/chosen"
	fi
	[ -s "$work/chosen" ] || die "$cmd: no call is from ${FAULTS_FROM:-} to ${FAULTS_TO:-}"
	say "$cmd: $(wc -l <"$work/chosen") of $n calls fail"
	n=0 injected=0 found=${#wrong[@]}
	while read -r name nth; do
		e=$(error_for "$name")
		prepare "$cmd"
		# the tracer stops at this call alone
		run_one "$cmd" --seccomp-bpf -e "trace=$name" -e "inject=$name:error=$e:when=$nth"
		! grep -q INJECTED "$work/trace" || injected=$((injected + 1))
		# in a shell of its own: one finding does not hide those behind it
		if ! (check_one "$cmd" "$name" "$nth" "$e"); then
			wrong+=("$cmd: $name number $nth")
			quietly krun-oci delete --force "$id" || true
			rm -f "$work/p" "$up"
			settled
			from_here
		fi
		n=$((n + 1))
		[ $((n % 10)) != 0 ] || as_before "$cmd, ten calls up to $name number $nth"
	done <"$work/chosen"
	# one may not come: what a process does depends on what was there first
	echo "# $injected of $n calls were made, and failed"
	[ "$injected" -gt 0 ] || [ "$n" -lt 3 ] || die "$cmd: not one of $n calls failed"
	as_before "$cmd, at its end"
	[ ${#wrong[@]} != "$found" ] || ok "$cmd: tells why or works, and leaves nothing"
done
[ ${#wrong[@]} = 0 ] || die "${#wrong[@]} of them: $(printf '%s; ' "${wrong[@]}")"
done_testing
