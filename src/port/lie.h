/* SPDX-License-Identifier: Apache-2.0 */
/* port/lie.h - weights used as they lie in their file: what the chip says to it. Private to port/.
 *
 * Floor:  port.   Errors: MZ_ECHIP from the chip's answers. */
#ifndef MZ_PORT_LIE_H
#define MZ_PORT_LIE_H

#include "model/model.h"

typedef struct mz_lie {
    const mz_config *config;
    const mz_queue *q;
    mz_dtype dtype; /* that is computed in */
    bool only_same; /* others are converted to it, as was asked; not where bf16 saves no memory */
    bool was_said[MZ_DTYPE_COUNT];
} mz_lie;

/* *takes: whether the operators that read p take it in this dtype. A no is logged once a dtype. */
mz_err mz_lie_ask(mz_lie *l, const mz_param *p, mz_dtype stored, bool *takes);

#endif
