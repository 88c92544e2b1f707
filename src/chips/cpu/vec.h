/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/vec.h - vectors of the instruction set that an *.isa.c file is being compiled for.
 *
 * Arithmetic uses the compilers' vector types (a + b, a * b, a < b work lane by lane); what they
 * cannot express is a small inline helper here. Only *.isa.c files include this.
 *   vf  VF_LANES floats     vi, vu  as many int32 / uint32     vh  as many uint16     vd  doubles
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_VEC_H
#define MZ_CHIPS_CPU_VEC_H

#ifndef MZ_CPU_ISA
#error "only for files that are compiled per instruction set"
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define MZ_VEC_BYTES 64
#include <immintrin.h>
#elif defined(__AVX2__) && defined(__FMA__)
#define MZ_VEC_BYTES 32
#include <immintrin.h>
#else
#define MZ_VEC_BYTES 16
#if defined(__aarch64__)
#include <arm_neon.h>
#endif
#endif

enum { VF_LANES = MZ_VEC_BYTES / 4, VD_LANES = MZ_VEC_BYTES / 8 };

typedef float vf __attribute__((vector_size(MZ_VEC_BYTES)));
typedef double vd __attribute__((vector_size(MZ_VEC_BYTES)));
typedef int32_t vi __attribute__((vector_size(MZ_VEC_BYTES)));
typedef uint32_t vu __attribute__((vector_size(MZ_VEC_BYTES)));
typedef uint16_t vh __attribute__((vector_size(MZ_VEC_BYTES / 2)));

/* Before a loop of constant length (at most 16) whose arrays shall live in registers. */
#if defined(__clang__)
#define MZ_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MZ_UNROLL _Pragma("GCC unroll 16")
#endif

#define MZ_INLINE static inline __attribute__((always_inline, unused))

MZ_INLINE vf vf_set(float x)
{
    return x - (vf){0}; /* not x + 0: that would turn -0 into 0 */
}

MZ_INLINE vf vf_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

MZ_INLINE void vf_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

MZ_INLINE vd vd_load(const double *p)
{
    vd v;
    memcpy(&v, p, sizeof v);
    return v;
}

MZ_INLINE void vd_store(double *p, vd v)
{
    memcpy(p, &v, sizeof v);
}

/* Fewer bytes than a vector has, in pieces: a call of memcpy at the end of a loop would cost the
 * whole loop its registers. */
MZ_INLINE void copy_few(void *to, const void *from, int64_t bytes)
{
    unsigned char *t = to;
    const unsigned char *f = from;
#define PIECE(n)                                                                                   \
    if (bytes & (n)) {                                                                             \
        memcpy(t, f, n);                                                                           \
        t += (n), f += (n);                                                                        \
    }
#if MZ_VEC_BYTES > 32
    PIECE(32)
#endif
#if MZ_VEC_BYTES > 16
    PIECE(16)
#endif
    PIECE(8)
    PIECE(4)
    PIECE(2)
#undef PIECE
}

/* The first n lanes (n < VF_LANES), zero in the others; touches no byte beyond. */
MZ_INLINE vf vf_load_n(const float *p, int64_t n)
{
    vf v = {0};
    copy_few(&v, p, n * (int64_t)sizeof *p);
    return v;
}

MZ_INLINE void vf_store_n(float *p, vf v, int64_t n)
{
    copy_few(p, &v, n * (int64_t)sizeof *p);
}

/* a*b + c: rounded once where the set has a fused instruction, twice where not. */
MZ_INLINE vf vf_fma(vf a, vf b, vf c)
{
#if defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

MZ_INLINE vu vu_of(vf v) /* the bits */
{
    return (vu)v;
}

/* Where mask is all ones a, where it is 0 b; mask comes from a comparison. */
MZ_INLINE vf vf_pick(vi mask, vf a, vf b)
{
    return (vf)(((vu)mask & (vu)a) | (~(vu)mask & (vu)b));
}

typedef float vf_four __attribute__((vector_size(16))); /* the part that every set has */

/* Lane sum in one fixed order: halves, quarters ... */
MZ_INLINE float vf_sum(vf v)
{
    vf_four x[VF_LANES / 4];
    memcpy(x, &v, sizeof v);
#pragma GCC unroll 4
    for (int step = VF_LANES / 8; step > 0; step /= 2)
#pragma GCC unroll 4
        for (int i = 0; i < step; i++) x[i] += x[i + step];
    return (x[0][0] + x[0][2]) + (x[0][1] + x[0][3]);
}

/* ---- bf16 ---- */

MZ_INLINE vf vf_from_bf16(vh h)
{
#if defined(__AVX2__) &&                                                                           \
    !defined(__AVX512F__) /* gcc 12 makes five instructions of the line below */
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)h), 16);
#else
    return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}

MZ_INLINE vf vf_load_bf16(const uint16_t *p)
{
    vh h;
    memcpy(&h, p, sizeof h);
    return vf_from_bf16(h);
}

MZ_INLINE vf vf_load_bf16_n(const uint16_t *p, int64_t n)
{
    vh h = {0};
    copy_few(&h, p, n * (int64_t)sizeof *p);
    return vf_from_bf16(h);
}

/* Round to nearest, ties to even; a NaN stays a (quiet) NaN. */
MZ_INLINE vh vf_to_bf16(vf v)
{
#if MZ_VEC_BYTES == 32 /* half the instructions of what gcc 12 makes of the lines below */
    const __m256i bits = (__m256i)v, high = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff));
    const __m256i near = _mm256_srli_epi32(_mm256_add_epi32(up, odd), 16);
    const __m256i nan = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    const __m256 is_nan = _mm256_cmp_ps((__m256)v, (__m256)v, _CMP_UNORD_Q);
    const __m256i all = _mm256_blendv_epi8(near, nan, (__m256i)is_nan);
    return (vh)_mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
#else
    const vu u = (vu)v;
    const vu rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const vu quiet = (u >> 16) | 0x40u;
    const vu is_nan = (vu)((u & 0x7fffffffu) > 0x7f800000u);
    return __builtin_convertvector((is_nan & quiet) | (~is_nan & rounded), vh);
#endif
}

MZ_INLINE void vf_store_bf16(uint16_t *p, vf v)
{
    const vh h = vf_to_bf16(v);
    memcpy(p, &h, sizeof h);
}

MZ_INLINE void vf_store_bf16_n(uint16_t *p, vf v, int64_t n)
{
    const vh h = vf_to_bf16(v);
    copy_few(p, &h, n * (int64_t)sizeof *p);
}

#endif
