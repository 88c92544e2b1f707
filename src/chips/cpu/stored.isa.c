/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/stored.isa.c - kernels of products with stored weights, compiled once per instruction
 * set. See stored_kernels.h; layouts of the blocks: tensor/quant.c. Floor: chips. */
#include "chips/cpu/kernels.h"

#include "base/num.h"
#include "chips/cpu/vec.h"

enum {
    GROUP = MZ_CPU_STORED_GROUP,
    VECS = GROUP / VF_LANES, /* of a group */
    COLS = MZ_CPU_STORED_COLS,
    KC = MZ_CPU_STORED_K,
#if defined(__AVX512F__) || defined(__aarch64__)
    TILE_ROWS = 4 /* TILE_ROWS * COLS sums and COLS vectors of weights fit the registers */
#else
    TILE_ROWS = 3
#endif
};

typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef uint8_t vb __attribute__((vector_size(VF_LANES)));
typedef int8_t vsb __attribute__((vector_size(VF_LANES)));

/* ---- small pieces ---- */

MZ_INLINE float half_at(const unsigned char *p)
{
    const uint16_t h = (uint16_t)(p[0] | p[1] << 8);
#if defined(__F16C__)
    return _cvtsh_ss(h);
#elif defined(__aarch64__)
    __fp16 x;
    memcpy(&x, &h, sizeof x);
    return x;
#else
    return mz_f16_to_f32(h);
#endif
}

MZ_INLINE vf from_u8(const unsigned char *p)
{
#if defined(__AVX512F__)
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)p)));
#elif defined(__AVX2__)
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadu_si64(p)));
#else
    vb b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(__builtin_convertvector(b, vi), vf);
#endif
}

MZ_INLINE vf from_i8(const unsigned char *p)
{
#if defined(__AVX512F__)
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i_u *)p)));
#elif defined(__AVX2__)
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadu_si64(p)));
#else
    vsb b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(__builtin_convertvector(b, vi), vf);
#endif
}

MZ_INLINE vf from_f16(const unsigned char *p)
{
#if defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)p));
#elif defined(__F16C__)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p));
#else
    float x[VF_LANES];
    for (int i = 0; i < VF_LANES; i++) x[i] = half_at(p + 2 * i);
    return vf_load(x);
#endif
}

#if defined(__AVX2__)
/* The sums of two halves. */
MZ_INLINE __m128 half_sum(vf v)
{
#if defined(__AVX512F__)
    const __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
#else
    const __m256 eight = (__m256)v;
#endif
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}
#endif

/* out [4] = (or += if `add`) the sum of each vector's lanes: halves, quarters ... as vf_sum has it.
 */
MZ_INLINE void put_sums(float *out, const vf v[COLS], bool add)
{
#if defined(__AVX2__)
    const __m128 a = half_sum(v[0]), b = half_sum(v[1]), c = half_sum(v[2]), d = half_sum(v[3]);
    const __m128 ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
    const __m128 cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    const __m128 even = _mm_shuffle_ps(ab, cd, _MM_SHUFFLE(2, 0, 2, 0));
    const __m128 odd = _mm_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 1, 3, 1));
    const __m128 before = add ? _mm_loadu_ps(out) : _mm_setzero_ps();
    _mm_storeu_ps(out, _mm_add_ps(before, _mm_add_ps(even, odd)));
#else
    for (int j = 0; j < COLS; j++) out[j] = (add ? out[j] : 0.0f) + vf_sum(v[j]);
#endif
}

/* To the next bf16, as a float. */
MZ_INLINE vf rounded(vf v)
{
#if defined(__AVX2__) &&                                                                           \
    !defined(__AVX512F__) /* what the line below says, and no detour by halves */
    const vu u = (vu)v, even = u + 0x7fffu + ((u >> 16) & 1u);
    const __m256 is_nan = _mm256_cmp_ps((__m256)v, (__m256)v, _CMP_UNORD_Q);
    return (vf)((vu)_mm256_blendv_ps((__m256)even, (__m256)(u | 0x400000u), is_nan) & 0xffff0000u);
#else
    return vf_from_bf16(vf_to_bf16(v));
#endif
}

