#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# exec: exit codes, streams, what the options change, --process, the proxy of --detach, what is refused, many (LONG=1: 100) at once.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox --args '["sleep","100000"]'
# a filter that exec'ed processes get as well
edit b '.process.env=["PATH=/bin:/usr/bin","COLOUR=red","SHAPE=round"] | .process.cwd="/tmp" | .process.rlimits=[{"type":"RLIMIT_NOFILE","soft":123,"hard":456}]
	| .linux.seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sethostname"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}
	| .process.capabilities={"bounding":["CAP_KILL"],"permitted":["CAP_KILL"],"effective":["CAP_KILL"],"inheritable":[],"ambient":[]} | .process.noNewPrivileges=false | .root.readonly=false
	| (.mounts[] | select(.destination == "/sys/fs/cgroup").options) -= ["ro"]'
snapshot_host | sort >"$work/host.before"
created "$id" b
check "create" 0 "$rc"

say "while created"
status 0 krun-oci exec "$id" sh -c 'echo "$(cat /proc/1/comm), $$"'
grep -Eqx 'init, [0-9]+' "$work/out" || die "the exec'ed process is not beside the held one"
status 0 krun-oci start "$id"

say "exit codes"
for code in 0 1 7 255; do status $code krun-oci exec "$id" sh -c "exit $code"; done
status 143 krun-oci exec "$id" sh -c 'kill -TERM $$'
status 137 krun-oci exec "$id" sh -c 'kill -KILL $$'
status 127 krun-oci exec "$id" no-such-program
err_has "executable file not found in \$PATH: \`no-such-program\`: no such file or directory"
status 127 krun-oci exec "$id" /no/such/program
err_has "no such file or directory"
status 126 krun-oci exec "$id" /etc
err_has "permission denied"
printf 'nonsense' >"$work/b/rootfs/tmp/nonsense"
chmod 755 "$work/b/rootfs/tmp/nonsense"
status 126 krun-oci exec "$id" /tmp/nonsense
err_has "Exec format error"

