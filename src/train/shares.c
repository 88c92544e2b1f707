/* SPDX-License-Identifier: Apache-2.0 */
/* train/shares.c - see shares.h. */
#include "train/shares.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "train/checkpoint.h"
#include "train/loop.h"
#include "train/network.h"
#include "train/state.h"

#include <string.h>

enum { FILE_MAX = 1 << 20, ROUNDS = 3 };
static const double LEAST_S = 0.8, MOST_S = 20.0;

bool mz_shares_are_auto(const mz_train_config *c)
{
    return c->n_ranks > 0 && c->ranks[0].layers == 0 && c->ranks[0].share == 0;
}

void mz_shares_split(int64_t *out, const double *speed, int64_t ranks, int64_t n)
{
    for (int64_t i = 0; i < ranks; i++) out[i] = 1;
    for (int64_t left = n - ranks; left > 0; left--) {
        int64_t best = 0;
        for (int64_t i = 1; i < ranks; i++)
            if ((double)(out[i] + 1) * speed[best] < (double)(out[best] + 1) * speed[i]) best = i;
        out[best]++;
    }
}

/* ---- the file ---- */

static mz_err path_of(char out[MZ_CHECKPOINT_PATH], const char *run)
{
    return mz_path_join(out, MZ_CHECKPOINT_PATH, run, "shares.json");
}

mz_err mz_shares_forget(const char *run)
{
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(path_of(path, run));
    return mz_folder_remove(path);
}

static mz_err take(mz_train_config *c, const json_t *root, const char *path)
{
    const json_t *list = json_object_get(root, "shares");
    int64_t sum = 0;
    bool good = json_array_size(list) == (size_t)c->n_ranks;
    for (int64_t i = 0; good && i < c->n_ranks; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        c->ranks[i].share = json_integer_value(x);
        good = c->ranks[i].share >= 1 && c->ranks[i].share <= c->batch_global;
        sum += c->ranks[i].share;
    }
    if (good && sum == c->batch_global) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s holds no shares of %lld samples for %lld ranks",
                               path, (long long)c->batch_global, (long long)c->n_ranks);
    mz_note_where(path, "shares", -1);
    mz_note_fix("without the file the shares are measured anew, which may change bits");
    return err;
}

mz_err mz_shares_recall(mz_train_config *c, bool *found)
{
    char path[MZ_CHECKPOINT_PATH];
    json_t *root = NULL;
    mz_str ranks = {0};
    *found = false;
    MZ_TRY(path_of(path, c->run_dir));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_json_read(&root, path, FILE_MAX));
    mz_err err = mz_key_write(mz_key_find("ranks"), c, &ranks);
    const char *of = json_string_value(json_object_get(root, "ranks"));
    /* measured for other ranks: those of a configuration that was changed since */
    *found = err == MZ_OK && (!of || strcmp(of, ranks.text) == 0);
    if (*found) err = take(c, root, path);
    mz_str_clear(&ranks);
    json_decref(root);
    return err;
}

static mz_err write(const mz_train_config *c, const int64_t *shares, const double *speed)
{
    char path[MZ_CHECKPOINT_PATH];
    mz_str ranks = {0};
    json_t *list = json_array(), *speeds = json_array();
    int bad = 0;
    MZ_TRY(path_of(path, c->run_dir));
    mz_err err = mz_key_write(mz_key_find("ranks"), c, &ranks);
    for (int64_t i = 0; i < c->n_ranks; i++) {
        bad |= json_array_append_new(list, json_integer(shares[i]));
        bad |= json_array_append_new(speeds, json_real(speed[i]));
        mz_log(MZ_LOG_INFO, "share: auto: rank %lld (%s) makes %.3g samples a second: %lld of %lld",
               (long long)i, c->ranks[i].chip, speed[i], (long long)shares[i],
               (long long)c->batch_global);
    }
    json_t *o = json_pack("{s:i, s:s, s:o, s:o}", "schema", 1, "ranks",
                          ranks.text ? ranks.text : "", "shares", list, "samples_per_s", speeds);
    if (err == MZ_OK && (bad != 0 || !o)) err = MZ_FAIL(MZ_ENOMEM, "no memory for shares.json");
    if (err == MZ_OK) err = mz_json_write(o, path);
    json_decref(o);
    mz_str_clear(&ranks);
    return err;
}

/* ---- measuring ---- */

typedef struct trial {
    const mz_train_config *config;
    mz_comm *comm;
    mz_config network;
    mz_source *source;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    mz_data *data;
    mz_loop *loop;
    double speed[MZ_RANKS_MAX]; /* samples a second */
    int64_t n[MZ_RANKS_MAX];    /* of a step */
} trial;

