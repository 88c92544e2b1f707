/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/cases_rest.c - xent, adamw, sumsq, finite, cast, elementwise, reduce, rows, sample. */
#include "weigh/cases.h"

#include <math.h>
#include <stddef.h>

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static mz_err xent(mz_case *c, mz_dtype d)
{
    mz_xent_desc *x = &c->desc.u.xent;
    const int64_t T = mz_case_dim(c, 30);
    const int64_t V = mz_case_some(c, 1, mz_case_chance(c, 0.1) ? 5000 : 150);
    *x = (mz_xent_desc){d, T, V, mz_case_chance(c, 0.7)};
    const int logits = MZ_ARG(xent.logits), targets = MZ_ARG(xent.targets);
    MZ_TRY(mz_case_real(c, logits, d, 2, DIMS(T, V), mz_case_chance(c, 0.2) ? 30.0 : 2.0));
    MZ_TRY(mz_case_ids(c, targets, 1, DIMS(T), 0, V));
    for (int64_t t = 0; t < T; t++)
        if (mz_case_chance(c, 0.15)) c->arg[targets].values[t] = -100.0;
    MZ_TRY(mz_case_out(c, MZ_ARG(xent.loss), mz_dtype_acc(d), 1, DIMS(T)));
    mz_case_bound(c, MZ_ARG(xent.loss), (double)V, 4.0 + 4.0 * mz_case_largest(c, logits));
    if (!x->gradient) return MZ_OK;
    const int weight = MZ_ARG(xent.weight), out = MZ_ARG(xent.dlogits);
    MZ_TRY(mz_case_real(c, weight, mz_dtype_acc(d), 1, DIMS(T), 1.0));
    MZ_TRY(mz_case_out(c, out, d, 2, DIMS(T, V)));
    mz_case_bound(c, out, (double)V,
                  mz_case_largest(c, weight) * (4.0 + mz_case_largest(c, logits)));
    if (mz_case_chance(c, 0.4)) c->arg[out].alias = logits + 1;
    return MZ_OK;
}

static mz_err adamw(mz_case *c, mz_dtype d)
{
    const mz_dtype acc = mz_dtype_acc(d); /* d is what the copy is rounded to */
    const int64_t N = mz_case_dim(c, 600);
    const int p = MZ_ARG(adamw.p), m = MZ_ARG(adamw.m), v = MZ_ARG(adamw.v), g = MZ_ARG(adamw.g);
    c->desc.u.adamw = (mz_adamw_desc){acc, d, N};
    c->k.k.adamw.lr = mz_case_chance(c, 0.5) ? 1e-3 : 3e-2;
    c->k.k.adamw.beta1 = 0.9;
    c->k.k.adamw.beta2 = mz_case_chance(c, 0.5) ? 0.95 : 0.999;
    c->k.k.adamw.eps = 1e-8;
    c->k.k.adamw.weight_decay = mz_case_chance(c, 0.5) ? 0.1 : 0.0;
    c->k.k.adamw.grad_scale = mz_case_chance(c, 0.5) ? 1.0 : 0.37;
    c->k.k.adamw.step = mz_case_some(c, 1, 3000);
    MZ_TRY(mz_case_real(c, p, acc, 1, DIMS(N), 1.0));
    MZ_TRY(mz_case_real(c, m, acc, 1, DIMS(N), 0.1));
    MZ_TRY(mz_case_real(c, v, acc, 1, DIMS(N), 0.1));
    MZ_TRY(mz_case_real(c, g, acc, 1, DIMS(N), 0.3));
    for (int64_t i = 0; i < N; i++) c->arg[v].values[i] = fabs(c->arg[v].values[i]) + 0x1p-10;
    mz_case_bound(c, p, 16.0, 2.0 + mz_case_largest(c, p));
    mz_case_bound(c, m, 8.0, 1.0);
    mz_case_bound(c, v, 8.0, 1.0);
    if (!mz_case_chance(c, 0.6)) return MZ_OK;
    MZ_TRY(mz_case_out(c, MZ_ARG(adamw.copy), d, 1, DIMS(N)));
    mz_case_bound(c, MZ_ARG(adamw.copy), 16.0, 2.0 + mz_case_largest(c, p));
    return MZ_OK;
}

