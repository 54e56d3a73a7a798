#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Descriptors behind stderr: --preserve-fds and LISTEN_FDS of run, create and exec.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
snapshot_host | sort >"$work/host.before"
bundle b busybox
program fds "$work/b/rootfs/bin/fds"
n=0

script() { # TEXT
	edit b ".process.args=[\"sh\",\"-c\",$(jq -n --arg s "$1" '$s')]"
}
# Runs the bundle for at most two minutes, with the caller's descriptors.
go() { # [OPTION...]
	n=$((n + 1)) rc=0
	limited 120 "$id-$n" krun-oci run --bundle "$work/b" "$@" "$id-$n" || rc=$?
	[ "$rc" != 124 ] || die "the container hangs"
}
# Runs COMMAND with descriptor 3 one half of a socket pair. The other half writes FILE, ends its writing, and reads to the end, to stdout.
with_socket() { # FILE COMMAND...
	# shellcheck disable=SC2016 # perl's variables
	timeout 120 perl -MSocket -MPOSIX -e '
		socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
		open(my $f, "<", shift) or die; local $/; my $text = <$f>; close($f);
		my $pid = fork();
		if (!$pid) { open(STDOUT, ">&", \*STDERR); POSIX::close(0); open(STDIN, "<", "/dev/null");
			POSIX::dup2(fileno($b), 3) == 3 or die; exec(@ARGV) or die; }
		close($b);
		syswrite($a, $text) == length($text) or die if length($text);
		shutdown($a, 1); print <$a>; waitpid($pid, 0); exit($? >> 8);' "$@"
}
# Runs COMMAND with descriptor 3 a socket that listens at ADDRESS: a port of 127.0.0.1, or a path.
with_listener() { # ADDRESS COMMAND...
	# shellcheck disable=SC2016 # perl's variables
	perl -MSocket -MIO::Socket::INET -MIO::Socket::UNIX -MPOSIX -e '
		$^F = 9; # what is opened up to there stays open in who is executed
		my $at = shift;
		my $l = $at =~ m{^/} ? IO::Socket::UNIX->new(Local => $at, Listen => 64)
			: IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $at, Listen => 64, ReuseAddr => 1);
		$l or die "$!\n";
		POSIX::dup2(fileno($l), 3) == 3 or die;
		POSIX::close(fileno($l)) if fileno($l) != 3;
		$ENV{LISTEN_FDS} = 1; exec(@ARGV) or die;' "$@"
}
# Sends BYTES to ADDRESS, ends its writing, prints the answer.
call() { # ADDRESS BYTES
	# shellcheck disable=SC2016 # perl's variables
	timeout 60 perl -MSocket -MIO::Socket::INET -MIO::Socket::UNIX -e '
		my ($at, $n) = @ARGV;
		my $s = $at =~ m{^/} ? IO::Socket::UNIX->new(Peer => $at)
			: IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $at);
		$s or die "$!\n";
		my $text = "x" x $n;
		for (my $k = 0; $k < $n; ) { $k += syswrite($s, $text, $n - $k, $k) // die "$!\n"; }
		shutdown($s, 1); print <$s>;' "$@"
}

say "pipes and files"
head -c 300000 /dev/urandom >"$work/in"
sum=$(md5sum <"$work/in" | cut -d" " -f1)
# shellcheck disable=SC2016 # the guest's
script 'md5sum <&3 >&4; test -p /proc/self/fd/3; echo "$? $LISTEN_FDS" >&4; echo x >&5; ls /proc/self/fd | wc -l
	md5sum <&6 >&7; fds fill 8 2000000; echo "$? " >&2; exec fds fill 9 200000'
# shellcheck disable=SC2094 # both are read
go --preserve-fds 7 3< <(cat "$work/in") 4>"$work/fd4" 5>/dev/null 6<"$work/in" 7> >(cat >"$work/fd7") \
	8> >(head -c 10 >/dev/null) 9> >(sleep 1; wc -c >"$work/fd9") >"$work/o" 2>"$work/err" </dev/null
check "a pipe in, a file out" "$sum - 0" "$(words "$work/fd4")"
check "no more than these" 11 "$(cat "$work/o")" # with the directory
wait_for 20 test -s "$work/fd7"
check "a file in, a pipe out" "$sum -" "$(words "$work/fd7")"
check "nobody reads any more" 141 "$(words "$work/err")"
wait_for 20 test -s "$work/fd9"
check "a slow reader gets all" "0 200000" "$rc $(cat "$work/fd9")"

if long; then
	say "a connected socket"
	script 'exec fds count 3'
	with_socket "$work/in" krun-oci run --bundle "$work/b" --preserve-fds=1 "$id-s" >"$work/o" 2>"$work/err" </dev/null || die "status $?"
	check "each way ends by itself" 300000 "$(cat "$work/o")"
fi

say "a socket that listens"
script 'exec fds serve 3'
ats=("$work/listen")
! long || ats+=(4711)
for at in "${ats[@]}"; do
	with_listener "$at" krun-oci create --bundle "$work/b" --pid-file "$work/pid" "$id-l" >"$work/o" 2>"$work/err" </dev/null || die "create"
	call "$at" 5 >"$work/early" &
	early=$!
	krun-oci start "$id-l"
	check "$at: 100000 bytes" 100000 "$(call "$at" 100000)"
	wait "$early" || die "a client that came before the start"
	check "$at: a client that came before the start" 5 "$(cat "$work/early")"
	check "$at: the last one" 0 "$(call "$at" 0)"
	wait_for 60 container_is "$id-l" stopped
	! call "$at" 1 >/dev/null 2>&1 || die "somebody listens on"
	krun-oci delete "$id-l"
done