static mz_err build(trial *t, mz_device *device)
{
    const mz_train_config *c = t->config;
    MZ_TRY(mz_network_read(&t->network, &t->source, c));
    const mz_model_options o = mz_loop_model_options(c, &t->network);
    MZ_TRY(mz_queue_open(&t->queue, device));
    t->queue->rank = t->comm->rank;
    t->queue->pulse = t->comm->pulse;
    MZ_TRY(mz_model_new(&t->model, t->queue, &t->network, &o));
    MZ_TRY(mz_trainer_new(&t->trainer, t->queue, t->model));
    const mz_data_options how = mz_loop_data_options(c, t->network.vocab);
    MZ_TRY(mz_data_open(&t->data, c->data_path, &how));
    MZ_TRY(mz_loop_new(&t->loop, c, t->queue, t->model, t->trainer, t->data));
    const mz_checkpointed state = {.queue = t->queue, .model = t->model, .trainer = t->trainer};
    return mz_state_draw_weights(&state, (uint64_t)c->run_seed);
}

static void clear(trial *t)
{
    const mz_err_info why = *mz_err_last();
    if (t->queue) (void)mz_queue_sync(t->queue);
    mz_loop_free(t->loop);
    mz_data_close(t->data);
    mz_trainer_free(t->trainer);
    mz_model_free(t->model);
    mz_queue_close(t->queue);
    mz_source_close(t->source);
    mz_mem_free(t);
    if (why.code != MZ_OK) mz_err_restore(&why);
}

static double since(int64_t begun_ns)
{
    return (double)(mz_clock_ns() - begun_ns) * 1e-9;
}

/* How long the ranks are measured: one number for all. The first round, which is not counted, pays
 * for what is done once. */
static mz_err warm_up(trial *t, double *seconds)
{
    double all[MZ_RANKS_MAX] = {0}, most = LEAST_S;
    const int64_t own = t->n[t->comm->rank];
    MZ_TRY(mz_loop_try(t->loop, 0, own));
    const int64_t begun = mz_clock_ns();
    MZ_TRY(mz_loop_try(t->loop, own, own));
    all[t->comm->rank] = 2.0 * since(begun);
    MZ_TRY(mz_comm_sum(t->comm, all, t->comm->size));
    for (int i = 0; i < t->comm->size; i++) most = all[i] > most ? all[i] : most;
    *seconds = most < MOST_S ? most : MOST_S;
    return MZ_OK;
}

/* Until the time is over, so that every rank has the others beside it all the time. */
static mz_err one_round(trial *t)
{
    const int rank = t->comm->rank;
    double seconds = 0.0, gone = 0.0;
    int64_t made = 0;
    mz_comm_phase(t->comm, MZ_PHASE_COMPUTE, 0);
    MZ_TRY(warm_up(t, &seconds));
    MZ_TRY(mz_comm_barrier(t->comm));
    for (const int64_t begun = mz_clock_ns(); gone < seconds; gone = since(begun)) {
        MZ_TRY(mz_loop_try(t->loop, made, t->n[rank]));
        made += t->n[rank];
    }
    memset(t->speed, 0, sizeof t->speed);
    t->speed[rank] = (double)made / gone;
    return mz_comm_sum(t->comm, t->speed, t->comm->size);
}

static mz_err measure(trial *t)
{
    const mz_train_config *c = t->config;
    int64_t before[MZ_RANKS_MAX];
    for (int64_t i = 0; i < c->n_ranks; i++) t->speed[i] = 1.0;
    mz_shares_split(t->n, t->speed, c->n_ranks, c->batch_global);
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(before, t->n, sizeof before);
        MZ_TRY(one_round(t));
        mz_shares_split(t->n, t->speed, c->n_ranks, c->batch_global);
        if (memcmp(before, t->n, (size_t)c->n_ranks * sizeof *before) == 0) break;
    }
    return t->comm->rank == 0 ? write(c, t->n, t->speed) : MZ_OK;
}

mz_err mz_shares_measure(const mz_train_config *c, mz_device *device, mz_comm *comm)
{
    trial *t = NULL;
    MZ_NEED(c && device && comm && c->n_ranks == comm->size, "an argument is NULL, or other ranks");
    MZ_TRY(mz_mem_new(&t, 1, sizeof *t));
    t->config = c;
    t->comm = comm;
    mz_err err = build(t, device);
    if (err == MZ_OK) err = measure(t);
    if (err == MZ_OK) err = mz_comm_barrier(comm); /* the file is there for all */
    clear(t);
    return err;
}
