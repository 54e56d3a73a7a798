// SPDX-License-Identifier: Apache-2.0
/* PID 1 of the guest: what the kernel leaves to it, then the agent's loop. */

/*
 * How it works
 *
 * The kernel starts this as /init of an initramfs that holds it and /dev/console. First it listens
 * and knocks, so that the host connects while the rest goes on; then come the few mounts that the
 * agent itself needs and the root share, whose first request to the host takes longest. Nothing is
 * printed unless something is wrong: each line costs VM exits.
 */
#include "agent.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CID_ANY	 0xffffffffu
#define CID_HOST 2u

#define IOC_EXIT_CODE 0x7602 /* libkrun's, on any file of a share: the guest's exit code */

struct vsock_addr {
	unsigned short family, reserved;
	unsigned int port, cid;
	unsigned char flags, zero[3];
};

static uint64_t now_ns(void)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void say(const char *s)
{
	(void)!write(2, s, strlen(s));
}

/* There is nobody to tell but the console, and nothing to go on with. */
static _Noreturn void fatal(const char *what, int err)
{
	say("agent: ");
	say(what);
	say(": ");
	say(strerror(err < 0 ? -err : err));
	say("\n");
	sync();
	(void)reboot(RB_AUTOBOOT);
	for (;;)
		(void)pause();
}

static int listen_vsock(void)
{
	struct vsock_addr sa = { .family = AF_VSOCK, .port = PROTO_AGENT_PORT, .cid = CID_ANY };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		fatal("vsock", errno);
	if (bind(fd, (struct sockaddr *)(void *)&sa, sizeof(sa)) || listen(fd, AGENT_BACKLOG))
		fatal("vsock listener", errno);
	return fd;
}

/* The connect is refused; that it was made is the message. The socket is kept so that the request
 * is surely sent. */
static void knock(void)
{
	struct vsock_addr sa = { .family = AF_VSOCK, .port = PROTO_KNOCK_PORT, .cid = CID_HOST };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		(void)connect(fd, (struct sockaddr *)(void *)&sa, sizeof(sa));
}

static void must_mount(const char *type, const char *dir, unsigned long flags)
{
	int err;

	if (mkdir(dir, 0755) && errno != EEXIST)
		fatal(dir, errno);
	if (!sys_mount(type, dir, type, flags, NULL))
		return;
	err = errno;
	/* The kernel has done it before us (devtmpfs with CONFIG_DEVTMPFS_MOUNT, as in libkrunfw's,
	 * on a root that is no initramfs), by flags of its own. */
	if (err != EBUSY || sys_mount(NULL, dir, NULL, K_MS_REMOUNT | K_MS_BIND | flags, NULL))
		fatal(dir, err);
}

static void loopback_up(void)
{
	struct ifreq r;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return; /* a kernel without IPv4 */
	memset(&r, 0, sizeof(r));
	memcpy(r.ifr_name, "lo", sizeof("lo"));
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	(void)ioctl(fd, SIOCSIFFLAGS, &r);
	(void)close(fd);
}

/* A setting of the guest's kernel; one that has it not does without. */
static void set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, value, strlen(value));
	(void)close(fd);
}

static void settings(void)
{
	/* As far as the kernel goes: no limit of open files that is valid on a host may be too high
	 * here. */
	set("/proc/sys/fs/nr_open", "2147483584");
	/*
	 * Each processor keeps pages that were freed, up to an eighth of the memory and for some
	 * seconds; the blocks that they belong to are not reported to the host as free. With this
	 * it is some 250 pages.
	 */
	set("/proc/sys/vm/percpu_pagelist_high_fraction", "100000");
}

/* Is @word one of the kernel's command line? */
static bool told(const char *word)
{
	char line[4096], *save = NULL;
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		(void)close(fd);
	line[n < 0 ? 0 : n] = 0;
	for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
		if (!strcmp(w, "--"))
			return false; /* what follows are arguments of the first process */
		if (!strcmp(w, word))
			return true;
	}
	return false;
}

/* Started by other means than the host's own start: no host would ever come. The code is libkrun's
 * for a guest that could not be set up; where no share takes it the kernel's panic says as much. */
static _Noreturn void no_host(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	say("agent: this is the first process of libkrun's own start, and serves no other\n");
	if (fd >= 0 && !ioctl(fd, IOC_EXIT_CODE, 125))
		(void)reboot(RB_AUTOBOOT);
	/* not for ever, whatever the kernel does after a panic by itself */
	set("/proc/sys/kernel/panic", "-1");
	_exit(125);
}

/* As in libkrun's contract: the host does not wait for us, the workload does. */
static void address(const char *servers)
{
	int err;

	/* the root may be one that nobody can write to */
	(void)mkdir("/net", 0755);
	(void)sys_mount("tmpfs", "/net", "tmpfs", K_MS_NOSUID | K_MS_NODEV, "size=64k");
	err = dhcp_run("eth0", DHCP_TRIES, servers);
	if (!err)
		return;
	say(err > 0 ? "agent: name servers by DHCP: " : "agent: no address by DHCP: ");
	say(strerror(abs(err)));
	say("\n");
}

int main(void)
{
	static const char *const hide[] = { "/r", "/cg", "/dev", "/proc", "/net", NULL };
	struct agent_cfg cfg = { .share = "/r",
		.newroot = "/c",
		.hide = hide,
		.servers = "/net/resolv.conf",
		.vsock = true,
		.machine = true,
		.started_ns = now_ns() };
	static struct agent agent;
	int fd, err;

	if (getpid() != 1) {
		say("agent: runs as PID 1 of a guest only\n");
		return 1;
	}
	must_mount("proc", "/proc", K_MS_NOSUID | K_MS_NODEV | K_MS_NOEXEC);
	/* first, as a kernel of the caller's need not have what we want for ourselves */
	if (told("krun.own"))
		no_host();
	fd = listen_vsock();
	knock();
	cfg.ready_ns = now_ns();
	(void)reboot(RB_DISABLE_CAD);
	(void)umask(0);
	must_mount("devtmpfs", "/dev", K_MS_NOSUID);
	settings();
	(void)mkdir("/r", 0755); /* what cannot be made or is there shows in the mounts */
	(void)mkdir("/c", 0755);
	(void)mkdir("/cg", 0755);
	if (!sys_mount("cgroup2", "/cg", "cgroup2", K_MS_NOSUID | K_MS_NODEV | K_MS_NOEXEC, NULL))
		cfg.cgroup = "/cg";
	loopback_up();
	if (getenv("KRUN_DHCP"))
		address(cfg.servers);
	/* If it is not there yet (a template, another kind of root), MSG_CREATE mounts what it is
	 * told. */
	cfg.share_mounted = !sys_mount("root", "/r", "virtiofs", 0, NULL);
	err = agent_init(&agent, &cfg, fd);
	if (!err)
		err = agent_run(&agent);
	fatal("loop", err);
}
