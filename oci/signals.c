// SPDX-License-Identifier: Apache-2.0
/* Signal names and numbers. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "oci/json_text.h"
#include "oci/signals.h"
#include "util/err.h"
#include "util/util.h"

#define RT_MIN 34
#define RT_MAX 64
#define SIG(n)             \
	{                  \
#n, SIG##n \
	}

static const struct {
	const char *name;
	int number;
} SIGNALS[] = {
	SIG(HUP),
	SIG(INT),
	SIG(QUIT),
	SIG(ILL),
	SIG(TRAP),
	SIG(ABRT),
	SIG(IOT),
	SIG(BUS),
	SIG(FPE),
	SIG(KILL),
	SIG(USR1),
	SIG(SEGV),
	SIG(USR2),
	SIG(PIPE),
	SIG(ALRM),
	SIG(TERM),
	SIG(CHLD),
	SIG(CONT),
	SIG(STOP),
	SIG(TSTP),
	SIG(TTIN),
	SIG(TTOU),
	SIG(URG),
	SIG(XCPU),
	SIG(XFSZ),
	SIG(VTALRM),
	SIG(PROF),
	SIG(WINCH),
	SIG(IO),
	SIG(POLL),
	SIG(PWR),
	SIG(SYS),
	SIG(STKFLT),
	{ "CLD", SIGCHLD },
};

/* One or two digits and nothing else, or -1. */
static int small_number(const char *s)
{
	size_t n = strspn(s, "0123456789");

	if (!n || n > 2 || s[n])
		return -1;
	return n == 1 ? s[0] - '0' : (s[0] - '0') * 10 + s[1] - '0';
}

/* What follows "RTMIN" (sign '+') or "RTMAX" (sign '-'): the offset, 0 when nothing, or -1. */
static int rt_offset(const char *s, char sign)
{
	if (!*s)
		return 0;
	return *s == sign ? small_number(s + 1) : -1;
}

static int lookup(const char *s)
{
	int n = small_number(s);

	if (n >= 0)
		return n;
	if (!strncasecmp(s, "SIG", 3))
		s += 3;
	if (!strncasecmp(s, "RTMIN", 5)) {
		n = rt_offset(s + 5, '+');
		return n < 0 ? -1 : RT_MIN + n;
	}
	if (!strncasecmp(s, "RTMAX", 5)) {
		n = rt_offset(s + 5, '-');
		return n < 0 || n > RT_MAX - RT_MIN ? -1 : RT_MAX - n;
	}
	for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++)
		if (!strcasecmp(s, SIGNALS[i].name))
			return SIGNALS[i].number;
	return -1;
}

int signal_parse(const char *s, struct error *e)
{
	int n = lookup(s);

	if (n < 1 || n > RT_MAX)
		return err_set(e, EINVAL, "unknown signal %s", QUOTE(s));
	return n;
}

bool signal_is_passed(int signo, int code, pid_t from)
{
	if (signo != SIGCHLD && signo != SIGPIPE)
		return true;
	/* a broken pipe comes with the code of kill(), and from whom wrote */
	return code <= 0 && from != getpid();
}
