// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's protocol: committed golden bytes are what is written and what is read, by the host's
 * build and by the guest's (this program is built by both compilers). `test_proto --write` makes
 * the golden files anew, after a change of version.
 */
#include "init/proto/blob.h"
#include "init/proto/msg.h"
#include "test.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>

static const uint8_t token[PROTO_TOKEN_LEN] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	16 };
static const uint64_t bpf[] = { 0x0000000000000020, 0x7fff000000000006 };
static const uint32_t gids[] = { 10, 20, 30 };

static const char *golden_path(const char *name)
{
	static char path[512];
	const char *dir = getenv("srcdir");

	snprintf(path, sizeof(path), "%s/tests/unit/goldens/%s.hex", dir ? dir : ".", name);
	return path;
}

/* Two hex digits a byte, any white space between. The buffer is the caller's and 8-byte aligned. */
static uint8_t *golden_read(const char *name, size_t *len)
{
	FILE *f = fopen(golden_path(name), "r");
	uint8_t *buf = malloc(65536);
	unsigned v;

	*len = 0;
	while (f && buf && *len < 65536 && fscanf(f, "%2x", &v) == 1)
		buf[(*len)++] = (uint8_t)v;
	if (f)
		fclose(f);
	return buf;
}

static void golden_write(const char *name, const void *p, size_t len)
{
	FILE *f = fopen(golden_path(name), "w");

	for (size_t i = 0; f && i < len; i++)
		fprintf(f, "%02x%s", ((const uint8_t *)p)[i],
			i % 32 == 31 || i + 1 == len ? "\n" : "");
	if (f)
		fclose(f);
}

static bool golden_is(const char *name, const void *p, size_t len)
{
	size_t n;
	uint8_t *g = golden_read(name, &n);
	bool same = g && n == len && !memcmp(g, p, len);

	free(g);
	return same;
}

/* One record of every tag, every field with a value of its own. */
static int make_create(uint8_t **buf, size_t *len)
{
	struct blob_process p = { .flags = BLOB_P_ALL,
		.stdio = 7,
		.uid = 1000,
		.gid = 1001,
		.umask = 022,
		.oom_score_adj = -17,
		.rows = 24,
		.cols = 80,
		.personality = 8,
		.caps = { 1, 2, 3, 4, 5 },
		.sched_policy = 3,
		.sched_nice = -5,
		.sched_priority = 6,
		.ioprio = 0x4002,
		.sched_flags = 1,
		.sched_runtime = 2,
		.sched_deadline = 3,
		.sched_period = 4,
		.cpu_mask = 0xf };
	struct blob_container c = { .flags = BLOB_C_ROOT_RO,
		.namespaces = BLOB_NS_ALL,
		.root_propagation = MS_SLAVE | MS_REC };
	struct blob_mount m = { .kind = BLOB_M_FS,
		.flags = BLOB_M_COPYUP,
		.attr_set = 0xe,
		.attr_clr = 1,
		.rec_set = 2,
		.rec_clr = 4,
		.propagation = MS_PRIVATE };
	struct blob_device d = {
		.type = S_IFCHR, .major = 10, .minor = 229, .mode = 0666, .uid = 1, .gid = 2
	};
	struct blob_hook h = { .timeout = 5, .flags = BLOB_HOOK_ENV };
	struct blob_w w;

	blob_begin(&w, BLOB_CREATE, sizeof(struct msg_proc));
	blob_put_process(&w, &p);
	blob_put_str(&w, BLOB_T_ARG, "/bin/sh");
	blob_put_str(&w, BLOB_T_ARG, "");
	blob_put_str(&w, BLOB_T_ENV, "A=\xc3\xa4");
	blob_put_str(&w, BLOB_T_CWD, "/work");
	blob_put_gids(&w, gids, 3);
	blob_put_rlimit(&w, 7, 1024, UINT64_MAX);
	blob_put_seccomp(&w, 2, bpf, 2);
	blob_put_container(&w, &c);
	blob_put_root(&w, "ext4", "/dev/vda", "noatime");
	blob_put_str(&w, BLOB_T_HOSTNAME, "host");
	blob_put_str(&w, BLOB_T_DOMAINNAME, "domain");
	blob_put_mount(&w, &m, "tmpfs", "shm", "/dev/shm", "size=64m,mode=1777");
	m.kind = BLOB_M_BIND;
	m.flags = BLOB_M_RECURSIVE;
	blob_put_mount(&w, &m, "", "/data", "/mnt/data", "");
	blob_put_str(&w, BLOB_T_MASKED, "/proc/kcore");
	blob_put_str(&w, BLOB_T_READONLY, "/proc/sys");
	blob_put_device(&w, &d, "/dev/fuse");
	blob_put_pair(&w, BLOB_T_SYSCTL, "net.ipv4.ip_forward", "1");
	blob_put_timeoff(&w, 7, -5, 999999999);
	blob_put_hook(&w, &h, "/bin/first");
	blob_put_str(&w, BLOB_T_HOOK_ARG, "first");
	blob_put_str(&w, BLOB_T_HOOK_ARG, "-x");
	blob_put_str(&w, BLOB_T_HOOK_ENV, "A=1");
	h = (struct blob_hook){ 0 };
	blob_put_hook(&w, &h, "/bin/second");
	blob_put_str(&w, BLOB_T_HOOK_ARG, "second");
	blob_put_str(&w, BLOB_T_HOOK_STATE, "{}");
	blob_put_pair(&w, BLOB_T_CGROUP, "memory.max", "1048576");
	return blob_done(&w, buf, len);
}

