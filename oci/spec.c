// SPDX-License-Identifier: Apache-2.0
/* config.json: the document, its top level, hooks and annotations. */
/*
 * How it works: json_parse() makes a bounded tree; one reader per section (spec_*.c) copies what it
 * proves right into the arena of a struct spec, by the typed getters of spec_read.h; the tree is
 * dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "oci/spec_read.h"
#include "util/cleanup.h"

static const char *const HOOK_NAMES[] = {
	[SPEC_HOOK_PRESTART] = "prestart",
	[SPEC_HOOK_CREATE_RUNTIME] = "createRuntime",
	[SPEC_HOOK_CREATE_CONTAINER] = "createContainer",
	[SPEC_HOOK_START_CONTAINER] = "startContainer",
	[SPEC_HOOK_POSTSTART] = "poststart",
	[SPEC_HOOK_POSTSTOP] = "poststop",
};

const char *spec_hook_name(enum spec_hook_kind k)
{
	return HOOK_NAMES[k];
}

static void read_hook(struct rd *p, const struct json *n, struct spec_hook *h)
{
	struct opt_i64 timeout = rd_i64(p, n, "timeout", 1, SPEC_LIM_HOOK_TIMEOUT);

	(void)rd_need_string(p, n, "path");
	h->path = rd_abs_path(p, n, "path", false);
	rd_strings(p, n, "args", SPEC_LIM_ARGS, &h->args);
	h->env_set = rd_get(p, n, "env", JSON_ARRAY) != NULL;
	rd_strings(p, n, "env", SPEC_LIM_ENV, &h->env);
	h->timeout = (unsigned)timeout.v;
}

static void read_hooks(struct rd *p, const struct json *root)
{
	const struct json *hooks = rd_get(p, root, "hooks", JSON_OBJECT);

	for (int k = 0; hooks && k < SPEC_HOOK_KINDS; k++) {
		const struct json *a =
			rd_array(p, hooks, HOOK_NAMES[k], SPEC_LIM_HOOKS, JSON_OBJECT);
		struct spec_hooks *out = &p->s->hooks[k];

		if (!a)
			continue;
		out->v = rd_alloc(p, a->n, sizeof(*out->v));
		for (a = a->child; a && !p->err; a = a->next)
			read_hook(p, a, &out->v[out->n++]);
	}
}

/* MAJOR.MINOR.PATCH with an optional -pre or +build; major 1. */
static void read_version(struct rd *p, const struct json *root)
{
	const char *v = rd_need_string(p, root, "ociVersion"), *s = v;
	unsigned part[3] = { 0 };

	for (int i = 0; s && i < 3; i++) {
		size_t digits = strspn(s, "0123456789");

		if (!digits || digits > 4 || (digits > 1 && *s == '0'))
			s = NULL;
		for (size_t k = 0; s && k < digits; k++)
			part[i] = part[i] * 10 + (unsigned)(*s++ - '0');
		if (s && i < 2 && *s++ != '.')
			s = NULL;
	}
	if (s && *s && ((*s != '-' && *s != '+') || !s[1] || strlen(s) > 64))
		s = NULL;
	if (p->err)
		return;
	if (!s)
		rd_fail(p, root, "ociVersion", "%s is not a version", QUOTE(v));
	else if (part[0] != 1)
		rd_fail(p, root, "ociVersion", "%s is not supported, only 1.x is", QUOTE(v));
	else if (part[1] > SPEC_VERSION_MINOR)
		rd_warn(p, root, "ociVersion",
			"%s is newer than what is known here (" SPEC_VERSION ")", QUOTE(v));
	p->s->version = v;
}

static const char *read_host_name(struct rd *p, const struct json *root, const char *key)
{
	const char *s = rd_string(p, root, key);

	if (!s || !*s)
		return NULL;
	if (strlen(s) > SPEC_LIM_HOSTNAME)
		rd_fail(p, root, key, "longer than %d bytes", SPEC_LIM_HOSTNAME);
	return s;
}

