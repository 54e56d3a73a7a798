#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What config.json says about the process, its mounts and its names is what the workload finds.
# timeout: 720
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
bundle b busybox
cat >"$work/b/rootfs/look" <<'END'
#!/bin/sh
# One line "name: value" for each thing that the test compares. With the word "short" those that differ for an ordinary user.
say() { echo "$1: $2"; }
say id "$(id -u) $(id -g) $(id -G)"
say umask "$(umask)"
for f in CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp; do say $f "$(sed -n "s/^$f:[[:space:]]*//p" /proc/self/status)"; done
say oom "$(cat /proc/self/oom_score_adj)"
say cwd "$(pwd)"
say env "$(tr '\0' ' ' </proc/1/environ)"
say rootro "$(touch /file 2>&1 | sed 's/.*: //')"
say root "$(awk '$2 == "/" { print $3, substr($4, 1, 2) }' /proc/mounts)"
say cpus "$(grep -c ^processor /proc/cpuinfo)"
[ "$1" != short ] || exit 0
say nofile "$(ulimit -Sn) $(ulimit -Hn)"
say core "$(ulimit -Sc) $(ulimit -Hc)"
say hostname "$(hostname)"
say domainname "$(cat /proc/sys/kernel/domainname)"
say pid "$$"
say args "$(tr '\0' ' ' </proc/1/cmdline)"
say sysctl "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start) $(cat /proc/sys/kernel/msgmax)"
say mkdir "$(mkdir /tmp/d 2>&1; stat -c %a /tmp/d)"
say masked "$(wc -c </proc/timer_list 2>&1) $(ls -A /proc/irq 2>&1)"
say readonly "$(echo 1 2>&1 >/proc/sys/kernel/panic | sed 's/.*: //')"
say dev "$(cd /dev && ls | tr '\n' ' ')"
say null "$(echo x >/dev/null && head -c 3 /dev/zero | od -An -tx1 | tr -d ' ')"
say tty "$(ls /dev/pts | tr '\n' ' ')"
say run "$(awk '$2 == "/run/x" { print $3, $4 }' /proc/mounts)"
say runstat "$(stat -c '%a %u %g' /run/x)"
say shm "$(awk '$2 == "/dev/shm" { print $3 }' /proc/mounts)"
say proc "$(awk '$2 == "/proc" { print $3 }' /proc/mounts)"
say mqueue "$(awk '$2 == "/dev/mqueue" { print $3 }' /proc/mounts)"
say cgroup "$(awk '$2 == "/sys/fs/cgroup" { print $3 }' /proc/mounts) $(cat /proc/self/cgroup)"
say shmsize "$(df -k /dev/shm | awk 'END { print $2 }')"
say ptsopt "$(awk '$2 == "/dev/pts" { print $4 }' /proc/mounts)"
say mqopt "$(awk '$2 == "/dev/mqueue" { print $4 }' /proc/mounts)"
say cgro "$(mkdir /sys/fs/cgroup/x 2>&1 | sed 's/.*: //')"
say inodes "$(cd /run/x && for i in 1 2 3 4 5; do touch $i 2>/dev/null || echo full at $i; done | head -n 1)"
say sysro "$(awk '$2 == "/sys" { print substr($4, 1, 2) }' /proc/mounts)"
say mounts "$(awk '{ print $2 }' /proc/mounts | sort | tr '\n' ' ')"
say mkdirat "$(mkdir /run/x/forbidden 2>&1 | sed 's/.*: //')"
say netns "$(ls /sys/class/net | tr '\n' ' ')"
END
chmod 755 "$work/b/rootfs/look"

value() { # NAME
	sed -n "s/^$1: //p" "$work/look"
}

look() { # runs it; the result is $work/look
	run krun-oci run --bundle "$work/b" "$id"
	cp "$work/out" "$work/look"
	[ "$rc" = 0 ] || die "exit status $rc"
	check "nothing on stderr" "" "$(cat "$work/err")"
}

