/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What functions that can fail leave for a person to read, beside -errno. The caller owns it and
 * zeroes it: the first error in it stays, a later one changes nothing.
 */
#ifndef KRUN_VMM_ERROR_H
#define KRUN_VMM_ERROR_H

#define ERR_MSG_MAX 240

struct error {
	int code;	       /* 0, or a positive errno */
	char msg[ERR_MSG_MAX]; /* one sentence, NUL-terminated */
};

#endif
