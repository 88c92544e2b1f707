/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/rope.cl - pairs of the last axis turned by an angle from a table, one item a pair.
 *
 * Source: Su et al. 2021, "RoFormer", arXiv:2104.09864. Backward is the same with sign = -1. A
 * position outside the tables gives NaN. Groups: (T H pairs) / GROUP, rounded up. Floor: chips. */
#include "chips/kernels/args_attention.h"
#include "chips/kernels/lang.h"

KERNEL void rope(GLOBAL store *y, GLOBAL const store *x, GLOBAL const float *cosines,
                 GLOBAL const float *sines, GLOBAL const int *pos, mz_krope k)
{
    const i64 j = GLOBAL_ITEM % k.pairs, h = GLOBAL_ITEM / k.pairs % k.H;
    const i64 t = GLOBAL_ITEM / k.pairs / k.H;
    if (t >= k.T) return;
    const i64 p = pos[k.pos.at + t * k.pos.s0];
    const int is_known = p >= 0 && p < k.P;
    const float c = is_known ? cosines[k.cos.at + p * k.cos.s0 + j] : NOT_A_NUMBER;
    const float s = is_known ? k.sign * sines[k.sin.at + p * k.sin.s0 + j] : NOT_A_NUMBER;
    const i64 first = k.interleaved ? 2 * j : j, second = k.interleaved ? 2 * j + 1 : j + k.pairs;
    const i64 from = k.x.at + t * k.x.s0 + h * k.x.s1, to = k.y.at + t * k.y.s0 + h * k.y.s1;
    const float x0 = LOAD(x, from + first), x1 = LOAD(x, from + second);
    STORE(y, to + first, x0 * c - x1 * s);
    STORE(y, to + second, x1 * c + x0 * s);
}
