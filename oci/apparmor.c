// SPDX-License-Identifier: Apache-2.0
/* The AppArmor profile of the VMM process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "oci/apparmor.h"
#include "oci/json_text.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"

/* Back-quoted, as podman looks for it to tell such a failure from others. */
#define ATTR "`/proc/self/attr/apparmor/current`"

bool apparmor_on(void)
{
	CLEAN_FD int fd = open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);
	char yes = 0;

	return fd >= 0 && read(fd, &yes, 1) == 1 && yes == 'Y';
}

const char *apparmor_settle(const char *profile)
{
	if (!profile || !*profile || apparmor_on())
		return profile && *profile ? profile : NULL;
	if (strcmp(profile, "unconfined") != 0)
		log_warn("config.json: process.apparmorProfile: %s means nothing, AppArmor is off "
			 "on this host",
			QUOTE(profile));
	return NULL;
}

int apparmor_open(struct error *e)
{
	int fd = open("/proc/self/attr/apparmor/current", O_WRONLY | O_CLOEXEC);

	/* before Linux 5.8 there is only the file that all such modules share */
	if (fd < 0 && errno == ENOENT)
		fd = open("/proc/self/attr/current", O_WRONLY | O_CLOEXEC);
	return fd >= 0 ? fd : err_sys(e, errno, "config.json: process.apparmorProfile: " ATTR);
}

int apparmor_enter(int fd, const char *profile, struct error *e)
{
	char text[4096];
	int n = snprintf(text, sizeof(text), "changeprofile %s", profile);

	if (n >= (int)sizeof(text))
		return err_set(e, ENAMETOOLONG, "config.json: process.apparmorProfile: too long");
	/* the kernel takes a command whole or not at all */
	if (write(fd, text, (size_t)n) == n)
		return 0;
	/* in other words than errno's: to podman those would say that a program is missing */
	if (errno == ENOENT)
		return err_set(e, ENOENT,
			"config.json: process.apparmorProfile: %s: this host has no such profile "
			"loaded: " ATTR,
			QUOTE(profile));
	return err_sys(e, errno, "config.json: process.apparmorProfile: %s: " ATTR, QUOTE(profile));
}

bool apparmor_suits(const char *have, const char *want)
{
	if (!want || !*want)
		return true;
	return !strcmp(want, have && *have ? have : "unconfined");
}
