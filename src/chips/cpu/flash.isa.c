/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/flash.isa.c - attention on a block of rows and a tile of keys: see flash_kernels.h.
 *
 * The four products are one shape each: up to MR rows of broadcast numbers times NV vectors, all
 * sums in registers. A row that may not see a key never adds it, not even as 0 times its value, so
 * that a NaN or an infinity in a later token cannot reach an earlier one. */
#include "chips/cpu/flash_few.h"
#include "chips/cpu/kernels.h"
#include "chips/cpu/lanes.h"

#include <math.h>

#if defined(__AVX512F__)
enum { MR = 12, NV = 2 };
#elif defined(__aarch64__)
enum { MR = 6, NV = 4 };
#else
enum { MR = 6, NV = 2 };
#endif
enum { NR = NV * VL, ROWS = MZ_FLASH_ROWS, KEYS = MZ_FLASH_KEYS };
enum { PANEL = (KEYS + MZ_FLASH_PAD) * NR }; /* floats of s from one panel to the next */

_Static_assert((int)ROWS % NR == 0, "panels fill a block");
_Static_assert(MR <= (int)MZ_FLASH_PAD, "s has room for the rows of a last group");
_Static_assert((int)MZ_FLASH_PAD % VL == 0, "padded rows are whole vectors");

/* One panel of a block against a tile. */
typedef struct panel {
    int64_t first, rows; /* rows of the block */
    int64_t full, seen;  /* keys 0..full-1 are seen by all rows, full..seen-1 by some */
    int32_t limit[NR];   /* row i sees the keys j < limit[i] of the tile */
} panel;

MZ_INLINE int64_t clamped(int64_t x, int64_t top)
{
    return x < 0 ? 0 : x > top ? top : x;
}

static panel panel_of(const mz_cpu_flash *f, int64_t first, const mz_cpu_keys *keys)
{
    panel p = {.first = first, .rows = f->rows - first < NR ? f->rows - first : NR};
    for (int64_t i = 0; i < NR; i++) {
        const int64_t row = first + (i < p.rows ? i : p.rows - 1);
        p.limit[i] = (int32_t)clamped(f->limit[row] - keys->first, keys->n);
    }
    p.full = p.limit[0];
    p.seen = p.limit[NR - 1];
    return p;
}

MZ_INLINE vi limits(const panel *p, int v)
{
    vi limit;
    memcpy(&limit, p->limit + v * VL, sizeof limit);
    return limit;
}

/* ---- products ---- */

/* s[r][NR] = sum_k key[r][k] qt[k][NR] for MR keys. */
MZ_INLINE void score_keys(float *s, const float *const *key, const float *qt, int64_t K, int nv)
{
    vf acc[MR][NV] = {{{0}}};
    for (int64_t k = 0; k < K; k++)
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                acc[r][v] = vf_fma(vf_set(key[r][k]), vf_load(qt + k * NR + v * VL), acc[r][v]);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) vf_store(s + r * NR + v * VL, acc[r][v]);
}

/* Rows of a tile as f32: row j at at + j stride. */
typedef struct copies {
    const float *at;
    int64_t stride;
} copies;

/* s[j][NR] = key j . q for j < n; the last group repeats its last key into rows beyond n. */
static void scores(float *s, copies key, int64_t n, const float *qt, int64_t K, bool narrow)
{
    for (int64_t j = 0; j < n; j += MR) {
        const float *group[MR];
        for (int r = 0; r < MR; r++) group[r] = key.at + (j + r < n ? j + r : n - 1) * key.stride;
        if (narrow)
            score_keys(s + j * NR, group, qt, K, 1);
        else
            score_keys(s + j * NR, group, qt, K, NV);
    }
}

/* c[i][NR] (i < width) = c alpha + sum_j row j [i] s[j][NR], with alpha [NR] or NULL. */
typedef struct weighing {
    float *c;
    int64_t width;
    copies row;
    const float *s, *alpha;
    const panel *p;
} weighing;

/* Columns i .. i+mr-1 of the rows; of the results those from `keep` on are stored. */
MZ_INLINE void weigh_columns(const weighing *w, int64_t i, int64_t keep, int mr, int nv)
{
    vf acc[MR][NV];
    const float *row = w->row.at + i;
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            acc[r][v] = vf_load(w->c + (i + r) * NR + v * VL);
            if (w->alpha) acc[r][v] *= vf_load(w->alpha + v * VL);
        }
    for (int64_t j = 0; j < w->p->full; j++, row += w->row.stride)
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++)
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                acc[r][v] = vf_fma(vf_set(row[r]), vf_load(w->s + j * NR + v * VL), acc[r][v]);
    for (int64_t j = w->p->full; j < w->p->seen; j++, row += w->row.stride)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            const vi sees = (int32_t)j < limits(w->p, v);
            const vf weight = vf_load(w->s + j * NR + v * VL);
