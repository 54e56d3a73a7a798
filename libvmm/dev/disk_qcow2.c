// SPDX-License-Identifier: Apache-2.0
/* qcow2: opening an image, and what its header must say. */
/*
 * How it works
 *
 * The header is copied and every number in it is checked before it is used for anything. What an
 * image needs and we do not have is refused by name: the spec's bits by ours, others by those that
 * the image's own table of feature names gives them.
 *
 * A backing file is a name in the image, and so may be the guest's choice: none is opened but by
 * the caller's function, whose rule it is which file that name may mean, and its format must be
 * written there too.
 *
 * An image that somebody left dirty (with lazy refcounts) has counts that cannot be relied on: it
 * can be read. To be written it wants `qemu-img check -r all` first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk_qcow2.h"
#include "dev/disk_qcow2_be.h"
#include "util/cleanup.h"
#include "util/io.h"

#define MAGIC	   0x514649fbU
#define HEADER_V2  72U
#define HEADER_V3  104U
#define HEADER_MAX 4096U /* of it and its extensions we look at so much */
#define NAME_MAX_  1023U

#define H_BACKING      8
#define H_BACKING_LEN  16
#define H_CLUSTER_BITS 20
#define H_SIZE	       24
#define H_CRYPT	       32
#define H_L1_N	       36
#define H_L1	       40
#define H_RT	       48
#define H_RT_CLUSTERS  56
#define H_SNAPS_N      60
#define H_SNAPS	       64
#define H_INCOMPATIBLE QCOW2_H_INCOMPATIBLE
#define H_AUTOCLEAR    88
#define H_REF_ORDER    96
#define H_LEN	       100
#define H_COMPRESSION  104

#define INC_DIRTY	(1ULL << 0)
#define INC_CORRUPT	QCOW2_INC_CORRUPT
#define INC_DATA_FILE	(1ULL << 2)
#define INC_COMPRESSION (1ULL << 3)
#define INC_EXTENDED_L2 (1ULL << 4)

#define SNAP_MIN 40U /* bytes of a snapshot's entry, at least */

#define EXT_END	    0U
#define EXT_BACKING 0xe2792acaU /* format of the backing file */
#define EXT_NAMES   0x6803f857U /* of feature bits: { u8 kind, u8 bit, char name[46] } */
#define NAME_ENTRY  48U

struct header {
	uint8_t b[HEADER_MAX]; /* zeroes behind the end of the file */
	uint32_t len;	       /* where extensions begin */
	uint64_t incompatible;
	char format[16]; /* of the backing file; empty: not said */
	const uint8_t *names;
	uint32_t names_len;
};

static const struct disk_ops qcow2_ops;

_Static_assert(offsetof(struct qcow2, d) == 0, "disk_close() frees it");

static int wrong(struct error *e, const char *what)
{
	return err_set(e, EINVAL, "disk: no qcow2 image that makes sense: %s", what);
}

static void read_extensions(struct header *h, uint64_t end)
{
	uint32_t at = ALIGN_UP(h->len, 8U);

	while (range_ok(at, 8, end)) {
		uint32_t type = get_be32(h->b + at), n = get_be32(h->b + at + 4);

		at += 8;
		if (type == EXT_END || !range_ok(at, n, end))
			return;
		if (type == EXT_BACKING && n < sizeof(h->format)) {
			memcpy(h->format, h->b + at, n);
			h->format[n] = 0;
		} else if (type == EXT_NAMES) {
			h->names = h->b + at;
			h->names_len = n;
		}
		at += ALIGN_UP(n, 8U);
	}
}

