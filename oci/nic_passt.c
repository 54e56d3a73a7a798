// SPDX-License-Identifier: Apache-2.0
/* passt(1) between the guest and the sockets of a network namespace. */
/*
 * How it works
 *
 * It gets one end of a socket pair, takes the interface for its model, and goes into the background
 * when it is ready: the process that was started ends then, and its status says how it went. What
 * it said until then is kept in memory, for the sentence that an error needs. It drops its rights
 * by itself, and ends with the connection, so it cannot outlive the VMM.
 *
 * The guest has the addresses and routes that it would get by DHCP and router advertisements, both
 * families at once and before the workload runs; advertisements are off, as the guest's kernel
 * would make a second address of them. The guest's hardware address is its own: passt answers with
 * that of the interface.
 *
 * For each port it has a socket, so the limit of open files is raised as far as may be.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/cgroup.h"
#include "oci/nic_passt.h"
#include "oci/spawn.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"

#define FILES	140000 /* a socket for each port of TCP and of UDP, and some */
#define SAID	4096   /* bytes of what it said that are looked at, from the end */
#define SOCK_FD 3      /* of the pair, in passt */

static void raise_open_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max = MAX(r.rlim_max, (rlim_t)FILES);
	/* more than the hard limit takes a right that not everybody has */
	if (!setrlimit(RLIMIT_NOFILE, &r) || getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

static int spawn(char *const *argv, int sock, int said, pid_t *pid)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	int r;

	(void)posix_spawn_file_actions_init(&fa);
	spawn_attr(&at, 0);
	r = posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDWR, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, STDIN_FILENO, STDOUT_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, said, STDERR_FILENO);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, sock, SOCK_FD);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&fa, SOCK_FD + 1);
	if (!r)
		r = posix_spawnp(pid, argv[0], &fa, &at, argv, environ);
	(void)posix_spawn_file_actions_destroy(&fa);
	(void)posix_spawnattr_destroy(&at);
	return -r;
}

/* The last thing that it said, without its complaints that there is no system log. */
static const char *last_words(int said, char text[static SAID])
{
	off_t len = lseek(said, 0, SEEK_END);
	ssize_t n = pread(said, text, SAID - 1, MAX(len - (SAID - 1), 0));
	char *last = NULL, *state = NULL;

	text[MAX(n, 0)] = '\0';
	for (char *l = strtok_r(text, "\n", &state); l; l = strtok_r(NULL, "\n", &state)) {
		if (strncmp(l, "Failed to send", strlen("Failed to send")) != 0)
			last = l;
	}
	return last ? last : "it says nothing";
}

static int wait_ready(pid_t pid, int said, struct error *e)
{
	char text[SAID];
	int st = 0;

	while (waitpid(pid, &st, 0) < 0) {
		if (errno != EINTR)
			return err_sys(e, errno, "passt");
	}
	return st ? err_set(e, EIO, "passt has given up: %.160s", last_words(said, text)) : 0;
}

static int start(const struct nic_if *o, const char *ports, int sock, struct error *e)
{
	const char *argv[] = { "passt", "--fd", "3", "--interface", o->head.name, "--tcp-ports",
		ports, "--udp-ports", ports, "--no-map-gw", "--no-dhcp-dns", "--no-ra", NULL };
	CLEAN_FD int said = memfd_create("passt", MFD_CLOEXEC);
	/* above what the file actions put in place */
	CLEAN_FD int own = fcntl(sock, F_DUPFD_CLOEXEC, SOCK_FD + 1);
	pid_t pid = 0;
	int r;

	if (said < 0 || own < 0)
		return err_sys(e, errno, "passt");
	raise_open_files();
	r = spawn((char *const *)(uintptr_t)argv, own, said, &pid);
	if (r == -ENOENT)
		return err_set(e, ENOENT,
			"the network by passt takes the program passt, which is not there (Debian has it in the package \"passt\")");
	return r ? err_sys(e, r, "passt") : wait_ready(pid, said, e);
}

int nic_passt(struct nic_if *o, const char *ports, const char *cgroup, struct error *e)
{
	CLEAN_FD int own = -1;
	CLEAN_FD int other = -1;
	struct error why = { 0 };
	int sv[2], r;

	/* it is the container's, and goes with it whatever it does */
	if (cgroup && cgroup_add(cgroup, getpid(), &why))
		log_warn("passt is not in the container's cgroup: %s", why.msg);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return err_sys(e, errno, "socketpair");
	own = sv[0];
	other = sv[1];
	r = start(o, ports, other, e);
	if (r)
		return r;
	(void)memset(o->head.mac, 0, sizeof(o->head.mac));
	o->head.mtu = NIC_PASST_MTU;
	return TAKE_FD(own);
}
