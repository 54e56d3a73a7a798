# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# The workload of the snapshot test, inside the guest: holds files open, counts, and answers what stdin asks.
cd /data/dir || exit 1
exec 3</data/held 4</data/gone 5</data/moved 6>>/data/log 7<>/data/gone-too
read -r first <&3 && read -r first <&4 && read -r first <&5 || exit 2
rm /data/gone /data/gone-too
mv /data/moved /data/dir/moved-here
echo "before" >&6
echo "$first, unlinked" >&7
# What is on the disk has been there before the save, at least in the guest's memory.
if grep -q ' vda$' /proc/partitions; then
	mknod /dev/vda b "$(sed -n 's/^ *\([0-9]*\).* vda$/\1/p' /proc/partitions)" 0
	exec 8<>/dev/vda
	dd bs=512 seek=8 conv=notrunc of=/dev/vda 2>/dev/null </data/other
	ifconfig eth0 10.9.0.2 netmask 255.255.255.0 up
fi
echo ready
(
	i=0
	while sleep 0.1; do
		i=$((i + 1))
		echo "n $i"
	done
) &
sum() { md5sum | cut -d ' ' -f 1; }
while read -r word; do
	case $word in
	held) echo "held $(sum <&3)" ;;
	gone) echo "gone $(sum <&4)" ;;
	moved) echo "moved $(sum <&5)" ;;
	named) echo "named $(sum </data/dir/moved-here)" ;;
	here) echo "here $(sum <file)" ;;
	other) echo "other $(sum </data/other)" ;;
	tree) echo "tree $(find /bin /data | sort | sum)" ;;
	log) echo after >&6 && echo "log written" ;;
	gone-too) echo "more" >&7 && echo "gone-too $(sum </proc/self/fd/7)" ;;
	new) echo new >/data/new && echo "new $(cat /data/new)" ;;
	disk) echo after >&8 && sync && echo "disk $(dd if=/dev/vda bs=512 skip=8 2>/dev/null | head -c "$(wc -c </data/other)" | sum)" ;;
	net) ping -c 1 -W 1 10.9.0.1 >/dev/null && echo 'net answered' || echo 'net asked' ;;
	date) echo "date $(date +%s)" ;;
	random) echo "random $(head -c 16 /dev/urandom | sum)" ;;
	cpus) echo "cpus $(grep -c ^processor /proc/cpuinfo)" ;;
	exit) exit 7 ;;
	esac
done
exit 5
