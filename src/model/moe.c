/* SPDX-License-Identifier: Apache-2.0 */
/* model/moe.c - fine-grained routed experts beside shared ones.
 *
 *   s = score(x Wgate^T) in acc;  k experts a token, chosen by s + bias within the best groups
 *   y[t] = shared(x[t]) + sum_j weight[t,j] expert_{id[t,j]}(x[t])
 *
 * Tokens are sorted by expert, run through one grouped matmul a matrix, and summed back in the
 * order of j: T*k rows whatever the router does, so memory is known beforehand.
 * The selection bias has no gradient: it changes ids, never weights. The balance loss reaches the
 * router through the probabilities only.
 * Source: DeepSeekMoE, arXiv:2401.06066; DeepSeek-V3 report 2.1.2, arXiv:2412.19437.
 * Floor:  model. May use op, chip, tensor, base. */
#include "model/list.h"
#include "model/net.h"

#include <stdio.h>
#include <string.h>

mz_err mz_moe_list(mz_lister *l, int64_t layer)
{
    const mz_config *c = l->config;
    const mz_moe_config *e = &c->moe;
    const int64_t gate[2] = {e->experts, c->width};
    const int64_t in[3] = {e->experts, e->width, c->width};
    const int64_t out[3] = {e->experts, c->width, e->width};
    char at[96], name[160];
    snprintf(at, sizeof at, "model.layers.%lld.mlp", (long long)layer);
    MZ_TRY(mz_list_linear(l, at, "gate", gate, false));
    if (e->selection_bias) {
        snprintf(name, sizeof name, "%s.gate.e_score_correction_bias", at);
        MZ_TRY(mz_list_add(l, MZ_PARAM_ROUTER_BIAS, name, 1, gate));
    }
    snprintf(name, sizeof name, "%s.experts.{e}.gate_proj.weight", at);
    MZ_TRY(mz_list_add(l, MZ_PARAM_MATRIX, name, 3, in));
    snprintf(name, sizeof name, "%s.experts.{e}.up_proj.weight", at);
    MZ_TRY(mz_list_add(l, MZ_PARAM_MATRIX, name, 3, in));
    snprintf(name, sizeof name, "%s.experts.{e}.down_proj.weight", at);
    MZ_TRY(mz_list_add(l, MZ_PARAM_MATRIX, name, 3, out));
    if (e->shared == 0) return MZ_OK;
    snprintf(name, sizeof name, "%s.shared_experts", at);
    return mz_mlp_list(l, name, e->shared * e->width);
}

/* ---- describing ---- */

static mz_err describe_router(mz_net *n, mz_moe *m, const char *at)
{
    const mz_moe_config *e = &n->config.moe;
    const int64_t T = n->T;
    char name[128];
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_ROUTER;
    d.u.router.acc = n->acc;
    d.u.router.T_max = T;
    d.u.router.E = e->experts;
    d.u.router.k = e->top_k;
    d.u.router.groups = e->groups;
    d.u.router.groups_kept = e->groups_kept;
    d.u.router.score = e->sigmoid ? MZ_SCORE_SIGMOID : MZ_SCORE_SOFTMAX;
    d.u.router.group = e->group_top2 ? MZ_GROUP_TOP2_SUM : MZ_GROUP_MAX;
    d.u.router.normalise = e->normalise;
    d.u.router.forced = n->options.forced_router;
    d.u.router.backward = n->options.train;
    d.u.router.factor = e->factor;
    MZ_TRY(mz_net_op(n, &m->router, &d));
    snprintf(name, sizeof name, "%s.gate", at);
    MZ_TRY(mz_linear_describe(n, &m->router_in, T, n->acc, name));
    if (e->selection_bias) {
        MZ_TRY(mz_net_param(n, &m->bias, name, ".e_score_correction_bias"));
    }
    MZ_TRY(mz_net_cell(n, &m->logits, MZ_ROOM_KEPT, n->acc, T, e->experts));
    MZ_TRY(mz_net_cell(n, &m->ids, MZ_ROOM_HELD, MZ_I32, T, e->top_k));
    MZ_TRY(mz_net_cell(n, &m->weights, MZ_ROOM_HELD, n->acc, T, e->top_k));
    return mz_net_saved(n, &m->router_saved, m->router);
}

/* Load of the experts and balance loss: of training alone. */
static mz_err describe_balance(mz_net *n, mz_moe *m)
{
    const mz_moe_config *e = &n->config.moe;
    if (!n->options.train) return MZ_OK;
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_BALANCE;
    d.u.balance.acc = n->acc;
    d.u.balance.T_max = n->T;
    d.u.balance.sequences_max = n->options.sequences_max;
    d.u.balance.E = e->experts;
    d.u.balance.k = e->top_k;
    MZ_TRY(mz_net_op(n, &m->balance, &d));
    MZ_TRY(mz_net_cell(n, &m->probs, MZ_ROOM_KEPT, n->acc, n->T, e->experts));
    MZ_TRY(mz_net_cell(n, &m->counts, MZ_ROOM_HELD, MZ_I32, 1, e->experts));
    return mz_net_cell(n, &m->balance_loss, MZ_ROOM_HELD, n->acc, 1, 1);
}

