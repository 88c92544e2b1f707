/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/cases_attention.c - attention over packed sequences, and over a paged cache.
 *
 * Bounds. A score's rounding u sqrt(K) |q| |k| scale is the relative error of a probability, and
 * each output is a sum of probabilities times values: n = 1 with the factors in `norms`. */
#include "weigh/cases.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

enum { SEQUENCES = 4 };

/* How many roundings of the accumulation type a probability carries. */
static double doubt(const mz_case *c, int q, int k, double scale, int64_t K)
{
    return 8.0 + scale * (1.0 + sqrt((double)K)) * mz_case_row_norm(c, q) * mz_case_row_norm(c, k);
}

static mz_err heads(mz_case *c, int i, mz_dtype d, const int64_t dim[3])
{
    MZ_TRY(mz_case_real(c, i, d, 3, dim, 1.0));
    mz_case_loose(c, i, MZ_LOOSE_ROWS);
    return MZ_OK;
}

static mz_err out(mz_case *c, int i, mz_dtype d, const int64_t dim[3], double norms)
{
    MZ_TRY(mz_case_out(c, i, d, 3, dim));
    mz_case_loose(c, i, MZ_LOOSE_ROWS);
    mz_case_bound(c, i, 1.0, norms);
    return MZ_OK;
}

static mz_err attention_backward(mz_case *c, const mz_attention_desc *a, double each)
{
    const int q = MZ_ARG(attention.q), k = MZ_ARG(attention.k), v = MZ_ARG(attention.v);
    const int dout = MZ_ARG(attention.dout);
    const double T = (double)a->T_max, fan = sqrt((double)(a->H / a->G)) * sqrt(T + 1.0);
    mz_case_saved(c, MZ_ARG(attention.saved));
    MZ_TRY(heads(c, dout, a->dtype, DIMS(a->T_max, a->H, a->W)));
    const double ndout = mz_case_row_norm(c, dout), nv = mz_case_row_norm(c, v);
    const double ds = a->scale * ndout * nv * (2.0 * each + 2.0 * sqrt((double)a->W));
    MZ_TRY(out(c, MZ_ARG(attention.dq), a->dtype, DIMS(a->T_max, a->H, a->K),
               ds * mz_case_largest(c, k) * 2.0));
    MZ_TRY(out(c, MZ_ARG(attention.dk), a->dtype, DIMS(a->T_max, a->G, a->K),
               ds * mz_case_largest(c, q) * fan));
    return out(c, MZ_ARG(attention.dv), a->dtype, DIMS(a->T_max, a->G, a->W),
               each * mz_case_largest(c, dout) * fan);
}

static mz_err attention(mz_case *c, mz_dtype d)
{
    mz_attention_desc *a = &c->desc.u.attention;
    const int64_t G = mz_case_some(c, 1, 3),
                  T = mz_case_chance(c, 0.06) ? mz_case_some(c, 100, 220) : mz_case_dim(c, 70);
    *a = (mz_attention_desc){.dtype = d,
                             .T_max = T,
                             .sequences_max = SEQUENCES,
                             .H = G * mz_case_some(c, 1, 4),
                             .G = G,
                             .K = mz_case_some(c, 1, 70),
                             .W = mz_case_some(c, 1, 70),
                             .causal = true};
    a->scale = mz_case_chance(c, 0.8) ? 1.0 / sqrt((double)a->K) : 0.3;
    c->backward = a->backward = mz_case_chance(c, 0.6);
    const int64_t n = mz_case_cu(c, T, SEQUENCES, c->host_cu);
    const int q = MZ_ARG(attention.q), k = MZ_ARG(attention.k), v = MZ_ARG(attention.v);
    MZ_TRY(heads(c, q, d, DIMS(T, a->H, a->K)));
    MZ_TRY(heads(c, k, d, DIMS(T, G, a->K)));
    MZ_TRY(heads(c, v, d, DIMS(T, G, a->W)));
    MZ_TRY(mz_case_list(c, MZ_ARG(attention.cu), 1, DIMS(n + 1), c->host_cu));
    if (mz_case_chance(c, 0.5)) c->k.k.attention.cu_host = c->host_cu;
    const double each = doubt(c, q, k, a->scale, a->K) + sqrt((double)T + 1.0);
    MZ_TRY(out(c, MZ_ARG(attention.out), d, DIMS(T, a->H, a->W), each * mz_case_largest(c, v)));
    return a->backward ? attention_backward(c, a, each) : MZ_OK;
}

