// SPDX-License-Identifier: Apache-2.0
/* The devices of the VM that krun_start_enter() makes: shares, vsock, consoles, serial ports;
 * nics.c has the network interfaces, drives.c the disks, vhost.c what other processes serve. */
/*
 * How it works
 *
 * What was said in the context becomes the lists of a struct vmm_config. Every descriptor in there
 * is the config's own, a copy where the program's is meant, so that one place closes all of them
 * when the start fails. With the agent the root share has the tag that the agent mounts; the tag
 * that the original gives it is then that of the small share, none of it the host's, by which other
 * kernels find the agent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/start.h"
#include "oci/initramfs.h"
#include "util/cleanup.h"
#include "util/log.h"

_Static_assert(LIM_API_VSOCK_PORTS <= VMM_MAX_VSOCK_PORTS, "what the API takes the VM can have");
_Static_assert(LIM_API_FS <= VMM_MAX_FS && LIM_API_PORT_MAP <= VMM_MAX_PORT_MAP &&
		LIM_API_CONSOLE_PORTS < VMM_MAX_PORTS,
	"what the API takes the VM can have");

#define BACKLOG 128

const struct api_fs *start_root(const struct api_ctx *c)
{
	for (unsigned i = 0; i < c->nfs; i++) {
		if (!strcmp(c->fs[i].tag, KRUN_FS_ROOT_TAG))
			return &c->fs[i];
	}
	return NULL;
}

/* @path NULL: none of the host's. */
static int add_fs(struct start *s, const char *tag, const char *path, int pathlen,
	const struct api_fs *f, struct error *e)
{
	struct vmm_fs *v = &s->cfg.fs[s->cfg.nfs];
	char name[LIM_API_PATH];

	if (s->cfg.nfs == VMM_MAX_FS)
		return err_set(e, ENOSPC, "more than %d shares", VMM_MAX_FS);
	*v = (struct vmm_fs){ .root_fd = -1, .empty = !path };
	if (f) {
		v->readonly = f->readonly;
		v->dax_bytes = f->dax;
		v->virt = f->virt;
		v->nvirt = f->nvirt;
	}
	(void)snprintf(v->tag, sizeof(v->tag), "%s", tag);
	(void)snprintf(name, sizeof(name), "%.*s", pathlen, path ? path : "");
	if (path)
		v->root_fd = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (path && v->root_fd < 0)
		return err_sys(e, errno, "share %s: \"%.160s\"", tag, name);
	s->cfg.nfs++;
	return 0;
}

/* The share that is the root of a kernel which mounts one at once: the agent, and the directories
 * where it mounts what it needs. */
static int add_first(struct start *s, struct error *e)
{
	static const char *const dirs[] = { "dev", "proc", "sys", "r", "c", "cg", "net" };
	struct api_fs f = { .readonly = true, .virt = s->first, .nvirt = START_FIRST };

	_Static_assert(ARRAY_SIZE(dirs) + 1 == START_FIRST, "directories, and the agent");
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		s->first[i] = (struct vmm_fs_virt){ .path = dirs[i], .dir = true, .mode = 0755 };
	s->first[ARRAY_SIZE(dirs)] = (struct vmm_fs_virt){ .path = "init.krun",
		.data = agent_image,
		.len = (uint64_t)((uintptr_t)agent_image_end - (uintptr_t)agent_image),
		.mode = 0755 };
	return add_fs(s, KRUN_FS_ROOT_TAG, NULL, 0, &f, e);
}

static int add_shares(struct start *s, struct error *e)
{
	const struct api_ctx *c = s->c;
	bool own = s->kernel.boot == BOOT_OWN;
	char tag[32];
	int r = 0;

	for (unsigned i = 0; !r && i < c->nfs; i++) {
		const struct api_fs *f = &c->fs[i];
		bool root = !own && !strcmp(f->tag, KRUN_FS_ROOT_TAG);

		/* the agent needs no share to begin in */
		if (root && c->remount_dev)
			continue;
		r = add_fs(s, root ? "root" : f->tag, f->path, INT16_MAX, f, e);
		/* libkrun's init ends with this on its root, which is a share or not */
		if (!r && own)
			s->cfg.fs[s->cfg.nfs - 1].exit_code = &s->code;
	}
	for (size_t i = 0; !r && i < c->volumes.n; i++) {
		const char *v = c->volumes.v[i];

		(void)snprintf(tag, sizeof(tag), "libkrun.%zu", i);
		r = add_fs(s, tag, v, (int)(api_volume_guest(v) - 1 - v), NULL, e);
	}
	return r || s->kernel.boot != BOOT_TREE ? r : add_first(s, e);
}

static int listen_on(const char *path, struct error *e)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int r;

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return err_sys(e, errno, "vsock port: \"%.120s\"", path);
	if (listen(fd, BACKLOG)) {
		r = err_sys(e, errno, "vsock port: \"%.120s\"", path);
		(void)unlink(path);
		return r;
	}
	return TAKE_FD(fd);
}

