// SPDX-License-Identifier: Apache-2.0
/* pause and resume. */
#include "src/cli.h"

static const struct opt no_opts[] = { OPT_END };

static int pause_(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	(void)n;
	return rt_pause(rt, args[0], e) ? 1 : 0;
}

const struct cmd cmd_pause = { "pause", "ID", "Stop the CPUs of a container's VM",
	"Nothing of the guest runs until \"resume\"; signals wait, but KILL.", no_opts, 1, 1,
	pause_ };

static int resume(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	(void)n;
	return rt_resume(rt, args[0], e) ? 1 : 0;
}

const struct cmd cmd_resume = { "resume", "ID", "Let a paused container go on", NULL, no_opts, 1, 1,
	resume };
