#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs that were written for libkrun (tests/e2e/krun-api.c) on our library: a chroot-like launcher, /.krun_config.json, kernels of the
# caller's and in a bundle, vsock ports, consoles, the shutdown eventfd.
# timeout: 3600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
build=${KRUN_BUILD:-$top}
# shellcheck disable=SC2154 # of lib.sh: $top, $work, $rc
[ -e "$build/libkrun.so" ] || skip "no libkrun.so (./configure --enable-libkrun)"
export LD_LIBRARY_PATH=$build

program krun-api "$work/prog"
bundle b busybox
root=$work/b/rootfs
program krun-guest "$root/bin/krun-guest"
prog() { run timeout 1200 "$work/prog" "$@"; }
# What the workload wrote, and its status.
gave() { # WHAT STATUS OUTPUT
	[ "$rc" = "$2" ] || die "$1: exit status $rc, not $2"
	check "$1" "$3" "$(paste -sd' ' "$work/out")"
}

prog errors "$root"
check "what cannot start comes back, and leaves nothing behind" 0 "$rc"

rc=0
# shellcheck disable=SC2016 # the guest's shell expands these
timeout 1200 "$work/prog" chroot "$root" /bin/sh -c 'read -r a; read -r b; echo "$b $a:$FROM:$PWD:$(id -u):$(ulimit -n):$(ulimit -Hn)"
	printf "<%s>" "$@"; echo to-err >&2; exit 7' sh 'a "b"' '' "it's" $'two\nlines' <<<$'one\ntwo' >"$work/out" 2>"$work/err" || rc=$?
gave "a chroot-like launcher: input, environment, directory, limits, arguments, code" 7 'two one:program:/tmp:0:100:200 <a "b"><><it'"'"'s><two lines>'
err_has to-err
if long; then
	prog chroot "$root" nothing-like-it
	check "what is not there" 127 "$rc"
fi

# shellcheck disable=SC2016 # the guest's shell expands these
prog chroot "$root" /bin/sh -c 'ip -o address show | grep -o "inet6* [0-9a-f.:/]*"; reboot -f; sleep 1000'
gave "addresses to look at; who restarts the machine ends well" 0 "inet 127.0.0.1/8 inet6 ::1/128 inet 203.0.113.1/24 inet6 fe80::1/64"
prog chroot "$root" /bin/sh -c 'echo to-the-log >/dev/hvc0; poweroff -f; sleep 1000'
gave "who powers it off, too; without a terminal hvc0 is the log" 0 ""
err_has "guest: to-the-log"
# shellcheck disable=SC2016 # likewise
prog chroot "$root" /bin/sh -c 'kill -INT $$'
check "who dies of the signal that this is to a PID namespace" 130 "$rc"

mkdir "$work/share" "$work/volume" "$root/mnt"
echo in-share >"$work/share/f"
echo in-volume >"$work/volume/f"
cat >"$root/.krun_config.json" <<'JSON'
{ "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["mkdir -p /mnt/share; mount -t virtiofs share /mnt/share; echo $FROM $ADDED $HOME $(cat /mnt/share/f /mnt/volume/f) $PWD $(hostname); grep -c ' /scratch tmpfs' /proc/mounts"],
  "Env": ["FROM=file", "ADDED=file", "HOME=/tmp"], "WorkingDir": "/var",
  "mounts": [ { "type": "tmpfs", "source": "tmpfs", "destination": "/scratch" } ] }
JSON
prog config "$root" "$work/share" "$work/volume"
gave "/.krun_config.json, a share and a volume" 0 "program file /tmp in-share in-volume /var localhost 1"
ln -sf /etc/shadow "$root/.krun_config.json"
rc=0
timeout 1200 "$work/prog" config "$root" "$work/share" "$work/volume" <<<'echo shell' >"$work/out" 2>"$work/err" || rc=$?
gave "a config that leads out of the root is not followed: a shell" 0 "shell"
rm "$root/.krun_config.json"

