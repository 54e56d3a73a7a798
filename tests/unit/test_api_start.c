// SPDX-License-Identifier: Apache-2.0
/* What krun_start_enter() is made of, without a VM: command lines, the workload, devices, its end.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/start.h"
#include "core/vm.h"
#include "init/proto/blob.h"
#include "test.h"
#include "util/cleanup.h"

static const char *var(const struct work *w, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < w->env.n; i++) {
		if (!strncmp(w->env.v[i], name, n) && w->env.v[i][n] == '=')
			return w->env.v[i] + n + 1;
	}
	return NULL;
}

static int read_text(struct work *w, const char *text)
{
	static const struct api_ctx none;
	struct error e = { 0 };

	return work_config(w, &none, text, strlen(text), &e);
}

static void config_oci(void)
{
	CLEAN(work_free) struct work w = { .hostname = "h" };

	CHECK_EQ(
		read_text(&w,
			"{\"process\":{\"args\":[\"a\",\"b c\",7],\"env\":[\"A=1\",\"B\",\"=x\",\"A=2\"],"
			"\"cwd\":\"/w\"},\"args\":[\"no\"],\"mounts\":[{\"type\":\"tmpfs\",\"source\":\"tmpfs\","
			"\"destination\":\"/t\"},{\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"destination\":\"/u\"}]}"),
		0);
	CHECK_EQ(w.args.n, 2);
	CHECK_STR(w.args.v[1], "b c");
	CHECK_EQ(w.env.n, 1);
	CHECK_STR(var(&w, "A"), "1");
	CHECK_STR(w.cwd, "/w");
	CHECK_STR(w.tmpfs, "/t");
}

/* podman's mounts: the tmpfs of /dev is for runtimes that fill it, and would hide the devices. */
static void config_mounts(void)
{
#define TMPFS(dest) "{\"destination\":\"" dest "\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}"
	static const char text[] =
		"{\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"}," TMPFS("/dev") "," TMPFS("/dev/") "," TMPFS(
			"/proc/../dev/./") "," TMPFS("/..") "," TMPFS("//dev//shm") "," TMPFS("/data/.") "," TMPFS("/run//x/") "," TMPFS("/tmp") "]}";
	static const char *const volumes[] = { "/tmp://data/", NULL };
	static const char *const paths[][2] = { { "", "/" }, { "/", "/" }, { "/../..", "/" },
		{ "/a/b/../../c", "/c" }, { "//a/./b/", "/a/b" }, { "/a/...", "/a/..." } };
	uint32_t id = (uint32_t)krun_create_ctx();
	struct api_ctx *c;
	struct error e = { 0 };
	CLEAN(work_free) struct work w = { .hostname = "h" };
	char path[LIM_API_PATH];

	CHECK_EQ(krun_set_mapped_volumes(id, volumes), 0);
	c = api_take(id);
	CHECK(c);
	CHECK_EQ(work_config(&w, c, text, strlen(text), &e), 0);
	CHECK_STR(w.tmpfs, "/run/x");
	api_free(c);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		work_path(paths[i][0], path);
		CHECK_STR(path, paths[i][1]);
	}
#undef TMPFS
}

static void config_flat(void)
{
	CLEAN(work_free) struct work w = { .hostname = "h" };

	CHECK_EQ(
		read_text(&w,
			"{\"Entrypoint\":[\"e\"],\"Cmd\":[\"c\"],\"Env\":[\"X=y\"],\"WorkingDir\":\"rel\","
			"\"Cwd\":\"/abs\"}"),
		0);
	CHECK_EQ(w.args.n, 2);
	CHECK_STR(w.args.v[0], "e");
	CHECK_STR(w.args.v[1], "c");
	CHECK_STR(w.cwd, "/rel");
	/* what is there stays, but for two variables */
	CHECK_EQ(
		read_text(&w,
			"{\"args\":[\"z\"],\"env\":[\"X=z\",\"HOME=/h\",\"TERM=t\"],\"cwd\":\"/z\"}"),
		0);
	CHECK_EQ(w.args.n, 2);
	CHECK_STR(var(&w, "X"), "y");
	CHECK_EQ(read_text(&w, "{\"env\":[\"HOME=/i\"]}"), 0);
	CHECK_STR(var(&w, "HOME"), "/i");
	CHECK_STR(w.cwd, "/rel");
}

/* As an image's config has it. */
static void config_of_image(void)
{
	CLEAN(work_free) struct work w = { .hostname = "h" };

	CHECK_EQ(read_text(&w,
			 "{\"Cmd\":[\"no\"],\"Config\":{\"Entrypoint\":[\"e\"],\"Cmd\":[\"c\"],"
			 "\"Env\":[\"X=y\"],\"WorkingDir\":\"/w\"}}"),
		0);
	CHECK_EQ(w.args.n, 2);
	CHECK_STR(w.args.v[0], "e");
	CHECK_STR(w.args.v[1], "c");
	CHECK_STR(var(&w, "X"), "y");
	CHECK_STR(w.cwd, "/w");
}

