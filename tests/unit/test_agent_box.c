// SPDX-License-Identifier: Apache-2.0
/* What the agent applies to a container: users, capabilities, limits, mounts, devices, namespaces,
 * seccomp; and streams that come before their time. */
#include "agent_host.h"
#include "init/child.h"

#include <sys/ioctl.h>
#include <sys/xattr.h>

static char out[65536];

static void begin(struct box *b)
{
	if (h_pid > 0)
		(void)h_stop_agent();
	if (!h_start_agent())
		printf("# the agent does not answer: %s\n", strerror(errno));
	box_begin(b, BLOB_CREATE);
}

static void identity(void)
{
	static const uint32_t gids[] = { 7, 8 };
	struct box b;

	begin(&b);
	b.p.uid = 1000;
	b.p.gid = 1001;
	b.p.flags = BLOB_P_UMASK | BLOB_P_NO_NEW_PRIVS | BLOB_P_OOM;
	b.p.umask = 027;
	b.p.oom_score_adj = 500;
	b.c.namespaces = BLOB_NS_UTS;
	blob_put_gids(&b.w, gids, 2);
	blob_put_str(&b.w, BLOB_T_CWD, "/tmp");
	blob_put_str(&b.w, BLOB_T_ENV, "A=b c");
	blob_put_str(&b.w, BLOB_T_HOSTNAME, "box");
	blob_put_str(&b.w, BLOB_T_DOMAINNAME, "dom");
	blob_put_rlimit(&b.w, RLIMIT_NOFILE, 123, 456);
	box_fs(&b, "proc", "/proc", "");
	box_sh(&b,
		"id -u; id -g; id -G; umask; pwd; echo $A; hostname; cat /proc/sys/kernel/domainname "
		"/proc/self/oom_score_adj; ulimit -n; ulimit -Hn; grep NoNewPrivs /proc/self/status; "
		"grep CapEff /proc/self/status; echo $$; echo $HOME; env | wc -l");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out,
		"1000\n1001\n1001 7 8\n0027\n/tmp\nb c\nbox\ndom\n500\n123\n456\n"
		"NoNewPrivs:\t1\nCapEff:\t0000000000000000\n1\n/\n5\n");
}

/* A program that is not PID 1: signals end it, what is left over is reaped, and its code is the
 * container's. */
static void reaper(void)
{
	static const struct {
		const char *script;
		int code;
		const char *out;
	} t[] = { { "echo $$; exit 7", 7, "2\n" }, { "kill -TERM $$; sleep 100", 128 + 15, "" },
		{ "(sh -c 'exit 3' & echo $! >/tmp/p); i=0; while test -e /proc/$(cat /tmp/p) && "
		  "test $i -lt 200; do sleep 0.05; i=$((i + 1)); done; test -e /proc/$(cat /tmp/p) || "
		  "echo reaped",
			0, "reaped\n" },
		{ "kill -TERM 1; echo still", 0, "still\n" } };
	struct box b;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		begin(&b);
		b.p.flags = BLOB_P_REAPER;
		box_fs(&b, "proc", "/proc", "");
		box_sh(&b, t[i].script);
		CHECK_EQ(RUN(&b, out), t[i].code);
		CHECK_STR(out, t[i].out);
	}
	/* what cannot be executed is told as always */
	begin(&b);
	b.p.flags = BLOB_P_REAPER;
	blob_put_str(&b.w, BLOB_T_ARG, "nothing-like-it");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), -ENOENT);
	CHECK_EQ(h_stage, MSG_STAGE_EXEC);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void capabilities(void)
{
	const uint64_t chown_kill = 1u << 0 | 1u << 5;
	struct box b;

	begin(&b);
	b.p.uid = 1000;
	b.p.flags = BLOB_P_CAPS;
	for (int i = 0; i < BLOB_CAPS; i++)
		b.p.caps[i] = chown_kill | 1ULL << 62; /* no such capability: dropped */
	b.p.caps[BLOB_CAP_AMB] = 1u << 5;
	box_fs(&b, "proc", "/proc", "");
	box_sh(&b, "grep Cap /proc/self/status");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out,
		"CapInh:\t0000000000000021\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\n"
		"CapBnd:\t0000000000000021\nCapAmb:\t0000000000000020\n");
	begin(&b);
	b.p.flags = BLOB_P_CAPS;
	b.p.caps[BLOB_CAP_BND] = b.p.caps[BLOB_CAP_PRM] = b.p.caps[BLOB_CAP_EFF] = chown_kill;
	box_fs(&b, "proc", "/proc", "");
	box_sh(&b, "grep -E 'Cap(Eff|Bnd)' /proc/self/status");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "CapEff:\t0000000000000021\nCapBnd:\t0000000000000021\n");
}

