// SPDX-License-Identifier: Apache-2.0
/* create and run: what is looked at and opened before anything is made. */
/*
 * How it works
 *
 * The bundle and its config first, then what the config asks for against what there is: refusals,
 * the terminal, /dev/kvm, the kernel, disks, the root, the size of the guest and its command line,
 * namespaces, and the sources of mounts. What is found wrong here costs nothing to undo.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/apparmor.h"
#include "oci/creation.h"
#include "oci/hooks.h"
#include "oci/kernel.h"
#include "oci/sandbox.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "vmm.h"

static char *absolute(int fd, const char *what, struct error *e)
{
	char link[32], buf[PATH_MAX];
	ssize_t n;

	/* the kernel's own name for what was opened: no second walk of the path */
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, sizeof(buf) - 1);
	if (n <= 0) {
		(void)err_sys(e, n < 0 ? errno : ENOENT, "%s", what);
		return NULL;
	}
	buf[n] = 0;
	return strdup(buf);
}

/* What the config itself lists, and the command line. */
static int ignore_fields(struct create *x, struct error *e)
{
	struct spec *s = x->spec;
	const char *said = s->ignore, *option = x->rt->ignore;
	int r = spec_ignore(s, s, e);

	if (!r && option) {
		s->ignore = option;
		r = spec_ignore(s, s, e);
	}
	if (r || (!said && !option))
		return r;
	x->c.ignore = spec_ignore_join(said, option);
	s->ignore = x->c.ignore;
	return s->ignore ? 0 : err_sys(e, ENOMEM, "--ignore");
}

static int load_bundle(struct create *x, struct error *e)
{
	struct vmm_fs fs = { .root_fd = -1 };
	const struct rt_create *o = x->o;
	int r = spec_check_id(o->id, e);

	if (r)
		return r;
	x->bundle_fd = open(o->bundle ? o->bundle : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->bundle_fd < 0)
		return err_sys(e, errno, "bundle \"%.180s\"", o->bundle ? o->bundle : ".");
	if (o->config) {
		r = spec_load_fd(
			o->config_fd, "config.json", &x->spec, &x->config, &x->config_len, e);
		(void)close(o->config_fd);
	} else {
		r = spec_load(x->bundle_fd, "config.json", &x->spec, &x->config, &x->config_len, e);
	}
	if (r)
		return r;
	x->c.id = strdup(o->id);
	x->c.version = strdup(x->spec->version);
	x->c.hooks = hooks_in(x->spec);
	r = morefds_env(&x->p.more, x->spec->arena, &x->spec->process.env, e);
	if (r)
		return r;
	x->p.sandbox = sandbox_wanted(x->spec);
	x->c.bundle = absolute(x->bundle_fd, "bundle", e);
	if (!x->c.bundle)
		return -ENOENT;
	if (!x->spec->root_set)
		return err_set(e, EINVAL,
			"config.json: root: missing, a container needs a root file system");
	for (size_t i = 0; i < x->spec->warnings.n; i++)
		log_warn("%s", x->spec->warnings.v[i]);
	r = x->rt->trust_annotations ? 0 : spec_check_trust(x->spec, e);
	if (!r)
		r = ignore_fields(x, e);
	/* a label would have to be the VMM's: none is applied yet, so none is promised */
	if (!r)
		r = spec_check_lsm(x->spec, spec_host_has_selinux(), e);
	if (!r)
		r = spec_refusals(x->spec, e);
	if (r)
		return r;
	x->spec->process.apparmor_profile = apparmor_settle(x->spec->process.apparmor_profile);
	return spec_cache_rules(x->spec, -1, &fs, e);
}

static int check_request(const struct create *x, struct error *e)
{
	const struct spec_process *p = &x->spec->process;

	if (x->p.sandbox && sandbox_check(x->spec, e))
		return -ENOTSUP;
	if (x->p.more.n && (x->p.sandbox || !p->set))
		return err_set(e, ENOTSUP,
			"--preserve-fds, LISTEN_FDS: the container has no process to get descriptors");
	if (p->set && p->terminal && !x->o->console_socket && !x->foreground)
		return err_set(
			e, EINVAL, "config.json: process.terminal: true needs --console-socket");
	if (x->o->console_socket && !(p->set && p->terminal))
		return err_set(
			e, EINVAL, "--console-socket: config.json has process.terminal false");
	return 0;
}

