// SPDX-License-Identifier: Apache-2.0
/*
 * Pauses, saves, frees and loads real guests.
 *
 *   snapshot [-r ROOT] [-k KERNEL] [-c VCPUS] [-m MIB] [-M] [-d DISK] VERB [FILE] [WORD...]
 *
 *   save FILE          boots the counting workload (work.sh) and saves it to FILE
 *   load FILE WORD...  checks that it counts on, and prints what it answers to each WORD; of these
 *                      "wire" and "balloon" are ours: what came by its interface, that it obeys
 *   pump-save FILE     saves a guest that is sending 4 MiB through `cat`
 *   pump-load FILE     ... and goes on where that was
 *   stress FILE [N]    two guests here: paused and resumed N times (40) under load, freed while
 *                      they run
 *   damage FILE [N]    FILE damaged in many ways, in N (200) where the checksums are right, or
 *                      loaded with other configs: an error each
 *
 * How it works: what the process that loads must know of the one that saved is in FILE.side: the
 * last number counted, the bytes of stdout so far and those of them that are no whole line yet; for
 * the pump how many bytes the device has taken from stdin. Saving and loading are processes of
 * their own, which the script runs one after the other.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/snapshot/damage.h"
#include "guest/snapshot/guest.h"
#include "util/log.h"

#define COUNT_TO 10
#define COUNT_ON 5
#define BALLOON	 (4U << 20)
#define PUMP	 (4U << 20)
#define STRESS	 409600 /* bytes between two pauses */

static struct guest_opts o = { .root = "/", .kernel = "kernel/vmlinux", .vcpus = 1, .mib = 128 };
static char *const count_args[] = { "/bin/sh", "/work.sh", NULL };
static char *const pump_args[] = { "/bin/cat", NULL };

static void pause_vm(struct guest *g)
{
	int r = vmm_pause(g->vm);

	if (r)
		die("pause: %s", strerror(-r));
}

static void save_to(struct guest *g, int fd)
{
	struct error e = { 0 };

	if (vmm_save(g->vm, fd, &e))
		die("save: %s", e.msg);
}

/* Saves with figures, and frees. */
static void save_and_free(struct guest *g, const char *file)
{
	double t0 = now_ms(), t1, t2;
	struct stat st;
	uint64_t len;
	int fd;

	fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die("%s: %s", file, strerror(errno));
	save_to(g, fd);
	t1 = now_ms();
	guest_free(g);
	t2 = now_ms();
	if (fstat(fd, &st) || pread(fd, &len, sizeof(len), 16) != (ssize_t)sizeof(len))
		die("%s: %s", file, strerror(errno));
	(void)printf(
		"# saved in %.0f ms, freed in %.0f ms: state %llu bytes, file %lld KiB of %lld\n",
		t1 - t0, t2 - t1, (unsigned long long)len, (long long)st.st_blocks / 2,
		(long long)st.st_size >> 10);
	(void)close(fd);
}

struct side {
	unsigned long long number, received, sent;
	unsigned long tail;
	char text[4096];
};

static FILE *open_side(const char *file, const char *mode)
{
	char path[4096];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s.side", file);
	f = fopen(path, mode);
	if (!f)
		die("%s: %s", path, strerror(errno));
	return f;
}

static void write_side(const char *file, const struct side *s)
{
	FILE *f = open_side(file, "we");

	if (fwrite(s, sizeof(*s), 1, f) != 1 || fclose(f))
		die("%s.side: %s", file, strerror(errno));
}

static void read_side(const char *file, struct side *s)
{
	FILE *f = open_side(file, "re");

	if (fread(s, sizeof(*s), 1, f) != 1 || fclose(f))
		die("%s.side: cut short", file);
}

static int open_file(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("%s: %s", file, strerror(errno));
	return fd;
}

/* A counter's line must be the next number; returns false for another line. */
static bool is_next(const char *line, unsigned long long *n)
{
	if (strncmp(line, "n ", 2) != 0)
		return false;
	if (strtoull(line + 2, NULL, 10) != *n + 1)
		die("the counter went from %llu to %s", *n, line + 2);
	++*n;
	return true;
}

