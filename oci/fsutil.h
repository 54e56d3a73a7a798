/* SPDX-License-Identifier: Apache-2.0 */
/* Small files and paths, always relative to a directory fd. Errors are -errno. */
#ifndef KRUN_OCI_FSUTIL_H
#define KRUN_OCI_FSUTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/util.h"

/* openat2(2) with @resolve (RESOLVE_*); flags get O_CLOEXEC. */
int open2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) NODISCARD;
/* Opens @path as the process whose root is @rootfd would see it: symlinks and ".." stay inside. */
int open_in_root(int rootfd, const char *path, int flags) NODISCARD;

/* Reads a whole file of at most @max bytes into a NUL-terminated heap buffer. @len may be NULL.
 * -EFBIG. */
int read_file_at(int dirfd, const char *name, size_t max, char **out, size_t *len) NODISCARD;
/* Writes to a file that exists already in one write (cgroup, proc files). */
int write_existing_at(int dirfd, const char *name, const char *text) NODISCARD;
/* Creates or replaces @name: temporary file in the same directory, then rename. Readers see old or
 * new. */
int write_file_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode) NODISCARD;
/* The same for a path given by the user. */
int write_file_path(const char *path, const void *data, size_t len, mode_t mode) NODISCARD;
int write_full(int fd, const void *data, size_t len) NODISCARD;

/* mkdir -p below @dirfd; existing directories are fine. @path may be absolute with dirfd AT_FDCWD.
 */
int mkdir_p(int dirfd, const char *path, mode_t mode) NODISCARD;
/* Removes @name below @dirfd and everything in it, crossing no symlink; depth at most 8. -ENOENT is
 * 0. */
int remove_tree_at(int dirfd, const char *name) NODISCARD;

/* Fields 22 and 3 of /proc/PID/stat; -ESRCH when there is no such process. */
int proc_start_time(pid_t pid, uint64_t *start, char *state) NODISCARD;
/* Whether a process in @state has ended, and only its exit status is left. */
static inline bool proc_has_ended(char state)
{
	return state == 'Z' || state == 'X';
}

#endif
