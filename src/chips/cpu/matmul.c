/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/matmul.c - MATMUL: every layout of operands is a view on the one product of gemm.h. */
#include "chips/cpu/gemm.h"
#include "chips/cpu/stored.h"

/* Scratch for each product of either direction at the largest sizes. */
static mz_cpu_room room_of(const mz_cpu *cpu, const mz_matmul_desc *d)
{
    const int64_t M = d->M_max, N = d->N_max, K = d->K_max;
    mz_cpu_room r = mz_cpu_product_room(cpu, M, N, K, d->batch_max);
    if (!d->backward) return r;
    const int64_t da_rows = d->trans_a ? K : M, da_cols = d->trans_a ? M : K;
    const int64_t db_rows = d->trans_b ? N : K, db_cols = d->trans_b ? K : N;
    r = mz_cpu_room_max(r, mz_cpu_product_room(cpu, da_rows, da_cols, N, 0));
    return mz_cpu_room_max(r, mz_cpu_product_room(cpu, db_rows, db_cols, M, 0));
}

/* bf16 weights of a network that does not learn lie as rows of K, and so do activations: where the
 * set multiplies such rows as well as they lie, nothing is packed, neither for one token nor for
 * many. */
static bool runs_as_stored(const mz_cpu *cpu, const mz_matmul_desc *d)
{
    return d->stored != MZ_F64 ||
           (cpu->kernels.stored->plain_first && d->dtype == MZ_BF16 && d->trans_b && !d->trans_a &&
            !d->packed && !d->backward && d->batch_max == 0 && d->K_max % MZ_CPU_STORED_GROUP == 0);
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *s)
{
    const mz_matmul_desc *d = &desc->u.matmul;
    MZ_TRY(mz_cpu_need_dtype(desc->kind, d->dtype));
    MZ_TRY(mz_cpu_need_dtype(desc->kind, d->out_dtype));
    if (runs_as_stored(mz_cpu_of(q), d)) {
        MZ_TRY(mz_cpu_stored_need(desc->kind, d->dtype));
        s->workspace_bytes = mz_cpu_room_bytes(q, mz_cpu_stored_room(0));
        s->repeats = true;
        return MZ_OK;
    }
    if (d->packed) {
        size_t bytes = 0;
        MZ_TRY(mz_cpu_pack_bytes(q, d, &bytes));
        if (!bytes)
            return MZ_FAIL(MZ_ENOTSUP, "cpu packs b only for plain forward products in f32, bf16");
    }
    if (d->dtype != MZ_F64) s->workspace_bytes = mz_cpu_room_bytes(q, room_of(mz_cpu_of(q), d));
    s->repeats = true;
    return MZ_OK;
}

