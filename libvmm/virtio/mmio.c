// SPDX-License-Identifier: Apache-2.0
/* The virtio-mmio transport, version 2 (virtio 1.2, section 4.2.2): decoding of register accesses.
 */
/*
 * How it works
 *
 * Both directions decode the register under the device's lock and leave what it means to vdev.c.
 * Offsets from 0x100 are config space, at any width; below it only aligned 32-bit accesses count.
 * Reads of what does not exist give zero, writes go nowhere: a driver can do no harm by asking.
 * Register pairs of 64-bit values differ in bit 2 of their offset.
 */
#include <errno.h>
#include <string.h>

#include "util/bytes.h"
#include "virtio/mmio.h"

#define REG_MAGIC	  0x000
#define REG_VERSION	  0x004
#define REG_DEVICE_ID	  0x008
#define REG_VENDOR_ID	  0x00c
#define REG_DEV_FEAT	  0x010
#define REG_DEV_FEAT_SEL  0x014
#define REG_DRV_FEAT	  0x020
#define REG_DRV_FEAT_SEL  0x024
#define REG_QUEUE_SEL	  0x030
#define REG_QUEUE_NUM_MAX 0x034
#define REG_QUEUE_NUM	  0x038
#define REG_QUEUE_READY	  0x044
#define REG_INT_STATUS	  0x060
#define REG_INT_ACK	  0x064
#define REG_STATUS	  0x070
#define REG_DESC_LOW	  0x080
#define REG_DESC_HIGH	  0x084
#define REG_AVAIL_LOW	  0x090
#define REG_AVAIL_HIGH	  0x094
#define REG_USED_LOW	  0x0a0
#define REG_USED_HIGH	  0x0a4
#define REG_SHM_SEL	  0x0ac
#define REG_SHM_LEN_LOW	  0x0b0
#define REG_SHM_LEN_HIGH  0x0b4
#define REG_SHM_BASE_LOW  0x0b8
#define REG_SHM_BASE_HIGH 0x0bc
#define REG_CONFIG_GEN	  0x0fc
#define REG_CONFIG	  0x100

#define MAGIC	  0x74726976 /* "virt" */
#define VENDOR_ID 0x4e55524b /* "KRUN" */

#define TAG_MMIO SAVE_TAG('m', 'm', 'i', 'o')

void mmio_init(struct mmio *t, struct vdev *v)
{
	*t = (struct mmio){ .v = v };
}

static uint32_t half(uint64_t v, bool high)
{
	return (uint32_t)(high ? v >> 32 : v);
}

static uint32_t mmio_read_queue(const struct mmio *t, uint64_t reg)
{
	const struct vdev *v = t->v;

	if (t->queue_sel >= v->nqueues)
		return 0;
	if (reg == REG_QUEUE_NUM_MAX)
		return v->vq[t->queue_sel].max;
	return v->vq[t->queue_sel].ready;
}

/* A window that does not exist has length and base of all ones. */
static uint32_t mmio_read_shm(const struct mmio *t, uint64_t reg)
{
	bool there = t->shm_sel == 0 && t->v->shm_len;
	bool base = reg == REG_SHM_BASE_LOW || reg == REG_SHM_BASE_HIGH;

	if (!there)
		return UINT32_MAX;
	return half(base ? t->v->shm_gpa : t->v->shm_len, reg & 4);
}

static uint32_t mmio_read_gen(struct vdev *v)
{
	uint32_t gen;

	(void)pthread_mutex_lock(&v->cfg_lock);
	gen = v->cfg_gen;
	(void)pthread_mutex_unlock(&v->cfg_lock);
	return gen;
}

static uint32_t mmio_read_reg(struct mmio *t, uint64_t reg)
{
	struct vdev *v = t->v;

	switch (reg) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return 2;
	case REG_DEVICE_ID:
		return v->cls->id;
	case REG_VENDOR_ID:
		return VENDOR_ID;
	case REG_DEV_FEAT:
		return t->dev_feat_sel > 1 ? 0 : half(v->offered, t->dev_feat_sel);
	case REG_QUEUE_NUM_MAX:
	case REG_QUEUE_READY:
		return mmio_read_queue(t, reg);
	case REG_INT_STATUS:
		return __atomic_load_n(&v->int_status, __ATOMIC_SEQ_CST);
	case REG_STATUS:
		return vdev_status(v);
	case REG_SHM_LEN_LOW:
	case REG_SHM_LEN_HIGH:
	case REG_SHM_BASE_LOW:
	case REG_SHM_BASE_HIGH:
		return mmio_read_shm(t, reg);
	case REG_CONFIG_GEN:
		return mmio_read_gen(v);
	default:
		return 0;
	}
}

