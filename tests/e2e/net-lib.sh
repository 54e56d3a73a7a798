# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests with real programs share: Debian's programs, unmodified, in a guest and, from the same root, on the host side
# in the container's network namespace. A test sources it in place of lib.sh, and calls net_start.
#
#   host CMD...             runs CMD on the host side     guest CMD...              in the guest
#   host_bg NAME CMD...     leaves it running there       guest_bg NAME CMD...      (output: $work/NAME.log, its pid: ${bg[NAME]})
#   HOST_IP, HOST_IP6       addresses of the namespace beside loopback
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck disable=SC2034 # the tests read them
HOST_IP=10.77.0.2 HOST_IP6=fd77::2
side='' unshare_pid=''
declare -A bg

net_stop() {
	local rc=$?
	[ $rc = 0 ] || tail -n 5 "$work"/*.log 2>/dev/null | sed 's/^/# /'
	krun-oci delete --force "$id" >/dev/null 2>&1 || true
	# The host side is a PID namespace, whose end is that of all in it.
	[ -z "$side" ] || kill -KILL "$side" 2>/dev/null || true
	[ -z "$unshare_pid" ] || wait "$unshare_pid" 2>/dev/null || true
	umount "$work/b/rootfs" 2>/dev/null || umount -l "$work/b/rootfs" 2>/dev/null || true
	cleanup
}

# The host side: namespaces of its own, and the root with its own /run and /tmp.
host_side() {
	local root=$work/b/rootfs started=$work/side.pid
	unshare --net --mount --pid --fork --kill-child bash -euc '
		root=$1
		mount --bind "$root" "$root"
		mount -t proc proc "$root/proc"
		mount -t tmpfs -o mode=755 tmpfs "$root/run"
		mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
		mount -t tmpfs -o mode=755 tmpfs "$root/dev"
		for f in null zero full random urandom; do : >"$root/dev/$f"; mount --bind "/dev/$f" "$root/dev/$f"; done
		mkdir -m 1777 "$root/dev/shm"
		ip link set lo up
		ip link add eth0 type dummy 2>/dev/null || ip link add eth0 type veth peer name eth0p
		ip address add "$2/24" dev eth0
		ip address add "$3/64" dev eth0 nodad
		ip link set eth0 up
		! [ -e /sys/class/net/eth0p ] || ip link set eth0p up
		ulimit -n 65536
		echo ready >"$4"
		exec sleep infinity' - "$root" "$HOST_IP" "$HOST_IP6" "$started" >"$work/side.log" 2>&1 &
	unshare_pid=$!
	wait_for 60 test -s "$started"
	side=$(pgrep -P "$unshare_pid")
}
host() { nsenter --target "$side" --net --mount --pid env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$work/b/rootfs" "$@"; }
guest() { krun-oci exec "$id" "$@"; }
host_bg() { # NAME CMD...
	local name=$1
	shift
	host "$@" >"$work/$name.log" 2>&1 </dev/null &
	bg[$name]=$!
}
guest_bg() { # NAME CMD...
	local name=$1
	shift
	guest "$@" >"$work/$name.log" 2>&1 </dev/null &
	bg[$name]=$!
}

# Waits until somebody listens on PORT in the namespace: that is, on the host side or in the guest. UDP: is bound.
listening() { # PORT [tcp|udp]
	local i
	for ((i = 0; i < 1200; i++)); do
		if host ss -H -n "--${2:-tcp}" -l "sport = :$1" | grep -q .; then return; fi
		sleep 0.1
	done
	die "nobody listens on port $1"
}

# Ends what NAME is, by the pid that is in its file or by itself.
bg_end() { # NAME
	kill "${bg[$1]}" 2>/dev/null || true
	wait "${bg[$1]}" 2>/dev/null || true
}

# Unpacked once in a test host: each test has what it changes in a layer of its own.
net_root() {
	local shared=/var/lib/krun-test/net-root
	[ -w /var/lib/krun-test ] || shared=$work/net-root
	(
		flock 9
		[ ! -e "$shared" ] || exit 0
		rm -rf "$shared.new"
		"$top/tests/bundles/make" --reset --args '["bash"]' --rootfs "$shared.new" net "$work/b" >"$work/err" 2>&1 || die "tests/bundles/make net"
		mv "$shared.new" "$shared"
	) 9>"$shared.lock"
	mkdir -p "$work/upper" "$work/overlay" "$work/b/rootfs"
	mount -t overlay -o "lowerdir=$shared,upperdir=$work/upper,workdir=$work/overlay" overlay "$work/b/rootfs" || die "overlay"
}

net_start() { # [JQ]: a root, the host side, and a container of it
	trap net_stop EXIT
	net_root
	bundle b net --no-rootfs --args '["sleep","infinity"]' --set "${1:-.}"
	host_side
	edit b ".linux.namespaces |= map(if .type == \"network\" then .path = \"/proc/$side/ns/net\" else . end)"
	edit b '.process.capabilities |= map_values(. + ["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_SETUID","CAP_SETGID","CAP_SYS_CHROOT","CAP_FSETID","CAP_SETPCAP"] | unique)'
	edit b '.linux.sysctl["net.ipv4.ping_group_range"] = "0 0"' # as managers set it
	edit b '.process.rlimits = [{ type: "RLIMIT_NOFILE", hard: 65536, soft: 65536 }]'
	edit b '.annotations["krun.ram_mib"] = "1024" | .mounts += [
		{ destination: "/run", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "mode=755"] },
		{ destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "mode=1777"] }]'
	krun-oci run --detach --bundle "$work/b" "$id" >"$work/run.log" 2>&1 </dev/null || die "the container: $(cat "$work/run.log")"
	# shellcheck disable=SC2034 # the tests read it
	vmm=$(krun-oci state "$id" | jq .pid)
}