static int read_header(struct qcow2 *q, struct header *h, struct error *e)
{
	uint64_t end;
	int r = io_pread(q->fd, h->b, sizeof(h->b), 0);

	if (r && r != -ENODATA)
		return err_sys(e, r, "disk: the qcow2 header");
	q->version = get_be32(h->b + 4);
	if (get_be32(h->b) != MAGIC)
		return wrong(e, "its magic number is another");
	if (q->version != 2 && q->version != 3)
		return err_set(e, ENOTSUP, "disk: qcow2 version %u", q->version);
	q->cbits = get_be32(h->b + H_CLUSTER_BITS);
	if (q->cbits < 9 || q->cbits > 21)
		return wrong(e, "its cluster size");
	q->csize = 1ULL << q->cbits;
	h->len = q->version == 2 ? HEADER_V2 : get_be32(h->b + H_LEN);
	if (h->len < (q->version == 2 ? HEADER_V2 : HEADER_V3) || h->len > q->csize ||
		h->len > sizeof(h->b))
		return wrong(e, "its header's length");
	h->incompatible = q->version == 2 ? 0 : get_be64(h->b + H_INCOMPATIBLE);
	q->incompatible = h->incompatible;
	q->snap_off = get_be64(h->b + H_SNAPS);
	q->snap_n = ((uint64_t)get_be32(h->b + H_SNAPS_N) * SNAP_MIN + q->csize - 1) >> q->cbits;
	end = MIN((uint64_t)sizeof(h->b), q->csize);
	if (get_be64(h->b + H_BACKING) && get_be64(h->b + H_BACKING) < end)
		end = get_be64(h->b + H_BACKING);
	read_extensions(h, end);
	return 0;
}

