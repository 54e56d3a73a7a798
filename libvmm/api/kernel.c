// SPDX-License-Identifier: Apache-2.0
/* Which kernel is booted, how the agent gets into it, and its command line. */
/*
 * How it works
 *
 * A kernel of the caller's goes first. Else the environment may say (KRUN_KERNEL: the path of one
 * of ours, or "libkrunfw"); else it is ours, where it is installed or, in a build, beside the
 * library; else that of libkrunfw.so.5. This is looked for when the library is loaded, and never
 * later: a container runtime loads it while the host's files are there, and may make its context
 * when all that can be found, the environment too, is what an image says; a library of that would
 * run in this process. What was found is kept as memory: at the start it becomes a memfd.
 *
 * Ours takes an initramfs with the agent. Others are given what libkrunfw's know: a root share in
 * which they find /init.krun, which is the agent too, and which is nowhere on the host; the
 * workload's root is then another share, as it is with ours. A caller who brings an initramfs, a
 * command line without our "init=", or who has disabled the implicit init, has a first process of
 * his own. That gets the settings of the original's contract: KRUN_* variables and arguments behind
 * " -- ".
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/start.h"
#include "oci/initramfs.h"
#include "util/cleanup.h"
#include "util/io.h"

#define KERNEL_MAX (256ULL << 20) /* bytes of a file, and of what is unpacked from it */
#define INIT	   "init=/init.krun"

/* What each is for: oci/kernel.c. */
#define LINE_OURS                                                                  \
	"console=hvc0 quiet tsc=reliable no_timer_check rcupdate.rcu_expedited=1 " \
	"random.trust_cpu=on swiotlb=noforce"
#define LINE_OTHERS                                                             \
	"reboot=k panic=-1 panic_print=0 nomodule console=hvc0 root=/dev/root " \
	"rootfstype=virtiofs rw quiet no-kvmapf " INIT

