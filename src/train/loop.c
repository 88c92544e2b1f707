/* SPDX-License-Identifier: Apache-2.0 */
/* train/loop.c - see loop.h. */
#include "train/loop.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "train/bias.h"
#include "train/extras.h"
#include "train/fill.h"
#include "train/schedule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct mz_loop {
    const mz_train_config *config;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    mz_data *data;
    mz_comm *comm;                /* NULL: alone */
    mz_team *team;                /* NULL: alone, or a pipeline */
    mz_pipe *pipe;                /* NULL: the whole network is here */
    mz_filler batch;              /* one micro-batch */
    mz_bias bias;                 /* the routers' */
    double worst;                 /* largest over mean load, of the layers so far */
    double flop_token, flop_pair; /* of one id; of one id and a key that it sees */
};

mz_data_options mz_loop_data_options(const mz_train_config *c, int64_t vocab)
{
    const char *source = mz_extras_of(c);
    return (mz_data_options){.seq = c->data_seq,
                             .vocab = vocab,
                             .shuffle = c->data_shuffle,
                             .seed = (uint64_t)c->run_seed,
                             .part = MZ_PART_TRAIN,
                             .pack = c->data_pack,
                             .across = c->data_across,
                             .source = source[0] ? source : NULL,
                             .chat = c->data_chat};
}

static int64_t sequences_of(const mz_train_config *c)
{
    const mz_data_options o = mz_loop_data_options(c, 0);
    return mz_data_sequences(&o, mz_file_is_dir(c->data_path), c->batch_micro);
}

mz_model_options mz_loop_model_options(const mz_train_config *c, const mz_config *network)
{
    return (mz_model_options){.dtype = c->dtype == 1 ? MZ_BF16 : MZ_F32,
                              .tokens_max = c->batch_micro * c->data_seq,
                              .sequences_max = sequences_of(c),
                              .position_max = c->data_seq,
                              .train = true,
                              .recompute = c->recompute,
                              .mtp = network->mtp_layers > 0 &&
                                     (c->mtp_weight > 0.0 || c->model_path[0])};
}

/* ---- set up ---- */

/* What the names of MTP layer i's parameters begin with. */
static int mtp_prefix(const mz_config *n, int64_t i, char prefix[48])
{
    const int64_t layer = n->layers + i;
    return snprintf(prefix, 48, "model.layers.%lld.", (long long)layer);
}

static bool is_of_mtp(const mz_config *n, const mz_param *x)
{
    char prefix[48];
    for (int64_t i = 0; i < n->mtp_layers; i++)
        if (strncmp(x->name, prefix, (size_t)mtp_prefix(n, i, prefix)) == 0) return true;
    return false;
}

/* How often an id meets the parameter in a step, of all its numbers; an embedding is not multiplied
 * with, but where it is the head too. `mtp` MTP layers take part, each with the head. */
static double meetings(const mz_config *n, const mz_param *x, int64_t mtp)
{
    const bool is_table = x->kind == MZ_PARAM_EMBED;
    const bool is_head = n->tied ? is_table : strcmp(x->name, "lm_head.weight") == 0;
    if (x->kind == MZ_PARAM_ROUTER_BIAS || (mtp == 0 && is_of_mtp(n, x))) return 0.0;
    if (is_head && mz_config_has_head(n)) return 1.0 + (double)mtp;
    if (is_table) return 0.0;
    return x->by_expert ? (double)n->moe.top_k / (double)n->moe.experts : 1.0;
}

/* Multiplications and additions of forward and backward: 6 a weight that an id meets, and for
 * attention 6 a key that it sees and column of q.k and of the weighted sum of v. */
