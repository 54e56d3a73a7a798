// SPDX-License-Identifier: Apache-2.0
/* VMDK images, for reading (VMware's "Virtual Disk Format 5.0"). */
/*
 * How it works
 *
 * A sparse extent is a directory of tables of grains; the directory is in memory, tables are read
 * as they are needed into a small cache under a lock, which the owner loop only tries. A flat
 * extent is a raw file of its own, named in a descriptor: it is opened by the caller's function or
 * not at all, as a name in an image may be anybody's choice.
 *
 * Refused by name: images that lie on a parent, compressed ones, those that are to be written.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk_vmdk.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/io.h"

#define MAGIC	       0x564d444bU
#define HEADER_LEN     512U
#define H_VERSION      4
#define H_FLAGS	       8
#define H_CAPACITY     12
#define H_GRAIN	       20
#define H_DESC	       28
#define H_DESC_LEN     36
#define H_PER_TABLE    44
#define H_DIRECTORY    56
#define H_COMPRESSION  77
#define F_ZERO_GRAINS  (1U << 2)
#define F_COMPRESSED   (3U << 16)
#define TABLE_ENTRIES  512U
#define DESCRIPTOR_MAX (64U << 10)
#define TABLES	       64U

struct table {
	uint64_t index; /* of the directory, plus 1; 0: unused */
	uint8_t b[TABLE_ENTRIES * 4];
};

struct vmdk {
	struct disk d;
	uint64_t grain; /* bytes */
	bool zero_grains;
	uint32_t *dir; /* sectors of the tables */
	uint64_t dir_n;
	pthread_mutex_t lock; /* the tables */
	struct table table[TABLES];
};

static struct vmdk *vmdk_of(struct disk *d)
{
	return CONTAINER_OF(d, struct vmdk, d);
}

static struct table *slot_of(struct vmdk *v, uint64_t index)
{
	return &v->table[index % TABLES];
}

/* Sets @x for what lies at @off, as far as it lies so; @t: its table, NULL: there is none. */
static void look_up(struct vmdk *v, const struct table *t, uint64_t off, struct disk_extent *x)
{
	uint64_t i = off / v->grain % TABLE_ENTRIES, in = off % v->grain;
	uint32_t at = t ? get_le32(t->b + 4 * i) : 0;

	x->len = MIN(x->len, v->grain - in);
	x->where = !at || (at == 1 && v->zero_grains) ? DISK_ZEROES : DISK_AT;
	x->off = (uint64_t)at * DISK_SECTOR + in;
}

static void vmdk_map(struct disk *d, bool write, uint64_t off, uint64_t len, struct disk_extent *x)
{
	struct vmdk *v = vmdk_of(d);
	uint64_t index = off / v->grain / TABLE_ENTRIES;

	*x = (struct disk_extent){ DISK_ASIDE, 0, len };
	if (write || pthread_mutex_trylock(&v->lock))
		return;
	if (!v->dir[index])
		look_up(v, NULL, off, x);
	else if (slot_of(v, index)->index == index + 1)
		look_up(v, slot_of(v, index), off, x);
	(void)pthread_mutex_unlock(&v->lock);
}

static int load_table(struct vmdk *v, uint64_t index, struct table **out)
{
	struct table *t = slot_of(v, index);
	int r = 0;

	*out = v->dir[index] ? t : NULL;
	if (v->dir[index] && t->index != index + 1) {
		t->index = 0;
		r = io_pread(v->d.fd, t->b, sizeof(t->b), (uint64_t)v->dir[index] * DISK_SECTOR);
		t->index = r ? 0 : index + 1;
	}
	return r == -ENODATA ? -EUCLEAN : r;
}

static int vmdk_read(struct vmdk *v, struct iobuf *b, uint64_t off, uint64_t len)
{
	int r = 0;

	while (!r && len) {
		struct disk_extent x = { .len = len };
		struct table *t;

		(void)pthread_mutex_lock(&v->lock);
		r = load_table(v, off / v->grain / TABLE_ENTRIES, &t);
		if (!r)
			look_up(v, t, off, &x);
		(void)pthread_mutex_unlock(&v->lock);
		if (!r && x.where == DISK_ZEROES)
			r = disk_zero_fill(&v->d, b, x.len);
		else if (!r)
			r = disk_read_all(v->d.fd, b, x.off, x.len);
		off += x.len;
		len -= x.len;
	}
	return r == -ENODATA ? -EUCLEAN : r;
}

