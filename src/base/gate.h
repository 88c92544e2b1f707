/* SPDX-License-Identifier: Apache-2.0 */
/* base/gate.h - the gate that every counted file system call passes (mz_file_fail_at). Inside
 * base/.
 */
#ifndef MZ_BASE_GATE_H
#define MZ_BASE_GATE_H

#include <stdbool.h>
#include <stddef.h>

/* False with errno set if the call is to fail. */
bool mz_gate_passes(void);
/* Bytes that a transfer of n may move now: n, or about half; 0 with errno set if it is to fail. */
size_t mz_gate_passing(size_t n);

#endif
