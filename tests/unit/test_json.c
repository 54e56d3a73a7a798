// SPDX-License-Identifier: Apache-2.0
/* The JSON reader, its text rules, the writer, `features` and the log's lines. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "oci/json.h"
#include "oci/json_text.h"
#include "oci/json_write.h"
#include "oci/log.h"
#include "oci/spec.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"

static void tree(void)
{
	static const char T[] =
		" {\"a\":[1,\"x\",true,null,{\"b c\":-2}],\"\":0,\"e\":\"\\u20ac\\ud83d\\ude00\"} ";
	CLEAN(json_freep) struct json_doc *d = NULL;
	const struct json *a, *n;
	char path[JSON_PATH_MAX];
	int64_t v;

	CHECK_EQ(json_parse("f", T, strlen(T), &d, NULL), 0);
	a = json_get(json_root(d), "a");
	CHECK(a && a->type == JSON_ARRAY);
	CHECK_EQ(a->n, 5);
	n = a->child->next->next->next->next;
	CHECK(!n->next && n->index == 4);
	CHECK_STR(json_path(n->child, NULL, path), "f: a[4][\"b c\"]");
	CHECK_STR(json_path(n, "x", path), "f: a[4].x");
	CHECK_STR(json_path(json_root(d), NULL, path), "f");
	CHECK_STR(json_path(json_root(d), "x", path), "f: x");
	CHECK(json_get_i64(n, "b c", &v));
	CHECK_EQ(v, -2);
	CHECK(!json_get_i64(json_root(d), "e", &v));
	CHECK(json_get(json_root(d), ""));
	CHECK_STR(json_get_string(json_root(d), "e"), "\xe2\x82\xac\xf0\x9f\x98\x80");
	CHECK(!json_get(a, "a") && !json_get(NULL, "a"));
}

/* A path longer than its buffer is cut, whatever its parts. */
static void long_paths(void)
{
	char text[2000] = "";
	CLEAN(json_freep) struct json_doc *d = NULL;
	const struct json *n;
	char path[JSON_PATH_MAX];

	for (int i = 0; i < 60; i++)
		strcat(text, "{\"01234567890123456789\":");
	strcat(text, "1");
	for (int i = 0; i < 60; i++)
		strcat(text, "}");
	CHECK_EQ(json_parse("f", text, strlen(text), &d, NULL), 0);
	for (n = json_root(d); n->child; n = n->child)
		;
	CHECK_EQ(strlen(json_path(n, "member", path)), JSON_PATH_MAX - 1);
}

static void whole_numbers(void)
{
	static const struct {
		const char *s;
		int r;
		bool neg;
		uint64_t m;
	} T[] = {
		{ "0", 0, false, 0 },
		{ "-0", 0, false, 0 },
		{ "0e999999", 0, false, 0 },
		{ "12", 0, false, 12 },
		{ "-9223372036854775808", 0, true, 1ULL << 63 },
		{ "18446744073709551615", 0, false, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, false, 0 },
		{ "1e3", 0, false, 1000 },
		{ "1E+3", 0, false, 1000 },
		{ "1.5e1", 0, false, 15 },
		{ "100e-2", 0, false, 1 },
		{ "1.000", 0, false, 1 },
		{ "1.0e19", 0, false, 10000000000000000000ULL },
		{ "1e20", -ERANGE, false, 0 },
		{ "1e999999999999", -ERANGE, false, 0 },
		{ "1.5", -EDOM, false, 0 },
		{ "1e-1", -EDOM, false, 0 },
		{ "1e-999999999999", -EDOM, false, 0 },
		{ "-1.05e1", -EDOM, true, 0 },
		{ "123456789012345678901234567890", -ERANGE, false, 0 },
		{ "0.00000000000000000000000000000000000012e38", 0, false, 12 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(T); i++) {
		uint64_t m = 0;
		bool neg;

		CHECK_EQ(json_whole(T[i].s, &neg, &m), T[i].r);
		if (!T[i].r)
			CHECK(m == T[i].m && neg == T[i].neg);
	}
}

/* Against the definition, over every sequence of two bytes and the borders of longer ones. */
static void utf8(void)
{
	static const char *const GOOD[] = { "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
		"\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf" };
	static const char *const BAD[] = { "\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
		"\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82",
		"\xf0\x9f\x98", "\xe2\x28\xa1", "\xff" };

	for (unsigned i = 0; i < 65536; i++) {
		char s[2] = { (char)(i >> 8), (char)i };
		bool two = (i >> 8) >= 0xc2 && (i >> 8) <= 0xdf && (i & 0xc0) == 0x80;
		bool ascii = (i >> 8) < 0x80 && (i & 0xff) < 0x80;

		CHECK_EQ(utf8_check(s, 2) == 2, two || ascii);
	}
	for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++)
		CHECK_EQ(utf8_step(GOOD[i], strlen(GOOD[i])), strlen(GOOD[i]));
	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
		CHECK_EQ(utf8_step(BAD[i], strlen(BAD[i])), 0);
}