/* The image's own name of an incompatible feature. */
static const char *feature_name(const struct header *h, unsigned bit, char *name)
{
	(void)snprintf(name, NAME_ENTRY, "bit %u", bit);
	for (uint32_t i = 0; h->names && range_ok(i, NAME_ENTRY, h->names_len); i += NAME_ENTRY)
		if (h->names[i] == 0 && h->names[i + 1] == bit)
			(void)snprintf(name, NAME_ENTRY, "%.46s", (const char *)h->names + i + 2);
	for (char *p = name; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return name;
}

static int check_features(const struct qcow2 *q, const struct header *h, struct error *e)
{
	uint64_t bad = h->incompatible & ~(INC_DIRTY | INC_CORRUPT | INC_COMPRESSION);
	char name[NAME_ENTRY];

	if (get_be32(h->b + H_CRYPT))
		return err_set(e, ENOTSUP, "disk: the qcow2 image is encrypted");
	if (bad & INC_DATA_FILE)
		return err_set(e, ENOTSUP, "disk: the qcow2 image has its data in another file");
	if (bad & INC_EXTENDED_L2)
		return err_set(e, ENOTSUP, "disk: the qcow2 image has extended L2 entries");
	if (bad)
		return err_set(e, ENOTSUP, "disk: the qcow2 image needs what is not here: %s",
			feature_name(h, (unsigned)__builtin_ctzll(bad), name));
	if (!q->d.readonly && (h->incompatible & INC_DIRTY))
		return err_set(e, EUCLEAN,
			"disk: the qcow2 image was not closed: repair it (qemu-img check -r all)");
	if (!q->d.readonly && (h->incompatible & INC_CORRUPT))
		return err_set(e, EUCLEAN, "disk: the qcow2 image is marked as corrupt");
	return 0;
}

static int check_sizes(struct qcow2 *q, const struct header *h, struct error *e)
{
	uint64_t rt_clusters = get_be32(h->b + H_RT_CLUSTERS), per_l2 = q->csize * (q->csize / 8);
	unsigned order = q->version == 2 ? 4 : get_be32(h->b + H_REF_ORDER);

	q->d.bytes = get_be64(h->b + H_SIZE);
	q->l1_off = get_be64(h->b + H_L1);
	q->l1_n = get_be32(h->b + H_L1_N);
	q->rt_off = get_be64(h->b + H_RT);
	q->rt_n = rt_clusters << q->cbits >> 3;
	if (order > 6)
		return wrong(e, "the width of its refcounts");
	q->ref_bits = 1U << order;
	q->rb_bits = q->cbits + 3 - order;
	if (q->d.bytes > LIM_BLK_BYTES)
		return err_set(e, EFBIG, "disk: over %llu bytes", LIM_BLK_BYTES);
	if (q->l1_n > LIM_QCOW2_L1 / 8)
		return err_set(e, EFBIG, "disk: the qcow2 image's L1 table has over %u bytes",
			LIM_QCOW2_L1);
	if (q->l1_n < (q->d.bytes + per_l2 - 1) / per_l2)
		return wrong(e, "its L1 table is too short for its size");
	if ((q->l1_off & (q->csize - 1)) || q->l1_off > LIM_BLK_BYTES || (q->l1_n && !q->l1_off))
		return wrong(e, "the place of its L1 table");
	if (!rt_clusters || q->rt_n > LIM_QCOW2_RT / 8)
		return wrong(e, "the size of its refcount table");
	if (!q->rt_off || (q->rt_off & (q->csize - 1)) || q->rt_off > LIM_BLK_BYTES)
		return wrong(e, "the place of its refcount table");
	return 0;
}

static int read_table(const struct qcow2 *q, uint64_t off, uint64_t n, uint64_t **out)
{
	CLEAN_FREE uint64_t *t = calloc(MAX(n, 1ULL), 8);
	int r;

	if (!t)
		return -ENOMEM;
	r = io_pread(q->fd, t, n * 8, off);
	for (uint64_t i = 0; !r && i < n; i++)
		t[i] = be64toh(t[i]);
	*out = r ? NULL : TAKE_PTR(t);
	return r;
}

static int read_tables(struct qcow2 *q, const struct header *h, struct error *e)
{
	bool zstd = h->len > H_COMPRESSION && (h->incompatible & INC_COMPRESSION) &&
		h->b[H_COMPRESSION] == 1;
	struct stat st;
	int r;

	if (!zstd && (h->incompatible & INC_COMPRESSION))
		return err_set(e, ENOTSUP, "disk: the qcow2 image is compressed in a way unknown");
	r = read_table(q, q->l1_off, q->l1_n, &q->l1);
	if (!r)
		r = read_table(q, q->rt_off, q->rt_n, &q->rt);
	if (!r)
		r = qcow2_tabs_new(q);
	if (!r && fstat(q->fd, &st))
		r = -errno;
	if (r == -ENODATA)
		return wrong(e, "the file ends within its tables");
	if (r)
		return err_sys(e, r, "disk: the qcow2 tables");
	q->eof = S_ISREG(st.st_mode) ? ALIGN_UP((uint64_t)st.st_size, q->csize) : LIM_BLK_BYTES;
	return qcow2_zip_new(q->cbits, zstd, &q->zip, e);
}

static int open_backing(
	struct qcow2 *q, const struct header *h, const struct disk_cfg *cfg, struct error *e)
{
	uint64_t at = get_be64(h->b + H_BACKING);
	uint32_t n = get_be32(h->b + H_BACKING_LEN);
	char name[NAME_MAX_ + 1], path[2 * NAME_MAX_];
	struct disk_cfg c = *cfg;
	char *slash;
	int r;

	if (!at)
		return 0;
	if (!n || n > NAME_MAX_ || !range_ok(at, n, q->csize))
		return wrong(e, "the name of its backing file");
	r = io_pread(q->fd, name, n, at);
	if (r)
		return wrong(e, "the name of its backing file");
	name[n] = 0;
	if (!cfg->open_backing)
		return err_set(
			e, EPERM, "disk: the qcow2 image has a backing file, and none is allowed");
	if (cfg->depth >= LIM_BLK_BACKING)
		return err_set(e, ELOOP, "disk: over %u backing files", LIM_BLK_BACKING);
	if (!strcmp(h->format, "raw"))
		c.format = DISK_RAW;
	else if (!strcmp(h->format, "qcow2"))
		c.format = DISK_QCOW2;
	else
		return err_set(e, ENOTSUP,
			"disk: the qcow2 image does not say that its backing file is raw or qcow2");
	if (snprintf(path, sizeof(path), "%s%s", cfg->beside && *name != '/' ? cfg->beside : "",
		    name) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "disk: the backing file %.100s", name);
	c.fd = cfg->open_backing(cfg->backing_arg, path);
	if (c.fd < 0)
		return err_sys(e, c.fd, "disk: the backing file %.100s", path);
	/* what this one names lies beside it, not beside the first */
	slash = strrchr(path, '/');
	path[slash ? (size_t)(slash - path) + 1 : 0] = 0;
	c.beside = path;
	c.readonly = true;
	c.direct = false;
	c.depth++;
	c.serial[0] = 0;
	return disk_open(&c, &q->backing, e);
}

/* Clusters of which the medium could not write one without the next. */
static int check_direct(const struct qcow2 *q, struct error *e)
{
	uint64_t least = MAX(4096U, q->d.block);

	if (!q->d.direct || q->csize >= least)
		return 0;
	return err_set(e, ENOTSUP,
		"disk: no direct I/O on a qcow2 image with clusters of %llu bytes: %llu or more",
		(unsigned long long)q->csize, (unsigned long long)least);
}

static int open_all(struct qcow2 *q, const struct disk_cfg *cfg, struct error *e)
{
	struct header h = { 0 };
	uint8_t none[8] = { 0 };
	int r = read_header(q, &h, e);

	if (!r)
		r = check_direct(q, e);
	if (!r)
		r = check_features(q, &h, e);
	if (!r)
		r = check_sizes(q, &h, e);
	if (!r)
		r = read_tables(q, &h, e);
	if (!r)
		r = open_backing(q, &h, cfg, e);
	/* features that we do not keep up (bitmaps) are no longer true once something is written */
	if (!r && !q->d.readonly && q->version > 2 && get_be64(h.b + H_AUTOCLEAR)) {
		r = io_pwrite(q->fd, none, sizeof(none), H_AUTOCLEAR);
		if (r)
			return err_sys(e, r, "disk: the qcow2 header");
	}
	return r;
}

/* The same file through the page cache: tables are not read and written in the medium's units. */
static int buffered(const struct disk *d)
{
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", d->fd);
	return open(path, (d->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
}

int qcow2_open(const struct disk_cfg *cfg, struct disk *base, struct disk **out, struct error *e)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_sys(e, ENOMEM, "disk");
	q->d = *base;
	q->d.ops = &qcow2_ops;
	q->d.zero_tail = true;
	q->own_fd = cfg->direct;
	(void)pthread_mutex_init(&q->lock, NULL);
	q->bounce_fd = memfd_create("qcow2", MFD_CLOEXEC);
	r = q->bounce_fd < 0 ? err_sys(e, errno, "disk: a file in memory") : 0;
	q->fd = cfg->direct ? buffered(base) : base->fd;
	if (!r)
		r = q->fd < 0 ? err_sys(e, errno, "disk: the image, once more")
			      : open_all(q, cfg, e);
	if (r) {
		q->d.readonly = true; /* nothing to write back */
		q->d.fd = -1;	      /* the caller's still */
		disk_close(&q->d);
		return r;
	}
	q->d.discard = (uint32_t)q->csize;
	*out = &q->d;
	return 0;
}

static void qcow2_close(struct disk *d)
{
	struct qcow2 *q = CONTAINER_OF(d, struct qcow2, d);

	if (!d->readonly)
		(void)qcow2_run(d, DISK_FLUSH, NULL, 0, 0);
	/* what that counted down; and more cannot be done about an error here */
	if (!d->readonly)
		(void)qcow2_run(d, DISK_FLUSH, NULL, 0, 0);
	disk_close(q->backing);
	qcow2_zip_free(q->zip);
	(void)pthread_mutex_destroy(&q->lock);
	if (q->own_fd && q->fd >= 0)
		(void)close(q->fd);
	if (q->bounce_fd >= 0)
		(void)close(q->bounce_fd);
	free(q->tables);
	free(q->l1);
	free(q->rt);
}

static const struct disk_ops qcow2_ops = {
	.map = qcow2_map, .run = qcow2_run, .close = qcow2_close
};
