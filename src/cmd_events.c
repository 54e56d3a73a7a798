// SPDX-License-Identifier: Apache-2.0
/* events. */
#include "oci/stats.h"
#include "src/cli.h"

static bool stats;
static const char *interval = "5s";

static int events(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	unsigned ms = 0;

	(void)n;
	return stats_interval(interval, &ms, e) || rt_events(rt, args[0], stats, ms, stdout, e) ? 1
												: 0;
}

static const struct opt events_opts[] = {
	{ "interval", 0, OPT_STRING, "TIME", "between two lines of figures (default 5s)",
		&interval },
	{ "stats", 0, OPT_FLAG, NULL, "print the figures once, and end", &stats },
	OPT_END,
};

const struct cmd cmd_events = { "events", "ID",
	"Print what a container uses, and when it runs out of memory",
	"One JSON object a line: figures of its cgroup (\"stats\") at every interval, and \"oom\" each time\n"
	"the guest's kernel kills a process for lack of memory. Ends with the container.",
	events_opts, 1, 1, events };
