/* SPDX-License-Identifier: Apache-2.0 */
/* op/embed.c - the door of embed. The numbers of `ids` are on the device and not checked.
 * Floor: op. May use chip, tensor, base. */
#include "op/check.h"

mz_err mz_door_embed_desc(const mz_embed_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_stored(d->stored, d->dtype, d->D, d->backward));
    MZ_TRY(mz_need_in(d->V, 1, INT32_MAX, "V"));
    MZ_TRY(mz_need_in(d->D, 1, INT64_MAX, "D"));
    MZ_TRY(mz_need_shape(2, (const int64_t[]){d->V, d->D}));
    return mz_need_shape(2, (const int64_t[]){d->T_max, d->D});
}

mz_err mz_door_embed_args(mz_call *c)
{
    const mz_embed_desc *d = &c->desc->u.embed;
    int64_t T = 0;
    MZ_TRY(mz_call_dim(c, "ids", 1, 0, d->T_max, &T));
    const mz_want wants[] = {
        {"y", d->dtype, MZ_DENSE, 2, {T, d->D}, 0},
        {"dy", d->dtype, MZ_DENSE, 2, {T, d->D}, 0},
        {"w", mz_stored_dtype(d->stored, d->dtype), MZ_DENSE, 2, {d->V, d->D}, 0},
        {"dw", mz_dtype_acc(d->dtype), MZ_DENSE, 2, {d->V, d->D}, 0},
        {"ids", MZ_I32, MZ_DENSE, 1, {T}, 0},
    };
    c->is_idle = T == 0;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}
