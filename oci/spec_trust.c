// SPDX-License-Identifier: Apache-2.0
/* Annotations that an image must not set: refused unless the caller says that they are his own. */
#include <errno.h>
#include <string.h>

#include "oci/json_text.h"
#include "oci/spec.h"
#include "util/err.h"

/* What reaches a file, an interface or the pool of huge pages of the host, or takes back what the
 * host's configuration asks for. */
static bool needs_trust(const struct spec_kv *kv)
{
	/* an interface that is taken over is lost to all others of its namespace; a value that is
	 * none of ours is for spec_net() to name */
	if (!strcmp(kv->key, "krun-oci.net"))
		return !strcmp(kv->value, "tap") || !strcmp(kv->value, "passt");
	/* also one below the bundle, where managers have files of their own: config.json */
	return !strcmp(kv->key, SPEC_IGNORE_KEY) || !strncmp(kv->key, "run.oci.hooks.", 14) ||
		!strncmp(kv->key, "krun-oci.disk.", 14) ||
		!strcmp(kv->key, "krun-oci.net.interface") || !strcmp(kv->key, "krun.tap_name") ||
		!strcmp(kv->key, "krun-oci.hugepages") ||
		(!strcmp(kv->key, "krun.use_passt") && spec_annotation_on(kv->value));
}

int spec_check_trust(const struct spec *s, struct error *e)
{
	for (size_t i = 0; i < s->n_annotations; i++) {
		if (needs_trust(&s->annotations[i]))
			return err_set(e, EPERM,
				"config.json: annotations[%s]: an image may have set it: honoured with --trust-annotations only (podman --runtime-flag trust-annotations)",
				QUOTE(s->annotations[i].key));
	}
	return 0;
}
