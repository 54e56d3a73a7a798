// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: the devices of the machine as ACPI bytecode (ACPI 6.3, chapters 20 and 6.4).
 *
 * How it works: definitions alone, no methods. In the scope \_SB one device for each virtio-mmio
 * window (LNRO0005 is what Linux calls those), with its window and its interrupt, and one for each
 * serial port and the clock, by the names that PCs gave them; and the package
 * \_S5, which says what is written to the sleep register to switch off. A definition's length comes
 * in front of it; it is filled in when its end is known, always in the form of three bytes.
 */
#include <assert.h>
#include <string.h>

#include "arch/x86_64/x86.h"
#include "util/bytes.h"
#include "util/util.h"

#define AML_ZERO    0x00
#define AML_NAME    0x08
#define AML_BYTE    0x0a
#define AML_DWORD   0x0c
#define AML_STRING  0x0d
#define AML_SCOPE   0x10
#define AML_BUFFER  0x11
#define AML_PACKAGE 0x12
#define AML_EXT	    0x5b
#define AML_DEVICE  0x82 /* after AML_EXT */

#define RES_END		0x79
#define RES_IO		0x47
#define RES_MEM32_FIXED 0x86
#define RES_IRQ_EXT	0x89
#define MEM_WRITABLE	1
#define IRQ_CONSUMER	1
#define IRQ_EDGE	2 /* active high: no bit */
#define IRQ_SHARED	8
#define IO_DECODE_16	1

#define WINDOW_LEN 0x1000
#define PNP_UART   0x0501
#define PNP_RTC	   0x0b00

struct aml {
	uint8_t *b;
	unsigned len, max;
};

static void bytes(struct aml *a, const void *p, unsigned n)
{
	assert(n <= a->max - a->len); /* the caller's room is for the largest VM */
	memcpy(a->b + a->len, p, n);
	a->len += n;
}

static void byte(struct aml *a, uint8_t v)
{
	bytes(a, &v, 1);
}

static void dword(struct aml *a, uint32_t v)
{
	uint8_t d[4];

	put_le32(d, v);
	bytes(a, d, sizeof(d));
}

/* The length of a definition, counted from its own first byte on: begins here, ... */
static unsigned begin(struct aml *a)
{
	bytes(a, "\0\0\0", 3);
	return a->len - 3;
}

/* ... and is known here. */
static void end(struct aml *a, unsigned at)
{
	unsigned n = a->len - at;

	a->b[at] = (uint8_t)(2U << 6 | (n & 0xfU)); /* two more bytes */
	a->b[at + 1] = (uint8_t)(n >> 4);
	a->b[at + 2] = (uint8_t)(n >> 12);
}

static void name(struct aml *a, const char *seg)
{
	byte(a, AML_NAME);
	bytes(a, seg, 4);
}

static void name_byte(struct aml *a, const char *seg, uint8_t v)
{
	name(a, seg);
	byte(a, AML_BYTE);
	byte(a, v);
}

static void name_string(struct aml *a, const char *seg, const char *v)
{
	name(a, seg);
	byte(a, AML_STRING);
	bytes(a, v, (unsigned)strlen(v) + 1);
}

static unsigned device(struct aml *a, const char *seg)
{
	unsigned at;

	byte(a, AML_EXT);
	byte(a, AML_DEVICE);
	at = begin(a);
	bytes(a, seg, 4);
	return at;
}

static void res_mem(struct aml *r, uint32_t base)
{
	byte(r, RES_MEM32_FIXED);
	bytes(r, "\x09\0", 2);
	byte(r, MEM_WRITABLE);
	dword(r, base);
	dword(r, WINDOW_LEN);
}

static void res_irq(struct aml *r, unsigned gsi, uint8_t flags)
{
	byte(r, RES_IRQ_EXT);
	bytes(r, "\x06\0", 2);
	byte(r, IRQ_CONSUMER | IRQ_EDGE | flags);
	byte(r, 1); /* number of interrupts */
	dword(r, gsi);
}