static mz_err forward_stored(const mz_op *op, const mz_args *args)
{
    const mz_tensor *a = args->matmul.a, *b = args->matmul.b, *c = args->matmul.c;
    const mz_tensor *bias = args->matmul.bias;
    const mz_cpu_stored p = {.M = c->dim[0],
                             .N = c->dim[1],
                             .K = a->dim[1],
                             .a = mz_cpu_mat_of(a, false),
                             .w = mz_cpu_data(b),
                             .kind = mz_cpu_kind_of(b->dtype),
                             .w_row_bytes = mz_cpu_stored_bytes(b->dtype, b->stride[0]),
                             .c = mz_cpu_data(c),
                             .c_row = c->stride[0],
                             .bias = bias ? mz_cpu_data(bias) : NULL,
                             .c_is_bf16 = c->dtype == MZ_BF16,
                             .add = op->desc.u.matmul.accumulate};
    mz_cpu_stored_run(op, &p);
    return MZ_OK;
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    if (runs_as_stored(mz_cpu_of(op->queue), d)) return forward_stored(op, args);
    const mz_tensor *a = args->matmul.a, *b = args->matmul.b, *c = args->matmul.c;
    const mz_tensor *bias = args->matmul.bias;
    const int row = a->rank - 2;
    const bool is_list = a->rank == 3;
    mz_cpu_product p = {.M = c->dim[row],
                        .N = c->dim[row + 1],
                        .K = d->trans_a ? a->dim[row] : a->dim[row + 1],
                        .a = mz_cpu_mat_of(a, d->trans_a),
                        .c = mz_cpu_data(c),
                        .c_row = c->stride[row],
                        .bias = bias ? mz_cpu_data(bias) : NULL,
                        .c_is_bf16 = c->dtype == MZ_BF16,
                        .add = d->accumulate,
                        .is_f64 = d->dtype == MZ_F64};
    if (d->packed) {
        MZ_NEED(p.N == d->N_max && p.K == d->K_max,
                "packed b is [%lld,%lld], this call wants "
                "[%lld,%lld]",
                (long long)d->K_max, (long long)d->N_max, (long long)p.K, (long long)p.N);
        p.packed = mz_cpu_data(b);
        p.b.is_bf16 = d->dtype == MZ_BF16;
    } else {
        p.b = mz_cpu_mat_of(b, d->trans_b);
    }
    if (is_list) {
        p.count = c->dim[0];
        p.a_step = a->stride[0], p.b_step = b->stride[0], p.c_step = c->stride[0];
        if (p.count == 0) return MZ_OK;
    }
    mz_cpu_product_run(op, room_of(mz_cpu_of(op->queue), d), &p);
    return MZ_OK;
}

/* da = dc op(b)^T, or its transpose op(b) dc^T where a is stored transposed. */
static void backward_a(mz_op *op, const mz_args *args, int64_t N)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *da = args->matmul.da, *b = args->matmul.b, *dc = args->matmul.dc;
    const mz_cpu_product p = {
        .M = da->dim[0],
        .N = da->dim[1],
        .K = N,
        .a = d->trans_a ? mz_cpu_mat_of(b, d->trans_b) : mz_cpu_mat_of(dc, false),
        .b = d->trans_a ? mz_cpu_mat_of(dc, true) : mz_cpu_mat_of(b, !d->trans_b),
        .c = mz_cpu_data(da),
        .c_row = da->stride[0],
        .c_is_bf16 = da->dtype == MZ_BF16,
        .is_f64 = d->dtype == MZ_F64};
    mz_cpu_product_run(op, room_of(mz_cpu_of(op->queue), d), &p);
}

/* db += op(a)^T dc, or its transpose dc^T op(a) where b is stored transposed. */
static void backward_b(mz_op *op, const mz_args *args, int64_t M)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *db = args->matmul.db, *a = args->matmul.a, *dc = args->matmul.dc;
    const mz_cpu_product p = {
        .M = db->dim[0],
        .N = db->dim[1],
        .K = M,
        .a = d->trans_b ? mz_cpu_mat_of(dc, true) : mz_cpu_mat_of(a, !d->trans_a),
        .b = d->trans_b ? mz_cpu_mat_of(a, d->trans_a) : mz_cpu_mat_of(dc, false),
        .c = mz_cpu_data(db),
        .c_row = db->stride[0],
        .add = true,
        .is_f64 = d->dtype == MZ_F64};
    mz_cpu_product_run(op, room_of(mz_cpu_of(op->queue), d), &p);
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_tensor *dc = args->matmul.dc, *dbias = args->matmul.dbias;
    const int64_t M = dc->dim[0], N = dc->dim[1];
    if (args->matmul.da) backward_a(op, args, N);
    if (args->matmul.db) backward_b(op, args, M);
    if (dbias)
        mz_cpu_sum_rows(op, mz_cpu_data(dbias), mz_cpu_mat_of(dc, false), dc->dtype == MZ_F64, M,
                        N);
    return MZ_OK;
}

const mz_slot mz_cpu_matmul = {.query = query, .forward = forward, .backward = backward};
