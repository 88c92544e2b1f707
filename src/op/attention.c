/* SPDX-License-Identifier: Apache-2.0 */
/* op/attention.c - the doors of attention and decode. The numbers of cu, lens and table are on the
 * device and not checked; a host copy of cu is. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

#include <math.h>

static mz_err check_heads(int64_t H, int64_t G, double scale)
{
    MZ_TRY(mz_need_in(G, 1, INT64_MAX, "G"));
    MZ_TRY(mz_need_in(H, 1, INT64_MAX, "H"));
    MZ_NEED(H % G == 0, "%lld heads do not share %lld keys evenly", (long long)H, (long long)G);
    MZ_NEED(isfinite(scale), "scale is %g", scale);
    return MZ_OK;
}

mz_err mz_door_attention_desc(const mz_attention_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(check_heads(d->H, d->G, d->scale));
    MZ_TRY(mz_need_in(d->T_max, 0, INT32_MAX, "T_max"));
    MZ_TRY(mz_need_in(d->sequences_max, 0, INT32_MAX - 1, "sequences_max"));
    MZ_TRY(mz_need_in(d->K, 1, INT64_MAX, "K"));
    MZ_TRY(mz_need_in(d->W, 1, INT64_MAX, "W"));
    MZ_TRY(mz_need_shape(3, (const int64_t[]){d->T_max, d->H, d->K}));
    return mz_need_shape(3, (const int64_t[]){d->T_max, d->H, d->W});
}

/* cu_host, where it is given, holds the numbers of cu: from 0 up to T. */
static mz_err check_cu_host(const int32_t *cu, int64_t n, int64_t T)
{
    if (!cu) return MZ_OK;
    MZ_NEED(cu[0] == 0 && cu[n] == T, "attention: cu_host runs from %d to %d, want 0 to %lld",
            (int)cu[0], (int)cu[n], (long long)T);
    for (int64_t i = 0; i < n; i++)
        MZ_NEED(cu[i] <= cu[i + 1], "attention: cu_host[%lld] is %d after %d", (long long)i + 1,
                (int)cu[i + 1], (int)cu[i]);
    return MZ_OK;
}

mz_err mz_door_attention_args(mz_call *c)
{
    const mz_attention_desc *d = &c->desc->u.attention;
    int64_t T = 0, ends = 0;
    MZ_TRY(mz_call_dim(c, "q", 3, 0, d->T_max, &T));
    MZ_TRY(mz_call_dim(c, "cu", 1, 0, d->sequences_max + 1, &ends));
    const mz_want wants[] = {
        {"out", d->dtype, MZ_ROWS, 3, {T, d->H, d->W}, 0},
        {"dout", d->dtype, MZ_ROWS, 3, {T, d->H, d->W}, 0},
        {"q", d->dtype, MZ_ROWS, 3, {T, d->H, d->K}, 0},
        {"dq", d->dtype, MZ_ROWS, 3, {T, d->H, d->K}, 0},
        {"k", d->dtype, MZ_ROWS, 3, {T, d->G, d->K}, 0},
        {"dk", d->dtype, MZ_ROWS, 3, {T, d->G, d->K}, 0},
        {"v", d->dtype, MZ_ROWS, 3, {T, d->G, d->W}, 0},
        {"dv", d->dtype, MZ_ROWS, 3, {T, d->G, d->W}, 0},
        {"cu", MZ_I32, MZ_DENSE, 1, {ends}, 0},
    };
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    MZ_NEED(ends >= (T > 0 ? 2 : 1), "attention: cu has %lld numbers for %lld tokens",
            (long long)ends, (long long)T);
    c->is_idle = T == 0;
    return check_cu_host(c->args->k.attention.cu_host, ends - 1, T);
}

mz_err mz_door_decode_desc(const mz_decode_desc *d)
{
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_TRY(check_heads(d->H, d->G, d->scale));
    MZ_TRY(mz_need_in(d->T_max, 0, INT32_MAX, "T_max"));
    MZ_TRY(mz_need_in(d->B_max, 0, INT32_MAX - 1, "B_max"));
    MZ_TRY(mz_need_in(d->K, 1, INT64_MAX, "K"));
    MZ_TRY(mz_need_in(d->W, 1, INT64_MAX, "W"));
    MZ_TRY(mz_need_in(d->page, 1, INT32_MAX, "page"));
    MZ_TRY(mz_need_in(d->pages_per_seq_max, 1, INT32_MAX / d->page, "pages_per_seq_max"));
    MZ_TRY(mz_need_shape(3, (const int64_t[]){d->T_max, d->H, d->K}));
    return mz_need_shape(3, (const int64_t[]){d->T_max, d->H, d->W});
}

mz_err mz_door_decode_args(mz_call *c)
{
    const mz_decode_desc *d = &c->desc->u.decode;
    int64_t T = 0, B = 0, pages = 0, columns = 0;
    MZ_TRY(mz_call_dim(c, "q", 3, 0, d->T_max, &T));
    MZ_TRY(mz_call_dim(c, "lens", 1, 0, d->B_max, &B));
    MZ_TRY(mz_call_dim(c, "k_cache", 4, 0, INT32_MAX, &pages));
    MZ_TRY(mz_call_dim(c, "table", 2, 1, d->pages_per_seq_max, &columns));
    const mz_want wants[] = {
        {"out", d->dtype, MZ_ROWS, 3, {T, d->H, d->W}, 0},
        {"q", d->dtype, MZ_ROWS, 3, {T, d->H, d->K}, 0},
        {"k_cache", d->dtype, MZ_ROWS, 4, {pages, d->page, d->G, d->K}, 0},
        {"v_cache", d->dtype, MZ_ROWS, 4, {pages, d->page, d->G, d->W}, 0},
        {"table", MZ_I32, MZ_DENSE, 2, {B, columns}, 0},
        {"lens", MZ_I32, MZ_DENSE, 1, {B}, 0},
        {"cu", MZ_I32, MZ_DENSE, 1, {B + 1}, 0},
    };
    MZ_TRY(mz_call_wants(c, wants, MZ_COUNT(wants)));
    MZ_NEED(T == 0 || B > 0, "decode: %lld tokens of no sequence", (long long)T);
    c->is_idle = T == 0;
    return MZ_OK;
}
