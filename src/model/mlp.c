/* SPDX-License-Identifier: Apache-2.0 */
/* model/mlp.c - the dense SwiGLU network, and the shared experts, which are one of those.
 *
 *   y = (silu(x Wgate^T) * (x Wup^T)) Wdown^T
 *
 * Source: Shazeer 2020, "GLU variants improve transformer", arXiv:2002.05202.
 * Floor:  model. May use op, chip, tensor, base. */
#include "model/list.h"
#include "model/net.h"

#include <stdio.h>

mz_err mz_mlp_list(mz_lister *l, const char *prefix, int64_t hidden)
{
    const int64_t in[2] = {hidden, l->config->width}, out[2] = {l->config->width, hidden};
    const bool bias = l->config->mlp_bias;
    MZ_TRY(mz_list_linear(l, prefix, "gate_proj", in, bias));
    MZ_TRY(mz_list_linear(l, prefix, "up_proj", in, bias));
    return mz_list_linear(l, prefix, "down_proj", out, bias);
}

mz_err mz_mlp_describe(mz_net *n, mz_mlp *m, const char *prefix)
{
    const int64_t T = n->T;
    char name[160];
    snprintf(name, sizeof name, "%s.gate_proj", prefix);
    MZ_TRY(mz_linear_describe(n, &m->gate, T, n->dtype, name));
    snprintf(name, sizeof name, "%s.up_proj", prefix);
    MZ_TRY(mz_linear_describe(n, &m->up, T, n->dtype, name));
    snprintf(name, sizeof name, "%s.down_proj", prefix);
    MZ_TRY(mz_linear_describe(n, &m->down, T, n->dtype, name));
    const int64_t F = m->gate.w->dim[0], D = m->gate.w->dim[1];
    MZ_TRY(mz_net_swiglu(n, &m->swiglu, T, F));
    MZ_TRY(mz_net_cell(n, &m->gate_at, MZ_ROOM_KEPT, n->dtype, T, F));
    MZ_TRY(mz_net_cell(n, &m->up_at, MZ_ROOM_KEPT, n->dtype, T, F));
    MZ_TRY(mz_net_cell(n, &m->act, MZ_ROOM_KEPT, n->dtype, T, F));
    if (!n->options.train) return MZ_OK;
    MZ_TRY(mz_net_cell(n, &m->dact, MZ_ROOM_SCRATCH, n->dtype, T, F));
    MZ_TRY(mz_net_cell(n, &m->part, MZ_ROOM_SCRATCH, n->dtype, T, D));
    return mz_net_elementwise(n, &m->add, MZ_EW_ADD, T, D);
}

mz_err mz_mlp_forward(const mz_net *n, const mz_mlp *m, const mz_tensor *y, const mz_tensor *x)
{
    const int64_t T = n->tokens;
    const mz_tensor gate = mz_cell_rows(n, &m->gate_at, T), up = mz_cell_rows(n, &m->up_at, T);
    const mz_tensor act = mz_cell_rows(n, &m->act, T);
    MZ_TRY(mz_linear_forward(n, &m->gate, &gate, x));
    MZ_TRY(mz_linear_forward(n, &m->up, &up, x));
    MZ_TRY(mz_forward(n->ops[m->swiglu].op,
                      &(mz_args){.swiglu = {.y = &act, .gate = &gate, .up = &up}}));
    return mz_linear_forward(n, &m->down, y, &act);
}

mz_err mz_mlp_backward(const mz_net *n, const mz_mlp *m, const mz_tensor *dx, const mz_tensor *dy,
                       const mz_tensor *x)
{
    const int64_t T = n->tokens;
    const mz_tensor gate = mz_cell_rows(n, &m->gate_at, T), up = mz_cell_rows(n, &m->up_at, T);
    const mz_tensor act = mz_cell_rows(n, &m->act, T), dact = mz_cell_rows(n, &m->dact, T);
    const mz_tensor part = mz_cell_rows(n, &m->part, T);
    MZ_TRY(mz_linear_backward(n, &m->down, &dact, dy, &act));
    /* gate and up turn into their own gradients: this is their last use. */
    MZ_TRY(mz_backward(
        n->ops[m->swiglu].op,
        &(mz_args){.swiglu = {.gate = &gate, .up = &up, .dy = &dact, .dgate = &gate, .dup = &up}}));
    MZ_TRY(mz_linear_backward(n, &m->gate, dx, &gate, x));
    MZ_TRY(mz_linear_backward(n, &m->up, &part, &up, x));
    return mz_run_elementwise(n, m->add, dx, dx, &part);
}
