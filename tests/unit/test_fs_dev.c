// SPDX-License-Identifier: Apache-2.0
/* virtio-fs as a device: a driver, its two queues, reset, save and load, a broken ring. */
#include "fake/fake_guest.h"
#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

struct rig {
	struct fake_guest g;
	struct loop *loop;
	struct vdev *v;
	struct fake_dev d;
	struct fc c; /* for its directory only */
	uint64_t unique;
};

static int device(struct rig *r)
{
	struct fs_cfg cfg = { .tag = "root", .cache = FS_CACHE_AUTO };
	struct error e = { 0 };
	int ret;

	cfg.root_fd = open(r->c.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ret = fs_new(r->loop, &r->g.mem, &cfg, &r->v, &e);
	if (ret < 0)
		printf("# %s\n", e.msg);
	return ret;
}

static int setup(struct rig *r)
{
	struct error e = { 0 };
	int ret;

	memset(r, 0, sizeof(*r));
	ret = fc_new(&r->c, NULL, NULL);
	if (!ret)
		ret = fake_guest_init(&r->g, 16 << 20);
	if (!ret)
		ret = loop_new("fs", &r->loop, &e);
	if (!ret)
		ret = device(r);
	if (!ret)
		ret = fake_dev_init(&r->d, &r->g, r->v);
	if (!ret)
		ret = loop_thread_start(r->loop, &e);
	return ret;
}

static bool teardown(struct rig *r)
{
	fake_dev_reset(&r->d);
	loop_thread_join(r->loop);
	vdev_fini(r->v);
	fake_dev_fini(&r->d);
	r->v->cls->destroy(r->v);
	loop_free(r->loop);
	fake_guest_fini(&r->g);
	return fc_free(&r->c);
}

/* Error of the reply, FC_BROKEN when its framing or the queue is wrong; *len: payload bytes. */
static int call(struct rig *r, uint32_t op, uint64_t node, const void *in, uint32_t n_in,
	const void *more, uint32_t n_more, void *out, uint32_t n_out, uint32_t *len)
{
	struct fuse_in_header h = { .len = (uint32_t)sizeof(h) + n_in + n_more,
		.opcode = op,
		.unique = ++r->unique,
		.nodeid = node };
	struct fuse_out_header oh = { 0 };
	struct fake_out o[3] = { { &h, sizeof(h) }, { in, n_in }, { more, n_more } };
	struct fake_in i[2] = { { &oh, sizeof(oh) }, { out, n_out } };
	int ret;

	if (!n_in)
		o[1] = o[2];
	ret = fake_guest_xfer(&r->d, 1, o, 1 + !!n_in + !!n_more, i, 1 + !!n_out);
	if (ret < (int)sizeof(oh) || oh.len != (uint32_t)ret || oh.unique != h.unique)
		return FC_BROKEN;
	if (len)
		*len = oh.len - (uint32_t)sizeof(oh);
	return oh.error;
}

static int init(struct rig *r)
{
	struct fuse_init_in in = { .major = 7, .minor = 41, .flags = ~0U, .flags2 = ~0U };
	struct fuse_init_out out;

	return call(r, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &out, sizeof(out), NULL);
}

static uint64_t lookup(struct rig *r, const char *name)
{
	struct fuse_entry_out e = { 0 };

	if (call(r, FUSE_LOOKUP, 1, NULL, 0, name, (uint32_t)strlen(name) + 1, &e, sizeof(e), NULL))
		return 0;
	return e.nodeid;
}

static void requests(void)
{
	static uint8_t big[256 * 1024], back[256 * 1024];
	struct fuse_open_in oi = { .flags = O_RDWR };
	struct fuse_write_in wi = { .size = sizeof(big) };
	struct fuse_read_in ri = { .size = sizeof(back) };
	struct fuse_write_out wo;
	struct fuse_open_out oo;
	struct rig r;
	uint32_t len, queues;
	char tag[36];
	uint64_t f;

	CHECK_EQ(setup(&r), 0);
	fake_cfg_read(&r.d, 0, tag, 36);
	CHECK(!memcmp(tag, "root\0\0", 6));
	fake_cfg_read(&r.d, 36, &queues, 4);
	CHECK_EQ(queues, 1);
	for (int indirect = 0; indirect < 2; indirect++) {
		CHECK_EQ(fake_dev_start(&r.d, ~0ULL), 0);
		r.d.indirect = indirect;
		CHECK_EQ(lookup(&r, "f"), 0);
		CHECK_EQ(init(&r), 0);
		CHECK_EQ(fc_host_file(&r.c, "f", ""), 0);
		f = lookup(&r, "f");
		CHECK(f);
		CHECK_EQ(
			call(&r, FUSE_OPEN, f, &oi, sizeof(oi), NULL, 0, &oo, sizeof(oo), NULL), 0);
		wi.fh = ri.fh = oo.fh;
		for (unsigned i = 0; i < sizeof(big); i++)
			big[i] = (uint8_t)(i * 7 + i / 251);
		CHECK_EQ(call(&r, FUSE_WRITE, f, &wi, sizeof(wi), big, sizeof(big), &wo, sizeof(wo),
				 NULL),
			0);
		CHECK_EQ(wo.size, sizeof(big));
		memset(back, 0, sizeof(back));
		CHECK_EQ(call(&r, FUSE_READ, f, &ri, sizeof(ri), NULL, 0, back, sizeof(back), &len),
			0);
		CHECK_EQ(len, sizeof(back));
		CHECK(!memcmp(big, back, sizeof(big)));
		/* FORGET on the queue for what must not wait, without room for a reply */
		struct {
			struct fuse_in_header h;
			struct fuse_forget_in f;
		} fg = { { .len = sizeof(fg), .opcode = FUSE_FORGET, .nodeid = f }, { 1 } };
		struct fake_out o = { &fg, sizeof(fg) };

		CHECK_EQ(fake_guest_xfer(&r.d, 0, &o, 1, NULL, 0), 0);
		/* reset drops all of it: the next driver finds a server that was never spoken to */
		fake_dev_reset(&r.d);
	}
	CHECK(teardown(&r));
}

/* Chains that make no sense to FUSE, but are proper chains: answered or dropped, the device lives.
 */
static void nonsense(void)
{
	struct fuse_in_header h = { .len = 40, .opcode = FUSE_LOOKUP, .nodeid = 1 };
	uint8_t junk[64] = { 0 }, back[64];
	struct fake_out o = { junk, 3 };
	struct fake_in i = { back, 64 };
	struct rig r;

	CHECK_EQ(setup(&r), 0);
	CHECK_EQ(fake_dev_start(&r.d, ~0ULL), 0);
	CHECK_EQ(init(&r), 0);
	CHECK_EQ(fake_guest_xfer(&r.d, 1, &o, 1, &i, 1), 0);
	o.len = 40;
	CHECK_EQ(fake_guest_xfer(&r.d, 1, &o, 1, &i, 1), 16);
	CHECK_EQ(fake_guest_xfer(&r.d, 1, NULL, 0, &i, 1), 0);
	i.len = 15;
	o.p = &h;
	CHECK_EQ(fake_guest_xfer(&r.d, 1, &o, 1, &i, 1), 0);
	CHECK_EQ(fake_guest_xfer(&r.d, 0, &o, 1, NULL, 0), 0);
	CHECK(!vdev_is_broken(r.v));
	CHECK_EQ(lookup(&r, "f"), 0);
	CHECK(teardown(&r));
}

static void bad_config(void)
{
	struct fs_cfg cfg = { .tag = "", .root_fd = -1 };
	struct error e = { 0 };
	struct vdev *v;
	struct rig r;

	CHECK_EQ(setup(&r), 0);
	CHECK_EQ(fs_new(r.loop, &r.g.mem, &cfg, &v, &e), -EINVAL);
	strcpy(cfg.tag, "t");
	e = (struct error){ 0 };
	CHECK_EQ(fs_new(r.loop, &r.g.mem, &cfg, &v, &e), -EBADF);
	cfg.root_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	e = (struct error){ 0 };
	CHECK_EQ(fs_new(r.loop, &r.g.mem, &cfg, &v, &e), -ENOTDIR);
	CHECK(strstr(e.msg, "root directory"));
	CHECK(fcntl(cfg.root_fd, F_GETFD) < 0);
	cfg.dax_len = 4096;
	cfg.root_fd = open("/", O_PATH | O_CLOEXEC);
	e = (struct error){ 0 };
	CHECK_EQ(fs_new(r.loop, &r.g.mem, &cfg, &v, &e), -EINVAL);
	CHECK(teardown(&r));
}

/* Paused, saved, loaded into a second device over the same guest memory: the open file goes on. */
static void saved_device(void)
{
	struct fuse_open_in oi = { .flags = O_RDONLY };
	struct fuse_read_in ri = { .size = 16 };
	struct fuse_open_out oo;
	struct save_out s = { 0 };
	struct save_in in;
	struct vdev *was;
	struct rig r;
	char b[16];
	uint32_t len;
	uint64_t f;

	CHECK_EQ(setup(&r), 0);
	CHECK_EQ(fc_host_file(&r.c, "f", "text"), 0);
	CHECK_EQ(fake_dev_start(&r.d, ~0ULL), 0);
	CHECK_EQ(init(&r), 0);
	f = lookup(&r, "f");
	CHECK_EQ(call(&r, FUSE_OPEN, f, &oi, sizeof(oi), NULL, 0, &oo, sizeof(oo), NULL), 0);
	vdev_pause(r.v);
	CHECK_EQ(vdev_save(r.v, &s), 0);
	was = r.v;
	CHECK_EQ(device(&r), 0);
	r.v->irq = was->irq;
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	vdev_pause(r.v);
	CHECK_EQ(vdev_load(r.v, &in), 0);
	r.d.v = r.v;
	r.d.mmio.v = r.v;
	vdev_resume(r.v);
	ri.fh = oo.fh;
	CHECK_EQ(call(&r, FUSE_READ, f, &ri, sizeof(ri), NULL, 0, b, sizeof(b), &len), 0);
	CHECK_EQ(len, 4);
	CHECK(!memcmp(b, "text", 4));
	save_out_free(&s);
	vdev_fini(was);
	was->cls->destroy(was);
	CHECK(teardown(&r));
}

/* A lock request as it lies in guest memory. */
struct lkreq {
	struct fuse_in_header h;
	struct fuse_lk_in in;
	struct fuse_out_header oh;
};

static struct lkreq *put_lk(struct rig *r, uint32_t op, uint64_t f, uint64_t fh, uint64_t owner,
	uint32_t type, int *head)
{
	gpa_t at = fake_alloc(&r->g, sizeof(struct lkreq), 8);
	struct lkreq *l = fake_ptr(&r->g, at, sizeof(*l));
	struct fake_seg o = { at.v, offsetof(struct lkreq, oh) };
	struct fake_seg i = { at.v + o.len, sizeof(l->oh) };

	*l = (struct lkreq){ { .len = o.len, .opcode = op, .unique = r->unique += 2, .nodeid = f },
		{ .fh = fh, .owner = owner, .lk = { .end = INT64_MAX, .type = type } }, { 0 } };
	*head = fake_add(&r->d, 1, &o, 1, &i, 1);
	(void)fake_kick(&r->d, 1);
	return l;
}

/* The next answer is that of @head. */
static bool got(struct rig *r, int head)
{
	uint16_t h;
	uint32_t len;

	return !fake_wait(&r->d, 1, FAKE_TIMEOUT_MS) && fake_reap(&r->d, 1, &h, &len) == 1 &&
		h == head && len == sizeof(struct fuse_out_header);
}

static void swap_device(struct rig *r, struct save_out *s)
{
	struct vdev *was = r->v;
	struct save_in in;

	vdev_pause(r->v);
	CHECK_EQ(vdev_save(r->v, s), 0);
	vdev_fini(was);
	CHECK_EQ(device(r), 0);
	r->v->irq = was->irq;
	was->cls->destroy(was);
	in = (struct save_in){ .buf = s->buf, .len = s->len };
	vdev_pause(r->v);
	CHECK_EQ(vdev_load(r->v, &in), 0);
	r->d.v = r->v;
	r->d.mmio.v = r->v;
	vdev_resume(r->v);
}

/* A waiting lock holds up nobody; it comes through a save, and the other queue interrupts it. */
static void waiting_locks(void)
{
	struct fuse_open_in oi = { .flags = O_RDWR };
	struct fuse_open_out oo;
	struct save_out s = { 0 };
	struct lkreq *l[4];
	struct rig r;
	int head[4];
	uint64_t f;

	CHECK_EQ(setup(&r), 0);
	CHECK_EQ(fc_host_file(&r.c, "f", "text"), 0);
	CHECK_EQ(fake_dev_start(&r.d, ~0ULL), 0);
	CHECK_EQ(init(&r), 0);
	f = lookup(&r, "f");
	CHECK_EQ(call(&r, FUSE_OPEN, f, &oi, sizeof(oi), NULL, 0, &oo, sizeof(oo), NULL), 0);
	l[0] = put_lk(&r, FUSE_SETLK, f, oo.fh, 1, F_WRLCK, &head[0]);
	CHECK(got(&r, head[0]) && !l[0]->oh.error);
	l[1] = put_lk(&r, FUSE_SETLKW, f, oo.fh, 2, F_WRLCK, &head[1]);
	l[2] = put_lk(&r, FUSE_SETLKW, f, oo.fh, 3, F_WRLCK, &head[2]);
	/* answered last, seen first: the two wait */
	l[3] = put_lk(&r, FUSE_SETLK, f, oo.fh, 4, F_WRLCK, &head[3]);
	CHECK(got(&r, head[3]));
	CHECK_EQ(l[3]->oh.error, -EAGAIN);
	swap_device(&r, &s);
	struct {
		struct fuse_in_header h;
		struct fuse_interrupt_in in;
	} intr = { { .len = sizeof(intr), .opcode = FUSE_INTERRUPT, .unique = l[1]->h.unique | 1 },
		{ l[1]->h.unique } };
	struct fake_out o = { &intr, sizeof(intr) };

	CHECK_EQ(fake_guest_xfer(&r.d, 0, &o, 1, NULL, 0), 0);
	CHECK(got(&r, head[1]));
	CHECK_EQ(l[1]->oh.error, -EINTR);
	l[0] = put_lk(&r, FUSE_SETLK, f, oo.fh, 1, F_UNLCK, &head[0]);
	CHECK(got(&r, head[2]) || got(&r, head[2]));
	CHECK_EQ(l[2]->oh.error, 0);
	save_out_free(&s);
	CHECK(teardown(&r));
}

#define DEEP  48
#define PIECE (64U << 10)

/* A request and its answer as they lie in guest memory. */
struct deep {
	struct fuse_in_header h;
	union {
		struct fuse_read_in read;
		struct fuse_write_in write;
		struct fuse_fsync_in fsync;
		struct fuse_release_in release;
		struct fuse_init_in init;
	} a;
	struct fuse_out_header oh;
	uint8_t data[PIECE];
};

/* Shows nothing yet. @n_in: bytes of the arguments; a write sends data, a read gets it. */
static int put_deep(struct rig *r, struct deep *d, gpa_t at, uint32_t op, uint64_t f, uint32_t n_in)
{
	const uint32_t oh = offsetof(struct deep, oh), data = offsetof(struct deep, data);
	struct fake_seg o[2] = { { at.v, (uint32_t)sizeof(d->h) + n_in }, { at.v + data, PIECE } };
	struct fake_seg i[2] = { { at.v + oh, sizeof(d->oh) }, { at.v + data, PIECE } };
	bool wr = op == FUSE_WRITE, rd = op == FUSE_READ || op == FUSE_INIT;

	/* the reply of a write is short, and may lie over what was sent */
	i[1].len = wr ? (uint32_t)sizeof(struct fuse_write_out) : PIECE;
	d->h = (struct fuse_in_header){ .len = o[0].len + (wr ? PIECE : 0),
		.opcode = op,
		.unique = r->unique += 2,
		.nodeid = f };
	return fake_add(&r->d, 1, o, 1 + wr, i, 1 + (wr || rd));
}

static bool drain(struct rig *r, unsigned n)
{
	uint16_t h;
	uint32_t len;
	int got;

	while (n) {
		if (fake_wait(&r->d, 1, 10000))
			return false;
		while ((got = fake_reap(&r->d, 1, &h, &len)) == 1)
			n--;
		if (got < 0)
			return false;
	}
	return true;
}

/* Many large requests at once, with syncs among them: all are answered, each with its own. */
static void depth(void)
{
	struct fuse_open_in oi = { .flags = O_RDWR };
	struct save_out s = { 0 };
	struct deep *d[DEEP];
	struct fuse_open_out oo;
	gpa_t at[DEEP];
	struct rig r;
	uint64_t f;

	CHECK_EQ(setup(&r), 0);
	CHECK_EQ(fc_host_file(&r.c, "f", ""), 0);
	CHECK_EQ(fake_dev_start(&r.d, ~0ULL), 0);
	r.d.indirect = true;
	CHECK_EQ(init(&r), 0);
	f = lookup(&r, "f");
	CHECK_EQ(call(&r, FUSE_OPEN, f, &oi, sizeof(oi), NULL, 0, &oo, sizeof(oo), NULL), 0);
	for (unsigned i = 0; i < DEEP; i++) {
		at[i] = fake_alloc(&r.g, sizeof(struct deep), 8);
		d[i] = fake_ptr(&r.g, at[i], sizeof(struct deep));
	}
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < DEEP; i++) {
			bool sync = i % 7 == 6;

			if (sync) {
				d[i]->a.fsync = (struct fuse_fsync_in){ .fh = oo.fh };
				CHECK(put_deep(&r, d[i], at[i], FUSE_FSYNC, f,
					      sizeof(d[i]->a.fsync)) >= 0);
			} else if (round % 2) {
				d[i]->a.read = (struct fuse_read_in){
					.fh = oo.fh, .offset = (uint64_t)i * PIECE, .size = PIECE
				};
				memset(d[i]->data, 0, PIECE);
				CHECK(put_deep(&r, d[i], at[i], FUSE_READ, f,
					      sizeof(d[i]->a.read)) >= 0);
			} else {
				d[i]->a.write = (struct fuse_write_in){
					.fh = oo.fh, .offset = (uint64_t)i * PIECE, .size = PIECE
				};
				memset(d[i]->data, (int)(i + round + 1), PIECE);
				CHECK(put_deep(&r, d[i], at[i], FUSE_WRITE, f,
					      sizeof(d[i]->a.write)) >= 0);
			}
		}
		(void)fake_kick(&r.d, 1);
		/* once in the middle of it: what is under way ends, the rest comes after */
		if (round == 1)
			swap_device(&r, &s);
		CHECK(drain(&r, DEEP));
		for (unsigned i = 0; i < DEEP; i++) {
			CHECK_EQ(d[i]->oh.error, 0);
			CHECK_EQ(d[i]->oh.unique, d[i]->h.unique);
			if (i % 7 == 6)
				continue;
			if (round % 2)
				CHECK(d[i]->data[0] == i + round &&
					d[i]->data[PIECE - 1] == i + round);
			else
				CHECK_EQ(d[i]->data[0] | d[i]->data[1] << 8 | d[i]->data[2] << 16,
					PIECE);
		}
	}
	/* a file that is closed while it is written, and a reset in the middle */
	for (unsigned i = 0; i < DEEP - 1; i++)
		CHECK(put_deep(&r, d[i], at[i], FUSE_WRITE, f, sizeof(d[i]->a.write)) >= 0);
	d[DEEP - 1]->a.release = (struct fuse_release_in){ .fh = oo.fh };
	CHECK(put_deep(&r, d[DEEP - 1], at[DEEP - 1], FUSE_RELEASE, f,
		      sizeof(d[DEEP - 1]->a.release)) >= 0);
	(void)fake_kick(&r.d, 1);
	CHECK(drain(&r, DEEP));
	CHECK_EQ(d[DEEP - 1]->oh.error, 0);
	for (unsigned i = 0; i < DEEP; i++)
		CHECK(put_deep(&r, d[i], at[i], FUSE_WRITE, f, sizeof(d[i]->a.write)) >= 0);
	(void)fake_kick(&r.d, 1);
	fake_dev_reset(&r.d);
	save_out_free(&s);
	CHECK(teardown(&r));
}

