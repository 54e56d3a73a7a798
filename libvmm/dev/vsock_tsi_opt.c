// SPDX-License-Identifier: Apache-2.0
// TSI: socket options.
//
// How it works
//
// A table from the closed list of the protocol to the host's names. What is not in it does not
// reach the host's kernel, whatever number the guest sends. SO_LINGER with seconds is remembered
// and not set: close() would wait for the peer on our loop.

/* #syscalls:io getsockopt setsockopt ioctl:SIOCOUTQ ioctl:SIOCINQ */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

#include "dev/vsock_tsi.h"

enum {
	OPT_SET = 1,
	OPT_GET = 2,
	OPT_BOTH = 3,
};

struct opt {
	uint8_t how;
	int level, name;
};

/* Present in the headers of Linux 4.2 and later, missing in some C libraries' */
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static const struct opt opts[TSI_OPT_END] = {
	[TSI_SO_REUSEADDR] = { OPT_BOTH, SOL_SOCKET, SO_REUSEADDR },
	[TSI_SO_REUSEPORT] = { OPT_BOTH, SOL_SOCKET, SO_REUSEPORT },
	[TSI_SO_KEEPALIVE] = { OPT_BOTH, SOL_SOCKET, SO_KEEPALIVE },
	[TSI_SO_BROADCAST] = { OPT_BOTH, SOL_SOCKET, SO_BROADCAST },
	[TSI_SO_SNDBUF] = { OPT_BOTH, SOL_SOCKET, SO_SNDBUF },
	[TSI_SO_RCVBUF] = { OPT_BOTH, SOL_SOCKET, SO_RCVBUF },
	[TSI_SO_PRIORITY] = { OPT_BOTH, SOL_SOCKET, SO_PRIORITY },
	[TSI_SO_OOBINLINE] = { OPT_BOTH, SOL_SOCKET, SO_OOBINLINE },
	[TSI_SO_DONTROUTE] = { OPT_BOTH, SOL_SOCKET, SO_DONTROUTE },
	[TSI_IP_TOS] = { OPT_BOTH, IPPROTO_IP, IP_TOS },
	[TSI_IP_TTL] = { OPT_BOTH, IPPROTO_IP, IP_TTL },
	[TSI_IP_MTU_DISCOVER] = { OPT_BOTH, IPPROTO_IP, IP_MTU_DISCOVER },
	[TSI_IP_MTU] = { OPT_GET, IPPROTO_IP, IP_MTU },
	[TSI_IP_PKTINFO] = { OPT_BOTH, IPPROTO_IP, IP_PKTINFO },
	[TSI_IP_BIND_ADDRESS_NO_PORT] = { OPT_BOTH, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT },
	[TSI_IP_FREEBIND] = { OPT_BOTH, IPPROTO_IP, IP_FREEBIND },
	[TSI_IPV6_V6ONLY] = { OPT_BOTH, IPPROTO_IPV6, IPV6_V6ONLY },
	[TSI_IPV6_TCLASS] = { OPT_BOTH, IPPROTO_IPV6, IPV6_TCLASS },
	[TSI_IPV6_UNICAST_HOPS] = { OPT_BOTH, IPPROTO_IPV6, IPV6_UNICAST_HOPS },
	[TSI_IPV6_MTU_DISCOVER] = { OPT_BOTH, IPPROTO_IPV6, IPV6_MTU_DISCOVER },
	[TSI_IPV6_MTU] = { OPT_GET, IPPROTO_IPV6, IPV6_MTU },
	[TSI_TCP_NODELAY] = { OPT_BOTH, IPPROTO_TCP, TCP_NODELAY },
	[TSI_TCP_CORK] = { OPT_BOTH, IPPROTO_TCP, TCP_CORK },
	[TSI_TCP_KEEPIDLE] = { OPT_BOTH, IPPROTO_TCP, TCP_KEEPIDLE },
	[TSI_TCP_KEEPINTVL] = { OPT_BOTH, IPPROTO_TCP, TCP_KEEPINTVL },
	[TSI_TCP_KEEPCNT] = { OPT_BOTH, IPPROTO_TCP, TCP_KEEPCNT },
	[TSI_TCP_SYNCNT] = { OPT_BOTH, IPPROTO_TCP, TCP_SYNCNT },
	[TSI_TCP_USER_TIMEOUT] = { OPT_BOTH, IPPROTO_TCP, TCP_USER_TIMEOUT },
	[TSI_TCP_DEFER_ACCEPT] = { OPT_BOTH, IPPROTO_TCP, TCP_DEFER_ACCEPT },
	[TSI_TCP_QUICKACK] = { OPT_BOTH, IPPROTO_TCP, TCP_QUICKACK },
	[TSI_TCP_MAXSEG] = { OPT_BOTH, IPPROTO_TCP, TCP_MAXSEG },
	[TSI_TCP_LINGER2] = { OPT_BOTH, IPPROTO_TCP, TCP_LINGER2 },
	[TSI_TCP_WINDOW_CLAMP] = { OPT_BOTH, IPPROTO_TCP, TCP_WINDOW_CLAMP },
	[TSI_TCP_NOTSENT_LOWAT] = { OPT_BOTH, IPPROTO_TCP, TCP_NOTSENT_LOWAT },
	/* of their own, below */
	[TSI_SO_LINGER] = { OPT_BOTH, SOL_SOCKET, SO_LINGER },
	[TSI_TCP_CONGESTION] = { OPT_BOTH, IPPROTO_TCP, TCP_CONGESTION },
	[TSI_TCP_INFO] = { OPT_GET, IPPROTO_TCP, TCP_INFO },
	[TSI_OUTQ] = { OPT_GET, 0, 0 },
};

