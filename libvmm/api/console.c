// SPDX-License-Identifier: Apache-2.0
/* Consoles: the workload's standard streams, terminals and named ports. */
/*
 * How it works
 *
 * Consoles are numbered in the order of their calls, both kinds together, as programs count them.
 * The ports of all of them end up on one virtio console, since the guest looks for them by name;
 * port 0 of that is the first terminal (stdio.c), else the kernel's own. Serial ports are counted
 * by themselves. Descriptors are looked at here, so that one that is not open is an error of the
 * call that named it and not of the start.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "util/cleanup.h"

#define NAME_MAX_BYTES 32 /* of a port's name */

int32_t krun_disable_implicit_console(uint32_t ctx_id)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	c->no_console = true;
	return 0;
}

int32_t krun_set_console_output(uint32_t ctx_id, const char *c_filepath)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (c->console_file || !c_filepath || !*c_filepath)
		return -EINVAL;
	return api_set(&c->console_file, c_filepath, LIM_API_PATH);
}

/* The first one. But beside the implicit console a terminal is a second one: only what is none can
 * be meant for the workload. */
const struct api_console *api_workload_console(const struct api_ctx *c)
{
	for (unsigned i = 0; i < c->nconsoles; i++) {
		const struct api_console *k = &c->console[i];

		if (k->multiport)
			continue;
		if (c->no_console)
			return k;
		if (isatty(k->in) == 1 || isatty(k->out) == 1 || isatty(k->err) == 1)
			return NULL;
		return k->in >= 0 || k->out >= 0 || k->err >= 0 ? k : NULL;
	}
	return NULL;
}

/* What takes a port of the guest's console beside the kernel's own: every named one, and every
 * default console but the workload's. */
static unsigned ports_taken(const struct api_ctx *c)
{
	unsigned n = c->nports;

	for (unsigned i = 0; i < c->nconsoles; i++)
		n += !c->console[i].multiport;
	return n - (api_workload_console(c) ? 1 : 0);
}

static int add_console(uint32_t ctx_id, const struct api_console *n)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (c->nconsoles == LIM_API_CONSOLES)
		return -ENOSPC;
	c->console[c->nconsoles++] = *n;
	if (ports_taken(c) > LIM_API_CONSOLE_PORTS) {
		c->nconsoles--;
		return -ENOSPC;
	}
	return (int)c->nconsoles - 1;
}

int32_t krun_add_virtio_console_default(uint32_t ctx_id, int input_fd, int output_fd, int err_fd)
{
	const int fds[] = { input_fd, output_fd, err_fd };
	struct api_console n = {
		.in = MAX(input_fd, -1), .out = MAX(output_fd, -1), .err = MAX(err_fd, -1)
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0 && !api_fd_ok(fds[i]))
			return -EINVAL;
	}
	r = add_console(ctx_id, &n);
	return MIN(r, 0);
}

int32_t krun_add_virtio_console_multiport(uint32_t ctx_id)
{
	const struct api_console n = { .multiport = true, .in = -1, .out = -1, .err = -1 };

	return add_console(ctx_id, &n);
}

static int add_port(uint32_t ctx_id, const char *name, struct api_port p)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	int r;

	if (!c)
		return -ENOENT;
	if (p.console >= c->nconsoles || !c->console[p.console].multiport)
		return -EINVAL;
	if (ports_taken(c) >= LIM_API_CONSOLE_PORTS)
		return -ENOSPC;
	r = api_set_or_null(&p.name, name, NAME_MAX_BYTES + 1);
	if (!r)
		c->port[c->nports++] = p;
	return r;
}

int32_t krun_add_console_port_tty(
	uint32_t ctx_id, uint32_t console_id, const char *name, int tty_fd)
{
	struct api_port p = { .console = console_id, .in = tty_fd, .out = tty_fd, .tty = true };

	if (!api_fd_ok(tty_fd))
		return -EINVAL;
	return isatty(tty_fd) == 1 ? add_port(ctx_id, name, p) : -ENOTTY;
}

int32_t krun_add_console_port_inout(
	uint32_t ctx_id, uint32_t console_id, const char *name, int input_fd, int output_fd)
{
	struct api_port p = {
		.console = console_id, .in = MAX(input_fd, -1), .out = MAX(output_fd, -1)
	};

	if ((input_fd >= 0 && !api_fd_ok(input_fd)) || (output_fd >= 0 && !api_fd_ok(output_fd)))
		return -EINVAL;
	return add_port(ctx_id, name, p);
}

int32_t krun_add_serial_console_default(uint32_t ctx_id, int input_fd, int output_fd)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if ((input_fd >= 0 && !api_fd_ok(input_fd)) || (output_fd >= 0 && !api_fd_ok(output_fd)))
		return -EINVAL;
	if (c->nserials == LIM_SERIALS)
		return -ENOSPC;
	c->serial[c->nserials++] =
		(struct api_serial){ .in = MAX(input_fd, -1), .out = MAX(output_fd, -1) };
	return 0;
}

int32_t krun_set_kernel_console(uint32_t ctx_id, const char *console_id)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (!console_id || !*console_id)
		return -EINVAL;
	for (const char *p = console_id; *p; p++) {
		if (*p <= ' ' || *p > '~')
			return -EINVAL;
	}
	return api_set(&c->kernel_console, console_id, 64);
}
