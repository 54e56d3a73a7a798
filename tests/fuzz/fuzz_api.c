// SPDX-License-Identifier: Apache-2.0
/*
 * The krun_* API: every function, with any arguments, in any order; of krun_start_enter() what it
 * does before there is a VM.
 *
 * The input is a program: a byte for the function, then what it takes. Contexts are chosen among
 * those that there are, some that are gone and some that never were. Whatever comes: a result of
 * the kinds that libkrun.h names, no context survives krun_free_ctx(), and no descriptor a start.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/start.h"
#include "fuzz/fuzz.h"
#include "util/cleanup.h"

#define CTXS 4

static uint32_t ctxs[CTXS];
static const uint32_t strange[] = { UINT32_MAX, 1U << 31, 0, 4000000000U };

/* Strings live until the next input; no longer than what is left of it. */
static char text[64][300];
static unsigned ntext;

static char *str(struct fuzz_in *in)
{
	static char path[] = "/tmp", tag[] = "/dev/root", volume[] = "/a:/b", map[] = "80:81",
		    limit[] = "7=1:2", var[] = "A=b", id[] = "d", empty[] = "";
	static char *const good[] = { path, tag, volume, map, limit, var, id, empty };
	uint8_t kind = fuzz_u8(in);
	size_t n;
	char *s;

	if (kind < 16)
		return NULL;
	if (kind < 160)
		return good[kind % ARRAY_SIZE(good)];
	s = text[ntext++ % ARRAY_SIZE(text)];
	n = fuzz_u8(in);
	fuzz_bytes(in, s, n);
	s[n] = 0;
	return s;
}

static const char *const *list(struct fuzz_in *in)
{
	static const char *v[LIM_API_LIST + 3];
	uint8_t n = fuzz_u8(in);
	size_t i = 0;

	if (n == 255)
		return NULL;
	if (n == 254) {
		for (; i < LIM_API_LIST + 1; i++)
			v[i] = "x";
	}
	for (; n < 40 && i < n; i++) {
		v[i] = str(in);
		if (!v[i])
			break;
	}
	v[i] = NULL;
	return v;
}

static int fd_of(struct fuzz_in *in)
{
	static const int fds[] = { -1, -2, 0, 1, 2, 1 << 20, 777 };

	return fds[fuzz_u8(in) % ARRAY_SIZE(fds)];
}

static uint32_t ctx_of(struct fuzz_in *in)
{
	uint8_t c = fuzz_u8(in);

	return c < 224 ? ctxs[c % CTXS] : strange[c % ARRAY_SIZE(strange)];
}

static int32_t machine(struct fuzz_in *in, uint32_t c, unsigned what)
{
	const uint8_t *data;
	size_t n;

	switch (what) {
	case 0:
		return krun_set_vm_config(c, fuzz_u8(in), fuzz_u32(in));
	case 1:
		return krun_set_nested_virt(c, fuzz_u8(in) & 1);
	case 2:
		return krun_split_irqchip(c, fuzz_u8(in) & 1);
	case 3:
		return krun_has_feature(fuzz_u8(in) & 31);
	case 4:
		return krun_setuid(c, fuzz_u32(in));
	case 5:
		return krun_setgid(c, fuzz_u32(in));
	case 6:
		return krun_set_smbios_oem_strings(c, list(in));
	case 7:
		return krun_get_default_init(fuzz_u8(in) & 1 ? &data : NULL, &n);
	case 8:
		/* level only: the target would be closed under the fuzzer */
		return krun_init_log(-1 - (fuzz_u8(in) & 1), KRUN_LOG_LEVEL_OFF, fuzz_u8(in) & 3,
			fuzz_u8(in) & 3);
	case 9:
		return krun_set_log_level(0);
	case 10:
		return krun_get_max_vcpus();
	default:
		return krun_check_nested_virt();
	}
}

