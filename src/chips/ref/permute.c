/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/permute.c - tokens sorted by expert, and their outputs brought home again; see
 * chip/desc.h. Floor: chips. */
#include "chips/ref/ops.h"

mz_err mz_ref_permute(mz_op *op, const mz_args *args)
{
    const mz_permute_desc *desc = &op->desc.u.permute;
    const mz_tensor *x = args->permute.x, *ids = args->permute.ids;
    int64_t row = 0;
    MZ_TRY(mz_ref_check_ids(ids, 0, desc->E, "ids"));
    put_id1(args->permute.offsets, 0, 0);
    for (int64_t e = 0; e < desc->E; e++) {
        for (int64_t i = 0; i < x->dim[0] * desc->k; i++) {
            const int64_t t = i / desc->k, j = i % desc->k;
            if (id2(ids, t, j) != e) continue;
            put_id2(args->permute.row_of, t, j, row);
            for (int64_t d = 0; d < desc->D; d++) put2(args->permute.y, row, d, at2(x, t, d));
            row++;
        }
        put_id1(args->permute.offsets, e + 1, row);
    }
    return MZ_OK;
}

mz_err mz_ref_permute_backward(mz_op *op, const mz_args *args)
{
    const mz_permute_desc *desc = &op->desc.u.permute;
    const mz_tensor *dy = args->permute.dy, *dx = args->permute.dx, *row_of = args->permute.row_of;
    MZ_TRY(mz_ref_check_ids(row_of, 0, dy->dim[0], "row_of"));
    for (int64_t t = 0; t < dx->dim[0]; t++)
        for (int64_t d = 0; d < desc->D; d++) {
            double sum = 0.0;
            for (int64_t j = 0; j < desc->k; j++) sum += at2(dy, id2(row_of, t, j), d);
            put2(dx, t, d, sum);
        }
    return MZ_OK;
}

mz_err mz_ref_unpermute(mz_op *op, const mz_args *args)
{
    const mz_unpermute_desc *desc = &op->desc.u.unpermute;
    const mz_tensor *z = args->unpermute.z, *base = args->unpermute.base, *y = args->unpermute.y;
    const mz_tensor *row_of = args->unpermute.row_of, *weights = args->unpermute.weights;
    MZ_TRY(mz_ref_check_ids(row_of, 0, z->dim[0], "row_of"));
    for (int64_t t = 0; t < y->dim[0]; t++)
        for (int64_t d = 0; d < desc->D; d++) {
            double sum = base ? at2(base, t, d) : 0.0;
            for (int64_t j = 0; j < desc->k; j++)
                sum += at2(weights, t, j) * at2(z, id2(row_of, t, j), d);
            put2(y, t, d, sum);
        }
    return MZ_OK;
}

mz_err mz_ref_unpermute_backward(mz_op *op, const mz_args *args)
{
    const mz_unpermute_desc *desc = &op->desc.u.unpermute;
    const mz_tensor *z = args->unpermute.z, *dy = args->unpermute.dy, *dz = args->unpermute.dz;
    const mz_tensor *row_of = args->unpermute.row_of, *weights = args->unpermute.weights;
    MZ_TRY(mz_ref_check_ids(row_of, 0, z->dim[0], "row_of"));
    for (int64_t i = 0; i < dy->dim[0] * desc->k; i++) {
        const int64_t t = i / desc->k, j = i % desc->k, row = id2(row_of, t, j);
        double dot = 0.0;
        for (int64_t d = 0; d < desc->D; d++) {
            dot += at2(dy, t, d) * at2(z, row, d);
            put2(dz, row, d, at2(weights, t, j) * at2(dy, t, d));
        }
        put2(args->unpermute.dweights, t, j, dot);
    }
    return MZ_OK;
}
