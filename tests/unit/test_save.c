// SPDX-License-Identifier: Apache-2.0
/* The saved form: what goes in comes out, sections limit their reader, errors stick. */
#include <errno.h>

#include "unit/test.h"
#include "util/save.h"

#define TAG_A SAVE_TAG('a', 'a', 'a', 'a')
#define TAG_B SAVE_TAG('b', 'b', 'b', 'b')

static void fill(struct save_out *s)
{
	size_t a = save_begin(s, TAG_A, 3), b;

	save_u8(s, 0x11);
	save_u16(s, 0x2233);
	b = save_begin(s, TAG_B, 1);
	save_blob(s, "blob", 4);
	save_blob(s, NULL, 0);
	save_end(s, b);
	save_u32(s, 0x44556677);
	save_u64(s, 0x8899aabbccddeeff);
	save_bytes(s, "xyz", 3);
	save_end(s, a);
}

static int read_back(struct save_in *in)
{
	struct save_in a, b;
	const uint8_t *p;
	char xyz[3];
	size_t n;

	if (load_section(in, TAG_A, 3, &a) != 3 || load_u8(&a) != 0x11 || load_u16(&a) != 0x2233)
		return -1;
	if (load_section(&a, TAG_B, 9, &b) != 1)
		return -2;
	p = load_blob(&b, 4, &n);
	if (!p || n != 4 || memcmp(p, "blob", 4))
		return -3;
	p = load_blob(&b, 0, &n);
	if (!p || n || load_done(&b))
		return -4;
	if (load_u32(&a) != 0x44556677 || load_u64(&a) != 0x8899aabbccddeeff)
		return -5;
	load_bytes(&a, xyz, 3);
	if (memcmp(xyz, "xyz", 3) || load_done(&a))
		return -6;
	return load_done(in);
}

static void round_trip(void)
{
	struct save_out s = { 0 };

	fill(&s);
	CHECK_EQ(s.err, 0);
	CHECK_EQ(s.len, 16 + 3 + 16 + 8 + 4 + 12 + 3);
	CHECK(!memcmp(s.buf,
		"aaaa\3\0\0\0\x2e\0\0\0\0\0\0\0\x11\x33\x22"
		"bbbb",
		23));
	CHECK_EQ(read_back(&(struct save_in){ .buf = s.buf, .len = s.len }), 0);
	/* every truncation fails, without reading past the end (the copy has no slack) */
	for (size_t i = 0; i < s.len; i++) {
		uint8_t *cut = malloc(i ? i : 1);

		memcpy(cut, s.buf, i);
		CHECK(read_back(&(struct save_in){ .buf = cut, .len = i }) != 0);
		free(cut);
	}
	save_out_free(&s);
	CHECK(!s.buf && !s.len);
}

static void errors_stick(void)
{
	static const uint8_t bytes[] = { 1, 0, 0, 0, 2 };
	struct save_in in = { .buf = bytes, .len = sizeof(bytes) };
	char p[8] = "AAAAAAA";

	CHECK_EQ(load_u32(&in), 1);
	CHECK_EQ(load_done(&in), -EINVAL); /* a byte left over */
	CHECK_EQ(load_u16(&in), 0);
	CHECK_EQ(in.err, -EINVAL);
	CHECK_EQ(load_u8(&in), 0); /* there is one, but the reader has failed */
	load_bytes(&in, p, 4);
	CHECK(!p[0] && !p[3] && p[4] == 'A');
	CHECK_EQ(load_done(&in), -EINVAL);
}

static void hostile(void)
{
	struct save_out s = { 0 };
	struct save_in in, sub;
	size_t n, at;

	/* a blob longer than the limit, or than the buffer */
	save_u32(&s, 5);
	save_bytes(&s, "12345", 5);
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	CHECK(!load_blob(&in, 4, &n) && !n && in.err == -EINVAL);
	in = (struct save_in){ .buf = s.buf, .len = s.len - 1 };
	CHECK(!load_blob(&in, 99, &n) && !n && in.err == -EINVAL);
	save_out_free(&s);

	/* wrong tag, version 0, version too new, length beyond */
	for (unsigned i = 0; i < 5; i++) {
		at = save_begin(&s, i == 1 ? TAG_B : TAG_A, i == 2 ? 0 : i == 3 ? 3 : 2);
		save_u64(&s, 7);
		save_end(&s, at);
		if (i == 4)
			memset(s.buf + 8, 0xff, 8);
		in = (struct save_in){ .buf = s.buf, .len = s.len };
		CHECK_EQ(load_section(&in, TAG_A, 2, &sub), i ? 0 : 2);
		CHECK_EQ(in.err, i ? -EINVAL : 0);
		CHECK_EQ(sub.err, i ? -EINVAL : 0);
		CHECK_EQ(load_u64(&sub), i ? 0 : 7);
		save_out_free(&s);
	}
}

/* A writer that has failed does nothing more, also at the end of a section begun before. */
static void writer_fails(void)
{
	struct save_out s = { 0 };
	size_t at = save_begin(&s, TAG_A, 1);

	s.err = -EBUSY;
	save_u64(&s, 1);
	(void)save_begin(&s, TAG_B, 1);
	save_end(&s, at);
	CHECK_EQ(s.len, 16);
	CHECK_EQ(s.buf[8], 0);
	CHECK_EQ(s.err, -EBUSY);
	save_out_free(&s);
	save_blob(&s, "", (size_t)UINT32_MAX + 1);
	CHECK_EQ(s.err, -EOVERFLOW);
	save_out_free(&s);
	save_bytes(&s, "", SIZE_MAX);
	CHECK_EQ(s.err, -ENOMEM);
}

/* A writer with a limit holds no more memory than that, and says so. */
static void limit(void)
{
	struct save_out s = { .max = 1000 };
	uint8_t *p;

	for (unsigned i = 0; i < 125; i++)
		save_u64(&s, i);
	CHECK_EQ(s.err, 0);
	CHECK_EQ(s.len, 1000);
	CHECK(s.cap <= 1000);
	save_u8(&s, 1);
	CHECK_EQ(s.err, -E2BIG);
	CHECK_EQ(s.len, 1000);
	save_out_free(&s);
	s.max = 1000;
	save_blob(&s, NULL, SIZE_MAX / 4);
	CHECK_EQ(s.err, -EOVERFLOW);
	save_out_free(&s);
	s.max = 1000;
	CHECK(!save_blob_room(&s, 997));
	CHECK_EQ(s.err, -E2BIG);
	save_out_free(&s);
	s.max = 1000;
	p = save_blob_room(&s, 996);
	CHECK(p);
	memset(p, 7, 996);
	CHECK_EQ(s.len, 1000);
	save_fail(&s, -EIO, "a disk that broke");
	save_fail(&s, -EPERM, "another");
	CHECK_EQ(s.err, -EIO);
	CHECK_STR(s.why, "a disk that broke");
	CHECK(!save_blob_room(&s, 1));
	save_out_free(&s);
	CHECK(!s.why && !s.max);
}

static const struct test_case cases[] = {
	TEST(round_trip),
	TEST(errors_stick),
	TEST(hostile),
	TEST(writer_fails),
	TEST(limit),
};

TEST_MAIN(cases)
