/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/elementwise.c - elementwise functions, casts, sums over an axis, rows by index; see
 * chip/desc.h. Floor: chips. */
#include "chips/ref/ops.h"

static double apply(mz_elementwise_fn fn, double a, double b, double alpha)
{
    switch (fn) {
    case MZ_EW_ADD:
        return a + b;
    case MZ_EW_MUL:
        return a * b;
    case MZ_EW_AXPY:
        return a + alpha * b;
    case MZ_EW_SCALE:
        return alpha * a;
    case MZ_EW_COPY:
        return a;
    case MZ_EW_FILL:
        return alpha;
    case MZ_EW_COUNT:
        break;
    }
    return 0.0;
}

mz_err mz_ref_elementwise(mz_op *op, const mz_args *args)
{
    const mz_elementwise_fn fn = op->desc.u.elementwise.fn;
    const mz_tensor *y = args->elementwise.y, *a = args->elementwise.a, *b = args->elementwise.b;
    const int64_t n = mz_count(y);
    const bool has_a = fn != MZ_EW_FILL;
    const bool has_b = fn == MZ_EW_ADD || fn == MZ_EW_MUL || fn == MZ_EW_AXPY;
    for (int64_t i = 0; i < n; i++) {
        const double x = has_a ? mz_at(a, i) : 0.0, z = has_b ? mz_at(b, i) : 0.0;
        mz_put(y, i, apply(fn, x, z, args->k.elementwise.alpha));
    }
    return MZ_OK;
}

mz_err mz_ref_cast(mz_op *op, const mz_args *args)
{
    (void)op;
    const mz_tensor *x = args->cast.x, *y = args->cast.y;
    for (int64_t t = 0; t < x->dim[0]; t++)
        for (int64_t n = 0; n < x->dim[1]; n++) put2(y, t, n, at2(x, t, n));
    return MZ_OK;
}

mz_err mz_ref_reduce(mz_op *op, const mz_args *args)
{
    const mz_tensor *x = args->reduce.x, *y = args->reduce.y;
    for (int64_t a = 0; a < y->dim[0]; a++)
        for (int64_t c = 0; c < y->dim[1]; c++) {
            double sum = 0.0;
            for (int64_t b = 0; b < x->dim[1]; b++) sum += at3(x, a, b, c);
            put2(y, a, c, op->desc.u.reduce.accumulate ? at2(y, a, c) + sum : sum);
        }
    return MZ_OK;
}

mz_err mz_ref_rows(mz_op *op, const mz_args *args)
{
    const mz_rows_desc *desc = &op->desc.u.rows;
    const mz_tensor *x = args->rows.x, *y = args->rows.y, *idx = args->rows.idx;
    MZ_TRY(mz_ref_check_ids(idx, -1, desc->scatter ? y->dim[0] : x->dim[0], "idx"));
    for (int64_t i = 0; i < idx->dim[0]; i++) {
        const int64_t row = id1(idx, i);
        const int64_t to = desc->scatter ? row : i, from = desc->scatter ? i : row;
        for (int64_t d = 0; row >= 0 && d < desc->D; d++) put2(y, to, d, at2(x, from, d));
    }
    return MZ_OK;
}
