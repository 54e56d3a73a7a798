// SPDX-License-Identifier: Apache-2.0
/* state and list, and the ids that a regular expression chooses. */
/*
 * How it works
 *
 * Nothing is locked and nobody is asked: what a container is, container_phase() finds out from its
 * directory each time. list skips what it cannot open: other runtimes keep their state beside ours,
 * and a delete may be quicker than we are.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "oci/json_write.h"
#include "oci/spec.h"
#include "oci/state.h"
#include "util/cleanup.h"

/* The owner's name, or the number where there is none. */
static const char *owner_name(const struct container *c, char num[static 16])
{
	const struct passwd *pw = getpwuid(c->owner);

	(void)snprintf(num, 16, "%u", c->owner);
	return pw ? pw->pw_name : num;
}

static void put_state(struct json_writer *w, const struct container *c, bool owner)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	enum phase ph = container_phase(c, NULL);

	jw_object(w, NULL);
	jw_string(w, "ociVersion", c->version ? c->version : "1.0.0");
	jw_string(w, "id", c->id);
	jw_i64(w, "pid", ph == PHASE_STOPPED ? 0 : c->pid);
	jw_string(w, "status", phase_name(ph));
	jw_string(w, "bundle", c->bundle);
	jw_string(w, "rootfs", c->rootfs);
	jw_string(w, "created", c->created);
	if (owner) {
		char num[16];

		jw_string(w, "owner", owner_name(c, num));
	}
	/* the copy made at create: it was checked then */
	if (spec_load(c->dir_fd, "config.json", &s, NULL, NULL, NULL) || !s->n_annotations)
		return;
	jw_object(w, "annotations");
	for (size_t i = 0; i < s->n_annotations; i++)
		jw_string(w, s->annotations[i].key, s->annotations[i].value);
	jw_end(w);
}

static int print(struct json_writer *w, FILE *out, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	size_t len = 0;
	int r = jw_finish(w, &text, &len);

	if (!r && (fwrite(text, 1, len, out) != len || fflush(out)))
		r = -EIO;
	return r ? err_sys(e, r, "cannot write the output") : 0;
}

int rt_state(const struct rt *rt, const char *id, FILE *out, struct error *e)
{
	CLEAN(container_free) struct container c;
	struct json_writer w;
	int r = container_open(rt, id, &c, e);

	if (r)
		return r;
	jw_init(&w, true);
	put_state(&w, &c, false);
	return print(&w, out, e);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of what may be containers, sorted; the caller frees. */
static char **names_below(int root, size_t *n)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEAN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	char **v = NULL;
	size_t cap = 0;

	*n = 0;
	while (d && (de = readdir(d))) {
		if (spec_check_id(de->d_name, NULL))
			continue;
		if (*n == cap) {
			char **bigger = realloc(v, (cap = cap ? cap * 2 : 64) * sizeof(*v));

			if (!bigger)
				break;
			v = bigger;
		}
		v[*n] = strdup(de->d_name);
		if (v[*n])
			++*n;
	}
	if (*n)
		qsort(v, *n, sizeof(*v), by_name);
	return v;
}

static void list_row(const struct container *c, bool quiet, FILE *out)
{
	enum phase ph = container_phase(c, NULL);
	char num[16];

	if (quiet) {
		(void)fprintf(out, "%s\n", c->id);
		return;
	}
	(void)fprintf(out, "%-24s %-9d %-10s %-40s %-32s %s\n", c->id,
		ph == PHASE_STOPPED ? 0 : (int)c->pid, phase_name(ph), c->bundle, c->created,
		owner_name(c, num));
}

int rt_list(const struct rt *rt, enum rt_format format, bool quiet, FILE *out, struct error *e)
{
	CLEAN_FD int root = state_root(rt, false, e);
	struct json_writer w;
	char **names;
	size_t n = 0;

	if (root < 0 && root != -ENOENT)
		return root;
	if (root < 0 && rt->root)
		return root;
	names = root < 0 ? NULL : names_below(root, &n);
	jw_init(&w, false);
	jw_array(&w, NULL);
	if (format == RT_TABLE && !quiet)
		(void)fprintf(out, "%-24s %-9s %-10s %-40s %-32s %s\n", "ID", "PID", "STATUS",
			"BUNDLE", "CREATED", "OWNER");
	for (size_t i = 0; i < n; i++) {
		CLEAN(container_free) struct container c;

		if (!container_open(rt, names[i], &c, NULL)) {
			if (format == RT_JSON && !quiet) {
				put_state(&w, &c, true);
				jw_end(&w);
			} else {
				list_row(&c, quiet, out);
			}
		}
		free(names[i]);
	}
	free(names);
	if (format == RT_JSON && !quiet)
		return print(&w, out, e);
	jw_free(&w);
	return fflush(out) ? err_sys(e, EIO, "cannot write the output") : 0;
}

int rt_matching(const struct rt *rt, const char *regex, rt_each_fn *fn, void *arg, struct error *e)
{
	CLEAN_FD int root = -1;
	int r, first = 0;
	char **names;
	size_t n = 0;
	regex_t re;

	if (regcomp(&re, regex, REG_EXTENDED | REG_NOSUB))
		return err_set(e, EINVAL, "\"%.120s\" is not a regular expression", regex);
	root = state_root(rt, false, NULL);
	names = root < 0 ? NULL : names_below(root, &n);
	for (size_t i = 0; i < n; i++) {
		CLEAN(container_free)
		struct container c = { .root_fd = -1, .dir_fd = -1, .lock_fd = -1 };

		/* one that fails does not spare the others; its error is told, once */
		if (!regexec(&re, names[i], 0, NULL, 0) &&
			!container_open(rt, names[i], &c, NULL)) {
			r = fn(rt, names[i], arg, first ? NULL : e);
			first = first ? first : r;
		}
		free(names[i]);
	}
	free(names);
	regfree(&re);
	return first;
}
