#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What people do with podman beside what tests/e2e/podman*.sh try each time: as root and, by the same lines, as an ordinary user.
# With PODMAN_RUNTIME=crun it says what is crun's: lines that only krun-oci has are behind `ours`.
# host: user
# timeout: 3600
[ "$(id -u)" = 0 ] || export TMPDIR=${HOME:?} # on a disk of the test host, and his own
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=../e2e/podman-lib.sh
. "$(dirname "$0")/../e2e/podman-lib.sh"
root=$([ "$(id -u)" = 0 ] && echo 1 || true)
ours() { [ "${PODMAN_RUNTIME:-krun-oci}" = krun-oci ]; }
cd "$work" # conmon leaves its "oom" where it is
none=(--network none)

# One that fails keeps no other from being tried; the end tells.
bad=0
not_so() {
	bad=$((bad + 1))
	echo "not ok - $*"
	sed 's/^/# stderr: /' "$work/err" | tail -n 5
	sed 's/^/# stdout: /' "$work/out" | tail -n 5
}
check() { if [ "$2" = "$3" ]; then ok "$1"; else not_so "$1: expected '$2', seen '$3'"; fi; } # WHAT EXPECTED SEEN
status() { # EXPECTED COMMAND...
	run "${@:2}"
	if [ "$rc" = "$1" ]; then ok "exit status $*"; else not_so "exit status $rc, not $*"; fi
}
out_has() { if grep -qF -- "$1" "$work/out"; then ok "stdout holds: $1"; else not_so "stdout does not hold: $1"; fi; } # TEXT

# A root of his own files.
mkdir -p "$work/rootfs/bin" "$work/rootfs/etc" "$work/rootfs/tmp" "$work/rootfs/u"
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for n in $(busybox --list); do [ -e "$work/rootfs/bin/$n" ] || ln -s busybox "$work/rootfs/bin/$n"; done
gcc -O1 -static -o "$work/rootfs/bin/notify" "$top/tests/e2e/notify.c" 2>"$work/err" || die "cannot compile notify"
chmod 1777 "$work/rootfs/tmp"
printf 'root:x:0:0:root:/:/bin/sh\nu:x:1000:1000::/u:/bin/sh\n' >"$work/rootfs/etc/passwd"
printf 'root:x:0:\nu:x:1000:\nmore:x:77:u\n' >"$work/rootfs/etc/group"
import_image "$work/rootfs"

sh_in() { # OPTION... SCRIPT; its output is $work/out in one line
	run pod run --rm "${none[@]}" "${@:1:$#-1}" $image sh -c "${*: -1}"
}
same() { # WHAT EXPECTED [STATUS]; of the last sh_in
	check "$1" "${3:-0} $2" "$rc $(words "$work/out" | tr -s ' \t' ' ')"
}
state() { # NAME FIELD...
	pod inspect --format "$(printf '{{.State.%s}} ' "${@:2}")" "$1" | sed 's/ $//'
}
# What podman prints at a terminal that is typed TEXT to, and that stays open.
at_terminal() { # TEXT PODMAN'S WORDS...
	rm -f "$work/keys"
	mkfifo "$work/keys"
	exec 8<>"$work/keys"
	printf '%b' "$1" >&8
	script -qec "podman --log-level=error ${*:2}" /dev/null <&8 >"$work/screen" 2>&1 || echo "status $?" >>"$work/screen"
	exec 8>&-
	tr -d '\r' <"$work/screen"
}

say "terminals"
# shellcheck disable=SC2016
check "run -it: a shell that is typed to, its exit code" "/dev/pts/0 37 91 status 3" \
	"$(at_terminal 'stty rows 37 cols 91; echo $(tty) $(stty size)=\nexit 3\n' run -it --rm "${none[*]}" $image sh | grep -E '^[/s][^;]*$' | tr -d = | words -)"
status 0 pod run -dt --name t1 "${none[@]}" $image sh -c 'read x; echo "got $x"; read y; exit 6'
check "exec -it" "/dev/pts/1 /" "$(at_terminal '' exec -it t1 "sh -c 'echo \$(tty) \$(pwd)'" | tail -n 1)"
at_terminal 'typed\nagain\n' attach t1 >"$work/attached"
grep -q 'got typed' "$work/attached" || die "attach: $(words "$work/attached")"
check "attach, and what it reads" "got typed" "$(pod logs t1 | tr -d '\r' | grep -o 'got typed')"
check "its end" "exited 6" "$(state t1 Status ExitCode)"
status 0 pod rm t1

