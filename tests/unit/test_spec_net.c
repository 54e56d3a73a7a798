// SPDX-License-Identifier: Apache-2.0
/* The network annotations: rules as they are meant, and every wrong one by its number. */
#include <errno.h>

#include "oci/spec_limits.h"
#include "oci/spec_net.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"

static int read_net(const char *key, const char *value, struct vmm_net *net, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	CLEAN(spec_freep) struct spec *s = NULL;

	if (asprintf(&text,
		    "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},"
		    "\"annotations\":{\"%s\":\"%s\"}}",
		    key, value) < 0 ||
		spec_parse(text, strlen(text), &s, e))
		abort();
	return spec_net(s, net, e);
}

static void on_unless_said(void)
{
	struct vmm_net net;

	CHECK_EQ(read_net("a", "b", &net, NULL), 0);
	CHECK(net.tsi && !net.negress && !net.nlisten && !net.mapped);
	CHECK_EQ(read_net("krun-oci.net", "tsi", &net, NULL), 0);
	CHECK(net.tsi);
	CHECK_EQ(read_net("krun-oci.net", "none", &net, NULL), 0);
	CHECK(!net.tsi);
}

static void rules(void)
{
	struct vmm_net net;

	CHECK_EQ(read_net("krun-oci.net.egress",
			 "deny 10.0.0.0/8,allow  192.0.2.7:443 , deny [2001:db8::/32]:1-1023,"
			 "allow 2001:db8::1, deny :25,allow 0.0.0.0/0, allow all",
			 &net, NULL),
		0);
	CHECK_EQ(net.negress, 7);
	CHECK(net.egress[0].deny && net.egress[0].family == 4 && net.egress[0].prefix == 8);
	CHECK_EQ(net.egress[0].ip[0], 10);
	CHECK(net.egress[0].first_port == 0 && net.egress[0].last_port == 65535);
	CHECK(!net.egress[1].deny && net.egress[1].prefix == 32);
	CHECK(net.egress[1].first_port == 443 && net.egress[1].last_port == 443);
	CHECK(net.egress[2].family == 6 && net.egress[2].prefix == 32 &&
		net.egress[2].ip[3] == 0xb8);
	CHECK(net.egress[2].first_port == 1 && net.egress[2].last_port == 1023);
	CHECK(net.egress[3].family == 6 && net.egress[3].prefix == 128);
	CHECK(net.egress[4].family == 0 && net.egress[4].first_port == 25);
	CHECK(net.egress[5].family == 4 && net.egress[5].prefix == 0);
	CHECK(net.egress[6].family == 0 && net.egress[6].last_port == 65535);
	CHECK_EQ(read_net("krun-oci.net.listen", "allow 80,allow 8000-8999", &net, NULL), 0);
	CHECK_EQ(net.nlisten, 2);
	CHECK(net.listen[1].first_port == 8000 && net.listen[1].last_port == 8999);
}

