#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs that people run, on the root of a Debian container: what they make must be right by their own checks, and the host must see
# the same. Small sizes; the soak run takes those of the FS_* variables below. FS_APPS picks parts by name.
# timeout: 1200
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

caps='["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_DAC_READ_SEARCH","CAP_FOWNER","CAP_FSETID","CAP_SETGID","CAP_SETUID","CAP_SETFCAP","CAP_SYS_CHROOT","CAP_MKNOD","CAP_KILL","CAP_SYS_RESOURCE","CAP_AUDIT_WRITE"]'
bundle b devel --set ".process.capabilities |= map_values($caps) | .annotations[\"krun.ram_mib\"]=\"1024\""
root=$work/b/rootfs

# What runs in the guest: a shell script for each part, which says "fine" as its last line and writes what the host compares to /w.
# The host makes what some begin with (NAME.host), and looks at what they made, on the same root by chroot(8).
mkdir "$root/w" "$root/parts"
# for the programs of chroot(8): git does not run without them
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/urandom" c 1 9
cp -r "$top/libvmm" "$top/init" "$root/parts/" 2>/dev/null
find "$root/parts" -type f ! -name '*.[ch]' -delete

# Everything of a tree that a file system keeps, a line each.
cat >"$root/parts/manifest" <<'END'
cd "$1"
find . -printf '%p %y %m %U:%G %n %T@ %l ' \( -type f -printf '%s\n' -o -printf '\n' \) | LC_ALL=C sort
find . -type f -exec md5sum {} + | LC_ALL=C sort
getfattr -R -P -h -d -m - . 2>/dev/null
END

# The packages of /srv/packages, whose maintainer scripts add users, alternatives and diversions.
cat >"$root/parts/apt" <<'END'
echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --no-install-recommends install $FS_PACKAGES </dev/null
test -z "$(dpkg --audit)"
for p in $FS_PACKAGES; do
	test "$(dpkg-query -W -f '${Status}' "$p")" = "install ok installed"
	# documents are left out of the root by its dpkg.cfg
	dpkg --verify "$p" | grep -v ' /usr/share/\(doc\|man\|locale\|lintian\)/' && exit 1
done
less --version | head -n 1
echo fine
END

# A repository of many files, which the host makes; cloned through a pack and by hard links, status must find none changed, then the one
# that is, and commit it.
cat >"$root/parts/git.host" <<'END'
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=gc.auto GIT_CONFIG_VALUE_0=0 # it would pack while the clone reads
cd /w
git init -q -b main from
git -C from config user.name Test
git -C from config user.email test@localhost
for ((i = 0; i < FS_GIT; i++)); do
	d=from/d$((i / 100))/e$((i % 7))
	[ -d $d ] || mkdir -p $d
	echo "file $i" >$d/f$i
done
chmod 755 from/d0/e0/f0
ln -s d0/e0/f0 from/link
git -C from add .
git -C from commit -q -m first
END
cat >"$root/parts/git" <<'END'
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=gc.auto GIT_CONFIG_VALUE_0=0
export HOME=/w GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@localhost GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@localhost
cd /w
git clone -q --no-local from packed
git clone -q from linked
for c in packed linked; do
	test -z "$(git -C $c status --porcelain)"
	git -C $c fsck --strict --no-progress
	test "$(git -C $c ls-files | wc -l)" = $((FS_GIT + 1))
done
echo more >>packed/d0/e0/f0
test "$(git -C packed status --porcelain)" = " M d0/e0/f0"
git -C packed commit -q -a -m second
test -z "$(git -C packed status --porcelain)"
git -C linked pull -q ../packed main
test "$(cat linked/d0/e0/f0)" = "file 0
more"
diff -r --no-dereference --exclude=.git packed linked
echo fine
END

