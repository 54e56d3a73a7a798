// SPDX-License-Identifier: Apache-2.0
/* linux.resources.blockIO. */
#include "oci/spec_read.h"

static struct opt_u32 read_weight(struct rd *p, const struct json *n, const char *key)
{
	struct opt_u32 w = rd_u32(p, n, key, 1000);

	if (w.v && w.v < 10)
		rd_fail(p, n, key, "%u is out of range (10 to 1000, or 0)", w.v);
	return w;
}

static void read_throttles(
	struct rd *p, const struct json *n, const char *key, struct spec_throttles *out)
{
	const struct json *a = rd_array(p, n, key, SPEC_LIM_RES_ITEMS, JSON_OBJECT), *t;

	if (!a)
		return;
	out->v = rd_alloc(p, a->n, sizeof(*out->v));
	json_for_each(t, a)
	{
		struct opt_u64 rate = rd_u64(p, t, "rate", UINT64_MAX);

		if (!p->err && !rate.set)
			rd_fail(p, t, "rate", "missing");
		if (p->err)
			return;
		out->v[out->n++] = (struct spec_throttle){
			.major = rd_need_u32(p, t, "major", 0xfff),
			.minor = rd_need_u32(p, t, "minor", 0xfffff),
			.rate = rate.v,
		};
	}
}

void spec_read_blkio(struct rd *p, const struct json *n, struct spec_blkio *out)
{
	const struct json *a = rd_array(p, n, "weightDevice", SPEC_LIM_RES_ITEMS, JSON_OBJECT), *w;

	out->set = true;
	out->weight = read_weight(p, n, "weight");
	out->leaf_weight = read_weight(p, n, "leafWeight");
	read_throttles(p, n, "throttleReadBpsDevice", &out->read_bps);
	read_throttles(p, n, "throttleWriteBpsDevice", &out->write_bps);
	read_throttles(p, n, "throttleReadIOPSDevice", &out->read_iops);
	read_throttles(p, n, "throttleWriteIOPSDevice", &out->write_iops);
	if (!a)
		return;
	out->weight_devices = rd_alloc(p, a->n, sizeof(*out->weight_devices));
	json_for_each(w, a)
	{
		if (p->err)
			return;
		out->weight_devices[out->n_weight_devices++] = (struct spec_weight_device){
			.major = rd_need_u32(p, w, "major", 0xfff),
			.minor = rd_need_u32(p, w, "minor", 0xfffff),
			.weight = read_weight(p, w, "weight"),
			.leaf_weight = read_weight(p, w, "leafWeight"),
		};
	}
}
