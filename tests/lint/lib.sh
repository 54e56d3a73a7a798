# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2119,SC2120 # read by who sources this; arguments that may be missing
# What the lints share. Sourced first: goes to the top of the tree.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
lint=$(basename "$0")
declare -i bad=0

# All files of the project: what git tracks or would, or everything in an unpacked tarball.
files() { # [GREP_PATTERN]
	local f
	if [ -e .git ]; then
		git ls-files -co --exclude-standard
	else
		find . -type f ! -path './_*' ! -path './build*/*' ! -name '*.o' ! -name '*.a' ! -name '*.log' ! -name '*.trs' \
			! -path './autom4te.cache/*' ! -path '*/.deps/*' ! -name configure ! -name Makefile.in ! -name aclocal.m4 \
			! -name 'config.*' ! -name .commit | sed 's,^\./,,'
	fi | grep -E -- "${1:-.}" | sort | while IFS= read -r f; do
		[ ! -f "$f" ] || printf '%s\n' "$f"
	done || true
}

complain() { # TEXT...
	printf '%s: %s\n' "$lint" "$*"
	bad=1
}

skip() {
	printf '%s: skipped: %s\n' "$lint" "$*"
	exit 77
}

# Takes complaints from stdin, a line each.
complain_lines() {
	local line
	while IFS= read -r line; do complain "$line"; done
}

# Runs the rest of the lint on a wrong example too: a check that cannot fail is none.
must_complain() { # WHAT OUTPUT
	[ -n "$2" ] || complain "does not notice $1"
}
