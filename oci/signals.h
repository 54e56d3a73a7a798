/* SPDX-License-Identifier: Apache-2.0 */
/* Signals by name, as `kill` takes them and the guest's kernel counts them. Pure functions. */
#ifndef KRUN_OCI_SIGNALS_H
#define KRUN_OCI_SIGNALS_H

struct error;

/*
 * "9", "KILL", "sigkill", "RTMIN+3", "SIGRTMAX-1": the number (1-64), or -EINVAL and
 * `unknown signal "..."` in @e. RTMIN is 34, as for every program that uses a libc.
 */
int signal_parse(const char *s, struct error *e);

#endif
