/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd cgroup driver: the container's cgroup is a transient scope that systemd makes.
 *
 * cgroupsPath is "slice:prefix:name" then, the scope "prefix-name.scope". It is delegated, so that
 * nobody else writes below it; its limits are properties of the unit (so that a reload of systemd
 * does not take them away) and written as files too, for what has no property. The CLI's thread;
 * libsystemd is loaded when one of these is called and not before.
 */
#ifndef KRUN_OCI_CGROUP_SYSTEMD_H
#define KRUN_OCI_CGROUP_SYSTEMD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "oci/cgroup_limits.h"
#include "util/err.h"

/* What a unit's name may have at most. */
#define SD_NAME_MAX 255

struct sd_scope {
	char slice[SD_NAME_MAX + 1]; /* empty: systemd's default */
	char name[SD_NAME_MAX + 1];  /* "libpod-1234.scope" */
};

/* From cgroupsPath (NULL: "krun-oci-ID.scope"); -EINVAL and @e. Pure. */
int sd_scope_name(const char *path, const char *id, struct sd_scope *out, struct error *e);

/* -ENOTSUP and the one sentence when no systemd runs here, or libsystemd is missing. */
int sd_available(struct error *e);

/* Starts the scope with @pid in it and waits until systemd has made it. */
int sd_scope_start(const struct sd_scope *s, pid_t pid, const char *id, const struct cg_settings *l,
	struct error *e);
/* Tells systemd what `update` has written. */
int sd_scope_set(const char *name, const struct cg_settings *l, struct error *e);
/* Ends it, if it is there still. Best effort. */
void sd_scope_stop(const char *name);

/*
 * What @value of a cgroup's @file is as a number of a unit's property: the property's name, the
 * number in *@v, UINT64_MAX for "max". Values of `unified` are the config's own words, which the
 * kernel reads: units ("512M") and "default 100" are understood. NULL: there is no property, or
 * none that says the same, as for a weight of one device. Pure.
 */
const char *sd_number(const char *file, const char *value, uint64_t *v);
/* "QUOTA PERIOD", "QUOTA" or "max" of cpu.max: systemd wants microseconds of each second, in steps
 * of 10 ms, UINT64_MAX for all of them. False: it is none of these. Pure. */
bool sd_quota(const char *value, uint64_t *per_sec, uint64_t *period);
/* The bitmap of a CPU or node list as systemd takes it, least significant byte first; its length in
 * bytes, 0 for a list that is none. Pure. */
size_t sd_bitmap(const char *list, uint8_t *out, size_t size);

#endif