static size_t make_msg(uint8_t *buf, uint16_t type, uint16_t flags, uint32_t seq, int32_t status,
	const void *p, size_t n)
{
	struct msg_hdr h = { .len = (uint32_t)(sizeof(h) + n),
		.type = type,
		.flags = flags,
		.seq = seq,
		.status = status };

	memcpy(buf, &h, sizeof(h));
	memcpy(buf + sizeof(h), p, n);
	return h.len;
}

static const struct msg_exit exit_event = { .proc = 1,
	.flags = MSG_EXIT_CORE,
	.code = 0,
	.signo = 11,
	.bytes = { 1, 2, 3, 4 },
	.utime_us = 5,
	.stime_us = 6,
	.maxrss_kib = 7 };

static size_t make_exit(uint8_t *buf)
{
	return make_msg(buf, MSG_EXIT, MSG_F_EVENT, 0, 0, &exit_event, sizeof(exit_event));
}

static size_t make_error(uint8_t *buf)
{
	struct {
		struct msg_error e;
		char text[12];
	} m = { { MSG_STAGE_EXEC, 12 }, "exec: no\nway" };

	return make_msg(buf, MSG_START, MSG_F_REPLY, 77, -ENOENT, &m, sizeof(m));
}

static size_t make_hello(uint8_t *buf)
{
	struct msg_time t = { .realtime_ns = 1700000000123456789u, .flags = MSG_TIME_RESEED };

	memset(t.entropy, 0xa5, sizeof(t.entropy));
	return make_msg(buf, MSG_HELLO, 0, 1, 0, &t, sizeof(t));
}

static size_t make_ps(uint8_t *buf)
{
	struct {
		struct msg_ps_reply r;
		struct msg_ps_proc a;
		char a_text[8];
		struct msg_ps_proc b;
		char b_text[16];
	} m = { .r = { 2, 9 },
		.a = { 1, 0, 2, 0x8801, 3000000000, 4, 5, 6 },
		.a_text = "sh -i",
		.b = { 0xfffffffe, 1, 0xfffffffe, 0, 1700000000123456789, 1ull << 40, 9, 7 },
		.b_text = "a\x1b[31mred" };

	return make_msg(buf, MSG_PS, MSG_F_REPLY, 78, 0, &m, sizeof(m));
}

static void goldens_written(void)
{
	struct proto_open o;
	uint8_t buf[512], *blob;
	size_t n;

	proto_open_fill(&o, PROTO_STREAM, token, 3, PROTO_STDERR);
	o.offset = 0x123456789a;
	CHECK(golden_is("open", &o, sizeof(o)));
	n = make_hello(buf);
	CHECK(golden_is("hello", buf, n));
	n = make_exit(buf);
	CHECK(golden_is("exit", buf, n));
	n = make_error(buf);
	CHECK(golden_is("error", buf, n));
	n = make_ps(buf);
	CHECK(golden_is("ps", buf, n));
	CHECK_EQ(make_create(&blob, &n), 0);
	CHECK(golden_is("create", blob + 8, n - 8));
	free(blob);
}

