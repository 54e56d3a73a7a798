// SPDX-License-Identifier: Apache-2.0
/*
 * Boots a kernel with hv/, arch/ and core/mem alone, without the rest of libvmm.
 *
 *   boot_smoke [-p] [-s] [-c VCPUS] [-m MIB] [-g GSI] [-t SECONDS] [-v] KERNEL INITRD
 *
 *   -p  PVH entry        -s  save at the first tick, go on in a second VM       -v  the guest's
 * whole log
 *
 * How it works: the guest's kernel log comes out of an early serial console, three registers of
 * which are played here, and its init (init.c) writes what it sees there. One virtio-mmio device is
 * played too, just far enough for a driver to bind, so that an interrupt can be sent to an IOAPIC
 * pin. Passed when the guest said the right numbers and ended the machine by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "arch/arch.h"
#include "hv/hv.h"
#include "util/bytes.h"
#include "util/log.h"
#include "util/util.h"

#define SERIAL_DATA   0x3f8
#define SERIAL_LSR    0x3fd
#define LSR_IDLE      0x60
#define OUT_MAX	      (256 << 10)
#define SAVE_AT	      "SMOKE tick=1"
#define LEAVE_SECONDS 10

struct opts {
	bool pvh, save, verbose;
	unsigned vcpus, mib, gsi, seconds;
	const char *kernel, *initrd;
};

static struct opts o = { .vcpus = 1, .mib = 256, .gsi = 16, .seconds = 60 };
static struct mem mem;
static struct hv *hv;
static struct hv_vcpu *vcpu[LIM_VCPUS];
static pthread_t thread[LIM_VCPUS];
static int tids[LIM_VCPUS];
static int irq_fd = -1;
static char out[OUT_MAX];
static size_t out_len;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int stop_now;	/* atomic: every vCPU thread ends */
static int guest_ended; /* atomic: the guest ended the machine */
static int failed;	/* atomic */
static uint64_t runs_before;
static size_t moved_at; /* what of the output is the second VM's */

static void die(const char *what, const struct error *e)
{
	(void)fprintf(stderr, "boot_smoke: %s: %s\n", what, e ? e->msg : "");
	exit(1);
}

static uint8_t dev_status;

/* The played device: an entropy source whose queue nobody serves. */
static uint32_t dev_read(uint64_t off)
{
	switch (off) {
	case 0x000:
		return 0x74726976;
	case 0x004:
		return 2;
	case 0x008:
		return 4;
	case 0x010:
		return 1; /* VERSION_1, whichever word is selected: the low word's bit 0 means
			     nothing here */
	case 0x034:
		return 8;
	case 0x060:
		return 1;
	case 0x070:
		return dev_status;
	default:
		return 0;
	}
}

static void dev_write(uint64_t off, uint32_t v)
{
	const uint64_t one = 1;
	bool was_ok = dev_status & 4;

	if (off != 0x070)
		return;
	dev_status = (uint8_t)v;
	if (!was_ok && (dev_status & 4))
		(void)!write(irq_fd, &one, sizeof(one));
}

static void on_mmio(struct hv_exit *x)
{
	uint64_t off = x->addr - arch_layout.mmio_base;

	if (off >= 4096) {
		if (!x->write)
			memset(x->data, 0xff, x->len);
		return;
	}
	if (x->write)
		dev_write(off, x->len == 4 ? get_le32(x->data) : x->data[0]);
	else if (x->len == 4)
		put_le32(x->data, dev_read(off));
	else
		memset(x->data, 0, x->len);
}

static bool on_pio(struct hv_exit *x)
{
	size_t n = (size_t)x->len * x->count;

	if (!x->write) {
		memset(x->data, x->addr == SERIAL_LSR ? LSR_IDLE : 0xff, n);
		return false;
	}
	if (x->addr == SERIAL_DATA && x->len == 1) {
		(void)pthread_mutex_lock(&lock);
		for (size_t i = 0; i < n && out_len < OUT_MAX - 1; i++)
			out[out_len++] = (char)x->data[i];
		(void)pthread_mutex_unlock(&lock);
		if (o.verbose)
			(void)!write(2, x->data, n);
	}
	return x->addr == 0x64 && x->data[0] == 0xfe;
}

