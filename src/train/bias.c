/* SPDX-License-Identifier: Apache-2.0 */
/* train/bias.c - see bias.h. */
#include "train/bias.h"

#include "base/mem.h"
#include "model/part.h"

#include <math.h>
#include <stdio.h>

static bool is_here(const mz_config *n, int64_t layer)
{
    if (!mz_config_layer_is_moe(n, layer)) return false;
    if (layer >= n->layers) return mz_config_has_head(n);
    return layer >= mz_config_first(n) && layer < mz_config_end(n);
}

static mz_err find_layers(mz_bias *b)
{
    const mz_config *n = mz_model_config(b->model);
    MZ_TRY(mz_mem_new(&b->layers, n->layers + n->mtp_layers, sizeof *b->layers));
    for (int64_t i = 0; i < n->layers + n->mtp_layers; i++) {
        char name[96];
        if (!is_here(n, i)) continue;
        (void)snprintf(name, sizeof name, "model.layers.%lld.mlp.gate.e_score_correction_bias",
                       (long long)i);
        const mz_param *x = mz_params_find(mz_model_params(b->model), name);
        MZ_NEED(x && x->dtype == MZ_F32, "%s is not there, or not in f32", name);
        b->layers[b->n++] = (mz_bias_layer){i, x};
    }
    return MZ_OK;
}

static mz_err build(mz_bias *b)
{
    const int64_t E = mz_model_config(b->model)->moe.experts;
    MZ_TRY(find_layers(b));
    MZ_TRY(mz_mem_new(&b->counts, b->n * mz_model_slots(b->model) * E, sizeof *b->counts));
    MZ_TRY(mz_mem_new(&b->load, E, sizeof *b->load));
    return mz_mem_new(&b->bias, b->n * E, sizeof *b->bias);
}

mz_err mz_bias_init(mz_bias *b, mz_queue *q, mz_model *m, double rate)
{
    const mz_moe_config *moe = &mz_model_config(m)->moe;
    if (rate > 0.0 && !(moe->experts > 0 && moe->selection_bias))
        return MZ_FAIL(MZ_ECONFIG, "moe.bias_rate is %g, but this network has no selection bias",
                       rate);
    *b = (mz_bias){.queue = q, .model = m, .rate = rate};
    const mz_err err = rate > 0.0 ? build(b) : MZ_OK;
    if (err != MZ_OK) mz_bias_clear(b);
    return err;
}

void mz_bias_clear(mz_bias *b)
{
    mz_mem_free(b->layers);
    mz_mem_free(b->counts);
    mz_mem_free(b->load);
    mz_mem_free(b->bias);
    *b = (mz_bias){0};
}

mz_err mz_bias_fetch(mz_bias *b)
{
    const int64_t E = mz_model_config(b->model)->moe.experts;
    int32_t *counts = b->counts;
    for (int64_t k = 0; k < b->n; k++)
        for (int64_t i = 0; i < mz_model_slots(b->model); i++, counts += E) {
            mz_tensor view;
            MZ_TRY(mz_model_slot(b->model, i));
            MZ_TRY(mz_model_router_counts(b->model, b->layers[k].layer, &view));
            MZ_TRY(mz_download(b->queue, counts, &view));
        }
    for (int64_t k = 0; k < b->n; k++)
        MZ_TRY(mz_download(b->queue, b->bias + k * E, &b->layers[k].param->w));
    return MZ_OK;
}

/* Of all slots. */
static void own_load(const mz_bias *b, int64_t k, int64_t E)
{
    const int64_t slots = mz_model_slots(b->model);
    const int32_t *counts = b->counts + k * slots * E;
    for (int64_t e = 0; e < E; e++) b->load[e] = 0.0;
    for (int64_t i = 0; i < slots; i++)
        for (int64_t e = 0; e < E; e++) b->load[e] += (double)counts[i * E + e];
}

static void move(const mz_bias *b, float *bias, int64_t E, double *worst)
{
    double mean = 0.0;
    for (int64_t e = 0; e < E; e++) mean += b->load[e];
    mean /= (double)E;
    for (int64_t e = 0; e < E && mean > 0.0; e++) *worst = fmax(*worst, b->load[e] / mean);
    for (int64_t e = 0; e < E; e++) {
        const double load = b->load[e];
        const double sign = load < mean ? 1.0 : load > mean ? -1.0 : 0.0;
        bias[e] = (float)((double)bias[e] + sign * b->rate);
    }
}

mz_err mz_bias_move(mz_bias *b, mz_comm *comm, double *worst)
{
    const int64_t E = mz_model_config(b->model)->moe.experts;
    for (int64_t k = 0; k < b->n; k++) {
        float *bias = b->bias + k * E;
        own_load(b, k, E);
        if (comm) MZ_TRY(mz_comm_sum(comm, b->load, E));
        move(b, bias, E, worst);
        MZ_TRY(mz_upload(b->queue, &b->layers[k].param->w, bias));
    }
    return MZ_OK;
}
