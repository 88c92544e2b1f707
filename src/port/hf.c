/* SPDX-License-Identifier: Apache-2.0 */
/* port/hf.c - a model's parameters out of a Hugging Face folder.
 *
 * On disk routed experts are one tensor each, and names are those of transformers. A tensor of the
 * parameter's own dtype is uploaded straight from the mapped file; others pass through a room of
 * CHUNK elements, so that a large model needs no copy of itself on the host.
 * Floor:  port. */
#include "port/hf.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "port/disk.h"
#include "port/hf_stored.h"
#include "tensor/convert.h"
#include "tensor/finite.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 19, NAME_BYTES = 160 };

/* ---- config ---- */

static bool has_mtp(const mz_hub *hub, const mz_config *c)
{
    char prefix[48];
    snprintf(prefix, sizeof prefix, "model.layers.%lld.", (long long)c->layers);
    for (int64_t i = 0; i < mz_hub_count(hub); i++)
        if (mz_str_starts(mz_hub_at(hub, i, NULL)->name, prefix)) return true;
    return false;
}

/* transformers keeps moe_layer_freq in config.json and gives experts to every layer. */
static bool has_every_expert(const mz_hub *hub, const mz_config *c)
{
    char name[64];
    for (int64_t i = c->moe.first_dense; i < c->layers; i++) {
        snprintf(name, sizeof name, "model.layers.%lld.mlp.gate.weight", (long long)i);
        if (!mz_hub_find(hub, name)) return false;
    }
    return true;
}

mz_err mz_hf_config(mz_config *c, const mz_hub *hub)
{
    MZ_NEED(c && hub, "no hub or no place for a config");
    mz_config read;
    MZ_TRY(mz_config_from_json(&read, mz_hub_config(hub), mz_hub_config_path(hub)));
    /* transformers announces MTP layers in config.json and does not write them */
    if (read.mtp_layers > 0 && !has_mtp(hub, &read)) read.mtp_layers = 0;
    if (read.moe.layer_freq > 1 && has_every_expert(hub, &read)) read.moe.layer_freq = 1;
    *c = read;
    return MZ_OK;
}

/* ---- load ---- */

/* transformers gives router weights and biases no other shape than ours; all must fit exactly. */
static mz_err check_tensor(const mz_hub *hub, const mz_st_tensor *t, const char *name,
                           const mz_tensor *view)
{
    if (!t) {
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s is missing, which config.json asks for", name);
        mz_note_where(mz_hub_folder(hub), name, -1);
        return err;
    }
    bool fits = t->rank == view->rank;
    for (int i = 0; fits && i < t->rank; i++) fits = t->dim[i] == view->dim[i];
    if (fits && (mz_dtype_is_float(t->dtype) || t->dtype == MZ_F8_E4M3)) return MZ_OK;
    char has[96] = "", want[96] = "";
    for (int i = 0, n = 0; i < t->rank && n < 70; i++)
        n +=
            snprintf(has + n, sizeof has - (size_t)n, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    for (int i = 0, n = 0; i < view->rank; i++)
        n += snprintf(want + n, sizeof want - (size_t)n, "%s%lld", i ? "," : "",
                      (long long)view->dim[i]);
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s is %s [%s], expected a float of [%s]", name,
                               mz_dtype_name(t->dtype), has, want);
    mz_note_where(mz_hub_file_of(hub, t), name, (int64_t)t->offset);
    return err;
}

/* ---- weights in blocks of E4M3 (DeepSeek-V3 report 3.3: a scale for each block, to multiply with)
 * ---- */

/* Sizes of a block, from a config that was checked. */
static void block_sizes(const mz_hub *hub, int64_t block[2])
{
    const json_t *o = json_object_get(mz_hub_config(hub), "quantization_config");
    const json_t *list = json_object_get(o, "weight_block_size");
    for (size_t i = 0; i < 2; i++) block[i] = (int64_t)json_integer_value(json_array_get(list, i));
}

