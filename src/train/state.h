/* SPDX-License-Identifier: Apache-2.0 */
/* train/state.h - what the files of a checkpoint hold. Inside train/. Errors as in checkpoint.h. */
#ifndef MZ_TRAIN_STATE_H
#define MZ_TRAIN_STATE_H

#include "port/source.h"
#include "train/checkpoint.h"

/* What is written: the live state, or a snapshot of it in host memory. */
typedef struct mz_held {
    mz_queue *queue;
    const mz_params *params;
    const mz_config *config;
    mz_trainer_state state;
    int64_t updates; /* of the optimizer */
} mz_held;
void mz_held_of(mz_held *h, const mz_checkpointed *c);

/* config.json and model.safetensors of a folder, or an adapter's two files; base: the name of the
 * model beside which the adapters stand. */
mz_err mz_state_save_weights(const mz_held *h, const char *base, const char *folder);
mz_err mz_state_load_weights(const mz_checkpointed *c, const char *folder);
/* Weights and masters from any model, or random ones: how a run begins. */
mz_err mz_state_take_weights(const mz_checkpointed *c, const mz_source *source);
mz_err mz_state_draw_weights(const mz_checkpointed *c, uint64_t seed);
mz_err mz_state_save_optimizer(const mz_held *h, const char *path);
mz_err mz_state_load_optimizer(const mz_checkpointed *c, const char *path);
/* The trainer's step number is a part of it. */
mz_err mz_state_save_progress(int64_t updates, const mz_progress *p, const char *path);
mz_err mz_state_load_progress(const mz_checkpointed *c, mz_progress *p, const char *path);

#endif