static void *run_vcpu(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;
	struct hv_exit x;
	int r;

	__atomic_store_n(&tids[i], gettid(), __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&stop_now, __ATOMIC_SEQ_CST)) {
		bool end = false;

		r = hv_vcpu_run(vcpu[i], &x);
		if (r < 0) {
			(void)fprintf(stderr, "boot_smoke: vCPU %u: run: %s\n", i, strerror(-r));
			__atomic_store_n(&failed, 1, __ATOMIC_RELEASE);
			return NULL;
		}
		if (x.kind == HV_EXIT_MMIO)
			on_mmio(&x);
		else if (x.kind == HV_EXIT_PIO)
			end = on_pio(&x);
		else if (x.kind == HV_EXIT_SHUTDOWN || x.kind == HV_EXIT_RESET)
			end = true;
		else if (x.kind == HV_EXIT_FAIL || x.kind == HV_EXIT_FAULT) {
			(void)fprintf(stderr, "boot_smoke: vCPU %u: %s\n", i, x.why);
			__atomic_store_n(&failed, 1, __ATOMIC_RELEASE);
			return NULL;
		}
		if (end) {
			__atomic_store_n(&guest_ended, 1, __ATOMIC_RELEASE);
			return NULL;
		}
	}
	return NULL;
}

static void start_threads(void)
{
	__atomic_store_n(&stop_now, 0, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < o.vcpus; i++) {
		tids[i] = 0;
		if (pthread_create(&thread[i], NULL, run_vcpu, (void *)(uintptr_t)i))
			die("threads", NULL);
	}
}

/* Whether the thread of a vCPU ended within the limit. */
static bool joined(unsigned i)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += LEAVE_SECONDS;
	return !pthread_clockjoin_np(thread[i], NULL, CLOCK_MONOTONIC, &t);
}

static void kick(unsigned i)
{
	hv_vcpu_kick(vcpu[i], __atomic_load_n(&tids[i], __ATOMIC_SEQ_CST));
}

static void last_words(const char *what)
{
	size_t n;

	(void)pthread_mutex_lock(&lock);
	n = MIN(out_len, 1500);
	(void)fprintf(stderr, "boot_smoke: %s; the guest%s, its last words:\n%.*s\n", what,
		__atomic_load_n(&guest_ended, __ATOMIC_ACQUIRE) ? " has ended" : "", (int)n,
		out + out_len - n);
	(void)pthread_mutex_unlock(&lock);
}

/* Lines of a thread's file that begin with one of the words; with none all of them. */
static void print_proc(int tid, const char *what, const char *const *words)
{
	char path[64], line[600];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, what);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		bool print = !words[0];

		for (unsigned i = 0; words[i]; i++)
			print |= !strncmp(line, words[i], strlen(words[i]));
		if (print)
			printf("  %s: %s", what, line);
	}
	if (f)
		(void)fclose(f);
}

/* Each vCPU that has a thread: where it is, whether a signal waits, how often its run call has come
 * back since the kick. */
static void describe(const uint64_t *runs)
{
	static const char *const all[] = { NULL },
				 *const words[] = { "State:", "SigPnd:", "SigBlk:", "voluntary",
					 "nonvoluntary", NULL };

	for (unsigned i = 0; i < o.vcpus; i++) {
		printf("vCPU %u, thread %d, %llu runs since the kick\n", i, tids[i],
			(unsigned long long)(hv_vcpu_runs(vcpu[i]) - runs[i]));
		print_proc(tids[i], "status", words);
		print_proc(tids[i], "stat", all);
		print_proc(tids[i], "syscall", all);
		print_proc(tids[i], "stack", all);
	}
	(void)fflush(stdout);
}

/* A vCPU that does not leave, or a host that stood still (tests/host/agent.c): tells a signal that
 * the kernel does not look at (it is pending), one that was lost (it is not) and a thread that gets
 * no time. */
static void stuck(unsigned i, const uint64_t *runs)
{
	bool left;

	printf("kicked again: vCPU %u has not left after %u s\n", i, LEAVE_SECONDS);
	describe(runs);
	(void)sleep(1);
	describe(runs);
	kick(i); /* as core/vcpu.c does */
	left = joined(i);
	printf("kicked again: vCPU %u %s\n", i, left ? "left" : "stays");
	if (left)
		return;
	last_words("a vCPU does not leave");
	exit(1);
}

static void stop_threads(void)
{
	uint64_t runs[LIM_VCPUS];

	for (unsigned i = 0; i < o.vcpus; i++)
		runs[i] = hv_vcpu_runs(vcpu[i]);
	__atomic_store_n(&stop_now, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < o.vcpus; i++)
		kick(i);
	for (unsigned i = 0; i < o.vcpus; i++)
		if (!joined(i))
			stuck(i, runs);
}

static bool restored; /* atomic */