say "streams"
status 0 krun-oci exec "$id" sh -c 'echo to stdout; echo to stderr >&2'
check "stdout alone" "to stdout" "$(cat "$work/out")"
check "stderr alone" "to stderr" "$(cat "$work/err")"
check "stdin, to its end" "5 hello" "$(printf hello | krun-oci exec "$id" sh -c 'x=$(cat); echo "${#x} $x"')"
check "no stdin" "" "$(krun-oci exec "$id" cat </dev/null)"
# more than all buffers hold
head -c 2000000 /dev/urandom >"$work/data"
krun-oci exec "$id" cat <"$work/data" >"$work/back" || die "cat"
cmp "$work/data" "$work/back" || die "2 MB did not come back as they went"
ok "2 MB go in and come back"
rc=0
timeout 60 krun-oci exec "$id" yes 2>"$work/err" | head -n 3 >"$work/out" || rc=$?
[ "$rc" != 124 ] || die "the writer goes on without a reader"
check "a reader that is gone ends the writer" "3" "$(grep -cx y "$work/out")"
# a writer whose reader in the guest is gone: the first write after that fails
timeout 60 krun-oci exec "$id" true < <(yes 2>/dev/null) || die "it hangs, or fails"
ok "a writer does not hang on a process that does not read"
run timeout 60 krun-oci exec "$id" sh -c 'sleep 1000 >/dev/null 2>&1 </dev/null & echo done'
check "a background child does not hold the exec" "0 done" "$rc $(cat "$work/out")"
rm -f "$work/b/rootfs/tmp/seen"
exec 9< <(timeout 600 krun-oci exec "$id" sh -c 'echo first; until [ -e /tmp/seen ]; do sleep 0.1; done')
line=''
read -rt 60 line <&9 || true
check "output comes at once" first "$line"
touch "$work/b/rootfs/tmp/seen"
check "and then its end" "" "$(timeout 60 cat <&9)"
exec 9<&-

say "what it is given"
cat_status() { krun-oci exec "$@" "$id" cat /proc/self/status >"$work/out" || die "exec $*"; }
has() { # FIELD VALUE
	check "$1" "$2" "$(sed -n "s/^$1:[[:space:]]*//p" "$work/out" | tr '\t' ' ' | sed 's/ *$//')"
}
cat_status
has Uid "0 0 0 0"
has CapEff 0000000000000020
has CapBnd 0000000000000020
has NoNewPrivs 0
has Seccomp 2
cat_status --user 1000:100 --no-new-privs -g 5 --additional-gids 6,7
has Uid "1000 1000 1000 1000"
has Gid "100 100 100 100"
has Groups "5 6 7"
has CapEff 0000000000000000
has NoNewPrivs 1
cat_status --cap CAP_CHOWN -c cap_fowner
has CapEff 0000000000000029
has CapBnd 0000000000000029
check "a user without a group has group 0" "uid=12 gid=0" "$(krun-oci exec -u 12 "$id" sh -c 'echo "uid=$(id -u) gid=$(id -g)"')"
check "the container's environment, and HOME" "red round /root" "$(krun-oci exec "$id" sh -c 'echo $COLOUR $SHAPE $HOME')"
check "variables are added and replaced" "green round 1=2" "$(krun-oci exec -e COLOUR=green --env=NEW=1=2 "$id" sh -c 'echo $COLOUR $SHAPE $NEW')"
check "the container's working directory" /tmp "$(krun-oci exec "$id" pwd)"
check "another one" /etc "$(krun-oci exec --cwd /etc "$id" pwd)"
status 1 krun-oci exec --cwd /tmp/missing "$id" pwd
err_has "/tmp/missing: No such file or directory"
[ ! -e "$work/b/rootfs/tmp/missing" ] || die "an exec has made a directory in the image"
check "rlimits" "123 456" "$(krun-oci exec "$id" sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)')"
status 1 krun-oci exec "$id" hostname nonsense
err_has "Function not implemented"
check "options behind the id are the command's" "-d -t" "$(krun-oci exec "$id" echo -d -t)"

say "its streams go with it"
sockets() { krun-oci exec "$id" sed -n 's/^sockets: used //p' /proc/net/sockstat; }
run krun-oci exec "$id" true
before=$(sockets)
for _ in 1 2 3 4 5; do echo in | krun-oci exec "$id" cat >/dev/null; done
check "sockets of the guest after five more" "$before" "$(sockets)"

say "--process"
cat >"$work/process.json" <<'END_OF_FILE'
{"args": ["sh", "-c", "echo $A $(id -u):$(id -g) $(pwd); exit 9"], "cwd": "/usr", "env": ["A=b", "PATH=/bin"], "user": {"uid": 3, "gid": 4},
 "capabilities": {}, "noNewPrivileges": true}
END_OF_FILE
status 9 krun-oci exec --process "$work/process.json" "$id"
out_has "b 3:4 /usr"
jq 'del(.user) | .args=["sh","-c","/usr/bin/id -u"]' "$work/process.json" >"$work/no-user.json"
check "without a user it is the container's" 0 "$(krun-oci exec --process "$work/no-user.json" "$id")"
rights='sed -n "s/^Cap\(Eff\|Bnd\):.//p" /proc/self/status; ulimit -Sn'
check "with capabilities that are none it has none" "0000000000000000 0000000000000000" "$(jq --arg s "$rights" '.args=["sh","-c",$s]' "$work/process.json" >"$work/caps.json"
	krun-oci exec --process "$work/caps.json" "$id" | head -n 2 | words -)"
jq 'del(.capabilities, .user)' "$work/caps.json" >"$work/no-caps.json"
check "without capabilities and limits they are the container's" "$(krun-oci exec "$id" sh -c "$rights")" "$(krun-oci exec --process "$work/no-caps.json" "$id")"
[ "$(krun-oci exec --process "$work/no-caps.json" "$id" | head -n 1)" != 0000000000000000 ] || die "the container has no capabilities"
jq '.capabilities.bounding=["CAP_NEW"] | .args=["true"]' "$work/process.json" >"$work/new-cap.json"
status 0 krun-oci --log "$work/log" --log-level warning exec --process "$work/new-cap.json" "$id"
grep -q 'unknown capability .*CAP_NEW' "$work/log" || die "no warning: $(cat "$work/log")"
for bad in '.execCPUAffinity={"initial":"0-"}' '.cwd="relative"' '.args=[]'; do
	jq "$bad" "$work/process.json" >"$work/bad.json"
	status 1 krun-oci exec --process "$work/bad.json" "$id"
done