static void count_flops(mz_loop *l)
{
    const mz_config *n = mz_model_config(l->model);
    const mz_params *p = mz_model_params(l->model);
    const int64_t value_dim = n->mla ? n->v_dim : n->head_dim;
    const bool has_mtp = l->config->mtp_weight > 0.0 && mz_config_has_head(n);
    const int64_t mtp = has_mtp ? n->mtp_layers : 0;
    for (int64_t i = 0; i < p->n; i++) {
        const mz_param *x = &p->list[i];
        const double met = (double)mz_count(&x->w) * meetings(n, x, mtp);
        l->flop_token += (x->trained ? 6.0 : 4.0) * met; /* frozen ones have no gradient */
    }
    const int64_t layers = mz_config_end(n) - mz_config_first(n) + mtp;
    l->flop_pair = 6.0 * (double)(layers * n->heads * (n->head_dim + value_dim));
}

/* Of the micro-batch that was filled last: each id sees those before it and itself. */
static double flops_of(const mz_loop *l, const mz_batch *batch)
{
    const double tokens = (double)batch->tokens;
    return tokens * l->flop_token + 0.5 * (l->batch.square + tokens) * l->flop_pair;
}

static mz_err build(mz_loop *l)
{
    const mz_train_config *c = l->config;
    const mz_config *n = mz_model_config(l->model);
    const int64_t tokens_max = c->batch_micro * c->data_seq;
    MZ_TRY(mz_filler_init(&l->batch, c->data_seq, tokens_max, sequences_of(c)));
    MZ_TRY(mz_bias_init(&l->bias, l->queue, l->model, c->moe_bias_rate));
    count_flops(l);
    for (int64_t i = 0; i < n->mtp_layers && !(c->mtp_weight > 0.0); i++) {
        char prefix[48];
        (void)mtp_prefix(n, i, prefix);
        mz_trainer_freeze(l->trainer, prefix);
    }
    const int64_t batches = (c->batch_global + c->batch_micro - 1) / c->batch_micro;
    return mz_trainer_reserve(l->trainer, tokens_max, batches);
}

static mz_err check(const mz_train_config *c, const mz_config *n)
{
    const bool experts = n->moe.experts > 0;
    if (c->moe_balance > 0.0 && !experts)
        return MZ_FAIL(MZ_ECONFIG, "moe.balance is %g, but this network has no experts",
                       c->moe_balance);
    if (c->mtp_weight > 0.0 && n->mtp_layers == 0)
        return MZ_FAIL(MZ_ECONFIG, "mtp.weight is %g, but this network has no MTP layers",
                       c->mtp_weight);
    return MZ_OK;
}

mz_err mz_loop_new(mz_loop **out, const mz_train_config *c, mz_queue *q, mz_model *m, mz_trainer *t,
                   mz_data *data)
{
    mz_loop *l = NULL;
    MZ_NEED(out && c && q && m && t && data, "an argument is NULL");
    MZ_TRY(check(c, mz_model_config(m)));
    MZ_TRY(mz_mem_new(&l, 1, sizeof *l));
    *l = (mz_loop){.config = c, .queue = q, .model = m, .trainer = t, .data = data};
    const mz_err err = build(l);
    if (err != MZ_OK) {
        mz_loop_free(l);
        return err;
    }
    *out = l;
    return MZ_OK;
}

void mz_loop_free(mz_loop *l)
{
    if (!l) return;
    mz_filler_clear(&l->batch);
    mz_bias_clear(&l->bias);
    mz_mem_free(l);
}

void mz_loop_join(mz_loop *l, mz_team *team)
{
    l->team = team;
    l->comm = mz_team_comm(team);
}

void mz_loop_join_pipe(mz_loop *l, mz_comm *comm, mz_pipe *pipe)
{
    l->pipe = pipe;
    l->comm = comm;
}

/* ---- gradients ---- */

typedef struct sums { /* over one step */
    double loss, flop, tokens;
} sums;

