/* SPDX-License-Identifier: Apache-2.0 */
/* train/claim.c - see claim.h. */
#include "train/claim.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "train/checkpoint.h"

static mz_err take_lock(mz_lock *lock, const char *path, double patience_s)
{
    const int64_t begun = mz_clock_ns();
    for (;;) {
        const mz_err err = mz_lock_take(lock, path);
        if (err != MZ_EBUSY || (double)(mz_clock_ns() - begun) * 1e-9 >= patience_s) return err;
        mz_clock_sleep_ns(10000000);
    }
}

static mz_err take_folder(mz_claim *claim, const char *dir, double patience_s)
{
    char path[MZ_CHECKPOINT_PATH];
    MZ_TRY(mz_file_mkdirs(dir));
    MZ_TRY(mz_path_join(path, sizeof path, dir, "lock"));
    const mz_err err = take_lock(&claim->lock, path, patience_s);
    if (err == MZ_EBUSY)
        mz_note_fix("one process trains in a run folder; stop it, or use another run.dir");
    if (err != MZ_OK) return err;
    return mz_checkpoint_sweep(dir);
}

/* A run that has a checkpoint keeps what decides its steps; before that nothing can be lost. */
static mz_err settle_config(mz_claim *claim, const mz_train_config *c)
{
    char path[MZ_CHECKPOINT_PATH];
    mz_train_config *before = NULL;
    bool has_any = false;
    MZ_TRY(mz_config_write(c, &claim->yaml));
    MZ_TRY(mz_path_join(path, sizeof path, c->run_dir, "train.yaml"));
    MZ_TRY(mz_checkpoint_any(c->run_dir, &has_any));
    if (has_any && mz_file_exists(path)) {
        MZ_TRY(mz_mem_new(&before, 1, sizeof *before));
        mz_err err = mz_config_load(before, path, NULL, 0);
        if (err == MZ_OK) err = mz_config_same_run(before, c, c->run_dir);
        mz_mem_free(before);
        if (err != MZ_OK) return err;
    }
    return mz_file_write(path, claim->yaml.text, claim->yaml.len);
}

mz_err mz_claim_take(mz_claim *out, const mz_train_config *c, double patience_s)
{
    mz_claim claim = {.lock = {.fd = -1}};
    MZ_NEED(out && c, "no place for a claim, or no configuration");
    mz_err err = take_folder(&claim, c->run_dir, patience_s);
    if (err == MZ_OK) err = settle_config(&claim, c);
    if (err != MZ_OK) {
        mz_claim_drop(&claim);
        return err;
    }
    *out = claim;
    return MZ_OK;
}

void mz_claim_drop(mz_claim *claim)
{
    mz_str_clear(&claim->yaml);
    mz_lock_drop(&claim->lock);
}