# Many files with owners, modes, times, attributes, access lists, holes and hard links, which the host makes: to an archive and back.
cat >"$root/parts/tar.host" <<'END'
mkdir -p /w/tar/in /w/tar/out
cd /w/tar/in
perl -e '
	use POSIX "mkfifo";
	for my $i (0 .. $ENV{FS_TAR} - 1) {
		my ($d, $k) = ("d" . int($i / 200), $i % 20);
		my $f = "$d/f$i";
		mkdir $d or die "$d: $!" if !($i % 200);
		if ($k == 0) { symlink "../target-$i", $f or die "$f: $!" }
		elsif ($k == 1) { link "$d/f" . ($i - 1), $f or die "$f: $!" } # of a symlink
		elsif ($k == 2) { mkfifo $f, 0644 or die "$f: $!" }
		else { open my $h, ">", $f or die "$f: $!"; print $h "content of $i\n"; close $h or die "$f: $!" }
		if ($k == 9 || $k == 19) { link $f, "$f.hard" or die "$f: $!" }
	}'
# by the hundred, so that it takes no process for each file
find . -type f -name '*3' -exec chown 1000:2000 {} +
find . -name '*4' -exec chown -h 70000:5 {} +
find . -type f -name '*5' -exec chmod 4711 {} +
find . -type f -name '*6' -exec chmod 2070 {} +
find . -type f -name '*7' -exec setfattr -n user.one -v value {} + -exec setfattr -n user.two -v 0x00ff00 {} +
find . -type f -name '*8' -exec setfacl -m u:1000:rw,g:2000:- {} +
find . -type f -name '*93' -exec touch -d '1999-12-31 23:59:59.123456789' {} +
setfacl -d -m u:1000:rx d0
chmod 1777 d0
truncate -s 3M sparse
echo end >>sparse
END
cat >"$root/parts/tar" <<'END'
cd /w/tar/in
tar --xattrs --xattrs-include='*' --acls --sparse -cf ../archive .
tar --xattrs --xattrs-include='*' --acls --numeric-owner -xpf ../archive -C ../out
sh /parts/manifest /w/tar/out >/w/tar/out.list
wc -l </w/tar/out.list
test "$(stat -c %b ../out/sparse)" -lt 1000
echo fine
END

