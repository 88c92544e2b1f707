/* SPDX-License-Identifier: Apache-2.0 */
/* train/fill.c - see fill.h. */
#include "train/fill.h"

#include "base/mem.h"

mz_err mz_filler_init(mz_filler *f, int64_t seq, int64_t tokens_max, int64_t sequences_max)
{
    f->seq = seq;
    f->tokens_max = tokens_max;
    f->sequences_max = sequences_max;
    MZ_TRY(mz_mem_new(&f->ids, tokens_max, sizeof *f->ids));
    MZ_TRY(mz_mem_new(&f->pos, tokens_max, sizeof *f->pos));
    MZ_TRY(mz_mem_new(&f->targets, tokens_max, sizeof *f->targets));
    MZ_TRY(mz_mem_new(&f->weight, tokens_max, sizeof *f->weight));
    return mz_mem_new(&f->cu, sequences_max + 1, sizeof *f->cu);
}

void mz_filler_clear(mz_filler *f)
{
    mz_mem_free(f->ids);
    mz_mem_free(f->pos);
    mz_mem_free(f->targets);
    mz_mem_free(f->weight);
    mz_mem_free(f->cu);
    *f = (mz_filler){0};
}

/* One sequence of a sample, ids a .. b-1 of it, behind what the batch holds. Only the sample's id
 * number seq, where it has one, is not fed. */
static void add_sequence(mz_filler *f, mz_batch *batch, const mz_sample *s, int64_t a, int64_t b,
                         float weight)
{
    const int64_t fed = b > f->seq ? f->seq - a : b - a;
    int64_t at = batch->tokens;
    if (fed <= 0) return;
    for (int64_t t = a; t < a + fed; t++, at++) {
        const bool counts = t + 1 < b && (!s->counts || s->counts[t + 1]);
        f->ids[at] = s->ids[t];
        f->pos[at] = (int32_t)(t - a);
        f->targets[at] = counts ? s->ids[t + 1] : -100;
        f->weight[at] = counts ? weight : 0.0f;
    }
    batch->tokens = at;
    f->cu[++batch->sequences] = (int32_t)at;
    f->square += (double)fed * (double)fed;
}

mz_err mz_fill(mz_filler *f, mz_data *data, int64_t first, int64_t n, int64_t of, mz_batch *out)
{
    mz_batch batch = {0, 0, f->ids, f->pos, f->cu, f->targets, f->weight};
    f->cu[0] = 0;
    f->square = 0.0;
    for (int64_t i = 0; i < n; i++) {
        mz_sample s;
        MZ_TRY(mz_data_sample(data, first + i, &s));
        const int64_t positions = mz_sample_positions(&s);
        const float weight = positions > 0 ? (float)(1.0 / ((double)of * (double)positions)) : 0.0f;
        MZ_NEED(batch.tokens + (s.n < f->seq ? s.n : f->seq) <= f->tokens_max &&
                    batch.sequences + s.sequences <= f->sequences_max,
                "a batch of more than it was booked for");
        for (int64_t k = 0; k < s.sequences; k++)
            add_sequence(f, &batch, &s, s.starts[k], k + 1 < s.sequences ? s.starts[k + 1] : s.n,
                         weight);
    }
    *out = batch;
    return MZ_OK;
}
