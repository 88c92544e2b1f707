/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/permute.c - permute and unpermute: see chip/desc.h.
 *
 * Sums over a token's k rows go through a strip of columns in f32, in order of j. Floor: chips. */
#include "chips/cpu/split.h"

#include <string.h>

enum { COLUMNS = MZ_CPU_COLUMNS };

/* ---- permute ---- */

/* Shared: the next free row of each expert. */
static mz_cpu_room permute_room(const mz_permute_desc *d)
{
    return (mz_cpu_room){.shared_bytes = (size_t)d->E * sizeof(int32_t)};
}

static mz_err permute_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    support->repeats = true;
    support->workspace_bytes = mz_cpu_room_bytes(q, permute_room(&desc->u.permute));
    return mz_cpu_need_f32_or_bf16(desc->kind, desc->u.permute.dtype);
}

/* offsets and row_of: counts, running sums, and then every pair in token order takes its expert's
 * next row. */
static void sort_pairs(const mz_op *op, const mz_args *args)
{
    const mz_permute_desc *d = &op->desc.u.permute;
    const int64_t pairs = args->permute.ids->dim[0] * d->k;
    const int32_t *ids = mz_cpu_data(args->permute.ids);
    int32_t *offsets = mz_cpu_data(args->permute.offsets), *next = mz_cpu_room_shared(op);
    int32_t *row_of = mz_cpu_data(args->permute.row_of);
    memset(offsets, 0, (size_t)(d->E + 1) * sizeof *offsets);
    for (int64_t i = 0; i < pairs; i++) offsets[ids[i] + 1]++;
    for (int64_t e = 0; e < d->E; e++) {
        next[e] = offsets[e];
        offsets[e + 1] += offsets[e];
    }
    for (int64_t i = 0; i < pairs; i++) row_of[i] = next[ids[i]]++;
}

static void permute_tokens(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_permute_desc *d = &op->desc.u.permute;
    const size_t bytes = (size_t)d->D * (d->dtype == MZ_BF16 ? 2 : 4);
    for (int64_t t = first; t < last; t++)
        for (int64_t j = 0; j < d->k; j++)
            memcpy(mz_cpu_row(args->permute.y, mz_cpu_id_at(args->permute.row_of, t, j)),
                   mz_cpu_row(args->permute.x, t), bytes);
}

static mz_err permute(mz_op *op, const mz_args *args)
{
    const mz_permute_desc *d = &op->desc.u.permute;
    MZ_TRY(mz_cpu_check_ids(args->permute.ids, 0, d->E, "ids"));
    sort_pairs(op, args);
    mz_cpu_split(op, args, args->permute.x->dim[0], mz_cpu_items(d->k * d->D), permute_tokens);
    return MZ_OK;
}

static void permute_tokens_back(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_permute_desc *d = &op->desc.u.permute;
    const mz_cpu_ops_table *ops = mz_cpu_ops_of(op);
    const mz_tensor *dx = args->permute.dx, *dy = args->permute.dy;
    const bool bf16 = mz_cpu_is_bf16(dx);
    float sum[COLUMNS];
    for (int64_t t = first; t < last; t++)
        for (int64_t c = 0; c < d->D; c += COLUMNS) {
            const int64_t n = d->D - c < COLUMNS ? d->D - c : COLUMNS;
            memset(sum, 0, sizeof sum);
            for (int64_t j = 0; j < d->k; j++) {
                const int64_t row = mz_cpu_id_at(args->permute.row_of, t, j);
                ops->add(sum, mz_cpu_elem(dy, row * dy->stride[0] + c), n, bf16);
            }
            ops->cast(mz_cpu_elem(dx, t * dx->stride[0] + c), bf16, sum, false, n);
        }
}