static void default_dev(void)
{
	struct stat st;
	struct box b;

	begin(&b);
	box_fs(&b, "proc", "/proc", "");
	box_sh(&b,
		"for d in null zero full random urandom tty; do test -c /dev/$d && echo $d; done; echo x >/dev/null; "
		"head -c 3 /dev/zero | wc -c; for l in fd stdin ptmx; do readlink /dev/$l; done");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out,
		"null\nzero\nfull\nrandom\nurandom\ntty\n3\n/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n");
	/* The image stays as it was. */
	CHECK(stat(T "/root/dev/null", &st) && errno == ENOENT);
}

static void devices(void)
{
	struct blob_device d = {
		.type = S_IFCHR, .major = 1, .minor = 5, .mode = 0640, .uid = 3, .gid = 4
	};
	struct box b;

	begin(&b);
	blob_put_device(&b.w, &d, "/dev/dir/mine");
	d.mode = 0600;
	d.minor = 3;
	blob_put_device(&b.w, &d, "/dev/null"); /* wins over the default one */
	box_sh(&b, "stat -c '%a %u %g %t %T' /dev/dir/mine /dev/null");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "640 3 4 1 5\n600 3 4 1 3\n");
	begin(&b);
	blob_put_device(&b.w, &d, "/etc/node");
	box_sh(&b, "exit 0");
	CHECK_EQ(box_make(&b), -ENOTSUP);
	CHECK(strstr(h_text, "/etc/node") != NULL);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void mounts(void)
{
	struct blob_mount m = { .kind = BLOB_M_FS, .attr_set = K_ATTR_NOEXEC | K_ATTR_NOSUID };
	struct box b;

	begin(&b);
	box_fs(&b, "proc", "/proc", "");
	blob_put_mount(&b.w, &m, "tmpfs", "shm", "/mnt/a//b", "mode=1777,size=65536k");
	m = (struct blob_mount){ .kind = BLOB_M_FS };
	blob_put_mount(&b.w, &m, "tmpfs", "tmpfs", "/run", "");
	m = (struct blob_mount){ .kind = BLOB_M_BIND, .attr_set = K_ATTR_RDONLY };
	blob_put_mount(&b.w, &m, "bind", "/run/secrets", "/run/secrets",
		""); /* though the tmpfs hides it */
	blob_put_mount(&b.w, &m, "bind", "/etc/passwd", "/run/file", "");
	m = (struct blob_mount){ .kind = BLOB_M_FS, .flags = BLOB_M_COPYUP };
	blob_put_mount(&b.w, &m, "tmpfs", "tmpfs", "/etc", "");
	b.c.flags = BLOB_C_ROOT_RO;
	box_sh(&b,
		"grep /mnt/a/b /proc/mounts; stat -c %a /mnt/a/b; cat /run/secrets/key; touch /run/secrets/x 2>&1; "
		"touch /x 2>&1; cat /run/file; echo changed >/etc/passwd && cat /etc/passwd; "
		"exit 0");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK(strstr(out, "shm /mnt/a/b tmpfs rw,nosuid,noexec,relatime,size=65536k") == out);
	CHECK(strstr(out, "\n1777\nsecret\n") != NULL);
	CHECK(strstr(out, "touch: /run/secrets/x: Read-only file system") != NULL);
	CHECK(strstr(out, "touch: /x: Read-only file system") != NULL);
	CHECK(strstr(out, "root:x:0:0::/:/bin/sh\nchanged\n") != NULL);
	(void)rmdir(T "/root/mnt/a/b");
	(void)rmdir(T "/root/mnt/a");
}

static void links_stay_inside(void)
{
	struct box b;

	(void)symlink("../../../../../../mnt", T "/root/tmp/up");
	begin(&b);
	box_fs(&b, "proc", "/proc", "");
	box_fs(&b, "tmpfs", "/tmp/up/deep", "");
	box_sh(&b, "grep -c ' /mnt/deep tmpfs' /proc/mounts");
	CHECK_EQ(RUN(&b, out), 0);
	(void)unlink(T "/root/tmp/up");
	(void)rmdir(T "/root/mnt/deep");
}

static void nothing_above_root(void)
{
	struct box b;

	begin(&b);
	box_fs(&b, "proc", "/proc", "");
	box_sh(&b,
		"ls -d /../../agent.sock /../r /../c 2>/dev/null; cd /..; pwd; test -e /bin/busybox && echo root");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "/\nroot\n");
}

