/* SPDX-License-Identifier: Apache-2.0 */
/* app/gauge.c - see gauge.h. Floor: app. */
#include "app/gauge.h"

#include "base/clock.h"
#include "op/op.h"

static mz_err time_gemm(mz_queue *q, mz_op *op, const mz_tensor t[3], int64_t *ns)
{
    const int64_t start = mz_clock_ns();
    MZ_TRY(mz_forward(op, &(mz_args){.matmul = {.c = &t[2], .a = &t[0], .b = &t[1]}}));
    MZ_TRY(mz_queue_sync(q));
    *ns = mz_clock_ns() - start + 1;
    return MZ_OK;
}

static mz_err measure(mz_queue *q, mz_dtype dtype, int64_t n, int64_t ns, double *best)
{
    const int64_t shape[2] = {n, n};
    const size_t bytes = (size_t)(n * n) * mz_dtype_bytes(dtype);
    mz_buffer *buf = NULL;
    mz_op *op = NULL;
    const mz_desc desc = {
        .kind = MZ_OP_MATMUL,
        .u.matmul = {.dtype = dtype, .out_dtype = dtype, .M_max = n, .N_max = n, .K_max = n}};
    MZ_TRY(mz_bind(&op, q, &desc));
    mz_err err = mz_buffer_new(&buf, q->device, 3 * bytes);
    mz_tensor t[3];
    for (int i = 0; i < 3; i++) t[i] = mz_view(buf, (size_t)i * bytes, dtype, 2, shape);
    const int64_t end = mz_clock_ns() + ns;
    do {
        int64_t took = 0;
        if (err == MZ_OK) err = time_gemm(q, op, t, &took);
        if (err != MZ_OK) break;
        const double rate = 2.0 * (double)(n * n * n) * 1e9 / (double)took;
        *best = rate > *best ? rate : *best;
    } while (mz_clock_ns() < end);
    mz_op_free(op);
    mz_buffer_free(buf);
    return err;
}

mz_err mz_gauge_gemm(mz_queue *q, mz_dtype dtype, int64_t ns, double *best)
{
    MZ_NEED(q && best, "an argument is NULL");
    double rate = 0.0;
    int64_t n = 64;
    MZ_TRY(measure(q, dtype, n, 1, &rate)); /* once: how slow is it? */
    while (n < 512 && 2.0 * (double)(8 * n * n * n) * 1e9 / rate < (double)ns) n *= 2;
    rate = 0.0;
    MZ_TRY(measure(q, dtype, n, ns, &rate));
    *best = rate;
    return MZ_OK;
}
