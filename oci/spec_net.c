// SPDX-License-Identifier: Apache-2.0
/* The network annotations: the host's sockets and what may be done with them, or an interface. */
/*
 * How it works
 *
 * krun-oci.net chooses, krun-oci.net.egress and krun-oci.net.listen are lists of rules, read from
 * left to right with a cursor: "allow" or "deny", then what: all, an address with an optional
 * prefix length, ports, or both. Everything must be read to its end, and an error names the rule by
 * its number and quotes it. Host bits that a prefix length would ignore are an error: who
 * writes 10.0.0.1/8 most likely means something else.
 *
 * krun.tap_name is crun's name for one of the interfaces, off as crun has it off.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "oci/spec_net.h"
#include "oci/spec_read.h"
#include "util/err.h"

#define RULE_MAX 80 /* bytes of one rule; the longest address has 45 */

static bool word(const char **p, const char *w)
{
	size_t n = strlen(w);

	if (strncmp(*p, w, n) != 0)
		return false;
	*p += n;
	return true;
}

static void spaces(const char **p)
{
	*p += strspn(*p, " \t");
}

static bool number(const char **p, unsigned max, unsigned *v)
{
	size_t n = strspn(*p, "0123456789");

	*v = 0;
	if (!n || n > 5 || (n > 1 && **p == '0'))
		return false;
	for (size_t i = 0; i < n; i++)
		*v = *v * 10 + (unsigned)((*p)[i] - '0');
	*p += n;
	return *v <= max;
}

static bool ports(const char **p, struct vmm_net_rule *r)
{
	unsigned a, b;

	if (!number(p, 65535, &a))
		return false;
	b = a;
	if (word(p, "-") && !number(p, 65535, &b))
		return false;
	r->first_port = (uint16_t)a;
	r->last_port = (uint16_t)b;
	return a && a <= b;
}

static bool prefix_is_whole(const struct vmm_net_rule *r, unsigned bits)
{
	for (unsigned i = r->prefix; i < bits; i++) {
		if (r->ip[i / 8] & 0x80 >> i % 8)
			return false;
	}
	return true;
}

/* An address as far as @n characters of *p go. */
static bool address(const char **p, size_t n, struct vmm_net_rule *r)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char text[INET6_ADDRSTRLEN];
	unsigned bits, v;

	if (!n || n >= sizeof(text))
		return false;
	memcpy(text, *p, n);
	text[n] = '\0';
	*p += n;
	if (inet_pton(AF_INET, text, r->ip) == 1)
		r->family = 4;
	else if (inet_pton(AF_INET6, text, r->ip) == 1)
		r->family = 6;
	else
		return false;
	bits = v = r->family == 4 ? 32 : 128;
	if (word(p, "/") && !number(p, bits, &v))
		return false;
	r->prefix = (uint8_t)v;
	/* IPv4 in IPv6 clothes is judged as IPv4, so such a rule would never match */
	if (r->family == 6 && !memcmp(r->ip, mapped, sizeof(mapped)))
		return false;
	return prefix_is_whole(r, bits);
}

/* CIDR, CIDR:PORTS, [CIDR]:PORTS, :PORTS */
static bool target(const char **p, struct vmm_net_rule *r)
{
	bool bracket = word(p, "[");
	const char *colon = strchr(*p, ':');

	if (!bracket && **p != ':') {
		/* more than one colon: IPv6, which then has no ports */
		bool v6 = colon && strchr(colon + 1, ':');

		if (!address(p, strspn(*p, v6 ? "0123456789abcdefABCDEF:." : "0123456789."), r))
			return false;
	} else if (bracket) {
		if (!address(p, strspn(*p, "0123456789abcdefABCDEF:."), r) || !word(p, "]"))
			return false;
	}
	return !word(p, ":") || ports(p, r);
}

