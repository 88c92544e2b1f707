/* SPDX-License-Identifier: Apache-2.0 */
/* bench/mtp.c - how often a model's MTP layer guesses the token after the next as the model itself
 * then does: the share of drafts that greedy decoding would accept.
 *
 *   mtp MODEL DATA [SEQ [SAMPLES]]        DATA: of `mizan data build`; its validation part is read
 *
 * The texts' own tokens are fed. At position t the model names the token after it, and the MTP
 * layer, which sees token t + 1 too, the one at t + 2; that draft counts as accepted where it is
 * what the model names at t + 1. */
#include "base/mem.h"
#include "chips/cpu/cpu.h"
#include "model/whole.h"
#include "port/source.h"
#include "train/fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    mz_device *device;
    mz_queue *queue;
    mz_source *source;
    mz_model *model;
    mz_data *data;
    mz_filler batch;
    float *logits;
    int32_t *main, *draft; /* [seq] */
} bench;

static mz_err open_all(bench *b, const char *model, const char *data, int64_t seq)
{
    MZ_TRY(mz_chip_register(mz_cpu_chip()));
    MZ_TRY(mz_device_open(&b->device, "cpu", NULL));
    MZ_TRY(mz_queue_open(&b->queue, b->device));
    MZ_TRY(mz_source_open(&b->source, model));
    const mz_config *c = mz_source_config(b->source);
    if (c->mtp_layers == 0) return MZ_FAIL(MZ_ENOTSUP, "%s has no MTP layer", model);
    const mz_model_options o = {.dtype = MZ_F32,
                                .tokens_max = seq,
                                .sequences_max = 1,
                                .position_max = seq,
                                .head_rows = 1,
                                .train = true, /* what MTP layers computed stands after the call */
                                .mtp = true};
    const mz_data_options how = {
        .seq = seq, .vocab = c->vocab, .part = MZ_PART_VALIDATION, .pack = true, .across = true};
    MZ_TRY(mz_model_new(&b->model, b->queue, c, &o));
    MZ_TRY(mz_source_load(b->source, mz_model_params(b->model), b->queue));
    MZ_TRY(mz_data_open(&b->data, data, &how));
    MZ_TRY(mz_filler_init(&b->batch, seq, seq, 1));
    MZ_TRY(mz_mem_new(&b->logits, c->vocab, sizeof *b->logits));
    MZ_TRY(mz_mem_new(&b->main, seq, sizeof *b->main));
    return mz_mem_new(&b->draft, seq, sizeof *b->draft);
}

/* The likeliest id after each row of hidden states. */
static mz_err likeliest(bench *b, const mz_tensor *hidden, int64_t n, int32_t *out)
{
    const mz_net *net = &b->model->net;
    const mz_tensor logits = mz_cell_rows(net, &b->model->head.logits, 1);
    const int64_t vocab = net->config.vocab;
    for (int64_t t = 0; t < n; t++) {
        const mz_tensor row = mz_slice(hidden, 0, t, 1);
        MZ_TRY(mz_head_logits(net, &b->model->head, &row, &logits));
        MZ_TRY(mz_download(b->queue, b->logits, &logits));
        MZ_TRY(mz_queue_sync(b->queue));
        out[t] = 0;
        for (int32_t i = 1; i < vocab; i++)
            if (b->logits[i] > b->logits[out[t]]) out[t] = i;
    }
    return MZ_OK;
}

typedef struct counts {
    int64_t drafts, accepted, main_right, draft_right;
} counts;

static mz_err one_sample(bench *b, int64_t i, counts *sum)
{
    const mz_loss_options o = {.mtp_weight = 1.0};
    mz_batch batch;
    mz_tensor loss;
    MZ_TRY(mz_fill(&b->batch, b->data, i, 1, 1, &batch));
    MZ_TRY(mz_model_forward(b->model, &batch));
    MZ_TRY(mz_model_loss(b->model, &batch, &o, &loss));
    const int64_t n = batch.tokens;
    const mz_tensor normed = mz_cell_rows(&b->model->net, &b->model->normed, n);
    const mz_tensor ahead = mz_cell_rows(&b->model->net, &b->model->mtp[0].normed, n);
    MZ_TRY(likeliest(b, &normed, n, b->main));
    MZ_TRY(likeliest(b, &ahead, n, b->draft));
    for (int64_t t = 0; t + 2 < n; t++) {
        sum->drafts++;
        sum->accepted += b->draft[t] == b->main[t + 1];
        sum->main_right += b->main[t] == batch.ids[t + 1];
        sum->draft_right += b->draft[t] == batch.ids[t + 2];
    }
    return MZ_OK;
}

static void close_all(bench *b)
{
    mz_mem_free(b->logits);
    mz_mem_free(b->main);
    mz_mem_free(b->draft);
    mz_filler_clear(&b->batch);
    mz_data_close(b->data);
    mz_model_free(b->model);
    mz_source_close(b->source);
    mz_queue_close(b->queue);
    mz_device_close(b->device);
}

int main(int argc, char **argv)
{
    bench b = {0};
    counts sum = {0};
    if (argc < 3) {
        fprintf(stderr, "mtp MODEL DATA [SEQ [SAMPLES]]\n");
        return 2;
    }
    const int64_t seq = argc > 3 ? atoll(argv[3]) : 64, most = argc > 4 ? atoll(argv[4]) : 100;
    mz_err err = open_all(&b, argv[1], argv[2], seq);
    const int64_t n = err == MZ_OK && mz_data_count(b.data) < most ? mz_data_count(b.data) : most;
    for (int64_t i = 0; i < n && err == MZ_OK; i++) err = one_sample(&b, i, &sum);
    if (err != MZ_OK) fprintf(stderr, "mtp: %s\n", mz_err_last()->message);
    const double all = sum.drafts > 0 ? 100.0 / (double)sum.drafts : 0.0;
    if (err == MZ_OK)
        printf(
            "drafts,accepted_percent,next_right_percent,draft_right_percent\n%lld,%.2f,%.2f,%.2f\n",
            (long long)sum.drafts, all * (double)sum.accepted, all * (double)sum.main_right,
            all * (double)sum.draft_right);
    close_all(&b);
    return mz_err_exit(err);
}
