// SPDX-License-Identifier: Apache-2.0
/* The runtime's log sink. */
/*
 * How it works
 *
 * A line is made in a buffer on the stack and goes out in one write(2) or datagram, so lines of
 * several processes that append to the same file do not mix. Nothing is allocated, and neither
 * syslog(3) nor localtime() is used: the VMM process logs after it has lost the host's files. For
 * the same reason the fd is opened once, before that.
 *
 * Text that came from a config or a guest is made one line: escaped for JSON, control characters
 * made blanks elsewhere, and cut at OCI_LOG_LINE. A sink that cannot be written is not an error of
 * the command that wanted to log.
 */
/* #syscalls:all write writev sendto */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "oci/json_text.h"
#include "oci/log.h"
#include "util/err.h"
#include "util/util.h"

enum kind {
	TO_STDERR,
	TO_FILE,
	TO_JOURNAL,
	TO_SYSLOG,
};

static struct {
	enum kind kind;
	int fd;
	bool json;
	enum oci_level max;
	bool alone;
	char id[64];
} sink = { .fd = -1 };

static const char *const LEVELS[] = { "error", "warning", "debug" };
/* Of syslog(3), whose header has the same names as libvmm's levels. */
static const int PRIORITIES[] = { 3, 4, 7 };
#define FACILITY_DAEMON (3 << 3)