/* As a tool that looks at images prints it: the same in two forms, and a text. */
static void config_of_tool(void)
{
	CLEAN(work_free) struct work w = { .hostname = "h" }, d = { .hostname = "h" };

	CHECK_EQ(read_text(&w,
			 "{\"Type\":\"\",\"Config\":\"{\\\"created\\\":null}\",\"Mounts\":null,"
			 "\"OCIv1\":{\"config\":{\"Env\":[\"X=y\"],\"Entrypoint\":null,"
			 "\"Cmd\":[\"c\"],\"WorkingDir\":\"/w\"}},\"Docker\":{\"config\":"
			 "{\"Cmd\":[\"no\"]}}}"),
		0);
	CHECK_EQ(w.args.n, 1);
	CHECK_STR(w.args.v[0], "c");
	CHECK_STR(var(&w, "X"), "y");
	CHECK_STR(w.cwd, "/w");
	CHECK_EQ(
		read_text(&d,
			"{\"OCIv1\":7,\"Docker\":{\"config\":{\"Cmd\":[\"d\"],\"WorkingDir\":\"app\"}}}"),
		0);
	CHECK_EQ(d.args.n, 1);
	CHECK_STR(d.args.v[0], "d");
	CHECK_STR(d.cwd, "/app"); /* a relative one is from the root on */
}

static void config_bad(void)
{
	static const char *const wrong[] = { "", "x", "[]", "7", "{", "{}x",
		"{\"args\":[\"\\u0000\"]}" };
	static const char *const strange[] = { "{}",
		"{\"args\":7,\"env\":{},\"cwd\":[],\"mounts\":\"m\"}",
		"{\"process\":[],\"mounts\":[1,{},{\"type\":\"tmpfs\"}]}",
		"{\"Entrypoint\":[[],{}]}" };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		CLEAN(work_free) struct work w = { .hostname = "h" };

		CHECK(read_text(&w, wrong[i]) < 0);
		CHECK(!w.args.n && !w.env.n);
	}
	for (size_t i = 0; i < ARRAY_SIZE(strange); i++) {
		CLEAN(work_free) struct work w = { .hostname = "h" };

		CHECK_EQ(read_text(&w, strange[i]), 0);
		CHECK(!w.args.n && !w.env.n && !w.cwd && !w.tmpfs);
	}
}

/* From a context and a tree to what the agent reads. */
static void told(void)
{
	static const char *const args[] = { "x", "", NULL };
	static const char *const env[] = { "KRUN_HOME=/kh", "HOSTNAME=name",
		"KRUN_CONFIG=/../c.json", "KRUN_INIT_PID1=0", NULL };
	static const char *const limits[] = { "7=10:20", NULL };
	static const char *const volumes[] = { "/tmp:/v", NULL };
	char dir[] = "/tmp/api-XXXXXX", path[64];
	CLEAN(work_free) struct work w = { .args = { 0 } };
	CLEAN_FREE uint8_t *blob = NULL;
	CLEAN_FD int root = -1, fd = -1;
	uint32_t id = (uint32_t)krun_create_ctx();
	struct api_ctx *c;
	struct blob_view v;
	struct error e = { 0 };
	const char *why = NULL;
	size_t len = 0;

	CHECK(mkdtemp(dir));
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = openat(root, "c.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 &&
		write(fd, "{\"args\":[\"no\"],\"env\":[\"F=g\",\"HOME=/x\"],\"cwd\":\"/no\"}",
			51) == 51);
	CHECK_EQ(krun_set_exec(id, "/bin/prog", args, env), 0);
	CHECK_EQ(krun_set_workdir(id, "/wd"), 0);
	CHECK_EQ(krun_set_rlimits(id, limits), 0);
	CHECK_EQ(krun_set_mapped_volumes(id, volumes), 0);
	c = api_take(id);
	CHECK(c);
	CHECK_EQ(work_make(c, root, &w, &e), 0);
	CHECK_EQ(work_blob(&w, c, BLOB_STDIO(PROTO_TTY), root, true, &blob, &len, &e), 0);
	CHECK_EQ(blob_read(blob + sizeof(struct msg_proc), len - sizeof(struct msg_proc),
			 BLOB_CREATE, &v, &why),
		0);
	CHECK_EQ(v.p.flags, BLOB_P_REAPER | BLOB_P_HVC0);
	blob_view_free(&v);
	free(blob);
	/* without a terminal there is nothing to find */
	CHECK_EQ(work_blob(&w, c, 7, -1, true, &blob, &len, &e), 0);
	api_free(c);
	CHECK_EQ(blob_read(blob + sizeof(struct msg_proc), len - sizeof(struct msg_proc),
			 BLOB_CREATE, &v, &why),
		0);
	CHECK_EQ(v.p.flags, BLOB_P_REAPER);
	CHECK_EQ(v.nargs, 3);
	CHECK_STR(v.args[0], "/bin/prog");
	CHECK_STR(v.args[2], "");
	CHECK_STR(v.cwd, "/wd");
	CHECK_STR(v.hostname, "name");
	CHECK_EQ(v.nrlimits, 1);
	CHECK(v.rlimits[0].resource == 7 && v.rlimits[0].soft == 10 && v.rlimits[0].hard == 20);
	CHECK_STR(v.mounts[v.nmounts - 1].dest, "/v");
	CHECK_STR(v.mounts[v.nmounts - 1].type, "virtiofs");
	CHECK_STR(var(&w, "HOME"), "/kh");
	CHECK_STR(var(&w, "F"), "g");
	CHECK_STR(var(&w, "TERM"), "linux");
	blob_view_free(&v);
	(void)snprintf(path, sizeof(path), "%s/c.json", dir);
	CHECK(!unlink(path) && !rmdir(dir));
}

