/* SPDX-License-Identifier: Apache-2.0 */
/* tensor/quant.c - block formats. Floor: tensor.
 *
 * A product and the sum that takes it never stand in one expression, so that no compiler joins them
 * into one rounding; every file of these formats was made and read with two. */
#include "tensor/quant.h"

#include "base/num.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    int64_t elements;
    size_t bytes;
} FORMAT[MZ_QUANT_COUNT] = {
#define MZ_QUANT_ROW(name, elements, bytes) {#name, elements, bytes},
    MZ_BLOCK_LIST(MZ_QUANT_ROW)
#undef MZ_QUANT_ROW
};

int64_t mz_quant_block(mz_quant q)
{
    return q >= 0 && q < MZ_QUANT_COUNT ? FORMAT[q].elements : 0;
}

size_t mz_quant_block_bytes(mz_quant q)
{
    return q >= 0 && q < MZ_QUANT_COUNT ? FORMAT[q].bytes : 0;
}

const char *mz_quant_name(mz_quant q)
{
    return q >= 0 && q < MZ_QUANT_COUNT ? FORMAT[q].name : "?";
}

mz_dtype mz_quant_dtype(mz_quant q)
{
    return (mz_dtype)((int)MZ_DTYPE_PLAIN_COUNT + (int)q); /* one list made both enums */
}

bool mz_dtype_quant(mz_dtype d, mz_quant *out)
{
    if (!mz_dtype_is_blocks(d)) return false;
    *out = (mz_quant)((int)d - (int)MZ_DTYPE_PLAIN_COUNT);
    return true;
}

