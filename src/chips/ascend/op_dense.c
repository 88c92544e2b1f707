/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/op_dense.c - rmsnorm, swiglu, embed.
 *
 * What CANN has no single call for is computed in f32 and rounded once.
 *
 * Floor:  chips. */
#include "chips/ascend/state.h"

/* ---- rmsnorm; saved: 1/rms of each token ---- */

static mz_nv rstd_of(mz_nv saved, int64_t T)
{
    saved.type = ACL_FLOAT;
    saved.at /= (int64_t)sizeof(float);
    return mz_nv_shape(saved, 2, (const int64_t[]){T, 1});
}

static void rmsnorm(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv y = mz_nv_of(args->rmsnorm.y), x = mz_nv_of(args->rmsnorm.x);
    const mz_nv w = mz_nv_of(args->rmsnorm.w), saved = mz_nv_of(args->rmsnorm.saved);
    const int64_t one[] = {x.dim[0], 1};
    const bool is_kept = saved.base && n->queue; /* a plan books for a call without saved too */
    const mz_nv rstd = is_kept ? rstd_of(saved, x.dim[0]) : mz_npu_new(n, ACL_FLOAT, 2, one);
    const mz_nv out = mz_npu_like(n, &y, y.type); /* y may be x */
    if (mz_nv_count(&y) == 0) return;
    MZ_NPU(n, RmsNorm, mz_npu_t(n, &x), mz_npu_t(n, &w), desc->u.rmsnorm.eps, mz_npu_t(n, &out),
           mz_npu_t(n, &rstd));
    mz_npu_copy(n, y, out);
}

static void rmsnorm_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv dy = mz_nv_of(args->rmsnorm.dy), x = mz_nv_of(args->rmsnorm.x);
    const mz_nv w = mz_nv_of(args->rmsnorm.w), dx = mz_nv_of(args->rmsnorm.dx);
    const mz_nv dw = mz_nv_of(args->rmsnorm.dw);
    const mz_nv rstd = rstd_of(mz_nv_of(args->rmsnorm.saved), x.dim[0]);
    const mz_nv out = mz_npu_like(n, &dx, dx.type); /* dx may be dy */
    const mz_nv sum = mz_npu_like(n, &dw, ACL_FLOAT);
    (void)desc;
    if (mz_nv_count(&x) == 0) return;
    MZ_NPU(n, RmsNormGrad, mz_npu_t(n, &dy), mz_npu_t(n, &x), mz_npu_t(n, &rstd), mz_npu_t(n, &w),
           mz_npu_t(n, &out), mz_npu_t(n, &sum));
    mz_npu_copy(n, dx, out);
    mz_npu_add_to(n, dw, sum);
}

static size_t rmsnorm_saved(const mz_desc *desc)
{
    return (size_t)desc->u.rmsnorm.T_max * sizeof(float);
}

const mz_ascend_op mz_ascend_rmsnorm = {
    .forward = rmsnorm, .backward = rmsnorm_backward, .saved = rmsnorm_saved};

/* ---- swiglu ---- */

static mz_nv silu(mz_npu *n, mz_nv gate)
{
    const mz_nv out = mz_npu_like(n, &gate, ACL_FLOAT);
    if (mz_nv_count(&gate) > 0) MZ_NPU(n, Silu, mz_npu_t(n, &gate), mz_npu_t(n, &out));
    return out;
}

static void swiglu(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv gate = mz_npu_f32(n, mz_nv_of(args->swiglu.gate));
    const mz_nv up = mz_npu_f32(n, mz_nv_of(args->swiglu.up)), y = mz_nv_of(args->swiglu.y);
    const mz_nv s = silu(n, gate);
    (void)desc;
    mz_npu_mul(n, s, up, s);
    mz_npu_cast(n, s, y);
}

static void swiglu_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv gate = mz_npu_f32(n, mz_nv_of(args->swiglu.gate));
    const mz_nv up = mz_npu_f32(n, mz_nv_of(args->swiglu.up));
    const mz_nv dy = mz_npu_f32(n, mz_nv_of(args->swiglu.dy));
    const mz_nv dgate = mz_nv_of(args->swiglu.dgate), dup = mz_nv_of(args->swiglu.dup);
    const mz_nv ds = mz_npu_like(n, &gate, ACL_FLOAT), dg = mz_npu_like(n, &gate, ACL_FLOAT);
    const mz_nv s = silu(n, gate);
    (void)desc;
    if (mz_nv_count(&gate) == 0) return;
    mz_npu_mul(n, dy, up, ds);
    MZ_NPU(n, SiluBackward, mz_npu_t(n, &ds), mz_npu_t(n, &gate), mz_npu_t(n, &dg));
    mz_npu_mul(n, dy, s, s);
    mz_npu_cast(n, dg, dgate); /* gate and up were read before: dgate may be gate, dup up */
    mz_npu_cast(n, s, dup);
}

const mz_ascend_op mz_ascend_swiglu = {.forward = swiglu, .backward = swiglu_backward};

/* ---- embed ---- */

static void embed(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv y = mz_nv_of(args->embed.y), w = mz_nv_of(args->embed.w);
    const mz_nv ids = mz_nv_of(args->embed.ids);
    (void)desc;
    if (mz_nv_count(&y) == 0) return;
    MZ_NPU(n, IndexSelect, mz_npu_t(n, &w), 0, mz_npu_t(n, &ids), mz_npu_t(n, &y));
}

/* In token order, because the deterministic mode is on. */
static void embed_backward(mz_npu *n, const mz_desc *desc, const mz_args *args)
{
    const mz_nv dy = mz_npu_f32(n, mz_nv_of(args->embed.dy)), dw = mz_nv_of(args->embed.dw);
    const mz_nv ids = mz_nv_of(args->embed.ids);
    (void)desc;
    if (mz_nv_count(&dy) == 0) return;
    MZ_NPU(n, IndexAdd, mz_npu_t(n, &dw), 0, mz_npu_t(n, &ids), mz_npu_t(n, &dy),
           mz_npu_s(n, 1.0, ACL_FLOAT), mz_npu_t(n, &dw));
}

const mz_ascend_op mz_ascend_embed = {.forward = embed, .backward = embed_backward};
