/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/args_optim.h - what embed.cl and optim.cl are told. Floor: chips. */
#ifndef MZ_CHIPS_KERNELS_ARGS_OPTIM_H
#define MZ_CHIPS_KERNELS_ARGS_OPTIM_H

#include "chips/kernels/args.h"

typedef struct mz_kembed {
    mz_i64 T, V, D;
    mz_kview y, w, ids; /* y is dy, w is dw in backward */
} mz_kembed;

typedef struct mz_kadamw {
    mz_i64 N;
    mz_kview p, m, v, g, copy;
    float kept, lr;      /* 1 - lr weight_decay */
    float beta1, fresh1; /* 1 - beta1 */
    float beta2, fresh2;
    float correct1, correct2; /* 1 / (1 - beta^step) */
    float eps, grad_scale;
    int has_copy, zero;
} mz_kadamw;

/* Elements that one group of sumsq and finite takes first. */
#define MZ_KSUM_CHUNK 4096

typedef struct mz_ksum {
    mz_i64 N, chunks;
    mz_kview x, out;
} mz_ksum;

#endif
