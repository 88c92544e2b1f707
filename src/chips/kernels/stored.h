/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/stored.h - weights in another dtype than is computed in, eight numbers at a time.
 *
 * Build option STORED: F32, BF16, F16 or a block type (args.h). LOAD8_STORED(p, i) gives numbers
 * i..i+7; of blocks, i is a multiple of 8. LOAD_STORED(p, i) gives one. Both are what
 * tensor/quant expands to, bit by bit. Floor: chips. */
#ifndef MZ_CHIPS_KERNELS_STORED_H
#define MZ_CHIPS_KERNELS_STORED_H

#include "chips/kernels/lang.h"

#ifndef STORED
#define STORED DTYPE
#endif

#if STORED == MZ_KERNEL_F32
typedef float stored_unit;
#define LOAD_STORED(p, i) ((p)[i])
#define LOAD8_STORED LOAD8_F32
#elif STORED == MZ_KERNEL_BF16
typedef ushort stored_unit;
#define LOAD_STORED(p, i) bf16_to_float((p)[i])
#define LOAD8_STORED LOAD8_BF16
#elif STORED == MZ_KERNEL_F16
typedef f16_store stored_unit;
#define LOAD_STORED F16_LOAD
#define LOAD8_STORED LOAD8_F16
#else
typedef uchar stored_unit;
#define LOAD_STORED(p, i) one_of_block(p, i)
#define LOAD8_STORED(p, i) eight_of_block(p, i)

HELPER float half_at(GLOBAL const uchar *b)
{
    return F16_LOAD((GLOBAL const f16_store *)b, 0);
}

#if STORED == MZ_KERNEL_Q4_0
#define BLOCK 32
#define BLOCK_BYTES 18
#elif STORED == MZ_KERNEL_Q4_1
#define BLOCK 32
#define BLOCK_BYTES 20
#elif STORED == MZ_KERNEL_Q5_0
#define BLOCK 32
#define BLOCK_BYTES 22
#elif STORED == MZ_KERNEL_Q5_1
#define BLOCK 32
#define BLOCK_BYTES 24
#elif STORED == MZ_KERNEL_Q8_0
#define BLOCK 32
#define BLOCK_BYTES 34
#elif STORED == MZ_KERNEL_Q4_K
#define BLOCK 256
#define BLOCK_BYTES 144
#elif STORED == MZ_KERNEL_Q5_K
#define BLOCK 256
#define BLOCK_BYTES 176
#elif STORED == MZ_KERNEL_Q6_K
#define BLOCK 256
#define BLOCK_BYTES 210
#else
#error "STORED is none of args.h"
#endif

#define HAS_FIFTH                                                                                  \
    (STORED == MZ_KERNEL_Q5_0) | (STORED == MZ_KERNEL_Q5_1) | (STORED == MZ_KERNEL_Q5_K)
#define HAS_BASE                                                                                   \
    (STORED == MZ_KERNEL_Q4_1) | (STORED == MZ_KERNEL_Q5_1) | (STORED == MZ_KERNEL_Q4_K) |         \
        (STORED == MZ_KERNEL_Q5_K)

/* What number e of a block is made of: n * scale + base. */
typedef struct parts {
    float scale, base;
    int n;
} parts;

#if BLOCK == 32
/* Byte j holds elements j and j + 16; fifth bits are bit e of 32. */
HELPER parts part_of(GLOBAL const uchar *b, int e)
{
    const int has_base = HAS_BASE, has_fifth = HAS_FIFTH;
    const int first = has_base ? 4 : 2, at = first + (has_fifth ? 4 : 0);
    parts p;
    p.scale = half_at(b);
    p.base = has_base ? half_at(b + 2) : 0.0f;
#if STORED == MZ_KERNEL_Q8_0
    p.n = (int)(signed char)b[at + e];
#else
    p.n = e < 16 ? b[at + e] & 15 : b[at + e - 16] >> 4;
    if (has_fifth) p.n |= (b[first + e / 8] >> (e % 8) & 1) << 4;
    if (!has_base) p.n -= has_fifth ? 16 : 8;
#endif
    return p;
}
#elif STORED == MZ_KERNEL_Q6_K
HELPER parts part_of(GLOBAL const uchar *b, int e)
{
    const int part = e / 128, k = e % 128 / 32, l = e % 32;
    const int low = b[64 * part + l + 32 * (k % 2)], high = b[128 + 32 * part + l];
    const int scale = (int)(signed char)b[192 + 8 * part + l / 16 + 2 * k];
    parts p;
    p.scale = half_at(b + 208) * (float)scale;
    p.base = 0.0f;
    p.n = ((k < 2 ? low & 15 : low >> 4) | (high >> 2 * k & 3) << 4) - 32;
    return p;
}
#else
/* Sub-blocks of 32 with a scale and a minimum of 6 bits each, packed into 12 bytes. */
HELPER parts part_of(GLOBAL const uchar *b, int e)
{
    const int has_fifth = HAS_FIFTH, j = e / 32, l = e % 32;
    const int nibbles = b[(has_fifth ? 48 : 16) + j / 2 * 32 + l];
    GLOBAL const uchar *s = b + 4;
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    const int least = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    parts p;
    p.scale = half_at(b) * (float)scale;
    p.base = -(half_at(b + 2) * (float)least);
    p.n = j % 2 ? nibbles >> 4 : nibbles & 15;
    if (has_fifth) p.n += (b[16 + l] >> j & 1) << 4;
    return p;
}
#endif

/* A base of 0 is not added: it would make 0 of -0. */
HELPER float one_of_block(GLOBAL const uchar *w, i64 i)
{
    const parts p = part_of(w + i / BLOCK * BLOCK_BYTES, (int)(i % BLOCK));
    const float x = (float)p.n * p.scale;
    const int has_base = HAS_BASE;
    return has_base ? x + p.base : x;
}

HELPER vec8 eight_of_block(GLOBAL const uchar *w, i64 i)
{
    float v[8];
    UNROLL for (int j = 0; j < 8; j++) v[j] = one_of_block(w, i + j);
    return VEC_LOAD(v);
}
#endif

/* WEIGHT, WEIGHT8: the same, rounded to the dtype that is computed in. */
#if DTYPE == MZ_KERNEL_BF16 && STORED != DTYPE
HELPER float weight_of(float x)
{
    return bf16_to_float(bf16_of_float(x));
}

HELPER vec8 weights_of(vec8 v)
{
#ifdef MZ_KERNEL_OPENCL
    const uint8 bits = as_uint8(v);
    return select(as_float8((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u), v, isnan(v));
#else
    EIGHT v.x[i] = weight_of(v.x[i]);
    return v;
#endif
}

#define WEIGHT(p, i) weight_of(LOAD_STORED(p, i))
#define WEIGHT8(p, i) weights_of(LOAD8_STORED(p, i))
#else
#define WEIGHT LOAD_STORED
#define WEIGHT8 LOAD8_STORED
#endif

#endif
