// SPDX-License-Identifier: Apache-2.0
/* The annotations krun-oci.virtiofs.dax, how large a window the guest has for the share's files,
 * and krun-oci.hugepages. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "oci/spec.h"
#include "util/err.h"
#include "util/util.h"

#define KEY	"krun-oci.virtiofs.dax"
#define MIB	(1ULL << 20)
#define RAM_MIN (512ULL << 20) /* a smaller guest has no memory to describe a window with */
#define RANGE	(2ULL << 20)

/* The guest's kernel takes 1/64 of a window from its RAM, and a moment of its start to fill it. */
static uint64_t part_of(uint64_t ram, unsigned part)
{
	return ram < RAM_MIN ? 0 : MIN(ALIGN_DOWN(ram / part, RANGE), LIM_FS_DAX_RANGES * RANGE);
}

int spec_dax(const struct spec *s, uint64_t ram, uint64_t *bytes, struct error *e)
{
	const char *text = spec_annotation(s, KEY);
	uint64_t max = part_of(ram, 2), mib = 0;
	size_t n;

	*bytes = 0;
	/* Only for who asks: docs/files.md says why. */
	if (!text || !strcmp(text, "off"))
		return 0;
	if (!strcmp(text, "on")) {
		*bytes = part_of(ram, 4);
		return 0;
	}
	n = strspn(text, "0123456789");
	if (n && n < 10 && !text[n])
		mib = strtoull(text, NULL, 10);
	if (!mib || mib * MIB % RANGE)
		return err_set(e, EINVAL,
			"config.json: annotations[\"" KEY
			"\"]: %.80s is none of on, off, an even number of MiB",
			text);
	if (mib * MIB > max)
		return err_set(e, EINVAL,
			"config.json: annotations[\"" KEY
			"\"]: %llu MiB are more than a guest of %llu MiB may have: half of its RAM, "
			"and of 512 MiB at least",
			(unsigned long long)mib, (unsigned long long)(ram / MIB));
	*bytes = mib * MIB;
	return 0;
}

int spec_hugepages(const struct spec *s, bool *huge, struct error *e)
{
	const char *text = spec_annotation(s, "krun-oci.hugepages");

	*huge = text && !strcmp(text, "on");
	if (!text || *huge || !strcmp(text, "off"))
		return 0;
	return err_set(e, EINVAL,
		"config.json: annotations[\"krun-oci.hugepages\"]: %.80s is neither on nor off",
		text);
}
