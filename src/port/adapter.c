/* SPDX-License-Identifier: Apache-2.0 */
/* port/adapter.c - reading, see adapter.h. Floor: port. */
#include "port/adapter.h"

#include "base/file.h"
#include "base/inside.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "file/safetensors.h"
#include "port/disk.h"
#include "tensor/convert.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { JSON_MAX = 16 << 20, CHUNK = 1 << 19, NAME_BYTES = 256 };

static const char PREFIX[] = "base_model.model.", A_END[] = ".lora_A.weight",
                  B_END[] = ".lora_B.weight";

struct mz_adapter {
    char path[PATH_MAX]; /* of adapter_config.json */
    mz_st_file *file;
    int64_t rank;
    double scale;
};

/* ---- the config ---- */

static mz_err bad(const mz_adapter *a, mz_err code, const char *field, const char *what)
{
    mz_note(code, __FILE__, __LINE__, "%s: %s %s", a->path, field, what);
    mz_note_where(a->path, field, -1);
    return code;
}

/* Whether a field is there and says something. */
static bool says(const json_t *o, const char *name)
{
    const json_t *x = json_object_get(o, name);
    return x && !json_is_null(x) && !json_is_false(x) &&
           !(json_is_array(x) && json_array_size(x) == 0) &&
           !(json_is_object(x) && json_object_size(x) == 0);
}

static mz_err read_config(mz_adapter *a, const json_t *o)
{
    static const char *const refused[] = {"use_dora",
                                          "modules_to_save",
                                          "rank_pattern",
                                          "alpha_pattern",
                                          "fan_in_fan_out",
                                          "lora_bias",
                                          "trainable_token_indices",
                                          "target_parameters"};
    const char *type = json_string_value(json_object_get(o, "peft_type"));
    const char *bias = json_string_value(json_object_get(o, "bias"));
    const json_t *r = json_object_get(o, "r"), *alpha = json_object_get(o, "lora_alpha");
    if (!type || strcmp(type, "LORA") != 0)
        return bad(a, MZ_ENOTSUP, "peft_type", "is not LORA, which alone is built in");
    if (bias && strcmp(bias, "none") != 0)
        return bad(a, MZ_ENOTSUP, "bias", "is not none: adapters of biases are not built in");
    for (int i = 0; i < MZ_COUNT(refused); i++)
        if (says(o, refused[i])) return bad(a, MZ_ENOTSUP, refused[i], "is not built in");
    if (!json_is_integer(r) || json_integer_value(r) < 1 || json_integer_value(r) > 65536)
        return bad(a, MZ_ECORRUPT, "r", "is not a rank");
    if (!json_is_number(alpha) || !isfinite(json_number_value(alpha)))
        return bad(a, MZ_ECORRUPT, "lora_alpha", "is not a number");
    a->rank = json_integer_value(r);
    const double by = says(o, "use_rslora") ? sqrt((double)a->rank) : (double)a->rank;
    a->scale = json_number_value(alpha) / by;
    return MZ_OK;
}

static mz_err open_files(mz_adapter *a, const char *folder)
{
    char path[PATH_MAX];
    json_t *o = NULL;
    MZ_TRY(mz_path_join(a->path, sizeof a->path, folder, "adapter_config.json"));
    if (mz_file_exists(a->path)) MZ_TRY(mz_inside_check(folder, "adapter_config.json"));
    MZ_TRY(mz_json_read(&o, a->path, JSON_MAX));
    mz_err err = read_config(a, o);
    json_decref(o);
    if (err == MZ_OK) err = mz_path_join(path, sizeof path, folder, "adapter_model.safetensors");
    if (err == MZ_OK && mz_file_exists(path))
        err = mz_inside_check(folder, "adapter_model.safetensors");
    return err == MZ_OK ? mz_st_open(&a->file, path) : err;
}

mz_err mz_adapter_open(mz_adapter **out, const char *folder)
{
    mz_adapter *a = NULL;
    MZ_NEED(out && folder, "no folder, or no place for an adapter");
    MZ_TRY(mz_mem_new(&a, 1, sizeof *a));
    const mz_err err = open_files(a, folder);
    if (err != MZ_OK) {
        mz_adapter_close(a);
        return err;
    }
    *out = a;
    return MZ_OK;
}

void mz_adapter_close(mz_adapter *a)
{
    if (!a) return;
    mz_st_close(a->file);
    mz_mem_free(a);
}

/* ---- tensors ---- */

static mz_err odd(const mz_adapter *a, const mz_st_tensor *t, mz_err code, const char *what)
{
    mz_note(code, __FILE__, __LINE__, "%s: %s %s", mz_st_path(a->file), t->name, what);
    mz_note_where(mz_st_path(a->file), t->name, (int64_t)t->offset);
    return code;
}