/* *out is the tensor of the scales of t, NULL if t needs none. */
static mz_err find_scale(const mz_hub *hub, const mz_st_tensor *t, const mz_st_tensor **out)
{
    char name[NAME_BYTES + 16];
    int64_t block[2];
    *out = NULL;
    if (t->dtype != MZ_F8_E4M3) return MZ_OK;
    block_sizes(hub, block);
    snprintf(name, sizeof name, "%s_scale_inv", t->name);
    const mz_st_tensor *scale = mz_hub_find(hub, name);
    bool fits = scale && t->rank == 2 && scale->rank == 2 && block[0] > 0 && block[1] > 0;
    for (int i = 0; fits && i < 2; i++)
        fits = scale->dim[i] == (t->dim[i] + block[i] - 1) / block[i];
    if (fits && mz_convert_can(MZ_F32, scale->dtype)) {
        *out = scale;
        return MZ_OK;
    }
    const mz_err err = MZ_FAIL(MZ_ECORRUPT,
                               "%s must be there for %s, a float for each block of "
                               "[%lld,%lld] numbers",
                               name, t->name, (long long)block[0], (long long)block[1]);
    mz_note_where(mz_hub_file_of(hub, scale ? scale : t), name,
                  scale ? (int64_t)scale->offset : (int64_t)t->offset);
    return err;
}

/* One scale, whatever its dtype. Checked by find_scale, so that it cannot fail. */
static float scale_at(const mz_st_tensor *scale, int64_t i)
{
    float x = 0.0f;
    const size_t bytes = mz_dtype_bytes(scale->dtype);
    (void)mz_convert(&x, MZ_F32, (const unsigned char *)scale->data + (size_t)i * bytes,
                     scale->dtype, 1);
    return x;
}

/* Numbers at .. at + n - 1 of t, each with its block's scale. Row and column are walked, so that no
 * number costs a division. */
static mz_err expand_blocks(float *out, const mz_st_tensor *t, const mz_st_tensor *scale,
                            const int64_t block[2], int64_t at, int64_t n)
{
    const int64_t cols = t->dim[1];
    MZ_TRY(mz_convert(out, MZ_F32, (const unsigned char *)t->data + at, t->dtype, n));
    for (int64_t i = 0; i < n;) {
        const int64_t row = (at + i) / cols, col = (at + i) % cols;
        int64_t run = block[1] - col % block[1];
        if (run > cols - col) run = cols - col;
        if (run > n - i) run = n - i;
        const float s = scale_at(scale, row / block[0] * scale->dim[1] + col / block[1]);
        for (const int64_t end = i + run; i < end; i++) out[i] *= s;
    }
    return MZ_OK;
}

/* room: CHUNK doubles as they go to the chip, then CHUNK floats */
static mz_err load_blocks(mz_queue *q, const mz_tensor *view, const mz_st_tensor *t,
                          const mz_st_tensor *scale, const int64_t block[2], unsigned char *room)
{
    float *wide = (float *)(void *)(room + CHUNK * sizeof(double));
    for (int64_t at = 0; at < t->count; at += CHUNK) {
        const int64_t n = t->count - at < CHUNK ? t->count - at : CHUNK;
        const mz_tensor part = mz_disk_run(view, at, n);
        MZ_TRY(expand_blocks(wide, t, scale, block, at, n));
        if (mz_first_not_finite(wide, MZ_F32, n) >= 0)
            return MZ_FAIL(MZ_ECORRUPT, "%s: a number and its scale are together past f32",
                           t->name);
        MZ_TRY(mz_convert(room, view->dtype, wide, MZ_F32, n));
        MZ_TRY(mz_upload(q, &part, room));
        MZ_TRY(mz_queue_sync(q)); /* the room is written again */
    }
    return MZ_OK;
}

/* ---- */

/* A weight that is no number makes every result one that is none, so it is refused, as it is from a
 * GGUF. */
static mz_err check_finite(const mz_hub *hub, const mz_st_tensor *t)
{
    const int64_t i = mz_first_not_finite(t->data, t->dtype, t->count);
    if (i < 0) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: number %lld is not finite", t->name, (long long)i);
    mz_note_where(mz_hub_file_of(hub, t), t->name,
                  (int64_t)t->offset + i * (int64_t)mz_dtype_bytes(t->dtype));
    mz_note_fix("`mizan verify` reads every number of a model");
    return err;
}

