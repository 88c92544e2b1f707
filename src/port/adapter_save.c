/* SPDX-License-Identifier: Apache-2.0 */
/* port/adapter_save.c - writing, see adapter.h. Floor: port. */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "file/safetensors.h"
#include "model/lora.h"
#include "port/adapter.h"
#include "tensor/convert.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 160 };

/* ---- the config ---- */

/* Modules by their last names; where experts have maps of the same name, which have no adapter, by
 * their whole names. */
static json_t *targets_of(const mz_params *p, const mz_config *c)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < p->n_base; i++) {
        char last[64], whole[NAME_BYTES];
        const mz_param *w = &p->list[i];
        if (!mz_lora_adapts(c, w)) continue;
        (void)snprintf(whole, sizeof whole, "%.*s", (int)(strlen(w->name) - strlen(".weight")),
                       w->name);
        const char *name = c->moe.experts > 0 ? whole : mz_lora_target_of(c, w, last);
        size_t k;
        const json_t *known;
        bool is_known = false;
        json_array_foreach(list, k, known) is_known |= strcmp(json_string_value(known), name) == 0;
        if (!is_known && json_array_append_new(list, json_string(name)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static mz_err save_config(const mz_params *p, const mz_config *c, const char *base,
                          const char *path)
{
    const double alpha = c->lora.scale * (double)c->lora.rank;
    json_t *targets = targets_of(p, c);
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:f, s:f, s:s, s:b, s:b, s:b, s:b, s:n, s:o, s:s}", "peft_type",
                  "LORA", "task_type", "CAUSAL_LM", "r", (json_int_t)c->lora.rank, "lora_alpha",
                  alpha, "lora_dropout", 0.0, "bias", "none", "fan_in_fan_out", 0, "use_rslora", 0,
                  "use_dora", 0, "inference_mode", 1, "modules_to_save", "target_modules", targets,
                  "base_model_name_or_path", base ? base : "");
    const mz_err err =
        o ? mz_json_write(o, path) : MZ_FAIL(MZ_ENOMEM, "no memory for an adapter's config");
    json_decref(o);
    return err;
}

/* ---- tensors ---- */

static mz_err save_one(mz_st_writer *w, mz_queue *q, const mz_param *p)
{
    const int64_t n = mz_count(&p->w);
    double *raw = NULL;
    float *out = NULL;
    mz_err err = mz_mem_new(&raw, n, sizeof *raw);
    if (err == MZ_OK) err = mz_mem_new(&out, n, sizeof *out);
    if (err == MZ_OK) err = mz_download(q, raw, &p->w);
    const mz_err waited = mz_queue_sync(q); /* before the room goes away */
    if (err == MZ_OK) err = waited;
    if (err == MZ_OK) err = mz_convert(out, MZ_F32, raw, p->w.dtype, n);
    if (err == MZ_OK) err = mz_st_writer_put(w, out, (size_t)n * sizeof *out);
    mz_mem_free(raw);
    mz_mem_free(out);
    return err;
}

static mz_err save_tensors(mz_st_writer *w, const mz_params *p, mz_queue *q)
{
    static const char prefix[] = "base_model.model.";
    char name[NAME_BYTES + sizeof prefix];
    MZ_TRY(mz_st_writer_meta(w, "format", "pt"));
    for (int64_t i = p->n_base; i < p->n; i++) {
        (void)snprintf(name, sizeof name, "%s%s", prefix, p->list[i].name);
        MZ_TRY(mz_st_writer_declare(w, name, MZ_F32, 2, p->list[i].dim));
    }
    MZ_TRY(mz_st_writer_begin(w));
    for (int64_t i = 0; i < mz_st_writer_count(w); i++) {
        const mz_param *one = mz_params_find(p, mz_st_writer_at(w, i)->name + sizeof prefix - 1);
        MZ_NEED(one, "an adapter was declared and is not there");
        MZ_TRY(save_one(w, q, one));
    }
    return MZ_OK;
}

mz_err mz_adapter_save(const mz_params *p, mz_queue *q, const mz_config *c, const char *base,
                       const char *folder)
{
    MZ_NEED(p && q && c && folder && p->n > p->n_base, "no adapters, queue, config or folder");
    char path[PATH_MAX];
    mz_st_writer *w = NULL;
    MZ_TRY(mz_file_mkdirs(folder));
    MZ_TRY(mz_path_join(path, sizeof path, folder, "adapter_model.safetensors"));
    MZ_TRY(mz_st_writer_new(&w, path));
    const mz_err err = save_tensors(w, p, q);
    if (err != MZ_OK) {
        mz_st_writer_abort(w);
        return err;
    }
    MZ_TRY(mz_st_writer_commit(w));
    MZ_TRY(mz_path_join(path, sizeof path, folder, "adapter_config.json"));
    return save_config(p, c, base, path); /* last: without it the folder is no adapter */
}
