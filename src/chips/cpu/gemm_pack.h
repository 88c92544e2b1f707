/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/gemm_pack.h - brings blocks of matrices into the order in which the kernels read them.
 *
 * Either the wanted rows are contiguous in memory already (copy, widening bf16 on the way), or the
 * wanted columns are: then 4x4 blocks of 32-bit or 8x8 blocks of 16-bit elements are transposed in
 * registers. Only for files that are compiled per instruction set.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_GEMM_PACK_H
#define MZ_CHIPS_CPU_GEMM_PACK_H

#include "base/num.h"
#include "chips/cpu/gemm_kernels.h"
#include "chips/cpu/vec.h"

typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));

#if defined(__clang__)
#define U32X4_ZIP(a, b, lo) __builtin_shufflevector(a, b, lo, lo + 4, lo + 1, lo + 5)
#define U16X8_ZIP(a, b, lo)                                                                        \
    __builtin_shufflevector(a, b, lo, lo + 8, lo + 1, lo + 9, lo + 2, lo + 10, lo + 3, lo + 11)
#else
#define U32X4_ZIP(a, b, lo) __builtin_shuffle(a, b, (u32x4){lo, lo + 4, lo + 1, lo + 5})
#define U16X8_ZIP(a, b, lo)                                                                        \
    __builtin_shuffle(a, b, (u16x8){lo, lo + 8, lo + 1, lo + 9, lo + 2, lo + 10, lo + 3, lo + 11})
#endif

/* Element `at` of f32 or bf16 memory, as the bits of an f32. */
MZ_INLINE uint32_t bits_at(const void *in, int64_t at, bool is_bf16)
{
    if (is_bf16) return (uint32_t)((const uint16_t *)in)[at] << 16;
    return mz_f32_bits(((const float *)in)[at]);
}

/* Rows are walked in pieces too short for the processor to see a stream, so say what comes. Callers
 * ask for each line once. */
enum { AHEAD_BYTES = 1024 };

MZ_INLINE void prefetch(const void *in, int64_t offset_bytes)
{
    __builtin_prefetch((const void *)((uintptr_t)in + (uintptr_t)(offset_bytes + AHEAD_BYTES)));
}

/* Transposes 4x4 words. */
MZ_INLINE void turn_words(u32x4 x[4])
{
    u32x4 y[4];
    MZ_UNROLL for (int i = 0; i < 2; i++)
    {
        y[2 * i] = U32X4_ZIP(x[i], x[i + 2], 0);
        y[2 * i + 1] = U32X4_ZIP(x[i], x[i + 2], 2);
    }
    MZ_UNROLL for (int i = 0; i < 2; i++)
    {
        x[2 * i] = U32X4_ZIP(y[i], y[i + 2], 0);
        x[2 * i + 1] = U32X4_ZIP(y[i], y[i + 2], 2);
    }
}

/* Reads 8x8 bf16 and leaves their columns in x. */
MZ_INLINE void turn_16(u16x8 x[8], const uint16_t *in, int64_t pitch)
{
    u16x8 y[8];
    MZ_UNROLL for (int i = 0; i < 8; i++) memcpy(&x[i], in + i * pitch, sizeof x[i]);
    MZ_UNROLL for (int round = 0; round < 3; round++) /* each brings row i beside row i+4 */
    {
        MZ_UNROLL for (int i = 0; i < 4; i++)
        {
            y[2 * i] = U16X8_ZIP(x[i], x[i + 4], 0);
            y[2 * i + 1] = U16X8_ZIP(x[i], x[i + 4], 4);
        }
        MZ_UNROLL for (int i = 0; i < 8; i++) x[i] = y[i];
    }
}

/* A bf16 is the upper half of its f32. */
MZ_INLINE void widen_8(float *out, u16x8 x)
{
    const u16x8 zero = {0};
    const u16x8 wide[2] = {U16X8_ZIP(zero, x, 0), U16X8_ZIP(zero, x, 4)};
    memcpy(out, wide, sizeof wide);
}

