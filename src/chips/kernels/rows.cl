/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/rows.cl - rows by index, bits as they are. BYTES: of an element.
 *
 * Groups: (D / GROUP rounded up, n). Floor: chips.
 * Tried with: -DBYTES=2 */
#include "chips/kernels/args_dense.h"
#include "chips/kernels/lang.h"

#if defined(BYTES) && BYTES == 2
typedef ushort bits;
#else
typedef uint bits;
#endif

KERNEL void rows(GLOBAL bits *y, GLOBAL const bits *x, GLOBAL const int *idx, mz_krows k)
{
    const i64 i = GROUP_OF(1), d = GLOBAL_ITEM, row = idx[k.idx.at + i * k.idx.s0];
    if (d >= k.D || row < 0 || row >= k.rows) return;
    const i64 to = k.scatter ? row : i, from = k.scatter ? i : row;
    y[k.y.at + to * k.y.s0 + d] = x[k.x.at + from * k.x.s0 + d];
}
