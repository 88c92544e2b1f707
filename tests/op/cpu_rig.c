/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/cpu_rig.c - see cpu_rig.h. */
#include "tests/op/cpu_rig.h"

#include <math.h>
#include <string.h>

const char *const RIG_ISAS[] = {"portable", "neon", "avx2", "avx512", "amx"};
const int RIG_ISA_COUNT = MZ_COUNT(RIG_ISAS);

const mz_cpu_gemm_table *rig_gemm;

enum { PATTERN = 0xa5, GUARD_BYTES = 64 };

bool rig_open(rig *r, const char *isa, int threads)
{
    const mz_chip_options options = {.threads = threads, .isa = isa};
    memset(r, 0, sizeof *r);
    if (!mz_chip_find("cpu")) assert_int_equal(mz_chip_register(mz_cpu_chip()), MZ_OK);
    const mz_err err = mz_device_open(&r->device, "cpu", &options);
    if (err == MZ_ENOTSUP) return false;
    assert_int_equal(err, MZ_OK);
    if (rig_gemm) ((mz_cpu *)r->device->state)->kernels.gemm = rig_gemm;
    assert_int_equal(mz_queue_open(&r->q, r->device), MZ_OK);
    return true;
}

void rig_close(rig *r)
{
    for (int i = 0; i < r->n; i++) mz_buffer_free(r->buf[i]);
    mz_queue_close(r->q);
    mz_device_close(r->device);
}

mz_tensor rig_tensor(rig *r, mz_dtype dtype, int rank, const int64_t *dim, rig_layout at)
{
    const size_t bytes = mz_dtype_bytes(dtype);
    mz_tensor t = mz_view(NULL, (size_t)at.lead * bytes, dtype, rank, dim);
    for (int axis = rank - 2; axis >= 0; axis--)
        t.stride[axis] = t.stride[axis + 1] * dim[axis + 1] + (axis == rank - 2 ? at.pad : at.gap);
    if (at.repeat) t.stride[0] = 0;
    assert_true(r->n < RIG_TENSORS);
    mz_buffer **buf = &r->buf[r->n++];
    assert_int_equal(mz_buffer_new(buf, r->device, mz_extent_bytes(&t) + GUARD_BYTES), MZ_OK);
    memset((*buf)->host, PATTERN, (*buf)->bytes);
    t.buf = *buf;
    return t;
}

void rig_fill(const mz_tensor *t, mz_rng *rng)
{
    const int64_t n = mz_count(t);
    for (int64_t i = 0; i < n; i++) {
        const uint32_t word = mz_rng_u32(rng);
        mz_put(t, i, ((double)(word & 0xffffu) + (double)(word >> 16)) * 0x1p-15 - 2.0);
    }
}

/* Marks the bytes of the view, then looks at all others. */
bool rig_gaps_untouched(const mz_tensor *t)
{
    const size_t bytes = t->buf->bytes, element = mz_dtype_bytes(t->dtype);
    unsigned char *inside = test_calloc(bytes, 1);
    const int64_t n = mz_count(t);
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, at = 0;
        for (int axis = t->rank - 1; axis >= 0; axis--) {
            at += rest % t->dim[axis] * t->stride[axis];
            rest /= t->dim[axis];
        }
        memset(inside + t->offset_bytes + (size_t)at * element, 1, element);
    }
    bool ok = true;
    const unsigned char *host = t->buf->host;
    for (size_t i = 0; i < bytes; i++)
        if (!inside[i] && host[i] != PATTERN) ok = false;
    test_free(inside);
    return ok;
}

bool rig_same_bits(const mz_tensor *a, const mz_tensor *b)
{
    const size_t element = mz_dtype_bytes(a->dtype);
    const int64_t n = mz_count(a);
    for (int64_t i = 0; i < n; i++) {
        const double x = mz_at(a, i), y = mz_at(b, i);
        const size_t bytes = element < sizeof x ? sizeof(float) : sizeof x;
        const float fx = (float)x, fy = (float)y;
        if (bytes == sizeof x ? memcmp(&x, &y, bytes) : memcmp(&fx, &fy, bytes)) return false;
    }
    return n == mz_count(b);
}

mz_op *rig_bind(rig *r, const mz_desc *desc)
{
    mz_op *op = NULL;
    assert_int_equal(mz_op_bind(&op, r->q, desc), MZ_OK);
    return op;
}

void rig_spoil_workspace(rig *r)
{
    if (r->q->workspace) memset(r->q->workspace->host, 0xff, r->q->workspace->bytes);
}

bool rig_near(double got, double want, mz_dtype out, int64_t n, double norms2)
{
    const double u_out = out == MZ_F64 ? 0x1p-53 : out == MZ_F32 ? 0x1p-24 : 0x1p-8;
    const double u_acc = out == MZ_F64 ? 0x1p-53 : 0x1p-24;
    const double limit = 2.0 * u_out * fabs(want) + u_acc * sqrt((double)n) * sqrt(norms2);
    bool ok = fabs(got - want) <= limit;
    if (isnan(want)) ok = isnan(got);
    if (isinf(want)) ok = isinf(got) && (got > 0.0) == (want > 0.0);
    if (!ok) print_error("got %.9g, want %.9g within %.3g\n", got, want, limit);
    return ok;
}