#pragma GCC unroll 16
            for (int r = 0; r < mr; r++)
                acc[r][v] = vf_pick(sees, vf_fma(vf_set(row[r]), weight, acc[r][v]), acc[r][v]);
        }
#pragma GCC unroll 16
    for (int r = 0; r < mr; r++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            if (i + r >= keep) vf_store(w->c + (i + r) * NR + v * VL, acc[r][v]);
}

/* The last group moves back to be a whole one; what it computes twice it stores once. */
static void weigh(const weighing *w)
{
    const bool narrow = w->p->rows <= VL;
    if (w->width < MR) {
        for (int64_t i = 0; i < w->width; i++) weigh_columns(w, i, i, 1, NV);
        return;
    }
    for (int64_t i = 0; i < w->width; i += MR) {
        const int64_t from = i + MR <= w->width ? i : w->width - MR;
        if (narrow)
            weigh_columns(w, from, i, MR, 1);
        else
            weigh_columns(w, from, i, MR, NV);
    }
}

/* c[r][n] += sum_i a[r][i] row[i][n] for MR keys r; i runs over the rows of the block from the
 * first that sees key r on. a is [panel][KEYS + PAD][NR]. */
typedef struct gathering {
    float *c[MR];
    const float *a[MR];   /* of panel 0 */
    int64_t first[MR];    /* never descending */
    int64_t rows, stride; /* of `row` and c, padded */
    const float *row;
} gathering;

MZ_INLINE void gather_columns(const gathering *g, int64_t n, int nv)
{
    vf acc[MR][NV];
    const int64_t all = g->first[MR - 1] < g->rows ? g->first[MR - 1] : g->rows;
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) acc[r][v] = vf_load(g->c[r] + n + v * VL);
    for (int64_t i = g->first[0]; i < all; i++)
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                if (i >= g->first[r])
                    acc[r][v] = vf_fma(vf_set(g->a[r][i / NR * PANEL + i % NR]),
                                       vf_load(g->row + i * g->stride + n + v * VL), acc[r][v]);
    for (int64_t i = all; i < g->rows; i++)
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                acc[r][v] = vf_fma(vf_set(g->a[r][i / NR * PANEL + i % NR]),
                                   vf_load(g->row + i * g->stride + n + v * VL), acc[r][v]);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) vf_store(g->c[r] + n + v * VL, acc[r][v]);
}

/* A last group repeats its last key: the copies compute and store the same numbers. */
static void gather(gathering *g, float *c, const float *a, const int64_t *first, int64_t keys)
{
    for (int64_t j = 0; j < keys; j += MR) {
        for (int r = 0; r < MR; r++) {
            const int64_t key = j + r < keys ? j + r : keys - 1;
            g->c[r] = c + key * g->stride;
            g->a[r] = a + key * NR;
            g->first[r] = first[key];
        }
        int64_t n = 0;
        for (; n + NR <= g->stride; n += NR) gather_columns(g, n, NV);
        for (; n < g->stride; n += VL) gather_columns(g, n, 1);
    }
}

/* ---- rows in and out ---- */

/* panels[panel][i][NR] (i < width) = elements of the rows; lanes without a row are 0. */
static void load_panels(float *panels, const void *const *row, int64_t rows, int64_t width,
                        bool bf16)
{
    for (int64_t first = 0; first < rows; first += VL) {
        float *to = panels + first / NR * width * NR + first % NR;
        for (int64_t i = 0; i < width; i += VL) {
            vf t[VL];
            for (int r = 0; r < VL; r++) {
                const void *from = first + r < rows ? row[first + r] : NULL;
                t[r] = !from  ? (vf){0}
                       : bf16 ? vf_get(from, i, width - i, true)
                              : vf_get(from, i, width - i, false);
            }
            vf_transpose(t);
            for (int r = 0; r < VL && i + r < width; r++) vf_store(to + (i + r) * NR, t[r]);
        }
    }
}

/* Lanes of a panel that load_panels leaves alone, because no row of the block reaches their vector,
 * would be whatever the memory held: harmless to the others, but not to a sanitizer. */
