/* SPDX-License-Identifier: Apache-2.0 */
/* infer/eval.c - see eval.h. Several windows go through the model as one packed call. */
#include "infer/eval.h"

#include "base/mem.h"
#include "infer/outputs.h"

#include <math.h>

enum { TOKENS = 2048, HEAD_ROWS = 256 };

typedef struct job {
    const mz_eval_options *options;
    mz_chain chain;
    mz_source *source;
    int64_t tokens_max, windows_max;
    int32_t *pos, *cu, *targets;
    float *weight, *loss;
} job;

static mz_err bind(job *j, const char *path)
{
    const int64_t N = j->options->context;
    j->windows_max = N < TOKENS ? TOKENS / N : 1;
    j->tokens_max = j->windows_max * N;
    MZ_TRY(mz_source_open(&j->source, path));
    mz_source_adapt(j->source, j->options->adapter);
    const mz_model_options o = {.dtype = j->options->dtype,
                                .tokens_max = j->tokens_max,
                                .sequences_max = j->windows_max,
                                .position_max = N,
                                .head_rows = j->tokens_max < HEAD_ROWS ? j->tokens_max : HEAD_ROWS};
    MZ_TRY(mz_chain_load(&j->chain, j->source, &o, j->options->as_stored));
    MZ_TRY(mz_mem_new(&j->pos, j->tokens_max, sizeof *j->pos));
    MZ_TRY(mz_mem_new(&j->targets, j->tokens_max, sizeof *j->targets));
    MZ_TRY(mz_mem_new(&j->weight, j->tokens_max, sizeof *j->weight));
    MZ_TRY(mz_mem_new(&j->loss, j->tokens_max, sizeof *j->loss));
    return mz_mem_new(&j->cu, j->windows_max + 1, sizeof *j->cu);
}

/* Windows from ids[first] on, as many as fit; *count receives the tokens taken. */
static mz_err step(job *j, mz_eval *out, const int32_t *ids, int64_t left, float *logprobs,
                   int64_t *count)
{
    const int64_t N = j->options->context, T = left < j->tokens_max ? left : j->tokens_max;
    const mz_loss_options lo = {.backward = false};
    int64_t windows = 0;
    mz_tensor loss;
    for (int64_t t = 0; t < T; t++) {
        const bool is_last = t % N == N - 1 || t + 1 == T;
        j->pos[t] = (int32_t)(t % N);
        j->targets[t] = is_last ? -100 : ids[t + 1];
        j->weight[t] = is_last ? 0.0f : 1.0f;
        if (is_last) j->cu[++windows] = (int32_t)t + 1;
    }
    const mz_batch batch = {T, windows, ids, j->pos, j->cu, j->targets, j->weight};
    MZ_TRY(mz_chain_forward(&j->chain, &batch));
    MZ_TRY(mz_model_loss(mz_chain_model(&j->chain), &batch, &lo, &loss));
    MZ_TRY(mz_fetch_f32(mz_chain_queue(&j->chain), &loss, j->loss));
    for (int64_t t = 0; t < T; t++) {
        if (logprobs && t % N == 0) logprobs[t] = NAN;
        if (j->targets[t] == -100) continue;
        out->nll += (double)j->loss[t];
        out->tokens++;
        if (logprobs) logprobs[t + 1] = -j->loss[t];
    }
    *count = T;
    return MZ_OK;
}

static mz_err run(job *j, mz_eval *out, const char *model, const int32_t *ids, int64_t n,
                  float *logprobs)
{
    MZ_TRY(bind(j, model));
    for (int64_t done = 0, count = 0; done < n; done += count) {
        MZ_TRY(step(j, out, ids + done, n - done, logprobs ? logprobs + done : NULL, &count));
        if (j->options->progress) j->options->progress(j->options->user, done + count, n);
    }
    return MZ_OK;
}

mz_err mz_eval_run(mz_eval *out, mz_chips *chips, const char *model, const int32_t *ids, int64_t n,
                   float *logprobs, const mz_eval_options *options)
{
    job j = {.options = options};
    mz_eval sum = {0};
    MZ_NEED(out && chips && model && ids && options, "an argument is NULL");
    MZ_NEED(options->context >= 2 && n >= 2, "context %lld, %lld tokens, want at least 2 of each",
            (long long)options->context, (long long)n);
    mz_err err = mz_chain_open(&j.chain, chips);
    if (err == MZ_OK) err = run(&j, &sum, model, ids, n, logprobs);
    mz_chain_close(&j.chain);
    mz_source_close(j.source);
    mz_mem_free(j.pos);
    mz_mem_free(j.cu);
    mz_mem_free(j.targets);
    mz_mem_free(j.weight);
    mz_mem_free(j.loss);
    if (err == MZ_OK) *out = sum;
    return err;
}