static mz_err describe_sorting(mz_net *n, mz_moe *m)
{
    const mz_config *c = &n->config;
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_PERMUTE;
    d.u.permute.dtype = n->dtype;
    d.u.permute.T_max = n->T;
    d.u.permute.D = c->width;
    d.u.permute.E = c->moe.experts;
    d.u.permute.k = c->moe.top_k;
    d.u.permute.backward = n->options.train;
    MZ_TRY(mz_net_op(n, &m->permute, &d));
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_UNPERMUTE;
    d.u.unpermute.dtype = n->dtype;
    d.u.unpermute.T_max = n->T;
    d.u.unpermute.D = c->width;
    d.u.unpermute.k = c->moe.top_k;
    d.u.unpermute.backward = n->options.train;
    MZ_TRY(mz_net_op(n, &m->unpermute, &d));
    MZ_TRY(mz_net_cell(n, &m->offsets, MZ_ROOM_KEPT, MZ_I32, 1, c->moe.experts + 1));
    return mz_net_cell(n, &m->row_of, MZ_ROOM_KEPT, MZ_I32, n->T, c->moe.top_k);
}

static mz_err describe_grouped(mz_net *n, int *op, int64_t rows, const mz_param *w)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_EXPERTS;
    d.u.experts.dtype = n->dtype;
    d.u.experts.T_max = rows;
    d.u.experts.E = w->dim[0];
    d.u.experts.N = w->dim[1];
    d.u.experts.K = w->dim[2];
    d.u.experts.backward = n->options.train;
    d.u.experts.stored = mz_net_stored(n, w);
    return mz_net_op(n, op, &d);
}

static mz_err describe_experts(mz_net *n, mz_moe *m, const char *at, int64_t rows)
{
    const int64_t D = n->config.width, F = n->config.moe.width;
    MZ_TRY(mz_net_param(n, &m->gate, at, ".experts.{e}.gate_proj.weight"));
    MZ_TRY(mz_net_param(n, &m->up, at, ".experts.{e}.up_proj.weight"));
    MZ_TRY(mz_net_param(n, &m->down, at, ".experts.{e}.down_proj.weight"));
    MZ_TRY(describe_grouped(n, &m->widen, rows, m->gate));
    MZ_TRY(describe_grouped(n, &m->narrow, rows, m->down));
    MZ_TRY(mz_net_swiglu(n, &m->swiglu, rows, F));
    MZ_TRY(mz_net_cell(n, &m->sorted, MZ_ROOM_KEPT, n->dtype, rows, D));
    MZ_TRY(mz_net_cell(n, &m->gate_at, MZ_ROOM_KEPT, n->dtype, rows, F));
    MZ_TRY(mz_net_cell(n, &m->up_at, MZ_ROOM_KEPT, n->dtype, rows, F));
    MZ_TRY(mz_net_cell(n, &m->act, MZ_ROOM_KEPT, n->dtype, rows, F));
    return mz_net_cell(n, &m->z, MZ_ROOM_KEPT, n->dtype, rows, D);
}

static mz_err describe_backward(mz_net *n, mz_moe *m, int64_t rows)
{
    const mz_config *c = &n->config;
    const int64_t T = n->T, D = c->width;
    if (!n->options.train) return MZ_OK;
    MZ_TRY(mz_net_elementwise(n, &m->add, MZ_EW_ADD, T, D));
    MZ_TRY(mz_net_elementwise(n, &m->add_rows, MZ_EW_ADD, rows, D));
    MZ_TRY(mz_net_cell(n, &m->dz, MZ_ROOM_SCRATCH, n->dtype, rows, D));
    MZ_TRY(mz_net_cell(n, &m->dsorted, MZ_ROOM_SCRATCH, n->dtype, rows, D));
    MZ_TRY(mz_net_cell(n, &m->dact, MZ_ROOM_SCRATCH, n->dtype, rows, c->moe.width));
    MZ_TRY(mz_net_cell(n, &m->dweights, MZ_ROOM_SCRATCH, n->acc, T, c->moe.top_k));
    MZ_TRY(mz_net_cell(n, &m->dprobs, MZ_ROOM_SCRATCH, n->acc, T, c->moe.experts));
    MZ_TRY(mz_net_cell(n, &m->dlogits, MZ_ROOM_SCRATCH, n->acc, T, c->moe.experts));
    return mz_net_cell(n, &m->part, MZ_ROOM_SCRATCH, n->dtype, T, D);
}

