/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of each record, for the writer and the reader. */
#ifndef KRUN_PROTO_BLOB_TAGS_H
#define KRUN_PROTO_BLOB_TAGS_H

#include "blob.h"

struct blob_tag_info {
	uint8_t kinds;	  /* 1 << enum blob_kind: where it may come */
	uint8_t fixed;	  /* bytes before the strings */
	uint8_t nstr;	  /* strings; 0 with array set: fixed bytes, then elements */
	uint8_t array;	  /* size of an element, or 0 */
	uint32_t max;	  /* records of this tag in a blob */
	uint32_t str_max; /* bytes of one string, or elements of the array */
};

#define BLOB_TAGS 33

/* NULL for a tag that does not exist. */
const struct blob_tag_info *blob_tag_info(uint16_t tag);

#endif
