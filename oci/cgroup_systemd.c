// SPDX-License-Identifier: Apache-2.0
/* Transient scopes by D-Bus. */
/*
 * How it works
 *
 * root asks the system's systemd, everybody else (and root of a user namespace, who is somebody
 * else outside) their own. StartTransientUnit answers with a job; that the scope is there is told
 * by the signal JobRemoved, for which the match is installed before the call. libsystemd is opened
 * at run time: most containers, and all other commands, need none of it, and its relocations would
 * cost each of them more than the rest of the start.
 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "oci/cgroup_systemd.h"
#include "oci/fsutil.h"
#include "util/cleanup.h"
#include "util/log.h"

static bool name_ok(const char *s, size_t n)
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-@\\";

	return n && strspn(s, ok) >= n;
}

int sd_scope_name(const char *path, const char *id, struct sd_scope *out, struct error *e)
{
	static const char end[] = ".slice";
	const char *prefix = path ? strchr(path, ':') : NULL;
	const char *name = prefix ? strchr(prefix + 1, ':') : NULL;
	size_t slice, plen;
	int n;

	*out = (struct sd_scope){ .slice = "" };
	if (!path) {
		n = snprintf(out->name, sizeof(out->name), "krun-oci-%s.scope", id);
		return n < (int)sizeof(out->name)
			? 0
			: err_set(e, ENAMETOOLONG, "the id is too long for the name of a scope");
	}
	if (!name || strchr(name + 1, ':'))
		return err_set(e, EINVAL,
			"config.json: linux.cgroupsPath: expected \"slice:prefix:name\" with the systemd driver, not \"%.100s\"",
			path);
	slice = (size_t)(prefix - path);
	plen = (size_t)(name - prefix - 1);
	if (slice &&
		(slice > SD_NAME_MAX || !name_ok(path, slice) || slice <= sizeof(end) - 1 ||
			strncmp(path + slice - (sizeof(end) - 1), end, sizeof(end) - 1) != 0))
		return err_set(e, EINVAL,
			"config.json: linux.cgroupsPath: \"%.*s\" is not the name of a slice",
			(int)MIN(slice, (size_t)100), path);
	if ((plen && !name_ok(prefix + 1, plen)) || !name_ok(name + 1, strlen(name + 1)))
		return err_set(e, EINVAL,
			"config.json: linux.cgroupsPath: \"%.100s\" does not make the name of a scope",
			prefix + 1);
	(void)memcpy(out->slice, path, slice);
	n = snprintf(out->name, sizeof(out->name), "%.*s%s%s.scope", (int)plen, prefix + 1,
		plen ? "-" : "", name + 1);
	return n < (int)sizeof(out->name)
		? 0
		: err_set(e, ENAMETOOLONG,
			  "config.json: linux.cgroupsPath: too long for the name of a scope");
}

#ifdef HAVE_SYSTEMD
#include <systemd/sd-bus.h>

#define DEST	"org.freedesktop.systemd1"
#define PATH	"/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define CALL_US (30ULL * 1000 * 1000)

#define FUNCS(F)                          \
	F(sd_bus_open_system)             \
	F(sd_bus_open_user)               \
	F(sd_bus_flush_close_unref)       \
	F(sd_bus_match_signal)            \
	F(sd_bus_call_method)             \
	F(sd_bus_call)                    \
	F(sd_bus_process)                 \
	F(sd_bus_wait)                    \
	F(sd_bus_error_free)              \
	F(sd_bus_message_new_method_call) \
	F(sd_bus_message_append)          \
	F(sd_bus_message_append_array)    \
	F(sd_bus_message_open_container)  \
	F(sd_bus_message_close_container) \
	F(sd_bus_message_read)            \
	F(sd_bus_message_unref)

static struct {
#define MEMBER(f) __typeof__(f) *f;
	FUNCS(MEMBER)
} lib;

static int load_lib(struct error *e)
{
	static void *handle;

	if (handle)
		return 0;
	handle = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return err_set(e, ENOTSUP, "--systemd-cgroup: %.150s", dlerror());
#define LOAD(f)                               \
	*(void **)&lib.f = dlsym(handle, #f); \
	if (!lib.f)                           \
		return err_set(e, ENOTSUP, "--systemd-cgroup: libsystemd has no " #f);
	FUNCS(LOAD)
	return 0;
}

int sd_available(struct error *e)
{
	struct stat st;

	if (lstat("/run/systemd/system", &st) || !S_ISDIR(st.st_mode))
		return err_set(e, ENOTSUP,
			"--systemd-cgroup: systemd does not run on this host (there is no /run/systemd/system), use --cgroup-manager cgroupfs");
	return load_lib(e);
}

static void bus_unref(sd_bus **b)
{
	if (*b)
		*b = lib.sd_bus_flush_close_unref(*b);
}

static void msg_unref(sd_bus_message **m)
{
	if (*m)
		*m = lib.sd_bus_message_unref(*m);
}

/* Root of a user namespace is an ordinary user to the host. */
static bool real_root(void)
{
	CLEAN_FREE char *map = NULL;
	unsigned in = 1, out = 1, n = 0;

	return !geteuid() && !read_file_at(AT_FDCWD, "/proc/self/uid_map", 4096, &map, NULL) &&
		sscanf(map, "%u %u %u", &in, &out, &n) == 3 && !in && !out && n == UINT32_MAX;
}

