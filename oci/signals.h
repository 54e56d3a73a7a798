/* SPDX-License-Identifier: Apache-2.0 */
/* Signals by name, as `kill` takes them and the guest's kernel counts them, and whose they are. */
#ifndef KRUN_OCI_SIGNALS_H
#define KRUN_OCI_SIGNALS_H

#include <stdbool.h>
#include <sys/types.h>

struct error;

/*
 * "9", "KILL", "sigkill", "RTMIN+3", "SIGRTMAX-1": the number (1-64), or -EINVAL and
 * `unknown signal "..."` in @e. RTMIN is 34, as for every program that uses a libc.
 */
int signal_parse(const char *s, struct error *e);

/*
 * Of a signal that reached one of our processes, by its number and what came with it (si_code,
 * si_pid): false when it tells of that process's own affairs, a child's end or a broken pipe; true
 * when somebody sent it, and it is to be passed on.
 */
bool signal_is_passed(int signo, int code, pid_t from);

#endif
