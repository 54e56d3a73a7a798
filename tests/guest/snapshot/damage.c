// SPDX-License-Identifier: Apache-2.0
/*
 * A saved VM that was damaged, or is loaded with another config: one error that says what is wrong,
 * and nothing left behind.
 *
 * How it works: first the damage that a checksum finds. Then the state is changed and the checksums
 * are made right again, as by somebody who writes such a file: a load may succeed then, since not
 * every value is wrong, but must end in an orderly way. All that is done to a copy without RAM,
 * which is quick. What loads is not run: a processor state that cannot be takes down the emulated
 * machine that this test may run in. tests/fuzz/fuzz_snapshot.c runs devices from damaged states.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/snapshot/damage.h"
#include "util/bytes.h"

#define HEAD	 48
#define STATE_AT 4096

struct snap {
	const struct guest_opts *o;
	int fd; /* the copy without RAM */
	uint8_t head[HEAD];
	uint8_t *state;
	size_t len;
	off_t size;
};

static void put_at(const struct snap *s, const void *p, size_t n, off_t at)
{
	if (pwrite(s->fd, p, n, at) != (ssize_t)n)
		die("write: %s", strerror(errno));
}

static uint64_t checksum(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

/* @head with a checksum that is right. */
static void put_head(const struct snap *s, uint8_t *head)
{
	put_le64(head + 40, checksum(head, 40));
	put_at(s, head, HEAD, 0);
}

static void expect(
	const struct snap *s, const struct guest_opts *o, const char *name, const char *why)
{
	struct error e = { 0 };
	struct vmm *vm = NULL;
	int r = guest_try_load(o, s->fd, 0, &vm, &e);

	vmm_free(vm);
	if (!r)
		die("%s: loads", name);
	if (!strstr(e.msg, why) || strchr(e.msg, '\n'))
		die("%s: the error is \"%s\", not one with \"%s\"", name, e.msg, why);
	(void)printf("# %s: %s\n", name, e.msg);
}

static void header(const struct snap *s)
{
	uint8_t h[HEAD];

	for (size_t i = 0; i < HEAD; i += 5) {
		(void)memcpy(h, s->head, HEAD);
		h[i] ^= 0x40;
		put_at(s, h, HEAD, 0);
		expect(s, s->o, "a flipped bit in the header",
			i < 8		 ? "not a saved VM"
				: i < 12 ? "version"
					 : "header");
	}
	(void)memset(h, 0, HEAD);
	put_at(s, h, HEAD, 0);
	expect(s, s->o, "no header", "not a saved VM");
	(void)memcpy(h, s->head, HEAD);
	put_le64(h + 16, 1ULL << 40);
	put_head(s, h);
	expect(s, s->o, "a state of 1 TiB", "header");
	(void)memcpy(h, s->head, HEAD);
	put_le64(h + 32, UINT64_MAX << 21);
	put_head(s, h);
	expect(s, s->o, "RAM at the end of the world", "shorter");
	put_at(s, s->head, HEAD, 0);
}

static void cut(const char *file, const struct snap *s)
{
	const off_t at[] = { 0, 20, STATE_AT - 1, STATE_AT + (off_t)s->len / 2, s->size - 4096 };
	const char *const why[] = { "not a saved VM", "not a saved VM", "state", "state",
		"shorter" };
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s.cut", file);
	for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		struct snap c = *s;
		off_t room =
			at[i] < (off_t)STATE_AT + (off_t)s->len ? at[i] : STATE_AT + (off_t)s->len;

		c.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (c.fd < 0)
			die("%s: %s", path, strerror(errno));
		put_at(&c, s->head, room < HEAD ? (size_t)room : HEAD, 0);
		if (room > STATE_AT)
			put_at(&c, s->state, (size_t)(room - STATE_AT), STATE_AT);
		if (ftruncate(c.fd, at[i]))
			die("%s: %s", path, strerror(errno));
		expect(&c, s->o, "a file that was cut short", why[i]);
		(void)close(c.fd);
	}
	(void)unlink(path);
}