static void masks(void)
{
	struct box b;

	begin(&b);
	box_fs(&b, "proc", "/proc", "");
	blob_put_str(&b.w, BLOB_T_MASKED, "/etc/passwd");
	blob_put_str(&b.w, BLOB_T_MASKED, "/run/secrets");
	blob_put_str(&b.w, BLOB_T_MASKED, "/proc/acpi");
	blob_put_str(&b.w, BLOB_T_MASKED, "/proc/bus");
	blob_put_str(&b.w, BLOB_T_MASKED, "/no/such");
	blob_put_str(&b.w, BLOB_T_READONLY, "/proc/sys");
	blob_put_str(&b.w, BLOB_T_READONLY, "/tmp");
	box_sh(&b,
		"wc -c </etc/passwd; ls -A /run/secrets /proc/bus | grep -c key; touch /tmp/y 2>&1; "
		"grep -c ' /proc/sys proc ro' /proc/mounts");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK(!strncmp(out, "0\n0\n", 4));
	CHECK(strstr(out, "Read-only") && strstr(out, "\n1\n"));
}

static void sysctl_and_bad_config(void)
{
	struct box b;

	begin(&b);
	b.c.namespaces = BLOB_NS_IPC;
	box_fs(&b, "proc", "/proc", "");
	blob_put_pair(&b.w, BLOB_T_SYSCTL, "kernel.shmmni", "1234");
	box_sh(&b, "cat /proc/sys/kernel/shmmni");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "1234\n");
	begin(&b);
	blob_put_pair(&b.w, BLOB_T_SYSCTL, "kernel.nonsense", "1");
	box_sh(&b, "exit 0");
	CHECK_EQ(box_make(&b), -ENOENT);
	CHECK_EQ(h_stage, MSG_STAGE_SETUP);
	CHECK(strstr(h_text, "kernel.nonsense") != NULL);
	box_end(&b);
	begin(&b);
	box_fs(&b, "tmpfs", "/tmp", "size=potato");
	box_sh(&b, "exit 0");
	CHECK(box_make(&b) < 0);
	CHECK(strstr(h_text, "size") != NULL);
	box_end(&b);
	/* After a failed create the next one may succeed. */
	box_begin(&b, BLOB_CREATE);
	box_sh(&b, "exit 4");
	CHECK_EQ(RUN(&b, out), 4);
}

static void optional_mount(void)
{
	struct blob_mount m = { .kind = BLOB_M_FS, .flags = BLOB_M_OPTIONAL };
	struct box b;

	begin(&b);
	blob_put_mount(&b.w, &m, "nosuchfs", "x", "/mnt", "");
	box_sh(&b, "exit 0");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK(strstr(h_log, "nosuchfs") != NULL);
}

static void time_namespace(void)
{
	static const char script[] =
		"awk '$2==\"864000\"{print $1}' /proc/self/timens_offsets; awk '{print ($1>864000)}' /proc/uptime";
	struct box b, e;

	begin(&b);
	b.c.namespaces = BLOB_NS_TIME;
	blob_put_timeoff(&b.w, 7, 864000, 0);
	box_fs(&b, "proc", "/proc", "");
	box_sh(&b, script);
	CHECK_EQ(box_make(&b), 0);
	/* before the start, too, when the container's process is not in its namespace yet */
	box_begin(&e, BLOB_EXEC);
	box_sh(&e, script);
	CHECK_EQ(box_send(&e, 2, 0, h_ctrl), 0);
	CHECK(h_slurp(e.fd[1], out, sizeof(out)) > 0);
	CHECK(h_wait_exit(2));
	CHECK_STR(out, "boottime\n1\n");
	box_end(&e);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK(h_slurp(b.fd[1], out, sizeof(out)) > 0);
	CHECK_STR(out, "boottime\n1\n");
	CHECK(h_wait_exit(1));
	box_end(&b);
	CHECK(h_stop_agent());
}

/* A filter that makes uname() fail with 99, with and without no_new_privs, as root and as a user
 * without rights. */
static void seccomp(void)
{
	const struct {
		uint16_t code;
		uint8_t jt, jf;
		uint32_t k;
	} prog[] = { { 0x20, 0, 0, 0 }, { 0x15, 0, 1, SYS_uname }, { 0x06, 0, 0, 0x00050000 | 99 },
		{ 0x06, 0, 0, 0x7fff0000 } };
	struct box b;

	for (int i = 0; i < 4; i++) {
		begin(&b);
		b.p.uid = i & 1 ? 1000 : 0;
		b.p.flags = i & 2 ? BLOB_P_NO_NEW_PRIVS | BLOB_P_CAPS : BLOB_P_CAPS;
		box_fs(&b, "proc", "/proc", "");
		blob_put_seccomp(&b.w, 0, prog, 4);
		box_sh(&b, "hostname; grep Seccomp: /proc/self/status");
		CHECK_EQ(RUN(&b, out), 0);
		CHECK_STR(out, "?\nSeccomp:\t2\n");
	}
}

