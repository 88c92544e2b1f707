/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/cases_dense.c - matmul, experts, rmsnorm, rope, swiglu, embed. */
#include "weigh/cases.h"

#include <math.h>
#include <stddef.h>

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* Largest L2 norm of a column of the last two axes. */
static double column_norm(const mz_case *c, int i)
{
    const mz_case_arg *a = &c->arg[i];
    const int64_t D = a->dim[a->rank - 1], R = a->rank > 1 ? a->dim[a->rank - 2] : 1;
    double most = 0.0;
    if (!a->values || D == 0 || R == 0) return 0.0;
    for (int64_t m = 0; m < a->count / (D * R); m++)
        for (int64_t d = 0; d < D; d++) {
            double sum = 0.0;
            for (int64_t r = 0; r < R; r++) {
                const double x = a->values[(m * R + r) * D + d];
                sum += isfinite(x) ? x * x : 0.0;
            }
            most = sum > most ? sum : most;
        }
    return sqrt(most);
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* With or without the leading axis of matrices. */
static mz_err matrix(mz_case *c, int i, mz_dtype d, int64_t rows, int64_t columns)
{
    const mz_matmul_desc *m = &c->desc.u.matmul;
    MZ_TRY(m->batch_max > 0 ? mz_case_real(c, i, d, 3, DIMS(m->batch_max, rows, columns), 1.0)
                            : mz_case_real(c, i, d, 2, DIMS(rows, columns), 1.0));
    mz_case_loose(c, i, MZ_LOOSE_ROWS);
    return MZ_OK;
}

static mz_err matmul_backward(mz_case *c, const mz_matmul_desc *m)
{
    const mz_dtype acc = mz_dtype_acc(m->dtype);
    const int64_t M = m->M_max, N = m->N_max, K = m->K_max;
    const int dc = MZ_ARG(matmul.dc), da = MZ_ARG(matmul.da), db = MZ_ARG(matmul.db);
    const int a = MZ_ARG(matmul.a), b = MZ_ARG(matmul.b), dbias = MZ_ARG(matmul.dbias);
    MZ_TRY(matrix(c, dc, m->out_dtype, M, N));
    const double norm_dc = larger(mz_case_row_norm(c, dc), column_norm(c, dc));
    const double norm_a = larger(mz_case_row_norm(c, a), column_norm(c, a));
    const double norm_b = larger(mz_case_row_norm(c, b), column_norm(c, b));
    if (mz_case_chance(c, 0.9)) {
        MZ_TRY(mz_case_out(c, da, m->dtype, 2, m->trans_a ? DIMS(K, M) : DIMS(M, K)));
        mz_case_loose(c, da, MZ_LOOSE_ROWS);
        mz_case_bound(c, da, (double)N, norm_dc * norm_b);
    }
    if (mz_case_chance(c, 0.9)) {
        MZ_TRY(matrix(c, db, acc, m->trans_b ? N : K, m->trans_b ? K : N));
        mz_case_bound(c, db, (double)M + 1.0, norm_dc * norm_a + 1.0);
    }
    if (!m->bias || mz_case_chance(c, 0.1)) return MZ_OK;
    MZ_TRY(mz_case_real(c, dbias, acc, 1, DIMS(N), 1.0));
    mz_case_bound(c, dbias, (double)M + 1.0, norm_dc * sqrt((double)M) + 1.0);
    return MZ_OK;
}

static mz_err matmul(mz_case *c, mz_dtype d)
{
    mz_matmul_desc *m = &c->desc.u.matmul;
    const mz_dtype acc = mz_dtype_acc(d);
    const bool is_long = mz_case_chance(c, 0.05);
    *m = (mz_matmul_desc){.dtype = d,
                          .out_dtype = mz_case_chance(c, 0.7) ? d : acc,
                          .M_max = is_long ? 3 : mz_case_dim(c, 90),
                          .N_max = is_long ? 5 : mz_case_dim(c, 90),
                          .K_max = is_long ? mz_case_some(c, 2000, 9000) : mz_case_dim(c, 150),
                          .trans_a = mz_case_chance(c, 0.3),
                          .trans_b = mz_case_chance(c, 0.6)};
    m->stored = mz_case_stored(c, d);
    if (m->stored != MZ_F64) {
        const int64_t block = mz_dtype_block(m->stored);
        m->trans_a = false, m->trans_b = true;
        m->K_max = m->K_max / block * block + (mz_case_chance(c, 0.8) ? block : 0);
    } else {
        m->backward = mz_case_chance(c, 0.5);
    }
    m->bias = mz_case_chance(c, 0.3);
    if (!m->backward && m->stored == MZ_F64 && mz_case_chance(c, 0.3))
        m->batch_max = mz_case_some(c, 1, 4);
    if (!m->backward) m->accumulate = mz_case_chance(c, 0.3);
    const int64_t M = m->M_max, N = m->N_max, K = m->K_max;
    const int ci = MZ_ARG(matmul.c), a = MZ_ARG(matmul.a), b = MZ_ARG(matmul.b);
    MZ_TRY(matrix(c, a, d, m->trans_a ? K : M, m->trans_a ? M : K));
    if (m->stored != MZ_F64)
        MZ_TRY(mz_case_weight(c, b, m->stored, d, 2, DIMS(N, K)));
    else
        MZ_TRY(matrix(c, b, d, m->trans_b ? N : K, m->trans_b ? K : N));
    mz_case_loose(c, b, MZ_LOOSE_ROWS);
    mz_case_sow(c, a, true);
    MZ_TRY(matrix(c, ci, m->out_dtype, M, N));
    const double na = m->trans_a ? column_norm(c, a) : mz_case_row_norm(c, a);
    const double nb = m->trans_b ? mz_case_row_norm(c, b) : column_norm(c, b);
    mz_case_bound(c, ci, (double)K + 2.0, na * nb + 4.0);
    if (m->bias) MZ_TRY(mz_case_real(c, MZ_ARG(matmul.bias), acc, 1, DIMS(N), 1.0));
    if (!m->backward) return MZ_OK;
    c->backward = true;
    return matmul_backward(c, m);
}

static mz_err experts(mz_case *c, mz_dtype d)
{
    mz_experts_desc *x = &c->desc.u.experts;
    const mz_dtype acc = mz_dtype_acc(d);
    const int64_t T = mz_case_dim(c, 60), E = mz_case_some(c, 1, 9);
    *x = (mz_experts_desc){.dtype = d,
                           .T_max = T,
                           .E = E,
                           .N = mz_case_some(c, 1, 40),
                           .K = mz_case_some(c, 1, 70),
                           .stored = mz_case_stored(c, d)};
    if (x->stored != MZ_F64) x->K = mz_dtype_block(x->stored) * mz_case_some(c, 1, 3);
    c->backward = x->backward = x->stored == MZ_F64 && mz_case_chance(c, 0.6);
    int32_t offsets[16] = {0};
    for (int64_t e = 1; e <= E; e++)
        offsets[e] = e == E ? (int32_t)T : (int32_t)mz_case_some(c, offsets[e - 1], T);
    const int w = MZ_ARG(experts.w), dw = MZ_ARG(experts.dw), xi = MZ_ARG(experts.x);
    MZ_TRY(mz_case_real(c, xi, d, 2, DIMS(T, x->K), 1.0));
    MZ_TRY(mz_case_weight(c, w, mz_stored_dtype(x->stored, d), d, 3, DIMS(E, x->N, x->K)));
    MZ_TRY(mz_case_list(c, MZ_ARG(experts.offsets), 1, DIMS(E + 1), offsets));
    MZ_TRY(mz_case_out(c, MZ_ARG(experts.y), d, 2, DIMS(T, x->N)));
    mz_case_bound(c, MZ_ARG(experts.y), (double)x->K,
                  mz_case_row_norm(c, xi) * mz_case_row_norm(c, w));
    if (!x->backward) return MZ_OK;
    MZ_TRY(mz_case_real(c, MZ_ARG(experts.dy), d, 2, DIMS(T, x->N), 1.0));
    MZ_TRY(mz_case_out(c, MZ_ARG(experts.dx), d, 2, DIMS(T, x->K)));
    MZ_TRY(mz_case_real(c, dw, acc, 3, DIMS(E, x->N, x->K), 1.0));
    const double ndy =
        larger(mz_case_row_norm(c, MZ_ARG(experts.dy)), column_norm(c, MZ_ARG(experts.dy)));
    mz_case_bound(c, MZ_ARG(experts.dx), (double)x->N, ndy * column_norm(c, w));
    mz_case_bound(c, dw, (double)T + 1.0, ndy * column_norm(c, xi) + 4.0);
    return MZ_OK;
}

/* The largest r = 1 / sqrt(mean x^2 + eps) of a row: a short row of small numbers has one far above
 * 1 / deviation. */
static double largest_rate(const mz_case *c, int x, int64_t T, int64_t D, double eps)
{
    double rate = 0.0;
    for (int64_t t = 0; t < T; t++) {
        double sum = 0.0;
        for (int64_t j = 0; j < D; j++) {
            const double v = c->arg[x].values[t * D + j];
            sum += isfinite(v) ? v * v : 0.0;
        }
        rate = larger(rate, 1.0 / sqrt(sum / (double)D + eps));
    }
    return rate;
}

static mz_err rmsnorm(mz_case *c, mz_dtype d)
{
    mz_rmsnorm_desc *r = &c->desc.u.rmsnorm;
    const mz_dtype acc = mz_dtype_acc(d);
    const int64_t T = mz_case_dim(c, 70),
                  D = mz_case_some(c, 1, mz_case_chance(c, 0.1) ? 3000 : 200);
    const double scale = mz_case_chance(c, 0.3) ? 1e-3 : 1.0;
    *r = (mz_rmsnorm_desc){d, T, D, mz_case_chance(c, 0.5) ? 1e-6 : 1e-5, false};
    c->backward = r->backward = mz_case_chance(c, 0.6);
    const int x = MZ_ARG(rmsnorm.x), w = MZ_ARG(rmsnorm.w), y = MZ_ARG(rmsnorm.y);
    const int dy = MZ_ARG(rmsnorm.dy), dx = MZ_ARG(rmsnorm.dx), dw = MZ_ARG(rmsnorm.dw);
    MZ_TRY(mz_case_real(c, x, d, 2, DIMS(T, D), scale));
    MZ_TRY(mz_case_real(c, w, acc, 1, DIMS(D), 1.0));
    MZ_TRY(mz_case_out(c, y, d, 2, DIMS(T, D)));
    mz_case_loose(c, x, MZ_LOOSE_ROWS);
    mz_case_loose(c, y, MZ_LOOSE_ROWS);
    if (!r->backward) {
        mz_case_sow(c, x, false);
        if (mz_case_chance(c, 0.3)) c->arg[y].alias = x + 1;
        return MZ_OK;
    }
    mz_case_saved(c, MZ_ARG(rmsnorm.saved));
    MZ_TRY(mz_case_real(c, dy, d, 2, DIMS(T, D), 1.0));
    MZ_TRY(mz_case_out(c, dx, d, 2, DIMS(T, D)));
    MZ_TRY(mz_case_real(c, dw, acc, 1, DIMS(D), 1.0));
    mz_case_loose(c, dy, MZ_LOOSE_ROWS);
    mz_case_loose(c, dx, MZ_LOOSE_ROWS);
    if (mz_case_chance(c, 0.3)) c->arg[dx].alias = dy + 1;
    /* dx = r (g - x r^2 mean(g x)): terms of size r |g|, and |x r| <= sqrt(D); r <= 1/rms */
    const double g = mz_case_largest(c, dy) * mz_case_largest(c, w);
    const double rate = larger(1.5 / scale, largest_rate(c, x, T, D, r->eps));
    mz_case_bound(c, dx, 64.0, rate * g * larger(1.0, mz_case_largest(c, x) * rate));
    mz_case_bound(c, dw, (double)T + 1.0,
                  column_norm(c, dy) * column_norm(c, x) * rate * 2.0 + 4.0);
    return MZ_OK;
}

static mz_err rope(mz_case *c, mz_dtype d)
{
    mz_rope_desc *r = &c->desc.u.rope;
    const int64_t T = mz_case_dim(c, 40), H = mz_case_some(c, 1, 5), P = mz_case_some(c, 1, 50);
    *r = (mz_rope_desc){d, T, H, 2 * mz_case_some(c, 1, 40), mz_case_chance(c, 0.5), false};
    c->backward = r->backward = mz_case_chance(c, 0.6);
    const int x = MZ_ARG(rope.x), y = MZ_ARG(rope.y);
    MZ_TRY(mz_case_real(c, x, d, 3, DIMS(T, H, r->K), 1.0));
    MZ_TRY(mz_case_out(c, y, d, 3, DIMS(T, H, r->K)));
    MZ_TRY(mz_case_real(c, MZ_ARG(rope.cos), MZ_F32, 2, DIMS(P, r->K / 2), 0.7));
    MZ_TRY(mz_case_real(c, MZ_ARG(rope.sin), MZ_F32, 2, DIMS(P, r->K / 2), 0.7));
    MZ_TRY(mz_case_ids(c, MZ_ARG(rope.pos), 1, DIMS(T), 0, P));
    const double most = mz_case_largest(c, MZ_ARG(rope.cos)) + mz_case_largest(c, MZ_ARG(rope.sin));
    mz_case_bound(c, y, 2.0, most * mz_case_largest(c, x));
    mz_case_loose(c, x, MZ_LOOSE_ROWS);
    mz_case_loose(c, y, MZ_LOOSE_ROWS);
    if (mz_case_chance(c, 0.4)) c->arg[y].alias = x + 1;
    if (!r->backward) return MZ_OK;
    const int dy = MZ_ARG(rope.dy), dx = MZ_ARG(rope.dx);
    MZ_TRY(mz_case_real(c, dy, d, 3, DIMS(T, H, r->K), 1.0));
    MZ_TRY(mz_case_out(c, dx, d, 3, DIMS(T, H, r->K)));
    mz_case_bound(c, dx, 2.0, most * mz_case_largest(c, dy));
    mz_case_loose(c, dy, MZ_LOOSE_ROWS);
    mz_case_loose(c, dx, MZ_LOOSE_ROWS);
    if (mz_case_chance(c, 0.4)) c->arg[dx].alias = dy + 1;
    return MZ_OK;
}

static mz_err swiglu(mz_case *c, mz_dtype d)
{
    mz_swiglu_desc *s = &c->desc.u.swiglu;
    const int64_t T = mz_case_dim(c, 50), F = mz_case_some(c, 1, 200);
    *s = (mz_swiglu_desc){d, T, F, false};
    c->backward = s->backward = mz_case_chance(c, 0.6);
    const int last = s->backward ? MZ_ARG(swiglu.dup) : MZ_ARG(swiglu.up);
    for (int i = 0; i <= last; i++) {
        const bool is_in =
            i == MZ_ARG(swiglu.gate) || i == MZ_ARG(swiglu.up) || i == MZ_ARG(swiglu.dy);
        MZ_TRY(is_in ? mz_case_real(c, i, d, 2, DIMS(T, F), 2.0)
                     : mz_case_out(c, i, d, 2, DIMS(T, F)));
        mz_case_loose(c, i, MZ_LOOSE_ROWS);
    }
    const double most =
        mz_case_largest(c, MZ_ARG(swiglu.gate)) * mz_case_largest(c, MZ_ARG(swiglu.up));
    mz_case_bound(c, MZ_ARG(swiglu.y), 4.0, most);
    if (!s->backward) return mz_case_sow(c, MZ_ARG(swiglu.up), false), MZ_OK;
    mz_case_bound(c, MZ_ARG(swiglu.dgate), 16.0, most * mz_case_largest(c, MZ_ARG(swiglu.dy)));
    mz_case_bound(c, MZ_ARG(swiglu.dup), 16.0, most * mz_case_largest(c, MZ_ARG(swiglu.dy)));
    if (mz_case_chance(c, 0.3)) c->arg[MZ_ARG(swiglu.dgate)].alias = MZ_ARG(swiglu.gate) + 1;
    if (mz_case_chance(c, 0.3)) c->arg[MZ_ARG(swiglu.dup)].alias = MZ_ARG(swiglu.up) + 1;
    return MZ_OK;
}

static mz_err embed(mz_case *c, mz_dtype d)
{
    mz_embed_desc *e = &c->desc.u.embed;
    const int64_t T = mz_case_dim(c, 60), V = mz_case_some(c, 1, 40);
    const mz_dtype stored = mz_case_stored(c, d);
    const int64_t block = mz_dtype_block(stored);
    const int64_t D = block > 1 ? block * mz_case_some(c, 1, 4) : mz_case_some(c, 1, 90);
    *e = (mz_embed_desc){.dtype = d, .T_max = T, .V = V, .D = D, .stored = stored};
    c->backward = e->backward = stored == MZ_F64 && mz_case_chance(c, 0.6);
    MZ_TRY(mz_case_weight(c, MZ_ARG(embed.w), mz_stored_dtype(stored, d), d, 2, DIMS(V, D)));
    if (!e->backward && block == 1) mz_case_sow(c, MZ_ARG(embed.w), true);
    MZ_TRY(mz_case_ids(c, MZ_ARG(embed.ids), 1, DIMS(T), 0, V));
    MZ_TRY(mz_case_out(c, MZ_ARG(embed.y), d, 2, DIMS(T, D)));
    if (!e->backward) return MZ_OK;
    MZ_TRY(mz_case_real(c, MZ_ARG(embed.dy), d, 2, DIMS(T, D), 1.0));
    MZ_TRY(mz_case_real(c, MZ_ARG(embed.dw), mz_dtype_acc(d), 2, DIMS(V, D), 1.0));
    mz_case_bound(c, MZ_ARG(embed.dw), (double)T + 1.0,
                  column_norm(c, MZ_ARG(embed.dy)) * sqrt((double)T + 1.0) + 4.0);
    return MZ_OK;
}

mz_err mz_cases_dense(mz_case *c, mz_dtype d)
{
    if (c->desc.kind == MZ_OP_MATMUL) return matmul(c, d);
    if (c->desc.kind == MZ_OP_EXPERTS) return experts(c, d);
    if (c->desc.kind == MZ_OP_RMSNORM) return rmsnorm(c, d);
    if (c->desc.kind == MZ_OP_ROPE) return rope(c, d);
    return c->desc.kind == MZ_OP_SWIGLU ? swiglu(c, d) : embed(c, d);
}