/* As doubles; *out is the caller's to free. */
static mz_err read_values(const mz_adapter *a, const mz_st_tensor *t, double **out)
{
    double *x = NULL;
    if (!mz_convert_can(MZ_F64, t->dtype)) return odd(a, t, MZ_ECORRUPT, "is of no float type");
    MZ_TRY(mz_mem_new(&x, t->count, sizeof *x));
    mz_err err = mz_convert(x, MZ_F64, t->data, t->dtype, t->count);
    for (int64_t i = 0; i < t->count && err == MZ_OK; i++)
        if (!isfinite(x[i])) err = odd(a, t, MZ_ECORRUPT, "holds a number that is not finite");
    if (err == MZ_OK)
        *out = x;
    else
        mz_mem_free(x);
    return err;
}

typedef struct pair {
    const mz_st_tensor *a, *b;
    char module[NAME_BYTES];
} pair;

/* The A of tensor i with its B; *found false where it is a B, which comes with its A. */
static mz_err pair_at(const mz_adapter *a, int64_t i, pair *p, bool *found)
{
    char name[NAME_BYTES + sizeof PREFIX + sizeof B_END];
    const mz_st_tensor *t = mz_st_at(a->file, i);
    const bool is_a = mz_str_ends(t->name, A_END), is_b = mz_str_ends(t->name, B_END);
    *found = is_a;
    if (!mz_str_starts(t->name, PREFIX) || !(is_a || is_b) || strlen(t->name) >= NAME_BYTES)
        return odd(a, t, MZ_ENOTSUP, "is no half of a LoRA pair");
    const size_t n = strlen(t->name) - (sizeof PREFIX - 1) - (sizeof A_END - 1);
    (void)snprintf(p->module, sizeof p->module, "%.*s", (int)n, t->name + sizeof PREFIX - 1);
    (void)snprintf(name, sizeof name, "%s%s%s", PREFIX, p->module, is_a ? B_END : A_END);
    const mz_st_tensor *other = mz_st_find(a->file, name);
    if (!other) return odd(a, t, MZ_ECORRUPT, "has no other half");
    p->a = is_a ? t : other;
    p->b = is_a ? other : t;
    if (p->a->rank != 2 || p->b->rank != 2 || p->a->dim[0] != a->rank || p->b->dim[1] != a->rank)
        return odd(a, t, MZ_ECORRUPT, "is not of the rank that adapter_config.json gives");
    return MZ_OK;
}

/* The weight that files call "module.weight", an expert's among them. */
static bool find_weight(const mz_params *p, const char *module, mz_tensor *view)
{
    char name[NAME_BYTES];
    const size_t n = strlen(module);
    for (int64_t i = 0; i < p->n_base; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&p->list[i]); e++) {
            if (mz_param_disk_name(&p->list[i], e, name, sizeof name) != MZ_OK) return false;
            if (strncmp(name, module, n) != 0 || strcmp(name + n, ".weight") != 0) continue;
            *view = mz_param_disk_view(&p->list[i], &p->list[i].w, e);
            return true;
        }
    return false;
}

/* ---- merging ---- */

typedef struct merging {
    mz_queue *q;
    mz_tensor w; /* [out,in] */
    double *a, *b, *wide;
    void *room;         /* rows as they are on the chip */
    int64_t rank, rows; /* rows: of one go */
    double scale;
} merging;

static mz_err merge_rows(const merging *m, int64_t first, int64_t n)
{
    const int64_t in = m->w.dim[1];
    const mz_tensor part = mz_disk_run(&m->w, first * in, n * in);
    MZ_TRY(mz_download(m->q, m->room, &part));
    MZ_TRY(mz_queue_sync(m->q));
    MZ_TRY(mz_convert(m->wide, MZ_F64, m->room, m->w.dtype, n * in));
    for (int64_t row = 0; row < n; row++)
        for (int64_t k = 0; k < m->rank; k++) {
            const double by = m->scale * m->b[(first + row) * m->rank + k];
            for (int64_t c = 0; c < in; c++) m->wide[row * in + c] += by * m->a[k * in + c];
        }
    MZ_TRY(mz_convert(m->room, m->w.dtype, m->wide, MZ_F64, n * in));
    MZ_TRY(mz_upload(m->q, &part, m->room));
    return mz_queue_sync(m->q); /* the room is written again */
}

