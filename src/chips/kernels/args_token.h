/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/args_token.h - what swiglu.cl, xent.cl and sample.cl are told. Floor: chips. */
#ifndef MZ_CHIPS_KERNELS_ARGS_TOKEN_H
#define MZ_CHIPS_KERNELS_ARGS_TOKEN_H

#include "chips/kernels/args.h"

typedef struct mz_kswiglu {
    mz_i64 T, F;
    mz_kview y, gate, up; /* y is dy in backward */
    mz_kview dgate, dup;
} mz_kswiglu;

typedef struct mz_kxent {
    mz_i64 T, V;
    mz_kview loss, logits, dlogits, targets, weight;
    int has_gradient, zero;
} mz_kxent;

typedef struct mz_ksample {
    mz_i64 B, V, history_n, top_k;
    mz_kview ids, logits, history;
    mz_i64 seed, counter;  /* bits of u64 */
    mz_i64 share_p, least; /* mz_draw_share's 2^32 part of top_p; the least weight by min-p */
    float penalty, penalty_inverse, temperature_inverse;
    int is_greedy, has_penalty, zero;
} mz_ksample;

#endif