static const struct opt *find(const struct tsi_sock *s, uint32_t n, uint8_t how, struct opt *tmp)
{
	if (n >= TSI_OPT_END || !(opts[n].how & how))
		return NULL;
	*tmp = opts[n];
	if (n == TSI_IP_PKTINFO && s->family == TSI_INET6) {
		tmp->level = IPPROTO_IPV6;
		tmp->name = IPV6_RECVPKTINFO;
	}
	return tmp;
}

static int set_int(struct tsi_sock *s, uint32_t n, int32_t v)
{
	struct opt tmp;
	const struct opt *o = find(s, n, OPT_SET, &tmp);
	int value = v;

	if (!o)
		return -ENOPROTOOPT;
	return setsockopt(tsi_fd(s), o->level, o->name, &value, sizeof(value)) ? -errno : 0;
}

static int set_linger(struct tsi_sock *s, int32_t on, int32_t seconds)
{
	struct linger l = { .l_onoff = on && !seconds };

	s->linger_s = on ? seconds : 0;
	return setsockopt(tsi_fd(s), SOL_SOCKET, SO_LINGER, &l, sizeof(l)) ? -errno : 0;
}

static int set_congestion(struct tsi_sock *s, const uint8_t *name)
{
	size_t n = strnlen((const char *)name, TSI_CONGESTION);

	if (n == TSI_CONGESTION)
		return -EINVAL;
	if (setsockopt(tsi_fd(s), IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)n))
		return -errno;
	memmove(s->congestion, name, n + 1);
	return 0;
}

int tsi_opt_set(struct tsi_sock *s, const struct tsi_msg *m)
{
	uint32_t n = le32toh(m->arg[0]);
	int32_t v = (int32_t)le32toh(m->arg[1]);
	int r;

	if (n >= TSI_OPT_END || !(opts[n].how & OPT_SET))
		return -ENOPROTOOPT;
	if (tsi_fd(s) < 0)
		return -EINVAL;
	if (n == TSI_TCP_CONGESTION)
		r = set_congestion(s, m->data);
	else if (n == TSI_SO_LINGER)
		r = set_linger(s, v, (int32_t)le32toh(m->arg[2]));
	else
		r = set_int(s, n, v);
	if (r)
		return r;
	s->opt_set |= 1ULL << n;
	s->opt_val[n] = v;
	return 0;
}