/* Micro-batch `done` to done+n-1 of the step that begins with sample `first`. */
static mz_err take_batch(mz_loop *l, int64_t first, int64_t done, int64_t n, mz_batch *batch,
                         mz_loss_options *o)
{
    const mz_train_config *c = l->config;
    const double share = (double)n / (double)c->batch_global;
    *o = (mz_loss_options){
        .backward = true, .balance_alpha = c->moe_balance * share, .mtp_weight = c->mtp_weight};
    return mz_fill(&l->batch, l->data, first + done, n, c->batch_global, batch);
}

typedef struct piping {
    mz_loop *loop;
    int64_t first;
} piping;

static mz_err fill_pipe(void *user, int64_t i, mz_batch *batch, mz_loss_options *o)
{
    const piping *p = user;
    const mz_train_config *c = p->loop->config;
    const int64_t done = i * c->batch_micro, left = c->batch_global - done;
    return take_batch(p->loop, p->first, done, left < c->batch_micro ? left : c->batch_micro, batch,
                      o);
}

/* Ids are counted where the loss is taken. */
static mz_err accumulate_pipe(mz_loop *l, int64_t first, sums *s)
{
    const mz_train_config *c = l->config;
    piping p = {.loop = l, .first = first};
    const int64_t n = (c->batch_global + c->batch_micro - 1) / c->batch_micro;
    const bool is_last = mz_config_has_head(mz_model_config(l->model));
    MZ_TRY(mz_trainer_begin(l->trainer));
    if (c->moe_bias_rate > 0.0) MZ_TRY(mz_pipe_zero_counts(l->pipe));
    MZ_TRY(mz_pipe_run(l->pipe, n, fill_pipe, &p));
    for (int64_t i = 0; i < n; i++) {
        mz_batch batch;
        mz_loss_options o;
        MZ_TRY(fill_pipe(&p, i, &batch, &o));
        s->flop += flops_of(l, &batch);
        if (is_last) s->tokens += (double)batch.tokens;
    }
    return MZ_OK;
}

/* Samples done .. all - 1 of the step that begins with sample `first`. */
static mz_err accumulate_own(mz_loop *l, int64_t first, int64_t done, int64_t all, sums *s)
{
    const mz_train_config *c = l->config;
    MZ_TRY(mz_trainer_begin(l->trainer));
    if (c->moe_bias_rate > 0.0) MZ_TRY(mz_model_zero_counts(l->model));
    while (done < all) {
        const int64_t left = all - done, n = left < c->batch_micro ? left : c->batch_micro;
        mz_batch batch;
        mz_loss_options o;
        MZ_TRY(take_batch(l, first, done, n, &batch, &o));
        s->flop += flops_of(l, &batch);
        MZ_TRY(mz_trainer_micro(l->trainer, &batch, &o));
        s->tokens += (double)batch.tokens;
        done += n;
    }
    return MZ_OK;
}

static mz_err accumulate(mz_loop *l, int64_t first, sums *s)
{
    const int64_t global = l->config->batch_global;
    int64_t done = 0, n = global;
    if (l->pipe) return accumulate_pipe(l, first, s);
    if (l->team) mz_team_part(l->team, global, &done, &n);
    return accumulate_own(l, first, done, done + n, s);
}

mz_err mz_loop_try(mz_loop *l, int64_t first, int64_t n)
{
    sums s = {0};
    MZ_NEED(l && first >= 0 && n > 0, "no loop or no samples");
    mz_guard_enter();
    mz_err err = accumulate_own(l, first, 0, n, &s);
    if (err == MZ_OK) err = mz_queue_sync(l->queue);
    if (err == MZ_OK) (void)mz_trainer_losses(l->trainer);
    mz_guard_leave();
    return err;
}

/* Where the step is, for who watches this rank. */
static void enter(const mz_loop *l, mz_phase phase, const mz_progress *p)
{
    if (l->comm) mz_comm_phase(l->comm, phase, p->step + 1);
}

/* The norm of the gradients, for which it waits; then the loss is there too. */
static mz_err find_norm(mz_loop *l, double *norm)
{
    if (l->team) return mz_team_reduce(l->team, norm);
    return l->pipe ? mz_pipe_norm(l->pipe, norm) : mz_trainer_norm(l->trainer, norm);
}

