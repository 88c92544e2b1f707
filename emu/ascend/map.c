/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/map.c - the loops of ascend/map.h, and what phase 1 checks of such operators. */
#include "ascend/map.h"

#include <string.h>

/* ---- phase 1 ---- */

static aclnnStatus check_types(const emu_call *c, const emu_mapping *m)
{
    const emu_tensor *y = c->arg[m->out].tensor;
    for (int i = 0; i < y->rank; i++) /* two elements of what is written at one place */
        if (y->dim[i] > 1 && y->stride[i] == 0)
            return emu_refuse(c, "elements of the output lie at one place");
    if ((m->flags & EMU_MAP_ASKS) && y->type != EMU_BOOL)
        return emu_refuse(c, "the output is not BOOL");
    if (strcmp(c->op->name, "Cast") == 0 && c->arg[1].i != y->type)
        return emu_refuse(c, "the output is not of the type that is named");
    if (strcmp(c->op->name, "SWhere") == 0) {
        const int type = c->arg[0].tensor->type;
        return type == EMU_BOOL || type == EMU_UINT8 ? 0 : emu_refuse(c, "a condition not BOOL");
    }
    for (int i = 0; (m->flags & EMU_MAP_CURVE) && m->in[i] >= 0; i++) {
        const emu_arg *a = &c->arg[m->in[i]];
        if (a->n && (a->tensor->type != y->type || !emu_is_float(y->type)))
            return emu_refuse(c, "inputs and output are not of one float type");
    }
    return 0;
}

aclnnStatus emu_map_check(const emu_call *c, const emu_mapping *m)
{
    const emu_tensor *y = c->arg[m->out].tensor;
    int64_t stride[EMU_RANK];
    if (!c->arg[m->out].n)
        return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name, m->out + 1);
    for (int i = 0; m->in[i] >= 0; i++) {
        const emu_arg *a = &c->arg[m->in[i]];
        const int number = m->in[i] + 1;
        if (!a->n && m->optional >= 0 && m->in[i] >= m->optional) continue;
        if (!a->n)
            return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name, number);
        if (a->tensor[0].type == EMU_DOUBLE)
            return emu_fail(EMU_NN_INVALID, "aclnn%s: argument %d is DOUBLE", c->op->name, number);
        if (!emu_spread(&a->tensor[0], y, stride))
            return emu_fail(EMU_NN_INVALID,
                            "aclnn%s: argument %d does not spread to the output's shape",
                            c->op->name, number);
    }
    for (int i = 0; i < c->n; i++)
        if (c->arg[i].kind == 'S' && !c->arg[i].n && strcmp(c->op->name, "Clamp") != 0)
            return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name, i + 1);
    return check_types(c, m);
}

/* ---- the loops ---- */

typedef struct walk {
    const emu_mapping *map;
    emu_tensor *y, *in[EMU_INPUTS]; /* NULL: absent */
    int64_t stride[EMU_INPUTS][EMU_RANK];
    int n_in;
    bool is_whole;
} walk;

/* One piece of a row: at [i] the place of input i's first element, and at [EMU_INPUTS] the
 * output's. */
static void run_piece(const emu_call *c, const walk *w, const int64_t at[EMU_INPUTS + 1], int64_t n)
{
    double x[EMU_INPUTS][EMU_PIECE], y[EMU_PIECE];
    int64_t ix[EMU_INPUTS][EMU_PIECE], iy[EMU_PIECE];
    const int last = w->y->rank - 1;
    for (int i = 0; i < w->n_in; i++) {
        const emu_tensor *t = w->in[i];
        if (!t) continue;
        const int64_t step = last < 0 ? 0 : w->stride[i][last];
        const unsigned char *from = t->at + at[i] * (int64_t)emu_size_of(t->type);
        if (w->is_whole)
            emu_load_whole(ix[i], t->type, from, step, n);
        else
            emu_load(x[i], t->type, from, step, n);
    }
    unsigned char *to = w->y->at + at[EMU_INPUTS] * (int64_t)emu_size_of(w->y->type);
    const int64_t step = last < 0 ? 1 : w->y->stride[last];
    if (w->is_whole) {
        w->map->whole(c, n, iy, ix);
        emu_store_whole(w->y->type, to, step, iy, n);
    } else {
        w->map->fn(c, n, y, x);
        emu_store(w->y->type, to, step, y, n, c->device->overflow);
    }
}

static void run_row(const emu_call *c, const walk *w, const int64_t first[EMU_INPUTS + 1])
{
    const int last = w->y->rank - 1;
    const int64_t length = last < 0 ? 1 : w->y->dim[last];
    for (int64_t j = 0; j < length; j += EMU_PIECE) {
        int64_t at[EMU_INPUTS + 1];
        for (int i = 0; i < w->n_in; i++)
            at[i] = first[i] + (last < 0 ? 0 : j * w->stride[i][last]);
        at[EMU_INPUTS] = first[EMU_INPUTS] + (last < 0 ? 0 : j * w->y->stride[last]);
        run_piece(c, w, at, length - j < EMU_PIECE ? length - j : EMU_PIECE);
    }
}

/* Inputs, numbers and output are all integers, and the operator has a form for those. */
static bool is_of_integers(const emu_call *c, const emu_mapping *m)
{
    if (!m->whole || emu_is_float(c->arg[m->out].tensor->type)) return false;
    for (int i = 0; m->in[i] >= 0; i++)
        if (c->arg[m->in[i]].n && emu_is_float(c->arg[m->in[i]].tensor->type)) return false;
    for (int i = 0; i < c->n; i++)
        if (c->arg[i].kind == 'S' && c->arg[i].n && emu_is_float(c->arg[i].type)) return false;
    return true;
}

void emu_map_run(emu_call *c, const emu_mapping *m)
{
    walk w = {.map = m, .y = c->arg[m->out].tensor, .is_whole = is_of_integers(c, m)};
    if (emu_count(w.y) == 0) return;
    for (; m->in[w.n_in] >= 0; w.n_in++) {
        w.in[w.n_in] = emu_t(c, m->in[w.n_in]);
        if (w.in[w.n_in]) (void)emu_spread(w.in[w.n_in], w.y, w.stride[w.n_in]);
    }
    int64_t index[EMU_RANK] = {0};
    for (bool more = true; more;) {
        int64_t at[EMU_INPUTS + 1] = {0};
        for (int d = 0; d < w.y->rank - 1; d++) {
            for (int i = 0; i < w.n_in; i++) at[i] += w.in[i] ? index[d] * w.stride[i][d] : 0;
            at[EMU_INPUTS] += index[d] * w.y->stride[d];
        }
        run_row(c, &w, at);
        int d = w.y->rank - 2;
        while (d >= 0 && ++index[d] == w.y->dim[d]) index[d--] = 0;
        more = d >= 0;
    }
}
