// SPDX-License-Identifier: Apache-2.0
/* A cgroup's files as properties of a systemd unit. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "oci/cgroup_systemd.h"
#include "util/util.h"

/* Digits and nothing before them, as far as *@end. */
static bool digits(const char *s, uint64_t *v, const char **end)
{
	char *stop;

	/* neither a sign nor what the kernel takes for octal or hexadecimal */
	if (*s < '0' || *s > '9' || (*s == '0' && s[1] >= '0' && s[1] <= '9'))
		return false;
	errno = 0;
	*v = strtoull(s, &stop, 10);
	*end = stop;
	return !errno;
}

/* As the kernel reads sizes: "512M". */
static bool size_of(const char *s, uint64_t *v)
{
	static const char units[] = "KMGTPE";
	const char *end, *u;
	unsigned shift;

	if (!digits(s, v, &end))
		return false;
	if (!*end)
		return true;
	u = strchr(units, *end & ~0x20);
	if (!u || !*u || end[1])
		return false;
	shift = 10 * (unsigned)(u - units + 1);
	if (*v > UINT64_MAX >> shift)
		return false;
	*v <<= shift;
	return true;
}

static bool number_of(const char *s, uint64_t *v)
{
	const char *end;

	return digits(s, v, &end) && !*end;
}

const char *sd_number(const char *file, const char *value, uint64_t *v)
{
	/* systemd has a meaning of its own for what is below the least, or refuses it */
	static const struct {
		const char *file, *property;
		uint64_t least, most;
		bool max; /* "max" is a value, and so are units */
	} NUMBERS[] = {
		{ "memory.max", "MemoryMax", 1, UINT64_MAX, true },
		{ "memory.low", "MemoryLow", 0, UINT64_MAX, true },
		{ "memory.min", "MemoryMin", 0, UINT64_MAX, true },
		{ "memory.high", "MemoryHigh", 1, UINT64_MAX, true },
		{ "memory.swap.max", "MemorySwapMax", 0, UINT64_MAX, true },
		{ "cpu.weight", "CPUWeight", 1, 10000, false },
		{ "pids.max", "TasksMax", 1, UINT64_MAX, true },
		{ "io.weight", "IOWeight", 1, 10000, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(NUMBERS); i++) {
		const char *s = value;
		bool is;

		if (strcmp(file, NUMBERS[i].file) != 0)
			continue;
		if (!strcmp(file, "io.weight") && !strncmp(s, "default ", 8))
			s += 8;
		*v = UINT64_MAX;
		is = NUMBERS[i].max ? !strcmp(s, "max") || size_of(s, v) : number_of(s, v);
		return is && *v >= NUMBERS[i].least && *v <= NUMBERS[i].most ? NUMBERS[i].property
									     : NULL;
	}
	return NULL;
}

bool sd_quota(const char *value, uint64_t *per_sec, uint64_t *period)
{
	uint64_t quota = UINT64_MAX;
	const char *end = value;

	*period = 100000;
	if (!strncmp(value, "max", 3))
		end += 3;
	else if (!digits(value, &quota, &end) || !quota || quota > UINT64_MAX / 1000000)
		return false;
	if (*end == ' ' && !number_of(end + 1, period))
		return false;
	if ((*end && *end != ' ') || !*period)
		return false;
	*per_sec = quota == UINT64_MAX ? quota : (quota * 1000000 / *period + 9999) / 10000 * 10000;
	return true;
}

size_t sd_bitmap(const char *list, uint8_t *out, size_t size)
{
	size_t len = 0;

	(void)memset(out, 0, size);
	for (const char *p = list; *p;) {
		char *end;
		unsigned long a = strtoul(p, &end, 10), b = a;

		if (end == p)
			return 0;
		if (*end == '-') {
			p = end + 1;
			b = strtoul(p, &end, 10);
			if (end == p)
				return 0;
		}
		if (b < a || b >= size * 8)
			return 0;
		for (unsigned long i = a; i <= b; i++)
			out[i / 8] |= (uint8_t)(1U << i % 8);
		len = MAX(len, b / 8 + 1);
		if (*end && *end != ',')
			return 0;
		p = *end ? end + 1 : end;
	}
	return len;
}