static void *restore_limit(void *arg)
{
	const struct timespec later = { .tv_nsec = 20000000 };

	(void)nanosleep(&later, NULL);
	__atomic_store_n(&restored, true, __ATOMIC_RELEASE);
	if (setrlimit(RLIMIT_SIGPENDING, arg) < 0)
		die("setrlimit", NULL);
	return NULL;
}

/* While no signal can be queued, a kick waits for its place. */
static void kick_without_signals(void)
{
	struct rlimit was, none;
	pthread_t t;

	if (getrlimit(RLIMIT_SIGPENDING, &was) < 0)
		die("getrlimit", NULL);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = was.rlim_max };
	if (setrlimit(RLIMIT_SIGPENDING, &none) < 0)
		die("setrlimit", NULL);
	if (pthread_create(&t, NULL, restore_limit, &was))
		die("threads", NULL);
	kick(0);
	if (!__atomic_load_n(&restored, __ATOMIC_ACQUIRE))
		die("a kick was not sent", NULL);
	(void)pthread_join(t, NULL);
}

static void make_vm(int kvm)
{
	struct error e = { 0 };
	struct arch_cpuid *sup = malloc(sizeof(*sup)), *id = malloc(sizeof(*id));

	if (!sup || !id)
		die("memory", NULL);
	if (hv_open(kvm, &hv, &e) || hv_irqchip(hv, false, &e) || hv_cpuid_supported(hv, sup, &e))
		die("VM", &e);
	for (unsigned i = 0; i < mem.n; i++)
		if (hv_set_region(hv, i, mem.r[i].gpa, mem.r[i].len, mem.r[i].hva, false, &e))
			die("memory slot", &e);
	if (hv_irqfd(hv, irq_fd, o.gsi))
		die("irqfd", NULL);
	for (unsigned i = 0; i < o.vcpus; i++) {
		arch_cpuid(sup, i, o.vcpus, id);
		if (hv_vcpu_new(hv, i, &vcpu[i], &e) || hv_vcpu_set_cpuid(vcpu[i], id, &e))
			die("vCPU", &e);
	}
	free(sup);
	free(id);
}

static void free_vm(void)
{
	for (unsigned i = 0; i < o.vcpus; i++) {
		runs_before += hv_vcpu_runs(vcpu[i]);
		hv_vcpu_free(vcpu[i]);
	}
	hv_close(hv);
}