static void wrong_ones(void)
{
	static const char *const BAD[][3] = {
		{ "krun-oci.net", "TSI", "\"TSI\" is not \"tsi\", \"tap\", \"passt\" or \"none\"" },
		{ "krun-oci.net", "", "is not \"tsi\"" },
		{ "krun-oci.net.ingress", "allow all", "\"krun-oci.net.ingress\"" },
		{ "krun-oci.network", "none", "there is no such one" },
		{ "krun-oci.net.egress", "", "rule 1" },
		{ "krun-oci.net.egress", "allow all,", "rule 2" },
		{ "krun-oci.net.egress", "allow", "rule 1, \"allow\"" },
		{ "krun-oci.net.egress", "allowall", "rule 1" },
		{ "krun-oci.net.egress", "permit all", "rule 1" },
		{ "krun-oci.net.egress", "allow all x", "rule 1" },
		{ "krun-oci.net.egress", "allow 10.0.0.1/8", "rule 1" },
		{ "krun-oci.net.egress", "allow 10.0.0.0/33", "rule 1" },
		{ "krun-oci.net.egress", "allow 10.0.0/8", "rule 1" },
		{ "krun-oci.net.egress", "allow example.org", "rule 1" },
		{ "krun-oci.net.egress", "allow 10.0.0.0/8:0", "rule 1" },
		{ "krun-oci.net.egress", "allow 10.0.0.0/8:65536", "rule 1" },
		{ "krun-oci.net.egress", "allow 10.0.0.0/8:5-4", "rule 1" },
		{ "krun-oci.net.egress", "allow 10.0.0.0/8:", "rule 1" },
		{ "krun-oci.net.egress", "allow [::1", "rule 1" },
		{ "krun-oci.net.egress", "allow []:1", "rule 1" },
		{ "krun-oci.net.egress", "allow ::ffff:10.0.0.1", "rule 1" },
		{ "krun-oci.net.egress", "deny all, deny 2001:db8::1/32", "rule 2" },
		{ "krun-oci.net.listen", "allow 10.0.0.0/8", "PORT or PORT-PORT" },
		{ "krun-oci.net.listen", "allow 0", "rule 1" },
		{ "krun-oci.net.listen", "allow 080", "rule 1" },
		{ "krun-oci.net.listen", "deny 1-", "rule 1" },
	};
	char many[65 * 10] = "allow :1";
	struct vmm_net net;
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
		e = (struct error){ 0 };
		if (read_net(BAD[i][0], BAD[i][1], &net, &e) != -EINVAL ||
			!strstr(e.msg, BAD[i][2])) {
			printf("# %s=%s: %s\n", BAD[i][0], BAD[i][1], e.msg);
			test_failed_ = true;
		}
	}
	for (unsigned i = 0; i < VMM_MAX_NET_RULES; i++)
		strcat(many, ",deny :1");
	e = (struct error){ 0 };
	CHECK_EQ(read_net("krun-oci.net.egress", many, &net, &e), -EINVAL);
	CHECK(strstr(e.msg, "more than 64 rules"));
	memset(many, ' ', 200);
	many[200] = '\0';
	CHECK_EQ(read_net("krun-oci.net.egress", many, &net, &e), -EINVAL);
}

static void no_rules_for_no_network(void)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	static const char TEXT[] = "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},"
				   "\"annotations\":{\"krun-oci.net\":\"none\","
				   "\"krun-oci.net.listen\":\"allow 80\"}}";
	struct error e = { 0 };
	struct vmm_net net;

	CHECK_EQ(spec_parse(TEXT, strlen(TEXT), &s, &e), 0);
	CHECK_EQ(spec_net(s, &net, &e), -EINVAL);
	CHECK(strstr(e.msg, "krun-oci.net.listen"));
}

static int read_nic(const char *annotations, struct spec_nic *nic, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	CLEAN(spec_freep) struct spec *s = NULL;
	struct vmm_net net;
	int r;

	if (asprintf(&text,
		    "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},"
		    "\"annotations\":{%s}}",
		    annotations) < 0 ||
		spec_parse(text, strlen(text), &s, e))
		abort();
	*e = (struct error){ 0 };
	r = spec_net(s, &net, e);
	if (!r)
		r = spec_nic(s, nic, e);
	/* one or the other */
	return r ? r : net.tsi == (!nic->kind && !strstr(annotations, "none")) ? 0 : -EPROTO;
}

#define NET(v)	  "\"krun-oci.net\":\"" v "\""
#define IF(v)	  "\"krun-oci.net.interface\":\"" v "\""
#define PASST(v)  "\"krun.use_passt\":\"" v "\""
#define LISTEN(v) "\"krun-oci.net.listen\":\"" v "\""
#define NAMED(v)  "\"krun.tap_name\":\"" v "\""

