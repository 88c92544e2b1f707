/* SPDX-License-Identifier: Apache-2.0 */
/* op/router.c - the doors of router and balance. The numbers of ids (when forced) and cu are on the
 * device and not checked. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

#include <math.h>

static mz_err check_choice(int64_t T_max, int64_t E, int64_t k)
{
    MZ_TRY(mz_need_in(E, 1, INT32_MAX - 1, "E"));
    MZ_TRY(mz_need_in(k, 1, E, "k"));
    return mz_need_shape(2, (const int64_t[]){T_max, E});
}

mz_err mz_door_router_desc(const mz_router_desc *d)
{
    MZ_TRY(mz_need_acc(d->acc));
    MZ_TRY(check_choice(d->T_max, d->E, d->k));
    MZ_TRY(mz_need_in(d->groups, 1, d->E, "groups"));
    MZ_TRY(mz_need_in(d->groups_kept, 1, d->groups, "groups_kept"));
    MZ_NEED(d->E % d->groups == 0, "%lld experts do not make %lld equal groups", (long long)d->E,
            (long long)d->groups);
    const int64_t size = d->E / d->groups;
    MZ_NEED(d->k <= d->groups_kept * size, "the kept groups have %lld experts, fewer than k = %lld",
            (long long)(d->groups_kept * size), (long long)d->k);
    MZ_NEED(d->score == MZ_SCORE_SOFTMAX || d->score == MZ_SCORE_SIGMOID, "no such score");
    MZ_NEED(d->group == MZ_GROUP_MAX || d->group == MZ_GROUP_TOP2_SUM, "no such group value");
    MZ_NEED(d->group == MZ_GROUP_MAX || d->groups == 1 || size >= 2,
            "groups of one expert have no two largest");
    MZ_NEED(isfinite(d->factor), "factor is %g", d->factor);
    return MZ_OK;
}

mz_err mz_door_router_args(mz_call *c)
{
    const mz_router_desc *d = &c->desc->u.router;
    int64_t T = 0;
    MZ_TRY(mz_call_dim(c, "logits", 2, 0, d->T_max, &T));
    const mz_want wants[] = {
        {"weights", d->acc, MZ_DENSE, 2, {T, d->k}, 0},
        {"dweights", d->acc, MZ_DENSE, 2, {T, d->k}, 0},
        {"ids", MZ_I32, MZ_DENSE, 2, {T, d->k}, 0},
        {"probs", d->acc, MZ_DENSE, 2, {T, d->E}, 0},
        {"dprobs", d->acc, MZ_DENSE, 2, {T, d->E}, 0},
        {"logits", d->acc, MZ_DENSE, 2, {T, d->E}, 0},
        {"dlogits", d->acc, MZ_DENSE, 2, {T, d->E}, 0},
        {"bias", d->acc, MZ_DENSE, 1, {d->E}, 0},
    };
    c->is_idle = T == 0;
    return mz_call_wants(c, wants, MZ_COUNT(wants));
}

mz_err mz_door_balance_desc(const mz_balance_desc *d)
{
    MZ_TRY(mz_need_acc(d->acc));
    MZ_TRY(mz_need_in(d->T_max, 0, INT32_MAX, "T_max"));
    MZ_TRY(mz_need_in(d->sequences_max, 0, INT32_MAX - 1, "sequences_max"));
    return check_choice(d->T_max, d->E, d->k);
}

/* Without tokens the loss is still written: it is 0. */
mz_err mz_door_balance_args(mz_call *c)
{
    const mz_balance_desc *d = &c->desc->u.balance;
    const double alpha = c->args->k.balance.alpha;
    int64_t T = 0, ends = 0;
    MZ_TRY(mz_call_dim(c, "probs", 2, 0, d->T_max, &T));
    MZ_TRY(mz_call_dim(c, "cu", 1, 0, d->sequences_max + 1, &ends));
    const mz_want wants[] = {
        {"loss", d->acc, MZ_DENSE, 1, {1}, 0},         {"probs", d->acc, MZ_DENSE, 2, {T, d->E}, 0},
        {"dprobs", d->acc, MZ_DENSE, 2, {T, d->E}, 0}, {"counts", MZ_I32, MZ_DENSE, 1, {d->E}, 0},
        {"ids", MZ_I32, MZ_DENSE, 2, {T, d->k}, 0},    {"cu", MZ_I32, MZ_DENSE, 1, {ends}, 0},
    };
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    MZ_NEED(ends >= (T > 0 ? 2 : 1), "balance: cu has %lld numbers for %lld tokens",
            (long long)ends, (long long)T);
    MZ_NEED(isfinite(alpha), "balance: alpha is %g", alpha);
    return MZ_OK;
}
