/* SPDX-License-Identifier: Apache-2.0 */
/* tests/toy.h - a host chip of three operators that can be told to misbehave, so that tests of the
 * wrapping chips can watch them notice. Memory and copies as on any host chip.
 *
 * RMSNORM (saved: r[t] as doubles; workspace: D doubles) and MATMUL (plain) in f32 and f64, forward
 * and backward of RMSNORM only; ELEMENTWISE ADD. */
#ifndef MZ_TESTS_TOY_H
#define MZ_TESTS_TOY_H

#include "base/mem.h"
#include "chip/chip.h"

#include <math.h>
#include <string.h>

typedef enum toy_flaw {
    TOY_NONE,
    TOY_ADDS,          /* elementwise: y += a + b, right only on zeroed memory */
    TOY_PAST_END,      /* elementwise: one element too many */
    TOY_DIRTY_SCRATCH, /* rmsnorm: trusts its workspace to be zero */
    TOY_PAST_SCRATCH,  /* rmsnorm: takes more workspace than it asked for */
    TOY_SKIPS_ROW,     /* rmsnorm: the last row of y is not written */
    TOY_FAILS,         /* every launch fails, after writing */
    TOY_ALLOCATES      /* every launch allocates */
} toy_flaw;

static _Atomic(toy_flaw) toy_flaw_now; /* far looks at it from its own thread */

static inline mz_err toy_open(mz_device *device, const char *arg)
{
    if (arg[0]) return MZ_FAIL(MZ_ENOTSUP, "toy has no variant %s", arg);
    device->info.is_host = true;
    device->info.dtypes = 1u << MZ_F32 | 1u << MZ_F64;
    return MZ_OK;
}

static inline void toy_close(mz_device *device)
{
    (void)device;
}

static inline mz_err toy_alloc(mz_device *device, mz_buffer *buf)
{
    (void)device;
    return mz_mem_new(&buf->host, (int64_t)buf->bytes, 1);
}

static inline void toy_free(mz_device *device, mz_buffer *buf)
{
    (void)device;
    mz_mem_free(buf->host);
}

static inline mz_err toy_queue_open(mz_queue *q)
{
    (void)q;
    return MZ_OK;
}

static inline void toy_queue_close(mz_queue *q)
{
    (void)q;
}

static inline mz_err toy_sync(mz_queue *q)
{
    (void)q;
    return MZ_OK;
}

static inline mz_err toy_upload(mz_queue *q, mz_buffer *dst, size_t offset, const void *host,
                                size_t bytes)
{
    (void)q;
    memcpy((char *)dst->host + offset, host, bytes);
    return MZ_OK;
}

static inline mz_err toy_download(mz_queue *q, void *host, const mz_buffer *src, size_t offset,
                                  size_t bytes)
{
    (void)q;
    memcpy(host, (const char *)src->host + offset, bytes);
    return MZ_OK;
}

static inline mz_err toy_copy(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                              size_t src_offset, size_t bytes)
{
    return toy_upload(q, dst, dst_offset, (const char *)src->host + src_offset, bytes);
}

static inline mz_err toy_zero(mz_queue *q, mz_buffer *dst, size_t offset, size_t bytes)
{
    (void)q;
    memset((char *)dst->host + offset, 0, bytes);
    return MZ_OK;
}

static inline mz_err toy_launch(void)
{
    void *p = NULL;
    if (toy_flaw_now == TOY_FAILS) return MZ_FAIL(MZ_ECHIP, "the toy broke");
    if (toy_flaw_now != TOY_ALLOCATES) return MZ_OK;
    MZ_TRY(mz_mem_new(&p, 1, 8));
    mz_mem_free(p);
    return MZ_OK;
}

static inline mz_err toy_query(const mz_queue *q, const mz_desc *desc, mz_support *s)
{
    (void)q;
    const mz_dtype d = mz_desc_dtype(desc);
    if (d != MZ_F32 && d != MZ_F64)
        return MZ_FAIL(MZ_ENOTSUP, "the toy has no %s", mz_dtype_name(d));
    s->repeats = true;
    if (desc->kind == MZ_OP_RMSNORM) {
        s->workspace_bytes = (size_t)desc->u.rmsnorm.D * sizeof(double);
        s->saved_bytes =
            desc->u.rmsnorm.backward ? (size_t)desc->u.rmsnorm.T_max * sizeof(double) : 0;
    }
    if (desc->kind == MZ_OP_MATMUL &&
        (desc->u.matmul.batch_max || desc->u.matmul.bias || desc->u.matmul.packed ||
         desc->u.matmul.accumulate || desc->u.matmul.backward))
        return MZ_FAIL(MZ_ENOTSUP, "the toy multiplies plain matrices");
    if (desc->kind == MZ_OP_ELEMENTWISE && desc->u.elementwise.fn != MZ_EW_ADD)
        return MZ_FAIL(MZ_ENOTSUP, "the toy only adds");
    return MZ_OK;
}

