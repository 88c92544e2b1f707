/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/xent.cl - cross-entropy of each token and its gradient, one group a token.
 *
 * Loops run over the same range in every item, so that a compiler may put items inside. The loss is
 * out, and every logit read by the item that will overwrite it, before dlogits, which may be
 * logits, is written. A target that is neither a class nor -100 gives NaN. Groups: T. Floor: chips.
 */
#include "chips/kernels/args_token.h"
#include "chips/kernels/lang.h"

#define NOT_COUNTED -100

KERNEL void xent(GLOBAL float *loss, GLOBAL store *dlogits, GLOBAL const store *logits,
                 GLOBAL const int *targets, GLOBAL const float *weight, mz_kxent k)
{
    LOCAL float room[GROUP];
    const i64 t = GROUP_OF(0), row = k.logits.at + t * k.logits.s0;
    const int target = targets[k.targets.at + t * k.targets.s0];
    const int is_counted = target != NOT_COUNTED, is_class = target >= 0 && target < k.V;
    float max = -INFINITE, sum = 0.0f;
    for (i64 v = 0; v < k.V; v += GROUP)
        if (v + ITEM < k.V) max = fmax(max, LOAD(logits, row + v + ITEM));
    max = group_max(max, room);
    for (i64 v = 0; v < k.V; v += GROUP)
        if (v + ITEM < k.V) sum += exp(LOAD(logits, row + v + ITEM) - max);
    sum = group_sum(sum, room);
    const float lse = max + log(sum);
    if (ITEM == 0) {
        const float x = is_class ? lse - LOAD(logits, row + target) : NOT_A_NUMBER;
        loss[k.loss.at + t * k.loss.s0] = is_counted ? x : 0.0f;
    }
    GLOBAL_BARRIER;
    if (!k.has_gradient) return;
    const i64 to = k.dlogits.at + t * k.dlogits.s0;
    const float w = is_counted ? weight[k.weight.at + t * k.weight.s0] : 0.0f;
    for (i64 v = 0; v < k.V; v += GROUP) {
        if (v + ITEM >= k.V) continue;
        const float p = is_class ? exp(LOAD(logits, row + v + ITEM) - lse) : NOT_A_NUMBER;
        const float g = w * (v + ITEM == target ? p - 1.0f : p);
        STORE(dlogits, to + v + ITEM, is_counted ? g : 0.0f);
    }
}
