/* SPDX-License-Identifier: Apache-2.0 */
/* train/validate.c - see validate.h. Text is written without a cache: a few tokens now and then do
 * not pay for booking one. */
#include "train/validate.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "port/text_source.h"
#include "train/fill.h"
#include "train/loop.h"

#include <math.h>
#include <string.h>

static const double TEMPERATURE = 0.8;
static const uint64_t TEXT_STREAM = 0x7465787400000000u;

struct mz_validation {
    const mz_train_config *c;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    mz_comm *comm; /* both NULL: the whole network is here */
    mz_pipe *pipe;
    mz_data *data;
    mz_filler batch;
    mz_tokenizer *tokenizer;
    mz_ids ids; /* prompt, and what is written after it */
    size_t prompt;
    int32_t *pos; /* [ids] */
    float *logits;
};

static mz_err open_data(mz_validation *v)
{
    const mz_train_config *c = v->c;
    mz_data_options o = mz_loop_data_options(c, mz_model_config(v->model)->vocab);
    const bool has_own = c->data_validation[0] != '\0';
    const char *path = has_own ? c->data_validation : c->data_path;
    o.shuffle = false;
    o.part = MZ_PART_VALIDATION;
    if (!has_own && !mz_file_is_dir(path)) {
        const mz_err err = MZ_FAIL(MZ_ECONFIG,
                                   "run.eval_every is %lld, and %s has no validation "
                                   "part",
                                   (long long)c->run_eval_every, path);
        mz_note_where(path, "data.validation", -1);
        mz_note_fix("give data.validation, or build shards with --validation");
        return err;
    }
    const int64_t samples = c->batch_micro;
    MZ_TRY(mz_data_open(&v->data, path, &o));
    return mz_filler_init(&v->batch, c->data_seq, samples * c->data_seq,
                          mz_data_sequences(&o, mz_file_is_dir(path), samples));
}

static mz_err open_text(mz_validation *v)
{
    const mz_train_config *c = v->c;
    const mz_data_options o = mz_loop_data_options(c, 0);
    mz_encoder *e = NULL;
    const int64_t vocab = mz_model_config(v->model)->vocab;
    if (!o.source) return MZ_FAIL(MZ_ECONFIG, "run.sample_every, and no tokenizer is known");
    MZ_TRY(mz_source_tokenizer(&v->tokenizer, o.source));
    MZ_TRY(mz_encoder_new(&e, v->tokenizer));
    const size_t n = strlen(c->run_sample_prompt);
    const unsigned flags = mz_tokenizer_adds_bos(v->tokenizer) ? MZ_ENCODE_BOS : 0;
    mz_err err = mz_encode(e, c->run_sample_prompt, n, flags, &v->ids);
    mz_encoder_free(e);
    if (err == MZ_OK && v->ids.count == 0 && mz_tokenizer_eos_count(v->tokenizer) > 0)
        err = mz_ids_add(&v->ids, mz_tokenizer_eos(v->tokenizer, 0)); /* a text begins after one */
    if (err != MZ_OK) return err;
    if (v->ids.count == 0 || (int64_t)v->ids.count >= c->data_seq)
        return MZ_FAIL(MZ_ECONFIG, "run.sample_prompt has %zu tokens, want 1 to %lld", v->ids.count,
                       (long long)c->data_seq - 1);
    for (size_t i = 0; i < v->ids.count; i++)
        if (v->ids.at[i] >= vocab)
            return MZ_FAIL(MZ_ECONFIG, "run.sample_prompt holds id %d, the vocabulary ends at %lld",
                           v->ids.at[i], (long long)vocab - 1);
    v->prompt = v->ids.count;
    MZ_TRY(mz_mem_new(&v->pos, c->data_seq, sizeof *v->pos));
    for (int64_t t = 0; t < c->data_seq; t++) v->pos[t] = (int32_t)t;
    return mz_mem_new(&v->logits, vocab, sizeof *v->logits);
}

mz_err mz_validation_open(mz_validation **out, const mz_train_config *c, mz_queue *q, mz_model *m,
                          mz_trainer *t)
{
    mz_validation *v = NULL;
    MZ_NEED(out && c && q && m && t, "an argument is NULL");
    if (c->run_eval_every == 0 && c->run_sample_every == 0) return MZ_OK;
    MZ_TRY(mz_mem_new(&v, 1, sizeof *v));
    *v = (mz_validation){.c = c, .queue = q, .model = m, .trainer = t};
    mz_err err = c->run_eval_every > 0 ? open_data(v) : MZ_OK;
    if (err == MZ_OK && c->run_sample_every > 0) err = open_text(v);
    if (err != MZ_OK) {
        mz_validation_close(v);
        return err;
    }
    *out = v;
    return MZ_OK;
}

void mz_validation_join_pipe(mz_validation *v, mz_comm *comm, mz_pipe *pipe)
{
    if (!v) return;
    v->comm = comm;
    v->pipe = pipe;
}

