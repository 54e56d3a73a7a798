// SPDX-License-Identifier: Apache-2.0
/* virtio-net: the pairs of queues that the driver uses (virtio 1.2, section 5.1.6.5.5). */
#include <errno.h>

#include "dev/net.h"
#include "dev/rekick.h"

int net_offload(struct net *n)
{
	struct net_be *be = n->pair[0].be;

	return n->up && be->ops->offload ? be->ops->offload(be, n->guest_offloads) : 0;
}

unsigned net_ctrl_queue(const struct net *n)
{
	return NET_CTRL(vdev_has(&n->v, NET_F_MQ) ? n->npairs : 1);
}

static int use(struct net_pair *p, bool on)
{
	int r;

	if (p->used == on)
		return 0;
	r = p->n->up ? p->be->ops->use(p->be, on) : 0;
	if (r)
		return r;
	p->used = on;
	if (!on) {
		p->blocked = false;
		p->nheld = 0;
	}
	net_watch(p);
	/* what is in its queues */
	for (unsigned q = 0; q < 2; q++)
		rekick(&p->n->v, 2 * p->i + q);
	return 0;
}

unsigned net_pairs(const struct net *n)
{
	unsigned k = 1;

	while (k < n->npairs && n->pair[k].used)
		k++;
	return k;
}

int net_set_pairs(struct net *n, unsigned pairs)
{
	unsigned before = net_pairs(n);
	int r = pairs && pairs <= n->npairs ? 0 : -EINVAL;

	for (unsigned i = 1; !r && i < n->npairs; i++)
		r = use(&n->pair[i], i < pairs);
	/* the driver goes on with those that it had */
	for (unsigned i = 1; r && i < n->npairs; i++)
		(void)use(&n->pair[i], i < before);
	return r;
}