static void set_half(uint64_t *v, bool high, uint32_t bits)
{
	if (high)
		*v = (*v & UINT32_MAX) | (uint64_t)bits << 32;
	else
		*v = (*v & ~(uint64_t)UINT32_MAX) | bits;
}

static void mmio_write_queue(struct mmio *t, uint64_t reg, uint32_t val)
{
	struct vdev *v = t->v;
	struct vq *q;

	if (t->queue_sel >= v->nqueues)
		return;
	q = &v->vq[t->queue_sel];
	/* Before DRIVER_OK a driver may take ready back; a queue that runs is stopped by a reset
	 * only. */
	if (reg == REG_QUEUE_READY && !(vdev_status(v) & VDEV_S_DRIVER_OK))
		q->ready = val & 1;
	if (!vdev_queue_open(v, t->queue_sel))
		return;
	switch (reg) {
	case REG_QUEUE_NUM:
		q->size = val > UINT16_MAX ? 0 : (uint16_t)val;
		break;
	case REG_DESC_LOW:
	case REG_DESC_HIGH:
		set_half(&q->desc, reg & 4, val);
		break;
	case REG_AVAIL_LOW:
	case REG_AVAIL_HIGH:
		set_half(&q->avail, reg & 4, val);
		break;
	case REG_USED_LOW:
	case REG_USED_HIGH:
		set_half(&q->used, reg & 4, val);
		break;
	default:
		break;
	}
}

static void mmio_write_reg(struct mmio *t, uint64_t reg, uint32_t val)
{
	struct vdev *v = t->v;

	switch (reg) {
	case REG_DEV_FEAT_SEL:
		t->dev_feat_sel = val;
		break;
	case REG_DRV_FEAT:
		vdev_set_features(v, t->drv_feat_sel, val);
		break;
	case REG_DRV_FEAT_SEL:
		t->drv_feat_sel = val;
		break;
	case REG_QUEUE_SEL:
		t->queue_sel = val;
		break;
	case MMIO_QUEUE_NOTIFY:
		vdev_kick(v, val);
		break;
	case REG_INT_ACK:
		__atomic_fetch_and(&v->int_status, ~val, __ATOMIC_SEQ_CST);
		break;
	case REG_STATUS:
		vdev_set_status(v, val);
		break;
	case REG_SHM_SEL:
		t->shm_sel = val;
		break;
	default:
		mmio_write_queue(t, reg, val);
		break;
	}
}

static void mmio_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct mmio *t = arg;
	uint32_t val;

	if (off >= REG_CONFIG) {
		vdev_cfg_read(t->v, off - REG_CONFIG, data, len);
		return;
	}
	memset(data, 0, len);
	/* Section 4.2.2.2: registers are accessed by aligned 32 bits, and not otherwise. */
	if (len != 4 || off % 4)
		return;
	(void)pthread_mutex_lock(&t->v->lock);
	val = mmio_read_reg(t, off);
	(void)pthread_mutex_unlock(&t->v->lock);
	put_le32(data, val);
}

static void mmio_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct mmio *t = arg;

	(void)pthread_mutex_lock(&t->v->lock);
	if (off >= REG_CONFIG)
		vdev_cfg_write(t->v, off - REG_CONFIG, data, len);
	else if (len == 4 && off % 4 == 0)
		mmio_write_reg(t, off, get_le32(data));
	(void)pthread_mutex_unlock(&t->v->lock);
}

const struct bus_ops mmio_bus_ops = {
	.read = mmio_read,
	.write = mmio_write,
};

void mmio_save(const struct mmio *t, struct save_out *s)
{
	size_t at = save_begin(s, TAG_MMIO, 1);

	save_u32(s, t->dev_feat_sel);
	save_u32(s, t->drv_feat_sel);
	save_u32(s, t->queue_sel);
	save_u32(s, t->shm_sel);
	save_end(s, at);
}

int mmio_load(struct mmio *t, struct save_in *s)
{
	struct save_in sub;

	if (!load_section(s, TAG_MMIO, 1, &sub))
		return s->err ? s->err : -EINVAL;
	t->dev_feat_sel = load_u32(&sub);
	t->drv_feat_sel = load_u32(&sub);
	t->queue_sel = load_u32(&sub);
	t->shm_sel = load_u32(&sub);
	return load_done(&sub);
}
