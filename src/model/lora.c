/* SPDX-License-Identifier: Apache-2.0 */
/* model/lora.c - see lora.h, and mz_linear in net.h.
 *
 * Kept for backward: scale x A^T, a few columns. What backward needs besides is shared by all
 * adapters, for the queue runs one after the other. */
#include "model/lora.h"

#include "base/str.h"
#include "model/net.h"

#include <stdio.h>
#include <string.h>

/* ---- which ones ---- */

const char *mz_lora_target_of(const mz_config *c, const mz_param *p, char out[64])
{
    long long layer = -1;
    if (p->kind != MZ_PARAM_MATRIX || p->rank != 2 || !mz_str_ends(p->name, ".weight")) return NULL;
    if (sscanf(p->name, "model.layers.%lld.", &layer) != 1 || layer >= c->layers) return NULL;
    if (mz_str_ends(p->name, ".mlp.gate.weight")) return NULL; /* the router */
    const size_t end = strlen(p->name) - strlen(".weight");
    size_t from = end;
    while (from > 0 && p->name[from - 1] != '.') from--;
    if (end - from >= 64) return NULL;
    memcpy(out, p->name + from, end - from);
    out[end - from] = '\0';
    return out;
}

/* Calls for each name of a list with commas between; stops where it gives true. */
static bool any_target(const char *list, bool (*fn)(const void *arg, const char *name),
                       const void *arg)
{
    for (const char *at = list; *at;) {
        char name[64];
        const size_t n = strcspn(at, ",");
        if (n < sizeof name) {
            memcpy(name, at, n);
            name[n] = '\0';
            const size_t blank = strspn(name, " ");
            if (name[blank] && fn(arg, name + blank)) return true;
        }
        at += n + (at[n] == ',');
    }
    return false;
}

static bool is_same(const void *arg, const char *name)
{
    return strcmp(arg, name) == 0;
}

bool mz_lora_adapts(const mz_config *c, const mz_param *p)
{
    char target[64];
    if (c->lora.rank == 0 || !mz_lora_target_of(c, p, target)) return false;
    return !c->lora.targets[0] || any_target(c->lora.targets, is_same, target);
}

typedef struct known {
    const mz_config *c;
    const mz_params *p;
} known;

static bool is_unknown(const void *arg, const char *name)
{
    const known *k = arg;
    char target[64];
    for (int64_t i = 0; i < k->p->n_base; i++) {
        const char *own = mz_lora_target_of(k->c, &k->p->list[i], target);
        if (own && strcmp(own, name) == 0) return false;
    }
    mz_note(MZ_ECONFIG, __FILE__, __LINE__, "lora.targets: no linear map of this network is %s",
            name);
    return true;
}

mz_err mz_lora_check(const mz_config *c, const mz_params *p)
{
    const known k = {c, p};
    if (p->is_part) return MZ_OK; /* another part may have it: whoever lists the whole looks */
    if (c->lora.rank == 0 || !any_target(c->lora.targets, is_unknown, &k)) return MZ_OK;
    char names[200] = "", target[64];
    for (int64_t i = 0; i < p->n_base; i++) {
        const char *own = mz_lora_target_of(c, &p->list[i], target);
        const size_t at = strlen(names);
        if (own && !strstr(names, own) && at + strlen(own) + 3 < sizeof names)
            (void)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", own);
    }
    mz_note_fix("its linear maps are %s", names);
    return MZ_ECONFIG;
}

/* ---- describing ---- */

/* Scratch that all adapters share, as wide as the widest. */
mz_err mz_lora_describe_room(mz_net *n)
{
    int64_t width = 0;
    const mz_params *p = &n->params;
    for (int64_t i = p->n_base; i < p->n; i += 2) /* A before B */
        if (p->list[i].dim[1] > width) width = p->list[i].dim[1];
    if (width == 0 || !n->options.train) return MZ_OK;
    MZ_TRY(mz_net_cell(n, &n->lora_dx, MZ_ROOM_HELD, n->dtype, n->T, width));
    return mz_net_cell(n, &n->lora_dh, MZ_ROOM_HELD, n->dtype, n->T, n->config.lora.rank);
}

