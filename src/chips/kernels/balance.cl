/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/balance.cl - the sequence-wise balance loss, its gradient, and the experts' loads.
 *
 * One item a pair of sequence and expert; their shares of the loss and counts lie in `part` and
 * `chosen` [n,E] until one group adds them up. Without sequences the loss is 0. Floor: chips. */
#include "chips/kernels/args_moe.h"
#include "chips/kernels/lang.h"

/* Groups: (n E) / GROUP, rounded up. */
KERNEL void balance_sequences(GLOBAL float *part, GLOBAL int *chosen, GLOBAL float *dprobs,
                              GLOBAL const float *probs, GLOBAL const int *ids,
                              GLOBAL const int *cu, mz_kbalance k)
{
    const i64 i = GLOBAL_ITEM / k.E, e = GLOBAL_ITEM % k.E;
    if (i >= k.n) return;
    const i64 start = cu[k.cu.at + i * k.cu.s0], end = cu[k.cu.at + (i + 1) * k.cu.s0];
    const float length = (float)(end - start);
    int count = 0;
    float mean = 0.0f;
    for (i64 t = start; t < end; t++) {
        for (i64 j = 0; j < k.k; j++) count += ids[k.ids.at + t * k.ids.s0 + j * k.ids.s1] == e;
        mean += probs[k.probs.at + t * k.probs.s0 + e * k.probs.s1];
    }
    const float share = (float)k.E / ((float)k.k * length) * (float)count;
    const float slope = k.alpha / (float)k.n * share / length;
    part[i * k.E + e] = end > start ? slope * mean : 0.0f;
    chosen[i * k.E + e] = count;
    for (i64 t = start; k.has_dprobs && t < end; t++)
        dprobs[k.dprobs.at + t * k.dprobs.s0 + e * k.dprobs.s1] = slope;
}

/* One group. */
KERNEL void balance_sum(GLOBAL float *loss, GLOBAL int *counts, GLOBAL const float *part,
                        GLOBAL const int *chosen, mz_kbalance k)
{
    LOCAL float room[GROUP];
    float sum = 0.0f;
    for (i64 e = ITEM; e < k.E; e += GROUP) {
        int count = 0;
        for (i64 i = 0; i < k.n; i++) {
            count += chosen[i * k.E + e];
            sum += part[i * k.E + e];
        }
        if (k.has_counts) counts[k.counts.at + e * k.counts.s0] += count;
    }
    sum = group_sum(sum, room);
    if (ITEM == 0) loss[k.loss.at] = sum;
}