static mz_err load_one(mz_queue *q, const mz_tensor *view, const mz_st_tensor *t, void *room)
{
    if (t->count == 0) return MZ_OK;
    if (t->dtype == view->dtype) return mz_upload(q, view, t->data);
    void *host = mz_host(view);
    if (host) return mz_convert(host, view->dtype, t->data, t->dtype, t->count);
    for (int64_t at = 0; at < t->count; at += CHUNK) {
        const int64_t n = t->count - at < CHUNK ? t->count - at : CHUNK;
        const mz_tensor part = mz_disk_run(view, at, n);
        const unsigned char *from =
            (const unsigned char *)t->data + (size_t)at * mz_dtype_bytes(t->dtype);
        MZ_TRY(mz_convert(room, view->dtype, from, t->dtype, n));
        MZ_TRY(mz_upload(q, &part, room));
        MZ_TRY(mz_queue_sync(q)); /* the room is written again */
    }
    return MZ_OK;
}

/* Checks every tensor that the list wants: used[i] is the i-th, used[total + i] its scales or NULL.
 */
static mz_err check_all(const mz_params *p, const mz_hub *hub, const mz_st_tensor **used)
{
    char name[NAME_BYTES];
    const int64_t total = mz_disk_total(p);
    for (int64_t i = 0, at = 0; i < p->n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&p->list[i]); e++, at++) {
            const mz_tensor view = mz_param_disk_view(&p->list[i], &p->list[i].w, e);
            MZ_TRY(mz_param_disk_name(&p->list[i], e, name, sizeof name));
            used[at] = mz_hub_find(hub, name);
            MZ_TRY(check_tensor(hub, used[at], name, &view));
            MZ_TRY(find_scale(hub, used[at], &used[total + at]));
        }
    return MZ_OK;
}

static int by_address(const void *pa, const void *pb)
{
    const mz_st_tensor *const *a = pa, *const *b = pb;
    const uintptr_t x = (uintptr_t)*a, y = (uintptr_t)*b;
    return x < y ? -1 : x > y;
}

static bool same_data(const mz_st_tensor *a, const mz_st_tensor *b)
{
    return a && b && a->dtype == b->dtype && a->bytes == b->bytes &&
           (a->bytes == 0 || memcmp(a->data, b->data, (size_t)a->bytes) == 0);
}

/* Whether a tensor that no parameter wants changes nothing: what transformers passes over too. */
static bool is_idle(const mz_st_tensor *t, const mz_config *c, const mz_hub *hub)
{
    const mz_st_tensor *table = mz_hub_find(hub, "model.embed_tokens.weight");
    const mz_st_tensor *head = c->tied ? table : mz_hub_find(hub, "lm_head.weight");
    char copy[64];
    if (t->count == 0 || mz_str_ends(t->name, ".rotary_emb.inv_freq")) return true;
    if (c->tied && strcmp(t->name, "lm_head.weight") == 0) return same_data(t, table);
    for (int64_t i = 0; i < c->mtp_layers; i++) {
        const long long layer = (long long)(c->layers + i);
        snprintf(copy, sizeof copy, "model.layers.%lld.embed_tokens.weight", layer);
        if (strcmp(t->name, copy) == 0) return same_data(t, table);
        snprintf(copy, sizeof copy, "model.layers.%lld.shared_head.head.weight", layer);
        if (strcmp(t->name, copy) == 0) return same_data(t, head);
    }
    return false;
}

/* Whether it belongs to an MTP layer, of which generating and judging bind none. */
static bool is_of_mtp(const mz_st_tensor *t, const mz_config *c)
{
    char layer[64];
    for (int64_t i = 0; i < c->mtp_layers; i++) {
        (void)snprintf(layer, sizeof layer, "model.layers.%lld.", (long long)(c->layers + i));
        if (mz_str_starts(t->name, layer)) return true;
    }
    return false;
}

static bool binds_mtp(const mz_params *p, const mz_config *c)
{
    char layer[64];
    (void)snprintf(layer, sizeof layer, "model.layers.%lld.", (long long)c->layers);
    for (int64_t i = 0; i < p->n; i++)
        if (mz_str_starts(p->list[i].name, layer)) return true;
    return false;
}