static void read_ps(void)
{
	struct msg_ps_reply head;
	char text[MSG_PS_TEXT + 1];
	const uint8_t *p, *all;
	struct msg_ps_proc one;
	struct msg_hdr h;
	size_t n, left, rest;
	uint8_t *g = golden_read("ps", &n);

	memcpy(&h, g, sizeof(h));
	CHECK(!msg_hdr_check(&h, MSG_MAX_TO_HOST, 1));
	CHECK_EQ(msg_take(&h, g + sizeof(h), &head, sizeof(head), &all, &rest), 0);
	CHECK_EQ(head.count, 2);
	CHECK_EQ(head.next, 9);
	p = all;
	left = rest;
	CHECK_EQ(msg_ps_next(&p, &left, &one, text), 1);
	CHECK_EQ(one.pid, 1);
	CHECK_EQ(one.tty, 0x8801);
	CHECK_EQ(one.run_seconds, 6);
	CHECK_STR(text, "sh -i");
	CHECK_EQ(msg_ps_next(&p, &left, &one, text), 1);
	CHECK_EQ(one.uid, 0xfffffffe);
	CHECK_EQ(one.cpu_ms, 1ull << 40);
	CHECK_STR(text, "a?[31mred");
	CHECK_EQ(msg_ps_next(&p, &left, &one, text), 0);
	/* cut off anywhere: the first or the second is missing, never read beyond */
	for (size_t k = 1; k < rest; k++) {
		uint8_t *cut = malloc(k);
		int r;

		memcpy(cut, all, k);
		p = cut;
		left = k;
		while ((r = msg_ps_next(&p, &left, &one, text)) == 1)
			;
		CHECK_EQ(r, k == 48 ? 0 : -EPROTO);
		free(cut);
	}
	free(g);
}

static void read_open(void)
{
	struct proto_open o, bad;
	size_t n;
	uint8_t *g = golden_read("open", &n);

	CHECK_EQ(n, sizeof(o));
	memcpy(&o, g, sizeof(o));
	free(g);
	CHECK_EQ(proto_open_check(&o), 0);
	CHECK_EQ(o.kind, PROTO_STREAM);
	CHECK_EQ(o.proc, 3);
	CHECK_EQ(o.fd, PROTO_STDERR);
	CHECK_EQ(o.offset, 0x123456789a);
	CHECK(proto_token_eq(o.token, token));
	for (int i = 0; i < PROTO_TOKEN_LEN; i++) {
		bad = o;
		bad.token[i] ^= 0x80;
		CHECK(!proto_token_eq(bad.token, token));
	}
	bad = o;
	bad.magic++;
	CHECK_EQ(proto_open_check(&bad), -EPROTO);
	bad = o;
	bad.version++;
	CHECK_EQ(proto_open_check(&bad), -EPROTONOSUPPORT);
	bad = o;
	bad.fd = PROTO_FD_LIMIT;
	CHECK_EQ(proto_open_check(&bad), -EPROTO);
	bad = o;
	bad.kind = 3;
	CHECK_EQ(proto_open_check(&bad), -EPROTO);
	bad.kind = PROTO_CONTROL; /* with a process */
	CHECK_EQ(proto_open_check(&bad), -EPROTO);
	bad = o;
	bad.proc = 0;
	CHECK_EQ(proto_open_check(&bad), -EPROTO);
}

/* Feeds @n bytes in steps of @step; the messages' count, or -EPROTO. The last one stays in *@h and
 * *@p. */
static int feed(struct msg_rx *rx, const uint8_t *b, size_t n, size_t step, struct msg_hdr *h,
	const uint8_t **p)
{
	int count = 0, r;

	for (size_t off = 0; off < n;) {
		size_t room, k = n - off < step ? n - off : step;
		uint8_t *to = msg_rx_space(rx, &room);

		if (!to)
			return -ENOMEM;
		k = k < room ? k : room;
		memcpy(to, b + off, k);
		msg_rx_add(rx, k);
		off += k;
		while ((r = msg_rx_next(rx, h, p)) == 1)
			count++;
		if (r < 0)
			return r;
	}
	return count;
}

