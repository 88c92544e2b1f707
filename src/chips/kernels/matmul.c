/* SPDX-License-Identifier: Apache-2.0 */
/* chips/kernels/matmul.c - matmul.cl as two operators: plain products, and by expert.
 *
 * Every product is c [M,N] = sum over K of two operands, and each operand's strides say which of
 * its axes is summed over; so transposes and gradients are the same kernel. Floor: chips. */
#include "chips/kernels/args_matmul.h"
#include "chips/kernels/ops.h"

#include <stdio.h>

enum { MANY, FEW, FIRST_BACKWARD, DA = FIRST_BACKWARD, DB, DBIAS };
enum { FEW_ROWS = 8, MANY_ROWS = 64 };

/* What an element of each matrix is, which is one of few programs. */
typedef enum types {
    ALL_STORE,   /* f32, or all bf16 */
    C_OUT,       /* forward into another dtype */
    A_OUT,       /* a is a gradient of that dtype */
    B_OUT,       /* b is */
    A_OUT_C_F32, /* gradients of weights */
    B_OUT_C_F32,
    C_F32
} types;

/* Tiles of 64 rows, and of 8 for R = 1. */
static const char *const OPTIONS[][2] = {
    [ALL_STORE] = {NULL, "-DR=1"},
    [C_OUT] = {"-DA_TYPE=0 -DB_TYPE=0 -DC_TYPE=1", "-DA_TYPE=0 -DB_TYPE=0 -DC_TYPE=1 -DR=1"},
    [A_OUT] = {"-DA_TYPE=1 -DB_TYPE=0 -DC_TYPE=0", NULL},
    [B_OUT] = {"-DA_TYPE=0 -DB_TYPE=1 -DC_TYPE=0", NULL},
    [A_OUT_C_F32] = {"-DA_TYPE=1 -DB_TYPE=0 -DC_TYPE=2", NULL},
    [B_OUT_C_F32] = {"-DA_TYPE=0 -DB_TYPE=1 -DC_TYPE=2", NULL},
    [C_F32] = {"-DA_TYPE=0 -DB_TYPE=0 -DC_TYPE=2", NULL}};

static mz_kernel_spec spec_of(const char *name, mz_dtype dtype, mz_dtype out, types t, bool few)
{
    return (mz_kernel_spec){.text = "matmul",
                            .name = name,
                            .dtype = dtype,
                            .out_dtype = out,
                            .options = OPTIONS[t][few]};
}

/* b in the dtype that it is stored in. */
static mz_err bind_stored(mz_op *op, const char *name, mz_dtype out, mz_dtype stored)
{
    const mz_dtype in = mz_desc_dtype(&op->desc);
    char options[2][80];
    for (int few = 0; few < 2; few++)
        snprintf(options[few], sizeof options[few],
                 "-DA_TYPE=0 -DB_TYPE=3 -DC_TYPE=1 -DSTORED=%d%s", (int)stored,
                 few ? " -DR=1" : "");
    const mz_kernel_spec specs[] = {
        [MANY] = {.text = "matmul", name, .dtype = in, .out_dtype = out, .options = options[0]},
        [FEW] = {.text = "matmul", name, .dtype = in, .out_dtype = out, .options = options[1]}};
    return mz_kernels_bind(op, specs, FIRST_BACKWARD);
}

/* t [rows, columns] or a stack of such; summed over its columns, or over its rows. */
static mz_koperand operand(const mz_tensor *t, bool over_columns)
{
    const mz_kview v = mz_kernel_view(t);
    const int64_t row = t->rank == 3 ? v.s1 : v.s0;
    return (mz_koperand){.at = v.at,
                         .outer = over_columns ? row : 1,
                         .inner = over_columns ? 1 : row,
                         .batch = t->rank == 3 ? v.s0 : 0};
}

static void into(mz_kmatmul *k, const mz_tensor *c)
{
    const mz_kview v = mz_kernel_view(c);
    k->c_at = v.at;
    k->c_row = c->rank == 3 ? v.s1 : v.s0;
    k->c_batch = c->rank == 3 ? v.s0 : 0;
}

static int64_t tiles(int64_t n, int64_t each)
{
    return (n + each - 1) / each;
}

/* ---- matmul ---- */

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_kernels_need(desc->kind, desc->u.matmul.dtype);
}

