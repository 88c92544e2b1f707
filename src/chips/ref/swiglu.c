/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ref/swiglu.c - y = silu(gate) up, silu(x) = x / (1 + exp(-x)).
 *
 * Source: Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202. Floor: chips. */
#include "chips/ref/ops.h"

#include <math.h>

mz_err mz_ref_swiglu(mz_op *op, const mz_args *args)
{
    const mz_tensor *gate = args->swiglu.gate, *up = args->swiglu.up;
    for (int64_t t = 0; t < gate->dim[0]; t++)
        for (int64_t f = 0; f < op->desc.u.swiglu.F; f++) {
            const double g = at2(gate, t, f);
            put2(args->swiglu.y, t, f, g / (1.0 + exp(-g)) * at2(up, t, f));
        }
    return MZ_OK;
}

/* With s = sigmoid(gate):  dup = dy gate s   and   dgate = dy up s (1 + gate (1 - s)).
 * Both inputs are read before either output is written: they may be the same memory. */
mz_err mz_ref_swiglu_backward(mz_op *op, const mz_args *args)
{
    const mz_tensor *gate = args->swiglu.gate, *up = args->swiglu.up, *dy = args->swiglu.dy;
    for (int64_t t = 0; t < gate->dim[0]; t++)
        for (int64_t f = 0; f < op->desc.u.swiglu.F; f++) {
            const double g = at2(gate, t, f), u = at2(up, t, f), d = at2(dy, t, f);
            const double s = 1.0 / (1.0 + exp(-g));
            put2(args->swiglu.dgate, t, f, d * u * s * (1.0 + g * (1.0 - s)));
            put2(args->swiglu.dup, t, f, d * g * s);
        }
    return MZ_OK;
}
