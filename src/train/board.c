/* SPDX-License-Identifier: Apache-2.0 */
/* train/board.c - see board.h. */
#include "train/board.h"

#include "base/log.h"

#include <math.h>

static void check(mz_board *b, mz_err err)
{
    if (err == MZ_OK) return;
    mz_log(MZ_LOG_WARN, "no more events for TensorBoard: %s; the run goes on all the same",
           mz_err_last()->message);
    mz_err_clear();
    mz_events_close(&b->events);
}

void mz_board_open(mz_board *b, const mz_train_config *c, int64_t after_step, bool goes_on)
{
    b->events.file.fd = -1;
    if (!c->run_tensorboard || after_step >= c->run_steps) return;
    check(b, mz_events_open(&b->events, c->run_dir, after_step, !goes_on));
}

/* The names are those of log.jsonl. */
void mz_board_put(mz_board *b, const mz_step_record *r)
{
    const mz_scalar all[] = {{"loss", r->loss},
                             {"lr", r->lr},
                             {"grad_norm", r->grad_norm},
                             {"tokens_per_s", r->tokens_per_s},
                             {"flops_per_s", r->flops_per_s},
                             {"skipped", (double)r->skipped},
                             {"eval_loss", r->eval_loss},
                             {"expert_load", r->load}};
    enum { ALWAYS = 6 }; /* the others are only there where they are numbers */
    mz_scalar list[MZ_COUNT(all)];
    int n = 0;
    if (b->events.file.fd < 0) return;
    for (int i = 0; i < MZ_COUNT(all); i++)
        if (i < ALWAYS || !isnan(all[i].value)) list[n++] = all[i];
    check(b, mz_events_put(&b->events, r->step, r->time, list, n));
}

void mz_board_sync(mz_board *b)
{
    if (b->events.file.fd >= 0) check(b, mz_events_sync(&b->events));
}

void mz_board_close(mz_board *b)
{
    mz_events_close(&b->events);
}