# What the host does not have: its config, a program that can be started once, a share.
echo '{"args":["/bin/false"]}' >"$root/.krun_config.json"
mkdir "$root/virt"
echo hidden >"$root/virt/g"
prog overlay "$root" '{"args":["/bin/sh","-c","cat /virt/f; echo /virt/*; /virt/echo started; /virt/echo again 2>/dev/null || echo gone $?; ls -x /virt; cat /.krun_config.json; for c in \"echo >/virt/f\" \"rm /virt/f\" \"rmdir /virt\" \"mkdir /virt/d\" \"mv /virt/f /f\" \"chmod 1 /virt/f\"; do if eval $c 2>/dev/null; then echo done: $c; fi; done; mount -t virtiofs nothing /mnt; cat /mnt/d/f; ls -xA /mnt; exit 4"]}' "$root/bin/busybox"
gave "files that are nowhere: read, listed, started once, and not to be changed" 4 'in memory /virt/echo /virt/f started gone 127 f {"args":["/bin/false"]} alone d'
check "what lies under their names stays" hidden "$(cat "$root/virt/g")"
rm -r "$root/virt" "$root/.krun_config.json"

# vsock: the guest to a socket of the host, and the host to a port of the guest.
cat >"$work/answer" <<'PERL'
use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, sockaddr_un($ARGV[0])) or die; listen($s, 1); accept(my $c, $s) or die;
my $line = <$c>; chomp $line; syswrite($c, "heard $line\n"); sleep 5 if read($c, my $b, 1);
PERL
perl "$work/answer" "$work/out.sock" &
wait_for 1200 test -S "$work/out.sock"
prog vsock "$root" "$work/out.sock" "$work/in.sock" /bin/krun-guest connect 1234
gave "vsock, guest to host" 0 "heard guest"
wait
rm -f "$work/out.sock" "$work/in.sock" "$root/listens"
timeout 1200 "$work/prog" vsock "$root" "$work/out.sock" "$work/in.sock" /bin/krun-guest listen 1235 /listens >"$work/out" 2>"$work/err" </dev/null &
vm=$!
wait_for 1200 test -e "$root/listens"
perl -e 'use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un($ARGV[0])) or die "connect: $!"; syswrite($s, "host\n"); print scalar <$s>' \
	"$work/in.sock" >"$work/answered" 2>>"$work/err" || die "cannot reach the guest's port"
check "vsock, host to guest: the answer" served "$(cat "$work/answered")"
rc=0
wait "$vm" || rc=$?
gave "vsock, host to guest" 0 host
[ ! -e "$work/in.sock" ] || die "the name of a socket stays"

# Held open: a port whose input has ended is one that the host has closed.
mkfifo "$work/port-in"
exec 9<>"$work/port-in"
echo to-the-port >&9
prog consoles "$root" "$work/port-in" "$work/port-out" /bin/krun-guest port data
gave "a named port" 0 to-the-port
check "a named port: its output" "from the guest" "$(cat "$work/port-out")"
exec 9>&-
prog output "$root" "$work/console" /bin/sh -c 'echo to-file; echo err-too >&2; cat; exit 4'
gave "console output to a file" 4 ""
check "console output to a file: all of it" "to-file err-too" "$(grep -E '^(to-file|err-too)$' "$work/console" | paste -sd' ')"

rm -f "$root/ready"
prog shutdown "$root" "$root/ready" /bin/sh -c 'trap "echo asked; exit 5" TERM; touch /ready; while :; do sleep 0.1; done'
gave "the shutdown eventfd: the workload is asked" 5 asked
if long; then
	rm -f "$root/ready"
	prog shutdown "$root" "$root/ready" /bin/sh -c 'trap "" TERM; touch /ready; while :; do sleep 1; done'
	gave "the shutdown eventfd: and is not waited for" 143 ""
fi

# The terminal that this is run on is one in the guest. Who is not in its foreground may not set its mode: no shell and no timeout
# may make a process group of its own in between.
rc=0
script -qec "exec timeout --foreground 1200 '$work/prog' chroot '$root' /bin/sh -c 'test -t 0 && test -t 1 && test -t 0 </dev/hvc0 && echo is-a-terminal; echo by-hvc0 >/dev/hvc0; exit 6'" /dev/null \
	>"$work/out" 2>"$work/err" </dev/null || rc=$?