MZ_INLINE u8x16 load_16(const unsigned char *p)
{
    u8x16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* A group's integers, on their way from bits to floats. */
typedef struct bytes32 {
    unsigned char at[GROUP];
} bytes32;

MZ_INLINE void put_16(bytes32 *b, int half, u8x16 v)
{
    memcpy(b->at + 16 * half, &v, sizeof v);
}

/* Each byte shifted by n < 8: no set shifts bytes, so words are, and what came from a neighbour is
 * cut off. */
MZ_INLINE u8x16 bytes_down(u8x16 v, int n)
{
    typedef uint16_t u16x8 __attribute__((vector_size(16)));
    return (u8x16)((u16x8)v >> (uint16_t)n) & (uint8_t)(0xff >> n);
}

/* 16 where the bit of an element is set: bit j of the 16 belongs to byte j. */
MZ_INLINE u8x16 fifth_of(const unsigned char *bits)
{
    uint64_t word[2];
    u8x16 v;
    for (int i = 0; i < 2; i++) word[i] = bits[i] * 0x0101010101010101u & 0x8040201008040201u;
    memcpy(&v, word, sizeof v);
    return (u8x16)(v != 0) & 16;
}

/* Scale and minimum of sub-block j of Q4_K and Q5_K, 6 bits each. */
MZ_INLINE void six_bits(const unsigned char *s, int j, int *scale, int *least)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *least = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *least = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
}

/* A part's rows lie one behind the other, but are walked four at a time, in pieces too short for
 * the processor to see four streams: it is told what comes. */
enum { AHEAD_OF_USE = 4096 };
#define AHEAD(row, byte)                                                                           \
    __builtin_prefetch((const void *)((uintptr_t)(row) + (uintptr_t)((byte) + AHEAD_OF_USE)))

/* ---- one group of each format: elements k .. k+31 of a row, k a multiple of 32 ---- */

MZ_INLINE void scaled(vf out[VECS], const unsigned char *signed_bytes, float d)
{
    const vf dv = vf_set(d);
    MZ_UNROLL for (int i = 0; i < VECS; i++) out[i] = from_i8(signed_bytes + i * VF_LANES) * dv;
}

MZ_INLINE void scaled_plus(vf out[VECS], const unsigned char *bytes, float d, float m)
{
    const vf dv = vf_set(d), mv = vf_set(m);
    MZ_UNROLL for (int i = 0; i < VECS; i++) out[i] = vf_fma(from_u8(bytes + i * VF_LANES), dv, mv);
}

#if defined(__AVX512F__)
#include "chips/cpu/stored_lookup.h"
#elif defined(__AVX2__)
#include "chips/cpu/stored_eight.h"
#else
MZ_INLINE void group_q8_0(vf out[VECS], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 34;
    scaled(out, b + 2, half_at(b));
}

MZ_INLINE void group_q4_0(vf out[VECS], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 18;
    const u8x16 q = load_16(b + 2);
    bytes32 n;
    put_16(&n, 0, (q & 15) - 8);
    put_16(&n, 1, (q >> 4) - 8);
    scaled(out, n.at, half_at(b));
}

MZ_INLINE void group_q4_1(vf out[VECS], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 20;
    const u8x16 q = load_16(b + 4);
    bytes32 n;
    put_16(&n, 0, q & 15);
    put_16(&n, 1, q >> 4);
    scaled_plus(out, n.at, half_at(b), half_at(b + 2));
}

MZ_INLINE void group_q5_0(vf out[VECS], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 22;
    const u8x16 q = load_16(b + 6);
    bytes32 n;
    put_16(&n, 0, ((q & 15) | fifth_of(b + 2)) - 16);
    put_16(&n, 1, ((q >> 4) | fifth_of(b + 4)) - 16);
    scaled(out, n.at, half_at(b));
}

MZ_INLINE void group_q5_1(vf out[VECS], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 32 * 24;
    const u8x16 q = load_16(b + 8);
    bytes32 n;
    put_16(&n, 0, (q & 15) | fifth_of(b + 4));
    put_16(&n, 1, (q >> 4) | fifth_of(b + 6));
    scaled_plus(out, n.at, half_at(b), half_at(b + 2));
}
#endif

#if !defined(__AVX512F__)
/* Q4_K, and Q5_K with `fifth`: bit j of byte l belongs to element l of sub-block j. */
MZ_INLINE void group_k(vf out[VECS], const unsigned char *b, int j, const unsigned char *q,
                       const unsigned char *fifth)
{
    int scale, least;
    bytes32 n;
    six_bits(b + 4, j, &scale, &least);
    MZ_UNROLL for (int i = 0; i < 2; i++)
    {
        const u8x16 both = load_16(q + j / 2 * 32 + 16 * i);
        u8x16 v = j % 2 ? both >> 4 : both & 15;
        if (fifth) v |= (bytes_down(load_16(fifth + 16 * i), j) & 1) << 4;
        put_16(&n, i, v);
    }
    scaled_plus(out, n.at, half_at(b) * (float)scale, -(half_at(b + 2) * (float)least));
}

MZ_INLINE void group_q4_k(vf out[VECS], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 256 * 144;
    group_k(out, b, (int)((uint64_t)k / 32 % 8), b + 16, NULL);
}