static void interfaces(void)
{
	static const struct {
		const char *text;
		enum spec_nic_kind kind;
		const char *name;
	} GOOD[] = {
		{ "", SPEC_NIC_NONE, "" },
		{ NET("none"), SPEC_NIC_NONE, "" },
		{ NET("tap"), SPEC_NIC_TAKE, "" },
		{ NET("tap") "," IF("eth1.5-x"), SPEC_NIC_TAKE, "eth1.5-x" },
		{ NAMED("tap0"), SPEC_NIC_TAP, "tap0" },
		{ NAMED("fifteen-letters") "," NET("tap"), SPEC_NIC_TAP, "fifteen-letters" },
		{ NAMED("0"), SPEC_NIC_NONE, "" },
		{ NAMED("false") "," NET("tap"), SPEC_NIC_TAKE, "" },
		{ NAMED("") "," NET("tsi"), SPEC_NIC_NONE, "" },
		{ NET("passt") "," IF("eth1"), SPEC_NIC_PASST, "eth1" },
		{ PASST("1"), SPEC_NIC_PASST, "" },
		{ PASST("1") "," NET("passt") "," LISTEN("allow 80"), SPEC_NIC_PASST, "" },
		{ PASST("0") "," NET("tap"), SPEC_NIC_TAKE, "" },
	};
	static const char *const BAD[][2] = {
		{ NAMED("tap0") "," NET("tsi"), "[\"krun.tap_name\"]: does not go with" },
		{ PASST("1") "," NET("tap"), "[\"krun.use_passt\"]: does not go with" },
		{ PASST("1") "," NAMED("t"), "annotations[\"krun.use_passt\"]" },
		{ PASST("1") "," LISTEN("allow x"), "rule 1" },
		{ PASST("1") ",\"krun-oci.net.egress\":\"deny all\"", "rules are for" },
		{ NAMED("tap0") "," NET("none"), "annotations[\"krun-oci.net\"]" },
		{ NAMED("tap0") "," IF("eth0"), "[\"krun-oci.net.interface\"]" },
		{ NAMED("sixteen--letters"),
			"[\"krun.tap_name\"]: \"sixteen--letters\" is no name" },
		{ NAMED("a/b"), "no name" },
		{ NAMED("a b"), "no name" },
		{ NAMED("tap%d"), "no name" },
		{ NAMED(".."), "no name" },
		{ NET("tap") "," IF(""), "[\"krun-oci.net.interface\"]: \"\" is no name" },
		{ IF("eth0"), "it goes with krun-oci.net=tap and passt" },
		{ NET("none") "," IF("eth0"), "it goes with krun-oci.net=tap and passt" },
		{ NET("tap") ",\"krun-oci.net.egress\":\"allow all\"", "rules are for" },
		{ NAMED("t") ",\"krun-oci.net.listen\":\"allow 1\"", "[\"krun-oci.net.listen\"]" },
	};
	struct spec_nic nic;
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++) {
		CHECK_EQ(read_nic(GOOD[i].text, &nic, &e), 0);
		CHECK_EQ(nic.kind, GOOD[i].kind);
		CHECK_STR(nic.name, GOOD[i].name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
		if (read_nic(BAD[i][0], &nic, &e) != -EINVAL || !strstr(e.msg, BAD[i][1])) {
			printf("# %s: %s\n", BAD[i][0], e.msg);
			test_failed_ = true;
		}
	}
}

/* As passt is told of them. */
static void ports(void)
{
	static const char *const PORTS[][2] = {
		{ NULL, "all" },
		{ "allow all", "all" },
		{ "deny all", "none" },
		{ "allow 80", "80" },
		{ "allow 80, allow 8000-8999, allow 81", "80-81,8000-8999" },
		{ "deny 25", "1-24,26-65535" },
		{ "deny 1-1023, allow all", "1024-65535" },
		{ "deny 70-90, allow 1-100", "1-69,91-100" },
		{ "deny 1, deny 65535", "2-65534" },
		{ "deny 1-65535", "none" },
	};
	char many[VMM_MAX_NET_RULES * 16] = "deny 10000", out[SPEC_PORTS_MAX];

	for (size_t i = 0; i <= ARRAY_SIZE(PORTS); i++) {
		const char *rules = i < ARRAY_SIZE(PORTS) ? PORTS[i][0] : many;
		CLEAN_FREE char *text = NULL;
		CLEAN(spec_freep) struct spec *s = NULL;

		for (unsigned k = 1; rules == many && k < VMM_MAX_NET_RULES; k++)
			(void)sprintf(many + strlen(many), ",deny %u", 10000 + 2 * k);
		CHECK(asprintf(&text,
			      "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},"
			      "\"annotations\":{\"%s\":\"%s\"}}",
			      rules ? "krun-oci.net.listen" : "a", rules ? rules : "b") > 0);
		CHECK_EQ(spec_parse(text, strlen(text), &s, NULL), 0);
		CHECK_EQ(spec_ports(s, out, NULL), 0);
		if (rules != many)
			CHECK_STR(out, PORTS[i][1]);
		else
			CHECK(strstr(out, "1-9999,10001,10003,") == out &&
				strstr(out, ",10127-65535"));
	}
}

static const struct test_case cases[] = {
	TEST(on_unless_said),
	TEST(rules),
	TEST(wrong_ones),
	TEST(no_rules_for_no_network),
	TEST(interfaces),
	TEST(ports),
};

int main(int argc, char **argv)
{
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
