/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/attention.cl - softmax attention over packed sequences, forward and backward.
 *
 *   s = scale q.k    p = exp(s - lse)    out = sum p v
 *   dp = dout.v      ds = p (dp - delta), delta = sum p dp      dq = scale sum ds k
 *   dv = sum p dout  dk = scale sum ds q
 *
 * Sources: Milakov & Gimelshein 2018 (running softmax), arXiv:1805.02867; Dao et al. 2022,
 * "FlashAttention" (tiles, scores computed again in backward), arXiv:2205.14135.
 *
 * Groups of each kernel: (tiles, heads, columns). A tile is 32 tokens of one sequence; the launch
 * has T / 32 + n of them, and a group finds its own in cu. Columns: WIDTH of the result at a time.
 * Where the result is wider, scores are computed once for each. saved: lse [T,H]. delta comes from
 * p and dp and not from `out`, which was rounded; p and dp have the same bits in all kernels, so
 * that a token that sees only itself gets exactly no gradient for q and k. Floor: chips.
 *
 * Tried with: -DUNITS=2 */
#include "chips/kernels/tile.h"

/* One group's place: tokens first..first+count-1 of the sequence start..end-1. count 0: none. */
typedef struct place {
    i64 start, end, first;
    int count;
} place;

HELPER place find_place(GLOBAL const int *cu, mz_kattention k)
{
    i64 tile = GROUP_OF(0);
    for (i64 i = 0; i < k.n; i++) {
        const i64 start = cu[k.cu.at + i * k.cu.s0], end = cu[k.cu.at + (i + 1) * k.cu.s0];
        const i64 tiles = end > start ? (end - start + ROWS - 1) / ROWS : 0;
        if (tile < tiles) {
            const i64 first = start + tile * ROWS, left = end - first;
            const place p = {start, end, first, (int)(left < ROWS ? left : ROWS)};
            return p;
        }
        tile -= tiles;
    }
    const place none = {0, 0, 0, 0};
    return none;
}

/* Where row `first + i` of a tensor begins, for i of n rows; -1 from `end` on. */
HELPER void fill_rows(LOCAL_PTR i64 *row, int n, mz_kview v, i64 head, i64 first, i64 end)
{
    BARRIER;
    for (int i = ITEM; i < n; i += GROUP)
        row[i] = first + i < end ? v.at + (first + i) * v.s0 + head * v.s1 : -1;
    BARRIER;
}

/* Which of the 64 columns from `key` on query t sees: the first so many of an item's 8. */
HELPER int keys_seen(mz_kattention k, i64 t, i64 key, i64 end)
{
    const i64 limit = t >= end ? 0 : k.causal ? t + 1 : end, n = limit - key - MY_COLUMN;
    return n < 0 ? 0 : n > 8 ? 8 : (int)n;
}

KERNEL void attention(GLOBAL store *out, GLOBAL float *lse, GLOBAL const store *q,
                      GLOBAL const store *keys, GLOBAL const store *values, GLOBAL const int *cu,
                      mz_kattention k)
{
    LOCAL float scratch[SCRATCH], p[ROWS * P_STRIDE], room[ROWS * 8];
    LOCAL i64 q_row[ROWS], k_row[COLUMNS];
    const place at = find_place(cu, k);
    const i64 h = GROUP_OF(1), g = h / (k.H / k.G), column0 = GROUP_OF(2) * WIDTH;
    const i64 end = k.causal ? at.first + at.count : at.end;
    float max[4], total[4];
    vec8 s[4], sum[4 * UNITS];
    if (at.count == 0) return;
    tile_zero(sum);
    EACH_ROW
    {
        max[i] = -INFINITE;
        total[i] = 0.0f;
    }
    fill_rows(q_row, ROWS, k.q, h, at.first, at.end);
    for (i64 key = at.start; key < end; key += COLUMNS) {
        fill_rows(k_row, COLUMNS, k.k, g, key, end);
        tile_dot(s, q, q_row, keys, k_row, k.K, scratch);
        EACH_ROW s[i] = vec_within(s[i] * k.scale, 0,
                                   keys_seen(k, at.first + MY_ROW + i, key, at.end), -INFINITE);
        tile_softmax(max, total, s, sum, p, room);
        fill_rows(k_row, COLUMNS, k.v, g, key, end);
        tile_add(sum, p, values, k_row, column0, k.W, scratch);
    }
    tile_totals(total, room);
    fill_rows(q_row, ROWS, k.out, h, at.first, at.end);
    EACH_ROW
    {
        const i64 t = at.first + MY_ROW + i;
        if (k.has_saved && column0 == 0 && ITEM % 8 == 0 && t < at.end)
            lse[t * k.H + h] = max[i] + log(total[i]);
        total[i] = 1.0f / total[i];
    }
    tile_store(out, q_row, sum, total, column0, k.W);
}

