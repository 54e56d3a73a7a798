#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The validation programs of opencontainers/runtime-tools by krun-oci, and by crun and runc in the same run: what one of those passes,
# krun-oci must, program by program and point by point. RUNTIME_TOOLS is a checkout of it, built (docs/soak.md says how); PROGRAMS
# names some of them (all but those of cgroups v1); LOGS is a directory that gets what each printed.
# timeout: 7200
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
from=${RUNTIME_TOOLS:-}
[ -n "$from" ] || skip "RUNTIME_TOOLS names no checkout of opencontainers/runtime-tools (docs/soak.md)"
[ -x "$from/runtimetest" ] || die "RUNTIME_TOOLS: $from is not built (docs/soak.md)"
for r in crun runc; do command -v "$r" >/dev/null || skip "there is no $r to compare with"; done
logs=${LOGS:-$work/logs}
mkdir -p "$work/tmp" "$logs"
# a root of another user than this one is reached through it
chmod 755 "$work" "$work/tmp"

# Not for us: a created container can be deleted, and a start whose poststart hook fails is a failed one; clients and the
# specification ask for both.
contradict='delete poststart_fail'

# What a VM cannot do, or must not, as docs/soak.md says: points, or what the create has to say where it refuses.
differs() { # PROGRAM
	case $1 in
	linux_ns_itype) echo 'ok 3 - inherit namespace mnt without type' ;;
	linux_ns_path) printf 'ok %s\n' '2 - set mnt namespace by path' '4 - set pid namespace by path' ;;
	linux_uid_mappings) printf 'ok %s\n' '308 - /proc/self/uid_map has expected mapping {0 1000 2000}' '310 - /proc/self/gid_map has expected mapping {0 1000 3000}' ;;
	mounts) echo 'refused: shared propagation is not supported' ;;
	esac
}

# A program's verdict from what it printed: it ended well, all the points that it planned are there, and none failed; a point that it
# excuses itself counts as none.
verdict() { # LOG
	awk '
		/^1\.\.[0-9]+/ { plan = substr($0, 4) + 0; planned = 1 }
		/^(not )?ok / { seen++ }
		/^not ok / && !/# *([T]ODO|SKIP)/ { bad++ }
		/^exit status / { rc = $3 }
		END { print (rc == 0 && planned && seen == plan && !bad) ? (plan ? "passes" : "no points") : "fails" }' "$1"
}

# A container without a mount namespace of its own leaves its mounts on the host (not ours).
clear_tmp() {
	local m
	while read -r m; do
		umount -l "$m"
	done < <(awk -v d="$work/tmp/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
	find "$work/tmp" -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system {} + 2>/dev/null || true
}

try() { # RUNTIME PROGRAM
	local log=$logs/$2.$1 rc=0
	(cd "$from" && TMPDIR=$work/tmp RUNTIME=$1 timeout 300 "./validation/$2/$2.t") >"$log" 2>&1 </dev/null || rc=$?
	echo "exit status $rc" >>"$log"
	for c in $("$1" list -q 2>/dev/null); do "$1" delete --force "$c" >/dev/null 2>&1 || true; done
	clear_tmp
	verdict "$log"
}

# The points that we fail and one of the others passes.
only_ours() { # PROGRAM
	sed -n 's/^not \(ok .*\)/\1/p' "$logs/$1.krun-oci" | grep -v '# *\([T]ODO\|SKIP\)' >"$work/failed" || true
	[ ! -s "$work/failed" ] || { grep -hxFf "$work/failed" "$logs/$1.crun" "$logs/$1.runc" || true; } | sort -u
}

names=()
for p in "$from"/validation/*/*.t; do
	p=$(basename "$p" .t)
	case $p in linux_cgroups_*) [ -n "${PROGRAMS:-}" ] || continue ;; esac
	case " ${PROGRAMS:-$p} " in *" $p "*) names+=("$p") ;; esac
done
[ ${#names[@]} -gt 0 ] || die "RUNTIME_TOOLS has no program called '${PROGRAMS:-}'"
say "$(printf '%-32s %-9s %-9s %s' program crun runc krun-oci)"
bad=()
for p in "${names[@]}"; do
	crun=$(try crun "$p")
	runc=$(try runc "$p")
	ours=$(try krun-oci "$p")
	say "$(printf '%-32s %-9s %-9s %s' "$p" "$crun" "$runc" "$ours")"
	case " $contradict " in *" $p "*) continue ;; esac
	points=$(only_ours "$p")
	known=$(differs "$p")
	if [ -n "$points" ]; then
		points=$(grep -vxFf <(echo "${known:-none}") <<<"$points" || true)
		[ -n "$points" ] || continue
	elif [[ $known == 'refused: '* ]]; then
		[ "$ours" = fails ] || die "$p passes: it is no difference any more"
		if ! grep -q '^ok ' "$logs/$p.krun-oci" && grep -qF -- "${known#refused: }" "$logs/$p.krun-oci"; then continue; fi
	fi
	if [ -n "$points" ] || { [ "$ours" != passes ] && [[ "$crun $runc" == *passes* ]]; }; then
		bad+=("$p")
		[ -z "$points" ] || say "$p: only we fail: ${points//$'\n'/; }"
		tail -n 40 "$logs/$p.krun-oci" | sed "s/^/# $p: /"
	fi
done
[ ${#bad[@]} = 0 ] || die "only we fail: ${bad[*]}"
ok "${#names[@]} programs: none that only we fail"
done_testing