# Sources of the VMM, compiled on the root and on a tmpfs: both must be the same, byte for byte.
cat >"$root/parts/make" <<'END'
cat >/parts/Makefile <<'MAKE'
SRC := $(foreach d,$(DIRS),$(wildcard /parts/$(d)/*.c))
OBJ := $(SRC:/parts/%.c=%.o)
out.a: $(OBJ)
	ar rcD $@ $^
$(OBJ): %.o: /parts/%.c
	@mkdir -p $(@D)
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -g -MMD -ffile-prefix-map=$(CURDIR)=. -I/parts/libvmm -I/parts/libvmm/include -I/parts/libvmm/arch/x86_64 -I/parts -c -o $@ $<
-include $(OBJ:.o=.d)
MAKE
for d in /w/make /dev/shm/make; do
	mkdir $d
	make -s -j2 -C $d -f /parts/Makefile DIRS="$FS_MAKE"
	(cd $d; find . -name '*.o' -exec sha256sum {} + | sort; sha256sum out.a) >$d.sums
done
test "$(wc -l </w/make.sums)" -gt 5
diff /w/make.sums /dev/shm/make.sums
# nothing is out of date, and what was touched is alone
make -q -C /w/make -f /parts/Makefile DIRS="$FS_MAKE"
touch /parts/libvmm/util/log.c
test "$(make -n -C /w/make -f /parts/Makefile DIRS="$FS_MAKE" | grep -c 'gcc ')" = 1
echo fine
END

# With the journal that renames and unlinks, and with the one that maps shared memory; fsync() at each transaction. Two writers at once.
cat >"$root/parts/sqlite" <<'END'
mkdir /w/sqlite
cd /w/sqlite
for mode in delete wal; do
	sqlite3 $mode.db "PRAGMA journal_mode=$mode; CREATE TABLE t(id INTEGER PRIMARY KEY, who INT, v TEXT); CREATE INDEX i ON t(v);" >/dev/null
	for who in 1 2; do
		awk -v who=$who -v n=$FS_SQLITE 'BEGIN { print ".timeout 60000"; print "PRAGMA synchronous=FULL;"
			for (i = 0; i < n; i++) printf "BEGIN IMMEDIATE; INSERT INTO t(who,v) VALUES(%d,hex(randomblob(100))); UPDATE t SET v=hex(randomblob(50)) WHERE id=%d; COMMIT;\n", who, i }' |
			sqlite3 $mode.db >$mode.$who.out 2>&1 &
	done
	wait
	cat $mode.?.out | sed '/^$/d' >$mode.errors
	test ! -s $mode.errors || { cat $mode.errors; exit 1; }
	test "$(sqlite3 $mode.db 'SELECT count(*) FROM t')" = $((2 * FS_SQLITE))
	test "$(sqlite3 $mode.db 'PRAGMA integrity_check')" = ok
done
echo fine
END

# A cluster with checksums of its pages: initdb, pgbench, and its invariant, that all balances sum up to the same.
cat >"$root/parts/postgres" <<'END'
b=/usr/lib/postgresql/15/bin
install -d -o postgres -g postgres -m 700 /w/pg
install -d -o postgres -g postgres /run/postgresql
cat >/parts/pg-load <<'LOAD'
set -e
$B/initdb -k -D /w/pg -A trust -U postgres --no-instructions >/w/pg.log
$B/pg_ctl -s -w -t 300 -D /w/pg -o "-c listen_addresses= -c fsync=on" -l /w/pg.server start
$B/pgbench -q -i -s $FS_PG_SCALE postgres 2>/dev/null
$B/pgbench -c 2 -j 2 -t $FS_PG postgres | grep -E 'actually processed|failed'
psql -At -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers)
	AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)
	AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
	(SELECT count(*) FROM pgbench_history)" postgres
# the way of a crash: recovery from the log
$B/pg_ctl -s -w -D /w/pg -m immediate stop
$B/pg_ctl -s -w -t 300 -D /w/pg -o "-c listen_addresses=" -l /w/pg.server start
psql -At -c "SELECT count(*) FROM pgbench_history" postgres
$B/pg_ctl -s -w -t 300 -D /w/pg -m fast stop
$B/pg_checksums -c -D /w/pg | grep 'Bad checksums'
LOAD
touch /w/pg.log /w/pg.server
chown postgres /w/pg.log /w/pg.server
B=$b setpriv --reuid postgres --regid postgres --init-groups sh /parts/pg-load >/w/pg.out || { cat /w/pg.server /w/pg.out; exit 1; }
cat /w/pg.out
grep -qx "t|$((2 * FS_PG))" /w/pg.out
grep -qx "$((2 * FS_PG))" /w/pg.out
grep -q 'Bad checksums: *0$' /w/pg.out
echo fine
END

# Each way to read and write; what is read is checked against what was written.
cat >"$root/parts/fio" <<'END'
mkdir /w/fio
cd /w/fio
for job in "psync --rw=randrw --bsrange=512-64k" "psync --rw=write --bs=256k --fsync=16" "mmap --rw=randwrite --bs=4k" \
	"psync --rw=randwrite --bs=4k --direct=1" "libaio --rw=randrw --bs=16k --iodepth=8 --direct=1" "pvsync --rw=randwrite --bsrange=1k-128k --fallocate=none"; do
	fio --minimal --name=j --filename=f --size=${FS_FIO}M --verify=crc32c --verify_fatal=1 --do_verify=1 --randrepeat=0 --end_fsync=1 --ioengine=$job >out 2>err ||
		{ echo "fio $job"; cat out err; exit 1; }
	test ! -s err || { echo "fio $job"; cat err; exit 1; }
	rm f
done
echo fine
END

# The file system stressors, which check what they do with --verify.
cat >"$root/parts/stress" <<'END'
mkdir /w/stress
cd /w/stress
for s in $FS_STRESS; do
	rc=0
	stress-ng --$s 1 --timeout ${FS_STRESS_S}s --hdd-bytes 16M --iomix-bytes 16M --readahead-bytes 16M --seek-size 16M --verify --temp-path /w/stress >out 2>&1 || rc=$?
	# 3: not on this system, 4: not here (a right is missing): told
	grep -q "unrecognized option" out && rc=3
	case $rc in
	0) ;;
	3 | 4) echo "not run: $s" ;;
	*) echo "$s: status $rc"; cat out; exit 1 ;;
	esac
	if grep -E 'fail:|verif.* fail' out; then exit 1; fi
done
test -z "$(ls -A /w/stress | grep -vx out)" || { ls -A /w/stress; exit 1; }
echo fine
END

stressors="access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup fallocate fanotify fcntl fiemap file-ioctl filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix lease link locka lockf lockofd metamix mknod open readahead rename seek symlink sync-file touch unlink utime verity xattr"
export FS_PACKAGES=${FS_PACKAGES:-less cron busybox-static} FS_GIT=${FS_GIT:-60} FS_TAR=${FS_TAR:-100} FS_MAKE=${FS_MAKE:-libvmm/util}
export FS_SQLITE=${FS_SQLITE:-10} FS_PG=${FS_PG:-10} FS_PG_SCALE=${FS_PG_SCALE:-1} FS_FIO=${FS_FIO:-1}
export FS_STRESS=${FS_STRESS:-flock link rename xattr} FS_STRESS_S=${FS_STRESS_S:-1}
[ "$FS_STRESS" != all ] || FS_STRESS=$stressors

# The host's half of a part, where it has one: on the same root, by chroot(8).
on_host() { # SCRIPT
	run chroot "$root" bash -e "/parts/$1"
	[ "$rc" = 0 ] || die "$1 on the host: status $rc"
}

part() { # NAME
	local begin env
	[ ! -e "$root/parts/$1.host" ] || on_host "$1.host"
	begin=$EPOCHREALTIME
	env=$(env | grep '^FS_' | jq -Rn '[inputs]')
	edit b ".process.args=[\"bash\",\"-e\",\"/parts/$1\"] | .process.env=[\"PATH=/usr/sbin:/usr/bin:/sbin:/bin\",\"LC_ALL=C\"]+$env"
	run limited "${FS_LIMIT:-600}" "$id" krun-oci run --bundle "$work/b" "$id"
	if [ "$rc" != 0 ] || [ "$(tail -n 1 "$work/out")" != fine ]; then die "$1: status $rc"; fi
	sed -n '/^not run: /p' "$work/out" | sed 's/^/# /'
	ok "$1, $(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", b - a }') s"
}

# Not PostgreSQL: initdb alone takes minutes in the test host.
for p in ${FS_APPS:-apt git tar make sqlite fio stress}; do
	part "$p"
	case $p in
	apt)
		run chroot "$root" dpkg --audit
		if [ "$rc" != 0 ] || [ -s "$work/out" ]; then die "the host's dpkg finds a half-installed package"; fi
		;;
	git) [ -z "$(chroot "$root" git -c safe.directory='*' -C /w/linked status --porcelain 2>&1)" ] || die "the host's git finds changes" ;;
	tar)
		chroot "$root" sh /parts/manifest /w/tar/in >"$work/in.list"
		chroot "$root" sh /parts/manifest /w/tar/out >"$work/out.list"
		diff "$work/in.list" "$root/w/tar/out.list" >"$work/out" || die "what the guest unpacked is not what the host had made"
		diff "$work/in.list" "$work/out.list" >"$work/out" || die "the host sees another tree than the guest"
		;;
	sqlite)
		for m in delete wal; do
			[ "$(chroot "$root" sqlite3 "/w/sqlite/$m.db" 'PRAGMA integrity_check')" = ok ] || die "the host's sqlite finds $m.db broken"
		done
		;;
	postgres) chroot "$root" /usr/lib/postgresql/15/bin/pg_checksums -c -D /w/pg >"$work/out" 2>&1 || die "the host's PostgreSQL finds bad pages" ;;
	esac
	rm -rf "$root/w"
	mkdir "$root/w"
done
done_testing
