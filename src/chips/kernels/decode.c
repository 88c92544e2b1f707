/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/decode.c - decode.cl as an operator. Floor: chips. */
#include "chips/kernels/args_attention.h"
#include "chips/kernels/ops.h"

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_kernels_need(desc->kind, desc->u.decode.dtype);
}

static mz_err bind(mz_op *op)
{
    const mz_decode_desc *d = &op->desc.u.decode;
    const mz_kernel_spec spec = {.text = "decode",
                                 .name = "decode",
                                 .dtype = d->dtype,
                                 .options = d->W > 64 ? "-DUNITS=2" : NULL};
    return mz_kernels_bind(op, &spec, 1);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_decode_desc *d = &op->desc.u.decode;
    const int64_t T = args->decode.q->dim[0], B = args->decode.lens->dim[0];
    const int64_t width = d->W > 64 ? 128 : 64;
    const mz_kdecode k = {.T = T,
                          .B = B,
                          .H = d->H,
                          .G = d->G,
                          .K = d->K,
                          .W = d->W,
                          .page = d->page,
                          .pages = args->decode.k_cache->dim[0],
                          .pages_per_seq = args->decode.table->dim[1],
                          .q = mz_kernel_view(args->decode.q),
                          .out = mz_kernel_view(args->decode.out),
                          .k = mz_kernel_view(args->decode.k_cache),
                          .v = mz_kernel_view(args->decode.v_cache),
                          .table = mz_kernel_view(args->decode.table),
                          .lens = mz_kernel_view(args->decode.lens),
                          .cu = mz_kernel_view(args->decode.cu),
                          .scale = (float)d->scale};
    const mz_launch l = {
        .groups = {T * (d->H / d->G) / MZ_KTILE_ROWS + B, d->G, (d->W + width - 1) / width},
        .tensor = {args->decode.out, args->decode.q, args->decode.k_cache, args->decode.v_cache,
                   args->decode.table, args->decode.lens, args->decode.cu},
        .n_tensors = 7,
        .args = &k,
        .args_bytes = sizeof k,
        /* how many keys there are only the device knows: as if all pages were full */
        .flop = 2.0 * (double)(T * d->H * (d->K + d->W)) * (double)(k.pages_per_seq * d->page)};
    return mz_kernels_run(op, 0, &l);
}

const mz_slot mz_kernels_decode = {
    .query = query, .bind = bind, .unbind = mz_kernels_unbind, .forward = forward};
