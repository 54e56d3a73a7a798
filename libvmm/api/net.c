// SPDX-License-Identifier: Apache-2.0
/* Network interfaces: checked and kept. */
/*
 * How it works
 *
 * An interface by krun_add_net_*() and one by the deprecated calls exclude each other, as they do
 * in the original. What is behind it is looked for when the VM starts (nics.c).
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "util/cleanup.h"

#define FEATURES                                                                         \
	(NET_FEATURE_CSUM | NET_FEATURE_GUEST_CSUM | NET_FEATURE_GUEST_TSO4 |            \
		NET_FEATURE_GUEST_TSO6 | NET_FEATURE_GUEST_UFO | NET_FEATURE_HOST_TSO4 | \
		NET_FEATURE_HOST_TSO6 | NET_FEATURE_HOST_UFO)
#define SEGMENTED (NET_FEATURE_GUEST_TSO4 | NET_FEATURE_GUEST_TSO6 | NET_FEATURE_GUEST_UFO)

static int add(uint32_t ctx_id, struct api_net n, const char *path, const uint8_t *mac, size_t max)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	int r = 0;

	if (!c)
		return -ENOENT;
	if (!mac || mac[0] & 1 || n.features & ~(uint32_t)FEATURES || c->passt_fd >= 0 ||
		c->gvproxy)
		return -EINVAL;
	(void)memcpy(n.mac, mac, sizeof(n.mac));
	if (path && !*path)
		return -EINVAL;
	if (c->nnets == LIM_API_NETS)
		return -ENOSPC;
	if (path)
		r = api_set(&n.path, path, max);
	if (r)
		return r;
	c->net[c->nnets++] = n;
	return 0;
}

static int add_unix(uint32_t ctx_id, struct api_net n, const char *path, const uint8_t *mac)
{
	if (path ? n.fd >= 0 : !api_fd_ok(n.fd))
		return -EINVAL;
	return add(ctx_id, n, path, mac, 108);
}

int32_t krun_add_net_unixstream(uint32_t ctx_id, const char *c_path, int fd, uint8_t *const c_mac,
	uint32_t features, uint32_t flags)
{
	struct api_net n = {
		.kind = API_NET_STREAM, .fd = fd, .features = features, .flags = flags
	};

	return flags & ~(uint32_t)NET_FLAG_DHCP_CLIENT ? -EINVAL
						       : add_unix(ctx_id, n, c_path, c_mac);
}

int32_t krun_add_net_unixgram(uint32_t ctx_id, const char *c_path, int fd, uint8_t *const c_mac,
	uint32_t features, uint32_t flags)
{
	struct api_net n = {
		.kind = API_NET_DGRAM, .fd = fd, .features = features, .flags = flags
	};

	return flags & ~(uint32_t)(NET_FLAG_DHCP_CLIENT | NET_FLAG_VFKIT)
		? -EINVAL
		: add_unix(ctx_id, n, c_path, c_mac);
}

int32_t krun_add_net_tap(
	uint32_t ctx_id, char *c_tap_name, uint8_t *const c_mac, uint32_t features, uint32_t flags)
{
	struct api_net n = { .kind = API_NET_TAP, .fd = -1, .features = features, .flags = flags };

	if (flags & ~(uint32_t)NET_FLAG_DHCP_CLIENT || !c_tap_name ||
		(features & SEGMENTED && !(features & NET_FEATURE_GUEST_CSUM)))
		return -EINVAL;
	return add(ctx_id, n, c_tap_name, c_mac, IFNAMSIZ);
}

int32_t krun_set_passt_fd(uint32_t ctx_id, int fd)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (!api_fd_ok(fd) || c->nnets)
		return -EINVAL;
	free(TAKE_PTR(c->gvproxy));
	c->passt_fd = fd;
	return 0;
}

int32_t krun_set_gvproxy_path(uint32_t ctx_id, char *c_path)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	int r;

	if (!c)
		return -ENOENT;
	if (!c_path || !*c_path || c->nnets)
		return -EINVAL;
	r = api_set(&c->gvproxy, c_path, 108);
	if (r)
		return r;
	c->passt_fd = -1;
	return 0;
}

int32_t krun_set_net_mac(uint32_t ctx_id, uint8_t *const c_mac)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (!c_mac || c_mac[0] & 1)
		return -EINVAL;
	(void)memcpy(c->mac, c_mac, sizeof(c->mac));
	c->mac_set = true;
	return 0;
}