static mz_err bind(mz_op *op)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_dtype in = d->dtype, out = d->out_dtype;
    const bool same = in == out, f32 = in == MZ_F32;
    if (d->stored != MZ_F64) return bind_stored(op, "matmul", out, d->stored);
    const types forward = same ? ALL_STORE : C_OUT;
    const types da = same ? ALL_STORE : d->trans_a ? B_OUT : A_OUT;
    const types db = f32 ? ALL_STORE : same ? C_F32 : d->trans_b ? A_OUT_C_F32 : B_OUT_C_F32;
    const mz_kernel_spec specs[] = {[MANY] = spec_of("matmul", in, out, forward, false),
                                    [FEW] = spec_of("matmul", in, out, forward, true),
                                    [DA] = spec_of("matmul", in, out, da, false),
                                    [DB] = spec_of("matmul", in, out, db, false),
                                    [DBIAS] = spec_of("matmul_dbias", in, out, forward, false)};
    return mz_kernels_bind(op, specs, d->backward ? MZ_COUNT(specs) : FIRST_BACKWARD);
}

static mz_err product(mz_op *op, int which, mz_kmatmul k, int64_t batch,
                      const mz_tensor *const t[4])
{
    const int64_t rows = which == FEW ? FEW_ROWS : MANY_ROWS;
    const mz_launch l = {.groups = {tiles(k.N, MZ_KMATMUL_COLUMNS), tiles(k.M, rows), batch},
                         .tensor = {t[0], t[1], t[2], t[3]},
                         .n_tensors = 4,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 2.0 * (double)k.M * (double)k.N * (double)k.K * (double)batch};
    return mz_kernels_run(op, which, &l);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *a = args->matmul.a, *b = args->matmul.b, *c = args->matmul.c;
    const int row = c->rank - 2;
    mz_kmatmul k = {.M = c->dim[row],
                    .N = c->dim[row + 1],
                    .K = a->dim[d->trans_a ? row : row + 1],
                    .a = operand(a, !d->trans_a),
                    .b = operand(b, d->trans_b),
                    .bias = mz_kernel_view(args->matmul.bias),
                    .accumulate = d->accumulate,
                    .has_bias = args->matmul.bias != NULL};
    into(&k, c);
    return product(op, k.M <= FEW_ROWS ? FEW : MANY, k, c->rank == 3 ? c->dim[0] : 1,
                   (const mz_tensor *const[]){c, a, b, args->matmul.bias});
}

/* da [M,K] = dc b^T, summed over N; transposed where a is. */
static mz_err backward_a(mz_op *op, const mz_args *args)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *dc = args->matmul.dc, *da = args->matmul.da, *b = args->matmul.b;
    const mz_koperand of_dc = operand(dc, true), of_b = operand(b, !d->trans_b);
    const mz_tensor *first = d->trans_a ? b : dc, *second = d->trans_a ? dc : b;
    mz_kmatmul k = {.M = da->dim[0],
                    .N = da->dim[1],
                    .K = dc->dim[1],
                    .a = d->trans_a ? of_b : of_dc,
                    .b = d->trans_a ? of_dc : of_b};
    into(&k, da);
    return product(op, DA, k, 1, (const mz_tensor *const[]){da, first, second, NULL});
}

/* db [K,N] += a^T dc, summed over M; transposed where b is. */
static mz_err backward_b(mz_op *op, const mz_args *args)
{
    const mz_matmul_desc *d = &op->desc.u.matmul;
    const mz_tensor *dc = args->matmul.dc, *db = args->matmul.db, *a = args->matmul.a;
    const mz_koperand of_dc = operand(dc, false), of_a = operand(a, d->trans_a);
    const mz_tensor *first = d->trans_b ? dc : a, *second = d->trans_b ? a : dc;
    mz_kmatmul k = {.M = db->dim[0],
                    .N = db->dim[1],
                    .K = dc->dim[0],
                    .a = d->trans_b ? of_dc : of_a,
                    .b = d->trans_b ? of_a : of_dc,
                    .accumulate = 1};
    into(&k, db);
    return product(op, DB, k, 1, (const mz_tensor *const[]){db, first, second, NULL});
}

static mz_err backward(mz_op *op, const mz_args *args)
{
    const mz_tensor *dc = args->matmul.dc, *dbias = args->matmul.dbias;
    if (args->matmul.da) MZ_TRY(backward_a(op, args));
    if (args->matmul.db) MZ_TRY(backward_b(op, args));
    if (!dbias) return MZ_OK;
    const mz_kmatmul k = {
        .M = dc->dim[0], .N = dc->dim[1], .a = operand(dc, true), .bias = mz_kernel_view(dbias)};
    const mz_launch l = {.groups = {mz_kernel_groups(k.N), 1, 1},
                         .tensor = {dbias, dc},
                         .n_tensors = 2,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = (double)(k.M * k.N)};
    return mz_kernels_run(op, DBIAS, &l);
}

