/* SPDX-License-Identifier: Apache-2.0 */
/* op/permute.c - the doors of permute and unpermute. The numbers of ids and row_of are on the
 * device and not checked. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

static mz_err check_rows(int64_t T_max, int64_t k, int64_t D)
{
    MZ_TRY(mz_need_in(k, 1, INT32_MAX, "k"));
    MZ_TRY(mz_need_in(T_max, 0, INT32_MAX / k, "T_max")); /* rows have I32 numbers */
    MZ_TRY(mz_need_in(D, 1, INT64_MAX, "D"));
    return mz_need_shape(2, (const int64_t[]){T_max * k, D});
}

mz_err mz_door_permute_desc(const mz_permute_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(mz_need_in(d->E, 1, INT32_MAX - 1, "E"));
    return check_rows(d->T_max, d->k, d->D);
}

/* Without tokens forward still writes offsets: all 0. */
mz_err mz_door_permute_args(mz_call *c)
{
    const mz_permute_desc *d = &c->desc->u.permute;
    int64_t T = 0;
    MZ_TRY(mz_call_dim(c, "row_of", 2, 0, d->T_max, &T));
    const mz_want wants[] = {
        {"y", d->dtype, MZ_DENSE, 2, {T * d->k, d->D}, 0},
        {"dy", d->dtype, MZ_DENSE, 2, {T * d->k, d->D}, 0},
        {"x", d->dtype, MZ_DENSE, 2, {T, d->D}, 0},
        {"dx", d->dtype, MZ_DENSE, 2, {T, d->D}, 0},
        {"offsets", MZ_I32, MZ_DENSE, 1, {d->E + 1}, 0},
        {"row_of", MZ_I32, MZ_DENSE, 2, {T, d->k}, 0},
        {"ids", MZ_I32, MZ_DENSE, 2, {T, d->k}, 0},
    };
    c->is_idle = T == 0 && c->pass == MZ_BACKWARD;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}

mz_err mz_door_unpermute_desc(const mz_unpermute_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    return check_rows(d->T_max, d->k, d->D);
}

mz_err mz_door_unpermute_args(mz_call *c)
{
    const mz_unpermute_desc *d = &c->desc->u.unpermute;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    int64_t T = 0;
    MZ_TRY(mz_call_dim(c, "row_of", 2, 0, d->T_max, &T));
    const mz_want wants[] = {
        {"y", d->dtype, MZ_DENSE, 2, {T, d->D}, 0},
        {"dy", d->dtype, MZ_DENSE, 2, {T, d->D}, 0},
        {"base", d->dtype, MZ_DENSE, 2, {T, d->D}, 0},
        {"z", d->dtype, MZ_DENSE, 2, {T * d->k, d->D}, 0},
        {"dz", d->dtype, MZ_DENSE, 2, {T * d->k, d->D}, 0},
        {"row_of", MZ_I32, MZ_DENSE, 2, {T, d->k}, 0},
        {"weights", acc, MZ_DENSE, 2, {T, d->k}, 0},
        {"dweights", acc, MZ_DENSE, 2, {T, d->k}, 0},
    };
    mz_call_may_alias(c, "y", "base");
    c->is_idle = T == 0;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}
