// SPDX-License-Identifier: Apache-2.0
/* Cursors against a plain array: whatever order of operations, the bytes are the same. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "virtio/iobuf.h"

#define MAXV 16

static uint8_t model[1024]; /* what the bytes must be, in order */
static uint8_t *page;	    /* where they are: entries with gaps between them */
static int fd = -1;

struct cur {
	struct iobuf b;
	size_t at, end; /* in the model */
};

static void check(const struct cur *c)
{
	uint8_t buf[sizeof(model)];

	FUZZ_CHECK(c->b.left == c->end - c->at);
	FUZZ_CHECK(iobuf_peek(&c->b, buf, sizeof(buf)) == c->b.left);
	FUZZ_CHECK(!memcmp(buf, model + c->at, c->b.left));
}

static size_t setup(struct fuzz_in *in, struct iovec *v, struct iobuf *b)
{
	unsigned cnt = fuzz_u8(in) % (MAXV + 1);
	size_t at = 0, sum = 0;

	for (unsigned i = 0; i < cnt; i++) {
		size_t n = 1 + fuzz_u8(in) % 60;

		v[i] = (struct iovec){ page + at, n };
		for (size_t k = 0; k < n; k++)
			page[at + k] = model[sum + k] = (uint8_t)(at + k);
		at += n + 3;
		sum += n;
	}
	iobuf_init(b, v, cnt);
	return sum;
}

/* One operation of @c; true when it was a split, into *head. */
static bool step(struct cur *c, struct fuzz_in *in, struct cur *head)
{
	uint8_t op = fuzz_u8(in), buf[256];
	size_t n = fuzz_u8(in), left = c->end - c->at, m = MIN(n, left);

	memset(buf, op, sizeof(buf));
	switch (op % 7) {
	case 0:
		FUZZ_CHECK(iobuf_pull(&c->b, buf, n) == (n > left ? -ENODATA : 0));
		FUZZ_CHECK(n > left || !memcmp(buf, model + c->at, n));
		c->at += n > left ? 0 : n;
		break;
	case 1:
		FUZZ_CHECK(iobuf_push(&c->b, buf, n) == (n > left ? -ENOSPC : 0));
		if (n <= left)
			memcpy(model + c->at, buf, n);
		c->at += n > left ? 0 : n;
		break;
	case 2:
		FUZZ_CHECK(iobuf_skip(&c->b, n) == (n > left ? -ENODATA : 0));
		c->at += n > left ? 0 : n;
		break;
	case 3:
		FUZZ_CHECK(iobuf_zero(&c->b, n) == m);
		memset(model + c->at, 0, m);
		c->at += m;
		break;
	case 4:
		FUZZ_CHECK(iobuf_write_fd(&c->b, fd, n, 0) == (ssize_t)m);
		FUZZ_CHECK(pread(fd, buf, m, 0) == (ssize_t)m && !memcmp(buf, model + c->at, m));
		c->at += m;
		break;
	case 5:
		FUZZ_CHECK(pwrite(fd, buf, sizeof(buf), 0) == sizeof(buf));
		FUZZ_CHECK(iobuf_read_fd(&c->b, fd, n, 0) == (ssize_t)m);
		memcpy(model + c->at, buf, m);
		c->at += m;
		break;
	default:
		FUZZ_CHECK(iobuf_take(&c->b, n, &head->b) == (n > left ? -ENODATA : 0));
		if (n > left)
			break;
		head->at = c->at;
		head->end = c->at += n;
		return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	struct iovec v[MAXV], was[MAXV];
	struct cur c[4] = { 0 };
	unsigned n = 1;

	if (fd < 0) {
		fd = memfd_create("fuzz", 0);
		page = malloc(MAXV * 64);
		FUZZ_CHECK(fd >= 0 && page);
	}
	memset(v, 0, sizeof(v));
	memset(page, 0xee, MAXV * 64);
	c[0].end = setup(&in, v, &c[0].b);
	memcpy(was, v, sizeof(v));
	while (in.left) {
		unsigned i = fuzz_u8(&in) % n;

		if (step(&c[i], &in, &c[n]) && n < 3)
			n++;
		for (unsigned k = 0; k < n; k++)
			check(&c[k]);
		FUZZ_CHECK(!memcmp(v, was, sizeof(v)));
	}
	for (unsigned i = 0; i < MAXV && v[i].iov_len; i++) {
		const uint8_t *gap = (uint8_t *)v[i].iov_base + v[i].iov_len;

		FUZZ_CHECK(gap[0] == 0xee && gap[1] == 0xee && gap[2] == 0xee);
	}
	return 0;
}