say "--pidfd-socket"
cat >"$work/pidfd.py" <<'END_OF_FILE'
import select, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(1)
text, fds, _, _ = socket.recv_fds(s.accept()[0], 64, 4)
info = dict(l.split(":", 1) for l in open(f"/proc/self/fdinfo/{fds[0]}"))
print(text.decode(), len(fds), info["Pid"].strip(), flush=True)
p = select.poll()
p.register(fds[0], select.POLLIN)
p.poll()
print("ended", flush=True)
END_OF_FILE
receiver() { # NAME: it listens at $work/NAME.pidfd when this returns, and writes $work/NAME.got
	timeout 300 python3 "$work/pidfd.py" "$work/$1.pidfd" >"$work/$1.got" 2>"$work/err" &
	receiver=$!
	wait_for 60 grep -q " 00010000 .* $work/$1.pidfd\$" /proc/net/unix # it listens
}
receiver vmm
vmm_receiver=$receiver
script 'sleep 1000'
krun-oci run --detach --bundle "$work/b" --pidfd-socket "$work/vmm.pidfd" "$id-x" >/dev/null 2>"$work/err" </dev/null || die "run"
wait_for 20 test -s "$work/vmm.got"
check "the VMM's" "pidfd 1 $(krun-oci state "$id-x" | jq .pid)" "$(cat "$work/vmm.got")"
receiver exec
krun-oci exec --detach --pidfd-socket "$work/exec.pidfd" --pid-file "$work/pid" "$id-x" sleep 1000 >/dev/null 2>"$work/err" </dev/null || die "exec"
wait_for 20 test -s "$work/exec.got"
check "that of an exec's process" "pidfd 1 $(cat "$work/pid")" "$(cat "$work/exec.got")"
kill -TERM "$(cat "$work/pid")"
wait "$receiver" || die "the receiver"
check "it tells the end" ended "$(tail -n 1 "$work/exec.got")"
run krun-oci create --bundle "$work/b" --pidfd-socket "$work/none.pidfd" "$id-p"
check "nobody is there: create fails" 1 "$rc"
err_has "$work/none.pidfd"
status 1 krun-oci state "$id-p"

say "exec"
krun-oci exec --preserve-fds 2 "$id-x" sh -c 'md5sum <&3 >&4' 3<"$work/in" 4>"$work/o" </dev/null
check "pipes" "$sum  -" "$(cat "$work/o")"
with_socket "$work/in" krun-oci exec --preserve-fds 1 "$id-x" fds count 3 >"$work/o" 2>"$work/err" </dev/null || die "status $?"
check "a socket" 300000 "$(cat "$work/o")"
with_listener 4712 krun-oci exec "$id-x" fds serve 2 >"$work/o" 2>"$work/err" </dev/null &
server=$!
wait_for 20 grep -q ':1268 .* 0A ' /proc/net/tcp
check "a socket that listens" "7 70000" "$(call 4712 7) $(call 4712 70000)"
wait "$server" || die "exec: status $?"
krun-oci exec -t --preserve-fds 1 "$id-x" sh -c 'echo beside a terminal >&3' 3>"$work/o" </dev/null >/dev/null
check "beside a terminal" "beside a terminal" "$(cat "$work/o")"
krun-oci exec --user 1000:1000 --preserve-fds 1 "$id-x" sh -c 'echo again >/proc/self/fd/3' 3>"$work/o" </dev/null
check "opened anew by an ordinary user" again "$(cat "$work/o")"
krun-oci delete --force "$id-x"
wait "$vmm_receiver" || die "the receiver"
check "its pidfd tells the end of the container" ended "$(tail -n 1 "$work/vmm.got")"
rm -f "$work"/*.pidfd

say "what is refused"
refused() { # SAYS, with descriptor 3
	local what=$1
	go --preserve-fds 1 2>"$work/err" </dev/null
	check "refused: $what" 1 "$rc"
	err_has "descriptor 3 is $what"
}
refused "not open" 3>&-
refused "a file opened for reading and writing" 3<>"$work/in"
refused "a directory" 3</tmp
refused "a device" 3<>/dev/kvm
mkfifo "$work/fifo"
refused "a FIFO opened for reading and writing" 3<>"$work/fifo"
perl -MSocket -MPOSIX -e '$^F = 9; socket(my $s, AF_INET, SOCK_DGRAM, 0); POSIX::dup2(fileno($s), 3); exec(@ARGV)' \
	krun-oci run --bundle "$work/b" --preserve-fds 1 "$id-r" 2>"$work/err" </dev/null && die "a datagram socket"
err_has "descriptor 3 is a socket that is no stream, which cannot be carried into a guest"
status 1 krun-oci run --bundle "$work/b" --preserve-fds 61 "$id-r"
err_has '--preserve-fds: "61" is not a number up to 60'
LISTEN_FDS=x status 1 krun-oci run --bundle "$work/b" "$id-r"
err_has 'LISTEN_FDS in the environment: "x"'
# the runtime's own log takes the first free number
krun-oci --log "$work/log" run --bundle "$work/b" --preserve-fds 1 "$id-r" 3>&- 2>"$work/err" </dev/null && die "its own descriptor"
err_has "descriptor 3 is not open"
script 'true'
LISTEN_FDS=2 krun-oci --log "$work/log" --log-level warning run --bundle "$work/b" "$id-r" 3>&- 4>&- >"$work/out" 2>"$work/err" </dev/null || die "LISTEN_FDS that has outlived its descriptors"
grep -q "LISTEN_FDS in the environment: descriptor 3 is not open" "$work/log" || die "no warning of it"
ok "LISTEN_FDS that has outlived its descriptors is a warning"
rm -f "$work/fifo" "$work/listen"
host_is_as "$work/host.before"
done_testing
