/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/sample.cl - draws one token a row, by the seven numbered steps of base/draw.h to
 * the bit: single precision rounded step by step, sums of whole numbers. One group a row.
 *
 * Nothing is sorted. Logits become whole numbers in the same order ("keys"), and the border of a
 * filter is the key that a search bit by bit finds, each step of which sums over the row. Of equal
 * logits at a border the first few stay: `first_of` is the id behind the last of them.
 * Scratch `l` [B,V]: logits after the penalty. Groups: B. Floor: chips. */
#include "chips/kernels/args_token.h"
#include "chips/kernels/lang.h"

/* One row after step 2, and what of it stays so far: keys above `border`, and of those at it the
 * ids below `ties_end`, if their weight is at least `least`. */
typedef struct row {
    i64 V, at; /* its first element in l */
    float max, inverse;
    uint border;
    i64 ties_end;
    u64 least;
} row;

/* 2^f on [0,1), base/draw.c's polynomial. */
HELPER float exp2_unit(float f)
{
    float p = 0x1.b49554p-13f;
    p = p * f + 0x1.4cb7b0p-10f;
    p = p * f + 0x1.3c487cp-7f;
    p = p * f + 0x1.c69f98p-5f;
    p = p * f + 0x1.ebfc3ep-3f;
    p = p * f + 0x1.62e430p-1f;
    return p * f + 1.0f;
}

HELPER u64 weight_of(float l, float max, float inverse)
{
    const float y = (l - max) * inverse * 0x1.715476p+0f;
    if (!(y >= -31.0f)) return 0;
    const float below = floor(y);
    const uint whole = (uint)(exp2_unit(y - below) * 0x1p30f);
    return whole >> (int)-below;
}

