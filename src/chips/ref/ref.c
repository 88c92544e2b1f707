/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/ref.c - the oracle's table, its memory (the host's) and its queue (none: every call is
 * done when it returns).
 *
 * Floor:  chips. May use chip, tensor, base. */
#include "chips/ref/ref.h"

#include "base/mem.h"
#include "chips/ref/ops.h"
#include "tensor/quant.h"

#include <stdio.h>
#include <string.h>

static mz_err open_device(mz_device *device, const char *arg)
{
    if (arg[0]) return MZ_FAIL(MZ_ENOTSUP, "the reference chip has no variant \"%.64s\"", arg);
    mz_device_info *info = &device->info;
    snprintf(info->vendor, sizeof info->vendor, "Mizan");
    snprintf(info->model, sizeof info->model, "double on the host");
    info->is_host = true;
    info->dtypes = 1u << MZ_F64 | 1u << MZ_F32 | 1u << MZ_BF16 | 1u << MZ_F16;
    return MZ_OK;
}

static void close_device(mz_device *device)
{
    (void)device;
}

static mz_err alloc(mz_device *device, mz_buffer *buf)
{
    (void)device;
    MZ_NEED(buf->bytes <= INT64_MAX, "%zu bytes are more than a buffer can have", buf->bytes);
    MZ_TRY(mz_mem_new(&buf->host, (int64_t)buf->bytes, 1));
    buf->handle = buf->host;
    return MZ_OK;
}

static void release(mz_device *device, mz_buffer *buf)
{
    (void)device;
    mz_mem_free(buf->host);
}

static mz_err queue_open(mz_queue *q)
{
    (void)q;
    return MZ_OK;
}

static void queue_close(mz_queue *q)
{
    (void)q;
}

static mz_err queue_sync(mz_queue *q)
{
    (void)q;
    return MZ_OK;
}

static unsigned char *bytes_of(const mz_buffer *buf, size_t offset)
{
    return (unsigned char *)buf->host + offset;
}

static mz_err upload(mz_queue *q, mz_buffer *dst, size_t offset, const void *host, size_t bytes)
{
    (void)q;
    memcpy(bytes_of(dst, offset), host, bytes);
    return MZ_OK;
}

static mz_err download(mz_queue *q, void *host, const mz_buffer *src, size_t offset, size_t bytes)
{
    (void)q;
    memcpy(host, bytes_of(src, offset), bytes);
    return MZ_OK;
}

static mz_err copy(mz_queue *q, mz_buffer *dst, size_t dst_offset, const mz_buffer *src,
                   size_t src_offset, size_t bytes)
{
    (void)q;
    memcpy(bytes_of(dst, dst_offset), bytes_of(src, src_offset), bytes);
    return MZ_OK;
}

static mz_err zero(mz_queue *q, mz_buffer *dst, size_t offset, size_t bytes)
{
    (void)q;
    memset(bytes_of(dst, offset), 0, bytes);
    return MZ_OK;
}

/* Doubles that forward leaves for backward: rmsnorm 1/rms of each token, attention the logarithm of
 * each query's softmax denominator, router the scores. */
static int64_t saved_doubles(const mz_desc *desc)
{
    const mz_attention_desc *a = &desc->u.attention;
    if (!mz_desc_has_backward(desc)) return 0;
    if (desc->kind == MZ_OP_RMSNORM) return desc->u.rmsnorm.T_max;
    if (desc->kind == MZ_OP_ATTENTION) return a->T_max * a->H;
    if (desc->kind == MZ_OP_ROUTER) return desc->u.router.T_max * desc->u.router.E;
    return 0;
}