MZ_INLINE void group_q5_k(vf out[VECS], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 256 * 176;
    group_k(out, b, (int)((uint64_t)k / 32 % 8), b + 48, b + 16);
}
#endif

MZ_INLINE void group_q6_k(vf out[VECS], const unsigned char *row, int64_t k)
{
    const unsigned char *b = row + (uint64_t)k / 256 * 210;
    const int j = (int)((uint64_t)k / 32 % 8), half = j / 4, part = j % 4;
    const unsigned char *low = b + 64 * half + 32 * (part % 2), *high = b + 128 + 32 * half;
    const unsigned char *scale = b + 192 + 8 * half + 2 * part;
    const float d = half_at(b + 208);
    bytes32 n;
    MZ_UNROLL for (int i = 0; i < 2; i++)
    {
        const u8x16 four = part < 2 ? load_16(low + 16 * i) & 15 : load_16(low + 16 * i) >> 4;
        const u8x16 two = bytes_down(load_16(high + 16 * i), 2 * part) & 3;
        put_16(&n, i, (four | two << 4) - 32);
    }
    const vf d_of[2] = {vf_set(d * (float)(signed char)scale[0]),
                        vf_set(d * (float)(signed char)scale[1])};
    MZ_UNROLL for (int i = 0; i < VECS; i++) out[i] =
        from_i8(n.at + i * VF_LANES) * d_of[i * VF_LANES / 16];
}

MZ_INLINE void group_f16(vf out[VECS], const unsigned char *row, int64_t k)
{
    MZ_UNROLL for (int i = 0; i < VECS; i++) out[i] = from_f16(row + 2 * (k + i * VF_LANES));
}

MZ_INLINE void group_bf16(vf out[VECS], const unsigned char *row, int64_t k)
{
    vh h[VECS];
    memcpy(h, row + 2 * k, sizeof h);
    MZ_UNROLL for (int i = 0; i < VECS; i++) out[i] = vf_from_bf16(h[i]);
}

MZ_INLINE void group_f32(vf out[VECS], const unsigned char *row, int64_t k)
{
    memcpy(out, row + 4 * k, GROUP * sizeof(float));
}

/* ---- kernels on them ---- */

/* A last group of less than 32 plain numbers, with zeros behind them. */
#define GROUP_OF(name, bytes)                                                                      \
    MZ_INLINE void take_##name(vf out[VECS], const unsigned char *row, int64_t k, int64_t n)       \
    {                                                                                              \
        unsigned char some[GROUP * (bytes) + 1] = {0};                                             \
        if ((bytes) == 0 || n >= GROUP) {                                                          \
            group_##name(out, row, k);                                                             \
            return;                                                                                \
        }                                                                                          \
        memcpy(some, row + k * (bytes), (size_t)n * (bytes));                                      \
        group_##name(out, some, 0);                                                                \
    }

/* bytes: of an element; 0 for blocks, whose groups are all whole */
#define EXPAND(name, bytes)                                                                        \
    GROUP_OF(name, bytes)                                                                          \
    static void expand_##name(float *out, const unsigned char *row, int64_t k0, int64_t n)         \
    {                                                                                              \
        for (int64_t k = 0; k < n; k += GROUP) {                                                   \
            vf w[VECS];                                                                            \
            take_##name(w, row, k0 + k, n - k);                                                    \
            MZ_UNROLL for (int i = 0; i < VECS; i++) vf_store(out + k + i * VF_LANES, w[i]);       \
        }                                                                                          \
    }

/* bits: of an element; rounds: numbers to bf16 */
#define DOT(name, bits, kernel, rounds)                                                            \
    static void kernel##_##name(float *sum, const unsigned char *row, size_t pitch,                \
                                const float *a, int64_t k0, int64_t n)                             \
    {                                                                                              \
        vf acc[COLS];                                                                              \
        MZ_UNROLL for (int j = 0; j < COLS; j++) acc[j] = (vf){0};                                 \
        for (int64_t k = 0; k < n; k += GROUP) {                                                   \
            MZ_UNROLL for (int j = 0; j < COLS; j++)                                               \
            {                                                                                      \
                vf w[VECS];                                                                        \
                const unsigned char *at = row + (size_t)j * pitch;                                 \
                take_##name(w, at, k0 + k, n - k);                                                 \
                AHEAD(at, (k0 + k) * (bits) / 8);                                                  \
                MZ_UNROLL for (int i = 0; (rounds) && i < VECS; i++) w[i] = rounded(w[i]);         \
                MZ_UNROLL for (int i = 0; i < VECS; i++) acc[j] =                                  \
                    vf_fma(vf_load(a + k + i * VF_LANES), w[i], acc[j]);                           \
            }                                                                                      \
        }                                                                                          \
        put_sums(sum, acc, k0 > 0);                                                                \
    }

