// SPDX-License-Identifier: GPL-2.0-only
/* Socket options of TSI: which go to the host, and when. */

/*
 * How it works
 *
 * Every option is set on the native socket first: that checks the value and the caller's rights, and is
 * what getsockopt() reads. Those of the table are remembered as well, and told to the host: at once when
 * it knows the socket, else behind OPEN. A few are asked of the host, as only it knows: TCP_INFO, the MTU
 * of the path, the segment size.
 *
 * What would work natively and silently do nothing on the host's side is refused: membership in
 * multicast groups, zero-copy with its notices, segmentation and corking of datagrams, changing
 * the family of a socket, and what says which way packets go: an interface, a mark, the choice among sockets
 * that share a port. Their defaults can be set.
 */

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/mroute.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/uaccess.h>

#include "guest.h"

static const struct tsi_optmap {
	int level, name;
	u8 opt;
} tsi_optmap[] = {
	{ SOL_SOCKET, SO_REUSEADDR, TSI_SO_REUSEADDR },
	{ SOL_SOCKET, SO_REUSEPORT, TSI_SO_REUSEPORT },
	{ SOL_SOCKET, SO_KEEPALIVE, TSI_SO_KEEPALIVE },
	{ SOL_SOCKET, SO_BROADCAST, TSI_SO_BROADCAST },
	{ SOL_SOCKET, SO_LINGER, TSI_SO_LINGER },
	{ SOL_SOCKET, SO_SNDBUF, TSI_SO_SNDBUF },
	{ SOL_SOCKET, SO_RCVBUF, TSI_SO_RCVBUF },
	{ SOL_SOCKET, SO_PRIORITY, TSI_SO_PRIORITY },
	{ SOL_SOCKET, SO_OOBINLINE, TSI_SO_OOBINLINE },
	{ SOL_SOCKET, SO_DONTROUTE, TSI_SO_DONTROUTE },
	{ SOL_IP, IP_TOS, TSI_IP_TOS },
	{ SOL_IP, IP_TTL, TSI_IP_TTL },
	{ SOL_IP, IP_MTU_DISCOVER, TSI_IP_MTU_DISCOVER },
	{ SOL_IP, IP_PKTINFO, TSI_IP_PKTINFO },
	{ SOL_IP, IP_BIND_ADDRESS_NO_PORT, TSI_IP_BIND_ADDRESS_NO_PORT },
	{ SOL_IP, IP_FREEBIND, TSI_IP_FREEBIND },
	{ SOL_IPV6, IPV6_FREEBIND, TSI_IP_FREEBIND },
	{ SOL_IPV6, IPV6_V6ONLY, TSI_IPV6_V6ONLY },
	{ SOL_IPV6, IPV6_TCLASS, TSI_IPV6_TCLASS },
	{ SOL_IPV6, IPV6_UNICAST_HOPS, TSI_IPV6_UNICAST_HOPS },
	{ SOL_IPV6, IPV6_MTU_DISCOVER, TSI_IPV6_MTU_DISCOVER },
	{ SOL_IPV6, IPV6_RECVPKTINFO, TSI_IP_PKTINFO },
	{ SOL_TCP, TCP_NODELAY, TSI_TCP_NODELAY },
	{ SOL_TCP, TCP_CORK, TSI_TCP_CORK },
	{ SOL_TCP, TCP_KEEPIDLE, TSI_TCP_KEEPIDLE },
	{ SOL_TCP, TCP_KEEPINTVL, TSI_TCP_KEEPINTVL },
	{ SOL_TCP, TCP_KEEPCNT, TSI_TCP_KEEPCNT },
	{ SOL_TCP, TCP_SYNCNT, TSI_TCP_SYNCNT },
	{ SOL_TCP, TCP_USER_TIMEOUT, TSI_TCP_USER_TIMEOUT },
	{ SOL_TCP, TCP_DEFER_ACCEPT, TSI_TCP_DEFER_ACCEPT },
	{ SOL_TCP, TCP_QUICKACK, TSI_TCP_QUICKACK },
	{ SOL_TCP, TCP_MAXSEG, TSI_TCP_MAXSEG },
	{ SOL_TCP, TCP_LINGER2, TSI_TCP_LINGER2 },
	{ SOL_TCP, TCP_WINDOW_CLAMP, TSI_TCP_WINDOW_CLAMP },
	{ SOL_TCP, TCP_NOTSENT_LOWAT, TSI_TCP_NOTSENT_LOWAT },
	{ SOL_TCP, TCP_CONGESTION, TSI_TCP_CONGESTION },
};

