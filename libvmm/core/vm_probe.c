// SPDX-License-Identifier: Apache-2.0
/* vmm_probe(): the hypervisor layer's probes under the names of the public header. */
#include <errno.h>

#include "hv/hv.h"
#include "vmm.h"

_Static_assert((int)VMM_PROBE_API == (int)HV_PROBE_API &&
		(int)VMM_PROBE_CAPS == (int)HV_PROBE_CAPS &&
		(int)VMM_PROBE_GUEST == (int)HV_PROBE_GUEST &&
		(int)VMM_PROBE_CMPXCHG16B == (int)HV_PROBE_CMPXCHG16B &&
		(int)VMM_PROBE_INT3 == (int)HV_PROBE_INT3 &&
		(int)VMM_PROBE_XSAVE == (int)HV_PROBE_XSAVE &&
		(int)VMM_PROBE_MAX == (int)HV_PROBE_MAX,
	"the same list twice");

int vmm_probe(int kvm_fd, enum vmm_probe what, struct error *e)
{
	if ((int)what < 0 || what >= VMM_PROBE_MAX)
		return err_set(e, EINVAL, "no such probe");
	return hv_probe(kvm_fd, (enum hv_probe)what, e);
}
