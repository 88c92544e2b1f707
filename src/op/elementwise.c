/* SPDX-License-Identifier: Apache-2.0 */
/* op/elementwise.c - the doors of elementwise, cast, reduce and rows. The numbers of idx are on the
 * device and not checked. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

mz_err mz_door_elementwise_desc(const mz_elementwise_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_NEED((unsigned)d->fn < MZ_EW_COUNT, "there is no elementwise function %d", (int)d->fn);
    return mz_need_shape(1, &d->N_max);
}

mz_err mz_door_elementwise_args(mz_call *c)
{
    const mz_elementwise_desc *d = &c->desc->u.elementwise;
    const mz_tensor *y = c->args->elementwise.y;
    int64_t N = 0;
    MZ_NEED(y && y->rank >= 1 && y->rank <= 3, "elementwise: y is NULL or not of rank 1 to 3");
    MZ_TRY(mz_shape_count(y->rank, y->dim, &N));
    MZ_NEED(N <= d->N_max, "elementwise: %lld elements, bound for %lld", (long long)N,
            (long long)d->N_max);
    mz_want wants[] = {
        {"y", d->dtype, MZ_FREE, y->rank, {0}, 0},
        {"a", d->dtype, MZ_FREE, y->rank, {0}, 7u},
        {"b", d->dtype, MZ_FREE, y->rank, {0}, 7u},
    };
    for (int i = 0; i < y->rank; i++)
        wants[0].dim[i] = wants[1].dim[i] = wants[2].dim[i] = y->dim[i];
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    if (!mz_call_arg(c, "a")) MZ_TRY(mz_call_absent(c, c->args->elementwise.a, "a"));
    if (!mz_call_arg(c, "b")) MZ_TRY(mz_call_absent(c, c->args->elementwise.b, "b"));
    mz_call_may_alias(c, "y", "a");
    mz_call_may_alias(c, "y", "b");
    c->is_idle = N == 0;
    return MZ_OK;
}

mz_err mz_door_cast_desc(const mz_cast_desc *d)
{
    MZ_TRY(mz_need_float(d->from, "from"));
    MZ_TRY(mz_need_float(d->to, "to"));
    return mz_need_shape(2, (const int64_t[]){d->T_max, d->N_max});
}

mz_err mz_door_cast_args(mz_call *c)
{
    const mz_cast_desc *d = &c->desc->u.cast;
    int64_t T = 0, N = 0;
    MZ_TRY(mz_call_dim(c, "x", 2, 0, d->T_max, &T));
    MZ_TRY(mz_call_dim(c, "x", 2, 1, d->N_max, &N));
    const mz_want wants[] = {
        {"y", d->to, MZ_ROWS, 2, {T, N}, 0},
        {"x", d->from, MZ_ROWS, 2, {T, N}, 0},
    };
    c->is_idle = T == 0 || N == 0;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}

mz_err mz_door_reduce_desc(const mz_reduce_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_float(d->out_dtype, "out_dtype"));
    return mz_need_shape(3, (const int64_t[]){d->A_max, d->B_max, d->C_max});
}

/* A sum of nothing is written as 0. */
mz_err mz_door_reduce_args(mz_call *c)
{
    const mz_reduce_desc *d = &c->desc->u.reduce;
    int64_t A = 0, B = 0, C = 0;
    MZ_TRY(mz_call_dim(c, "x", 3, 0, d->A_max, &A));
    MZ_TRY(mz_call_dim(c, "x", 3, 1, d->B_max, &B));
    MZ_TRY(mz_call_dim(c, "x", 3, 2, d->C_max, &C));
    const mz_want wants[] = {
        {"y", d->out_dtype, MZ_DENSE, 2, {A, C}, 0},
        {"x", d->dtype, MZ_ROWS, 3, {A, B, C}, 0},
    };
    c->is_idle = A == 0 || C == 0 || (B == 0 && d->accumulate);
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}

mz_err mz_door_rows_desc(const mz_rows_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_in(d->D, 1, INT64_MAX, "D"));
    return mz_need_shape(2, (const int64_t[]){d->n_max, d->D});
}

mz_err mz_door_rows_args(mz_call *c)
{
    const mz_rows_desc *d = &c->desc->u.rows;
    int64_t n = 0, others = 0;
    MZ_TRY(mz_call_dim(c, "idx", 1, 0, d->n_max, &n));
    MZ_TRY(mz_call_dim(c, d->scatter ? "y" : "x", 2, 0, INT32_MAX, &others));
    const mz_want wants[] = {
        {"y", d->dtype, MZ_ROWS, 2, {d->scatter ? others : n, d->D}, 0},
        {"x", d->dtype, MZ_ROWS, 2, {d->scatter ? n : others, d->D}, 0},
        {"idx", MZ_I32, MZ_DENSE, 1, {n}, 0},
    };
    c->is_idle = n == 0;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}
