// SPDX-License-Identifier: Apache-2.0
/* READY=1 of a container, passed on by the CLI. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "oci/ctl.h"
#include "oci/notify.h"
#include "oci/ready.h"
#include "util/cleanup.h"
#include "util/log.h"

int ready_ask(const struct container *c)
{
	const char *own = getenv("NOTIFY_SOCKET");
	const struct ctl_req q = { .op = CTL_READY };
	struct error e = { 0 };
	CLEAN_FD int fd = own && *own ? ctl_connect(c, &e) : -ENOENT;

	if (own && *own && (fd < 0 || ctl_send(fd, &q, NULL, 0, &e))) {
		log_warn("NOTIFY_SOCKET in the environment: %s", e.msg);
		return -1;
	}
	return fd < 0 ? -1 : TAKE_FD(fd);
}

void ready_tell(const struct container *c, int fd, bool main)
{
	struct error e = { 0 };
	int r = ctl_answer(c, fd, UINT_MAX, &e);

	(void)close(fd);
	if (!r)
		notify_tell_caller(main ? c->pid : 0);
	/* else it was created without such a socket, or has none that can be passed on */
	else if (r != -ENODATA)
		log_warn("the container has not said that it is ready: %s", e.msg);
}
