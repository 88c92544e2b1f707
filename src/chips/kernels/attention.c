/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/attention.c - attention.cl as an operator.
 *
 * saved: lse [T,H] F32. Scratch in backward: delta [T,H] F32. Floor: chips. */
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

/* Pairs of tokens that see each other; where the host does not know the sequences, as if all were
 * of one length. */
static double pairs_of(const mz_op *op, const mz_args *args)
{
    const int32_t *cu = args->k.attention.cu_host;
    const int64_t n = args->attention.cu->dim[0] - 1;
    double pairs = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double even = (double)args->attention.q->dim[0] / (double)n;
        const double length = cu ? (double)(cu[i + 1] - cu[i]) : even;
        pairs += op->desc.u.attention.causal ? length * (length + 1.0) / 2.0 : length * length;
    }
    return pairs * (double)op->desc.u.attention.H;
}

/* Launches kernel `which` over heads x columns; the struct and flop for one (query, key, head). */
static mz_err launch(mz_op *op, int which, const mz_args *args, mz_launch l, double flop)
{
    const mz_kattention *k = l.args;
    l.groups[0] = k->T / MZ_KTILE_ROWS + k->n;
    l.args_bytes = sizeof *k;
    l.flop = flop * pairs_of(op, args);
    return mz_kernels_run(op, which, &l);
}

static int64_t columns(int64_t width)
{
    const int64_t each = 64 * units_of(width);
    return (width + each - 1) / each;
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
    return launch(op, FORWARD, args, l, 2.0 * (double)(d->K + d->W));
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
    const double K = (double)d->K, W = (double)d->W;
    MZ_TRY(launch(op, DELTA, args, l_delta, 2.0 * (K + W)));
    MZ_TRY(launch(op, DQ, args, l_dq, 2.0 * (K + W + K)));
    MZ_TRY(launch(op, DV, args, l_dv, 2.0 * (K + W)));
    return launch(op, DK, args, l_dk, 2.0 * (K + W + K));
}

const mz_slot mz_kernels_attention = {.query = query,
                                      .bind = bind,
                                      .unbind = mz_kernels_unbind,
                                      .forward = forward,
                                      .backward = backward};
