/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/cases.h - one random call of an operator, as plain numbers. Private to weigh/.
 *
 * A generator fills the description, then names each argument: what it holds (real, ids), or what
 * comes out of it and how near it must be. Values are rounded to the argument's dtype, so that the
 * chip and the reference see the same numbers; of a block type the reference sees the numbers that
 * tensor/quant.h expands the blocks to.
 * Floor:  weigh. */
#ifndef MZ_WEIGH_CASES_H
#define MZ_WEIGH_CASES_H

#include "base/rng.h"
#include "op/op.h"

typedef enum mz_loose { MZ_LOOSE_NOT, MZ_LOOSE_ROWS, MZ_LOOSE_ALL } mz_loose;

typedef struct mz_case_arg {
    bool present, is_saved;
    mz_dtype dtype;
    int rank;
    int64_t dim[MZ_RANK_MAX], stride[MZ_RANK_MAX];
    int64_t count, skip, span; /* elements; skip before the first; span = the whole buffer */
    mz_loose loose;
    int alias;      /* 1 + index of the argument whose memory it shares on the chip; 0 = none */
    double *values; /* [count] what it holds before the call; NULL = nothing (an output) */
    unsigned char *blocks; /* the same in its dtype, dense, where that is a block type; else NULL */
    double n, norms;       /* of the bound; n 0 = only the first form */
    mz_dtype computed;     /* what a weight stored in another dtype is rounded to; 0 where not */
} mz_case_arg;

typedef struct mz_case {
    mz_desc desc;
    mz_args k; /* only .k counts */
    mz_case_arg arg[MZ_ARGS_MAX];
    bool backward;
    mz_rng rng;
    int32_t host_cu[64];
} mz_case;

#define MZ_ARG(member) ((int)(offsetof(mz_args, member) / sizeof(const mz_tensor *)))

/* ---- drawing ---- */
int64_t mz_case_dim(mz_case *c, int64_t most); /* 0 .. most, with 0, 1 and odd ones likely */
int64_t mz_case_some(mz_case *c, int64_t least, int64_t most);
bool mz_case_chance(mz_case *c, double p);

/* ---- arguments; i from MZ_ARG ---- */
mz_err mz_case_real(mz_case *c, int i, mz_dtype dtype, int rank, const int64_t *dim, double scale);
/* A weight in `dtype`: a float type, or random blocks whose numbers are about 1. */
mz_err mz_case_weight(mz_case *c, int i, mz_dtype dtype, mz_dtype computed, int rank,
                      const int64_t *dim);
/* Sometimes another dtype to store a weight in than d; else 0, which says d. */
mz_dtype mz_case_stored(mz_case *c, mz_dtype d);
mz_err mz_case_ids(mz_case *c, int i, int rank, const int64_t *dim, int64_t low, int64_t high);
mz_err mz_case_list(mz_case *c, int i, int rank, const int64_t *dim, const int32_t *list);
mz_err mz_case_out(mz_case *c, int i, mz_dtype dtype, int rank, const int64_t *dim);
void mz_case_saved(mz_case *c, int i);
void mz_case_bound(mz_case *c, int i, double n, double norms);
void mz_case_loose(mz_case *c, int i, mz_loose loose);
/* NaN and infinities at a few places of an argument, sometimes. */
void mz_case_sow(mz_case *c, int i, bool infinities);
/* Largest L2 norm of a row (last axis), largest |x|; 0 for what is absent. */
double mz_case_row_norm(const mz_case *c, int i);
double mz_case_largest(const mz_case *c, int i);
double mz_case_norm(const mz_case *c, int i); /* of all of it */
/* cu of up to `most` sequences over T tokens into list; returns the number of sequences. */
int64_t mz_case_cu(mz_case *c, int64_t T, int64_t most, int32_t *list);

/* Fills a zeroed case of c->desc.kind for this dtype; c->rng is set. MZ_ENOTSUP: the operator has
 * no such dtype. */
mz_err mz_case_make(mz_case *c, mz_op_kind kind, mz_dtype dtype);
void mz_case_clear(mz_case *c);

mz_err mz_cases_dense(mz_case *c, mz_dtype d);     /* cases_dense.c: matmul .. embed */
mz_err mz_cases_attention(mz_case *c, mz_dtype d); /* cases_attention.c */
mz_err mz_cases_moe(mz_case *c, mz_dtype d);       /* cases_moe.c: router .. unpermute */
mz_err mz_cases_rest(mz_case *c, mz_dtype d);      /* cases_rest.c */

#endif
