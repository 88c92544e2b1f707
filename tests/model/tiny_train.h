/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/tiny_train.h - a tiny network, some rows of ids, and a loop that trains it, step by
 * step, on any chip. */
#ifndef MZ_TESTS_MODEL_TINY_TRAIN_H
#define MZ_TESTS_MODEL_TINY_TRAIN_H

#include "tests/model/tiny.h"
#include "tests/scratch.h"
#include "train/loop.h"

typedef struct tiny_train {
    tiny t; /* its batch is not used */
    mz_train_config c;
    mz_trainer *trainer;
    mz_data *data;
    mz_loop *loop;
    mz_progress p;
    mz_step_record r;
} tiny_train;

static inline mz_train_config tiny_settings(int64_t rows, int64_t micro, int64_t seq)
{
    mz_train_config c;
    memset(&c, 0, sizeof c);
    c.data_seq = seq;
    c.batch_global = rows;
    c.batch_micro = micro;
    c.run_steps = 10;
    c.lr = 1e-2;
    c.beta1 = 0.9;
    c.beta2 = 0.95;
    c.eps = 1e-8;
    c.weight_decay = 0.1;
    c.clip = 1.0;
    c.guard_window = 4;
    memcpy(c.model_path, "given", 6);
    return c;
}

/* Weights are tiny_fill's, or all zero. The scratch folder is there. */
static inline void tiny_train_open(tiny_train *w, const char *spec, const mz_config *n,
                                   const mz_train_config *c, const char *rows, bool fill)
{
    memset(w, 0, sizeof *w);
    w->c = *c;
    const mz_model_options o = mz_loop_model_options(&w->c, n);
    const mz_data_options how = {.seq = c->data_seq, .vocab = n->vocab};
    w->t = (tiny){.config = *n, .options = o, .acc = mz_dtype_acc(o.dtype)};
    tiny_ok(mz_device_open(&w->t.device, spec, NULL));
    tiny_ok(mz_queue_open(&w->t.queue, w->t.device));
    tiny_ok(mz_model_new(&w->t.model, w->t.queue, n, &o));
    if (fill) tiny_fill(&w->t);
    tiny_ok(mz_trainer_new(&w->trainer, w->t.queue, w->t.model));
    tiny_ok(mz_data_open(&w->data, scratch_write("rows.jsonl", rows), &how));
    tiny_ok(mz_loop_new(&w->loop, &w->c, w->t.queue, w->t.model, w->trainer, w->data));
    w->p.spikes.window = w->c.guard_window;
    w->p.spikes.sigmas = w->c.guard_sigma;
}

static inline void tiny_train_close(tiny_train *w)
{
    mz_loop_free(w->loop);
    mz_data_close(w->data);
    mz_trainer_free(w->trainer);
    tiny_close(&w->t);
}

#endif