/* Pages in a shuffled order, each used once. */
static void deal_pages(mz_case *c, int32_t *table, int64_t n, int64_t pages)
{
    int32_t deck[256];
    for (int64_t i = 0; i < pages; i++) deck[i] = (int32_t)i;
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = mz_case_some(c, i, pages - 1);
        const int32_t x = deck[i];
        deck[i] = deck[j];
        deck[j] = x;
        table[i] = deck[i];
    }
}

/* The first W columns of k are the values: MLA's latent. */
static mz_err latent_values(mz_case *c, const mz_decode_desc *x, int64_t pages)
{
    const int k = MZ_ARG(decode.k_cache), v = MZ_ARG(decode.v_cache);
    MZ_TRY(mz_case_real(c, v, x->dtype, 4, DIMS(pages, x->page, x->G, x->W), 1.0));
    for (int64_t r = 0; r < pages * x->page * x->G; r++)
        memcpy(c->arg[v].values + r * x->W, c->arg[k].values + r * x->K,
               (size_t)x->W * sizeof(double));
    c->arg[v].alias = k + 1;
    return MZ_OK;
}

static mz_err decode(mz_case *c, mz_dtype d)
{
    mz_decode_desc *x = &c->desc.u.decode;
    const int64_t B = mz_case_some(c, 1, 4), G = mz_case_some(c, 1, 2);
    const int64_t page = mz_case_some(c, 1, 20), each = mz_case_some(c, 1, 6);
    const int64_t pages = B * each + mz_case_some(c, 0, 4);
    int32_t table[32], lens[8], cu[9] = {0};
    *x = (mz_decode_desc){d,    0,    B,  G * mz_case_some(c, 1, 5), G, mz_case_some(c, 1, 80), 0,
                          page, each, 0.0};
    const bool latent = mz_case_chance(c, 0.4);
    x->W = latent ? mz_case_some(c, 1, x->K) : mz_case_some(c, 1, 80);
    x->scale = 1.0 / sqrt((double)x->K);
    for (int64_t b = 0; b < B; b++) {
        lens[b] = (int32_t)mz_case_some(c, 1, page * each);
        const int64_t most = lens[b] < 6 ? lens[b] : 6;
        cu[b + 1] = cu[b] + (int32_t)mz_case_some(c, mz_case_chance(c, 0.8), most);
    }
    deal_pages(c, table, B * each, pages);
    x->T_max = cu[B];
    const int q = MZ_ARG(decode.q), k = MZ_ARG(decode.k_cache), v = MZ_ARG(decode.v_cache);
    MZ_TRY(heads(c, q, d, DIMS(x->T_max, x->H, x->K)));
    MZ_TRY(mz_case_real(c, k, d, 4, DIMS(pages, page, G, x->K), 1.0));
    mz_case_loose(c, k, MZ_LOOSE_ROWS);
    MZ_TRY(latent ? latent_values(c, x, pages)
                  : mz_case_real(c, v, d, 4, DIMS(pages, page, G, x->W), 1.0));
    mz_case_loose(c, v, MZ_LOOSE_ROWS);
    MZ_TRY(mz_case_list(c, MZ_ARG(decode.table), 2, DIMS(B, each), table));
    MZ_TRY(mz_case_list(c, MZ_ARG(decode.lens), 1, DIMS(B), lens));
    MZ_TRY(mz_case_list(c, MZ_ARG(decode.cu), 1, DIMS(B + 1), cu));
    const double all = sqrt((double)(page * each));
    return out(c, MZ_ARG(decode.out), d, DIMS(x->T_max, x->H, x->W),
               (doubt(c, q, k, x->scale, x->K) + all) * mz_case_largest(c, v));
}

mz_err mz_cases_attention(mz_case *c, mz_dtype d)
{
    return c->desc.kind == MZ_OP_ATTENTION ? attention(c, d) : decode(c, d);
}
