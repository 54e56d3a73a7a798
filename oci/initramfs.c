// SPDX-License-Identifier: Apache-2.0
/* Writes the guest's initramfs: a cpio archive of three entries (format "newc", initramfs
 * buffer-format document). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "oci/initramfs.h"
#include "util/util.h"

/* The agent's bytes; AGENT_FILE is given by the build. */
__asm__(".section .rodata\n"
	".balign 16\n"
	".globl agent_image\n.hidden agent_image\n"
	".globl agent_image_end\n.hidden agent_image_end\n"
	"agent_image: .incbin \"" AGENT_FILE "\"\n"
	"agent_image_end:\n"
	".previous\n");

struct entry {
	const char *name;
	unsigned mode, major, minor;
	const void *data;
	size_t len;
};

#define HEADER 110

/* Appends one entry; @buf NULL only counts. Returns bytes. */
static size_t put(char *buf, const struct entry *e, unsigned ino)
{
	size_t name = strlen(e->name) + 1, head = ALIGN_UP(HEADER + name, (size_t)4),
	       data = ALIGN_UP(e->len, (size_t)4);

	if (buf) {
		char h[HEADER + 1];

		(void)snprintf(h, sizeof(h),
			"070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ino, e->mode,
			0, 0, 1, 0, (unsigned)e->len, 0, 0, e->major, e->minor, (unsigned)name, 0);
		(void)memset(buf, 0, head);
		(void)memcpy(buf, h, HEADER);
		(void)memcpy(buf + HEADER, e->name, name);
		if (e->len)
			(void)memcpy(buf + head, e->data, e->len);
		(void)memset(buf + head + e->len, 0, data - e->len);
	}
	return head + data;
}

void *initramfs_make(size_t *len)
{
	const struct entry entries[] = {
		{ .name = "dev", .mode = S_IFDIR | 0755 },
		{ .name = "dev/console", .mode = S_IFCHR | 0600, .major = 5, .minor = 1 },
		{ .name = "init",
			.mode = S_IFREG | 0755,
			.data = agent_image,
			.len = (size_t)(agent_image_end - agent_image) },
		{ .name = "TRAILER!!!" },
	};
	size_t total = 0, at = 0;
	char *buf;

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		total += put(NULL, &entries[i], (unsigned)i + 1);
	buf = malloc(total);
	if (!buf)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		at += put(buf + at, &entries[i], (unsigned)i + 1);
	*len = total;
	return buf;
}