static void load_guest(void)
{
	char cmdline[LIM_CMDLINE] = "earlyprintk=ttyS0,115200,keep panic=-1 reboot=t tsc=reliable";
	struct arch_boot_params p = { .vcpus = o.vcpus, .cmdline = cmdline };
	struct error e = { 0 };
	struct arch_kernel k;
	struct arch_regs regs;
	struct stat st;
	struct timespec a, b;
	void *initrd;
	int fd = open(o.initrd, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		die(o.initrd, NULL);
	initrd = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (initrd == MAP_FAILED)
		die(o.initrd, NULL);
	p.initrd = initrd;
	p.initrd_len = (uint64_t)st.st_size;
	(void)close(fd);
	fd = open(o.kernel, O_RDONLY | O_CLOEXEC);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	if (fd < 0 || arch_load_kernel(&mem, fd, o.pvh, &k, &e) ||
		arch_describe_vdev(cmdline, sizeof(cmdline), arch_layout.mmio_base, o.gsi) ||
		arch_boot_setup(&mem, &p, &k, &e))
		die(o.kernel, &e);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	(void)close(fd);
	(void)munmap(initrd, (size_t)st.st_size);
	if (o.pvh && k.boot != ARCH_BOOT_PVH)
		die("the kernel has no PVH entry", NULL);
	for (unsigned i = 0; i < o.vcpus; i++) {
		arch_boot_regs(&k, i, &regs);
		if (hv_vcpu_set_regs(vcpu[i], &regs, &e))
			die("registers", &e);
	}
	printf("loaded 0x%llx-0x%llx, entry 0x%llx, %s, in %ld us\n", (unsigned long long)k.start,
		(unsigned long long)k.end, (unsigned long long)k.entry,
		k.boot == ARCH_BOOT_PVH ? "PVH" : "64-bit",
		(b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000);
}

static bool said(const char *s)
{
	bool yes;

	(void)pthread_mutex_lock(&lock);
	out[out_len] = 0;
	yes = strstr(out, s) != NULL;
	(void)pthread_mutex_unlock(&lock);
	return yes;
}

static void save_and_move(int kvm)
{
	struct save_out s = { 0 };
	struct save_in in;
	int r = 0;

	kick_without_signals();
	stop_threads();
	if (__atomic_load_n(&guest_ended, __ATOMIC_ACQUIRE))
		die("the guest ended before it was moved", NULL);
	moved_at = out_len;
	for (unsigned i = 0; !r && i < o.vcpus; i++) {
		r = hv_vcpu_complete(vcpu[i]);
		if (!r)
			r = hv_vcpu_save(vcpu[i], &s);
	}
	if (!r)
		r = hv_save(hv, &s);
	if (r)
		die("save", &(struct error){ .msg = "failed" });
	free_vm();
	make_vm(kvm);
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	for (unsigned i = 0; !r && i < o.vcpus; i++)
		r = hv_vcpu_load(vcpu[i], &in);
	if (!r)
		r = hv_load(hv, &in);
	if (r) {
		(void)fprintf(stderr, "boot_smoke: load: %s\n", strerror(-r));
		exit(1);
	}
	printf("moved to a second VM, %zu bytes of state\n", s.len);
	save_out_free(&s);
	for (unsigned i = 0; i < o.vcpus; i++)
		hv_vcpu_resumed(vcpu[i]);
	start_threads();
}

static void watch(int kvm)
{
	const struct timespec poll = { .tv_nsec = 5000000 };
	bool saved = !o.save;
	time_t end = time(NULL) + o.seconds;

	while (!__atomic_load_n(&guest_ended, __ATOMIC_ACQUIRE) &&
		!__atomic_load_n(&failed, __ATOMIC_ACQUIRE)) {
		if (time(NULL) > end) {
			last_words("no end in time");
			__atomic_store_n(&failed, 1, __ATOMIC_RELEASE);
			break;
		}
		if (!saved && said(SAVE_AT)) {
			saved = true;
			save_and_move(kvm);
		}
		(void)nanosleep(&poll, NULL);
	}
	stop_threads();
	if (!saved)
		__atomic_store_n(&failed, 1, __ATOMIC_RELEASE);
}

static bool expect(const char *fmt, unsigned n)
{
	char want[64];

	(void)snprintf(want, sizeof(want), fmt, n);
	if (said(want))
		return true;
	printf("missing from the guest's log: \"%s\"\n", want);
	return false;
}

static void print_lines(void)
{
	for (char *p = out; (p = strstr(p, "SMOKE")); p++)
		printf("guest: %.*s\n", (int)strcspn(p, "\r\n"), p);
}

static void to_stderr(enum log_level level, const char *line)
{
	(void)level;
	(void)fprintf(stderr, "libvmm: %s\n", line);
}

static void parse(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "psvc:m:g:t:")) != -1) {
		unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

		switch (c) {
		case 'p':
			o.pvh = true;
			break;
		case 's':
			o.save = true;
			break;
		case 'v':
			o.verbose = true;
			break;
		case 'c':
			o.vcpus = n;
			break;
		case 'm':
			o.mib = n;
			break;
		case 'g':
			o.gsi = n;
			break;
		case 't':
			o.seconds = n;
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind != 2 || !o.vcpus || o.vcpus > LIM_VCPUS)
		exit(2);
	o.kernel = argv[optind];
	o.initrd = argv[optind + 1];
}

int main(int argc, char **argv)
{
	struct mem_ram_opts ram = { 0 };
	struct error e = { 0 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bool ok = true;

	parse(argc, argv);
	log_set_sink(to_stderr, LOG_WARN);
	if (kvm < 0) {
		(void)fprintf(stderr, "boot_smoke: no /dev/kvm here\n");
		return 77;
	}
	for (int i = 0; i < HV_PROBE_MAX; i++) {
		/* a host without XSAVE can still run a kernel */
		if (hv_probe(kvm, (enum hv_probe)i, &e) && i != HV_PROBE_XSAVE) {
			(void)fprintf(stderr, "boot_smoke: %s\n", e.msg);
			return 77;
		}
		e = (struct error){ 0 };
	}
	irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	mem_init(&mem);
	if (arch_add_ram(&mem, (uint64_t)o.mib << 20, &ram, &e))
		die("RAM", &e);
	make_vm(kvm);
	load_guest();
	mem_freeze(&mem);
	start_threads();
	watch(kvm);
	free_vm();
	print_lines();
	printf("%llu returns of the run call\n", (unsigned long long)runs_before);
	ok &= expect("SMOKE cpus=%u ", o.vcpus);
	ok &= expect(" reached=%u ", o.vcpus);
	ok &= expect("SMOKE irq=%u count=1", o.gsi);
	ok &= expect("SMOKE end", 0);
	if (o.save && !strstr(out + moved_at, "SMOKE tick=")) {
		printf("nothing of the guest's came from the second VM\n");
		ok = false;
	}
	return ok && !failed ? 0 : 1;
}
