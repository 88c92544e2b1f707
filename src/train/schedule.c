/* SPDX-License-Identifier: Apache-2.0 */
/* train/schedule.c - see schedule.h. */
#include "train/schedule.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

static double cosine(const mz_train_config *c, double s)
{
    const double length = (double)(c->run_steps - c->schedule_warmup);
    const double share = length > 0.0 ? (s - (double)c->schedule_warmup) / length : 1.0;
    return c->schedule_min_lr + (c->lr - c->schedule_min_lr) * 0.5 * (1.0 + cos(PI * share));
}

static double wsd(const mz_train_config *c, double s)
{
    const double left = (double)c->run_steps - s;
    const double fall = ceil(c->schedule_decay * (double)c->run_steps);
    if (!(left < fall)) return c->lr;
    return c->schedule_min_lr + (c->lr - c->schedule_min_lr) * left / fall;
}

/* Whole numbers, so that no rounding of 0.8 N moves the step at which it falls. */
static double stairs(const mz_train_config *c, int64_t s)
{
    const double tenths = 10.0 * (double)s / (double)c->run_steps;
    const double factor = tenths >= 9.0 ? 0.316 * 0.316 : tenths >= 8.0 ? 0.316 : 1.0;
    return fmax(c->lr * factor, c->schedule_min_lr);
}

double mz_schedule_lr(const mz_train_config *c, int64_t s)
{
    if (s < c->schedule_warmup) return c->lr * (double)(s + 1) / (double)c->schedule_warmup;
    switch ((mz_schedule_kind)c->schedule_kind) {
    case MZ_SCHEDULE_COSINE:
        return cosine(c, (double)s);
    case MZ_SCHEDULE_WSD:
        return wsd(c, (double)s);
    case MZ_SCHEDULE_STEP:
        return stairs(c, s);
    case MZ_SCHEDULE_CONSTANT:
        break;
    }
    return c->lr;
}
