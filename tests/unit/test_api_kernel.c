// SPDX-License-Identifier: Apache-2.0
/* Kernels of krun_start_enter(): packed ones, bundles, and the one that is found when the library
 * is loaded. */
#include <bzlib.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "api/start.h"
#include "test.h"
#include "util/cleanup.h"

#define N (300U << 10) /* more than one piece */

static uint8_t elf[N];

static void fill(void)
{
	memcpy(elf, ELFMAG, SELFMAG);
	for (size_t i = SELFMAG; i < N; i++)
		elf[i] = (uint8_t)(i * i >> 7);
}

static size_t pack(uint32_t format, const uint8_t *in, size_t n, uint8_t *out, size_t room)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)in,
		.avail_in = (uInt)n,
		.next_out = out,
		.avail_out = (uInt)room };
	unsigned len = (unsigned)room;

	if (format == KRUN_KERNEL_FORMAT_IMAGE_ZSTD)
		return ZSTD_compress(out, room, in, n, 3);
	if (format == KRUN_KERNEL_FORMAT_IMAGE_BZ2)
		return BZ2_bzBuffToBuffCompress(
			       (char *)out, &len, (char *)(uintptr_t)in, (unsigned)n, 9, 0, 0)
			? 0
			: len;
	if (deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
		deflate(&z, Z_FINISH) != Z_STREAM_END)
		return 0;
	len = (unsigned)z.total_out;
	(void)deflateEnd(&z);
	return len;
}

/* Some bytes, the magic by chance, what holds no ELF file, then the kernel and more bytes. */
static size_t image(uint32_t format, uint8_t *out, size_t room)
{
	static const uint8_t chance[] = { 'B', 'Z', 'h', '9', 0x1f, 0x8b, 0x08, 0, 0x28, 0xb5, 0x2f,
		0xfd, 1 };
	static const uint8_t other[2000] = "not a kernel";
	size_t at = 4096, n;

	memset(out, 0x90, room);
	memcpy(out + 700, chance, sizeof(chance));
	at += pack(format, other, sizeof(other), out + at, room - at);
	n = pack(format, elf, N, out + at, room - at);
	return n ? at + n + 777 : 0;
}

static void packed(void)
{
	CLEAN_FREE uint8_t *buf = malloc(2 * N), *back = malloc(N);
	struct stat st;

	fill();
	CHECK(buf && back);
	for (uint32_t f = KRUN_KERNEL_FORMAT_PE_GZ; f <= KRUN_KERNEL_FORMAT_IMAGE_ZSTD; f++) {
		CLEAN_FD int fd = memfd_create("out", MFD_CLOEXEC);
		size_t n = image(f, buf, 2 * N);
		struct error e = { 0 };

		CHECK(n > 5000);
		CHECK_EQ(unpack(buf, n, f, fd, N, &e), 0);
		CHECK(!fstat(fd, &st) && st.st_size == N);
		CHECK(pread(fd, back, N, 0) == N && !memcmp(back, elf, N));
		CHECK_EQ(unpack(buf, n, f, fd, N - 1, &e), -E2BIG);
		/* cut off in the middle of the kernel: what was unpacked of it is no kernel */
		e.code = 0;
		CHECK_EQ(unpack(buf, n - 777 - 50, f, fd, N, &e), -ENOEXEC);
		CHECK_EQ(unpack(buf, 4096, f, fd, N, &e), -ENOEXEC);
		CHECK_EQ(unpack(buf, 0, f, fd, N, &e), -ENOEXEC);
	}
	CHECK_EQ(unpack(buf, N, KRUN_KERNEL_FORMAT_ELF, 0, N, NULL), -EINVAL);
	CHECK_EQ(unpack(buf, N, 6, 0, N, NULL), -EINVAL);
}

static void bundles(void)
{
	struct error e = { 0 };
	struct bundle b = { elf, 0x1000000, 0x1000010, N };
	CLEAN_FD int fd = bundle_elf(&b, &e);
	const struct bundle wrong[] = { { NULL, 0x1000000, 0x1000000, N },
		{ elf, 0x1000000, 0x1000000, 0 }, { elf, 0x1000000, 0x1000000 + N, N },
		{ elf, 0x1000000, 0xffffff, N }, { elf, 0x1000000, 0x1000000, 1ULL << 40 } };
	CLEAN_FREE uint8_t *back = malloc(N);
	Elf64_Ehdr h;
	Elf64_Phdr p;

	CHECK(fd >= 0 && back);
	CHECK(pread(fd, &h, sizeof(h), 0) == sizeof(h) && h.e_entry == 0x1000010 && h.e_phnum == 1);
	CHECK(pread(fd, &p, sizeof(p), (off_t)h.e_phoff) == sizeof(p));
	CHECK(p.p_paddr == 0x1000000 && p.p_filesz == N && p.p_memsz == N);
	CHECK(pread(fd, back, N, (off_t)p.p_offset) == N && !memcmp(back, elf, N));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		CHECK_EQ(bundle_elf(&wrong[i], &e), -ENOEXEC);
}

/* Before the constructor of the library, which has no such priority. */
static char kept_file[] = "/tmp/api-XXXXXX";
static bool kept_made;

__attribute__((constructor(101))) static void before_library(void)
{
	CLEAN_FD int made = mkstemp(kept_file);

	kept_made = made >= 0 && !ftruncate(made, N) && pwrite(made, "kept", 4, 0) == 4 &&
		!setenv("KRUN_KERNEL", kept_file, 1);
}

/* What is found when the library is loaded is what is booted, whatever has become of the file, and
 * whatever the environment says when a context is made. */
static void kept(void)
{
	char word[4];
	struct api_kernel k;
	struct error e = { 0 };
	struct stat st;
	uint32_t id;
	struct api_ctx *c;

	CHECK(kept_made);
	CHECK_EQ(unlink(kept_file), 0);
	CHECK_EQ(setenv("KRUN_KERNEL", "/nowhere", 1), 0);
	id = (uint32_t)krun_create_ctx();
	c = api_get(id);
	CHECK(c);
	CHECK_EQ(kernel_find(c, &k, &e), 0);
	CHECK(k.boot == BOOT_AGENT && !k.foreign && !fstat(k.fd, &st) && st.st_size == N);
	CHECK(pread(k.fd, word, sizeof(word), 0) == sizeof(word) && !memcmp(word, "kept", 4));
	(void)close(k.fd);
	api_put(&c);
	CHECK_EQ(krun_disable_implicit_init(id), 0);
	c = api_get(id);
	CHECK_EQ(kernel_find(c, &k, &e), 0);
	CHECK(k.boot == BOOT_OWN);
	(void)close(k.fd);
	api_put(&c);
	CHECK_EQ(krun_free_ctx(id), 0);
	/* a program of the caller's in the implicit one's place */
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_set_root(id, "/"), 0);
	CHECK_EQ(krun_fs_add_overlay_file(
			 id, KRUN_FS_ROOT_TAG, "init.krun", (const uint8_t *)"x", 1, 0755, true),
		0);
	c = api_get(id);
	CHECK_EQ(kernel_find(c, &k, &e), 0);
	CHECK(k.boot == BOOT_OWN);
	(void)close(k.fd);
	api_put(&c);
	CHECK_EQ(krun_free_ctx(id), 0);
	CHECK_EQ(unsetenv("KRUN_KERNEL"), 0);
}

static const struct test_case cases[] = { TEST(kept), TEST(packed), TEST(bundles) };

TEST_MAIN(cases)
