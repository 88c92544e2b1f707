/* SPDX-License-Identifier: Apache-2.0 */
/* base/draw.h - the arithmetic of drawing a token, fixed to the bit, so that every chip that gets
 * the same logits draws the same id, in whatever order it sums.
 *
 * Probabilities are whole numbers: e^d becomes 2^30 e^d, cut to an integer, by single-precision
 * steps that any IEEE chip repeats (multiply and add rounded one by one, never fused). Sums of
 * integers do not depend on their order. What lies 2^-30 or more below the best is 0.
 *
 * One row of V logits l, of type acc (f32 | f64; every step below is rounded to acc):
 *  1 penalty      each id that stands in the history, once: l = l > 0 ? l * acc(1/penalty)
 *                 : l * acc(penalty)     (skipped where the penalty is 1)
 *  2 greedy       NaN counts as -inf. max = the largest l. No l above -inf: the id is -1. If the
 *                 temperature is 0 or max is +inf, the id is the lowest with l = max; done.
 *  3 weight       w = mz_draw_weight((float)((l - max) * acc(1/temperature)))
 *  4 top-k        keeps the k largest l, ties to the lower id   (0, or k >= V: all)
 *  5 top-p        total = sum of kept w. In the order of 4, an id stays while the sum of the w
 *                 before it is 0 or < mz_draw_share(total, top_p)    (1: all)
 *  6 min-p        keeps w >= mz_draw_share(2^30, min_p)         (0: all)
 *  7 draw         total = sum of kept w, at = mz_draw_point(total, first word of Philox(seed, row,
 *                 counter)); the id is the first, by ascending id, where the running sum of kept w
 *                 exceeds `at`.
 * The best id has w = 2^30 and passes every filter, so total is never 0; with V < 2^32 it fits 63
 * bits.
 *
 * Floor:  base.   Repeat: bitwise, everywhere. */
#ifndef MZ_BASE_DRAW_H
#define MZ_BASE_DRAW_H

#include <stdint.h>

#define MZ_DRAW_ONE ((uint64_t)1 << 30) /* the weight of d = 0 */

/* Of poly: 2^f on [0,1] is 1 + f c1 + ... + f^6 c6, the highest power first, within 1.4 * 2^-24
 * relative, 1 at 0 and 2 at 1. */
#define MZ_DRAW_LOG2E 0x1.715476p+0f
#define MZ_DRAW_POLY                                                                               \
    {                                                                                              \
        0x1.b49554p-13f, 0x1.4cb7b0p-10f, 0x1.3c487cp-7f, 0x1.c69f98p-5f, 0x1.ebfc3ep-3f,          \
            0x1.62e430p-1f, 1.0f                                                                   \
    }

/* d <= 0. With y = d * log2(e): floor(2^30 * poly(y - floor(y))) >> -floor(y), where poly is a
 * polynomial for 2^f in Horner form. 0 for y < -31 and for NaN. */
uint32_t mz_draw_weight(float d);
/* floor(total * round(2^32 part) / 2^32), part in 0..1: a share of a sum of weights. */
uint64_t mz_draw_share(uint64_t total, double part);
/* floor(total * (word >> 8) / 2^24): mz_u32_to_unit(word) of the way through the sum, < total. */
uint64_t mz_draw_point(uint64_t total, uint32_t word);

#endif
