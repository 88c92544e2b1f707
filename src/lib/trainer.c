/* SPDX-License-Identifier: Apache-2.0 */
/* lib/trainer.c - mz_lm_trainer: updates of a model on rows of ids, and checkpoints of it.
 * Floor: lib. */
#include "base/file.h"
#include "base/folder.h"
#include "base/mem.h"
#include "base/str.h"
#include "infer/grid.h"
#include "lib/lib.h"
#include "train/bias.h"
#include "train/checkpoint.h"
#include "train/state.h"

#include <math.h>
#include <string.h>

enum { ROWS_USUAL = 8, SEQ_USUAL = 256, RANK_MOST = 65536 };
enum { MICROS = 8 }; /* of a step, for which it does not wait; of more it waits now and then */
static const double ALPHA_USUAL = 16.0;

struct mz_lm_trainer {
    mz_device *device;
    mz_queue *queue;
    mz_config config;
    mz_model *model;
    mz_trainer *trainer;
    mz_grid grid; /* room for rows x seq; B and T are those of a micro-batch */
    mz_bias bias;
    mz_source *base; /* open while adapters are trained beside it, else NULL */
    char *source;
    int64_t rows, seq, tokens, samples;
    uint64_t seed;
    double balance, mtp, bias_rate;
};

/* ---- opening ---- */

static mz_checkpointed state_of(const mz_lm_trainer *t)
{
    return (mz_checkpointed){.run = "",
                             .queue = t->queue,
                             .model = t->model,
                             .trainer = t->trainer,
                             .yaml = "# made through libmizan: there is no configuration\n",
                             .tokenizer = t->source,
                             .base = t->base,
                             .base_name = t->source,
                             .seed = t->seed};
}

/* source is NULL where the weights are random. */
static mz_err build(mz_lm_trainer *t, const mz_source *source, const mz_lm_trainer_options *o)
{
    mz_model_options how = {.tokens_max = t->rows * t->seq,
                            .sequences_max = t->rows,
                            .position_max = t->seq,
                            .train = true,
                            .recompute = o->recompute != 0,
                            .mtp = o->mtp > 0.0};
    MZ_TRY(mz_lib_dtype(o->dtype, &how.dtype));
    if (how.dtype != MZ_F32 && how.dtype != MZ_BF16)
        return MZ_FAIL(MZ_EUSAGE, "training computes in f32 or bf16, not in %s", o->dtype);
    if (t->seq > t->config.max_position)
        return MZ_FAIL(MZ_EUSAGE, "rows of %lld tokens, but this network has positions for %lld",
                       (long long)t->seq, (long long)t->config.max_position);
    if (o->mtp > 0.0 && t->config.mtp_layers == 0)
        return MZ_FAIL(MZ_ECONFIG, "mtp is %g, but this network has no MTP layers", o->mtp);
    MZ_TRY(mz_grid_new(&t->grid, t->rows, t->seq));
    MZ_TRY(mz_queue_open(&t->queue, t->device));
    MZ_TRY(mz_model_new(&t->model, t->queue, &t->config, &how));
    MZ_TRY(mz_trainer_new(&t->trainer, t->queue, t->model));
    MZ_TRY(mz_trainer_reserve(t->trainer, how.tokens_max, MICROS));
    MZ_TRY(mz_bias_init(&t->bias, t->queue, t->model, o->bias_rate));
    mz_checkpointed state = state_of(t);
    state.adapter = o->adapter; /* the caller's: how it begins, and no more */
    return source ? mz_state_take_weights(&state, source) : mz_state_draw_weights(&state, t->seed);
}

static mz_err set_adapters(mz_lm_trainer *t, const mz_lm_trainer_options *o)
{
    mz_lora_config *lora = &t->config.lora;
    const double alpha = o->lora_alpha > 0.0 ? o->lora_alpha : ALPHA_USUAL;
    if (o->lora_rank == 0) return MZ_OK;
    if (!t->base)
        return MZ_FAIL(MZ_EUSAGE, "adapters stand beside a model's weights, and %s has none",
                       t->source);
    lora->rank = o->lora_rank;
    lora->scale = alpha / (double)o->lora_rank;
    const char *targets = o->lora_targets ? o->lora_targets : "";
    if (strlen(targets) >= sizeof lora->targets)
        return MZ_FAIL(MZ_EUSAGE, "lora_targets has %zu bytes, want less than %zu", strlen(targets),
                       sizeof lora->targets);
    memcpy(lora->targets, targets, strlen(targets) + 1);
    return MZ_OK;
}

