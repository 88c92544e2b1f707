/* SPDX-License-Identifier: Apache-2.0 */
/* op/rmsnorm.c - the door of rmsnorm. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

#include <math.h>

mz_err mz_door_rmsnorm_desc(const mz_rmsnorm_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_in(d->D, 1, INT64_MAX, "D"));
    MZ_TRY(mz_need_shape(2, (const int64_t[]){d->T_max, d->D}));
    MZ_NEED(d->eps > 0.0 && isfinite(d->eps), "eps is %g, want > 0", d->eps);
    return MZ_OK;
}

mz_err mz_door_rmsnorm_args(mz_call *c)
{
    const mz_rmsnorm_desc *d = &c->desc->u.rmsnorm;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    int64_t T = 0;
    MZ_TRY(mz_call_dim(c, "x", 2, 0, d->T_max, &T));
    const mz_want wants[] = {
        {"y", d->dtype, MZ_ROWS, 2, {T, d->D}, 0}, {"dy", d->dtype, MZ_ROWS, 2, {T, d->D}, 0},
        {"x", d->dtype, MZ_ROWS, 2, {T, d->D}, 0}, {"dx", d->dtype, MZ_ROWS, 2, {T, d->D}, 0},
        {"w", acc, MZ_DENSE, 1, {d->D}, 0},        {"dw", acc, MZ_DENSE, 1, {d->D}, 0},
    };
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    if (!d->backward) mz_call_may_alias(c, "y", "x");
    mz_call_may_alias(c, "dx", "dy");
    c->is_idle = T == 0;
    return MZ_OK;
}
