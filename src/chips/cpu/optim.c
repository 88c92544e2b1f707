/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/optim.c - adamw, sumsq, finite: see chip/desc.h.
 *
 * Sums over a whole parameter are taken over ranges whose borders depend on N alone, each in double
 * into the workspace, and then over the ranges in order. Floor: chips. */
#include "chips/cpu/split.h"
#include "tensor/convert.h"

#include <math.h>

enum { RANGE = 1 << 16, RANGES_MAX = 1024 };

/* ---- adamw ---- */

static mz_err adamw_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_adamw_desc *d = &desc->u.adamw;
    (void)q;
    support->repeats = true;
    if (d->acc != MZ_F32)
        return MZ_FAIL(MZ_ENOTSUP, "cpu keeps weights in f32, not in %s", mz_dtype_name(d->acc));
    if (!mz_convert_can(d->copy_dtype, MZ_F32))
        return MZ_FAIL(MZ_ENOTSUP, "no copy of weights in %s", mz_dtype_name(d->copy_dtype));
    return MZ_OK;
}

static void adamw_range(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const double steps = (double)args->k.adamw.step, lr = args->k.adamw.lr;
    const double beta1 = args->k.adamw.beta1, beta2 = args->k.adamw.beta2;
    const mz_tensor *copy = args->adamw.copy;
    const mz_cpu_adamw_step step = {
        .grad_scale = (float)args->k.adamw.grad_scale,
        .decay = (float)(1.0 - lr * args->k.adamw.weight_decay),
        .beta1 = (float)beta1,
        .one_minus_beta1 = (float)(1.0 - beta1),
        .beta2 = (float)beta2,
        .one_minus_beta2 = (float)(1.0 - beta2),
        .step_size = (float)(lr / (1.0 - pow(beta1, steps))),
        .v_scale = (float)(1.0 / (1.0 - pow(beta2, steps))),
        .eps = (float)args->k.adamw.eps,
        .copy_bf16 = copy && mz_cpu_is_bf16(copy),
    };
    float *p = mz_cpu_data(args->adamw.p), *m = mz_cpu_data(args->adamw.m);
    float *v = mz_cpu_data(args->adamw.v);
    const float *g = mz_cpu_data(args->adamw.g);
    const bool rare = copy && copy->dtype != MZ_F32 && copy->dtype != MZ_BF16;
    mz_cpu_ops_of(op)->adamw(&step, p + first, m + first, v + first, g + first,
                             copy && !rare ? mz_cpu_elem(copy, first) : NULL, last - first);
    if (rare)
        (void)mz_convert(mz_cpu_elem(copy, first), copy->dtype, p + first, MZ_F32, last - first);
}

static mz_err adamw(mz_op *op, const mz_args *args)
{
    mz_cpu_split(op, args, args->adamw.p->dim[0], mz_cpu_items(1), adamw_range);
    return MZ_OK;
}

const mz_slot mz_cpu_adamw = {.query = adamw_query, .forward = adamw};

/* ---- sums over all elements ---- */

static int64_t range_items(int64_t N)
{
    const int64_t even = (N + RANGES_MAX - 1) / RANGES_MAX;
    return even > RANGE ? even : RANGE;
}

static mz_err sum_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_cpu_room room = {.shared_bytes = RANGES_MAX * sizeof(double)};
    support->repeats = true;
    support->workspace_bytes = mz_cpu_room_bytes(q, room);
    return mz_cpu_need_f32_or_bf16(desc->kind, mz_desc_dtype(desc));
}

static void sumsq_range(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *x = args->sumsq.x;
    double *sums = mz_cpu_room_shared(op);
    sums[first / range_items(x->dim[0])] =
        mz_cpu_ops_of(op)->sumsq(mz_cpu_elem(x, first), last - first, mz_cpu_is_bf16(x));
}

static mz_err sumsq(mz_op *op, const mz_args *args)
{
    const int64_t N = args->sumsq.x->dim[0], items = range_items(N);
    const double *sums = mz_cpu_room_shared(op);
    float *out = mz_cpu_data(args->sumsq.out);
    double sum = 0.0;
    mz_cpu_split(op, args, N, items, sumsq_range);
    for (int64_t i = 0; i * items < N; i++) sum += sums[i];
    *out = (float)((double)*out + sum);
    return MZ_OK;
}

const mz_slot mz_cpu_sumsq = {.query = sum_query, .forward = sumsq};

static void finite_range(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *x = args->finite.x;
    int64_t *counts = mz_cpu_room_shared(op);
    counts[first / range_items(x->dim[0])] =
        mz_cpu_ops_of(op)->not_finite(mz_cpu_elem(x, first), last - first, mz_cpu_is_bf16(x));
}

static mz_err not_finite(mz_op *op, const mz_args *args)
{
    const int64_t N = args->finite.x->dim[0], items = range_items(N);
    const int64_t *counts = mz_cpu_room_shared(op);
    int32_t *out = mz_cpu_data(args->finite.out);
    int64_t count = *out;
    mz_cpu_split(op, args, N, items, finite_range);
    for (int64_t i = 0; i * items < N; i++) count += counts[i];
    *out = count > INT32_MAX ? INT32_MAX : (int32_t)count;
    return MZ_OK;
}

const mz_slot mz_cpu_finite = {.query = sum_query, .forward = not_finite};
