# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names of run, which sources this
# A start whose config sets what a config of a manager sets: all that a container has, of which each runtime does its own part. What one of
# the runtimes refuses is not in it, nor a user namespace, which would want the root file system of another owner.

# Every call by its name but those that containers are denied, some by their arguments: as long as the managers' own lists.
profile() {
	awk '$1 == "#define" && sub(/^__NR_/, "", $2) { print $2 }' /usr/include/x86_64-linux-gnu/asm/unistd_64.h |
		grep -vxE 'acct|add_key|bpf|clone3?|create_module|delete_module|finit_module|fsconfig|fsmount|init_module|iopl|ioperm|kexec_.*|keyctl|mount|move_mount|nfsservctl|open_by_handle_at|perf_event_open|personality|pivot_root|quotactl|reboot|setns|swapo.*|umount2|unshare|uselib' |
		jq -R -n '{ defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 1, architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], syscalls: [
			{ names: [inputs], action: "SCMP_ACT_ALLOW" },
			{ names: ["personality"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 0, op: "SCMP_CMP_EQ" }] },
			{ names: ["personality"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 8, op: "SCMP_CMP_EQ" }] },
			{ names: ["clone"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 2114060288, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }] },
			{ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 } ] }'
}

fields_config() {
	profile | jq --arg w "$work" '{ seccomp: . } as $s | {
		uid: { uid: 1000, gid: 1000, umask: 18, additionalGids: [5, 6, 1001] },
		hook: [{ path: "/bin/true", args: ["true"], env: ["A=b"], timeout: 20 }] } as $p | "
		.process.user = \($p.uid) | .process.oomScoreAdj = 100 | .process.cwd = \"/tmp\" | .domainname = \"of.it\"
		| .process.rlimits += [{ type: \"RLIMIT_CORE\", hard: 0, soft: 0 }, { type: \"RLIMIT_NPROC\", hard: 4000, soft: 2000 }]
		| .process.capabilities.ambient = [\"CAP_NET_BIND_SERVICE\"] | .process.capabilities.inheritable = [\"CAP_NET_BIND_SERVICE\"]
		| .mounts += [{ destination: \"/tmp\", type: \"tmpfs\", source: \"tmpfs\", options: [\"nosuid\", \"nodev\", \"mode=1777\", \"size=8m\"] },
			{ destination: \"/etc/hostname\", type: \"bind\", source: \"\($w)/hostname\", options: [\"bind\", \"ro\", \"rprivate\"] },
			{ destination: \"/data\", type: \"bind\", source: \"\($w)/data\", options: [\"rbind\", \"rw\", \"nosuid\", \"rslave\"] }]
		| .hooks = { createRuntime: \($p.hook), createContainer: \($p.hook), startContainer: \($p.hook), poststart: \($p.hook), poststop: \($p.hook) }
		| .annotations[\"org.example.a\"] = \"b\"
		| .linux.sysctl = { \"net.ipv4.ip_unprivileged_port_start\": \"80\", \"kernel.msgmax\": \"9000\" }
		| .linux.devices = [{ path: \"/dev/mine\", type: \"c\", major: 1, minor: 5, fileMode: 438, uid: 1000, gid: 5 }]
		| .linux.rootfsPropagation = \"private\"
		| .linux.resources += { memory: { limit: 268435456, reservation: 67108864 }, cpu: { shares: 512, quota: 200000, period: 100000 }, pids: { limit: 200 } }
		| .linux.seccomp = \($s.seccomp)"' -r
}

bench_fields() {
	local i p
	mkdir -p "$work/data"
	echo inside >"$work/hostname"
	"$top/tests/bundles/make" busybox "$work/fields" --args '["/bin/true"]' --set "$(fields_config)" >/dev/null
	for i in $(seq 0 "$runs"); do
		for p in krun-oci crun runc; do
			# the first round warms caches up, the compiled filter among them
			ms "$p" run -b "$work/fields" "bench-f-$p-$$-$i" >>"$work/f.$([ "$i" = 0 ] && echo warm || echo "$p")"
		done
	done
	row "run busybox true, every field" "$(median <"$work/f.krun-oci")" ms crun "$(median <"$work/f.crun")" 8x
	row "run busybox true, every field" "$(median <"$work/f.krun-oci")" ms runc "$(median <"$work/f.runc")"
}
