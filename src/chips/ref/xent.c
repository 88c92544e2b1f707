/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/xent.c - cross-entropy of each token and its gradient; see chip/desc.h.
 * A target that is neither a class nor -100 gives NaN. Floor: chips. */
#include "chips/ref/ops.h"

#include <math.h>

enum { NOT_COUNTED = -100 };

static double log_sum_exp(const mz_tensor *logits, int64_t t, int64_t V)
{
    double max = -(double)INFINITY, sum = 0.0;
    for (int64_t v = 0; v < V; v++)
        if (at2(logits, t, v) > max) max = at2(logits, t, v);
    for (int64_t v = 0; v < V; v++) sum += exp(at2(logits, t, v) - max);
    return max + log(sum);
}

/* The loss is out before dlogits, which may overwrite logits, is written. */
mz_err mz_ref_xent(mz_op *op, const mz_args *args)
{
    const mz_xent_desc *d = &op->desc.u.xent;
    const mz_tensor *logits = args->xent.logits;
    const mz_tensor *dlogits = d->gradient ? args->xent.dlogits : NULL;
    for (int64_t t = 0; t < logits->dim[0]; t++) {
        const int64_t target = id1(args->xent.targets, t);
        const bool is_counted = target != NOT_COUNTED, is_class = target >= 0 && target < d->V;
        const double lse = log_sum_exp(logits, t, d->V);
        const double loss = is_class ? lse - at2(logits, t, target) : (double)NAN;
        put1(args->xent.loss, t, is_counted ? loss : 0.0);
        for (int64_t v = 0; dlogits && v < d->V; v++) {
            const double p = is_class ? exp(at2(logits, t, v) - lse) : (double)NAN;
            const double g = p - (v == target ? 1.0 : 0.0);
            put2(dlogits, t, v, is_counted ? at1(args->xent.weight, t) * g : 0.0);
        }
    }
    return MZ_OK;
}
