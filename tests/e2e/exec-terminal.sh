#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# exec with a terminal: in the foreground of a shell's, and by --console-socket; sizes, Ctrl-C, job control, a paste of 64 KiB, much both ways.
# timeout: 400
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

command -v script >/dev/null || die "no script (Debian: bsdutils)"
program pty-host "$work/pty-host"
bundle b busybox --args '["sleep","100000"]'
edit b '.root.readonly=false'
mkfifo "$work/keys" "$work/commands"
snapshot_host | sort >"$work/host.before"
created "$id" b
check "create" 0 "$rc"
status 0 krun-oci start "$id"

cat >"$work/in-terminal" <<'END_OF_SCRIPT'
#!/bin/sh
# WORK ID
tty >"$1/tty"
stty rows 33 cols 101
stty -g >"$1/modes.before"
rc=0
krun-oci exec -t -e PS1='# ' "$2" sh || rc=$?
stty -g >"$1/modes.after"
exit $rc
END_OF_SCRIPT
chmod 755 "$work/in-terminal"

# Waits for what the terminal shows, without its carriage returns and control sequences.
shows() { # GREP_ARGS...
	local end=$((EPOCHSECONDS + 60)) now=$EPOCHSECONDS
	until tr -d '\r' <"$work/screen" | sed 's/\x1b\[[0-9;]*[A-Za-z]//g' | tee "$work/out" | grep -q "$@"; do
		[ "$now" -lt "$end" ] || die "the terminal does not show: $*"
		doze 0.2
		now=$EPOCHSECONDS
	done
	: >"$work/out"
}
saw() { # TEXT: a line
	shows -xF -- "$1"
	ok "the terminal shows: $1"
}

say "in the foreground"
: >"$work/screen"
script -qefc "$work/in-terminal $work $id" /dev/null <"$work/keys" >"$work/screen" 2>&1 &
cli=$!
exec 7>"$work/keys"
shows '# '
echo 'echo "$(stty size) on $(tty)"' >&7
saw "33 101 on /dev/pts/0"
check "the caller's terminal is raw meanwhile" 1 "$(stty -F "$(cat "$work/tty")" -a | grep -c -e '-icanon')"
stty -F "$(cat "$work/tty")" rows 44 cols 111
waited=0
until tr -d '\r' <"$work/screen" | grep -qx '44 111'; do
	[ "$((waited += 1))" -lt 60 ] || shows -x "44 111"
	echo 'stty size' >&7
	sleep 1
done
ok "a change of the size arrives while it runs"
echo 'sh -c "echo in \$\$; sleep 1000"' >&7
shows '^in [0-9]'
printf '\003' >&7
echo 'echo "ended with $?"' >&7
saw "ended with 130"
echo 'sh -c "echo again \$\$; sleep 1000"' >&7
shows '^again [0-9]'
printf '\032' >&7
shows 'Stopped'
ok "Ctrl-Z stops what runs in the foreground of the guest"
echo 'jobs | wc -l | sed "s/^ */jobs: /"; fg' >&7
saw "jobs: 1"
shows '^sh -c'
printf '\003' >&7
echo 'echo "then it was $?"' >&7
saw "then it was 130"
# lines shorter than a terminal's own limit, 64 KiB of them
perl -e 'for (1 .. 1024) { printf("%063d\n", $_) }' >"$work/paste"
echo 'stty -echo; cat >/tmp/pasted; stty echo; echo "$(wc -c </tmp/pasted) pasted"' >&7
wait_for 30 sh -c "krun-oci exec $id ps | grep -q '[0-9] root  *cat\$'"
cat "$work/paste" >&7
printf '\004' >&7
saw "65536 pasted"
cmp "$work/paste" "$work/b/rootfs/tmp/pasted" || die "the paste did not arrive as it was"
ok "a paste of 64 KiB arrives whole"
lines=3000
! long || lines=20000
echo 'i=0; while [ $i -lt '$lines' ]; do echo "line $i of much"; i=$((i+1)); done; echo "much is" over' >&7
saw "much is over"
check "all of it" $lines "$(tr -d '\r' <"$work/screen" | grep -c '^line [0-9]* of much$')"
echo 'exit 7' >&7
rc=0
wait $cli || rc=$?
exec 7>&-
check "exit status" 7 "$rc"
check "the caller's terminal is as before" "$(cat "$work/modes.before")" "$(cat "$work/modes.after")"