/* used: [n] sorted by address */
static mz_err check_rest(const mz_params *p, const mz_config *c, const mz_hub *hub,
                         const mz_st_tensor **used, int64_t n)
{
    const bool leaves_mtp = !binds_mtp(p, c);
    for (int64_t i = 0; i < mz_hub_count(hub); i++) {
        const char *file = NULL;
        const mz_st_tensor *t = mz_hub_at(hub, i, &file);
        if (n > 0 && bsearch(&t, used, (size_t)n, sizeof *used, by_address)) continue;
        if (is_idle(t, c, hub) || (leaves_mtp && is_of_mtp(t, c))) continue;
        const mz_err err =
            MZ_FAIL(MZ_ECORRUPT, "%s belongs to no part of the network that config.json describes",
                    t->name);
        mz_note_where(file, t->name, (int64_t)t->offset);
        return err;
    }
    return MZ_OK;
}

static mz_err load_all(mz_params *p, mz_queue *q, const mz_hub *hub,
                       const mz_st_tensor *const *used, void *room)
{
    const int64_t total = mz_disk_total(p);
    int64_t block[2];
    block_sizes(hub, block);
    for (int64_t i = 0, at = 0; i < p->n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&p->list[i]); e++, at++) {
            const mz_tensor view = mz_param_disk_view(&p->list[i], &p->list[i].w, e);
            const mz_st_tensor *scale = used[total + at];
            MZ_TRY(check_finite(hub, used[at]));
            if (scale) MZ_TRY(check_finite(hub, scale));
            if (p->list[i].outside)
                MZ_TRY(mz_hf_map(p, i, q, used[at]));
            else
                MZ_TRY(scale ? load_blocks(q, &view, used[at], scale, block, room)
                             : load_one(q, &view, used[at], room));
        }
    MZ_TRY(mz_queue_sync(q));
    return mz_hub_intact(hub);
}

/* used: [2 n], sorted: [2 n] for a copy by address; n tensors on disk */
static mz_err check_network(const mz_params *p, const mz_config *c, const mz_hub *hub,
                            const mz_st_tensor **used, const mz_st_tensor **sorted)
{
    const int64_t n = 2 * mz_disk_total(p);
    MZ_TRY(check_all(p, hub, used));
    if (n > 0) memcpy(sorted, used, (size_t)n * sizeof *used);
    qsort(sorted, (size_t)n, sizeof *sorted, by_address);
    if (p->is_part) return MZ_OK; /* the rest is the other parts' */
    return check_rest(p, c, hub, sorted, n);
}

mz_err mz_hf_check(const mz_config *c, const mz_hub *hub)
{
    MZ_NEED(c && hub, "no config or no hub");
    mz_params list = {0};
    const mz_st_tensor **used = NULL;
    if (c->layers > mz_hub_count(hub)) { /* or the list alone would be larger than the files */
        const char *const steps[] = {"num_hidden_layers"};
        const mz_err err = MZ_FAIL(MZ_ECORRUPT,
                                   "num_hidden_layers is %lld, the weights have %lld "
                                   "tensors",
                                   (long long)c->layers, (long long)mz_hub_count(hub));
        mz_note_where(mz_hub_config_path(hub), steps[0],
                      mz_json_offset(mz_hub_config_path(hub), steps, 1));
        return err;
    }
    MZ_TRY(mz_params_list(&list, c, MZ_F32));
    const int64_t n = 2 * mz_disk_total(&list);
    mz_err err = mz_mem_new(&used, 2 * n, sizeof *used);
    if (err == MZ_OK) err = check_network(&list, c, hub, used, used + n);
    mz_mem_free(used);
    mz_params_clear(&list);
    return err;
}

mz_err mz_hf_load(mz_params *p, mz_queue *q, const mz_config *c, const mz_hub *hub)
{
    MZ_NEED(p && q && c && hub && p->weights, "no parameters with buffers, queue, config or hub");
    const mz_st_tensor **used = NULL, **sorted = NULL;
    void *room = NULL;
    const int64_t n = 2 * mz_disk_total(p);
    mz_err err = mz_queue_sync(q); /* nothing may still use what is overwritten */
    if (err == MZ_OK) err = mz_mem_new(&used, n, sizeof *used);
    if (err == MZ_OK) err = mz_mem_new(&sorted, n, sizeof *sorted);
    if (err == MZ_OK) err = mz_mem_new(&room, 2 * CHUNK, sizeof(double));
    if (err == MZ_OK) err = check_network(p, c, hub, used, sorted);
    if (err == MZ_OK) err = load_all(p, q, hub, used, room);
    mz_mem_free(room);
    mz_mem_free(sorted);
    mz_mem_free(used);
    return err;
}
