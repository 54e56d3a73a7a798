// SPDX-License-Identifier: Apache-2.0
/* The container's processes, as the agent's own /proc shows them. */
/*
 * How it works
 *
 * The agent makes one pid namespace, the container's, so whatever has a pid in one more namespace
 * than the agent is the container's: the NSpid line of its status says so, and what the container
 * calls it. /proc
 * lists pids in ascending order, so the highest one looked at is a cursor; a reply holds as many as
 * fit. A process that goes meanwhile is left out.
 */
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HZ 100u /* USER_HZ, the same everywhere this runs */

struct view {
	uint64_t boot_ns, real_ns;
	unsigned depth; /* numbers in our own NSpid line */
};

/* Reads @pid's file into @buf, NUL-terminated: bytes, or -1. */
static ssize_t slurp(unsigned long pid, const char *file, char *buf, size_t cap)
{
	char path[48];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%lu/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, buf, cap - 1);
	(void)close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n;
}

static const char *field(const char *status, const char *name)
{
	const char *p = strstr(status, name);

	return p ? p + strlen(name) : "";
}

/* The number after @skip others in the NSpid line, 0 when there is none. */
static uint32_t inner_pid(const char *status, unsigned skip)
{
	const char *p = field(status, "\nNSpid:");
	unsigned long v = 0;
	char *end;

	for (unsigned i = 0; i <= skip; i++) {
		if (*p != '\t')
			return 0;
		v = strtoul(p, &end, 10);
		p = end;
	}
	return (uint32_t)v;
}

static unsigned own_depth(void)
{
	char buf[2048];
	unsigned n = 0;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		(void)close(fd);
	buf[len > 0 ? len : 0] = 0;
	while (inner_pid(buf, n))
		n++;
	return n;
}

static uint32_t inner_parent(const char *status, unsigned depth)
{
	char buf[2048];
	unsigned long ppid = strtoul(field(status, "\nPPid:"), NULL, 10);

	return ppid && slurp(ppid, "status", buf, sizeof(buf)) > 0 ? inner_pid(buf, depth) : 0;
}

/* Terminal, CPU time and start, from behind the name, which may hold anything. */
static int read_stat(unsigned long pid, const struct view *t, struct msg_ps_proc *out)
{
	unsigned long long user, sys, start;
	char buf[1024], *p;
	int tty;

	if (slurp(pid, "stat", buf, sizeof(buf)) <= 0)
		return -ESRCH;
	p = strrchr(buf, ')');
	if (!p ||
		sscanf(p + 1,
			" %*c %*d %*d %*d %d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
			"%*d %*d %llu",
			&tty, &user, &sys, &start) != 4)
		return -ESRCH;
	out->tty = (uint32_t)tty;
	out->cpu_ms = (user + sys) * (1000 / HZ);
	start *= 1000000000u / HZ;
	out->run_seconds = start < t->boot_ns ? (uint32_t)((t->boot_ns - start) / 1000000000u) : 0;
	out->started_ns = t->real_ns - t->boot_ns + start;
	return 0;
}

/* The command line with spaces between its words, or "[name]". */
static uint32_t read_text(unsigned long pid, char text[MSG_PS_TEXT + 1])
{
	ssize_t n = slurp(pid, "cmdline", text, MSG_PS_TEXT + 1);
	char name[64];

	while (n > 0 && !text[n - 1])
		n--;
	for (ssize_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : ' ';
	if (n > 0)
		return (uint32_t)n;
	n = slurp(pid, "comm", name, sizeof(name));
	if (n <= 0)
		return 0;
	name[strcspn(name, "\n")] = 0;
	return (uint32_t)snprintf(text, MSG_PS_TEXT + 1, "[%s]", name);
}

static bool describe(unsigned long pid, const struct view *t, struct msg_ps_proc *out,
	char text[MSG_PS_TEXT + 1])
{
	char status[2048];

	memset(out, 0, sizeof(*out));
	if (slurp(pid, "status", status, sizeof(status)) <= 0)
		return false;
	out->pid = inner_pid(status, t->depth);
	if (!out->pid)
		return false;
	out->ppid = inner_parent(status, t->depth);
	out->uid = (uint32_t)strtoul(field(status, "\nUid:"), NULL, 10);
	if (read_stat(pid, t, out))
		return false;
	out->text_len = read_text(pid, text);
	return out->text_len;
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int ps_list(uint32_t after, uint8_t *out, size_t *len)
{
	const size_t cap = MSG_MAX_TO_HOST - sizeof(struct msg_hdr);
	struct view t = { now_ns(CLOCK_BOOTTIME), now_ns(CLOCK_REALTIME), own_depth() };
	struct msg_ps_reply head = { .count = 0 };
	DIR *d = opendir("/proc");
	uint32_t last = after;
	struct dirent *de;

	if (!d)
		return -errno;
	*len = sizeof(head);
	while ((de = readdir(d))) {
		char text[MSG_PS_TEXT + 1], *end;
		unsigned long pid = strtoul(de->d_name, &end, 10);
		struct msg_ps_proc p;
		size_t padded;

		if (*end || pid <= after || !describe(pid, &t, &p, text))
			continue;
		padded = ((size_t)p.text_len + 7) & ~(size_t)7;
		if (sizeof(p) + padded > cap - *len) {
			head.next = last;
			break;
		}
		memcpy(out + *len, &p, sizeof(p));
		memset(out + *len + sizeof(p), 0, padded);
		memcpy(out + *len + sizeof(p), text, p.text_len);
		*len += sizeof(p) + padded;
		last = (uint32_t)pid;
		head.count++;
	}
	(void)closedir(d);
	memcpy(out, &head, sizeof(head));
	return 0;
}
