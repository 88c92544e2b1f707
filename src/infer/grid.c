/* SPDX-License-Identifier: Apache-2.0 */
/* infer/grid.c - see grid.h. */
#include "infer/grid.h"

#include "base/mem.h"
#include "infer/outputs.h"

#include <math.h>

enum { HEAD_ROWS = 256 };

mz_err mz_grid_new(mz_grid *r, int64_t B, int64_t T)
{
    MZ_NEED(r && B >= 1 && T >= 1, "%lld rows of %lld tokens", (long long)B, (long long)T);
    if (T > INT32_MAX / B) return MZ_FAIL(MZ_ENOTSUP, "ids has more than 2^31 tokens");
    *r = (mz_grid){.B = B, .T = T};
    mz_err err = mz_mem_new(&r->ids, B * T, sizeof *r->ids);
    if (err == MZ_OK) err = mz_mem_new(&r->pos, B * T, sizeof *r->pos);
    if (err == MZ_OK) err = mz_mem_new(&r->targets, B * T, sizeof *r->targets);
    if (err == MZ_OK) err = mz_mem_new(&r->weight, B * T, sizeof *r->weight);
    if (err == MZ_OK) err = mz_mem_new(&r->cu, B + 1, sizeof *r->cu);
    if (err != MZ_OK) mz_grid_clear(r);
    return err;
}

void mz_grid_clear(mz_grid *r)
{
    mz_mem_free(r->ids);
    mz_mem_free(r->pos);
    mz_mem_free(r->targets);
    mz_mem_free(r->weight);
    mz_mem_free(r->cu);
    *r = (mz_grid){0};
}

void mz_grid_weigh(mz_grid *r, int64_t counted)
{
    for (int64_t i = 0; i < r->B * r->T; i++)
        r->weight[i] = r->targets[i] == -100 ? 0.0f : (float)(1.0 / (double)counted);
}

void mz_grid_finish(mz_grid *r, bool has_targets)
{
    const int64_t n = r->B * r->T;
    r->counted = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = i % r->T;
        r->pos[i] = (int32_t)t;
        if (!has_targets) r->targets[i] = t + 1 < r->T ? r->ids[i + 1] : -100;
        r->counted += r->targets[i] != -100;
    }
    mz_grid_weigh(r, r->counted);
    for (int64_t b = 0; b <= r->B; b++) r->cu[b] = (int32_t)(b * r->T);
}

mz_batch mz_grid_batch(const mz_grid *r)
{
    return (mz_batch){r->B * r->T, r->B, r->ids, r->pos, r->cu, r->targets, r->weight};
}

int64_t mz_grid_at_once(const mz_grid *r)
{
    const int64_t n = r->B * r->T;
    return n < HEAD_ROWS ? n : HEAD_ROWS;
}

mz_err mz_grid_logits(const mz_grid *r, mz_model *m, mz_queue *q, float *out)
{
    const int64_t n = r->B * r->T, V = mz_model_config(m)->vocab, rows = mz_grid_at_once(r);
    for (int64_t first = 0; first < n; first += rows) {
        mz_tensor logits;
        MZ_TRY(mz_model_logits(m, first, n - first < rows ? n - first : rows, &logits));
        MZ_TRY(mz_fetch_f32(q, &logits, out + first * V));
    }
    return MZ_OK;
}

mz_err mz_grid_mean(const mz_grid *r, mz_queue *q, const mz_tensor *loss, double *mean)
{
    const int64_t n = r->B * r->T;
    float *each = NULL;
    MZ_TRY(mz_mem_new(&each, n, sizeof *each));
    const mz_err err = mz_fetch_f32(q, loss, each);
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        if (r->targets[i] != -100) sum += (double)each[i];
    mz_mem_free(each);
    if (err == MZ_OK) *mean = r->counted > 0 ? sum / (double)r->counted : (double)NAN;
    return err;
}