static mz_err describe_matmul(mz_net *n, int *op, const mz_param *w, int64_t rows, bool accumulates)
{
    mz_desc d;
    memset(&d, 0, sizeof d);
    d.kind = MZ_OP_MATMUL;
    d.u.matmul.dtype = d.u.matmul.out_dtype = n->dtype;
    d.u.matmul.M_max = rows;
    d.u.matmul.N_max = w->dim[0];
    d.u.matmul.K_max = w->dim[1];
    d.u.matmul.trans_b = true;
    d.u.matmul.accumulate = accumulates;
    d.u.matmul.backward = n->options.train && !accumulates;
    return mz_net_op(n, op, &d);
}

mz_err mz_lora_describe(mz_net *n, mz_lora *l, int64_t rows, const char *prefix)
{
    char name[160];
    snprintf(name, sizeof name, "%s.lora_A.weight", prefix);
    l->a = mz_params_find(&n->params, name);
    snprintf(name, sizeof name, "%s.lora_B.weight", prefix);
    l->b = mz_params_find(&n->params, name);
    if (!l->a) return MZ_OK;
    MZ_NEED(l->b, "%s has one half of an adapter", prefix);
    const int64_t r = l->a->dim[0];
    MZ_TRY(describe_matmul(n, &l->down, l->a, rows, false));
    MZ_TRY(describe_matmul(n, &l->up, l->b, rows, true));
    MZ_TRY(describe_matmul(n, &l->up_back, l->b, rows, false));
    MZ_TRY(mz_net_elementwise(n, &l->scale, MZ_EW_SCALE, rows, r));
    MZ_TRY(mz_net_elementwise(n, &l->add, MZ_EW_ADD, rows, l->a->dim[1]));
    return mz_net_cell(n, &l->h, MZ_ROOM_KEPT, n->dtype, rows, r);
}

/* ---- running ---- */

static mz_err scale(const mz_net *n, const mz_lora *l, const mz_tensor *x)
{
    const mz_args args = {.elementwise = {.y = x, .a = x},
                          .k.elementwise.alpha = n->config.lora.scale};
    return mz_forward(n->ops[l->scale].op, &args);
}

mz_err mz_lora_forward(const mz_net *n, const mz_lora *l, const mz_tensor *y, const mz_tensor *x)
{
    const mz_tensor h = mz_cell_rows(n, &l->h, x->dim[0]);
    MZ_TRY(mz_forward(n->ops[l->down].op, &(mz_args){.matmul = {.c = &h, .a = x, .b = &l->a->w}}));
    MZ_TRY(scale(n, l, &h));
    return mz_forward(n->ops[l->up].op, &(mz_args){.matmul = {.c = y, .a = &h, .b = &l->b->w}});
}

mz_err mz_lora_backward(const mz_net *n, const mz_lora *l, const mz_tensor *dx, const mz_tensor *dy,
                        const mz_tensor *x)
{
    const int64_t T = x->dim[0];
    const mz_tensor h = mz_cell_rows(n, &l->h, T), dh = mz_cell_rows(n, &n->lora_dh, T);
    const mz_tensor room = mz_cell_rows(n, &n->lora_dx, T);
    const mz_tensor part = mz_columns(&room, 0, l->a->dim[1]);
    MZ_TRY(mz_backward(
        n->ops[l->up_back].op,
        &(mz_args){.matmul = {.a = &h, .b = &l->b->w, .dc = dy, .da = &dh, .db = &l->b->g}}));
    MZ_TRY(scale(n, l, &dh));
    MZ_TRY(mz_backward(
        n->ops[l->down].op,
        &(mz_args){.matmul = {.a = x, .b = &l->a->w, .dc = &dh, .da = &part, .db = &l->a->g}}));
    return mz_run_elementwise(n, l->add, dx, dx, &part);
}