static const char *must_line(struct guest *g)
{
	const char *l = guest_line(g);

	if (!l)
		die("stdout ended");
	return l;
}

static void count_until(struct guest *g, unsigned long long *n, unsigned long long to)
{
	while (*n < to) {
		const char *l = must_line(g);

		if (!is_next(l, n) && strcmp(l, "ready") != 0)
			die("not expected: %s", l);
	}
}

static void cmd_save(const char *file)
{
	struct side s = { 0 };
	double t0 = now_ms();
	struct guest g;
	char *nl;

	o.args = count_args;
	guest_boot(&g, &o);
	(void)printf("# booted to the workload in %.0f ms\n", now_ms() - t0);
	count_until(&g, &s.number, COUNT_TO);
	pause_vm(&g);
	/* what the VM has written before the pause is ours */
	while (guest_readable(&g, 0) || memchr(g.line, '\n', g.line_len)) {
		long n = guest_read(&g, g.line + g.line_len, sizeof(g.line) - g.line_len);

		if (n < 0)
			die("stdout ended");
		g.line_len += (size_t)n;
		while ((nl = memchr(g.line, '\n', g.line_len)))
			count_until(&g, &s.number, s.number + 1);
	}
	s.received = g.received;
	s.tail = g.line_len;
	(void)memcpy(s.text, g.line, g.line_len);
	(void)printf("# counted to %llu\n", s.number);
	save_and_free(&g, file);
	write_side(file, &s);
}

/* Says @word to the workload and prints its answer; the counter's lines on the way are checked. */
static void answer(struct guest *g, const char *word, unsigned long long *n)
{
	const char *l;

	guest_say(g, word);
	guest_say(g, "\n");
	while (is_next(l = must_line(g), n))
		;
	(void)printf("%s\n", l);
}

/* The guest has said something by its interface: an address of its own in a frame. */
static void heard_of_it(const struct guest *g)
{
	uint8_t b[4 + 14];
	struct pollfd p = { .fd = g->wire, .events = POLLIN };

	if (poll(&p, 1, WAIT_S * 1000) != 1 || recv(g->wire, b, sizeof(b), 0) != sizeof(b) ||
		memcmp(b + 10, "\2\0\0\1\2\3", 6) != 0)
		die("nothing came by the interface");
	(void)puts("wire frames");
}

/* Until the balloon has @bytes, and the guest has told its figures again. Its timer is the guest's;
 * a line of the counter every 0.1 s is ours. */
static void balloon_has(struct guest *g, uint64_t bytes, unsigned long long *n)
{
	struct vmm_balloon b, first;
	double end = now_ms() + WAIT_S * 1e3;
	int r = vmm_balloon_set(g->vm, bytes);

	if (!r)
		r = vmm_balloon(g->vm, &first);
	for (b = first; !r && (b.actual != bytes || b.age == first.age);
		r = vmm_balloon(g->vm, &b)) {
		if (now_ms() > end)
			die("the balloon has %llu bytes, not %llu; told %llu times",
				(unsigned long long)b.actual, (unsigned long long)bytes,
				(unsigned long long)(b.age - first.age));
		count_until(g, n, *n + 1);
	}
	if (r)
		die("the balloon: %s", strerror(-r));
	if (!b.free || b.free > b.total || b.total > (uint64_t)o.mib << 20)
		die("the guest's figures: %llu of %llu bytes are free", (unsigned long long)b.free,
			(unsigned long long)b.total);
}

static void cmd_load(const char *file, char *const *words)
{
	int fd = open_file(file);
	struct guest g;
	struct side s;
	const char *l;

	read_side(file, &s);
	guest_load(&g, &o, fd);
	(void)close(fd);
	g.received = s.received;
	g.line_len = s.tail;
	(void)memcpy(g.line, s.text, s.tail);
	count_until(&g, &s.number, s.number + COUNT_ON);
	for (; *words; words++) {
		if (!strcmp(*words, "wire")) {
			heard_of_it(&g);
		} else if (!strcmp(*words, "balloon")) {
			balloon_has(&g, BALLOON, &s.number);
			balloon_has(&g, 0, &s.number);
			(void)puts("balloon followed");
		} else {
			answer(&g, *words, &s.number);
		}
	}
	guest_say(&g, "exit\n");
	while ((l = guest_line(&g)))
		if (!is_next(l, &s.number))
			die("not expected: %s", l);
	guest_wait_exit(&g);
	(void)printf("counted to the end\nexit %u signal %u\n", g.exit.code, g.exit.signo);
	guest_free(&g);
}

