/* SPDX-License-Identifier: Apache-2.0 */
/* train/state.c - see state.h. */
#include "train/state.h"

#include "base/mem.h"
#include "port/adapter.h"
#include "port/hf.h"
#include "tensor/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 19, NAME_BYTES = 168, JSON_MAX = 16 << 20 };

size_t mz_checkpoint_room(void)
{
    return 2 * (size_t)CHUNK * sizeof(double);
}

void mz_held_of(mz_held *h, const mz_checkpointed *c)
{
    *h = (mz_held){.queue = c->queue,
                   .params = mz_model_params(c->model),
                   .config = mz_model_config(c->model),
                   .updates = mz_trainer_step(c->trainer)};
    mz_trainer_state_of(c->trainer, &h->state);
}

/* ---- weights ---- */

/* The model's parameters with the master weights in place of the rounded ones. Borrows everything
 * but the list. */
static mz_err masters_of(const mz_held *h, mz_params *masters)
{
    const mz_params *p = h->params;
    const mz_trainer_state s = h->state;
    *masters = *p;
    MZ_TRY(mz_mem_new(&masters->list, p->n, sizeof *masters->list));
    for (int64_t i = 0; i < p->n; i++) {
        mz_param *x = &masters->list[i];
        *x = p->list[i];
        if (!s.master.buf || !x->g.buf || x->dtype == x->g.dtype) continue;
        x->dtype = x->g.dtype;
        x->w = x->g;
        x->w.buf = s.master.buf;
    }
    return MZ_OK;
}

mz_err mz_state_save_weights(const mz_held *h, const char *base, const char *folder)
{
    mz_params masters;
    MZ_TRY(masters_of(h, &masters));
    const mz_err err = h->config->lora.rank > 0
                           ? mz_adapter_save(&masters, h->queue, h->config, base, folder)
                           : mz_hf_save(&masters, h->queue, h->config, folder, MZ_F32);
    mz_mem_free(masters.list);
    return err;
}

/* The rounded weights are those that AdamW would leave: masters, rounded once. */
static mz_err take_base(const mz_checkpointed *c, const mz_source *source)
{
    mz_params masters;
    mz_held h;
    mz_held_of(&h, c);
    MZ_TRY(mz_source_load(source, mz_model_params(c->model), c->queue));
    MZ_TRY(masters_of(&h, &masters));
    const mz_err err = h.config->lora.rank > 0 ? MZ_OK /* the base has no masters */
                                               : mz_source_load(source, &masters, c->queue);
    mz_mem_free(masters.list);
    return err;
}

/* Adapters and their masters, from a folder or as they begin. */
static mz_err take_adapters(const mz_checkpointed *c, const char *folder)
{
    mz_params masters, *p = mz_model_params(c->model);
    mz_adapter *a = NULL;
    mz_held h;
    const mz_config *config = mz_model_config(c->model);
    const bool is_new = !folder || !folder[0];
    mz_held_of(&h, c);
    MZ_TRY(masters_of(&h, &masters));
    mz_err err = is_new ? MZ_OK : mz_adapter_open(&a, folder);
    mz_params *const both[2] = {p, &masters};
    if (is_new) err = mz_params_init_adapters(p, &masters, c->queue, config, c->seed);
    for (int i = 0; i < 2 && err == MZ_OK && !is_new; i++)
        err = mz_adapter_load(a, both[i], c->queue, &config->lora);
    mz_adapter_close(a);
    mz_mem_free(masters.list);
    return err;
}

mz_err mz_state_take_weights(const mz_checkpointed *c, const mz_source *source)
{
    MZ_TRY(take_base(c, source));
    return mz_model_config(c->model)->lora.rank > 0 ? take_adapters(c, c->adapter) : MZ_OK;
}

mz_err mz_state_draw_weights(const mz_checkpointed *c, uint64_t seed)
{
    mz_params masters;
    const mz_config *config = mz_model_config(c->model);
    mz_held h;
    mz_held_of(&h, c);
    MZ_TRY(masters_of(&h, &masters));
    const mz_err err = mz_params_init(mz_model_params(c->model), &masters, c->queue, config, seed);
    mz_mem_free(masters.list);
    return err;
}

