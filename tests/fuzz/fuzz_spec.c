// SPDX-License-Identifier: Apache-2.0
/* Fuzz target: JSON reader, config.json, process and resources files, refusals, sizes, seccomp,
 * writer. */
/*
 * The first byte chooses the kind of document, the rest is its text. What parses is used as the
 * lifecycle uses it, so that a promise of spec.h that does not hold (a NULL list, a string without
 * its NUL, a path that is not absolute) ends the run.
 */

#include "core/limits.h"
#include "fuzz/fuzz.h"
#include "oci/json.h"
#include "oci/json_text.h"
#include "oci/json_write.h"
#include "oci/seccomp_compile.h"
#include "oci/spec.h"
#include "oci/spec_net.h"
#include "oci/spec_limits.h"
#include "util/err.h"

static void check_list(const struct strv *l)
{
	FUZZ_CHECK(l->v && !l->v[l->n]);
	for (size_t i = 0; i < l->n; i++)
		FUZZ_CHECK(utf8_check(l->v[i], strlen(l->v[i])) == strlen(l->v[i]));
}

static void check_process(const struct spec_process *p)
{
	check_list(&p->args);
	check_list(&p->env);
	if (!p->set)
		return;
	FUZZ_CHECK(p->args.n && p->args.v[0][0] && p->cwd[0] == '/');
	for (size_t i = 0; i < p->env.n; i++)
		FUZZ_CHECK(strchr(p->env.v[i], '='));
	FUZZ_CHECK(!(p->caps.effective & ~p->caps.permitted));
}

static void check_config(const struct spec *s)
{
	struct seccomp_prog prog;
	struct vm_size size;
	struct vmm_net net;

	FUZZ_CHECK(s->version && s->root && s->root[0]);
	check_list(&s->warnings);
	check_list(&s->linux_.masked_paths);
	check_list(&s->linux_.readonly_paths);
	check_list(&s->vm.kernel_params);
	check_list(&s->vm.hypervisor_params);
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct spec_mount *m = &s->mounts[i];

		FUZZ_CHECK(m->destination[0] == '/' && m->destination[1] && m->data);
		FUZZ_CHECK(!strstr(m->destination, "//") && !strstr(m->destination, "/../"));
		FUZZ_CHECK(m->kind != SPEC_MNT_BIND || (m->source && m->source[0]));
		FUZZ_CHECK(strlen(m->data) <= SPEC_LIM_MOUNT_DATA);
		check_list(&m->options);
	}
	for (int k = 0; k < SPEC_HOOK_KINDS; k++)
		for (size_t i = 0; i < s->hooks[k].n; i++) {
			FUZZ_CHECK(s->hooks[k].v[i].path[0] == '/');
			check_list(&s->hooks[k].v[i].args);
			check_list(&s->hooks[k].v[i].env);
		}
	for (size_t i = 0; i < s->linux_.n_devices; i++)
		FUZZ_CHECK(s->linux_.devices[i].path[0] == '/');
	for (size_t i = 0; i < s->linux_.n_sysctl; i++)
		FUZZ_CHECK(s->linux_.sysctl[i].key[0] != '.' &&
			!strstr(s->linux_.sysctl[i].key, ".."));
	if (!spec_net(s, &net, NULL)) {
		FUZZ_CHECK(net.negress <= VMM_MAX_NET_RULES && net.nlisten <= VMM_MAX_NET_RULES);
		for (unsigned k = 0; k < net.negress; k++)
			FUZZ_CHECK(net.egress[k].first_port <= net.egress[k].last_port &&
				net.egress[k].prefix <= 128);
	}
	if (!spec_vm_size(s, 4, &size, NULL))
		FUZZ_CHECK(size.vcpus >= 1 && size.vcpus <= LIM_VCPUS && size.ram >= VM_RAM_FLOOR &&
			size.ram <= LIM_RAM_MAX);
	(void)spec_refusals(s, NULL);
	/* Its time grows with the square of the rules, and it is libseccomp's. */
	if (s->linux_.seccomp.n_rules <= 8 && !seccomp_compile(&s->linux_.seccomp, &prog, NULL))
		seccomp_prog_free(&prog);
}

/* Any text goes through the writer and comes back. */
static void check_writer(const char *text)
{
	struct json_writer w;
	struct json_doc *d;
	char *out;
	size_t len;

	jw_init(&w, text[0] & 1);
	jw_object(&w, NULL);
	jw_string(&w, "k", text);
	if (jw_finish(&w, &out, &len))
		abort();
	if (!json_parse("writer", out, len, &d, NULL)) {
		FUZZ_CHECK(json_get_string(json_root(d), "k"));
		json_free(d);
	} else {
		FUZZ_CHECK(strlen(text) > SPEC_LIM_STRING / 3);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error e = { 0 };
	struct spec *s = NULL;
	char *text;
	int r;

	if (!size)
		return 0;
	/* An exact copy, so that a read past its end is seen. */
	text = malloc(size);
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	check_writer(text);
	text = realloc(text, size > 1 ? size - 1 : 1);
	if (data[0] == 'P')
		r = spec_parse_process(text, size - 1, &s, &e);
	else if (data[0] == 'R')
		r = spec_parse_resources(text, size - 1, &s, &e);
	else
		r = spec_parse(text, size - 1, &s, &e);
	FUZZ_CHECK((r == 0) == (s != NULL) && r == -e.code && (r == 0) == !e.msg[0]);
	if (s) {
		check_process(&s->process);
		if (data[0] != 'P' && data[0] != 'R')
			check_config(s);
	}
	spec_free(s);
	free(text);
	return 0;
}
