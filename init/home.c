// SPDX-License-Identifier: Apache-2.0
/* The environment: HOME, where the config sets none, from the container's own /etc/passwd, as other
 * runtimes do; and LISTEN_PID, which only the process itself knows. */
#include "agent.h"
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWD_MAX (1u << 20)

/* All of the file, NUL-terminated; NULL when there is none that can be read without waiting. */
static char *read_passwd(void)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *text = NULL;
	size_t len = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= PASSWD_MAX)
		text = malloc(PASSWD_MAX + 1);
	while (text && len < PASSWD_MAX && (n = read(fd, text + len, PASSWD_MAX - len)) != 0) {
		if (n > 0)
			len += (size_t)n;
		else if (errno != EINTR)
			break;
	}
	if (text)
		text[len] = 0;
	(void)close(fd);
	return text;
}

/* The sixth field of the first line "name:password:@uid:gid:comment:home:shell" with this uid. */
static char *find_home(char *text, uint32_t uid)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *field[7] = { line }, *end;
		size_t n = 1;

		for (char *p = line; n < 7 && (p = strchr(p, ':')); n++) {
			*p++ = 0;
			field[n] = p;
		}
		if (n < 6 || field[2][0] < '0' || field[2][0] > '9')
			continue;
		if (strtoul(field[2], &end, 10) == uid && !*end)
			return field[5];
	}
	return NULL;
}

static void set_listen_pid(const struct blob_view *s)
{
	static char word[32];

	for (size_t i = 0; s->nfds && i < s->nenv; i++) {
		if (strncmp(s->env[i], "LISTEN_PID=", 11) != 0)
			continue;
		(void)snprintf(word, sizeof(word), "LISTEN_PID=%d", (int)getpid());
		s->env[i] = word;
	}
}

char **env_with_home(const struct blob_view *s)
{
	char *text, **env, *home;
	const char *dir = NULL;

	set_listen_pid(s);
	for (size_t i = 0; i < s->nenv; i++) {
		if (!strncmp(s->env[i], "HOME=", 5))
			return s->env;
	}
	text = read_passwd();
	if (text)
		dir = find_home(text, s->p.uid);
	if (!dir || !*dir)
		dir = "/";
	env = calloc(s->nenv + 2, sizeof(*env));
	home = malloc(strlen(dir) + sizeof("HOME="));
	if (!env || !home)
		return s->env;
	if (s->nenv)
		memcpy(env, s->env, s->nenv * sizeof(*env));
	memcpy(home, "HOME=", 5);
	memcpy(home + 5, dir, strlen(dir) + 1);
	env[s->nenv] = home;
	return env; /* execve() is the end of all of it */
}
