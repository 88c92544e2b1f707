/* SPDX-License-Identifier: Apache-2.0 */
/* model/block.c - one pre-norm residual block.
 *
 *   mid = in + attention(norm(in));   out = mid + mlp(norm(mid))
 *
 * When training, in, mid and the two normed inputs stand until backward (with recompute, in alone);
 * when serving, in, mid and out are one cell (or in stays whole and mid is out, with keep_hidden).
 * Floor:  model. May use op, chip, tensor, base. */
#include "model/list.h"
#include "model/net.h"

#include <stdio.h>

mz_err mz_block_list(mz_lister *l, int64_t layer)
{
    const mz_config *c = l->config;
    char at[64], mlp[80];
    snprintf(at, sizeof at, "model.layers.%lld", (long long)layer);
    snprintf(mlp, sizeof mlp, "%s.mlp", at);
    MZ_TRY(mz_list_norm(l, at, "input_layernorm", c->width));
    MZ_TRY(c->mla ? mz_mla_list(l, layer) : mz_gqa_list(l, layer));
    MZ_TRY(mz_list_norm(l, at, "post_attention_layernorm", c->width));
    return mz_config_layer_is_moe(c, layer) ? mz_moe_list(l, layer)
                                            : mz_mlp_list(l, mlp, c->mlp_width);
}

/* Where the residual stream of this block lies. */
static mz_err describe_stream(mz_net *n, mz_block *b, const mz_cell *in)
{
    const int64_t D = n->config.width;
    const bool train = n->options.train;
    b->in = b->out = *in;
    if (train || n->options.keep_hidden)
        MZ_TRY(mz_net_cell(n, &b->out, MZ_ROOM_HELD, n->dtype, n->T, D));
    b->mid = b->out;
    if (train) MZ_TRY(mz_net_cell(n, &b->mid, MZ_ROOM_KEPT, n->dtype, n->T, D));
    return MZ_OK;
}

static mz_err describe_attention(mz_net *n, mz_block *b, const char *at)
{
    char name[96];
    const size_t mark = mz_net_mark(n);
    snprintf(name, sizeof name, "%s.input_layernorm", at);
    MZ_TRY(mz_norm_describe(n, &b->before_attention, n->T, n->config.rms_eps, name));
    MZ_TRY(mz_net_cell(n, &b->normed1, MZ_ROOM_KEPT, n->dtype, n->T, n->config.width));
    MZ_TRY(n->config.mla ? mz_mla_describe(n, &b->attention.mla, b->layer)
                         : mz_gqa_describe(n, &b->attention.gqa, b->layer));
    mz_net_release(n, mark);
    return MZ_OK;
}

static mz_err describe_mlp(mz_net *n, mz_block *b, const char *at)
{
    char name[96];
    const size_t mark = mz_net_mark(n);
    snprintf(name, sizeof name, "%s.post_attention_layernorm", at);
    MZ_TRY(mz_norm_describe(n, &b->before_mlp, n->T, n->config.rms_eps, name));
    MZ_TRY(mz_net_cell(n, &b->normed2, MZ_ROOM_KEPT, n->dtype, n->T, n->config.width));
    snprintf(name, sizeof name, "%s.mlp", at);
    MZ_TRY(b->is_moe ? mz_moe_describe(n, &b->mlp.moe, b->layer)
                     : mz_mlp_describe(n, &b->mlp.mlp, name));
    mz_net_release(n, mark);
    return MZ_OK;
}

mz_err mz_block_describe(mz_net *n, mz_block *b, int64_t layer, const mz_cell *in)
{
    const int64_t T = n->T, D = n->config.width;
    char at[64];
    snprintf(at, sizeof at, "model.layers.%lld", (long long)layer);
    b->layer = layer;
    b->is_moe = mz_config_layer_is_moe(&n->config, layer);
    MZ_TRY(describe_stream(n, b, in));
    MZ_TRY(mz_net_elementwise(n, &b->add, MZ_EW_ADD, T, D));
    const size_t mark = mz_net_mark(n);
    MZ_TRY(mz_net_cell(n, &b->branch, MZ_ROOM_SCRATCH, n->dtype, T, D));
    MZ_TRY(describe_attention(n, b, at));
    MZ_TRY(describe_mlp(n, b, at));
    mz_net_release(n, mark);
    return MZ_OK;
}

mz_err mz_block_forward(const mz_net *n, const mz_block *b)
{
    const int64_t T = n->tokens;
    const mz_tensor in = mz_cell_rows(n, &b->in, T), mid = mz_cell_rows(n, &b->mid, T);
    const mz_tensor out = mz_cell_rows(n, &b->out, T), branch = mz_cell_rows(n, &b->branch, T);
    const mz_tensor normed1 = mz_cell_rows(n, &b->normed1, T);
    const mz_tensor normed2 = mz_cell_rows(n, &b->normed2, T);
    MZ_TRY(mz_norm_forward(n, &b->before_attention, &normed1, &in));
    MZ_TRY(n->config.mla ? mz_mla_forward(n, &b->attention.mla, &branch, &normed1)
                         : mz_gqa_forward(n, &b->attention.gqa, &branch, &normed1));
    MZ_TRY(mz_run_elementwise(n, b->add, &mid, &in, &branch));
    MZ_TRY(mz_norm_forward(n, &b->before_mlp, &normed2, &mid));
    MZ_TRY(b->is_moe ? mz_moe_forward(n, &b->mlp.moe, &branch, &normed2)
                     : mz_mlp_forward(n, &b->mlp.mlp, &branch, &normed2));
    return mz_run_elementwise(n, b->add, &out, &mid, &branch);
}

mz_err mz_block_backward(const mz_net *n, const mz_block *b, const mz_tensor *d)
{
    const int64_t T = n->tokens;
    const mz_tensor in = mz_cell_rows(n, &b->in, T), mid = mz_cell_rows(n, &b->mid, T);
    const mz_tensor branch = mz_cell_rows(n, &b->branch, T);
    const mz_tensor normed1 = mz_cell_rows(n, &b->normed1, T);
    const mz_tensor normed2 = mz_cell_rows(n, &b->normed2, T);
    MZ_TRY(b->is_moe ? mz_moe_backward(n, &b->mlp.moe, &branch, d, &normed2)
                     : mz_mlp_backward(n, &b->mlp.mlp, &branch, d, &normed2));
    MZ_TRY(mz_norm_backward(n, &b->before_mlp, &branch, &branch, &mid));
    MZ_TRY(mz_run_elementwise(n, b->add, d, d, &branch));
    MZ_TRY(n->config.mla ? mz_mla_backward(n, &b->attention.mla, &branch, d, &normed1)
                         : mz_gqa_backward(n, &b->attention.gqa, &branch, d, &normed1));
    MZ_TRY(mz_norm_backward(n, &b->before_attention, &branch, &branch, &in));
    return mz_run_elementwise(n, b->add, d, d, &branch);
}
