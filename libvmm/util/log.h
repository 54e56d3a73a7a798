/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log sink: the only global of libvmm.
 *
 * Callable from any thread, keeps errno, allocates nothing. What a guest can trigger goes through
 * log_guest(), which lets LOG_GUEST_BURST lines pass per second and call site and counts the rest.
 */
#ifndef KRUN_UTIL_LOG_H
#define KRUN_UTIL_LOG_H

#include <stdarg.h>
#include <stdint.h>

enum log_level {
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG,
};

#define LOG_LINE_MAX	512
#define LOG_GUEST_BURST 5

/* @line is NUL-terminated, without newline; called under no lock, maybe from several threads. */
typedef void log_sink_fn(enum log_level level, const char *line);

/* Before any thread exists. NULL restores the default, which drops everything. */
void log_set_sink(log_sink_fn *fn, enum log_level max);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...)   log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

struct log_rate {
	uint64_t second;  /* CLOCK_MONOTONIC second of the window */
	uint32_t count;	  /* lines in this window */
	uint32_t dropped; /* lines that did not pass since the last that did */
};

void log_limited(struct log_rate *r, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_guest(...)                                      \
	do {                                                \
		static struct log_rate rate_;               \
		log_limited(&rate_, LOG_WARN, __VA_ARGS__); \
	} while (0)

#endif
