// SPDX-License-Identifier: Apache-2.0
/* What of sd_notify's messages leaves the guest, and which socket of the host gets them. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "init/proto/msg.h"
#include "oci/notify.h"
#include "test.h"
#include "util/cleanup.h"
#include "util/err.h"

static char dir[] = "/tmp/krun-notify.XXXXXX";
static int dir_fd = -1;

static const char *relayed(const char *text, size_t len)
{
	static char out[MSG_NOTIFY_MAX + 1];
	int sv[2];
	struct notify n = { .fd = -1 };
	ssize_t r;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sv))
		return "socketpair";
	n.fd = sv[0];
	notify_relay(&n, text, len);
	r = recv(sv[1], out, sizeof(out) - 1, MSG_DONTWAIT);
	(void)close(sv[0]);
	(void)close(sv[1]);
	if (r < 0)
		return "nothing";
	out[r] = 0;
	return out;
}

static void lines(void)
{
	static char big[MSG_NOTIFY_MAX + 1];

#define R(s) relayed(s, sizeof(s) - 1)
	CHECK_STR(R("READY=1"), "READY=1");
	CHECK_STR(R("READY=1\nSTATUS=up and running\n"), "READY=1\nSTATUS=up and running\n");
	CHECK_STR(R("MAINPID=7\nREADY=1\nFDSTORE=1\nFDNAME=x\nSTATUS=\xff\n"),
		"READY=1\nSTATUS=\xff\n");
	CHECK_STR(R("READY=1\nMAINPID=7"), "READY=1\n");
	CHECK_STR(R("BARRIER=1"), "nothing");
	CHECK_STR(R("MAINPIDX=1"), "MAINPIDX=1");
	CHECK_STR(R(""), "nothing");
	CHECK_STR(R("\n\n"), "\n\n");
#undef R
	memset(big, 'a', sizeof(big));
	CHECK_EQ(strlen(relayed(big, sizeof(big) - 1)), sizeof(big) - 1);
	CHECK_STR(relayed(big, sizeof(big)), "nothing");
}

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A full receiver costs one wait, however much the guest has to say; later there is one again. */
static void full(void)
{
	int sv[2];
	struct notify n = { .fd = -1 };
	struct timeval t = { .tv_usec = 100000 };
	uint64_t begin = now_ms();
	char c;

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sv));
	CHECK(!setsockopt(sv[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
	n.fd = sv[0];
	for (int i = 0; i < 2000; i++)
		notify_relay(&n, "READY=1", 7);
	CHECK(n.full);
	CHECK(now_ms() - begin < 50000); /* a wait for each would be 198 s */
	CHECK_EQ(recv(sv[1], &c, 1, MSG_DONTWAIT), 1);
	notify_relay(&n, "READY=1", 7);
	CHECK(!n.full);
	CHECK(!close(sv[1]));
	notify_relay(&n, "READY=1", 7); /* and a receiver that is gone */
	CHECK(!close(sv[0]));
}

static struct spec *config(const char *env, const char *source, const char *dest)
{
	char text[1024];
	struct spec *s = NULL;
	struct error e = { 0 };

	(void)snprintf(text, sizeof(text),
		"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{\"cwd\":\"/\",\"args\":[\"x\"],\"user\":{\"uid\":0,\"gid\":0},"
		"\"env\":[\"%s\"]},\"mounts\":[{\"destination\":\"%s\",\"type\":\"bind\",\"source\":\"%s\",\"options\":[\"bind\"]}],\"linux\":{}}",
		env, dest, source);
	if (spec_parse(text, strlen(text), &s, &e))
		printf("# %s\n", e.msg);
	return s;
}

/* Opens by such a config; whether the message arrives at the socket "s" in the directory. */
static const char *own;

static int reaches(const char *env, const char *source, const char *dest)
{
	CLEAN_FD int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct spec *s = config(env, source, dest);
	struct notify n = { .fd = -1 };
	struct error e = { 0 };
	char buf[16];
	int r;

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", dir);
	(void)unlink(a.sun_path);
	if (!s || bind(sock, (struct sockaddr *)&a, sizeof(a)))
		return -1;
	r = notify_open(s, dir_fd, own, &n, &e);
	if (!r) {
		notify_relay(&n, "READY=1", 7);
		r = recv(sock, buf, sizeof(buf), MSG_DONTWAIT) == 7 ? 1 : 0;
		if ((n.fd >= 0) != (r == 1) || (n.path != NULL) != (r == 1))
			r = -1;
	}
	if (n.fd >= 0)
		(void)close(n.fd);
	spec_free(s);
	return r;
}

static void which_socket(void)
{
	char file[64];

	(void)snprintf(file, sizeof(file), "%s/s", dir);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/notify/s", dir, "/run/notify"), 1);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/notify/s", ".", "/run/notify"), 1);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/x.sock", file, "/run/x.sock"), 1);
	/* of several it is the first, as in the guest */
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/notify/s\",\"NOTIFY_SOCKET=/none", dir, "/run/notify"),
		1);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/none\",\"NOTIFY_SOCKET=/run/notify/s", dir, "/run/notify"),
		0);
	/* nothing to relay to */
	CHECK_EQ(reaches("A=b", dir, "/run/notify"), 0);
	CHECK_EQ(reaches("NOTIFY_SOCKET=@abstract", dir, "/run/notify"), 0);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/notify/other", dir, "/run/notify"), 0);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/notifyx/s", dir, "/run/notify"), 0);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/notify/../s", dir, "/run"), 0);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/notify", dir, "/run/notify"), 0); /* a directory */
	/* the container's directory must be one */
	CHECK_EQ(reaches("NOTIFY_SOCKET=/s", file, "/s"), -ENOTSUP);
	/* a link may lead anywhere */
	(void)snprintf(file, sizeof(file), "%s/link", dir);
	CHECK(!symlink("s", file));
	CHECK_EQ(reaches("NOTIFY_SOCKET=/run/notify/link", dir, "/run/notify"), 0);
	CHECK(!unlink(file));
}

