/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/embed.c - rows of a table by id. Floor: chips. */
#include "chips/ref/ops.h"

#include <math.h>

static bool is_in(int64_t id, int64_t V)
{
    return id >= 0 && id < V;
}

mz_err mz_ref_embed(mz_op *op, const mz_args *args)
{
    const mz_embed_desc *desc = &op->desc.u.embed;
    const mz_tensor *ids = args->embed.ids;
    const mz_tensor workspace = mz_op_workspace(op);
    for (int64_t t = 0; t < ids->dim[0]; t++) {
        const int64_t id = id1(ids, t);
        if (desc->stored != MZ_F64 && is_in(id, desc->V)) {
            double *row = mz_ref_doubles(&workspace);
            mz_ref_weight_row(args->embed.w, id, desc->D, desc->dtype, row);
            for (int64_t d = 0; d < desc->D; d++) put2(args->embed.y, t, d, row[d]);
            continue;
        }
        for (int64_t d = 0; d < desc->D; d++)
            put2(args->embed.y, t, d, is_in(id, desc->V) ? at2(args->embed.w, id, d) : (double)NAN);
    }
    return MZ_OK;
}

/* A row of dw sums its tokens in double before it is rounded once; an id that is no row adds
 * nothing. */
mz_err mz_ref_embed_backward(mz_op *op, const mz_args *args)
{
    const mz_embed_desc *desc = &op->desc.u.embed;
    const mz_tensor *ids = args->embed.ids, *dw = args->embed.dw;
    const int64_t T = ids->dim[0];
    for (int64_t first = 0; first < T; first++) {
        const int64_t id = id1(ids, first);
        bool is_done = !is_in(id, desc->V);
        for (int64_t t = 0; t < first && !is_done; t++) is_done = id1(ids, t) == id;
        for (int64_t d = 0; !is_done && d < desc->D; d++) {
            double sum = 0.0;
            for (int64_t t = first; t < T; t++)
                if (id1(ids, t) == id) sum += at2(args->embed.dy, t, d);
            put2(dw, id, d, at2(dw, id, d) + sum);
        }
    }
    return MZ_OK;
}
