#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The largest number of CPUs, and RAM beyond the hole below 4 GiB: what the guest makes of them.
# timeout: 300
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

snapshot_host | sort >"$work/host.before"
bundle b busybox
cat >"$work/b/rootfs/look" <<'SH'
#!/bin/sh
say() { echo "$1: $2"; }
c=/sys/devices/system/cpu
say online "$(cat $c/online)"
say cpuinfo "$(grep -c ^processor /proc/cpuinfo)"
for f in apicid 'initial apicid' 'core id'; do say "$f" "$(sed -n "s/^$f[[:space:]]*: //p" /proc/cpuinfo | sort -n | uniq | paste -sd, -)"; done
for f in 'physical id' siblings 'cpu cores'; do say "$f" "$(sed -n "s/^$f[[:space:]]*: //p" /proc/cpuinfo | sort -u | paste -sd, -)"; done
say threads "$(cat $c/cpu*/topology/thread_siblings_list | sort -n | paste -sd, -)"
say cores "$(cat $c/cpu*/topology/core_siblings_list | sort -u)"
# Each CPU in turn runs a process that is bound to it.
i=0 ran=
while [ $i -lt "$(nproc)" ]; do
	ran="$ran $(taskset $(printf %x $((1 << i))) awk '{ print $39 }' /proc/self/stat)"
	i=$((i + 1))
done
say ran "${ran# }"
say memtotal "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
# The first page above 4 GiB is number 1048576.
say high "$(awk '/zone +Normal/ { n = 1 } n && /present/ { p = $2 } n && /start_pfn/ { print $2, int(p / 256); exit }' /proc/zoneinfo)"
written=$(head -c 33554432 /dev/urandom | tee /dev/shm/x | md5sum)
say same "$([ "$written" = "$(md5sum </dev/shm/x)" ] && wc -c </dev/shm/x)"
SH
chmod 755 "$work/b/rootfs/look"

edit b '.process.args=["/look"] | .annotations={"krun.cpus":"16","krun.ram_mib":"4096"}'
start=$EPOCHSECONDS
run krun-oci run --bundle "$work/b" "$id"
say "$((EPOCHSECONDS - start)) s"
check "exit status" 0 "$rc"
value() { sed -n "s/^$1: //p" "$work/out"; }
all=$(seq -s, 0 15)
check "CPUs online" 0-15 "$(value online)"
check "CPUs in /proc/cpuinfo" 16 "$(value cpuinfo)"
check "APIC ids" "$all" "$(value apicid)"
check "APIC ids by CPUID" "$all" "$(value 'initial apicid')"
check "core ids" "$all" "$(value 'core id')"
check "packages" 0 "$(value 'physical id')"
check "siblings" 16 "$(value siblings)"
check "cores" 16 "$(value 'cpu cores')"
check "no CPU shares a core" "$all" "$(value threads)"
check "all are in one package" 0-15 "$(value cores)"
check "each CPU runs what is bound to it" "${all//,/ }" "$(value ran)"
mem=$(value memtotal)
[ "$mem" -gt 3900 ] && [ "$mem" -le 4096 ] || die "MemTotal is $mem MiB"
ok "MemTotal: $mem MiB of 4096"
high=$(value high)
check "the first page above the hole" 1048576 "${high% *}"
[ "${high#* }" -ge 512 ] || die "${high#* } MiB lie above the hole"
ok "${high#* } MiB lie above the hole"
check "memory holds what is written" 33554432 "$(value same)"

edit b '.process.args=["sh","-c","nproc; cat /sys/devices/system/cpu/online; awk \"/^MemTotal/ { print int(\\$2 / 1024) }\" /proc/meminfo; cat /proc/cmdline"] | .annotations={"krun.cpus":"1","krun.ram_mib":"129"}'
if long; then
	say "one CPU, the least RAM that counts"
	run krun-oci run --bundle "$work/b" "$id"
	check "CPUs" "0 1 0" "$rc $(head -n 2 "$work/out" | paste -sd' ')"
	mem=$(sed -n 3p "$work/out")
	[ "$mem" -gt 90 ] && [ "$mem" -le 129 ] || die "MemTotal is $mem MiB"
	ok "MemTotal: $mem MiB of 129"