say "who and where"
sh_in --user u --group-add 77 --umask 027 --workdir /u 'id -u; id -g; id -G; pwd; echo $HOME; umask; touch /tmp/f; stat -c %a /tmp/f'
same "a user by name" "1000 1000 1000 77 /u /u 0027 640"
sh_in --user 1000:77 'id -u; id -g'
same "by number" "1000 77"
sh_in --user nobody-at-all true
[ "$rc" != 0 ] || die "a user who does not exist"
sh_in --hostname inside 'echo $HOSTNAME $(hostname)'
same "its name" "inside inside"
sh_in --entrypoint '["echo","an entry"]' words
same "an entry point" "an entry sh -c words"
printf 'C=d e\n' >"$work/envfile"
sh_in --env-file "$work/envfile" --unsetenv TERM 'echo "$C ${TERM-none}"'
same "an environment file" "d e none"
sh_in --read-only --read-only-tmpfs=false 'touch /x 2>/dev/null || echo ro; touch /tmp/x 2>/dev/null || echo ro'
same "read-only" "ro ro"
sh_in --read-only 'touch /x 2>/dev/null || echo ro; touch /tmp/x /run/x && echo rw'
same "read-only with its tmpfs" "ro rw"

say "rights"
sh_in --cap-drop all 'sed -n "s/^Cap\(Eff\|Bnd\):[[:space:]]*//p" /proc/self/status'
same "--cap-drop all" "0000000000000000 0000000000000000"
sh_in --cap-drop all --cap-add CHOWN,KILL 'sed -n "s/^CapEff:[[:space:]]*//p" /proc/self/status; touch /tmp/f; chown 5 /tmp/f; stat -c %u /tmp/f'
same "--cap-add" "0000000000000021 5"
sh_in --user u 'sed -n "s/^CapEff:[[:space:]]*//p" /proc/self/status'
same "a user has none" "0000000000000000"
sh_in --security-opt no-new-privileges 'sed -n "s/^NoNewPrivs:[[:space:]]*//p" /proc/self/status; sed -n "s/^Seccomp:[[:space:]]*//p" /proc/self/status'
same "no-new-privileges, podman's own filter" "1 2"
echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}' >"$work/seccomp.json"
sh_in --security-opt "seccomp=$work/seccomp.json" 'mkdir /d 2>&1 | grep -o "Permission denied"; touch /f && echo made'
same "a filter" "Permission denied made"
sh_in --ulimit nofile=100:200 --ulimit core=0 'ulimit -n; ulimit -Hn; ulimit -c'
same "limits" "100 200 0"
sh_in --sysctl net.ipv4.ip_unprivileged_port_start=7 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start'
same "a sysctl" 7
sh_in --device /dev/null:/dev/other 'echo x >/dev/other && stat -c %F /dev/other'
same "a device" "character special file"
sh_in --shm-size 3m 'df -k /dev/shm | awk "END { print \$2 }"'
same "the size of /dev/shm" 3072
sh_in --oom-score-adj 321 'cat /proc/self/oom_score_adj'
same "oom_score_adj" 321
sh_in --init 'cat /proc/1/comm; (sleep 0.1 & ); sleep 1; ps -o stat | grep -c Z'
same "an init that reaps" "podman-init 0" 1

say "user namespaces"
mkdir "$work/u"
chmod 777 "$work/u"
if [ "$root" ]; then
	sh_in --uidmap 0:200000:5000 --gidmap 0:300000:5000 -v "$work/u:/v" 'id -u; touch /v/mapped; chown 7:8 /v/mapped'
	same "--uidmap" 0
	check "on the host" "200007 300008" "$(stat -c '%u %g' "$work/u/mapped")"
else
	sh_in --userns keep-id -v "$work/u:/v" 'id -u; id -un; touch /v/mine'
	check "keep-id" "0 $(id -u) $(id -un)" "$rc $(words "$work/out")"
	check "on the host" "$(id -u)" "$(stat -c %u "$work/u/mine")"
fi

say "volumes"
mkdir "$work/v" "$work/w"
echo host >"$work/v/file"
sh_in -v "$work/v:/ro:ro" -v "$work/w:/rw:z" -v named:/named --tmpfs /t:size=2m,mode=1777 --mount type=tmpfs,destination=/t2,tmpfs-size=1m --mount type=bind,source="$work/v",destination=/b,ro=true \
	'cat /ro/file /b/file; touch /ro/x 2>/dev/null || echo ro; touch /b/x 2>/dev/null || echo ro; echo c >/rw/c; echo n >/named/n; df -k /t /t2 | awk "NR > 1 { print \$2 }"; stat -c %a /t'
