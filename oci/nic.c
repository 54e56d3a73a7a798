// SPDX-License-Identifier: Apache-2.0
/* The guest's network interface: from the container's network namespace to the VMM. */
/*
 * How it works
 *
 * A child of ours (oci/nic_ns.c) makes in the namespace of the VMM process what is behind the
 * interface, and a description of it for the guest. Both go to the VMM in one request, which it
 * answers when the guest has them. The VMM has no rights there any more: all that it gets is a
 * descriptor.
 *
 * The interface whose frames are to be redirected is recorded before they are, so that whoever
 * deletes the container finds it, whatever has become of us.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/ctl.h"
#include "oci/nic.h"
#include "oci/nic_ns.h"
#include "oci/nic_passt.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"

#define ASK_MS 10000 /* the VMM's main loop */
#define SET_MS 60000 /* a guest that asks for an address */

/* What the guest is offered to leave to a tap, and to have left to it. */
#define BIT(n) (1U << (n))
#define OFFLOADS                                                                       \
	(BIT(0) | BIT(1) | BIT(7) | BIT(8) | BIT(9) | /* CSUM, GUEST_CSUM, TSO, ECN */ \
		BIT(11) | BIT(12) | BIT(13))	      /* HOST_TSO, ECN */

/* The network namespace of the VMM process, which lives: its pid is not somebody else's. -ESRCH. */
static int open_ns(const struct container *c, struct stat *st)
{
	CLEAN_FD int fd = -1;
	CLEAN_FD int alive = -1;
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)c->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, st))
		return -errno;
	alive = container_pidfd(c);
	return alive < 0 ? -ESRCH : TAKE_FD(fd);
}

static int open_job(const struct container *c, struct nic_job *j, uint64_t *inode, struct error *e)
{
	struct stat st = { 0 }, own;

	j->ns_fd = open_ns(c, &st);
	if (j->ns_fd == -ESRCH || j->ns_fd == -ENOENT)
		return err_set(e, ESRCH, "container \"%s\" is not running", c->id);
	if (j->ns_fd < 0)
		return err_sys(e, j->ns_fd, "the container's network namespace");
	*inode = st.st_ino;
	/* that would cut the host off; create has looked already, but at paths */
	if (j->nic->kind != SPEC_NIC_TAP && !stat("/proc/self/ns/net", &own) &&
		own.st_ino == st.st_ino)
		return err_set(e, EINVAL,
			"krun-oci.net=%s: the container's network namespace is the caller's own",
			j->nic->kind == SPEC_NIC_TAKE ? "tap" : "passt");
	return 0;
}

static int ask(
	const struct container *c, uint32_t bytes, const int *fds, unsigned n, struct error *e)
{
	const struct ctl_req q = { .op = CTL_NIC, .arg = bytes };
	CLEAN_FD int conn = ctl_connect(c, e);
	int r = conn < 0 ? conn : ctl_send(conn, &q, fds, n, e);

	return r ? r : ctl_answer(c, conn, bytes ? SET_MS : ASK_MS, e);
}

struct record {
	struct container *c;
	uint64_t inode;
};

/* On record first: then whoever comes after us can undo it. */
static int record(void *arg, int index, struct error *e)
{
	const struct record *to = arg;

	to->c->net_inode = to->inode;
	to->c->net_index = (uint32_t)index;
	return container_store(to->c, e);
}

/* The tap has gone: its other side is as it was. */
static void undo(const struct nic_job *j, int index)
{
	const struct nic_job back = { .ns_fd = j->ns_fd, .index = index };
	struct error why = { 0 };
	struct nic_made ignored;

	if (index && nic_in_ns(&back, NULL, NULL, &ignored, &why))
		log_warn("the container's interface stays redirected: %s", why.msg);
}

static void warn_of(const struct nic_made *m)
{
	if (m->left)
		log_warn(
			"%u routes by the interface have no words for a guest, and are not taken over",
			m->left);
	if (m->rules)
		log_warn(
			"the network namespace has %u rules of routing that do not hold for the guest",
			m->rules);
	if (m->tables)
		log_warn(
			"the network namespace has %u tables of packet filters that the guest's packets do not pass",
			m->tables);
}

