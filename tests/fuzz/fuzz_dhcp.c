// SPDX-License-Identifier: Apache-2.0
/* Fuzzes what the agent makes of a DHCP server's answer: a packet as the network brings it. Byte 0:
 * whether it answers our question, so that what is behind that check is reached. */
#include "init/dhcp.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client c = { .fd = -1, .mac = { 2, 0, 0, 0, 0, 1 }, .xid = { 1, 2, 3, 4 } };
	struct lease l;
	uint8_t *b;
	bool ours;

	if (!size)
		return 0;
	ours = data[0] & 1;
	data++;
	size--;
	/* as large as the packet, so that a byte too far shows */
	b = malloc(size);
	if (!b)
		return 0;
	memcpy(b, data, size);
	if (ours && size >= OPTIONS) {
		put16(b + 2, (unsigned)size);
		put16(b + UDP + 4, (unsigned)size - UDP);
		memcpy(b + XID, c.xid, sizeof(c.xid));
		memcpy(b + CHADDR, c.mac, sizeof(c.mac));
		memcpy(b + COOKIE, cookie, sizeof(cookie));
	}
	if (parse(&c, b, size, &l)) {
		if (!l.type || l.ndns > SERVERS)
			abort();
		if (write_servers("/dev/null", &l))
			abort();
	}
	free(b);
	return 0;
}