say "root, with much set"
edit b '.process.args=["/look"] | .process.cwd="/new/dir" | .process.env=["PATH=/bin:/usr/bin","A=b c","EMPTY="]
	| .process.user={"uid":0,"gid":0,"umask":54,"additionalGids":[5,2000]}
	| .process.rlimits=[{"type":"RLIMIT_NOFILE","soft":512,"hard":2000000},{"type":"RLIMIT_CORE","soft":0,"hard":1024}]
	| .process.oomScoreAdj=321 | .hostname="a-name" | .domainname="a-domain"
	| .process.capabilities={"bounding":["CAP_CHOWN","CAP_KILL"],"permitted":["CAP_CHOWN","CAP_KILL"],"effective":["CAP_CHOWN"],"inheritable":["CAP_KILL"],"ambient":["CAP_KILL"]}
	| .linux.sysctl={"net.ipv4.ip_unprivileged_port_start":"77","kernel.msgmax":"4242"}
	| .linux.maskedPaths=["/proc/timer_list","/proc/irq","/no/such/path"] | .linux.readonlyPaths=["/proc/sys","/no/such"]
	| .mounts+=[{"destination":"/run/x","type":"tmpfs","source":"t","options":["nosuid","nodev","size=1m","nr_inodes=4","mode=1757","uid=7","gid=8"]}]
	| .linux.seccomp={"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["sethostname"],"action":"SCMP_ACT_ERRNO","errnoRet":42}]}'
look
check "uid, gid, groups" "0 0 0 5 2000" "$(value id)"
check "umask" 0066 "$(value umask)"
check "CapBnd" 0000000000000021 "$(value CapBnd)"
check "CapPrm" 0000000000000021 "$(value CapPrm)"
check "CapEff" 0000000000000021 "$(value CapEff)"
check "CapInh" 0000000000000020 "$(value CapInh)"
check "CapAmb" 0000000000000020 "$(value CapAmb)"
check "NoNewPrivs" 1 "$(value NoNewPrivs)"
check "Seccomp" 2 "$(value Seccomp)"
check "RLIMIT_NOFILE, above what a kernel begins with" "512 2000000" "$(value nofile)"
check "RLIMIT_CORE" "0 2" "$(value core)"
check "oom_score_adj" 321 "$(value oom)"
check "cwd, made where it is missing" /new/dir "$(value cwd)"
check "the environment, and nothing else" "PATH=/bin:/usr/bin A=b c EMPTY= HOME=/root " "$(value env)"
check "hostname" a-name "$(value hostname)"
check "domainname" a-domain "$(value domainname)"
check "the workload is PID 1" 1 "$(value pid)"
check "its arguments" "/bin/sh /look " "$(value args)"
check "sysctl" "77 4242" "$(value sysctl)"
check "umask at work" 711 "$(value mkdir)"
check "masked paths" "0 " "$(value masked)"
check "read-only paths" "Read-only file system" "$(value readonly)"
check "a root that can be written" "" "$(value rootro)"
check "default devices" "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero " "$(value dev)"
check "null and zero" 000000 "$(value null)"
check "pts is new" "ptmx " "$(value tty)"
case $(value run) in "tmpfs rw,nosuid,nodev,"*size=1024k*) ok "tmpfs options" ;; *) die "tmpfs: $(value run)" ;; esac
check "tmpfs mode and owner" "1757 7 8" "$(value runstat)"
check "/dev/shm" tmpfs "$(value shm)"
check "size of /dev/shm" 65536 "$(value shmsize)"
check "nr_inodes" "full at 4" "$(value inodes)"
case $(value ptsopt) in rw,nosuid,noexec,*gid=5,mode=620,ptmxmode=666*) ok "devpts options" ;; *) die "devpts: $(value ptsopt)" ;; esac
case $(value mqopt) in rw,nosuid,nodev,noexec*) ok "mqueue options" ;; *) die "mqueue: $(value mqopt)" ;; esac
check "a cgroup mount with ro" "Read-only file system" "$(value cgro)"
check "/proc" proc "$(value proc)"
check "the root" "virtiofs rw" "$(value root)"
check "/dev/mqueue" mqueue "$(value mqueue)"
check "cgroup mount and namespace" "cgroup2 0::/" "$(value cgroup)"
check "/sys is read-only" ro "$(value sysro)"
check "no mount of the agent's is seen" "/ /dev /dev/mqueue /dev/pts /dev/shm /proc /proc/irq /proc/sys /proc/timer_list /run/x /sys /sys/fs/cgroup " "$(value mounts)"
check "network" "lo " "$(value netns)"
[ -d "$work/b/rootfs/new/dir" ] || die "cwd was not made in the rootfs"
rm -rf "$work/b/rootfs/tmp/d" "$work/b/rootfs/file"

say "an ordinary user, a read-only root, several CPUs"
edit b '.process.args+=["short"] | .process.user={"uid":1000,"gid":1000} | .process.cwd="/home/user" | .root.readonly=true | .process.noNewPrivileges=false
	| .process.capabilities={"bounding":["CAP_KILL"]} | del(.process.oomScoreAdj) | del(.linux.seccomp)
	| .annotations={"krun.cpus":"2"} | .mounts+=[{"destination":"/tmp","type":"tmpfs","source":"t","options":["mode=1777"]}]'