fi
say "CPUs beyond what the limits leave: made, for an update, and not used"
edit b '.annotations["krun.cpus"]="4" | .linux.resources.cpu={"quota":150000,"period":100000}'
run krun-oci run --bundle "$work/b" "$id"
check "CPUs, and those of the VM" "0 2 0-3" "$rc $(head -n 2 "$work/out" | paste -sd' ')"
edit b 'del(.linux.resources.cpu)'
say "the vm section; an annotation wins"
edit b 'del(.annotations) | .vm={"hwConfig":{"vcpus":2,"memory":201326592}}
	| .vm.kernel={"path":"'"$(dirname "$(command -v krun-oci)")/kernel/vmlinux"'","parameters":["krunt.word=1","loglevel=1"]}'
run krun-oci run --bundle "$work/b" "$id"
check "CPUs of hwConfig" "0 2 0-1" "$rc $(head -n 2 "$work/out" | paste -sd' ')"
mem=$(sed -n 3p "$work/out")
[ "$mem" -gt 150 ] && [ "$mem" -le 192 ] || die "MemTotal is $mem MiB"
ok "MemTotal: $mem MiB of 192"
[[ " $(sed -n 4p "$work/out") " = *" krunt.word=1 loglevel=1 "* ]] || die "parameters of the kernel"
ok "parameters of the kernel"
edit b '.vm.kernel.parameters=["virtio-mmio.device=4K@0x1000:5"]'
status 1 krun-oci create --bundle "$work/b" "$id"
err_has 'vm.kernel.parameters[0]: "virtio-mmio.device=4K@0x1000:5" is the runtime'"'"'s own to set'
if long; then
	edit b 'del(.vm.kernel) | .annotations={"krun.cpus":"1"}'
	run krun-oci run --bundle "$work/b" "$id"
	check "CPUs of the annotation" "0 1 0" "$rc $(head -n 2 "$work/out" | paste -sd' ')"
fi
say "what the image says, where nobody else does; the size is kept for update"
edit b 'del(.vm, .annotations) | .process.args[2]+="; exec sleep 1000"'
echo '{"cpus":2,"ram_mib":160,"kernel_path":"/boot/vmlinuz"}' >"$work/b/rootfs/.krun_vm.json"
krun-oci --log "$work/log" --log-level warning run --detach --bundle "$work/b" "$id" >"$work/out" 2>"$work/err" </dev/null || die "run --detach"
wait_for 60 sh -c "[ \$(wc -l <'$work/out') = 4 ]"
cpus=$(($(nproc) < 2 ? 1 : 2)) # never more than the host has
check "CPUs of the image" $cpus "$(head -n 1 "$work/out")"
mem=$(sed -n 3p "$work/out")
[ "$mem" -gt 120 ] && [ "$mem" -le 160 ] || die "MemTotal is $mem MiB"
ok "MemTotal: $mem MiB of 160"
grep -q 'krun_vm.json: kernel_path: not an image.s to choose' "$work/log" || die "no warning: $(cat "$work/log")"
ok "a kernel of the image's is a warning"
status 1 krun-oci update --memory 200m "$id"
err_has "160 MiB of RAM that the guest was made with"
status 0 krun-oci update --memory 100m "$id"
status 0 krun-oci delete --force "$id"
rm -f "$work/b/rootfs/.krun_vm.json" "$work/log"
for bad in 0 17 x; do
	edit b ".annotations={\"krun.cpus\":\"$bad\"}"
	status 1 krun-oci create --bundle "$work/b" "$id"
	err_has krun.cpus
done
host_is_as "$work/host.before"
done_testing
