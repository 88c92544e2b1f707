/* SPDX-License-Identifier: Apache-2.0 */
/* port/hf.c - a model's parameters in and out of a Hugging Face folder.
 *
 * On disk routed experts are one tensor each, and names are those of transformers. A tensor of the
 * parameter's own dtype is uploaded straight from the mapped file; others pass through a room of
 * CHUNK elements, so that a large model needs no copy of itself on the host.
 * Floor:  port. */
#include "port/hf.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "tensor/convert.h"

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

mz_err mz_hf_config(mz_config *c, const mz_hub *hub)
{
    MZ_NEED(c && hub, "no hub or no place for a config");
    mz_config read;
    MZ_TRY(mz_config_from_json(&read, mz_hub_config(hub), mz_hub_config_path(hub)));
    /* transformers announces MTP layers in config.json and does not write them */
    if (read.mtp_layers > 0 && !has_mtp(hub, &read)) read.mtp_layers = 0;
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
    if (fits && mz_dtype_is_float(t->dtype)) return MZ_OK;
    char has[96] = "", want[96] = "";
    for (int i = 0, n = 0; i < t->rank && n < 70; i++)
        n +=
            snprintf(has + n, sizeof has - (size_t)n, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    for (int i = 0, n = 0; i < view->rank; i++)
        n += snprintf(want + n, sizeof want - (size_t)n, "%s%lld", i ? "," : "",
                      (long long)view->dim[i]);
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s is %s [%s], expected a float of [%s]", name,
                               mz_dtype_name(t->dtype), has, want);
    mz_note_where(mz_hub_folder(hub), name, (int64_t)t->offset);
    return err;
}

/* Elements first .. first+n-1 of a dense view, as one run. */
static mz_tensor run_of(const mz_tensor *view, int64_t first, int64_t n)
{
    const size_t at = view->offset_bytes + (size_t)first * mz_dtype_bytes(view->dtype);
    return mz_view(view->buf, at, view->dtype, 1, &n);
}

static mz_err load_one(mz_queue *q, const mz_tensor *view, const mz_st_tensor *t, void *room)
{
    if (t->count == 0) return MZ_OK;
    if (t->dtype == view->dtype) return mz_upload(q, view, t->data);
    void *host = mz_host(view);
    if (host) return mz_convert(host, view->dtype, t->data, t->dtype, t->count);
    for (int64_t at = 0; at < t->count; at += CHUNK) {
        const int64_t n = t->count - at < CHUNK ? t->count - at : CHUNK;
        const mz_tensor part = run_of(view, at, n);
        const unsigned char *from =
            (const unsigned char *)t->data + (size_t)at * mz_dtype_bytes(t->dtype);
        MZ_TRY(mz_convert(room, view->dtype, from, t->dtype, n));
        MZ_TRY(mz_upload(q, &part, room));
        MZ_TRY(mz_queue_sync(q)); /* the room is written again */
    }
    return MZ_OK;
}

static int64_t disk_total(const mz_params *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++) n += mz_param_disk_count(&p->list[i]);
    return n;
}

/* Calls for every tensor that the list wants: checks it, keeps it in used[]. */
static mz_err check_all(const mz_params *p, const mz_hub *hub, const mz_st_tensor **used)
{
    char name[NAME_BYTES];
    for (int64_t i = 0, at = 0; i < p->n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&p->list[i]); e++, at++) {
            const mz_tensor view = mz_param_disk_view(&p->list[i], &p->list[i].w, e);
            MZ_TRY(mz_param_disk_name(&p->list[i], e, name, sizeof name));
            used[at] = mz_hub_find(hub, name);
            MZ_TRY(check_tensor(hub, used[at], name, &view));
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

/* used: [n] sorted by address */
static mz_err check_rest(const mz_config *c, const mz_hub *hub, const mz_st_tensor **used,
                         int64_t n)
{
    for (int64_t i = 0; i < mz_hub_count(hub); i++) {
        const char *file = NULL;
        const mz_st_tensor *t = mz_hub_at(hub, i, &file);
        if (n > 0 && bsearch(&t, used, (size_t)n, sizeof *used, by_address)) continue;
        if (is_idle(t, c, hub)) continue;
        const mz_err err =
            MZ_FAIL(MZ_ECORRUPT, "%s belongs to no part of the network that config.json describes",
                    t->name);
        mz_note_where(file, t->name, (int64_t)t->offset);
        return err;
    }
    return MZ_OK;
}

static mz_err load_all(mz_params *p, mz_queue *q, const mz_st_tensor *const *used, void *room)
{
    for (int64_t i = 0, at = 0; i < p->n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&p->list[i]); e++, at++) {
            const mz_tensor view = mz_param_disk_view(&p->list[i], &p->list[i].w, e);
            MZ_TRY(load_one(q, &view, used[at], room));
        }
    return mz_queue_sync(q);
}

mz_err mz_hf_load(mz_params *p, mz_queue *q, const mz_config *c, const mz_hub *hub)
{
    MZ_NEED(p && q && c && hub && p->weights, "no parameters with buffers, queue, config or hub");
    const mz_st_tensor **used = NULL, **sorted = NULL;
    void *room = NULL;
    const int64_t n = disk_total(p);
    mz_err err = mz_queue_sync(q); /* nothing may still use what is overwritten */
    if (err == MZ_OK) err = mz_mem_new(&used, n, sizeof *used);
    if (err == MZ_OK) err = mz_mem_new(&sorted, n, sizeof *sorted);
    if (err == MZ_OK) err = mz_mem_new(&room, CHUNK, sizeof(double));
    if (err == MZ_OK) err = check_all(p, hub, used);
    if (err == MZ_OK) {
        if (n > 0) memcpy(sorted, used, (size_t)n * sizeof *used);
        qsort(sorted, (size_t)n, sizeof *sorted, by_address);
        err = check_rest(c, hub, sorted, n);
    }
    if (err == MZ_OK) err = load_all(p, q, used, room);
    mz_mem_free(room);
    mz_mem_free(sorted);
    mz_mem_free(used);
    return err;
}

