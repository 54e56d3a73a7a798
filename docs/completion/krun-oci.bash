# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completion of krun-oci for bash: verbs, their options, ids of containers, files, signals.

_krun_oci_globals='--root --log --log-format --log-level --debug --cgroup-manager --systemd-cgroup --rootless --ignore --trust-annotations --version --help'

# The options of a verb.
_krun_oci_options() { # VERB
	case $1 in
	create) echo '--bundle --config --pid-file --console-socket --pidfd-socket --preserve-fds --help' ;;
	run) echo '--bundle --config --pid-file --console-socket --pidfd-socket --preserve-fds --detach --keep --help' ;;
	exec) echo '--process --tty --console-socket --detach --pid-file --pidfd-socket --cwd --env --user --additional-gids --cap --no-new-privs --ignore-paused --cgroup --preserve-fds --help' ;;
	kill) echo '--all --regex --help' ;;
	delete) echo '--force --regex --help' ;;
	list) echo '--format --quiet --help' ;;
	ps) echo '--format --help' ;;
	spec) echo '--bundle --rootless --help' ;;
	check) echo '--json --help' ;;
	update) echo '--resources --memory --memory-reservation --memory-swap --cpu-period --cpu-quota --cpu-burst --cpu-share --cpu-idle --cpuset-cpus --cpuset-mems --blkio-weight --pids-limit --help' ;;
	events) echo '--interval --stats --help' ;;
	start | state | pause | resume | features) echo '--help' ;;
	esac
}

# What may follow an option that takes a value; status 1 when it takes none.
_krun_oci_value() { # OPTION CURRENT
	case $1 in
	--root | --bundle | -b | --cwd) mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
	--log | --config | --resources | --process | -p | --pid-file | --console-socket | --pidfd-socket) mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
	--log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$2") ;;
	--log-level) mapfile -t COMPREPLY < <(compgen -W 'error warning debug' -- "$2") ;;
	--cgroup-manager) mapfile -t COMPREPLY < <(compgen -W 'cgroupfs systemd disabled' -- "$2") ;;
	--format) mapfile -t COMPREPLY < <(compgen -W 'table json' -- "$2") ;;
	*) return 1 ;;
	esac
	compopt -o filenames 2>/dev/null
	return 0
}

_krun_oci() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb='' root=() i n=0
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--root)
			[ -n "$verb" ] || root=(--root "${COMP_WORDS[i + 1]}")
			i=$((i + 1))
			;;
		--log | --log-format | --log-level | --cgroup-manager | --ignore | --bundle | -b | --config | --process | -p | --pid-file | --console-socket | --pidfd-socket | --format | --cwd | --env | -e | --user | -u | --additional-gids | -g | --cap | -c | --interval | --resources | --memory* | --cpu* | --blkio-weight | --pids-limit | --cgroup | --preserve-fds)
			i=$((i + 1))
			;;
		-r) [ "$verb" != update ] || i=$((i + 1)) ;;
		-f) case $verb in create | run | list | ps) i=$((i + 1)) ;; esac ;;
		-*) ;;
		*) if [ -z "$verb" ]; then verb=${COMP_WORDS[i]}; else n=$((n + 1)); fi ;;
		esac
	done
	if [ "$prev" = -f ]; then
		case $verb in
		create | run) prev=--config ;;
		list | ps) prev=--format ;;
		esac
	fi
	! _krun_oci_value "$prev" "$cur" || return 0
	if [ -z "$verb" ]; then
		case $cur in
		-*) mapfile -t COMPREPLY < <(compgen -W "$_krun_oci_globals" -- "$cur") ;;
		*) mapfile -t COMPREPLY < <(compgen -W 'create start state kill delete run exec pause resume update events list ps spec features check' -- "$cur") ;;
		esac
		return 0
	fi
	case $cur in
	-*) mapfile -t COMPREPLY < <(compgen -W "$(_krun_oci_options "$verb")" -- "$cur") ;;
	*)
		case $verb:$n in
		start:0 | state:0 | pause:0 | resume:0 | update:0 | events:0 | kill:0 | delete:0 | exec:0 | ps:0)
			mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" "${root[@]}" list --quiet 2>/dev/null)" -- "$cur")
			;;
		kill:1) mapfile -t COMPREPLY < <(compgen -W 'TERM KILL INT HUP QUIT USR1 USR2 STOP CONT WINCH' -- "$cur") ;;
		esac
		;;
	esac
	return 0
}

complete -F _krun_oci krun-oci
