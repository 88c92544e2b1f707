/* SPDX-License-Identifier: Apache-2.0 */
/* base/num.h - scalar conversions between f32 and the short float formats.
 *
 * All conversions to a short format round to nearest, ties to even, and keep NaN a NaN.
 * Source: IEEE 754-2019; OCP 8-bit floating point specification 1.0 (E4M3 has no infinity: what
 * does not fit saturates to 448; E5M2 is like IEEE and overflows to infinity). Floor:  base. */
#ifndef MZ_BASE_NUM_H
#define MZ_BASE_NUM_H

#include <stdint.h>
#include <string.h>

static inline uint32_t mz_f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float mz_f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float mz_bf16_to_f32(uint16_t h)
{
    return mz_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t mz_f32_to_bf16(float x)
{
    const uint32_t u = mz_f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

float mz_f16_to_f32(uint16_t h);
uint16_t mz_f32_to_f16(float x);
/* From double directly: going through f32 would round twice. */
uint16_t mz_f64_to_bf16(double x);
uint16_t mz_f64_to_f16(double x);

float mz_e4m3_to_f32(uint8_t b);
uint8_t mz_f32_to_e4m3(float x);
float mz_e5m2_to_f32(uint8_t b);
uint8_t mz_f32_to_e5m2(float x);
float mz_e8m0_to_f32(uint8_t b); /* 2^(b-127); 255 is NaN */

#endif