mz_err mz_state_load_weights(const mz_checkpointed *c, const char *folder)
{
    mz_source *source = NULL;
    if (mz_model_config(c->model)->lora.rank > 0) {
        MZ_NEED(c->base, "adapters without the model beside them");
        MZ_TRY(take_base(c, c->base));
        return take_adapters(c, folder);
    }
    MZ_TRY(mz_source_open(&source, folder));
    const mz_err err = take_base(c, source);
    mz_source_close(source);
    return err;
}

/* ---- moments ---- */

typedef struct moment { /* one tensor of optimizer.safetensors */
    char name[NAME_BYTES];
    mz_tensor view;
} moment;

typedef struct moments {
    moment *list;
    int64_t n;
} moments;

static mz_err add_moments(moments *all, const mz_param *x, const mz_trainer_state *s)
{
    for (int64_t e = 0; e < mz_param_disk_count(x); e++)
        for (int which = 0; which < 2; which++) {
            mz_tensor whole = x->g;
            moment *one = &all->list[all->n++];
            whole.buf = which == 0 ? s->m.buf : s->v.buf;
            one->view = mz_param_disk_view(x, &whole, e);
            one->name[0] = which == 0 ? 'm' : 'v';
            one->name[1] = '.';
            MZ_TRY(mz_param_disk_name(x, e, one->name + 2, sizeof one->name - 2));
        }
    return MZ_OK;
}

static int by_name(const void *pa, const void *pb)
{
    const moment *a = pa, *b = pb;
    return strcmp(a->name, b->name);
}

/* Sorted by name. */
static mz_err list_moments(const mz_held *h, moments *all)
{
    const mz_params *p = h->params;
    const mz_trainer_state s = h->state;
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++)
        if (p->list[i].g.buf) n += 2 * mz_param_disk_count(&p->list[i]);
    *all = (moments){0};
    MZ_TRY(mz_mem_new(&all->list, n, sizeof *all->list));
    mz_err err = MZ_OK;
    for (int64_t i = 0; i < p->n && err == MZ_OK; i++)
        if (p->list[i].g.buf) err = add_moments(all, &p->list[i], &s);
    if (err != MZ_OK) {
        mz_mem_free(all->list);
        return err;
    }
    if (n > 0) qsort(all->list, (size_t)n, sizeof *all->list, by_name);
    return MZ_OK;
}

static mz_err write_moment(mz_st_writer *w, mz_queue *q, const mz_tensor *view, void *room)
{
    const int64_t count = mz_count(view);
    const size_t size = mz_dtype_bytes(view->dtype);
    for (int64_t at = 0; at < count; at += CHUNK) {
        const int64_t n = count - at < CHUNK ? count - at : CHUNK;
        const mz_tensor part =
            mz_view(view->buf, view->offset_bytes + (size_t)at * size, view->dtype, 1, &n);
        MZ_TRY(mz_download(q, room, &part));
        MZ_TRY(mz_queue_sync(q));
        MZ_TRY(mz_st_writer_put(w, room, (size_t)n * size));
    }
    return MZ_OK;
}

static mz_err write_moments(mz_st_writer *w, const mz_held *h, const moments *all, void *room)
{
    char step[24];
    (void)snprintf(step, sizeof step, "%lld", (long long)h->updates);
    MZ_TRY(mz_st_writer_meta(w, "step", step)); /* of the bias correction: a part of the moments */
    for (int64_t i = 0; i < all->n; i++) {
        const mz_tensor *v = &all->list[i].view;
        MZ_TRY(mz_st_writer_declare(w, all->list[i].name, v->dtype, v->rank, v->dim));
    }
    MZ_TRY(mz_st_writer_begin(w));
    for (int64_t i = 0; i < all->n; i++) { /* one dtype: the file's order is that of the names */
        MZ_NEED(strcmp(mz_st_writer_at(w, i)->name, all->list[i].name) == 0, "%s is out of order",
                all->list[i].name);
        MZ_TRY(write_moment(w, h->queue, &all->list[i].view, room));
    }
    return MZ_OK;
}

