// SPDX-License-Identifier: Apache-2.0
/* Opening a disk's image: what it is, how large, whose; and raw images. */
/*
 * How it works
 *
 * The format is what the caller says: a guest writes what it likes into a raw disk, and a header
 * found there by looking would be the guest's. The file is locked by a lock of its open file
 * description, which lasts as long as that: two machines that write one image destroy it, and one
 * that reads what another writes sees nonsense.
 *
 * With O_DIRECT the kernel wants whole blocks of the medium. How large they are is found by trying.
 */
/* #syscalls:blk fallocate pwrite64 pread64 fdatasync preadv read readv */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk_qcow2.h"
#include "dev/disk_vmdk.h"
#include "util/cleanup.h"
#include "util/io.h"
#include "util/log.h"

#define LOCK_MS 500

int disk_read_all(int fd, struct iobuf *b, uint64_t off, uint64_t len)
{
	while (len) {
		ssize_t n = iobuf_read_fd(b, fd, len, (off_t)off);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? (int)n : -ENODATA;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int disk_write_all(int fd, struct iobuf *b, uint64_t off, uint64_t len)
{
	while (len) {
		ssize_t n = iobuf_write_fd(b, fd, len, (off_t)off);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? (int)n : -EIO;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int disk_zero_fill(const struct disk *d, struct iobuf *b, uint64_t n)
{
	uint64_t done = iobuf_zero(b, n);

	while (done < n) {
		ssize_t r = iobuf_read_fd(b, d->zero_fd, n - done, -1);

		if (r == -EINTR)
			continue;
		if (r <= 0)
			return r ? (int)r : -EIO;
		done += (uint64_t)r;
	}
	return 0;
}

/* Aligned as O_DIRECT wants it. */
static const uint8_t zeroes[64U << 10] __attribute__((aligned(4096)));

static int write_zeroes(int fd, uint64_t off, uint64_t len)
{
	int r = 0;

	while (len && !r) {
		size_t n = MIN(len, sizeof(zeroes));

		r = io_pwrite(fd, zeroes, n, off);
		off += n;
		len -= n;
	}
	return r;
}

int disk_zero_range(int fd, bool unmap, uint64_t off, uint64_t len)
{
	static const int first[2] = { FALLOC_FL_ZERO_RANGE, FALLOC_FL_PUNCH_HOLE };

	if (!fallocate(fd, FALLOC_FL_KEEP_SIZE | first[unmap], (off_t)off, (off_t)len))
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	return write_zeroes(fd, off, len);
}

/* What its owner could not do by a system call of its own. */
static int raw_run(struct disk *d, enum disk_cmd cmd, struct iobuf *b, uint64_t off, uint64_t len)
{
	switch (cmd) {
	case DISK_READ:
		return disk_read_all(d->fd, b, off, len);
	case DISK_WRITE:
		return disk_write_all(d->fd, b, off, len);
	case DISK_FLUSH:
		return disk_sync_end(d, fdatasync(d->fd) ? -errno : 0);
	case DISK_DISCARD:
		return -EOPNOTSUPP;
	default:
		return disk_zero_range(d->fd, cmd == DISK_ZERO_UNMAP, off, len);
	}
}

static void raw_close(struct disk *d)
{
	(void)d;
}

static const struct disk_ops raw_ops = { .run = raw_run, .close = raw_close };

static int set_lock(const struct disk *d, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET };

	return fcntl(d->fd, F_OFD_SETLK, &l) ? -errno : 0;
}

/*
 * The kernel closes what an io_uring had open a moment after its process has ended. So somebody
 * else is who has it for longer.
 */
static int lock_image(const struct disk *d, struct error *e)
{
	int r;

	for (unsigned ms = 0; ms < LOCK_MS; ms += 10) {
		r = set_lock(d, d->readonly ? F_RDLCK : F_WRLCK);
		if (r != -EAGAIN && r != -EACCES)
			return r ? err_sys(e, r, "disk: the image cannot be locked") : 0;
		(void)poll(NULL, 0, 10);
	}
	return err_set(e, EBUSY, "disk: somebody else has the image in use");
}

/* O_DIRECT, and the least unit that it takes. */
static int go_direct(struct disk *d, struct error *e)
{
	CLEAN_FREE void *p = NULL;
	int fl = fcntl(d->fd, F_GETFL);

	if (fl < 0 || fcntl(d->fd, F_SETFL, fl | O_DIRECT))
		return err_sys(e, errno, "disk: no direct I/O on the image");
	p = aligned_alloc(4096, 4096);
	if (!p)
		return err_sys(e, ENOMEM, "disk");
	while (pread(d->fd, p, d->block, (off_t)d->block) < 0 && errno == EINVAL) {
		d->block *= 2;
		if (d->block > 4096)
			return err_set(e, ENOTSUP, "disk: direct I/O in units over 4096 bytes");
	}
	d->phys_block = MAX(d->phys_block, d->block);
	d->direct = true;
	return 0;
}

static int ask_device(struct disk *d, struct error *e)
{
	unsigned opt = 0, phys = 0;
	int logical = 0;

	if (ioctl(d->fd, BLKGETSIZE64, &d->bytes) || ioctl(d->fd, BLKSSZGET, &logical) ||
		ioctl(d->fd, BLKPBSZGET, &phys) || ioctl(d->fd, BLKIOOPT, &opt))
		return err_sys(e, errno, "disk: the block device does not tell its size");
	if (logical < (int)DISK_SECTOR || logical > 4096 || !IS_POW2((unsigned)logical))
		return err_set(e, ENOTSUP, "disk: blocks of %d bytes", logical);
	d->block = (uint32_t)logical;
	d->phys_block = IS_POW2(phys) && phys >= d->block && phys <= 65536 ? phys : d->block;
	d->opt_io = opt;
	return 0;
}

/* Type, size, block sizes and a serial number of the file itself. */
static int look_at(struct disk *d, const struct disk_cfg *cfg, struct error *e)
{
	struct stat st;
	int fl = fcntl(d->fd, F_GETFL);

	if (fl < 0 || fstat(d->fd, &st))
		return err_sys(e, errno, "disk: the image");
	if (!d->readonly && (fl & O_ACCMODE) != O_RDWR)
		return err_set(e, EBADF, "disk: the image is not open for reading and writing");
	if ((fl & O_ACCMODE) == O_WRONLY || (fl & (O_PATH | O_APPEND)))
		return err_set(e, EBADF, "disk: the image cannot be read by its descriptor");
	/* a flag for those who wait; io_uring would give up where it has to */
	if ((fl & O_NONBLOCK) && fcntl(d->fd, F_SETFL, fl & ~O_NONBLOCK))
		return err_sys(e, errno, "disk: the image");
	d->block = DISK_SECTOR;
	d->phys_block = 4096;
	d->bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode)) {
		int r = ask_device(d, e);

		if (r)
			return r;
	} else if (!S_ISREG(st.st_mode)) {
		return err_set(e, EINVAL, "disk: the image is no regular file and no block device");
	}
	if (cfg->serial[0])
		(void)snprintf(d->serial, sizeof(d->serial), "%s", cfg->serial);
	else
		(void)snprintf(d->serial, sizeof(d->serial), "%x%x%llx",
			(unsigned)(S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev),
			(unsigned)S_ISBLK(st.st_mode), (unsigned long long)st.st_ino);
	return 0;
}

/* The file becomes a disk of the format; what @dp points at may be another struct then. */
static int open_format(struct disk **dp, const struct disk_cfg *cfg, struct error *e)
{
	struct disk *d = *dp, *other;
	int r;

	if (cfg->format == DISK_QCOW2 || cfg->format == DISK_VMDK) {
		r = cfg->format == DISK_QCOW2 ? qcow2_open(cfg, d, &other, e)
					      : vmdk_open(cfg, d, &other, e);
		if (!r) {
			free(d);
			*dp = other;
		}
		return r;
	}
	if (cfg->format != DISK_RAW)
		return err_set(e, ENOTSUP, "disk: no such format: %d", (int)cfg->format);
	d->ops = &raw_ops;
	d->plain = true;
	d->discard = d->phys_block;
	return 0;
}

static int open_image(struct disk **dp, const struct disk_cfg *cfg, struct error *e)
{
	struct disk *d = *dp;
	int r = look_at(d, cfg, e);

	if (!r)
		r = lock_image(d, e);
	if (!r && cfg->direct)
		r = go_direct(d, e);
	if (!r)
		r = open_format(dp, cfg, e);
	if (r)
		return r;
	d = *dp;
	/* below another image every byte counts: what follows are zeroes of that one's */
	if (!cfg->depth && (d->bytes & (d->block - 1))) {
		log_warn("disk: its last %u bytes are no whole block, and are not shown",
			(unsigned)(d->bytes & (d->block - 1)));
		d->bytes = ALIGN_DOWN(d->bytes, (uint64_t)d->block);
	}
	if (d->bytes > LIM_BLK_BYTES)
		return err_set(e, EFBIG, "disk: over %llu bytes", LIM_BLK_BYTES);
	return 0;
}

int disk_open(const struct disk_cfg *cfg, struct disk **out, struct error *e)
{
	struct disk *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		(void)close(cfg->fd);
		return err_sys(e, ENOMEM, "disk");
	}
	d->fd = cfg->fd;
	d->readonly = cfg->readonly;
	d->sync = cfg->sync;
	d->zero_fd = -1;
	r = open_image(&d, cfg, e);
	/* a file below may have become the disk, and has one */
	if (!r && d->zero_fd < 0) {
		d->zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		r = d->zero_fd < 0 ? err_sys(e, errno, "/dev/zero") : 0;
	}
	if (r) {
		disk_close(d);
		return r;
	}
	*out = d;
	return 0;
}

void disk_close(struct disk *d)
{
	if (!d)
		return;
	if (d->ops)
		d->ops->close(d);
	if (d->zero_fd >= 0)
		(void)close(d->zero_fd);
	if (d->fd >= 0) {
		(void)set_lock(d, F_UNLCK);
		(void)close(d->fd);
	}
	free(d);
}