void mz_validation_close(mz_validation *v)
{
    if (!v) return;
    mz_data_close(v->data);
    mz_filler_clear(&v->batch);
    mz_tokenizer_free(v->tokenizer);
    mz_ids_clear(&v->ids);
    mz_mem_free(v->pos);
    mz_mem_free(v->logits);
    mz_mem_free(v);
}

static bool is_due(const mz_validation *v, int64_t every, int64_t step)
{
    return every > 0 && (step % every == 0 || step == v->c->run_steps);
}

bool mz_validation_wants_loss(const mz_validation *v, int64_t step)
{
    return v && is_due(v, v->c->run_eval_every, step);
}

bool mz_validation_wants_text(const mz_validation *v, int64_t step)
{
    return v && is_due(v, v->c->run_sample_every, step);
}

/* Where the logits are. */
static bool is_last(const mz_validation *v)
{
    return !v->pipe || v->comm->rank == v->comm->size - 1;
}

static mz_err forward(mz_validation *v, const mz_batch *batch)
{
    return v->pipe ? mz_pipe_forward(v->pipe, batch) : mz_model_forward(v->model, batch);
}

/* What the last rank has found, to all. */
static mz_err tell(mz_validation *v, void *data, size_t bytes)
{
    return v->pipe ? mz_comm_broadcast(v->comm, v->comm->size - 1, data, bytes) : MZ_OK;
}

mz_err mz_validation_loss(mz_validation *v, double *loss)
{
    const int64_t all = mz_data_count(v->data), limit = v->c->run_eval_samples;
    const int64_t n = limit > 0 && limit < all ? limit : all;
    double total = 0.0;
    for (int64_t done = 0; done < n;) {
        const int64_t left = n - done, here = left < v->c->batch_micro ? left : v->c->batch_micro;
        const mz_loss_options o = {.backward = false};
        double sum = 0.0;
        mz_batch batch;
        mz_tensor each;
        MZ_TRY(mz_fill(&v->batch, v->data, done, here, n, &batch));
        MZ_TRY(forward(v, &batch));
        if (is_last(v)) {
            MZ_TRY(mz_model_loss(v->model, &batch, &o, &each));
            MZ_TRY(mz_trainer_sum(v->trainer, &batch, &each, &sum));
        }
        total += sum;
        done += here;
    }
    *loss = total;
    return tell(v, loss, sizeof *loss);
}

/* ---- text ---- */

/* In double, in the order of the ids; -1 where no logit is a number. */
static int32_t draw(const float *logits, int64_t n, mz_rng *rng)
{
    double most = -(double)INFINITY, sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        if ((double)logits[i] > most) most = (double)logits[i];
    if (!isfinite(most)) return -1;
    for (int64_t i = 0; i < n; i++) sum += exp(((double)logits[i] - most) / TEMPERATURE);
    double at = mz_rng_uniform(rng) * sum;
    for (int64_t i = 0; i < n; i++) {
        at -= exp(((double)logits[i] - most) / TEMPERATURE);
        if (at < 0.0) return (int32_t)i;
    }
    return (int32_t)(n - 1);
}

static mz_err draw_next(mz_validation *v, int32_t last, mz_rng *rng, int32_t *id)
{
    mz_tensor logits;
    MZ_TRY(mz_model_logits_rows(v->model, &last, 1, &logits));
    MZ_NEED(logits.dtype == MZ_F32, "logits that are not f32");
    MZ_TRY(mz_download(v->queue, v->logits, &logits));
    MZ_TRY(mz_queue_sync(v->queue));
    *id = draw(v->logits, logits.dim[1], rng);
    return MZ_OK;
}

static mz_err next(mz_validation *v, mz_rng *rng, int32_t *id)
{
    const int32_t tokens = (int32_t)v->ids.count, cu[2] = {0, tokens};
    const mz_batch batch = {
        .tokens = tokens, .sequences = 1, .ids = v->ids.at, .pos = v->pos, .cu = cu};
    MZ_TRY(forward(v, &batch));
    if (is_last(v)) MZ_TRY(draw_next(v, tokens - 1, rng, id));
    return tell(v, id, sizeof *id);
}

mz_err mz_validation_text(mz_validation *v, int64_t step, mz_str *text)
{
    mz_decoder decoder;
    mz_rng rng;
    int32_t id = 0;
    mz_rng_init(&rng, (uint64_t)v->c->run_seed, TEXT_STREAM + (uint64_t)step);
    mz_decoder_init(&decoder, v->tokenizer, true);
    v->ids.count = v->prompt;
    for (int64_t i = 0; i < v->c->run_sample_tokens; i++) {
        if ((int64_t)v->ids.count >= v->c->data_seq) break;
        MZ_TRY(next(v, &rng, &id));
        if (id < 0 || mz_tokenizer_is_eos(v->tokenizer, id)) break;
        MZ_TRY(mz_ids_add(&v->ids, id));
        MZ_TRY(mz_decoder_put(&decoder, id, text));
    }
    return mz_decoder_end(&decoder, text);
}
