/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/cases.c - drawing shapes, values and strides; see cases.h. */
#include "weigh/cases.h"

#include "base/mem.h"
#include "base/num.h"
#include "tensor/convert.h"
#include "tensor/quant.h"

#include <math.h>
#include <string.h>

bool mz_case_chance(mz_case *c, double p)
{
    return mz_rng_uniform(&c->rng) < p;
}

int64_t mz_case_some(mz_case *c, int64_t least, int64_t most)
{
    return most <= least ? least
                         : least + (int64_t)mz_rng_below(&c->rng, (uint64_t)(most - least + 1));
}

int64_t mz_case_dim(mz_case *c, int64_t most)
{
    static const int64_t odd[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 33, 61, 64, 67, 127, 131};
    if (mz_case_chance(c, 0.06)) return 0;
    const int64_t x = odd[mz_rng_below(&c->rng, MZ_COUNT(odd))];
    return mz_case_chance(c, 0.5) && x <= most ? x : mz_case_some(c, 1, most);
}

static mz_err place(mz_case *c, int i, mz_dtype dtype, int rank, const int64_t *dim)
{
    mz_case_arg *a = &c->arg[i];
    a->present = true;
    a->dtype = dtype;
    a->rank = rank;
    for (int k = 0; k < rank; k++) a->dim[k] = dim[k];
    return mz_shape_count(rank, dim, &a->count);
}

static mz_err hold(mz_case *c, int i)
{
    mz_case_arg *a = &c->arg[i];
    mz_mem_free(a->values);
    a->values = NULL;
    return mz_mem_new(&a->values, a->count, sizeof *a->values);
}

/* The value as the dtype holds it. */
static double rounded(double x, mz_dtype dtype)
{
    double room = 0.0, out = 0.0;
    if (mz_convert(&room, dtype, &x, MZ_F64, 1) != MZ_OK) return x;
    return mz_convert(&out, MZ_F64, &room, dtype, 1) == MZ_OK ? out : x;
}

mz_err mz_case_real(mz_case *c, int i, mz_dtype dtype, int rank, const int64_t *dim, double scale)
{
    MZ_TRY(place(c, i, dtype, rank, dim));
    MZ_TRY(hold(c, i));
    for (int64_t j = 0; j < c->arg[i].count; j++)
        c->arg[i].values[j] = rounded(scale * mz_rng_normal(&c->rng), dtype);
    return MZ_OK;
}

/* Where a block has half-precision scales (the second: minima; -1 = none), and how large they are
 * for numbers of about 1. */
static const struct {
    int at[2];
    double size;
} SCALES[MZ_QUANT_COUNT] = {
    [MZ_QUANT_Q4_0] = {{0, -1}, 0.2},   [MZ_QUANT_Q4_1] = {{0, 2}, 0.1},
    [MZ_QUANT_Q5_0] = {{0, -1}, 0.1},   [MZ_QUANT_Q5_1] = {{0, 2}, 0.05},
    [MZ_QUANT_Q8_0] = {{0, -1}, 0.01},  [MZ_QUANT_Q4_K] = {{0, 2}, 0.003},
    [MZ_QUANT_Q5_K] = {{0, 2}, 0.0015}, [MZ_QUANT_Q6_K] = {{208, -1}, 0.0005},
};

static void random_block(mz_case *c, mz_quant q, unsigned char *b)
{
    for (size_t i = 0; i < mz_quant_block_bytes(q); i++)
        b[i] = (unsigned char)mz_rng_below(&c->rng, 256);
    for (int k = 0; k < 2; k++) {
        if (SCALES[q].at[k] < 0) continue;
        const float scale = (float)(SCALES[q].size * mz_rng_normal(&c->rng));
        const uint16_t h = mz_f32_to_f16(scale);
        b[SCALES[q].at[k]] = (unsigned char)(h & 0xff);
        b[SCALES[q].at[k] + 1] = (unsigned char)(h >> 8);
    }
}