/* What is refused, with the errno of a kernel that was built without it. */
static int tsi_refused(const struct tsi_sock *ts, int level, int name)
{
	switch (level) {
	case SOL_SOCKET:
		switch (name) {
		case SO_ZEROCOPY:
		case SO_ATTACH_REUSEPORT_CBPF:
		case SO_ATTACH_REUSEPORT_EBPF:
			return -EOPNOTSUPP;
		}
		return 0;
	case SOL_IP:
		switch (name) {
		case IP_ADD_MEMBERSHIP:
		case IP_ADD_SOURCE_MEMBERSHIP:
		case MCAST_JOIN_GROUP:
		case MCAST_JOIN_SOURCE_GROUP:
		case MCAST_MSFILTER:
			return -EOPNOTSUPP;
		}
		return 0;
	case SOL_IPV6:
		switch (name) {
		case IPV6_ADD_MEMBERSHIP:
		case IPV6_JOIN_ANYCAST:
		case MCAST_JOIN_GROUP:
		case MCAST_JOIN_SOURCE_GROUP:
		case MCAST_MSFILTER:
		case IPV6_ADDRFORM:
			return -EOPNOTSUPP;
		}
		return 0;
	case SOL_UDP:
		return name == UDP_SEGMENT || name == UDP_CORK || name == UDP_ENCAP ? -ENOPROTOOPT : 0;
	}
	return 0;
}

/* Refused but for the value that they have anyway: 0, or no name. */
static bool tsi_by_value(int level, int name)
{
	return (level == SOL_SOCKET && (name == SO_BINDTODEVICE || name == SO_BINDTOIFINDEX || name == SO_MARK)) ||
	       (level == SOL_IP && (name == IP_UNICAST_IF || name == IP_TRANSPARENT)) ||
	       (level == SOL_IPV6 && (name == IPV6_UNICAST_IF || name == IPV6_TRANSPARENT));
}

static int tsi_refused_value(int level, int name, const u8 *val, unsigned int len)
{
	u32 v = 0;

	memcpy(&v, val, min_t(unsigned int, len, sizeof(v)));
	/* A name ends at its first zero. */
	if (name == SO_BINDTODEVICE && level == SOL_SOCKET)
		v &= 0xff;
	return v ? -EOPNOTSUPP : 0;
}

static const struct tsi_optmap *tsi_opt_find(int level, int name)
{
	int i;

	if (level == SOL_SOCKET && name == SO_SNDBUFFORCE)
		name = SO_SNDBUF;
	if (level == SOL_SOCKET && name == SO_RCVBUFFORCE)
		name = SO_RCVBUF;
	for (i = 0; i < ARRAY_SIZE(tsi_optmap); i++)
		if (tsi_optmap[i].level == level && tsi_optmap[i].name == name)
			return &tsi_optmap[i];
	return NULL;
}

static void tsi_opt_msg(struct tsi_sock *ts, struct tsi_batch *b, u8 opt)
{
	struct tsi_msg *m = tsi_batch_add(b, TSI_SETOPT, ts->id);

	m->arg[0] = cpu_to_le32(opt);
	m->arg[1] = cpu_to_le32(ts->opts[opt]);
	if (opt == TSI_SO_LINGER)
		m->arg[2] = cpu_to_le32(ts->linger_s);
	if (opt == TSI_TCP_CONGESTION)
		memcpy(m->data, ts->cc, sizeof(ts->cc));
}

void tsi_opts_add(struct tsi_sock *ts, struct tsi_batch *b)
{
	u8 opt;

	BUILD_BUG_ON(TSI_OPT_END > 64);
	for (opt = 1; opt < TSI_OPT_END; opt++)
		if (ts->optset & BIT_ULL(opt))
			tsi_opt_msg(ts, b, opt);
}

/* Remembers the value that the native socket has taken, of TSI_OPT_BYTES at most. */
static void tsi_opt_keep(struct tsi_sock *ts, u8 opt, const u8 *val, unsigned int len)
{
	struct linger ling;
	int n = 0;

	switch (opt) {
	case TSI_SO_LINGER:
		memcpy(&ling, val, sizeof(ling));
		ts->opts[opt] = ling.l_onoff;
		ts->linger_s = ling.l_linger;
		break;
	case TSI_TCP_CONGESTION:
		memset(ts->cc, 0, sizeof(ts->cc));
		memcpy(ts->cc, val, min_t(unsigned int, len, sizeof(ts->cc) - 1));
		break;
	default:
		if (len >= sizeof(n))
			memcpy(&n, val, sizeof(n));
		else if (len > 0)
			n = val[0];
		ts->opts[opt] = n;
	}
	ts->optset |= BIT_ULL(opt);
}

