/* SPDX-License-Identifier: Apache-2.0 */
/* op/swiglu.c - the door of swiglu. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

mz_err mz_door_swiglu_desc(const mz_swiglu_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_in(d->F, 1, INT64_MAX, "F"));
    return mz_need_shape(2, (const int64_t[]){d->T_max, d->F});
}

mz_err mz_door_swiglu_args(mz_call *c)
{
    const mz_swiglu_desc *d = &c->desc->u.swiglu;
    static const char *const names[] = {"y", "gate", "up", "dy", "dgate", "dup"};
    int64_t T = 0;
    MZ_TRY(mz_call_dim(c, "gate", 2, 0, d->T_max, &T));
    mz_want wants[MZ_COUNT(names)];
    for (int i = 0; i < MZ_COUNT(names); i++)
        wants[i] = (mz_want){names[i], d->dtype, MZ_ROWS, 2, {T, d->F}, 0};
    mz_call_may_alias(c, "dgate", "gate");
    mz_call_may_alias(c, "dup", "up");
    c->is_idle = T == 0;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}
