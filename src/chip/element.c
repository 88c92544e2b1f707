/* SPDX-License-Identifier: Apache-2.0 */
/* chip/element.c - single elements of tensors in host-visible memory, for the oracle, tests and
 * messages; nothing fast reads a tensor this way.
 *
 * Floor:  chip. May use tensor, base. */
#include "chip/element.h"

#include "base/num.h"
#include "chip/buffer.h"

#include <math.h>
#include <string.h>

void *mz_host(const mz_tensor *t)
{
    return t->buf && t->buf->host ? (unsigned char *)t->buf->host + t->offset_bytes : NULL;
}

/* Address of element i in row-major order of the view. */
static unsigned char *address(const mz_tensor *t, int64_t i)
{
    int64_t at = 0;
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        at += i % t->dim[axis] * t->stride[axis];
        i /= t->dim[axis];
    }
    unsigned char *base = mz_host(t);
    return base + at * (int64_t)mz_dtype_bytes(t->dtype);
}

/* X(ENUM, C type) of the integer dtypes */
#define INTEGERS(X)                                                                                \
    X(I64, int64_t)                                                                                \
    X(I32, int32_t)                                                                                \
    X(I16, int16_t)                                                                                \
    X(I8, int8_t)                                                                                  \
    X(U64, uint64_t)                                                                               \
    X(U32, uint32_t)                                                                               \
    X(U16, uint16_t)                                                                               \
    X(U8, uint8_t)                                                                                 \
    X(BOOL, uint8_t)

static bool get_int(mz_dtype dtype, const void *p, int64_t *x)
{
#define GET(NAME, type)                                                                            \
    if (dtype == MZ_##NAME) {                                                                      \
        type v;                                                                                    \
        memcpy(&v, p, sizeof v);                                                                   \
        *x = (int64_t)v;                                                                           \
        return true;                                                                               \
    }
    INTEGERS(GET)
#undef GET
    return false;
}

static bool put_int(mz_dtype dtype, void *p, int64_t x)
{
#define PUT(NAME, type)                                                                            \
    if (dtype == MZ_##NAME) {                                                                      \
        const type v = (type)x;                                                                    \
        memcpy(p, &v, sizeof v);                                                                   \
        return true;                                                                               \
    }
    INTEGERS(PUT)
#undef PUT
    return false;
}

static double get_float(mz_dtype dtype, const void *p)
{
    double d;
    float f;
    uint16_t h;
    if (dtype == MZ_F64) return memcpy(&d, p, sizeof d), d;
    if (dtype == MZ_F32) return memcpy(&f, p, sizeof f), (double)f;
    if (dtype == MZ_BF16) return memcpy(&h, p, sizeof h), (double)mz_bf16_to_f32(h);
    if (dtype == MZ_F16) return memcpy(&h, p, sizeof h), (double)mz_f16_to_f32(h);
    if (dtype == MZ_F8_E4M3) return (double)mz_e4m3_to_f32(*(const uint8_t *)p);
    if (dtype == MZ_F8_E5M2) return (double)mz_e5m2_to_f32(*(const uint8_t *)p);
    if (dtype == MZ_F8_E8M0) return (double)mz_e8m0_to_f32(*(const uint8_t *)p);
    return (double)NAN;
}

static void put_float(mz_dtype dtype, void *p, double x)
{
    const float f = (float)x;
    if (dtype == MZ_F64) memcpy(p, &x, sizeof x);
    if (dtype == MZ_F32) memcpy(p, &f, sizeof f);
    if (dtype == MZ_F8_E4M3) *(uint8_t *)p = mz_f32_to_e4m3(f);
    if (dtype == MZ_F8_E5M2) *(uint8_t *)p = mz_f32_to_e5m2(f);
    if (dtype != MZ_BF16 && dtype != MZ_F16) return;
    const uint16_t h = dtype == MZ_BF16 ? mz_f64_to_bf16(x) : mz_f64_to_f16(x);
    memcpy(p, &h, sizeof h);
}

double mz_load(mz_dtype dtype, const void *p)
{
    int64_t x = 0;
    if (mz_dtype_is_float(dtype)) return get_float(dtype, p);
    return get_int(dtype, p, &x) ? (double)x : get_float(dtype, p);
}

void mz_store(mz_dtype dtype, void *p, double x)
{
    if (mz_dtype_is_float(dtype) || !put_int(dtype, p, (int64_t)x)) put_float(dtype, p, x);
}

int64_t mz_load_int(mz_dtype dtype, const void *p)
{
    int64_t x = 0;
    return get_int(dtype, p, &x) ? x : (int64_t)get_float(dtype, p);
}

void mz_store_int(mz_dtype dtype, void *p, int64_t x)
{
    if (!put_int(dtype, p, x)) put_float(dtype, p, (double)x);
}

double mz_at(const mz_tensor *t, int64_t i)
{
    return mz_load(t->dtype, address(t, i));
}

void mz_put(const mz_tensor *t, int64_t i, double x)
{
    mz_store(t->dtype, address(t, i), x);
}

int64_t mz_at_int(const mz_tensor *t, int64_t i)
{
    return mz_load_int(t->dtype, address(t, i));
}

void mz_put_int(const mz_tensor *t, int64_t i, int64_t x)
{
    mz_store_int(t->dtype, address(t, i), x);
}