static void clear_lanes(float *panels, int64_t rows, int64_t width)
{
    for (int64_t lane = (rows + VL - 1) / VL * VL; lane % NR != 0; lane += VL) {
        float *to = panels + lane / NR * width * NR + lane % NR;
        for (int64_t i = 0; i < width; i++) vf_store(to + i * NR, (vf){0});
    }
}

/* What rounding to bf16 takes from x; 0 where that is no number. */
MZ_INLINE vf lost(vf x)
{
    const vf rest = x - vf_from_bf16(vf_to_bf16(x));
    return vf_pick((vi)(rest * rest < __builtin_inff()), rest, (vf){0});
}

/* n elements of a row of out or dq, at element i, and what rounding took from them. */
MZ_INLINE void store_part(void *row, void *rest, int64_t i, int64_t n, vf x, bool bf16)
{
    if (!bf16) {
        vf_put(row, i, n, x, false);
        return;
    }
    vf_put(row, i, n, x, true);
    if (rest) vf_put(rest, i, n, lost(x), true);
}

/* row[r][i] = panels[r][i] scale[r]; scale [ROWS] and rest may be NULL. */
static void store_panels(const mz_cpu_flash *f, void *const *row, void *const *rest,
                         const float *panels, int64_t width, const float *scale)
{
    for (int64_t first = 0; first < f->rows; first += VL) {
        const float *from = panels + first / NR * width * NR + first % NR;
        for (int64_t i = 0; i < width; i += VL) {
            vf t[VL];
            for (int r = 0; r < VL; r++) {
                t[r] = i + r < width ? vf_load(from + (i + r) * NR) : (vf){0};
                if (scale) t[r] *= vf_load(scale + first);
            }
            vf_transpose(t);
            for (int r = 0; r < VL && first + r < f->rows; r++)
                store_part(row[first + r], rest ? rest[first + r] : NULL, i, width - i, t[r],
                           f->bf16);
        }
    }
}

/* A tile's rows are always copied: those of one head lie far apart, often a power of two, and would
 * push each other out of the first cache. */
static copies copied(float *copy, const void *const *from, int64_t n, int64_t width, bool bf16)
{
    const copies c = {copy, mz_flash_stride(width)};
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < width; i += VL) {
            const vf x =
                bf16 ? vf_get(from[j], i, width - i, true) : vf_get(from[j], i, width - i, false);
            vf_store(copy + j * c.stride + i, x);
        }
    return c;
}

typedef struct tile {
    copies k, v;
} tile;

/* Where the values are the first columns of the keys (absorbed MLA) one copy serves both. */
static tile tile_of(const mz_cpu_flash *f, const mz_cpu_keys *keys)
{
    tile t = {.k = copied(f->k, keys->k, keys->n, f->K, f->bf16)};
    const bool same = f->W <= f->K && keys->n > 0 &&
                      memcmp(keys->k, keys->v, (size_t)keys->n * sizeof *keys->k) == 0;
    t.v = same ? t.k : copied(f->v, keys->v, keys->n, f->W, f->bf16);
    return t;
}

/* ---- forward ---- */

static void start(mz_cpu_flash *f)
{
    for (int64_t i = 0; i < ROWS; i += VL) {
        vf_store(f->m + i, vf_set(-__builtin_inff()));
        vf_store(f->l + i, (vf){0});
    }
    if (is_few(f)) {
        few_start(f);
        return;
    }
    load_panels(f->qt, f->q, f->rows, f->K, f->bf16);
    clear_lanes(f->qt, f->rows, f->K);
    memset(f->ot, 0, (size_t)(f->W * ROWS) * sizeof *f->ot);
}

/* A maximum of -inf (every key so far had a score of -inf) must not become -inf - -inf. */
MZ_INLINE vf finite_max(vf m)
{
    return vf_pick((vi)(m > -__builtin_inff()), m, (vf){0});
}

/* Scores to weights, in place; alpha [NR] is what the sums so far must be multiplied by. */
static void soften(mz_cpu_flash *f, const panel *p, float *alpha)
{
    const int lanes = p->rows <= VL ? 1 : NV;
    for (int v = 0; v < lanes; v++) {
        float *s = f->s + v * VL, *m = f->m + p->first + v * VL, *l = f->l + p->first + v * VL;
        const vi limit = limits(p, v);
        const vf before = vf_load(m);
        vf top = before, sum = {0};
        for (int64_t j = 0; j < p->seen; j++) {
            vf x = vf_load(s + j * NR) * f->scale;
            if (j >= p->full) x = vf_pick((int32_t)j < limit, x, vf_set(-__builtin_inff()));
            top = vf_max(x, top);
            vf_store(s + j * NR, x);
        }
        const vf base = finite_max(top), shrink = vf_exp(before - base);
        for (int64_t j = 0; j < p->seen; j++) {
            const vf w = vf_exp(vf_load(s + j * NR) - base);
            sum += w;
            vf_store(s + j * NR, w);
        }
        vf_store(m, top);
        vf_store(l, vf_fma(vf_load(l), shrink, sum));
        vf_store(alpha + v * VL, shrink);
    }
}