static float half_at(const unsigned char *p)
{
    return mz_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static void put_half(unsigned char *p, float x)
{
    const uint16_t h = mz_f32_to_f16(x);
    p[0] = (unsigned char)(h & 0xff);
    p[1] = (unsigned char)(h >> 8);
}

static uint32_t u32_at(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- blocks of 32: byte j holds elements j and j + 16 ---- */

static void expand_q4_0(float *y, const unsigned char *b)
{
    const float d = half_at(b);
    const unsigned char *q = b + 2;
    for (int j = 0; j < 16; j++) {
        y[j] = (float)((q[j] & 15) - 8) * d;
        y[j + 16] = (float)((q[j] >> 4) - 8) * d;
    }
}

static void expand_q4_1(float *y, const unsigned char *b)
{
    const float d = half_at(b), m = half_at(b + 2);
    const unsigned char *q = b + 4;
    for (int j = 0; j < 16; j++) {
        const float low = (float)(q[j] & 15) * d, high = (float)(q[j] >> 4) * d;
        y[j] = low + m;
        y[j + 16] = high + m;
    }
}

static void expand_q5_0(float *y, const unsigned char *b)
{
    const float d = half_at(b);
    const uint32_t fifth = u32_at(b + 2); /* bit j belongs to element j */
    const unsigned char *q = b + 6;
    for (int j = 0; j < 16; j++) {
        const int low = (q[j] & 15) | (int)(fifth >> j & 1) << 4;
        const int high = (q[j] >> 4) | (int)(fifth >> (j + 16) & 1) << 4;
        y[j] = (float)(low - 16) * d;
        y[j + 16] = (float)(high - 16) * d;
    }
}

static void expand_q5_1(float *y, const unsigned char *b)
{
    const float d = half_at(b), m = half_at(b + 2);
    const uint32_t fifth = u32_at(b + 4);
    const unsigned char *q = b + 8;
    for (int j = 0; j < 16; j++) {
        const float low = (float)((q[j] & 15) | (int)(fifth >> j & 1) << 4) * d;
        const float high = (float)((q[j] >> 4) | (int)(fifth >> (j + 16) & 1) << 4) * d;
        y[j] = low + m;
        y[j + 16] = high + m;
    }
}

static void expand_q8_0(float *y, const unsigned char *b)
{
    const float d = half_at(b);
    for (int j = 0; j < 32; j++) y[j] = (float)(signed char)b[2 + j] * d;
}

/* ---- blocks of 256 ---- */

/* Scale and minimum of sub-block j, 6 bits each, packed into 12 bytes. */
static void six_bits(const unsigned char *s, int j, int *scale, int *least)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *least = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *least = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
}

/* One sub-block of 32: nibbles at q, low or high; its fifth bits are bit `bit` of fifth[0..31]. */
static void expand_sub(float *y, const unsigned char *q, bool high, const unsigned char *fifth,
                       int bit, float d, float m)
{
    for (int l = 0; l < 32; l++) {
        int n = high ? q[l] >> 4 : q[l] & 15;
        if (fifth) n += (fifth[l] >> bit & 1) << 4;
        const float x = d * (float)n;
        y[l] = x - m;
    }
}

static void expand_k(float *y, const unsigned char *b, const unsigned char *fifth,
                     const unsigned char *q)
{
    const float d = half_at(b), dmin = half_at(b + 2);
    for (int j = 0; j < 8; j++) {
        int scale, least;
        six_bits(b + 4, j, &scale, &least);
        expand_sub(y + 32 * j, q + j / 2 * 32, j % 2 != 0, fifth, j, d * (float)scale,
                   dmin * (float)least);
    }
}

static void expand_q4_k(float *y, const unsigned char *b)
{
    expand_k(y, b, NULL, b + 16);
}

static void expand_q5_k(float *y, const unsigned char *b)
{
    expand_k(y, b, b + 16, b + 48);
}

static void expand_q6_k(float *y, const unsigned char *b)
{
    const float d = half_at(b + 208);
    for (int half = 0; half < 2; half++, y += 128) {
        const unsigned char *low = b + 64 * half, *high = b + 128 + 32 * half;
        const unsigned char *scales = b + 192 + 8 * half;
        for (int k = 0; k < 4; k++) /* elements 32k .. 32k + 31 of the half */
            for (int l = 0; l < 32; l++) {
                const unsigned char byte = low[l + 32 * (k % 2)];
                const int n = (k < 2 ? byte & 15 : byte >> 4) | (high[l] >> 2 * k & 3) << 4;
                const float scale = d * (float)(signed char)scales[l / 16 + 2 * k];
                y[32 * k + l] = scale * (float)(n - 32);
            }
    }
}

static void (*const EXPAND[MZ_QUANT_COUNT])(float *, const unsigned char *) = {
    [MZ_QUANT_Q4_0] = expand_q4_0, [MZ_QUANT_Q4_1] = expand_q4_1, [MZ_QUANT_Q5_0] = expand_q5_0,
    [MZ_QUANT_Q5_1] = expand_q5_1, [MZ_QUANT_Q8_0] = expand_q8_0, [MZ_QUANT_Q4_K] = expand_q4_k,
    [MZ_QUANT_Q5_K] = expand_q5_k, [MZ_QUANT_Q6_K] = expand_q6_k,
};

mz_err mz_quant_expand(mz_quant q, float *out, const void *blocks, int64_t n)
{
    MZ_NEED(q >= 0 && q < MZ_QUANT_COUNT, "no such block format");
    MZ_NEED(n >= 0 && n % FORMAT[q].elements == 0, "%lld is not a multiple of %s's block",
            (long long)n, FORMAT[q].name);
    MZ_NEED(n == 0 || (out && blocks), "no blocks or no room");
    const unsigned char *b = blocks;
    for (int64_t i = 0; i < n; i += FORMAT[q].elements, b += FORMAT[q].bytes) EXPAND[q](out + i, b);
    return MZ_OK;
}

/* ---- encoders ---- */

/* 0 where 1/d is not a number to multiply with: then the scale in half precision is 0 anyway. */
static float inverse(float d)
{
    const float id = d < 0.0f || d > 0.0f ? 1.0f / d : 0.0f;
    return isfinite(id) ? id : 0.0f;
}

/* roundf, half away from zero; |x| <= 127.5 */
static void encode_q8_0(unsigned char *b, const float *x)
{
    float most = 0.0f;
    for (int j = 0; j < 32; j++) most = fmaxf(most, fabsf(x[j]));
    const float d = most / 127.0f, id = inverse(d);
    put_half(b, d);
    for (int j = 0; j < 32; j++) {
        const float scaled = x[j] * id;
        b[2 + j] = (unsigned char)(signed char)roundf(scaled);
    }
}

static unsigned nibble(float x, float id)
{
    const float scaled = x * id;
    const int n = (int)(scaled + 8.5f); /* 0.5 .. 16.5 */
    return n > 15 ? 15u : (unsigned)n;
}

static void encode_q4_0(unsigned char *b, const float *x)
{
    float most = 0.0f, largest = 0.0f; /* its sign kept: it becomes exactly -8 d */
    for (int j = 0; j < 32; j++)
        if (fabsf(x[j]) > most) {
            most = fabsf(x[j]);
            largest = x[j];
        }
    const float d = largest / -8.0f, id = inverse(d);
    put_half(b, d);
    for (int j = 0; j < 16; j++)
        b[2 + j] = (unsigned char)(nibble(x[j], id) | nibble(x[j + 16], id) << 4);
}

bool mz_quant_can_encode(mz_quant q)
{
    return q == MZ_QUANT_Q8_0 || q == MZ_QUANT_Q4_0;
}

mz_err mz_quant_encode(mz_quant q, void *blocks, const float *x, int64_t n)
{
    MZ_NEED(q >= 0 && q < MZ_QUANT_COUNT, "no such block format");
    MZ_NEED(n >= 0 && n % FORMAT[q].elements == 0, "%lld is not a multiple of %s's block",
            (long long)n, FORMAT[q].name);
    MZ_NEED(n == 0 || (x && blocks), "no blocks or no numbers");
    if (!mz_quant_can_encode(q))
        return MZ_FAIL(MZ_ENOTSUP, "%s is read, not written", FORMAT[q].name);
    /* 65504 is the largest half; what rounds to it is below 65520 */
    const float limit = q == MZ_QUANT_Q8_0 ? 65519.0f * 127.0f : 65519.0f * 8.0f;
    unsigned char *b = blocks;
    for (int64_t i = 0; i < n; i += 32, b += FORMAT[q].bytes) {
        for (int64_t j = i; j < i + 32; j++)
            if (!(fabsf(x[j]) <= limit)) {
                const mz_err err =
                    MZ_FAIL(MZ_ENUMERIC, "%g does not fit into %s", (double)x[j], FORMAT[q].name);
                mz_note_where(NULL, NULL, j);
                return err;
            }
        if (q == MZ_QUANT_Q8_0)
            encode_q8_0(b, x + i);
        else
            encode_q4_0(b, x + i);
    }
    return MZ_OK;
}
