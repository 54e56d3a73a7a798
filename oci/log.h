/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime's log: --log, --log-format, --log-level, and stderr.
 *
 * Managers read both. podman takes the whole log file as one JSON object, so a command that fails
 * writes exactly one error: the one that its main function reports by oci_log_fail(). All the rest
 * (warnings, what libvmm says) stays below level error, which is the default threshold, until the
 * VMM is on its own: then what it calls an error is one, as nobody else would tell. Each line is
 * one write(2). Callable from any thread after oci_log_open(); the sink is the process's one global
 * of oci/.
 */
#ifndef KRUN_OCI_LOG_H
#define KRUN_OCI_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "util/log.h"

struct error;

enum oci_level {
	OCI_ERROR,
	OCI_WARNING,
	OCI_DEBUG,
};

/*
 * @target: NULL (stderr only), a path, "file:PATH", "journald:ID" or "syslog:ID". @format: NULL,
 * "text" or "json". @level: NULL, "error", "warning" or "debug". 0, or -errno and @e (stderr still
 * works then). The fd is close-on-exec.
 */
int oci_log_open(const char *target, const char *format, const char *level, struct error *e);
void oci_log_close(void);

/* The fd of the target, -1 when that is stderr: for those who close all others. */
int oci_log_fd(void);

/* To the log where the level passes; to stderr only where there is no log. */
void oci_log(enum oci_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The one error of a failed command: to the log and, as "krun-oci: ...", to stderr. */
void oci_log_fail(const char *msg);

/* No command reports for this process any more. */
void oci_log_alone(void);
/* For log_set_sink(): errors become warnings as long as a command reports, see above. */
void oci_log_sink(enum log_level level, const char *line);

#define OCI_LOG_LINE 1024
/* One line of the log with its newline into @buf (OCI_LOG_LINE bytes): its length. Pure but for the
 * clock. */
size_t oci_log_format(char *buf, bool json, enum oci_level level, const char *msg);

#endif