static mz_err permute_back(mz_op *op, const mz_args *args)
{
    const mz_permute_desc *d = &op->desc.u.permute;
    MZ_TRY(mz_cpu_check_ids(args->permute.row_of, 0, args->permute.dy->dim[0], "row_of"));
    mz_cpu_split(op, args, args->permute.dx->dim[0], mz_cpu_items(d->k * d->D),
                 permute_tokens_back);
    return MZ_OK;
}

const mz_slot mz_cpu_permute = {
    .query = permute_query, .forward = permute, .backward = permute_back};

/* ---- unpermute ---- */

static mz_err unpermute_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_cpu_need_f32_or_bf16(desc->kind, desc->u.unpermute.dtype);
}

static float weight_at(const mz_args *args, int64_t t, int64_t j)
{
    const mz_tensor *w = args->unpermute.weights;
    return *(const float *)mz_cpu_elem(w, t * w->stride[0] + j * w->stride[1]);
}

/* base may be y: a strip of it is read before it is written. */
static void unpermute_tokens(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    const mz_cpu_ops_table *ops = mz_cpu_ops_of(op);
    const mz_tensor *y = args->unpermute.y, *z = args->unpermute.z, *base = args->unpermute.base;
    const bool bf16 = mz_cpu_is_bf16(y);
    float sum[COLUMNS];
    for (int64_t t = first; t < last; t++)
        for (int64_t c = 0; c < d->D; c += COLUMNS) {
            const int64_t n = d->D - c < COLUMNS ? d->D - c : COLUMNS;
            memset(sum, 0, sizeof sum);
            if (base) ops->add(sum, mz_cpu_elem(base, t * base->stride[0] + c), n, bf16);
            for (int64_t j = 0; j < d->k; j++) {
                const int64_t row = mz_cpu_id_at(args->unpermute.row_of, t, j);
                ops->add_scaled(sum, mz_cpu_elem(z, row * z->stride[0] + c), weight_at(args, t, j),
                                n, bf16);
            }
            ops->cast(mz_cpu_elem(y, t * y->stride[0] + c), bf16, sum, false, n);
        }
}

static mz_err unpermute(mz_op *op, const mz_args *args)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    MZ_TRY(mz_cpu_check_ids(args->unpermute.row_of, 0, args->unpermute.z->dim[0], "row_of"));
    mz_cpu_split(op, args, args->unpermute.y->dim[0], mz_cpu_items(d->k * d->D), unpermute_tokens);
    return MZ_OK;
}

static void unpermute_tokens_back(const mz_op *op, const mz_args *args, int64_t first, int64_t last)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    const mz_cpu_ops_table *ops = mz_cpu_ops_of(op);
    const mz_tensor *dy = args->unpermute.dy, *dw = args->unpermute.dweights;
    const bool bf16 = mz_cpu_is_bf16(dy);
    for (int64_t t = first; t < last; t++)
        for (int64_t j = 0; j < d->k; j++) {
            const int64_t row = mz_cpu_id_at(args->unpermute.row_of, t, j);
            const void *dyt = mz_cpu_row(dy, t);
            float *dwt = mz_cpu_elem(dw, t * dw->stride[0] + j * dw->stride[1]);
            *dwt = ops->dot(dyt, mz_cpu_row(args->unpermute.z, row), d->D, bf16);
            ops->scale(mz_cpu_row(args->unpermute.dz, row), dyt, weight_at(args, t, j), d->D, bf16);
        }
}

static mz_err unpermute_back(mz_op *op, const mz_args *args)
{
    const mz_unpermute_desc *d = &op->desc.u.unpermute;
    MZ_TRY(mz_cpu_check_ids(args->unpermute.row_of, 0, args->unpermute.z->dim[0], "row_of"));
    mz_cpu_split(op, args, args->unpermute.dy->dim[0], mz_cpu_items(d->k * d->D),
                 unpermute_tokens_back);
    return MZ_OK;
}

const mz_slot mz_cpu_unpermute = {
    .query = unpermute_query, .forward = unpermute, .backward = unpermute_back};
