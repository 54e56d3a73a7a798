// SPDX-License-Identifier: Apache-2.0
/* The guest's network interface: from the container's network namespace to the VMM. */
/*
 * How it works
 *
 * A child of ours enters the namespace of the VMM process, makes there what is behind the
 * interface, and sends that back with a description of it for the guest; a process that went in
 * itself could not always come back. Both go to the VMM in one request, which it answers when the
 * guest has them. The VMM has no rights there any more: all that it gets is a descriptor.
 *
 * The interface whose frames have been redirected is recorded before the VMM hears of it, so that
 * whoever deletes the container finds it, whatever has become of us. A start that is killed before
 * that leaves a redirection to nowhere, which the next one takes away.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/ctl.h"
#include "oci/nic.h"
#include "oci/nic_passt.h"
#include "oci/nic_tap.h"
#include "oci/rtnl.h"
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

/* What the child does in the namespace, and sends back. */
struct job {
	const struct spec_nic *nic; /* NULL: nic_release() of @index */
	int ns_fd, user_fd;
	uint64_t inode;		    /* of the namespace */
	const char *ports, *cgroup; /* for passt */
	int index;
};

struct result {
	struct error e; /* code 0: done */
	int index;	/* of the interface that was taken, or 0 */
	unsigned left;	/* of struct nic_if */
	uint32_t bytes; /* of the description */
};

union fd_room {
	struct cmsghdr align;
	char buf[CMSG_SPACE(2 * sizeof(int))];
};

static int enter(const struct job *j, struct error *e)
{
	if (!setns(j->ns_fd, CLONE_NEWNET))
		return 0;
	/* an ordinary user has rights in his user namespaces only from inside */
	if (errno == EPERM && j->user_fd >= 0 && !setns(j->user_fd, CLONE_NEWUSER) &&
		!setns(j->ns_fd, CLONE_NEWNET))
		return 0;
	return err_sys(e, EPERM, "the container's network namespace cannot be entered");
}

/* The description, as a file that is read from its beginning. */
static int describe(const struct nic_if *o, uint32_t *bytes, struct error *e)
{
	CLEAN_FD int fd = memfd_create("interface", MFD_CLOEXEC);
	size_t n = o->head.nitems * sizeof(o->item[0]);

	if (fd < 0 || pwrite(fd, &o->head, sizeof(o->head), 0) != (ssize_t)sizeof(o->head) ||
		pwrite(fd, o->item, n, sizeof(o->head)) != (ssize_t)n)
		return err_sys(e, errno, "the description of the network interface");
	*bytes = (uint32_t)(sizeof(o->head) + n);
	return TAKE_FD(fd);
}

static int work(const struct job *j, struct result *r, int fds[2])
{
	static struct nic_if o; /* too large for a stack */
	CLEAN_FD int fd = -1;
	int ret = enter(j, &r->e);

	if (ret)
		return ret;
	fd = rtnl_open();
	if (fd < 0)
		return err_sys(&r->e, fd, "netlink");
	if (!j->nic)
		return nic_release(fd, j->index);
	if (j->nic->kind != SPEC_NIC_TAP) {
		ret = nic_look(fd, j->nic->name, &o, &r->e);
		if (ret)
			return ret;
		r->left = o.left;
	}
	if (j->nic->kind == SPEC_NIC_TAKE) {
		fds[0] = nic_take(fd, &o, &r->e);
		r->index = fds[0] < 0 ? 0 : o.index;
	} else if (j->nic->kind == SPEC_NIC_PASST) {
		fds[0] = nic_passt(&o, j->ports, j->cgroup, &r->e);
	} else {
		o.head = (struct msg_nic){ .name = "eth0", .flags = MSG_NIC_DHCP };
		fds[0] = nic_open_tap(fd, j->nic->name, &r->e);
	}
	if (fds[0] < 0)
		return fds[0];
	fds[1] = describe(&o, &r->bytes, &r->e);
	return MIN(fds[1], 0);
}

static void send_result(int sock, const struct result *r, const int fds[2])
{
	union fd_room c = { .buf = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)r, .iov_len = sizeof(*r) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *h;

	if (!r->e.code && fds[0] >= 0) {
		m.msg_control = c.buf;
		m.msg_controllen = sizeof(c.buf);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(2 * sizeof(int));
		(void)memcpy(CMSG_DATA(h), fds, 2 * sizeof(int));
	}
	(void)sendmsg(sock, &m, MSG_NOSIGNAL);
}

static int recv_result(int sock, struct result *r, int fds[2])
{
	union fd_room c = { .buf = { 0 } };
	struct iovec iov = { .iov_base = r, .iov_len = sizeof(*r) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = c.buf,
		.msg_controllen = sizeof(c.buf) };
	const struct cmsghdr *h;
	ssize_t n;

	do {
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	h = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS &&
		h->cmsg_len == CMSG_LEN(2 * sizeof(int)))
		(void)memcpy(fds, CMSG_DATA(h), 2 * sizeof(int));
	return n == (ssize_t)sizeof(*r) ? 0 : -ECONNRESET;
}

