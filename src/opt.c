// SPDX-License-Identifier: Apache-2.0
/* Reads options as the clients of runc and crun write them. */
/*
 * How it works: a word with one dash or two is looked up as a name; one with a single dash that is
 * none is read letter by letter. What is no option moves to the front of argv, where the verb finds
 * its arguments. Nothing is looked at twice, and the first mistake is the answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/cli.h"

static const struct opt *find(const struct opt *opts, const char *name, size_t n)
{
	for (const struct opt *o = opts; o->name; o++) {
		if (strlen(o->name) == n && !strncmp(o->name, name, n))
			return o;
	}
	return NULL;
}

static const struct opt *find_letter(const struct opt *opts, char c)
{
	for (const struct opt *o = opts; o->name; o++) {
		if (o->letter == c)
			return o;
	}
	return NULL;
}

static int set_flag(const struct opt *o, const char *value, const char *word, struct error *e)
{
	bool on = true;

	if (value && (!strcmp(value, "false") || !strcmp(value, "0")))
		on = false;
	else if (value && strcmp(value, "true") && strcmp(value, "1"))
		return err_set(e, EINVAL, "%.100s: takes true or false", word);
	if (o->to)
		*(bool *)o->to = on;
	return 0;
}

static int add_word(struct rt_words *w, const char *value, struct error *e)
{
	const char **more = realloc(w->v, (w->n + 1) * sizeof(*more));

	if (!more)
		return err_sys(e, ENOMEM, "arguments");
	w->v = more;
	w->v[w->n++] = value;
	return 0;
}

/* One option; *i is moved on when its value is the next word. */
static int apply(
	const struct opt *o, const char *value, char **argv, int argc, int *i, struct error *e)
{
	const char *word = argv[*i];

	if (o->kind == OPT_FLAG)
		return set_flag(o, value, word, e);
	if (!value && o->kind != OPT_MAYBE) {
		if (*i + 1 >= argc)
			return err_set(e, EINVAL, "%.100s: flag needs an argument", word);
		value = argv[++*i];
	}
	if (o->to && o->kind == OPT_LIST)
		return add_word(o->to, value, e);
	if (o->to)
		*(const char **)o->to = value;
	return 0;
}

static bool is_help(const char *w)
{
	return !strcmp(w, "--help") || !strcmp(w, "-h") || !strcmp(w, "-help");
}

static int unknown(const char *word, struct error *e)
{
	return err_set(e, EINVAL, "unknown flag: %.120s", word);
}

/* "-t", "-td", "-tu7", "-u=7": one letter after the other, until one takes the rest as its value.
 */
static int letters(const struct opt *opts, char **argv, int argc, int *i, struct error *e)
{
	const char *w = argv[*i], *value = NULL;

	for (const char *c = w + 1; *c && !value; c++) {
		const struct opt *o = find_letter(opts, *c);
		int r;

		if (!o)
			return unknown(w, e);
		if (c[1] == '=')
			value = c + 2;
		else if (c[1] && (o->kind == OPT_STRING || o->kind == OPT_LIST))
			value = c + 1;
		r = apply(o, value, argv, argc, i, e);
		if (r)
			return r;
	}
	return 0;
}

static int one(const struct opt *opts, char **argv, int argc, int *i, struct error *e)
{
	const char *w = argv[*i], *name = w + 1;
	const char *eq = strchr(w, '=');
	const struct opt *o;

	/* "-name" is read as "--name": some shims write it so */
	if (w[1] == '-')
		name++;
	o = find(opts, name, eq ? (size_t)(eq - name) : strlen(name));
	if (o)
		return apply(o, eq ? eq + 1 : NULL, argv, argc, i, e);
	return w[1] == '-' ? unknown(w, e) : letters(opts, argv, argc, i, e);
}

int opt_parse(
	const struct opt *opts, char **argv, int argc, bool stop, unsigned *n, struct error *e)
{
	bool only_args = false;

	*n = 0;
	for (int i = 0; i < argc; i++) {
		char *w = argv[i];
		int r;

		if (only_args || w[0] != '-' || !w[1]) {
			argv[(*n)++] = w;
			if (!stop)
				continue;
			/* everything after the first word belongs to somebody else */
			while (++i < argc)
				argv[(*n)++] = argv[i];
			return 0;
		}
		if (!strcmp(w, "--")) {
			only_args = true;
			continue;
		}
		if (is_help(w))
			return 1;
		r = one(opts, argv, argc, &i, e);
		if (r)
			return r;
	}
	return 0;
}

void opt_help(const struct opt *opts)
{
	for (const struct opt *o = opts; o->name; o++) {
		char left[64];

		if (!o->help)
			continue;
		(void)snprintf(left, sizeof(left), "%c%c%c --%s%s%s", o->letter ? '-' : ' ',
			o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name,
			o->arg && o->kind != OPT_MAYBE ? " " : "",
			o->arg && o->kind != OPT_MAYBE ? o->arg : "");
		(void)printf("  %-30s %s\n", left, o->help);
	}
}
