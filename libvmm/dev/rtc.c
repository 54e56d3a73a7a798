// SPDX-License-Identifier: Apache-2.0
/*
 * The clock of a PC: an MC146818 that tells the host's time.
 *
 * How it works: an index register, and what it points at: the time as it is when it is read, the
 * chip's control registers as constants, or the guest's bytes. The date is reckoned here: the C
 * library's gmtime_r() opens /etc/localtime, which may be an image's, on whichever thread calls it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dev/rtc.h"
#include "util/util.h"

#define R_SECONDS  0x00
#define R_MINUTES  0x02
#define R_HOURS	   0x04
#define R_WEEKDAY  0x06
#define R_DAY	   0x07
#define R_MONTH	   0x08
#define R_YEAR	   0x09
#define R_A	   0x0a
#define R_B	   0x0b
#define R_C	   0x0c
#define R_D	   0x0d
#define R_CENTURY  0x32
#define R_MEMORY   0x0e /* from here on the guest's bytes */
#define INDEX_MASK 0x7f /* the other bit masks the NMI of old machines */

#define A_UPDATING   0x80
#define A_32KHZ	     0x26
#define B_24_HOURS   0x02 /* and digits in BCD: no bit */
#define D_POWER_GOOD 0x80
/* A second changes within so much; who reads the clock looks at A_UPDATING before and after. The
 * chip takes 2.2 ms at most. */
#define UPDATE_NS 2200000
#define SECOND_NS 1000000000

#define TIME_MAX 253402300799LL /* the end of 9999, the last year that fits */
#define DAY_S	 86400

#define TAG_RTC SAVE_TAG('R', 'T', 'C', ' ')

struct rtc {
	pthread_mutex_t lock; /* guards all of it */
	uint8_t index;
	uint8_t memory[128]; /* from R_MEMORY on */
};

static uint8_t bcd(unsigned v)
{
	return (uint8_t)((v / 10 % 10) << 4 | v % 10);
}

struct date {
	unsigned year, month, day; /* month and day from 1 */
};

static bool is_leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* @days since 1970-01-01. */
static struct date date_of(unsigned days)
{
	static const uint8_t months[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	struct date d = { .year = 1970, .month = 1 };
	unsigned len;

	for (; days >= (len = is_leap(d.year) ? 366 : 365); d.year++)
		days -= len;
	for (; days >= (len = months[d.month - 1] + (d.month == 2 && is_leap(d.year))); d.month++)
		days -= len;
	d.day = days + 1;
	return d;
}

uint8_t rtc_time_reg(uint8_t index, const struct timespec *t)
{
	uint64_t s = t->tv_sec < 0 ? 0 : MIN((uint64_t)t->tv_sec, (uint64_t)TIME_MAX);
	unsigned days = (unsigned)(s / DAY_S), second = (unsigned)(s % DAY_S);
	struct date d = date_of(days);

	switch (index) {
	case R_SECONDS:
		return bcd(second % 60);
	case R_MINUTES:
		return bcd(second / 60 % 60);
	case R_HOURS:
		return bcd(second / 3600);
	case R_WEEKDAY:
		return bcd((days + 4) % 7 + 1); /* it began on a Thursday; 1 is Sunday */
	case R_DAY:
		return bcd(d.day);
	case R_MONTH:
		return bcd(d.month);
	case R_YEAR:
		return bcd(d.year % 100);
	case R_CENTURY:
		return bcd(d.year / 100);
	case R_A:
		return A_32KHZ | (t->tv_nsec >= SECOND_NS - UPDATE_NS ? A_UPDATING : 0);
	case R_B:
		return B_24_HOURS;
	case R_D:
		return D_POWER_GOOD;
	default: /* alarms, which are never set, and R_C: no interrupt has happened */
		return 0;
	}
}

static bool is_memory(uint8_t index)
{
	return index >= R_MEMORY && index != R_CENTURY;
}

int rtc_new(struct rtc **out)
{
	struct rtc *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	(void)pthread_mutex_init(&r->lock, NULL);
	*out = r;
	return 0;
}

void rtc_free(struct rtc *r)
{
	if (!r)
		return;
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

void rtc_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct rtc *r = arg;
	struct timespec now;

	memset(data, 0xff, len);
	/* the index cannot be read back */
	if (len != 1 || off != 1)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)pthread_mutex_lock(&r->lock);
	data[0] = is_memory(r->index) ? r->memory[r->index] : rtc_time_reg(r->index, &now);
	(void)pthread_mutex_unlock(&r->lock);
}

void rtc_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct rtc *r = arg;

	if (len != 1)
		return;
	(void)pthread_mutex_lock(&r->lock);
	if (!off)
		r->index = data[0] & INDEX_MASK;
	else if (is_memory(r->index))
		r->memory[r->index] = data[0];
	(void)pthread_mutex_unlock(&r->lock);
}

void rtc_save(struct rtc *r, struct save_out *o)
{
	size_t at = save_begin(o, TAG_RTC, 1);

	save_u8(o, r->index);
	save_bytes(o, r->memory, sizeof(r->memory));
	save_end(o, at);
}

int rtc_load(struct rtc *r, struct save_in *in)
{
	struct save_in sub;
	uint8_t index;

	if (!load_section(in, TAG_RTC, 1, &sub))
		return -EINVAL;
	index = load_u8(&sub);
	load_bytes(&sub, r->memory, sizeof(r->memory));
	r->index = index & INDEX_MASK;
	return index == r->index ? load_done(&sub) : -EINVAL;
}