say "a proxy that is left behind"
krun-oci exec --detach --pid-file "$work/p" "$id" sh -c 'trap "exit 44" USR1; while :; do sleep 0.1; done' </dev/null >/dev/null 2>&1 || die "exec --detach"
pid=$(cat "$work/p")
krun-oci exec "$id" ps | grep -q 'exit 44' || die "the process does not run"
check "digits and nothing else" "${#pid}" "$(stat -c %s "$work/p")"
check "its cgroup" "0::/$id" "$(cat "/proc/$pid/cgroup")"
check "its pid namespace is the VMM's" "$(readlink "/proc/$(cat "$work/$id.pid")/ns/pid")" "$(readlink "/proc/$pid/ns/pid")"
check "its seccomp" 2 "$(sed -n 's/^Seccomp:\t//p' "/proc/$pid/status")"
check "it shows no arguments" "" "$(tr -d '\0' <"/proc/$pid/cmdline" | grep -o trap || true)"
proxy_end() { # STATUS COMMAND_OF_THE_GUEST: what it ended with, as its parent sees
	wait_for 60 grep -q "^$(cat "$work/p") " "$work/exits"
	check "the proxy's status" "$1" "$(sed -n "s/^$(cat "$work/p") //p" "$work/exits")"
}
detached() { # COMMAND...: as a container manager does it
	: >"$work/exits"
	rm -f "$work/p"
	monitor "$work/exits" krun-oci exec --detach --pid-file "$work/p" "$id" "$@" </dev/null >"$work/d.out" 2>"$work/d.err" &
	wait_for 60 test -s "$work/p"
}
kill -KILL "$pid"
runs() { # PATTERN COUNT: so many processes of the guest match
	krun-oci exec "$id" ps >"$work/ps" && [ "$(grep -c "$1" "$work/ps")" = "$2" ]
}
wait_for 30 runs 'exit 44' 0
ok "its death is that of the process"
detached sh -c 'exit 3'
proxy_end 3
detached sh -c 'trap "exit 44" USR1; echo ready; while :; do sleep 0.1; done'
wait_for 30 grep -q ready "$work/d.out"
kill -USR1 "$(cat "$work/p")"
proxy_end 44
detached sleep 1000
kill -TERM "$(cat "$work/p")"
proxy_end 143
rm -f "$work/p"
status 127 krun-oci exec --detach --pid-file "$work/p" "$id" no-such-program
[ ! -e "$work/p" ] || die "a failed exec leaves a pid file"
ok "a failed exec leaves no pid file"
command -v strace >/dev/null || die "no strace (tests/deps lint installs it)"
status 1 strace -f -qq -o "$work/trace" -e trace=seccomp -e inject=seccomp:error=ENOMEM krun-oci exec --detach --pid-file "$work/p" "$id" sleep 2003
err_has 'the exec'"'"'s process: cannot confine the thread "proxy": Cannot allocate memory'
[ ! -e "$work/p" ] || die "a proxy that is not confined leaves a pid file"
# Killed when the pid file is there and the command still speaks to a socket, whose one place another has.
cat >"$work/killer" <<'END_OF_SCRIPT'
use IO::Socket::UNIX;
my ($path, $file) = @ARGV;
my $s = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die "$path: $!\n";
listen($s, 0) or die;
my $other = IO::Socket::UNIX->new(Peer => $path) or die;
open(my $ready, ">", "$path.full") or die;
close($ready);
for (my $i = 0; !-s $file; $i++) { die "no pid file\n" if $i > 600; select(undef, undef, undef, 0.1); }
open(my $f, "<", $file) or die;
my $pid = <$f>;
kill("KILL", $pid) or die "kill: $!\n";
for (my $i = 0; ; $i++) {
	open(my $st, "<", "/proc/$pid/stat") or last;
	last if <$st> =~ /\) Z /;
	die "it does not end\n" if $i > 600;
	select(undef, undef, undef, 0.1);
}
# What the command says then is what counts: it is only to get rid of its pidfd.
accept(my $first, $s);
accept(my $second, $s);
1 while sysread($second, my $text, 64);
END_OF_SCRIPT
perl "$work/killer" "$work/socket" "$work/p" >"$work/killer.out" 2>&1 &
killer=$!
wait_for 30 test -e "$work/socket.full"
status 1 krun-oci exec --detach --pid-file "$work/p" --pidfd-socket "$work/socket" "$id" sleep 2004
err_has "the exec's process was killed"
wait $killer || die "$(cat "$work/killer.out")"
[ ! -e "$work/p" ] || die "a proxy that was killed leaves a pid file"
wait_for 30 runs 'sleep 200[34]$' 0
ok "one whose proxy fails tells why, leaves no pid file, and nothing runs"
krun-oci exec "$id" sleep 2001 &
cli=$!
wait_for 30 runs 'sleep 2001$' 1
kill -INT $cli
rc=0
wait $cli || rc=$?
check "signals reach the process of an exec in the foreground" 130 "$rc"

many=10
! long || many=100
say "$many at once"
streams() { find "/proc/$(cat "$work/$id.pid")/fd" \( -lname 'pipe:*' -o -lname 'socket:*' -o -lname /dev/null -o -lname "$work/many.*" \) | wc -l; }
before=$(streams)
for ((i = 1; i <= many; i++)); do
	krun-oci exec "$id" sh -c "echo $i; exit $((i % 7))" >"$work/many.$i" 2>&1 </dev/null &
	pids[i]=$!