static void read_messages(void)
{
	static const size_t steps[] = { 1, 3, 16, 17, 100, 4096 };
	uint8_t buf[512];
	char text[MSG_TEXT_MAX + 1];
	const uint8_t *p = NULL;
	struct msg_exit e;
	struct msg_rx rx;
	struct msg_hdr h;
	uint32_t stage;
	size_t n, m;
	uint8_t *g;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		g = golden_read("exit", &n);
		memcpy(buf, g, n);
		free(g);
		g = golden_read("error", &m);
		memcpy(buf + n, g, m);
		free(g);
		msg_rx_init(&rx, MSG_MAX_TO_HOST, 1);
		CHECK_EQ(feed(&rx, buf, n, steps[i], &h, &p), 1);
		CHECK_EQ(msg_take(&h, p, &e, sizeof(e), NULL, NULL), 0);
		CHECK(!memcmp(&e, &exit_event, sizeof(e)));
		CHECK_EQ(feed(&rx, buf + n, m, steps[i], &h, &p), 1);
		CHECK_EQ(h.status, -ENOENT);
		CHECK_EQ(h.seq, 77);
		CHECK_EQ(msg_text(&h, p, &stage, text), 0);
		CHECK_STR(text, "exec: no?way");
		CHECK_EQ(stage, MSG_STAGE_EXEC);
		msg_rx_free(&rx);
	}
}

static void bad_messages(void)
{
	static const struct msg_hdr to_agent[] = {
		{ 15, MSG_PING, 0, 1, 0 },
		{ MSG_MAX + 1, MSG_CREATE, 0, 1, 0 },
		{ 0xffffffff, MSG_CREATE, 0, 1, 0 },
		{ 16, 0, 0, 1, 0 },
		{ 16, MSG_REQUEST_LAST + 1, 0, 1, 0 },
		{ 16, MSG_EXIT, 0, 1, 0 },
		{ 16, MSG_PING, MSG_F_REPLY, 1, 0 },
		{ 16, MSG_PING, 0, 0, 0 },
		{ 16, MSG_PING, 0, 1, -1 },
	};
	static const struct msg_hdr to_host[] = {
		{ 15, MSG_PING, MSG_F_REPLY, 1, 0 },
		{ MSG_MAX_TO_HOST + 1, MSG_EXIT, MSG_F_EVENT, 0, 0 },
		{ 16, MSG_PING, 0, 1, 0 },
		{ 16, MSG_PING, MSG_F_REPLY, 0, 0 },
		{ 16, MSG_PING, MSG_F_REPLY, 1, 1 },
		{ 16, MSG_PING, MSG_F_REPLY, 1, -4096 },
		{ 16, MSG_PING, MSG_F_REPLY, 1, INT32_MIN },
		{ 16, MSG_PING, MSG_F_EVENT, 0, 0 },
		{ 16, MSG_EXIT, MSG_F_EVENT, 1, 0 },
		{ 16, MSG_EXIT, MSG_F_EVENT | MSG_F_REPLY, 0, 0 },
		{ 16, MSG_EVENT_LAST + 1, MSG_F_EVENT, 0, 0 },
	};
	const uint8_t *p;
	struct msg_rx rx;
	struct msg_hdr h;

	for (size_t i = 0; i < sizeof(to_agent) / sizeof(to_agent[0]); i++) {
		msg_rx_init(&rx, MSG_MAX, 0);
		CHECK_EQ(feed(&rx, (const void *)&to_agent[i], 16, 16, &h, &p), -EPROTO);
		CHECK(rx.cap <= 4096);
		msg_rx_free(&rx);
	}
	for (size_t i = 0; i < sizeof(to_host) / sizeof(to_host[0]); i++) {
		msg_rx_init(&rx, MSG_MAX_TO_HOST, 1);
		CHECK_EQ(feed(&rx, (const void *)&to_host[i], 16, 5, &h, &p), -EPROTO);
		msg_rx_free(&rx);
	}
}

static void bad_texts(void)
{
	char text[MSG_TEXT_MAX + 1];
	struct msg_error e = { MSG_STAGE_SETUP, 5 };
	struct msg_hdr h = { sizeof(h) + sizeof(e) + 4, MSG_START, MSG_F_REPLY, 1, -1 };
	uint8_t buf[64] = { 0 };

	memcpy(buf, &e, sizeof(e));
	CHECK_EQ(msg_text(&h, buf, NULL, text), -EPROTO); /* says 5, has 4 */
	h.len = sizeof(h) + 4;
	CHECK_EQ(msg_text(&h, buf, NULL, text), -EPROTO);
	e = (struct msg_error){ 9, 4 };
	memcpy(buf, &e, sizeof(e));
	h.len = sizeof(h) + sizeof(e) + 4;
	CHECK_EQ(msg_text(&h, buf, NULL, text), -EPROTO);
}