/* ---- the pump ---- */

static uint8_t pump_byte(uint64_t i)
{
	return (uint8_t)((i * 0x9e3779b97f4a7c15ULL) >> 56);
}

static _Noreturn void stands_still(const struct guest *g, uint64_t sent, uint64_t total)
{
	struct vmm_stats st;
	int rest = 0;

	vmm_stats(g->vm, &st);
	(void)ioctl(g->in_rest, FIONREAD, &rest);
	die("the pump stands still: %llu of %llu bytes came, %llu were given, %d of these not taken; "
	    "%llu returns of the run call, %llu interrupts",
		(unsigned long long)g->received, (unsigned long long)total,
		(unsigned long long)sent, rest, (unsigned long long)st.kvm_runs,
		(unsigned long long)st.irqs);
}

/* Gives stdin what it takes and checks what stdout has; returns when @received_to bytes have come.
 */
static void pump(struct guest *g, uint64_t *sent, uint64_t total, uint64_t received_to)
{
	uint8_t buf[16384];

	while (g->received < received_to) {
		uint64_t at = g->received;
		size_t n = total - *sent < sizeof(buf) ? (size_t)(total - *sent) : sizeof(buf);
		ssize_t w = -1;
		long r;

		for (size_t i = 0; i < n; i++)
			buf[i] = pump_byte(*sent + i);
		if (n)
			w = write(g->in, buf, n);
		if (w > 0)
			*sent += (uint64_t)w;
		if (*sent == total && g->in >= 0) {
			(void)close(g->in);
			g->in = -1;
		}
		if (w <= 0 && !guest_readable(g, WAIT_S * 1000))
			stands_still(g, *sent, total);
		r = guest_read(g, buf, sizeof(buf));
		if (r < 0)
			die("stdout ended after %llu bytes", (unsigned long long)at);
		for (long i = 0; i < r; i++)
			if (buf[i] != pump_byte(at + (uint64_t)i))
				die("byte %llu is wrong",
					(unsigned long long)at + (unsigned long long)i);
	}
}

/* Paused: takes and checks what the VM wrote before the pause. */
static void pump_rest(struct guest *g)
{
	uint8_t b;

	while (guest_readable(g, 0)) {
		if (guest_read(g, &b, 1) != 1 || b != pump_byte(g->received - 1))
			die("byte %llu is wrong", (unsigned long long)g->received - 1);
	}
}

static void cmd_pump_save(const char *file)
{
	struct side s = { 0 };
	uint64_t sent = 0;
	struct guest g;
	int rest = 0;

	o.args = pump_args;
	guest_boot(&g, &o);
	pump(&g, &sent, PUMP, PUMP / 2);
	pause_vm(&g);
	pump_rest(&g);
	if (ioctl(g.in_rest, FIONREAD, &rest))
		die("FIONREAD: %s", strerror(errno));
	s.received = g.received;
	s.sent = sent - (unsigned)rest;
	(void)printf("# %llu bytes taken, %llu given\n", s.sent, s.received);
	save_and_free(&g, file);
	write_side(file, &s);
}

static void cmd_pump_load(const char *file)
{
	int fd = open_file(file);
	struct guest g;
	struct side s;
	uint64_t sent;

	read_side(file, &s);
	guest_load(&g, &o, fd);
	(void)close(fd);
	g.received = s.received;
	sent = s.sent;
	pump(&g, &sent, PUMP, PUMP);
	guest_wait_exit(&g);
	(void)printf("pumped %llu exit %u signal %u\n", (unsigned long long)g.received, g.exit.code,
		g.exit.signo);
	guest_free(&g);
}

/* ---- under load ---- */

static unsigned count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	if (!d)
		die("%s: %s", dir, strerror(errno));
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* Nothing runs while paused: no return of a run call, no interrupt, no byte, even when it is asked
 * for. */
