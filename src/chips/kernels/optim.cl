/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/optim.cl - AdamW, sum of squares, count of what is not finite.
 *
 * Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
 * Sums go in two steps, each of a fixed order: chunks of MZ_KSUM_CHUNK, then chunks. Floor: chips.
 */
#include "chips/kernels/args_optim.h"
#include "chips/kernels/lang.h"

/* Groups: N / GROUP, rounded up. */
KERNEL void adamw(GLOBAL float *p, GLOBAL float *m, GLOBAL float *v, GLOBAL const float *g,
                  GLOBAL out_store *copy, mz_kadamw k)
{
    const i64 i = GLOBAL_ITEM;
    if (i >= k.N) return;
    const float gi = k.grad_scale * g[k.g.at + i];
    const float mi = k.beta1 * m[k.m.at + i] + k.fresh1 * gi;
    const float vi = k.beta2 * v[k.v.at + i] + k.fresh2 * gi * gi;
    const float step = mi * k.correct1 / (sqrt(vi * k.correct2) + k.eps);
    const float pi = p[k.p.at + i] * k.kept - k.lr * step;
    m[k.m.at + i] = mi;
    v[k.v.at + i] = vi;
    p[k.p.at + i] = pi;
    if (k.has_copy) STORE_OUT(copy, k.copy.at + i, pi);
}

/* part [chunks]. Groups: chunks. */
KERNEL void sumsq(GLOBAL float *part, GLOBAL const store *x, mz_ksum k)
{
    LOCAL float room[GROUP];
    const i64 first = GROUP_OF(0) * MZ_KSUM_CHUNK;
    float sum = 0.0f;
    for (i64 i = first; i < first + MZ_KSUM_CHUNK; i += GROUP) {
        const float xi = i + ITEM < k.N ? LOAD(x, k.x.at + i + ITEM) : 0.0f;
        sum += xi * xi;
    }
    sum = group_sum(sum, room);
    if (ITEM == 0) part[GROUP_OF(0)] = sum;
}

/* out += the sum of part. One group. */
KERNEL void sumsq_sum(GLOBAL float *out, GLOBAL const float *part, mz_ksum k)
{
    LOCAL float room[GROUP];
    float sum = 0.0f;
    for (i64 i = 0; i < k.chunks; i += GROUP) sum += i + ITEM < k.chunks ? part[i + ITEM] : 0.0f;
    sum = group_sum(sum, room);
    if (ITEM == 0) out[k.out.at] += sum;
}

/* part [chunks]: how many are NaN or infinite. Groups: chunks. */
KERNEL void finite_count(GLOBAL int *part, GLOBAL const store *x, mz_ksum k)
{
    LOCAL int room[GROUP];
    const i64 first = GROUP_OF(0) * MZ_KSUM_CHUNK;
    int count = 0;
    for (i64 i = first; i < first + MZ_KSUM_CHUNK; i += GROUP) {
        const float xi = i + ITEM < k.N ? LOAD(x, k.x.at + i + ITEM) : 0.0f;
        count += (AS_UINT(xi) & 0x7f800000u) == 0x7f800000u;
    }
    room[ITEM] = count;
    BARRIER;
    for (int i = 1; ITEM == 0 && i < GROUP; i++) count += room[i];
    if (ITEM == 0) part[GROUP_OF(0)] = count;
}

/* out += the sum of part. One group. */
KERNEL void finite_sum(GLOBAL int *out, GLOBAL const int *part, mz_ksum k)
{
    LOCAL int room[GROUP];
    int count = 0;
    for (i64 i = 0; i < k.chunks; i += GROUP) count += i + ITEM < k.chunks ? part[i + ITEM] : 0;
    room[ITEM] = count;
    BARRIER;
    for (int i = 1; ITEM == 0 && i < GROUP; i++) count += room[i];
    if (ITEM == 0) out[k.out.at] += count;
}