static mz_err fill(mz_lm_trainer *t, const char *path, const mz_lm_trainer_options *o)
{
    const mz_lib_where w = {
        .chip = o->chip, .isa = o->isa, .driver_path = o->driver_path, .threads = o->threads};
    t->rows = o->rows > 0 ? o->rows : ROWS_USUAL;
    t->seq = o->seq > 0 ? o->seq : SEQ_USUAL;
    t->seed = o->seed;
    t->balance = o->balance;
    t->mtp = o->mtp;
    t->bias_rate = o->bias_rate;
    MZ_TRY(mz_mem_strdup(&t->source, path));
    if (mz_str_ends(path, ".json")) {
        MZ_TRY(mz_config_read(&t->config, path));
    } else {
        MZ_TRY(mz_source_open(&t->base, path));
        t->config = *mz_source_config(t->base);
    }
    MZ_TRY(set_adapters(t, o));
    MZ_TRY(mz_lib_open_device(&t->device, &w));
    const mz_err err = build(t, t->base, o);
    t->device->options.isa = t->device->options.driver_path = NULL; /* the caller's */
    if (o->lora_rank > 0) return err;
    mz_source_close(t->base); /* a checkpoint has all weights */
    t->base = NULL;
    return err;
}

static mz_lm_status check_extras(const mz_lm_trainer_options *o)
{
    MZ_LIB_NEED(o->mtp >= 0.0 && isfinite(o->mtp), "mtp is %g", o->mtp);
    MZ_LIB_NEED(o->bias_rate >= 0.0 && o->bias_rate <= 1.0, "bias_rate is %g", o->bias_rate);
    MZ_LIB_NEED(o->lora_rank >= 0 && o->lora_rank <= RANK_MOST, "lora_rank is %lld",
                (long long)o->lora_rank);
    MZ_LIB_NEED(o->lora_alpha >= 0.0 && isfinite(o->lora_alpha), "lora_alpha is %g", o->lora_alpha);
    MZ_LIB_NEED(o->lora_rank > 0 || (!o->adapter && !o->lora_targets),
                "adapter or lora_targets is given, and lora_rank is 0");
    return MZ_LM_OK;
}

mz_lm_status mz_lm_trainer_open(mz_lm_trainer **t, const char *source,
                                const mz_lm_trainer_options *options)
{
    MZ_LIB_NEED(t && source, "no source, or no place for a trainer");
    mz_lm_trainer_options o = MZ_LM_TRAINER_INIT;
    MZ_LIB_TRY(mz_lib_take(&o, sizeof o, options, "mz_lm_trainer_options"));
    MZ_LIB_NEED(o.rows >= 0 && o.seq >= 0 && o.rows <= INT32_MAX && o.seq <= INT32_MAX,
                "%lld rows of %lld tokens", (long long)o.rows, (long long)o.seq);
    MZ_LIB_NEED(o.threads >= 0 && o.threads <= 4096, "threads is %d", o.threads);
    MZ_LIB_NEED(o.balance >= 0.0 && isfinite(o.balance), "balance is %g", o.balance);
    MZ_LIB_TRY(check_extras(&o));
    mz_lm_trainer *made = NULL;
    MZ_LIB_TRY(mz_lib_status(mz_mem_new(&made, 1, sizeof *made)));
    const mz_err err = fill(made, source, &o);
    if (err != MZ_OK) {
        const mz_err_info why = *mz_err_last();
        mz_lm_trainer_close(made);
        mz_err_restore(&why);
        return mz_lib_status(err);
    }
    *t = made;
    return MZ_LM_OK;
}

void mz_lm_trainer_close(mz_lm_trainer *t)
{
    if (!t) return;
    mz_trainer_free(t->trainer);
    mz_model_free(t->model);
    mz_queue_close(t->queue);
    mz_device_close(t->device);
    mz_source_close(t->base);
    mz_bias_clear(&t->bias);
    mz_grid_clear(&t->grid);
    mz_mem_free(t->source);
    mz_mem_free(t);
}

