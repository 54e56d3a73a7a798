// SPDX-License-Identifier: Apache-2.0
/* What a network namespace forbids its own packets, and cannot forbid those that are redirected. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/nic_look.h"
#include "oci/rtnl.h"
#include "util/cleanup.h"
#include "util/util.h"

/* Those of every namespace: "local", "main" and "default", for everything. */
static bool is_usual(const struct fib_rule_hdr *r, const struct rtattr *const *a)
{
	uint32_t prio = 0, table = r->table;

	(void)rtnl_get(a[FRA_PRIORITY], &prio, sizeof(prio));
	(void)rtnl_get(a[FRA_TABLE], &table, sizeof(table));
	return r->action == FR_ACT_TO_TBL && !r->src_len && !r->dst_len && !r->tos &&
		!a[FRA_IIFNAME] && !a[FRA_OIFNAME] && !a[FRA_FWMARK] &&
		((!prio && table == RT_TABLE_LOCAL) || (prio == 32766 && table == RT_TABLE_MAIN) ||
			(prio == 32767 && table == RT_TABLE_DEFAULT));
}

static int on_rule(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[FRA_OIFNAME + 1];
	struct fib_rule_hdr r;

	if (h->nlmsg_type != RTM_NEWRULE || n < sizeof(r))
		return 0;
	(void)memcpy(&r, p, sizeof(r));
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(r)), n - sizeof(r), a, ARRAY_SIZE(a));
	*(unsigned *)arg += !is_usual(&r, a);
	return 0;
}

static int on_table(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	(void)p;
	(void)n;
	*(unsigned *)arg += h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE);
	return 0;
}

/* Asking loads the module, and where it is not loaded there are none. */
static unsigned nft_tables(void)
{
	const struct nfgenmsg all = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
	CLEAN_FD int fd = -1;
	unsigned n = 0;

	if (access("/sys/module/nf_tables", F_OK))
		return 0;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd >= 0)
		(void)rtnl_list(fd, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, &all, sizeof(all),
			on_table, &n);
	return n;
}

/* The tables of iptables that have been used in the namespace, a line each. */
static unsigned old_tables(const char *path)
{
	CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	char names[256];
	ssize_t len = fd < 0 ? 0 : read(fd, names, sizeof(names));
	unsigned n = 0;

	for (ssize_t i = 0; i < len; i++)
		n += names[i] == '\n';
	return n;
}

void nic_walls(int fd, struct nic_if *out)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	out->rules = 0;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct fib_rule_hdr r = { .family = families[i] };

		(void)rtnl_list(fd, RTM_GETRULE, &r, sizeof(r), on_rule, &out->rules);
	}
	out->tables = nft_tables() + old_tables("/proc/self/net/ip_tables_names") +
		old_tables("/proc/self/net/ip6_tables_names");
}