/* Mount points below links of the image to what is not there; the other end is made, inside. */
static void dangling_links(void)
{
	struct blob_mount m = { .kind = BLOB_M_BIND };
	struct stat st;
	struct box b;

	CHECK(!symlink("../run/systemd/conf", T "/root/etc/resolv.conf"));
	CHECK(!symlink("/../../opt/../srv", T "/root/etc/up"));
	CHECK(!symlink("loop", T "/root/etc/loop"));
	CHECK(!symlink("self/x", T "/root/etc/self"));
	begin(&b);
	box_fs(&b, "tmpfs", "/run", "");
	blob_put_mount(&b.w, &m, "", "/etc/passwd", "/etc/resolv.conf", "");
	box_fs(&b, "tmpfs", "/etc/up/deep", "");
	box_sh(&b,
		"cat /etc/resolv.conf; head -c 4 /run/systemd/conf; echo; "
		"awk '$2 ~ \"^/(srv|run)\" { print $2 }' /proc/self/mounts");
	box_fs(&b, "proc", "/proc", "");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "root:x:0:0::/:/bin/sh\nroot\n/run\n/run/systemd/conf\n/srv/deep\n");
	CHECK(stat(T "/srv", &st) && stat(T "/root/run/systemd", &st));
	for (int i = 0; i < 2; i++) {
		begin(&b);
		box_fs(&b, "tmpfs", i ? "/etc/loop/x" : "/etc/self/x", "");
		box_sh(&b, "exit 0");
		CHECK_EQ(box_make(&b), -ELOOP);
		CHECK(strstr(h_text, i ? "/etc/loop/x" : "/etc/self/x"));
		box_end(&b);
		CHECK(h_stop_agent());
	}
	for (const char *const *l =
			(const char *const[]){ "resolv.conf", "up", "loop", "self", NULL };
		*l; l++) {
		char path[64];

		(void)snprintf(path, sizeof(path), T "/root/etc/%s", *l);
		CHECK(!unlink(path));
	}
}

/* DHCP's name servers lie over the root's own file, or an empty one; what the config mounts is
 * there instead of them; and a root that cannot have them is a warning. */
static void name_servers(void)
{
	struct blob_mount m = { .kind = BLOB_M_BIND };
	struct stat st;
	struct box b;

	h_write(T "/servers", "nameserver 10.0.0.1\n");
	for (int i = 0; i < 4; i++) {
		if (i == 1)
			h_write(T "/root/etc/resolv.conf", "own\n");
		if (i == 3)
			CHECK(!unlink(T "/root/etc/resolv.conf") &&
				!mkdir(T "/root/etc/resolv.conf", 0755));
		begin(&b);
		if (i == 2)
			blob_put_mount(&b.w, &m, "", "/etc/passwd", "//etc/resolv.conf", "");
		box_sh(&b, "cat /etc/resolv.conf || echo none");
		CHECK_EQ(RUN(&b, out), 0);
		CHECK_STR(out,
			i == 2		? "root:x:0:0::/:/bin/sh\n"
				: i < 2 ? "nameserver 10.0.0.1\n"
					: "none\n");
		CHECK(i == 3 ? !!strstr(h_log, "name servers on: /etc/resolv.conf") : !h_log[0]);
		CHECK(!stat(T "/root/etc/resolv.conf", &st));
		CHECK(i == 3 || st.st_size == (i ? 4 : 0));
	}
	CHECK(!rmdir(T "/root/etc/resolv.conf") && !unlink(T "/servers"));
	begin(&b);
	box_sh(&b, "cat /etc/resolv.conf || echo none");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "none\n");
	CHECK(stat(T "/root/etc/resolv.conf", &st));
}

/* A tree's copy has its hard links, extended attributes (a file's capabilities), owners and modes.
 */
