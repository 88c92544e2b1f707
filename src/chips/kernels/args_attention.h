/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/args_attention.h - what rope.cl, attention.cl and decode.cl are told. Floor: chips.
 */
#ifndef MZ_CHIPS_KERNELS_ARGS_ATTENTION_H
#define MZ_CHIPS_KERNELS_ARGS_ATTENTION_H

#include "chips/kernels/args.h"

typedef struct mz_krope {
    mz_i64 T, H, pairs, P; /* pairs of a head; positions of the tables */
    mz_kview y, x, cos, sin, pos;
    float sign; /* -1 turns back */
    int interleaved;
} mz_krope;

/* Rows and columns of the tiles that attention.cl and decode.cl work in (tile.h). */
#define MZ_KTILE_ROWS 32
#define MZ_KTILE_COLUMNS 64

typedef struct mz_kattention {
    mz_i64 T, n, H, G, K, W; /* n sequences */
    mz_kview q, k, v, cu;
    mz_kview out;        /* dout in backward */
    mz_kview dq, dk, dv; /* backward */
    float scale;
    int causal, has_saved, zero;
} mz_kattention;

typedef struct mz_kdecode {
    mz_i64 T, B, H, G, K, W, page, pages, pages_per_seq;
    mz_kview q, out, k, v, table, lens, cu; /* caches: the stride of page, row, head */
    float scale;
    int zero;
} mz_kdecode;

#endif