/* ---- a step ---- */

typedef struct batch {
    const int32_t *ids, *labels;
    int64_t B, T, counted;
} batch;

static int64_t count(const batch *b)
{
    int64_t n = 0;
    if (!b->labels) return b->B * (b->T - 1);
    for (int64_t i = 0; i < b->B * b->T; i++) n += b->labels[i] != -100;
    return n;
}

/* Rows first .. first+n-1: their loss, weighed so that all of the step's add up to the mean. */
static mz_err micro(mz_lm_trainer *t, const batch *b, int64_t first, int64_t n)
{
    mz_grid *g = &t->grid;
    const size_t bytes = (size_t)(n * b->T) * sizeof *b->ids;
    const mz_loss_options how = {.backward = true,
                                 .balance_alpha = t->balance * (double)n / (double)b->B,
                                 .mtp_weight = t->mtp};
    g->B = n;
    g->T = b->T;
    memcpy(g->ids, b->ids + first * b->T, bytes);
    if (b->labels) memcpy(g->targets, b->labels + first * b->T, bytes);
    mz_grid_finish(g, b->labels != NULL);
    mz_grid_weigh(g, b->counted);
    const mz_batch packed = mz_grid_batch(g);
    return mz_trainer_micro(t->trainer, &packed, &how);
}

static mz_err make_step(mz_lm_trainer *t, const batch *b, const mz_optim *optim, mz_lm_step *out)
{
    MZ_TRY(mz_trainer_begin(t->trainer));
    if (t->bias_rate > 0.0) MZ_TRY(mz_model_zero_counts(t->model));
    for (int64_t first = 0; first < b->B; first += t->rows) {
        const int64_t left = b->B - first;
        MZ_TRY(micro(t, b, first, left < t->rows ? left : t->rows));
    }
    MZ_TRY(mz_bias_fetch(&t->bias));
    MZ_TRY(mz_trainer_norm(t->trainer, &out->grad_norm));
    out->loss = mz_trainer_losses(t->trainer);
    if (!isfinite(out->loss)) return MZ_FAIL(MZ_ENUMERIC, "the loss is %g", out->loss);
    MZ_TRY(mz_trainer_apply(t->trainer, optim, out->grad_norm));
    double worst = 0.0;
    MZ_TRY(mz_bias_move(&t->bias, NULL, &worst));
    MZ_TRY(mz_queue_sync(t->queue)); /* the caller hears of a fault now */
    t->tokens += b->B * b->T;
    t->samples += b->B;
    out->step = mz_trainer_step(t->trainer);
    out->counted = b->counted;
    return MZ_OK;
}

static mz_lm_status check_optim(const mz_lm_optim *o)
{
    MZ_LIB_NEED(o->lr >= 0.0 && isfinite(o->lr), "lr is %g", o->lr);
    MZ_LIB_NEED(o->beta1 >= 0.0 && o->beta1 < 1.0 && o->beta2 >= 0.0 && o->beta2 < 1.0,
                "beta1 is %g, beta2 %g; they are below 1", o->beta1, o->beta2);
    MZ_LIB_NEED(o->eps > 0.0 && isfinite(o->eps), "eps is %g", o->eps);
    MZ_LIB_NEED(o->weight_decay >= 0.0 && isfinite(o->weight_decay), "weight_decay is %g",
                o->weight_decay);
    MZ_LIB_NEED(o->clip >= 0.0 && isfinite(o->clip), "clip is %g", o->clip);
    return MZ_LM_OK;
}

