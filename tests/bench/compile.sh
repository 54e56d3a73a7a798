# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # names that run sets
# The row of compiling, sourced by tests/bench/run: some of the library's own sources, by make and gcc in one guest, on its root and on a
# tmpfs, in turns. The compiler and the system's headers are on the root in both. A tree on the root is one that the guest has not looked
# at before; one on the tmpfs has just been copied there.

# What runs in the guest; prints the place and the milliseconds of each compilation.
compile_guest() {
	cat <<-'END'
		one() { # root|tmpfs ROUND
			local a d=/c/$2
			if [ "$1" = tmpfs ]; then
				d=/dev/shm/c
				cp -r /c/model "$d"
			fi
			a=$(date +%s%N)
			make -s -j2 -C "$d/obj" -f ../Makefile
			# the first warms the compiler up
			[ "$2" = 0 ] || echo "$1 $((($(date +%s%N) - a) / 1000000))"
			sha256sum <"$d/obj/out.so" >"/c/sum.$1"
			[ "$1" = root ] || rm -r "$d"
		}
		for i in $(seq 0 "$1"); do
			order="root tmpfs"
			[ $((i % 2)) = 0 ] || order="tmpfs root"
			for where in $order; do one "$where" "$i"; done
			cmp /c/sum.root /c/sum.tmpfs
		done
	END
}

# One line a rule: a here-document has no tabs to give.
compile_makefile() {
	cat <<-'END'
		SRC := $(wildcard ../src/util/*.c)
		OBJ := $(patsubst ../src/%.c,%.o,$(SRC))
		CC := gcc -std=gnu11 -D_GNU_SOURCE -O2 -g -fPIC -MMD -ffile-prefix-map=$(CURDIR)=. -I../src -I../src/include
		out.so: $(OBJ); gcc -shared -o $@ $(sort $^)
		$(OBJ): %.o: ../src/%.c; @mkdir -p $(@D) && $(CC) -c -o $@ $<
		-include $(OBJ:.o=.d)
	END
}

bench_compile() {
	local i c=$work/compile/rootfs/c rounds=$((runs < 5 ? runs : 5))
	# BENCH_DAX=on: with a DAX window
	"$top/tests/bundles/make" devel "$work/compile" --args "[\"bash\",\"-e\",\"/c/run\",\"$rounds\"]" \
		--set ".annotations[\"krun-oci.virtiofs.dax\"]=\"${BENCH_DAX:-off}\"" >/dev/null
	mkdir -p "$c/model/obj"
	cp -r "$top/libvmm" "$c/model/src"
	find "$c/model/src" -type f ! -name '*.[ch]' -delete
	compile_makefile >"$c/model/Makefile"
	compile_guest >"$c/run"
	for i in $(seq 0 "$rounds"); do cp -r "$c/model" "$c/$i"; done
	krun-oci run -b "$work/compile" "bench-compile-$$" </dev/null >"$work/compile.ms"
	for i in root tmpfs; do
		sed -n "s/^$i //p" "$work/compile.ms" >"$work/c.$i"
		[ "$(wc -l <"$work/c.$i")" = "$rounds" ] || { echo "tests/bench/compile.sh: the guest did not compile $rounds times" >&2; exit 1; }
	done
	row "compile, sources and objects on virtio-fs" "$(median <"$work/c.root")" ms tmpfs "$(median <"$work/c.tmpfs")" 1.25x
	rm -rf "$work/compile"
}
