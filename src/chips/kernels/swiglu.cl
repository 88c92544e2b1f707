/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/swiglu.cl - y = silu(gate) up and its gradients, one item an element.
 *
 * Source: Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202. Groups: (T F) /
 * GROUP, rounded up. Floor: chips. */
#include "chips/kernels/args_token.h"
#include "chips/kernels/lang.h"

HELPER float sigmoid(float x)
{
    return 1.0f / (1.0f + exp(-x));
}

KERNEL void swiglu(GLOBAL store *y, GLOBAL const store *gate, GLOBAL const store *up, mz_kswiglu k)
{
    const i64 t = GLOBAL_ITEM / k.F, f = GLOBAL_ITEM % k.F;
    if (t >= k.T) return;
    const float g = LOAD(gate, k.gate.at + t * k.gate.s0 + f);
    const float u = LOAD(up, k.up.at + t * k.up.s0 + f);
    STORE(y, k.y.at + t * k.y.s0 + f, g / (1.0f + exp(-g)) * u);
}

/* Both inputs are read before either output is written: they may be the same memory. */
KERNEL void swiglu_backward(GLOBAL store *dgate, GLOBAL store *dup, GLOBAL const store *dy,
                            GLOBAL const store *gate, GLOBAL const store *up, mz_kswiglu k)
{
    const i64 t = GLOBAL_ITEM / k.F, f = GLOBAL_ITEM % k.F;
    if (t >= k.T) return;
    const float g = LOAD(gate, k.gate.at + t * k.gate.s0 + f);
    const float u = LOAD(up, k.up.at + t * k.up.s0 + f);
    const float d = LOAD(dy, k.y.at + t * k.y.s0 + f), s = sigmoid(g);
    STORE(dgate, k.dgate.at + t * k.dgate.s0 + f, d * u * s * (1.0f + g * (1.0f - s)));
    STORE(dup, k.dup.at + t * k.dup.s0 + f, d * g * s);
}