static void read_create(void)
{
	const char *why;
	struct blob_view s;
	size_t n;
	uint8_t *g = golden_read("create", &n);

	CHECK_EQ(blob_read(g, n, BLOB_CREATE, &s, &why), 0);
	CHECK_EQ(s.p.uid, 1000);
	CHECK_EQ(s.p.oom_score_adj, -17);
	CHECK_EQ(s.p.caps[BLOB_CAP_AMB], 5);
	CHECK_EQ(s.p.sched_period, 4);
	CHECK_EQ(s.p.cpu_mask, 15);
	CHECK_EQ(s.nargs, 2);
	CHECK_STR(s.args[0], "/bin/sh");
	CHECK_STR(s.args[1], "");
	CHECK(!s.args[2]);
	CHECK_EQ(s.nenv, 1);
	CHECK_STR(s.env[0], "A=\xc3\xa4");
	CHECK_STR(s.cwd, "/work");
	CHECK_EQ(s.ngids, 3);
	CHECK_EQ(s.gids[2], 30);
	CHECK_EQ(s.nrlimits, 1);
	CHECK(s.rlimits[0].hard == UINT64_MAX);
	CHECK_EQ(s.nbpf, 2);
	CHECK(!memcmp(s.bpf, bpf, sizeof(bpf)));
	CHECK_EQ(s.seccomp_flags, 2);
	CHECK_EQ(s.c.namespaces, BLOB_NS_ALL);
	CHECK_STR(s.root_type, "ext4");
	CHECK_STR(s.root_source, "/dev/vda");
	CHECK_STR(s.root_data, "noatime");
	CHECK_STR(s.hostname, "host");
	CHECK_STR(s.domainname, "domain");
	CHECK_EQ(s.nmounts, 2);
	CHECK_STR(s.mounts[0].type, "tmpfs");
	CHECK_STR(s.mounts[0].source, "shm");
	CHECK_STR(s.mounts[0].dest, "/dev/shm");
	CHECK_STR(s.mounts[0].data, "size=64m,mode=1777");
	CHECK_EQ(s.mounts[1].m.kind, BLOB_M_BIND);
	CHECK_STR(s.masked[0], "/proc/kcore");
	CHECK_STR(s.readonly[0], "/proc/sys");
	CHECK_EQ(s.devices[0].d.minor, 229);
	CHECK_STR(s.devices[0].path, "/dev/fuse");
	CHECK_STR(s.sysctls[0].name, "net.ipv4.ip_forward");
	CHECK_STR(s.sysctls[0].value, "1");
	CHECK_EQ(s.timeoffs[0].secs, -5);
	CHECK_EQ(s.nhooks, 2);
	CHECK_EQ(s.hooks[0].h.timeout, 5);
	CHECK_STR(s.hooks[0].path, "/bin/first");
	CHECK_STR(s.hooks[0].args[1], "-x");
	CHECK(!s.hooks[0].args[2]);
	CHECK_STR(s.hooks[0].env[0], "A=1");
	CHECK(!s.hooks[0].env[1]);
	CHECK_STR(s.hooks[1].args[0], "second");
	CHECK(!s.hooks[1].args[1]);
	CHECK(!s.hooks[1].env[0]);
	CHECK_STR(s.hook_state, "{}");
	CHECK_STR(s.cgroup[0].name, "memory.max");
	blob_view_free(&s);
	CHECK_EQ(blob_read(g, n, BLOB_EXEC, &s, &why), -EPROTO);
	free(g);
}

/* Every truncation is refused; every byte set to a few values is read or refused, never out of
 * bounds (the sanitizer looks). */
static void damaged_create(void)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	const char *why;
	struct blob_view s;
	size_t n;
	uint8_t *g = golden_read("create", &n), *copy;
	unsigned ok = 0, refused = 0;

	for (size_t k = 0; k < n; k++) {
		copy = malloc(k ? k : 1);
		memcpy(copy, g, k);
		CHECK_EQ(blob_read(copy, k, BLOB_CREATE, &s, &why), -EPROTO);
		CHECK(why[0]);
		free(copy);
	}
	copy = malloc(n);
	for (size_t k = 0; k < n * sizeof(values); k++) {
		memcpy(copy, g, n);
		copy[k / sizeof(values)] = values[k % sizeof(values)];
		if (blob_read(copy, n, BLOB_CREATE, &s, &why)) {
			refused++;
		} else {
			ok++;
			blob_view_free(&s);
		}
	}
	free(copy);
	free(g);
	CHECK(ok > 100);
	CHECK(refused > 100);
}