static int open_regular(const char *path, uint64_t *size)
{
	CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*size = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static int open_packed(const struct api_ctx *c, struct error *e)
{
	uint64_t size = 0;
	CLEAN_FD int in = open_regular(c->kernel, &size);
	CLEAN_FD int out = memfd_create("kernel", MFD_CLOEXEC);
	CLEAN_FREE uint8_t *bytes = NULL;
	int r;

	if (in < 0 || out < 0)
		return err_sys(e, in < 0 ? in : errno, "kernel: \"%.160s\"", c->kernel);
	if (size > KERNEL_MAX)
		return err_set(e, E2BIG, "kernel: \"%.160s\" is too large", c->kernel);
	bytes = malloc(size + 1);
	r = bytes ? io_pread(in, bytes, size, 0) : -ENOMEM;
	if (r)
		return err_sys(e, r, "kernel: \"%.160s\"", c->kernel);
	r = unpack(bytes, size, c->kernel_format, out, KERNEL_MAX, e);
	return r ? r : TAKE_FD(out);
}

/* A path beside this library; @rel from its directory. */
static int open_beside(const char *rel)
{
	char path[LIM_API_PATH];
	uint64_t size;
	Dl_info i;
	int n;

	if (!dladdr(agent_image, &i) || !i.dli_fname || !strrchr(i.dli_fname, '/'))
		return -ENOENT;
	n = (int)(strrchr(i.dli_fname, '/') - i.dli_fname);
	if (snprintf(path, sizeof(path), "%.*s/%s", n, i.dli_fname, rel) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return open_regular(path, &size);
}

static int open_ours(void)
{
	uint64_t size;
	int fd = open_regular(PKGLIBDIR "/vmlinux", &size);

	if (fd < 0)
		fd = open_beside("krun-oci/vmlinux");
	return fd < 0 ? open_beside("kernel/vmlinux") : fd;
}

/* Where a word of @line begins with @start, and with @whole is nothing else. */
static char *find_word(char *line, const char *start, bool whole)
{
	size_t n = strlen(start);

	for (char *p = line; (p = strstr(p, start)); p += n) {
		if ((p == line || p[-1] == ' ') && (!whole || !p[n] || p[n] == ' '))
			return p;
	}
	return NULL;
}

static enum boot boot_of(const struct api_ctx *c, bool foreign)
{
	const struct api_fs *root = start_root(c);

	if (c->no_init || c->initramfs || (c->cmdline && !find_word(c->cmdline, INIT, true)) ||
		(root && api_virt_find(root, API_INIT_NAME, strlen(API_INIT_NAME))))
		return BOOT_OWN;
	return foreign ? BOOT_TREE : BOOT_AGENT;
}

/* Written once, by find_default(), before main() or within dlopen(). */
static struct {
	const void *map; /* of our kernel, @len bytes */
	size_t len;
	struct bundle bundle;
	struct error why; /* there is none */
} found;

static int keep(int fd)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return -errno;
	if (!st.st_size || (uint64_t)st.st_size > KERNEL_MAX)
		return -ENOEXEC;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	found.map = p;
	found.len = (size_t)st.st_size;
	return 0;
}

__attribute__((constructor)) static void find_default(void)
{
	const char *env = secure_getenv("KRUN_KERNEL");
	bool file = env && *env && strcmp(env, "libkrunfw") != 0;
	struct error why = { 0 };
	uint64_t size;
	CLEAN_FD int fd = file ? open_regular(env, &size) : env && *env ? -ENOENT : open_ours();
	int r = fd < 0 ? fd : keep(fd);

	if (file && r)
		(void)err_sys(&found.why, r, "KRUN_KERNEL: \"%.160s\"", env);
	if (file || !r)
		return;
	r = bundle_find(&found.bundle, &why);
	if (r)
		(void)err_set(&found.why, r, "no guest kernel: none at %s, and %s",
			PKGLIBDIR "/vmlinux", why.msg);
}

static int open_default(struct api_kernel *k, struct error *e)
{
	CLEAN_FD int fd = -1;
	int r;

	if (found.why.code)
		return err_set(e, found.why.code, "%s", found.why.msg);
	k->foreign = !found.map;
	if (k->foreign)
		return bundle_elf(&found.bundle, e);
	fd = memfd_create("kernel", MFD_CLOEXEC);
	r = fd < 0 ? -errno : io_pwrite(fd, found.map, found.len, 0);
	return r ? err_sys(e, r, "the guest kernel") : TAKE_FD(fd);
}

int kernel_find(const struct api_ctx *c, struct api_kernel *k, struct error *e)
{
	uint64_t size;
	int r = 0;

	*k = (struct api_kernel){ .fd = -1 };
	if (!c->kernel) {
		k->fd = r = open_default(k, e);
	} else if (c->kernel_format >= KRUN_KERNEL_FORMAT_PE_GZ) {
		k->fd = r = open_packed(c, e);
	} else {
		k->fd = open_regular(c->kernel, &size);
		if (k->fd < 0)
			r = err_sys(e, k->fd, "kernel: \"%.160s\"", c->kernel);
	}
	k->foreign |= c->kernel != NULL;
	k->boot = boot_of(c, k->foreign);
	return MIN(r, 0);
}

struct line {
	char *buf;
	size_t n;
};

/* Appends @s between @before and @after; what is no line is an error of kernel_line()'s end. */
static void add(struct line *l, const char *before, const char *s, const char *after)
{
	size_t room = LIM_CMDLINE - MIN(l->n, (size_t)LIM_CMDLINE);

	l->n += (size_t)snprintf(l->buf + MIN(l->n, (size_t)LIM_CMDLINE - 1), room ? room : 1,
		"%s%s%s", before, s, after);
}

/* What the original's contract gives a first process that is not ours. */
static void add_settings(struct line *l, const struct api_ctx *c)
{
	/* for the agent, should it be that; with a dot it is in nobody's environment */
	add(l, " krun.own", "", "");
	/* its presence alone would mean something */
	if (c->exec)
		add(l, " KRUN_INIT=", c->exec, "");
	if (c->workdir)
		add(l, " KRUN_WORKDIR=", c->workdir, "");
	if (c->remount_dev)
		add(l, " KRUN_BLOCK_ROOT_DEVICE=", c->remount_dev, "");
	if (c->remount_type)
		add(l, " KRUN_BLOCK_ROOT_FSTYPE=", c->remount_type, "");
	if (c->remount_opts)
		add(l, " KRUN_BLOCK_ROOT_OPTIONS=", c->remount_opts, "");
	for (size_t i = 0; i < c->rlimits.n; i++)
		add(l, i ? "," : " KRUN_RLIMITS=\"", c->rlimits.v[i], "");
	if (c->rlimits.n)
		add(l, "\"", "", "");
	for (size_t i = 0; i < c->env.n; i++)
		add(l, " \"", c->env.v[i], "\"");
}

/* The same for its arguments, which have to be the end. */
static void add_args(struct line *l, const struct api_ctx *c)
{
	for (size_t i = 0; i < c->args.n; i++)
		add(l, i ? " \"" : " -- \"", c->args.v[i], "\"");
}

/* The value of the first console= becomes what krun_set_kernel_console() said. */
static int set_console(struct line *l, const char *console, struct error *e)
{
	char copy[LIM_CMDLINE], *p, *end;

	if (!console)
		return 0;
	p = find_word(l->buf, "console=", false);
	if (!p)
		return err_set(e, EINVAL, "no console= on the kernel's command line to replace");
	p += sizeof("console=") - 1;
	end = p + strcspn(p, " ");
	(void)snprintf(copy, sizeof(copy), "%s", end);
	*p = 0;
	l->n = strlen(l->buf);
	add(l, console, copy, "");
	return 0;
}

static int printable(const struct line *l, struct error *e)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->buf[i] < ' ' || l->buf[i] > '~')
			return err_set(e, EINVAL,
				"kernel command line: what the guest's own init is given has to be printable ASCII");
	}
	return 0;
}

static bool wants_dhcp(const struct api_ctx *c)
{
	for (unsigned i = 0; i < c->nnets; i++)
		if (c->net[i].flags & NET_FLAG_DHCP_CLIENT)
			return true;
	return false;
}

int kernel_line(const struct api_ctx *c, const struct api_kernel *k, bool tsi, char *buf, char *end,
	struct error *e)
{
	struct line l = { .buf = buf }, args = { .buf = end };
	int r;

	*end = 0;
	add(&l, c->cmdline ? c->cmdline : k->boot == BOOT_AGENT ? LINE_OURS : LINE_OTHERS, "", "");
	if (!k->foreign && c->vcpus == 1)
		add(&l, " noreplace-smp", "", "");
	r = set_console(&l, c->kernel_console, e);
	if (r)
		return r;
	if (k->boot == BOOT_OWN) {
		add_settings(&l, c);
		add_args(&args, c);
	}
	if (wants_dhcp(c))
		add(&l, " KRUN_DHCP=1", "", "");
	if (tsi)
		add(&l, k->foreign ? " tsi_hijack" : " krun.tsi=on", "", "");
	/* the descriptions of devices come in between */
	if (l.n + args.n > LIM_API_CMDLINE)
		return err_set(e, E2BIG, "kernel command line: over %d bytes", LIM_API_CMDLINE);
	r = printable(&l, e);
	return r ? r : printable(&args, e);
}
