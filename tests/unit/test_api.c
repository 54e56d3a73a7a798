// SPDX-License-Identifier: Apache-2.0
/* The krun_* API but krun_start_enter(): every setter, what it takes and what it refuses. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "libkrun_display.h"
#include "libkrun_input.h"
#include "test.h"
#include "util/cleanup.h"

#define NO_CTX 4000000000U
#define LONG   140000

static uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
static char bad[] = "/a\xff"; /* not UTF-8 */
static char longer[LONG];
static uint32_t ctx;

static void begin(void)
{
	int32_t id = krun_create_ctx();

	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	ctx = id < 0 ? NO_CTX : (uint32_t)id;
}

static void end(void)
{
	(void)krun_free_ctx(ctx);
}

static void contexts(void)
{
	uint32_t ids[LIM_API_CTXS];
	int32_t id;

	for (size_t i = 0; i < LIM_API_CTXS; i++) {
		id = krun_create_ctx();
		CHECK(id >= 0);
		CHECK(!i || (uint32_t)id > ids[i - 1]);
		ids[i] = (uint32_t)id;
	}
	CHECK_EQ(krun_create_ctx(), -ENOMEM);
	CHECK_EQ(krun_free_ctx(ids[7]), 0);
	CHECK_EQ(krun_free_ctx(ids[7]), -ENOENT);
	id = krun_create_ctx();
	CHECK(id > (int32_t)ids[LIM_API_CTXS - 1]);
	ids[7] = (uint32_t)id;
	for (size_t i = 0; i < LIM_API_CTXS; i++)
		CHECK_EQ(krun_free_ctx(ids[i]), 0);
	CHECK_EQ(krun_free_ctx(NO_CTX), -ENOENT);
}

/* Good arguments, and no such context. */
static void no_context(void)
{
	static const char *const list[] = { NULL };
	char path[] = "/x";
	uint32_t n = NO_CTX;
	uint8_t b = 0;

	CHECK_EQ(krun_set_vm_config(n, 1, 64), -ENOENT);
	CHECK_EQ(krun_set_nested_virt(n, false), -ENOENT);
	CHECK_EQ(krun_split_irqchip(n, false), -ENOENT);
	CHECK_EQ(krun_setuid(n, 1), -ENOENT);
	CHECK_EQ(krun_setgid(n, 1), -ENOENT);
	CHECK_EQ(krun_set_smbios_oem_strings(n, list), -ENOENT);
	CHECK_EQ(krun_set_root(n, path), -ENOENT);
	CHECK_EQ(krun_add_virtiofs(n, "t", path), -ENOENT);
	CHECK_EQ(krun_add_virtiofs2(n, "t", path, 0), -ENOENT);
	CHECK_EQ(krun_add_virtiofs3(n, "t", path, 0, true), -ENOENT);
	CHECK_EQ(krun_set_mapped_volumes(n, list), -ENOENT);
	CHECK_EQ(krun_disable_implicit_init(n), -ENOENT);
	CHECK_EQ(krun_fs_add_overlay_file(n, "t", path, &b, 1, 0644, false), -ENOENT);
	CHECK_EQ(krun_fs_add_overlay_dir(n, "t", path, 0755), -ENOENT);
	CHECK_EQ(krun_set_root_disk_remount(n, path, NULL, NULL), -ENOENT);
	CHECK_EQ(krun_set_root_disk(n, path), -ENOENT);
	CHECK_EQ(krun_set_data_disk(n, path), -ENOENT);
	CHECK_EQ(krun_add_disk(n, "d", path, true), -ENOENT);
	CHECK_EQ(krun_add_disk2(n, "d", path, 1, true), -ENOENT);
	CHECK_EQ(krun_add_disk3(n, "d", path, 1, true, false, 2), -ENOENT);
	CHECK_EQ(krun_add_net_unixstream(n, path, -1, mac, 0, 0), -ENOENT);
	CHECK_EQ(krun_add_net_unixgram(n, path, -1, mac, 0, 0), -ENOENT);
	CHECK_EQ(krun_add_net_tap(n, path, mac, 0, 0), -ENOENT);
	CHECK_EQ(krun_set_passt_fd(n, 0), -ENOENT);
	CHECK_EQ(krun_set_gvproxy_path(n, path), -ENOENT);
	CHECK_EQ(krun_set_net_mac(n, mac), -ENOENT);
	CHECK_EQ(krun_set_port_map(n, list), -ENOENT);
	CHECK_EQ(krun_add_vsock_port(n, 1, path), -ENOENT);
	CHECK_EQ(krun_add_vsock_port2(n, 1, path, false), -ENOENT);
	CHECK_EQ(krun_disable_implicit_vsock(n), -ENOENT);
	CHECK_EQ(krun_add_vsock(n, 0), -ENOENT);
}