static void tile_forward(mz_cpu_flash *f, const mz_cpu_keys *keys)
{
    if (is_few(f)) {
        few_tile(f, keys);
        return;
    }
    const tile t = tile_of(f, keys);
    float alpha[NR] = {0};
    for (int64_t first = 0; first < f->rows; first += NR) {
        const panel p = panel_of(f, first, keys);
        if (p.seen == 0) continue;
        scores(f->s, t.k, p.seen, f->qt + first * f->K, f->K, p.rows <= VL);
        soften(f, &p, alpha);
        weigh(&(weighing){.c = f->ot + first * f->W,
                          .width = f->W,
                          .row = t.v,
                          .s = f->s,
                          .alpha = alpha,
                          .p = &p});
    }
}

static void merge(mz_cpu_flash *f, const float *ot, const float *m, const float *l)
{
    if (is_few(f)) {
        few_merge(f, ot, m, l);
        return;
    }
    for (int64_t first = 0; first < f->rows; first += VL) {
        const vf m1 = vf_load(f->m + first), m2 = vf_load(m + first), top = vf_max(m1, m2);
        const vf base = finite_max(top), a1 = vf_exp(m1 - base), a2 = vf_exp(m2 - base);
        const int64_t at = first / NR * f->W * NR + first % NR;
        vf_store(f->m + first, top);
        vf_store(f->l + first, vf_load(f->l + first) * a1 + vf_load(l + first) * a2);
        for (int64_t i = 0; i < f->W; i++) {
            const vf o1 = vf_load(f->ot + at + i * NR), o2 = vf_load(ot + at + i * NR);
            vf_store(f->ot + at + i * NR, o1 * a1 + o2 * a2);
        }
    }
}

static void few_finish(const mz_cpu_flash *f, void *const *out, const float *scale)
{
    for (int64_t r = 0; r < f->rows; r++)
        for (int64_t i = 0; i < f->W; i += VL) {
            const vf x = vf_load(f->ot + r * mz_flash_padded(f->W) + i) * scale[r];
            store_part(out[r], f->rest[r], i, f->W - i, x, f->bf16);
        }
}

static void finish(const mz_cpu_flash *f, void *const *out, float *lse)
{
    float inverse[ROWS];
    for (int64_t i = 0; i < ROWS; i += VL) vf_store(inverse + i, 1.0f / vf_load(f->l + i));
    if (is_few(f))
        few_finish(f, out, inverse);
    else
        store_panels(f, out, f->rest, f->ot, f->W, inverse);
    for (int64_t i = 0; lse && i < f->rows; i++)
        lse[i] = (float)((double)f->m[i] + log((double)f->l[i]));
}

/* ---- backward ---- */

/* Padded f32 copies of rows. */
static void copy_rows(float *copy, const void *const *row, int64_t rows, int64_t width, bool bf16)
{
    const int64_t stride = mz_flash_padded(width);
    for (int64_t r = 0; r < rows; r++) {
        memset(copy + r * stride, 0, (size_t)stride * sizeof *copy);
        for (int64_t i = 0; i < width; i += VL) {
            const int64_t n = width - i;
            const vf x = bf16 ? vf_get(row[r], i, n, true) : vf_get(row[r], i, n, false);
            vf_put(copy, r * stride + i, n, x, false);
        }
    }
}

/* sum a (b + rest), rest NULL or bf16. */
static float dot_row(const float *a, const void *b, const void *rest, int64_t width, bool bf16)
{
    vf sum = {0};
    for (int64_t i = 0; i < width; i += VL) {
        const int64_t n = width - i;
        vf x = bf16 ? vf_get(b, i, n, true) : vf_get(b, i, n, false);
        if (rest) x += vf_get(rest, i, n, true);
        sum = vf_fma(vf_get(a, i, n, false), x, sum);
    }
    return vf_sum(sum);
}