/* As many as the API takes; and a config that is too much is not taken in part. */
static void many_words(void)
{
	static const char *args[LIM_API_LIST + 1], *env[LIM_API_LIST + 1];
	static char name[LIM_API_LIST][8], text[LIM_API_LIST * 16];
	uint32_t id = (uint32_t)krun_create_ctx();
	size_t n = 0;

	for (size_t i = 0; i < LIM_API_LIST; i++) {
		(void)snprintf(name[i], sizeof(name[i]), "V%zu=x", i);
		args[i] = env[i] = name[i];
	}
	CHECK_EQ(krun_set_root(id, "/"), 0);
	CHECK_EQ(krun_set_exec(id, "/bin/prog", args, env), 0);
	for (size_t i = 0; i < LIM_API_LIST + 1; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s\"W%zu=\"", i ? "," : "", i);
	for (int over = 0; over < 2; over++) {
		CLEAN(work_free) struct work w = { .args = { 0 } };
		CLEAN_FREE char *json = NULL;
		struct error e = { 0 };
		struct api_ctx *c;

		CHECK(asprintf(&json, "{\"cwd\":\"/in-file\",\"env\":[%s]}",
			      over ? text : strchr(text, ',') + 1) > 0);
		CHECK_EQ(krun_fs_add_overlay_file(id, KRUN_FS_ROOT_TAG, ".krun_config.json",
				 (const uint8_t *)json, strlen(json), 0444, true),
			0);
		c = api_get(id);
		CHECK(c);
		CHECK_EQ(work_make(c, -1, &w, &e), 0);
		api_put(&c);
		CHECK_EQ(w.args.n, LIM_API_LIST + 1);
		CHECK_EQ(w.env.n, (over ? 1 : 2) * LIM_API_LIST + 1);
		CHECK_STR(var(&w, "TERM"), "linux");
		CHECK(over ? !w.cwd : w.cwd && !strcmp(w.cwd, "/in-file"));
	}
	CHECK_EQ(krun_free_ctx(id), 0);
}

static void lines(void)
{
	static const char *const args[] = { "a", "", "b c", NULL },
				 *const env[] = { "A=b c", NULL };
	static const char *const newline[] = { "A=b\nc", NULL };
	struct api_kernel k = { .boot = BOOT_AGENT, .fd = -1 };
	uint32_t id = (uint32_t)krun_create_ctx();
	char line[LIM_CMDLINE], end[LIM_CMDLINE];
	struct error e = { 0 };
	struct api_ctx *c;

	CHECK_EQ(krun_set_exec(id, "/x", args, env), 0);
	CHECK_EQ(krun_set_kernel_console(id, "ttyS9"), 0);
	c = api_get(id);
	CHECK(c);
	CHECK_EQ(kernel_line(c, &k, true, line, end, &e), 0);
	CHECK(strstr(line, "console=ttyS9 ") && strstr(line, " krun.tsi=on") &&
		strstr(line, " noreplace-smp"));
	CHECK(!strstr(line, "KRUN_INIT") && !strstr(line, "krun.own"));
	k = (struct api_kernel){ .boot = BOOT_TREE, .fd = -1, .foreign = true };
	CHECK_EQ(kernel_line(c, &k, true, line, end, &e), 0);
	CHECK(strstr(line, "rootfstype=virtiofs") && strstr(line, " init=/init.krun tsi_hijack"));
	k.boot = BOOT_OWN;
	CHECK_EQ(kernel_line(c, &k, false, line, end, &e), 0);
	CHECK(strstr(line, " krun.own KRUN_INIT=/x \"A=b c\"") && !strstr(line, "tsi"));
	CHECK_STR(end, " -- \"a\" \"\" \"b c\"");
	/* also where the first process is in an initramfs */
	c->initramfs = strdup("/i");
	CHECK_EQ(kernel_line(c, &k, true, line, end, &e), 0);
	CHECK(strstr(line, " KRUN_INIT=/x \"A=b c\" tsi_hijack"));
	CHECK_STR(end, " -- \"a\" \"\" \"b c\"");
	free(TAKE_PTR(c->initramfs));
	/* a word, not what ends like it */
	c->cmdline = strdup("netconsole=1@2 console=hvc0 quiet");
	CHECK_EQ(kernel_line(c, &k, false, line, end, &e), 0);
	CHECK(strstr(line, "netconsole=1@2 console=ttyS9 quiet"));
	free(TAKE_PTR(c->cmdline));
	/* what was not said is not there */
	free(TAKE_PTR(c->exec));
	c->workdir = strdup("/w");
	CHECK_EQ(kernel_line(c, &k, false, line, end, &e), 0);
	CHECK(strstr(line, " KRUN_WORKDIR=/w \"A=b c\"") && !strstr(line, "KRUN_INIT"));
	c->args.v[2][0] = '\n';
	CHECK_EQ(kernel_line(c, &k, false, line, end, &e), -EINVAL);
	k.boot = BOOT_TREE;
	CHECK_EQ(kernel_line(c, &k, false, line, end, &e), 0);
	CHECK_STR(end, "");
	k.boot = BOOT_OWN;
	api_put(&c);
	CHECK_EQ(krun_set_env(id, newline), 0);
	CHECK_EQ(krun_set_kernel_console(id, "hvc0"), 0);
	c = api_get(id);
	CHECK_EQ(kernel_line(c, &k, false, line, end, &e), -EINVAL);
	api_put(&c);
	CHECK_EQ(krun_free_ctx(id), 0);
}

