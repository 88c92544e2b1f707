/* SPDX-License-Identifier: Apache-2.0 */
/* op/rope.c - the door of rope. The numbers of `pos` are on the device and not checked.
 * Floor: op. May use chip, tensor, base. */
#include "op/check.h"

mz_err mz_door_rope_desc(const mz_rope_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_in(d->H, 1, INT64_MAX, "H"));
    MZ_TRY(mz_need_in(d->K, 2, INT64_MAX, "K"));
    MZ_NEED(d->K % 2 == 0, "K is %lld, want pairs", (long long)d->K);
    return mz_need_shape(3, (const int64_t[]){d->T_max, d->H, d->K});
}

mz_err mz_door_rope_args(mz_call *c)
{
    const mz_rope_desc *d = &c->desc->u.rope;
    int64_t T = 0, P = 0;
    MZ_TRY(mz_call_dim(c, c->pass == MZ_FORWARD ? "x" : "dy", 3, 0, d->T_max, &T));
    MZ_TRY(mz_call_dim(c, "cos", 2, 0, INT32_MAX, &P));
    const mz_want wants[] = {
        {"y", d->dtype, MZ_ROWS, 3, {T, d->H, d->K}, 0},
        {"x", d->dtype, MZ_ROWS, 3, {T, d->H, d->K}, 0},
        {"dy", d->dtype, MZ_ROWS, 3, {T, d->H, d->K}, 0},
        {"dx", d->dtype, MZ_ROWS, 3, {T, d->H, d->K}, 0},
        {"cos", MZ_F32, MZ_DENSE, 2, {P, d->K / 2}, 0},
        {"sin", MZ_F32, MZ_DENSE, 2, {P, d->K / 2}, 0},
        {"pos", MZ_I32, MZ_DENSE, 1, {T}, 0},
    };
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    MZ_NEED(P > 0 || T == 0, "rope: cos has no position");
    mz_call_may_alias(c, "y", "x");
    mz_call_may_alias(c, "dx", "dy");
    c->is_idle = T == 0;
    return MZ_OK;
}