static int bus_open(sd_bus **bus, struct error *e)
{
	bool system = real_root();
	int r = sd_available(e);

	if (r)
		return r;
	r = system ? lib.sd_bus_open_system(bus) : lib.sd_bus_open_user(bus);
	return r < 0 ? err_sys(e, r, "--systemd-cgroup: cannot reach %s systemd by D-Bus",
			       system ? "the system's" : "the user's")
		     : 0;
}

static int put_u64(sd_bus_message *m, const char *name, uint64_t v)
{
	return lib.sd_bus_message_append(m, "(sv)", name, "t", v);
}

static int put_bytes(sd_bus_message *m, const char *name, const uint8_t *v, size_t n)
{
	int r = lib.sd_bus_message_open_container(m, 'r', "sv");

	if (r >= 0)
		r = lib.sd_bus_message_append(m, "s", name);
	if (r >= 0)
		r = lib.sd_bus_message_open_container(m, 'v', "ay");
	if (r >= 0)
		r = lib.sd_bus_message_append_array(m, 'y', v, n);
	if (r >= 0)
		r = lib.sd_bus_message_close_container(m);
	return r >= 0 ? lib.sd_bus_message_close_container(m) : r;
}

/* One setting as a property; what has none is a file only. */
static int put_property(sd_bus_message *m, const struct cg_setting *s)
{
	uint64_t v = 0, period = 0;
	const char *name = sd_number(s->file, s->value, &v);
	uint8_t map[256];
	size_t n;
	int r;

	if (name)
		return put_u64(m, name, v);
	if (!strcmp(s->file, "cpu.max")) {
		if (!sd_quota(s->value, &v, &period))
			return 0;
		r = put_u64(m, "CPUQuotaPeriodUSec", period);
		return r < 0 ? r : put_u64(m, "CPUQuotaPerSecUSec", v);
	}
	if (strcmp(s->file, "cpuset.cpus") && strcmp(s->file, "cpuset.mems"))
		return 0;
	n = sd_bitmap(s->value, map, sizeof(map));
	return n ? put_bytes(m, s->file[7] == 'c' ? "AllowedCPUs" : "AllowedMemoryNodes", map, n)
		 : 0;
}

static int put_limits(sd_bus_message *m, const struct cg_settings *l)
{
	int r = 0;

	for (unsigned i = 0; i < l->n && r >= 0; i++)
		r = put_property(m, &l->s[i]);
	return r;
}

struct job {
	char path[128], result[32];
	char seen[16][128]; /* jobs that ended before the answer told which is ours */
	char seen_result[16][32];
	unsigned n_seen;
};

static int on_removed(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct job *j = arg;
	const char *path, *unit, *result;
	uint32_t id;

	(void)error;
	if (lib.sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0)
		return 0;
	if (!j->path[0]) {
		unsigned i = j->n_seen++ % ARRAY_SIZE(j->seen);

		(void)snprintf(j->seen[i], sizeof(j->seen[i]), "%s", path);
		(void)snprintf(j->seen_result[i], sizeof(j->seen_result[i]), "%s", result);
	} else if (!strcmp(path, j->path)) {
		(void)snprintf(j->result, sizeof(j->result), "%s", result);
	}
	return 0;
}

static int call(sd_bus *bus, sd_bus_message *m, struct job *j, const char *what, struct error *e)
{
	CLEAN(msg_unref) sd_bus_message *reply = NULL;
	sd_bus_error be = SD_BUS_ERROR_NULL;
	const char *path = NULL;
	int r = lib.sd_bus_call(bus, m, CALL_US, &be, &reply);

	if (r < 0)
		r = err_set(
			e, r, "systemd: %s: %.180s", what, be.message ? be.message : err_text(r));
	else if (j && lib.sd_bus_message_read(reply, "o", &path) >= 0)
		(void)snprintf(j->path, sizeof(j->path), "%s", path);
	lib.sd_bus_error_free(&be);
	return r < 0 ? r : 0;
}