/* After a wait: the loss and what goes with it, of all ranks. */
static mz_err add_up(mz_loop *l, sums *s)
{
    s->loss = mz_trainer_losses(l->trainer);
    double all[3] = {s->loss, s->flop, s->tokens};
    if (!l->comm) return MZ_OK;
    MZ_TRY(mz_comm_sum(l->comm, all, MZ_COUNT(all)));
    *s = (sums){.loss = all[0], .flop = all[1], .tokens = all[2]};
    return MZ_OK;
}

/* ---- the step ---- */

/* Whether the step is taken, and if so, taking it. */
static mz_err update(mz_loop *l, mz_progress *p, mz_step_record *r)
{
    const mz_train_config *c = l->config;
    const mz_optim optim = {.lr = r->lr,
                            .beta1 = c->beta1,
                            .beta2 = c->beta2,
                            .eps = c->eps,
                            .weight_decay = c->weight_decay,
                            .clip = c->clip};
    enter(l, MZ_PHASE_JUDGE, p);
    r->why_skipped = mz_spikes_judge(&p->spikes, r->loss, r->grad_norm);
    if (r->why_skipped) {
        mz_spikes_skipped(&p->spikes);
        return MZ_OK;
    }
    enter(l, MZ_PHASE_UPDATE, p);
    MZ_TRY(mz_trainer_apply(l->trainer, &optim, r->grad_norm));
    l->worst = 0.0;
    MZ_TRY(mz_bias_move(&l->bias, l->team ? l->comm : NULL, &l->worst));
    if (l->worst > 0.0) r->load = l->worst;
    enter(l, MZ_PHASE_SHARE, p);
    if (l->team) MZ_TRY(mz_team_share(l->team));
    if (l->pipe) MZ_TRY(mz_pipe_share(l->pipe));
    mz_spikes_took(&p->spikes, r->loss, r->grad_norm);
    return MZ_OK;
}

static mz_err make_step(mz_loop *l, mz_progress *p, mz_step_record *r)
{
    sums s = {0};
    const int64_t begun = mz_clock_ns();
    enter(l, MZ_PHASE_COMPUTE, p);
    MZ_TRY(accumulate(l, p->samples, &s));
    MZ_TRY(mz_bias_fetch(&l->bias));
    if (l->team) { /* its ranks wait for each other before they add up gradients */
        MZ_TRY(mz_queue_sync(l->queue));
        MZ_TRY(add_up(l, &s));
    }
    enter(l, MZ_PHASE_REDUCE, p);
    MZ_TRY(find_norm(l, &r->grad_norm));
    if (!l->team) MZ_TRY(add_up(l, &s));
    r->loss = s.loss;
    r->lr = mz_schedule_lr(l->config, p->step);
    MZ_TRY(update(l, p, r));
    const double seconds = fmax((double)(mz_clock_ns() - begun) * 1e-9, 1e-9);
    p->step++;
    p->samples += l->config->batch_global;
    p->tokens += (int64_t)s.tokens;
    r->tokens_per_s = s.tokens / seconds;
    r->flops_per_s = s.flop / seconds;
    r->flop = s.flop;
    return MZ_OK;
}

mz_err mz_loop_step(mz_loop *l, mz_progress *p, mz_step_record *r)
{
    MZ_NEED(l && p && r, "an argument is NULL");
    *r = (mz_step_record){.steps = l->config->run_steps,
                          .eval_loss = (double)NAN,
                          .best_loss = (double)NAN,
                          .load = (double)NAN};
    mz_guard_enter();
    const mz_err err = make_step(l, p, r);
    mz_guard_leave();
    r->step = p->step;
    r->samples = p->samples;
    r->tokens = p->tokens;
    r->skipped = p->spikes.skipped;
    r->time = mz_clock_wall_s();
    return err;
}