static void quoting(void)
{
	char buf[QUOTE_MAX], all[256];

	CHECK_STR(QUOTE("a\"b\\c\n\xff\xc3\xa9"), "\"a\\\"b\\\\c\\x0a\\xff\xc3\xa9\"");
	for (size_t n = 0; n < 255; n++) {
		memset(all, '\x01', n);
		all[n] = '\0';
		(void)text_quote(buf, sizeof(buf), all);
		CHECK(strlen(buf) < sizeof(buf) && buf[strlen(buf) - 1] == '"');
	}
	CHECK(strstr(buf, "..."));
}

static void writing(void)
{
	struct json_writer w;
	CLEAN_FREE char *line = NULL;
	CLEAN_FREE char *pretty = NULL;
	CLEAN_FREE char *list = NULL;
	size_t len;

	jw_init(&w, false);
	jw_object(&w, NULL);
	jw_string(&w, "s", "a\"\\\n\t\x01\x7f\xff\xc3\xa9");
	jw_opt_string(&w, "none", NULL);
	jw_array(&w, "l");
	jw_u64(&w, NULL, UINT64_MAX);
	jw_i64(&w, NULL, INT64_MIN);
	jw_end(&w);
	jw_object(&w, "e");
	jw_end(&w);
	jw_bool(&w, "t", true);
	CHECK_EQ(jw_finish(&w, &line, &len), 0);
	CHECK_STR(line,
		"{\"s\":\"a\\\"\\\\\\n\\t\\u0001\\u007f\xef\xbf\xbd\xc3\xa9\","
		"\"l\":[18446744073709551615,-9223372036854775808],\"e\":{},\"t\":true}\n");
	CHECK_EQ(len, strlen(line));
	jw_init(&w, true);
	jw_object(&w, NULL);
	jw_array(&w, "a");
	jw_u64(&w, NULL, 1);
	jw_end(&w);
	CHECK_EQ(jw_finish(&w, &pretty, NULL), 0);
	CHECK_STR(pretty, "{\n    \"a\": [\n        1\n    ]\n}\n");
	jw_init(&w, false);
	jw_array(&w, NULL);
	CHECK_EQ(jw_finish(&w, &list, NULL), 0);
	CHECK_STR(list, "[]\n");
}

/* What is written can be read: every byte value in a string, deep nesting up to the writer's bound.
 */
static void round_trip(void)
{
	struct json_writer w;
	CLEAN_FREE char *text = NULL;
	CLEAN(json_freep) struct json_doc *d = NULL;
	char all[256], *none = NULL;
	size_t len;

	for (int i = 0; i < 255; i++)
		all[i] = (char)(i + 1);
	all[127] = '\0'; /* the ASCII half comes back as it was */
	jw_init(&w, true);
	jw_object(&w, NULL);
	jw_string(&w, all, all);
	jw_array(&w, "deep");
	for (int i = 0; i < 60; i++)
		jw_array(&w, NULL);
	CHECK_EQ(jw_finish(&w, &text, &len), 0);
	CHECK_EQ(json_parse("t", text, len, &d, NULL), 0);
	CHECK_STR(json_get_string(json_root(d), all), all);
	jw_init(&w, false);
	for (int i = 0; i < 65; i++)
		jw_array(&w, NULL);
	CHECK_EQ(jw_finish(&w, &none, &len), -ENOMEM);
	CHECK(!none);
}

static bool refused_for(const char *type, const char *word)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	char text[512];

	(void)snprintf(text, sizeof(text),
		"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"mounts\":[{\"destination\":\"/x\","
		"\"type\":\"%s\",\"source\":\"/s\",\"options\":[\"%s\"]}],"
		"\"linux\":{\"namespaces\":[{\"type\":\"user\"}]}}",
		type, word);
	return spec_parse(text, strlen(text), &s, NULL) || spec_refusals(s, NULL);
}

static bool refused_option(const char *word)
{
	return refused_for("bind", word) && refused_for("tmpfs", word);
}

static void features(void)
{
	static const char *const unsafe[] = { "krun.", "krun-oci.", "run.oci.",
		"io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType" };
	CLEAN_FREE char *text = NULL;
	CLEAN(json_freep) struct json_doc *d = NULL;
	const struct json *l, *s, *o;
	bool rro = false, lazy = false;
	size_t len;

	CHECK_EQ(features_json("1.2.3", &text, &len), 0);
	CHECK_EQ(json_parse("features", text, len, &d, NULL), 0);
	CHECK_STR(json_get_string(json_root(d), "ociVersionMin"), "1.0.0");
	CHECK_STR(json_get_string(json_root(d), "ociVersionMax"), SPEC_VERSION);
	CHECK(json_get(json_root(d), "hooks"));
	json_for_each(o, json_get(json_root(d), "mountOptions")) rro =
		rro || !strcmp(o->text, "rro");
	CHECK(rro);
	json_for_each(o, json_get(json_root(d), "mountOptions")) lazy =
		lazy || !strcmp(o->text, "lazytime");
	CHECK(lazy);
	/* what a config is refused for is not announced */
	json_for_each(o, json_get(json_root(d), "mountOptions")) CHECK(!refused_option(o->text));
	/* what an image could do with annotations of its own */
	for (size_t i = 0; i < ARRAY_SIZE(unsafe); i++) {
		bool there = false;

		json_for_each(o, json_get(json_root(d), "potentiallyUnsafeConfigAnnotations"))
			there = there || !strcmp(o->text, unsafe[i]);
		CHECK(there);
	}
	l = json_get(json_root(d), "linux");
	CHECK(json_get(json_get(l, "cgroup"), "v2")->boolean);
	CHECK(!json_get(json_get(l, "cgroup"), "v1")->boolean);
	CHECK_EQ(json_get(l, "capabilities")->n, 41);
	s = json_get(l, "seccomp");
	CHECK(json_get(s, "enabled")->boolean);
	json_for_each(o, json_get(s, "actions")) CHECK(strcmp(o->text, "SCMP_ACT_NOTIFY") ||
		!spec_is_refused("linux.seccomp.listenerPath"));
	CHECK_EQ(json_get(json_get(json_get(l, "mountExtensions"), "idmap"), "enabled")->boolean,
		true);
	CHECK_STR(json_get_string(json_get(json_root(d), "annotations"), "krun-oci.version"),
		"1.2.3");
}

