/* SPDX-License-Identifier: Apache-2.0 */
/* base/rng.h - counter-based random numbers: the same on every chip and in any order.
 *
 * Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"
 * (Philox4x32-10). Floor:  base.   Repeat: bitwise, everywhere. */
#ifndef MZ_BASE_RNG_H
#define MZ_BASE_RNG_H

#include <stdint.h>

/* Four 32-bit words that depend only on the three arguments. */
void mz_philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo, uint32_t out[4]);

/* A cursor over one stream, for code that wants one number after the other. */
typedef struct mz_rng {
    uint64_t seed, stream, counter;
    uint32_t word[4];
    int left;
} mz_rng;
void mz_rng_init(mz_rng *r, uint64_t seed, uint64_t stream);
uint32_t mz_rng_u32(mz_rng *r);
uint64_t mz_rng_below(mz_rng *r, uint64_t n); /* uniform in 0..n-1, n > 0, without bias */
double mz_rng_uniform(mz_rng *r);             /* [0,1), 53 bits */
double mz_rng_normal(mz_rng *r);              /* mean 0, deviation 1 (Box-Muller) */
/* What mz_rng_normal gives from its call number `first` on, n of them; a stream that is new has
 * first 0. So parts of a stream can be drawn at the same time. */
void mz_normals(uint64_t seed, uint64_t stream, uint64_t first, double *out, int64_t n);

/* Uniform in [0,1) from one word, the mapping that every chip's sampler uses: (w >> 8) * 2^-24. */
static inline float mz_u32_to_unit(uint32_t w)
{
    return (float)(w >> 8) * 0x1p-24f;
}

#endif
