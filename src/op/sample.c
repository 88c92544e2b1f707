/* SPDX-License-Identifier: Apache-2.0 */
/* op/sample.c - the door of sample. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

#include <math.h>

/* Below this a temperature is a mistake, not a wish: 1 / temperature must stay far from infinity.
 */
static const double TEMPERATURE_LEAST = 1e-6;

mz_err mz_door_sample_desc(const mz_sample_desc *d)
{
    MZ_TRY(mz_need_acc(d->acc));
    MZ_TRY(mz_need_in(d->V, 1, INT32_MAX, "V"));
    MZ_TRY(mz_need_shape(2, (const int64_t[]){d->B_max, d->V}));
    return mz_need_shape(2, (const int64_t[]){d->B_max, d->history_max});
}

static mz_err check_scalars(const mz_args *a)
{
    const double t = a->k.sample.temperature, penalty = a->k.sample.repeat_penalty;
    MZ_NEED((t >= TEMPERATURE_LEAST && isfinite(t)) || (t >= 0.0 && t <= 0.0),
            "sample: temperature is %g, want 0 or at least %g", t, TEMPERATURE_LEAST);
    MZ_NEED(a->k.sample.top_p > 0.0 && a->k.sample.top_p <= 1.0,
            "sample: top_p is %g, want 0 < top_p <= 1", a->k.sample.top_p);
    MZ_NEED(a->k.sample.min_p >= 0.0 && a->k.sample.min_p <= 1.0, "sample: min_p is %g, want 0..1",
            a->k.sample.min_p);
    MZ_NEED(penalty >= TEMPERATURE_LEAST && penalty <= 1.0 / TEMPERATURE_LEAST,
            "sample: repeat_penalty is %g, 1 is off", penalty);
    MZ_NEED(a->k.sample.top_k >= 0, "sample: top_k is %lld, 0 is off",
            (long long)a->k.sample.top_k);
    return MZ_OK;
}

mz_err mz_door_sample_args(mz_call *c)
{
    const mz_sample_desc *d = &c->desc->u.sample;
    int64_t B = 0, n = 0;
    MZ_TRY(mz_call_dim(c, "logits", 2, 0, d->B_max, &B));
    if (c->args->sample.history) MZ_TRY(mz_call_dim(c, "history", 2, 1, d->history_max, &n));
    const mz_want wants[] = {
        {"ids", MZ_I32, MZ_DENSE, 1, {B}, 0},
        {"logits", d->acc, MZ_DENSE, 2, {B, d->V}, 0},
        {"history", MZ_I32, MZ_DENSE, 2, {B, n}, 0},
    };
    c->is_idle = B == 0;
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    return check_scalars(c->args);
}