static int wait_job(sd_bus *bus, struct job *j, const char *what, struct error *e)
{
	const time_t end = time(NULL) + (time_t)(CALL_US / 1000000);

	for (unsigned i = 0; i < ARRAY_SIZE(j->seen); i++) {
		if (!strcmp(j->seen[i], j->path))
			(void)snprintf(j->result, sizeof(j->result), "%s", j->seen_result[i]);
	}
	while (!j->result[0]) {
		int r = lib.sd_bus_process(bus, NULL);

		if (!r)
			r = lib.sd_bus_wait(bus, 1000 * 1000);
		if (r < 0 && r != -EINTR)
			return err_sys(e, r, "systemd: %s", what);
		if (time(NULL) > end)
			return err_set(e, ETIMEDOUT, "systemd: %s: no answer within %d s", what,
				(int)(CALL_US / 1000000));
	}
	return strcmp(j->result, "done")
		? err_set(e, EIO, "systemd: %s: the job ended with \"%s\"", what, j->result)
		: 0;
}

static int fill_start(sd_bus_message *m, const struct sd_scope *s, pid_t pid, const char *id,
	const struct cg_settings *l)
{
	char text[300];
	int r = lib.sd_bus_message_append(m, "ss", s->name, "fail");

	(void)snprintf(text, sizeof(text), "krun-oci container %s", id);
	if (r >= 0)
		r = lib.sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = lib.sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)", "Description", "s", text,
			"Delegate", "b", 1, "DefaultDependencies", "b", 0, "CollectMode", "s",
			"inactive-or-failed", "PIDs", "au", 1, (uint32_t)pid);
	if (r >= 0 && s->slice[0])
		r = lib.sd_bus_message_append(m, "(sv)", "Slice", "s", s->slice);
	if (r >= 0)
		r = put_limits(m, l);
	if (r >= 0)
		r = lib.sd_bus_message_close_container(m);
	return r < 0 ? r : lib.sd_bus_message_append(m, "a(sa(sv))", 0);
}

int sd_scope_start(const struct sd_scope *s, pid_t pid, const char *id, const struct cg_settings *l,
	struct error *e)
{
	CLEAN(bus_unref) sd_bus *bus = NULL;
	CLEAN(msg_unref) sd_bus_message *m = NULL;
	struct job j = { .path = "" };
	char what[64 + SD_NAME_MAX];
	int r = bus_open(&bus, e);

	if (r)
		return r;
	(void)snprintf(what, sizeof(what), "cannot make the scope %.100s", s->name);
	r = lib.sd_bus_match_signal(bus, NULL, DEST, PATH, MANAGER, "JobRemoved", on_removed, &j);
	if (r >= 0)
		r = lib.sd_bus_call_method(bus, DEST, PATH, MANAGER, "Subscribe", NULL, NULL, "");
	if (r >= 0)
		r = lib.sd_bus_message_new_method_call(
			bus, &m, DEST, PATH, MANAGER, "StartTransientUnit");
	if (r >= 0)
		r = fill_start(m, s, pid, id, l);
	if (r < 0)
		return err_sys(e, r, "systemd: %s", what);
	r = call(bus, m, &j, what, e);
	return r ? r : wait_job(bus, &j, what, e);
}

int sd_scope_set(const char *name, const struct cg_settings *l, struct error *e)
{
	CLEAN(bus_unref) sd_bus *bus = NULL;
	CLEAN(msg_unref) sd_bus_message *m = NULL;
	int r = bus_open(&bus, e);

	if (r)
		return r;
	r = lib.sd_bus_message_new_method_call(bus, &m, DEST, PATH, MANAGER, "SetUnitProperties");
	if (r >= 0)
		r = lib.sd_bus_message_append(m, "sb", name, 1);
	if (r >= 0)
		r = lib.sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = put_limits(m, l);
	if (r >= 0)
		r = lib.sd_bus_message_close_container(m);
	return r < 0 ? err_sys(e, r, "systemd: update of %.100s", name)
		     : call(bus, m, NULL, "update of the scope", e);
}

void sd_scope_stop(const char *name)
{
	CLEAN(bus_unref) sd_bus *bus = NULL;

	/* it is gone most often, with the last process in it */
	if (bus_open(&bus, NULL))
		return;
	(void)lib.sd_bus_call_method(
		bus, DEST, PATH, MANAGER, "StopUnit", NULL, NULL, "ss", name, "replace");
	(void)lib.sd_bus_call_method(
		bus, DEST, PATH, MANAGER, "ResetFailedUnit", NULL, NULL, "s", name);
}
#else
int sd_available(struct error *e)
{
	return err_set(e, ENOTSUP,
		"--systemd-cgroup: this krun-oci was built without libsystemd, use --cgroup-manager cgroupfs");
}

int sd_scope_start(const struct sd_scope *s, pid_t pid, const char *id, const struct cg_settings *l,
	struct error *e)
{
	(void)s;
	(void)pid;
	(void)id;
	(void)l;
	return sd_available(e);
}

int sd_scope_set(const char *name, const struct cg_settings *l, struct error *e)
{
	(void)name;
	(void)l;
	return sd_available(e);
}

void sd_scope_stop(const char *name)
{
	(void)name;
}
#endif
