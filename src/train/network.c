/* SPDX-License-Identifier: Apache-2.0 */
/* train/network.c - see network.h. */
#include "train/network.h"

#include "base/file.h"
#include "train/checkpoint.h"

#include <string.h>

static void set_adapters(mz_config *network, const mz_train_config *c)
{
    if (c->lora_rank == 0) return;
    network->lora.rank = c->lora_rank;
    network->lora.scale = c->lora_alpha / (double)c->lora_rank;
    memcpy(network->lora.targets, c->lora_targets, sizeof network->lora.targets);
}

/* A folder or the file itself. */
static mz_err read_network(mz_config *network, mz_source **source, const mz_train_config *c)
{
    char path[MZ_CHECKPOINT_PATH];
    if (c->model_path[0]) {
        MZ_TRY(mz_source_open(source, c->model_path));
        *network = *mz_source_config(*source);
        set_adapters(network, c);
        return MZ_OK;
    }
    MZ_TRY(mz_path_join(path, sizeof path, c->model_config, "config.json"));
    return mz_config_read(network, mz_file_is_dir(c->model_config) ? path : c->model_config);
}

/* A pipeline's ranks have every layer between them. */
static mz_err check_layers(const mz_train_config *c, const mz_config *n)
{
    int64_t layers = 0;
    if (c->n_ranks == 0 || c->ranks[0].layers == 0) return MZ_OK;
    for (int64_t i = 0; i < c->n_ranks; i++) layers += c->ranks[i].layers;
    if (layers == n->layers) return MZ_OK;
    const mz_err err =
        MZ_FAIL(MZ_ECONFIG, "the ranks have %lld layers between them, this network has %lld",
                (long long)layers, (long long)n->layers);
    mz_note_where(NULL, "ranks", -1);
    mz_note_fix("let the layers in ranks come to %lld together", (long long)n->layers);
    return err;
}

static mz_err check_network(const mz_train_config *c, const mz_config *n)
{
    if (c->data_seq > n->max_position)
        return MZ_FAIL(MZ_ECONFIG, "data.seq is %lld, this network has positions for %lld",
                       (long long)c->data_seq, (long long)n->max_position);
    return check_layers(c, n);
}

mz_err mz_network_read(mz_config *network, mz_source **source, const mz_train_config *c)
{
    MZ_NEED(network && source && c, "an argument is NULL");
    MZ_TRY(read_network(network, source, c));
    return check_network(c, network);
}