/* out[c*ld + r] = in[r*pitch + c] for r < rows, c < cols, to f32 */
MZ_INLINE void transpose_f32(float *out, int64_t ld, const float *in, int64_t pitch, int64_t rows,
                             int64_t cols)
{
    const int64_t r4 = rows / 4 * 4, c4 = cols / 4 * 4;
    for (int64_t r = 0; r < r4; r += 4) {
        for (int64_t c = 0; c < c4; c += 4) {
            const float *at = in + r * pitch + c;
            prefetch(at, c / 4 % 4 * pitch * 4);
            u32x4 x[4];
            MZ_UNROLL for (int i = 0; i < 4; i++) memcpy(&x[i], at + i * pitch, sizeof x[i]);
            turn_words(x);
            MZ_UNROLL for (int i = 0; i < 4; i++)
                memcpy(out + (c + i) * ld + r, &x[i], sizeof x[i]);
        }
        for (int64_t c = c4; c < cols; c++)
            for (int64_t i = r; i < r + 4; i++) out[c * ld + i] = in[i * pitch + c];
    }
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = r4; r < rows; r++) out[c * ld + r] = in[r * pitch + c];
}

MZ_INLINE void transpose_bf16(float *out, int64_t ld, const uint16_t *in, int64_t pitch,
                              int64_t rows, int64_t cols)
{
    const int64_t r8 = rows / 8 * 8, c8 = cols / 8 * 8;
    for (int64_t r = 0; r < r8; r += 8) {
        for (int64_t c = 0; c < c8; c += 8) {
            u16x8 x[8];
            const uint16_t *at = in + r * pitch + c;
            prefetch(at, c / 8 % 4 * pitch * 2);
            prefetch(at, (c / 8 % 4 + 4) * pitch * 2);
            turn_16(x, at, pitch);
            MZ_UNROLL for (int i = 0; i < 8; i++) widen_8(out + (c + i) * ld + r, x[i]);
        }
        for (int64_t c = c8; c < cols; c++)
            for (int64_t i = r; i < r + 8; i++) out[c * ld + i] = mz_bf16_to_f32(in[i * pitch + c]);
    }
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = r8; r < rows; r++) out[c * ld + r] = mz_bf16_to_f32(in[r * pitch + c]);
}

MZ_INLINE void transpose32(float *out, int64_t ld, mz_cpu_mat in, int64_t rows, int64_t cols)
{
    if (in.is_bf16)
        transpose_bf16(out, ld, in.data, in.col, rows, cols);
    else
        transpose_f32(out, ld, in.data, in.col, rows, cols);
}

/* Transposing where a row of out is so far from the next that a whole column of in would push its
 * lines out of the first cache: strips of a line's columns, rows asked for ahead. */
enum { STRIP = 16, ROWS_AHEAD = 16 };

MZ_INLINE void prefetch_rows(const void *in, int64_t pitch_bytes, const int rows)
{
    for (int i = 0; i < rows; i++) prefetch(in, i * pitch_bytes - AHEAD_BYTES);
}

MZ_INLINE void strips_f32(float *out, int64_t ld, const float *in, int64_t pitch, int64_t rows,
                          int64_t cols)
{
    const int64_t r4 = rows / 4 * 4, c4 = cols / 4 * 4;
    for (int64_t c0 = 0; c0 < c4; c0 += STRIP) {
        const int64_t c1 = c4 - c0 < STRIP ? c4 : c0 + STRIP;
        for (int64_t r = 0; r < r4; r += 4) {
            prefetch_rows(in + (r + ROWS_AHEAD) * pitch + c0, pitch * 4, 4);
            for (int64_t c = c0; c < c1; c += 4) {
                u32x4 x[4];
                MZ_UNROLL for (int i = 0; i < 4; i++)
                    memcpy(&x[i], in + (r + i) * pitch + c, sizeof x[i]);
                turn_words(x);
                MZ_UNROLL for (int i = 0; i < 4; i++)
                    memcpy(out + (c + i) * ld + r, &x[i], sizeof x[i]);
            }
        }
    }
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = c < c4 ? r4 : 0; r < rows; r++) out[c * ld + r] = in[r * pitch + c];
}