static void read_root(struct rd *p, const struct json *root)
{
	const struct json *n = rd_need(p, root, "root", JSON_OBJECT);

	if (!n)
		return;
	p->s->root_set = true;
	p->s->root = rd_need_string(p, n, "path");
	p->s->root_readonly = rd_bool(p, n, "readonly");
	if (p->s->root && strlen(p->s->root) > SPEC_LIM_PATH)
		rd_fail(p, n, "path", "the path is longer than %d bytes", SPEC_LIM_PATH);
}

/* What crun or runc know by an annotation and we do not, nobody is to believe in. */
static void crun_annotations(struct rd *p, const struct json *root)
{
	static const char *const KNOWN[] = {
		"run.oci.handler",
		"run.oci.hooks.stderr",
		"run.oci.hooks.stdout",
		"run.oci.keep_original_groups",
	};

	for (size_t i = 0; i < p->s->n_annotations; i++) {
		const char *key = p->s->annotations[i].key;
		bool known = strncmp(key, "run.oci.", 8) != 0 &&
			strncmp(key, "org.systemd.property.", 21) != 0;

		for (size_t k = 0; k < ARRAY_SIZE(KNOWN); k++)
			known |= !strcmp(key, KNOWN[k]);
		if (!known)
			rd_warn(p, root, "annotations", "%s means nothing to this runtime",
				QUOTE(key));
	}
}

static void read_config(struct rd *p, const struct json *root)
{
	struct spec *s = p->s;
	const struct json *n;

	read_version(p, root);
	read_root(p, root);
	n = rd_get(p, root, "process", JSON_OBJECT);
	if (n)
		spec_read_process(p, n, &s->process);
	s->hostname = read_host_name(p, root, "hostname");
	s->domainname = read_host_name(p, root, "domainname");
	spec_read_mounts(p, root);
	read_hooks(p, root);
	s->annotations = rd_map(p, root, "annotations", SPEC_LIM_ANNOTATIONS, &s->n_annotations);
	s->ignore = spec_annotation(s, SPEC_IGNORE_KEY);
	crun_annotations(p, root);
	n = rd_get(p, root, "linux", JSON_OBJECT);
	if (n)
		spec_read_linux(p, n, &s->linux_);
	n = rd_get(p, root, "vm", JSON_OBJECT);
	if (n)
		spec_read_vm(p, n, &s->vm);
}

static void read_process_file(struct rd *p, const struct json *root)
{
	spec_read_process(p, root, &p->s->process);
}

static void read_resources_file(struct rd *p, const struct json *root)
{
	spec_read_resources(p, root, &p->s->linux_.res);
}

/* Lists that no reader touches must still have a valid .v. */
static void empty_lists(struct rd *p)
{
	struct spec *s = p->s;
	struct strv *const lists[] = {
		&s->process.args,
		&s->process.env,
		&s->linux_.masked_paths,
		&s->linux_.readonly_paths,
		&s->linux_.rdt.schemata,
		&s->vm.hypervisor_params,
		&s->vm.kernel_params,
	};

	s->warnings.v = rd_alloc(p, SPEC_LIM_WARNINGS + 1, sizeof(char *));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		lists[i]->v = rd_alloc(p, 1, sizeof(char *));
}

static int parse(const char *name, const char *text, size_t len,
	void (*reader)(struct rd *, const struct json *), struct spec **out, struct error *e)
{
	CLEAN(json_freep) struct json_doc *doc = NULL;
	CLEAN(spec_freep) struct spec *s = NULL;
	struct arena *a;
	struct rd p;
	int r;

	*out = NULL;
	r = json_parse(name, text, len, &doc, e);
	if (r)
		return r;
	a = arena_new();
	if (a)
		s = arena_alloc(a, sizeof(*s));
	if (!s) {
		arena_free(a);
		return err_set(e, ENOMEM, "%s: out of memory", name);
	}
	s->arena = a;
	p = (struct rd){ .s = s, .a = a, .e = e };
	empty_lists(&p);
	if (rd_is(&p, json_root(doc), JSON_OBJECT))
		reader(&p, json_root(doc));
	if (p.err)
		return p.err;
	*out = TAKE_PTR(s);
	return 0;
}