same "bind, named, tmpfs" "host host ro ro 2048 1024 1777"
check "what was written" "c n" "$(words "$work/w/c" "$(pod volume inspect --format '{{.Mountpoint}}' named)/n")"
mkdir "$work/own"
touch "$work/own/f"
sh_in --user u -v "$work/own:/own:U" 'stat -c "%u %g" /own /own/f; echo mine >/own/f; cat /own/f'
same ":U" "1000 1000 1000 1000 mine"
[ "$root" ] || pod unshare chown -R 0:0 "$work/own"
status 0 pod create --name holder "${none[@]}" -v named:/named $image true
sh_in --volumes-from holder 'cat /named/n'
same "--volumes-from" n
status 0 pod rm holder
status 0 pod volume rm named
echo hush | pod secret create hidden - >"$work/out" 2>"$work/err" || die "podman secret"
sh_in --secret hidden --secret hidden,type=env,target=H 'cat /run/secrets/hidden; echo $H'
same "a secret" "hush hush"
status 0 pod secret rm hidden

say "descriptors"
echo "of the caller" >"$work/fd"
check "--preserve-fds" "of the caller" "$(pod run --rm "${none[@]}" --preserve-fds 1 $image sh -c 'cat <&3' 3<"$work/fd")"
check "stdin of a file, stdout to a pipe" "4200000" "$(head -c 4200000 /dev/zero >"$work/zero"; pod run -i --rm "${none[@]}" $image cat <"$work/zero" | wc -c)"
python3 - "$work/notify" <<'P' >"$work/told" &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(240)
while True:
    m = s.recv(4096).decode()
    print(m.replace("\n", " "), flush=True)
    if "READY=1" in m: break
P
teller=$!
wait_for 20 test -S "$work/notify"
# who waits for whom, should it never be told
all_stand() {
	ps -eo pid,ppid,stat,wchan:24,args --forest | sed '/]$/d' | cut -c1-200
	for p in $(pgrep 'krun-oci|conmon'); do
		echo "$p: $(readlink "/proc/$p/fd"/* | grep -v '^/' | paste -sd' ')"
		tr '\0' '\n' <"/proc/$p/environ" | grep NOTIFY
	done
	ss -xp
	podman logs n1
}
NOTIFY_SOCKET=$work/notify timeout 200 podman --log-level=error run -d --name n1 --sdnotify=container "${none[@]}" $image \
	sh -c 'sleep 1; notify READY=1; sleep 1000' >"$work/out" 2>"$work/err" || { all_stand >>"$work/stands" 2>&1; die "--sdnotify=container"; }
wait $teller || { all_stand >>"$work/stands" 2>&1; die "nobody said READY=1"; }
grep -q READY=1 "$work/told" || die "READY=1 is not what was said: $(cat "$work/told")"
ok "--sdnotify=container"
status 0 pod rm --force --time 0 n1

say "a life"
# shellcheck disable=SC2016
status 0 pod run -d --name c1 "${none[@]}" --label a=b --stop-signal USR1 --cidfile "$work/cid" --health-cmd 'test -e /tmp/well' --health-interval disable \
	$image sh -c 'trap "echo usr1; exit 4" USR1; trap "echo hup" HUP; echo up; while :; do sleep 0.1; done'
c1=$(cat "$work/cid")
wait_for 60 sh -c "podman logs c1 | grep -q up"
check "inspect" "running 0 false b" "$(state c1 Status ExitCode OOMKilled) $(pod inspect --format '{{.Config.Labels.a}}' c1)"
kill -0 "$(state c1 Pid)" || die "there is no process of its pid"
check "ps" "c1 Up" "$(pod ps --filter label=a=b --format '{{.Names}} {{.Status}}' | cut -d' ' -f1,2)"
status 1 pod healthcheck run c1
status 0 pod exec c1 touch /tmp/well
status 0 pod healthcheck run c1
status 0 pod kill --signal HUP c1
wait_for 30 sh -c "podman logs c1 | grep -q hup"
status 0 pod top c1 -o pid,comm
out_has sh
status 0 pod rename c1 c2
status 0 pod exec -e X=y --workdir /tmp --user u c2 sh -c 'echo "$X $(pwd) $(id -u)"'
out_has "y /tmp 1000"
run pod exec --user nobody-at-all c2 true
[ "$rc" != 0 ] || not_so "an exec of a user who does not exist"
mkdir -p "$work/tree/sub"
echo deep >"$work/tree/sub/f"
status 0 pod cp "$work/tree" c2:/copied
status 0 pod exec c2 cat /copied/sub/f
out_has deep
status 0 pod exec c2 sh -c 'mkdir -p /made/sub; echo out >/made/sub/g; ln -s sub/g /made/link'
status 0 pod cp c2:/made "$work/back"
check "a tree, out" "out sub/g" "$(cat "$work/back/sub/g") $(readlink "$work/back/link")"
check "cp from stdin" deep "$(tar -C "$work/tree/sub" -c f | pod cp - c2:/tmp && pod exec c2 cat /tmp/f)"
status 0 pod diff c2
out_has "A /made"
status 0 pod port c2
status 0 pod commit --change 'CMD ["cat","/made/sub/g"]' c2 localhost/committed
status 0 pod run --rm "${none[@]}" localhost/committed
out_has out
pod export c2 | tar -t >"$work/out" 2>"$work/err" || die "podman export"
out_has "made/sub/g"
if [ "$root" ]; then
	status 0 pod pause c2
	check "paused" paused "$(state c2 Status)"
	status 0 pod unpause c2
	status 0 pod stats --no-stream --format '{{.Name}} {{.PIDs}}' c2
	out_has "c2 "
	status 0 pod update --cpus 0.5 --memory 300m c2