/* bf16 to bf16, or to f32 where it `widens`. */
MZ_INLINE void strips_16(void *out, int64_t ld, const uint16_t *in, int64_t pitch, int64_t rows,
                         int64_t cols, const bool widens)
{
    const int64_t r8 = rows / 8 * 8, c8 = cols / 8 * 8;
    float *wide = out;
    uint16_t *same = out;
    for (int64_t c0 = 0; c0 < c8; c0 += STRIP) {
        const int64_t c1 = c8 - c0 < STRIP ? c8 : c0 + STRIP;
        for (int64_t r = 0; r < r8; r += 8) {
            prefetch_rows(in + (r + ROWS_AHEAD) * pitch + c0, pitch * 2, 8);
            for (int64_t c = c0; c < c1; c += 8) {
                u16x8 x[8];
                turn_16(x, in + r * pitch + c, pitch);
                MZ_UNROLL for (int i = 0; i < 8; i++)
                {
                    const int64_t at = (c + i) * ld + r;
                    if (widens)
                        widen_8(wide + at, x[i]);
                    else
                        memcpy(same + at, &x[i], sizeof x[i]);
                }
            }
        }
    }
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = c < c8 ? r8 : 0; r < rows; r++) {
            if (widens)
                wide[c * ld + r] = mz_bf16_to_f32(in[r * pitch + c]);
            else
                same[c * ld + r] = in[r * pitch + c];
        }
}

MZ_INLINE void copy_row(float *out, const void *in, int64_t n, const bool is_bf16)
{
    if (!is_bf16) {
        memcpy(out, in, (size_t)n * sizeof *out);
        return;
    }
    const uint16_t *h = in;
    int64_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES) vf_store(out + i, vf_load_bf16(h + i));
    for (; i < n; i++) out[i] = mz_bf16_to_f32(h[i]);
}

MZ_INLINE const void *mat_at(mz_cpu_mat m, int64_t i, int64_t j)
{
    const int64_t at = i * m.row + j * m.col;
    return m.is_bf16 ? (const void *)((const uint16_t *)m.data + at)
                     : (const void *)((const float *)m.data + at);
}

/* c [rows,n] = or += t [rows][pitch] */
MZ_INLINE void add_block(float *c, int64_t ldc, const float *t, int64_t pitch, int64_t rows,
                         int64_t n, bool add)
{
    for (int64_t i = 0; i < rows; i++, c += ldc, t += pitch) {
        if (!add) {
            memcpy(c, t, (size_t)n * sizeof *c);
            continue;
        }
        for (int64_t j = 0; j < n; j++) c[j] += t[j];
    }
}

/* ---- f32 ---- */

MZ_INLINE void pack_a_32(float *a, const int64_t kc, mz_cpu_mat src, int64_t m, int64_t k,
                         const bool is_bf16)
{
    if (src.col == 1)
        for (int64_t i = 0; i < m; i++) copy_row(a + i * kc, mat_at(src, i, 0), k, is_bf16);
    else if (is_bf16)
        strips_16(a, kc, src.data, src.col, k, m, true);
    else
        strips_f32(a, kc, src.data, src.col, k, m);
}

/* Columns j.. of m. */
MZ_INLINE mz_cpu_mat columns(mz_cpu_mat m, int64_t j)
{
    m.data = mat_at(m, 0, j);
    return m;
}

/* Where rows of src are contiguous, each is dealt out to all panels at once: taking one panel's few
 * columns from every row would use a page of memory for a line or two. */
MZ_INLINE void pack_b_32(float *b, const int64_t nr, int64_t pitch, mz_cpu_mat src, int64_t k,
                         int64_t n, const bool is_bf16)
{
    const int64_t whole = n / nr, rest = n % nr;
    float *last = b + whole * pitch;
    if (rest) memset(last, 0, (size_t)(k * nr) * sizeof *b);
    if (src.col != 1) {
        for (int64_t i = 0; i < whole; i++)
            transpose32(b + i * pitch, nr, columns(src, i * nr), nr, k);
        if (rest) transpose32(last, nr, columns(src, whole * nr), rest, k);
        return;
    }
    for (int64_t p = 0; p < k; p++) {
        const mz_cpu_mat row = {mat_at(src, p, 0), 0, 1, is_bf16};
        for (int64_t i = 0; i < whole; i++) /* a constant length copies in a few instructions */
            copy_row(b + i * pitch + p * nr, mat_at(row, 0, i * nr), nr, is_bf16);
        if (rest) copy_row(last + p * nr, mat_at(row, 0, whole * nr), rest, is_bf16);
    }
}

/* ---- bf16 pairs ---- */