static bool rule(const char *p, bool egress, struct vmm_net_rule *r)
{
	*r = (struct vmm_net_rule){ .last_port = UINT16_MAX };
	spaces(&p);
	r->deny = word(&p, "deny");
	if (!r->deny && !word(&p, "allow"))
		return false;
	if (*p != ' ' && *p != '\t')
		return false;
	spaces(&p);
	if (!word(&p, "all") && !(egress ? target(&p, r) : ports(&p, r)))
		return false;
	spaces(&p);
	return !*p;
}

static int rules(const struct spec *s, const char *key, bool egress, struct vmm_net_rule *out,
	unsigned *count, struct error *e)
{
	const char *p = spec_annotation(s, key);

	*count = 0;
	while (p) {
		size_t n = strcspn(p, ",");
		char one[RULE_MAX];

		if (*count == VMM_MAX_NET_RULES)
			return err_set(e, EINVAL,
				"config.json: annotations[\"%s\"]: more than %u rules", key,
				VMM_MAX_NET_RULES);
		if (n >= sizeof(one))
			return err_set(e, EINVAL,
				"config.json: annotations[\"%s\"]: rule %u is longer than %zu bytes",
				key, *count + 1, sizeof(one) - 1);
		memcpy(one, p, n);
		one[n] = '\0';
		if (!rule(one, egress, &out[*count]))
			return err_set(e, EINVAL,
				"config.json: annotations[\"%s\"]: rule %u, %s, is not \"allow\" or \"deny\" and %s",
				key, *count + 1, QUOTE(one),
				egress ? "\"all\", CIDR, CIDR:PORTS, [CIDR]:PORTS or :PORTS"
				       : "\"all\", PORT or PORT-PORT");
		++*count;
		p = p[n] ? p + n + 1 : NULL;
	}
	return 0;
}

/* A rule under a name that nobody reads would be a wall that is not there. */
static int known(const struct spec *s, struct error *e)
{
	static const char *const KEYS[] = { "krun-oci.net", "krun-oci.net.egress",
		"krun-oci.net.listen", "krun-oci.net.interface" };

	for (size_t i = 0; i < s->n_annotations; i++) {
		const char *key = s->annotations[i].key;
		bool found = strncmp(key, KEYS[0], strlen(KEYS[0])) != 0;

		for (size_t k = 0; k < ARRAY_SIZE(KEYS); k++)
			found = found || !strcmp(key, KEYS[k]);
		if (!found)
			return err_set(e, EINVAL,
				"config.json: annotations[%s]: there is no such one", QUOTE(key));
	}
	return 0;
}

/* What a name of an interface may be, to the kernel. */
static bool is_name(const char *s)
{
	return *s && strlen(s) < IFNAMSIZ && strcmp(s, ".") != 0 && strcmp(s, "..") != 0 &&
		!strpbrk(s, "/: \t\n\v\f\r%");
}

static int get_name(const char *key, const char *value, struct spec_nic *out, struct error *e)
{
	if (!is_name(value))
		return err_set(e, EINVAL,
			"config.json: annotations[\"%s\"]: %s is no name of an interface", key,
			QUOTE(value));
	(void)memcpy(out->name, value, strlen(value) + 1);
	return 0;
}

static const char *set(const struct spec *s, const char *key)
{
	const char *v = spec_annotation(s, key);

	return spec_annotation_on(v) ? v : NULL;
}

static int conflict(const char *a, const char *b, struct error *e)
{
	return err_set(e, EINVAL,
		"config.json: annotations[\"%s\"]: does not go with annotations[\"%s\"]", a, b);
}

