/* SPDX-License-Identifier: Apache-2.0 */
/* train/bias.c - see bias.h. */
#include "train/bias.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

mz_err mz_bias_init(mz_bias *b, mz_queue *q, mz_model *m, double rate)
{
    const mz_moe_config *moe = &mz_model_config(m)->moe;
    if (rate > 0.0 && !(moe->experts > 0 && moe->selection_bias))
        return MZ_FAIL(MZ_ECONFIG, "moe.bias_rate is %g, but this network has no selection bias",
                       rate);
    *b = (mz_bias){.queue = q, .model = m};
    mz_err err = mz_mem_new(&b->counts, moe->experts, sizeof *b->counts);
    if (err == MZ_OK) err = mz_mem_new(&b->load, moe->experts, sizeof *b->load);
    if (err == MZ_OK) err = mz_mem_new(&b->bias, moe->experts, sizeof *b->bias);
    if (err != MZ_OK) mz_bias_clear(b);
    return err;
}

void mz_bias_clear(mz_bias *b)
{
    mz_mem_free(b->counts);
    mz_mem_free(b->load);
    mz_mem_free(b->bias);
    *b = (mz_bias){0};
}

mz_err mz_bias_own_load(void *user, int64_t layer, int64_t E)
{
    mz_bias *b = user;
    mz_tensor counts;
    MZ_TRY(mz_model_router_counts(b->model, layer, &counts));
    MZ_TRY(mz_download(b->queue, b->counts, &counts));
    MZ_TRY(mz_queue_sync(b->queue));
    for (int64_t e = 0; e < E; e++) b->load[e] = (double)b->counts[e];
    return MZ_OK;
}

static mz_err move(mz_bias *b, const mz_param *x, double rate, double *worst)
{
    const int64_t E = mz_model_config(b->model)->moe.experts;
    double mean = 0.0;
    MZ_TRY(mz_download(b->queue, b->bias, &x->w));
    MZ_TRY(mz_queue_sync(b->queue));
    for (int64_t e = 0; e < E; e++) mean += b->load[e];
    mean /= (double)E;
    for (int64_t e = 0; e < E && mean > 0.0; e++) *worst = fmax(*worst, b->load[e] / mean);
    for (int64_t e = 0; e < E; e++) {
        const double load = b->load[e];
        const double sign = load < mean ? 1.0 : load > mean ? -1.0 : 0.0;
        b->bias[e] = (float)((double)b->bias[e] + sign * rate);
    }
    MZ_TRY(mz_upload(b->queue, &x->w, b->bias));
    return mz_queue_sync(b->queue);
}

mz_err mz_bias_move(mz_bias *b, double rate, mz_load_fn *load_of, void *user, double *worst)
{
    const mz_config *n = mz_model_config(b->model);
    for (int64_t i = 0; i < n->layers + n->mtp_layers; i++) {
        char name[96];
        if (!mz_config_layer_is_moe(n, i)) continue;
        if (i < mz_config_first(n) || (i >= mz_config_end(n) && i < n->layers)) continue;
        if (i >= n->layers && !mz_config_has_head(n)) continue;
        (void)snprintf(name, sizeof name, "model.layers.%lld.mlp.gate.e_score_correction_bias",
                       (long long)i);
        const mz_param *x = mz_params_find(mz_model_params(b->model), name);
        MZ_NEED(x && x->dtype == MZ_F32, "%s is not there, or not in f32", name);
        MZ_TRY(load_of(user, i, n->moe.experts));
        MZ_TRY(move(b, x, rate, worst));
    }
    return MZ_OK;
}
