/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/rmsnorm.cl - root-mean-square normalisation and its gradients.
 *
 *   y = x r w     r = 1 / sqrt(mean(x^2) + eps)     saved: r [T]
 *   dx = r (g - x r^2 mean(g x)), g = dy w          dw += sum_t dy x r, in order of t
 *
 * Source: Zhang & Sennrich 2019, arXiv:1910.07467. Groups: T; rmsnorm_dw: D / GROUP. Floor: chips.
 */
#include "chips/kernels/args_dense.h"
#include "chips/kernels/lang.h"

KERNEL void rmsnorm(GLOBAL store *y, GLOBAL float *saved, GLOBAL const store *x,
                    GLOBAL const float *w, mz_krmsnorm k)
{
    LOCAL float part[GROUP];
    const i64 t = GROUP_OF(0), row = k.x.at + t * k.x.s0, to = k.y.at + t * k.y.s0;
    float squares = 0.0f;
    for (i64 d = ITEM; d < k.D; d += GROUP) {
        const float v = LOAD(x, row + d);
        squares = FMA(v, v, squares);
    }
    squares = group_sum(squares, part);
    const float r = 1.0f / sqrt(squares / (float)k.D + k.eps);
    for (i64 d = ITEM; d < k.D; d += GROUP)
        STORE(y, to + d, LOAD(x, row + d) * r * w[k.w.at + d * k.w.s0]);
    if (k.has_saved && ITEM == 0) saved[t] = r;
}

/* dx may be dy: an item reads what it will overwrite. */
KERNEL void rmsnorm_dx(GLOBAL store *dx, GLOBAL const float *saved, GLOBAL const store *x,
                       GLOBAL const float *w, GLOBAL const store *dy, mz_krmsnorm k)
{
    LOCAL float part[GROUP];
    const i64 t = GROUP_OF(0), row = k.x.at + t * k.x.s0, from = k.y.at + t * k.y.s0;
    const i64 to = k.dx.at + t * k.dx.s0;
    const float r = saved[t];
    float gx = 0.0f;
    for (i64 d = ITEM; d < k.D; d += GROUP)
        gx = FMA(LOAD(dy, from + d) * w[k.w.at + d * k.w.s0], LOAD(x, row + d), gx);
    gx = group_sum(gx, part);
    const float c = gx * r * r / (float)k.D;
    for (i64 d = ITEM; d < k.D; d += GROUP) {
        const float g = LOAD(dy, from + d) * w[k.w.at + d * k.w.s0];
        STORE(dx, to + d, r * (g - c * LOAD(x, row + d)));
    }
}

KERNEL void rmsnorm_dw(GLOBAL float *dw, GLOBAL const float *saved, GLOBAL const store *x,
                       GLOBAL const store *dy, mz_krmsnorm k)
{
    const i64 d = GLOBAL_ITEM;
    if (d >= k.D) return;
    float sum = 0.0f;
    for (i64 t = 0; t < k.T; t++)
        sum += LOAD(dy, k.y.at + t * k.y.s0 + d) * LOAD(x, k.x.at + t * k.x.s0 + d) * saved[t];
    dw[k.dw.at + d * k.dw.s0] += sum;
}
