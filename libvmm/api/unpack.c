// SPDX-License-Identifier: Apache-2.0
/* Finds and unpacks the kernel in a compressed image: gzip, bzip2, zstd. */
/*
 * How it works
 *
 * An image holds code that unpacks, and somewhere in it the packed kernel. Where, the headers of
 * the many formats say differently or not at all, so the file is searched for the packer's magic,
 * and what follows it is unpacked. Three or four bytes are found by chance too: a place whose
 * content does not unpack to something that begins as an ELF file is passed over, up to MAX_TRIES
 * of them. Output goes to a file in pieces, and ends at a limit: a small input can become very
 * large.
 *
 * The libraries do the unpacking; every one of them is told how much it may read and write.
 */
#include <bzlib.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "api/start.h"
#include "util/io.h"

#define PIECE	  (256U << 10)
#define MAX_TRIES 64

struct out {
	int fd;
	uint64_t len, max;
	uint8_t *buf; /* PIECE bytes */
};

/* @n bytes of @o->buf are new. -ENOEXEC: the first of all are not an ELF file's. */
static int put(struct out *o, size_t n)
{
	int r;

	if (!n)
		return 0;
	if (!o->len && (n < SELFMAG || memcmp(o->buf, ELFMAG, SELFMAG) != 0))
		return -ENOEXEC;
	if (n > o->max - o->len)
		return -E2BIG;
	r = io_pwrite(o->fd, o->buf, n, o->len);
	o->len += n;
	return r;
}

static int gunzip(const uint8_t *in, size_t len, struct out *o)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)in, .avail_in = (uInt)len };
	int r = inflateInit2(&z, 16 + MAX_WBITS) == Z_OK ? 0 : -ENOMEM, s = Z_OK;

	if (r)
		return r;
	while (!r && s == Z_OK) {
		z.next_out = o->buf;
		z.avail_out = PIECE;
		s = inflate(&z, Z_NO_FLUSH);
		if (s != Z_OK && s != Z_STREAM_END)
			r = -ENOEXEC;
		else
			r = put(o, PIECE - z.avail_out);
	}
	(void)inflateEnd(&z);
	return r;
}

static int bunzip(const uint8_t *in, size_t len, struct out *o)
{
	bz_stream z = { .next_in = (char *)(uintptr_t)in, .avail_in = (unsigned)len };
	int r = BZ2_bzDecompressInit(&z, 0, 0) == BZ_OK ? 0 : -ENOMEM, s = BZ_OK;

	if (r)
		return r;
	while (!r && s == BZ_OK) {
		unsigned before = z.avail_in;

		z.next_out = (char *)o->buf;
		z.avail_out = PIECE;
		s = BZ2_bzDecompress(&z);
		/* it does not call the end of its input an error */
		if ((s != BZ_OK && s != BZ_STREAM_END) ||
			(s == BZ_OK && z.avail_out == PIECE && z.avail_in == before))
			r = -ENOEXEC;
		else
			r = put(o, PIECE - z.avail_out);
	}
	(void)BZ2_bzDecompressEnd(&z);
	return r;
}

static int unzstd(const uint8_t *in, size_t len, struct out *o)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer i = { .src = in, .size = len };
	size_t left = z ? ZSTD_initDStream(z) : 1;
	int r = z && !ZSTD_isError(left) ? 0 : -ENOMEM;

	while (!r && left) {
		ZSTD_outBuffer b = { .dst = o->buf, .size = PIECE };
		size_t before = i.pos;

		left = ZSTD_decompressStream(z, &b, &i);
		if (ZSTD_isError(left) || (left && !b.pos && i.pos == before))
			r = -ENOEXEC;
		else
			r = put(o, b.pos);
	}
	(void)ZSTD_freeDStream(z);
	return r;
}

static const struct packer {
	uint8_t magic[4];
	size_t n;
	int (*unpack)(const uint8_t *in, size_t len, struct out *o);
} packers[] = {
	[KRUN_KERNEL_FORMAT_PE_GZ] = { { 0x1f, 0x8b, 0x08 }, 3, gunzip },
	[KRUN_KERNEL_FORMAT_IMAGE_BZ2] = { { 'B', 'Z', 'h' }, 3, bunzip },
	[KRUN_KERNEL_FORMAT_IMAGE_GZ] = { { 0x1f, 0x8b, 0x08 }, 3, gunzip },
	[KRUN_KERNEL_FORMAT_IMAGE_ZSTD] = { { 0x28, 0xb5, 0x2f, 0xfd }, 4, unzstd },
};

static int search(const struct packer *p, const uint8_t *in, size_t len, struct out *o)
{
	const uint8_t *at = in;
	int r = -ENOEXEC;

	for (unsigned i = 0; i < MAX_TRIES && r == -ENOEXEC; i++, at++) {
		at = memmem(at, len - (size_t)(at - in), p->magic, p->n);
		if (!at)
			break;
		o->len = 0;
		r = ftruncate(o->fd, 0) ? -errno : p->unpack(at, len - (size_t)(at - in), o);
		if (!r && !o->len)
			r = -ENOEXEC;
	}
	return r;
}

int unpack(const uint8_t *in, size_t len, uint32_t format, int out, uint64_t max, struct error *e)
{
	struct out o = { .fd = out, .max = max };
	int r;

	if (format >= ARRAY_SIZE(packers) || !packers[format].unpack || len > INT32_MAX)
		return err_set(e, EINVAL, "kernel: not a packed format, or too large a file");
	o.buf = malloc(PIECE);
	if (!o.buf)
		return err_sys(e, ENOMEM, "kernel");
	r = search(&packers[format], in, len, &o);
	free(o.buf);
	if (r == -ENOEXEC)
		return err_set(e, ENOEXEC, "kernel: nothing in the file unpacks to an ELF file");
	return r ? err_sys(e, r, "kernel: cannot unpack it") : 0;
}