static void res_io(struct aml *r, uint16_t port, uint8_t len)
{
	uint8_t d[4];

	put_le16(d, port); /* from, and to */
	put_le16(d + 2, port);
	byte(r, RES_IO);
	byte(r, IO_DECODE_16);
	bytes(r, d, sizeof(d));
	byte(r, 1); /* alignment */
	byte(r, len);
}

/* _CRS: a buffer of resources; its size is an object in front of its bytes. */
static void name_crs(struct aml *a, struct aml *r)
{
	unsigned at;

	byte(r, RES_END);
	byte(r, 0); /* no checksum */
	name(a, "_CRS");
	byte(a, AML_BUFFER);
	at = begin(a);
	byte(a, AML_BYTE);
	byte(a, (uint8_t)r->len);
	bytes(a, r->b, r->len);
	end(a, at);
}

static void add_vdev(struct aml *a, unsigned index, const struct arch_vdev *v)
{
	const char seg[4] = { 'V', 'R', (char)('0' + index / 10), (char)('0' + index % 10) };
	unsigned at = device(a, seg);
	uint8_t res[64];
	struct aml r = { .b = res, .max = sizeof(res) };

	name_string(a, "_HID", "LNRO0005");
	name_byte(a, "_UID", (uint8_t)index);
	res_mem(&r, (uint32_t)v->base); /* below the gap's end */
	res_irq(&r, v->gsi, 0);
	name_crs(a, &r);
	end(a, at);
}

/* The name of a device of PCs: "PNP" and four digits, packed as the EISA did. */
static void name_pnp(struct aml *a, const char *seg, uint16_t digits)
{
	name(a, seg);
	byte(a, AML_DWORD);
	bytes(a, "\x41\xd0", 2); /* "PNP", five bits each */
	byte(a, (uint8_t)(digits >> 8));
	byte(a, (uint8_t)digits);
}

static void add_uart(struct aml *a, unsigned index, const struct arch_uart *u)
{
	const char seg[4] = { 'C', 'O', 'M', (char)('1' + index) };
	unsigned at = device(a, seg);
	uint8_t res[64];
	struct aml r = { .b = res, .max = sizeof(res) };

	name_pnp(a, "_HID", PNP_UART);
	name_byte(a, "_UID", (uint8_t)(index + 1));
	res_io(&r, u->port, 8);
	res_irq(&r, u->gsi, IRQ_SHARED);
	name_crs(a, &r);
	end(a, at);
}

/* Without an interrupt, which it never gives. */
static void add_rtc(struct aml *a)
{
	unsigned at = device(a, "RTC_");
	uint8_t res[64];
	struct aml r = { .b = res, .max = sizeof(res) };

	name_pnp(a, "_HID", PNP_RTC);
	res_io(&r, arch_layout.rtc.port, 2);
	name_crs(a, &r);
	end(a, at);
}

unsigned x86_dsdt(const struct arch_boot_params *p, uint8_t *b, unsigned max)
{
	struct aml a = { .b = b, .max = max };
	unsigned at;

	byte(&a, AML_SCOPE);
	at = begin(&a);
	bytes(&a, "\\_SB_", 5);
	for (unsigned i = 0; i < p->nvdevs; i++)
		add_vdev(&a, i, &p->vdevs[i]);
	for (unsigned i = 0; i < p->nuarts; i++)
		add_uart(&a, i, &arch_layout.uarts[i]);
	if (p->rtc)
		add_rtc(&a);
	end(&a, at);

	name(&a, "_S5_");
	byte(&a, AML_PACKAGE);
	at = begin(&a);
	byte(&a, 2);
	byte(&a, AML_BYTE);
	byte(&a, X86_SLEEP_OFF);
	byte(&a, AML_ZERO);
	end(&a, at);
	return a.len;
}