done
for ((i = 1; i <= many; i++)); do
	rc=0
	wait "${pids[i]}" || rc=$?
	[ "$rc" = $((i % 7)) ] && [ "$(cat "$work/many.$i")" = "$i" ] || { cp "$work/many.$i" "$work/err"; die "number $i of $many: status $rc"; }
done
ok "$many at once, each with its output and status"
as_many() { [ "$(streams)" -le "$before" ]; }
wait_for 60 as_many
ok "nothing of them is left in the VMM: $before before, $(streams) now"

say "letters"
check "with a value" "7 b" "$(krun-oci exec -u7 -eA=b "$id" sh -c 'echo "$(id -u) $A"')"
check "the same with =" "7 b" "$(krun-oci exec -u=7 -e=A=b "$id" sh -c 'echo "$(id -u) $A"')"
krun-oci exec -de A=b --pid-file "$work/p" "$id" sh -c '[ "$A" = b ] && exec sleep 2002' </dev/null >/dev/null 2>&1 || die "exec -de"
wait_for 30 runs 'sleep 2002$' 1
kill -KILL "$(cat "$work/p")"
ok "together"

say "what is refused"
refused() { # WORD ARG...
	local word=$1
	shift
	status 1 krun-oci exec "$@"
	err_has "$word"
}
krun-oci exec "$id" mkdir /sys/fs/cgroup/sub || die "a cgroup in the guest"
check "--cgroup" "0::/sub" "$(krun-oci exec --cgroup /sub "$id" cat /proc/self/cgroup)"
check "--cgroup, the same by another name" "0::/sub" "$(krun-oci exec --cgroup sub "$id" cat /proc/self/cgroup)"
check "without it" "0::/" "$(krun-oci exec "$id" cat /proc/self/cgroup)"
refused "does not exist" "$id-none" true
refused "needs a command" "$id"
! grep -q Y /sys/module/apparmor/parameters/enabled 2>/dev/null || refused --apparmor --apparmor profile "$id" true
[ ! -e /sys/fs/selinux/enforce ] || refused --process-label --process-label label "$id" true
refused --cgroup --cgroup ../.. "$id" true
refused --cgroup --cgroup memory:sub "$id" true
refused --cgroup --cgroup / "$id" true
refused --user --user root "$id" true
refused --env --env NAME "$id" true
refused --cap --cap CAP_NONE "$id" true
refused --cwd --cwd relative "$id" true
refused --console-socket -t -d "$id" true
refused --console-socket -td "$id" true
refused "unknown flag: -tz" -tz "$id" true
refused "-tu: flag needs an argument" -tu
refused --console-socket --console-socket "$work/none" "$id" true
refused --env --process "$work/process.json" --env A=b "$id"
refused "$work/none" --process "$work/none" "$id"
refused --wrong --wrong "$id" true

say "a paused container"
status 0 krun-oci pause "$id"
refused "cannot exec in a paused container" "$id" true
krun-oci exec --ignore-paused "$id" sleep 4321 >"$work/o" 2>"$work/err" </dev/null &
cli=$!
# not bash any more, whose trap is there too until it has executed the command
wait_for 30 grep -qx krun-oci "/proc/$cli/comm"
wait_for 30 grep -qE '^SigCgt:[[:space:]]+[0-9a-f]{12}[4-7c-f]' "/proc/$cli/status"
kill -TERM $cli
rc=0
ended 30 "$id" $cli || rc=$?
check "a signal ends who waits" 143 "$rc"
err_has "ended by signal 15 before the process ran"
krun-oci exec --ignore-paused "$id" echo went on >"$work/o" 2>&1 </dev/null &
cli=$!
wait_for 30 grep -qx krun-oci "/proc/$cli/comm"
wait_for 30 grep -qE '^SigCgt:[[:space:]]+[0-9a-f]{12}[4-7c-f]' "/proc/$cli/status"
doze 2
check "nothing is executed meanwhile" paused "$(krun-oci state "$id" | jq -r .status)$(cat "$work/o")"
status 0 krun-oci resume "$id"
rc=0
wait $cli || rc=$?
check "it begins when the container goes on" "0 went on" "$rc $(cat "$work/o")"
wait_for 30 sh -c "krun-oci exec $id ps -o args >$work/ps && ! grep -q '^sleep 4321' $work/ps"

