#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sd_notify(3): what the container sends to NOTIFY_SOCKET arrives at the host's socket that a manager has bound there (as podman does
# with --sdnotify=container), and the host's files stay as they are; the same for NOTIFY_SOCKET of the runtime's own environment.
# timeout: 300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cat >"$work/receive" <<'END'
use strict;
use IO::Socket::UNIX;
use Socket;
my ($path, $log) = @ARGV;
my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path) or die "$path: $!";
chmod 0777, $path;
open my $out, '>>', $log or die;
$out->autoflush(1);
while (defined $s->recv(my $m, 65536)) { print $out $m, "\n"; }
END
mkdir "$work/notify"
touch "$work/log"
perl "$work/receive" "$work/notify/notify.sock" "$work/log" </dev/null &
receiver=$!
trap 'kill $receiver 2>/dev/null || true; cleanup' EXIT
wait_for 20 test -S "$work/notify/notify.sock"

# busybox's logger writes to /dev/log, in its own words.
bundle b busybox --args '["sh","-c","ln -s $NOTIFY_SOCKET /dev/log; logger -t one READY=1; logger -t two STATUS=up; ls -l /run/notify; ls /run/notify"]' \
	--set ".process.env += [\"NOTIFY_SOCKET=/run/notify/notify.sock\"] | .mounts += [{destination: \"/run/notify\", type: \"bind\", source: \"$work/notify\", options: [\"bind\"]}]"
status 0 krun-oci run --bundle "$work/b" "$id"
out_has "srwxrwxrwx"
out_has "notify.sock"
wait_for 20 grep -q "two: STATUS=up" "$work/log"
check "both messages, in order" "one: READY=1 two: STATUS=up" "$(grep -o 'one: .*\|two: .*' "$work/log" | words -)"
check "what is in the directory of the host" "notify.sock" "$(ls "$work/notify")"

# A manager that is gone, and none: the container runs all the same.
kill $receiver
wait $receiver 2>/dev/null || true
status 0 krun-oci run --bundle "$work/b" "$id"
if long; then
	rm "$work/notify/notify.sock"
	edit b '.process.args = ["sh","-c","ls -A /run/notify | wc -l"]'
	status 0 krun-oci run --bundle "$work/b" "$id"
	check "without a socket nothing is made" 0 "$(cat "$work/out")"
fi

say "NOTIFY_SOCKET of our own environment"
own=$work/own.sock
: >"$work/log"
perl "$work/receive" "$own" "$work/log" </dev/null &
receiver=$!
wait_for 20 test -S "$own"
program notify "$work/b/rootfs/bin/notify"
edit b '.process.env |= map(select(startswith("NOTIFY_SOCKET=") | not)) | .mounts |= map(select(.destination != "/run/notify")) | .root.readonly=false |
	.process.args = ["sh","-c","echo $NOTIFY_SOCKET; notify STATUS=begin; while [ ! -e /go ]; do sleep 0.1; done; notify READY=1; read x; exit 7"]'
mkfifo "$work/in"
# COMMAND does not return before the container is ready, and then with status 0.
returns_when_ready() { # COMMAND...
	rm -f "$work/b/rootfs/go"
	: >"$work/log"
	NOTIFY_SOCKET=$own "$@" <>"$work/in" >"$work/cli" 2>"$work/err" &
	cli=$!
	wait_for 60 grep -qx STATUS=begin "$work/log"
	kill -0 "$cli" || die "it has not waited: $*"
	touch "$work/b/rootfs/go"
	rc=0
	wait "$cli" || rc=$?
	check "it returns when the container is ready" 0 "$rc"
	wait_for 60 grep -q ^MAINPID "$work/log"
	check "who has started it knows" "STATUS=begin READY=1 READY=1 MAINPID=$(krun-oci state "$id" | jq .pid)" "$(grep . "$work/log" | words -)"
	status 0 krun-oci delete --force "$id"
}
returns_when_ready krun-oci run --detach --bundle "$work/b" "$id"
check "the container's own" "$own/notify" "$(cat "$work/cli")"
NOTIFY_SOCKET=$own krun-oci create --bundle "$work/b" "$id" <>"$work/in" >"$work/out" 2>"$work/err" || die "create"
returns_when_ready krun-oci start "$id"
if long; then
	NOTIFY_SOCKET=$own krun-oci create --bundle "$work/b" "$id" <>"$work/in" >"$work/out" 2>"$work/err" || die "create"
	status 0 krun-oci start "$id"
	status 0 krun-oci delete --force "$id"
	krun-oci create --bundle "$work/b" "$id" <>"$work/in" >"$work/out" 2>"$work/err" || die "create"
	NOTIFY_SOCKET=$own status 0 krun-oci start "$id"
	status 0 krun-oci delete --force "$id"
fi

: >"$work/log"
NOTIFY_SOCKET=$own krun-oci run --bundle "$work/b" "$id" <>"$work/in" >"$work/out" 2>"$work/err" &
cli=$!
wait_for 60 sh -c "[ \$(grep -cx READY=1 '$work/log') = 2 ]"
! grep -q MAINPID "$work/log" || die "run in the foreground is the main process itself"
echo >"$work/in"
rc=0
wait "$cli" || rc=$?
check "run in the foreground" 7 "$rc"
edit b '.process.args = ["true"]'
if long; then
	NOTIFY_SOCKET=$own status 0 krun-oci run --detach --bundle "$work/b" "$id"
	status 0 krun-oci delete --force "$id"
	NOTIFY_SOCKET=$work/none status 0 krun-oci run --bundle "$work/b" "$id"
fi
NOTIFY_SOCKET=@abstract status 0 krun-oci --log-level warning run --bundle "$work/b" "$id"
err_has '"@abstract" is not passed on'
done_testing
