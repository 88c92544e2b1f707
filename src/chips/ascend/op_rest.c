/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/op_rest.c - loss, optimiser, counts, casts, elementwise, sums. Floor: chips. */
#include "chips/ascend/state.h"

/* ---- xent ---- */

enum { NOT_COUNTED = -100 };

static void xent(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv loss = mz_nv_of(args->xent.loss), dlogits = mz_nv_of(args->xent.dlogits);
    const mz_nv logits = mz_npu_f32(n, mz_nv_of(args->xent.logits));
    const mz_nv weight = mz_nv_of(args->xent.weight), ids = mz_nv_of(args->xent.targets);
    const mz_nv target = mz_npu_like(n, &ids, ACL_INT64);
    const mz_nv log_prob = mz_npu_like(n, &logits, ACL_FLOAT);
    const mz_nv unused = mz_npu_like(n, &loss, ACL_FLOAT), none = {.base = NULL};
    char reduction[] = "none";
    (void)desc;
    if (mz_nv_count(&loss) == 0) return;
    mz_npu_cast(n, ids, target);
    MZ_NPU(n, CrossEntropyLoss, mz_npu_t(n, &logits), mz_npu_t(n, &target), NULL, reduction,
           NOT_COUNTED, 0.0, 0.0, false, mz_npu_t(n, &loss), mz_npu_t(n, &log_prob),
           mz_npu_t(n, &unused), mz_npu_t(n, &unused));
    if (!dlogits.base) return;
    const mz_nv out = dlogits.type == ACL_FLOAT ? dlogits : mz_npu_like(n, &logits, ACL_FLOAT);
    MZ_NPU(n, CrossEntropyLossGrad, mz_npu_t(n, &weight), mz_npu_t(n, &log_prob),
           mz_npu_t(n, &target), NULL, mz_npu_t(n, &none), mz_npu_t(n, &none), reduction,
           NOT_COUNTED, 0.0, 0.0, mz_npu_t(n, &out));
    if (out.type != dlogits.type) mz_npu_cast(n, out, dlogits);
}

const mz_ascend_op mz_ascend_xent = {.forward = xent};

/* ---- adamw ---- */

static void adamw(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv p = mz_nv_of(args->adamw.p), m = mz_nv_of(args->adamw.m);
    const mz_nv v = mz_nv_of(args->adamw.v), g = mz_nv_of(args->adamw.g);
    const mz_nv copy = mz_nv_of(args->adamw.copy);
    const mz_nv step = mz_npu_new(n, ACL_FLOAT, 1, (const int64_t[]){1});
    const mz_nv grad = mz_npu_like(n, &g, ACL_FLOAT);
    (void)desc;
    if (mz_nv_count(&p) == 0) return;
    mz_npu_fill(n, step, (double)(args->k.adamw.step - 1)); /* CANN counts the updates before */
    mz_npu_scale(n, g, args->k.adamw.grad_scale, grad);
    MZ_NPU(n, ApplyAdamWV2, mz_npu_t(n, &p), mz_npu_t(n, &m), mz_npu_t(n, &v), NULL,
           mz_npu_t(n, &grad), mz_npu_t(n, &step), (float)args->k.adamw.lr,
           (float)args->k.adamw.beta1, (float)args->k.adamw.beta2,
           (float)args->k.adamw.weight_decay, (float)args->k.adamw.eps, false, false);
    if (copy.base) mz_npu_cast(n, p, copy);
}

const mz_ascend_op mz_ascend_adamw = {.forward = adamw};

/* ---- sumsq, finite ---- */

/* x as one row, for sums over all of it. */
static void sumsq(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv x = mz_npu_f32(n, mz_nv_of(args->sumsq.x)), out = mz_nv_of(args->sumsq.out);
    const mz_nv squares = mz_npu_like(n, &x, ACL_FLOAT);
    const mz_nv sum = mz_npu_like(n, &out, ACL_FLOAT);
    (void)desc;
    if (mz_nv_count(&x) == 0) return;
    mz_npu_mul(n, x, x, squares);
    mz_npu_sum(n, mz_nv_insert(squares, 0, 1), 1, sum);
    mz_npu_add_to(n, out, sum);
}

