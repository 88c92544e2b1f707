/* SPDX-License-Identifier: Apache-2.0 */
/* lib/lm.c - mz_lm: a model's files and weights, shared by whatever computes with them; and numbers
 * out of it. Floor: lib. */
#include "base/mem.h"
#include "infer/grid.h"
#include "lib/lib.h"
#include "model/config.h"

#include <stdio.h>
#include <string.h>

/* ---- opening ---- */

static void free_lm(mz_lm *lm)
{
    mz_params_clear(&lm->weights);
    mz_source_close(lm->source);
    mz_queue_close(lm->queue);
    mz_device_close(lm->device);
    mz_lm_vocab_close(lm->vocab);
    pthread_mutex_destroy(&lm->lock);
    mz_mem_free(lm);
}

void mz_lib_release(mz_lm *lm)
{
    if (atomic_fetch_sub(&lm->holders, 1) == 1) free_lm(lm);
}

/* A model without a tokenizer is one that takes and gives ids. */
static mz_err open_vocab(mz_lm *lm, const char *path)
{
    lm->vocab = mz_lib_vocab_new(path, &lm->vocab_status);
    lm->vocab_error = *mz_err_last();
    return lm->vocab_status == MZ_ENOMEM ? MZ_ENOMEM : MZ_OK;
}

static mz_err fill(mz_lm *lm, const char *path, const mz_lm_options *o)
{
    const mz_lib_where w = {.chip = o->chip,
                            .isa = o->isa,
                            .driver_path = o->driver_path,
                            .dtype = o->dtype,
                            .threads = o->threads};
    MZ_TRY(mz_lib_dtype(o->dtype, &lm->dtype));
    MZ_TRY(mz_source_open(&lm->source, path));
    MZ_TRY(mz_generation_read(&lm->generation, lm->source));
    MZ_TRY(open_vocab(lm, path));
    MZ_TRY(mz_lib_open_device(&lm->device, &w));
    MZ_TRY(mz_queue_open(&lm->queue, lm->device));
    mz_source_adapt(lm->source, o->adapter);
    const mz_err err =
        mz_source_weights(&lm->weights, lm->source, lm->queue, lm->dtype, o->dtype == NULL);
    mz_source_adapt(lm->source, NULL); /* the name was the caller's */
    /* so were these */
    lm->device->options.isa = lm->device->options.driver_path = NULL;
    return err;
}

mz_lm_status mz_lm_open(mz_lm **lm, const char *path, const mz_lm_options *options)
{
    MZ_LIB_NEED(lm && path, "no path, or no place for a model");
    mz_lm_options o = MZ_LM_OPTIONS_INIT;
    MZ_LIB_TRY(mz_lib_take(&o, sizeof o, options, "mz_lm_options"));
    MZ_LIB_NEED(o.threads >= 0 && o.threads <= 4096 && o.reserved == 0, "threads is %d", o.threads);
    mz_lm *made = NULL;
    MZ_LIB_TRY(mz_lib_status(mz_mem_new(&made, 1, sizeof *made)));
    atomic_init(&made->holders, 1);
    (void)pthread_mutex_init(&made->lock, NULL); /* cannot fail with these attributes */
    const mz_err err = fill(made, path, &o);
    if (err != MZ_OK) {
        const mz_err_info why = *mz_err_last();
        free_lm(made);
        mz_err_restore(&why);
        return mz_lib_status(err);
    }
    *lm = made;
    return MZ_LM_OK;
}

void mz_lm_close(mz_lm *lm)
{
    if (lm) mz_lib_release(lm);
}

const mz_lm_vocab *mz_lm_vocab_of(const mz_lm *lm)
{
    if (!lm) return NULL;
    if (!lm->vocab) {
        mz_err_restore(&lm->vocab_error);
        (void)mz_lib_status(lm->vocab_status);
    }
    return lm->vocab;
}