static inline mz_err toy_add(mz_op *op, const mz_args *a)
{
    (void)op;
    const mz_tensor *y = a->elementwise.y;
    const int64_t n = mz_count(y) + (toy_flaw_now == TOY_PAST_END);
    for (int64_t i = 0; i < n; i++) {
        const double old = toy_flaw_now == TOY_ADDS ? mz_at(y, i) : 0.0;
        if (i == mz_count(y)) {
            mz_tensor past = *y;
            past.offset_bytes = mz_extent_bytes(y);
            mz_put(&past, 0, 1.0);
            break;
        }
        mz_put(y, i, old + mz_at(a->elementwise.a, i) + mz_at(a->elementwise.b, i));
    }
    return toy_launch();
}

static inline mz_err toy_matmul(mz_op *op, const mz_args *a)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *x = a->matmul.a, *w = a->matmul.b, *c = a->matmul.c;
    const int64_t M = c->dim[0], N = c->dim[1], K = x->dim[d->trans_a ? 0 : 1];
    MZ_TRY(toy_launch());
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0.0;
            for (int64_t k = 0; k < K; k++)
                sum += mz_at(x, d->trans_a ? k * M + m : m * K + k) *
                       mz_at(w, d->trans_b ? n * K + k : k * N + n);
            mz_put(c, m * N + n, sum);
        }
    return MZ_OK;
}

static inline mz_err toy_norm(mz_op *op, const mz_args *a)
{
    const mz_tensor *x = a->rmsnorm.x, *y = a->rmsnorm.y, ws = mz_op_workspace(op);
    const int64_t T = x->dim[0], D = x->dim[1];
    double *scratch = mz_host(&ws), *r = a->rmsnorm.saved ? mz_host(a->rmsnorm.saved) : NULL;
    MZ_TRY(toy_launch());
    if (toy_flaw_now != TOY_DIRTY_SCRATCH) memset(scratch, 0, (size_t)D * sizeof *scratch);
    if (toy_flaw_now == TOY_PAST_SCRATCH) scratch[D] = 1.0;
    for (int64_t t = 0; t < T - (toy_flaw_now == TOY_SKIPS_ROW); t++) {
        double ss = 0.0;
        for (int64_t d = 0; d < D; d++) {
            scratch[d] = 0.0 * scratch[d] + mz_at(x, t * D + d);
            ss += scratch[d] * scratch[d];
        }
        const double rt = 1.0 / sqrt(ss / (double)D + op->desc.u.rmsnorm.eps);
        for (int64_t d = 0; d < D; d++)
            mz_put(y, t * D + d, scratch[d] * rt * mz_at(a->rmsnorm.w, d));
        if (r) r[t] = rt;
    }
    return MZ_OK;
}

static inline mz_err toy_norm_backward(mz_op *op, const mz_args *a)
{
    (void)op;
    const mz_tensor *x = a->rmsnorm.x, *w = a->rmsnorm.w, *dy = a->rmsnorm.dy;
    const int64_t T = x->dim[0], D = x->dim[1];
    const double *r = mz_host(a->rmsnorm.saved);
    MZ_TRY(toy_launch());
    for (int64_t i = 0; i < T * D; i++)
        mz_put(a->rmsnorm.dw, i % D,
               mz_at(a->rmsnorm.dw, i % D) + mz_at(dy, i) * mz_at(x, i) * r[i / D]);
    for (int64_t t = 0; t < T; t++) {
        double gx = 0.0;
        for (int64_t d = 0; d < D; d++)
            gx += mz_at(dy, t * D + d) * mz_at(w, d) * mz_at(x, t * D + d);
        for (int64_t d = 0; d < D; d++)
            mz_put(a->rmsnorm.dx, t * D + d,
                   r[t] * (mz_at(dy, t * D + d) * mz_at(w, d) -
                           gx * r[t] * r[t] / (double)D * mz_at(x, t * D + d)));
    }
    return MZ_OK;
}

static inline const mz_chip *toy_chip(void)
{
    static const mz_chip table = {
        .abi = MZ_CHIP_ABI,
        .bytes = sizeof(mz_chip),
        .name = "toy",
        .summary = "three operators",
        .is_test = true,
        .open = toy_open,
        .close = toy_close,
        .alloc = toy_alloc,
        .free = toy_free,
        .queue_open = toy_queue_open,
        .queue_close = toy_queue_close,
        .queue_sync = toy_sync,
        .upload = toy_upload,
        .download = toy_download,
        .copy = toy_copy,
        .zero = toy_zero,
        .op = {[MZ_OP_RMSNORM] = {.query = toy_query,
                                  .forward = toy_norm,
                                  .backward = toy_norm_backward},
               [MZ_OP_MATMUL] = {.query = toy_query, .forward = toy_matmul},
               [MZ_OP_ELEMENTWISE] = {.query = toy_query, .forward = toy_add}},
    };
    return &table;
}

#endif
