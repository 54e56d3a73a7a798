// SPDX-License-Identifier: Apache-2.0
/* The conversation of CLI and VMM process during create. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "oci/sync.h"
#include "util/log.h"

static int send_msg(int fd, const struct sync_msg *m)
{
	ssize_t n;

	do {
		n = send(fd, m, sizeof(*m), MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int sync_send(int fd, enum sync_type type)
{
	struct sync_msg m = { .type = type };

	return send_msg(fd, &m);
}

int sync_send_error(int fd, const struct error *e)
{
	struct sync_msg m = { .type = SYNC_ERROR, .code = e->code ? e->code : EIO };

	(void)snprintf(m.text, sizeof(m.text), "%s", e->msg);
	return send_msg(fd, &m);
}

int sync_send_warn(int fd, const char *text)
{
	struct sync_msg m = { .type = SYNC_WARN };

	(void)snprintf(m.text, sizeof(m.text), "%s", text);
	return send_msg(fd, &m);
}

int sync_wait(int fd, enum sync_type want, struct error *e)
{
	for (;;) {
		struct sync_msg m = { 0 };
		ssize_t n = recv(fd, &m, sizeof(m), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ECONNRESET,
				"the VMM process ended while the container was being created");
		if (n != (ssize_t)sizeof(m))
			return err_set(e, EPROTO, "the VMM process sent nonsense");
		m.text[sizeof(m.text) - 1] = 0;
		if (m.type == want)
			return 0;
		if (m.type == SYNC_WARN) {
			log_warn("%s", m.text);
			continue;
		}
		if (m.type == SYNC_ERROR)
			return err_set(e, m.code, "%s", m.text);
		return err_set(e, EPROTO, "the VMM process sent message %u, not %u", m.type, want);
	}
}