static void write_all(int fd, const char *s, size_t n)
{
	while (n) {
		ssize_t r = write(fd, s, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return;
		s += r;
		n -= (size_t)r;
	}
}

/* RFC 3339 in UTC with microseconds; by hand, as gmtime_r() may look at files of the time zone. */
static void now(char *buf, size_t size)
{
	struct timespec ts = { 0 };
	long days, secs, era, doe, yoe, doy, mp, year;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	days = (long)(ts.tv_sec / 86400);
	secs = (long)(ts.tv_sec % 86400);
	/* Days since 0000-03-01, split into 400-year eras: every leap day is the last of its year.
	 */
	days += 719468;
	era = days / 146097;
	doe = days % 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	year = yoe + era * 400 + (mp >= 10);
	(void)snprintf(buf, size, "%04ld-%02ld-%02ldT%02ld:%02ld:%02ld.%06ldZ", year,
		mp < 10 ? mp + 3 : mp - 9, doy - (153 * mp + 2) / 5 + 1, secs / 3600,
		secs / 60 % 60, secs % 60, ts.tv_nsec / 1000);
}

/* Escapes for JSON, or makes one line for text; stops before @size. Returns the length. */
static size_t put_text(char *buf, size_t size, bool json, const char *s)
{
	size_t len = strlen(s), n = 0, off = 0;

	while (off < len && n + 8 < size) {
		size_t step = utf8_step(s + off, len - off);
		unsigned char c = (unsigned char)s[off];

		if (!step) {
			memcpy(buf + n, "\xef\xbf\xbd", 3);
			n += 3;
			step = 1;
		} else if (c < 0x20 || c == 0x7f) {
			n += (size_t)snprintf(buf + n, size - n, json ? "\\u%04x" : " ", c);
		} else {
			if (json && (c == '"' || c == '\\'))
				buf[n++] = '\\';
			memcpy(buf + n, s + off, step);
			n += step;
		}
		off += step;
	}
	buf[n] = '\0';
	return n;
}

size_t oci_log_format(char *buf, bool json, enum oci_level level, const char *msg)
{
	char text[OCI_LOG_LINE - 128], when[64];
	int n;

	now(when, sizeof(when));
	(void)put_text(text, sizeof(text), json, msg);
	if (json)
		n = snprintf(buf, OCI_LOG_LINE,
			"{\"msg\":\"%s\",\"level\":\"%s\",\"time\":\"%s\"}\n", text, LEVELS[level],
			when);
	else
		n = snprintf(buf, OCI_LOG_LINE, "time=\"%s\" level=%s msg=%s\n", when,
			LEVELS[level], text);
	return n > 0 ? MIN((size_t)n, (size_t)OCI_LOG_LINE - 1) : 0;
}

/* One datagram: the journal's native protocol is lines of NAME=value, syslog's a number in
 * brackets. */
static void to_socket(enum oci_level level, const char *msg)
{
	char line[OCI_LOG_LINE], text[OCI_LOG_LINE - 128];
	int n;

	(void)put_text(text, sizeof(text), false, msg);
	if (sink.kind == TO_JOURNAL)
		n = snprintf(line, sizeof(line), "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=%s\n",
			PRIORITIES[level], sink.id, text);
	else
		n = snprintf(line, sizeof(line), "<%d>%s[%d]: %s",
			FACILITY_DAEMON | PRIORITIES[level], sink.id, (int)getpid(), text);
	if (n > 0)
		(void)send(sink.fd, line, MIN((size_t)n, sizeof(line) - 1), MSG_NOSIGNAL);
}

static void to_stderr(const char *msg)
{
	char line[OCI_LOG_LINE];
	size_t n = put_text(line, sizeof(line) - 1, false, msg);
	struct iovec iov[] = {
		{ .iov_base = (char *)(uintptr_t) "krun-oci: ", .iov_len = 10 },
		{ .iov_base = line, .iov_len = n + 1 },
	};

	line[n] = '\n';
	if (writev(STDERR_FILENO, iov, 2) < 0)
		return; /* nobody is left to be told */
}

static void emit(enum oci_level level, const char *msg)
{
	int saved = errno;
	char line[OCI_LOG_LINE];

	switch (sink.kind) {
	case TO_STDERR:
		to_stderr(msg);
		break;
	case TO_FILE:
		write_all(sink.fd, line, oci_log_format(line, sink.json, level, msg));
		break;
	case TO_JOURNAL:
	case TO_SYSLOG:
		to_socket(level, msg);
		break;
	}
	errno = saved;
}

void oci_log(enum oci_level level, const char *fmt, ...)
{
	char msg[OCI_LOG_LINE];
	va_list ap;

	if (level > sink.max)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	emit(level, msg);
}

void oci_log_fail(const char *msg)
{
	if (sink.kind != TO_STDERR)
		emit(OCI_ERROR, msg);
	to_stderr(msg);
}

void oci_log_alone(void)
{
	sink.alone = true;
}

void oci_log_sink(enum log_level level, const char *line)
{
	enum oci_level to = level > LOG_WARN	   ? OCI_DEBUG
		: level == LOG_ERROR && sink.alone ? OCI_ERROR
						   : OCI_WARNING;

	if (to <= sink.max)
		emit(to, line);
}

int oci_log_fd(void)
{
	return sink.kind == TO_STDERR ? -1 : sink.fd;
}

void oci_log_close(void)
{
	if (sink.fd >= 0)
		(void)close(sink.fd);
	sink.fd = -1;
	sink.kind = TO_STDERR;
	sink.alone = false;
}

static int open_file(const char *path, struct error *e)
{
	sink.fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
	if (sink.fd < 0)
		return err_sys(e, errno, "cannot open the log file %s", QUOTE(path));
	sink.kind = TO_FILE;
	return 0;
}

static int open_socket(const char *path, enum kind kind, struct error *e)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	(void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	sink.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sink.fd < 0 ||
		connect(sink.fd, (const struct sockaddr *)(const void *)&to, sizeof(to))) {
		int code = errno;

		oci_log_close();
		return err_sys(e, code, "cannot reach the log at %s", path);
	}
	sink.kind = kind;
	return 0;
}

static int open_target(const char *target, struct error *e)
{
	const char *id = strchr(target, ':');
	bool journal = !strncmp(target, "journald:", 9), sys = !strncmp(target, "syslog:", 7);

	if (!strncmp(target, "file:", 5))
		return open_file(target + 5, e);
	if (!journal && !sys)
		return open_file(target, e);
	(void)snprintf(sink.id, sizeof(sink.id), "%.*s", (int)strcspn(id + 1, "\n"), id + 1);
	return journal ? open_socket("/run/systemd/journal/socket", TO_JOURNAL, e)
		       : open_socket("/dev/log", TO_SYSLOG, e);
}

int oci_log_open(const char *target, const char *format, const char *level, struct error *e)
{
	size_t l = 0;

	oci_log_close();
	if (level)
		while (l < ARRAY_SIZE(LEVELS) && strcmp(level, LEVELS[l]) != 0)
			l++;
	if (l == ARRAY_SIZE(LEVELS))
		return err_set(e, EINVAL, "unknown log level %s", QUOTE(level));
	sink.max = (enum oci_level)l;
	if (format && strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
		return err_set(e, EINVAL, "unknown log format %s", QUOTE(format));
	sink.json = format && !strcmp(format, "json");
	return target && *target ? open_target(target, e) : 0;
}