/* What the caller's environment says, where the config says nothing. */
static void callers(void)
{
	char file[64], want[96], long_name[200];
	struct spec *s;
	struct notify n = { .fd = -1 };
	struct error e = { 0 };

	(void)snprintf(file, sizeof(file), "%s/s", dir);
	own = file;
	CHECK_EQ(reaches("A=b", "/", "/x"), 1);
	/* the config's own goes first, also when it leads nowhere */
	CHECK_EQ(reaches("NOTIFY_SOCKET=@a", "/", "/x"), 0);
	CHECK_EQ(reaches("NOTIFY_SOCKET=/none", "/", "/x"), 0);
	own = "@abstract";
	CHECK_EQ(reaches("A=b", "/", "/x"), 0);
	own = "";
	CHECK_EQ(reaches("A=b", "/", "/x"), 0);
	own = dir;
	CHECK_EQ(reaches("A=b", "/", "/x"), 0);
	/* as many bytes as an address has room for, and one more */
	(void)memset(long_name, '/', sizeof(long_name));
	(void)snprintf(long_name + 100 - strlen(file), sizeof(file), "%s", file);
	own = long_name;
	CHECK_EQ(strlen(own), 100);
	CHECK_EQ(reaches("A=b", "/", "/x"), 1);
	(void)memset(long_name, '/', sizeof(long_name));
	(void)snprintf(long_name + 101 - strlen(file), sizeof(file), "%s", file);
	CHECK_EQ(reaches("A=b", "/", "/x"), 0);
	own = NULL;

	/* the variable that the process gets */
	s = config("A=b", "/", "/x");
	CHECK(s);
	{
		CLEAN_FD int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		struct sockaddr_un a = { .sun_family = AF_UNIX };
		char buf[64] = "";

		(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", file);
		(void)unlink(file);
		CHECK(!bind(sock, (struct sockaddr *)&a, sizeof(a)));
		CHECK_EQ(notify_open(s, dir_fd, file, &n, &e), 0);
		(void)snprintf(want, sizeof(want), "NOTIFY_SOCKET=%s/notify", file);
		CHECK_EQ(s->process.env.n, 2);
		CHECK_STR(s->process.env.v[0], "A=b");
		CHECK_STR(s->process.env.v[1], want);
		CHECK(!s->process.env.v[2]);
		CHECK(n.caller);
		CHECK_STR(n.path, strchr(want, '/'));
		CHECK(!close(n.fd));
		/* and what is said to the caller */
		CHECK(!setenv("NOTIFY_SOCKET", file, 1));
		notify_tell_caller(12);
		CHECK(recv(sock, buf, sizeof(buf) - 1, MSG_DONTWAIT) > 0);
		CHECK_STR(buf, "READY=1\nMAINPID=12\n");
		(void)memset(buf, 0, sizeof(buf));
		notify_tell_caller(0);
		CHECK(recv(sock, buf, sizeof(buf) - 1, MSG_DONTWAIT) > 0);
		CHECK_STR(buf, "READY=1\n");
		CHECK(!unsetenv("NOTIFY_SOCKET"));
		notify_tell_caller(0);
		CHECK(recv(sock, buf, sizeof(buf) - 1, MSG_DONTWAIT) < 0);
	}
	spec_free(s);
}

static void ready(void)
{
#define R(s) notify_says_ready(s, sizeof(s) - 1)
	CHECK(R("READY=1"));
	CHECK(R("READY=1\n"));
	CHECK(R("STATUS=x\nREADY=1"));
	CHECK(R("\n\nREADY=1\n\n"));
	CHECK(!R(""));
	CHECK(!R("\n"));
	CHECK(!R("READY=0"));
	CHECK(!R("READY=12"));
	CHECK(!R("XREADY=1"));
	CHECK(!R("READY=1\0"));
	CHECK(!R("STATUS=READY=1"));
#undef R
}

static void nobody_listens(void)
{
	struct spec *s = config("NOTIFY_SOCKET=/run/notify/s", dir, "/run/notify");
	struct notify n = { .fd = -1 };
	struct error e = { 0 };

	CHECK(s); /* the socket of the case before is closed, its file still there */
	CHECK_EQ(notify_open(s, dir_fd, NULL, &n, &e), 0);
	CHECK_EQ(n.fd, -1);
	CHECK(!n.path);
	spec_free(s);
}

static const struct test_case cases[] = {
	TEST(lines),
	TEST(full),
	TEST(which_socket),
	TEST(callers),
	TEST(ready),
	TEST(nobody_listens),
};

int main(int argc, char **argv)
{
	char file[64];
	int r;

	if (!mkdtemp(dir))
		return 1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
	(void)snprintf(file, sizeof(file), "%s/s", dir);
	(void)unlink(file);
	(void)rmdir(dir);
	return r;
}
