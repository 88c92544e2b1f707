/* SPDX-License-Identifier: Apache-2.0 */
/* op/experts.c - the door of experts. The numbers of `offsets` are on the device and not checked.
 * Floor: op. May use chip, tensor, base. */
#include "op/check.h"

mz_err mz_door_experts_desc(const mz_experts_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_stored(d->stored, d->dtype, d->K, d->backward));
    MZ_TRY(mz_need_in(d->T_max, 0, INT32_MAX, "T_max"));
    MZ_TRY(mz_need_in(d->E, 1, INT32_MAX, "E"));
    MZ_TRY(mz_need_in(d->N, 1, INT64_MAX, "N"));
    MZ_TRY(mz_need_in(d->K, 1, INT64_MAX, "K"));
    MZ_TRY(mz_need_shape(3, (const int64_t[]){d->E, d->N, d->K}));
    MZ_TRY(mz_need_shape(2, (const int64_t[]){d->T_max, d->N}));
    return mz_need_shape(2, (const int64_t[]){d->T_max, d->K});
}

mz_err mz_door_experts_args(mz_call *c)
{
    const mz_experts_desc *d = &c->desc->u.experts;
    int64_t T = 0;
    MZ_TRY(mz_call_dim(c, "x", 2, 0, d->T_max, &T));
    const mz_want wants[] = {
        {"y", d->dtype, MZ_DENSE, 2, {T, d->N}, 0},
        {"dy", d->dtype, MZ_DENSE, 2, {T, d->N}, 0},
        {"x", d->dtype, MZ_DENSE, 2, {T, d->K}, 0},
        {"dx", d->dtype, MZ_DENSE, 2, {T, d->K}, 0},
        {"w", mz_stored_dtype(d->stored, d->dtype), MZ_DENSE, 3, {d->E, d->N, d->K}, 0},
        {"dw", mz_dtype_acc(d->dtype), MZ_DENSE, 3, {d->E, d->N, d->K}, 0},
        {"offsets", MZ_I32, MZ_DENSE, 1, {d->E + 1}, 0},
    };
    c->is_idle = T == 0;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}
