# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2054,SC2154 # names that run and session set and read; QEMU's commas
# Functions of the test host: what is cached, and booting one. Sourced by run and session.

host_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
tree=$(cd "$host_dir/../.." && pwd -P)
build=${KRUN_BUILD:-$tree}
cache_root=${XDG_CACHE_HOME:-$HOME/.cache}/krun-oci
guest_user=krun-user guest_uid=5000
root_modules=(virtio_pci virtiofs overlay virtio_blk virtio_console)
later_modules=(veth bridge br_netfilter nf_tables nft_compat nft_chain_nat xt_comment xt_conntrack xt_addrtype
	xt_mark xt_nat xt_MASQUERADE xt_multiport xt_tcpudp tun fuse loop)
host_cflags=(-std=gnu11 -O2 -g -Wall -Wextra)

say() { echo "test host: $*" >&2; }

fail() {
	say "$@"
	exit 125
}

need_tools() {
	local t missing=()
	for t in gcc busybox cpio jq mkfs.ext4 modprobe depmod qemu-system-x86_64 setpriv flock; do
		PATH=$PATH:/usr/sbin:/sbin command -v $t >/dev/null || missing+=("$t")
	done
	[ -x /usr/lib/qemu/virtiofsd ] || missing+=(virtiofsd)
	[ ${#missing[@]} = 0 ] || fail "missing on this machine: ${missing[*]} (tests/deps host installs them)"
}

# A directory of the cache appears complete or not at all; of two that make it at once, one wins.
publish() { # TMPDIR DIR
	mv -T "$1" "$2" 2>/dev/null || rm -rf "$1"
	[ -d "$2" ] || fail "cannot make $2"
}

fetch_kernel() { # DIR PACKAGE VERSION SHA256
	local got
	(
		cd "$1"
		apt-get -qq -o APT::Sandbox::User=root download "$2=$3" >/dev/null 2>apt.log ||
			{ apt-get -qq update >/dev/null 2>>apt.log || true
			apt-get -qq -o APT::Sandbox::User=root download "$2=$3" >/dev/null 2>>apt.log; }
	) || return 1
	got=$(sha256sum "$1"/*.deb)
	[ "${got%% *}" = "$4" ] || fail "$2=$3 has the SHA-256 ${got%% *}, tests/host/kernel.pin says $4"
}

# The unpacked kernel package of kernel.pin; sets kernel_dir.
ensure_kernel() {
	local package version sum tmp
	read -r package version sum < <(grep -v '^#' "$host_dir/kernel.pin")
	kernel_dir=$cache_root/$package-$version
	[ ! -d "$kernel_dir" ] || return 0
	mkdir -p "$cache_root"
	tmp=$(mktemp -d "$cache_root/tmp.XXXXXX")
	if ! fetch_kernel "$tmp" "$package" "$version" "$sum"; then
		cat "$tmp/apt.log" >&2
		rm -rf "$tmp"
		fail "apt-get cannot download $package=$version, which tests/host/kernel.pin names"
	fi
	dpkg-deb -x "$tmp"/*.deb "$tmp"
	rm -f "$tmp"/*.deb "$tmp/apt.log"
	mv "$tmp"/boot/vmlinuz-* "$tmp/vmlinuz"
	/sbin/depmod -b "$tmp" "$(ls "$tmp/lib/modules")"
	chmod 755 "$tmp"
	publish "$tmp" "$kernel_dir"
}

build_probe() { # DIR
	gcc "${host_cflags[@]}" -o "$1/kvmprobe" "$host_dir/kvmprobe.c"
}

# The probe alone, since a host with a good KVM needs nothing else; sets probe.
ensure_probe() {
	local tmp dir
	dir=$cache_root/kvmprobe-$(sha256sum "$host_dir/kvmprobe.c" | cut -c1-16)
	probe=$dir/kvmprobe
	[ ! -x "$probe" ] || return 0
	mkdir -p "$cache_root"
	tmp=$(mktemp -d "$cache_root/tmp.XXXXXX")
	build_probe "$tmp" || fail "cannot build kvmprobe"
	publish "$tmp" "$dir"
}

# Copies the modules that `modprobe --show-depends` lists into the initramfs; prints their names in order of loading.
take_modules() { # DIR
	local f
	awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r f; do
		cp "$f" "$1/modules/"
		basename "$f"
	done
}

build_initrd() { # DIR
	local d=$1/initramfs v m
	v=$(ls "$kernel_dir/lib/modules")
	mkdir -p "$d/bin" "$d/modules" "$d/dev"
	mknod "$d/dev/console" c 5 1
	cp "$(command -v busybox)" "$d/bin/busybox"
	cp "$1/agent" "$d/agent"
	cp "$host_dir/init" "$d/init"
	cp "$host_dir/systemd-units" "$d/systemd-units"
	for m in "${root_modules[@]}"; do
		/sbin/modprobe -d "$kernel_dir" -S "$v" --show-depends "$m" || return 1
	done | take_modules "$d" >"$d/modules/order.root"
	/sbin/modprobe -d "$kernel_dir" -S "$v" --show-depends kvm-amd | take_modules "$d" >"$d/modules/order.kvm"
	echo "${later_modules[@]}" >"$d/modules/later"
	(cd "$d" && find . -print0 | cpio -0 -o -H newc --quiet) >"$1/initrd"
	rm -rf "$d"
}

# initrd, agent and client; sets host_cache and kernel_dir.
ensure_host() {
	local hash tmp
	need_tools
	ensure_kernel
	hash=$(cat "$host_dir"/{init,systemd-units,lib.sh,kernel.pin,chan.h,agent.h,agent.c,agent_job.c,client.c} \
		"$(command -v busybox)" | sha256sum | cut -c1-16)
	host_cache=$cache_root/testhost-$hash
	[ ! -d "$host_cache" ] || return 0
	find "$cache_root" -maxdepth 1 -name 'testhost-*' -mtime +14 -exec rm -rf {} +
	tmp=$(mktemp -d "$cache_root/tmp.XXXXXX")
	gcc "${host_cflags[@]}" -static -o "$tmp/agent" "$host_dir/agent.c" "$host_dir/agent_job.c" || fail "cannot build the agent"
	gcc "${host_cflags[@]}" -o "$tmp/client" "$host_dir/client.c" || fail "cannot build the client"
	build_initrd "$tmp" || fail "cannot make the initramfs"
	publish "$tmp" "$host_cache"
}

# Is DIR one of, or below one of, the directories after it?
below() {
	local d=$1 p
	shift
	for p; do
		case $d/ in "$p"/*) return 0 ;; esac
	done
	return 1
}

# The directories to share read-write: the tree, the build, and what was asked for; none inside another. Sets shares.
collect_shares() {
	local d
	shares=()
	for d in "$tree" "$build" ${KRUN_TEST_RESULTS:+"$KRUN_TEST_RESULTS"} "$@"; do
		mkdir -p "$d" || fail "cannot make $d"
		d=$(cd "$d" && pwd -P)
		case $d in
		/ | *[,:\ ]*) fail "cannot share '$d': '/', and names with a comma, colon or space, do not go" ;;
		esac
		below "$d" "${shares[@]}" || shares+=("$d")
	done
}

# Starts a virtiofsd for DIR under DIRECTORY_OF_THE_HOST/fs.TAG. It ends when QEMU hangs up, or with us.
start_virtiofsd() { # RUN TAG DIR CACHE
	setpriv --pdeathsig KILL /usr/lib/qemu/virtiofsd --socket-path="$1/fs.$2" -o source="$3" -o cache="$4" \
		-o sandbox=chroot </dev/null >"$1/virtiofsd.$2.log" 2>&1 &
	fs_pids+=($!)
}

wait_for_socket() { # PATH PID LOG
	local i
	for ((i = 0; i < 1000; i++)); do
		[ ! -S "$1" ] || return 0
		kill -0 "$2" 2>/dev/null || break
		sleep 0.01
	done
	cat "$3" >&2
	fail "virtiofsd did not start"
}

# Boots a host whose files are in the directory $1, by the variables mem cpus disk_mib mode ports shares. Sets qemu_pid and
# fs_pids. Returns as soon as QEMU runs: the client waits for the agent.
boot_host() {
	local run=$1 args=() rw='' i tag
	fs_pids=()
	start_virtiofsd "$run" root / always
	for i in "${!shares[@]}"; do
		start_virtiofsd "$run" "rw$i" "${shares[i]}" auto
		rw+=${rw:+,}rw$i:${shares[i]}
	done
	i=0
	for tag in root $(seq -f 'rw%g' 0 $((${#shares[@]} - 1))); do
		wait_for_socket "$run/fs.$tag" "${fs_pids[i]}" "$run/virtiofsd.$tag.log"
		args+=(-chardev "socket,id=$tag,path=$run/fs.$tag"
			-device "vhost-user-fs-pci,chardev=$tag,tag=$tag,queue-size=256")
		i=$((i + 1))
	done
	for ((i = 0; i < ports; i++)); do
		: >"$run/port.$i.lock"
		args+=(-chardev "socket,id=port$i,path=$run/port.$i,server=on,wait=off"
			-device "virtserialport,bus=serial.0,chardev=port$i,name=testhost.$i")
	done
	if [ "$disk_mib" -gt 0 ]; then
		truncate -s "${disk_mib}M" "$run/disk"
		PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$run/disk" ||
			fail "cannot make the scratch disk"
		args+=(-drive "file=$run/disk,format=raw,if=none,id=disk,cache=unsafe,discard=unmap,aio=threads"
			-device virtio-blk-pci,drive=disk)
	fi
	# QEMU translates code without a lock on its page. With several processors a jump label that one of them changes can stay in
	# the other's translation for ever, and a guest dies of an int3 that is in memory no more, about once in fifty boots; so can
	# what the host's kernel moves about (huge pages) on one processor while a guest runs on another. One processor meets neither.
	# Without XSAVE nothing that needs AVX can run: some programs (netavark) look at the bit of AVX2 alone.
	setpriv --pdeathsig KILL qemu-system-x86_64 -name krun-testhost -nodefaults -no-user-config -display none \
		-machine q35,memory-backend=mem,hpet=off,vmport=off -cpu max,xsave=off,avx=off,avx2=off,f16c=off,fma=off,vaes=off,erms=off,fsrm=off -accel tcg,thread=multi,tb-size=512 \
		-smp "$cpus" -m "$mem" -object "memory-backend-memfd,id=mem,size=${mem}M,share=on" \
		-kernel "$kernel_dir/vmlinuz" -initrd "$host_cache/initrd" -no-reboot \
		-append "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off tsc=reliable nowatchdog no_timer_check selinux=0 \
random.trust_cpu=on systemd.unified_cgroup_hierarchy=1 th.mode=$mode th.kernel=$kernel_dir th.rw=$rw \
th.user=$guest_user:$guest_uid" \
		-monitor none -serial "file:$run/console.log" -device virtio-serial-pci,id=serial,max_ports=$((ports + 1)) \
		"${args[@]}" </dev/null >"$run/qemu.log" 2>&1 &
	qemu_pid=$!
}

# Removes what runs have left that were killed. Their QEMU and virtiofsd have ended with them.
remove_stale() {
	local d p
	for d in /tmp/krun-th.*; do
		p=${d#*.}
		if [ -O "$d" ] && ! kill -0 "${p%%.*}" 2>/dev/null; then rm -rf "$d"; fi
	done
}

# Ends what boot_host started and removes the host's files.
end_host() { # RUN
	local p
	for p in ${qemu_pid:+"$qemu_pid"} "${fs_pids[@]}"; do
		kill -KILL "$p" 2>/dev/null || true
	done
	for p in ${qemu_pid:+"$qemu_pid"} "${fs_pids[@]}"; do
		wait "$p" 2>/dev/null || true
	done
	rm -f "/run/virtiofsd/$(tr / . <<<"${1#/}")".fs.*.pid "/var/run/virtiofsd/$(tr / . <<<"${1#/}")".fs.*.pid
	rm -rf "$1"
}