static int vmdk_run(struct disk *d, enum disk_cmd cmd, struct iobuf *b, uint64_t off, uint64_t len)
{
	if (cmd == DISK_FLUSH)
		return 0;
	return cmd == DISK_READ ? vmdk_read(vmdk_of(d), b, off, len) : -EROFS;
}

static void vmdk_close(struct disk *d)
{
	struct vmdk *v = vmdk_of(d);

	(void)pthread_mutex_destroy(&v->lock);
	free(v->dir);
}

static const struct disk_ops vmdk_ops = { .map = vmdk_map, .run = vmdk_run, .close = vmdk_close };

_Static_assert(offsetof(struct vmdk, d) == 0, "disk_close() frees it");

static int wrong(struct error *e, const char *what)
{
	return err_set(e, EINVAL, "disk: no VMDK image that makes sense: %s", what);
}

/* What stands behind "KEY=" on a line of its own, quotes aside. */
static bool value(const char *text, const char *key, char *out, size_t max)
{
	size_t n = strlen(key);

	for (const char *p = text; p; p = strchr(p, '\n')) {
		size_t len;

		p += *p == '\n';
		if (strncmp(p, key, n) || p[n] != '=')
			continue;
		p += n + 1;
		p += *p == '"';
		len = strcspn(p, "\"\r\n");
		(void)snprintf(out, max, "%.*s", (int)MIN(len, max - 1), p);
		return true;
	}
	return false;
}

/* What every descriptor must say: which kind of image it is, and that it stands alone. */
static int check_descriptor(const char *text, const char *kind, struct error *e)
{
	char v[64];

	if (!value(text, "createType", v, sizeof(v)))
		return wrong(e, "it does not say of what type it is");
	if (strcmp(v, kind) != 0)
		return err_set(e, ENOTSUP,
			"disk: a VMDK image of type %s: monolithicSparse and monolithicFlat are there",
			v);
	if (value(text, "parentFileNameHint", v, sizeof(v)) ||
		(value(text, "parentCID", v, sizeof(v)) && strcmp(v, "ffffffff") != 0))
		return err_set(e, ENOTSUP, "disk: the VMDK image lies on a parent");
	return 0;
}

static int read_text(int fd, uint64_t off, uint64_t n, char **out, struct error *e)
{
	CLEAN_FREE char *text = calloc(1, DESCRIPTOR_MAX + 1);
	int r;

	if (!text)
		return err_sys(e, ENOMEM, "disk");
	r = io_pread(fd, text, MIN(n, (uint64_t)DESCRIPTOR_MAX), off);
	if (r && r != -ENODATA)
		return err_sys(e, r, "disk: the VMDK descriptor");
	*out = TAKE_PTR(text);
	return 0;
}

static int read_directory(struct vmdk *v, uint64_t sector, struct error *e)
{
	int r;

	v->dir_n = (v->d.bytes + v->grain * TABLE_ENTRIES - 1) / (v->grain * TABLE_ENTRIES);
	if (v->dir_n * 4 > LIM_QCOW2_RT || sector > LIM_BLK_BYTES / DISK_SECTOR)
		return wrong(e, "the size or place of its directory");
	v->dir = calloc(v->dir_n + 1, 4);
	if (!v->dir)
		return err_sys(e, ENOMEM, "disk");
	r = io_pread(v->d.fd, v->dir, v->dir_n * 4, sector * DISK_SECTOR);
	for (uint64_t i = 0; i < v->dir_n; i++)
		v->dir[i] = le32toh(v->dir[i]);
	return r ? wrong(e, "the file ends within its directory") : 0;
}

