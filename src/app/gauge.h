/* SPDX-License-Identifier: Apache-2.0 */
/* app/gauge.h - how fast a chip multiplies matrices, measured for a moment. Floor: app. */
#ifndef MZ_APP_GAUGE_H
#define MZ_APP_GAUGE_H

#include "chip/chip.h"

/* The best of some products of N x N matrices, multiplications and additions a second. N is 512, or
 * less on a chip that is slow enough to take longer than `ns` for it. */
mz_err mz_gauge_gemm(mz_queue *q, mz_dtype dtype, int64_t ns, double *best);

#endif
