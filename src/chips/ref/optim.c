/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/optim.c - AdamW, sum of squares, count of what is not finite; see chip/desc.h.
 *
 * Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
 * Floor: chips. */
#include "chips/ref/ops.h"

#include <math.h>

mz_err mz_ref_adamw(mz_op *op, const mz_args *args)
{
    (void)op;
    const mz_tensor *p = args->adamw.p, *m = args->adamw.m, *v = args->adamw.v;
    const double lr = args->k.adamw.lr, beta1 = args->k.adamw.beta1, beta2 = args->k.adamw.beta2;
    const double steps = (double)args->k.adamw.step;
    const double correct1 = 1.0 - pow(beta1, steps), correct2 = 1.0 - pow(beta2, steps);
    for (int64_t i = 0; i < p->dim[0]; i++) {
        const double g = args->k.adamw.grad_scale * at1(args->adamw.g, i);
        const double mi = beta1 * at1(m, i) + (1.0 - beta1) * g;
        const double vi = beta2 * at1(v, i) + (1.0 - beta2) * g * g;
        const double kept = at1(p, i) * (1.0 - lr * args->k.adamw.weight_decay);
        const double pi = kept - lr * (mi / correct1) / (sqrt(vi / correct2) + args->k.adamw.eps);
        put1(m, i, mi);
        put1(v, i, vi);
        put1(p, i, pi);
        /* What the master weight became when it was stored, not the double before that. */
        if (args->adamw.copy) put1(args->adamw.copy, i, at1(p, i));
    }
    return MZ_OK;
}

mz_err mz_ref_sumsq(mz_op *op, const mz_args *args)
{
    (void)op;
    const mz_tensor *x = args->sumsq.x, *out = args->sumsq.out;
    double sum = 0.0;
    for (int64_t i = 0; i < x->dim[0]; i++) sum += at1(x, i) * at1(x, i);
    put1(out, 0, at1(out, 0) + sum);
    return MZ_OK;
}

mz_err mz_ref_finite(mz_op *op, const mz_args *args)
{
    (void)op;
    const mz_tensor *x = args->finite.x, *out = args->finite.out;
    int64_t n = 0;
    for (int64_t i = 0; i < x->dim[0]; i++) n += !isfinite(at1(x, i));
    put_id1(out, 0, id1(out, 0) + n);
    return MZ_OK;
}