mz_err mz_moe_describe(mz_net *n, mz_moe *m, int64_t layer)
{
    const int64_t dim[2] = {n->T, n->config.moe.top_k};
    int64_t rows = 0;
    char at[96], name[128];
    MZ_TRY(mz_shape_count(2, dim, &rows));
    snprintf(at, sizeof at, "model.layers.%lld.mlp", (long long)layer);
    MZ_TRY(describe_router(n, m, at));
    MZ_TRY(describe_balance(n, m));
    MZ_TRY(describe_sorting(n, m));
    MZ_TRY(describe_experts(n, m, at, rows));
    m->has_shared = n->config.moe.shared > 0;
    snprintf(name, sizeof name, "%s.shared_experts", at);
    if (m->has_shared) MZ_TRY(mz_mlp_describe(n, &m->shared, name));
    return describe_backward(n, m, rows);
}

/* ---- running ---- */

typedef struct moe_views {
    mz_tensor logits, ids, weights, probs, saved, offsets, row_of, sorted, gate, up, act, z;
} moe_views;

static moe_views views_of(const mz_net *n, const mz_moe *m)
{
    const int64_t T = n->tokens, rows = T * n->config.moe.top_k;
    return (moe_views){
        .logits = mz_cell_rows(n, &m->logits, T),
        .ids = mz_cell_rows(n, &m->ids, T),
        .weights = mz_cell_rows(n, &m->weights, T),
        .probs = mz_cell_rows(n, &m->probs, T),
        .saved = mz_cell_all(n, &m->router_saved),
        .offsets = mz_cell_all(n, &m->offsets),
        .row_of = mz_cell_rows(n, &m->row_of, T),
        .sorted = mz_cell_rows(n, &m->sorted, rows),
        .gate = mz_cell_rows(n, &m->gate_at, rows),
        .up = mz_cell_rows(n, &m->up_at, rows),
        .act = mz_cell_rows(n, &m->act, rows),
        .z = mz_cell_rows(n, &m->z, rows),
    };
}

static mz_err route(const mz_net *n, const mz_moe *m, const moe_views *v, const mz_tensor *x)
{
    const bool train = n->options.train;
    const bool saves = n->ops[m->router].support.saved_bytes > 0;
    MZ_TRY(mz_linear_forward(n, &m->router_in, &v->logits, x));
    MZ_TRY(mz_forward(n->ops[m->router].op,
                      &(mz_args){.router = {.weights = &v->weights,
                                            .ids = &v->ids,
                                            .probs = train ? &v->probs : NULL,
                                            .saved = saves ? &v->saved : NULL,
                                            .logits = &v->logits,
                                            .bias = m->bias ? &m->bias->w : NULL}}));
    if (!train || n->again) return MZ_OK;
    const mz_tensor counts = mz_cell_all(n, &m->counts), loss = mz_cell_all(n, &m->balance_loss);
    return mz_forward(n->ops[m->balance].op, &(mz_args){.balance = {.loss = &loss,
                                                                    .counts = &counts,
                                                                    .probs = &v->probs,
                                                                    .ids = &v->ids,
                                                                    .cu = &n->cu}});
}

static mz_err grouped(const mz_net *n, int op, const mz_tensor *y, const mz_tensor *x,
                      const mz_param *w, const mz_tensor *offsets)
{
    return mz_forward(n->ops[op].op,
                      &(mz_args){.experts = {.y = y, .x = x, .w = &w->w, .offsets = offsets}});
}

mz_err mz_moe_forward(const mz_net *n, const mz_moe *m, const mz_tensor *y, const mz_tensor *x)
{
    const moe_views v = views_of(n, m);
    MZ_TRY(route(n, m, &v, x));
    MZ_TRY(mz_forward(n->ops[m->permute].op, &(mz_args){.permute = {.y = &v.sorted,
                                                                    .offsets = &v.offsets,
                                                                    .row_of = &v.row_of,
                                                                    .x = x,
                                                                    .ids = &v.ids}}));
    MZ_TRY(grouped(n, m->widen, &v.gate, &v.sorted, m->gate, &v.offsets));
    MZ_TRY(grouped(n, m->widen, &v.up, &v.sorted, m->up, &v.offsets));
    MZ_TRY(mz_forward(n->ops[m->swiglu].op,
                      &(mz_args){.swiglu = {.y = &v.act, .gate = &v.gate, .up = &v.up}}));
    MZ_TRY(grouped(n, m->narrow, &v.z, &v.act, m->down, &v.offsets));
    if (m->has_shared) MZ_TRY(mz_mlp_forward(n, &m->shared, y, x));
    return mz_forward(n->ops[m->unpermute].op,
                      &(mz_args){.unpermute = {.y = y,
                                               .z = &v.z,
                                               .row_of = &v.row_of,
                                               .weights = &v.weights,
                                               .base = m->has_shared ? y : NULL}});
}

