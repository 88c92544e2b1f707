/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/flash_kernels.h - the kernels of attention, per instruction set (flash.isa.c).
 *
 * A block of query rows meets tiles of keys one after the other and keeps a running maximum, sum
 * and output, so no [T,T] matrix ever exists. Vectors run along the QUERY rows: scores are computed
 * transposed, [key][row], which needs no horizontal sum, lets keys and values stay in their natural
 * layout (they are broadcast), and transposes only what belongs to the block, once.
 * Source: Dao et al. 2022, arXiv:2205.14135; Milakov & Gimelshein 2018, arXiv:1805.02867.
 * Floor:  chips. */
#ifndef MZ_CHIPS_CPU_FLASH_KERNELS_H
#define MZ_CHIPS_CPU_FLASH_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MZ_FLASH_ROWS = 64, /* query rows of a block */
    MZ_FLASH_KEYS = 96, /* keys of a tile */
    MZ_FLASH_FEW = 4,   /* so few rows are treated one by one, not in panels (forward only) */
    MZ_FLASH_PAD = 16   /* rows of f32 copies are padded to a multiple of it with zeros */
};

/* Floats of one row of a padded f32 copy. */
static inline int64_t mz_flash_padded(int64_t n)
{
    return (n + MZ_FLASH_PAD - 1) / MZ_FLASH_PAD * MZ_FLASH_PAD;
}

/* Floats from one row to the next in the copy of a tile: an odd number of cache lines, so that a
 * column of it spreads over all sets of a cache. */
static inline int64_t mz_flash_stride(int64_t n)
{
    return (mz_flash_padded(n) / MZ_FLASH_PAD | 1) * MZ_FLASH_PAD;
}

/* A block. Panels are what one pass of a kernel works on: NR rows (a width of the instruction set's
 * own that divides MZ_FLASH_ROWS), stored [panel][index][NR]. */
typedef struct mz_cpu_flash {
    int64_t K, W, rows; /* 1 <= rows <= MZ_FLASH_ROWS */
    float scale;
    bool bf16;                    /* storage of q, k, v, out, dout */
    const void *q[MZ_FLASH_ROWS]; /* [K] each */
    int64_t limit[MZ_FLASH_ROWS]; /* row i sees the keys j < limit[i]; never descending */
    float *qt;                    /* [K][ROWS] panels of q */
    float *s;                     /* [KEYS + PAD][ROWS] panels: scores, then weights */
    float *k, *v; /* [KEYS][stride of K], [KEYS][stride of W]: f32 copies of a tile */
    /* forward: what was seen so far */
    float *ot;    /* [W][ROWS] panels, not yet divided by l */
    float *m, *l; /* [ROWS] running maximum and sum */
    /* What rounding took from each row of a bf16 `out`, as bf16 [W]: finish writes it, back_start
     * reads it, since delta = dout . out must not be off by the rounding. NULL: none. */
    void *rest[MZ_FLASH_ROWS];
    /* backward */
    const void *dout[MZ_FLASH_ROWS], *out[MZ_FLASH_ROWS]; /* [W] each */
    float *dot;                                           /* [W][ROWS] panels of dout */
    float *ds;                                            /* like s: d loss / d (q.k) */
    float *dqt;                                           /* [K][ROWS] panels, sum so far */
    float *q_rows, *dout_rows; /* [ROWS][padded K], [ROWS][padded W] f32 copies */
    float *lse, *delta;        /* [ROWS] log-sum-exp (in); dout . out */
} mz_cpu_flash;

/* Floats of ot that hold what a block has seen. */
static inline int64_t mz_flash_ot_floats(const mz_cpu_flash *f)
{
    return f->rows <= MZ_FLASH_FEW ? f->rows * mz_flash_padded(f->W) : MZ_FLASH_ROWS * f->W;
}

/* Keys first .. first+n-1 of the sequence; k and v point at each row. */
typedef struct mz_cpu_keys {
    int64_t first, n; /* n <= MZ_FLASH_KEYS */
    const void *k[MZ_FLASH_KEYS], *v[MZ_FLASH_KEYS];
} mz_cpu_keys;

typedef struct mz_cpu_flash_table {
    void (*start)(mz_cpu_flash *f); /* reads q, forgets all keys */
    void (*tile)(mz_cpu_flash *f, const mz_cpu_keys *keys);
    /* f becomes what it would be had it also seen the keys of another block of the same rows */
    void (*merge)(mz_cpu_flash *f, const float *ot, const float *m, const float *l);
    /* out[i] [W] of each row; lse [rows] or NULL */
    void (*finish)(const mz_cpu_flash *f, void *const *out, float *lse);

    void (*back_start)(mz_cpu_flash *f); /* reads q, out, dout; zeroes dqt */
    /* weights into s, their gradients into ds */
    void (*back_tile)(mz_cpu_flash *f, const mz_cpu_keys *keys);
    /* after back_tile: dk [n][padded K] and dv [n][padded W] += this block's share; or dqt += */
    void (*back_keys)(const mz_cpu_flash *f, const mz_cpu_keys *keys, float *dk, float *dv);
    void (*back_rows)(mz_cpu_flash *f, const mz_cpu_keys *keys);
    void (*back_finish)(const mz_cpu_flash *f, void *const *dq);
} mz_cpu_flash_table;

#endif