static mz_err sums(mz_case *c, mz_dtype d)
{
    const bool is_sum = c->desc.kind == MZ_OP_SUMSQ;
    const int64_t N = mz_case_chance(c, 0.1) ? mz_case_some(c, 5000, 30000) : mz_case_dim(c, 500);
    const int out = MZ_ARG(sumsq.out), x = MZ_ARG(sumsq.x);
    if (is_sum)
        c->desc.u.sumsq = (mz_sumsq_desc){d, N};
    else
        c->desc.u.finite = (mz_finite_desc){d, N};
    MZ_TRY(mz_case_real(c, x, d, 1, DIMS(N), 1.0));
    for (int i = 0; i < 3 && !is_sum; i++) mz_case_sow(c, x, true);
    MZ_TRY(is_sum ? mz_case_real(c, out, mz_dtype_acc(d), 1, DIMS(1), 1.0)
                  : mz_case_ids(c, out, 1, DIMS(1), 0, 100));
    const double norm = mz_case_norm(c, x);
    if (is_sum) mz_case_bound(c, out, (double)N + 1.0, norm * norm + 4.0);
    return MZ_OK;
}

static mz_err cast(mz_case *c, mz_dtype d)
{
    static const mz_dtype to[] = {MZ_F32, MZ_BF16, MZ_F64, MZ_F16};
    const int64_t T = mz_case_dim(c, 30), N = mz_case_dim(c, 90);
    const mz_dtype wide = to[mz_rng_below(&c->rng, d == MZ_F16 ? 4 : d == MZ_F64 ? 3 : 2)];
    c->desc.u.cast = (mz_cast_desc){d, wide, T, N};
    MZ_TRY(mz_case_real(c, MZ_ARG(cast.x), d, 2, DIMS(T, N), mz_case_chance(c, 0.2) ? 1e-5 : 1.0));
    mz_case_sow(c, MZ_ARG(cast.x), true);
    MZ_TRY(mz_case_out(c, MZ_ARG(cast.y), wide, 2, DIMS(T, N)));
    mz_case_loose(c, MZ_ARG(cast.x), MZ_LOOSE_ROWS);
    mz_case_loose(c, MZ_ARG(cast.y), MZ_LOOSE_ROWS);
    return MZ_OK;
}

static mz_err elementwise(mz_case *c, mz_dtype d)
{
    mz_elementwise_desc *e = &c->desc.u.elementwise;
    int64_t dim[3];
    const int rank = (int)mz_case_some(c, 1, 3);
    const int y = MZ_ARG(elementwise.y), a = MZ_ARG(elementwise.a), b = MZ_ARG(elementwise.b);
    for (int i = 0; i < 3; i++) dim[i] = mz_case_dim(c, rank == 1 ? 300 : 25);
    *e = (mz_elementwise_desc){.dtype = d,
                               .fn = (mz_elementwise_fn)mz_case_some(c, 0, MZ_EW_COUNT - 1)};
    MZ_TRY(mz_shape_count(rank, dim, &e->N_max));
    c->k.k.elementwise.alpha = 0.5 + mz_rng_uniform(&c->rng);
    const bool two = e->fn == MZ_EW_ADD || e->fn == MZ_EW_MUL || e->fn == MZ_EW_AXPY;
    MZ_TRY(mz_case_out(c, y, d, rank, dim));
    mz_case_loose(c, y, MZ_LOOSE_ALL);
    if (e->fn == MZ_EW_FILL) return MZ_OK;
    MZ_TRY(mz_case_real(c, a, d, rank, dim, 1.0));
    mz_case_sow(c, a, true);
    mz_case_loose(c, a, MZ_LOOSE_ALL);
    double most = mz_case_largest(c, a) * 2.0;
    if (two) {
        MZ_TRY(mz_case_real(c, b, d, rank, dim, 1.0));
        mz_case_loose(c, b, MZ_LOOSE_ALL);
        most += mz_case_largest(c, b) * (e->fn == MZ_EW_MUL ? mz_case_largest(c, a) : 2.0);
    }
    mz_case_bound(c, y, 2.0, most);
    if (mz_case_chance(c, 0.3)) c->arg[y].alias = a + 1;
    return MZ_OK;
}

static mz_err reduce(mz_case *c, mz_dtype d)
{
    mz_reduce_desc *r = &c->desc.u.reduce;
    const int64_t A = mz_case_dim(c, 20), B = mz_case_dim(c, 40), C = mz_case_dim(c, 60);
    const mz_dtype out = mz_case_chance(c, 0.5) ? d : mz_dtype_acc(d);
    *r = (mz_reduce_desc){d, out, A, B, C, mz_case_chance(c, 0.5)};
    MZ_TRY(mz_case_real(c, MZ_ARG(reduce.x), d, 3, DIMS(A, B, C), 1.0));
    mz_case_sow(c, MZ_ARG(reduce.x), true);
    MZ_TRY(mz_case_real(c, MZ_ARG(reduce.y), out, 2, DIMS(A, C), 1.0));
    mz_case_loose(c, MZ_ARG(reduce.x), MZ_LOOSE_ROWS);
    mz_case_bound(c, MZ_ARG(reduce.y), (double)B + 1.0,
                  ((double)B + 1.0) * mz_case_largest(c, MZ_ARG(reduce.x)) + 4.0);
    return MZ_OK;
}