static void copied_up(void)
{
	/* revision 2: cap_net_raw, permitted and effective */
	static const unsigned char caps[20] = { 1, 0, 0, 2, 0, 0x20 };
	unsigned char seen[32];
	struct stat a, b, c, d;
	struct fail f = { 0 };
	char target[16] = "";
	int from, to;

	CHECK(!mkdir(T "/from", 0755) && !mkdir(T "/to", 0700) && !mkdir(T "/from/sub", 0755));
	CHECK(!chmod(T "/from/sub", 02750));
	h_write(T "/from/sub/one", "text");
	CHECK(!link(T "/from/sub/one", T "/from/two") && !link(T "/from/two", T "/from/sub/three"));
	CHECK(!symlink("sub/one", T "/from/sym") && !link(T "/from/sym", T "/from/sub/sym2"));
	h_write(T "/from/ping", "x");
	CHECK(!chown(T "/from/ping", 5, 6) && !chmod(T "/from/ping", 06755));
	CHECK(!setxattr(T "/from/ping", "security.capability", caps, sizeof(caps), 0));
	CHECK(!setxattr(T "/from/sub", "trusted.dir", "of dir", 6, 0));
	CHECK(!mkfifo(T "/from/pipe", 0600));
	from = open(T "/from", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = open(T "/to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_EQ(copyup(from, to, &f), 0);
	CHECK(!stat(T "/to/sub/one", &a) && !stat(T "/to/two", &b) && !stat(T "/to/sub/three", &c));
	CHECK(a.st_ino == b.st_ino && b.st_ino == c.st_ino && a.st_nlink == 3 && a.st_size == 4);
	CHECK(stat(T "/from/two", &d) || d.st_ino != a.st_ino);
	CHECK(!lstat(T "/to/sym", &a) && !lstat(T "/to/sub/sym2", &b));
	CHECK(S_ISLNK(a.st_mode) && a.st_ino == b.st_ino);
	CHECK_EQ(readlink(T "/to/sym", target, sizeof(target)), 7);
	CHECK(!stat(T "/to/ping", &a) && a.st_uid == 5 && a.st_gid == 6);
	CHECK_EQ(a.st_mode & 07777, 06755);
	CHECK_EQ(getxattr(T "/to/ping", "security.capability", seen, sizeof(seen)), 20);
	CHECK(!memcmp(seen, caps, sizeof(caps)));
	CHECK_EQ(getxattr(T "/to/sub", "trusted.dir", seen, sizeof(seen)), 6);
	CHECK(!stat(T "/to/sub", &a) && (a.st_mode & 07777) == 02750);
	/* the mount itself is as its options say */
	CHECK(!stat(T "/to", &a) && (a.st_mode & 07777) == 0700);
	CHECK(stat(T "/to/pipe", &a) && errno == ENOENT);
	/* what cannot be read is an error, with its number */
	close(from);
	from = open(T "/from", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_EQ(copyup(from, to, &f), -EBADF);
	CHECK(strstr(f.text, "tmpcopyup"));
	close(from);
	close(to);
}

static void cwd_is_made(void)
{
	struct box b;

	begin(&b);
	box_fs(&b, "tmpfs", "/tmp", "");
	blob_put_str(&b.w, BLOB_T_CWD, "/tmp/made/here");
	box_sh(&b, "pwd");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "/tmp/made/here\n");
}

/* A directory that an exec wants is there or not. */
static void cwd_of_exec(void)
{
	struct stat st;
	struct box b, e;

	begin(&b);
	box_sh(&b, "read x; exit 0");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	box_begin(&e, BLOB_EXEC);
	blob_put_str(&e.w, BLOB_T_CWD, "/etc");
	box_sh(&e, "pwd");
	CHECK_EQ(box_send(&e, 2, 0, h_ctrl), 0);
	CHECK(h_slurp(e.fd[1], out, sizeof(out)) > 0);
	CHECK(h_wait_exit(2));
	CHECK_STR(out, "/etc\n");
	box_end(&e);
	box_begin(&e, BLOB_EXEC);
	blob_put_str(&e.w, BLOB_T_CWD, "/tmp/missing/here");
	box_sh(&e, "pwd");
	CHECK_EQ(box_send(&e, 3, 0, h_ctrl), -ENOENT);
	CHECK_EQ(h_stage, MSG_STAGE_SETUP);
	CHECK(strstr(h_text, "cwd") && strstr(h_text, "/tmp/missing/here"));
	CHECK(stat(T "/root/tmp/missing", &st) && errno == ENOENT);
	box_end(&e);
	CHECK(!shutdown(b.fd[0], SHUT_WR));
	CHECK(h_wait_exit(1));
	box_end(&b);
	CHECK(h_stop_agent());
}

/* Streams whose openings come before the control connection's wait for it, a few of them; what they
 * bring is not lost, and a wrong token is found out then. */
static void early_streams(void)
{
	struct proto_open o;
	struct box b;
	int fd[3], wrong, more[AGENT_MAX_EARLY - 4], last;
	uint8_t *buf;
	size_t len;
	struct msg_proc mp = { .proc = PROTO_PROC_INIT };

	CHECK(h_spawn_agent());
	for (uint32_t i = 0; i < 3; i++)
		fd[i] = h_open(PROTO_STREAM, PROTO_PROC_INIT, i);
	CHECK_EQ(send(fd[0], "early\n", 6, 0), 6);
	CHECK(!shutdown(fd[0], SHUT_WR));
	proto_open_fill(&o, PROTO_STREAM, (const uint8_t *)"wrong token here", PROTO_PROC_INIT, 1);
	wrong = h_connect();
	CHECK_EQ(send(wrong, &o, sizeof(o), 0), sizeof(o));
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		more[i] = h_open(PROTO_STREAM, PROTO_PROC_INIT + 1 + (uint32_t)i, 0);
	/* all places are taken: one more is not kept, and those before it are */
	last = h_open(PROTO_STREAM, PROTO_PROC_INIT + 100, 0);
	CHECK(h_closed(last));
	CHECK_EQ(recv(wrong, &o, 1, MSG_DONTWAIT), -1);
	CHECK_EQ(errno, EAGAIN);
	CHECK(h_hello());
	CHECK(h_closed(wrong));
	box_begin(&b, BLOB_CREATE);
	box_arg(&b, "cat");
	blob_put_process(&b.w, &b.p);
	blob_put_container(&b.w, &b.c);
	CHECK_EQ(blob_done(&b.w, &buf, &len), 0);
	memcpy(buf, &mp, sizeof(mp));
	CHECK_EQ(h_ask(MSG_CREATE, buf, len), 0);
	free(buf);
	CHECK_EQ(h_ask_proc(MSG_START, PROTO_PROC_INIT), 0);
	CHECK_EQ(h_slurp(fd[1], out, sizeof(out)), 6);
	CHECK_STR(out, "early\n");
	CHECK(h_wait_exit(PROTO_PROC_INIT));
	CHECK_EQ(h_exit.code, 0);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		close(more[i]);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	close(wrong);
	close(last);
	CHECK(h_stop_agent());
}

static void put_hook(struct box *b, const char *script, unsigned timeout, const char *env)
{
	struct blob_hook h = { .timeout = timeout, .flags = env ? BLOB_HOOK_ENV : 0 };

	blob_put_hook(&b->w, &h, "/bin/sh");
	blob_put_str(&b->w, BLOB_T_HOOK_ARG, "sh");
	blob_put_str(&b->w, BLOB_T_HOOK_ARG, "-c");
	blob_put_str(&b->w, BLOB_T_HOOK_ARG, script);
	if (env)
		blob_put_str(&b->w, BLOB_T_HOOK_ENV, env);
}

/* In the container, as its root, before its process and before that becomes another user. */
static void start_hooks(void)
{
	struct box b;

	begin(&b);
	b.p.uid = 1000;
	box_fs(&b, "proc", "/proc", "");
	blob_put_str(&b.w, BLOB_T_HOOK_STATE, "the state\n");
	put_hook(&b, "cat; id -u; echo $A; pwd; exec >&-; readlink /proc/1/exe", 0, "A=own");
	put_hook(&b, "echo $PATH; (sleep 1000 <&- >&- 2>&- &)", 9, NULL);
	box_sh(&b, "id -u");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "the state\n0\nown\n/\n/bin\n1000\n");
}

static void hook_fails(const char *script, unsigned timeout, const char *text)
{
	struct box b;

	begin(&b);
	put_hook(&b, "exit 0", 0, NULL);
	put_hook(&b, script, timeout, NULL);
	box_sh(&b, "echo ran >/tmp/ran");
	CHECK_EQ(box_make(&b), 0);
	CHECK(h_ask_proc(MSG_START, PROTO_PROC_INIT) < 0);
	CHECK_EQ(h_stage, MSG_STAGE_SETUP);
	CHECK_STR(h_text, text);
	CHECK(access(T "/root/tmp/ran", F_OK));
	box_end(&b);
	CHECK(h_stop_agent());
}

/* Interfaces of the namespace's names, with its addresses. */
static void network_addresses(void)
{
	struct msg_netaddr m[4] = {
		{ .ifindex = 7, .mtu = 1400, .name = "eth0", .mac = { 2, 0, 0, 1, 2, 3 } },
		{ .ifindex = 7, .name = "eth0", .family = MSG_NET_INET6, .prefix = 64 },
		{ .ifindex = 1, .name = "lo", .family = MSG_NET_INET, .prefix = 32 },
		{ .ifindex = 8,
			.name = "eth0.5",
			.family = MSG_NET_INET,
			.prefix = 32,
			.ip = { 10, 1 } },
	};
	struct box b;
	int r;

	begin(&b);
	m[0].family = MSG_NET_INET;
	m[0].prefix = 24;
	memcpy(m[0].ip, (uint8_t[]){ 10, 9, 8, 7 }, 4);
	memcpy(m[1].ip, (uint8_t[]){ 0xfd, 0x77, [15] = 2 }, 16);
	memcpy(m[2].ip, (uint8_t[]){ 192, 0, 2, 9 }, 4);
	CHECK_EQ(h_ask(MSG_NET, m, 0), 0);
	CHECK_EQ(h_ask(MSG_NET, m, sizeof(m[0]) - 1), -EPROTO);
	r = h_ask(MSG_NET, m, sizeof(m));
	CHECK(r == 0 || r == -EOPNOTSUPP); /* a kernel without dummy interfaces */
	for (unsigned i = 0; i < 4; i++) {
		struct msg_netaddr bad = m[0];

		if (i == 0)
			bad.ifindex = 0;
		else if (i == 1)
			memset(bad.name, 'x', sizeof(bad.name));
		else if (i == 2)
			bad.prefix = 33;
		else
			bad.family = 5;
		CHECK_EQ(h_ask(MSG_NET, &bad, sizeof(bad)), -EPROTO);
	}
	/* Set when the container starts, as the interfaces may come so late. */
	if (!r) {
		blob_put_pair(&b.w, BLOB_T_SYSCTL, "net.ipv4.conf.eth0.arp_ignore", "3");
		blob_put_pair(&b.w, BLOB_T_SYSCTL, "net.ipv4.conf.eth0/5.arp_ignore", "5");
	}
	box_fs(&b, "proc", "/proc", "");
	box_sh(&b,
		"for a in 192.0.2.9 10.9.8.7; do grep -c $a /proc/net/fib_trie; done; "
		"grep -o 'eth0:' /proc/net/dev; grep -o '.*eth0' /proc/net/if_inet6; "
		"cd /proc/sys/net/ipv4/conf; [ ! -e eth0 ] || cat eth0/arp_ignore eth0.5/arp_ignore");
	(void)RUN(&b, out);
	CHECK_STR(out,
		r ? "2\n0\n"
		  : "2\n2\neth0:\nfd770000000000000000000000000002 07 40 00 82     eth0\n3\n5\n");
}

/* Its name is right, so the container can be made. */
static void sysctl_of_no_interface(void)
{
	struct box b;

	begin(&b);
	blob_put_pair(&b.w, BLOB_T_SYSCTL, "net.ipv6.conf.no/such.forwarding", "1");
	box_sh(&b, "true");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, PROTO_PROC_INIT), -ENODEV);
	CHECK_EQ(h_stage, MSG_STAGE_SETUP);
	CHECK_STR(h_text,
		"sysctl: the guest has no such interface: net.ipv6.conf.no/such.forwarding: No such device");
	box_end(&b);
	/* These are there from the beginning. */
	begin(&b);
	blob_put_pair(&b.w, BLOB_T_SYSCTL, "net.ipv4.conf.default.arp_ignore", "1");
	blob_put_pair(&b.w, BLOB_T_SYSCTL, "net.ipv4.conf.lo.arp_ignore", "2");
	blob_put_pair(&b.w, BLOB_T_SYSCTL, "net.ipv4.neigh.all.nonsense", "2");
	box_sh(&b, "true");
	CHECK_EQ(box_make(&b), -ENOENT);
	CHECK_STR(h_text, "sysctl: net.ipv4.neigh.all.nonsense: No such file or directory");
	box_end(&b);
	CHECK(h_stop_agent());
}