mz_lm_status mz_lm_trainer_step(mz_lm_trainer *t, const int32_t *ids, const int32_t *labels,
                                int64_t B, int64_t T, const mz_lm_optim *optim, mz_lm_step *step)
{
    mz_lm_optim o = MZ_LM_OPTIM_INIT;
    mz_lm_step out = MZ_LM_STEP_INIT;
    batch b = {.ids = ids, .labels = labels, .B = B, .T = T};
    MZ_LIB_NEED(t && ids && B >= 1 && T >= 1 && B <= INT32_MAX, "no trainer, or no ids");
    MZ_LIB_NEED(T <= t->seq, "rows of %lld tokens, opened for %lld", (long long)T,
                (long long)t->seq);
    MZ_LIB_TRY(mz_lib_take(&o, sizeof o, optim, "mz_lm_optim"));
    MZ_LIB_TRY(mz_lib_can_give(step, "mz_lm_step"));
    MZ_LIB_TRY(check_optim(&o));
    MZ_LIB_TRY(mz_lib_status(mz_lib_check_ids(ids, B * T, t->config.vocab, false)));
    if (labels) MZ_LIB_TRY(mz_lib_status(mz_lib_check_ids(labels, B * T, t->config.vocab, true)));
    b.counted = count(&b);
    if (b.counted == 0)
        return mz_lib_status(MZ_FAIL(MZ_EUSAGE, "none of these positions has a label that counts"));
    const mz_optim how = {.lr = o.lr,
                          .beta1 = o.beta1,
                          .beta2 = o.beta2,
                          .eps = o.eps,
                          .weight_decay = o.weight_decay,
                          .clip = o.clip};
    MZ_LIB_TRY(mz_lib_status(make_step(t, &b, &how, &out)));
    mz_lib_give(step, &out, sizeof out);
    return MZ_LM_OK;
}

/* ---- checkpoints ---- */

/* A folder that is not there or empty, or a checkpoint: nothing else is written over. */
static mz_err check_place(const char *folder)
{
    char manifest[MZ_CHECKPOINT_PATH];
    mz_names names = {0};
    MZ_TRY(mz_path_join(manifest, sizeof manifest, folder, "manifest.json"));
    if (!mz_file_exists(folder) || mz_file_exists(manifest)) return MZ_OK;
    if (mz_file_is_dir(folder)) MZ_TRY(mz_folder_list(&names, folder));
    const bool is_empty = mz_file_is_dir(folder) && names.n == 0;
    mz_names_clear(&names);
    if (is_empty) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_EBUSY, "%s is there already and is no checkpoint", folder);
    mz_note_where(folder, "", -1);
    mz_note_fix("give the checkpoint another name, or remove what is there");
    return err;
}

static mz_err save(mz_lm_trainer *t, const char *folder)
{
    mz_progress *p = NULL;
    mz_held held;
    const mz_checkpointed state = state_of(t);
    MZ_TRY(check_place(folder));
    MZ_TRY(mz_mem_new(&p, 1, sizeof *p));
    p->step = mz_trainer_step(t->trainer);
    p->samples = t->samples;
    p->tokens = t->tokens;
    p->seed = t->seed;
    memset(p->data_sha256, '0', sizeof p->data_sha256 - 1); /* nobody knows what data it was */
    mz_held_of(&held, &state);
    const mz_err err = mz_checkpoint_put(&state, &held, p, folder);
    mz_mem_free(p);
    return err;
}

static mz_err load(mz_lm_trainer *t, const char *folder)
{
    mz_progress *p = NULL;
    const mz_checkpointed state = state_of(t);
    MZ_TRY(mz_mem_new(&p, 1, sizeof *p));
    const mz_err err = mz_checkpoint_get(&state, p, folder);
    if (err == MZ_OK) {
        t->samples = p->samples;
        t->tokens = p->tokens;
    }
    mz_mem_free(p);
    return err;
}

/* The name without slashes at its end: what lies beside it gets names made of it. */
static mz_err plain(char **out, const char *folder)
{
    char *name = NULL;
    MZ_TRY(mz_mem_strdup(&name, folder));
    for (size_t n = strlen(name); n > 1 && name[n - 1] == '/';) name[--n] = '\0';
    *out = name;
    return MZ_OK;
}

mz_lm_status mz_lm_trainer_save(mz_lm_trainer *t, const char *folder)
{
    char *name = NULL;
    MZ_LIB_NEED(t && folder && folder[0], "no trainer, or no folder");
    mz_err err = plain(&name, folder);
    if (err == MZ_OK) err = save(t, name);
    mz_mem_free(name);
    return mz_lib_status(err);
}

mz_lm_status mz_lm_trainer_load(mz_lm_trainer *t, const char *folder)
{
    MZ_LIB_NEED(t && folder && folder[0], "no trainer, or no folder");
    return mz_lib_status(load(t, folder));
}
