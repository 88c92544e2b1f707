/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_foreach.c - the same for each tensor of a list, as optimizers of PyTorch ask for.
 */
#include "ascend/ops.h"

#include <math.h>

enum { LISTS = 3 };

/* Where the lists, the numbers and the output stand. */
typedef struct each {
    int n_lists, number, out; /* number -1: none */
    double (*fn)(const double x[LISTS], double s);
} each;

static double add(const double x[LISTS], double s)
{
    return x[0] + s;
}

static double multiply(const double x[LISTS], double s)
{
    return x[0] * s;
}

static double divide(const double x[LISTS], double s)
{
    return x[0] / s;
}

static double lerp(const double x[LISTS], double s)
{
    return x[0] + s * (x[1] - x[0]);
}

static double addcmul(const double x[LISTS], double s)
{
    return x[0] + s * x[1] * x[2];
}

static double addcdiv(const double x[LISTS], double s)
{
    return x[0] + s * x[1] / x[2];
}

static double root(const double x[LISTS], double s)
{
    (void)s;
    return sqrt(x[0]);
}

/* A list of numbers has one for each tensor. */
static aclnnStatus check_each(const emu_call *c, const each *e)
{
    const emu_arg *out = &c->arg[e->out], *number = e->number < 0 ? NULL : &c->arg[e->number];
    if (number && !number->n) return emu_refuse(c, "the number is missing");
    if (number && number->kind == 'N' && number->n != out->n)
        return emu_refuse(c, "there are not as many numbers as tensors");
    for (int i = 0; i < e->n_lists; i++) {
        if (c->arg[i].n != out->n) return emu_refuse(c, "the lists are not of one length");
        for (int k = 0; k < out->n; k++)
            if (!emu_same_shape(&c->arg[i].tensor[k], &out->tensor[k]))
                return emu_refuse(c, "tensors at one place of the lists differ in shape");
    }
    return 0;
}

static void run_each(emu_call *c, const each *e)
{
    const emu_arg *out = &c->arg[e->out];
    for (int k = 0; k < out->n; k++) {
        const emu_arg *number = e->number < 0 ? NULL : &c->arg[e->number];
        const double s = !number ? 0.0 : number->kind == 'N' ? number->reals[k] : number->d;
        const emu_tensor *y = &out->tensor[k];
        for (int64_t i = 0, n = emu_count(y); i < n; i++) {
            double x[LISTS] = {0};
            for (int l = 0; l < e->n_lists; l++) {
                const emu_tensor *t = &c->arg[l].tensor[k];
                x[l] = emu_get(t, emu_place(t, 0, i));
            }
            emu_put(c, y, emu_place(y, 0, i), e->fn(x, s));
        }
    }
}

/* X(name, lists, where the numbers stand, where the output, function) */
#define FOREACH_LIST(X)                                                                            \
    X(ForeachAddScalarV2, 1, 1, 2, add)                                                            \
    X(ForeachMulScalarV2, 1, 1, 2, multiply)                                                       \
    X(ForeachDivScalarList, 1, 1, 2, divide)                                                       \
    X(ForeachMulScalarList, 1, 1, 2, multiply)                                                     \
    X(ForeachLerpScalar, 2, 2, 3, lerp)                                                            \
    X(ForeachAddcmulScalarV2, 3, 3, 4, addcmul)                                                    \
    X(ForeachAddcdivScalarList, 3, 3, 4, addcdiv)                                                  \
    X(ForeachSqrt, 1, -1, 1, root)

#define FOREACH_DEFINE(name, lists, number, out, f)                                                \
    static const each each_##name = {lists, number, out, f};                                       \
    static aclnnStatus check_##name(emu_call *c)                                                   \
    {                                                                                              \
        return check_each(c, &each_##name);                                                        \
    }                                                                                              \
    static void run_##name(emu_call *c)                                                            \
    {                                                                                              \
        run_each(c, &each_##name);                                                                 \
    }
FOREACH_LIST(FOREACH_DEFINE)

/* ---- ForeachNorm(tensors, order, out): order 1 or 2 ---- */

static aclnnStatus check_norm(emu_call *c)
{
    const emu_arg *x = &c->arg[0], *p = &c->arg[1], *y = &c->arg[2];
    if (!p->n || !(p->d <= 1.0 && p->d >= 1.0) == !(p->d <= 2.0 && p->d >= 2.0))
        return emu_refuse(c, "an order other than 1 and 2");
    if (x->n != y->n) return emu_refuse(c, "the lists are not of one length");
    for (int k = 0; k < y->n; k++)
        if (emu_count(&y->tensor[k]) != 1) return emu_refuse(c, "a norm is one number");
    return 0;
}

static void run_norm(emu_call *c)
{
    for (int k = 0; k < c->arg[0].n; k++) {
        const emu_tensor *x = &c->arg[0].tensor[k];
        double sum = 0.0;
        for (int64_t i = 0, n = emu_count(x); i < n; i++) {
            const double v = emu_get(x, emu_place(x, 0, i));
            sum += c->arg[1].d > 1.5 ? v * v : fabs(v);
        }
        emu_put(c, &c->arg[2].tensor[k], 0, c->arg[1].d > 1.5 ? sqrt(sum) : sum);
    }
}

#define FOREACH_ROW(name, lists, number, out, f) {#name, check_##name, run_##name},
const emu_op emu_ops_foreach[] = {
    FOREACH_LIST(FOREACH_ROW){"ForeachNorm", check_norm, run_norm},
    {NULL, NULL, NULL},
};
