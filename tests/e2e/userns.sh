#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# User namespaces with maps: whose files, which rights, which namespace; and namespaces that are joined by path.
# timeout: 480
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

bundle b busybox
root=$work/b/rootfs
base=100000
# The mapped root has to get to the bundle, and to own the image, as it would in a container manager's store.
chmod 711 "$work"
echo secret >"$root/of-host-root"
chmod 600 "$root/of-host-root"
snapshot_host | sort >"$work/host.before"

shift_owner() { # FROM TO
	find "$root" ! -path "$root/of-host-root" -uid "$1" -exec chown -h "$2:$2" {} +
}
shift_owner 0 $base
shift_owner 1000 $((base + 1000))
cp "$work/b/config.json" "$work/config.plain"
maps='[{"containerID":0,"hostID":'$base',"size":65536}]'
mapped=".linux.namespaces+=[{\"type\":\"user\"}] | .linux.uidMappings=$maps | .linux.gidMappings=$maps
	| .process.capabilities=(.process.capabilities | map_values(.+[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\"]))"

say "the groups of the caller"
mkdir -m 770 "$work/shared"
echo of the group >"$work/shared/f"
chmod 640 "$work/shared/f"
chown -R 0:4711 "$work/shared"
of_group() { # JQ
	cp "$work/config.plain" "$work/b/config.json"
	edit b "$mapped | .mounts+=[{\"destination\":\"/v\",\"type\":\"bind\",\"source\":\"$work/shared\",\"options\":[\"bind\"]}] | .process.args=[\"sh\",\"-c\",\"cat /v/f 2>&1 | sed 's/.*: //'\"] | $1"
	run setpriv --groups 4711 krun-oci --log-level warning run --bundle "$work/b" "$id"
}
of_group .
check "are not those of the VMM" "Permission denied" "$(cat "$work/out")"
of_group '.annotations["run.oci.keep_original_groups"]="1" | .annotations["run.oci.systemd.subgroup"]="x"'
check "but where an annotation keeps them" "of the group" "$(cat "$work/out")"
err_has '"run.oci.systemd.subgroup" means nothing to this runtime'
cp "$work/config.plain" "$work/b/config.json"

say "a new user namespace"
cat >"$root/look" <<'SH'
#!/bin/sh
say() { echo "$1: $2"; }
say id "$(id -u) $(id -g)"
say image "$(stat -c '%u %g' /bin/busybox) $(stat -c '%u %g' /home/user)"
say foreign "$(stat -c '%u %g' /of-host-root)"
say read "$(cat /of-host-root 2>&1 | sed 's/.*: //')"
say write "$(echo x 2>&1 >/of-host-root | sed 's/.*: //')"
say take "$(chown 0:0 /of-host-root 2>&1 | sed 's/.*: //')"
touch /made /home/user/given
chown 1000:1000 /home/user/given
say given "$(stat -c '%u %g' /home/user/given)"
cp /bin/busybox /setid; chmod 4755 /setid; say setid "$(stat -c %a /setid)"
say device "$(mknod /dev-null c 1 3 2>&1 | sed 's/.*: //')"
mkfifo /fifo; say fifo "$(stat -c '%F %u' /fifo)"
say unmapped "$(chown 70000:70000 /made 2>&1 | sed 's/.*: //')"
echo end
while :; do sleep 0.1; done
SH
chmod 755 "$root/look"
chown $base:$base "$root/look"
edit b "$mapped | .process.args=[\"/look\"]"
created "$id" b
[ "$rc" = 0 ] || { cp "$work/$id.err" "$work/err"; die "create: status $rc"; }
pid=$(cat "$work/$id.pid")
[ "$(readlink "/proc/$pid/ns/user")" != "$(readlink /proc/self/ns/user)" ] || die "the VMM is in the host's user namespace"
ok "the VMM is in a user namespace of its own"
for f in uid_map gid_map; do check "its $f" "0 $base 65536" "$(tr -s ' ' <"/proc/$pid/$f" | sed 's/^ //')"; done
check "on the host it is no root" "$base $base $base $base" "$(sed -n 's/^Uid:\t//p' "/proc/$pid/status" | tr '\t' ' ')"
for ns in mnt net ipc uts; do
	[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] || die "the VMM shares the host's $ns namespace"
done
status 0 krun-oci start "$id"
wait_for 20 grep -qx end "$work/$id.out"
value() { sed -n "s/^$1: //p" "$work/$id.out"; }
check "root in the guest" "0 0" "$(value id)"
check "the image's owners as the guest sees them" "0 0 1000 1000" "$(value image)"
check "a file of an id that is not mapped" "65534 65534" "$(value foreign)"
check "cannot be read" "Permission denied" "$(value read)"
check "nor written" "Permission denied" "$(value write)"
check "nor taken" "Operation not permitted" "$(value take)"
check "it is as it was" "secret 0 600" "$(cat "$root/of-host-root") $(stat -c '%u %a' "$root/of-host-root")"
check "a file of the guest's root, on the host" "$base $base" "$(stat -c '%u %g' "$root/made")"
check "a file given away, in the guest" "1000 1000" "$(value given)"
check "a set-id program is its owner's, on the host too" "4755 4755 $base" "$(value setid) $(stat -c '%a %u' "$root/setid")"
check "a device cannot be made, a fifo can" "Operation not permitted fifo 0" "$(value device) $(value fifo)"
check "a file given away, on the host" "$((base + 1000)) $((base + 1000))" "$(stat -c '%u %g' "$root/home/user/given")"
case $(value unmapped) in
"Invalid argument" | "Operation not permitted") ok "to an id that is not mapped: $(value unmapped)" ;;
*) die "chown to an id that is not mapped: '$(value unmapped)'" ;;
esac

say "an ordinary user in it"
run krun-oci exec --user 1000:1000 "$id" sh -c 'id -u; echo x >/home/user/mine; touch /root/x 2>&1 | sed "s/.*: //"'
check "its id, and what it may not" "0 1000 Permission denied" "$rc $(paste -sd' ' "$work/out")"
check "its file on the host" "$((base + 1000)) $((base + 1000))" "$(stat -c '%u %g' "$root/home/user/mine")"
status 0 krun-oci delete --force "$id"
host_is_as "$work/host.before"

say "idmapped binds"
mkdir "$work/ids"
echo of-root >"$work/ids/root"
echo of-user >"$work/ids/user"
chown 1000:1000 "$work/ids/user"
chmod 777 "$work/ids"
ids() { # JQ of the mount, SCRIPT, JQ: a run with the directory at /ids
	cp "$work/config.plain" "$work/b/config.json"
	edit b ".mounts+=[{destination:\"/ids\",type:\"bind\",source:\"$work/ids\",options:[\"rbind\"]} | $1] | .process.args=[\"sh\",\"-c\",$(jq -n --arg s "$2" '$s')] | ${3:-.}"
	run krun-oci run --bundle "$work/b" "$id"
}
ids '.options+=["idmap"]' 'stat -c "%u %g" /ids/root /ids/user; echo x >/ids/made; chown 1000:1000 /ids/made; stat -c "%u %g" /ids/made; cat /ids/root' "$mapped"
check "by the container's user namespace: on the host ids are what they are in the guest" "0 0 0 1000 1000 1000 1000 of-root 1000 1000" \
	"$rc $(paste -sd' ' "$work/out") $(stat -c '%u %g' "$work/ids/made")"
rm "$work/ids/made"
one='.uidMappings=[{containerID:0,hostID:1000,size:1}] | .gidMappings=[{containerID:0,hostID:1000,size:1}]'
shift_owner $base 0
shift_owner $((base + 1000)) 1000
mkdir "$work/ids/below" "$work/other"
echo below >"$work/other/root"
mount --bind "$work/other" "$work/ids/below"
mounted=("$work/ids/below")
unmount() { while [ ${#mounted[@]} -gt 0 ]; do umount "${mounted[-1]}" && unset 'mounted[-1]'; done; }
trap 'unmount; cleanup' EXIT
ids "$one" 'stat -c "%u %g" /ids/root /ids/user /ids/below/root; echo x >/ids/made && stat -c "%u %g" /ids/made; cat /ids/root' '.process.user={uid:1000,gid:1000}'
check "by mappings of its own, without a user namespace, but not what is mounted below" "0 1000 1000 65534 65534 0 0 1000 1000 of-root 0 0" \
	"$rc $(paste -sd' ' "$work/out") $(stat -c '%u %g' "$work/ids/made")"
ids "$one | .options+=[\"ridmap\"]" 'stat -c "%u %g" /ids/root /ids/below/root; echo x >/ids/below/made && stat -c "%u %g" /ids/below/made' '.process.user={uid:1000,gid:1000}'
check "that too with ridmap" "0 1000 1000 1000 1000 1000 1000 0 0" "$rc $(paste -sd' ' "$work/out") $(stat -c '%u %g' "$work/other/made")"
mkdir "$work/other/kernel"
mount --bind /sys/kernel "$work/ids/below/kernel"
mounted+=("$work/ids/below/kernel")
ids "$one | .options+=[\"ridmap\"]" true
check "one below that cannot be mapped is an error" 1 "$rc"
err_has 'the ids of "/ids" cannot be mapped'
unmount
rmdir "$work/ids/below"
trap cleanup EXIT
ids "$one" 'echo x 2>&1 >/ids/none | sed "s/.*: //"; ls /ids'
check "who has no id on the other side makes no file" "0 Value too large for defined data type made root user" "$rc $(paste -sd' ' "$work/out")"
ids '.options+=["idmap"]' true
check "the word alone is refused" 1 "$rc"
err_has "mounts[$(($(jq '.mounts|length' "$work/b/config.json") - 1))].options: "
ids ".source=\"/sys/kernel\" | $one" true
check "a file system that cannot be mapped is an error" 1 "$rc"
err_has 'the ids of "/ids" cannot be mapped'

say "namespaces joined by path"
if long; then # tests/e2e/sandbox.sh has these, too
	unshare --net --ipc sleep 1000 &
	holder=$!
	trap 'kill $holder; cleanup' EXIT
	wait_for 60 sh -c "[ \$(readlink /proc/$holder/ns/ipc) != $(readlink /proc/self/ns/ipc) ]"
	join() { # TYPE FILE: prints the edit
		echo ".linux.namespaces|=map(if .type==\"$1\" then .path=\"/proc/$holder/ns/$2\" else . end)"
	}
	cp "$work/config.plain" "$work/b/config.json"
	edit b "$(join network net) | $(join ipc ipc)"' | .process.args=["sh","-c","echo up; exec sleep 1000"]'
	created "$id" b
	[ "$rc" = 0 ] || { cp "$work/$id.err" "$work/err"; die "create: status $rc"; }
	pid=$(cat "$work/$id.pid")
	for ns in net ipc; do check "the VMM is in the $ns namespace of the path" "$(readlink "/proc/$holder/ns/$ns")" "$(readlink "/proc/$pid/ns/$ns")"; done
	[ "$(readlink "/proc/$pid/ns/uts")" != "$(readlink /proc/self/ns/uts)" ] || die "the VMM shares the host's uts namespace"
	status 0 krun-oci start "$id"
	wait_for 20 grep -qx up "$work/$id.out"
	status 0 krun-oci delete --force "$id"
	kill -0 $holder || die "the process that holds the namespaces is gone"
	ok "the namespaces stay"
	kill $holder
	wait $holder || true
fi
unshare --user sleep 1000 &
holder=$!
trap 'kill $holder; cleanup' EXIT
wait_for 60 sh -c "[ \$(readlink /proc/$holder/ns/user) != $(readlink /proc/self/ns/user) ]"
for f in uid_map gid_map; do echo "0 $base 65536" >"/proc/$holder/$f"; done
shift_owner 0 $base
cp "$work/config.plain" "$work/b/config.json"
edit b ".linux.namespaces+=[{\"type\":\"user\",\"path\":\"/proc/$holder/ns/user\"}]"' | .process.args=["sh","-c","touch /by-path; echo up; exec sleep 1000"]'
created "$id" b
[ "$rc" = 0 ] || { cp "$work/$id.err" "$work/err"; die "create: status $rc"; }
pid=$(cat "$work/$id.pid")
check "the VMM is in the user namespace of the path" "$(readlink "/proc/$holder/ns/user")" "$(readlink "/proc/$pid/ns/user")"
status 0 krun-oci start "$id"
wait_for 20 grep -qx up "$work/$id.out"
check "a file's owner on the host" $base "$(stat -c %u "$root/by-path")"
status 0 krun-oci delete --force "$id"
kill $holder
wait $holder || true
trap cleanup EXIT
host_is_as "$work/host.before"
done_testing