/* Does @j in a child; what it has made comes back in @fds. */
static int in_namespace(const struct job *j, struct result *r, int fds[2], struct error *e)
{
	CLEAN_FD int own = -1;
	CLEAN_FD int other = -1;
	int sv[2], ret;
	pid_t pid;

	fds[0] = fds[1] = -1;
	*r = (struct result){ .index = 0 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return err_sys(e, errno, "socketpair");
	own = sv[0];
	other = sv[1];
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "fork");
	if (!pid) {
		ret = work(j, r, fds);
		if (ret)
			(void)err_sys(&r->e, ret, "the container's network namespace");
		send_result(other, r, fds);
		_exit(0);
	}
	(void)close(TAKE_FD(other));
	ret = recv_result(own, r, fds);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (ret)
		return err_sys(e, ret, "the process in the container's network namespace");
	return r->e.code ? err_set(e, r->e.code, "%s", r->e.msg) : 0;
}

static int open_ns(const struct container *c, const char *which)
{
	char path[48];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)c->pid, which);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The namespaces of the VMM process, which lives: its pid is not somebody else's. */
static int open_job(const struct container *c, struct job *j, struct error *e)
{
	CLEAN_FD int alive = -1;
	struct stat st, own;

	j->ns_fd = open_ns(c, "net");
	j->user_fd = open_ns(c, "user");
	alive = container_pidfd(c);
	if (alive < 0)
		return err_set(e, ESRCH, "container \"%s\" is not running", c->id);
	if (j->ns_fd < 0 || fstat(j->ns_fd, &st))
		return err_sys(
			e, j->ns_fd < 0 ? j->ns_fd : errno, "the container's network namespace");
	j->inode = st.st_ino;
	/* that would cut the host off; create has looked already, but at paths */
	if (j->nic->kind != SPEC_NIC_TAP && !stat("/proc/self/ns/net", &own) &&
		own.st_ino == st.st_ino)
		return err_set(e, EINVAL,
			"krun-oci.net=%s: the container's network namespace is the caller's own",
			j->nic->kind == SPEC_NIC_TAKE ? "tap" : "passt");
	return 0;
}

static void close_job(struct job *j)
{
	if (j->ns_fd >= 0)
		(void)close(TAKE_FD(j->ns_fd));
	if (j->user_fd >= 0)
		(void)close(TAKE_FD(j->user_fd));
}

static int ask(
	const struct container *c, uint32_t bytes, const int *fds, unsigned n, struct error *e)
{
	const struct ctl_req q = { .op = CTL_NIC, .arg = bytes };
	CLEAN_FD int conn = ctl_connect(c, e);
	int r = conn < 0 ? conn : ctl_send(conn, &q, fds, n, e);

	return r ? r : ctl_answer(c, conn, bytes ? SET_MS : ASK_MS, e);
}

/* On record first: then whoever comes after us can undo it. */
static int hand_over(struct container *c, const struct job *j, const struct result *res,
	const int fds[2], struct error *e)
{
	int r = 0;

	if (res->left)
		log_warn(
			"%u routes by the interface have no words for a guest, and are not taken over",
			res->left);
	if (res->index) {
		c->net_inode = j->inode;
		c->net_index = (uint32_t)res->index;
		r = container_store(c, e);
	}
	return r ? r : ask(c, res->bytes, fds, 2, e);
}

/* The tap has gone: its other side is as it was. */
static void undo(const struct job *j, const struct result *res)
{
	const struct job back = { .ns_fd = j->ns_fd, .user_fd = j->user_fd, .index = res->index };
	struct error why = { 0 };
	struct result ignored;
	int fds[2];

	if (res->index && in_namespace(&back, &ignored, fds, &why))
		log_warn("the container's interface stays redirected: %s", why.msg);
}

static int make(struct container *c, struct job *j, struct error *e)
{
	struct result res = { .index = 0 };
	int fds[2], r = open_job(c, j, e);

	if (r)
		return r;
	r = in_namespace(j, &res, fds, e);
	if (!r)
		r = hand_over(c, j, &res, fds, e);
	for (unsigned i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	if (r)
		undo(j, &res);
	return r;
}

int nic_start(struct container *c, const struct spec *s, struct error *e)
{
	struct job j = { .ns_fd = -1, .user_fd = -1 };
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
	j.cgroup = c->cgroup;
	r = make(c, &j, e);
	close_job(&j);
	return r;
}

/* Only where it has a path can it live on. */
static int open_left(const struct container *c)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	CLEAN_FD int fd = -1;
	struct stat st;

	if (spec_load(c->dir_fd, "config.json", &s, NULL, NULL, NULL) ||
		!s->linux_.ns[SPEC_NS_NETWORK].path)
		return -ENOENT;
	fd = open(s->linux_.ns[SPEC_NS_NETWORK].path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	/* the path may lead to another by now */
	return fstat(fd, &st) || st.st_ino != c->net_inode ? -ENOENT : TAKE_FD(fd);
}

void nic_end(const struct container *c)
{
	struct job j = { .user_fd = -1, .index = (int)c->net_index };
	struct error why = { 0 };
	struct result ignored;
	int fds[2];

	if (!c->net_index)
		return;
	j.ns_fd = open_left(c);
	if (j.ns_fd < 0)
		return;
	if (in_namespace(&j, &ignored, fds, &why))
		log_warn("the container's interface stays redirected to nobody: %s", why.msg);
	(void)close(j.ns_fd);
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
