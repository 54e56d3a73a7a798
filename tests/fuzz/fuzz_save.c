// SPDX-License-Identifier: Apache-2.0
/* The reader of the saved form on any bytes: it never leaves them, and an error sticks. */
#include <errno.h>

#include "fuzz/fuzz.h"
#include "util/save.h"

static void walk(struct save_in *s, struct fuzz_in *in, unsigned depth)
{
	while (in->left) {
		size_t pos = s->pos, n = 0;
		struct save_in sub;
		uint8_t buf[64], op = fuzz_u8(in);
		int err = s->err;
		const uint8_t *p;

		switch (op % 8) {
		case 0:
			(void)load_u8(s);
			break;
		case 1:
			(void)load_u16(s);
			break;
		case 2:
			(void)load_u32(s);
			break;
		case 3:
			(void)load_u64(s);
			break;
		case 4:
			load_bytes(s, buf, op >> 3);
			break;
		case 5:
			p = load_blob(s, op >> 3, &n);
			FUZZ_CHECK(n <= (unsigned)op >> 3);
			FUZZ_CHECK(!p || range_ok((uint64_t)(p - s->buf), n, s->len));
			break;
		case 6:
			if (load_section(s, fuzz_u32(in), 3, &sub)) {
				FUZZ_CHECK(range_ok((uint64_t)(sub.buf - s->buf), sub.len, s->len));
				if (depth < 8)
					walk(&sub, in, depth + 1);
			} else {
				FUZZ_CHECK(s->err && sub.err && !load_u8(&sub));
			}
			break;
		default:
			return;
		}
		FUZZ_CHECK(s->pos <= s->len && s->pos >= pos);
		FUZZ_CHECK(!err || (s->err == err && s->pos == pos));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t cut = len ? MIN(data[0], len - 1) : 0;
	struct save_in s = { .len = cut };
	struct fuzz_in in = { data + 1 + cut, len ? len - 1 - cut : 0 };
	uint8_t *copy;

	if (!len)
		return 0;
	copy = malloc(cut ? cut : 1);
	FUZZ_CHECK(copy != NULL);
	memcpy(copy, data + 1, cut);
	s.buf = copy;
	walk(&s, &in, 0);
	FUZZ_CHECK(load_done(&s) <= 0);
	free(copy);
	return 0;
}
