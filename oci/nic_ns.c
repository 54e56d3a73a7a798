// SPDX-License-Identifier: Apache-2.0
/* A child in a container's network namespace, and what it makes there. */
/*
 * How it works
 *
 * The child enters and looks; one that takes or releases an interface has the lock of the namespace
 * from then on. Before it redirects an interface it says which, and waits: the parent puts that on
 * record, so that whoever deletes the container finds it, and tells it to go on. What it has made
 * it sends back; when nobody takes that any more, it undoes it. The parent's end is closed in the
 * child, or its own would never be told.
 *
 * The lock is on a file that the child has opened, and goes with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/nic_hook.h"
#include "oci/nic_ns.h"
#include "oci/nic_passt.h"
#include "oci/nic_tap.h"
#include "oci/rtnl.h"
#include "util/cleanup.h"
#include "util/util.h"

#define LOCK_S 10

/* What the child sends. */
struct result {
	struct error e; /* code 0: done, or */
	bool asks;	/* it waits for a byte, or the end */
	int index;
	unsigned left, rules, tables;
	uint32_t bytes;
};

union fd_room {
	struct cmsghdr align;
	char buf[CMSG_SPACE(2 * sizeof(int))];
};

static int enter(const struct nic_job *j, struct error *e)
{
	CLEAN_FD int user = -1;

	if (!setns(j->ns_fd, CLONE_NEWNET))
		return 0;
	if (errno != EPERM)
		return err_sys(e, errno, "the container's network namespace");
	/* an ordinary user has rights in his user namespaces only from inside */
	user = ioctl(j->ns_fd, NS_GET_USERNS);
	if (user >= 0 && !setns(user, CLONE_NEWUSER) && !setns(j->ns_fd, CLONE_NEWNET))
		return 0;
	return err_sys(e, EPERM, "the container's network namespace cannot be entered");
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* Until the process ends. */
static int lock(struct error *e)
{
	const struct sigaction sa = { .sa_handler = on_alarm };
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return err_sys(e, errno, "/proc/self/ns/net");
	(void)sigaction(SIGALRM, &sa, NULL);
	(void)alarm(LOCK_S);
	if (flock(fd, LOCK_EX))
		r = errno == EINTR
			? err_set(e, EBUSY,
				  "another start or delete is at the interfaces of the container's network namespace")
			: err_sys(e, errno, "the lock of the container's network namespace");
	(void)alarm(0);
	return r;
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

static bool send_result(int sock, const struct result *r, const int fds[2])
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
	return sendmsg(sock, &m, MSG_NOSIGNAL) == (ssize_t)sizeof(*r);
}

/* May interface r->index be taken? Not when there is nobody any more who asked for it. */
static bool may_take(int sock, struct result *r)
{
	const int none[2] = { -1, -1 };
	char yes = 0;
	ssize_t n;

	r->asks = true;
	if (!send_result(sock, r, none))
		return false;
	r->asks = false;
	do {
		n = recv(sock, &yes, 1, 0);
	} while (n < 0 && errno == EINTR);
	return n == 1;
}

static int take(int sock, const char *name, struct nic_if *o, int fd, struct result *r)
{
	int ret = lock(&r->e);

	if (!ret)
		ret = nic_look(fd, name, o, &r->e);
	if (ret)
		return ret;
	r->index = o->index;
	r->left = o->left;
	nic_walls(fd, o);
	r->rules = o->rules;
	r->tables = o->tables;
	return may_take(sock, r) ? nic_take(fd, o, &r->e) : -ECANCELED;
}

static int use_passt(const struct nic_job *j, struct nic_if *o, int fd, struct result *r)
{
	int ret = nic_look(fd, j->nic->name, o, &r->e);

	r->left = o->left;
	return ret ? ret : nic_passt(o, j->ports, j->cgroup, &r->e);
}

static int use_tap(const char *name, struct nic_if *o, int fd, struct result *r)
{
	o->head = (struct msg_nic){ .name = "eth0", .flags = MSG_NIC_DHCP };
	return nic_open_tap(fd, name, &r->e);
}

static int work(const struct nic_job *j, int sock, int fd, struct result *r, int fds[2])
{
	static struct nic_if o; /* too large for a stack */
	int ret;

	if (!j->nic) {
		ret = lock(&r->e);
		return ret ? ret : nic_release(fd, j->index);
	}
	fds[0] = j->nic->kind == SPEC_NIC_TAKE	 ? take(sock, j->nic->name, &o, fd, r)
		: j->nic->kind == SPEC_NIC_PASST ? use_passt(j, &o, fd, r)
						 : use_tap(j->nic->name, &o, fd, r);
	if (fds[0] < 0)
		return fds[0];
	if (j->told_ip6)
		o.head.flags &= (uint8_t)~MSG_NIC_NO_IP6;
	fds[1] = describe(&o, &r->bytes, &r->e);
	return MIN(fds[1], 0);
}

static void child(const struct nic_job *j, int sock)
{
	struct result r = { .index = 0 };
	int fds[2] = { -1, -1 }, nl = -1, ret = enter(j, &r.e);

	if (!ret) {
		nl = rtnl_open();
		ret = nl < 0 ? err_sys(&r.e, nl, "netlink") : work(j, sock, nl, &r, fds);
	}
	if (ret)
		(void)err_sys(&r.e, ret, "the container's network namespace");
	if (send_result(sock, &r, fds) && !ret)
		return;
	if (fds[0] >= 0)
		(void)close(fds[0]);
	if (r.index && fds[0] >= 0)
		(void)nic_release(nl, r.index);
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

static int talk(int sock, nic_before_fn *before, void *arg, struct nic_made *m, struct error *e)
{
	struct result r = { .index = 0 };
	int ret = recv_result(sock, &r, m->fds);

	m->index = r.index;
	m->left = r.left;
	m->rules = r.rules;
	m->tables = r.tables;
	if (!ret && r.asks) {
		ret = before ? before(arg, r.index, e) : -EINVAL;
		if (ret)
			return ret;
		/* if it fails, so does what comes next */
		(void)send(sock, "", 1, MSG_NOSIGNAL);
		ret = recv_result(sock, &r, m->fds);
	}
	if (ret)
		return err_sys(e, ret, "the process in the container's network namespace");
	m->bytes = r.bytes;
	return r.e.code ? err_set(e, r.e.code, "%s", r.e.msg) : 0;
}

int nic_in_ns(const struct nic_job *j, nic_before_fn *before, void *arg, struct nic_made *m,
	struct error *e)
{
	CLEAN_FD int own = -1;
	CLEAN_FD int other = -1;
	int sv[2], r;
	pid_t pid;

	*m = (struct nic_made){ .fds = { -1, -1 } };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return err_sys(e, errno, "socketpair");
	own = sv[0];
	other = sv[1];
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "fork");
	if (!pid) {
		(void)close(own);
		child(j, other);
		_exit(0);
	}
	(void)close(TAKE_FD(other));
	r = talk(own, before, arg, m, e);
	/* it goes by that, if it still waits */
	(void)close(TAKE_FD(own));
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}