/* Without an interface TSI is on unless it was said otherwise. */
bool start_tsi(const struct api_ctx *c)
{
	return c->vsock_added ? c->tsi & KRUN_TSI_HIJACK_INET : !c->no_vsock && !start_has_nics(c);
}

static int add_vsock(struct start *s, struct error *e)
{
	const struct api_ctx *c = s->c;
	struct vmm_net *n = &s->cfg.net;
	bool off = c->no_vsock && !c->vsock_added;
	int r = 0;

	n->tsi = start_tsi(c);
	/* the agent is reached by it */
	s->cfg.vsock =
		s->kernel.boot != BOOT_OWN || n->tsi || c->vsock_added || (!off && c->nvsock);
	if (off || !s->cfg.vsock)
		return 0;
	n->mapped = c->mapped;
	for (unsigned i = 0; i < c->nmap; i++)
		n->map[n->nmap++] = (struct vmm_port_map){ c->map[i].host, c->map[i].guest };
	for (unsigned i = 0; !r && i < c->nvsock; i++) {
		const struct api_vsock_port *p = &c->vsock[i];
		struct vmm_vsock_port *v = &s->cfg.vsock_port[s->cfg.nvsock_ports];

		*v = (struct vmm_vsock_port){ .port = p->port, .listen = p->listen, .fd = -1 };
		(void)snprintf(v->path, sizeof(v->path), "%s", p->path);
		if (p->listen) {
			v->fd = listen_on(p->path, e);
			r = MIN(v->fd, 0);
		}
		s->cfg.nvsock_ports += !r;
		s->nvsock += !r;
	}
	return r;
}

/* Port @p has the size of the terminal that it reads, else of the one that it writes. */
static void add_term(struct start *s, struct vmm_port *p, int in, int out)
{
	bool reads = isatty(in) == 1;
	struct winsize ws;

	stdio_add_term(&s->stdio, reads ? in : out, (int)s->cfg.nports, reads);
	if (!ioctl(reads ? in : out, TIOCGWINSZ, &ws)) {
		p->rows = ws.ws_row;
		p->cols = ws.ws_col;
	}
}

static int add_port(struct start *s, const char *name, int in, int out, bool tty, struct error *e)
{
	struct vmm_port *p;

	if (s->cfg.nports >= VMM_MAX_PORTS)
		return err_set(e, ENOSPC, "more than %d console ports", VMM_MAX_PORTS);
	p = &s->cfg.port[s->cfg.nports];
	*p = (struct vmm_port){ .in_fd = -1, .out_fd = -1, .console = tty };
	(void)snprintf(p->name, sizeof(p->name), "%s", name ? name : "");
	if (tty)
		add_term(s, p, in, out);
	s->cfg.nports++;
	if (in >= 0)
		p->in_fd = fcntl(in, F_DUPFD_CLOEXEC, 3);
	if (out >= 0)
		p->out_fd = fcntl(out, F_DUPFD_CLOEXEC, 3);
	return (in >= 0 && p->in_fd < 0) || (out >= 0 && p->out_fd < 0)
		? err_sys(e, errno, "console port %s", p->name)
		: 0;
}

/* The three streams by the names of the original's contract, but for those that the program has
 * given such a port. A first process of the caller's has them by these; the agent's workload has
 * them already, and its input is nobody else's: there the ports are for who looks for them. */
static int add_stdio(struct start *s, struct error *e)
{
	static const char *const names[] = { "krun-stdin", "krun-stdout", "krun-stderr" };
	const struct stdio *io = &s->stdio;
	bool own = s->kernel.boot == BOOT_OWN;
	unsigned wanted = s->c->nports;
	int r = 0;

	for (unsigned i = 0; i < s->c->nconsoles; i++)
		wanted += !s->c->console[i].multiport;
	for (int i = 0; !r && i < 3; i++) {
		int fd = io->fd[i];

		if (fd < 0 || fd == io->file || io->named[i] || isatty(fd) == 1)
			continue;
		/* they are not worth a port that the program wants */
		if (!own && s->cfg.nports + wanted >= VMM_MAX_PORTS)
			break;
		r = add_port(s, names[i], own && !i ? fd : -1, i ? fd : -1, false, e);
	}
	return r;
}

/* The ports of console @i that are not hvc0; what the agent's workload has as a stream is no port.
 */
static int add_ports(struct start *s, unsigned i, struct error *e)
{
	const struct stdio *io = &s->stdio;
	bool own = s->kernel.boot == BOOT_OWN;
	int r = 0;

	for (unsigned n = 0; !r && n < s->c->nports; n++) {
		const struct api_port *p = &s->c->port[n];
		bool stream = p == io->named[0] || p == io->named[1] || p == io->named[2];

		if (p->console == i && p != io->hvc0 && (own || !stream))
			r = add_port(s, p->name, p->in, p->out, p->tty, e);
	}
	return r;
}

