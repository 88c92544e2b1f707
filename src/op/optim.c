/* SPDX-License-Identifier: Apache-2.0 */
/* op/optim.c - the doors of adamw, sumsq and finite. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

#include <math.h>

mz_err mz_door_adamw_desc(const mz_adamw_desc *d)
{
    MZ_TRY(mz_need_acc(d->acc));
    MZ_TRY(mz_need_float(d->copy_dtype, "copy_dtype"));
    return mz_need_shape(1, &d->N_max);
}

static mz_err check_not_negative(double x, const char *name)
{
    MZ_NEED(x >= 0.0 && isfinite(x), "adamw: %s is %g, want >= 0", name, x);
    return MZ_OK;
}

mz_err mz_door_adamw_args(mz_call *c)
{
    const mz_adamw_desc *d = &c->desc->u.adamw;
    const double beta1 = c->args->k.adamw.beta1, beta2 = c->args->k.adamw.beta2;
    int64_t N = 0;
    MZ_TRY(mz_call_dim(c, "p", 1, 0, d->N_max, &N));
    const mz_want wants[] = {
        {"p", d->acc, MZ_DENSE, 1, {N}, 0},           {"m", d->acc, MZ_DENSE, 1, {N}, 0},
        {"v", d->acc, MZ_DENSE, 1, {N}, 0},           {"g", d->acc, MZ_DENSE, 1, {N}, 0},
        {"copy", d->copy_dtype, MZ_DENSE, 1, {N}, 0},
    };
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    MZ_TRY(check_not_negative(c->args->k.adamw.lr, "lr"));
    MZ_TRY(check_not_negative(c->args->k.adamw.weight_decay, "weight_decay"));
    MZ_NEED(beta1 >= 0.0 && beta1 < 1.0 && beta2 >= 0.0 && beta2 < 1.0,
            "adamw: beta1 is %g and beta2 %g, want 0 <= beta < 1", beta1, beta2);
    MZ_NEED(c->args->k.adamw.eps > 0.0 && isfinite(c->args->k.adamw.eps),
            "adamw: eps is %g, want > 0", c->args->k.adamw.eps);
    MZ_NEED(isfinite(c->args->k.adamw.grad_scale), "adamw: grad_scale is %g",
            c->args->k.adamw.grad_scale);
    MZ_NEED(c->args->k.adamw.step >= 1, "adamw: step is %lld, the first is 1",
            (long long)c->args->k.adamw.step);
    c->is_idle = N == 0;
    return MZ_OK;
}

mz_err mz_door_sumsq_desc(const mz_sumsq_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    return mz_need_shape(1, &d->N_max);
}

/* `out` is added to, so an empty x leaves it as it is. */
static mz_err check_sum(mz_call *c, mz_dtype dtype, mz_dtype out_dtype, int64_t N_max)
{
    int64_t N = 0;
    MZ_TRY(mz_call_dim(c, "x", 1, 0, N_max, &N));
    const mz_want wants[] = {
        {"out", out_dtype, MZ_DENSE, 1, {1}, 0},
        {"x", dtype, MZ_DENSE, 1, {N}, 0},
    };
    c->is_idle = N == 0;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}

mz_err mz_door_sumsq_args(mz_call *c)
{
    const mz_sumsq_desc *d = &c->desc->u.sumsq;
    return check_sum(c, d->dtype, mz_dtype_acc(d->dtype), d->N_max);
}

mz_err mz_door_finite_desc(const mz_finite_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    return mz_need_in(d->N_max, 0, INT32_MAX, "N_max"); /* the count is I32 */
}

mz_err mz_door_finite_args(mz_call *c)
{
    const mz_finite_desc *d = &c->desc->u.finite;
    return check_sum(c, d->dtype, MZ_I32, d->N_max);
}