static int try_one(void (*change)(struct blob_w *w), uint16_t kind)
{
	struct blob_process p = { 0 };
	struct blob_container c = { 0 };
	const char *why;
	struct blob_w w;
	struct blob_view s;
	uint8_t *buf;
	size_t n;
	int err;

	blob_begin(&w, kind, 0);
	if (kind != BLOB_UPDATE) {
		blob_put_process(&w, &p);
		blob_put_str(&w, BLOB_T_ARG, "x");
	}
	if (kind == BLOB_CREATE)
		blob_put_container(&w, &c);
	if (change)
		change(&w);
	err = blob_done(&w, &buf, &n);
	if (err)
		return err;
	err = blob_read(buf, n, kind, &s, &why);
	free(buf);
	if (!err)
		blob_view_free(&s);
	return err;
}

static void two_cwds(struct blob_w *w)
{
	blob_put_str(w, BLOB_T_CWD, "/");
	blob_put_str(w, BLOB_T_CWD, "/");
}

static void relative_cwd(struct blob_w *w)
{
	blob_put_str(w, BLOB_T_CWD, "a");
}

static void long_path(struct blob_w *w)
{
	static char p[BLOB_MAX_PATH + 1];

	memset(p, '/', sizeof(p) - 1);
	blob_put_str(w, BLOB_T_CWD, p);
}

static void escaping_cgroup(struct blob_w *w)
{
	blob_put_pair(w, BLOB_T_CGROUP, "../memory.max", "1");
}

static void escaping_sysctl(struct blob_w *w)
{
	blob_put_pair(w, BLOB_T_SYSCTL, "kernel/../../etc/passwd", "1");
}

static void slashing_sysctl(struct blob_w *w)
{
	blob_put_pair(w, BLOB_T_SYSCTL, "net.//.//.etc.passwd", "1");
}

/* A namespace and a tag that the agent has no code for, within what the tables span. */
static void user_namespace(struct blob_w *w)
{
	uint32_t ns = 0x10000000;
	uint16_t tag = 25;

	memcpy(w->buf + w->len - sizeof(struct blob_container) + 4, &ns, sizeof(ns));
	blob_put_timeoff(w, 0, 1, 0);
	memcpy(w->buf + w->len - sizeof(struct blob_timeoff) - sizeof(struct blob_rec), &tag,
		sizeof(tag));
}

static void hostname_in_exec(struct blob_w *w)
{
	blob_put_str(w, BLOB_T_HOSTNAME, "x");
}

static void pid1_in_exec(struct blob_w *w)
{
	const uint32_t flags = BLOB_P_REAPER;

	memcpy(w->buf + w->reserve + sizeof(struct blob_hdr) + sizeof(struct blob_rec), &flags,
		sizeof(flags));
}

static void console_in_exec(struct blob_w *w)
{
	const uint32_t flags = BLOB_P_HVC0;

	memcpy(w->buf + w->reserve + sizeof(struct blob_hdr) + sizeof(struct blob_rec), &flags,
		sizeof(flags));
}

static void wrong_shape(struct blob_w *w)
{
	blob_put_str(w, BLOB_T_SYSCTL, "x");
}

static void strange_fd(struct blob_w *w)
{
	blob_put_fd(w, BLOB_FD_KINDS);
}

static void many_fds(struct blob_w *w)
{
	for (int i = 0; i <= PROTO_MORE_MAX; i++)
		blob_put_fd(w, BLOB_FD_IN);
}

static void many_rlimits(struct blob_w *w)
{
	for (int i = 0; i <= BLOB_MAX_RLIMITS; i++)
		blob_put_rlimit(w, 1, 0, 0);
}

static void too_big(struct blob_w *w)
{
	char *s = malloc(100000);

	memset(s, 'x', 99999);
	s[99999] = 0;
	for (int i = 0; i < 50; i++)
		blob_put_str(w, BLOB_T_ARG, s);
	free(s);
}