mz_err mz_state_save_optimizer(const mz_held *h, const char *path)
{
    moments all;
    mz_st_writer *w = NULL;
    void *room = NULL;
    MZ_TRY(list_moments(h, &all));
    mz_err err = mz_mem_new(&room, CHUNK, sizeof(double));
    if (err == MZ_OK) err = mz_st_writer_new(&w, path);
    if (err == MZ_OK) err = write_moments(w, h, &all, room);
    if (err == MZ_OK)
        err = mz_st_writer_commit(w);
    else
        mz_st_writer_abort(w);
    mz_mem_free(room);
    mz_mem_free(all.list);
    return err;
}

static mz_err load_moment(const mz_checkpointed *c, const mz_st_file *file, const moment *one)
{
    const mz_st_tensor *t = mz_st_find(file, one->name);
    bool fits = t && t->dtype == one->view.dtype && t->rank == one->view.rank;
    for (int i = 0; fits && i < t->rank; i++) fits = t->dim[i] == one->view.dim[i];
    if (!fits) {
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s is missing or has another shape", one->name);
        mz_note_where(mz_st_path(file), one->name, -1);
        return err;
    }
    return t->count > 0 ? mz_upload(c->queue, &one->view, t->data) : MZ_OK;
}

mz_err mz_state_load_optimizer(const mz_checkpointed *c, const char *path)
{
    moments all;
    mz_st_file *file = NULL;
    mz_held h;
    mz_held_of(&h, c);
    MZ_TRY(list_moments(&h, &all));
    mz_err err = mz_st_open(&file, path);
    for (int64_t i = 0; i < all.n && err == MZ_OK; i++) err = load_moment(c, file, &all.list[i]);
    const mz_err synced =
        mz_queue_sync(c->queue); /* before the file is closed, also after a fault */
    if (err == MZ_OK) err = synced;
    mz_st_close(file);
    mz_mem_free(all.list);
    return err;
}

/* ---- progress ---- */

static json_t *ring_json(const mz_spikes *g, const double *ring)
{
    json_t *list = json_array();
    const int64_t n = g->taken < g->window ? g->taken : g->window;
    int bad = list ? 0 : -1;
    for (int64_t i = g->taken - n; i < g->taken && bad == 0; i++)
        bad = json_array_append_new(list, json_real(ring[i % g->window]));
    if (bad == 0) return list;
    json_decref(list);
    return NULL;
}

mz_err mz_state_save_progress(int64_t updates, const mz_progress *p, const char *path)
{
    const mz_spikes *g = &p->spikes;
    json_t *root = json_pack(
        "{s:i, s:I, s:I, s:I, s:{s:s, s:I}, s:{s:I, s:s}, s:{s:I, s:I, s:I, s:I, s:o, s:o}}",
        "schema", 1, "step", (json_int_t)p->step, "tokens", (json_int_t)p->tokens, "optimizer_step",
        (json_int_t)updates,                                                        /* */
        "rng", "generator", "philox4x32-10", "seed", (json_int_t)p->seed,           /* */
        "cursor", "samples", (json_int_t)p->samples, "data_sha256", p->data_sha256, /* */
        "guard", "window", (json_int_t)g->window, "taken", (json_int_t)g->taken,    /* */
        "skipped", (json_int_t)g->skipped, "in_a_row", (json_int_t)g->in_a_row,     /* */
        "loss", ring_json(g, g->loss), "norm", ring_json(g, g->norm));
    json_t *best = p->best_step > 0 ? json_pack("{s:I, s:f}", "step", (json_int_t)p->best_step,
                                                "eval_loss", p->best_loss)
                                    : json_null();
    if (!root || json_object_set_new(root, "best", best) != 0) {
        json_decref(root);
        return MZ_FAIL(MZ_ENOMEM, "no memory for the state of a run");
    }
    const mz_err err = mz_json_write(root, path);
    json_decref(root);
    return err;
}

/* What is wrong with a field of state.json; outer: of the object that it is in, or NULL. */
static mz_err bad_state(const char *path, const char *outer, const char *key)
{
    char field[96];
    const char *const steps[] = {outer ? outer : key, key};
    (void)snprintf(field, sizeof field, "%s%s%s", outer ? outer : "", outer ? "." : "", key);
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s is not the state of a run: %s", path, field);
    mz_note_where(path, field, mz_json_offset(path, steps, outer ? 2 : 1));
    return err;
}