say "without a terminal of ours"
check "stdin is typed" "typed it is /dev/pts/0" "$(echo 'it' | krun-oci exec -t "$id" sh -c 'stty -echo; read x; echo "typed $x is $(tty)"' | tr -d '\r' | tail -n 1)"

say "more than all buffers hold, both ways at once"
perl -e 'for (1 .. 4096) { printf("%063d\n", $_) }' >"$work/much"
: >"$work/screen"
limited 100 "$id" krun-oci exec -t "$id" sh -c 'stty -echo; echo begin; exec cat' <"$work/keys" >"$work/screen" 2>"$work/err" &
cli=$!
exec 7>"$work/keys"
shows -x begin
cat "$work/much" >&7
printf '\004' >&7
exec 7>&-
rc=0
wait $cli || rc=$?
check "a cat of 256 KiB ends" 0 "$rc"
tr -d '\r' <"$work/screen" | tail -n +2 | cmp - "$work/much" || die "what cat wrote is not what it read"
ok "and has written what it read"

say "--console-socket"
held() { # OPTION...: exec with a terminal that pty-host holds
	"$work/pty-host" "$work/socket" <"$work/commands" >"$work/screen" 2>"$work/err" &
	holder=$!
	exec 7>"$work/commands"
	wait_for 60 test -S "$work/socket"
	: >"$work/exits"
	rm -f "$work/p"
	monitor "$work/exits" krun-oci exec --console-socket "$work/socket" --pid-file "$work/p" "$@" </dev/null >"$work/d.out" 2>"$work/err" &
	wait_for 60 test -s "$work/p"
	rm "$work/socket"
}
jq -n --arg s 'echo "start $(stty size) $(tty)"; trap "echo now \$(stty size)" WINCH; read x; echo "read $x"; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 9' \
	'{args:["sh","-c",$s],cwd:"/",env:["PATH=/bin:/usr/bin"],terminal:true,consoleSize:{height:25,width:90},capabilities:{}}' >"$work/process.json"
for detach in --detach ''; do
	held ${detach:+"$detach"} --process "$work/process.json" "$id"
	saw "start 25 90 /dev/pts/0"
	echo 'type hello' >&7
	saw "read hello"
	echo 'size 50 132' >&7
	saw "now 50 132"
	touch "$work/b/rootfs/tmp/end"
	if [ -n "$detach" ]; then
		wait_for 60 grep -q "^$(cat "$work/p") " "$work/exits"
		check "the proxy's status" 9 "$(sed -n "s/^$(cat "$work/p") //p" "$work/exits")"
	else
		wait_for 60 test -s "$work/exits"
		check "exit status" 9 "$(head -n 1 "$work/exits" | cut -d' ' -f2)"
	fi
	exec 7>&-
	wait $holder || die "pty-host failed"
	rm "$work/b/rootfs/tmp/end"
done
held --process "$work/process.json" "$id"
saw "start 25 90 /dev/pts/0"
proxy=$(cat "$work/p")
status 0 krun-oci exec "$id" ps -o args
grep -q '^sh -c echo .start' "$work/out" || die "it is not to be seen"
kill -KILL "$(ps -o ppid= -p "$proxy" | tr -d ' ')"
wait_for 30 test ! -e "/proc/$proxy"
wait_for 30 sh -c "krun-oci exec $id ps -o args >$work/ps && ! grep -q '^sh -c echo .start' $work/ps"
ok "a command in the foreground that is killed takes its process along"
exec 7>&-
wait $holder || true
status 0 krun-oci delete --force "$id"
host_is_as "$work/host.before"
done_testing