/* ---- save ---- */

typedef struct named { /* one tensor on disk */
    char name[NAME_BYTES];
    const mz_param *param;
    int64_t e;
} named;

static int by_name(const void *pa, const void *pb)
{
    const named *a = pa, *b = pb;
    return strcmp(a->name, b->name);
}

/* A selection bias is moved by small steps that bf16 would swallow: it stays in f32. */
static mz_dtype disk_dtype(const mz_param *p, mz_dtype dtype)
{
    return p->kind == MZ_PARAM_ROUTER_BIAS ? MZ_F32 : dtype;
}

static mz_err declare_all(mz_st_writer *w, const mz_params *p, named *list, mz_dtype dtype)
{
    for (int64_t i = 0, at = 0; i < p->n; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&p->list[i]); e++, at++) {
            const mz_tensor view = mz_param_disk_view(&p->list[i], &p->list[i].w, e);
            list[at].param = &p->list[i];
            list[at].e = e;
            MZ_TRY(mz_param_disk_name(&p->list[i], e, list[at].name, sizeof list[at].name));
            MZ_TRY(mz_st_writer_declare(w, list[at].name, disk_dtype(&p->list[i], dtype), view.rank,
                                        view.dim));
        }
    return MZ_OK;
}

/* room: CHUNK doubles as they come from the chip, then CHUNK doubles as they go to the file */
static mz_err save_one(mz_st_writer *w, mz_queue *q, const named *one, mz_dtype dtype,
                       unsigned char *room)
{
    const mz_tensor view = mz_param_disk_view(one->param, &one->param->w, one->e);
    const mz_dtype to = disk_dtype(one->param, dtype);
    const int64_t count = mz_count(&view);
    unsigned char *out = room + CHUNK * sizeof(double);
    for (int64_t at = 0; at < count; at += CHUNK) {
        const int64_t n = count - at < CHUNK ? count - at : CHUNK;
        const mz_tensor part = run_of(&view, at, n);
        MZ_TRY(mz_download(q, room, &part));
        MZ_TRY(mz_queue_sync(q));
        MZ_TRY(mz_convert(out, to, room, view.dtype, n));
        MZ_TRY(mz_st_writer_put(w, out, (size_t)n * mz_dtype_bytes(to)));
    }
    return MZ_OK;
}

static mz_err save_weights(const mz_params *p, mz_queue *q, const char *path, mz_dtype dtype)
{
    mz_st_writer *w = NULL;
    named *list = NULL;
    unsigned char *room = NULL;
    const int64_t n = disk_total(p);
    mz_err err = mz_st_writer_new(&w, path);
    if (err == MZ_OK) err = mz_mem_new(&list, n, sizeof *list);
    if (err == MZ_OK) err = mz_mem_new(&room, 2 * CHUNK, sizeof(double));
    if (err == MZ_OK) err = declare_all(w, p, list, dtype);
    if (err == MZ_OK) err = mz_st_writer_begin(w);
    if (err == MZ_OK) qsort(list, (size_t)n, sizeof *list, by_name);
    for (int64_t i = 0; err == MZ_OK && i < n; i++) {
        named key = {.e = 0};
        snprintf(key.name, sizeof key.name, "%s", mz_st_writer_at(w, i)->name);
        const named *one = bsearch(&key, list, (size_t)n, sizeof *list, by_name);
        err = one ? save_one(w, q, one, dtype, room)
                  : MZ_FAIL(MZ_EINVAL, "%s was declared and is not there", key.name);
    }
    if (err == MZ_OK)
        err = mz_st_writer_commit(w);
    else
        mz_st_writer_abort(w);
    mz_mem_free(room);
    mz_mem_free(list);
    return err;
}

static const char *torch_name(mz_dtype d)
{
    return d == MZ_F32 ? "float32" : d == MZ_BF16 ? "bfloat16" : "float16";
}

static mz_err save_config(const mz_config *c, const char *path, mz_dtype dtype)
{
    json_t *json = NULL;
    MZ_TRY(mz_config_to_json(&json, c));
    mz_err err = MZ_OK;
    if (json_object_set_new(json, "torch_dtype", json_string(torch_name(dtype))) != 0)
        err = MZ_FAIL(MZ_ENOMEM, "no memory for a config");
    if (err == MZ_OK) err = mz_json_write(json, path);
    json_decref(json);
    return err;
}

mz_err mz_hf_save(const mz_params *p, mz_queue *q, const mz_config *c, const char *folder,
                  mz_dtype dtype)
{
    MZ_NEED(p && q && c && folder && p->weights, "no parameters with buffers, queue or folder");
    MZ_NEED(dtype == MZ_F32 || dtype == MZ_BF16 || dtype == MZ_F16, "weights cannot be saved as %s",
            mz_dtype_name(dtype));
    char path[PATH_MAX];
    MZ_TRY(mz_file_mkdirs(folder));
    MZ_TRY(mz_path_join(path, sizeof path, folder, "model.safetensors"));
    MZ_TRY(save_weights(p, q, path, dtype));
    MZ_TRY(mz_path_join(path, sizeof path, folder, "config.json"));
    return save_config(c, path, dtype); /* last: without it the folder is no model */
}
