/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/xent.c - see chip/desc.h. A target that is neither a class nor -100 gives NaN, in the
 * loss and in the gradient. Floor: chips. */
#include "chips/cpu/split.h"

#include <math.h>

enum { NOT_COUNTED = -100 };

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_cpu_need_f32_or_bf16(desc->kind, desc->u.xent.dtype);
}

static void forward_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_cpu_ops_table *ops = mz_cpu_ops_of(op);
    const mz_tensor *logits = args->xent.logits;
    const mz_tensor *dlogits = op->desc.u.xent.gradient ? args->xent.dlogits : NULL;
    const int64_t V = op->desc.u.xent.V;
    const bool bf16 = mz_cpu_is_bf16(logits);
    for (int64_t t = first; t < last; t++) {
        const int64_t target = mz_cpu_id_at(args->xent.targets, t, 0);
        float *loss = mz_cpu_row(args->xent.loss, t);
        void *row = dlogits ? mz_cpu_row(dlogits, t) : NULL;
        if (target >= 0 && target < V) {
            const float weight = row ? *(const float *)mz_cpu_row(args->xent.weight, t) : 0.0f;
            *loss = ops->xent(row, mz_cpu_row(logits, t), V, target, weight, bf16);
            continue;
        }
        *loss = target == NOT_COUNTED ? 0.0f : NAN;
        const mz_cpu_map fill = {.fn = MZ_EW_FILL, .alpha = *loss, .bf16 = bf16};
        if (row) ops->map(&fill, row, NULL, NULL, V);
    }
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    mz_cpu_split(op, args, args->xent.logits->dim[0], mz_cpu_items(op->desc.u.xent.V),
                 forward_rows);
    return MZ_OK;
}

const mz_slot mz_cpu_xent = {.query = query, .forward = forward};