/* As much of an option's value as its native handler reads, and its error where that cannot be. */
static int tsi_opt_copy(int level, int name, u8 *to, sockptr_t val, unsigned int len)
{
	bool text = (level == SOL_TCP && name == TCP_CONGESTION) || (level == SOL_SOCKET && name == SO_BINDTODEVICE);
	unsigned int most = sizeof(int);
	bool bad;

	if (text)
		most = TSI_OPT_BYTES - 1;
	else if (level == SOL_SOCKET && name == SO_LINGER)
		most = sizeof(struct linger);
	/* IPv6 takes no value for 0. */
	if (level == SOL_IPV6 && sockptr_is_null(val))
		return 0;
	if (level == SOL_TCP && text)
		bad = len && strncpy_from_sockptr(to, val, min(len, most)) < 0;
	else
		bad = copy_from_sockptr(to, val, min(len, most));
	if (!bad)
		return 0;
	return len < sizeof(int) && level != SOL_IP && !text ? -EINVAL : -EFAULT;
}

static int tsi_opt_native(struct socket *sock, int level, int name, sockptr_t val, unsigned int len)
{
	if (level == SOL_SOCKET)
		return sock_setsockopt(sock, level, name, val, len);
	return sock->tsi->native->setsockopt(sock, level, name, val, len);
}

/* Under cfg. */
static int tsi_opt_set(struct socket *sock, int level, int name, u8 opt, u8 *val, unsigned int len)
{
	struct tsi_sock *ts = sock->tsi;
	struct tsi_batch *b;
	int err;

	/* Bound or connected; the native socket need not know. */
	if (opt == TSI_IPV6_V6ONLY && ts->local.family)
		return -EINVAL;
	err = tsi_opt_native(sock, level, name, KERNEL_SOCKPTR(val), len);
	if (err)
		return err;
	tsi_opt_keep(ts, opt, val, len);
	if (ts->id) {
		b = tsi_batch_new();
		tsi_opt_msg(ts, b, opt);
		(void)tsi_ctl_send(b);	/* its failure is the end of the socket */
	}
	return 0;
}

int tsi_setsockopt(struct socket *sock, int level, int name, sockptr_t val, unsigned int len)
{
	struct tsi_sock *ts = sock->tsi;
	const struct tsi_optmap *map = tsi_opt_find(level, name);
	bool by_value = tsi_by_value(level, name);
	u8 buf[TSI_OPT_BYTES] = { 0 };
	int err = tsi_refused(ts, level, name);

	if (err)
		return err;
	/*
	 * Once, and not under cfg: what is judged is what is set and what the host is told, and a page that is long
	 * in coming keeps nobody else waiting.
	 */
	if (!map && !by_value)
		return tsi_opt_native(sock, level, name, val, len);
	err = tsi_opt_copy(level, name, buf, val, len);
	if (err)
		return err;
	if (by_value) {
		err = tsi_refused_value(level, name, buf, len);
		return err ? : tsi_opt_native(sock, level, name, KERNEL_SOCKPTR(buf), len);
	}
	mutex_lock(&ts->cfg);
	err = tsi_opt_set(sock, level, name, map->opt, buf, len);
	mutex_unlock(&ts->cfg);
	return err;
}

/* What a listener was told its connections have; those on the host inherit by themselves. */
void tsi_opts_copy(struct socket *to, struct tsi_sock *ts, const struct tsi_sock *from)
{
	const struct tsi_optmap *map;
	struct linger ling;
	sockptr_t val;
	int i, len;

	ts->optset = from->optset;
	memcpy(ts->opts, from->opts, sizeof(ts->opts));
	memcpy(ts->cc, from->cc, sizeof(ts->cc));
	ts->linger_s = from->linger_s;
	for (i = 0; i < ARRAY_SIZE(tsi_optmap); i++) {
		map = &tsi_optmap[i];
		if (!(ts->optset & BIT_ULL(map->opt)) || (map->level == SOL_IP && ts->v6) ||
		    (map->level == SOL_IPV6 && !ts->v6))
			continue;
		val = KERNEL_SOCKPTR(&ts->opts[map->opt]);
		len = sizeof(ts->opts[0]);
		if (map->opt == TSI_SO_LINGER) {
			ling = (struct linger){ ts->opts[map->opt], ts->linger_s };
			val = KERNEL_SOCKPTR(&ling);
			len = sizeof(ling);
		} else if (map->opt == TSI_TCP_CONGESTION) {
			val = KERNEL_SOCKPTR(ts->cc);
			len = strlen(ts->cc);
		}
		/* It was taken once; should it not be now, the default is what getsockopt() tells. */
		if (map->level == SOL_SOCKET)
			(void)sock_setsockopt(to, map->level, map->name, val, len);
		else
			(void)to->ops->setsockopt(to, map->level, map->name, val, len);
	}
}