static mz_err rows(mz_case *c, mz_dtype d)
{
    mz_rows_desc *r = &c->desc.u.rows;
    const int64_t n = mz_case_dim(c, 40), D = mz_case_some(c, 1, 60);
    const int64_t other = n + mz_case_some(c, 1, 10);
    const int y = MZ_ARG(rows.y), x = MZ_ARG(rows.x), idx = MZ_ARG(rows.idx);
    *r = (mz_rows_desc){d, n, D, mz_case_chance(c, 0.5), other};
    MZ_TRY(mz_case_real(c, x, d, 2, DIMS(r->scatter ? n : other, D), 1.0));
    mz_case_sow(c, x, true);
    MZ_TRY(mz_case_real(c, y, d, 2, DIMS(r->scatter ? other : n, D), 1.0)); /* skipped rows stay */
    MZ_TRY(mz_case_ids(c, idx, 1, DIMS(n), 0, other));
    for (int64_t i = 0; r->scatter && i < n; i++) /* indices differ: a rotated line of numbers */
        c->arg[idx].values[i] = (double)((i * 1 + 3) % other);
    for (int64_t i = 0; i < n; i++)
        if (mz_case_chance(c, 0.1)) c->arg[idx].values[i] = -1.0;
    mz_case_loose(c, x, MZ_LOOSE_ROWS);
    mz_case_loose(c, y, MZ_LOOSE_ROWS);
    return MZ_OK;
}

static mz_err sample(mz_case *c, mz_dtype d)
{
    mz_sample_desc *s = &c->desc.u.sample;
    if (d != MZ_F32 && d != MZ_F64) return MZ_ENOTSUP;
    const int64_t B = mz_case_dim(c, 8), V = mz_case_some(c, 1, 300), n = mz_case_some(c, 1, 20);
    *s = (mz_sample_desc){d, B, V, n};
    c->k.k.sample.temperature = mz_case_chance(c, 0.3) ? 0.0 : 0.2 + 1.5 * mz_rng_uniform(&c->rng);
    c->k.k.sample.top_p = mz_case_chance(c, 0.5) ? 1.0 : mz_rng_uniform(&c->rng);
    if (mz_case_chance(c, 0.05)) c->k.k.sample.top_p = 1e-12; /* the best alone */
    c->k.k.sample.min_p = mz_case_chance(c, 0.7) ? 0.0 : 0.3 * mz_rng_uniform(&c->rng);
    c->k.k.sample.top_k = mz_case_chance(c, 0.5) ? 0 : mz_case_some(c, 1, V);
    c->k.k.sample.repeat_penalty = mz_case_chance(c, 0.5) ? 1.0 : 1.3;
    c->k.k.sample.seed = mz_rng_u32(&c->rng);
    c->k.k.sample.counter = mz_rng_u32(&c->rng);
    MZ_TRY(mz_case_real(c, MZ_ARG(sample.logits), d, 2, DIMS(B, V), 2.0));
    MZ_TRY(mz_case_out(c, MZ_ARG(sample.ids), MZ_I32, 1, DIMS(B)));
    return mz_case_chance(c, 0.6) ? mz_case_ids(c, MZ_ARG(sample.history), 2, DIMS(B, n), -1, V)
                                  : MZ_OK;
}

mz_err mz_cases_rest(mz_case *c, mz_dtype d)
{
    if (c->desc.kind == MZ_OP_XENT) return xent(c, d);
    if (c->desc.kind == MZ_OP_ADAMW) return adamw(c, d);
    if (c->desc.kind == MZ_OP_SUMSQ || c->desc.kind == MZ_OP_FINITE) return sums(c, d);
    if (c->desc.kind == MZ_OP_CAST) return cast(c, d);
    if (c->desc.kind == MZ_OP_ELEMENTWISE) return elementwise(c, d);
    if (c->desc.kind == MZ_OP_REDUCE) return reduce(c, d);
    return c->desc.kind == MZ_OP_ROWS ? rows(c, d) : sample(c, d);
}