/* The server forgets everything while workers still write: they end first. */
static void ended_in_the_middle(void)
{
	static const uint32_t ends[] = { FUSE_DESTROY, FUSE_INIT };
	struct fuse_open_in oi = { .flags = O_RDWR };
	struct deep *d[DEEP];
	struct fuse_open_out oo;
	gpa_t at[DEEP];
	struct rig r;

	CHECK_EQ(setup(&r), 0);
	CHECK_EQ(fc_host_file(&r.c, "f", ""), 0);
	CHECK_EQ(fake_dev_start(&r.d, ~0ULL), 0);
	r.d.indirect = true;
	for (unsigned i = 0; i < DEEP; i++) {
		at[i] = fake_alloc(&r.g, sizeof(struct deep), 8);
		d[i] = fake_ptr(&r.g, at[i], sizeof(struct deep));
	}
	for (unsigned round = 0; round < 2 * ARRAY_SIZE(ends); round++) {
		struct deep *last = d[DEEP - 1];
		uint32_t end = ends[round % ARRAY_SIZE(ends)];
		uint64_t f;

		CHECK_EQ(init(&r), 0);
		f = lookup(&r, "f");
		CHECK_EQ(
			call(&r, FUSE_OPEN, f, &oi, sizeof(oi), NULL, 0, &oo, sizeof(oo), NULL), 0);
		for (unsigned i = 0; i < DEEP - 1; i++) {
			d[i]->a.write = (struct fuse_write_in){
				.fh = oo.fh, .offset = (uint64_t)i * PIECE, .size = PIECE
			};
			CHECK(put_deep(&r, d[i], at[i], FUSE_WRITE, f, sizeof(d[i]->a.write)) >= 0);
		}
		last->a.init = (struct fuse_init_in){ .major = 7, .minor = 41 };
		CHECK(put_deep(&r, last, at[DEEP - 1], end, 0,
			      end == FUSE_INIT ? sizeof(last->a.init) : 0) >= 0);
		(void)fake_kick(&r.d, 1);
		CHECK(drain(&r, DEEP));
		for (unsigned i = 0; i < DEEP; i++)
			CHECK_EQ(d[i]->oh.error, 0);
	}
	CHECK(teardown(&r));
}

static const struct test_case cases[] = {
	TEST(requests),
	TEST(nonsense),
	TEST(bad_config),
	TEST(saved_device),
	TEST(waiting_locks),
	TEST(depth),
	TEST(ended_in_the_middle),
};

TEST_MAIN(cases)
