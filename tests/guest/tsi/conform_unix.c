// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: AF_UNIX, and sockets that are passed by it. */

/*
 * How it works
 *
 * AF_UNIX is the guest's own, and must be as anywhere: by a path, by an abstract name, in pairs. It
 * has no family of addresses, so it is looked at once. What it passes is: a listener, a connection
 * and a datagram socket go to another process, which uses them when they are closed here.
 */
#include "conform.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

/* ---- passing ---- */

static int pass(int through, int fd)
{
	char ctrl[CMSG_SPACE(sizeof(int))] = { 0 }, c = 'x';
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctrl,
		.msg_controllen = sizeof(ctrl) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(int));
	return (int)sendmsg(through, &m, 0);
}

static int passed(int through)
{
	char ctrl[CMSG_SPACE(sizeof(int))] = { 0 }, c;
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctrl,
		.msg_controllen = sizeof(ctrl) };
	int fd = -1;

	if (recvmsg(through, &m, 0) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}

/* Runs @use with @fd in another process, which gets it when it is closed here. */
static void elsewhere(int fd, const char *what, void (*use)(int fd))
{
	int pair[2], st, sent;
	pid_t pid;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(fd);
		fd = passed(pair[1]);
		t(what, "got it %d", fd >= 0);
		use(fd);
		fflush(stdout);
		_exit(0);
	}
	sent = pass(pair[0], fd);
	close(fd);
	waitpid(pid, &st, 0);
	t(what, "pass %d, %d", sent, st);
	close(pair[0]);
	close(pair[1]);
}

static void use_listener(int fd)
{
	char buf[16];
	ssize_t n;
	int c;

	t("passed listener", "local %s", name_of(fd, 0));
	t("passed listener", "poll %s", bits(ready(fd, POLLIN)));
	timeouts(fd, WAIT_MS);
	c = accept(fd, NULL, NULL);
	t("passed listener", "accept %s", c >= 0 ? "ok" : strerrorname_np(errno));
	n = recv(c, buf, 6, MSG_WAITALL);
	t("passed listener", "recv %s %.5s", rs(n), buf);
	t("passed listener", "send %s", rs(send(c, "there\n", 6, MSG_NOSIGNAL)));
	close(c);
}

static void use_dgrams(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", base + S_UDP_ECHO);
	char buf[16];
	ssize_t n;

	t("passed udp", "local %s", name_of(fd, 0));
	t("passed udp", "sendto %s", rs(sendto(fd, "hello", 5, 0, (struct sockaddr *)&ss, len)));
	ready(fd, POLLIN);
	len = sizeof(ss);
	n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&ss, &len);
	t("passed udp", "recv %s %.5s from %s base+%d", rs(n), buf, ip_of(&ss),
		port_of(&ss) - base);
	t("passed udp", "connect %s", rs(xconnect_to(fd, base + S_UDP_ECHO)));
	t("passed udp", "peer %s", name_of(fd, 1));
	t("passed udp", "send %s", rs(send(fd, "again", 5, 0)));
	ready(fd, POLLIN);
	n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	t("passed udp", "recv %s %.5s", rs(n), buf);
}

static void use_stream(int fd)
{
	char buf[16];
	ssize_t n;

	n = recv(fd, buf, 3, MSG_WAITALL);
	t("passed stream", "what was sent before %s %.3s", rs(n), buf);
	t("passed stream", "send %s", rs(send(fd, "after", 5, 0)));
	n = recv(fd, buf, 5, MSG_WAITALL);
	t("passed stream", "recv %s %.5s", rs(n), buf);
	t("passed stream", "peer %s", name_of(fd, 1));
}

void passing(void)
{
	int fd = bound(SOCK_STREAM, "0.0.0.0", "::", 0), port = local_port(fd), pair[2], n = 0;

	listen(fd, 8);
	ask("call %d %d", fam == F6, port);
	elsewhere(fd, "passed listener", use_listener);
	t("passed listener: the peer", "%s", told());
	ask("call %d %d", fam == F6, port);
	t("passed listener: closed by both", "%s", told());
	elsewhere(bound(SOCK_DGRAM, "0.0.0.0", "::", 0), "passed udp", use_dgrams);
	fd = connected(S_ECHO);
	send(fd, "ab!", 3, 0);
	ready(fd, POLLIN);
	elsewhere(fd, "passed stream", use_stream);

	/* A socket that nobody has but a message that nobody reads. */
	fd = bound(SOCK_STREAM, "0.0.0.0", "::", 0);
	listen(fd, 8);
	port = local_port(fd);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	t("in flight: pass", "%s", rs(pass(pair[0], fd)));
	close(fd);
	ask("bind %d %d %d", SOCK_STREAM, fam == F6, port);
	t("in flight: the port is held", "%s", told());
	fd = passed(pair[1]);
	t("in flight: got it", "%d, listens %s", fd >= 0, rs(listen(fd, 4)));
	pass(pair[0], fd);
	close(fd);
	t("in flight: FIONREAD", "%s", rs(ioctl(pair[1], FIONREAD, &n)));
	t("in flight: bytes", "%d", n);
	close(pair[0]);
	close(pair[1]);
	ask("bind %d %d %d", SOCK_STREAM, fam == F6, port);
	t("in flight: the port is free", "%s", told());
}