static void bad_start_hooks(void)
{
	struct blob_hook h = { 0 };
	struct box b;

	hook_fails("exit 7", 0, "error running startContainer hook #1: \"/bin/sh\": exit status 7");
	hook_fails("kill -9 $$", 0,
		"error running startContainer hook #1: \"/bin/sh\": killed by signal 9");
	hook_fails("sleep 1000 & sleep 1000", 1,
		"error running startContainer hook #1: \"/bin/sh\": timed out after 1 s and was killed");
	begin(&b);
	blob_put_hook(&b.w, &h, "/no/such");
	blob_put_str(&b.w, BLOB_T_HOOK_ARG, "x");
	box_sh(&b, "true");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, PROTO_PROC_INIT), -ENOENT);
	CHECK_STR(h_text,
		"error running startContainer hook #0: \"/no/such\": No such file or directory");
	box_end(&b);
	CHECK(h_stop_agent());
}

/* busybox's logger sends a datagram to /dev/log, wherever that leads. */
static void notified(const char *path, const char *expected)
{
	struct box b;

	begin(&b);
	h_notified = 0;
	blob_put_str(&b.w, BLOB_T_NOTIFY, path);
	b.c.flags = BLOB_C_ROOT_RO;
	blob_put_str(&b.w, BLOB_T_ENV, path - strlen("S="));
	box_sh(&b,
		"ln -s $S /dev/log; busybox logger -t me READY=1; stat -c '%F %a' $S; ls ${S%/*}");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, expected);
	CHECK_EQ(h_notified, 1);
	CHECK(strstr(h_notify, "me: READY=1"));
}

