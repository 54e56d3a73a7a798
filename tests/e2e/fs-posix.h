/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system suite: each call with each error that its manual page names, as lines of text.
 *
 * fs-posix.c says how it is used. A line is "PART: what = result", where the result is a number, or
 * an errno by name. What is printed must not depend on the machine or the time.
 */
#ifndef KRUN_TESTS_E2E_FS_POSIX_H
#define KRUN_TESTS_E2E_FS_POSIX_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef O_TMPFILE
#error "needs _GNU_SOURCE"
#endif

extern const char *part;
extern bool root; /* run by uid 0 */

void line(const char *what, long r, int e);
/* Type, mode, owner, links and size of @path itself. */
void show(const char *what, const char *path);
void show_fd(const char *what, int fd);
/* A file of @n bytes: 'a', 'b', ... */
void make(const char *path, mode_t mode, size_t n);
/* The first bytes of @path, as text. */
void content(const char *what, const char *path);
/* In a child, whose lines are printed; as an ordinary user. */
void apart(void (*fn)(void));
void as_user(unsigned uid, void (*fn)(void));
/* SIGALRM every @seconds from now on, 0: no more. Again and again, as the first may come before the
 * call that it is to interrupt. */
void ring(int seconds);
/* Every call by path with @path, from @dir; every call by descriptor with @fd (fs-posix-cross.c).
 */
void each_path(const char *what, int dir, const char *path);
void each_fd(const char *what, int fd);

#define T(what, call)                  \
	do {                           \
		long r_;               \
		errno = 0;             \
		r_ = (long)(call);     \
		line(what, r_, errno); \
	} while (0)

/* A call that gives a descriptor: only whether it did. */
#define FD(what, call)                              \
	do {                                        \
		int f_;                             \
		errno = 0;                          \
		f_ = (int)(call);                   \
		line(what, f_ < 0 ? -1 : 0, errno); \
		if (f_ >= 0)                        \
			(void)close(f_);            \
	} while (0)

void names_part(void);
void move_part(void);
void attr_part(void);
void xattr_part(void);
void user_part(void);
void data_part(void);
void space_part(void);
void lock_part(void);
void mount_part(void);
void cross_part(void);
void open_part(void);
void map_part(void);
void binds_part(void);
void full_part(void);
void links_part(void);
void fat_part(void);
/* What a program does that another one looks at while it runs. */
int wait_mode(void);

#endif