/* ---- reading ---- */

static int tsi_opt_ask(struct tsi_sock *ts, u8 opt, struct tsi_msg *reply)
{
	struct tsi_batch *b = tsi_batch_new();
	struct tsi_call c;
	int err;

	tsi_batch_add(b, TSI_GETOPT, ts->id)->arg[0] = cpu_to_le32(opt);
	err = tsi_call(&c, b);
	if (!err)
		*reply = c.reply;
	return err;
}

static void tsi_tcp_info_out(const struct tsi_msg *m, struct tcp_info *to)
{
	const struct tsi_tcp_info *i = (const struct tsi_tcp_info *)m->data;

	memset(to, 0, sizeof(*to));
	to->tcpi_state = i->state;
	to->tcpi_ca_state = i->ca_state;
	to->tcpi_retransmits = i->retransmits;
	to->tcpi_options = i->options;
	to->tcpi_snd_wscale = i->snd_wscale;
	to->tcpi_rcv_wscale = i->rcv_wscale;
	to->tcpi_rto = le32_to_cpu(i->rto);
	to->tcpi_snd_mss = le32_to_cpu(i->snd_mss);
	to->tcpi_rcv_mss = le32_to_cpu(i->rcv_mss);
	to->tcpi_unacked = le32_to_cpu(i->unacked);
	to->tcpi_lost = le32_to_cpu(i->lost);
	to->tcpi_retrans = le32_to_cpu(i->retrans);
	to->tcpi_pmtu = le32_to_cpu(i->pmtu);
	to->tcpi_rtt = le32_to_cpu(i->rtt);
	to->tcpi_rttvar = le32_to_cpu(i->rttvar);
	to->tcpi_snd_cwnd = le32_to_cpu(i->snd_cwnd);
	to->tcpi_total_retrans = le32_to_cpu(i->total_retrans);
	to->tcpi_min_rtt = le32_to_cpu(i->min_rtt);
}

/* Which of the host's options answers; 0: the native socket. */
static u8 tsi_opt_of_host(const struct tsi_sock *ts, int level, int name)
{
	if (ts->nat || !ts->id || !ts->peer.family)
		return 0;
	if (level == SOL_IP && name == IP_MTU)
		return TSI_IP_MTU;
	if (level == SOL_IPV6 && name == IPV6_MTU)
		return TSI_IPV6_MTU;
	if (level != SOL_TCP || ts->state != TSI_S_ESTABLISHED)
		return 0;
	if (name == TCP_INFO)
		return TSI_TCP_INFO;
	return name == TCP_MAXSEG ? TSI_TCP_MAXSEG : 0;
}

int tsi_getsockopt(struct socket *sock, int level, int name, char __user *val, int __user *ulen)
{
	struct tsi_sock *ts = sock->tsi;
	u8 opt = tsi_opt_of_host(ts, level, name);
	struct tsi_msg reply;
	struct tcp_info info;
	const void *from = &info;
	int err, n, len, size = sizeof(info);

	if (!opt)
		return ts->native->getsockopt(sock, level, name, val, ulen);
	if (get_user(len, ulen))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	err = tsi_opt_ask(ts, opt, &reply);
	if (err)
		return err;
	if (opt == TSI_TCP_INFO) {
		tsi_tcp_info_out(&reply, &info);
	} else {
		n = le32_to_cpu(reply.arg[1]);
		from = &n;
		size = sizeof(n);
	}
	len = min(len, size);
	if (put_user(len, ulen) || copy_to_user(val, from, len))
		return -EFAULT;
	return 0;
}

int tsi_outq(struct tsi_sock *ts)
{
	struct tsi_msg reply;
	int err;

	if (!ts->id)
		return 0;
	err = tsi_opt_ask(ts, TSI_OUTQ, &reply);
	return err ? 0 : le32_to_cpu(reply.arg[1]);
}
