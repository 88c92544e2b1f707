/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/permute.cl - tokens sorted by expert, and their outputs brought home again.
 *
 * Sorting by counting: each item counts the experts of MZ_KPERMUTE_CHUNK pairs into its own row of
 * `counts` [chunks,E]; one group turns counts into where each chunk's pairs of each expert begin;
 * each item then deals its pairs in order. An id that is no expert takes no part and its row_of is
 * -1. Floor: chips. */
#include "chips/kernels/args_moe.h"
#include "chips/kernels/lang.h"

/* Groups: chunks / GROUP, rounded up. */
KERNEL void permute_count(GLOBAL int *counts, GLOBAL const int *ids, mz_kpermute k)
{
    const i64 chunk = GLOBAL_ITEM, first = chunk * MZ_KPERMUTE_CHUNK;
    if (chunk >= k.chunks) return;
    for (i64 e = 0; e < k.E; e++) counts[chunk * k.E + e] = 0;
    for (i64 i = first; i < first + MZ_KPERMUTE_CHUNK && i < k.T * k.k; i++) {
        const i64 e = ids[k.ids.at + i / k.k * k.ids.s0 + i % k.k * k.ids.s1];
        if (e >= 0 && e < k.E) counts[chunk * k.E + e]++;
    }
}

/* One group. First each expert's chunks are added up, then the experts. */
KERNEL void permute_begin(GLOBAL int *counts, GLOBAL int *offsets, mz_kpermute k)
{
    GLOBAL int *of = offsets + k.offsets.at;
    for (i64 e = ITEM; e < k.E; e += GROUP) {
        int sum = 0;
        for (i64 c = 0; c < k.chunks; c++) {
            const int here = counts[c * k.E + e];
            counts[c * k.E + e] = sum;
            sum += here;
        }
        of[(e + 1) * k.offsets.s0] = sum;
    }
    GLOBAL_BARRIER;
    if (ITEM == 0) of[0] = 0;
    for (i64 e = 0; ITEM == 0 && e < k.E; e++) of[(e + 1) * k.offsets.s0] += of[e * k.offsets.s0];
}

/* Groups: chunks / GROUP, rounded up. */
KERNEL void permute_deal(GLOBAL int *counts, GLOBAL const int *offsets, GLOBAL const int *ids,
                         GLOBAL int *row_of, mz_kpermute k)
{
    const i64 chunk = GLOBAL_ITEM, first = chunk * MZ_KPERMUTE_CHUNK;
    if (chunk >= k.chunks) return;
    for (i64 i = first; i < first + MZ_KPERMUTE_CHUNK && i < k.T * k.k; i++) {
        const i64 t = i / k.k, j = i % k.k, e = ids[k.ids.at + t * k.ids.s0 + j * k.ids.s1];
        int row = -1;
        if (e >= 0 && e < k.E)
            row = offsets[k.offsets.at + e * k.offsets.s0] + counts[chunk * k.E + e]++;
        row_of[k.row_of.at + t * k.row_of.s0 + j * k.row_of.s1] = row;
    }
}

/* y[row_of[t,j]] = x[t]. Groups: (T k D) / GROUP, rounded up. */
KERNEL void permute_rows(GLOBAL store *y, GLOBAL const store *x, GLOBAL const int *row_of,
                         mz_kpermute k)
{
    const i64 i = GLOBAL_ITEM / k.D, d = GLOBAL_ITEM % k.D, t = i / k.k;
    if (t >= k.T) return;
    const i64 row = row_of[k.row_of.at + t * k.row_of.s0 + i % k.k * k.row_of.s1];
    if (row >= 0) y[k.y.at + row * k.y.s0 + d] = x[k.x.at + t * k.x.s0 + d];
}

/* dx[t] = sum_j dy[row_of[t,j]]. Groups: (T D) / GROUP, rounded up. */
KERNEL void permute_backward(GLOBAL store *dx, GLOBAL const store *dy, GLOBAL const int *row_of,
                             mz_kpermute k)
{
    const i64 t = GLOBAL_ITEM / k.D, d = GLOBAL_ITEM % k.D;
    if (t >= k.T) return;
    float sum = 0.0f;
    for (i64 j = 0; j < k.k; j++) {
        const i64 row = row_of[k.row_of.at + t * k.row_of.s0 + j * k.row_of.s1];
        const int is_row = row >= 0 && row < k.T * k.k;
        sum += is_row ? LOAD(dy, k.y.at + row * k.y.s0 + d) : NOT_A_NUMBER;
    }
    STORE(dx, k.x.at + t * k.x.s0 + d, sum);
}

/* y[t] = base[t] + sum_j weights[t,j] z[row_of[t,j]]; base may be y. Groups: (T D) / GROUP. */
KERNEL void unpermute(GLOBAL store *y, GLOBAL const store *z, GLOBAL const int *row_of,
                      GLOBAL const float *weights, GLOBAL const store *base, mz_kunpermute k)
{
    const i64 t = GLOBAL_ITEM / k.D, d = GLOBAL_ITEM % k.D;
    if (t >= k.T) return;
    float sum = k.has_base ? LOAD(base, k.base.at + t * k.base.s0 + d) : 0.0f;
    for (i64 j = 0; j < k.k; j++) {
        const i64 row = row_of[k.row_of.at + t * k.row_of.s0 + j * k.row_of.s1];
        const int is_row = row >= 0 && row < k.T * k.k;
        const float w = weights[k.weights.at + t * k.weights.s0 + j * k.weights.s1];
        sum += is_row ? w * LOAD(z, k.z.at + row * k.z.s0 + d) : NOT_A_NUMBER;
    }
    STORE(y, k.y.at + t * k.y.s0 + d, sum);
}

/* dz[row] = weight dy[t] and dweights[t,j] = dy[t] . z[row]: one group a pair. Groups: T k. */
KERNEL void unpermute_backward(GLOBAL store *dz, GLOBAL float *dweights, GLOBAL const store *dy,
                               GLOBAL const store *z, GLOBAL const int *row_of,
                               GLOBAL const float *weights, mz_kunpermute k)
{
    LOCAL float part[GROUP];
    const i64 t = GROUP_OF(0) / k.k, j = GROUP_OF(0) % k.k;
    const i64 row = row_of[k.row_of.at + t * k.row_of.s0 + j * k.row_of.s1];
    const int is_row = row >= 0 && row < k.T * k.k;
    const float w = weights[k.weights.at + t * k.weights.s0 + j * k.weights.s1];
    float dot = is_row ? 0.0f : NOT_A_NUMBER;
    for (i64 first = 0; is_row && first < k.D; first += GROUP) {
        const i64 d = first + ITEM;
        if (d >= k.D) continue;
        const float g = LOAD(dy, k.y.at + t * k.y.s0 + d);
        dot += g * LOAD(z, k.z.at + row * k.z.s0 + d);
        STORE(dz, k.dz.at + row * k.dz.s0 + d, w * g);
    }
    dot = group_sum(dot, part);
    if (ITEM == 0) dweights[k.dweights.at + t * k.dweights.s0 + j * k.dweights.s1] = dot;
}
