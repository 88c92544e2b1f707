/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/sample.c - sample.cl as an operator.
 *
 * What base/draw.h computes in double from the call's scalars is computed here; the device has
 * single precision and whole numbers. Scratch: logits after the penalty [B,V] F32. Floor: chips. */
#include "base/draw.h"
#include "chips/kernels/args_token.h"
#include "chips/kernels/ops.h"

enum { PENALTY, SAMPLE };

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    const mz_sample_desc *d = &desc->u.sample;
    support->repeats = true;
    support->workspace_bytes = mz_kernel_opaque((size_t)(d->B_max * d->V) * sizeof(float));
    return mz_kernels_need(desc->kind, d->acc);
}

static mz_err bind(mz_op *op)
{
    const mz_kernel_spec specs[] = {
        [PENALTY] = {.text = "sample", .name = "sample_penalty", .dtype = MZ_F32},
        [SAMPLE] = {.text = "sample", .name = "sample", .dtype = MZ_F32}};
    return mz_kernels_bind(op, specs, MZ_COUNT(specs));
}

static mz_ksample numbers(const mz_op *op, const mz_args *args)
{
    const mz_tensor *history = args->sample.history;
    const double penalty = args->k.sample.repeat_penalty, T = args->k.sample.temperature;
    return (mz_ksample){.B = args->sample.logits->dim[0],
                        .V = op->desc.u.sample.V,
                        .history_n = history ? history->dim[1] : 0,
                        .top_k = args->k.sample.top_k,
                        .ids = mz_kernel_view(args->sample.ids),
                        .logits = mz_kernel_view(args->sample.logits),
                        .history = mz_kernel_view(history),
                        .seed = (int64_t)args->k.sample.seed,
                        .counter = (int64_t)args->k.sample.counter,
                        .share_p = (int64_t)mz_draw_share((uint64_t)1 << 32, args->k.sample.top_p),
                        .least = (int64_t)mz_draw_share(MZ_DRAW_ONE, args->k.sample.min_p),
                        .penalty = (float)penalty,
                        .penalty_inverse = (float)(1.0 / penalty),
                        .temperature_inverse = T > 0.0 ? (float)(1.0 / T) : 0.0f,
                        .is_greedy = !(T > 0.0),
                        .has_penalty = history && (penalty < 1.0 || penalty > 1.0)};
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_ksample k = numbers(op, args);
    const mz_tensor room = mz_op_workspace(op);
    const mz_launch penalty = {.groups = {k.B, 1, 1},
                               .tensor = {&room, args->sample.logits, args->sample.history},
                               .n_tensors = 3,
                               .args = &k,
                               .args_bytes = sizeof k};
    const mz_launch sample = {.groups = {k.B, 1, 1},
                              .tensor = {args->sample.ids, &room},
                              .n_tensors = 2,
                              .args = &k,
                              .args_bytes = sizeof k};
    MZ_TRY(mz_kernels_run(op, PENALTY, &penalty));
    return mz_kernels_run(op, SAMPLE, &sample);
}

const mz_slot mz_kernels_sample = {
    .query = query, .bind = bind, .unbind = mz_kernels_unbind, .forward = forward};