static void notify_socket(void)
{
	struct stat st;

	/* what the host has put there is covered, its neighbours are seen */
	(void)mkdir(T "/root/run/notify", 0755);
	h_write(T "/root/run/notify/sock", "the host's\n");
	h_write(T "/root/run/notify/other", "");
	notified("S=/run/notify/sock" + 2, "socket 777\nother\nsock\n");
	CHECK(!stat(T "/root/run/notify/sock", &st) && S_ISREG(st.st_mode));
	(void)unlink(T "/root/run/notify/sock");
	/* nothing there: a directory of its own, so the image gets no socket */
	notified("S=/run/notify/sock" + 2, "socket 777\nsock\n");
	CHECK(stat(T "/root/run/notify/sock", &st) && errno == ENOENT);
	(void)unlink(T "/root/run/notify/other");
	(void)rmdir(T "/root/run/notify");
}

static void notify_socket_nowhere(void)
{
	struct box b;

	begin(&b);
	blob_put_str(&b.w, BLOB_T_NOTIFY, "/sock");
	box_sh(&b, "true");
	CHECK_EQ(box_make(&b), -EPROTO);
	CHECK(strstr(h_text, "no directory of its own"));
	box_end(&b);
	CHECK(h_stop_agent());
}

/* The agent reads no faster than the host does, and its loop goes on meanwhile. */
static void notify_flood(void)
{
	struct box b;
	struct msg_hdr h;
	char text[3000];
	int waiting = 0;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	begin(&b);
	h_notified = 0;
	blob_put_str(&b.w, BLOB_T_NOTIFY, "/run/n/sock");
	blob_put_str(&b.w, BLOB_T_ENV, "S=/run/n/sock");
	blob_put_str(&b.w, BLOB_T_ENV, text);
	box_arg(&b, "sh");
	box_arg(&b, "-c");
	box_arg(&b,
		"ln -s $S /dev/log; i=0; while [ $i -lt 500 ]; do busybox logger -t m \"$1\"; i=$((i+1)); done");
	box_arg(&b, "sh");
	box_arg(&b, text);
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, PROTO_PROC_INIT), 0);
	/* the connection is full before anything is read of it */
	while (ioctl(h_ctrl, FIONREAD, &waiting) == 0 && waiting < 100000)
		CHECK(usleep(1000) == 0);
	while (h_notified < 500 && h_next(&h) == 1)
		;
	CHECK_EQ(h_notified, 500);
	CHECK(h_wait_exit(PROTO_PROC_INIT));
	CHECK_EQ(h_exit.code, 0);
	box_end(&b);
	CHECK(h_stop_agent());
}