/* ---- AF_UNIX ---- */

/* "@name" is an abstract one. */
static socklen_t unix_addr(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strncpy(a->sun_path, name, sizeof(a->sun_path) - 1);
	if (name[0] != '@')
		return sizeof(*a);
	a->sun_path[0] = 0;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

static int unix_bind(int fd, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = unix_addr(&a, name);

	return bind(fd, (struct sockaddr *)&a, len);
}

static int unix_connect(int fd, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = unix_addr(&a, name);

	return connect(fd, (struct sockaddr *)&a, len);
}

/* Whether @r, what get*name() returned, and the address are as they were given. */
static const char *unix_is(int r, const struct sockaddr_un *a, socklen_t len, const char *name)
{
	struct sockaddr_un want;
	socklen_t n = unix_addr(&want, name);

	if (r)
		return strerrorname_np(errno);
	if (a->sun_family != AF_UNIX)
		return "another family";
	if (len == sizeof(a->sun_family))
		return "unnamed";
	if (name[0] != '@')
		n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
	return len == n && !memcmp(a, &want, n) ? "right" : "another name";
}

static void unix_peer(int fd, const char *what)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	int r = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);

	t(what, "PEERCRED %s len %u %d %d %d", rs(r), len, cred.pid == getpid(),
		cred.uid == getuid(), cred.gid == getgid());
}

static void unix_stream(int type, const char *name, const char *what)
{
	int fd = socket(AF_UNIX, type, 0), a = socket(AF_UNIX, type, 0), b, other;
	struct sockaddr_un sun = { 0 };
	socklen_t len = sizeof(sun);
	char buf[16];
	ssize_t n;
	int r;

	t(what, "connect to nobody %s", rs(unix_connect(a, name)));
	t(what, "bind %s", rs(unix_bind(fd, name)));
	other = socket(AF_UNIX, type, 0);
	t(what, "bind again %s", rs(unix_bind(other, name)));
	t(what, "connect to who does not listen %s", rs(unix_connect(a, name)));
	t(what, "listen %s", rs(listen(fd, 8)));
	t(what, "connect %s", rs(unix_connect(a, name)));
	t(what, "poll %s", bits(ready(fd, POLLIN)));
	b = accept(fd, NULL, NULL);
	t(what, "accept %s", b >= 0 ? "ok" : strerrorname_np(errno));
	r = getsockname(b, (struct sockaddr *)&sun, &len);
	t(what, "local %s", unix_is(r, &sun, len, name));
	len = sizeof(sun);
	r = getpeername(a, (struct sockaddr *)&sun, &len);
	t(what, "peer %s", unix_is(r, &sun, len, name));
	len = sizeof(sun);
	r = getpeername(b, (struct sockaddr *)&sun, &len);
	t(what, "who connected %s", unix_is(r, &sun, len, name));
	unix_peer(a, what);
	unix_peer(b, what);
	t(what, "send %s", rs(send(a, "hello", 5, 0)));
	n = recv(b, buf, sizeof(buf), 0);
	t(what, "recv %s %.5s", rs(n), buf);
	t(what, "recv DONTWAIT %s", rs(recv(b, buf, sizeof(buf), MSG_DONTWAIT)));
	t(what, "OOB %s", rs(send(a, "x", 1, MSG_OOB)));
	shutdown(a, SHUT_WR);
	t(what, "send after shutdown %s", rs(send(a, "x", 1, MSG_NOSIGNAL)));
	t(what, "the other way %s", rs(send(b, "back", 4, MSG_NOSIGNAL)));
	t(what, "recv %s", rs(recv(a, buf, sizeof(buf), 0)));
	close(b);
	t(what, "the peer has closed %s", bits(polled(a)));
	t(what, "the peer has closed, recv %s", rs(recv(a, buf, sizeof(buf), 0)));
	close(a);
	close(fd);
	t(what, "connect when it is closed %s", rs(unix_connect(other, name)));
	if (name[0] != '@')
		t(what, "unlink %s", rs(unlink(name)));
	t(what, "connect then %s", rs(unix_connect(other, name)));
	close(other);
}