fi
status 0 pod restart --time 60 c2
check "the signal of its own, before it began again" usr1 "$(pod logs c2 | grep -x usr1)"
check "it runs" running "$(state c2 Status)"
[ "$(pod inspect --format '{{.Id}}' c2)" = "$c1" ] || die "another container"
status 0 pod stop --time 60 c2
check "its end" "exited 4" "$(state c2 Status ExitCode)"
status 0 pod cp c2:/made/sub/g "$work/stopped"
check "cp of a stopped one" out "$(cat "$work/stopped")"
status 0 pod start c2
status 0 pod rm --force --time 0 c2

say "ends"
status 0 pod run -d --name again --restart always "${none[@]}" $image sh -c 'echo once; sleep 0.5; exit 2'
thrice() { [ "$(pod logs again | grep -c once)" -ge 3 ]; }
wait_for 120 thrice
# With crun too a stop that comes between two lives may fail, or be forgotten: it is asked for once more then.
stays() {
	podman stop --time 0 again >/dev/null 2>&1 || return 1
	for _ in {1..10}; do
		sleep 1
		[ "$(state again Status)" = exited ] || return 1
	done
}
wait_for 300 stays
ok "restarted twice at least, and not after the stop"
status 0 pod rm again
status 255 pod run --rm --timeout 3 "${none[@]}" $image sleep 1000
if [ "$root" ]; then
	run pod run --name oom --memory 128m --memory-swap 128m "${none[@]}" $image sh -c 'tail /dev/zero; exit $?'
	killed=$(ours && state oom OOMKilled || echo true) # crun leaves it to conmon, which is too late here
	check "a child that eats all" "137 true" "$rc $killed"
	status 0 pod rm oom
	run pod run --name oom --memory 128m --memory-swap 128m "${none[@]}" $image tail /dev/zero
	killed=$(ours && state oom OOMKilled || echo true)
	check "the process itself" "137 true" "$rc $killed"
	status 0 pod rm oom
	run pod run --rm --pids-limit 20 "${none[@]}" $image sh -c 'n=0; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23; do sleep 3 & done'
	grep -qh "esource temporarily" "$work/out" "$work/err" || not_so "--pids-limit: more than 20"
fi

say "a build"
printf 'FROM %s\nRUN id -u >/who && echo built >/file\nCMD ["cat","/who","/file"]\n' $image >"$work/Containerfile"
status 0 pod build --network none --tag localhost/built "$work"
status 0 pod run --rm "${none[@]}" localhost/built
check "what a step made" "0 built" "$(words "$work/out")"
if ours; then
	say "a pod" # crun's is tried elsewhere
	status 0 pod pod create --name p --publish 8090:80
	status 0 pod run -d --pod p --name p1 $image sh -c 'mkdir /www; echo "of a pod" >/www/index.html; exec httpd -f -p 80 -h /www'
	fetched() { [ "$(get 127.0.0.1 8090)" = "of a pod" ]; }
	wait_for 90 fetched
	status 0 pod run --rm --pod p $image wget -q -O - http://127.0.0.1/
	out_has "of a pod"
	status 0 pod pod stop --time 0 p
	status 0 pod pod rm p
	check "nothing is left" "" "$(krun-oci list --quiet)"
fi
check "nor with podman" "" "$(pod ps --all --quiet)"
[ $bad = 0 ] || die "$bad failed"
done_testing
