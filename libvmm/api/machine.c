// SPDX-License-Identifier: Apache-2.0
/* The machine: processors, memory, what this library and this host can do. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "util/cleanup.h"
#include "util/log.h"

int32_t krun_set_vm_config(uint32_t ctx_id, uint8_t num_vcpus, uint32_t ram_mib)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (!num_vcpus || !ram_mib || ram_mib > LIM_RAM_MAX >> 20)
		return -EINVAL;
	/* who passes on what his host has wants as many as there can be */
	if (num_vcpus > LIM_VCPUS)
		log_warn("krun_set_vm_config: %u processors become %d", num_vcpus, LIM_VCPUS);
	c->vcpus = MIN(num_vcpus, LIM_VCPUS);
	c->ram_mib = MAX(ram_mib, (uint32_t)(LIM_RAM_MIN >> 20));
	return 0;
}

int32_t krun_set_nested_virt(uint32_t ctx_id, bool enabled)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	c->nested = enabled;
	return 0;
}

int32_t krun_check_nested_virt(void)
{
	static const char *const files[] = { "/sys/module/kvm_intel/parameters/nested",
		"/sys/module/kvm_amd/parameters/nested" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		CLEAN_FD int fd = open(files[i], O_RDONLY | O_CLOEXEC);
		char v = 0;

		if (fd >= 0 && read(fd, &v, 1) == 1 && (v == '1' || v == 'Y'))
			return 1;
	}
	return 0;
}

int32_t krun_split_irqchip(uint32_t ctx_id, bool enable)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
#ifdef __x86_64__
	c->split_irqchip = enable;
	return 0;
#else
	return enable ? -EINVAL : 0;
#endif
}

int32_t krun_get_max_vcpus(void)
{
	CLEAN_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -EINVAL : LIM_VCPUS;
}

int32_t krun_has_feature(uint64_t feature)
{
	if (feature > KRUN_FEATURE_INIT_BLOB)
		return -EINVAL;
	return feature == KRUN_FEATURE_INIT_BLOB || feature == KRUN_FEATURE_NET ||
		feature == KRUN_FEATURE_BLK;
}

int32_t krun_setuid(uint32_t ctx_id, uid_t uid)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (uid == (uid_t)-1)
		return -EINVAL;
	c->uid = uid;
	c->set_uid = true;
	return 0;
}

int32_t krun_setgid(uint32_t ctx_id, gid_t gid)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (gid == (gid_t)-1)
		return -EINVAL;
	c->gid = gid;
	c->set_gid = true;
	return 0;
}

int32_t krun_set_smbios_oem_strings(uint32_t ctx_id, const char *const oem_strings[])
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	struct api_list l = { .v = NULL };
	size_t bytes = 0;
	int r;

	if (!c)
		return -ENOENT;
	r = api_set_list(&l, oem_strings);
	for (size_t i = 0; !r && i < l.n; i++)
		bytes += strlen(l.v[i]) + 2; /* an empty one becomes a space */
	if (!r && (l.n > LIM_SMBIOS_STRINGS || bytes > LIM_SMBIOS))
		r = -ENOSPC;
	if (r) {
		api_list_free(&l);
		return r;
	}
	api_list_free(&c->smbios);
	c->smbios = l;
	return 0;
}