[ "$rc" = 6 ] || die "a terminal: exit status $rc"
out_has is-a-terminal
out_has by-hvc0

# Another user, who may read the tree.
chmod 755 "$work"
# shellcheck disable=SC2016 # the guest's shell expands it
prog user "$root" 65534 /bin/sh -c 'echo as-user; kill -TERM $$; echo not-ended'
gave "a VMM of another user, a stream by a port's name, a signal without a handler" 143 as-user

# TSI: what the guest listens on is the host's port of the map.
timeout 1200 "$work/prog" chroot "$root" /bin/sh -c 'echo hi | nc -l -p 8080; exit 3' >"$work/out" 2>"$work/err" </dev/null &
vm=$!
fetch() {
	perl -e 'use IO::Socket::INET; my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:18080") or exit 1; print scalar <$s>' >"$work/got" && [ -s "$work/got" ]
}
ip link set lo up
wait_for 1200 fetch
check "TSI: the guest's port" hi "$(cat "$work/got")"
rc=0
wait "$vm" || rc=$?
check "TSI: the program ends" 3 "$rc"

# Devices of other kinds: a disk, a tap of several queues with a server of addresses behind it, a terminal.
head -c 1M /dev/urandom >"$work/disk"
mkdir -p "$root/etc"
echo "of the host's" >"$root/etc/resolv.conf"
sum=$(md5sum <"$work/disk")
# A tap, and a server of addresses behind it.
serve_addresses() {
	ip tuntap add apitap mode tap multi_queue
	ip address add 10.7.9.1/24 dev apitap
	ip link set apitap up
	printf '%s\n' 'start 10.7.9.5' 'end 10.7.9.5' 'interface apitap' "lease_file $work/leases" "pidfile $work/udhcpd.pid" 'option subnet 255.255.255.0' 'option dns 10.7.9.1 10.7.9.2' >"$work/udhcpd.conf"
	: >"$work/leases"
	busybox udhcpd -f "$work/udhcpd.conf" >"$work/udhcpd.log" 2>&1 </dev/null &
	server=$!
}
serve_no_more() {
	kill "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	ip link delete apitap
}
trap 'ip link delete apitap 2>/dev/null || true; cleanup' EXIT
serve_addresses
rm -f "$work/err"
(until grep -qs to-the-terminal "$work/err" || ! kill -0 $$; do sleep 0.1; done; touch "$root/relayed") &
watcher=$!
# shellcheck disable=SC2016 # the guest's shell expands these
prog devices "$root" "$work/disk" apitap "$work/share" /bin/sh -c 'md5sum </dev/vda; echo written | dd of=/dev/vda bs=512 seek=100 conv=notrunc,fsync 2>/dev/null
	tr "\n" " " </etc/resolv.conf; ip -4 -o address show dev eth0 | grep -o "inet [0-9./]*"; ls /sys/class/net/eth0/queues | grep -c tx; ping -c 1 -W 60 10.7.9.1 >/dev/null && echo answered
	mkdir -p /mnt/share; mount -t virtiofs share /mnt/share; cat /mnt/share/f; touch /mnt/share/g 2>/dev/null || echo read-only
	cat /sys/class/virtio-ports/*/name 2>/dev/null | sort; for h in /sys/class/virtio-ports/*; do [ "$(cat "$h/name" 2>/dev/null)" != krun-stdout ] || echo by-its-port >"/dev/${h##*/}"; done
	for c in /dev/hvc?; do (echo to-the-terminal >"$c") 2>/dev/null; done; i=0; until [ -e /relayed ] || [ $i = 600 ]; do i=$((i + 1)); sleep 0.1; done; exit 0'
kill "$watcher" 2>/dev/null || true
wait "$watcher" 2>/dev/null || true
rm -f "$root/relayed"
serve_no_more
gave "a disk, a tap of several queues, a share that can only be read" 0 "$sum nameserver 10.7.9.1 nameserver 10.7.9.2 inet 10.7.9.5/24 2 answered in-share read-only krun-stderr krun-stdin krun-stdout term by-its-port"
err_has to-the-terminal
check "name servers lie over the root's file" "of the host's" "$(cat "$root/etc/resolv.conf")"
rm "$root/etc/resolv.conf"
check "the disk has what the guest wrote" written "$(dd if="$work/disk" bs=512 skip=100 count=1 status=none | head -c 7)"

