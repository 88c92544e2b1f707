/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/flash.c - see flash.h. Floor: chips. */
#include "chips/cpu/flash.h"

#include "chips/cpu/split.h"

enum { ROWS = MZ_FLASH_ROWS, KEYS = MZ_FLASH_KEYS, WIDTH_MAX = 1 << 16 };

/* Takes n floats, whole cache lines. */
static float *take(float *base, int64_t *used, int64_t n)
{
    float *p = base ? base + *used : NULL;
    *used += mz_flash_padded(n);
    return p;
}

int64_t mz_cpu_flash_lay_out(mz_cpu_flash *f, const mz_attention_desc *d, float *base)
{
    const int64_t s = ROWS * (KEYS + MZ_FLASH_PAD);
    int64_t used = 0;
    *f =
        (mz_cpu_flash){.K = d->K, .W = d->W, .scale = (float)d->scale, .bf16 = d->dtype == MZ_BF16};
    f->qt = take(base, &used, ROWS * mz_flash_padded(d->K));
    f->s = take(base, &used, s);
    f->k = take(base, &used, KEYS * mz_flash_stride(d->K));
    f->v = take(base, &used, KEYS * mz_flash_stride(d->W));
    f->ot = take(base, &used, ROWS * mz_flash_padded(d->W));
    f->m = take(base, &used, ROWS);
    f->l = take(base, &used, ROWS);
    if (!d->backward) return used;
    f->dot = take(base, &used, ROWS * d->W);
    f->ds = take(base, &used, s);
    f->dqt = take(base, &used, ROWS * d->K);
    f->q_rows = take(base, &used, ROWS * mz_flash_padded(d->K));
    f->dout_rows = take(base, &used, ROWS * mz_flash_padded(d->W));
    f->lse = take(base, &used, ROWS);
    f->delta = take(base, &used, ROWS);
    return used;
}

mz_err mz_cpu_flash_need(mz_op_kind kind, mz_dtype dtype, int64_t K, int64_t W)
{
    MZ_TRY(mz_cpu_need_f32_or_bf16(kind, dtype));
    if (K <= WIDTH_MAX && W <= WIDTH_MAX) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "cpu computes %s with heads up to %d wide, not %lld and %lld",
                   mz_op_name(kind), WIDTH_MAX, (long long)K, (long long)W);
}
