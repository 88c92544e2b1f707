/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/balance.c - balance.cl as an operator.
 *
 * Scratch: each sequence's share of the loss [n,E] F32, then its choices [n,E] I32. Floor: chips.
 */
#include "chips/kernels/args_moe.h"
#include "chips/kernels/ops.h"

enum { SEQUENCES, SUM };

static size_t part_bytes(const mz_balance_desc *d)
{
    return mz_kernel_part_bytes(d->sequences_max * d->E, sizeof(float));
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    support->workspace_bytes = mz_kernel_opaque(2 * part_bytes(&desc->u.balance));
    return mz_kernels_need(desc->kind, desc->u.balance.acc);
}

static mz_err bind(mz_op *op)
{
    const mz_kernel_spec specs[] = {
        [SEQUENCES] = {.text = "balance", .name = "balance_sequences", .dtype = MZ_F32},
        [SUM] = {.text = "balance", .name = "balance_sum", .dtype = MZ_F32}};
    return mz_kernels_bind(op, specs, MZ_COUNT(specs));
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_balance_desc *d = &op->desc.u.balance;
    const mz_tensor *counts = args->balance.counts, *dprobs = args->balance.dprobs;
    const mz_tensor part = mz_op_workspace(op), chosen = mz_kernel_part(&part, part_bytes(d));
    const mz_kbalance k = {.T = args->balance.probs->dim[0],
                           .n = args->balance.cu->dim[0] - 1,
                           .E = d->E,
                           .k = d->k,
                           .probs = mz_kernel_view(args->balance.probs),
                           .ids = mz_kernel_view(args->balance.ids),
                           .cu = mz_kernel_view(args->balance.cu),
                           .loss = mz_kernel_view(args->balance.loss),
                           .dprobs = mz_kernel_view(dprobs),
                           .counts = mz_kernel_view(counts),
                           .alpha = (float)args->k.balance.alpha,
                           .has_dprobs = dprobs != NULL,
                           .has_counts = counts != NULL};
    const mz_launch each = {.groups = {mz_kernel_groups(k.n * k.E), 1, 1},
                            .tensor = {&part, &chosen, dprobs, args->balance.probs,
                                       args->balance.ids, args->balance.cu},
                            .n_tensors = 6,
                            .args = &k,
                            .args_bytes = sizeof k,
                            .flop = 2.0 * (double)(k.T * k.E)};
    const mz_launch sum = {.groups = {1, 1, 1},
                           .tensor = {args->balance.loss, counts, &part, &chosen},
                           .n_tensors = 4,
                           .args = &k,
                           .args_bytes = sizeof k};
    MZ_TRY(mz_kernels_run(op, SEQUENCES, &each));
    return mz_kernels_run(op, SUM, &sum);
}

const mz_slot mz_kernels_balance = {
    .query = query, .bind = bind, .unbind = mz_kernels_unbind, .forward = forward};
