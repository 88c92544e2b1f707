/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/element.c - elements of every type as doubles and back, rounded to the nearest even
 * as the vector unit does; numbers that are too large become infinite, or the largest one. */
#include "ascend/state.h"

#include <math.h>
#include <string.h>

size_t emu_size_of(int type)
{
    switch (type) {
    case EMU_INT8:
    case EMU_UINT8:
    case EMU_BOOL:
        return 1;
    case EMU_FLOAT16:
    case EMU_BF16:
    case EMU_INT16:
        return 2;
    case EMU_FLOAT:
    case EMU_INT32:
        return 4;
    case EMU_INT64:
    case EMU_UINT64:
    case EMU_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

const char *emu_type_name(int type)
{
    static const struct {
        int type;
        const char *name;
    } names[] = {{EMU_FLOAT, "FLOAT"}, {EMU_FLOAT16, "FLOAT16"}, {EMU_BF16, "BF16"},
                 {EMU_INT32, "INT32"}, {EMU_INT64, "INT64"},     {EMU_BOOL, "BOOL"},
                 {EMU_INT8, "INT8"},   {EMU_UINT8, "UINT8"},     {EMU_DOUBLE, "DOUBLE"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].type == type) return names[i].name;
    return "of another type";
}

bool emu_is_float(int type)
{
    return type == EMU_FLOAT || type == EMU_FLOAT16 || type == EMU_BF16 || type == EMU_DOUBLE;
}

int64_t emu_count(const emu_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, part = h & 1023;
    if (exponent == 31) return from_bits(sign | 0x7F800000 | part << 13);
    const float x =
        exponent ? ldexpf((float)(part | 1024), (int)exponent - 25) : ldexpf((float)part, -24);
    return sign ? -x : x;
}

static uint16_t to_f16(double x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    int exponent = 0;
    if (isnan(x)) return sign | 0x7E00;
    const double a = fabs(x);
    if (a >= 65520.0) return sign | 0x7C00;
    if (!(a > 0.0)) return sign; /* has no exponent */
    (void)frexp(a, &exponent);
    const int scale = exponent < -13 ? -24 : exponent - 11; /* of the last bit */
    const double units = nearbyint(ldexp(a, -scale));
    /* a carry runs into the exponent by itself */
    const int biased = exponent < -13 ? 0 : exponent + 13;
    return (uint16_t)(sign | (uint16_t)((biased << 10) + (int)units));
}

static uint16_t to_bf16(double x)
{
    const float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isnan(f)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

#define LOAD(T, expression)                                                                        \
    for (int64_t i = 0; i < n; i++) {                                                              \
        T v;                                                                                       \
        memcpy(&v, at + i * stride * (int64_t)sizeof v, sizeof v);                                 \
        to[i] = (expression);                                                                      \
    }                                                                                              \
    return

void emu_load(double *to, int type, const unsigned char *at, int64_t stride, int64_t n)
{
    switch (type) {
    case EMU_FLOAT:
        LOAD(float, (double)v);
    case EMU_DOUBLE:
        LOAD(double, v);
    case EMU_FLOAT16:
        LOAD(uint16_t, (double)from_f16(v));
    case EMU_BF16:
        LOAD(uint16_t, (double)from_bits((uint32_t)v << 16));
    case EMU_INT8:
        LOAD(int8_t, v);
    case EMU_INT16:
        LOAD(int16_t, v);
    case EMU_INT32:
        LOAD(int32_t, v);
    case EMU_INT64:
        LOAD(int64_t, (double)v);
    case EMU_UINT64:
        LOAD(uint64_t, (double)v);
    default:
        LOAD(uint8_t, v);
    }
}

void emu_load_whole(int64_t *to, int type, const unsigned char *at, int64_t stride, int64_t n)
{
    switch (type) {
    case EMU_INT8:
        LOAD(int8_t, v);
    case EMU_INT16:
        LOAD(int16_t, v);
    case EMU_INT32:
        LOAD(int32_t, v);
    case EMU_INT64:
    case EMU_UINT64:
        LOAD(int64_t, v);
    default:
        LOAD(uint8_t, v);
    }
}

#define STORE_WHOLE(T, expression)                                                                 \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const T v = (T)(expression);                                                               \
        memcpy(at + i * stride * (int64_t)sizeof v, &v, sizeof v);                                 \
    }                                                                                              \
    return

void emu_store_whole(int type, unsigned char *at, int64_t stride, const int64_t *from, int64_t n)
{
    switch (emu_size_of(type)) {
    case 2:
        STORE_WHOLE(uint16_t, from[i]);
    case 4:
        STORE_WHOLE(uint32_t, from[i]);
    case 8:
        STORE_WHOLE(int64_t, from[i]);
    default:
        STORE_WHOLE(uint8_t, type == EMU_BOOL ? from[i] != 0 : from[i]);
    }
}

/* Without infinities: the largest number, and 0 for what is none. */
static double saturate(int type, double x)
{
    const double most = type == EMU_FLOAT16 ? 65504.0
                        : type == EMU_BF16  ? 0x1.FEp127
                                            : 0x1.FFFFFEp127;
    if (isnan(x)) return 0.0;
    return x > most ? most : x < -most ? -most : x;
}

/* A float that no integer of that width holds is cut off; one that is no number becomes 0. */
static int64_t whole(double x, double low, double high)
{
    if (isnan(x)) return 0;
    return x <= low ? (int64_t)low : x >= high ? (int64_t)high : (int64_t)x;
}

#define STORE(T, expression)                                                                       \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const double x = is_cut ? saturate(type, from[i]) : from[i];                               \
        const T v = (T)(expression);                                                               \
        memcpy(at + i * stride * (int64_t)sizeof v, &v, sizeof v);                                 \
    }                                                                                              \
    return

void emu_store(int type, unsigned char *at, int64_t stride, const double *from, int64_t n,
               int overflow)
{
    const bool is_cut = overflow == EMU_SATURATION && emu_is_float(type);
    switch (type) {
    case EMU_FLOAT:
        STORE(float, x);
    case EMU_DOUBLE:
        STORE(double, x);
    case EMU_FLOAT16:
        STORE(uint16_t, to_f16(x));
    case EMU_BF16:
        STORE(uint16_t, to_bf16(x));
    case EMU_INT8:
        STORE(int8_t, whole(x, -128, 127));
    case EMU_INT16:
        STORE(int16_t, whole(x, -32768, 32767));
    case EMU_INT32:
        STORE(int32_t, whole(x, -2147483648.0, 2147483647.0));
    case EMU_INT64:
    case EMU_UINT64:
        STORE(int64_t, whole(x, -9223372036854774784.0, 9223372036854774784.0));
    case EMU_BOOL:
        STORE(uint8_t, x < 0 || x > 0 || isnan(x));
    default:
        STORE(uint8_t, whole(x, 0, 255));
    }
}
