/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/decode.c - attention of new tokens against a paged cache; see chip/desc.h.
 * Floor: chips. */
#include "chips/ref/ops.h"

#include <math.h>

/* One sequence: key s stands in row s % page of page table[b, s / page]. */
static double cached(const mz_tensor *cache, const int64_t at[2], int64_t g, int64_t i)
{
    const int64_t e = at[0] * cache->stride[0] + at[1] * cache->stride[1] + g * cache->stride[2] +
                      i * cache->stride[3];
    return mz_load(cache->dtype, ref_address(cache, e));
}

static void place(const mz_decode_desc *d, const mz_args *args, int64_t b, int64_t s, int64_t at[2])
{
    at[0] = id2(args->decode.table, b, s / d->page);
    at[1] = s % d->page;
}

/* Token t of sequence b sees keys 0..position. p is scratch for their probabilities. */
static void row(const mz_op *op, const mz_args *args, const int64_t bt[2], int64_t h,
                int64_t position)
{
    const mz_decode_desc *d = &op->desc.u.decode;
    const mz_tensor *q = args->decode.q, workspace = mz_op_workspace(op);
    const int64_t b = bt[0], t = bt[1], g = h / (d->H / d->G);
    double *p = mz_ref_doubles(&workspace), max = -(double)INFINITY, sum = 0.0;
    int64_t at[2];
    for (int64_t s = 0; s <= position; s++) {
        double dot = 0.0;
        place(d, args, b, s, at);
        for (int64_t i = 0; i < d->K; i++)
            dot += at3(q, t, h, i) * cached(args->decode.k_cache, at, g, i);
        p[s] = d->scale * dot;
        if (p[s] > max) max = p[s];
    }
    for (int64_t s = 0; s <= position; s++) sum += p[s] = exp(p[s] - max);
    for (int64_t i = 0; i < d->W; i++) {
        double x = 0.0;
        for (int64_t s = 0; s <= position; s++) {
            place(d, args, b, s, at);
            x += p[s] * cached(args->decode.v_cache, at, g, i);
        }
        put3(args->decode.out, t, h, i, x / sum);
    }
}

/* The pages of sequence b that hold keys must exist, and the new tokens must be among the keys. */
static mz_err check_sequence(const mz_decode_desc *d, const mz_args *args, int64_t b, int64_t fresh)
{
    const int64_t keys = id1(args->decode.lens, b), pages = args->decode.k_cache->dim[0];
    if (keys < fresh || keys > args->decode.table->dim[1] * d->page)
        return MZ_FAIL(MZ_ECHIP, "lens[%lld] is %lld, with %lld new tokens and %lld pages of %lld",
                       (long long)b, (long long)keys, (long long)fresh,
                       (long long)args->decode.table->dim[1], (long long)d->page);
    for (int64_t s = 0; s < keys; s += d->page) {
        const int64_t page = id2(args->decode.table, b, s / d->page);
        if (page < 0 || page >= pages)
            return MZ_FAIL(MZ_ECHIP, "table[%lld,%lld] is page %lld of %lld", (long long)b,
                           (long long)(s / d->page), (long long)page, (long long)pages);
    }
    return MZ_OK;
}

mz_err mz_ref_decode(mz_op *op, const mz_args *args)
{
    const mz_decode_desc *d = &op->desc.u.decode;
    const mz_tensor *cu = args->decode.cu;
    MZ_TRY(mz_ref_check_offsets(cu, args->decode.q->dim[0], "cu"));
    for (int64_t b = 0; b + 1 < cu->dim[0]; b++) {
        const int64_t start = id1(cu, b), end = id1(cu, b + 1);
        MZ_TRY(check_sequence(d, args, b, end - start));
        for (int64_t t = start; t < end; t++)
            for (int64_t h = 0; h < d->H; h++)
                row(op, args, (const int64_t[2]){b, t}, h, id1(args->decode.lens, b) - (end - t));
    }
    return MZ_OK;
}
