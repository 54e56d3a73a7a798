/* SPDX-License-Identifier: Apache-2.0 */
/* What a container uses, from its cgroup on the host, in the JSON of `runc events`. The CLI's
 * thread. */
#ifndef KRUN_OCI_STATS_H
#define KRUN_OCI_STATS_H

#include <stddef.h>

struct error;

/*
 * One line {"type":"stats","id":...,"data":{...}} from the files of the cgroup directory @dir;
 * heap. Times are nanoseconds, sizes bytes; a limit "max" is 2^64 - 1. A file that is not there (a
 * controller that is off) counts as zeros.
 */
int stats_json(int dir, const char *id, char **out, size_t *len);

/* {"type":"oom","id":...} */
int stats_oom_json(const char *id, char **out, size_t *len);

/* "5s", "1m30s", "250ms": milliseconds, at least 1 and at most a day. -EINVAL and @e. */
int stats_interval(const char *text, unsigned *ms, struct error *e);

#endif