MZ_INLINE void pack_a_16(uint16_t *a, const int64_t kc, const int64_t k_unit, mz_cpu_mat src,
                         int64_t m, int64_t k)
{
    const int64_t k_full = (k + k_unit - 1) / k_unit * k_unit;
    if (src.col == 1)
        for (int64_t i = 0; i < m; i++)
            memcpy(a + i * kc, mat_at(src, i, 0), (size_t)k * sizeof *a);
    else
        strips_16(a, kc, src.data, src.col, k, m, false);
    for (int64_t i = 0; i < m; i++)
        for (int64_t p = k; p < k_full; p++) a[i * kc + p] = 0;
}

/* Two source rows side by side: out[2j] = lo[j], out[2j+1] = hi[j]; hi may be NULL (zeros). */
MZ_INLINE void zip_rows(uint16_t *out, const uint16_t *lo, const uint16_t *hi, int64_t n)
{
    int64_t j = 0;
    for (; hi && j + 8 <= n; j += 8) {
        u16x8 x, y;
        memcpy(&x, lo + j, sizeof x);
        memcpy(&y, hi + j, sizeof y);
        const u16x8 z[2] = {U16X8_ZIP(x, y, 0), U16X8_ZIP(x, y, 4)};
        memcpy(out + 2 * j, z, sizeof z);
    }
    for (; j < n; j++) {
        out[2 * j] = lo[j];
        out[2 * j + 1] = hi ? hi[j] : 0;
    }
}

/* A pair of k lies in one 32-bit word already, so words are what is transposed; an odd pitch makes
 * them unaligned, hence memcpy. k2 is even. */
MZ_INLINE void turn_pairs(uint16_t *b, const int64_t nr, const uint16_t *in, int64_t pitch,
                          int64_t k2, int64_t n)
{
    const int64_t n4 = n / 4 * 4, k8 = k2 / 8 * 8;
    for (int64_t j = 0; j < n4; j += 4)
        for (int64_t p = 0; p < k8; p += 8) {
            u32x4 x[4];
            const uint16_t *at = in + j * pitch + p;
            prefetch(at, p / 8 % 4 * pitch * 2);
            MZ_UNROLL for (int i = 0; i < 4; i++) memcpy(&x[i], at + i * pitch, sizeof x[i]);
            turn_words(x);
            MZ_UNROLL for (int i = 0; i < 4; i++)
                memcpy(b + (p + 2 * i) * nr + 2 * j, &x[i], sizeof x[i]);
        }
    for (int64_t j = 0; j < n; j++)
        for (int64_t p = j < n4 ? k8 : 0; p < k2; p += 2)
            memcpy(b + p * nr + 2 * j, in + j * pitch + p, 2 * sizeof *b);
}

/* One panel of n columns. */
MZ_INLINE void pack_panel_16(uint16_t *b, const int64_t nr, const int64_t k_unit, mz_cpu_mat src,
                             int64_t k, int64_t n)
{
    const int64_t k2 = k / 2 * 2, k_full = (k + k_unit - 1) / k_unit * k_unit;
    const int64_t k_done = (k + 1) / 2 * 2;
    const uint16_t *in = src.data;
    if (n < nr) memset(b, 0, (size_t)(k_full * nr) * sizeof *b);
    if (src.col == 1) {
        for (int64_t p = 0; p < k2; p += 2)
            zip_rows(b + p * nr, in + p * src.row, in + (p + 1) * src.row, n);
        if (k2 < k) zip_rows(b + k2 * nr, in + k2 * src.row, NULL, n);
    } else {
        turn_pairs(b, nr, in, src.col, k2, n);
        for (int64_t j = 0; k2 < k && j < n; j++) {
            b[k2 * nr + 2 * j] = in[j * src.col + k2];
            b[k2 * nr + 2 * j + 1] = 0;
        }
    }
    if (k_done < k_full) memset(b + k_done * nr, 0, (size_t)((k_full - k_done) * nr) * sizeof *b);
}

MZ_INLINE void pack_b_16(uint16_t *b, const int64_t nr, int64_t pitch, const int64_t k_unit,
                         mz_cpu_mat src, int64_t k, int64_t n)
{
    for (int64_t j = 0; j < n; j += nr)
        pack_panel_16(b + j / nr * pitch, nr, k_unit, columns(src, j), k, n - j < nr ? n - j : nr);
}

#endif
