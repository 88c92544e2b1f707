/* SPDX-License-Identifier: Apache-2.0 */
/* chip/coverage.c - asking a device for every operator. Floor: chip. */
#include "chip/coverage.h"

#include "base/mem.h"

#include <stdio.h>

static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16, MZ_F16, MZ_F64};

enum { CELLS = MZ_OP_COUNT * MZ_DTYPE_COUNT * 2 };

/* Sizes that any chip's tiling likes; a model's own come through `descs`. */
enum { T = 64, D = 64, H = 4, G = 2, K = 64, E = 8, CHOICES = 2, V = 256 };

/* The usual descriptions, in dtype d, with backward where there is one. */
static const mz_desc USUAL[MZ_OP_COUNT] = {
    [MZ_OP_MATMUL]
        .u.matmul = {.M_max = T, .N_max = D, .K_max = D, .trans_b = true, .backward = true},
    [MZ_OP_EXPERTS].u.experts = {.T_max = T, .E = E, .N = D, .K = D, .backward = true},
    [MZ_OP_RMSNORM].u.rmsnorm = {.T_max = T, .D = D, .eps = 1e-6, .backward = true},
    [MZ_OP_ROPE].u.rope = {.T_max = T, .H = H, .K = K, .backward = true},
    [MZ_OP_ATTENTION].u.attention = {.T_max = T,
                                     .sequences_max = 2,
                                     .H = H,
                                     .G = G,
                                     .K = K,
                                     .W = K,
                                     .scale = 0.125,
                                     .causal = true,
                                     .backward = true},
    [MZ_OP_DECODE].u.decode = {.T_max = T,
                               .B_max = 4,
                               .H = H,
                               .G = G,
                               .K = K,
                               .W = K,
                               .page = 16,
                               .pages_per_seq_max = 4,
                               .scale = 0.125},
    [MZ_OP_SWIGLU].u.swiglu = {.T_max = T, .F = D, .backward = true},
    [MZ_OP_EMBED].u.embed = {.T_max = T, .V = V, .D = D, .backward = true},
    [MZ_OP_ROUTER].u.router = {.T_max = T,
                               .E = E,
                               .k = CHOICES,
                               .groups = 1,
                               .groups_kept = 1,
                               .normalise = true,
                               .backward = true,
                               .factor = 1.0},
    [MZ_OP_BALANCE].u.balance = {.T_max = T, .sequences_max = 2, .E = E, .k = CHOICES},
    [MZ_OP_PERMUTE].u.permute = {.T_max = T, .D = D, .E = E, .k = CHOICES, .backward = true},
    [MZ_OP_UNPERMUTE].u.unpermute = {.T_max = T, .D = D, .k = CHOICES, .backward = true},
    [MZ_OP_XENT].u.xent = {.T_max = T, .V = V, .gradient = true},
    [MZ_OP_ADAMW].u.adamw = {.N_max = T * D},
    [MZ_OP_SUMSQ].u.sumsq = {.N_max = T * D},
    [MZ_OP_FINITE].u.finite = {.N_max = T * D},
    [MZ_OP_CAST].u.cast = {.T_max = T, .N_max = D},
    [MZ_OP_ELEMENTWISE].u.elementwise = {.fn = MZ_EW_ADD, .N_max = T * D},
    [MZ_OP_REDUCE].u.reduce = {.A_max = 1, .B_max = T, .C_max = D},
    [MZ_OP_ROWS].u.rows = {.n_max = T, .D = D},
    [MZ_OP_SAMPLE].u.sample = {.B_max = 4, .V = V, .history_max = 16},
};

/* False if the operator does not compute in that dtype by its definition. */
static bool usual(mz_op_kind kind, mz_dtype d, mz_desc *desc)
{
    const mz_dtype acc = mz_dtype_acc(d);
    const bool in_acc = kind == MZ_OP_ROUTER || kind == MZ_OP_BALANCE || kind == MZ_OP_ADAMW ||
                        kind == MZ_OP_SAMPLE;
    if (in_acc && d != acc) return false;
    *desc = USUAL[kind];
    desc->kind = kind;
    desc->u.sumsq.dtype = d; /* every description starts with it */
    if (kind == MZ_OP_MATMUL) desc->u.matmul.out_dtype = d;
    if (kind == MZ_OP_ADAMW) desc->u.adamw.copy_dtype = d == MZ_F32 ? MZ_BF16 : d;
    if (kind == MZ_OP_CAST) desc->u.cast.to = d == MZ_F32 ? MZ_BF16 : MZ_F32;
    if (kind == MZ_OP_REDUCE) desc->u.reduce.out_dtype = acc;
    return true;
}

/* A weight in blocks of d, computed with in f32; false for operators without weights and for types
 * that are not blocks. */
static bool usual_blocks(mz_op_kind kind, mz_dtype d, mz_desc *desc)
{
    if (!mz_dtype_is_blocks(d) || !usual(kind, MZ_F32, desc)) return false;
    if (kind == MZ_OP_MATMUL) {
        desc->u.matmul.K_max = mz_dtype_block(d);
        desc->u.matmul.stored = d;
        desc->u.matmul.backward = false;
    } else if (kind == MZ_OP_EXPERTS) {
        desc->u.experts.K = mz_dtype_block(d);
        desc->u.experts.stored = d;
        desc->u.experts.backward = false;
    } else if (kind == MZ_OP_EMBED) {
        desc->u.embed.D = mz_dtype_block(d);
        desc->u.embed.stored = d;
        desc->u.embed.backward = false;
    }
    return mz_desc_stored(desc) == d;
}

