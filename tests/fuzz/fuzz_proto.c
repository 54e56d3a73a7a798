// SPDX-License-Identifier: Apache-2.0
/* Fuzzes both ends of the agent's protocol: byte 0 chooses the reader, the rest is what the other
 * side sent. */
#include "init/proto/blob.h"
#include "init/proto/msg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink;

static void use(const char *s)
{
	sink += s ? strlen(s) : 0;
}

/* Reads every byte that the spec points to, so that a wrong bound shows. */
static void walk(const struct blob_view *s)
{
	for (size_t i = 0; i < s->nargs; i++)
		use(s->args[i]);
	for (size_t i = 0; i < s->nenv; i++)
		use(s->env[i]);
	for (size_t i = 0; i < s->ngids; i++)
		sink += s->gids[i];
	for (size_t i = 0; i < s->nbpf * 8; i++)
		sink += ((const uint8_t *)s->bpf)[i];
	for (size_t i = 0; i < s->nmounts; i++) {
		use(s->mounts[i].type);
		use(s->mounts[i].source);
		use(s->mounts[i].dest);
		use(s->mounts[i].data);
	}
	for (size_t i = 0; i < s->nmasked; i++)
		use(s->masked[i]);
	for (size_t i = 0; i < s->nreadonly; i++)
		use(s->readonly[i]);
	for (size_t i = 0; i < s->ndevices; i++)
		use(s->devices[i].path);
	for (size_t i = 0; i < s->nsysctls; i++) {
		use(s->sysctls[i].name);
		use(s->sysctls[i].value);
	}
	for (size_t i = 0; i < s->ncgroup; i++)
		use(s->cgroup[i].value);
	for (size_t i = 0; i < s->nhooks; i++) {
		use(s->hooks[i].path);
		for (char **v = s->hooks[i].args; *v; v++)
			use(*v);
		for (char **v = s->hooks[i].env; *v; v++)
			use(*v);
	}
	use(s->hook_state);
	use(s->cwd);
	use(s->root_type);
	use(s->root_data);
	use(s->hostname);
	use(s->domainname);
}

static void one_blob(const uint8_t *p, size_t n, uint16_t kind)
{
	uint8_t *copy = malloc(n ? n : 1);
	const char *why;
	struct blob_view s;

	if (!copy)
		return;
	memcpy(copy, p, n);
	/* The length is known to the outer message; the fuzzer need not guess it. */
	if (n >= sizeof(struct blob_hdr)) {
		uint32_t len = (uint32_t)n;

		memcpy(copy + 8, &len, sizeof(len));
	}
	if (!blob_read(copy, n, kind, &s, &why)) {
		walk(&s);
		blob_view_free(&s);
	} else {
		use(why);
	}
	free(copy);
}

static void messages(const uint8_t *p, size_t n, int from_guest)
{
	char text[MSG_TEXT_MAX + 1];
	const uint8_t *payload;
	struct msg_exit e;
	struct msg_rx rx;
	struct msg_hdr h;
	size_t room, k;
	uint8_t *to;
	int r = 0;

	msg_rx_init(&rx, from_guest ? MSG_MAX_TO_HOST : MSG_MAX, from_guest);
	while (n && !r) {
		to = msg_rx_space(&rx, &room);
		if (!to)
			break;
		k = p[0] + 1u;
		k = k < n ? k : n;
		k = k < room ? k : room;
		memcpy(to, p, k);
		msg_rx_add(&rx, k);
		p += k;
		n -= k;
		while ((r = msg_rx_next(&rx, &h, &payload)) == 1) {
			for (size_t i = 0; i < h.len - sizeof(h); i++)
				sink += payload[i];
			if (!msg_text(&h, payload, NULL, text))
				use(text);
			sink += (size_t)msg_take(&h, payload, &e, sizeof(e), NULL, NULL);
		}
	}
	msg_rx_free(&rx);
}

static void processes(const uint8_t *p, size_t n)
{
	char text[MSG_PS_TEXT + 1];
	struct msg_ps_proc one;

	while (msg_ps_next(&p, &n, &one, text) == 1)
		use(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proto_open o;

	if (!size)
		return 0;
	switch (data[0] % 7) {
	case 0:
	case 1:
	case 2:
		one_blob(data + 1, size - 1, (uint16_t)(BLOB_CREATE + data[0] % 7));
		break;
	case 3:
	case 4:
		messages(data + 1, size - 1, data[0] % 7 == 4);
		break;
	case 6:
		processes(data + 1, size - 1);
		break;
	default:
		if (size > sizeof(o)) {
			memcpy(&o, data + 1, sizeof(o));
			sink += (size_t)proto_open_check(&o);
		}
	}
	return 0;
}
