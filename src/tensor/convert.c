/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/convert.c - one reader and one writer a dtype, joined through double: f64 holds every
 * value of every other format exactly, so the only rounding is the writer's. */
#include "tensor/convert.h"

#include "base/num.h"

#include <string.h>

static bool is_id(mz_dtype d)
{
    return d == MZ_I64 || d == MZ_I32 || d == MZ_I16 || d == MZ_U8;
}

static bool is_readable(mz_dtype d)
{
    return mz_dtype_is_float(d) || d == MZ_F8_E4M3 || d == MZ_F8_E5M2 || d == MZ_F8_E8M0;
}

bool mz_convert_can(mz_dtype to, mz_dtype from)
{
    if (to == MZ_I32 || to == MZ_I64) return is_id(from);
    return mz_dtype_is_float(to) && is_readable(from);
}

static double read_float(const unsigned char *p, mz_dtype from, int64_t i)
{
    double d;
    float f;
    uint16_t h;
    if (from == MZ_F64) return memcpy(&d, p + i * 8, 8), d;
    if (from == MZ_F32) return memcpy(&f, p + i * 4, 4), (double)f;
    if (from == MZ_F8_E4M3) return (double)mz_e4m3_to_f32(p[i]);
    if (from == MZ_F8_E5M2) return (double)mz_e5m2_to_f32(p[i]);
    if (from == MZ_F8_E8M0) return (double)mz_e8m0_to_f32(p[i]);
    memcpy(&h, p + i * 2, 2);
    return (double)(from == MZ_BF16 ? mz_bf16_to_f32(h) : mz_f16_to_f32(h));
}

static void write_float(void *dst, mz_dtype to, int64_t i, double x)
{
    if (to == MZ_F64) ((double *)dst)[i] = x;
    if (to == MZ_F32) ((float *)dst)[i] = (float)x;
    if (to == MZ_BF16) ((uint16_t *)dst)[i] = mz_f64_to_bf16(x);
    if (to == MZ_F16) ((uint16_t *)dst)[i] = mz_f64_to_f16(x);
}

static int64_t read_id(const unsigned char *p, mz_dtype from, int64_t i)
{
    int64_t a;
    int32_t b;
    int16_t c;
    if (from == MZ_I64) return memcpy(&a, p + i * 8, 8), a;
    if (from == MZ_I32) return memcpy(&b, p + i * 4, 4), b;
    if (from == MZ_I16) return memcpy(&c, p + i * 2, 2), c;
    return p[i];
}

static mz_err convert_ids(void *dst, mz_dtype to, const unsigned char *src, mz_dtype from,
                          int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t id = read_id(src, from, i);
        if (to == MZ_I32 && (id < INT32_MIN || id > INT32_MAX)) {
            const mz_err err =
                MZ_FAIL(MZ_ECORRUPT, "id %lld does not fit in 32 bits", (long long)id);
            mz_note_where(NULL, NULL, i);
            return err;
        }
        if (to == MZ_I32) ((int32_t *)dst)[i] = (int32_t)id;
        if (to == MZ_I64) ((int64_t *)dst)[i] = id;
    }
    return MZ_OK;
}

/* What whole models pass: their weights as files have them, and as they are drawn. */
static bool convert_common(void *dst, mz_dtype to, const void *src, mz_dtype from, int64_t n)
{
    const double *wide = src;
    if (from == MZ_BF16 && to == MZ_F32) {
        for (int64_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, (const unsigned char *)src + i * 2, 2);
            ((float *)dst)[i] = mz_bf16_to_f32(h);
        }
    } else if (from == MZ_F64 && to == MZ_F32) {
        for (int64_t i = 0; i < n; i++) ((float *)dst)[i] = (float)wide[i];
    } else if (from == MZ_F64 && to == MZ_BF16) {
        for (int64_t i = 0; i < n; i++) ((uint16_t *)dst)[i] = mz_f64_to_bf16(wide[i]);
    } else {
        return false;
    }
    return true;
}

mz_err mz_convert(void *dst, mz_dtype to, const void *src, mz_dtype from, int64_t n)
{
    MZ_NEED(n >= 0 && (n == 0 || (dst && src)), "dst or src is NULL");
    if (!mz_convert_can(to, from))
        return MZ_FAIL(MZ_ENOTSUP, "no conversion from %s to %s", mz_dtype_name(from),
                       mz_dtype_name(to));
    if (is_id(to)) return convert_ids(dst, to, src, from, n);
    if (to == from) {
        if (n > 0) memcpy(dst, src, (size_t)n * mz_dtype_bytes(to));
        return MZ_OK;
    }
    if (convert_common(dst, to, src, from, n)) return MZ_OK;
    for (int64_t i = 0; i < n; i++) write_float(dst, to, i, read_float(src, from, i));
    return MZ_OK;
}
