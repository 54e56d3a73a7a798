// SPDX-License-Identifier: Apache-2.0
/* The clock of a PC: the time in its registers, and what a guest may keep there. */
#include <errno.h>

#include "dev/rtc.h"
#include "tests/unit/test.h"

static struct rtc *r;

static uint8_t reg(uint8_t index)
{
	uint8_t v;

	rtc_write(r, 0, &index, 1);
	rtc_read(r, 1, &v, 1);
	return v;
}

static void set(uint8_t index, uint8_t v)
{
	rtc_write(r, 0, &index, 1);
	rtc_write(r, 1, &v, 1);
}

static int unbcd(uint8_t v)
{
	return (v >> 4) * 10 + (v & 15);
}

/* 2024-02-29 23:59:58 UTC, a Thursday; 1999-12-31; far away. */
static void times(void)
{
	const struct timespec leap = { .tv_sec = 1709251198 }, last = { .tv_sec = 946684799 },
			      far = { .tv_sec = 4102444800 };
	static const uint8_t at[] = { 0, 2, 4, 6, 7, 8, 9, 0x32 };
	static const uint8_t want[][8] = { { 0x58, 0x59, 0x23, 5, 0x29, 0x02, 0x24, 0x20 },
		{ 0x59, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x19 },
		{ 0, 0, 0, 6, 0x01, 0x01, 0x00, 0x21 } };
	const struct timespec *const t[] = { &leap, &last, &far };

	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < sizeof(at); k++)
			CHECK_EQ(rtc_time_reg(at[k], t[i]), want[i][k]);
}

/* Every day of four hundred years and more, as the C library has it. */
static void calendar(void)
{
	struct timespec t = { .tv_sec = 3723 }; /* 01:02:03 */

	for (unsigned i = 0; i < 160000; i++, t.tv_sec += 86400) {
		struct tm tm;

		CHECK(gmtime_r(&t.tv_sec, &tm));
		CHECK_EQ(unbcd(rtc_time_reg(7, &t)), tm.tm_mday);
		CHECK_EQ(unbcd(rtc_time_reg(8, &t)), tm.tm_mon + 1);
		CHECK_EQ(unbcd(rtc_time_reg(0x32, &t)) * 100 + unbcd(rtc_time_reg(9, &t)),
			tm.tm_year + 1900);
		CHECK_EQ(unbcd(rtc_time_reg(6, &t)), tm.tm_wday + 1);
	}
	CHECK(rtc_time_reg(4, &t) == 1 && rtc_time_reg(2, &t) == 2 && rtc_time_reg(0, &t) == 3);
}

/* Who looks before and after never takes a time of two seconds. */
static void update_in_progress(void)
{
	struct timespec t = { .tv_sec = 1, .tv_nsec = 0 };

	CHECK_EQ(rtc_time_reg(0x0a, &t), 0x26);
	t.tv_nsec = 997799999;
	CHECK_EQ(rtc_time_reg(0x0a, &t), 0x26);
	t.tv_nsec = 997800000;
	CHECK_EQ(rtc_time_reg(0x0a, &t), 0xa6);
	t.tv_nsec = 999999999;
	CHECK_EQ(rtc_time_reg(0x0a, &t), 0xa6);
	/* a host's clock that is far off */
	t = (struct timespec){ .tv_sec = INT64_MAX };
	CHECK(rtc_time_reg(0x32, &t) == 0x99 && rtc_time_reg(9, &t) == 0x99);
	t = (struct timespec){ .tv_sec = INT64_MIN };
	CHECK(rtc_time_reg(0x32, &t) == 0x19 && rtc_time_reg(9, &t) == 0x70);
}

/* time() is the last tick's, which may be a second behind what the device says. */
static time_t seconds(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec;
}

/* As Linux reads it, against the host's clock. */
static void now(void)
{
	time_t before, after;
	struct tm tm = { 0 };
	uint8_t v[6];

	CHECK_EQ(rtc_new(&r), 0);
	before = seconds();
	for (;;) {
		static const uint8_t at[] = { 0, 2, 4, 7, 8, 9 };

		if (reg(0x0a) & 0x80)
			continue;
		for (unsigned i = 0; i < 6; i++)
			v[i] = reg(at[i]);
		if (!(reg(0x0a) & 0x80) && reg(0) == v[0])
			break;
	}
	after = seconds();
	for (unsigned i = 0; i < 6; i++)
		v[i] = (uint8_t)unbcd(v[i]);
	tm = (struct tm){ .tm_sec = v[0],
		.tm_min = v[1],
		.tm_hour = v[2],
		.tm_mday = v[3],
		.tm_mon = v[4] - 1,
		.tm_year = v[5] + 100 };
	CHECK(timegm(&tm) >= before && timegm(&tm) <= after);
	CHECK_EQ(reg(0x0b), 0x02); /* 24 hours, BCD */
	CHECK_EQ(reg(0x0d), 0x80);
	rtc_free(r);
}

/* The time is not the guest's to set, nor alarms; its bytes are. */
static void writes(void)
{
	uint8_t wide[2] = { 0x20, 0x20 }, none = 0;

	CHECK_EQ(rtc_new(&r), 0);
	set(0x0b, 0x7f);
	CHECK_EQ(reg(0x0b), 0x02);
	set(0x09, 0x11);
	CHECK(reg(0x09) != 0x11);
	set(0x05, 0x11);
	CHECK_EQ(reg(0x05), 0);
	CHECK_EQ(reg(0x0c), 0);
	set(0x32, 0x11);
	CHECK(reg(0x32) >= 0x20);
	for (unsigned i = 0x0e; i < 0x80; i++) {
		if (i == 0x32)
			continue;
		set((uint8_t)i, (uint8_t)(i ^ 0xff));
		CHECK_EQ(reg((uint8_t)(i | 0x80)), i ^ 0xff); /* that bit is no part of the index */
	}
	rtc_read(r, 0, &none, 1);
	CHECK_EQ(none, 0xff);
	rtc_write(r, 0, wide, 2);
	rtc_read(r, 1, wide, 2);
	CHECK(wide[0] == 0xff && wide[1] == 0xff);
	CHECK_EQ(reg(0x7f), 0x80);
	rtc_free(r);
}

static void saved_and_loaded(void)
{
	struct save_out o = { 0 };
	struct save_in in;

	CHECK_EQ(rtc_new(&r), 0);
	set(0x40, 0x42);
	rtc_save(r, &o);
	CHECK_EQ(o.err, 0);
	rtc_free(r);
	CHECK_EQ(rtc_new(&r), 0);
	in = (struct save_in){ .buf = o.buf, .len = o.len };
	CHECK_EQ(rtc_load(r, &in), 0);
	CHECK_EQ(reg(0x40), 0x42);
	for (size_t n = 0; n < o.len; n++) {
		in = (struct save_in){ .buf = o.buf, .len = n };
		CHECK(rtc_load(r, &in) < 0);
	}
	o.buf[16] = 0x80; /* an index that is none */
	in = (struct save_in){ .buf = o.buf, .len = o.len };
	CHECK_EQ(rtc_load(r, &in), -EINVAL);
	save_out_free(&o);
	rtc_free(r);
}

static const struct test_case cases[] = {
	TEST(times),
	TEST(calendar),
	TEST(update_in_progress),
	TEST(now),
	TEST(writes),
	TEST(saved_and_loaded),
};

TEST_MAIN(cases)