static int32_t files(struct fuzz_in *in, uint32_t c, unsigned what)
{
	char *a = str(in), *b = str(in);
	uint64_t n = (uint64_t)fuzz_u32(in) << (fuzz_u8(in) & 31);

	switch (what) {
	case 0:
		return krun_set_root(c, a);
	case 1:
		return krun_add_virtiofs(c, a, b);
	case 2:
		return krun_add_virtiofs2(c, a, b, n);
	case 3:
		return krun_add_virtiofs3(c, a, b, n, n & 1);
	case 4:
		return krun_set_mapped_volumes(c, list(in));
	case 5:
		return krun_disable_implicit_init(c);
	case 6:
		return krun_fs_add_overlay_file(
			c, a, b, (const uint8_t *)b, b ? strlen(b) : n & 1, (uint32_t)n, n & 1);
	case 7:
		return krun_fs_add_overlay_dir(c, a, b, (uint32_t)n);
	case 8:
		return krun_set_root_disk_remount(c, a, b, str(in));
	case 9:
		return krun_add_disk3(c, a, b, n & 3, n & 4, n & 8, n >> 4 & 3);
	case 10:
		return krun_add_disk2(c, a, b, n & 3, n & 4);
	case 11:
		return krun_set_data_disk(c, a);
	case 12:
		return krun_add_disk(c, a, b, n & 1);
	default:
		return krun_set_root_disk(c, a);
	}
}

static int32_t network(struct fuzz_in *in, uint32_t c, unsigned what)
{
	char *a = str(in);
	uint8_t mac[6] = { 2 }, *m = fuzz_u8(in) & 7 ? mac : NULL, how = fuzz_u8(in);
	uint32_t n = fuzz_u16(in), f = fuzz_u8(in) & 7;

	if (how & 1)
		fuzz_bytes(in, mac, sizeof(mac));
	switch (what) {
	case 0:
		return krun_add_net_unixstream(c, a, fd_of(in), m, n, f);
	case 1:
		return krun_add_net_unixgram(c, a, fd_of(in), m, n, f);
	case 2:
		return krun_add_net_tap(c, a, m, n, f);
	case 3:
		return krun_set_passt_fd(c, fd_of(in));
	case 4:
		return krun_set_gvproxy_path(c, a);
	case 5:
		return krun_set_net_mac(c, m);
	case 6:
		return krun_set_port_map(c, list(in));
	case 7:
		return krun_add_vsock_port(c, n, a);
	case 8:
		return krun_add_vsock_port2(c, n, a, f & 1);
	case 9:
		return krun_disable_implicit_vsock(c);
	default:
		return krun_add_vsock(c, f);
	}
}

static int32_t consoles(struct fuzz_in *in, uint32_t c, unsigned what)
{
	uint32_t n = fuzz_u8(in) & 15;

	switch (what) {
	case 0:
		return krun_disable_implicit_console(c);
	case 1:
		return krun_set_console_output(c, str(in));
	case 2:
		return krun_add_virtio_console_default(c, fd_of(in), fd_of(in), fd_of(in));
	case 3:
		return krun_add_virtio_console_multiport(c);
	case 4:
		return krun_add_console_port_tty(c, n, str(in), fd_of(in));
	case 5:
		return krun_add_console_port_inout(c, n, str(in), fd_of(in), fd_of(in));
	case 6:
		return krun_add_serial_console_default(c, fd_of(in), fd_of(in));
	default:
		return krun_set_kernel_console(c, str(in));
	}
}

static int32_t work(struct fuzz_in *in, uint32_t c, unsigned what)
{
	char *a = str(in);

	switch (what) {
	case 0:
		return krun_set_kernel(c, a, fuzz_u8(in) & 7, str(in), str(in));
	case 1:
		return krun_set_firmware(c, a);
	case 2:
		return krun_set_workdir(c, a);
	case 3:
		return krun_set_exec(c, a, list(in), fuzz_u8(in) & 1 ? list(in) : NULL);
	case 4:
		return krun_set_env(c, list(in));
	case 5:
		return krun_set_rlimits(c, list(in));
	case 6:
		return krun_set_tee_config_file(c, a);
	default:
		return MIN(krun_get_shutdown_eventfd(c), 0);
	}
}

static int32_t absent(struct fuzz_in *in, uint32_t c, unsigned what)
{
	uint8_t b[64] = { 0 }, *p = fuzz_u8(in) & 1 ? b : NULL;
	uint32_t n = fuzz_u8(in) & 63;
	uint16_t q[LIM_VQS] = { 1, 2, 256, 1024 }, nq = fuzz_u8(in) % (LIM_VQS + 1);

	switch (what) {
	case 0:
		return krun_set_gpu_options2(c, n, n);
	case 1:
		return krun_add_display(c, n, n);
	case 2:
		return krun_display_set_edid(c, n, p, n);
	case 3:
		return krun_display_set_dpi(c, n, n);
	case 4:
		return krun_display_set_physical_size(c, n, 1, 1);
	case 5:
		return krun_display_set_refresh_rate(c, n, n);
	case 6:
		return krun_set_display_backend(c, p, n);
	case 7:
		return krun_add_input_device(c, p, n, b, sizeof(b));
	case 8:
		return krun_add_input_device_fd(c, fd_of(in));
	case 9:
		return krun_set_snd_device(c, n & 1);
	case 10:
		return krun_set_gpu_options(c, n);
	default:
		return krun_add_vhost_user_device(c, n, str(in), str(in), nq, n & 1 ? q : NULL);
	}
}