static void hook_without_args(struct blob_w *w)
{
	struct blob_hook h = { 0 };

	blob_put_hook(w, &h, "/bin/x");
}

static void hook_env_unasked(struct blob_w *w)
{
	hook_without_args(w);
	blob_put_str(w, BLOB_T_HOOK_ARG, "x");
	blob_put_str(w, BLOB_T_HOOK_ENV, "A=1");
}

static void hook_arg_after_env(struct blob_w *w)
{
	struct blob_hook h = { .flags = BLOB_HOOK_ENV };

	blob_put_hook(w, &h, "/bin/x");
	blob_put_str(w, BLOB_T_HOOK_ENV, "A=1");
	blob_put_str(w, BLOB_T_HOOK_ARG, "x");
}

static void hook_string_first(struct blob_w *w)
{
	blob_put_str(w, BLOB_T_HOOK_ARG, "x");
	hook_env_unasked(w);
}

static void writer_and_reader_refuse(void)
{
	CHECK_EQ(try_one(NULL, BLOB_CREATE), 0);
	CHECK_EQ(try_one(NULL, BLOB_EXEC), 0);
	CHECK_EQ(try_one(NULL, BLOB_UPDATE), 0);
	CHECK_EQ(try_one(two_cwds, BLOB_EXEC), -EPROTO);
	CHECK_EQ(try_one(relative_cwd, BLOB_EXEC), -EPROTO);
	CHECK_EQ(try_one(long_path, BLOB_EXEC), -E2BIG);
	CHECK_EQ(try_one(escaping_cgroup, BLOB_UPDATE), -EPROTO);
	CHECK_EQ(try_one(escaping_sysctl, BLOB_CREATE), -EPROTO);
	CHECK_EQ(try_one(slashing_sysctl, BLOB_CREATE), -EPROTO);
	CHECK_EQ(try_one(user_namespace, BLOB_CREATE), -EPROTO);
	CHECK_EQ(try_one(hostname_in_exec, BLOB_EXEC), -EPROTO);
	CHECK_EQ(try_one(pid1_in_exec, BLOB_CREATE), 0);
	CHECK_EQ(try_one(pid1_in_exec, BLOB_EXEC), -EPROTO);
	CHECK_EQ(try_one(console_in_exec, BLOB_CREATE), 0);
	CHECK_EQ(try_one(console_in_exec, BLOB_EXEC), -EPROTO);
	CHECK_EQ(try_one(wrong_shape, BLOB_CREATE), -EINVAL);
	CHECK_EQ(try_one(many_rlimits, BLOB_EXEC), -EPROTO);
	CHECK_EQ(try_one(strange_fd, BLOB_EXEC), -EPROTO);
	CHECK_EQ(try_one(many_fds, BLOB_EXEC), -EPROTO);
	CHECK_EQ(try_one(hook_without_args, BLOB_CREATE), -EPROTO);
	CHECK_EQ(try_one(hook_env_unasked, BLOB_CREATE), -EPROTO);
	CHECK_EQ(try_one(hook_arg_after_env, BLOB_CREATE), -EPROTO);
	CHECK_EQ(try_one(hook_string_first, BLOB_CREATE), -EPROTO);
	CHECK_EQ(try_one(too_big, BLOB_EXEC), -E2BIG);
}

static const struct test_case cases[] = {
	TEST(goldens_written),
	TEST(read_ps),
	TEST(read_open),
	TEST(read_messages),
	TEST(bad_messages),
	TEST(bad_texts),
	TEST(read_create),
	TEST(damaged_create),
	TEST(writer_and_reader_refuse),
};

int main(int argc, char **argv)
{
	struct proto_open o;
	uint8_t buf[512], *blob;
	size_t n;

	if (argc != 2 || strcmp(argv[1], "--write"))
		return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
	proto_open_fill(&o, PROTO_STREAM, token, 3, PROTO_STDERR);
	o.offset = 0x123456789a;
	golden_write("open", &o, sizeof(o));
	golden_write("hello", buf, make_hello(buf));
	golden_write("exit", buf, make_exit(buf));
	golden_write("error", buf, make_error(buf));
	golden_write("ps", buf, make_ps(buf));
	if (make_create(&blob, &n))
		return 1;
	golden_write("create", blob + 8, n - 8);
	free(blob);
	return 0;
}