const mz_ascend_op mz_ascend_sumsq = {.forward = sumsq};

static void finite(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv x = mz_nv_of(args->finite.x), out = mz_nv_of(args->finite.out);
    const mz_nv is = mz_npu_like(n, &x, ACL_BOOL), ones = mz_npu_like(n, &x, ACL_INT32);
    const mz_nv sum = mz_npu_like(n, &out, ACL_INT32);
    (void)desc;
    if (mz_nv_count(&x) == 0) return;
    MZ_NPU(n, IsFinite, mz_npu_t(n, &x), mz_npu_t(n, &is));
    mz_npu_cast(n, is, ones);
    mz_npu_sum(n, mz_nv_insert(ones, 0, 1), 1, sum);
    mz_npu_add(n, out, sum, -1.0, out);
    MZ_NPU(n, InplaceAdds, mz_npu_t(n, &out), mz_npu_s(n, (double)mz_nv_count(&x), ACL_INT32),
           mz_npu_s(n, 1.0, ACL_INT32));
}

const mz_ascend_op mz_ascend_finite = {.forward = finite};

/* ---- cast, elementwise, reduce ---- */

static bool has_dtype(mz_dtype d)
{
    return d == MZ_F32 || d == MZ_BF16 || d == MZ_F16;
}

static void cast(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    (void)desc;
    mz_npu_cast(n, mz_nv_of(args->cast.x), mz_nv_of(args->cast.y));
}

static mz_err refuse_cast(const mz_desc *desc)
{
    const mz_cast_desc *d = &desc->u.cast;
    if (has_dtype(d->from) && has_dtype(d->to)) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP, "ascend casts between f32, bf16 and f16 only");
}

const mz_ascend_op mz_ascend_cast = {.forward = cast, .refuse = refuse_cast};

/* alpha b is not rounded before it is added. */
static void axpy(mz_npu *n, mz_nv a, mz_nv b, double alpha, mz_nv y)
{
    const mz_nv wide = y.type == ACL_FLOAT ? y : mz_npu_like(n, &y, ACL_FLOAT);
    mz_npu_add(n, mz_npu_f32(n, a), mz_npu_f32(n, b), alpha, wide);
    if (y.type != ACL_FLOAT) mz_npu_cast(n, wide, y);
}

static void elementwise(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv y = mz_nv_of(args->elementwise.y), a = mz_nv_of(args->elementwise.a);
    const mz_nv b = mz_nv_of(args->elementwise.b);
    const double alpha = args->k.elementwise.alpha;
    const mz_elementwise_fn fn = desc->u.elementwise.fn;
    if (fn == MZ_EW_ADD)
        mz_npu_add(n, a, b, 1.0, y);
    else if (fn == MZ_EW_MUL)
        mz_npu_mul(n, a, b, y);
    else if (fn == MZ_EW_AXPY)
        axpy(n, a, b, alpha, y);
    else if (fn == MZ_EW_SCALE)
        mz_npu_scale(n, a, alpha, y);
    else if (fn == MZ_EW_COPY)
        mz_npu_copy(n, y, a);
    else
        mz_npu_fill(n, y, alpha);
}

const mz_ascend_op mz_ascend_elementwise = {.forward = elementwise};

static void reduce(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv x = mz_npu_f32(n, mz_nv_of(args->reduce.x)), y = mz_nv_of(args->reduce.y);
    const mz_nv sum = mz_npu_like(n, &y, ACL_FLOAT);
    mz_npu_sum(n, x, 1, sum);
    if (desc->u.reduce.accumulate) mz_npu_add(n, sum, mz_npu_f32(n, y), 1.0, sum);
    mz_npu_cast(n, sum, y);
}

const mz_ascend_op mz_ascend_reduce = {.forward = reduce};