say "CPUs"
edit b '.process.execCPUAffinity={"initial":"0","final":"1"} | .annotations={"krun.cpus":"2"} | .process.args=["sh","-c","cat /proc/self/status; sleep 1000"]'
created "$id-2" b
status 0 krun-oci start "$id-2"
cpus() { sed -n 's/^Cpus_allowed_list:\t//p' "$@"; }
check "those of the guest" 1 "$(krun-oci exec "$id-2" cat /proc/self/status | cpus)"
wait_for 30 grep -q '^Cpus_allowed_list' "$work/$id-2.out"
check "the container's own process has all" 0-1 "$(cpus "$work/$id-2.out")"
if long; then
	affinity() { jq ".execCPUAffinity=$1 | .args=[\"cat\",\"/proc/self/status\"]" "$work/process.json" >"$work/cpus.json"; }
	affinity '{"initial":"0,7000","final":"0,2-63,8000"}'
	status 0 krun-oci exec --process "$work/cpus.json" "$id-2"
	check "what is not there does not count" 0 "$(cpus "$work/out")"
	affinity '{}'
	status 0 krun-oci exec --process "$work/cpus.json" "$id-2"
	check "without it" 0-1 "$(cpus "$work/out")"
	for bad in '{"initial":"7000"} execCPUAffinity.initial' '{"final":"64"} execCPUAffinity.final' '{"final":"9"} affinity'; do
		affinity "${bad% *}"
		status 1 krun-oci exec --process "$work/cpus.json" "$id-2"
		err_has "${bad##* }"
	done
fi
krun-oci exec --detach --pid-file "$work/p2" "$id-2" sleep 1000 </dev/null >/dev/null 2>&1 || die "exec --detach"
check "those of what stands for it on the host" 0 "$(cpus "/proc/$(cat "$work/p2")/status")"
status 0 krun-oci delete --force "$id-2"

say "a process whose last act ends the container"
# PID 1 ends when it is alone, and the VM with it, at once: what stands for the exec has just been told.
edit b '.process.args=["sh","-c","trap \"while kill -0 -1 2>/dev/null; do :; done; exit 0\" USR1; echo up; while :; do sleep 0.1; done"]'
mkfifo "$work/f.last"
exec 8<>"$work/f.last"
for i in 1 2; do
	created "$id-3" b
	status 0 krun-oci start "$id-3"
	wait_for 60 grep -q up "$work/$id-3.out"
	: >"$work/exits"
	rm -f "$work/p"
	monitor "$work/exits" krun-oci exec --detach --pid-file "$work/p" "$id-3" sh -c 'read x; kill -USR1 1; exit 3' <"$work/f.last" >/dev/null 2>&1 &
	wait_for 60 grep -q ' 0$' "$work/exits" # the command, which has told it
	echo go >&8
	proxy_end 3
	check "the container's own" 0 "$(exit_of "$id-3")"
	krun-oci delete "$id-3"
done
exec 8>&-

say "the VM goes"
detached sleep 3001
monitor=$(pgrep -P $!) # the shell that runs it has no other child
vmm=$(cat "$work/$id.pid")
krun-oci exec "$id" sleep 3001 &
cli=$!
# that it runs is seen in the guest before it is told to who stands for it, who then listens to signals
told() { readlink "/proc/$cli/fd/"* 2>/dev/null | grep -q signalfd; }
wait_for 30 told
wait_for 30 runs 'sleep 3001$' 2
zombie() { grep -q '^State:[[:space:]]Z' "/proc/$1/status"; }
over() { grep -q "^$vmm " "$work/$id.exits"; } # and its parent has been told
kill -STOP "$monitor" # it does not see the end of its exec
status 0 krun-oci kill "$id" KILL
wait_for 30 zombie "$(cat "$work/p")"
doze 2
! over || die "the VMM's end shows before that of its proxy has been taken"
kill -CONT "$monitor"
wait_for 30 over
[ ! -e "/proc/$(cat "$work/p")" ] || die "a proxy is there when the VMM has ended"
ok "the VMM's end shows when its proxies have gone"
wait_for 60 grep -q "^$(cat "$work/p") " "$work/exits"
# by the kernel, or by itself when it was faster
grep -Eqx "$(cat "$work/p") (137|signal 9)" "$work/exits" || die "the proxy's status: $(cat "$work/exits")"
ok "killed"
rc=0
wait $cli || rc=$?
check "exec in the foreground" 137 "$rc"
wait_for 30 container_is "$id" stopped
refused "is not running" "$id" true
refused "cannot exec in a stopped container" "$id" true
status 0 krun-oci delete "$id"
host_is_as "$work/host.before"
done_testing
