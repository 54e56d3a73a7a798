/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound ownership.
 *
 * A local marked CLEAN_* is released when it leaves scope; TAKE_FD()/TAKE_PTR() hand it on. Define
 * and assign such a variable in one statement, and never use goto in a function that has one: the
 * two ways of cleaning up do not know of each other.
 */
#ifndef KRUN_UTIL_CLEANUP_H
#define KRUN_UTIL_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void clean_free_(void *p)
{
	free(*(void **)p);
}

static inline void clean_fd_(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

static inline void clean_file_(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void clean_dir_(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static inline int take_fd_(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

static inline void *take_ptr_(void **p)
{
	void *v = *p;

	*p = NULL;
	return v;
}

#define CLEAN_FREE __attribute__((cleanup(clean_free_)))
#define CLEAN_FD   __attribute__((cleanup(clean_fd_)))
#define CLEAN_FILE __attribute__((cleanup(clean_file_)))
#define CLEAN_DIR  __attribute__((cleanup(clean_dir_)))
/* CLEAN(fn): fn takes a pointer to the variable. */
#define CLEAN(fn) __attribute__((cleanup(fn)))

#define TAKE_FD(fd) take_fd_(&(fd))
#define TAKE_PTR(p) ((__typeof__(p))take_ptr_((void **)(void *)&(p)))

#endif
