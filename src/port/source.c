/* SPDX-License-Identifier: Apache-2.0 */
/* port/source.c - a model wherever it comes from. Floor: port. */
#include "port/source.h"

#include "base/file.h"
#include "base/mem.h"
#include "port/adapter.h"
#include "port/gguf.h"
#include "port/gguf_stored.h"
#include "port/hf.h"
#include "port/hf_stored.h"

struct mz_source {
    char *path;
    mz_hub *hub; /* one of these two */
    mz_gguf *gguf;
    mz_config config;
    const char *adapter; /* borrowed; NULL: none */
};

static mz_err open_file(mz_source *s)
{
    if (mz_file_is_dir(s->path)) {
        MZ_TRY(mz_hub_open(&s->hub, s->path));
        MZ_TRY(mz_hf_config(&s->config, s->hub));
        return mz_hf_check(&s->config, s->hub);
    }
    const mz_err err = mz_gguf_open(&s->gguf, s->path);
    if (err == MZ_ECORRUPT && mz_err_last()->offset == 0)
        mz_note_fix("a model is a Hugging Face folder or a GGUF file");
    MZ_TRY(err);
    return mz_gguf_to_config(&s->config, s->gguf);
}

mz_err mz_source_open(mz_source **s, const char *path)
{
    MZ_NEED(s && path, "no path or no place for a source");
    mz_source *made = NULL;
    MZ_TRY(mz_mem_new(&made, 1, sizeof *made));
    mz_err err = mz_mem_strdup(&made->path, path);
    if (err == MZ_OK) err = open_file(made);
    if (err != MZ_OK) {
        mz_source_close(made);
        return err;
    }
    *s = made;
    return MZ_OK;
}

void mz_source_close(mz_source *s)
{
    if (!s) return;
    mz_gguf_close(s->gguf);
    mz_hub_close(s->hub);
    mz_mem_free(s->path);
    mz_mem_free(s);
}

const char *mz_source_path(const mz_source *s)
{
    return s->path;
}

const mz_config *mz_source_config(const mz_source *s)
{
    return &s->config;
}

void mz_source_adapt(mz_source *s, const char *folder)
{
    s->adapter = folder;
}

mz_err mz_source_load(const mz_source *s, mz_params *p, mz_queue *q)
{
    MZ_NEED(s && p, "no source or no parameters");
    mz_params base = mz_params_base(p);
    const mz_err err = s->hub ? mz_hf_load(&base, q, &s->config, s->hub)
                              : mz_gguf_load_params(&base, q, &s->config, s->gguf);
    p->mapped = base.mapped;
    p->n_mapped = base.n_mapped;
    if (err != MZ_OK) return err;
    return mz_adapter_apply(s->adapter, &base, &s->config, q);
}

/* Whether weights may stay as they lie in the file. */
static bool may_lie(const mz_source *s)
{
    return !(s->adapter && s->adapter[0]);
}

/* An mz_stored_fn, and what it is given. */
typedef struct lie {
    mz_hf_lie hf;
    mz_gguf_lie gguf;
} lie;

static mz_err stored(void *user, const mz_param *p, mz_stored *out)
{
    lie *l = user;
    return l->hf.hub ? mz_hf_stored(&l->hf, p, out) : mz_gguf_stored(&l->gguf, p, out);
}

static lie lie_of(const mz_source *s, const mz_queue *q, mz_dtype dtype, bool as_stored)
{
    const mz_lie same = {.config = &s->config, .q = q, .dtype = dtype, .only_same = !as_stored};
    return (lie){.hf = {.hub = s->hub, .lie = same}, .gguf = {.file = s->gguf, .lie = same}};
}

mz_err mz_source_weights(mz_params *p, const mz_source *s, mz_queue *q, mz_dtype dtype,
                         bool as_stored)
{
    MZ_NEED(p && s && q, "no parameters, source or queue");
    lie l = lie_of(s, q, dtype, as_stored);
    mz_params made;
    mz_config c = s->config;
    c.mtp_layers = 0;
    MZ_TRY(mz_params_list_stored(&made, &c, dtype, may_lie(s) ? stored : NULL, &l));
    mz_err err = mz_params_alloc(&made, q->device, false);
    if (err == MZ_OK) err = mz_source_load(s, &made, q);
    if (err != MZ_OK) {
        mz_params_clear(&made);
        return err;
    }
    *p = made;
    return MZ_OK;
}

mz_err mz_source_model(mz_model **m, const mz_source *s, mz_queue *q, const mz_model_options *o,
                       bool as_stored)
{
    MZ_NEED(m && s && q && o, "no model, source, queue or options");
    lie l = lie_of(s, q, o->dtype, as_stored);
    mz_model_options with = *o;
    mz_model *made = NULL;
    if (may_lie(s) && !o->train) {
        with.stored = stored;
        with.stored_user = &l;
    }
    MZ_TRY(mz_model_new(&made, q, &s->config, &with));
    const mz_err err = mz_source_load(s, mz_model_params(made), q);
    if (err != MZ_OK) {
        mz_model_free(made);
        return err;
    }
    *m = made;
    return MZ_OK;
}

const mz_hub *mz_source_hub(const mz_source *s)
{
    return s->hub;
}

const mz_gguf *mz_source_gguf(const mz_source *s)
{
    return s->gguf;
}