/* Doubles of scratch; each operator's file says what for. */
static int64_t scratch_doubles(const mz_desc *desc)
{
    const mz_attention_desc *a = &desc->u.attention;
    const mz_decode_desc *c = &desc->u.decode;
    if (desc->kind == MZ_OP_ATTENTION)
        return a->backward ? a->T_max * a->H + a->K + a->W : a->T_max;
    if (mz_desc_stored(desc) != MZ_F64) /* a row of the weight */
        return desc->kind == MZ_OP_MATMUL    ? desc->u.matmul.K_max
               : desc->kind == MZ_OP_EXPERTS ? desc->u.experts.K
                                             : desc->u.embed.D;
    if (desc->kind == MZ_OP_DECODE) return c->pages_per_seq_max * c->page;
    if (desc->kind == MZ_OP_ROUTER) return 3 * desc->u.router.E + desc->u.router.groups;
    if (desc->kind == MZ_OP_SAMPLE) return 3 * desc->u.sample.V;
    return 0;
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    if (desc->kind == MZ_OP_MATMUL && desc->u.matmul.packed)
        return MZ_FAIL(MZ_ENOTSUP, "the reference chip has no packed layout");
    support->saved_bytes = (size_t)saved_doubles(desc) * sizeof(double);
    support->workspace_bytes = (size_t)scratch_doubles(desc) * sizeof(double);
    support->repeats = true;
    return MZ_OK;
}

mz_err mz_ref_check_offsets(const mz_tensor *cu, int64_t T, const char *name)
{
    const int64_t n = cu->dim[0] - 1;
    int64_t before = 0;
    for (int64_t i = 0; i <= n; i++) {
        const int64_t at = id1(cu, i);
        if (at < before || at > T || (i == 0 && at != 0) || (i == n && at != T))
            return MZ_FAIL(MZ_ECHIP, "%s[%lld] is %lld after %lld, with %lld rows", name,
                           (long long)i, (long long)at, (long long)before, (long long)T);
        before = at;
    }
    return MZ_OK;
}

mz_err mz_ref_check_ids(const mz_tensor *ids, int64_t lowest, int64_t n, const char *name)
{
    const int64_t count = mz_count(ids);
    for (int64_t i = 0; i < count; i++) {
        const int64_t id = mz_at_int(ids, i);
        if (id < lowest || id >= n)
            return MZ_FAIL(MZ_ECHIP, "%s[%lld] is %lld, not in %lld..%lld", name, (long long)i,
                           (long long)id, (long long)lowest, (long long)n - 1);
    }
    return MZ_OK;
}

/* Every block of 32 or 256 by the formats' reference code, then as doubles. */
void mz_ref_weight_row(const mz_tensor *w, int64_t row, int64_t n, mz_dtype dtype, double *out)
{
    const int64_t block = mz_dtype_block(w->dtype), bytes = (int64_t)mz_dtype_block_bytes(w->dtype);
    const int64_t first =
        row * w->stride[w->rank - 2]; /* an expert's rows follow the one before's */
    const unsigned char *at = (unsigned char *)w->buf->host + w->offset_bytes;
    mz_quant quant;
    float x[256];
    at += first / block * bytes;
    for (int64_t i = 0; i < n; i += block, at += bytes) {
        if (!mz_dtype_quant(w->dtype, &quant)) {
            out[i] = mz_load(w->dtype, at);
            continue;
        }
        (void)mz_quant_expand(quant, x, at, block); /* cannot fail: one whole block */
        for (int64_t j = 0; j < block; j++) out[i + j] = (double)x[j];
    }
    for (int64_t i = 0; i < n; i++) {
        unsigned char rounded[sizeof(double)];
        mz_store(dtype, rounded, out[i]);
        out[i] = mz_load(dtype, rounded);
    }
}

double *mz_ref_doubles(const mz_tensor *bytes)
{
    return mz_host(bytes);
}

const mz_chip mz_chip_ref = {
    .abi = MZ_CHIP_ABI,
    .bytes = sizeof(mz_chip),
    .name = "ref",
    .summary = "the oracle: every operator in double, slow and obvious",
    .is_test = true,
    .open = open_device,
    .close = close_device,
    .wraps = true,
    .alloc = alloc,
    .free = release,
    .queue_open = queue_open,
    .queue_close = queue_close,
    .queue_sync = queue_sync,
    .upload = upload,
    .download = download,
    .copy = copy,
    .zero = zero,
    .op =
        {
#define SLOT(NAME, field)                                                                          \
    [MZ_OP_##NAME] = {                                                                             \
        .query = query, .forward = mz_ref_##field, .backward = mz_ref_##field##_backward},
            MZ_REF_BACKWARD_LIST(SLOT)
#undef SLOT
#define SLOT(NAME, field) [MZ_OP_##NAME] = {.query = query, .forward = mz_ref_##field},
                MZ_REF_FORWARD_LIST(SLOT)
#undef SLOT
        },
};
