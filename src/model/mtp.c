/* SPDX-License-Identifier: Apache-2.0 */
/* model/mtp.c - multi-token prediction: module k = 1 .. D guesses the token k + 1 places ahead.
 *
 *   h'_t = eh_proj [enorm(emb(id_{t+k})) ; hnorm(h^{k-1}_t)]     h^k = block(h')
 *   logits = head(shared_head.norm(h^k));  target at t = the main model's target at t + k
 *
 * Stored as layer L + k - 1 (L layers). Embedding and head are the main model's: no parameters of
 * their own. The halves of eh_proj stand in the order of the released weights, embedding first;
 * equation 21 of the paper writes them the other way round.
 * Choices that the paper leaves open: h^0 is the output of the main model's FINAL NORM, which is
 * what the known serving engines feed; h^k for k >= 1 is the block's output before
 * shared_head.norm. The weight of a token's loss goes with its target (weight[t+k]). Positions
 * where t + k leaves the sequence run with id 0 and count nowhere: no counted position can see
 * them, for they are its sequence's last. They do count for the load of their experts. Source:
 * DeepSeek-V3 report 2.2, arXiv:2412.19437. Floor:  model. May use op, chip, tensor, base. */
#include "model/list.h"
#include "model/net.h"

#include <stdio.h>

mz_err mz_mtp_list(mz_lister *l, int64_t layer)
{
    const int64_t D = l->config->width, join[2] = {D, 2 * D};
    char at[64];
    snprintf(at, sizeof at, "model.layers.%lld", (long long)layer);
    MZ_TRY(mz_list_norm(l, at, "enorm", D));
    MZ_TRY(mz_list_norm(l, at, "hnorm", D));
    MZ_TRY(mz_list_linear(l, at, "eh_proj", join, false));
    MZ_TRY(mz_block_list(l, layer));
    return mz_list_norm(l, at, "shared_head.norm", D);
}

static mz_err describe_named(mz_net *n, mz_mtp *m, const char *at)
{
    const double eps = n->config.rms_eps;
    char name[96];
    snprintf(name, sizeof name, "%s.enorm", at);
    MZ_TRY(mz_norm_describe(n, &m->enorm, n->T, eps, name));
    snprintf(name, sizeof name, "%s.hnorm", at);
    MZ_TRY(mz_norm_describe(n, &m->hnorm, n->T, eps, name));
    snprintf(name, sizeof name, "%s.shared_head.norm", at);
    MZ_TRY(mz_norm_describe(n, &m->norm, n->T, eps, name));
    snprintf(name, sizeof name, "%s.eh_proj", at);
    return mz_linear_describe(n, &m->join, n->T, n->dtype, name);
}

mz_err mz_mtp_describe(mz_net *n, mz_mtp *m, int64_t depth)
{
    const int64_t T = n->T, D = n->config.width, layer = n->config.layers + depth - 1;
    const size_t mark = mz_net_mark(n);
    char at[64];
    m->depth = depth;
    snprintf(at, sizeof at, "model.layers.%lld", (long long)layer);
    MZ_TRY(describe_named(n, m, at));
    MZ_TRY(mz_net_elementwise(n, &m->add, MZ_EW_ADD, T, D));
    MZ_TRY(mz_net_cell(n, &m->ids, MZ_ROOM_HELD, MZ_I32, T, 1));
    if (n->options.train) MZ_TRY(mz_net_cell(n, &m->learnt, MZ_ROOM_HELD, MZ_I32, T, 1));
    MZ_TRY(mz_net_cell(n, &m->targets, MZ_ROOM_HELD, MZ_I32, T, 1));
    MZ_TRY(mz_net_cell(n, &m->weight, MZ_ROOM_HELD, n->acc, T, 1));
    MZ_TRY(mz_net_cell(n, &m->loss, MZ_ROOM_HELD, n->acc, T, 1));
    MZ_TRY(mz_net_cell(n, &m->joined, MZ_ROOM_HELD, n->dtype, T, D));
    MZ_TRY(mz_net_cell(n, &m->emb, MZ_ROOM_KEPT, n->dtype, T, D));
    MZ_TRY(mz_net_cell(n, &m->cat, MZ_ROOM_KEPT, n->dtype, T, 2 * D));
    MZ_TRY(mz_net_cell(n, &m->normed, MZ_ROOM_KEPT, n->dtype, T, D));
    if (n->options.train) MZ_TRY(mz_net_cell(n, &m->dcat, MZ_ROOM_SCRATCH, n->dtype, T, 2 * D));
    MZ_TRY(mz_block_describe(n, &m->block, layer, &m->joined));
    mz_net_release(n, mark);
    return MZ_OK;
}

