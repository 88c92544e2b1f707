/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/op_matmul.c - products of matrices.
 *
 * The cube unit gives what it gets: bf16 from bf16. Where the result is to be f32, or something is
 * added to it before it is rounded, both factors become f32 first, which loses nothing.
 *
 * Floor:  chips. */
#include "chips/ascend/state.h"

typedef struct factors {
    mz_nv a, b; /* [M,K] and [K,N], with a batch before them or not */
} factors;

static factors factors_of(const mz_matmul_desc *d, const mz_args *args)
{
    factors f = {mz_nv_of(args->matmul.a), mz_nv_of(args->matmul.b)};
    const int last = f.a.rank - 1;
    if (d->trans_a) f.a = mz_nv_swap(f.a, last - 1, last);
    if (d->trans_b) f.b = mz_nv_swap(f.b, last - 1, last);
    return f;
}

static void forward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_matmul_desc *d = &desc->u.matmul;
    const factors f = factors_of(d, args);
    const mz_nv c = mz_nv_of(args->matmul.c), bias = mz_nv_of(args->matmul.bias);
    if (c.type == f.a.type && !bias.base && !d->accumulate) {
        mz_npu_mm(n, f.a, f.b, c);
        return;
    }
    const mz_nv a = mz_npu_f32(n, f.a), b = mz_npu_f32(n, f.b);
    const mz_nv product = mz_npu_like(n, &c, ACL_FLOAT);
    mz_npu_mm(n, a, b, product);
    if (bias.base) mz_npu_add_to(n, product, bias);
    if (d->accumulate) mz_npu_add_to(n, product, mz_npu_f32(n, c));
    mz_npu_cast(n, product, c);
}

/* Each gradient as the product whose rows lie as its own do. */
static void backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_matmul_desc *d = &desc->u.matmul;
    const factors f = factors_of(d, args);
    const mz_nv dc = mz_nv_of(args->matmul.dc), da = mz_nv_of(args->matmul.da);
    const mz_nv db = mz_nv_of(args->matmul.db), dbias = mz_nv_of(args->matmul.dbias);
    const bool wide = dc.type != f.a.type;
    const size_t mark = n->used;
    if (da.base) {
        const mz_nv out = wide ? mz_npu_like(n, &da, ACL_FLOAT) : da;
        const mz_nv b = wide ? mz_npu_f32(n, f.b) : f.b;
        if (d->trans_a)
            mz_npu_mm(n, b, mz_nv_swap(dc, 0, 1), out);
        else
            mz_npu_mm(n, dc, mz_nv_swap(b, 0, 1), out);
        if (wide) mz_npu_cast(n, out, da);
        n->used = mark;
    }
    if (!db.base && !dbias.base) return;
    const mz_nv dc32 = mz_npu_f32(n, dc);
    if (db.base) {
        const mz_nv a = mz_npu_f32(n, f.a);
        if (d->trans_b)
            mz_npu_addmm(n, mz_nv_swap(dc32, 0, 1), a, db);
        else
            mz_npu_addmm(n, mz_nv_swap(a, 0, 1), dc32, db);
    }
    if (!dbias.base) return;
    const mz_nv sum = mz_npu_like(n, &dbias, ACL_FLOAT);
    mz_npu_sum(n, dc32, 0, sum);
    mz_npu_add_to(n, dbias, sum);
}

static mz_err refuse(const mz_desc *desc)
{
    if (!desc->u.matmul.packed) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "ascend multiplies weights as they are, not packed");
}

const mz_ascend_op mz_ascend_matmul = {.forward = forward, .backward = backward, .refuse = refuse};
