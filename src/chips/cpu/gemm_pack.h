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

MZ_INLINE u32x4 bits4_at(const void *in, int64_t at, bool is_bf16)
{
    u32x4 v;
    if (is_bf16) {
        typedef uint16_t u16x4 __attribute__((vector_size(8)));
        u16x4 h;
        memcpy(&h, (const uint16_t *)in + at, sizeof h);
        v = __builtin_convertvector(h, u32x4) << 16;
    } else {
        memcpy(&v, (const float *)in + at, sizeof v);
    }
    return v;
}

/* out[c*ld + r] = in[r*pitch + c] for r < rows, c < cols */
MZ_INLINE void transpose32(uint32_t *out, int64_t ld, const void *in, int64_t pitch, int64_t rows,
                           int64_t cols, const bool is_bf16)
{
    const int64_t r4 = rows / 4 * 4, c4 = cols / 4 * 4;
    for (int64_t r = 0; r < r4; r += 4) {
        for (int64_t c = 0; c < c4; c += 4) {
            const int64_t at = r * pitch + c;
            const u32x4 x0 = bits4_at(in, at, is_bf16), x1 = bits4_at(in, at + pitch, is_bf16);
            const u32x4 x2 = bits4_at(in, at + 2 * pitch, is_bf16);
            const u32x4 x3 = bits4_at(in, at + 3 * pitch, is_bf16);
            const u32x4 y0 = U32X4_ZIP(x0, x2, 0), y1 = U32X4_ZIP(x0, x2, 2);
            const u32x4 y2 = U32X4_ZIP(x1, x3, 0), y3 = U32X4_ZIP(x1, x3, 2);
            const u32x4 z[4] = {U32X4_ZIP(y0, y2, 0), U32X4_ZIP(y0, y2, 2), U32X4_ZIP(y1, y3, 0),
                                U32X4_ZIP(y1, y3, 2)};
            for (int i = 0; i < 4; i++) memcpy(out + (c + i) * ld + r, &z[i], sizeof z[i]);
        }
        for (int64_t c = c4; c < cols; c++)
            for (int64_t i = r; i < r + 4; i++)
                out[c * ld + i] = bits_at(in, i * pitch + c, is_bf16);
    }
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = r4; r < rows; r++) out[c * ld + r] = bits_at(in, r * pitch + c, is_bf16);
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
    else
        transpose32((uint32_t *)(void *)a, kc, src.data, src.col, k, m, is_bf16);
}

MZ_INLINE void pack_b_32(float *b, const int64_t nr, mz_cpu_mat src, int64_t k, int64_t n,
                         const bool is_bf16)
{
    if (n < nr) memset(b, 0, (size_t)(k * nr) * sizeof *b);
    if (src.col != 1)
        transpose32((uint32_t *)(void *)b, nr, src.data, src.col, n, k, is_bf16);
    else if (n == nr) /* a constant length copies in a few instructions */
        for (int64_t p = 0; p < k; p++) copy_row(b + p * nr, mat_at(src, p, 0), nr, is_bf16);
    else
        for (int64_t p = 0; p < k; p++) copy_row(b + p * nr, mat_at(src, p, 0), n, is_bf16);
}

/* ---- bf16 pairs ---- */

/* out[c*ld + r] = in[r*pitch + c] for r < rows, c < cols */
MZ_INLINE void transpose16(uint16_t *out, int64_t ld, const uint16_t *in, int64_t pitch,
                           int64_t rows, int64_t cols)
{
    const int64_t r8 = rows / 8 * 8, c8 = cols / 8 * 8;
    for (int64_t r = 0; r < r8; r += 8) {
        for (int64_t c = 0; c < c8; c += 8) {
            u16x8 x[8], y[8];
            for (int i = 0; i < 8; i++) memcpy(&x[i], in + (r + i) * pitch + c, sizeof x[i]);
            for (int round = 0; round < 3; round++) { /* each brings row i beside row i+4 */
                for (int i = 0; i < 4; i++) {
                    y[2 * i] = U16X8_ZIP(x[i], x[i + 4], 0);
                    y[2 * i + 1] = U16X8_ZIP(x[i], x[i + 4], 4);
                }
                memcpy(x, y, sizeof x);
            }
            for (int i = 0; i < 8; i++) memcpy(out + (c + i) * ld + r, &x[i], sizeof x[i]);
        }
        for (int64_t c = c8; c < cols; c++)
            for (int64_t i = r; i < r + 8; i++) out[c * ld + i] = in[i * pitch + c];
    }
    for (int64_t c = 0; c < cols; c++)
        for (int64_t r = r8; r < rows; r++) out[c * ld + r] = in[r * pitch + c];
}

MZ_INLINE void pack_a_16(uint16_t *a, const int64_t kc, const int64_t k_unit, mz_cpu_mat src,
                         int64_t m, int64_t k)
{
    const int64_t k_full = (k + k_unit - 1) / k_unit * k_unit;
    if (src.col == 1)
        for (int64_t i = 0; i < m; i++)
            memcpy(a + i * kc, mat_at(src, i, 0), (size_t)k * sizeof *a);
    else
        transpose16(a, kc, src.data, src.col, k, m);
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

MZ_INLINE void pack_b_16(uint16_t *b, const int64_t nr, const int64_t k_unit, mz_cpu_mat src,
                         int64_t k, int64_t n)
{
    const int64_t k2 = k / 2 * 2, k_full = (k + k_unit - 1) / k_unit * k_unit;
    const uint16_t *in = src.data;
    if (n < nr) memset(b, 0, (size_t)(k_full * nr) * sizeof *b);
    if (src.col == 1) {
        for (int64_t p = 0; p < k2; p += 2)
            zip_rows(b + p * nr, in + p * src.row, in + (p + 1) * src.row, n);
        if (k2 < k) zip_rows(b + k2 * nr, in + k2 * src.row, NULL, n);
    } else { /* a pair lies in one 32-bit word already; odd pitches make words unaligned */
        for (int64_t j = 0; j < n; j++)
            for (int64_t p = 0; p < k2; p += 2)
                memcpy(b + p * nr + 2 * j, in + j * src.col + p, 2 * sizeof *b);
        for (int64_t j = 0; k2 < k && j < n; j++) {
            b[k2 * nr + 2 * j] = in[j * src.col + k2];
            b[k2 * nr + 2 * j + 1] = 0;
        }
    }
    const int64_t k_done = (k + 1) / 2 * 2;
    if (k_done < k_full) memset(b + k_done * nr, 0, (size_t)((k_full - k_done) * nr) * sizeof *b);
}

#endif
