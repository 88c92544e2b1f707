/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/decode.cl - attention of new tokens against a paged cache; see chip/desc.h.
 *
 * A group takes one sequence, one head of the cache, and 32 rows: row i is new token i / (H/G) with
 * head i % (H/G) of the group, so that all heads that share keys share their tiles. Keys and values
 * may be one memory (MLA's latent). A page that does not exist is one of zeros. Groups: (row tiles
 * of the longest sequence, B G, W / WIDTH). Floor: chips. */
#include "chips/kernels/tile.h"

/* Where rows of the cache begin: keys key..key+63 below end of sequence b. */
HELPER void fill_cached(LOCAL_PTR i64 *row, GLOBAL const int *table, mz_kview cache, mz_kdecode k,
                        i64 key, i64 end)
{
    const i64 b = GROUP_OF(1) / k.G, g = GROUP_OF(1) % k.G;
    BARRIER;
    for (int i = ITEM; i < COLUMNS; i += GROUP) {
        i64 page = -1;
        const i64 at = (key + i) / k.page;
        if (key + i < end && at < k.pages_per_seq)
            page = table[k.table.at + b * k.table.s0 + at * k.table.s1];
        row[i] = page < 0 || page >= k.pages
                     ? -1
                     : cache.at + page * cache.s0 + (key + i) % k.page * cache.s1 + g * cache.s2;
    }
    BARRIER;
}

/* Where rows of q or out begin. */
HELPER void fill_heads(LOCAL_PTR i64 *row, mz_kview v, mz_kdecode k, i64 first, i64 tokens)
{
    const i64 heads = k.H / k.G, g = GROUP_OF(1) % k.G, row0 = GROUP_OF(0) * ROWS;
    BARRIER;
    for (int i = ITEM; i < ROWS; i += GROUP) {
        const i64 t = (row0 + i) / heads, h = g * heads + (row0 + i) % heads;
        row[i] = t < tokens ? v.at + (first + t) * v.s0 + h * v.s1 : -1;
    }
    BARRIER;
}

KERNEL void decode(GLOBAL store *out, GLOBAL const store *q, GLOBAL const store *keys,
                   GLOBAL const store *values, GLOBAL const int *table, GLOBAL const int *lens,
                   GLOBAL const int *cu, mz_kdecode k)
{
    LOCAL float scratch[SCRATCH], p[ROWS * P_STRIDE], room[ROWS * 8];
    LOCAL i64 row[ROWS], column[COLUMNS];
    const i64 b = GROUP_OF(1) / k.G, heads = k.H / k.G, row0 = GROUP_OF(0) * ROWS;
    const i64 column0 = GROUP_OF(2) * WIDTH, first = cu[k.cu.at + b * k.cu.s0];
    const i64 tokens = cu[k.cu.at + (b + 1) * k.cu.s0] - first;
    const i64 length = lens[k.lens.at + b * k.lens.s0];
    /* the last token of these rows sees this many keys */
    const i64 last = (row0 + ROWS - 1) / heads, ahead = last < tokens ? tokens - 1 - last : 0;
    const i64 end = length - ahead;
    float max[4], total[4];
    vec8 s[4], sum[4 * UNITS];
    if (row0 >= tokens * heads) return;
    tile_zero(sum);
    EACH_ROW
    {
        max[i] = -INFINITE;
        total[i] = 0.0f;
    }
    fill_heads(row, k.q, k, first, tokens);
    for (i64 key = 0; key < end; key += COLUMNS) {
        fill_cached(column, table, k.k, k, key, end);
        tile_dot(s, q, row, keys, column, k.K, scratch);
        EACH_ROW
        {
            const i64 t = (row0 + MY_ROW + i) / heads, seen = length - tokens + t + 1;
            const i64 n = seen - key - MY_COLUMN;
            s[i] = vec_within(s[i] * k.scale, 0, n > 8 ? 8 : (int)n, -INFINITE);
        }
        tile_softmax(max, total, s, sum, p, room);
        fill_cached(column, table, k.v, k, key, end);
        tile_add(sum, p, values, column, column0, k.W, scratch);
    }
    tile_totals(total, room);
    EACH_ROW total[i] = 1.0f / total[i];
    fill_heads(row, k.out, k, first, tokens);
    tile_store(out, row, sum, total, column0, k.W);
}