static void other_config(const struct snap *s)
{
	struct guest_opts o = *s->o;

	o.vcpus++;
	expect(s, &o, "another number of vCPUs", "vCPUs");
	o = *s->o;
	o.mib += 2;
	expect(s, &o, "another size of RAM", "RAM");
	o = *s->o;
	o.disk = NULL;
	if (s->o->disk)
		expect(s, &o, "no disk, interface and balloon", "");
}

static uint32_t rnd(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static void put_all(const struct snap *s, const uint8_t *state)
{
	uint8_t h[HEAD];

	(void)memcpy(h, s->head, HEAD);
	put_le64(h + 24, checksum(state, s->len));
	put_at(s, state, s->len, STATE_AT);
	put_head(s, h);
}

static void mutate(const struct snap *s, unsigned mutations)
{
	unsigned loads = 0, errors = 0;
	uint8_t *m = malloc(s->len);
	uint32_t x = 2463534242U;

	if (!m)
		die("no memory");
	for (unsigned i = 0; i < mutations; i++) {
		struct error e = { 0 };
		struct vmm *vm = NULL;

		(void)memcpy(m, s->state, s->len);
		for (unsigned n = 1 + rnd(&x) % 3; n; n--) {
			/* the content of files, which is most of it, takes any byte */
			size_t at = rnd(&x) % (n % 2 ? s->len : s->len < 65536 ? s->len : 65536);
			uint8_t with[] = { 0, 0xff, (uint8_t)rnd(&x), (uint8_t)(m[at] + 1) };

			m[at] = with[rnd(&x) % 4];
		}
		put_all(s, m);
		if (guest_try_load(s->o, s->fd, 0, &vm, &e)) {
			errors++;
			if (!e.msg[0] || strchr(e.msg, '\n'))
				die("mutation %u: an error without words", i);
		} else {
			loads++;
		}
		vmm_free(vm);
	}
	free(m);
	(void)printf("%u damaged states: %u refused, %u loaded\n", mutations, errors, loads);
}

/* @whole without its RAM. */
static int copy_state(const struct snap *s, const char *file)
{
	char path[4096];
	struct snap c = *s;

	(void)snprintf(path, sizeof(path), "%s.state", file);
	c.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (c.fd < 0 || ftruncate(c.fd, s->size) || unlink(path))
		die("%s: %s", path, strerror(errno));
	put_all(&c, s->state);
	return c.fd;
}

void damage_all(const struct guest_opts *o, const char *file, unsigned mutations)
{
	int whole = open(file, O_RDWR | O_CLOEXEC);
	struct snap s = { .o = o, .fd = -1 };
	struct error e = { 0 };
	struct vmm *vm = NULL;
	struct stat st;
	uint8_t b;

	if (whole < 0 || fstat(whole, &st) || pread(whole, s.head, HEAD, 0) != HEAD)
		die("%s: %s", file, strerror(errno));
	s.size = st.st_size;
	s.len = get_le64(s.head + 16);
	s.state = malloc(s.len);
	if (!s.state || pread(whole, s.state, s.len, STATE_AT) != (ssize_t)s.len)
		die("%s: no state", file);
	s.fd = copy_state(&s, file);
	header(&s);
	for (size_t i = 0; i < s.len; i += s.len / 8) {
		b = s.state[i] ^ 1;
		put_at(&s, &b, 1, STATE_AT + (off_t)i);
		expect(&s, o, "a flipped bit in the state", "damaged state");
		put_at(&s, &s.state[i], 1, STATE_AT + (off_t)i);
	}
	cut(file, &s);
	other_config(&s);
	mutate(&s, mutations);
	if (guest_try_load(o, whole, 0, &vm, &e))
		die("the file as it was does not load: %s", e.msg);
	vmm_free(vm);
	free(s.state);
	(void)close(s.fd);
	(void)close(whole);
	(void)printf("every damage was found\n");
}