static void check_still(struct guest *g)
{
	struct vmm_stats a, b;

	pump_rest(g);
	vmm_stats(g->vm, &a);
	if (guest_readable(g, 30))
		die("a byte came from a paused VM");
	vmm_stats(g->vm, &b);
	if (a.kvm_runs != b.kvm_runs || a.irqs != b.irqs || a.mmio_exits != b.mmio_exits)
		die("a paused VM runs");
}

static void stress_one(struct guest *g, struct guest *other, const char *file, unsigned pauses)
{
	const uint64_t total = (uint64_t)STRESS * (pauses + 1);
	unsigned long long n = 0;
	uint64_t sent = 0;
	double worst = 0;
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		die("%s: %s", file, strerror(errno));
	for (unsigned i = 1; i <= pauses; i++) {
		double t0;

		pump(g, &sent, total, (uint64_t)STRESS * i);
		t0 = now_ms();
		pause_vm(g);
		worst = now_ms() - t0 > worst ? now_ms() - t0 : worst;
		check_still(g);
		/* the other one is not held up */
		if (i % 8 == 0)
			count_until(other, &n, n + 1);
		if (i == pauses / 2)
			save_to(g, fd);
		if (vmm_resume(g->vm))
			die("resume failed");
	}
	pump(g, &sent, total, total);
	guest_wait_exit(g);
	(void)close(fd);
	(void)printf("%u pauses, %llu bytes right; longest pause call %.1f ms\n", pauses,
		(unsigned long long)g->received, worst);
}

static void cmd_stress(const char *file, unsigned pauses)
{
	unsigned fds = count_entries("/proc/self/fd"), tasks = count_entries("/proc/self/task");
	struct guest_opts a = o, b = o;
	struct guest ga, gb;
	uint64_t sent = 0;

	a.args = pump_args;
	b.args = count_args;
	guest_boot(&ga, &a);
	guest_boot(&gb, &b);
	stress_one(&ga, &gb, file, pauses);
	guest_free(&ga);
	/* freed while it runs, and while it is paused in the middle of things */
	guest_boot(&ga, &a);
	pump(&ga, &sent, PUMP, PUMP / 4);
	pause_vm(&ga);
	guest_free(&ga);
	guest_free(&gb);
	if (count_entries("/proc/self/fd") != fds || count_entries("/proc/self/task") != tasks)
		die("%u descriptors and %u threads before, %u and %u after", fds - 2, tasks - 2,
			count_entries("/proc/self/fd") - 2, count_entries("/proc/self/task") - 2);
	(void)printf("freed while running: nothing is left\n");
}

/* The word behind the file, if there is one. */
static unsigned number(const char *word, unsigned otherwise)
{
	return word ? (unsigned)strtoul(word, NULL, 10) : otherwise;
}

static void to_stderr(enum log_level level, const char *line)
{
	(void)level;
	(void)fprintf(stderr, "libvmm: %s\n", line);
}

int main(int argc, char **argv)
{
	const char *verb, *file;
	int c;

	while ((c = getopt(argc, argv, "+r:k:c:m:Md:")) != -1) {
		if (c == 'r')
			o.root = optarg;
		else if (c == 'k')
			o.kernel = optarg;
		else if (c == 'c')
			o.vcpus = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'm')
			o.mib = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'M')
			o.memfd = true;
		else if (c == 'd')
			o.disk = optarg;
		else
			return 2;
	}
	if (argc - optind < 2)
		return 2;
	verb = argv[optind];
	file = argv[optind + 1];
	(void)signal(SIGPIPE, SIG_IGN);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_sink(to_stderr, LOG_WARN);
	need_kvm();
	if (!strcmp(verb, "save"))
		cmd_save(file);
	else if (!strcmp(verb, "load"))
		cmd_load(file, argv + optind + 2);
	else if (!strcmp(verb, "pump-save"))
		cmd_pump_save(file);
	else if (!strcmp(verb, "pump-load"))
		cmd_pump_load(file);
	else if (!strcmp(verb, "stress"))
		cmd_stress(file, number(argv[optind + 2], 40));
	else if (!strcmp(verb, "damage"))
		damage_all(&o, file, number(argv[optind + 2], 200));
	else
		return 2;
	return 0;
}