EXPAND(q4_0, 0)
EXPAND(q4_1, 0)
EXPAND(q5_0, 0)
EXPAND(q5_1, 0)
EXPAND(q8_0, 0)
EXPAND(q4_k, 0)
EXPAND(q5_k, 0)
EXPAND(q6_k, 0)
EXPAND(f16, 2)
EXPAND(bf16, 2)
EXPAND(f32, 4)

#if defined(__AVX512F__)
#define DOTS(name, bits) DOT(name, bits, dot, false)
#else
#define DOTS(name, bits) DOT(name, bits, dot, false) DOT(name, bits, dot_rounded, true)
#endif
#if !defined(__AVX2__)
DOTS(q4_0, 5)
DOTS(q4_1, 5)
DOTS(q5_0, 6)
DOTS(q5_1, 6)
DOTS(q8_0, 8)
#endif
DOTS(q4_k, 5)
DOTS(q5_k, 6)
DOTS(q6_k, 7)
DOTS(f16, 16)
DOT(bf16, 16, dot, false)
DOTS(f32, 32)

/* rows <= TILE_ROWS, known when this is inlined; the order of every sum is that of dot */
MZ_INLINE void tile_rows(const int rows, const mz_cpu_stored_tile *t, int64_t first)
{
    const float *a = t->a + first * t->a_pitch;
    float *sum = t->sum + first * t->ld;
    vf acc[TILE_ROWS][COLS];
    MZ_UNROLL for (int i = 0; i < rows; i++)
    {
        MZ_UNROLL for (int j = 0; j < COLS; j++) acc[i][j] = (vf){0};
    }
    for (int64_t k = 0; k < t->n; k += VF_LANES) {
        vf w[COLS];
        MZ_UNROLL for (int j = 0; j < COLS; j++) w[j] = vf_load(t->panel + j * KC + k);
        MZ_UNROLL for (int i = 0; i < rows; i++)
        {
            const vf av = vf_load(a + i * t->a_pitch + k);
            MZ_UNROLL for (int j = 0; j < COLS; j++) acc[i][j] = vf_fma(av, w[j], acc[i][j]);
        }
    }
    MZ_UNROLL for (int i = 0; i < rows; i++) put_sums(sum + i * t->ld, acc[i], t->add);
}

static void tile(const mz_cpu_stored_tile *t)
{
    int64_t i = 0;
    for (; i + TILE_ROWS <= t->m; i += TILE_ROWS) tile_rows(TILE_ROWS, t, i);
    for (; i + 2 <= t->m; i += 2) tile_rows(2, t, i);
    if (i < t->m) tile_rows(1, t, i);
}

static void to_bf16(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += VF_LANES) vf_store(x + i, rounded(vf_load(x + i)));
}

#if defined(__AVX512BF16__)
#include "chips/cpu/stored_pairs.h"
#define PAIRS pairs
#define ENTRY(name)                                                                                \
    {                                                                                              \
        .expand = expand_##name, .dot = dot_##name, .round = round_##name,                         \
        .dot_round = dot_round_##name                                                              \
    }
#elif defined(__AVX512F__)
#define PAIRS NULL
#define ENTRY(name)                                                                                \
    {                                                                                              \
        .expand = expand_##name, .dot = dot_##name                                                 \
    }
#else
#define PAIRS NULL
#define ENTRY(name)                                                                                \
    {                                                                                              \
        .expand = expand_##name, .dot = dot_##name, .dot_rounded = dot_rounded_##name              \
    }
#endif

const mz_cpu_stored_table MZ_CPU_TABLE(mz_cpu_stored) = {
    .kernel = {[MZ_QUANT_Q4_0] = ENTRY(q4_0),
               [MZ_QUANT_Q4_1] = ENTRY(q4_1),
               [MZ_QUANT_Q5_0] = ENTRY(q5_0),
               [MZ_QUANT_Q5_1] = ENTRY(q5_1),
               [MZ_QUANT_Q8_0] = ENTRY(q8_0),
               [MZ_QUANT_Q4_K] = ENTRY(q4_k),
               [MZ_QUANT_Q5_K] = ENTRY(q5_k),
               [MZ_QUANT_Q6_K] = ENTRY(q6_k),
               [MZ_CPU_KIND_F16] = ENTRY(f16),
               [MZ_CPU_KIND_BF16] = {.expand = expand_bf16, .dot = dot_bf16},
               [MZ_CPU_KIND_F32] = ENTRY(f32)},
    .tile = tile,
    .to_bf16 = to_bf16,
    .pairs = PAIRS,
#if (defined(__AVX512BF16__) && !defined(__AMX_BF16__)) ||                                         \
    (defined(__AVX2__) && !defined(__AVX512F__))
    .plain_first = true,
#endif
};
