/* SPDX-License-Identifier: Apache-2.0 */
/* op/xent.c - the door of xent. The numbers of `targets` are on the device and not checked.
 * Floor: op. May use chip, tensor, base. */
#include "op/check.h"

mz_err mz_door_xent_desc(const mz_xent_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_in(d->V, 1, INT32_MAX, "V"));
    return mz_need_shape(2, (const int64_t[]){d->T_max, d->V});
}

mz_err mz_door_xent_args(mz_call *c)
{
    const mz_xent_desc *d = &c->desc->u.xent;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    int64_t T = 0;
    MZ_TRY(mz_call_dim(c, "logits", 2, 0, d->T_max, &T));
    const mz_want wants[] = {
        {"loss", acc, MZ_DENSE, 1, {T}, 0},
        {"dlogits", d->dtype, MZ_DENSE, 2, {T, d->V}, 0},
        {"logits", d->dtype, MZ_DENSE, 2, {T, d->V}, 0},
        {"targets", MZ_I32, MZ_DENSE, 1, {T}, 0},
        {"weight", acc, MZ_DENSE, 1, {T}, 0},
    };
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    if (!d->gradient) MZ_TRY(mz_call_absent(c, c->args->xent.dlogits, "dlogits"));
    mz_call_may_alias(c, "dlogits", "logits");
    c->is_idle = T == 0;
    return MZ_OK;
}