/* s becomes p = exp(scale s - lse) of rows that are queries, 0 where a key is not seen. */
HELPER void query_probabilities(vec8 s[4], GLOBAL const float *lse, mz_kattention k, place at,
                                i64 key)
{
    EACH_ROW
    {
        const i64 t = at.first + MY_ROW + i;
        const float base = t < at.end ? lse[t * k.H + GROUP_OF(1)] : 0.0f;
        s[i] = vec_within(exp(s[i] * k.scale - base), 0, keys_seen(k, t, key, at.end), 0.0f);
    }
}

/* delta [T,H] = sum_s p dp. Groups: (tiles, H). */
KERNEL void attention_delta(GLOBAL float *delta, GLOBAL const store *q, GLOBAL const store *keys,
                            GLOBAL const store *values, GLOBAL const store *dout,
                            GLOBAL const float *lse, GLOBAL const int *cu, mz_kattention k)
{
    LOCAL float scratch[SCRATCH], room[ROWS * 8];
    LOCAL i64 row[ROWS], column[COLUMNS];
    const place at = find_place(cu, k);
    const i64 h = GROUP_OF(1), g = h / (k.H / k.G);
    const i64 end = k.causal ? at.first + at.count : at.end;
    float total[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    vec8 p[4], dp[4];
    if (at.count == 0) return;
    for (i64 key = at.start; key < end; key += COLUMNS) {
        fill_rows(row, ROWS, k.q, h, at.first, at.end);
        fill_rows(column, COLUMNS, k.k, g, key, end);
        tile_dot(p, q, row, keys, column, k.K, scratch);
        query_probabilities(p, lse, k, at, key);
        fill_rows(row, ROWS, k.out, h, at.first, at.end);
        fill_rows(column, COLUMNS, k.v, g, key, end);
        tile_dot(dp, dout, row, values, column, k.W, scratch);
        EACH_ROW total[i] += vec_sum(p[i] * dp[i]);
    }
    tile_totals(total, room);
    EACH_ROW
    {
        const i64 t = at.first + MY_ROW + i;
        if (ITEM % 8 == 0 && t < at.end) delta[t * k.H + h] = total[i];
    }
}

/* Groups: (tiles, H, K / WIDTH). */
KERNEL void attention_dq(GLOBAL store *dq, GLOBAL const store *q, GLOBAL const store *keys,
                         GLOBAL const store *values, GLOBAL const store *dout,
                         GLOBAL const float *lse, GLOBAL const float *delta, GLOBAL const int *cu,
                         mz_kattention k)
{
    LOCAL float scratch[SCRATCH], ds[ROWS * P_STRIDE];
    LOCAL i64 row[ROWS], column[COLUMNS];
    const place at = find_place(cu, k);
    const i64 h = GROUP_OF(1), g = h / (k.H / k.G), column0 = GROUP_OF(2) * WIDTH;
    const i64 end = k.causal ? at.first + at.count : at.end;
    const float factor[4] = {k.scale, k.scale, k.scale, k.scale};
    vec8 p[4], dp[4], sum[4 * UNITS];
    if (at.count == 0) return;
    tile_zero(sum);
    for (i64 key = at.start; key < end; key += COLUMNS) {
        fill_rows(row, ROWS, k.q, h, at.first, at.end);
        fill_rows(column, COLUMNS, k.k, g, key, end);
        tile_dot(p, q, row, keys, column, k.K, scratch);
        query_probabilities(p, lse, k, at, key);
        fill_rows(row, ROWS, k.out, h, at.first, at.end);
        fill_rows(column, COLUMNS, k.v, g, key, end);
        tile_dot(dp, dout, row, values, column, k.W, scratch);
        EACH_ROW
        {
            const i64 t = at.first + MY_ROW + i;
            const float d = t < at.end ? delta[t * k.H + h] : 0.0f;
            VEC_STORE(ds + MY_P(i), p[i] * (dp[i] - d));
        }
        fill_rows(column, COLUMNS, k.k, g, key, end);
        tile_add(sum, ds, keys, column, column0, k.K, scratch);
    }
    fill_rows(row, ROWS, k.dq, h, at.first, at.end);
    tile_store(dq, row, sum, factor, column0, k.K);
}

/* Of queries query + MY_COLUMN..+7: their numbers of head h of x [T,H], 0 from `end` on. */
HELPER vec8 of_queries(GLOBAL const float *x, mz_kattention k, i64 h, i64 query, i64 end)
{
    float v[8];
    UNROLL for (int j = 0; j < 8; j++)
    {
        const i64 t = query + MY_COLUMN + j;
        v[j] = t < end ? x[t * k.H + h] : 0.0f;
    }
    return VEC_LOAD(v);
}

/* s, of rows that are keys and columns that are queries from `query` on, becomes p. */
HELPER void key_probabilities(vec8 s[4], vec8 lse, mz_kattention k, place at, i64 query)
{
    EACH_ROW
    {
        const i64 key = at.first + MY_ROW + i, from = query + MY_COLUMN;
        const i64 low = k.causal && key > from ? key - from : 0, high = at.end - from;
        s[i] = vec_within(exp(s[i] * k.scale - lse), low > 8 ? 8 : (int)low,
                          key >= at.end || high < 0 ? 0
                          : high > 8                ? 8
                                                    : (int)high,
                          0.0f);
    }
}

/* dv [T,G,W], summed over the heads of a group in their order. Groups: (tiles, G, W / WIDTH). */
KERNEL void attention_dv(GLOBAL store *dv, GLOBAL const store *q, GLOBAL const store *keys,
                         GLOBAL const store *dout, GLOBAL const float *lse, GLOBAL const int *cu,
                         mz_kattention k)
{
    LOCAL float scratch[SCRATCH], pt[ROWS * P_STRIDE];
    LOCAL i64 row[ROWS], column[COLUMNS];
    const place at = find_place(cu, k);
    const i64 g = GROUP_OF(1), heads = k.H / k.G, column0 = GROUP_OF(2) * WIDTH;
    const float factor[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    vec8 p[4], sum[4 * UNITS];
    if (at.count == 0) return;
    tile_zero(sum);
    for (i64 h = g * heads; h < (g + 1) * heads; h++)
        for (i64 query = k.causal ? at.first : at.start; query < at.end; query += COLUMNS) {
            fill_rows(row, ROWS, k.k, g, at.first, at.end);
            fill_rows(column, COLUMNS, k.q, h, query, at.end);
            tile_dot(p, keys, row, q, column, k.K, scratch);
            key_probabilities(p, of_queries(lse, k, h, query, at.end), k, at, query);
            EACH_ROW VEC_STORE(pt + MY_P(i), p[i]);
            fill_rows(column, COLUMNS, k.out, h, query, at.end);
            tile_add(sum, pt, dout, column, column0, k.W, scratch);
        }
    fill_rows(row, ROWS, k.dv, g, at.first, at.end);
    tile_store(dv, row, sum, factor, column0, k.W);
}

/* dk [T,G,K], likewise. Groups: (tiles, G, K / WIDTH). */
KERNEL void attention_dk(GLOBAL store *dk, GLOBAL const store *q, GLOBAL const store *keys,
                         GLOBAL const store *values, GLOBAL const store *dout,
                         GLOBAL const float *lse, GLOBAL const float *delta, GLOBAL const int *cu,
                         mz_kattention k)
{
    LOCAL float scratch[SCRATCH], ds[ROWS * P_STRIDE];
    LOCAL i64 row[ROWS], column[COLUMNS];
    const place at = find_place(cu, k);
    const i64 g = GROUP_OF(1), heads = k.H / k.G, column0 = GROUP_OF(2) * WIDTH;
    const float factor[4] = {k.scale, k.scale, k.scale, k.scale};
    vec8 p[4], dp[4], sum[4 * UNITS];
    if (at.count == 0) return;
    tile_zero(sum);
    for (i64 h = g * heads; h < (g + 1) * heads; h++)
        for (i64 query = k.causal ? at.first : at.start; query < at.end; query += COLUMNS) {
            fill_rows(row, ROWS, k.k, g, at.first, at.end);
            fill_rows(column, COLUMNS, k.q, h, query, at.end);
            tile_dot(p, keys, row, q, column, k.K, scratch);
            key_probabilities(p, of_queries(lse, k, h, query, at.end), k, at, query);
            fill_rows(row, ROWS, k.v, g, at.first, at.end);
            fill_rows(column, COLUMNS, k.out, h, query, at.end);
            tile_dot(dp, values, row, dout, column, k.W, scratch);
            const vec8 d = of_queries(delta, k, h, query, at.end);
            EACH_ROW VEC_STORE(ds + MY_P(i), p[i] * (dp[i] - d));
            fill_rows(column, COLUMNS, k.q, h, query, at.end);
            tile_add(sum, ds, q, column, column0, k.K, scratch);
        }
    fill_rows(row, ROWS, k.dk, g, at.first, at.end);
    tile_store(dk, row, sum, factor, column0, k.K);
}
