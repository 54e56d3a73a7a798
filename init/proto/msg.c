// SPDX-License-Identifier: Apache-2.0
/* Control messages and stream openings: framing, checks, text. */
/*
 * How it works
 *
 * Both ends compile this, and each distrusts the other: a header is legal or not by direction alone
 * (the guest sends replies and events, the host requests), and is checked before its length makes
 * the buffer grow. Taken messages are skipped over by moving .start; the rest is moved to the front
 * when room is needed, or when the next message would not be aligned for its structs.
 *
 * The token is compared in constant time. Text from the guest ends in the host's terminals and
 * logs, so msg_text() bounds it and replaces control characters.
 */
#include "msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RX_FIRST 4096u

int msg_hdr_check(const struct msg_hdr *h, uint32_t max, int from_guest)
{
	int request = (h->type >= MSG_HELLO && h->type <= MSG_REQUEST_LAST) || h->type == MSG_PS;
	int event = h->type >= MSG_EXIT && h->type <= MSG_EVENT_LAST;

	if (h->len < sizeof(*h) || h->len > max)
		return -EPROTO;
	if (from_guest) {
		if (h->flags == MSG_F_REPLY)
			return request && h->seq && h->status <= 0 && h->status > -4096 ? 0
											: -EPROTO;
		return h->flags == MSG_F_EVENT && event && !h->seq && !h->status ? 0 : -EPROTO;
	}
	return !h->flags && request && h->seq && !h->status ? 0 : -EPROTO;
}

void msg_rx_init(struct msg_rx *rx, uint32_t max, int from_guest)
{
	memset(rx, 0, sizeof(*rx));
	rx->max = max;
	rx->from_guest = from_guest;
}

void msg_rx_free(struct msg_rx *rx)
{
	free(rx->buf);
	memset(rx, 0, sizeof(*rx));
}

static int rx_header(const struct msg_rx *rx, struct msg_hdr *h)
{
	if (rx->end - rx->start < sizeof(*h))
		return 0;
	memcpy(h, rx->buf + rx->start, sizeof(*h));
	return 1;
}

void *msg_rx_space(struct msg_rx *rx, size_t *room)
{
	size_t want = rx->max < RX_FIRST ? rx->max : RX_FIRST;
	struct msg_hdr h;
	uint8_t *p;

	if (rx->start) {
		memmove(rx->buf, rx->buf + rx->start, rx->end - rx->start);
		rx->end -= rx->start;
		rx->start = 0;
	}
	/* Only a length that msg_rx_next() would accept makes the buffer grow. */
	if (rx_header(rx, &h) && !msg_hdr_check(&h, rx->max, rx->from_guest) && h.len > want)
		want = h.len;
	if (want > rx->cap) {
		p = realloc(rx->buf, want);
		if (!p) {
			*room = 0;
			return NULL;
		}
		rx->buf = p;
		rx->cap = want;
	}
	*room = rx->cap - rx->end;
	return *room ? rx->buf + rx->end : NULL;
}

void msg_rx_add(struct msg_rx *rx, size_t n)
{
	rx->end += n;
}

int msg_rx_next(struct msg_rx *rx, struct msg_hdr *hdr, const uint8_t **payload)
{
	if (!rx_header(rx, hdr))
		return 0;
	if (msg_hdr_check(hdr, rx->max, rx->from_guest))
		return -EPROTO;
	if (hdr->len > rx->end - rx->start)
		return 0;
	if (rx->start % 8) {
		memmove(rx->buf, rx->buf + rx->start, rx->end - rx->start);
		rx->end -= rx->start;
		rx->start = 0;
	}
	*payload = rx->buf + rx->start + sizeof(*hdr);
	rx->start += hdr->len;
	return 1;
}

void proto_open_fill(
	struct proto_open *o, uint16_t kind, const uint8_t *token, uint32_t proc, uint32_t fd)
{
	memset(o, 0, sizeof(*o));
	o->magic = PROTO_MAGIC;
	o->version = PROTO_VERSION;
	o->kind = kind;
	if (token)
		memcpy(o->token, token, sizeof(o->token));
	o->proc = proc;
	o->fd = fd;
}

int proto_open_check(const struct proto_open *o)
{
	if (o->magic != PROTO_MAGIC)
		return -EPROTO;
	if (o->version != PROTO_VERSION)
		return -EPROTONOSUPPORT;
	if (o->kind == PROTO_CONTROL)
		return o->proc || o->fd || o->offset ? -EPROTO : 0;
	if (o->kind == PROTO_STREAM)
		return o->proc && o->fd < PROTO_FD_LIMIT ? 0 : -EPROTO;
	return -EPROTO;
}

int proto_token_eq(const uint8_t a[PROTO_TOKEN_LEN], const uint8_t b[PROTO_TOKEN_LEN])
{
	volatile uint8_t diff = 0;

	for (int i = 0; i < PROTO_TOKEN_LEN; i++)
		diff |= a[i] ^ b[i];
	return !diff;
}

int msg_take(const struct msg_hdr *hdr, const uint8_t *payload, void *out, size_t size,
	const uint8_t **rest, size_t *rest_len)
{
	size_t len = hdr->len - sizeof(*hdr);

	if (hdr->len < sizeof(*hdr) || len < size || (!rest && len != size))
		return -EPROTO;
	if (size)
		memcpy(out, payload, size);
	if (rest) {
		*rest = payload + size;
		*rest_len = len - size;
	}
	return 0;
}

static void copy_text(char *text, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text[i] = p[i] < 0x20 || p[i] == 0x7f ? '?' : (char)p[i];
	text[n] = 0;
}

int msg_text(const struct msg_hdr *hdr, const uint8_t *payload, uint32_t *stage,
	char text[MSG_TEXT_MAX + 1])
{
	struct msg_error e;
	const uint8_t *p;
	size_t n;

	if (hdr->type == MSG_LOG) {
		if (msg_take(hdr, payload, NULL, 0, &p, &n))
			return -EPROTO;
	} else {
		if (msg_take(hdr, payload, &e, sizeof(e), &p, &n) || e.text_len != n)
			return -EPROTO;
		if (e.stage < MSG_STAGE_PROTO || e.stage > MSG_STAGE_EXEC)
			return -EPROTO;
		if (stage)
			*stage = e.stage;
	}
	if (n > MSG_TEXT_MAX)
		return -EPROTO;
	copy_text(text, p, n);
	return 0;
}

int msg_ps_next(const uint8_t **p, size_t *n, struct msg_ps_proc *out, char text[MSG_PS_TEXT + 1])
{
	size_t padded;

	if (!*n)
		return 0;
	if (*n < sizeof(*out))
		return -EPROTO;
	memcpy(out, *p, sizeof(*out));
	padded = ((size_t)out->text_len + 7) & ~(size_t)7;
	if (!out->pid || !out->text_len || out->text_len > MSG_PS_TEXT ||
		padded > *n - sizeof(*out))
		return -EPROTO;
	copy_text(text, *p + sizeof(*out), out->text_len);
	*p += sizeof(*out) + padded;
	*n -= sizeof(*out) + padded;
	return 1;
}