static void no_context_either(void)
{
	static const char *const list[] = { NULL };
	uint32_t n = NO_CTX;
	uint8_t b = 0;

	CHECK_EQ(krun_disable_implicit_console(n), -ENOENT);
	CHECK_EQ(krun_set_console_output(n, "/x"), -ENOENT);
	CHECK_EQ(krun_add_virtio_console_default(n, -1, -1, -1), -ENOENT);
	CHECK_EQ(krun_add_virtio_console_multiport(n), -ENOENT);
	CHECK_EQ(krun_add_console_port_inout(n, 0, NULL, -1, -1), -ENOENT);
	CHECK_EQ(krun_add_serial_console_default(n, -1, -1), -ENOENT);
	CHECK_EQ(krun_set_kernel_console(n, "hvc0"), -ENOENT);
	CHECK_EQ(krun_set_kernel(n, "/dev/null", 0, NULL, NULL), -ENOENT);
	CHECK_EQ(krun_set_firmware(n, "/x"), -ENOENT);
	CHECK_EQ(krun_set_workdir(n, "/x"), -ENOENT);
	CHECK_EQ(krun_set_exec(n, "/x", list, list), -ENOENT);
	CHECK_EQ(krun_set_env(n, list), -ENOENT);
	CHECK_EQ(krun_set_rlimits(n, list), -ENOENT);
	CHECK_EQ(krun_set_tee_config_file(n, "/x"), -ENOENT);
	CHECK_EQ(krun_get_shutdown_eventfd(n), -ENOENT);
	CHECK_EQ(krun_set_gpu_options(n, 0), -ENOENT);
	CHECK_EQ(krun_set_gpu_options2(n, 0, 0), -ENOENT);
	CHECK_EQ(krun_add_display(n, 1, 1), -ENOENT);
	CHECK_EQ(krun_display_set_edid(n, 0, &b, 1), -ENOENT);
	CHECK_EQ(krun_display_set_dpi(n, 0, 1), -ENOENT);
	CHECK_EQ(krun_display_set_physical_size(n, 0, 1, 1), -ENOENT);
	CHECK_EQ(krun_display_set_refresh_rate(n, 0, 1), -ENOENT);
	CHECK_EQ(krun_set_display_backend(n, &b, 1), -ENOENT);
	CHECK_EQ(krun_add_input_device(n, &b, 1, &b, 1), -ENOENT);
	CHECK_EQ(krun_add_input_device_fd(n, 0), -ENOENT);
	CHECK_EQ(krun_set_snd_device(n, true), -ENOENT);
	CHECK_EQ(krun_add_vhost_user_device(n, 4, "/x", NULL, 0, NULL), -ENOENT);
	CHECK_EQ(krun_start_enter(n), -ENOENT);
}