/* A whole number that is not negative. */
static mz_err read_whole(const char *path, const json_t *root, const char *outer, const char *key,
                         int64_t *out)
{
    const json_t *o = outer ? json_object_get(root, outer) : root, *x = json_object_get(o, key);
    if (!json_is_integer(x) || json_integer_value(x) < 0) return bad_state(path, outer, key);
    *out = json_integer_value(x);
    return MZ_OK;
}

/* The last entries of a ring; what an older, longer window held beyond this one is dropped. */
static mz_err read_ring(const char *path, const json_t *root, const char *key, const mz_spikes *g,
                        double *ring)
{
    const json_t *list = json_object_get(json_object_get(root, "guard"), key);
    const int64_t n = (int64_t)json_array_size(list);
    if (!json_is_array(list) || n > g->taken) return bad_state(path, "guard", key);
    for (int64_t i = n < g->window ? 0 : n - g->window; i < n; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        if (!json_is_number(x)) return bad_state(path, "guard", key);
        ring[(g->taken - n + i) % g->window] = json_number_value(x);
    }
    return MZ_OK;
}

static mz_err read_spikes(const char *path, const json_t *root, mz_spikes *g)
{
    MZ_TRY(read_whole(path, root, "guard", "taken", &g->taken));
    MZ_TRY(read_whole(path, root, "guard", "skipped", &g->skipped));
    MZ_TRY(read_whole(path, root, "guard", "in_a_row", &g->in_a_row));
    MZ_TRY(read_ring(path, root, "loss", g, g->loss));
    return read_ring(path, root, "norm", g, g->norm);
}

/* Older states have none. */
static mz_err read_best(const char *path, const json_t *root, mz_progress *p)
{
    const json_t *best = json_object_get(root, "best");
    const json_t *step = json_object_get(best, "step"), *loss = json_object_get(best, "eval_loss");
    p->best_step = 0;
    if (!best || json_is_null(best)) return MZ_OK;
    if (!json_is_integer(step) || json_integer_value(step) <= 0 || !json_is_number(loss))
        return bad_state(path, NULL, "best");
    p->best_step = json_integer_value(step);
    p->best_loss = json_number_value(loss);
    return MZ_OK;
}

/* Not by json_unpack, which cannot tell a wrong field from missing memory. */
static mz_err read_progress(const char *path, const json_t *root, mz_progress *p, int64_t *updates)
{
    const json_t *seed = json_object_get(json_object_get(root, "rng"), "seed");
    const char *sum =
        json_string_value(json_object_get(json_object_get(root, "cursor"), "data_sha256"));
    MZ_TRY(read_whole(path, root, NULL, "step", &p->step));
    MZ_TRY(read_whole(path, root, NULL, "tokens", &p->tokens));
    MZ_TRY(read_whole(path, root, NULL, "optimizer_step", updates));
    MZ_TRY(read_whole(path, root, "cursor", "samples", &p->samples));
    if (!json_is_integer(seed)) return bad_state(path, "rng", "seed");
    p->seed = (uint64_t)json_integer_value(seed); /* any 64 bits */
    if (!sum || strlen(sum) != 64) return bad_state(path, "cursor", "data_sha256");
    memcpy(p->data_sha256, sum, 65);
    MZ_TRY(read_spikes(path, root, &p->spikes));
    return read_best(path, root, p);
}

mz_err mz_state_load_progress(const mz_checkpointed *c, mz_progress *p, const char *path)
{
    json_t *root = NULL;
    int64_t updates = 0;
    mz_progress *read = NULL;
    MZ_TRY(mz_json_read(&root, path, JSON_MAX));
    mz_err err = mz_mem_new(&read, 1, sizeof *read);
    if (err == MZ_OK) {
        *read = *p; /* the guard's settings are the configuration's */
        err = read_progress(path, root, read, &updates);
    }
    if (err == MZ_OK) {
        mz_trainer_set_step(c->trainer, updates);
        *p = *read;
    }
    mz_mem_free(read);
    json_decref(root);
    return err;
}