static mz_err merge_pair(const mz_adapter *a, const pair *p, mz_params *params, mz_queue *q)
{
    merging m = {.q = q, .rank = a->rank, .scale = a->scale};
    if (!find_weight(params, p->module, &m.w) || m.w.rank != 2)
        return odd(a, p->a, MZ_ECORRUPT, "belongs to no linear map of this network");
    const int64_t out = m.w.dim[0], in = m.w.dim[1];
    if (p->a->dim[1] != in || p->b->dim[0] != out)
        return odd(a, p->a, MZ_ECORRUPT, "does not fit the weight beside it");
    m.rows = in < CHUNK ? CHUNK / in : 1;
    if (m.rows > out) m.rows = out;
    mz_err err = read_values(a, p->a, &m.a);
    if (err == MZ_OK) err = read_values(a, p->b, &m.b);
    if (err == MZ_OK) err = mz_mem_new(&m.wide, m.rows * in, sizeof *m.wide);
    if (err == MZ_OK) err = mz_mem_new(&m.room, m.rows * in, sizeof(double));
    for (int64_t at = 0; at < out && err == MZ_OK; at += m.rows)
        err = merge_rows(&m, at, out - at < m.rows ? out - at : m.rows);
    mz_mem_free(m.a);
    mz_mem_free(m.b);
    mz_mem_free(m.wide);
    mz_mem_free(m.room);
    return err;
}

/* Whether another part of the network has it. */
static bool is_elsewhere(const mz_params *p, const mz_params *whole, const char *module)
{
    mz_tensor view;
    return !find_weight(p, module, &view) && find_weight(whole, module, &view);
}

/* whole: the parameters of all layers, where p has those of some; NULL: p has all. */
static mz_err merge(const mz_adapter *a, mz_params *p, const mz_params *whole, mz_queue *q)
{
    MZ_NEED(a && p && q && p->weights, "no adapter, queue or parameters with buffers");
    MZ_TRY(mz_queue_sync(q)); /* nothing may still use what is overwritten */
    for (int64_t i = 0; i < mz_st_count(a->file); i++) {
        pair one;
        bool found = false;
        MZ_TRY(pair_at(a, i, &one, &found));
        if (!found || (whole && is_elsewhere(p, whole, one.module))) continue;
        MZ_TRY(merge_pair(a, &one, p, q));
    }
    return MZ_OK;
}

mz_err mz_adapter_merge(const mz_adapter *a, mz_params *p, mz_queue *q)
{
    return merge(a, p, NULL, q);
}

mz_err mz_adapter_apply(const char *folder, mz_params *p, const mz_config *c, mz_queue *q)
{
    mz_adapter *a = NULL;
    mz_params whole = {0};
    if (!folder || !folder[0]) return MZ_OK;
    MZ_TRY(mz_adapter_open(&a, folder));
    mz_err err = p->is_part ? mz_params_list(&whole, c, MZ_F32) : MZ_OK;
    if (err == MZ_OK) err = merge(a, p, p->is_part ? &whole : NULL, q);
    mz_params_clear(&whole);
    mz_adapter_close(a);
    return err;
}

/* ---- loading into a network with adapters ---- */

static mz_err load_one(const mz_adapter *a, const mz_param *p, mz_queue *q)
{
    char name[NAME_BYTES];
    void *room = NULL;
    (void)snprintf(name, sizeof name, "%s%s", PREFIX, p->name);
    const mz_st_tensor *t = mz_st_find(a->file, name);
    if (!t || t->rank != 2 || t->dim[0] != p->dim[0] || t->dim[1] != p->dim[1] ||
        !mz_convert_can(p->dtype, t->dtype)) {
        const mz_err err = MZ_FAIL(MZ_ECONFIG, "%s has no %s [%lld,%lld]", mz_st_path(a->file),
                                   name, (long long)p->dim[0], (long long)p->dim[1]);
        mz_note_where(mz_st_path(a->file), name, -1);
        mz_note_fix("lora.rank and lora.targets have to be those of the adapter");
        return err;
    }
    MZ_TRY(mz_mem_new(&room, t->count, sizeof(double)));
    mz_err err = mz_convert(room, p->dtype, t->data, t->dtype, t->count);
    if (err == MZ_OK) err = mz_upload(q, &p->w, room);
    const mz_err waited = mz_queue_sync(q); /* before the room goes away */
    mz_mem_free(room);
    return err != MZ_OK ? err : waited;
}

mz_err mz_adapter_load(const mz_adapter *a, mz_params *p, mz_queue *q, const mz_lora_config *c)
{
    MZ_NEED(a && p && q && c && p->weights, "no adapter, queue or parameters with buffers");
    const int64_t n = p->n - p->n_base, there = mz_st_count(a->file);
    if ((p->is_part ? n > there : n != there) || c->rank != a->rank ||
        !(fabs(c->scale - a->scale) <= 1e-9 * fabs(a->scale)))
        return MZ_FAIL(MZ_ECONFIG,
                       "%s has %lld tensors of rank %lld with scale %g, the run wants %lld, %lld "
                       "and %g",
                       mz_st_path(a->file), (long long)there, (long long)a->rank, a->scale,
                       (long long)n, (long long)c->rank, c->scale);
    for (int64_t i = p->n_base; i < p->n; i++) MZ_TRY(load_one(a, &p->list[i], q));
    return MZ_OK;
}
