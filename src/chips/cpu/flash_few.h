/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/flash_few.h - attention of so few rows that they would leave most lanes of a panel
 * empty: one new token against a cache, mostly. Here vectors run along the keys' own axis, and keys
 * and values are read where they are, once: the work is to fetch them.
 *
 * Part of flash.isa.c. In a block of few rows `qt` is [rows][padded K], `ot` is [rows][padded W],
 * and `s` is [rows][KEYS]. */
#ifndef MZ_CHIPS_CPU_FLASH_FEW_H
#define MZ_CHIPS_CPU_FLASH_FEW_H

#include "chips/cpu/flash_kernels.h"
#include "chips/cpu/lanes.h"

enum {
    FEW_ROWS = MZ_FLASH_FEW, /* whose sums stay in registers together */
    FEW_KEYS = 16,  /* keys whose values stay in the first cache while columns are walked */
    FEW_AHEAD = 12, /* keys that are fetched ahead */
    FEW_LINE = 64   /* bytes of a cache line */
};

MZ_INLINE bool is_few(const mz_cpu_flash *f)
{
    return f->rows <= MZ_FLASH_FEW;
}

MZ_INLINE void few_fetch(const void *row, int64_t width, bool bf16)
{
    const int64_t bytes = width * (bf16 ? 2 : 4);
    for (int64_t at = 0; at < bytes; at += FEW_LINE)
        __builtin_prefetch((const unsigned char *)row + at);
}

MZ_INLINE void few_start(mz_cpu_flash *f)
{
    const int64_t K = mz_flash_padded(f->K), W = mz_flash_padded(f->W);
    memset(f->ot, 0, (size_t)(f->rows * W) * sizeof *f->ot);
    for (int64_t r = 0; r < f->rows; r++)
        for (int64_t i = 0; i < K; i += VL) {
            const int64_t n = f->K - i;
            vf x = {0};
            if (n > 0) x = f->bf16 ? vf_get(f->q[r], i, n, true) : vf_get(f->q[r], i, n, false);
            vf_store(f->qt + r * K + i, x);
        }
}

/* s[r][j] = scale q[r] . key for n rows. */
MZ_INLINE void few_score(const mz_cpu_flash *f, int64_t j, const void *key, int n, bool bf16)
{
    const int64_t K = mz_flash_padded(f->K);
    const float *q = f->qt;
    vf acc[FEW_ROWS] = {{0}};
    int64_t i = 0;
    for (; i + VL <= f->K; i += VL) {
        const vf k = vf_get(key, i, VL, bf16);
#pragma GCC unroll 4
        for (int r = 0; r < n; r++) acc[r] = vf_fma(vf_load(q + r * K + i), k, acc[r]);
    }
    if (i < f->K) { /* q is padded with zeros */
        const vf k = vf_get(key, i, f->K - i, bf16);
#pragma GCC unroll 4
        for (int r = 0; r < n; r++) acc[r] = vf_fma(vf_load(q + r * K + i), k, acc[r]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < n; r++) f->s[r * MZ_FLASH_KEYS + j] = vf_sum(acc[r]) * f->scale;
}

/* Keys first .. last-1 of a tile, for n rows from `row` on. */
typedef struct few_part {
    const mz_cpu_flash *f;
    const void *const *value;
    int64_t row, first, last;
} few_part;

/* ot[r] += sum_j s[r][j] value j, in nv vectors of columns from i on. */
MZ_INLINE void few_columns(const few_part *p, int64_t i, int n, int nv, bool bf16)
{
    const int64_t W = mz_flash_padded(p->f->W);
    const float *s = p->f->s + p->row * MZ_FLASH_KEYS;
    float *o = p->f->ot + p->row * W + i;
    vf acc[FEW_ROWS][2];
#pragma GCC unroll 4
    for (int r = 0; r < n; r++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) acc[r][v] = vf_load(o + r * W + v * VL);
    for (int64_t j = p->first; j < p->last; j++) {
        vf x[2];
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++)
            x[v] = vf_get(p->value[j], i + v * VL, nv == 2 ? VL : p->f->W - i, bf16);
#pragma GCC unroll 4
        for (int r = 0; r < n; r++)
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++)
                acc[r][v] = vf_fma(vf_set(s[r * MZ_FLASH_KEYS + j]), x[v], acc[r][v]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < n; r++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) vf_store(o + r * W + v * VL, acc[r][v]);
}