const mz_slot mz_kernels_matmul = {.query = query,
                                   .bind = bind,
                                   .unbind = mz_kernels_unbind,
                                   .forward = forward,
                                   .backward = backward};

/* ---- experts ---- */

enum { DX = FIRST_BACKWARD, DW };

static mz_err experts_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    support->repeats = true;
    return mz_kernels_need(desc->kind, desc->u.experts.dtype);
}

static mz_err experts_bind(mz_op *op)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    const mz_dtype in = d->dtype;
    if (d->stored != MZ_F64) return bind_stored(op, "experts", in, d->stored);
    const types dw = in == MZ_F32 ? ALL_STORE : C_F32;
    const mz_kernel_spec specs[] = {[MANY] = spec_of("experts", in, in, ALL_STORE, false),
                                    [FEW] = spec_of("experts", in, in, ALL_STORE, true),
                                    [DX] = spec_of("experts", in, in, ALL_STORE, false),
                                    [DW] = spec_of("experts_weights", in, in, dw, false)};
    return mz_kernels_bind(op, specs, d->backward ? MZ_COUNT(specs) : FIRST_BACKWARD);
}

/* c [T,N] = a [T,K] times the matrix of each row's expert. */
static mz_err by_rows(mz_op *op, int which, mz_kmatmul k, const mz_tensor *const t[4])
{
    const int64_t rows = which == FEW ? FEW_ROWS : MANY_ROWS;
    const mz_launch l = {.groups = {tiles(k.N, MZ_KMATMUL_COLUMNS), k.M / rows + k.E, 1},
                         .tensor = {t[0], t[1], t[2], t[3]},
                         .n_tensors = 4,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 2.0 * (double)k.M * (double)k.N * (double)k.K};
    return mz_kernels_run(op, which, &l);
}

static mz_err experts(mz_op *op, const mz_args *args)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    const mz_tensor *x = args->experts.x, *y = args->experts.y, *w = args->experts.w;
    mz_kmatmul k = {.M = x->dim[0],
                    .N = d->N,
                    .K = d->K,
                    .E = d->E,
                    .a = operand(x, true),
                    .b = operand(w, true),
                    .offsets = mz_kernel_view(args->experts.offsets)};
    into(&k, y);
    return by_rows(op, k.M <= FEW_ROWS * d->E ? FEW : MANY, k,
                   (const mz_tensor *const[]){y, x, w, args->experts.offsets});
}

static mz_err experts_back(mz_op *op, const mz_args *args)
{
    const mz_experts_desc *d = &op->desc.u.experts;
    const mz_tensor *x = args->experts.x, *dy = args->experts.dy, *w = args->experts.w;
    const mz_tensor *dx = args->experts.dx, *dw = args->experts.dw, *of = args->experts.offsets;
    mz_kmatmul k = {.M = dy->dim[0], .E = d->E, .offsets = mz_kernel_view(of)};
    if (dx) {
        k.N = d->K;
        k.K = d->N;
        k.a = operand(dy, true);
        k.b = operand(w, false);
        into(&k, dx);
        MZ_TRY(by_rows(op, DX, k, (const mz_tensor *const[]){dx, dy, w, of}));
    }
    if (!dw) return MZ_OK;
    k.M = d->N;
    k.N = d->K;
    k.accumulate = 1;
    k.a = operand(dy, false);
    k.b = operand(x, false);
    into(&k, dw);
    const mz_launch l = {.groups = {tiles(k.N, MZ_KMATMUL_COLUMNS), tiles(k.M, MANY_ROWS), d->E},
                         .tensor = {dw, dy, x, of},
                         .n_tensors = 4,
                         .args = &k,
                         .args_bytes = sizeof k,
                         .flop = 2.0 * (double)dy->dim[0] * (double)k.N * (double)k.M};
    return mz_kernels_run(op, DW, &l);
}

const mz_slot mz_kernels_experts = {.query = experts_query,
                                    .bind = experts_bind,
                                    .unbind = mz_kernels_unbind,
                                    .forward = experts,
                                    .backward = experts_back};
