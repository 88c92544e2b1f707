/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/matmul.c - c = op(a) op(b) + bias in double; see chip/desc.h. Floor: chips. */
#include "chips/ref/ops.h"

/* A stack of matrices as the product sees it: a transposed one has its two strides exchanged, and a
 * plain one is a stack of one. */
static mz_tensor as_stack(const mz_tensor *t, bool transposed)
{
    mz_tensor s = *t;
    const int row = t->rank - 2, column = t->rank - 1;
    s.rank = 3;
    s.dim[0] = t->rank == 3 ? t->dim[0] : 1;
    s.stride[0] = t->rank == 3 ? t->stride[0] : 0;
    s.dim[1] = t->dim[transposed ? column : row];
    s.dim[2] = t->dim[transposed ? row : column];
    s.stride[1] = t->stride[transposed ? column : row];
    s.stride[2] = t->stride[transposed ? row : column];
    return s;
}

/* b [N,K] in another dtype than the rest. */
static mz_err stored(mz_op *op, const mz_args *args)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *a = args->matmul.a, *b = args->matmul.b, *c = args->matmul.c;
    const mz_tensor workspace = mz_op_workspace(op);
    double *row = mz_ref_doubles(&workspace);
    for (int64_t n = 0; n < b->dim[0]; n++) {
        mz_ref_weight_row(b, n, b->dim[1], d->dtype, row);
        for (int64_t m = 0; m < a->dim[0]; m++) {
            double sum = 0.0;
            for (int64_t k = 0; k < b->dim[1]; k++) sum += at2(a, m, k) * row[k];
            if (d->bias) sum += at1(args->matmul.bias, n);
            if (d->accumulate) sum += at2(c, m, n);
            put2(c, m, n, sum);
        }
    }
    return MZ_OK;
}

mz_err mz_ref_matmul(mz_op *op, const mz_args *args)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    if (d->stored != MZ_F64) return stored(op, args);
    const mz_tensor a = as_stack(args->matmul.a, d->trans_a);
    const mz_tensor b = as_stack(args->matmul.b, d->trans_b);
    const mz_tensor c = as_stack(args->matmul.c, false);
    const int64_t M = c.dim[1], N = c.dim[2], K = a.dim[2];
    for (int64_t z = 0; z < c.dim[0]; z++)
        for (int64_t i = 0; i < M * N; i++) {
            const int64_t m = i / N, n = i % N;
            double sum = 0.0;
            for (int64_t k = 0; k < K; k++) sum += at3(&a, z, m, k) * at3(&b, z, k, n);
            if (d->bias) sum += at1(args->matmul.bias, n);
            if (d->accumulate) sum += at3(&c, z, m, n);
            put3(&c, z, m, n, sum);
        }
    return MZ_OK;
}

/* da = dc b^T */
static void backward_a(const mz_matmul_desc *d, const mz_args *args)
{
    const mz_tensor da = as_stack(args->matmul.da, d->trans_a);
    const mz_tensor b = as_stack(args->matmul.b, d->trans_b);
    const mz_tensor *dc = args->matmul.dc;
    const int64_t M = da.dim[1], K = da.dim[2], N = dc->dim[1];
    for (int64_t m = 0; m < M; m++)
        for (int64_t k = 0; k < K; k++) {
            double sum = 0.0;
            for (int64_t n = 0; n < N; n++) sum += at2(dc, m, n) * at3(&b, 0, k, n);
            put3(&da, 0, m, k, sum);
        }
}

/* db += a^T dc */
static void backward_b(const mz_matmul_desc *d, const mz_args *args)
{
    const mz_tensor a = as_stack(args->matmul.a, d->trans_a);
    const mz_tensor db = as_stack(args->matmul.db, d->trans_b);
    const mz_tensor *dc = args->matmul.dc;
    const int64_t M = dc->dim[0], K = db.dim[1], N = db.dim[2];
    for (int64_t k = 0; k < K; k++)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0.0;
            for (int64_t m = 0; m < M; m++) sum += at3(&a, 0, m, k) * at2(dc, m, n);
            put3(&db, 0, k, n, at3(&db, 0, k, n) + sum);
        }
}

mz_err mz_ref_matmul_backward(mz_op *op, const mz_args *args)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *dc = args->matmul.dc, *dbias = args->matmul.dbias;
    if (args->matmul.da) backward_a(d, args);
    if (args->matmul.db) backward_b(d, args);
    for (int64_t n = 0; dbias && n < dc->dim[1]; n++) {
        double sum = 0.0;
        for (int64_t m = 0; m < dc->dim[0]; m++) sum += at2(dc, m, n);
        put1(dbias, n, at1(dbias, n) + sum);
    }
    return MZ_OK;
}
