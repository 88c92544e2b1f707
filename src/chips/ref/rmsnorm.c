/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/rmsnorm.c - root-mean-square normalisation.
 *
 *   y[t,d] = x[t,d] r[t] w[d]     r[t] = 1 / sqrt(mean_d(x[t,d]^2) + eps)
 *
 * Source: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", arXiv:1910.07467.
 * Floor: chips. */
#include "chips/ref/ops.h"

#include <math.h>

/* saved holds r[t], one double a token. */
mz_err mz_ref_rmsnorm(mz_op *op, const mz_args *args)
{
    const mz_rmsnorm_desc *desc = &op->desc.u.rmsnorm;
    const mz_tensor *x = args->rmsnorm.x, *w = args->rmsnorm.w, *y = args->rmsnorm.y;
    const int64_t T = x->dim[0], D = desc->D;
    double *saved = desc->backward ? mz_ref_doubles(args->rmsnorm.saved) : NULL;
    for (int64_t t = 0; t < T; t++) {
        double squares = 0.0;
        for (int64_t d = 0; d < D; d++) squares += at2(x, t, d) * at2(x, t, d);
        const double r = 1.0 / sqrt(squares / (double)D + desc->eps);
        for (int64_t d = 0; d < D; d++) put2(y, t, d, at2(x, t, d) * r * at1(w, d));
        if (saved) saved[t] = r;
    }
    return MZ_OK;
}

/* With g = dy w:  dx = r (g - x r^2 mean_d(g x))   and   dw += sum_t dy x r.
 * dw goes first because dx may overwrite dy. */
mz_err mz_ref_rmsnorm_backward(mz_op *op, const mz_args *args)
{
    const mz_tensor *x = args->rmsnorm.x, *w = args->rmsnorm.w, *dy = args->rmsnorm.dy;
    const mz_tensor *dx = args->rmsnorm.dx, *dw = args->rmsnorm.dw;
    const int64_t T = x->dim[0], D = op->desc.u.rmsnorm.D;
    const double *r = mz_ref_doubles(args->rmsnorm.saved);
    for (int64_t d = 0; d < D; d++) {
        double sum = 0.0;
        for (int64_t t = 0; t < T; t++) sum += at2(dy, t, d) * at2(x, t, d) * r[t];
        put1(dw, d, at1(dw, d) + sum);
    }
    for (int64_t t = 0; t < T; t++) {
        double gx = 0.0;
        for (int64_t d = 0; d < D; d++) gx += at2(dy, t, d) * at1(w, d) * at2(x, t, d);
        const double c = gx * r[t] * r[t] / (double)D;
        for (int64_t d = 0; d < D; d++)
            put2(dx, t, d, r[t] * (at2(dy, t, d) * at1(w, d) - c * at2(x, t, d)));
    }
    return MZ_OK;
}