static mz_desc for_serving(const mz_desc *desc)
{
    mz_desc d = *desc;
    if (d.kind == MZ_OP_MATMUL) d.u.matmul.backward = false;
    if (d.kind == MZ_OP_EXPERTS) d.u.experts.backward = false;
    if (d.kind == MZ_OP_RMSNORM) d.u.rmsnorm.backward = false;
    if (d.kind == MZ_OP_ROPE) d.u.rope.backward = false;
    if (d.kind == MZ_OP_ATTENTION) d.u.attention.backward = false;
    if (d.kind == MZ_OP_SWIGLU) d.u.swiglu.backward = false;
    if (d.kind == MZ_OP_EMBED) d.u.embed.backward = false;
    if (d.kind == MZ_OP_ROUTER) d.u.router.backward = false;
    if (d.kind == MZ_OP_PERMUTE) d.u.permute.backward = false;
    if (d.kind == MZ_OP_UNPERMUTE) d.u.unpermute.backward = false;
    return d;
}

static int worth(mz_state s)
{
    return s == MZ_STATE_NATIVE ? 3 : s == MZ_STATE_COMPOSED ? 2 : s == MZ_STATE_HOST ? 1 : 0;
}

/* The table in full, and which of its cells were asked for. */
typedef struct sheet {
    mz_coverage_row row[CELLS];
    bool asked[CELLS];
} sheet;

static mz_err ask(const mz_queue *q, const mz_desc *desc, mz_pass direction, sheet *s)
{
    const mz_dtype stored = mz_desc_stored(desc);
    const mz_dtype d = mz_dtype_is_blocks(stored) ? stored : mz_desc_dtype(desc);
    mz_support answer = {0};
    MZ_NEED((unsigned)desc->kind < MZ_OP_COUNT && (unsigned)d < MZ_DTYPE_COUNT,
            "a description of kind %d in dtype %d", (int)desc->kind, (int)d);
    const int at = ((int)desc->kind * MZ_DTYPE_COUNT + (int)d) * 2 + (direction == MZ_BACKWARD);
    mz_coverage_row *row = &s->row[at];
    const mz_err err = mz_op_query(q, desc, &answer);
    if (err != MZ_OK && err != MZ_ENOTSUP) return err;
    if (err == MZ_ENOTSUP) answer.state = MZ_STATE_NONE;
    if (s->asked[at] && worth(row->state) <= worth(answer.state)) return MZ_OK;
    *row = (mz_coverage_row){.kind = desc->kind,
                             .dtype = d,
                             .direction = direction,
                             .state = answer.state,
                             .repeats = answer.repeats,
                             .blocks_host = answer.blocks_host};
    snprintf(row->reason, sizeof row->reason, "%s", answer.reason);
    s->asked[at] = true;
    return MZ_OK;
}

static mz_err ask_both(const mz_queue *q, const mz_desc *desc, sheet *s)
{
    const mz_desc serving = for_serving(desc);
    MZ_TRY(ask(q, &serving, MZ_FORWARD, s));
    return mz_desc_has_backward(desc) ? ask(q, desc, MZ_BACKWARD, s) : MZ_OK;
}

static mz_err ask_all(const mz_queue *q, const mz_desc *descs, int n, sheet *s)
{
    for (int i = 0; i < n; i++) MZ_TRY(ask_both(q, &descs[i], s));
    for (int i = 0; n == 0 && i < MZ_OP_COUNT * MZ_COUNT(DTYPES); i++) {
        mz_desc desc;
        if (usual((mz_op_kind)(i / MZ_COUNT(DTYPES)), DTYPES[i % MZ_COUNT(DTYPES)], &desc))
            MZ_TRY(ask_both(q, &desc, s));
    }
    for (int i = 0; n == 0 && i < MZ_OP_COUNT * MZ_DTYPE_COUNT; i++) {
        mz_desc desc;
        if (usual_blocks((mz_op_kind)(i / MZ_DTYPE_COUNT), (mz_dtype)(i % MZ_DTYPE_COUNT), &desc))
            MZ_TRY(ask_both(q, &desc, s));
    }
    return MZ_OK;
}

static mz_err collect(const sheet *s, mz_coverage_row **rows, int *n_rows)
{
    mz_coverage_row *out = NULL;
    int n = 0;
    for (int i = 0; i < CELLS; i++) n += s->asked[i];
    MZ_TRY(mz_mem_new(&out, n, sizeof *out));
    n = 0;
    for (int i = 0; i < CELLS; i++)
        if (s->asked[i]) out[n++] = s->row[i];
    *rows = out;
    *n_rows = n;
    return MZ_OK;
}

mz_err mz_coverage_of(mz_device *device, const mz_desc *descs, int n, mz_coverage_row **rows,
                      int *n_rows)
{
    MZ_NEED(device && rows && n_rows && n >= 0 && (descs || n == 0),
            "device, rows or n_rows is NULL, or %d descriptions are missing", n);
    mz_queue *q = NULL;
    sheet *s = NULL;
    MZ_TRY(mz_mem_new(&s, 1, sizeof *s));
    mz_err err = mz_queue_open(&q, device);
    if (err == MZ_OK) err = ask_all(q, descs, n, s);
    if (err == MZ_OK) err = collect(s, rows, n_rows);
    mz_queue_close(q);
    mz_mem_free(s);
    return err;
}
