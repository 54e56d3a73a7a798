// SPDX-License-Identifier: Apache-2.0
/* vsock: mapped ports, TSI and its port map. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/api.h"
#include "init/proto/msg.h"
#include "util/cleanup.h"

static bool has_net(const struct api_ctx *c)
{
	return c->nnets || c->passt_fd >= 0 || c->gvproxy;
}

static bool no_vsock(const struct api_ctx *c)
{
	return c->no_vsock && !c->vsock_added;
}

/* Reads "HOST:GUEST" into the next place of @map. */
static int add_map(struct api_map *map, unsigned *n, const char *s)
{
	uint64_t host, guest;

	if (!api_number(&s, ':', UINT16_MAX, &host) || !api_number(&s, '\0', UINT16_MAX, &guest) ||
		!host || !guest)
		return -EINVAL;
	for (unsigned i = 0; i < *n; i++) {
		if (map[i].host == host || map[i].guest == guest)
			return -EINVAL;
	}
	if (*n == LIM_API_PORT_MAP)
		return -ENOSPC;
	map[(*n)++] = (struct api_map){ .host = (uint16_t)host, .guest = (uint16_t)guest };
	return 0;
}

int32_t krun_set_port_map(uint32_t ctx_id, const char *const port_map[])
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	struct api_map map[LIM_API_PORT_MAP];
	unsigned n = 0;
	int r = 0;

	if (!c)
		return -ENOENT;
	if (no_vsock(c))
		return -ENODEV;
	if (has_net(c))
		return -EINVAL;
	for (size_t i = 0; port_map && port_map[i] && !r; i++)
		r = add_map(map, &n, port_map[i]);
	if (r)
		return r;
	(void)memcpy(c->map, map, n * sizeof(map[0]));
	c->nmap = n;
	c->mapped = port_map;
	return 0;
}

int32_t krun_add_vsock_port(uint32_t ctx_id, uint32_t port, const char *c_filepath)
{
	return krun_add_vsock_port2(ctx_id, port, c_filepath, false);
}

static int check_port_path(const char *path, bool listen)
{
	struct stat st;

	if (api_check(path, sizeof(((struct sockaddr_un *)0)->sun_path)) || !*path)
		return -EINVAL;
	if (!listen)
		return 0;
	if (!lstat(path, &st))
		return -EEXIST;
	return errno == ENOENT ? 0 : -EINVAL;
}

int32_t krun_add_vsock_port2(uint32_t ctx_id, uint32_t port, const char *c_filepath, bool listen)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	struct api_vsock_port *p = NULL;
	int r;

	if (!c)
		return -ENOENT;
	if (port == PROTO_AGENT_PORT || port == PROTO_KNOCK_PORT)
		return -EINVAL;
	r = check_port_path(c_filepath, listen);
	if (r)
		return r;
	if (no_vsock(c))
		return -ENODEV;
	for (unsigned i = 0; i < c->nvsock; i++) {
		if (c->vsock[i].port == port)
			p = &c->vsock[i];
	}
	if (!p && c->nvsock == LIM_API_VSOCK_PORTS)
		return -ENOSPC;
	if (!p)
		p = &c->vsock[c->nvsock];
	r = api_set(&p->path, c_filepath, LIM_API_PATH);
	if (r)
		return r;
	p->port = port;
	p->listen = listen;
	c->nvsock += p == &c->vsock[c->nvsock];
	return 0;
}

int32_t krun_disable_implicit_vsock(uint32_t ctx_id)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	c->no_vsock = true;
	c->vsock_added = false;
	c->tsi = 0;
	return 0;
}

int32_t krun_add_vsock(uint32_t ctx_id, uint32_t tsi_features)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (tsi_features & ~(uint32_t)(KRUN_TSI_HIJACK_INET | KRUN_TSI_HIJACK_UNIX))
		return -EINVAL;
	if (!no_vsock(c))
		return -EEXIST;
	if (tsi_features & KRUN_TSI_HIJACK_UNIX)
		return -ENOTSUP;
	c->vsock_added = true;
	c->tsi = tsi_features;
	return 0;
}
