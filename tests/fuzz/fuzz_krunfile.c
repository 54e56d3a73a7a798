// SPDX-License-Identifier: Apache-2.0
/*
 * Files that krun_start_enter() reads: a packed kernel, and /.krun_config.json of the guest's tree.
 *
 * The first byte chooses: 2 to 5 a packed format (KRUN_KERNEL_FORMAT_*), else the config. A kernel
 * unpacks to an ELF file within the limit, or is refused; of a config each string is one that the
 * agent can be told, or it is refused.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/start.h"
#include "fuzz/fuzz.h"

#define UNPACKED (8U << 20)

static void kernel(const uint8_t *data, size_t len, uint32_t format)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	struct error e = { 0 };
	struct stat st;
	char magic[4];
	int r;

	FUZZ_CHECK(fd >= 0);
	r = unpack(data, len, format, fd, UNPACKED, &e);
	FUZZ_CHECK(!r || ((r == -ENOEXEC || r == -E2BIG) && e.msg[0]));
	FUZZ_CHECK(!fstat(fd, &st) && st.st_size <= UNPACKED);
	if (!r)
		FUZZ_CHECK(pread(fd, magic, 4, 0) == 4 && !memcmp(magic, "\177ELF", 4));
	(void)close(fd);
}

static void config(const uint8_t *data, size_t len)
{
	static const struct api_ctx none = { .shutdown_fd = -1 };
	struct work w = { .hostname = "localhost" };
	struct error e = { 0 };
	uint8_t *blob = NULL;
	size_t n = 0;
	int r = work_config(&w, &none, (const char *)data, len, &e);

	FUZZ_CHECK(!r || (r < 0 && e.msg[0]));
	FUZZ_CHECK(w.args.n <= LIM_API_LIST && w.env.n <= LIM_API_LIST);
	for (size_t i = 0; i < w.env.n; i++) {
		const char *eq = strchr(w.env.v[i], '=');

		FUZZ_CHECK(eq && eq != w.env.v[i]);
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(strncmp(w.env.v[i], w.env.v[k], (size_t)(eq - w.env.v[i]) + 1) !=
				0);
	}
	FUZZ_CHECK(!w.cwd || *w.cwd == '/');
	if (!r && w.args.n) {
		r = work_blob(&w, &none, 0, -1, false, &blob, &n, &e);
		FUZZ_CHECK(!r || (r < 0 && e.msg[0]));
		free(blob);
	}
	work_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!len)
		return 0;
	if (data[0] >= KRUN_KERNEL_FORMAT_PE_GZ && data[0] <= KRUN_KERNEL_FORMAT_IMAGE_ZSTD)
		kernel(data + 1, len - 1, data[0]);
	else
		config(data + 1, len - 1);
	return 0;
}
