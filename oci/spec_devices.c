// SPDX-License-Identifier: Apache-2.0
/* linux.devices, and the device rules of linux.resources. */
#include <string.h>

#include "oci/spec_read.h"

/* What the kernel's dev_t holds. */
#define MAJOR_MAX 0xfffU
#define MINOR_MAX 0xfffffU

static void read_device(struct rd *p, const struct json *n, struct spec_linux *out)
{
	struct spec_device *d = &out->devices[out->n_devices];
	const char *type = rd_need_string(p, n, "type");
	struct opt_u32 mode = rd_u32(p, n, "fileMode", UINT32_MAX);

	(void)rd_need_string(p, n, "path");
	d->path = rd_abs_path(p, n, "path", true);
	if (!type || !d->path)
		return;
	if (type[1] || !strchr("cubp", type[0])) {
		rd_fail(p, n, "type", "unknown type of device %s", QUOTE(type));
		return;
	}
	d->type = type[0] == 'u' ? 'c' : type[0];
	if (d->type != 'p') {
		d->major = rd_need_u32(p, n, "major", MAJOR_MAX);
		d->minor = rd_need_u32(p, n, "minor", MINOR_MAX);
	}
	/* Some callers leave the file type's bits in it. */
	d->mode = (struct opt_u32){ .set = mode.set, .v = mode.v & 07777 };
	d->uid = rd_u32(p, n, "uid", UINT32_MAX - 1);
	d->gid = rd_u32(p, n, "gid", UINT32_MAX - 1);
	for (size_t i = 0; i < out->n_devices; i++)
		if (!strcmp(out->devices[i].path, d->path)) {
			rd_fail(p, n, "path", "%s stands twice", QUOTE(d->path));
			return;
		}
	out->n_devices++;
}

void spec_read_devices(struct rd *p, const struct json *n, struct spec_linux *out)
{
	const struct json *a = rd_array(p, n, "devices", SPEC_LIM_DEVICES, JSON_OBJECT), *d;

	if (!a)
		return;
	out->devices = rd_alloc(p, a->n, sizeof(*out->devices));
	json_for_each(d, a)
	{
		if (p->err)
			return;
		read_device(p, d, out);
	}
}

void spec_read_dev_rule(struct rd *p, const struct json *n, struct spec_dev_rule *r)
{
	const char *type = rd_string(p, n, "type"), *access = rd_string(p, n, "access");
	struct opt_i64 major = rd_i64(p, n, "major", -1, MAJOR_MAX);
	struct opt_i64 minor = rd_i64(p, n, "minor", -1, MINOR_MAX);

	(void)rd_need(p, n, "allow", JSON_BOOL);
	r->allow = rd_bool(p, n, "allow");
	r->type = type && *type ? *type : 'a';
	if (type && *type && (type[1] || !strchr("acb", type[0])))
		rd_fail(p, n, "type", "unknown type of device %s", QUOTE(type));
	r->major = major.set ? major.v : -1;
	r->minor = minor.set ? minor.v : -1;
	if (!access || !*access) {
		r->r = r->w = r->m = true;
		return;
	}
	if (strspn(access, "rwm") != strlen(access))
		rd_fail(p, n, "access", "%s is not made of r, w and m", QUOTE(access));
	r->r = strchr(access, 'r');
	r->w = strchr(access, 'w');
	r->m = strchr(access, 'm');
}