look
check "uid, gid, groups" "1000 1000 1000" "$(value id)"
check "umask by default" 0022 "$(value umask)"
for s in CapInh CapPrm CapEff CapAmb; do check $s 0000000000000000 "$(value $s)"; done
check "CapBnd" 0000000000000020 "$(value CapBnd)"
check "NoNewPrivs" 0 "$(value NoNewPrivs)"
check "Seccomp" 0 "$(value Seccomp)"
check "oom_score_adj is left alone" 0 "$(value oom)"
check "cwd" /home/user "$(value cwd)"
check "HOME is the one of /etc/passwd" "HOME=/home/user" "$(value env | grep -o 'HOME=[^ ]*')"
check "the root is read-only" "Read-only file system" "$(value rootro)"
check "the root is mounted read-only" "virtiofs ro" "$(value root)"
check "CPUs" 2 "$(value cpus)"

say "a seccomp filter that returns an error; descriptors and orphans"
edit b '.root.readonly=false | .process.user={"uid":0,"gid":0} | .process.args=["sh","-c","mkdir /tmp/x; echo $?; ln -s a /tmp/y; echo $?; (sh -c \"sleep 60 & echo \\$! >/tmp/o\"); sleep 0.1; ls /proc/1/fd; cut -d\" \" -f4 /proc/$(cat /tmp/o)/stat"]
	| .linux.seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}'
run krun-oci run --bundle "$work/b" "$id"
check "the filter's answers; PID 1 has its three descriptors, and an orphan's parent is PID 1" "1 0 0 1 2 1" "$(words "$work/out")"
err_has "No space left on device"

say "the VMM, on the host"
edit b 'del(.linux.seccomp, .annotations) | .process.args=["sleep","1000"] | .root.readonly=true | .process.oomScoreAdj=321 | .hostname="a-name" | .domainname="a-domain"
	| .process.rlimits=[{"type":"RLIMIT_NOFILE","soft":512,"hard":600},{"type":"RLIMIT_AS","soft":300000000,"hard":300000000}]'
mine=$(cat /proc/self/oom_score_adj) named=$(uname -n)
created "$id" b
[ "$rc" = 0 ] || die "create: $rc"
pid=$(cat "$work/$id.pid")
check "oom_score_adj, its and still ours" "321 $mine" "$(cat "/proc/$pid/oom_score_adj") $(cat /proc/self/oom_score_adj)"
# shellcheck disable=SC2016 # the other shell's
check "the names in its UTS namespace, and the host's" "a-name a-domain $named" "$(nsenter -t "$pid" -u sh -c 'echo "$(uname -n) $(cat /proc/sys/kernel/domainname)"') $(uname -n)"
check "its root is read-only" ro "$(awk '$5 == "/" { print substr($6, 1, 2) }' "/proc/$pid/mountinfo" | tail -n 1)"
check "limits are the workload's alone" "0 unlimited" "$(awk '/^Max open files/ { print ($4 == 512 || $5 == 600) } /^Max address space/ { print $4 }' "/proc/$pid/limits" | words -)"
status 0 krun-oci delete --force "$id"

say "namespaces that the config does not list are the caller's; the guest's PID 1 is one all the same"
was=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)
edit b '.linux.namespaces |= map(select(.type == "mount")) | .root.readonly=false | del(.process.rlimits, .process.oomScoreAdj, .domainname) | .hostname="not-the-hosts"
	| .linux.sysctl={"net.ipv4.ip_unprivileged_port_start":"77"} | .process.args=["sh","-c","echo $$ $(hostname) $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start); exec sleep 1000"]'
created "$id" b
[ "$rc" = 0 ] || die "create: $rc"
pid=$(cat "$work/$id.pid")
for ns in pid ipc uts cgroup net; do check "$ns" "$(readlink "/proc/self/ns/$ns")" "$(readlink "/proc/$pid/ns/$ns")"; done
status 0 krun-oci start "$id"
wait_for 60 test -s "$work/$id.out"
check "a name and a sysctl without their namespaces are the guest's" "1 not-the-hosts 77" "$(cat "$work/$id.out")"
check "and the host keeps its own" "$named $was" "$(uname -n) $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)"
status 0 krun-oci delete --force "$id"
host_is_as "$work/host.before"
done_testing
