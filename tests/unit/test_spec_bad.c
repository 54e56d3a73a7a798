// SPDX-License-Identifier: Apache-2.0
/* Every bad config gets its one sentence. `test_spec_bad --dump DIR` writes them as NAME.json and
 * NAME.want. */
#include <errno.h>

#include "oci/spec.h"
#include "oci/spec_limits.h"
#include "tests/unit/bad_configs/make.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"

/* One sentence with the file's name in front, whole, printable. */
static bool well_formed(const struct error *e)
{
	size_t n = strlen(e->msg);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)e->msg[i] < 0x20)
			return false;
	return n < ERR_MSG_MAX - 1 && !strncmp(e->msg, "config.json: ", 13);
}

static bool try_bad(const struct bad_config *b)
{
	CLEAN_FREE char *text = make_bad(b);
	CLEAN(spec_freep) struct spec *s = NULL;
	struct error e = { 0 };
	int r = spec_parse(text, strlen(text), &s, &e);

	if (r < 0 && r == -e.code && !s && well_formed(&e) && strstr(e.msg, b->want))
		return true;
	printf("# %s: r %d \"%s\", wanted \"%s\"\n", b->name, r, e.msg, b->want);
	return false;
}

static void bad_configs(void)
{
	unsigned bad = 0;

	for (size_t i = 0; i < ARRAY_SIZE(BAD_CONFIGS); i++)
		bad += !try_bad(&BAD_CONFIGS[i]);
	printf("# %zu configs\n", ARRAY_SIZE(BAD_CONFIGS));
	CHECK_EQ(bad, 0);
}

static bool try_refused(const struct bad_config *b)
{
	CLEAN_FREE char *text = make_bad(b);
	CLEAN(spec_freep) struct spec *s = NULL;
	struct error e = { 0 };
	int r = spec_parse(text, strlen(text), &s, &e);

	if (!r) {
		r = spec_refusals(s, &e);
		if (r == -ENOTSUP && well_formed(&e) && strstr(e.msg, b->want))
			return true;
	}
	printf("# %s: r %d \"%s\", wanted \"%s\"\n", b->name, r, e.msg, b->want);
	return false;
}

static void refused_configs(void)
{
	unsigned bad = 0;

	for (size_t i = 0; i < ARRAY_SIZE(REFUSED_CONFIGS); i++)
		bad += !try_refused(&REFUSED_CONFIGS[i]);
	printf("# %zu configs\n", ARRAY_SIZE(REFUSED_CONFIGS));
	CHECK_EQ(bad, 0);
}

/* Rows of the refusal table that no config above sets off. */
static void every_refusal_has_a_config(void)
{
	const char *field;

	for (size_t i = 0; (field = spec_refused_field(i)); i++) {
		bool found = false;
		char head[64];

		/* "mounts[].x" is reported as "mounts[0]...". */
		(void)snprintf(head, sizeof(head), "%.*s", (int)strcspn(field, "["), field);
		for (size_t k = 0; k < ARRAY_SIZE(REFUSED_CONFIGS); k++)
			found = found || !strncmp(REFUSED_CONFIGS[k].want, head, strlen(head)) ||
				!strncmp(REFUSED_CONFIGS[k].want, field, strlen(field));
		if (!found)
			printf("# no config for %s\n", field);
		CHECK(found);
	}
}

static char *repeat(const char *head, const char *piece, size_t n, const char *tail)
{
	size_t len = strlen(piece), at = strlen(head);
	char *s = malloc(at + n * len + strlen(tail) + 1);

	if (!s)
		abort();
	memcpy(s, head, at);
	for (size_t i = 0; i < n; i++, at += len)
		memcpy(s + at, piece, len);
	strcpy(s + at, tail);
	return s;
}

/* Documents that are wrong by their size; what each says. */
static void huge_configs(void)
{
	static const struct {
		const char *head, *piece;
		size_t n;
		const char *tail, *want;
	} HUGE[] = {
		{ "{\"a\":", "[", 100, "", "nested too deeply" },
		{ "{\"a\":", "{\"b\":", 200000, "", "nested too deeply" },
		{ "[", "[],", 300000, "[]]", "too many values" },
		{ "{\"a\":\"", "x", SPEC_LIM_STRING + 1, "\"}", "a: the string is too long" },
		{ "{\"", "x", SPEC_LIM_STRING + 1, "\":1}", "a key is too long" },
		{ "{\"a\":\"", "xxxxxxxx", SPEC_LIM_FILE / 8, "\"}", "larger than" },
		{ "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"", "x", 5000, "\"}}",
			"root.path: the path is longer" },
		{ "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"mounts\":[", "{},",
			SPEC_LIM_MOUNTS, "{}]}", "mounts: 4097 elements, at most 4096" },
		{ "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{"
		  "\"cwd\":\"/\",\"args\":[",
			"\"a\",", SPEC_LIM_ARGS, "\"a\"]}}", "process.args: 32769 elements" },
		{ "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{"
		  "\"cwd\":\"/\",\"args\":[",
			"\"01234567890123456789012345678901234567890123456789012345678901\",",
			32000, "\"a\"]}}", "process.args: args and env together" },
		{ "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"mounts\":[{"
		  "\"destination\":\"/",
			"x", 5000, "\"}]}", "mounts[0].destination: the path is longer" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(HUGE); i++) {
		CLEAN_FREE char *text =
			repeat(HUGE[i].head, HUGE[i].piece, HUGE[i].n, HUGE[i].tail);
		struct error e = { 0 };
		struct spec *s;

		CHECK(spec_parse(text, strlen(text), &s, &e) < 0);
		CHECK(!s && well_formed(&e));
		if (!strstr(e.msg, HUGE[i].want))
			printf("# %s\n", e.msg);
		CHECK(strstr(e.msg, HUGE[i].want));
	}
}

static void no_error_object(void)
{
	struct spec *s;

	CHECK_EQ(spec_parse("{}", 2, &s, NULL), -EINVAL);
	CHECK_EQ(spec_parse("{", 1, &s, NULL), -EINVAL);
	CHECK(!s);
}

static int dump_one(const char *dir, const char *name, const char *end, const char *text)
{
	CLEAN_FREE char *path = NULL;

	if (asprintf(&path, "%s/%s%s", dir, name, end) < 0)
		return 1;
	CLEAN_FILE FILE *f = fopen(path, "we");

	return !f || fputs(text, f) < 0;
}

static int dump(const char *dir)
{
	int bad = 0;

	for (size_t i = 0; i < ARRAY_SIZE(BAD_CONFIGS); i++) {
		CLEAN_FREE char *text = make_bad(&BAD_CONFIGS[i]);

		bad |= dump_one(dir, BAD_CONFIGS[i].name, ".json", text);
		bad |= dump_one(dir, BAD_CONFIGS[i].name, ".want", BAD_CONFIGS[i].want);
	}
	return bad;
}

static const struct test_case CASES[] = {
	TEST(bad_configs),
	TEST(refused_configs),
	TEST(every_refusal_has_a_config),
	TEST(huge_configs),
	TEST(no_error_object),
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--dump"))
		return dump(argv[2]);
	return test_run_(CASES, ARRAY_SIZE(CASES), argc, argv);
}
