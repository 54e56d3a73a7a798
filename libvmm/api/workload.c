// SPDX-License-Identifier: Apache-2.0
/* Kernel and workload: what is run, how, and how it is told to end. */
/*
 * How it works
 *
 * What is set together is checked together and then put in place, so that a call that fails leaves
 * what was there. A kernel has to be readable when it is named; it is opened again at the start. An
 * environment that is not given is copied from this process at once, as the caller may change it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/api.h"
#include "util/cleanup.h"

#define RLIMITS 16 /* of Linux: RLIM_NLIMITS */

static bool can_read(const char *path)
{
	CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd >= 0;
}

/* A command line is one line of what can be printed. */
static bool is_line(const char *s)
{
	size_t n = strnlen(s, LIM_API_CMDLINE);

	for (size_t i = 0; i < n; i++) {
		if (s[i] < ' ' || s[i] > '~')
			return false;
	}
	return n < LIM_API_CMDLINE;
}

int32_t krun_set_kernel(uint32_t ctx_id, const char *kernel_path, uint32_t kernel_format,
	const char *initramfs, const char *cmdline)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	CLEAN_FREE char *k = NULL;
	CLEAN_FREE char *i = NULL;
	CLEAN_FREE char *l = NULL;
	int r;

	if (!c)
		return -ENOENT;
	if (kernel_format > KRUN_KERNEL_FORMAT_IMAGE_ZSTD || (cmdline && !is_line(cmdline)))
		return -EINVAL;
	r = api_set(&k, kernel_path, LIM_API_PATH);
	if (!r)
		r = api_set_or_null(&i, initramfs, LIM_API_PATH);
	if (!r)
		r = api_set_or_null(&l, cmdline, LIM_API_CMDLINE);
	if (!r && (!can_read(k) || (i && !can_read(i))))
		r = -EINVAL;
	if (r)
		return r;
	free(c->kernel);
	free(c->initramfs);
	free(c->cmdline);
	c->kernel = TAKE_PTR(k);
	c->initramfs = TAKE_PTR(i);
	c->cmdline = TAKE_PTR(l);
	c->kernel_format = kernel_format;
	return 0;
}

int32_t krun_set_firmware(uint32_t ctx_id, const char *firmware_path)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	return api_check(firmware_path, LIM_API_PATH) ? -EINVAL : -ENOTSUP;
}

int32_t krun_set_workdir(uint32_t ctx_id, const char *workdir_path)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	char path[LIM_API_PATH];
	int r;

	if (!c)
		return -ENOENT;
	r = api_check(workdir_path, LIM_API_PATH - 1);
	if (r)
		return r;
	(void)snprintf(path, sizeof(path), "%s%s", *workdir_path == '/' ? "" : "/", workdir_path);
	return api_set_or_null(&c->workdir, *workdir_path ? path : NULL, LIM_API_PATH);
}

extern char **environ;

/* The caller's list, or this process's environment: of that, what is text and no surprise. */
static int copy_env(struct api_list *to, const char *const envp[])
{
	const char *v[LIM_API_LIST + 1];
	size_t n = 0;

	if (envp)
		return api_set_list(to, envp);
	for (char **e = environ; e && *e && n < LIM_API_LIST; e++) {
		if (!api_check(*e, LIM_API_STR) && strchr(*e, '='))
			v[n++] = *e;
	}
	v[n] = NULL;
	return api_set_list(to, v);
}

int32_t krun_set_exec(
	uint32_t ctx_id, const char *exec_path, const char *const argv[], const char *const envp[])
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	struct api_list args = { .v = NULL }, env = { .v = NULL };
	int r;

	if (!c)
		return -ENOENT;
	if (!exec_path || !*exec_path)
		return -EINVAL;
	r = argv ? api_set_list(&args, argv) : 0;
	if (!r)
		r = copy_env(&env, envp);
	if (!r)
		r = api_set(&c->exec, exec_path, LIM_API_PATH);
	if (r) {
		api_list_free(&args);
		api_list_free(&env);
		return r;
	}
	api_list_free(&c->args);
	api_list_free(&c->env);
	c->args = args;
	c->env = env;
	c->env_set = true;
	return 0;
}

int32_t krun_set_env(uint32_t ctx_id, const char *const envp[])
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	int r;

	if (!c)
		return -ENOENT;
	r = copy_env(&c->env, envp);
	c->env_set |= !r;
	return r;
}

bool api_rlimit(const char *s, uint64_t v[3])
{
	return (api_number(&s, '=', RLIMITS - 1, &v[0]) ||
		       api_number(&s, ':', RLIMITS - 1, &v[0])) &&
		api_number(&s, ':', UINT64_MAX, &v[1]) && api_number(&s, '\0', UINT64_MAX, &v[2]) &&
		v[1] <= v[2];
}

/* Drops the entry of resource @which before entry @end. */
static void drop_rlimit(struct api_list *l, size_t *end, uint64_t which)
{
	uint64_t v[3];

	for (size_t i = 0; i < *end; i++) {
		if (!api_rlimit(l->v[i], v) || v[0] != which)
			continue;
		free(l->v[i]);
		l->n--;
		(*end)--;
		(void)memmove(&l->v[i], &l->v[i + 1], (l->n - i) * sizeof(l->v[0]));
		return;
	}
}

int32_t krun_set_rlimits(uint32_t ctx_id, const char *const rlimits[])
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	struct api_list l = { .v = NULL };
	uint64_t v[3];
	int r;

	if (!c)
		return -ENOENT;
	r = api_set_list(&l, rlimits);
	for (size_t i = 0; !r && i < l.n; i++) {
		if (!api_rlimit(l.v[i], v))
			r = -EINVAL;
		else
			drop_rlimit(&l, &i, v[0]);
	}
	if (r) {
		api_list_free(&l);
		return r;
	}
	api_list_free(&c->rlimits);
	c->rlimits = l;
	return 0;
}

int32_t krun_set_tee_config_file(uint32_t ctx_id, const char *filepath)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	return api_check(filepath, LIM_API_PATH) ? -EINVAL : -ENOTSUP;
}

int32_t krun_get_shutdown_eventfd(uint32_t ctx_id)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (c->shutdown_fd < 0) {
		CLEAN_FD int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0)
			return -errno;
		/* in the place of a stream that is closed it would pass for one */
		c->shutdown_fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (c->shutdown_fd < 0)
			return -errno;
	}
	return c->shutdown_fd;
}
