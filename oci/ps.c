// SPDX-License-Identifier: Apache-2.0
/* ps: the guest's processes as a table, the host's as JSON. */
/*
 * How it works
 *
 * Managers take the JSON form, and run the host's ps on what it holds: so these are pids of the
 * host, all processes of the container's cgroup (the VMM and the proxies of exec). The table is for
 * people: the guest's own processes, which the VMM asks the agent for, a page at a time, each of
 * which comes here as it is and is proven right by msg_ps_next(). A guest that always says that
 * there is more is cut off after PS_PAGES.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "init/proto/msg.h"
#include "oci/cgroup.h"
#include "oci/clock.h"
#include "oci/create.h"
#include "oci/ctl.h"
#include "oci/fsutil.h"
#include "oci/json_write.h"
#include "oci/state.h"
#include "util/cleanup.h"

#define PS_PAGES 4096	    /* of at least 7 processes each: more than a guest's pid_max */
#define PS_MS	 10000	    /* for all of them */
#define PIDS_MAX (1U << 20) /* bytes of cgroup.procs */

static int table_tty(char buf[static 16], uint32_t dev)
{
	unsigned maj = (dev >> 8) & 0xfff, min = (dev & 0xff) | ((dev >> 12) & 0xfff00);

	if (maj >= 136 && maj <= 143)
		return snprintf(buf, 16, "pts/%u", (maj - 136) * 256 + (min & 0xff));
	return snprintf(buf, 16, "%s", maj == 5 && min == 1 ? "console" : "?");
}

static void row(FILE *out, const struct msg_ps_proc *p, const char *text)
{
	time_t started = (time_t)(p->started_ns / 1000000000u), now = time(NULL);
	uint64_t s = p->cpu_ms / 1000;
	uint64_t percent = p->run_seconds ? p->cpu_ms / 10 / p->run_seconds : 0;
	char when[16] = "?", tty[16];
	struct tm tm;

	/* a day that is not today by its date, as ps does */
	if (localtime_r(&started, &tm))
		(void)strftime(when, sizeof(when), now - started < 86400 ? "%H:%M" : "%b%d", &tm);
	(void)table_tty(tty, p->tty);
	(void)fprintf(out,
		"%-8" PRIu32 " %7" PRIu32 " %7" PRIu32 " %2" PRIu64 " %5s %-8s %02" PRIu64
		":%02" PRIu64 ":%02" PRIu64 " %s\n",
		p->uid, p->pid, p->ppid, MIN(percent, 99), when, tty, s / 3600, s / 60 % 60, s % 60,
		text);
}

/* One packet until @end. */
static ssize_t receive(int fd, void *buf, size_t n, int64_t end)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	do {
		r = poll(&p, 1, (int)MAX(end - now_ms(), (int64_t)0));
	} while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r ? -errno : -ETIMEDOUT;
	return recv(fd, buf, n, 0);
}

/* Prints a page; its cursor is the next one's. */
static int page(
	const struct container *c, uint32_t *cursor, int64_t end, FILE *out, struct error *e)
{
	struct ctl_req q = { .op = CTL_PS, .arg = *cursor };
	CLEAN_FD int fd = ctl_connect(c, e);
	uint8_t buf[MSG_MAX_TO_HOST];
	char text[MSG_PS_TEXT + 1];
	struct msg_ps_reply head;
	struct ctl_reply reply = { 0 };
	struct msg_ps_proc one;
	const uint8_t *p = buf + sizeof(head);
	size_t left;
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	r = ctl_send(fd, &q, NULL, 0, e);
	if (r)
		return r;
	n = receive(fd, &reply, sizeof(reply), end);
	if (n == -ETIMEDOUT)
		return err_sys(
			e, ETIMEDOUT, "the guest of container \"%s\" does not answer", c->id);
	if (n != (ssize_t)sizeof(reply))
		return err_set(e, ECONNRESET, "container \"%s\" is not running", c->id);
	reply.text[sizeof(reply.text) - 1] = 0;
	if (reply.code)
		return err_set(e, reply.code, "%s", reply.text);
	n = receive(fd, buf, sizeof(buf), end);
	if (n < (ssize_t)sizeof(head))
		return err_set(e, EPROTO, "the guest of container \"%s\" talks nonsense", c->id);
	(void)memcpy(&head, buf, sizeof(head));
	left = (size_t)n - sizeof(head);
	while ((r = msg_ps_next(&p, &left, &one, text)) == 1)
		row(out, &one, text);
	/* a cursor that does not move would never end */
	if (r || (head.next && head.next <= *cursor))
		return err_set(e, EPROTO, "the guest of container \"%s\" talks nonsense", c->id);
	*cursor = head.next;
	return 0;
}

static int table(const struct container *c, FILE *out, struct error *e)
{
	int64_t end = now_ms() + PS_MS;
	uint32_t cursor = 0;
	int r;

	(void)fprintf(out, "%-8s %7s %7s %2s %5s %-8s %8s %s\n", "UID", "PID", "PPID", "C", "STIME",
		"TTY", "TIME", "CMD");
	for (unsigned i = 0; i < PS_PAGES; i++) {
		r = page(c, &cursor, end, out, e);
		if (r || !cursor)
			return r;
	}
	return err_set(e, EPROTO, "the guest of container \"%s\" tells too many processes", c->id);
}

static int json(const struct container *c, FILE *out, struct error *e)
{
	CLEAN_FREE char *pids = NULL, *text = NULL;
	struct json_writer w;
	bool seen = false;
	size_t len = 0;
	int r;

	jw_init(&w, false);
	jw_array(&w, NULL);
	if (c->cgroup) {
		CLEAN_FD int mnt = cgroup_mount(e);
		CLEAN_FD int dir =
			mnt < 0 ? -1 : openat(mnt, c->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir >= 0 && !read_file_at(dir, "cgroup.procs", PIDS_MAX, &pids, NULL)) {
			char *save = NULL;

			for (char *s = strtok_r(pids, "\n", &save); s;
				s = strtok_r(NULL, "\n", &save)) {
				seen |= strtol(s, NULL, 10) == c->pid;
				jw_i64(&w, NULL, strtol(s, NULL, 10));
			}
		}
	}
	if (!seen)
		jw_i64(&w, NULL, c->pid);
	jw_end(&w);
	r = jw_finish(&w, &text, &len);
	if (!r && (fwrite(text, 1, len, out) != len || fflush(out)))
		r = -EIO;
	return r ? err_sys(e, r, "cannot write the output") : 0;
}

int rt_ps(const struct rt *rt, const char *id, enum rt_format format, FILE *out, struct error *e)
{
	CLEAN(container_free) struct container c;
	enum phase ph;
	int r = container_open(rt, id, &c, e);

	if (r)
		return r;
	ph = container_phase(&c, NULL);
	if (ph == PHASE_STOPPED || ph == PHASE_CREATING)
		return err_set(e, EINVAL, "container \"%s\" is not running", id);
	if (format == RT_JSON)
		return json(&c, out, e);
	if (ph == PHASE_PAUSED)
		return err_set(
			e, EBUSY, "the processes of a paused container can only be told as json");
	r = table(&c, out, e);
	return !r && fflush(out) ? err_sys(e, EIO, "cannot write the output") : r;
}