/* In the order of floats; -0 is 0, NaN the least. */
HELPER uint key_of(float l)
{
    const uint bits = AS_UINT(l == 0.0f ? 0.0f : l);
    if (isnan(l)) return 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

HELPER u64 group_total(u64 x, LOCAL_PTR u64 *part)
{
    part[ITEM] = x;
    BARRIER;
    for (int n = GROUP / 2; n > 0; n /= 2) {
        if (ITEM < n) part[ITEM] += part[ITEM + n];
        BARRIER;
    }
    x = part[0];
    BARRIER;
    return x;
}

/* The weight of id v among those that stay. */
HELPER u64 kept(GLOBAL const float *l, row r, i64 v)
{
    const uint key = key_of(l[r.at + v]);
    if (key < r.border || (key == r.border && v >= r.ties_end)) return 0;
    const u64 w = weight_of(l[r.at + v], r.max, r.inverse);
    return w < r.least ? 0 : w;
}

/* Over keys above `key`: how many there are, or the sum of what stays of their weights. */
HELPER u64 above(GLOBAL const float *l, row r, uint key, int is_count, LOCAL_PTR u64 *part)
{
    u64 sum = 0;
    for (i64 v = ITEM; v < r.V; v += GROUP)
        if (key_of(l[r.at + v]) > key) sum += is_count ? 1 : kept(l, r, v);
    return group_total(sum, part);
}

/* One past the id of the n-th element whose key is `key`; V if there are fewer. */
HELPER i64 first_of(GLOBAL const float *l, row r, uint key, u64 n, LOCAL_PTR u64 *part)
{
    i64 low = 0, high = r.V; /* the answer is above low, or low = 0 = n */
    while (low < high) {
        const i64 middle = low + (high - low) / 2;
        u64 sum = 0;
        for (i64 v = ITEM; v < middle; v += GROUP) sum += key_of(l[r.at + v]) == key;
        if (group_total(sum, part) >= n)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Step 4: the least key of which fewer than top_k are above. */
HELPER row keep_top_k(GLOBAL const float *l, row r, u64 top_k, LOCAL_PTR u64 *part)
{
    uint key = 0;
    for (int bit = 31; bit >= 0; bit--) {
        const uint candidate = key | ((1u << bit) - 1u); /* the most with this bit 0 */
        if (above(l, r, candidate, 1, part) >= top_k) key |= 1u << bit;
    }
    const u64 left = top_k - above(l, r, key, 1, part);
    r.ties_end = first_of(l, r, key, left, part);
    r.border = key;
    return r;
}

/* Step 5: an id stays while the sum before it is 0 or below `stay`. Equal logits weigh the same. */
HELPER row keep_top_p(GLOBAL const float *l, row r, u64 stay, LOCAL_PTR u64 *part)
{
    uint key = 0;
    for (int bit = 31; bit >= 0; bit--) {
        const u64 before = above(l, r, key | ((1u << bit) - 1u), 0, part);
        if (before > 0 && before >= stay) key |= 1u << bit;
    }
    if (key < r.border) return r;
    const u64 before = above(l, r, key, 0, part);
    u64 mine = 0;
    for (i64 v = ITEM; v < r.V; v += GROUP)
        if (key_of(l[r.at + v]) == key) mine = weight_of(l[r.at + v], r.max, r.inverse);
    part[ITEM] = mine;
    BARRIER;
    for (int i = 0; i < GROUP; i++) mine = part[i] > mine ? part[i] : mine;
    BARRIER;
    u64 n = (u64)r.V; /* of the equal ones */
    if (mine > 0) n = stay > before ? (stay - before + mine - 1) / mine : 0;
    if (n == 0 && before == 0) n = 1;
    const i64 end = n < (u64)r.V ? first_of(l, r, key, n, part) : r.V;
    if (key > r.border || end < r.ties_end) r.ties_end = end;
    r.border = key;
    return r;
}

/* Step 7: each item sums a run of ids, and the one in whose run `at` lies finds its place. */
HELPER void draw(GLOBAL int *id, GLOBAL const float *l, row r, u64 at, LOCAL_PTR u64 *part)
{
    const i64 each = (r.V + GROUP - 1) / GROUP, first = ITEM * each;
    const i64 end = first + each < r.V ? first + each : r.V;
    u64 sum = 0;
    for (i64 v = first; v < end; v++) sum += kept(l, r, v);
    part[ITEM] = sum;
    BARRIER;
    u64 before = 0;
    for (int i = 0; i < GROUP; i++) before += i < ITEM ? part[i] : 0;
    if (at >= before && at < before + sum) {
        i64 v = first;
        for (; v < end; v++) {
            before += kept(l, r, v);
            if (before > at) break;
        }
        *id = (int)v;
    }
}

/* First word of Philox4x32-10 (Salmon et al. 2011). */
HELPER uint philox(u64 key, u64 high, u64 low)
{
    uint x0 = (uint)low, x1 = (uint)(low >> 32), x2 = (uint)high, x3 = (uint)(high >> 32);
    uint k0 = (uint)key, k1 = (uint)(key >> 32);
    for (int i = 0; i < 10; i++) {
        const u64 a = (u64)0xD2511F53u * x0, b = (u64)0xCD9E8D57u * x2;
        x0 = (uint)(b >> 32) ^ x1 ^ k0;
        x1 = (uint)b;
        x2 = (uint)(a >> 32) ^ x3 ^ k1;
        x3 = (uint)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x0;
}

/* floor(total part / 2^32) */
HELPER u64 share(u64 total, u64 part)
{
    return (total >> 32) * part + (((total & 0xffffffffu) * part) >> 32);
}

/* Step 1: an id of the history, by the item that meets it first. Groups: B. */
KERNEL void sample_penalty(GLOBAL float *l, GLOBAL const float *logits, GLOBAL const int *history,
                           mz_ksample k)
{
    const i64 b = GROUP_OF(0);
    for (i64 v = ITEM; v < k.V; v += GROUP)
        l[b * k.V + v] = logits[k.logits.at + b * k.logits.s0 + v];
    GLOBAL_BARRIER;
    for (i64 i = ITEM; k.has_penalty && i < k.history_n; i += GROUP) {
        const i64 at = k.history.at + b * k.history.s0, id = history[at + i * k.history.s1];
        int is_first = id >= 0 && id < k.V;
        for (i64 j = 0; is_first && j < i; j++) is_first = history[at + j * k.history.s1] != id;
        if (!is_first) continue;
        const float x = logits[k.logits.at + b * k.logits.s0 + id];
        l[b * k.V + id] = x > 0.0f ? x * k.penalty_inverse : x * k.penalty;
    }
}

/* Steps 2 to 7. Groups: B. */
KERNEL void sample(GLOBAL int *ids, GLOBAL const float *l, mz_ksample k)
{
    LOCAL u64 part[GROUP];
    LOCAL float room[GROUP];
    const i64 b = GROUP_OF(0);
    GLOBAL int *id = ids + k.ids.at + b * k.ids.s0;
    row r = {k.V, b * k.V, -INFINITE, k.temperature_inverse, 0, k.V, 0};
    for (i64 v = ITEM; v < k.V; v += GROUP) r.max = fmax(r.max, l[r.at + v]);
    r.max = group_max(r.max, room);
    i64 best = k.V;
    for (i64 v = ITEM; v < k.V; v += GROUP)
        if (l[r.at + v] == r.max && v < best) best = v;
    part[ITEM] = (u64)best;
    BARRIER;
    for (int i = 0; i < GROUP; i++) best = (i64)part[i] < best ? (i64)part[i] : best;
    BARRIER;
    const int is_none = !(r.max > -INFINITE);
    if (ITEM == 0) *id = is_none ? -1 : (int)best;
    if (is_none || k.is_greedy || r.max == INFINITE) return;
    if (k.top_k > 0 && k.top_k < k.V) r = keep_top_k(l, r, (u64)k.top_k, part);
    u64 sum = 0;
    for (i64 v = ITEM; v < k.V; v += GROUP) sum += kept(l, r, v);
    sum = group_total(sum, part);
    if (k.share_p < ((i64)1 << 32)) r = keep_top_p(l, r, share(sum, (u64)k.share_p), part);
    r.least = (u64)k.least;
    sum = 0;
    for (i64 v = ITEM; v < k.V; v += GROUP) sum += kept(l, r, v);
    const u64 total = group_total(sum, part);
    const u64 word = philox((u64)k.seed, (u64)b, (u64)k.counter) >> 8;
    GLOBAL_BARRIER;
    draw(id, l, r, (total >> 24) * word + (((total & 0xffffffu) * word) >> 24), part);
}