static unsigned host_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

/* What the VM is made of. */
static int open_vm(struct create *x, struct error *e)
{
	struct vmproc *p = &x->p;
	int r;

	p->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (p->kvm_fd < 0)
		return err_sys(e, errno, "/dev/kvm (krun-oci check tells what this host lacks)");
	r = rt_check_quick(p->kvm_fd, e);
	if (r)
		return r;
	p->kernel_fd = kernel_open(x->spec, NULL, 0, e);
	if (p->kernel_fd < 0)
		return p->kernel_fd;
	r = spec_net(x->spec, &p->net, e);
	if (!r)
		r = spec_nic(x->spec, &p->nic, e);
	x->c.nic = p->nic.kind;
	if (!r)
		r = spec_disks(x->spec, x->bundle_fd, p->disk, &p->ndisks, e);
	return r;
}

/* Of the guest, and its command line, which names its CPUs. It goes on record: update must know
 * what was made, and cannot find that out again where other CPUs are allowed. */
static int size_vm(struct create *x, struct error *e)
{
	unsigned cpus = host_cpus();
	int r;

	spec_image_size(x->spec, x->rootfs_fd, cpus);
	r = spec_vm_size(x->spec, cpus, &x->p.size, e);
	x->c.vcpus = x->p.size.vcpus;
	x->c.ram = x->p.size.ram;
	return r ? r
		 : kernel_cmdline(x->spec, x->p.size.vcpus, x->p.net.tsi, x->p.cmdline,
			   sizeof(x->p.cmdline), e);
}

/* To take an interface over in the caller's namespace would cut the host off, and passt would have
 * all of its ports. */
static int check_nic(const struct create *x, struct error *e)
{
	if ((x->p.nic.kind != SPEC_NIC_TAKE && x->p.nic.kind != SPEC_NIC_PASST) ||
		(x->spec->linux_.ns[SPEC_NS_NETWORK].set && !x->p.ns.own_net))
		return 0;
	return err_set(e, EINVAL,
		"config.json: annotations[\"krun-oci.net\"]: \"%s\" needs a network namespace of the container's own in linux.namespaces",
		x->p.nic.kind == SPEC_NIC_TAKE ? "tap" : "passt");
}

/* Opens what needs the caller's rights and the host's view; nothing is made yet. */
static int open_host(struct create *x, struct error *e)
{
	struct vmproc *p = &x->p;
	struct stat st;
	int r;

	p->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (p->null_fd < 0)
		return err_sys(e, errno, "/dev/null");
	r = p->sandbox ? 0 : open_vm(x, e);
	if (r)
		return r;
	/* no VM, no RAM to add */
	if (p->sandbox && x->spec->linux_.res.memory.limit.v > 0)
		p->size.host_max = (uint64_t)x->spec->linux_.res.memory.limit.v;
	x->rootfs_fd = openat(x->bundle_fd, x->spec->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (x->rootfs_fd < 0 || fstat(x->rootfs_fd, &st))
		return err_sys(e, errno, "config.json: root.path: \"%.150s\"", x->spec->root);
	x->c.rootfs = absolute(x->rootfs_fd, "root.path", e);
	if (!x->c.rootfs)
		return -ENOENT;
	r = p->sandbox ? 0 : size_vm(x, e);
	if (!r && !p->sandbox)
		r = notify_open(x->spec, x->bundle_fd, getenv("NOTIFY_SOCKET"), &p->notify, e);
	if (!r)
		r = ns_open(x->spec, &p->ns, e);
	return r ? r : check_nic(x, e);
}

static int plan_mounts(struct create *x, struct error *e)
{
	x->p.plan = (struct mount_plan){ .spec = x->spec,
		.bundle_fd = x->bundle_fd,
		.bundle = x->c.bundle,
		.rootfs_fd = x->rootfs_fd,
		.user_fd = x->p.ns.fd[SPEC_NS_USER],
		.rootfs = x->c.rootfs,
		.root_tree = -1,
		.bundle_tree = -1 };
	return mount_plan_make(&x->p.plan, e);
}

int create_look(struct create *x, struct error *e)
{
	int r = load_bundle(x, e);

	if (!r)
		r = check_request(x, e);
	if (!r)
		r = open_host(x, e);
	return r ? r : plan_mounts(x, e);
}
