/* SPDX-License-Identifier: Apache-2.0 */
/* op/matmul.c - the door of matmul. Floor: op. May use chip, tensor, base. */
#include "op/check.h"

mz_err mz_door_matmul_desc(const mz_matmul_desc *d)
{
    const int64_t batch = d->batch_max > 0 ? d->batch_max : 1;
    MZ_TRY(mz_need_float(d->dtype, "dtype"));
    MZ_NEED(d->out_dtype == d->dtype || d->out_dtype == mz_dtype_acc(d->dtype),
            "out_dtype must be dtype or what its sums are kept in");
    MZ_TRY(mz_need_in(d->batch_max, 0, INT64_MAX, "batch_max"));
    MZ_TRY(mz_need_shape(3, (const int64_t[]){batch, d->M_max, d->K_max}));
    MZ_TRY(mz_need_shape(3, (const int64_t[]){batch, d->K_max, d->N_max}));
    MZ_TRY(mz_need_shape(3, (const int64_t[]){batch, d->M_max, d->N_max}));
    MZ_NEED(!d->backward || (d->batch_max == 0 && !d->accumulate),
            "backward is for plain matrices without accumulate");
    MZ_NEED(!d->packed || d->batch_max == 0, "packed weights are for plain matrices");
    if (d->stored == MZ_F64) return MZ_OK;
    MZ_NEED(d->trans_b && !d->trans_a && d->batch_max == 0 && !d->packed,
            "a stored weight is [N,K], for plain matrices, and not packed");
    return mz_need_stored(d->stored, d->dtype, d->K_max, d->backward);
}

/* M, N and K (and the batch) as the tensors of this pass show them; what none shows is 0, and then
 * no other tensor can contradict it. */
typedef struct sizes {
    int64_t batch, M, N, K;
} sizes;

/* The two sizes of an operand in the order of op(a). */
static mz_err read_pair(const mz_call *c, const char *name, bool transposed, int64_t *rows,
                        int64_t *columns)
{
    const mz_matmul_desc *d = &c->desc->u.matmul;
    const int rank = d->batch_max > 0 ? 3 : 2;
    MZ_TRY(mz_call_dim(c, name, rank, transposed ? rank - 1 : rank - 2, INT64_MAX, rows));
    return mz_call_dim(c, name, rank, transposed ? rank - 2 : rank - 1, INT64_MAX, columns);
}

static mz_err read_sizes(const mz_call *c, sizes *z)
{
    const mz_matmul_desc *d = &c->desc->u.matmul;
    int64_t unused;
    MZ_TRY(read_pair(c, c->pass == MZ_FORWARD ? "c" : "dc", false, &z->M, &z->N));
    if (d->batch_max > 0) MZ_TRY(mz_call_dim(c, "c", 3, 0, d->batch_max, &z->batch));
    if (d->packed)
        z->K = d->K_max;
    else if (mz_call_arg(c, "da"))
        MZ_TRY(read_pair(c, "da", d->trans_a, &unused, &z->K));
    else if (mz_call_arg(c, "db"))
        MZ_TRY(read_pair(c, "db", d->trans_b, &z->K, &unused));
    else if (mz_call_arg(c, "a"))
        MZ_TRY(read_pair(c, "a", d->trans_a, &unused, &z->K));
    else if (mz_call_arg(c, "b"))
        MZ_TRY(read_pair(c, "b", d->trans_b, &z->K, &unused));
    MZ_NEED(z->M <= d->M_max && z->N <= d->N_max && z->K <= d->K_max,
            "matmul of %lld x %lld x %lld, bound for %lld x %lld x %lld", (long long)z->M,
            (long long)z->N, (long long)z->K, (long long)d->M_max, (long long)d->N_max,
            (long long)d->K_max);
    MZ_NEED(!d->packed || z->N == d->N_max, "a packed matmul's N is %lld, want %lld",
            (long long)z->N, (long long)d->N_max);
    return MZ_OK;
}

/* A stack of matrices, or one where there is no batch. */
static mz_want operand(const sizes *z, const char *name, mz_dtype dtype, int64_t rows,
                       int64_t columns)
{
    mz_want w = {.name = name, .dtype = dtype, .layout = MZ_ROWS, .rank = z->batch >= 0 ? 3 : 2};
    int axis = 0;
    if (z->batch >= 0) w.dim[axis++] = z->batch;
    w.dim[axis++] = rows;
    w.dim[axis] = columns;
    return w;
}

static mz_err check_packed(const mz_call *c)
{
    const mz_tensor *b = mz_call_arg(c, "b");
    MZ_NEED(b, "matmul: b is NULL");
    const mz_want want = {"b", MZ_U8, MZ_DENSE, 1, {b->dim[0]}, 0};
    return mz_call_wants(c, &want, 1);
}

static bool has_work(const mz_call *c, const sizes *z)
{
    const mz_matmul_desc *d = &c->desc->u.matmul;
    const mz_tensor *da = c->args->matmul.da;
    if (c->pass == MZ_FORWARD)
        return z->M > 0 && z->N > 0 && z->batch != 0 && (z->K > 0 || d->bias || !d->accumulate);
    return (da && z->M > 0 && z->K > 0) ||
           (z->M > 0 && z->N > 0 && (c->args->matmul.dbias || (c->args->matmul.db && z->K > 0)));
}

mz_err mz_door_matmul_args(mz_call *c)
{
    const mz_matmul_desc *d = &c->desc->u.matmul;
    const mz_dtype acc = mz_dtype_acc(d->dtype);
    const bool ta = d->trans_a, tb = d->trans_b;
    sizes z = {.batch = -1};
    MZ_TRY(read_sizes(c, &z));
    mz_want wants[] = {
        operand(&z, "c", d->out_dtype, z.M, z.N),
        operand(&z, "dc", d->out_dtype, z.M, z.N),
        operand(&z, "da", d->dtype, ta ? z.K : z.M, ta ? z.M : z.K),
        operand(&z, "db", acc, tb ? z.N : z.K, tb ? z.K : z.N),
        {"bias", acc, MZ_DENSE, 1, {z.N}, 0},
        {"dbias", acc, MZ_DENSE, 1, {z.N}, 0},
        operand(&z, "a", d->dtype, ta ? z.K : z.M, ta ? z.M : z.K),
        operand(&z, "b", mz_stored_dtype(d->stored, d->dtype), tb ? z.N : z.K, tb ? z.K : z.N),
    };
    const int n = MZ_COUNT(wants);
    if (z.batch >= 0) wants[n - 2].repeats = wants[n - 1].repeats = 1u << 0;
    MZ_TRY(mz_call_wants(c, wants, d->packed ? n - 1 : n));
    if (d->packed && mz_call_arg(c, "b")) MZ_TRY(check_packed(c));
    if (!d->bias) MZ_TRY(mz_call_absent(c, c->args->matmul.bias, "bias"));
    if (c->pass == MZ_BACKWARD) {
        MZ_NEED(d->bias || !c->args->matmul.dbias, "matmul backward: dbias without a bias");
        MZ_NEED(!c->args->matmul.da || c->args->matmul.b, "matmul backward: da needs b");
        MZ_NEED(!c->args->matmul.db || c->args->matmul.a, "matmul backward: db needs a");
    }
    c->is_idle = !has_work(c, &z);
    return MZ_OK;
}
