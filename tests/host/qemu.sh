# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # names that lib.sh sets and reads
# Which QEMU emulates the test host. Sourced by lib.sh.
#
# Up to 8.0, QEMU reads the instructions that it translates without a lock on their page. Where one emulated processor changes
# code while another translates it (a kernel's jump labels do so at every start), the old bytes can stay for ever: the guest, or the
# test host itself, dies of a breakpoint that is in memory no more, about once in a hundred boots of two processors. Debian 12 has
# 7.2, its backports a later one; that is unpacked into the cache and nothing of it is installed. Without it the old one has to do.
qemu_good=8.1

qemu_is_good() { # COMMAND...
	local v
	v=$("$@" --version 2>/dev/null | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
	[ -n "$v" ] && [ "$(printf '%s\n' "$qemu_good" "$v" | sort -V | head -n 1)" = "$qemu_good" ]
}

# Fetches the packages into DIR, with lists of its own: the machine's apt does not learn of the backports. Their signature is
# checked as ever. Mirror and key are those of the machine's own `main`.
fetch_qemu() { # DIR
	local dir=$1 uri suite key options
	read -r uri suite key < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(SIGNED_BY)' 'Created-By: Packages' 'Component: main' |
		awk '$2 !~ /-/ { print; exit }')
	[ -n "${suite:-}" ] || return 1
	[ -e "${key:-}" ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
	mkdir -p "$dir/lists/partial" "$dir/deb"
	echo "deb [signed-by=$key] $uri $suite-backports main" >"$dir/sources.list"
	options=(-qq -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$dir/lists"
		-o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o APT::Sandbox::User=root)
	apt-get "${options[@]}" update || return 1
	(cd "$dir/deb" && apt-get "${options[@]}" download qemu-system-{x86,data,common}) || return 1
	for deb in "$dir"/deb/*.deb; do dpkg-deb -x "$deb" "$dir" || return 1; done
	rm -rf "$dir/lists" "$dir/deb" "$dir/sources.list"
	qemu_is_good "$dir/usr/bin/qemu-system-x86_64"
}

# Sets qemu, the command and its first arguments.
ensure_qemu() {
	local dir=$cache_root/qemu tmp
	qemu=(qemu-system-x86_64)
	! qemu_is_good "${qemu[@]}" || return 0
	if [ ! -d "$dir" ] && [ -z "$(find "$dir.none" -mtime -1 2>/dev/null)" ]; then
		mkdir -p "$cache_root"
		tmp=$(mktemp -d "$cache_root/tmp.XXXXXX")
		if fetch_qemu "$tmp" >"$tmp/log" 2>&1; then
			chmod 755 "$tmp"
			rm -f "$tmp/log"
			publish "$tmp" "$dir"
		else
			say "no later QEMU than $("${qemu[@]}" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p') can be had; a boot in a hundred may fail:"
			sed 's/^/    /' "$tmp/log" | tail -n 5 >&2
			rm -rf "$tmp"
			: >"$dir.none"
		fi
	fi
	# its modules are looked for where the packages would have put them, so it must be told; the BIOS is the installed one's
	[ ! -d "$dir" ] || qemu=(env "QEMU_MODULE_DIR=$dir/usr/lib/x86_64-linux-gnu/qemu" "$dir/usr/bin/qemu-system-x86_64"
		-L "$dir/usr/share/qemu" -L /usr/share/seabios -L /usr/share/qemu)
}
