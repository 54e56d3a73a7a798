# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # names that lib.sh, run and session set and read
# Booted test hosts that several calls share. Sourced after lib.sh by run and session.
#
# A session's directory holds the host's files (see boot_host), `settings`, and `alive`, which its keeper holds locked: so a
# session whose keeper was killed is known to be dead, and QEMU and virtiofsd end with their keeper.

session_base=/tmp/krun-testhost-$UID
session_ports=8

session_paths() { # NAME; sets session_dir
	[[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$ ]] || fail "a session's name is 1 to 32 of A-Z a-z 0-9 . _ -, not '$1'"
	[ -d "$session_base" ] || mkdir -m 700 "$session_base" 2>/dev/null || true
	if [ ! -O "$session_base" ] || [ -L "$session_base" ]; then fail "$session_base is not ours"; fi
	session_dir=$session_base/$1
}

session_alive() {
	local status=0
	[ -e "$session_dir/alive" ] || return 1
	# it may go in between, with its directory
	flock -n -E 200 "$session_dir/alive" true 2>/dev/null || status=$?
	[ "$status" = 200 ]
}

session_settings() {
	printf '%s\n' "mem=$mem cpus=$cpus disk_mib=$disk_mib mode=$mode" "${shares[@]}"
}

# Makes sure that session NAME is booting or up; sets session_dir and host_cache.
ensure_session() { # NAME
	local i
	session_paths "$1"
	collect_shares "${rw_dirs[@]}"
	exec 9>"$session_dir.lock"
	flock 9
	if session_alive; then
		cmp -s <(session_settings) "$session_dir/settings" ||
			fail "session $1 runs with other settings: $(tr '\n' ' ' <"$session_dir/settings")"
		host_cache=$(<"$session_dir/cache")
		exec 9>&-
		return
	fi
	ensure_host
	rm -rf "$session_dir"
	mkdir -m 700 "$session_dir"
	session_settings >"$session_dir/settings"
	echo "$host_cache" >"$session_dir/cache"
	: >"$session_dir/alive"
	mem=$mem cpus=$cpus disk_mib=$disk_mib mode=$mode idle=$idle parent=$parent \
		setsid "$host_dir/session" keep "$1" </dev/null >"$session_dir/keeper.log" 2>&1 9>&- &
	for ((i = 0; i < 1500; i++)); do
		[ ! -e "$session_dir/ready" ] || break
		kill -0 $! 2>/dev/null || break
		sleep 0.01
	done
	if [ ! -e "$session_dir/ready" ]; then
		cat "$session_dir/keeper.log" "$session_dir/qemu.log" >&2 2>/dev/null || true
		fail "session $1 did not start"
	fi
	exec 9>&-
}

# The keeper: boots the host, ends it when it has been idle or its parent has ended, and cleans up.
keep_session() { # NAME
	local last=$EPOCHSECONDS i t
	ports=$session_ports qemu_pid='' fs_pids=()
	session_paths "$1"
	ensure_host
	mapfile -t shares < <(tail -n +2 "$session_dir/settings")
	trap 'exit 0' TERM INT HUP
	trap 'end_host "$session_dir"' EXIT
	exec 8<"$session_dir/alive"
	flock -n 8
	echo $$ >"$session_dir/pid"
	boot_host "$session_dir" 8<&-
	: >"$session_dir/ready"
	while kill -0 "$qemu_pid" 2>/dev/null; do
		sleep 2 8<&- &
		wait $! || true
		[ -z "$parent" ] || kill -0 "$parent" 2>/dev/null || exit 0
		for ((i = 0; i < ports; i++)); do
			t=$(stat -c %Y "$session_dir/port.$i.lock")
			flock -n "$session_dir/port.$i.lock" true 8<&- || t=$EPOCHSECONDS
			[ "$t" -le "$last" ] || last=$t
		done
		[ $((EPOCHSECONDS - last)) -lt "$idle" ] || exit 0
	done
}

stop_session() { # NAME
	local pid i
	session_paths "$1"
	session_alive || return 0
	pid=$(cat "$session_dir/pid" 2>/dev/null) || return 0
	kill -TERM "$pid" 2>/dev/null || true
	for ((i = 0; i < 500; i++)); do
		session_alive || return 0
		sleep 0.02
	done
	fail "session $1 does not end (process $pid)"
}

list_sessions() {
	local d
	for d in "$session_base"/*/; do
		[ -d "$d" ] || continue
		session_dir=${d%/}
		session_alive || continue
		printf '%s\tpid %s\t%s\n' "${session_dir##*/}" "$(cat "$session_dir/pid" 2>/dev/null)" "$(head -n1 "$session_dir/settings")"
	done
}
