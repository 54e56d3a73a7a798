/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of a PC (Motorola MC146818 and its 128 bytes of memory) at two ports: an index, and
 * what it points at.
 *
 * It tells the host's time, as UTC. What a guest writes there is not kept, and no alarm or periodic
 * interrupt ever comes: the registers that ask for one read back as if nobody had. The bytes that
 * mean nothing to the chip are the guest's to keep things in.
 *
 * rtc_read() and rtc_write() run on whichever vCPU trapped, everything else while vCPUs are parked.
 */
#ifndef KRUN_DEV_RTC_H
#define KRUN_DEV_RTC_H

#include <stdint.h>
#include <time.h>

#include "util/save.h"

#define RTC_PORTS_LEN 2

struct rtc;

int rtc_new(struct rtc **out); /* -ENOMEM */
void rtc_free(struct rtc *r);  /* NULL is fine */

/* For struct bus_ops: @arg is the struct rtc. Other lengths than 1 read as all ones, and write
 * nothing. */
void rtc_read(void *arg, uint64_t off, uint8_t *data, unsigned len);
void rtc_write(void *arg, uint64_t off, const uint8_t *data, unsigned len);

/* What register @index says at the time @t; pure, for tests. */
uint8_t rtc_time_reg(uint8_t index, const struct timespec *t);

void rtc_save(struct rtc *r, struct save_out *o);
int rtc_load(struct rtc *r, struct save_in *in) NODISCARD;

#endif
