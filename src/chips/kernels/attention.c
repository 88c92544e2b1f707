/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/attention.c - attention.cl as an operator.
 *
 * saved: lse [T,H] F32. Scratch in backward: delta [T,H] F32. Floor: chips. */
#include "chip/work.h"
#include "chips/kernels/args_attention.h"
#include "chips/kernels/ops.h"

enum { FORWARD, DELTA, DQ, DV, DK };

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    const mz_attention_desc *d = &desc->u.attention;
    MZ_TRY(mz_kernels_need(desc->kind, d->dtype));
    support->repeats = true;
    if (!d->backward) return MZ_OK;
    support->saved_bytes = mz_kernel_opaque((size_t)(d->T_max * d->H) * sizeof(float));
    support->workspace_bytes = support->saved_bytes;
    return MZ_OK;
}

/* Columns of the result that one group makes, in units of 64: tile.h. */
static int64_t units_of(int64_t width)
{
    return width > 64 ? 2 : 1;
}

static const char *option_of(int64_t width)
{
    return units_of(width) == 2 ? "-DUNITS=2" : NULL;
}

static mz_err bind(mz_op *op)
{
    const mz_attention_desc *d = &op->desc.u.attention;
    const mz_kernel_spec specs[] = {
        [FORWARD] = {"attention", "attention", d->dtype, MZ_F64, option_of(d->W)},
        [DELTA] = {"attention", "attention_delta", d->dtype, MZ_F64, option_of(d->W)},
        [DQ] = {"attention", "attention_dq", d->dtype, MZ_F64, option_of(d->K)},
        [DV] = {"attention", "attention_dv", d->dtype, MZ_F64, option_of(d->W)},
        [DK] = {"attention", "attention_dk", d->dtype, MZ_F64, option_of(d->K)}};
    return mz_kernels_bind(op, specs, d->backward ? MZ_COUNT(specs) : 1);
}

static mz_kattention numbers(const mz_op *op, const mz_args *args, const mz_tensor *out)
{
    const mz_attention_desc *d = &op->desc.u.attention;
    return (mz_kattention){.T = args->attention.q->dim[0],
                           .n = args->attention.cu->dim[0] - 1,
                           .H = d->H,
                           .G = d->G,
                           .K = d->K,
                           .W = d->W,
                           .q = mz_kernel_view(args->attention.q),
                           .k = mz_kernel_view(args->attention.k),
                           .v = mz_kernel_view(args->attention.v),
                           .cu = mz_kernel_view(args->attention.cu),
                           .out = mz_kernel_view(out),
                           .dq = mz_kernel_view(args->attention.dq),
                           .dk = mz_kernel_view(args->attention.dk),
                           .dv = mz_kernel_view(args->attention.dv),
                           .scale = (float)d->scale,
                           .causal = d->causal,
                           .has_saved = d->backward};
}

static int64_t columns(int64_t width)
{
    const int64_t each = 64 * units_of(width);
    return (width + each - 1) / each;
}

/* Launches kernel `which`; the struct, groups and tensors are in l. For each pair that sees each
 * other it does `dots` for the scores, once for each group of columns, and 2 a column of what it
 * makes (`width`). Of the dots as many as `fresh` are no other kernel's too. */
static mz_err launch(mz_op *op, int which, const mz_args *args, mz_launch l, double dots,
                     double fresh, int64_t width)
{
    const mz_kattention *k = l.args;
    const double pairs = mz_work_pairs(&op->desc, args) * (double)k->H;
    l.groups[0] = k->T / MZ_KTILE_ROWS + k->n;
    l.args_bytes = sizeof *k;
    l.flop = pairs * (dots * (double)l.groups[2] + 2.0 * (double)width);
    l.again = pairs * (dots * (double)l.groups[2] - fresh);
    return mz_kernels_run(op, which, &l);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_attention_desc *d = &op->desc.u.attention;
    const mz_kattention k = numbers(op, args, args->attention.out);
    const mz_launch l = {.groups = {0, d->H, columns(d->W)},
                         .tensor = {args->attention.out, args->attention.saved, args->attention.q,
                                    args->attention.k, args->attention.v, args->attention.cu},
                         .n_tensors = 6,
                         .args = &k};
    return launch(op, FORWARD, args, l, 2.0 * (double)d->K, 2.0 * (double)d->K, d->W);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_attention_desc *d = &op->desc.u.attention;
    const mz_kattention k = numbers(op, args, args->attention.dout);
    const mz_tensor *q = args->attention.q, *keys = args->attention.k, *v = args->attention.v;
    const mz_tensor *dout = args->attention.dout, *lse = args->attention.saved;
    const mz_tensor *cu = args->attention.cu, delta = mz_op_workspace(op);
    const mz_launch l_delta = {.groups = {0, d->H, 1},
                               .tensor = {&delta, q, keys, v, dout, lse, cu},
                               .n_tensors = 7,
                               .args = &k};
    const mz_launch l_dq = {.groups = {0, d->H, columns(d->K)},
                            .tensor = {args->attention.dq, q, keys, v, dout, lse, &delta, cu},
                            .n_tensors = 8,
                            .args = &k};
    const mz_launch l_dv = {.groups = {0, d->G, columns(d->W)},
                            .tensor = {args->attention.dv, q, keys, dout, lse, cu},
                            .n_tensors = 6,
                            .args = &k};
    const mz_launch l_dk = {.groups = {0, d->G, columns(d->K)},
                            .tensor = {args->attention.dk, q, keys, v, dout, lse, &delta, cu},
                            .n_tensors = 8,
                            .args = &k};
    const double s = 2.0 * (double)d->K, dp = 2.0 * (double)d->W; /* s again, and dp once */
    MZ_TRY(launch(op, DELTA, args, l_delta, s + dp, dp, 0));
    MZ_TRY(launch(op, DQ, args, l_dq, s + dp, 0.0, d->K));
    MZ_TRY(launch(op, DV, args, l_dv, s, 0.0, d->W));
    return launch(op, DK, args, l_dk, s + dp, 0.0, d->K);
}

const mz_slot mz_kernels_attention = {.query = query,
                                      .bind = bind,
                                      .unbind = mz_kernels_unbind,
                                      .forward = forward,
                                      .backward = backward};
