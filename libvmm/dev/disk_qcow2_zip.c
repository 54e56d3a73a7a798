// SPDX-License-Identifier: Apache-2.0
/* qcow2: compressed clusters, which are read only; what is written replaces them. */
/*
 * How it works
 *
 * zlib and zstd are loaded when an image is opened that may need them: all else that this program
 * does would pay for them at each start. Without zlib an image opens all the same, and its
 * compressed clusters are errors; one that says that it is of zstd wants that. The decoders are
 * made at open, so that a thread which serves a guest opens no file and allocates little. The last
 * cluster that was unpacked is kept, since a guest reads it in pieces.
 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if defined(HAVE_ZLIB)
#include <zlib.h>
#endif
#if defined(HAVE_ZSTD)
#include <zstd.h>
#endif

#include "dev/disk_qcow2.h"
#include "util/cleanup.h"
#include "util/io.h"

#define WINDOW_BITS 12 /* raw deflate of 4 KiB windows is what qcow2 has */

struct qcow2_zip {
	void *lib;
	uint8_t *in, *out; /* a packed cluster, an unpacked one */
	size_t out_len;
	uint64_t entry; /* whose bytes are in @out; 0: nobody's */
	/* one of them: unpacks @n bytes of @in; true: @out is full */
	bool (*unpack)(struct qcow2_zip *z, size_t n);
#ifdef HAVE_ZLIB
	z_stream zs;
	int (*inflate)(z_stream *s, int flush);
	int (*inflate_reset)(z_stream *s);
	int (*inflate_end)(z_stream *s);
#endif
#ifdef HAVE_ZSTD
	ZSTD_DCtx *ctx;
	size_t (*decompress)(ZSTD_DCtx *c, ZSTD_outBuffer *o, ZSTD_inBuffer *i);
	size_t (*reset)(ZSTD_DCtx *c, ZSTD_ResetDirective d);
	unsigned (*is_error)(size_t r);
	size_t (*free_ctx)(ZSTD_DCtx *c);
#endif
};

static bool unpack_nothing(struct qcow2_zip *z, size_t n)
{
	(void)z;
	(void)n;
	return false;
}

#ifdef HAVE_ZLIB
static bool unpack_zlib(struct qcow2_zip *z, size_t n)
{
	if (z->inflate_reset(&z->zs) != Z_OK)
		return false;
	z->zs.next_in = z->in;
	z->zs.avail_in = (unsigned)n;
	z->zs.next_out = z->out;
	z->zs.avail_out = (unsigned)z->out_len;
	(void)z->inflate(&z->zs, Z_FINISH);
	return !z->zs.avail_out;
}

static int load_zlib(struct qcow2_zip *z)
{
	int (*init)(z_stream * s, int bits, const char *version, int size);

	z->lib = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!z->lib)
		return -ENOTSUP;
	*(void **)&init = dlsym(z->lib, "inflateInit2_");
	*(void **)&z->inflate = dlsym(z->lib, "inflate");
	*(void **)&z->inflate_reset = dlsym(z->lib, "inflateReset");
	*(void **)&z->inflate_end = dlsym(z->lib, "inflateEnd");
	if (!init || !z->inflate || !z->inflate_reset || !z->inflate_end)
		return -ENOTSUP;
	if (init(&z->zs, -WINDOW_BITS, ZLIB_VERSION, (int)sizeof(z->zs)) != Z_OK)
		return -ENOMEM;
	z->unpack = unpack_zlib;
	return 0;
}

static void free_zlib(struct qcow2_zip *z)
{
	if (z->unpack == unpack_zlib)
		(void)z->inflate_end(&z->zs);
}
#else
static int load_zlib(struct qcow2_zip *z)
{
	(void)z;
	return -ENOTSUP;
}

static void free_zlib(struct qcow2_zip *z)
{
	(void)z;
}
#endif

#ifdef HAVE_ZSTD
static bool unpack_zstd(struct qcow2_zip *z, size_t n)
{
	ZSTD_outBuffer o = { .dst = z->out, .size = z->out_len };
	ZSTD_inBuffer i = { .src = z->in, .size = n };

	(void)z->reset(z->ctx, ZSTD_reset_session_only);
	while (o.pos < o.size) {
		size_t in = i.pos, out = o.pos, r = z->decompress(z->ctx, &o, &i);

		if (z->is_error(r) || (in == i.pos && out == o.pos))
			return false;
		if (!r)
			break; /* the end of a frame: what follows is padding */
	}
	return o.pos == o.size;
}