/* A kernel that mounts a root at once finds the agent in one that is nowhere on the host. */
static void first_share(void)
{
	static struct start s;
	uint32_t id = (uint32_t)krun_create_ctx();
	const struct vmm_fs *f = &s.cfg.fs[1];
	struct error e = { 0 };

	CHECK_EQ(krun_set_root(id, "/"), 0);
	s = (struct start){ .c = api_take(id), .kernel.boot = BOOT_TREE };
	CHECK(s.c);
	CHECK_EQ(stdio_find(s.c, false, &s.stdio, &e), 0);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK_EQ(s.cfg.nfs, 2);
	CHECK_STR(s.cfg.fs[0].tag, "root");
	CHECK_STR(f->tag, KRUN_FS_ROOT_TAG);
	CHECK(f->empty && f->readonly && f->nvirt == START_FIRST);
	for (unsigned i = 0; i < f->nvirt; i++) {
		const struct vmm_fs_virt *v = &f->virt[i];

		CHECK(v->dir == !!strcmp(v->path, "init.krun") && v->mode == 0755);
		CHECK(v->dir || (v->len > 10000 && !memcmp(v->data, ELFMAG, SELFMAG)));
	}
	start_devices_undo(&s);
	api_free(s.c);
}

static uint32_t machine(const char *sock)
{
	static const char *const volumes[] = { "/tmp:/v", NULL };
	static const char *const map[] = { "8080:80", NULL };
	uint32_t id = (uint32_t)krun_create_ctx();

	if (krun_disable_implicit_console(id) || krun_set_root(id, "/") ||
		krun_add_virtiofs3(id, "t", "/tmp", 1, true) ||
		krun_set_mapped_volumes(id, volumes) || krun_set_port_map(id, map) ||
		krun_add_vsock_port(id, 1000, "/s") || krun_add_vsock_port2(id, 1001, sock, true) ||
		krun_add_virtio_console_default(id, -1, 1, -1) ||
		krun_add_virtio_console_multiport(id) != 1 ||
		krun_add_console_port_inout(id, 1, "data", -1, 1))
		return UINT32_MAX;
	return id;
}