# Interrupts that are nobody else's (edges at the library's I/O APIC), timers without an interval timer, a second processor that takes
# interrupts too, and output that came by them.
# shellcheck disable=SC2016 # the guest's shell expands these
prog split "$root" /bin/sh -c 'before=$(cut -d. -f1 /proc/uptime); sleep 1; [ $(($(cut -d. -f1 /proc/uptime) - before)) -ge 1 ] && echo slept
	echo "old ones: $(grep -c -e XT-PIC -e timer$ /proc/interrupts)"
	for i in $(sed -n "s/^ *\([0-9]*\):.*IO-APIC.*-edge.*/\1/p" /proc/interrupts); do echo 2 >/proc/irq/$i/smp_affinity || exit 3; done
	second() { awk "/IO-APIC/ { n += \$3 } END { print n }" /proc/interrupts; }
	first=$(second); i=0; while [ $i -lt 100 ] && [ "$(second)" -le $((first + 5)) ]; do i=$((i + 1)); ls -l /bin >/dev/null; done
	[ "$(second)" -gt $((first + 5)) ] && echo moved; exit 9'
gave "an I/O APIC of the library's" 9 "slept old ones: 0 moved"

[ -e "$build/kernel/vmlinux" ] || die "no kernel (make kernel)"
packed=1 kernel=$build/kernel/vmlinux
if long; then
	packed=4 kernel=$work/vmlinux.gz
	gzip -1 <"$build/kernel/vmlinux" >"$kernel"
fi
# the line that libkrun itself has for its kernels, which names no root
prog kernel "$root" $packed "$kernel" - 'reboot=k panic=-1 panic_print=0 nomodule console=hvc0 rootfstype=virtiofs rw quiet no-kvmapf init=/init.krun' /bin/echo started
gave "a kernel of the caller's, the agent in a root share" 0 started
mkdir -p "$work/ini/dev"
mknod "$work/ini/dev/console" c 5 1
cp "$root/bin/krun-guest" "$work/ini/init"
(cd "$work/ini" && find . | cpio -o -H newc --quiet) >"$work/initrd"
prog kernel "$root" 1 "$build/kernel/vmlinux" "$work/initrd" - /bin/none a b
[ "$rc" = 0 ] || die "an initramfs of the caller's: exit status $rc"
out_has "an init of its own, arguments: 2"
mkdir -p "$root/dev"
cp "$root/bin/krun-guest" "$root/init"
prog kernel "$root" 1 "$build/kernel/vmlinux" - 'reboot=k panic=-1 console=hvc0 rootfstype=virtiofs rw quiet init=/init' /bin/none a b
[ "$rc" = 0 ] || die "a first process of the caller's in a share: exit status $rc"
err_has "an init of its own, arguments: 2, devices"
rm "$root/init"
prog default-init "$root"
check "the library's first process, started by others: it does not wait for ever" 125 "$rc"
err_has "serves no other"
rm "$root/init.krun"
"$top/kernel/bundle" "$build/kernel/vmlinux" "$work/libkrunfw.so.5"
LD_LIBRARY_PATH=$build:$work KRUN_KERNEL=libkrunfw prog chroot "$root" /bin/echo bundle
gave "the kernel of a bundle" 0 bundle
serve_addresses
# shellcheck disable=SC2016 # the guest's shell expands these
LD_LIBRARY_PATH=$build:$work KRUN_KERNEL=libkrunfw prog nic "$root" tap apitap /bin/sh -c 'tr "\n" " " </etc/resolv.conf; ip -4 -o address show dev eth0 | grep -o "inet [0-9./]*"; ls -d /net 2>/dev/null'
serve_no_more
gave "and an address by DHCP, with name servers" 1 "nameserver 10.7.9.1 nameserver 10.7.9.2 inet 10.7.9.5/24"
done_testing