static void log_lines(void)
{
	char buf[OCI_LOG_LINE], big[4096];
	CLEAN(json_freep) struct json_doc *d = NULL;
	size_t n = oci_log_format(buf, true, OCI_ERROR, "a \"b\"\n\xff"), y;
	const char *t;

	CHECK_EQ(n, strlen(buf));
	CHECK_EQ(json_parse("log", buf, n, &d, NULL), 0);
	CHECK_EQ(json_root(d)->n, 3);
	CHECK_STR(json_get_string(json_root(d), "msg"), "a \"b\"\n\xef\xbf\xbd");
	CHECK_STR(json_get_string(json_root(d), "level"), "error");
	t = json_get_string(json_root(d), "time");
	CHECK(t && strlen(t) == 27 && t[10] == 'T' && t[19] == '.' && t[26] == 'Z');
	y = (size_t)atoi(t);
	CHECK(y >= 2020 && y < 2200);
	json_free(d);
	d = NULL;
	for (int fill = 1; fill < 128; fill++) {
		memset(big, fill, sizeof(big) - 1);
		big[sizeof(big) - 1] = '\0';
		n = oci_log_format(buf, true, OCI_DEBUG, big);
		CHECK(n < sizeof(buf) && buf[n - 1] == '\n');
		CHECK_EQ(json_parse("log", buf, n, &d, NULL), 0);
		json_free(d);
		d = NULL;
		n = oci_log_format(buf, false, OCI_DEBUG, big);
		CHECK(n < sizeof(buf) && strchr(buf, '\n') == buf + n - 1);
	}
}

/* A failed command leaves one object in the file, whatever was said before. */
static void log_file(void)
{
	char path[] = "/tmp/test_log.XXXXXX", buf[2048];
	CLEAN_FD int fd = mkstemp(path);
	CLEAN(json_freep) struct json_doc *d = NULL;
	struct error e = { 0 };
	ssize_t n;

	CHECK(fd >= 0);
	CHECK_EQ(oci_log_open(path, "json", NULL, NULL), 0);
	CHECK(oci_log_fd() >= 0);
	CHECK(fcntl(oci_log_fd(), F_GETFD) & FD_CLOEXEC);
	oci_log(OCI_WARNING, "not %s", "this");
	oci_log_sink(LOG_ERROR, "nor this");
	oci_log_fail("but this");
	oci_log_close();
	n = read(fd, buf, sizeof(buf));
	CHECK(n > 0);
	CHECK_EQ(json_parse("log", buf, (size_t)n, &d, NULL), 0);
	CHECK_STR(json_get_string(json_root(d), "msg"), "but this");
	json_free(d);
	d = NULL;
	/* a process that no command speaks for speaks for itself */
	CHECK_EQ(oci_log_open(path, "json", NULL, NULL), 0);
	oci_log_alone();
	oci_log_sink(LOG_WARN, "still not this");
	oci_log_sink(LOG_ERROR, "and this");
	oci_log_close();
	n = read(fd, buf, sizeof(buf));
	CHECK(n > 0);
	CHECK_EQ(json_parse("log", buf, (size_t)n, &d, NULL), 0);
	CHECK_STR(json_get_string(json_root(d), "msg"), "and this");
	(void)unlink(path);
	CHECK_EQ(oci_log_open(NULL, "xml", NULL, &e), -EINVAL);
	CHECK_STR(e.msg, "unknown log format \"xml\"");
	CHECK_EQ(oci_log_open(NULL, NULL, "loud", NULL), -EINVAL);
	CHECK_EQ(oci_log_open("/nonexistent/x", NULL, NULL, NULL), -ENOENT);
	CHECK_EQ(oci_log_fd(), -1);
}

static const struct test_case CASES[] = {
	TEST(tree),
	TEST(long_paths),
	TEST(whole_numbers),
	TEST(utf8),
	TEST(quoting),
	TEST(writing),
	TEST(round_trip),
	TEST(features),
	TEST(log_lines),
	TEST(log_file),
};

TEST_MAIN(CASES)