/* A root that is no share: mounted as it is said, or by trying; errors name it. */
static void other_root(void)
{
	static const struct {
		const char *type, *data, *text;
		int err;
	} bad[] = { { "auto", "", "/nowhere", 0 },
		{ "no-such-type", "", "mounting the root: /nowhere (no-such-type)", -ENODEV },
		{ "tmpfs", "bad=1", "mounting the root: /nowhere (tmpfs)", -EINVAL } };
	struct box b;
	int r;

	h_no_share = true;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		begin(&b);
		blob_put_root(&b.w, bad[i].type, "/nowhere", bad[i].data);
		box_sh(&b, "exit 0");
		r = box_make(&b);
		CHECK(r < 0 && (!bad[i].err || r == bad[i].err));
		CHECK(strstr(h_text, bad[i].text) != NULL);
		box_end(&b);
	}
	begin(&b);
	blob_put_root(&b.w, "overlay", "o", "lowerdir=" T "/root:" T "/c");
	box_fs(&b, "proc", "/proc", "");
	box_sh(&b, "awk '$2 == \"/\" { print $1, $3 }' /proc/mounts; cat /etc/passwd");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "o overlay\nroot:x:0:0::/:/bin/sh\n");
	h_no_share = false;
	CHECK(h_stop_agent());
}

static const struct test_case cases[] = {
	TEST(identity),
	TEST(reaper),
	TEST(capabilities),
	TEST(default_dev),
	TEST(devices),
	TEST(mounts),
	TEST(links_stay_inside),
	TEST(nothing_above_root),
	TEST(masks),
	TEST(sysctl_and_bad_config),
	TEST(optional_mount),
	TEST(other_root),
	TEST(time_namespace),
	TEST(seccomp),
	TEST(dangling_links),
	TEST(name_servers),
	TEST(copied_up),
	TEST(cwd_is_made),
	TEST(cwd_of_exec),
	TEST(early_streams),
	TEST(start_hooks),
	TEST(bad_start_hooks),
	TEST(network_addresses),
	TEST(notify_socket),
	TEST(notify_socket_nowhere),
	TEST(notify_flood),
	TEST(sysctl_of_no_interface),
};

AGENT_TEST_MAIN(cases)