static int load_zstd(struct qcow2_zip *z)
{
	ZSTD_DCtx *(*make)(void);

	z->lib = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!z->lib)
		return -ENOTSUP;
	*(void **)&make = dlsym(z->lib, "ZSTD_createDCtx");
	*(void **)&z->decompress = dlsym(z->lib, "ZSTD_decompressStream");
	*(void **)&z->reset = dlsym(z->lib, "ZSTD_DCtx_reset");
	*(void **)&z->is_error = dlsym(z->lib, "ZSTD_isError");
	*(void **)&z->free_ctx = dlsym(z->lib, "ZSTD_freeDCtx");
	if (!make || !z->decompress || !z->reset || !z->is_error || !z->free_ctx)
		return -ENOTSUP;
	z->ctx = make();
	if (!z->ctx)
		return -ENOMEM;
	z->unpack = unpack_zstd;
	return 0;
}

static void free_zstd(struct qcow2_zip *z)
{
	if (z->unpack == unpack_zstd)
		(void)z->free_ctx(z->ctx);
}
#else
static int load_zstd(struct qcow2_zip *z)
{
	(void)z;
	return -ENOTSUP;
}

static void free_zstd(struct qcow2_zip *z)
{
	(void)z;
}
#endif

int qcow2_zip_new(unsigned cbits, bool zstd, struct qcow2_zip **out, struct error *e)
{
	struct qcow2_zip *z = calloc(1, sizeof(*z));
	int r;

	if (!z)
		return err_sys(e, ENOMEM, "disk");
	z->unpack = unpack_nothing;
	z->out_len = 1ULL << cbits;
	/* as many sectors as an entry can name; touched when there is something to unpack */
	z->in = malloc((2ULL << cbits) + 2ULL * DISK_SECTOR);
	z->out = malloc(z->out_len);
	r = !z->in || !z->out ? -ENOMEM : zstd ? load_zstd(z) : load_zlib(z);
	if (r == -ENOMEM || (r && zstd)) {
		qcow2_zip_free(z);
		return r == -ENOMEM
			? err_sys(e, r, "disk")
			: err_set(e, ENOTSUP,
				  "disk: the qcow2 image is compressed by zstd, which is not here");
	}
	*out = z;
	return 0;
}

void qcow2_zip_free(struct qcow2_zip *z)
{
	if (!z)
		return;
	free_zlib(z);
	free_zstd(z);
	if (z->lib)
		(void)dlclose(z->lib);
	free(z->in);
	free(z->out);
	free(z);
}

/* Where a packed cluster begins, to the byte, and how far its sectors reach. */
static uint64_t place(const struct qcow2 *q, uint64_t entry, uint64_t *n)
{
	unsigned shift = 62 - (q->cbits - 8);
	uint64_t at = entry & ((1ULL << shift) - 1);

	*n = ((entry & (QCOW2_COMPRESSED - 1)) >> shift) + 1;
	*n = *n * DISK_SECTOR - (at & (DISK_SECTOR - 1));
	return at;
}

void qcow2_zip_range(const struct qcow2 *q, uint64_t entry, uint64_t *first, uint64_t *n)
{
	uint64_t len, at = place(q, entry, &len);

	*first = at >> q->cbits;
	*n = ((at + len - 1) >> q->cbits) - *first + 1;
}

int qcow2_zip_read(struct qcow2 *q, uint64_t entry, const uint8_t **p)
{
	struct qcow2_zip *z = q->zip;
	uint64_t n, at = place(q, entry, &n);
	struct iovec v = { .iov_base = z->in, .iov_len = n };
	struct iobuf b;
	int r;

	*p = z->out;
	if (z->entry == entry)
		return 0;
	z->entry = 0;
	if (at < q->csize || at > LIM_BLK_BYTES)
		return qcow2_damaged(q, "a compressed cluster's place", at);
	/* the last sectors may lie behind the end of the file */
	iobuf_init(&b, &v, 1);
	r = disk_read_all(q->fd, &b, at, n);
	if (r && r != -ENODATA)
		return r;
	if (!z->unpack(z, b.done))
		return -EIO;
	z->entry = entry;
	return 0;
}
