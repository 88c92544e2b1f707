/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/args_moe.h - what router.cl, balance.cl and permute.cl are told. Floor: chips. */
#ifndef MZ_CHIPS_KERNELS_ARGS_MOE_H
#define MZ_CHIPS_KERNELS_ARGS_MOE_H

#include "chips/kernels/args.h"

typedef struct mz_krouter {
    mz_i64 T, E, k, groups, groups_kept;
    mz_kview logits, bias, ids, weights, probs;
    mz_kview dlogits, dweights, dprobs;
    float factor;
    int sigmoid, top2, normalise, forced;
    int has_bias, has_probs, has_dprobs;
} mz_krouter;

typedef struct mz_kbalance {
    mz_i64 T, n, E, k;
    mz_kview probs, ids, cu, loss, dprobs, counts;
    float alpha;
    int has_dprobs, has_counts;
    int zero;
} mz_kbalance;

/* (token, choice) pairs that one item counts, so that the order of rows is theirs. */
#define MZ_KPERMUTE_CHUNK 128

typedef struct mz_kpermute {
    mz_i64 T, D, E, k, chunks;
    mz_kview x, y, ids, row_of, offsets; /* x is dx, y is dy in backward */
} mz_kpermute;

typedef struct mz_kunpermute {
    mz_i64 T, D, k;
    mz_kview y, z, row_of, weights, base; /* y is dy in backward */
    mz_kview dz, dweights;
    int has_base, zero;
} mz_kunpermute;

#endif
