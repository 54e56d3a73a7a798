# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # names that the tests read
# What the end-to-end tests share. A test sources it first; it runs as root in the test host (tests/host/run), with the tree's
# krun-oci first on PATH. It fails by die or check, at once; it ends with `done_testing`.
#
#   . "$(dirname "$0")/lib.sh"
#   bundle b busybox --args '["sh","-c","exit 3"]'      # $work/b
#   status 3 krun-oci run --bundle "$work/b" "$id"
#   done_testing
set -Eeuo pipefail
export LC_ALL=C.UTF-8
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
test_name=$(basename "$0" .sh)
id=t-$test_name-$$
checks=0

# The scratch disk of the test host has user xattrs and takes overlays; elsewhere a temporary directory has to do.
if [ -w /var/lib/krun-test ]; then
	work=$(mktemp -d "/var/lib/krun-test/$test_name.XXXXXX")
else
	work=$(mktemp -d "${TMPDIR:-/tmp}/krun-$test_name.XXXXXX")
fi

# Sleeps without a process: beside a guest that boots in an emulated machine, each process that only waits takes time from it.
mkfifo "$work/.never"
doze() { # SECONDS
	read -rt "$1" <>"$work/.never" || true
}

cleanup() {
	local c
	if [ -s "$work/stands" ]; then sed 's/^/# /' "$work/stands"; fi
	for c in $(krun-oci list -q 2>/dev/null | grep -F -- "t-$test_name-$$" || true); do
		krun-oci delete --force "$c" >/dev/null 2>&1 || true
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'echo "not ok - $0:$LINENO: status $?: $BASH_COMMAND"' ERR

say() { echo "# $*"; }
ok() { checks=$((checks + 1)); echo "ok $checks - $*"; }

die() {
	echo "not ok $((checks + 1)) - $*"
	if [ -s "$work/err" ]; then sed 's/^/# stderr: /' "$work/err" | tail -n 30; fi
	if [ -s "$work/out" ]; then sed 's/^/# stdout: /' "$work/out" | tail -n 30; fi
	exit 1
}

skip() {
	echo "skipped: $*"
	exit 77
}

done_testing() {
	[ "$checks" -gt 0 ] || die "a test without a check"
	echo "1..$checks"
}

# Makes $work/NAME by tests/bundles/make; the rest are its options.
bundle() { # NAME KIND [OPTION...]
	local name=$1 kind=$2
	shift 2
	"$top/tests/bundles/make" "$@" "$kind" "$work/$name" >"$work/err" 2>&1 || die "tests/bundles/make $kind"
}

# The same root for several bundles of a test, which takes no time for the second.
shared_bundle() { # NAME KIND [OPTION...]
	local kind=$2
	bundle "$1" "$2" --rootfs "$work/rootfs-$kind" "${@:3}"
}

# A program of tests/programs as FILE.
program() { # NAME FILE
	"$top/tests/programs" "$1" "$2" 2>"$work/err" || die "cannot compile $1"
}

# Whether all is to be tried, and not only some of what is alike (run-tests --long).
long() { [ -n "${LONG:-}" ]; }

# Runs COMMAND; its stdout is in $work/out, stderr in $work/err, its status in $rc.
run() { # COMMAND...
	rc=0
	"$@" >"$work/out" 2>"$work/err" </dev/null || rc=$?
}

check() { # WHAT EXPECTED SEEN
	[ "$2" = "$3" ] || die "$1: expected '$2', seen '$3'"
	ok "$1"
}

# The exit status of COMMAND.
status() { # EXPECTED COMMAND...
	local want=$1
	shift
	run "$@"
	[ "$rc" = "$want" ] || die "exit status $rc, not $want: $*"
	ok "exit status $want: $*"
}

out_has() { # TEXT
	grep -qF -- "$1" "$work/out" || die "stdout does not hold: $1"
	ok "stdout holds: $1"
}

err_has() { # TEXT
	grep -qF -- "$1" "$work/err" || die "stderr does not hold: $1"
	ok "stderr holds: $1"
}

# The words of files in one line.
words() { # FILE...
	cat "$@" | tr -s '\n' ' ' | sed 's/ $//'
}

# Waits until COMMAND succeeds; the test fails after SECONDS.
wait_for() { # SECONDS COMMAND...
	local end=$((EPOCHSECONDS + $1)) now=$EPOCHSECONDS
	shift
	until "$@" >/dev/null 2>&1; do
		# by the clock before that look: there is one after the time is up
		[ "$now" -lt "$end" ] || die "waited in vain for: $*"
		doze 0.1
		now=$EPOCHSECONDS
	done
}

# What a VMM that does not end is doing. It goes to a file that is shown at the test's end: stdout may be what is tested.
where_it_stands() { # ID
	local pid t f
	pid=$(krun-oci state "$1" 2>&1 | jq -r '.pid // 0' 2>/dev/null) || pid=0
	{
		echo "$1 does not end; $(krun-oci state "$1" 2>&1 | tr -d '\n')"
		for t in /proc/"$pid"/task/*; do
			echo "thread ${t##*/} $(cat "$t/comm"), $(sed -n 's/^State:\t//p' "$t/status"): $(paste -sd' ' "$t/stack")"
		done
		for f in /proc/"$pid"/fd/*; do echo "$f $(readlink "$f")"; done
		grep -H '' /proc/"$pid"/fdinfo/* | grep -E 'tfd|eventfd-count'
		ss -xp | grep "pid=$pid,"
		if command -v gdb >/dev/null; then gdb -p "$pid" -batch -nx -ex 'thread apply all bt 12' | grep -E '^(#|Thread)'; fi
	} >>"$work/stands" 2>&1 || true
}

# The status of the child PID, which is about the container ID. After SECONDS tells where it stands, ends the container (who has its
# pipes would wait for it), and returns 124.
ended() { # SECONDS ID PID
	local watch who='' rc=0
	sleep "$1" >/dev/null 2>&1 &
	watch=$!
	wait -n -p who "$watch" "$3" || rc=$?
	if [ "$who" = "$3" ]; then
		disown "$watch" # the shell says nothing of its end then
		kill "$watch" 2>/dev/null || true
		return $rc
	fi
	where_it_stands "$2"
	krun-oci delete --force "$2" </dev/null >/dev/null 2>&1 || true
	kill -KILL "$3" 2>/dev/null || true
	return 124
}

# Runs COMMAND so, with the caller's stdio, which the shell holds meanwhile, too.
limited() { # SECONDS ID COMMAND...
	"${@:3}" <&0 &
	ended "$1" "$2" $!
}

# The page / of a web server.
get() { # HOST PORT
	# shellcheck disable=SC2016 # the other shell's arguments
	timeout 60 bash -c 'exec 9<>"/dev/tcp/$0/$1" && printf "GET / HTTP/1.0\r\n\r\n" >&9 && sed "1,/^\r*\$/d" <&9' "$1" "$2"
}

container_is() { # ID STATUS
	[ "$(krun-oci state "$1" 2>/dev/null | jq -r .status)" = "$2" ]
}

# What a container may leave behind: processes, mounts, cgroups, sockets, state, files of /tmp, /run and /dev/shm.
# Kernel threads and this test's own processes are not in it, nor is the directory of all states, which the first container
# of a host makes and which stays; nor what mount(8) makes for itself.
snapshot_host() {
	ps -e -o ppid=,pid=,comm= | awk -v me=$$ -v own="$(basename "$0" | cut -c -15)" '$1 != 2 && $2 != 2 && $1 != me && $2 != me && $3 != own && $3 !~ /^(ps|awk|sort|bash|sleep|[a-z0-9-]+\.sh)$/ { print "process", $2, $3 }'
	awk '{ print "mount", $5, $9 }' /proc/self/mountinfo
	find /sys/fs/cgroup -type d -printf 'cgroup %p\n' 2>/dev/null || true
	awk 'NR > 1 && $NF ~ /^[\/@]/ { print "socket", $NF }' /proc/net/unix
	ip netns list 2>/dev/null | sed 's/^/netns /' || true
	find /run /dev/shm -xdev -path "$work" -prune -o ! -path /run/krun-oci ! -path '/run/mount*' -printf 'file %p\n' 2>/dev/null | grep -v "krun-oci-check" || true
	files_of_tmp
}

# In the test host /tmp shows the machine's own too, where others are at work: only what was made in here counts, and that has
# another device number.
files_of_tmp() {
	local probe dev
	probe=$(mktemp /tmp/krun-probe.XXXXXX)
	dev=$(stat -c %d "$probe")
	rm -f "$probe"
	if [ "$dev" = "$(stat -c %d /tmp)" ]; then
		find /tmp -xdev -path "$work" -prune -o -printf 'file %p\n' 2>/dev/null || true
	else
		find /tmp -xdev -maxdepth 2 ! -type d -printf '%D file %p\n' 2>/dev/null | sed -n "s/^$dev //p" || true
	fi
}

# Fails with the difference when the host is not as in FILE (made by `snapshot_host | sort >FILE`). What ends asynchronously, as
# a cgroup that the kernel still removes, has two seconds.
host_is_as() { # FILE
	for _ in {1..20}; do
		snapshot_host | sort >"$work/host.now"
		! cmp -s "$1" "$work/host.now" || { ok "nothing is left behind"; return 0; }
		sleep 0.1
	done
	diff "$1" "$work/host.now" >"$work/out" || true
	die "the host is not as before"
}

# Becomes a subreaper as container managers do, runs COMMAND, and then reaps what is re-parented to it: a line "PID STATUS"
# each in FILE; the status is the exit code, or "signal N". The first line is COMMAND's own.
monitor() { # FILE COMMAND...
	# shellcheck disable=SC2016 # perl's variables
	perl -e '
		syscall(157, 36, 1, 0, 0, 0) == 0 or die "PR_SET_CHILD_SUBREAPER: $!\n";
		open(my $out, ">", shift @ARGV) or die "$!\n";
		$out->autoflush(1);
		my $first = fork();
		if (!$first) { close($out); exec(@ARGV) or die "$!\n"; }
		my $rc = 0;
		while ((my $pid = wait()) > 0) {
			my $st = ($? & 127) ? "signal " . ($? & 127) : $? >> 8;
			$rc = $? >> 8 if $pid == $first;
			print $out "$pid $st\n";
		}
		exit($rc);' "$@"
}

# Edits the config.json of $work/NAME.
edit() { # NAME JQ
	jq --tab "$2" "$work/$1/config.json" >"$work/$1/config.new" || die "jq: $2"
	mv "$work/$1/config.new" "$work/$1/config.json"
}

# Creates a container from $work/BUNDLE in the background of a monitor; its streams are $work/ID.out and $work/ID.err, its
# exits $work/ID.exits. Returns when the create has ended, well or not: its status in $rc.
created() { # ID BUNDLE [OPTION...]
	local c=$1 b=$2 end=$((EPOCHSECONDS + create_seconds))
	shift 2
	: >"$work/$c.exits"
	monitor "$work/$c.exits" krun-oci "${create_flags[@]}" create --bundle "$work/$b" --pid-file "$work/$c.pid" "$@" "$c" </dev/null >"$work/$c.out" 2>"$work/$c.err" &
	monitors+=($!)
	until [ -s "$work/$c.exits" ]; do
		[ "$EPOCHSECONDS" -lt "$end" ] || [ -s "$work/$c.exits" ] || die "create $c does not end"
		doze 0.05
	done
	rc=$(head -n 1 "$work/$c.exits" | cut -d' ' -f2)
}
monitors=()
create_flags=() # the runtime's own, before the verb
create_seconds=120 # after which it hangs

# What the VMM of ID ended with; waits for it.
exit_of() { # ID [SECONDS]
	local pid
	pid=$(cat "$work/$1.pid")
	wait_for "${2:-60}" grep -q "^$pid " "$work/$1.exits"
	sed -n "s/^$pid //p" "$work/$1.exits"
}