mz_err mz_mtp_forward(const mz_net *n, const mz_mtp *m, const mz_embed *e, const mz_tensor *h)
{
    const int64_t T = n->tokens, D = n->config.width;
    const mz_tensor ids = mz_cell_flat(n, &m->ids, T), emb = mz_cell_rows(n, &m->emb, T);
    const mz_tensor cat = mz_cell_rows(n, &m->cat, T), joined = mz_cell_rows(n, &m->joined, T);
    const mz_tensor left = mz_columns(&cat, 0, D), right = mz_columns(&cat, D, D);
    const mz_tensor out = mz_cell_rows(n, &m->block.out, T);
    const mz_tensor normed = mz_cell_rows(n, &m->normed, T);
    MZ_TRY(mz_embed_forward(n, e, &emb, &ids));
    MZ_TRY(mz_norm_forward(n, &m->enorm, &left, &emb));
    MZ_TRY(mz_norm_forward(n, &m->hnorm, &right, h));
    MZ_TRY(mz_linear_forward(n, &m->join, &joined, &cat));
    MZ_TRY(mz_block_forward(n, &m->block));
    return mz_norm_forward(n, &m->norm, &normed, &out);
}

/* From the gradient of h^k in d to that of what this depth was fed, into dh; d is spent. */
static mz_err join_back(const mz_net *n, const mz_mtp *m, const mz_mtp_call *call)
{
    const int64_t T = n->tokens, D = n->config.width;
    const mz_tensor learnt = mz_cell_flat(n, &m->learnt, T), emb = mz_cell_rows(n, &m->emb, T);
    const mz_tensor cat = mz_cell_rows(n, &m->cat, T), dcat = mz_cell_rows(n, &m->dcat, T);
    const mz_tensor left = mz_columns(&dcat, 0, D), right = mz_columns(&dcat, D, D);
    const mz_tensor *d = call->scratch;
    MZ_TRY(mz_linear_backward(n, &m->join, &dcat, d, &cat));
    MZ_TRY(mz_norm_backward(n, &m->hnorm, call->dh, &right, call->h));
    MZ_TRY(mz_norm_backward(n, &m->enorm, d, &left, &emb));
    return mz_embed_backward(n, call->embed, d, &learnt);
}

mz_err mz_mtp_loss(const mz_net *n, const mz_mtp *m, const mz_mtp_call *call)
{
    const int64_t T = n->tokens;
    const mz_tensor normed = mz_cell_rows(n, &m->normed, T);
    const mz_tensor out = mz_cell_rows(n, &m->block.out, T), *d = call->scratch;
    const mz_tensor targets = mz_cell_flat(n, &m->targets, T);
    const mz_tensor weight = mz_cell_flat(n, &m->weight, T), loss = mz_cell_flat(n, &m->loss, T);
    const mz_head_call head = {.hidden = &normed,
                               .targets = &targets,
                               .weight = &weight,
                               .loss = &loss,
                               .dhidden = call->backward ? d : NULL};
    MZ_TRY(mz_head_loss(n, call->head, &head));
    if (!call->backward) return MZ_OK;
    MZ_TRY(mz_norm_backward(n, &m->norm, d, d, &out));
    if (!call->is_last) MZ_TRY(mz_run_elementwise(n, m->add, d, d, call->dh));
    MZ_TRY(mz_block_backward(n, &m->block, d));
    return join_back(n, m, call);
}
