#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# process.terminal: `run` in a terminal of what `spec` (with LONG also crun's) writes, unedited, and --console-socket; sizes at the
# start and changed later.
# timeout: 360
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

command -v script >/dev/null || die "no script (Debian: bsdutils)"
command -v crun >/dev/null || die "no crun (tests/deps e2e installs it)"
program pty-host "$work/pty-host"
bundle b busybox
mkfifo "$work/keys"
snapshot_host | sort >"$work/host.before"

# `run` under a terminal of script's; its name, and its modes before and after, are in files.
cat >"$work/in-terminal" <<'END_OF_SCRIPT'
#!/bin/sh
# WORK ID
tty >"$1/tty"
stty rows 33 cols 101
stty -g >"$1/modes.before"
rc=0
krun-oci run --bundle "$1/b" "$2" || rc=$?
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

runtimes=(krun-oci)
! long || runtimes+=(crun)
for rt in "${runtimes[@]}"; do
	waited=0
	say "run of what $rt spec writes"
	rm "$work/b/config.json"
	(cd "$work/b" && "$rt" spec) || die "$rt spec"
	check "it asks for a terminal" true "$(jq .process.terminal "$work/b/config.json")"
	: >"$work/screen"
	script -qefc "$work/in-terminal $work $id" /dev/null <"$work/keys" >"$work/screen" 2>&1 &
	cli=$!
	exec 7>"$work/keys"
	shows '# '
	echo 'echo "$(stty size) on $(tty), $$ on $(hostname)"' >&7
	saw "33 101 on /dev/pts/0, 1 on $(jq -r .hostname "$work/b/config.json")"
	check "the caller's terminal is raw meanwhile" 1 "$(stty -F "$(cat "$work/tty")" -a | grep -c -e '-icanon')"
	stty -F "$(cat "$work/tty")" rows 44 cols 111
	until tr -d '\r' <"$work/screen" | grep -qx '44 111'; do
		[ "$((waited += 1))" -lt 60 ] || shows -x "44 111"
		echo 'stty size' >&7
		sleep 1
	done
	ok "a change of the size arrives while it runs"
	# Ctrl-C is the guest's: it ends what runs there and not the shell, nor us.
	echo 'sh -c "echo in \$\$; sleep 1000"' >&7
	shows '^in [0-9]'
	printf '\003' >&7
	echo 'echo "ended with $?"' >&7
	saw "ended with 130"
	ok "Ctrl-C ends what runs in the foreground of the guest"
	echo 'exit 7' >&7
	rc=0
	wait $cli || rc=$?
	exec 7>&-
	check "exit status" 7 "$rc"
	check "the caller's terminal is as before" "$(cat "$work/modes.before")" "$(cat "$work/modes.after")"
done
host_is_as "$work/host.before"

say "nobody reads what run writes any more"
edit b '.process.args=["sh","-c","trap \"exit 45\" HUP; echo first; while :; do echo more; sleep 0.1; done"]'
cat >"$work/cut-off" <<'END_OF_SCRIPT'
#!/bin/bash
# WORK ID
krun-oci run --bundle "$1/b" "$2" | head -n 1
exit "${PIPESTATUS[0]}"
END_OF_SCRIPT
chmod 755 "$work/cut-off"
status 45 limited 120 "$id" script -qefc "$work/cut-off $work $id" /dev/null
out_has first
host_is_as "$work/host.before"

say "--console-socket"
script='echo "start $(stty size)"; trap "echo now \$(stty size)" WINCH; read x; echo "read $x from $(tty)"; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 9'
edit b ".process.args=[\"sh\",\"-c\",$(jq -n --arg s "$script" '$s')] | .process.consoleSize={\"height\":25,\"width\":90} | .root.readonly=false"
mkfifo "$work/commands"
held() { # ID: creates it with a terminal that pty-host holds
	"$work/pty-host" "$work/socket" <"$work/commands" >"$work/screen" 2>"$work/err" &
	holder=$!
	exec 7>"$work/commands"
	wait_for 60 test -S "$work/socket"
	created "$1" b --console-socket "$work/socket"
	[ "$rc" = 0 ] || { cp "$work/$1.err" "$work/err"; die "create: status $rc"; }
	rm "$work/socket"
}
finish() { # ID
	touch "$work/b/rootfs/tmp/end"
	check "exit status" 9 "$(exit_of "$1")"
	exec 7>&-
	wait $holder || die "pty-host failed"
	status 0 krun-oci delete "$1"
	rm "$work/b/rootfs/tmp/end"
}
held "$id-1"
check "nothing runs yet" "" "$(cat "$work/screen")"
status 0 krun-oci start "$id-1"
saw "start 25 90"
echo 'type hello' >&7
saw "hello"
saw "read hello from /dev/pts/0"
echo 'size 50 132' >&7
saw "now 50 132"
finish "$id-1"

say "a size that changes between create and start"
held "$id-2"
echo 'size 41 121' >&7
saw "size 41 121 is set"
status 0 krun-oci start "$id-2"
saw "start 41 121"
echo 'type x' >&7
saw "read x from /dev/pts/0"
finish "$id-2"

say "what is refused"
status 1 krun-oci create --bundle "$work/b" "$id"
err_has "--console-socket"
status 1 krun-oci create --bundle "$work/b" --console-socket "$work/none" "$id"
err_has "$work/none"
edit b '.process.terminal=false | .process.args=["true"]'
status 1 krun-oci create --bundle "$work/b" --console-socket "$work/none" "$id"
host_is_as "$work/host.before"
done_testing