static void unix_dgrams(const char *name, const char *what)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), a = socket(AF_UNIX, SOCK_DGRAM, 0), one = 1;
	char buf[16], ctrl[CMSG_SPACE(sizeof(struct ucred))];
	struct sockaddr_un sun;
	socklen_t len = unix_addr(&sun, name);
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctrl,
		.msg_controllen = sizeof(ctrl) };
	struct ucred cred = { 0 };
	ssize_t n;

	t(what, "send to nobody %s", rs(sendto(a, "x", 1, 0, (struct sockaddr *)&sun, len)));
	t(what, "bind %s", rs(unix_bind(fd, name)));
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	t(what, "send %s", rs(sendto(a, "hello", 5, 0, (struct sockaddr *)&sun, len)));
	n = recvmsg(fd, &m, MSG_DONTWAIT);
	t(what, "recv %s %.5s flags %x", rs(n), buf, m.msg_flags);
	if (n > 0 && CMSG_FIRSTHDR(&m))
		memcpy(&cred, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(cred));
	t(what, "sender %d %d", cred.pid == getpid(), cred.uid == getuid());
	t(what, "connect %s", rs(unix_connect(a, name)));
	close(fd);
	t(what, "send when it is closed %s", rs(send(a, "x", 1, MSG_NOSIGNAL)));
	if (name[0] != '@')
		unlink(name);
	close(a);
}

static void unix_pair(int type, const char *what)
{
	int p[2], r = socketpair(AF_UNIX, type, 0, p), v[2];
	struct sockaddr_un sun;
	socklen_t len = sizeof(sun);
	char buf[16];
	ssize_t n;

	t(what, "%s", rs(r));
	r = getsockname(p[0], (struct sockaddr *)&sun, &len);
	t(what, "name %s", unix_is(r, &sun, len, "@"));
	unix_peer(p[0], what);
	send(p[0], "one", 3, 0);
	send(p[0], "two", 3, 0);
	n = recv(p[1], buf, sizeof(buf), 0);
	t(what, "recv %s", rs(n));
	/* A file of another kind, which is used then. */
	r = pipe(v);
	t(what, "pass %s", rs(r ? r : pass(p[1], v[1])));
	close(v[1]);
	v[1] = passed(p[0]);
	t(what, "write %s", rs(write(v[1], "pipe", 4)));
	n = read(v[0], buf, sizeof(buf));
	t(what, "read %s %.4s", rs(n), buf);
	close(v[0]);
	close(v[1]);
	close(p[1]);
	t(what, "send to the closed %s", rs(send(p[0], "x", 1, MSG_NOSIGNAL)));
	close(p[0]);
}

static void unix_host(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char name[64];

	snprintf(name, sizeof(name), "@conform-%d", base);
	t("unix: a name of the host's side", "%s", rs(unix_connect(fd, name)));
	close(fd);
}

void unix_sockets(void)
{
	char dir[] = "/tmp/conform.XXXXXX", path[64];
	struct sockaddr_un a;
	struct stat st;
	int fd;

	if (fam != F4)
		return;
	if (!mkdtemp(dir)) {
		perror("conform: mkdtemp");
		exit(1);
	}
	snprintf(path, sizeof(path), "%s/socket", dir);
	unix_stream(SOCK_STREAM, path, "unix stream, a path");
	unix_stream(SOCK_STREAM, "@conform-name", "unix stream, abstract");
	unix_stream(SOCK_SEQPACKET, path, "unix seqpacket, a path");
	unix_stream(SOCK_SEQPACKET, "@conform-name", "unix seqpacket, abstract");
	unix_dgrams(path, "unix dgram, a path");
	unix_dgrams("@conform-name", "unix dgram, abstract");
	unix_pair(SOCK_STREAM, "unix pair, stream");
	unix_pair(SOCK_DGRAM, "unix pair, dgram");
	unix_pair(SOCK_SEQPACKET, "unix pair, seqpacket");

	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	unix_bind(fd, path);
	t("unix: the file", "%s", rs(stat(path, &st)));
	t("unix: the file is a socket", "%d", S_ISSOCK(st.st_mode) != 0);
	t("unix: open", "%s", rs(open(path, O_RDONLY)));
	t("unix: bind twice", "%s", rs(unix_bind(fd, "@conform-other")));
	close(fd);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	t("unix: autobind", "%s", rs(bind(fd, (struct sockaddr *)&a, sizeof(a.sun_family))));
	t("unix: a directory that is not there", "%s", rs(unix_connect(fd, "/nowhere/socket")));
	close(open(path, O_CREAT | O_WRONLY, 0666));
	t("unix: a file that is no socket", "%s", rs(unix_connect(fd, path)));
	unlink(path);
	t("unix: an address of IPv4", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	close(fd);
	rmdir(dir);
	unix_host();
}