static int make(struct container *c, struct nic_job *j, struct error *e)
{
	struct record to = { .c = c };
	struct nic_made m = { .index = 0, .fds = { -1, -1 } };
	int r = open_job(c, j, &to.inode, e);

	if (r)
		return r;
	r = nic_in_ns(j, record, &to, &m, e);
	if (!r)
		warn_of(&m);
	if (!r)
		r = ask(c, m.bytes, m.fds, 2, e);
	for (unsigned i = 0; i < ARRAY_SIZE(m.fds); i++) {
		if (m.fds[i] >= 0)
			(void)close(m.fds[i]);
	}
	if (r)
		undo(j, m.index);
	return r;
}

/* Of all interfaces: it was set in the guest when the container was made. */
static bool tells_ip6(const struct spec *s)
{
	for (size_t i = 0; i < s->linux_.n_sysctl; i++) {
		if (!strcmp(s->linux_.sysctl[i].key, "net.ipv6.conf.all.disable_ipv6"))
			return true;
	}
	return false;
}

int nic_start(struct container *c, const struct spec *s, struct error *e)
{
	struct nic_job j = { .ns_fd = -1 };
	struct error why = { 0 };
	char ports[SPEC_PORTS_MAX];
	struct spec_nic nic;
	int r = spec_nic(s, &nic, e);

	if (!r && nic.kind == SPEC_NIC_PASST)
		r = spec_ports(s, ports, e);
	if (r || !nic.kind)
		return r;
	r = ask(c, 0, NULL, 0, &why);
	if (r == -EALREADY)
		return 0;
	if (r)
		return err_set(e, r, "%s", why.msg);
	j.nic = &nic;
	j.ports = ports;
	j.told_ip6 = tells_ip6(s);
	j.cgroup = c->cgroup;
	r = make(c, &j, e);
	if (j.ns_fd >= 0)
		(void)close(j.ns_fd);
	return r;
}

/* By its path, which may lead to another by now. */
static int open_left(const struct container *c, struct stat *st)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	CLEAN_FD int fd = -1;

	if (spec_load(c->dir_fd, "config.json", &s, NULL, NULL, NULL) ||
		!s->linux_.ns[SPEC_NS_NETWORK].path)
		return -ENOENT;
	fd = open(s->linux_.ns[SPEC_NS_NETWORK].path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 || fstat(fd, st) ? -errno : TAKE_FD(fd);
}

int nic_hold(const struct container *c)
{
	CLEAN_FD int fd = -1;
	struct stat st = { 0 }, own;

	if (!c->net_index)
		return -ENOENT;
	fd = open_ns(c, &st);
	if (fd < 0)
		fd = open_left(c, &st);
	if (fd < 0)
		return fd;
	return stat("/proc/self/ns/net", &own) || st.st_dev != own.st_dev ||
			st.st_ino != c->net_inode
		? -ENOENT
		: TAKE_FD(fd);
}

void nic_end(const struct container *c, int held)
{
	const struct nic_job j = { .ns_fd = held, .index = (int)c->net_index };
	struct error why = { 0 };
	struct nic_made ignored;

	if (held >= 0 && nic_in_ns(&j, NULL, NULL, &ignored, &why))
		log_warn("the container's interface stays redirected to nobody: %s", why.msg);
}

void nic_device(const struct spec_nic *nic, const char *id, struct vmm_nic *out)
{
	uint32_t h = 2166136261U;

	*out = (struct vmm_nic){
		.kind = VMM_NIC_TAP, .fd = -1, .later = true, .offloads = OFFLOADS
	};
	if (nic->kind == SPEC_NIC_PASST) {
		out->kind = VMM_NIC_STREAM;
		out->mtu = NIC_PASST_MTU;
	}
	/* of its own, and the same each time: who hands out addresses knows it by that */
	for (const char *p = id; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619U;
	out->mac[0] = 0x5a;
	out->mac[1] = 0x94;
	(void)memcpy(out->mac + 2, &h, sizeof(h));
}
