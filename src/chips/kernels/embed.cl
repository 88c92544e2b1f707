/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/embed.cl - rows of a table by id, and the gradient of the table.
 *
 * Equal ids are summed in token order without atomics: each token finds the next one of its id, and
 * whether there is one before it; the first of each id then walks along the others. `next` [T]:
 * that token or -1; `first` [T]. Floor: chips.
 *
 * Tried with: -DSTORED=3
 * Tried with: -DSTORED=27
 * Tried with: -DSTORED=29 */
#include "chips/kernels/args_optim.h"
#include "chips/kernels/stored.h"

/* y[t] = w[ids[t]], NaN for an id that is no row. Groups: (T D) / GROUP, rounded up. */
KERNEL void embed(GLOBAL store *y, GLOBAL const stored_unit *w, GLOBAL const int *ids, mz_kembed k)
{
    const i64 t = GLOBAL_ITEM / k.D, d = GLOBAL_ITEM % k.D;
    if (t >= k.T) return;
    const i64 id = ids[k.ids.at + t * k.ids.s0], to = k.y.at + t * k.y.s0 + d;
    if (id < 0 || id >= k.V)
        STORE(y, to, NOT_A_NUMBER);
    else
#if STORED == DTYPE
        y[to] = w[k.w.at + id * k.w.s0 + d];
#else
        STORE(y, to, LOAD_STORED(w, k.w.at + id * k.w.s0 + d));
#endif
}

/* Groups: T / GROUP, rounded up. */
KERNEL void embed_chain(GLOBAL int *next, GLOBAL int *first, GLOBAL const int *ids, mz_kembed k)
{
    const i64 t = GLOBAL_ITEM;
    if (t >= k.T) return;
    const int id = ids[k.ids.at + t * k.ids.s0];
    const int is_row = id >= 0 && id < k.V;
    i64 after = t + 1, before = 0;
    while (is_row && after < k.T && ids[k.ids.at + after * k.ids.s0] != id) after++;
    while (is_row && before < t && ids[k.ids.at + before * k.ids.s0] != id) before++;
    next[t] = is_row && after < k.T ? (int)after : -1;
    first[t] = is_row && before == t;
}

/* dw[id] += the sum of dy over the tokens of id. Groups: (T D) / GROUP, rounded up. */
KERNEL void embed_backward(GLOBAL float *dw, GLOBAL const store *dy, GLOBAL const int *ids,
                           GLOBAL const int *next, GLOBAL const int *first, mz_kembed k)
{
    const i64 t = GLOBAL_ITEM / k.D, d = GLOBAL_ITEM % k.D;
    if (t >= k.T || !first[t]) return;
    const i64 id = ids[k.ids.at + t * k.ids.s0], to = k.w.at + id * k.w.s0 + d;
    float sum = 0.0f;
    for (i64 at = t; at >= 0; at = next[at]) sum += LOAD(dy, k.y.at + at * k.y.s0 + d);
    dw[to] += sum;
}
