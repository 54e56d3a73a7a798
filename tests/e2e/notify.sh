#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sd_notify(3): what the container sends to NOTIFY_SOCKET arrives at the host's socket that a manager has bound there (as podman does
# with --sdnotify=container), and the host's files stay as they are.
# timeout: 120
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
rm "$work/notify/notify.sock"
edit b '.process.args = ["sh","-c","ls -A /run/notify | wc -l"]'
status 0 krun-oci run --bundle "$work/b" "$id"
check "without a socket nothing is made" 0 "$(cat "$work/out")"
done_testing