MZ_INLINE void few_weigh(const few_part *p, int n, bool bf16)
{
    int64_t i = 0;
    for (; i + 2 * VL <= p->f->W; i += 2 * VL) few_columns(p, i, n, 2, bf16);
    for (; i < p->f->W; i += VL) few_columns(p, i, n, 1, bf16);
}

/* Keys seen by row r of the tile. */
MZ_INLINE int64_t few_seen(const mz_cpu_flash *f, const mz_cpu_keys *keys, int64_t r)
{
    const int64_t n = f->limit[r] - keys->first;
    return n < 0 ? 0 : n > keys->n ? keys->n : n;
}

/* Scores to weights; shrinks what was summed before. */
MZ_INLINE void few_soften(mz_cpu_flash *f, int64_t r, int64_t seen)
{
    float *s = f->s + r * MZ_FLASH_KEYS, *o = f->ot + r * mz_flash_padded(f->W);
    const vf none = vf_set(-__builtin_inff());
    vf top = none, sum = {0};
    for (int64_t j = 0; j < seen; j += VL)
        top = vf_max(vf_keep(vf_load(s + j), seen - j, -__builtin_inff()), top);
    const float before = f->m[r], best = vf_top(top), m = best > before ? best : before;
    const float base = m > -__builtin_inff() ? m : 0.0f;
    const float shrink = vf_exp(vf_set(before - base))[0];
    for (int64_t j = 0; j < seen; j += VL) {
        const vf w = vf_exp(vf_keep(vf_load(s + j), seen - j, -__builtin_inff()) - base);
        sum += w;
        vf_store(s + j, w);
    }
    f->m[r] = m;
    f->l[r] = f->l[r] * shrink + vf_sum(sum);
    for (int64_t i = 0; i < f->W; i += VL) vf_store(o + i, vf_load(o + i) * shrink);
}

/* n = f->rows, a constant here. */
MZ_INLINE void few_rows(mz_cpu_flash *f, const mz_cpu_keys *keys, int n, bool bf16)
{
    const int64_t full = few_seen(f, keys, 0), most = few_seen(f, keys, n - 1);
    few_part p = {.f = f, .value = keys->v};
    for (int64_t j = 0; j < most; j++) {
        if (j + FEW_AHEAD < keys->n) few_fetch(keys->k[j + FEW_AHEAD], f->K, bf16);
        if (j >= most - FEW_KEYS) few_fetch(keys->v[j - most + FEW_KEYS], f->W, bf16);
        few_score(f, j, keys->k[j], n, bf16);
    }
    for (int r = 0; r < n; r++) few_soften(f, r, few_seen(f, keys, r));
    for (p.first = 0; p.first < full; p.first = p.last) {
        p.last = full - p.first < FEW_KEYS ? full : p.first + FEW_KEYS;
        for (int64_t j = p.last; j < keys->n && j < p.last + FEW_KEYS; j++)
            few_fetch(keys->v[j], f->W, bf16);
        few_weigh(&p, n, bf16);
    }
    for (int r = 1; r < n; r++) { /* what row r sees beyond the first row */
        const few_part rest = {f, keys->v, r, full, few_seen(f, keys, r)};
        if (rest.first < rest.last) few_weigh(&rest, 1, bf16);
    }
}

MZ_INLINE void few_rows_of(mz_cpu_flash *f, const mz_cpu_keys *keys, bool bf16)
{
    if (f->rows == 1)
        few_rows(f, keys, 1, bf16);
    else if (f->rows == 2)
        few_rows(f, keys, 2, bf16);
    else if (f->rows == 3)
        few_rows(f, keys, 3, bf16);
    else
        few_rows(f, keys, 4, bf16);
}

static void few_tile(mz_cpu_flash *f, const mz_cpu_keys *keys)
{
    if (f->bf16)
        few_rows_of(f, keys, true);
    else
        few_rows_of(f, keys, false);
}

static void few_merge(mz_cpu_flash *f, const float *ot, const float *m, const float *l)
{
    const int64_t W = mz_flash_padded(f->W);
    for (int64_t r = 0; r < f->rows; r++) {
        const float top = m[r] > f->m[r] ? m[r] : f->m[r];
        const float base = top > -__builtin_inff() ? top : 0.0f;
        const float a1 = vf_exp(vf_set(f->m[r] - base))[0], a2 = vf_exp(vf_set(m[r] - base))[0];
        f->m[r] = top;
        f->l[r] = f->l[r] * a1 + l[r] * a2;
        for (int64_t i = r * W; i < (r + 1) * W; i += VL)
            vf_store(f->ot + i, vf_load(f->ot + i) * a1 + vf_load(ot + i) * a2);
    }
}

#endif