static int open_sparse(struct vmdk *v, const uint8_t *h, struct error *e)
{
	uint32_t version = get_le32(h + H_VERSION), flags = get_le32(h + H_FLAGS);
	uint64_t capacity = get_le64(h + H_CAPACITY), grain = get_le64(h + H_GRAIN),
		 desc = get_le64(h + H_DESC), desc_n = get_le64(h + H_DESC_LEN);
	CLEAN_FREE char *text = NULL;
	int r;

	if (version < 1 || version > 3)
		return err_set(e, ENOTSUP, "disk: VMDK version %u", version);
	if ((flags & F_COMPRESSED) || h[H_COMPRESSION] || h[H_COMPRESSION + 1])
		return err_set(e, ENOTSUP, "disk: the VMDK image is compressed");
	if (capacity > LIM_BLK_BYTES / DISK_SECTOR)
		return err_set(e, EFBIG, "disk: over %llu bytes", LIM_BLK_BYTES);
	if (grain < 8 || grain > 4096 || !IS_POW2(grain))
		return wrong(e, "the size of its grains");
	if (get_le32(h + H_PER_TABLE) != TABLE_ENTRIES)
		return wrong(e, "the length of its tables");
	if (!desc || desc > LIM_BLK_BYTES / DISK_SECTOR || desc_n > LIM_BLK_BYTES / DISK_SECTOR)
		return wrong(e, "the place of its descriptor");
	r = read_text(v->d.fd, desc * DISK_SECTOR, desc_n * DISK_SECTOR, &text, e);
	if (!r)
		r = check_descriptor(text, "monolithicSparse", e);
	if (r)
		return r;
	v->zero_grains = flags & F_ZERO_GRAINS;
	v->grain = grain * DISK_SECTOR;
	v->d.bytes = capacity * DISK_SECTOR;
	v->d.discard = (uint32_t)v->grain;
	return read_directory(v, get_le64(h + H_DIRECTORY), e);
}

/* The one line of a flat extent: RW SECTORS FLAT "NAME" 0 */
static int open_flat(
	const struct disk_cfg *cfg, const char *text, struct disk **out, struct error *e)
{
	struct disk_cfg c = *cfg;
	const char *p = strstr(text, "\nRW "), *end;
	char name[256];
	uint64_t sectors;
	struct disk *d;
	size_t n;
	int r;

	if (!p || strstr(p + 1, "\nRW ") || strstr(text, "\nRDONLY ") ||
		strstr(text, "\nNOACCESS "))
		return wrong(e, "it has no extent, or several");
	sectors = strtoull(p + 4, (char **)&end, 10);
	if (strncmp(end, " FLAT \"", 7) != 0)
		return wrong(e, "its extent");
	p = end + 7;
	n = strcspn(p, "\"\r\n");
	if (!n || n >= sizeof(name) || p[n] != '"')
		return wrong(e, "its extent's name");
	(void)memcpy(name, p, n);
	name[n] = 0;
	p += n + 1;
	if (strncmp(p, " 0", 2) != 0 || (p[2] && p[2] != '\r' && p[2] != '\n'))
		return wrong(e, "its extent's place in the other file");
	if (!cfg->open_backing)
		return err_set(e, EPERM,
			"disk: the VMDK image has its data in another file, and none is allowed");
	c.fd = cfg->open_backing(cfg->backing_arg, name);
	if (c.fd < 0)
		return err_sys(e, c.fd, "disk: the extent %.100s", name);
	c.format = DISK_RAW;
	c.depth++;
	r = disk_open(&c, &d, e);
	if (r)
		return r;
	if (sectors > LIM_BLK_BYTES / DISK_SECTOR || sectors * DISK_SECTOR > d->bytes) {
		disk_close(d);
		return wrong(e, "its extent is shorter than it says");
	}
	d->bytes = sectors * DISK_SECTOR;
	*out = d;
	return 0;
}

int vmdk_open(
	const struct disk_cfg *cfg, const struct disk *base, struct disk **out, struct error *e)
{
	uint8_t h[HEADER_LEN] = { 0 };
	CLEAN_FREE char *text = NULL;
	struct vmdk *v;
	int r = io_pread(base->fd, h, sizeof(h), 0);

	if (r && r != -ENODATA)
		return err_sys(e, r, "disk: the VMDK header");
	if (!cfg->readonly || cfg->direct)
		return err_set(
			e, ENOTSUP, "disk: VMDK images are for reading, through the page cache");
	if (get_le32(h) != MAGIC) {
		if (strncmp((const char *)h, "# Disk DescriptorFile", 21) != 0)
			return wrong(e, "its first bytes are others");
		r = read_text(base->fd, 0, DESCRIPTOR_MAX, &text, e);
		if (!r)
			r = check_descriptor(text, "monolithicFlat", e);
		r = r ? r : open_flat(cfg, text, out, e);
		if (!r)
			(void)close(base->fd);
		return r;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_sys(e, ENOMEM, "disk");
	v->d = *base;
	v->d.ops = &vmdk_ops;
	(void)pthread_mutex_init(&v->lock, NULL);
	r = open_sparse(v, h, e);
	if (r) {
		v->d.fd = -1; /* the caller's still */
		disk_close(&v->d);
		return r;
	}
	*out = &v->d;
	return 0;
}