/* ---- backward ---- */

static mz_err grouped_back(const mz_net *n, int op, const mz_tensor *dx, const mz_tensor *dy,
                           const mz_tensor *x, const mz_param *w, const mz_tensor *offsets)
{
    return mz_backward(n->ops[op].op, &(mz_args){.experts = {.x = x,
                                                             .w = &w->w,
                                                             .offsets = offsets,
                                                             .dy = dy,
                                                             .dx = dx,
                                                             .dw = w->g.buf ? &w->g : NULL}});
}

static mz_err experts_back(const mz_net *n, const mz_moe *m, const moe_views *v,
                           const mz_tensor *dx, const mz_tensor *dz)
{
    const int64_t rows = v->z.dim[0];
    const mz_tensor dact = mz_cell_rows(n, &m->dact, rows);
    const mz_tensor dsorted = mz_cell_rows(n, &m->dsorted, rows);
    MZ_TRY(grouped_back(n, m->narrow, &dact, dz, &v->act, m->down, &v->offsets));
    /* gate and up turn into their own gradients, dz into the second part of dsorted. */
    MZ_TRY(mz_backward(
        n->ops[m->swiglu].op,
        &(mz_args){
            .swiglu = {
                .gate = &v->gate, .up = &v->up, .dy = &dact, .dgate = &v->gate, .dup = &v->up}}));
    MZ_TRY(grouped_back(n, m->widen, &dsorted, &v->gate, &v->sorted, m->gate, &v->offsets));
    MZ_TRY(grouped_back(n, m->widen, dz, &v->up, &v->sorted, m->up, &v->offsets));
    MZ_TRY(mz_run_elementwise(n, m->add_rows, &dsorted, &dsorted, dz));
    return mz_backward(n->ops[m->permute].op,
                       &(mz_args){.permute = {.row_of = &v->row_of, .dy = &dsorted, .dx = dx}});
}

static mz_err route_back(const mz_net *n, const mz_moe *m, const moe_views *v, const mz_tensor *dx,
                         const mz_tensor *dweights, const mz_tensor *x)
{
    const bool balanced = n->balance_alpha > 0.0;
    const bool saves = n->ops[m->router].support.saved_bytes > 0;
    const mz_tensor dprobs = mz_cell_rows(n, &m->dprobs, n->tokens);
    const mz_tensor dlogits = mz_cell_rows(n, &m->dlogits, n->tokens);
    const mz_tensor loss = mz_cell_all(n, &m->balance_loss);
    if (balanced) {
        const mz_args args = {.balance = {.loss = &loss,
                                          .dprobs = &dprobs,
                                          .probs = &v->probs,
                                          .ids = &v->ids,
                                          .cu = &n->cu},
                              .k.balance.alpha = n->balance_alpha};
        MZ_TRY(mz_forward(n->ops[m->balance].op, &args));
    }
    MZ_TRY(
        mz_backward(n->ops[m->router].op, &(mz_args){.router = {.weights = &v->weights,
                                                                .ids = &v->ids,
                                                                .saved = saves ? &v->saved : NULL,
                                                                .logits = &v->logits,
                                                                .dweights = dweights,
                                                                .dprobs = balanced ? &dprobs : NULL,
                                                                .dlogits = &dlogits}}));
    return mz_linear_backward(n, &m->router_in, dx, &dlogits, x);
}

mz_err mz_moe_backward(const mz_net *n, const mz_moe *m, const mz_tensor *dx, const mz_tensor *dy,
                       const mz_tensor *x)
{
    const int64_t T = n->tokens;
    const moe_views v = views_of(n, m);
    const mz_tensor dz = mz_cell_rows(n, &m->dz, v.z.dim[0]);
    const mz_tensor dweights = mz_cell_rows(n, &m->dweights, T);
    const mz_tensor part = mz_cell_rows(n, &m->part, T);
    MZ_TRY(mz_backward(n->ops[m->unpermute].op, &(mz_args){.unpermute = {.z = &v.z,
                                                                         .row_of = &v.row_of,
                                                                         .weights = &v.weights,
                                                                         .dy = dy,
                                                                         .dz = &dz,
                                                                         .dweights = &dweights}}));
    MZ_TRY(experts_back(n, m, &v, dx, &dz));
    MZ_TRY(route_back(n, m, &v, &part, &dweights, x));
    MZ_TRY(mz_run_elementwise(n, m->add, dx, dx, &part));
    if (!m->has_shared) return MZ_OK;
    MZ_TRY(mz_mlp_backward(n, &m->shared, &part, dy, x));
    return mz_run_elementwise(n, m->add, dx, dx, &part);
}