static int add_consoles(struct start *s, struct error *e)
{
	const struct api_ctx *c = s->c;
	const struct stdio *io = &s->stdio;
	const struct api_console *k = api_workload_console(c);
	bool own = s->kernel.boot == BOOT_OWN, hvc0 = io->hvc0 && io->in == io->hvc0->in;
	int r = 0;

	s->cfg.console = true;
	if (own || io->out >= 0 || c->nports || c->nconsoles > (k ? 1U : 0))
		r = add_port(s, hvc0 ? io->hvc0->name : NULL, io->in, io->out, true, e);
	if (!r && (own || c->nports))
		r = add_stdio(s, e);
	for (unsigned i = 0; !r && i < c->nconsoles; i++) {
		const struct api_console *d = &c->console[i];

		if (d->multiport)
			r = add_ports(s, i, e);
		else if (d == k && own && hvc0) /* its terminals, or none: hvcN is there */
			r = add_port(s, NULL, isatty(d->in) == 1 ? d->in : -1,
				isatty(d->out) == 1 ? d->out : -1, true, e);
		else if (d != k)
			r = add_port(s, NULL, d->in, d->out, true, e);
	}
	return r;
}

static int add_serials(struct start *s, struct error *e)
{
	const struct api_ctx *c = s->c;

	if (c->nserials && !s->kernel.foreign)
		log_warn("serial console: this library's own kernel has no driver for it");
	for (unsigned i = 0; i < c->nserials; i++) {
		struct vmm_serial *v = &s->cfg.serial[s->cfg.nserials++];
		int in = c->serial[i].in, out = c->serial[i].out;

		*v = (struct vmm_serial){ -1, -1 };
		if (in >= 0)
			v->in_fd = fcntl(in, F_DUPFD_CLOEXEC, 3);
		if (out >= 0)
			v->out_fd = in == out ? v->in_fd : fcntl(out, F_DUPFD_CLOEXEC, 3);
		if ((in >= 0 && v->in_fd < 0) || (out >= 0 && v->out_fd < 0))
			return err_sys(e, errno, "serial port %u", i);
		/* where nobody reads from it the terminal stays as it is */
		if (s->kernel.foreign)
			stdio_add_term(&s->stdio, in, -1, true);
	}
	return 0;
}

int start_devices(struct start *s, struct error *e)
{
	int r = add_shares(s, e);

	if (!r)
		r = start_nics(s, e);
	if (!r)
		r = start_vhost(s, e);
	if (!r)
		r = add_vsock(s, e);
	if (!r)
		r = add_serials(s, e);
	return r ? r : add_consoles(s, e);
}

void start_devices_undo(struct start *s)
{
	for (unsigned i = 0; i < s->cfg.nfs; i++) {
		if (s->cfg.fs[i].root_fd >= 0)
			(void)close(s->cfg.fs[i].root_fd);
	}
	for (unsigned i = 0; i < s->cfg.nports; i++) {
		if (s->cfg.port[i].in_fd >= 0)
			(void)close(s->cfg.port[i].in_fd);
		if (s->cfg.port[i].out_fd >= 0)
			(void)close(s->cfg.port[i].out_fd);
	}
	for (unsigned i = 0; i < s->cfg.nserials; i++) {
		int in = TAKE_FD(s->cfg.serial[i].in_fd), out = TAKE_FD(s->cfg.serial[i].out_fd);

		if (in >= 0)
			(void)close(in);
		if (out >= 0 && out != in)
			(void)close(out);
	}
	for (unsigned i = 0; i < s->cfg.nvsock_ports; i++) {
		if (s->cfg.vsock_port[i].fd >= 0)
			(void)close(s->cfg.vsock_port[i].fd);
	}
	for (unsigned i = 0; i < s->cfg.nnics; i++) {
		if (s->cfg.nic[i].fd >= 0)
			(void)close(s->cfg.nic[i].fd);
		for (unsigned k = 0; k < s->cfg.nic[i].nqueue_fds; k++)
			(void)close(s->cfg.nic[i].queue_fd[k]);
	}
	for (unsigned i = 0; i < s->cfg.ndisks; i++)
		vmm_disk_close(&s->cfg.disk[i]);
	for (unsigned i = 0; i < s->cfg.nvhost_user; i++)
		(void)close(s->cfg.vhost_user[i].fd);
	s->cfg.nfs = s->cfg.nports = s->cfg.nserials = s->cfg.nvsock_ports = s->cfg.nnics = 0;
	s->cfg.ndisks = s->cfg.nvhost_user = 0;
	s->stdio.nterms = 0;
	start_nics_unname(s);
	start_vsock_unname(s);
}

void start_vsock_unname(struct start *s)
{
	for (unsigned i = 0; i < s->nvsock; i++) {
		if (s->c->vsock[i].listen)
			(void)unlink(s->c->vsock[i].path);
	}
	s->nvsock = 0;
}