/* From a context to the lists of a vmm_config, for each way in which a first process gets there. */
static void devices(void)
{
	char sock[] = "/tmp/api-XXXXXX";
	unsigned named = isatty(1) != 1;
	static struct start s;
	struct error e = { 0 };
	struct stat st;
	uint32_t id;

	CHECK(mkdtemp(sock) && !rmdir(sock));
	id = machine(sock);
	s = (struct start){ .c = api_take(id) };
	CHECK(s.c);
	CHECK_EQ(stdio_find(s.c, s.kernel.boot == BOOT_OWN, &s.stdio, &e), 0);
	s.kernel.boot = BOOT_AGENT;
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK_EQ(s.cfg.nfs, 3);
	CHECK_STR(s.cfg.fs[0].tag, "root");
	CHECK(s.cfg.fs[1].readonly && s.cfg.fs[1].dax_bytes == 2U << 20);
	CHECK_STR(s.cfg.fs[2].tag, "libkrun.0");
	CHECK(s.cfg.net.tsi && s.cfg.net.mapped && s.cfg.net.nmap == 1);
	CHECK(s.cfg.net.map[0].host == 8080 && s.cfg.net.map[0].guest == 80);
	CHECK(s.cfg.nvsock_ports == 2 && s.cfg.vsock_port[0].fd < 0 && s.cfg.vsock_port[1].fd >= 0);
	CHECK(!stat(sock, &st) && S_ISSOCK(st.st_mode));
	/* the stream has a name too, where it is no terminal */
	CHECK(s.cfg.nports == 2 + named && s.cfg.port[0].console && s.cfg.port[0].out_fd < 0);
	CHECK(!named ||
		(!strcmp(s.cfg.port[1].name, "krun-stdout") && s.cfg.port[1].in_fd < 0 &&
			s.cfg.port[1].out_fd >= 0));
	CHECK_STR(s.cfg.port[1 + named].name, "data");
	/* a start that fails leaves no socket, but one that was there before */
	start_devices_undo(&s);
	CHECK(lstat(sock, &st) && errno == ENOENT);
	CHECK(!close(open(sock, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)));
	memset(&s.cfg, 0, sizeof(s.cfg));
	CHECK_EQ(start_devices(&s, &e), -EADDRINUSE);
	start_devices_undo(&s);
	CHECK(!unlink(sock));
	memset(&s.cfg, 0, sizeof(s.cfg));
	s.kernel.boot = BOOT_TREE;
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK_EQ(s.cfg.nfs, 4);
	CHECK_STR(s.cfg.fs[3].tag, KRUN_FS_ROOT_TAG);
	CHECK(s.cfg.fs[3].readonly);
	start_devices_undo(&s);
	memset(&s.cfg, 0, sizeof(s.cfg));
	s.kernel.boot = BOOT_OWN;
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK_STR(s.cfg.fs[0].tag, KRUN_FS_ROOT_TAG);
	CHECK_EQ(s.cfg.nports, 2 + (isatty(1) != 1));
	start_devices_undo(&s);
	api_free(s.c);
}

/* Ports that were mapped before vsock was switched off are not there, and a first process of the
 * caller's has a device only where something is for it. */
static void vsock_off(void)
{
	static const struct {
		bool port, off, add, own; /* what was said, in this order */
		unsigned ports;
		bool device;
	} t[] = { { true, false, false, false, 1, true }, { true, true, false, false, 0, true },
		{ true, true, true, false, 1, true }, { false, true, false, true, 0, false },
		{ true, true, false, true, 0, false }, { true, false, false, true, 1, true },
		{ false, true, true, true, 0, true } };

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint32_t id = (uint32_t)krun_create_ctx();
		static struct start s;
		struct error e = { 0 };

		CHECK_EQ(krun_set_root(id, "/"), 0);
		CHECK(!t[i].port || !krun_add_vsock_port(id, 1000, "/s"));
		CHECK(!t[i].off || !krun_disable_implicit_vsock(id));
		CHECK(!t[i].add || !krun_add_vsock(id, 0));
		s = (struct start){ .c = api_take(id) };
		s.kernel.boot = t[i].own ? BOOT_OWN : BOOT_AGENT;
		CHECK_EQ(stdio_find(s.c, t[i].own, &s.stdio, &e), 0);
		CHECK_EQ(start_devices(&s, &e), 0);
		CHECK_EQ(s.cfg.nvsock_ports, t[i].ports);
		CHECK_EQ(s.cfg.vsock, t[i].device);
		CHECK_EQ(s.cfg.net.tsi, !t[i].off);
		start_devices_undo(&s);
		api_free(s.c);
	}
}

