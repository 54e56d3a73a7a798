#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs that take the whole terminal, in `run` and in `exec -t`: vim, less, top, tmux; job control; a paste of 64 KiB. A tmux of the
# host is the terminal: it says what a person would see. With PODMAN_TTY=1 by `podman run -it` and `exec -it` instead.
# long: yes
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=podman-lib.sh
[ -z "${PODMAN_TTY:-}" ] || . "$(dirname "$0")/podman-lib.sh"
progs=()
for p in vim.tiny less top tmux clear stty; do
	real=$(readlink -f "$(command -v "$p" || command -v "${p%.tiny}" || true)")
	[ -n "$real" ] || die "no $p (tests/deps e2e installs it)"
	progs+=("$p=$real")
done
snapshot_host | sort >"$work/host.before"
bundle b busybox
root=$work/b/rootfs
# The host's programs, with what they load.
for p in "${progs[@]}"; do
	rm -f "$root/bin/${p%%=*}"
	cp "${p#*=}" "$root/bin/${p%%=*}"
	ldd "${p#*=}"
done | grep -o '/[^ :)]*' | sort -u | while read -r lib; do
	mkdir -p "$root/$(dirname "$lib")"
	cp -L "$lib" "$root/$lib"
done
mkdir -p "$root/usr/share" "$root/usr/lib/locale" "$root/root"
cp -rL /lib/terminfo "$root/usr/share/terminfo"
[ ! -d /usr/lib/locale/C.utf8 ] || cp -r /usr/lib/locale/C.utf8 "$root/usr/lib/locale/"
seq -f 'line %g of many' 500 >"$root/root/long"
edit b '.process.terminal=true | .process.args=["sh"] | .process.cwd="/root" | .root.readonly=false
	| .process.env=["PATH=/bin:/usr/bin","TERM=screen","LANG=C.UTF-8","HOME=/root","PS1=guest> "]'

t() { tmux -S "$work/tmux" -f /dev/null "$@"; }
screen() { t capture-pane -p -t s >"$work/out" 2>/dev/null; }
# Waits for a line of the screen.
shows() { # GREP_ARGS...
	local end=$((EPOCHSECONDS + 90))
	until screen && grep -q "$@" "$work/out"; do
		[ "$EPOCHSECONDS" -lt "$end" ] || {
			sed '/^$/d; s/^/# screen: /' "$work/out"
			: >"$work/out"
			die "the terminal does not show: $*"
		}
		sleep 0.2
	done
}
keys() { t send-keys -t s "$@"; }
saw() { # WHAT GREP_ARGS...
	shows "${@:2}"
	ok "$how: $1"
}

use() { # how the shell came about; it is at its prompt
	saw "a prompt" -x 'guest>'
	keys 'stty size' Enter
	saw "the size" -x '33 101'
	keys 'vim.tiny -u NONE -N new' Enter
	shows '^~'
	shows '^"\?new"\?.*\[New\( File\)\?\]'
	keys i 'written in vim' Escape ':set number' Enter
	saw "vim numbers its line" '^ *1 written in vim'
	keys ':wq' Enter
	shows -x 'guest>'
	check "$how: what vim wrote" "written in vim" "$(cat "$root/root/new")"
	rm "$root/root/new"
	keys 'clear; /bin/less long' Enter
	saw "less" -x 'line 1 of many'
	keys G
	saw "its end" -x 'line 500 of many'
	keys '/^line 77 ' Enter g '/^line 77 ' Enter
	saw "a search" -x 'line 77 of many'
	t resize-window -t s -x 90 -y 20
	keys g
	saw "a smaller window" -x 'line 19 of many'
	check "$how: no more of it" "" "$(grep -x 'line 2[1-9] of many' "$work/out" || true)"
	keys q
	t resize-window -t s -x 101 -y 33
	keys 'clear; /bin/top' Enter
	saw "top" '^top - .*load average'
	saw "top shows itself" '/bin/top$\| top$'
	keys q
	keys 'clear; tmux -f /dev/null new-session -s inner' Enter
	saw "tmux and its status line" '^\[inner\]'
	keys "echo \$((6 * 7)) in tmux" Enter
	saw "a shell in it" -x '42 in tmux'
	keys C-b '"'
	keys "echo lower \$((6 + 1))" Enter
	saw "two panes" -x 'lower 7'
	keys C-b d
	saw "detached" '^\[detached (from session inner)\]'
	keys 'tmux kill-server; clear' Enter
	# at the prompt the shell would read the Ctrl-Z itself
	keys "sh -c 'echo it sleeps; exec sleep 1000'" Enter
	shows -x 'it sleeps'
	keys C-z
	saw "Ctrl-Z" 'Stopped'
	keys 'kill -KILL %1; wait; clear' Enter
	saw "the shell goes on" -x 'guest>'
	# lines as they may be in cooked mode; the terminal must hold back what the reader has not taken
	seq -f '%015g' 4096 >"$work/paste"
	keys 'stty -echo; cat >pasted; stty echo; echo it is there' Enter
	wait_for 30 test -e "$root/root/pasted"
	t load-buffer "$work/paste"
	t paste-buffer -t s -r
	# what was not echoed must not be lost by a Ctrl-D that overtakes it
	wait_for 120 cmp -s "$work/paste" "$root/root/pasted"
	ok "$how: a paste of 64 KiB"
	keys C-d
	shows -x 'it is there'
	rm "$root/root/pasted"
	keys 'clear; exit 9' Enter
}

t new-session -d -s s -x 101 -y 33 "exec sh" || die "tmux"
t set-option -g status off
t resize-window -t s -x 101 -y 33
t set-option -g window-size manual
if [ -n "${PODMAN_TTY:-}" ]; then
	how='podman run -it'
	opts="--network none --workdir /root --env TERM=screen --env LANG=C.UTF-8 --env HOME=/root --rootfs $root"
	keys "clear; podman run -it --env 'PS1=guest> ' $opts sh; echo status \$?" Enter
	use
	saw "the exit status" -x 'status 9'
	how='podman exec -it'
	# shellcheck disable=SC2086 # words
	pod run -d --name tty --env 'PS1=guest> ' $opts sleep 100000 >/dev/null || die "podman run -d"
	keys "clear; podman exec -it tty sh; echo status \$?" Enter
	use
	saw "the exit status" -x 'status 9'
	pod rm --force --time 0 tty >/dev/null
	t kill-server
	done_testing
	exit
fi
how=run
keys "krun-oci run --bundle $work/b $id; echo status \$?" Enter
use
saw "the exit status" -x 'status 9'
how='exec -t'
edit b '.process.terminal=false | .process.args=["sleep","100000"]'
krun-oci run -d --bundle "$work/b" "$id" >/dev/null 2>"$work/err" </dev/null || die "run -d"
keys "clear; krun-oci exec -t $id sh; echo status \$?" Enter
use
saw "the exit status" -x 'status 9'
krun-oci delete --force "$id"
t kill-server
rm -f "$work/tmux"
host_is_as "$work/host.before"
done_testing