static void machine(void)
{
	struct api_ctx *c;
	static const char *const strings[] = { "a", "", "c", NULL };
	static const char *const none[] = { NULL };
	static const char *many[257];
	static char fat[60 << 10];
	int32_t max = krun_get_max_vcpus();

	begin();
	CHECK_EQ(krun_set_vm_config(ctx, 0, 64), -EINVAL);
	CHECK_EQ(krun_set_vm_config(ctx, 1, 0), -EINVAL);
	CHECK_EQ(krun_set_vm_config(ctx, 1, UINT32_MAX), -EINVAL);
	CHECK_EQ(krun_set_vm_config(ctx, 255, 64), 0);
	c = api_get(ctx);
	CHECK(c && c->vcpus == LIM_VCPUS);
	api_put(&c);
	CHECK_EQ(krun_set_vm_config(ctx, 16, 1), 0);
	CHECK_EQ(krun_set_nested_virt(ctx, false), 0);
	CHECK_EQ(krun_set_nested_virt(ctx, true), 0);
	CHECK_EQ(krun_split_irqchip(ctx, false), 0);
	CHECK_EQ(krun_split_irqchip(ctx, true), 0);
	CHECK(max == 16 || max == -EINVAL);
	CHECK(krun_check_nested_virt() >= 0 && krun_check_nested_virt() <= 1);
	for (uint64_t f = 0; f <= 11; f++)
		CHECK_EQ(krun_has_feature(f),
			f == KRUN_FEATURE_INIT_BLOB || f == KRUN_FEATURE_NET ||
				f == KRUN_FEATURE_BLK);
	CHECK_EQ(krun_has_feature(12), -EINVAL);
	CHECK_EQ(krun_has_feature(UINT64_MAX), -EINVAL);
	CHECK_EQ(krun_setuid(ctx, 1000), 0);
	CHECK_EQ(krun_setuid(ctx, (uid_t)-1), -EINVAL);
	CHECK_EQ(krun_setgid(ctx, 1000), 0);
	CHECK_EQ(krun_setgid(ctx, (gid_t)-1), -EINVAL);
	CHECK_EQ(krun_set_smbios_oem_strings(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_smbios_oem_strings(ctx, strings), 0);
	CHECK_EQ(krun_set_smbios_oem_strings(ctx, none), 0);
	memset(fat, 'x', sizeof(fat) - 1);
	for (unsigned i = 0; i < 256; i++)
		many[i] = "";
	CHECK_EQ(krun_set_smbios_oem_strings(ctx, many), -ENOSPC);
	many[255] = NULL;
	CHECK_EQ(krun_set_smbios_oem_strings(ctx, many), 0);
	many[0] = fat;
	CHECK_EQ(krun_set_smbios_oem_strings(ctx, many), -ENOSPC);
	end();
}

static void shares(void)
{
	char tag[40] = "t0";

	begin();
	CHECK_EQ(krun_set_root(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_root(ctx, ""), -EINVAL);
	CHECK_EQ(krun_set_root(ctx, bad), -EINVAL);
	CHECK_EQ(krun_set_root(ctx, longer), -EINVAL);
	CHECK_EQ(krun_set_root(ctx, "/tmp"), 0);
	CHECK_EQ(krun_set_root(ctx, "/tmp"), -EEXIST);
	CHECK_EQ(krun_disable_implicit_init(ctx), -EINVAL);
	CHECK_EQ(krun_add_virtiofs(ctx, NULL, "/"), -EINVAL);
	CHECK_EQ(krun_add_virtiofs(ctx, "", "/"), -EINVAL);
	CHECK_EQ(krun_add_virtiofs(ctx, "root", "/"), -EINVAL);
	CHECK_EQ(krun_add_virtiofs(ctx, bad, "/"), -EINVAL);
	CHECK_EQ(krun_add_virtiofs(ctx, "1234567890123456789012345678901234567", "/"), -EINVAL);
	CHECK_EQ(krun_add_virtiofs(ctx, "t", ""), -EINVAL);
	CHECK_EQ(krun_add_virtiofs(ctx, "empty", NULL), 0);
	CHECK_EQ(krun_add_virtiofs(ctx, "empty", "/"), -EEXIST);
	CHECK_EQ(krun_add_virtiofs(ctx, KRUN_FS_ROOT_TAG, "/"), -EEXIST);
	CHECK_EQ(krun_add_virtiofs2(ctx, "t", "/", UINT64_MAX), -EINVAL);
	CHECK_EQ(krun_add_virtiofs2(ctx, "t", "/", 32ULL << 30), 0);
	CHECK_EQ(krun_add_virtiofs2(ctx, "u", "/", 1), -EINVAL);
	CHECK_EQ(krun_add_virtiofs3(ctx, "123456789012345678901234567890123456", "/", 0, true), 0);
	for (int i = 4; i < LIM_API_FS; i++) {
		tag[1]++;
		CHECK_EQ(krun_add_virtiofs(ctx, tag, "/"), 0);
	}
	CHECK_EQ(krun_add_virtiofs(ctx, "more", "/"), -ENOSPC);
	end();
}

static void volumes(void)
{
	static const char *const wrong[] = { "", "/a", "/a:", "/a:/", "a:/b", "/a:b", "/a:/b:ro",
		bad };
	static const char *const good[] = { "/a:/b", "/c:/d/e", NULL };
	static const char *const many[] = { "/1:/1", "/2:/2", "/3:/3", "/4:/4", "/5:/5", "/6:/6",
		"/7:/7", "/8:/8", "/9:/9", NULL };

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *const l[] = { "/ok:/ok", wrong[i], NULL };

		CHECK_EQ(krun_set_mapped_volumes(ctx, l), -EINVAL);
	}
	CHECK_EQ(krun_set_mapped_volumes(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_mapped_volumes(ctx, good), 0);
	CHECK_EQ(krun_set_mapped_volumes(ctx, many), -ENOSPC);
	end();
}

static void first_process(void)
{
	const uint8_t *p = NULL;
	size_t n = 0;

	begin();
	CHECK_EQ(krun_get_default_init(NULL, &n), -EINVAL);
	CHECK_EQ(krun_get_default_init(&p, NULL), -EINVAL);
	CHECK_EQ(krun_get_default_init(&p, &n), 0);
	CHECK(n > 10000 && !memcmp(p, "\177ELF", 4));
	CHECK_EQ(krun_disable_implicit_init(ctx), 0);
	CHECK_EQ(krun_set_root(ctx, "/"), 0);
	end();
}

/* What was given out, put back where it was: as if it had never been taken away. */
static void init_put_back(void)
{
	const uint8_t *p = NULL;
	size_t n = 0;

	CHECK_EQ(krun_get_default_init(&p, &n), 0);
	/* 0 and 1 are that: the program, and a copy in place of another one */
	for (int i = 0; i < 4; i++) {
		uint8_t *copy = malloc(n);
		struct api_ctx *c;

		CHECK(copy);
		memcpy(copy, p, n);
		copy[n - 1] ^= i == 3;
		begin();
		CHECK_EQ(krun_disable_implicit_init(ctx), 0);
		CHECK_EQ(krun_fs_add_overlay_file(
				 ctx, KRUN_FS_ROOT_TAG, "init.krun", p, n, 0755, true),
			-ENOENT);
		CHECK_EQ(krun_set_root(ctx, "/"), 0);
		CHECK_EQ(krun_add_virtiofs(ctx, "other", "/"), 0);
		if (i == 1)
			CHECK_EQ(krun_fs_add_overlay_file(
					 ctx, KRUN_FS_ROOT_TAG, "init.krun", p, 4, 0755, true),
				0);
		CHECK_EQ(krun_fs_add_overlay_file(ctx, i == 2 ? "other" : KRUN_FS_ROOT_TAG,
				 i ? "/init.krun" : "init.krun", i ? copy : p, n, 0755, true),
			0);
		c = api_get(ctx);
		CHECK(c && c->no_init == (i > 1));
		CHECK(c && c->fs[0].nvirt == (i == 3) && c->fs[1].nvirt == (i == 2));
		api_put(&c);
		end();
		free(copy);
	}
}

static int32_t put(const char *path, const uint8_t *data, size_t len, bool one_shot)
{
	return krun_fs_add_overlay_file(
		ctx, KRUN_FS_ROOT_TAG, path, data, len, S_IFDIR | 0644, one_shot);
}

static int32_t put_dir(const char *path)
{
	return krun_fs_add_overlay_dir(ctx, KRUN_FS_ROOT_TAG, path, S_IFREG | 0750);
}

static void overlays_refused(void)
{
	const uint8_t b = 'x';
	char name[300] = "/";

	begin();
	CHECK_EQ(krun_set_root(ctx, "/"), 0);
	CHECK_EQ(krun_fs_add_overlay_file(ctx, NULL, "/a", &b, 1, 0, false), -EINVAL);
	CHECK_EQ(krun_fs_add_overlay_file(ctx, "other", "/a", &b, 1, 0, false), -ENOENT);
	CHECK_EQ(put(NULL, &b, 1, false), -EINVAL);
	CHECK_EQ(put("/a", NULL, 1, false), -EINVAL);
	CHECK_EQ(put("", &b, 1, false), -EINVAL);
	CHECK_EQ(put("/", &b, 1, false), -EINVAL);
	CHECK_EQ(put("//a", &b, 1, false), -EINVAL);
	CHECK_EQ(put(bad, &b, 1, false), -EINVAL);
	CHECK_EQ(put(longer, &b, 1, false), -EINVAL);
	CHECK_EQ(put("/..", &b, 1, false), -EINVAL);
	CHECK_EQ(put_dir("/."), -EINVAL);
	CHECK_EQ(put_dir("/"), -EINVAL);
	memset(name + 1, 'n', 256);
	CHECK_EQ(put(name, &b, 1, false), -EINVAL);
	CHECK_EQ(put("/d/f", &b, 1, false), -ENOENT);
	CHECK_EQ(put("f", &b, 1, false), 0);
	CHECK_EQ(put("/f/f", &b, 1, false), -ENOTDIR);
	CHECK_EQ(put_dir("/d"), 0);
	CHECK_EQ(put("d/", &b, 1, false), -EINVAL);
	CHECK_EQ(put("/d//f", &b, 1, false), -EINVAL);
	CHECK_EQ(put("/d/e/f", &b, 1, false), -ENOENT);
	/* more bytes than all may have: their number alone is looked at */
	CHECK_EQ(put("/g", &b, LIM_API_VIRT_BYTES, false), -ENOSPC);
	CHECK_EQ(put("/g", &b, SIZE_MAX, false), -ENOSPC);
	for (int i = 2; i < LIM_FS_VIRT; i++) {
		(void)snprintf(name, sizeof(name), "/d/%d", i);
		CHECK_EQ(put(name, NULL, 0, false), 0);
	}
	CHECK_EQ(put("/g", &b, 1, false), -ENOSPC);
	CHECK_EQ(put_dir("/g"), -ENOSPC);
	/* one that is there goes, so there is room for it */
	CHECK_EQ(put("f", &b, 1, false), 0);
	end();
}

/* What a context has of them afterwards: copies, in order; the last of a path counts. */
static void overlays(void)
{
	char data[] = "bytes", path[] = "/etc/f";
	struct api_ctx *c;
	struct vmm_fs_virt *v;

	begin();
	CHECK_EQ(krun_add_virtiofs(ctx, KRUN_FS_ROOT_TAG, NULL), 0);
	CHECK_EQ(krun_add_virtiofs(ctx, "other", "/"), 0);
	CHECK_EQ(put_dir("/etc"), 0);
	CHECK_EQ(put(path, (const uint8_t *)data, 5, true), 0);
	CHECK_EQ(krun_fs_add_overlay_file(ctx, "other", "f", NULL, 0, 0, false), 0);
	CHECK_EQ(put("etcetera", NULL, 0, false), 0);
	memset(data, 'X', 5);
	memset(path, 'X', 6);
	c = api_get(ctx);
	CHECK(c && !c->fs[0].path);
	v = c->fs[0].virt;
	CHECK_EQ(c->fs[0].nvirt, 3);
	CHECK(v[0].dir && v[0].mode == 0750 && !v[0].data && !v[0].one_shot);
	CHECK_STR(v[0].path, "etc");
	CHECK(!v[1].dir && v[1].mode == 0644 && v[1].len == 5 && v[1].one_shot);
	CHECK_STR(v[1].path, "etc/f");
	CHECK(!memcmp(v[1].data, "bytes", 5));
	CHECK_EQ(c->fs[1].nvirt, 1);
	api_put(&c);
	/* a file in place of a file, and of a directory with all that is in it */
	CHECK_EQ(put("/etc/f", (const uint8_t *)"other", 4, false), 0);
	c = api_get(ctx);
	CHECK(c && c->fs[0].nvirt == 3 && v[2].len == 4 && !v[2].one_shot);
	api_put(&c);
	CHECK_EQ(put("/etc", NULL, 0, false), 0);
	c = api_get(ctx);
	CHECK(c && c->fs[0].nvirt == 2 && !v[1].dir);
	CHECK_STR(v[0].path, "etcetera");
	CHECK_STR(v[1].path, "etc");
	api_put(&c);
	CHECK_EQ(put("/etc/f", NULL, 0, false), -ENOTDIR);
	end();
}

static void disks(void)
{
	begin();
	CHECK_EQ(krun_set_root_disk_remount(ctx, "/dev/vda", NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_root_disk(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_root_disk(ctx, ""), -EINVAL);
	CHECK_EQ(krun_set_data_disk(ctx, bad), -EINVAL);
	CHECK_EQ(krun_set_data_disk(ctx, "/d"), 0);
	CHECK_EQ(krun_add_disk(ctx, NULL, "/d", false), -EINVAL);
	CHECK_EQ(krun_add_disk(ctx, "d", NULL, false), -EINVAL);
	CHECK_EQ(krun_add_disk(ctx, "d", longer, false), -EINVAL);
	CHECK_EQ(krun_add_disk(ctx, longer, "/d", false), -EINVAL);
	CHECK_EQ(krun_add_disk2(ctx, "d", "/d", 3, false), -EINVAL);
	CHECK_EQ(krun_add_disk3(ctx, "d", "/d", 0, false, true, 3), -EINVAL);
	CHECK_EQ(krun_add_disk2(ctx, "d", "/d", KRUN_DISK_FORMAT_VMDK, false), -ENOTSUP);
	CHECK_EQ(krun_add_disk3(ctx, "d", "/d", KRUN_DISK_FORMAT_VMDK, true, true, 1), -ENOTSUP);
	CHECK_EQ(krun_add_disk3(ctx, "d", "/d", KRUN_DISK_FORMAT_VMDK, true, false, 1), 0);
	for (int i = 1; i < LIM_API_DISKS; i++)
		CHECK_EQ(krun_add_disk3(ctx, "d", "/d", KRUN_DISK_FORMAT_QCOW2, false, true, 1), 0);
	CHECK_EQ(krun_add_disk(ctx, "d", "/d", false), -ENOSPC);
	CHECK_EQ(krun_set_root_disk_remount(ctx, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_root_disk_remount(ctx, "", NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_root_disk_remount(ctx, "/dev/vda", bad, NULL), -EINVAL);
	CHECK_EQ(krun_set_root_disk_remount(ctx, "/dev/vda", NULL, longer), -EINVAL);
	CHECK_EQ(krun_disable_implicit_init(ctx), 0);
	CHECK_EQ(krun_set_root_disk_remount(ctx, "/dev/vda", "auto", "ro"), 0);
	/* it is the root, with a share to begin in */
	CHECK_EQ(krun_set_root_disk_remount(ctx, "/dev/vda", NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_root(ctx, "/"), -EEXIST);
	CHECK_EQ(krun_disable_implicit_init(ctx), -EINVAL);
	CHECK_EQ(krun_fs_add_overlay_file(
			 ctx, KRUN_FS_ROOT_TAG, "/sys/x", (const uint8_t *)"x", 1, 0755, true),
		0);
	end();
	begin();
	CHECK_EQ(krun_add_disk(ctx, "d", "/d", false), 0);
	CHECK_EQ(krun_set_root(ctx, "/"), 0);
	CHECK_EQ(krun_set_root_disk_remount(ctx, "/dev/vda", NULL, NULL), -EINVAL);
	end();
}

static void nets(void)
{
	char path[] = "/s", empty[] = "", tap[] = "tap0", long_tap[] = "0123456789abcdef";
	uint8_t group[6] = { 1 };
	static const char *const map[] = { "80:80", NULL };

	begin();
	CHECK_EQ(krun_add_net_unixstream(ctx, NULL, -1, mac, 0, 0), -EINVAL);
	CHECK_EQ(krun_add_net_unixstream(ctx, path, 0, mac, 0, 0), -EINVAL);
	CHECK_EQ(krun_add_net_unixstream(ctx, NULL, 1 << 20, mac, 0, 0), -EINVAL);
	CHECK_EQ(krun_add_net_unixstream(ctx, path, -1, NULL, 0, 0), -EINVAL);
	CHECK_EQ(krun_add_net_unixstream(ctx, empty, -1, mac, 0, 0), -EINVAL);
	CHECK_EQ(krun_add_net_unixstream(ctx, longer, -1, mac, 0, 0), -EINVAL);
	CHECK_EQ(krun_add_net_unixstream(ctx, path, -1, mac, 2U << 14, 0), -EINVAL);
	CHECK_EQ(krun_add_net_unixstream(ctx, path, -1, mac, 0, NET_FLAG_VFKIT), -EINVAL);
	CHECK_EQ(krun_add_net_unixgram(ctx, path, -1, mac, 0, 4), -EINVAL);
	CHECK_EQ(krun_add_net_tap(ctx, NULL, mac, 0, 0), -EINVAL);
	CHECK_EQ(krun_add_net_tap(ctx, long_tap, mac, 0, 0), -EINVAL);
	CHECK_EQ(krun_add_net_tap(ctx, tap, mac, NET_FEATURE_GUEST_TSO4, 0), -EINVAL);
	CHECK_EQ(krun_add_net_tap(ctx, tap, mac, 0, NET_FLAG_VFKIT), -EINVAL);
	CHECK_EQ(krun_set_net_mac(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_net_mac(ctx, group), -EINVAL);
	CHECK_EQ(krun_add_net_tap(ctx, tap, group, 0, 0), -EINVAL);
	CHECK_EQ(krun_set_net_mac(ctx, mac), 0);
	CHECK_EQ(krun_set_port_map(ctx, map), 0);
	CHECK_EQ(krun_set_passt_fd(ctx, -1), -EINVAL);
	CHECK_EQ(krun_set_passt_fd(ctx, 1), 0);
	CHECK_EQ(krun_set_gvproxy_path(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_gvproxy_path(ctx, longer), -EINVAL);
	CHECK_EQ(krun_set_gvproxy_path(ctx, path), 0);
	CHECK_EQ(krun_add_net_unixgram(ctx, path, -1, mac, 0, 0), -EINVAL);
	CHECK_EQ(krun_set_port_map(ctx, map), -EINVAL);
	end();
	begin();
	CHECK_EQ(krun_add_net_unixgram(ctx, path, -1, mac, COMPAT_NET_FEATURES, 3), 0);
	CHECK_EQ(krun_add_net_unixgram(ctx, path, -1, mac, COMPAT_NET_FEATURES, 1), 0);
	for (int i = 2; i < LIM_API_NETS; i++)
		CHECK_EQ(krun_add_net_unixstream(ctx, NULL, 1, mac, 0, 0), 0);
	CHECK_EQ(krun_add_net_tap(ctx, tap, mac, COMPAT_NET_FEATURES, 0), -ENOSPC);
	CHECK_EQ(krun_set_passt_fd(ctx, 1), -EINVAL);
	CHECK_EQ(krun_set_gvproxy_path(ctx, path), -EINVAL);
	end();
}

static void ports(void)
{
	static const char *const wrong[] = { "", ":", "1", "1:", ":1", "0:1", "1:0", "1:65536",
		"65536:1", "a:1", "1:1 ", " 1:1", "+1:1", "80:9", "9:80", "1:2:3",
		"99999999999999999999:1" };
	static char text[LIM_API_PORT_MAP + 1][16];
	const char *many[LIM_API_PORT_MAP + 2];

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *const l[] = { "80:80", wrong[i], NULL };

		CHECK_EQ(krun_set_port_map(ctx, l), -EINVAL);
	}
	for (int i = 0; i <= LIM_API_PORT_MAP; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "%d:%d", i + 1, i + 1000);
		many[i] = text[i];
	}
	many[LIM_API_PORT_MAP + 1] = NULL;
	CHECK_EQ(krun_set_port_map(ctx, many), -ENOSPC);
	many[LIM_API_PORT_MAP] = NULL;
	CHECK_EQ(krun_set_port_map(ctx, many), 0);
	CHECK_EQ(krun_set_port_map(ctx, NULL), 0);
	end();
}

static void vsock(void)
{
	char dir[] = "/tmp/api-XXXXXX", path[64];

	begin();
	CHECK(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	CHECK_EQ(krun_add_vsock(ctx, 0), -EEXIST);
	CHECK_EQ(krun_add_vsock(ctx, 4), -EINVAL);
	CHECK_EQ(krun_add_vsock_port(ctx, 1, NULL), -EINVAL);
	CHECK_EQ(krun_add_vsock_port(ctx, 1, ""), -EINVAL);
	CHECK_EQ(krun_add_vsock_port(ctx, 5, "/s"), -EINVAL);
	CHECK_EQ(krun_add_vsock_port(ctx, 6, "/s"), -EINVAL);
	CHECK_EQ(krun_add_vsock_port(ctx, 1, longer), -EINVAL);
	CHECK_EQ(krun_add_vsock_port2(ctx, 1, dir, true), -EEXIST);
	CHECK_EQ(krun_add_vsock_port2(ctx, 1, "/dev/null/s", true), -EINVAL);
	CHECK_EQ(krun_add_vsock_port2(ctx, 1, path, true), 0);
	CHECK_EQ(krun_add_vsock_port2(ctx, 1, dir, false), 0);
	for (uint32_t i = 1; i < LIM_API_VSOCK_PORTS; i++)
		CHECK_EQ(krun_add_vsock_port(ctx, i + 10, path), 0);
	CHECK_EQ(krun_add_vsock_port(ctx, 1000, path), -ENOSPC);
	CHECK_EQ(krun_add_vsock_port(ctx, 11, path), 0);
	CHECK_EQ(krun_disable_implicit_vsock(ctx), 0);
	CHECK_EQ(krun_add_vsock_port(ctx, 11, path), -ENODEV);
	CHECK_EQ(krun_set_port_map(ctx, NULL), -ENODEV);
	CHECK_EQ(krun_add_vsock(ctx, KRUN_TSI_HIJACK_UNIX), -ENOTSUP);
	CHECK_EQ(krun_add_vsock(ctx, KRUN_TSI_HIJACK_INET), 0);
	CHECK_EQ(krun_add_vsock(ctx, 0), -EEXIST);
	CHECK_EQ(krun_add_vsock_port(ctx, 11, path), 0);
	CHECK_EQ(krun_disable_implicit_vsock(ctx), 0);
	CHECK_EQ(krun_add_vsock_port(ctx, 11, path), -ENODEV);
	CHECK_EQ(krun_add_vsock(ctx, 0), 0);
	CHECK_EQ(rmdir(dir), 0);
	end();
}

/* All that takes a port counts, whichever kind it is and in whichever order it comes. */
static void console_ports(void)
{
	begin();
	CHECK_EQ(krun_disable_implicit_console(ctx), 0);
	CHECK_EQ(krun_add_virtio_console_multiport(ctx), 0);
	CHECK_EQ(krun_add_virtio_console_default(ctx, -1, -1, -1), 0); /* the workload's */
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(krun_add_virtio_console_default(ctx, -1, -1, -1), 0);
		CHECK_EQ(krun_add_console_port_inout(ctx, 0, "a", -1, 1), 0);
	}
	CHECK_EQ(krun_add_virtio_console_default(ctx, -1, -1, -1), -ENOSPC);
	CHECK_EQ(krun_add_console_port_inout(ctx, 0, "a", -1, 1), -ENOSPC);
	/* what was refused has taken no number */
	CHECK_EQ(krun_add_virtio_console_multiport(ctx), 5);
	end();
}

static void consoles(void)
{
	CLEAN_FD int tty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	begin();
	CHECK_EQ(krun_set_console_output(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_console_output(ctx, ""), -EINVAL);
	CHECK_EQ(krun_set_console_output(ctx, bad), -EINVAL);
	CHECK_EQ(krun_set_console_output(ctx, "/c"), 0);
	CHECK_EQ(krun_set_console_output(ctx, "/c"), -EINVAL);
	CHECK_EQ(krun_disable_implicit_console(ctx), 0);
	CHECK_EQ(krun_add_virtio_console_default(ctx, 1 << 20, -1, -1), -EINVAL);
	CHECK_EQ(krun_add_virtio_console_default(ctx, -1, -9, 1), 0);
	CHECK_EQ(krun_add_virtio_console_multiport(ctx), 1);
	CHECK_EQ(krun_add_virtio_console_multiport(ctx), 2);
	CHECK_EQ(krun_add_console_port_inout(ctx, 0, "a", -1, 1), -EINVAL);
	CHECK_EQ(krun_add_console_port_inout(ctx, 3, "a", -1, 1), -EINVAL);
	CHECK_EQ(krun_add_console_port_inout(ctx, 1, "a", 1 << 20, 1), -EINVAL);
	CHECK_EQ(krun_add_console_port_inout(ctx, 1, "a", -1, 1 << 20), -EINVAL);
	CHECK_EQ(krun_add_console_port_inout(ctx, 1, "123456789012345678901234567890123", -1, 1),
		-EINVAL);
	CHECK_EQ(krun_add_console_port_tty(ctx, 1, "a", -1), -EINVAL);
	CHECK(tty >= 0);
	CHECK_EQ(krun_add_console_port_tty(NO_CTX, 1, "a", tty), -ENOENT);
	CHECK_EQ(krun_add_console_port_tty(ctx, 2, NULL, tty), 0);
	for (int i = 1; i < LIM_API_CONSOLE_PORTS; i++)
		CHECK_EQ(krun_add_console_port_inout(ctx, 1, "a", -1, 1), 0);
	CHECK_EQ(krun_add_console_port_inout(ctx, 1, "a", -1, 1), -ENOSPC);
	CHECK_EQ(krun_add_console_port_tty(ctx, 1, "a", open("/dev/null", O_RDWR | O_CLOEXEC)),
		-ENOTTY);
	for (int i = 3; i < LIM_API_CONSOLES; i++)
		CHECK_EQ(krun_add_virtio_console_multiport(ctx), i);
	CHECK_EQ(krun_add_virtio_console_multiport(ctx), -ENOSPC);
	CHECK_EQ(krun_add_serial_console_default(ctx, 999, 1), -EINVAL);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(krun_add_serial_console_default(ctx, -1, 1), 0);
	CHECK_EQ(krun_add_serial_console_default(ctx, -1, -1), -ENOSPC);
	CHECK_EQ(krun_set_kernel_console(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_kernel_console(ctx, ""), -EINVAL);
	CHECK_EQ(krun_set_kernel_console(ctx, "a b"), -EINVAL);
	CHECK_EQ(krun_set_kernel_console(ctx, "hvc0"), 0);
	end();
}

static void kernels(void)
{
	begin();
	CHECK_EQ(krun_set_kernel(ctx, NULL, 0, NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_kernel(ctx, "/dev/null", 6, NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_kernel(ctx, "/nowhere", 1, NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_kernel(ctx, "/dev/null", 1, "/nowhere", NULL), -EINVAL);
	CHECK_EQ(krun_set_kernel(ctx, "/dev/null", 1, NULL, "a\nb"), -EINVAL);
	CHECK_EQ(krun_set_kernel(ctx, "/dev/null", 1, NULL, longer), -EINVAL);
	CHECK_EQ(krun_set_kernel(ctx, bad, 1, NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_kernel(ctx, "/dev/null", 5, "/dev/null", "quiet"), 0);
	CHECK_EQ(krun_set_firmware(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_firmware(ctx, "/f"), -ENOTSUP);
	CHECK_EQ(krun_set_tee_config_file(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_tee_config_file(ctx, "/f"), -ENOTSUP);
	end();
}

static const char *workdir(void)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx);

	return c ? c->workdir : "no context";
}

static void workload(void)
{
	static const char *const words[] = { "a", "b=c", NULL };
	static const char *const wrong[] = { "a", bad, NULL };
	const char *many[LIM_API_LIST + 2];
	const char *const over[] = { longer, NULL };

	begin();
	CHECK_EQ(krun_set_workdir(ctx, NULL), -EINVAL);
	CHECK_EQ(krun_set_workdir(ctx, bad), -EINVAL);
	CHECK_EQ(krun_set_workdir(ctx, longer), -EINVAL);
	CHECK_EQ(krun_set_workdir(ctx, "/a"), 0);
	CHECK_STR(workdir(), "/a");
	CHECK_EQ(krun_set_workdir(ctx, "a/b"), 0);
	CHECK_STR(workdir(), "/a/b");
	CHECK_EQ(krun_set_workdir(ctx, ""), 0);
	CHECK(!workdir());
	CHECK_EQ(krun_set_exec(ctx, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_exec(ctx, "", NULL, NULL), -EINVAL);
	CHECK_EQ(krun_set_exec(ctx, "/a", wrong, words), -EINVAL);
	CHECK_EQ(krun_set_exec(ctx, "/a", words, wrong), -EINVAL);
	CHECK_EQ(krun_set_exec(ctx, "/a", over, words), -EINVAL);
	for (int i = 0; i <= LIM_API_LIST; i++)
		many[i] = "x";
	many[LIM_API_LIST + 1] = NULL;
	CHECK_EQ(krun_set_exec(ctx, "/a", many, words), -EINVAL);
	CHECK_EQ(krun_set_env(ctx, many), -EINVAL);
	many[LIM_API_LIST] = NULL;
	CHECK_EQ(krun_set_exec(ctx, "/a", many, NULL), 0);
	CHECK_EQ(krun_set_exec(ctx, "/a", NULL, words), 0);
	CHECK_EQ(krun_set_env(ctx, wrong), -EINVAL);
	CHECK_EQ(krun_set_env(ctx, NULL), 0);
	CHECK_EQ(krun_set_env(ctx, words), 0);
	end();
}

static void rlimits(void)
{
	static const char *const wrong[] = { "", "7", "7=", "7=1", "7=1:", "7=:1", "16=1:1",
		"7=2:1", "a=1:1", "7=1:1x", "7;1:1", "7:1=1", "-1=1:1",
		"7=1:18446744073709551616" };
	static const char *const good[] = { "7=1:18446744073709551615", "6=0:0", NULL };
	const char *again[41] = { "1=1:1" };
	struct api_ctx *c;
	int fd;

	begin();
	CHECK_EQ(krun_set_rlimits(ctx, NULL), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *const l[] = { "6=1:2", wrong[i], NULL };

		CHECK_EQ(krun_set_rlimits(ctx, l), -EINVAL);
	}
	CHECK_EQ(krun_set_rlimits(ctx, good), 0);
	for (int i = 1; i < 40; i++)
		again[i] = i < 39 ? i % 2 ? "7:1:2" : "6=3:4" : "7=5:6";
	CHECK_EQ(krun_set_rlimits(ctx, again), 0);
	c = api_get(ctx);
	CHECK(c && c->rlimits.n == 3);
	CHECK_STR(c->rlimits.v[0], "1=1:1");
	CHECK_STR(c->rlimits.v[1], "6=3:4");
	CHECK_STR(c->rlimits.v[2], "7=5:6");
	api_put(&c);
	fd = krun_get_shutdown_eventfd(ctx);
	CHECK(fd >= 0);
	CHECK_EQ(krun_get_shutdown_eventfd(ctx), fd);
	end();
	CHECK(!api_fd_ok(fd));
}

static void absent(void)
{
	struct krun_display_backend d = { .features = 1 };
	struct krun_input_config i = { .features = 1 };
	struct krun_input_event_provider v = { .features = 1 };
	uint8_t edid[128] = { 0 };

	begin();
	/* who calls it whatever there is goes on without */
	CHECK_EQ(krun_set_gpu_options(ctx, 1), 0);
	CHECK_EQ(krun_set_gpu_options2(ctx, 1, 1), 0);
	CHECK_EQ(krun_has_feature(KRUN_FEATURE_GPU), 0);
	CHECK_EQ(krun_add_display(ctx, 1, 1), -ENOTSUP);
	CHECK_EQ(krun_display_set_edid(ctx, 0, NULL, 128), -EINVAL);
	CHECK_EQ(krun_display_set_edid(ctx, 0, edid, sizeof(edid)), -ENOTSUP);
	CHECK_EQ(krun_display_set_dpi(ctx, 0, 1), -ENOTSUP);
	CHECK_EQ(krun_display_set_physical_size(ctx, 0, 1, 1), -ENOTSUP);
	CHECK_EQ(krun_display_set_refresh_rate(ctx, 0, 1), -ENOTSUP);
	CHECK_EQ(krun_set_display_backend(ctx, NULL, sizeof(d)), -EINVAL);
	CHECK_EQ(krun_set_display_backend(ctx, &d, sizeof(d)), -ENOTSUP);
	CHECK_EQ(krun_add_input_device(ctx, NULL, sizeof(i), &v, sizeof(v)), -EINVAL);
	CHECK_EQ(krun_add_input_device(ctx, &i, sizeof(i), NULL, sizeof(v)), -EINVAL);
	CHECK_EQ(krun_add_input_device(ctx, &i, sizeof(i), &v, sizeof(v)), -ENOTSUP);
	CHECK_EQ(krun_add_input_device_fd(ctx, -1), -EINVAL);
	CHECK_EQ(krun_add_input_device_fd(ctx, 0), -ENOTSUP);
	CHECK_EQ(krun_set_snd_device(ctx, true), -ENOTSUP);
	CHECK_EQ(krun_set_snd_device(ctx, false), 0);
	end();
}

static void vhost_user(void)
{
	char tag[38] = { 0 }, path[109] = { 0 };

	begin();
	memset(tag, 't', sizeof(tag) - 1);
	memset(path, '/', sizeof(path) - 1);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 4, NULL, NULL, 0, NULL), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 4, "", NULL, 0, NULL), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 0, "/s", NULL, 0, NULL), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 4, "/s", bad, 0, NULL), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 19, "/s", NULL, 0, NULL), -ENOTSUP);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 1, "/s", NULL, 0, NULL), -ENOTSUP);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 26, "/s", NULL, 0, NULL), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 26, "/s", tag, 0, NULL), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 4, path, NULL, 0, NULL), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 4, "/s", NULL, 17, NULL), -EINVAL);
	CHECK_EQ(
		krun_add_vhost_user_device(ctx, 4, "/s", NULL, 2, (uint16_t[]){ 64, 65 }), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 4, "/s", NULL, 1, (uint16_t[]){ 2048 }), -EINVAL);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 2, "/s", "rng", 2, (uint16_t[]){ 64, 128 }), 0);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 4, "/s", NULL, 0, (uint16_t[]){ 64, 0 }), 0);
	for (int i = 2; i < 8; i++)
		CHECK_EQ(krun_add_vhost_user_device(ctx, 26, "/s", "tag", 0, NULL), 0);
	CHECK_EQ(krun_add_vhost_user_device(ctx, 26, "/s", "tag", 0, NULL), -ENOSPC);
	end();
}

