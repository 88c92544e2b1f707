/* SPDX-License-Identifier: Apache-2.0 */
/* train/checkpoint.h - the state of a run on disk, whole or not at all.
 *
 *   RUN/checkpoints/step-00000500/
 *     config.json model.safetensors   a Hugging Face folder, master weights in f32; of a run that
 *                                     trains adapters alone, adapter_config.json and
 *                                     adapter_model.safetensors in their place
 *     optimizer.safetensors           m.NAME and v.NAME for every trained tensor of that folder
 *     state.json                      step, cursor, random numbers, loss history
 *     train.yaml                      the resolved configuration
 *     tokenizer.json ...              where the model's folder has them: a whole model
 *     manifest.json                   name, bytes and SHA-256 of each of them; written last
 *
 * A save writes into step-N.tmp, every file durably, then renames the folder: a name without .tmp
 * is a whole checkpoint. A load reads the manifest of the newest, verifies every checksum, and goes
 * back one checkpoint, said aloud, where something does not fit. What is there and cannot be read
 * is never taken for a run that has not begun.
 *
 * Floor:  train. May use port, file, model, chip, base.
 * Time:   waits for the queue; from the thread that owns it.
 * Repeat: bitwise: a run that goes on from a checkpoint makes the bits of one that never stopped.
 * Errors: MZ_EIO, MZ_ENOMEM: the older checkpoints are untouched. MZ_ECORRUPT from load: there are
 *         checkpoints and none is whole. */
#ifndef MZ_TRAIN_CHECKPOINT_H
#define MZ_TRAIN_CHECKPOINT_H

#include "base/json.h"
#include "train/guard.h"
#include "train/step.h"

enum { MZ_CHECKPOINT_PATH = 2048 };

/* What a run is besides weights and moments. */
typedef struct mz_progress {
    int64_t step;    /* steps made, skipped ones among them */
    int64_t samples; /* the cursor: samples that these steps took */
    int64_t tokens;  /* ids that they fed */
    uint64_t seed;
    char data_sha256[65];
    mz_spikes spikes;
    int64_t best_step; /* with the lowest validation loss, 0: none yet */
    double best_loss;
} mz_progress;

/* Whose state it is. */
typedef struct mz_checkpointed {
    const char *run; /* folder */
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    const char *yaml;      /* resolved configuration, NUL-terminated */
    const char *tokenizer; /* whose files go along: a folder, or its tokenizer.json */
    /* of a run that trains adapters alone: the model that they stand beside, and how they begin */
    const struct mz_source *base; /* for load; NULL where it was loaded */
    const char *base_name;
    const char *adapter; /* folder; NULL or "": drawn from the seed */
    uint64_t seed;
} mz_checkpointed;

/* Writes RUN/checkpoints/step-N and then removes all but the newest `keep` and the best one. */
mz_err mz_checkpoint_save(const mz_checkpointed *c, const mz_progress *p, int64_t keep);
/* The same of state that is held elsewhere (train/snapshot.h); of c only the texts are looked at.
 * From any thread, one at a time for a run. */
struct mz_held;
mz_err mz_checkpoint_write(const mz_checkpointed *c, const struct mz_held *h, const mz_progress *p,
                           int64_t keep);
/* One checkpoint in a folder of any name, whole or not at all; what lay there before is replaced,
 * so the caller looks first whether it may. Of c the run is not looked at. */
mz_err mz_checkpoint_put(const mz_checkpointed *c, const struct mz_held *h, const mz_progress *p,
                         const char *folder);
/* Verifies every checksum of such a folder, then loads it. */
mz_err mz_checkpoint_get(const mz_checkpointed *c, mz_progress *p, const char *folder);
/* Loads the newest whole one. *found false, all else untouched, where the run has none. */
mz_err mz_checkpoint_load(const mz_checkpointed *c, mz_progress *p, bool *found);
/* Removes what interrupted saves and removals have left. Only under the run's lock. */
mz_err mz_checkpoint_sweep(const char *run);

/* Holds every file of a checkpoint's folder against its manifest. *checked, where not NULL,
 * receives how many there are. */
mz_err mz_checkpoint_verify(const char *folder, int64_t *checked);

/* Whether a folder of a checkpoint is there, whole or not. */
mz_err mz_checkpoint_any(const char *run, bool *any);
/* Step of the newest folder of a checkpoint, whole or not; -1 where there is none. */
mz_err mz_checkpoint_last(const char *run, int64_t *step);
/* The folder of one. */
mz_err mz_checkpoint_path(char out[MZ_CHECKPOINT_PATH], const char *run, int64_t step);
/* Path and state.json of the newest whole checkpoint. *state NULL where the run has none; else a
 * new reference. */
mz_err mz_checkpoint_newest(const char *run, char path[MZ_CHECKPOINT_PATH], json_t **state);
/* Host bytes that a save books. */
size_t mz_checkpoint_room(void);

#endif