mz_lm_status mz_lm_ask(const mz_lm *lm, mz_lm_info *out)
{
    MZ_LIB_NEED(lm && out, "no model, or no place for the answer");
    MZ_LIB_TRY(mz_lib_can_give(out, "mz_lm_info"));
    const mz_config *c = mz_source_config(lm->source);
    mz_lm_info info = {.vocab = c->vocab,
                       .width = c->width,
                       .layers = c->layers,
                       .positions = c->max_position,
                       .parameters = lm->weights.elements,
                       .weight_bytes = (int64_t)lm->weights.weights_bytes};
    (void)snprintf(info.family, sizeof info.family, "%s", mz_family_name(c->family));
    mz_lib_give(out, &info, sizeof info);
    return MZ_LM_OK;
}

/* ---- numbers ---- */

mz_err mz_lib_check_ids(const int32_t *ids, int64_t n, int64_t vocab, bool may_skip)
{
    for (int64_t i = 0; i < n; i++) {
        if ((may_skip && ids[i] == -100) || (ids[i] >= 0 && ids[i] < vocab)) continue;
        return MZ_FAIL(MZ_ECORRUPT, "%s %lld is %d, want 0 .. %lld%s", may_skip ? "label" : "id",
                       (long long)i, ids[i], (long long)vocab - 1, may_skip ? " or -100" : "");
    }
    return MZ_OK;
}

typedef struct probe {
    mz_grid grid;
    mz_queue *queue;
    mz_model *model;
} probe;

static mz_err bind(probe *p, mz_lm *lm)
{
    const mz_model_options o = {.dtype = lm->dtype,
                                .tokens_max = p->grid.B * p->grid.T,
                                .sequences_max = p->grid.B,
                                .position_max = p->grid.T,
                                .head_rows = mz_grid_at_once(&p->grid),
                                .weights = &lm->weights};
    MZ_TRY(mz_queue_open(&p->queue, lm->device));
    return mz_model_new(&p->model, p->queue, mz_source_config(lm->source), &o);
}

static mz_err compute(const probe *p, float *logits, double *loss)
{
    const mz_batch batch = mz_grid_batch(&p->grid);
    const mz_loss_options how = {.backward = false};
    mz_tensor each;
    double mean = 0.0;
    MZ_TRY(mz_model_forward(p->model, &batch));
    if (logits) MZ_TRY(mz_grid_logits(&p->grid, p->model, p->queue, logits));
    if (!loss) return mz_queue_sync(p->queue);
    MZ_TRY(mz_model_loss(p->model, &batch, &how, &each));
    MZ_TRY(mz_grid_mean(&p->grid, p->queue, &each, &mean));
    *loss = mean;
    return MZ_OK;
}

static mz_err run(mz_lm *lm, probe *p, float *logits, double *loss)
{
    pthread_mutex_lock(&lm->lock);
    mz_err err = bind(p, lm);
    pthread_mutex_unlock(&lm->lock);
    if (err == MZ_OK) err = compute(p, logits, loss);
    const mz_err_info why = *mz_err_last();
    pthread_mutex_lock(&lm->lock);
    mz_model_free(p->model);
    mz_queue_close(p->queue);
    pthread_mutex_unlock(&lm->lock);
    if (err != MZ_OK) mz_err_restore(&why);
    return err;
}

mz_lm_status mz_lm_probe(mz_lm *lm, const int32_t *ids, const int32_t *labels, int64_t B, int64_t T,
                         float *logits, double *loss)
{
    MZ_LIB_NEED(lm && ids && B >= 1 && T >= 1, "no model, or no ids");
    probe p = {0};
    MZ_LIB_TRY(mz_lib_status(mz_grid_new(&p.grid, B, T)));
    const int64_t n = B * T, vocab = mz_source_config(lm->source)->vocab;
    memcpy(p.grid.ids, ids, (size_t)n * sizeof *ids);
    if (labels) memcpy(p.grid.targets, labels, (size_t)n * sizeof *labels);
    mz_err err = mz_lib_check_ids(ids, n, vocab, false);
    if (err == MZ_OK && labels) err = mz_lib_check_ids(labels, n, vocab, true);
    mz_grid_finish(&p.grid, labels != NULL);
    if (err == MZ_OK) err = run(lm, &p, logits, loss);
    mz_grid_clear(&p.grid);
    return mz_lib_status(err);
}
