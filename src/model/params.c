/* SPDX-License-Identifier: Apache-2.0 */
/* model/params.c - see params.h.
 *
 * Floor:  model. May use base, tensor, chip. */
#include "model/params.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "model/list.h"
#include "model/lora.h"
#include "tensor/convert.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ALIGN_BYTES = 256 }; /* of every parameter: what the strictest vendor library asks */

/* ---- listing ---- */

static bool computes_in_acc(mz_param_kind kind)
{
    return kind == MZ_PARAM_NORM || kind == MZ_PARAM_BIAS || kind == MZ_PARAM_ROUTER_BIAS;
}

/* A view that has its place but no buffer yet; *bytes grows by what it takes. */
static mz_err place(mz_tensor *view, size_t *bytes, const mz_param *p, mz_dtype dtype)
{
    size_t own = 0;
    MZ_TRY(mz_shape_bytes(dtype, p->rank, p->dim, &own));
    MZ_NEED(own < SIZE_MAX / 2 - *bytes, "the parameters overflow a size");
    *view = mz_view(NULL, *bytes, dtype, p->rank, p->dim);
    *bytes += (own + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    return MZ_OK;
}

mz_err mz_list_add(mz_lister *l, mz_param_kind kind, const char *name, int rank, const int64_t *dim)
{
    mz_params *ps = l->params;
    if (!mz_config_has_param(l->config, name)) return MZ_OK;
    mz_param p = {.kind = kind, .rank = rank, .by_expert = strstr(name, "{e}") != NULL};
    const mz_dtype acc = mz_dtype_acc(l->dtype);
    int64_t count = 0;
    size_t outside = 0; /* nobody reads it */
    MZ_NEED(strlen(name) < sizeof p.name, "parameter name %s is too long", name);
    snprintf(p.name, sizeof p.name, "%s", name);
    for (int i = 0; i < rank; i++) p.dim[i] = dim[i];
    p.dtype = computes_in_acc(kind) ? acc : l->dtype;
    MZ_TRY(mz_shape_count(rank, dim, &count));
    if (l->stored && (kind == MZ_PARAM_MATRIX || kind == MZ_PARAM_EMBED)) {
        mz_stored s = {.dtype = p.dtype};
        MZ_TRY(l->stored(l->stored_user, &p, &s));
        p.dtype = s.dtype;
        p.outside = s.outside;
    }
    if (ps->n == l->cap) {
        const int64_t cap = l->cap ? 2 * l->cap : 64;
        MZ_TRY(mz_mem_grow(&ps->list, cap, sizeof *ps->list));
        l->cap = cap;
    }
    MZ_TRY(place(&p.w, p.outside ? &outside : &ps->weights_bytes, &p, p.dtype));
    p.trained = l->config->lora.rank > 0 ? kind == MZ_PARAM_ADAPTER : kind != MZ_PARAM_ROUTER_BIAS;
    if (p.trained) MZ_TRY(place(&p.g, &ps->grads_bytes, &p, acc));
    if (kind != MZ_PARAM_ROUTER_BIAS) ps->elements += count;
    ps->list[ps->n++] = p;
    return MZ_OK;
}

mz_err mz_list_linear(mz_lister *l, const char *prefix, const char *name, const int64_t dim[2],
                      bool bias)
{
    char full[160];
    snprintf(full, sizeof full, "%s.%s.weight", prefix, name);
    MZ_TRY(mz_list_add(l, MZ_PARAM_MATRIX, full, 2, dim));
    if (!bias) return MZ_OK;
    snprintf(full, sizeof full, "%s.%s.bias", prefix, name);
    return mz_list_add(l, MZ_PARAM_BIAS, full, 1, dim);
}

mz_err mz_list_norm(mz_lister *l, const char *prefix, const char *name, int64_t width)
{
    char full[160];
    snprintf(full, sizeof full, "%s.%s.weight", prefix, name);
    return mz_list_add(l, MZ_PARAM_NORM, full, 1, &width);
}

static mz_err list_all(mz_lister *l)
{
    const mz_config *c = l->config;
    const int64_t table[2] = {c->vocab, c->width};
    MZ_TRY(mz_list_add(l, MZ_PARAM_EMBED, "model.embed_tokens.weight", 2, table));
    for (int64_t i = 0; i < c->layers; i++) MZ_TRY(mz_block_list(l, i));
    MZ_TRY(mz_list_norm(l, "model", "norm", c->width));
    if (!c->tied) MZ_TRY(mz_list_add(l, MZ_PARAM_MATRIX, "lm_head.weight", 2, table));
    for (int64_t i = 0; i < c->mtp_layers; i++) MZ_TRY(mz_mtp_list(l, c->layers + i));
    return MZ_OK;
}

static mz_err list_adapter(mz_lister *l, const mz_param *w)
{
    const int64_t r = l->config->lora.rank;
    const int64_t a[2] = {r, w->dim[1]}, b[2] = {w->dim[0], r};
    const int prefix = (int)(strlen(w->name) - strlen(".weight"));
    char name[160], base[sizeof w->name];
    (void)snprintf(base, sizeof base, "%.*s", prefix, w->name); /* the list may move */
    snprintf(name, sizeof name, "%s.lora_A.weight", base);
    MZ_TRY(mz_list_add(l, MZ_PARAM_ADAPTER, name, 2, a));
    snprintf(name, sizeof name, "%s.lora_B.weight", base);
    return mz_list_add(l, MZ_PARAM_ADAPTER, name, 2, b);
}

static mz_err list_adapters(mz_lister *l)
{
    mz_params *p = l->params;
    p->n_base = p->n;
    MZ_TRY(mz_lora_check(l->config, p));
    for (int64_t i = 0; i < p->n_base; i++)
        if (mz_lora_adapts(l->config, &p->list[i])) MZ_TRY(list_adapter(l, &p->list[i]));
    return MZ_OK;
}

mz_err mz_params_list(mz_params *p, const mz_config *c, mz_dtype dtype)
{
    return mz_params_list_stored(p, c, dtype, NULL, NULL);
}

mz_err mz_params_list_stored(mz_params *p, const mz_config *c, mz_dtype dtype, mz_stored_fn *stored,
                             void *user)
{
    MZ_NEED(p && c, "params or config is NULL");
    MZ_NEED(mz_dtype_is_float(dtype), "%s is not a compute dtype", mz_dtype_name(dtype));
    mz_params list = {.is_part = c->part_end > 0};
    mz_lister l = {
        .params = &list, .config = c, .dtype = dtype, .stored = stored, .stored_user = user};
    mz_err err = list_all(&l);
    if (err == MZ_OK) err = list_adapters(&l);
    if (err != MZ_OK) {
        mz_params_clear(&list);
        return err;
    }
    *p = list;
    return MZ_OK;
}

/* ---- weights that another list has ---- */

typedef struct sharing {
    const mz_params *from;
} sharing;

static mz_err stored_as(void *user, const mz_param *p, mz_stored *out)
{
    const sharing *s = user;
    const mz_param *has = mz_params_find(s->from, p->name);
    MZ_NEED(has, "the shared weights have no %s", p->name);
    out->dtype = has->dtype;
    return MZ_OK;
}

static mz_err share(mz_param *p, const mz_params *from)
{
    const mz_param *has = mz_params_find(from, p->name);
    MZ_NEED(has && has->w.buf, "the shared weights have no %s", p->name);
    bool fits = has->rank == p->rank && has->dtype == p->dtype;
    for (int i = 0; fits && i < p->rank; i++) fits = has->dim[i] == p->dim[i];
    MZ_NEED(fits, "the shared %s has another shape or dtype", p->name);
    p->w = has->w;
    p->outside = true;
    return MZ_OK;
}

mz_err mz_params_list_shared(mz_params *p, const mz_config *c, mz_dtype dtype,
                             const mz_params *from)
{
    mz_params list;
    sharing s = {.from = from};
    MZ_NEED(p && from, "no list, or nothing to share");
    MZ_TRY(mz_params_list_stored(&list, c, dtype, stored_as, &s));
    for (int64_t i = 0; i < list.n; i++) {
        const mz_err err = share(&list.list[i], from);
        if (err == MZ_OK) continue;
        mz_params_clear(&list);
        return err;
    }
    list.weights_bytes = 0;
    *p = list;
    return MZ_OK;
}

/* ---- booking ---- */

mz_err mz_params_alloc(mz_params *p, mz_device *device, bool train)
{
    MZ_NEED(p && device && !p->weights, "params or device is NULL, or params has buffers already");
    MZ_TRY(mz_buffer_new(&p->weights, device, p->weights_bytes));
    if (train) {
        const mz_err err = mz_buffer_new(&p->grads, device, p->grads_bytes);
        if (err != MZ_OK) {
            mz_buffer_free(p->weights);
            p->weights = NULL;
            return err;
        }
    }
    for (int64_t i = 0; i < p->n; i++) {
        if (!p->list[i].outside) p->list[i].w.buf = p->weights;
        if (p->list[i].trained) p->list[i].g.buf = p->grads;
    }
    if (!train) p->grads_bytes = 0;
    return MZ_OK;
}

static void drop_mapped(mz_params *p)
{
    for (int64_t i = 0; i < p->n_mapped; i++) mz_buffer_free(p->mapped[i]);
    mz_mem_free(p->mapped);
    p->mapped = NULL;
    p->n_mapped = 0;
}

mz_err mz_params_new_mapped(mz_params *p, int64_t n)
{
    mz_buffer **made = NULL;
    MZ_TRY(mz_mem_new(&made, n, sizeof(mz_buffer *)));
    drop_mapped(p);
    p->mapped = made;
    p->n_mapped = n;
    return MZ_OK;
}

void mz_params_clear(mz_params *p)
{
    mz_buffer_free(p->grads);
    mz_buffer_free(p->weights);
    drop_mapped(p);
    mz_mem_free(p->list);
    *p = (mz_params){0};
}

mz_param *mz_params_find(const mz_params *p, const char *name)
{
    for (int64_t i = 0; i < p->n; i++)
        if (strcmp(p->list[i].name, name) == 0) return &p->list[i];
    return NULL;
}

/* ---- as files have them ---- */

int64_t mz_param_disk_count(const mz_param *p)
{
    return p->by_expert ? p->dim[0] : 1;
}

mz_err mz_param_disk_name(const mz_param *p, int64_t e, char *out, size_t out_bytes)
{
    MZ_NEED(e >= 0 && e < mz_param_disk_count(p), "%s has no expert %lld", p->name, (long long)e);
    const char *hole = p->by_expert ? strstr(p->name, "{e}") : NULL;
    const int n = hole ? snprintf(out, out_bytes, "%.*s%lld%s", (int)(hole - p->name), p->name,
                                  (long long)e, hole + 3)
                       : snprintf(out, out_bytes, "%s", p->name);
    MZ_NEED(n >= 0 && (size_t)n < out_bytes, "the name of %s needs more than %zu bytes", p->name,
            out_bytes);
    return MZ_OK;
}

mz_tensor mz_param_disk_view(const mz_param *p, const mz_tensor *whole, int64_t e)
{
    if (!p->by_expert) return *whole;
    const mz_tensor one = mz_slice(whole, 0, e, 1);
    return mz_reshape(&one, p->rank - 1, p->dim + 1);
}

mz_params mz_params_base(const mz_params *p)
{
    mz_params base = *p;
    base.n = p->n_base;
    return base;
}

/* ---- a random start ---- */

/* FNV-1a of the name: a parameter's random stream, whatever stands before it in the list. */
static uint64_t name_stream(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

typedef struct init_room {
    mz_pool *pool;
    unsigned char *bytes, *twin; /* of one parameter, in its dtype and its twin's */
    uint64_t seed;
    double deviation;
} init_room;

enum {
    INIT_PART = 4096, /* numbers that a thread draws at a time */
    MOST_THREADS = 64
};

typedef struct init_job {
    const mz_param *p, *twin; /* twin: gets the same numbers in another dtype; NULL: none */
    const init_room *room;
    uint64_t stream;
    int64_t n;
    mz_err err[MOST_THREADS];
} init_job;

/* The uniform ones are small: each part goes to its place in the stream alone. */
static void draw_uniform(const init_job *j, int64_t first, double *values, int64_t n)
{
    const double edge = 1.0 / sqrt((double)j->p->dim[j->p->rank - 1]);
    mz_rng rng;
    mz_rng_init(&rng, j->room->seed, j->stream);
    rng.counter = (uint64_t)first / 2; /* two numbers a block, and first is even */
    for (int64_t i = 0; i < n; i++) values[i] = edge * (2.0 * mz_rng_uniform(&rng) - 1.0);
}

static void init_part(void *arg, int64_t part, int thread)
{
    init_job *j = arg;
    const mz_param *p = j->p;
    double values[INIT_PART];
    const int64_t first = part * INIT_PART;
    const int64_t n = j->n - first < INIT_PART ? j->n - first : INIT_PART;
    if (p->kind == MZ_PARAM_MATRIX || p->kind == MZ_PARAM_EMBED) {
        mz_normals(j->room->seed, j->stream, (uint64_t)first, values, n);
        for (int64_t i = 0; i < n; i++) values[i] *= j->room->deviation;
    } else if (p->kind == MZ_PARAM_ADAPTER && strstr(p->name, ".lora_A.")) {
        draw_uniform(j, first, values, n);
    } else {
        for (int64_t i = 0; i < n; i++) values[i] = p->kind == MZ_PARAM_NORM ? 1.0 : 0.0;
    }
    unsigned char *to = j->room->bytes + (size_t)first * mz_dtype_bytes(p->dtype);
    mz_err err = mz_convert(to, p->dtype, values, MZ_F64, n);
    if (err == MZ_OK && j->twin) {
        to = j->room->twin + (size_t)first * mz_dtype_bytes(j->twin->dtype);
        err = mz_convert(to, j->twin->dtype, values, MZ_F64, n);
    }
    if (err != MZ_OK) j->err[thread] = err;
}

static mz_err init_one(const mz_param *p, const mz_param *twin, mz_queue *q, const init_room *room,
                       int64_t e)
{
    char name[160];
    const mz_tensor view = mz_param_disk_view(p, &p->w, e);
    init_job j = {.p = p, .twin = twin, .room = room, .n = mz_count(&view)};
    MZ_TRY(mz_param_disk_name(p, e, name, sizeof name));
    j.stream = name_stream(name);
    mz_pool_run(room->pool, (j.n + INIT_PART - 1) / INIT_PART, init_part, &j);
    for (int i = 0; i < MZ_COUNT(j.err); i++) MZ_TRY(j.err[i]);
    MZ_TRY(mz_upload(q, &view, room->bytes));
    if (twin) {
        const mz_tensor other = mz_param_disk_view(twin, &twin->w, e);
        MZ_TRY(mz_upload(q, &other, room->twin));
    }
    return mz_queue_sync(q); /* the room is written again for the next one */
}

static int64_t largest(const mz_params *p)
{
    int64_t most = 1;
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t n = mz_count(&p->list[i].w) / mz_param_disk_count(&p->list[i]);
        if (n > most) most = n;
    }
    return most;
}

/* masters: of the same list, or NULL */
static const mz_param *twin_of(const mz_params *masters, const mz_param *p, int64_t i)
{
    const mz_param *twin = masters ? &masters->list[i] : NULL;
    return twin && twin->w.buf != p->w.buf ? twin : NULL;
}

static mz_err init_from(mz_params *p, const mz_params *masters, mz_queue *q, const mz_config *c,
                        uint64_t seed, int64_t first)
{
    MZ_NEED(p && q && c && p->weights, "params has no buffers, or an argument is NULL");
    init_room room = {.seed = seed, .deviation = c->init_std};
    const int64_t most = largest(p);
    const int threads =
        q->device->info.threads > 0 ? q->device->info.threads : mz_thread_default_count();
    mz_err err = mz_pool_new(&room.pool, threads < MOST_THREADS ? threads : MOST_THREADS);
    if (err == MZ_OK) err = mz_mem_new(&room.bytes, most, sizeof(double));
    if (err == MZ_OK && masters) err = mz_mem_new(&room.twin, most, sizeof(double));
    for (int64_t i = first; i < p->n && err == MZ_OK; i++)
        for (int64_t e = 0; e < mz_param_disk_count(&p->list[i]) && err == MZ_OK; e++)
            err = init_one(&p->list[i], twin_of(masters, &p->list[i], i), q, &room, e);
    mz_mem_free(room.bytes);
    mz_mem_free(room.twin);
    mz_pool_free(room.pool);
    return err;
}

mz_err mz_params_init(mz_params *p, const mz_params *masters, mz_queue *q, const mz_config *c,
                      uint64_t seed)
{
    return init_from(p, masters, q, c, seed, 0);
}

mz_err mz_params_init_adapters(mz_params *p, const mz_params *masters, mz_queue *q,
                               const mz_config *c, uint64_t seed)
{
    return init_from(p, masters, q, c, seed, p ? p->n_base : 0);
}
