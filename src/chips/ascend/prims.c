/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/prims.c - the calls that most operators are made of. Floor: chips. */
#include "chips/ascend/npu.h"

enum { KEEP_DTYPE = 0 };

static bool is_empty(const mz_nv *v)
{
    return mz_nv_count(v) == 0;
}

void mz_npu_mm(mz_npu *n, mz_nv a, mz_nv b, mz_nv out)
{
    if (is_empty(&out)) return;
    if (is_empty(&a)) {
        mz_npu_fill(n, out, 0.0);
        return;
    }
    if (out.rank == 3)
        MZ_NPU(n, BatchMatMul, mz_npu_t(n, &a), mz_npu_t(n, &b), mz_npu_t(n, &out), KEEP_DTYPE);
    else
        MZ_NPU(n, Mm, mz_npu_t(n, &a), mz_npu_t(n, &b), mz_npu_t(n, &out), KEEP_DTYPE);
}

void mz_npu_addmm(mz_npu *n, mz_nv a, mz_nv b, mz_nv out)
{
    if (is_empty(&out) || is_empty(&a)) return;
    MZ_NPU(n, InplaceAddmm, mz_npu_t(n, &out), mz_npu_t(n, &a), mz_npu_t(n, &b),
           mz_npu_s(n, 1.0, ACL_FLOAT), mz_npu_s(n, 1.0, ACL_FLOAT), KEEP_DTYPE);
}

void mz_npu_add(mz_npu *n, mz_nv a, mz_nv b, double alpha, mz_nv out)
{
    if (is_empty(&out)) return;
    MZ_NPU(n, Add, mz_npu_t(n, &a), mz_npu_t(n, &b), mz_npu_s(n, alpha, out.type),
           mz_npu_t(n, &out));
}

void mz_npu_add_to(mz_npu *n, mz_nv y, mz_nv x)
{
    if (is_empty(&y)) return;
    MZ_NPU(n, InplaceAdd, mz_npu_t(n, &y), mz_npu_t(n, &x), mz_npu_s(n, 1.0, y.type));
}

void mz_npu_mul(mz_npu *n, mz_nv a, mz_nv b, mz_nv out)
{
    if (is_empty(&out)) return;
    MZ_NPU(n, Mul, mz_npu_t(n, &a), mz_npu_t(n, &b), mz_npu_t(n, &out));
}

void mz_npu_scale(mz_npu *n, mz_nv a, double alpha, mz_nv out)
{
    if (is_empty(&out)) return;
    MZ_NPU(n, Muls, mz_npu_t(n, &a), mz_npu_s(n, alpha, out.type), mz_npu_t(n, &out));
}

void mz_npu_copy(mz_npu *n, mz_nv to, mz_nv from)
{
    if (is_empty(&to)) return;
    MZ_NPU(n, InplaceCopy, mz_npu_t(n, &to), mz_npu_t(n, &from));
}

void mz_npu_cast(mz_npu *n, mz_nv from, mz_nv to)
{
    if (is_empty(&to)) return;
    if (from.type == to.type) {
        mz_npu_copy(n, to, from);
        return;
    }
    MZ_NPU(n, Cast, mz_npu_t(n, &from), to.type, mz_npu_t(n, &to));
}

void mz_npu_fill(mz_npu *n, mz_nv y, double x)
{
    if (is_empty(&y)) return;
    MZ_NPU(n, InplaceFillScalar, mz_npu_t(n, &y), mz_npu_s(n, x, y.type));
}

void mz_npu_sum(mz_npu *n, mz_nv x, int axis, mz_nv out)
{
    const int64_t dims[] = {axis};
    if (is_empty(&out)) return;
    if (is_empty(&x)) {
        mz_npu_fill(n, out, 0.0);
        return;
    }
    MZ_NPU(n, ReduceSum, mz_npu_t(n, &x), mz_npu_i(n, dims, 1), false, out.type, mz_npu_t(n, &out));
}

void mz_npu_select(mz_npu *n, mz_nv x, mz_nv rows, mz_nv out)
{
    if (is_empty(&out)) return;
    MZ_NPU(n, IndexSelect, mz_npu_t(n, &x), 0, mz_npu_t(n, &rows), mz_npu_t(n, &out));
}

void mz_npu_sort(mz_npu *n, mz_nv x, bool descending, mz_nv values, mz_nv order)
{
    if (is_empty(&x)) return;
    MZ_NPU(n, Sort, mz_npu_t(n, &x), true, x.rank - 1, descending, mz_npu_t(n, &values),
           mz_npu_t(n, &order));
}

void mz_npu_count_up(mz_npu *n, mz_nv y)
{
    if (is_empty(&y)) return;
    MZ_NPU(n, Arange, mz_npu_s(n, 0.0, ACL_INT32), mz_npu_s(n, (double)mz_nv_count(&y), ACL_INT32),
           mz_npu_s(n, 1.0, ACL_INT32), mz_npu_t(n, &y));
}

mz_nv mz_npu_out(mz_npu *n, mz_nv y, bool may_overlap)
{
    const bool wants_own = may_overlap || !n->queue || !mz_nv_is_dense(&y); /* a plan: the worst */
    return wants_own ? mz_npu_like(n, &y, y.type) : y;
}

void mz_npu_land(mz_npu *n, mz_nv y, mz_nv out)
{
    if (!n->queue || out.base != y.base || out.at != y.at) mz_npu_copy(n, y, out);
}

mz_nv mz_npu_f32(mz_npu *n, mz_nv v)
{
    if (!v.base || v.type == ACL_FLOAT) return v;
    const mz_nv wide = mz_npu_like(n, &v, ACL_FLOAT);
    mz_npu_cast(n, v, wide);
    return wide;
}
