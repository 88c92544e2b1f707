/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/decode.cl - attention of new tokens against a paged cache; see chip/desc.h.
 *
 * A group takes one sequence, one head of the cache, and 32 rows: row i is new token i / (H/G) with
 * head i % (H/G) of the group, so that all heads that share keys share their tiles. Keys and values
 * may be one memory (MLA's latent). A page that does not exist is one of zeros. Groups: (tiles, G,
 * W / WIDTH), T (H/G) / 32 + B tiles: a group finds its own in cu. Floor: chips.
 *
 * Tried with: -DUNITS=2 */
#include "chips/kernels/tile.h"

/* One group's place: sequence b with `tokens` new tokens from `first` on; rows from row0 on. */
typedef struct seat {
    i64 b, first, tokens, row0;
} seat;

HELPER seat find_seat(GLOBAL const int *cu, mz_kdecode k)
{
    i64 tile = GROUP_OF(0);
    for (i64 b = 0; b < k.B; b++) {
        const i64 first = cu[k.cu.at + b * k.cu.s0], end = cu[k.cu.at + (b + 1) * k.cu.s0];
        const i64 tiles = end > first ? ((end - first) * (k.H / k.G) + ROWS - 1) / ROWS : 0;
        if (tile < tiles) {
            const seat here = {b, first, end - first, tile * ROWS};
            return here;
        }
        tile -= tiles;
    }
    const seat none = {0, 0, 0, 0};
    return none;
}

/* Where rows of the cache begin: keys key..key+63 below end of sequence b. */
HELPER void fill_cached(LOCAL_PTR i64 *row, GLOBAL const int *table, mz_kview cache, mz_kdecode k,
                        i64 b, i64 key, i64 end)
{
    const i64 g = GROUP_OF(1);
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
HELPER void fill_heads(LOCAL_PTR i64 *row, mz_kview v, mz_kdecode k, seat at)
{
    const i64 heads = k.H / k.G, g = GROUP_OF(1);
    BARRIER;
    for (int i = ITEM; i < ROWS; i += GROUP) {
        const i64 t = (at.row0 + i) / heads, h = g * heads + (at.row0 + i) % heads;
        row[i] = t < at.tokens ? v.at + (at.first + t) * v.s0 + h * v.s1 : -1;
    }
    BARRIER;
}

KERNEL void decode(GLOBAL store *out, GLOBAL const store *q, GLOBAL const store *keys,
                   GLOBAL const store *values, GLOBAL const int *table, GLOBAL const int *lens,
                   GLOBAL const int *cu, mz_kdecode k)
{
    LOCAL float scratch[SCRATCH], p[ROWS * P_STRIDE], room[ROWS * 8];
    LOCAL i64 row[ROWS], column[COLUMNS];
    const seat at = find_seat(cu, k);
    const i64 heads = k.H / k.G, column0 = GROUP_OF(2) * WIDTH;
    const i64 length = lens[k.lens.at + at.b * k.lens.s0];
    /* the last token of these rows sees this many keys */
    const i64 last = (at.row0 + ROWS - 1) / heads;
    const i64 end = length - (last < at.tokens ? at.tokens - 1 - last : 0);
    float max[4], total[4];
    vec8 s[4], sum[4 * UNITS];
    if (at.tokens == 0) return;
    tile_zero(sum);
    EACH_ROW
    {
        max[i] = -INFINITE;
        total[i] = 0.0f;
    }
    fill_heads(row, k.q, k, at);
    for (i64 key = 0; key < end; key += COLUMNS) {
        fill_cached(column, table, k.k, k, at.b, key, end);
        tile_dot(s, q, row, keys, column, k.K, scratch);
        EACH_ROW
        {
            const i64 t = (at.row0 + MY_ROW + i) / heads, seen = length - at.tokens + t + 1;
            const i64 n = seen - key - MY_COLUMN;
            s[i] = vec_within(s[i] * k.scale, 0, n > 8 ? 8 : (int)n, -INFINITE);
        }
        tile_softmax(max, total, s, sum, p, room);
        fill_cached(column, table, k.v, k, at.b, key, end);
        tile_add(sum, p, values, column, column0, k.W, scratch);
    }
    tile_totals(total, room);
    EACH_ROW total[i] = 1.0f / total[i];
    fill_heads(row, k.out, k, at);
    tile_store(out, row, sum, total, column0, k.W);
}
