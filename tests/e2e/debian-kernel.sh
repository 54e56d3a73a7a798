#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A distribution's kernel on our library: Debian's cloud kernel, which is the test host's own, finds processors and devices by ACPI, the
# machine's name by SMBIOS, and the time at a PC's clock; its console is a serial port; it switches itself off.
# timeout: 900
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
build=${KRUN_BUILD:-$top}
# shellcheck disable=SC2154 # of lib.sh: $top, $work, $rc
[ -e "$build/libkrun.so" ] || skip "no libkrun.so (./configure --enable-libkrun)"
export LD_LIBRARY_PATH=$build

# shellcheck disable=SC2016 # for the other shell
kernel=$(bash -c '. "$0/tests/host/lib.sh" && ensure_kernel >&2 && echo "$kernel_dir"' "$top" 2>"$work/err") || skip "no Debian kernel: $(tail -n 1 "$work/err")"
version=$(ls "$kernel/lib/modules")
program krun-api "$work/prog"

# Drivers in the order in which they are loaded, and an init that tells what it finds.
ini=$work/ini
mkdir -p "$ini"/{bin,dev,proc,sys,mnt,modules} "$work/share"
mknod "$ini/dev/console" c 5 1
cp "$(command -v busybox)" "$ini/bin/busybox"
nested=$(grep -shx '[1Y]' /sys/module/kvm_{intel,amd}/parameters/nested || true)
modules=(virtio_mmio virtio_console virtiofs)
if [ -n "$nested" ]; then
	program kvmprobe "$ini/bin/kvmprobe"
	modules+=("kvm-$(grep -q '^flags.*\<svm\>' /proc/cpuinfo && echo amd || echo intel)")
fi
for m in "${modules[@]}"; do
	/sbin/modprobe -d "$kernel" -S "$version" --show-depends "$m"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/modules"
while read -r f; do
	cp "$f" "$ini/modules/"
	basename "$f"
done <"$work/modules" >"$ini/modules/order"
cat >"$ini/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r m; do insmod "/modules/$m"; done </modules/order
echo "kernel $(uname -r), $(nproc) processors"
mount -t virtiofs share /mnt
if grep -q -w split /proc/cmdline; then
	sleep 1
	echo "split: $(cat /mnt/file), $(grep -c -E 'IO-APIC +[0-9]+-edge +(virtio|ttyS0)' /proc/interrupts) interrupts, $(grep -c XT-PIC /proc/interrupts) of old ones"
	poweroff -f
fi
echo "share: $(cat /mnt/file)"
echo "machine: $(cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name | tr '\n' ' ')"
strings /sys/firmware/dmi/entries/11-0/raw | sed 's/^/oem: /'
cat /sys/class/rtc/rtc0/since_epoch >/mnt/time
echo "interrupts: $(grep -c -E 'IO-APIC +[0-9]+-edge +(virtio|ttyS0)' /proc/interrupts)"
if [ -e /bin/kvmprobe ]; then echo "own guest: $(kvmprobe 2>&1 && echo fit)"; fi
while [ ! -e /dev/vport0p1 ]; do sleep 0.1; done
echo "to the port" >/dev/vport0p1
read -r line
echo "read: $line"
poweroff -f
EOF
chmod +x "$ini/init"
(cd "$ini" && find . | cpio -o -H newc --quiet) >"$work/initrd"
echo in-share >"$work/share/file"

before=$(date +%s)
rc=0
timeout 600 "$work/prog" distribution "$kernel/vmlinuz" "$work/initrd" "console=ttyS0 panic=-1 quiet" "$work/share" \
	>"$work/out" 2>"$work/err" <<<hello || rc=$?
sed -i 's/\r$//' "$work/out"
check "it switches itself off, and the program ends" 0 "$rc"
out_has "kernel $version, 2 processors"
out_has "share: in-share"
out_has "machine: krun-oci libvmm microVM"
check "OEM strings" "oem: first string oem: io.systemd.credential:x=y" "$(grep '^oem: ' "$work/out" | paste -sd' ')"
out_has "read: hello"
# In the emulator a guest of a guest runs, but its int3 goes wrong: what is ours to do for it works.
own=$(sed -n 's/^own guest: //p' "$work/out" | tail -n 1)
case $nested:${KRUN_TESTHOST_INSIDE:-}:$own in
'':*) say "this host's KVM does not let guests run guests: not tried" ;;
*fit) ok "a guest of the guest's own" ;;
*:1:"unfit: int3 and iret does not work in a guest") ok "a guest of the guest's own, as far as the emulator goes" ;;
*) die "a guest of the guest's own: $own" ;;
esac
check "a port of the virtio console" "to the port" "$(cat "$work/err")"
[ "$(sed -n 's/^interrupts: //p' "$work/out")" -ge 3 ] || die "interrupts"
seen=$(cat "$work/share/time")
if [ "$seen" -lt "$before" ] || [ "$seen" -gt "$(date +%s)" ]; then die "the clock: $seen, begun at $before"; fi
ok "the clock tells the host's time"

# The same with the library's I/O APIC: no interval timer, no old controller.
rc=0
timeout 600 "$work/prog" distribution "$kernel/vmlinuz" "$work/initrd" "console=ttyS0 panic=-1 quiet split" "$work/share" split \
	>"$work/out" 2>"$work/err" </dev/null || rc=$?
sed -i 's/\r$//' "$work/out"
check "an I/O APIC of the library's: it switches itself off" 0 "$rc"
grep -qE '^split: in-share, ([3-9]|1[0-9]) interrupts, 0 of old ones$' "$work/out" || die "an I/O APIC of the library's: $(grep split "$work/out" || true)"
done_testing