static void *one_thread(void *arg)
{
	static const char *const words[] = { "a", "b", NULL };

	for (int i = 0; i < 300; i++) {
		int32_t id = krun_create_ctx();

		if (id < 0)
			return arg;
		(void)krun_set_exec((uint32_t)id, "/a", words, words);
		/* another thread's, perhaps */
		(void)krun_set_workdir((uint32_t)id + 1, "/w");
		(void)krun_set_root((uint32_t)id + 1, "/r");
		if (krun_free_ctx((uint32_t)id))
			return arg;
	}
	return NULL;
}

static void threads(void)
{
	pthread_t t[4];
	void *bad_thread = NULL, *r;

	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, one_thread, mac), 0);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(pthread_join(t[i], &r), 0);
		bad_thread = r ? r : bad_thread;
	}
	CHECK(!bad_thread);
}

static const struct test_case cases[] = { TEST(contexts), TEST(no_context), TEST(no_context_either),
	TEST(machine), TEST(shares), TEST(volumes), TEST(first_process), TEST(init_put_back),
	TEST(overlays_refused), TEST(overlays), TEST(disks), TEST(nets), TEST(ports), TEST(vsock),
	TEST(consoles), TEST(console_ports), TEST(kernels), TEST(workload), TEST(rlimits),
	TEST(absent), TEST(vhost_user), TEST(threads) };

TEST_MAIN(cases)