int spec_nic(const struct spec *s, struct spec_nic *out, struct error *e)
{
	const char *net = spec_annotation(s, "krun-oci.net"), *tap = set(s, "krun.tap_name"),
		   *name = spec_annotation(s, "krun-oci.net.interface");
	bool passt = set(s, "krun.use_passt");

	*out = (struct spec_nic){ .kind = SPEC_NIC_NONE };
	if (tap && net && strcmp(net, "tap") != 0)
		return conflict("krun.tap_name", "krun-oci.net", e);
	if (tap && passt)
		return conflict("krun.tap_name", "krun.use_passt", e);
	if (tap && name)
		return conflict("krun.tap_name", "krun-oci.net.interface", e);
	if (tap) {
		out->kind = SPEC_NIC_TAP;
		return get_name("krun.tap_name", tap, out, e);
	}
	if (passt && net && strcmp(net, "passt") != 0)
		return conflict("krun.use_passt", "krun-oci.net", e);
	if (net && !strcmp(net, "tap"))
		out->kind = SPEC_NIC_TAKE;
	if (passt || (net && !strcmp(net, "passt")))
		out->kind = SPEC_NIC_PASST;
	if (!name)
		return 0;
	if (!out->kind)
		return err_set(e, EINVAL,
			"config.json: annotations[\"krun-oci.net.interface\"]: it goes with krun-oci.net=tap and passt");
	return get_name("krun-oci.net.interface", name, out, e);
}

int spec_net(const struct spec *s, struct vmm_net *out, struct error *e)
{
	const char *net = spec_annotation(s, "krun-oci.net");
	struct spec_nic nic;
	int r = known(s, e);

	if (!r)
		r = spec_nic(s, &nic, e);
	if (r)
		return r;
	(void)memset(out, 0, sizeof(*out));
	out->tsi = !nic.kind && (!net || !strcmp(net, "tsi"));
	if (net && !nic.kind && !out->tsi && strcmp(net, "none") != 0)
		return err_set(e, EINVAL,
			"config.json: annotations[\"krun-oci.net\"]: %s is not \"tsi\", \"tap\", \"passt\" or \"none\"",
			QUOTE(net));
	r = rules(s, "krun-oci.net.egress", true, out->egress, &out->negress, e);
	if (!r)
		r = rules(s, "krun-oci.net.listen", false, out->listen, &out->nlisten, e);
	/* those are passt's, which the VMM knows nothing of */
	if (!r && nic.kind == SPEC_NIC_PASST)
		out->nlisten = 0;
	if (!r && !out->tsi && (out->negress || out->nlisten))
		r = err_set(e, EINVAL, "config.json: annotations[\"krun-oci.net.%s\"]: %s",
			out->negress ? "egress" : "listen",
			nic.kind
				? "rules are for krun-oci.net=tsi, an interface has the host's filters"
				: "there is no network to have rules for");
	return r;
}

/* Is @port allowed? As the VMM decides it of TSI's. */
static bool allowed(const struct vmm_net_rule *r, unsigned n, unsigned port)
{
	for (unsigned i = 0; i < n; i++) {
		if (port >= r[i].first_port && port <= r[i].last_port)
			return !r[i].deny;
	}
	return !n || r[n - 1].deny;
}

int spec_ports(const struct spec *s, char out[static SPEC_PORTS_MAX], struct error *e)
{
	struct vmm_net_rule r[VMM_MAX_NET_RULES];
	unsigned n, first = 0;
	size_t at = 0;
	int ret = rules(s, "krun-oci.net.listen", false, r, &n, e);

	if (ret)
		return ret;
	out[0] = '\0';
	for (unsigned p = 1; p <= 65536; p++) {
		bool yes = p < 65536 && allowed(r, n, p);

		if (yes && !first)
			first = p;
		if (yes || !first)
			continue;
		/* 64 rules make 65 ranges at most, each of 12 bytes */
		at += (size_t)snprintf(out + at, SPEC_PORTS_MAX - at,
			first == p - 1 ? "%s%u" : "%s%u-%u", at ? "," : "", first, p - 1);
		first = 0;
	}
	if (!at || !strcmp(out, "1-65535"))
		(void)snprintf(out, SPEC_PORTS_MAX, "%s", at ? "all" : "none");
	return 0;
}