int spec_parse(const char *text, size_t len, struct spec **out, struct error *e)
{
	return parse("config.json", text, len, read_config, out, e);
}

int spec_parse_process(const char *text, size_t len, struct spec **out, struct error *e)
{
	return parse("process", text, len, read_process_file, out, e);
}

int spec_parse_resources(const char *text, size_t len, struct spec **out, struct error *e)
{
	return parse("resources", text, len, read_resources_file, out, e);
}

/* Reads to the end of the file, whatever size it claimed. */
static int read_bounded(int fd, const char *name, char **text, size_t *len, struct error *e)
{
	CLEAN_FREE char *buf = NULL;
	size_t n = 0, cap = 0;

	for (;;) {
		ssize_t r;

		if (cap - n < 4096) {
			char *more = realloc(buf, cap + 65536);

			if (!more)
				return err_set(e, ENOMEM, "%s: out of memory", name);
			buf = more;
			cap += 65536;
		}
		r = read(fd, buf + n, cap - n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, errno, "%s: cannot be read", name);
		if (!r)
			break;
		n += (size_t)r;
		if (n > SPEC_LIM_FILE)
			return err_set(e, E2BIG, "%s: larger than %u bytes", name, SPEC_LIM_FILE);
	}
	*text = TAKE_PTR(buf);
	*len = n;
	return 0;
}

int spec_load(
	int dirfd, const char *name, struct spec **out, char **text, size_t *len, struct error *e)
{
	/* O_NONBLOCK: a FIFO in the place of the file must not hold us. */
	CLEAN_FD int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	CLEAN_FREE char *buf = NULL;
	struct stat st;
	size_t n = 0;
	int r;

	*out = NULL;
	if (fd < 0)
		return err_sys(e, errno, "%s: cannot be opened", name);
	if (fstat(fd, &st))
		return err_sys(e, errno, "%s: cannot be examined", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s: not a regular file", name);
	r = read_bounded(fd, name, &buf, &n, e);
	if (!r)
		r = parse(name, buf, n, read_config, out, e);
	if (!r && text) {
		*text = TAKE_PTR(buf);
		*len = n;
	}
	return r;
}

int spec_load_fd(
	int fd, const char *name, struct spec **out, char **text, size_t *len, struct error *e)
{
	CLEAN_FREE char *buf = NULL;
	size_t n = 0;
	int r = read_bounded(fd, name, &buf, &n, e);

	*out = NULL;
	if (!r)
		r = parse(name, buf, n, read_config, out, e);
	if (!r) {
		*text = TAKE_PTR(buf);
		*len = n;
	}
	return r;
}

int spec_load_resources(int fd, struct spec **out, struct error *e)
{
	CLEAN_FREE char *buf = NULL;
	size_t n = 0;
	int r = read_bounded(fd, "resources", &buf, &n, e);

	*out = NULL;
	return r ? r : spec_parse_resources(buf, n, out, e);
}

void spec_free(struct spec *s)
{
	if (s)
		arena_free(s->arena);
}

void spec_freep(struct spec **s)
{
	spec_free(*s);
}

const char *spec_annotation(const struct spec *s, const char *key)
{
	for (size_t i = 0; i < s->n_annotations; i++)
		if (!strcmp(s->annotations[i].key, key))
			return s->annotations[i].value;
	return NULL;
}

int spec_check_id(const char *id, struct error *e)
{
	size_t ok =
		strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-");

	if (!*id)
		return err_set(e, EINVAL, "the container's id is empty");
	if (id[0] == '.')
		return err_set(
			e, EINVAL, "invalid container id %s: it begins with a dot", QUOTE(id));
	if (id[0] == '-')
		return err_set(e, EINVAL,
			"invalid container id %s: it would be taken for an option", QUOTE(id));
	if (id[ok])
		return err_set(e, EINVAL,
			"invalid container id %s: only letters, digits and _+.- are allowed",
			QUOTE(id));
	if (ok > SPEC_LIM_NAME)
		return err_set(e, EINVAL, "invalid container id %s: longer than %d bytes",
			QUOTE(id), SPEC_LIM_NAME);
	return 0;
}