static int set_again(struct tsi_sock *s, uint32_t n)
{
	int r;

	if (n == TSI_SO_LINGER)
		return set_linger(s, s->opt_val[n], s->linger_s);
	if (n != TSI_TCP_CONGESTION)
		return set_int(s, n, s->opt_val[n]);
	r = set_congestion(s, s->congestion);
	/* another host may not have it, or not for everybody: its own does as well */
	return r == -ENOENT || r == -EPERM ? 0 : r;
}

int tsi_opt_again(struct tsi_sock *s)
{
	int r = 0;

	for (uint32_t n = 0; !r && n < TSI_OPT_END; n++) {
		if (s->opt_set >> n & 1)
			r = set_again(s, n);
	}
	return r;
}

static int get_info(const struct tsi_sock *s, struct tsi_msg *m)
{
	struct tsi_tcp_info out = { 0 };
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i);

	if (getsockopt(tsi_fd(s), IPPROTO_TCP, TCP_INFO, &i, &len))
		return -errno;
	out.state = i.tcpi_state;
	out.ca_state = i.tcpi_ca_state;
	out.retransmits = i.tcpi_retransmits;
	out.options = i.tcpi_options;
	out.snd_wscale = i.tcpi_snd_wscale;
	out.rcv_wscale = i.tcpi_rcv_wscale;
	out.rto = htole32(i.tcpi_rto);
	out.snd_mss = htole32(i.tcpi_snd_mss);
	out.rcv_mss = htole32(i.tcpi_rcv_mss);
	out.unacked = htole32(i.tcpi_unacked);
	out.lost = htole32(i.tcpi_lost);
	out.retrans = htole32(i.tcpi_retrans);
	out.pmtu = htole32(i.tcpi_pmtu);
	out.rtt = htole32(i.tcpi_rtt);
	out.rttvar = htole32(i.tcpi_rttvar);
	out.snd_cwnd = htole32(i.tcpi_snd_cwnd);
	out.total_retrans = htole32(i.tcpi_total_retrans);
	out.min_rtt = htole32(i.tcpi_min_rtt);
	memcpy(m->data, &out, sizeof(out));
	return 0;
}

static int get_linger(const struct tsi_sock *s, struct tsi_msg *m)
{
	struct linger l;
	socklen_t len = sizeof(l);

	if (getsockopt(tsi_fd(s), SOL_SOCKET, SO_LINGER, &l, &len))
		return -errno;
	m->arg[1] = htole32((uint32_t)(l.l_onoff || s->linger_s));
	m->arg[2] = htole32((uint32_t)s->linger_s);
	return 0;
}

int tsi_opt_get(struct tsi_sock *s, struct tsi_msg *m)
{
	uint32_t n = le32toh(m->arg[0]);
	struct opt tmp;
	const struct opt *o = find(s, n, OPT_GET, &tmp);
	socklen_t len = 15;
	int v = 0;

	if (!o)
		return -ENOPROTOOPT;
	if (tsi_fd(s) < 0)
		return -EINVAL;
	if (n == TSI_TCP_INFO)
		return get_info(s, m);
	if (n == TSI_SO_LINGER)
		return get_linger(s, m);
	if (n == TSI_TCP_CONGESTION)
		return getsockopt(tsi_fd(s), o->level, o->name, m->data, &len) ? -errno : 0;
	len = sizeof(v);
	if (n == TSI_OUTQ ? ioctl(tsi_fd(s), SIOCOUTQ, &v)
			  : getsockopt(tsi_fd(s), o->level, o->name, &v, &len))
		return -errno;
	m->arg[1] = htole32((uint32_t)v);
	return 0;
}
