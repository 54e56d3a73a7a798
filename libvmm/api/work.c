// SPDX-License-Identifier: Apache-2.0
/* The workload: from the context, from /.krun_config.json, and as the agent is told of it. */
/*
 * How it works
 *
 * What the program said comes first. The file is part of the guest's tree, so nobody vouches for
 * it: it is opened below the root's descriptor, without leaving it, has to be a regular file of a
 * limited size, and is read by the bounded reader of the runtime. Where the root has a virtual file
 * of its name, that is it. It may be an OCI config, whose process has what is needed, or a form
 * that images have, flat or in an object, image_config(). What is malformed, or too much, is logged
 * and passed over as a whole, as the original does; a member of the wrong type counts as not there.
 *
 * A variable of the file is taken when the program did not set it; HOME and TERM of the file win,
 * and KRUN_HOME and KRUN_TERM of the program win over those.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/start.h"
#include "oci/json.h"
#include "util/cleanup.h"
#include "util/io.h"
#include "util/log.h"

#define CONFIG	   "/.krun_config.json"
#define CONFIG_MAX (1U << 20)

/* The program may say LIM_API_LIST, the file as much again, and a few are ours. */
#define LIST_MAX (2 * LIM_API_LIST)
#define LIST_OWN 8

static int push(struct words *w, const char *s)
{
	char *copy;

	if (w->n >= LIST_MAX + LIST_OWN)
		return -E2BIG;
	if (w->n == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 16;
		char **v = realloc(w->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		w->v = v;
		w->cap = cap;
	}
	copy = strdup(s);
	if (!copy)
		return -ENOMEM;
	w->v[w->n++] = copy;
	return 0;
}

static void words_free(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
	*w = (struct words){ .v = NULL };
}

/* The place of the variable that @s, "NAME=VALUE", names, or NULL. */
static char **find_var(const struct words *env, const char *s, size_t name)
{
	for (size_t i = 0; i < env->n; i++) {
		if (!strncmp(env->v[i], s, name) && env->v[i][name] == '=')
			return &env->v[i];
	}
	return NULL;
}

static const char *get_var(const struct words *env, const char *name)
{
	char **p = find_var(env, name, strlen(name));

	return p ? *p + strlen(name) + 1 : NULL;
}

static int set_var(struct words *env, const char *s, bool win)
{
	size_t name = strcspn(s, "=");
	char **p, *copy;

	if (!name || !s[name])
		return 0;
	p = find_var(env, s, name);
	if (!p)
		return push(env, s);
	if (!win)
		return 0;
	copy = strdup(s);
	if (!copy)
		return -ENOMEM;
	free(*p);
	*p = copy;
	return 0;
}

/* The first of these members that is an array. */
static const struct json *array_of(const struct json *o, const char *a, const char *b)
{
	const struct json *n = json_get(o, a);

	if (!n || n->type != JSON_ARRAY)
		n = json_get(o, b);
	return n && n->type == JSON_ARRAY ? n : NULL;
}

static int take_args(struct work *w, const struct json *list)
{
	const struct json *n;
	int r = 0;

	if (!list)
		return 0;
	json_for_each(n, list)
	{
		if (!r && n->type == JSON_STRING)
			r = push(&w->args, n->text);
	}
	return r;
}

static int take_env(struct work *w, const struct json *list)
{
	const struct json *n;
	int r = 0;

	if (!list)
		return 0;
	json_for_each(n, list)
	{
		if (!r && n->type == JSON_STRING)
			r = set_var(&w->env, n->text,
				!strncmp(n->text, "HOME=", 5) || !strncmp(n->text, "TERM=", 5));
	}
	return r;
}

static int take_cwd(struct work *w, const struct json *o)
{
	static const char *const names[] = { "cwd", "WorkingDir", "Cwd" };

	for (size_t i = 0; i < ARRAY_SIZE(names) && !w->cwd; i++) {
		const char *s = json_get_string(o, names[i]);

		/* a relative one is from the root on */
		if (s && *s && strlen(s) + (*s != '/') < LIM_API_PATH &&
			asprintf(&w->cwd, "%s%s", *s == '/' ? "" : "/", s) < 0) {
			w->cwd = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

void work_path(const char *s, char out[LIM_API_PATH])
{
	size_t n = 0;

	while (*s) {
		size_t len = strcspn(s, "/");

		if (len == 2 && !memcmp(s, "..", 2)) {
			while (n && out[--n] != '/')
				;
		} else if (len && !(len == 1 && *s == '.') && n + 1 + len < LIM_API_PATH) {
			out[n++] = '/';
			memcpy(out + n, s, len);
			n += len;
		}
		s += len + (s[len] == '/');
	}
	if (!n)
		out[n++] = '/';
	out[n] = 0;
}

/*
 * The first mount of a tmpfs where nothing is mounted otherwise. An OCI config begins with one at
 * /dev, for runtimes that fill it: here it would hide the devices.
 */
static int take_tmpfs(struct work *w, const struct api_ctx *c, const struct json *list)
{
	char path[LIM_API_PATH];
	const struct json *n;

	if (!list || list->type != JSON_ARRAY)
		return 0;
	json_for_each(n, list)
	{
		const char *type = json_get_string(n, "type"), *src = json_get_string(n, "source"),
			   *dst = json_get_string(n, "destination");

		if (!type || !src || !dst || strcmp(type, "tmpfs") != 0 ||
			strcmp(src, "tmpfs") != 0)
			continue;
		if (*dst != '/' || strlen(dst) >= LIM_API_PATH || w->tmpfs)
			continue;
		work_path(dst, path);
		if (!work_mounts(c, path)) {
			w->tmpfs = strdup(path);
			return w->tmpfs ? 0 : -ENOMEM;
		}
	}
	return 0;
}

static int words_copy(struct words *to, const struct words *from)
{
	int r = 0;

	for (size_t i = 0; !r && i < from->n; i++)
		r = push(to, from->v[i]);
	return r;
}

/* What the program said, to which the file may add. */
static int work_copy(struct work *to, const struct work *from)
{
	int r = words_copy(&to->args, &from->args);

	if (!r)
		r = words_copy(&to->env, &from->env);
	if (!r && from->cwd) {
		to->cwd = strdup(from->cwd);
		r = to->cwd ? 0 : -ENOMEM;
	}
	return r;
}

static void free_doc(struct json_doc **d)
{
	json_free(*d);
}

static const struct json *object_in(const struct json *o, const char *name)
{
	const struct json *v = o ? json_get(o, name) : NULL;

	return v && v->type == JSON_OBJECT ? v : NULL;
}

/* An image's part is an object "Config", or the whole. `buildah inspect`, whose output krunvm
 * stores, has it twice, in OCIv1.config and Docker.config, and a string named "Config". */
static const struct json *image_config(const struct json *root)
{
	const struct json *o = object_in(root, "Config");

	if (!o)
		o = object_in(object_in(root, "OCIv1"), "config");
	if (!o)
		o = object_in(object_in(root, "Docker"), "config");
	return o ? o : root;
}

int work_config(
	struct work *w, const struct api_ctx *c, const char *text, size_t len, struct error *e)
{
	CLEAN(free_doc) struct json_doc *doc = NULL;
	const struct json *root, *image, *o;
	int r = json_parse(CONFIG, text, len, &doc, e);

	if (r)
		return r;
	root = json_root(doc);
	if (root->type != JSON_OBJECT)
		return err_set(e, EINVAL, CONFIG ": not an object");
	image = image_config(root);
	o = json_get(root, "process");
	if (!o || o->type != JSON_OBJECT)
		o = image;
	if (!w->args.n) {
		r = take_args(w, array_of(image, "Entrypoint", "Entrypoint"));
		if (!r)
			r = take_args(w, array_of(o, "args", "Cmd"));
	}
	if (!r)
		r = take_env(w, array_of(o, "env", "Env"));
	if (!r)
		r = take_cwd(w, o);
	if (!r)
		r = take_tmpfs(w, c, json_get(root, "mounts"));
	return r ? err_sys(e, r, CONFIG) : 0;
}

static bool too_long(uint64_t len)
{
	if (len > CONFIG_MAX)
		log_warn(CONFIG ": over %u bytes, not looked at", CONFIG_MAX);
	return len > CONFIG_MAX;
}

/* Whether @path begins with what is virtual in the root, so that the directory of the host's does
 * not count. *text is what the file holds, if it is one. */
static bool virtual_config(struct api_ctx *c, const char *path, char **text, size_t *len)
{
	struct api_fs *root = api_fs_find(c, KRUN_FS_ROOT_TAG);
	const struct vmm_fs_virt *v;
	char clean[LIM_API_PATH];

	work_path(path, clean);
	if (!root || !api_virt_find(root, clean + 1, strcspn(clean + 1, "/")))
		return false;
	v = api_virt_find(root, clean + 1, strlen(clean + 1));
	if (!v || !v->len || too_long(v->len))
		return true;
	*text = malloc(v->len);
	if (!*text)
		return true;
	(void)memcpy(*text, v->data, v->len);
	*len = v->len;
	if (v->one_shot)
		api_virt_drop(root, clean + 1);
	return true;
}

/* The text of the file, or NULL when there is none that can be read. */
static char *read_config(struct api_ctx *c, int root_fd, const char *path, size_t *len)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	CLEAN_FD int fd = -1;
	struct stat st;
	char *text = NULL;

	if (virtual_config(c, path, &text, len) || root_fd < 0)
		return text;
	fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0)
		return NULL;
	if (too_long((uint64_t)st.st_size))
		return NULL;
	*len = (size_t)st.st_size;
	text = malloc(*len);
	if (text && io_pread(fd, text, *len, 0)) {
		free(text);
		return NULL;
	}
	return text;
}

static int from_file(struct work *w, struct api_ctx *c, int root_fd)
{
	const char *path = get_var(&w->env, "KRUN_CONFIG");
	struct error e = { 0 };
	size_t len = 0;
	CLEAN_FREE char *text = read_config(c, root_fd, path && *path ? path : CONFIG, &len);
	CLEAN(work_free) struct work all = { .hostname = NULL };
	struct work was = *w;
	int r = text ? work_copy(&all, w) : 0;

	if (text && !r)
		r = work_config(&all, c, text, len, &e);
	if (!r && (all.args.n > LIST_MAX || all.env.n > LIST_MAX))
		r = err_set(&e, E2BIG, CONFIG ": too many arguments or variables");
	if (r == -ENOMEM)
		return r;
	if (r) {
		log_warn("%s", e.msg);
		return 0;
	}
	/* all of it or nothing */
	if (text) {
		*w = all;
		all = was;
	}
	return 0;
}

/* @from of the environment is what @to becomes. */
static int rename_var(struct words *env, const char *from, const char *to)
{
	const char *v = get_var(env, from);
	CLEAN_FREE char *s = NULL;

	if (!v)
		return 0;
	if (asprintf(&s, "%s=%s", to, v) < 0) {
		s = NULL;
		return -ENOMEM;
	}
	return set_var(env, s, true);
}

int work_make(struct api_ctx *c, int root_fd, struct work *w, struct error *e)
{
	int r = c->exec ? push(&w->args, c->exec) : 0;

	for (size_t i = 0; !r && i < c->args.n; i++)
		r = push(&w->args, c->args.v[i]);
	for (size_t i = 0; !r && i < c->env.n; i++)
		r = set_var(&w->env, c->env.v[i], true);
	if (!r && c->workdir) {
		w->cwd = strdup(c->workdir);
		r = w->cwd ? 0 : -ENOMEM;
	}
	/* what a disk holds is not for us to read */
	if (!r && !c->remount_dev)
		r = from_file(w, c, root_fd);
	if (!r)
		r = rename_var(&w->env, "KRUN_HOME", "HOME");
	if (!r)
		r = rename_var(&w->env, "KRUN_TERM", "TERM");
	if (!r)
		r = set_var(&w->env, "TERM=linux", false);
	if (!r && !w->args.n)
		r = push(&w->args, "/bin/sh");
	w->hostname = get_var(&w->env, "HOSTNAME");
	if (!w->hostname || !*w->hostname || strlen(w->hostname) > 64)
		w->hostname = "localhost";
	return r ? err_sys(e, r, "the workload's arguments and environment") : 0;
}

void work_free(struct work *w)
{
	words_free(&w->args);
	words_free(&w->env);
	free(TAKE_PTR(w->cwd));
	free(TAKE_PTR(w->tmpfs));
}