static struct start *begin(struct api_ctx *c, unsigned how)
{
	struct start *s = calloc(1, sizeof(*s));

	FUZZ_CHECK(s);
	*s = (struct start){ .c = c,
		.kernel = { .fd = -1, .boot = (enum boot)(how % 3), .foreign = how & 4 },
		.stdio.file = -1,
		.kvm_fd = -1 };
	/* a file of any name would be made here */
	free(TAKE_PTR(c->console_file));
	return s;
}

/* As a start does it, with a kernel that is not looked for and disks that are not opened. */
static int look(struct start *s, struct error *e)
{
	bool own = s->kernel.boot == BOOT_OWN;
	CLEAN_FREE uint8_t *blob = NULL;
	size_t len;
	int r = stdio_hold(s->c, e);

	if (!r)
		r = kernel_line(s->c, &s->kernel, start_tsi(s->c), s->line, s->line_end, e);
	if (!r && !own)
		r = work_make(s->c, -1, &s->work, e);
	if (!r)
		r = stdio_find(s->c, own, &s->stdio, e);
	if (!r && !own)
		r = work_blob(&s->work, s->c, 0, s->stdio.tty, s->stdio.in < 0, &blob, &len, e);
	return r ? r : start_devices(s, e);
}

static int lowest_fd(void)
{
	int fd = dup(STDERR_FILENO);

	FUZZ_CHECK(fd >= 0 && !close(fd));
	return fd;
}

static void start(struct fuzz_in *in)
{
	uint32_t *id = &ctxs[fuzz_u8(in) % CTXS];
	int fd = lowest_fd(), r;
	struct error e = { 0 };
	struct start *s = begin(api_take(*id), fuzz_u8(in));

	r = look(s, &e);
	FUZZ_CHECK(!r || (r < 0 && e.msg[0]));
	start_devices_undo(s);
	if (s->stdio.file >= 0)
		(void)close(s->stdio.file);
	work_free(&s->work);
	stdio_let_go(s->c);
	api_free(s->c);
	free(s);
	FUZZ_CHECK(lowest_fd() == fd);
	r = krun_create_ctx();
	FUZZ_CHECK(r >= 0);
	*id = (uint32_t)r;
}

static void renew(struct fuzz_in *in)
{
	uint32_t *c = &ctxs[fuzz_u8(in) % CTXS];
	int32_t id;

	FUZZ_CHECK(krun_free_ctx(*c) == 0 && krun_free_ctx(*c) == -ENOENT);
	id = krun_create_ctx();
	FUZZ_CHECK(id >= 0);
	*c = (uint32_t)id;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int32_t (*const groups[])(struct fuzz_in *, uint32_t, unsigned) = { machine, files,
		network, consoles, work, absent };
	struct fuzz_in in = { data, len };
	int32_t r;

	static bool begun;

	/* taps of any name */
	if (!begun && unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		(void)fprintf(stderr, "fuzz_api: in the host's network\n");
	begun = true;
	ntext = 0;
	for (int i = 0; i < CTXS; i++) {
		r = krun_create_ctx();
		FUZZ_CHECK(r >= 0);
		ctxs[i] = (uint32_t)r;
	}
	for (int i = 0; i < 200 && in.left; i++) {
		uint8_t f = fuzz_u8(&in);

		if (f >= 240) {
			if (f >= 250)
				renew(&in);
			else
				start(&in);
			continue;
		}
		r = groups[f % ARRAY_SIZE(groups)](&in, ctx_of(&in), fuzz_u8(&in) & 15);
		FUZZ_CHECK(r >= 0 || r == -EINVAL || r == -ENOENT || r == -ENOTSUP ||
			r == -EEXIST || r == -ENOSPC || r == -ENODEV || r == -ENOTTY);
	}
	for (int i = 0; i < CTXS; i++)
		FUZZ_CHECK(!krun_free_ctx(ctxs[i]));
	return 0;
}
