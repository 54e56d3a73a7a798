// SPDX-License-Identifier: Apache-2.0
/* The container's sysctls: most when it is made, those of an interface when it starts. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether @name is the setting of one interface, as net.ipv4.conf.NAME.SETTING, and of which. What
 * is of all, the default, and loopback are there from the beginning. */
static bool of_interface(const char *name, char ifname[IF_NAMESIZE])
{
	static const char *const tables[] = { "net.ipv4.conf.", "net.ipv6.conf.", "net.ipv4.neigh.",
		"net.ipv6.neigh." };
	const char *at = NULL;
	size_t n;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && !at; i++) {
		if (!strncmp(name, tables[i], strlen(tables[i])))
			at = name + strlen(tables[i]);
	}
	n = at ? strcspn(at, ".") : 0;
	if (!n || !at[n] || n >= IF_NAMESIZE)
		return false;
	for (size_t i = 0; i < n; i++)
		ifname[i] = at[i] == '/' ? '.' : at[i];
	ifname[n] = 0;
	return strcmp(ifname, "all") != 0 && strcmp(ifname, "default") != 0 &&
		strcmp(ifname, "lo") != 0;
}

static int set_one(int proc_sys, const char *name, const char *value)
{
	char path[BLOB_MAX_PATH];
	size_t n = strlen(name), len = strlen(value);
	int fd, err = 0;

	if (n >= sizeof(path))
		return -ENAMETOOLONG;
	for (size_t i = 0; i <= n; i++)
		path[i] = name[i] == '.' ? '/' : name[i] == '/' ? '.' : name[i];
	fd = openat(proc_sys, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, len) != (ssize_t)len)
		err = -errno;
	(void)close(fd);
	return err;
}

int sysctl_set(int proc_sys, const struct blob_view *s, struct fail *f)
{
	char ifname[IF_NAMESIZE];

	for (size_t i = 0; i < s->nsysctls; i++) {
		const struct blob_view_pair *p = &s->sysctls[i];
		int err = of_interface(p->name, ifname) ? 0 : set_one(proc_sys, p->name, p->value);

		if (err)
			return fail_set(f, err, "sysctl", p->name);
	}
	return 0;
}

int sysctl_keep(struct agent *a, const struct blob_view *s, struct fail *f)
{
	char ifname[IF_NAMESIZE];
	size_t len = 0, n;

	free(a->if_sysctls);
	a->if_sysctls = NULL;
	a->if_sysctls_len = 0;
	for (size_t i = 0; i < s->nsysctls; i++) {
		if (of_interface(s->sysctls[i].name, ifname))
			len += strlen(s->sysctls[i].name) + strlen(s->sysctls[i].value) + 2;
	}
	if (!len)
		return 0;
	a->if_sysctls = malloc(len);
	if (!a->if_sysctls)
		return fail_set(f, ENOMEM, "sysctl", NULL);
	for (size_t i = 0; i < s->nsysctls; i++) {
		const struct blob_view_pair *p = &s->sysctls[i];

		if (!of_interface(p->name, ifname))
			continue;
		n = strlen(p->name) + 1;
		memcpy(a->if_sysctls + a->if_sysctls_len, p->name, n);
		a->if_sysctls_len += n;
		n = strlen(p->value) + 1;
		memcpy(a->if_sysctls + a->if_sysctls_len, p->value, n);
		a->if_sysctls_len += n;
	}
	return 0;
}

int sysctl_interfaces(struct agent *a, struct fail *f)
{
	const char *name, *end, *value;
	char ifname[IF_NAMESIZE];
	int dir, err = 0;

	if (!a->if_sysctls)
		return 0;
	dir = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return fail_set(f, errno, "/proc of the guest", NULL);
	end = a->if_sysctls + a->if_sysctls_len;
	for (name = a->if_sysctls; name < end && !err; name = value + strlen(value) + 1) {
		value = name + strlen(name) + 1;
		if (of_interface(name, ifname) && !if_nametoindex(ifname))
			err = fail_set(f, ENODEV, "sysctl: the guest has no such interface", name);
		else if ((err = set_one(dir, name, value)))
			(void)fail_set(f, err, "sysctl", name);
	}
	(void)close(dir);
	return err;
}
