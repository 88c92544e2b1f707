/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/router.c - router.cl as an operator.
 *
 * saved: scores [E,T] F32. Scratch, one part after the other: marks [E,T] I32, groups' values
 * [groups,T], scores where nothing is saved; in backward the scores' gradients [E,T] alone.
 * Floor: chips. */
#include "chips/kernels/args_moe.h"
#include "chips/kernels/ops.h"

enum { FORWARD, BACKWARD };

static size_t table_bytes(const mz_router_desc *d)
{
    return mz_kernel_part_bytes(d->T_max * d->E, sizeof(float));
}

static size_t values_bytes(const mz_router_desc *d)
{
    return mz_kernel_part_bytes(d->T_max * d->groups, sizeof(float));
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    const mz_router_desc *d = &desc->u.router;
    MZ_TRY(mz_kernels_need(desc->kind, d->acc));
    support->repeats = true;
    support->saved_bytes = d->backward ? mz_kernel_opaque(table_bytes(d)) : 0;
    support->workspace_bytes = mz_kernel_opaque(2 * table_bytes(d) + values_bytes(d));
    return MZ_OK;
}

static mz_err bind(mz_op *op)
{
    const mz_kernel_spec specs[] = {
        [FORWARD] = {.text = "router", .name = "router", .dtype = MZ_F32},
        [BACKWARD] = {.text = "router", .name = "router_backward", .dtype = MZ_F32}};
    return mz_kernels_bind(op, specs, op->desc.u.router.backward ? 2 : 1);
}

static mz_krouter numbers(const mz_op *op, const mz_args *args)
{
    const mz_router_desc *d = &op->desc.u.router;
    return (mz_krouter){.T = args->router.ids->dim[0],
                        .E = d->E,
                        .k = d->k,
                        .groups = d->groups,
                        .groups_kept = d->groups_kept,
                        .logits = mz_kernel_view(args->router.logits),
                        .bias = mz_kernel_view(args->router.bias),
                        .ids = mz_kernel_view(args->router.ids),
                        .weights = mz_kernel_view(args->router.weights),
                        .probs = mz_kernel_view(args->router.probs),
                        .dlogits = mz_kernel_view(args->router.dlogits),
                        .dweights = mz_kernel_view(args->router.dweights),
                        .dprobs = mz_kernel_view(args->router.dprobs),
                        .factor = (float)d->factor,
                        .sigmoid = d->score == MZ_SCORE_SIGMOID,
                        .top2 = d->group == MZ_GROUP_TOP2_SUM,
                        .normalise = d->normalise,
                        .forced = d->forced,
                        .has_bias = args->router.bias != NULL,
                        .has_probs = args->router.probs != NULL,
                        .has_dprobs = args->router.dprobs != NULL};
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_router_desc *d = &op->desc.u.router;
    const mz_krouter k = numbers(op, args);
    const mz_tensor mark = mz_op_workspace(op);
    const mz_tensor values = mz_kernel_part(&mark, table_bytes(d));
    const mz_tensor scratch = mz_kernel_part(&mark, table_bytes(d) + values_bytes(d));
    const mz_launch l = {.groups = {mz_kernel_groups(k.T), 1, 1},
                         .tensor = {args->router.weights, args->router.ids, args->router.probs,
                                    d->backward ? args->router.saved : &scratch, &mark, &values,
                                    args->router.logits, args->router.bias},
                         .n_tensors = 8,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = (double)(k.T * k.E) * (double)(4 + k.k)};
    return mz_kernels_run(op, FORWARD, &l);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_krouter k = numbers(op, args);
    const mz_tensor ds = mz_op_workspace(op);
    const mz_launch l = {.groups = {mz_kernel_groups(k.T), 1, 1},
                         .tensor = {args->router.dlogits, &ds, args->router.saved, args->router.ids,
                                    args->router.dweights, args->router.dprobs},
                         .n_tensors = 6,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 10.0 * (double)(k.T * k.E)};
    return mz_kernels_run(op, BACKWARD, &l);
}

const mz_slot mz_kernels_router = {.query = query,
                                   .bind = bind,
                                   .unbind = mz_kernels_unbind,
                                   .forward = forward,
                                   .backward = backward};