mz_err mz_case_weight(mz_case *c, int i, mz_dtype dtype, mz_dtype computed, int rank,
                      const int64_t *dim)
{
    mz_case_arg *a = &c->arg[i];
    const int64_t block = mz_dtype_block(dtype), bytes = (int64_t)mz_dtype_block_bytes(dtype);
    mz_quant quant;
    float x[256];
    a->computed = dtype == computed ? MZ_F64 : computed;
    if (!mz_dtype_quant(dtype, &quant)) return mz_case_real(c, i, dtype, rank, dim, 1.0);
    MZ_TRY(place(c, i, dtype, rank, dim));
    MZ_TRY(hold(c, i));
    MZ_TRY(mz_mem_new(&a->blocks, a->count / block * bytes, 1));
    for (int64_t j = 0; j < a->count / block; j++) {
        random_block(c, quant, a->blocks + j * bytes);
        MZ_TRY(mz_quant_expand(quant, x, a->blocks + j * bytes, block));
        for (int64_t k = 0; k < block; k++) a->values[j * block + k] = (double)x[k];
    }
    return MZ_OK;
}

mz_dtype mz_case_stored(mz_case *c, mz_dtype d)
{
    static const mz_dtype STORED[] = {MZ_Q4_0, MZ_Q4_1, MZ_Q5_0, MZ_Q5_1, MZ_Q8_0, MZ_Q4_K,
                                      MZ_Q5_K, MZ_Q6_K, MZ_F16,  MZ_BF16, MZ_F32};
    if ((d != MZ_F32 && d != MZ_BF16) || !mz_case_chance(c, 0.35)) return MZ_F64;
    const mz_dtype s = STORED[mz_rng_below(&c->rng, MZ_COUNT(STORED))];
    return s == d ? MZ_F64 : s;
}

mz_err mz_case_ids(mz_case *c, int i, int rank, const int64_t *dim, int64_t low, int64_t high)
{
    MZ_TRY(place(c, i, MZ_I32, rank, dim));
    MZ_TRY(hold(c, i));
    for (int64_t j = 0; j < c->arg[i].count; j++)
        c->arg[i].values[j] = (double)mz_case_some(c, low, high - 1);
    return MZ_OK;
}

mz_err mz_case_list(mz_case *c, int i, int rank, const int64_t *dim, const int32_t *list)
{
    MZ_TRY(place(c, i, MZ_I32, rank, dim));
    MZ_TRY(hold(c, i));
    for (int64_t j = 0; j < c->arg[i].count; j++) c->arg[i].values[j] = list[j];
    return MZ_OK;
}

mz_err mz_case_out(mz_case *c, int i, mz_dtype dtype, int rank, const int64_t *dim)
{
    return place(c, i, dtype, rank, dim);
}

void mz_case_saved(mz_case *c, int i)
{
    c->arg[i].present = c->arg[i].is_saved = true;
    c->arg[i].dtype = MZ_U8;
    c->arg[i].rank = 1;
}

void mz_case_bound(mz_case *c, int i, double n, double norms)
{
    c->arg[i].n = n;
    c->arg[i].norms = norms;
}

void mz_case_loose(mz_case *c, int i, mz_loose loose)
{
    c->arg[i].loose = loose;
}

void mz_case_sow(mz_case *c, int i, bool infinities)
{
    mz_case_arg *a = &c->arg[i];
    if (a->count == 0 || !mz_case_chance(c, 0.08)) return;
    const int64_t at = mz_case_some(c, 0, a->count - 1);
    const bool is_nan = !infinities || mz_case_chance(c, 0.5);
    a->values[at] = is_nan                   ? (double)NAN
                    : mz_case_chance(c, 0.5) ? (double)INFINITY
                                             : -(double)INFINITY;
}

/* Sown NaN and infinities do not count: they have no error. */
static double square_of(double x)
{
    return isfinite(x) ? x * x : 0.0;
}

double mz_case_row_norm(const mz_case *c, int i)
{
    const mz_case_arg *a = &c->arg[i];
    const int64_t D = a->rank > 0 ? a->dim[a->rank - 1] : 1;
    double most = 0.0;
    for (int64_t r = 0; a->values && D > 0 && r < a->count / D; r++) {
        double sum = 0.0;
        for (int64_t d = 0; d < D; d++) sum += square_of(a->values[r * D + d]);
        if (sum > most) most = sum;
    }
    return sqrt(most);
}

double mz_case_largest(const mz_case *c, int i)
{
    double most = 0.0;
    for (int64_t j = 0; c->arg[i].values && j < c->arg[i].count; j++)
        if (square_of(c->arg[i].values[j]) > most * most) most = fabs(c->arg[i].values[j]);
    return most;
}

