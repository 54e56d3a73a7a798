// SPDX-License-Identifier: Apache-2.0
/* The main program of a fuzz target where libFuzzer is not: replays a corpus, then mutations of it.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "fuzz/fuzz.h"

/*
 * How it works
 *
 *   fuzz_TOPIC [-n MUTATIONS] [FILE|DIR...]
 *
 * Without names the corpus is $srcdir/tests/fuzz/corpus/TOPIC. Every file is run as it is; then
 * MUTATIONS inputs are made from them by a generator that begins with the same number each time:
 * bytes changed, cut out, doubled, spliced from another file, numbers replaced by ones from a list
 * of boundaries. The input is a heap block of exactly its length, so that ASan sees a read past its
 * end. A target that aborts leaves what it was given in fuzz_TOPIC.last. A time limit of SECONDS
 * stops the mutations, never the corpus.
 */
#define INPUT_MAX   (1u << 20)
#define MUTATED_MAX 4096u
#define MUTATIONS   4000u
#define SECONDS	    20

struct input {
	uint8_t *data;
	size_t len;
};

static struct input *inputs;
static size_t n_inputs;
static uint64_t state = 0x9e3779b97f4a7c15u;
static uint8_t last[INPUT_MAX];
static size_t last_len;
static const char *topic;

static uint32_t rnd(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n ? (uint32_t)(state >> 20) % n : 0;
}

static void *need(void *p)
{
	FUZZ_CHECK(p != NULL);
	return p;
}

static void run_one(const uint8_t *data, size_t len)
{
	uint8_t *exact = need(malloc(len ? len : 1));

	memcpy(exact, data, len);
	memcpy(last, data, len);
	last_len = len;
	(void)LLVMFuzzerTestOneInput(exact, len);
	free(exact);
}

static void keep(const uint8_t *data, size_t len)
{
	inputs = need(realloc(inputs, (n_inputs + 1) * sizeof(*inputs)));
	inputs[n_inputs].data = need(malloc(len ? len : 1));
	memcpy(inputs[n_inputs].data, data, len);
	inputs[n_inputs++].len = len;
}

static void load_file(const char *path)
{
	static uint8_t buf[INPUT_MAX];
	FILE *f = fopen(path, "rbe");
	size_t n;

	if (!f) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	n = fread(buf, 1, sizeof(buf), f);
	(void)fclose(f);
	keep(buf, n);
}

/* A file, or every file of a directory, in the order of their names. */
static void load(const char *path)
{
	struct dirent **names;
	struct stat st;
	char sub[4096];
	int n;

	if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
		load_file(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	FUZZ_CHECK(n >= 0);
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.') {
			(void)snprintf(sub, sizeof(sub), "%s/%s", path, names[i]->d_name);
			load_file(sub);
		}
		free(names[i]);
	}
	free(names);
}

static size_t splice(uint8_t *buf, size_t len)
{
	const struct input *o = &inputs[rnd((uint32_t)n_inputs)];
	size_t at = rnd((uint32_t)len + 1), from = rnd((uint32_t)o->len + 1),
	       n = rnd((uint32_t)(o->len - from) + 1);

	if (n > MUTATED_MAX - at)
		n = MUTATED_MAX - at;
	memcpy(buf + at, o->data + from, n);
	return at + n > len ? at + n : len;
}

static void boundary(uint8_t *buf, size_t len)
{
	static const uint64_t values[] = { 0, 1, 2, 3, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0xfff, 0x1000,
		0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffff000, 0xffffffffffffffff };
	size_t width = 1u << rnd(4);
	uint64_t v = values[rnd(sizeof(values) / sizeof(values[0]))];

	if (width <= len)
		memcpy(buf + rnd((uint32_t)(len - width) + 1), &v, width);
}

static size_t change(uint8_t *buf, size_t len)
{
	size_t at = rnd((uint32_t)len),
	       n = len ? rnd((uint32_t)(len - at < 64 ? len - at : 64) + 1) : 0;

	switch (rnd(6)) {
	case 0:
		if (len)
			buf[at] ^= (uint8_t)(1u << rnd(8));
		break;
	case 1:
		if (len)
			buf[at] = (uint8_t)rnd(256);
		break;
	case 2: /* cut out */
		memmove(buf + at, buf + at + n, len - at - n);
		return len - n;
	case 3: /* double */
		if (n > MUTATED_MAX - len)
			n = MUTATED_MAX - len;
		memmove(buf + at + n, buf + at, len - at);
		return len + n;
	case 4:
		boundary(buf, len);
		break;
	default:
		return splice(buf, len);
	}
	return len;
}

static void mutate(unsigned count)
{
	static uint8_t buf[MUTATED_MAX];
	struct timespec t0, t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t0);
	for (unsigned i = 0; i < count; i++) {
		const struct input *in = &inputs[rnd((uint32_t)n_inputs)];
		size_t len = in->len < MUTATED_MAX ? in->len : MUTATED_MAX;

		memcpy(buf, in->data, len);
		for (unsigned k = 1 + rnd(8); k; k--)
			len = change(buf, len);
		run_one(buf, len);
		(void)clock_gettime(CLOCK_MONOTONIC, &t);
		if (t.tv_sec - t0.tv_sec >= SECONDS) {
			(void)printf(
				"# %s: %u of %u mutations in %d s\n", topic, i + 1, count, SECONDS);
			return;
		}
	}
	(void)printf("# %s: %u mutations\n", topic, count);
}

static void on_abort(void)
{
	char name[256];
	FILE *f;

	(void)snprintf(name, sizeof(name), "fuzz_%s.last", topic);
	f = fopen(name, "wbe");
	if (f) {
		(void)fwrite(last, 1, last_len, f);
		(void)fclose(f);
		(void)fprintf(stderr, "the input is in %s (%zu bytes)\n", name, last_len);
	}
}

static void on_signal(int sig)
{
	on_abort();
	(void)signal(sig, SIG_DFL);
	(void)raise(sig);
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/'), *dir = getenv("srcdir");
	unsigned count = MUTATIONS;
	char path[4096];
	struct stat st;
	int i = 1;

	base = base ? base + 1 : argv[0];
	topic = strncmp(base, "fuzz_", 5) ? base : base + 5;
	(void)signal(SIGABRT, on_signal);
	(void)signal(SIGSEGV, on_signal);
	if (argc > 2 && !strcmp(argv[1], "-n")) {
		count = (unsigned)strtoul(argv[2], NULL, 10);
		i = 3;
	}
	(void)snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", dir ? dir : ".", topic);
	if (i == argc && !stat(path, &st))
		load(path);
	for (; i < argc; i++)
		load(argv[i]);
	(void)printf("# %s: %zu files\n", topic, n_inputs);
	for (size_t k = 0; k < n_inputs; k++)
		run_one(inputs[k].data, inputs[k].len);
	keep((const uint8_t *)"", 0);
	mutate(count);
	for (size_t k = 0; k < n_inputs; k++)
		free(inputs[k].data);
	free(inputs);
	return 0;
}
