/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/embed.c - see chip/desc.h.
 *
 * The gradient is shared out by columns: each range walks through all tokens in order, so no two
 * threads meet in a row of dw and equal ids add up in token order. Floor: chips. */
#include "chips/cpu/split.h"
#include "chips/cpu/stored.h"

#include <math.h>
#include <string.h>

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_cpu_need_f32_or_bf16(desc->kind, desc->u.embed.dtype);
}

/* Row id of a weight in another dtype, expanded and rounded once. */
static void expand_row(const mz_op *op, void *y, const mz_tensor *w, int64_t id, bool bf16)
{
    const mz_cpu_stored_kernel *kernel =
        &mz_cpu_of(op->queue)->kernels.stored->kernel[mz_cpu_kind_of(w->dtype)];
    const int64_t D = op->desc.u.embed.D;
    const unsigned char *row =
        (const unsigned char *)mz_cpu_data(w) + mz_cpu_stored_bytes(w->dtype, id * w->stride[0]);
    float some[MZ_CPU_STORED_K];
    for (int64_t k = 0; k < D; k += MZ_CPU_STORED_K) {
        const int64_t n = D - k < MZ_CPU_STORED_K ? D - k : MZ_CPU_STORED_K;
        void *to = (unsigned char *)y + (size_t)k * (bf16 ? 2 : 4);
        kernel->expand(some, row, k, n);
        mz_cpu_ops_of(op)->cast(to, bf16, some, false, n);
    }
}

static void forward_rows(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *y = args->embed.y, *w = args->embed.w;
    const int64_t D = op->desc.u.embed.D;
    const bool bf16 = mz_cpu_is_bf16(y);
    const mz_cpu_map nan = {.fn = MZ_EW_FILL, .alpha = NAN, .bf16 = bf16};
    for (int64_t t = first; t < last; t++) {
        const int64_t id = mz_cpu_id_at(args->embed.ids, t, 0);
        if (id >= 0 && id < op->desc.u.embed.V && w->dtype != y->dtype)
            expand_row(op, mz_cpu_row(y, t), w, id, bf16);
        else if (id >= 0 && id < op->desc.u.embed.V)
            memcpy(mz_cpu_row(y, t), mz_cpu_row(w, id), (size_t)D * (bf16 ? 2 : 4));
        else
            mz_cpu_ops_of(op)->map(&nan, mz_cpu_row(y, t), NULL, NULL, D);
    }
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    mz_cpu_split(op, args, args->embed.y->dim[0], mz_cpu_items(op->desc.u.embed.D), forward_rows);
    return MZ_OK;
}

static void backward_columns(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_tensor *dw = args->embed.dw, *dy = args->embed.dy;
    for (int64_t t = 0; t < dy->dim[0]; t++) {
        const int64_t id = mz_cpu_id_at(args->embed.ids, t, 0);
        if (id < 0 || id >= op->desc.u.embed.V) continue;
        mz_cpu_ops_of(op)->add((float *)mz_cpu_row(dw, id) + first,
                               mz_cpu_elem(dy, t * dy->stride[0] + first), last - first,
                               mz_cpu_is_bf16(dy));
    }
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    mz_cpu_split(op, args, op->desc.u.embed.D, MZ_CPU_COLUMNS, backward_columns);
    return MZ_OK;
}

const mz_slot mz_cpu_embed = {.query = query, .forward = forward, .backward = backward};