double mz_case_norm(const mz_case *c, int i)
{
    double sum = 0.0;
    for (int64_t j = 0; c->arg[i].values && j < c->arg[i].count; j++)
        sum += square_of(c->arg[i].values[j]);
    return sqrt(sum);
}

int64_t mz_case_cu(mz_case *c, int64_t T, int64_t most, int32_t *list)
{
    int64_t n = 0;
    list[0] = 0;
    for (int64_t at = 0; at < T || n == 0;) {
        int64_t len = n + 1 == most ? T - at : mz_case_some(c, 0, T - at);
        if (len == 0 && mz_case_chance(c, 0.8)) len = T - at;
        at += len;
        list[++n] = (int32_t)at;
    }
    return n;
}

/* Strides: dense, rows with gaps, or axes in another order with repeats in inputs. */
static void lay_out(mz_case *c, int i)
{
    mz_case_arg *a = &c->arg[i];
    int order[MZ_RANK_MAX] = {0, 1, 2, 3}; /* order[0] is the slowest axis in memory */
    int64_t step = 1;
    const int64_t unit = mz_dtype_block(a->dtype); /* rows are whole blocks, and so are gaps */
    if (a->loose == MZ_LOOSE_ALL && a->rank > 1 && mz_case_chance(c, 0.3))
        order[0] = a->rank - 1, order[a->rank - 1] = 0;
    for (int k = a->rank - 1; k >= 0; k--) {
        a->stride[order[k]] = step;
        step *= a->dim[order[k]] > 0 ? a->dim[order[k]] : 1;
        if (a->loose != MZ_LOOSE_NOT && k > 0 && mz_case_chance(c, 0.5))
            step += unit * mz_case_some(c, 1, 5);
    }
    a->span = step;
    if (c->desc.kind != MZ_OP_ELEMENTWISE && !a->is_saved) a->skip = unit * mz_case_some(c, 0, 9);
    if (c->desc.kind == MZ_OP_ELEMENTWISE) a->skip = mz_case_some(c, 0, 3);
    a->span += a->skip + unit * mz_case_some(c, 0, 4);
}

/* One axis of an input repeats one row: its values follow. Only elementwise allows it. */
static void repeat_axis(mz_case *c, int i)
{
    mz_case_arg *a = &c->arg[i];
    if (a->rank < 2 || a->count == 0 || !mz_case_chance(c, 0.25)) return;
    const int64_t rows = a->dim[0], each = a->count / rows;
    for (int64_t r = 1; r < rows; r++)
        memcpy(a->values + r * each, a->values, (size_t)each * sizeof *a->values);
    a->stride[0] = 0;
}

typedef mz_err make_fn(mz_case *c, mz_dtype d);

static make_fn *maker_of(mz_op_kind kind)
{
    if (kind <= MZ_OP_ROPE || kind == MZ_OP_SWIGLU || kind == MZ_OP_EMBED) return mz_cases_dense;
    if (kind == MZ_OP_ATTENTION || kind == MZ_OP_DECODE) return mz_cases_attention;
    if (kind >= MZ_OP_ROUTER && kind <= MZ_OP_UNPERMUTE) return mz_cases_moe;
    return mz_cases_rest;
}

mz_err mz_case_make(mz_case *c, mz_op_kind kind, mz_dtype dtype)
{
    c->desc.kind = kind;
    MZ_TRY(maker_of(kind)(c, dtype));
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (c->arg[i].present) lay_out(c, i);
    for (int i = 1; kind == MZ_OP_ELEMENTWISE && i < 3; i++)
        if (c->arg[i].present && c->arg[0].alias != i + 1) repeat_axis(c, i);
    for (int i = 0; i < MZ_ARGS_MAX; i++)
        if (c->arg[i].alias > 0) { /* one memory, one layout */
            const mz_case_arg *to = &c->arg[c->arg[i].alias - 1];
            memcpy(c->arg[i].stride, to->stride, sizeof to->stride);
            c->arg[i].skip = to->skip;
            c->arg[i].span = to->span;
        }
    return MZ_OK;
}

void mz_case_clear(mz_case *c)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        mz_mem_free(c->arg[i].values);
        mz_mem_free(c->arg[i].blocks);
    }
    memset(c, 0, sizeof *c);
}