static void back_start(mz_cpu_flash *f)
{
    load_panels(f->qt, f->q, f->rows, f->K, f->bf16);
    clear_lanes(f->qt, f->rows, f->K);
    load_panels(f->dot, f->dout, f->rows, f->W, f->bf16);
    clear_lanes(f->dot, f->rows, f->W);
    copy_rows(f->q_rows, f->q, f->rows, f->K, f->bf16);
    copy_rows(f->dout_rows, f->dout, f->rows, f->W, f->bf16);
    memset(f->dqt, 0, (size_t)(f->K * ROWS) * sizeof *f->dqt);
    for (int64_t i = 0; i < ROWS; i++) {
        const float *dout = f->dout_rows + i * mz_flash_padded(f->W);
        f->delta[i] = i < f->rows ? dot_row(dout, f->out[i], f->rest[i], f->W, f->bf16) : 0.0f;
        if (i >= f->rows) f->lse[i] = 0.0f;
    }
}

/* s: scores to weights exp(s - lse); ds: dout.v to the gradient of the unscaled score. Rows that do
 * not see a key get numbers too, which nobody reads. */
static void soften_back(const mz_cpu_flash *f, const panel *p, float *s, float *ds)
{
    const int lanes = p->rows <= VL ? 1 : NV;
    for (int v = 0; v < lanes; v++) {
        const vf lse = vf_load(f->lse + p->first + v * VL);
        const vf delta = vf_load(f->delta + p->first + v * VL);
        for (int64_t j = 0; j < p->seen; j++) {
            float *w = s + j * NR + v * VL, *d = ds + j * NR + v * VL;
            const vf weight = vf_exp(vf_load(w) * f->scale - lse);
            vf_store(w, weight);
            vf_store(d, weight * (vf_load(d) - delta) * f->scale);
        }
    }
}

/* The weight of a lone key is 1 whatever its score: exactly no gradient, where dout.v and delta are
 * sums in two orders. (0, or NaN where it was none.) */
static void still_lone_keys(const mz_cpu_flash *f, const panel *p, float *ds)
{
    for (int64_t i = 0; i < p->rows; i++)
        if (f->limit[p->first + i] == 1) ds[i] -= ds[i];
}

static void back_tile(mz_cpu_flash *f, const mz_cpu_keys *keys)
{
    const tile t = tile_of(f, keys);
    for (int64_t first = 0; first < f->rows; first += NR) {
        const panel p = panel_of(f, first, keys);
        float *s = f->s + first / NR * PANEL, *ds = f->ds + first / NR * PANEL;
        if (p.seen == 0) continue;
        scores(s, t.k, p.seen, f->qt + first * f->K, f->K, p.rows <= VL);
        scores(ds, t.v, p.seen, f->dot + first * f->W, f->W, p.rows <= VL);
        soften_back(f, &p, s, ds);
        if (keys->first == 0) still_lone_keys(f, &p, ds);
    }
}

static void back_keys(const mz_cpu_flash *f, const mz_cpu_keys *keys, float *dk, float *dv)
{
    int64_t first[KEYS], row = 0;
    for (int64_t j = 0; j < keys->n; j++) {
        while (row < f->rows && f->limit[row] <= keys->first + j) row++;
        first[j] = row;
    }
    gathering g = {.rows = f->rows, .stride = mz_flash_padded(f->W), .row = f->dout_rows};
    gather(&g, dv, f->s, first, keys->n);
    g.stride = mz_flash_padded(f->K);
    g.row = f->q_rows;
    gather(&g, dk, f->ds, first, keys->n);
}

static void back_rows(mz_cpu_flash *f, const mz_cpu_keys *keys)
{
    const copies row = {f->k, mz_flash_stride(f->K)}; /* back_tile has left them */
    for (int64_t first = 0; first < f->rows; first += NR) {
        const panel p = panel_of(f, first, keys);
        if (p.seen == 0) continue;
        weigh(&(weighing){.c = f->dqt + first * f->K,
                          .width = f->K,
                          .row = row,
                          .s = f->ds + first / NR * PANEL,
                          .p = &p});
    }
}

static void back_finish(const mz_cpu_flash *f, void *const *dq)
{
    store_panels(f, dq, NULL, f->dqt, f->K, NULL);
}

const mz_cpu_flash_table MZ_CPU_TABLE(mz_cpu_flash) = {
    .start = start,
    .tile = tile_forward,
    .merge = merge,
    .finish = finish,
    .back_start = back_start,
    .back_tile = back_tile,
    .back_keys = back_keys,
    .back_rows = back_rows,
    .back_finish = back_finish,
};