/* Interfaces: descriptors are copies, sockets for datagrams have names that go, TSI is off. */
static void interfaces(void)
{
	uint8_t mac[6] = { 2, 1, 2, 3, 4, 5 };
	char path[] = "/s", tap[] = "no such tap", line[LIM_CMDLINE], end[LIM_CMDLINE];
	const struct api_kernel k = { .boot = BOOT_AGENT, .fd = -1 };
	static struct start s;
	struct error e = { 0 };
	struct stat st;
	char name[128];
	uint32_t id = (uint32_t)krun_create_ctx();
	int sv[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	CHECK_EQ(krun_set_root(id, "/"), 0);
	CHECK_EQ(krun_add_net_unixstream(id, NULL, sv[0], mac, COMPAT_NET_FEATURES, 0), 0);
	CHECK_EQ(krun_add_net_unixgram(id, path, -1, mac, 0, NET_FLAG_VFKIT), 0);
	CHECK_EQ(krun_add_net_unixstream(id, path, -1, mac, 0, 0), 0);
	CHECK_EQ(krun_add_net_unixgram(id, path, -1, mac, 0, NET_FLAG_DHCP_CLIENT), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK(s.c && start_has_nics(s.c) && !start_tsi(s.c));
	CHECK_EQ(kernel_line(s.c, &k, false, line, end, &e), 0);
	CHECK(strstr(line, " KRUN_DHCP=1") && !strstr(line, "tsi"));
	CHECK_EQ(start_nics(&s, &e), 0);
	CHECK(s.cfg.nnics == 4 && s.nnic_names == 2);
	CHECK(s.cfg.nic[0].kind == VMM_NIC_STREAM && s.cfg.nic[0].fd != sv[0] &&
		!s.cfg.nic[0].path[0] && s.cfg.nic[0].offloads == COMPAT_NET_FEATURES &&
		!memcmp(s.cfg.nic[0].mac, mac, 6));
	CHECK(s.cfg.nic[1].kind == VMM_NIC_DGRAM && s.cfg.nic[1].vfkit && s.cfg.nic[1].fd >= 0);
	CHECK(s.cfg.nic[2].fd == -1 && !s.cfg.nic[3].vfkit);
	CHECK_STR(s.cfg.nic[2].path, path);
	(void)snprintf(name, sizeof(name), "%s", s.nic_name[1]);
	CHECK(!stat(name, &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
	start_devices_undo(&s);
	CHECK(s.cfg.nnics == 0 && lstat(name, &st) && errno == ENOENT);
	api_free(s.c);

	/* the deprecated ones */
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_set_net_mac(id, mac), 0);
	CHECK_EQ(krun_set_passt_fd(id, sv[1]), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK_EQ(start_nics(&s, &e), 0);
	CHECK(s.cfg.nnics == 1 && s.cfg.nic[0].kind == VMM_NIC_STREAM &&
		s.cfg.nic[0].mtu == 65520 && !memcmp(s.cfg.nic[0].mac, mac, 6));
	start_devices_undo(&s);
	api_free(s.c);
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_set_gvproxy_path(id, path), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK_EQ(start_nics(&s, &e), 0);
	CHECK(s.cfg.nnics == 1 && s.cfg.nic[0].vfkit && s.cfg.nic[0].mac[0] == 0x5a);
	start_devices_undo(&s);
	api_free(s.c);
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_add_net_tap(id, tap, mac, 0, 0), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK(start_nics(&s, &e) < 0 && e.msg[0]);
	start_devices_undo(&s);
	api_free(s.c);
	CHECK(!close(sv[0]) && !close(sv[1]));
}

static void codes(void)
{
	const struct run_end ended = { .how = VMM_END_GUEST, .init_code = RUN_NO_CODE };
	struct run_end x = ended;

	/* a first process of the caller's: what it said, else how the machine ended */
	CHECK_EQ(run_end_code(&x), 0);
	x.panicked = true;
	CHECK_EQ(run_end_code(&x), 1);
	x = ended;
	x.how = VMM_END_FAILED;
	CHECK_EQ(run_end_code(&x), 1);
	x.init_code = 300;
	CHECK_EQ(run_end_code(&x), 44);
	x.init_code = -1;
	CHECK_EQ(run_end_code(&x), 255);
	x.stopping = true;
	CHECK_EQ(run_end_code(&x), 255);
	x.init_code = RUN_NO_CODE;
	CHECK_EQ(run_end_code(&x), 0);
	/* the agent: what could not begin, what nobody told the end of, what was told */
	x = ended;
	x.work = true;
	x.init_code = 5; /* is not asked for then */
	CHECK_EQ(run_end_code(&x), 125);
	x.panicked = true;
	CHECK_EQ(run_end_code(&x), 125);
	x.created = true;
	CHECK_EQ(run_end_code(&x), 1);
	x.panicked = false;
	CHECK_EQ(run_end_code(&x), 1);
	x.how = VMM_END_STOPPED;
	x.stopping = true;
	CHECK_EQ(run_end_code(&x), 143);
	x.exited = true;
	x.code = 9;
	CHECK_EQ(run_end_code(&x), 9);
}

static void codes_of_workload(void)
{
	static const struct {
		struct msg_exit exit;
		int code;
	} t[] = { { { .code = 0 }, 0 }, { { .code = 7 }, 7 }, { { .code = 128 + SIGINT }, 130 },
		{ { .code = 0x1ff }, 255 }, { { .signo = SIGKILL }, 137 },
		{ { .signo = SIGTERM }, 143 }, { { .signo = SIGHUP }, 0 },
		{ { .signo = SIGINT }, 0 }, { { .signo = 0xff01 }, 129 } };

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK_EQ(run_exit_code(&t[i].exit), t[i].code);
}

/* A loop that cannot be made, as the VM's event is no event: nothing of it stays with the caller.
 */
static void comes_back(void)
{
	static struct vmm vm;
	static const struct stdio none = { .fd = { -1, -1, -1 }, .tty = -1, .file = -1 };
	static const struct api_ctx c = { .shutdown_fd = -1 };
	const struct run_cfg cfg = { .vm = &vm, .c = &c, .stdio = &none, .done_fd = -1 };
	CLEAN_FD int file = memfd_create("no event", MFD_CLOEXEC);
	struct error e = { 0 };
	sigset_t before, after;
	int next = dup(file);

	CHECK(file >= 0 && next >= 0 && !close(next));
	vm.event_fd = file;
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	CHECK_EQ(run(&cfg, &e), -EPERM);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
	CHECK(!sigismember(&before, SIGPIPE) && !sigismember(&after, SIGPIPE));
	CHECK(!sigismember(&before, SIGWINCH) && !sigismember(&after, SIGWINCH));
	CHECK_EQ(dup(file), next);
	CHECK(!close(next));
}

/* What cannot start comes back; the context is gone. */
static void refused(void)
{
	uint32_t id = (uint32_t)krun_create_ctx();

	CHECK_EQ(krun_start_enter(id), -EINVAL);
	CHECK_EQ(krun_start_enter(id), -ENOENT);
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_set_root(id, "/"), 0);
	CHECK_EQ(krun_add_disk(id, "d", "/d", true), 0);
	CHECK_EQ(krun_set_root_disk_remount(id, "/dev/vda", NULL, NULL), -EINVAL);
	CHECK_EQ(krun_free_ctx(id), 0);
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_set_root(id, "/"), 0);
	CHECK_EQ(krun_set_kernel(id, "/dev/null", KRUN_KERNEL_FORMAT_ELF, NULL, NULL), 0);
	CHECK_EQ(krun_start_enter(id), -EINVAL);
	CHECK_EQ(krun_free_ctx(id), -ENOENT);
	/* a root on a disk is for a kernel of the caller's to find, but not for the agent */
	for (int i = 0; i < 2; i++) {
		int r;

		id = (uint32_t)krun_create_ctx();
		CHECK_EQ(krun_set_kernel(id, "/proc/self/exe", KRUN_KERNEL_FORMAT_ELF, NULL,
				 i ? NULL : "console=hvc0 root=/dev/vda"),
			0);
		CHECK_EQ(krun_set_root_disk(id, "/nowhere"), 0);
		r = krun_start_enter(id);
		/* what is missing then: the disk, or /dev/kvm before it */
		CHECK(i ? r == -EINVAL : r == -ENOENT || r == -EACCES);
	}
}

/* A config that is virtual hides the one in the tree, and who takes a one-shot one has it. */
static void virtual_config(void)
{
	static const char *const env[] = { "KRUN_CONFIG=/cfg/../cfg/c", NULL };
	static const char text[] = "{\"args\":[\"virtual\"]}", other[] = "{\"args\":[\"file\"]}";
	const uint8_t *const v = (const uint8_t *)text;
	const size_t n = sizeof(text) - 1;
	char dir[] = "/tmp/api-XXXXXX", path[64];
	CLEAN_FD int root = -1, fd = -1;

	CHECK(mkdtemp(dir));
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = openat(root, ".krun_config.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, other, sizeof(other) - 1) > 0);
	for (int i = 0; i < 5; i++) {
		static const char *const want[] = { "file", "virtual", "virtual", "/bin/sh",
			"virtual" };
		CLEAN(work_free) struct work w = { .args = { 0 } };
		uint32_t id = (uint32_t)krun_create_ctx();
		struct error e = { 0 };
		struct api_ctx *c;

		/* 4: without a tree */
		CHECK_EQ(krun_add_virtiofs(id, KRUN_FS_ROOT_TAG, i < 4 ? dir : NULL), 0);
		CHECK_EQ(krun_set_env(id, i > 1 ? env : env + 1), 0);
		CHECK_EQ(krun_fs_add_overlay_dir(id, KRUN_FS_ROOT_TAG, "cfg", 0755), 0);
		if (i == 1)
			CHECK_EQ(krun_fs_add_overlay_file(id, KRUN_FS_ROOT_TAG,
					 "/.krun_config.json", v, n, 0600, false),
				0);
		if (i == 2 || i == 4)
			CHECK_EQ(krun_fs_add_overlay_file(
					 id, KRUN_FS_ROOT_TAG, "cfg/c", v, n, 0600, i == 2),
				0);
		c = api_take(id);
		CHECK(c);
		CHECK_EQ(work_make(c, i < 4 ? root : -1, &w, &e), 0);
		CHECK_STR(w.args.v[0], want[i]);
		CHECK_EQ(c->fs[0].nvirt, i == 1 || i == 4 ? 2 : 1);
		api_free(c);
	}
	(void)snprintf(path, sizeof(path), "%s/.krun_config.json", dir);
	CHECK(!unlink(path) && !rmdir(dir));
}

/* Shares with virtual entries, and without a directory, as the VM gets them. */
static void virtual_shares(void)
{
	uint32_t id = (uint32_t)krun_create_ctx();
	static struct start s;
	struct vmm_fs *f = s.cfg.fs;
	struct error e = { 0 };

	CHECK_EQ(krun_set_root(id, "/"), 0);
	CHECK_EQ(krun_add_virtiofs3(id, "none", NULL, 4 << 20, true), 0);
	CHECK_EQ(krun_fs_add_overlay_dir(id, "none", "d", 0700), 0);
	CHECK_EQ(krun_fs_add_overlay_file(id, "none", "d/f", NULL, 0, 0600, true), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK(s.c);
	CHECK_EQ(stdio_find(s.c, false, &s.stdio, &e), 0);
	s.kernel.boot = BOOT_AGENT;
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK_EQ(s.cfg.nfs, 2);
	CHECK(!f[0].empty && f[0].root_fd >= 0 && !f[0].nvirt);
	CHECK(f[1].empty && f[1].root_fd == -1 && f[1].nvirt == 2 && f[1].readonly &&
		f[1].dax_bytes == 4 << 20);
	CHECK_STR(f[1].virt[1].path, "d/f");
	start_devices_undo(&s);
	api_free(s.c);
}

/* The agent is told which disk the root is on, and needs no share; a first process of the caller's
 * has one, and reads the rest on the command line. */
static void root_disk(void)
{
	static const char *const env[] = { NULL };
	static struct start s;
	char line[LIM_CMDLINE], end[LIM_CMDLINE];

	for (int i = 0; i < 4; i++) {
		CLEAN(work_free) struct work w = { .args = { 0 } };
		CLEAN_FREE uint8_t *blob = NULL;
		uint32_t id = (uint32_t)krun_create_ctx();
		struct api_kernel own = { .boot = BOOT_OWN, .fd = -1 };
		bool said = i & 1;
		const char *why = NULL;
		struct error e = { 0 };
		struct blob_view v;
		size_t len = 0;

		CHECK_EQ(krun_add_disk(id, "d", "/d", true), 0);
		CHECK_EQ(krun_set_env(id, env), 0);
		CHECK_EQ(krun_set_root_disk_remount(
				 id, "/dev/vdx", said ? "ext4" : NULL, said ? "a,b=c" : NULL),
			0);
		s = (struct start){ .c = api_take(id) };
		CHECK(s.c);
		CHECK_EQ(stdio_find(s.c, i > 1, &s.stdio, &e), 0);
		s.kernel.boot = i > 1 ? BOOT_OWN : BOOT_AGENT;
		CHECK_EQ(start_devices(&s, &e), 0);
		CHECK_EQ(s.cfg.nfs, i > 1);
		CHECK(i < 2 ||
			(s.cfg.fs[0].empty && s.cfg.fs[0].nvirt == 4 && s.cfg.fs[0].exit_code));
		start_devices_undo(&s);
		CHECK_EQ(work_make(s.c, -1, &w, &e), 0);
		CHECK_EQ(work_blob(&w, s.c, 7, -1, false, &blob, &len, &e), 0);
		CHECK_EQ(blob_read(blob + sizeof(struct msg_proc), len - sizeof(struct msg_proc),
				 BLOB_CREATE, &v, &why),
			0);
		CHECK_STR(v.root_source, "/dev/vdx");
		CHECK_STR(v.root_type, said ? "ext4" : "auto");
		CHECK_STR(v.root_data, said ? "a,b=c" : "");
		blob_view_free(&v);
		CHECK_EQ(kernel_line(s.c, &own, false, line, end, &e), 0);
		CHECK(strstr(line,
			said ? " KRUN_BLOCK_ROOT_DEVICE=/dev/vdx "
			       "KRUN_BLOCK_ROOT_FSTYPE=ext4 KRUN_BLOCK_ROOT_OPTIONS=a,b=c"
			     : " KRUN_BLOCK_ROOT_DEVICE=/dev/vdx"));
		CHECK(!strstr(line, "FSTYPE") == !said);
		api_free(s.c);
	}
}

/* Why a start failed is said to who has not asked for a log too; this program never does. */
static void said(void)
{
	uint32_t id = (uint32_t)krun_create_ctx();
	int keep = fcntl(2, F_DUPFD_CLOEXEC, 10), fd = memfd_create("stderr", MFD_CLOEXEC), r;
	char text[256] = "";

	(void)unsetenv("RUST_LOG"); /* which may ask for less */
	CHECK(keep >= 0 && fd >= 0 && dup2(fd, 2) == 2);
	r = krun_start_enter(id);
	CHECK(dup2(keep, 2) == 2 && !close(keep));
	CHECK_EQ(r, -EINVAL);
	CHECK(pread(fd, text, sizeof(text) - 1, 0) > 0 && strstr(text, "ERROR libkrun]") &&
		strstr(text, "there is no root"));
	CHECK(!close(fd));
}

static const struct test_case cases[] = { TEST(config_oci), TEST(config_mounts), TEST(config_flat),
	TEST(config_of_image), TEST(config_of_tool), TEST(config_bad), TEST(told), TEST(many_words),
	TEST(virtual_config), TEST(virtual_shares), TEST(root_disk), TEST(interfaces), TEST(lines),
	TEST(first_share), TEST(devices), TEST(codes), TEST(codes_of_workload), TEST(comes_back),
	TEST(vsock_off), TEST(refused), TEST(said) };

TEST_MAIN(cases)
