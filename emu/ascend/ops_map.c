/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_map.c - operators that make each element of the output from one of each input;
 * inputs of fewer or shorter axes are spread as the documentation says.
 *
 * A piece of a row at a time, as doubles, rounded once at the end: in f32 that is what one rounding
 * of the exact result gives. */
#include "ascend/ops.h"

#include <math.h>
#include <string.h>

enum { PIECE = 256, INPUTS = 3 };

/* Where the inputs and the output of one operator stand among its arguments. */
typedef struct mapping {
    int n_in, in[INPUTS], out;
    void (*fn)(const emu_call *c, int64_t n, double *y, double (*x)[PIECE]);
} mapping;

/* ---- the loop ---- */

/* ---- types ---- */

static bool is_one_of(const emu_call *c, const char *const *names)
{
    while (*names && strcmp(*names, c->op->name) != 0) names++;
    return *names != NULL;
}

/* Two elements of what is written at one place. */
static bool laps_over(const emu_tensor *t)
{
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] > 1 && t->stride[i] == 0) return true;
    return false;
}

static aclnnStatus check_types(const emu_call *c, const mapping *m)
{
    static const char *const asks[] = {
        "LtScalar", "LtTensor",   "EqTensor",  "IsFinite",   "NeTensor", "GtTensor",
        "GeTensor", "LeTensor",   "EqScalar",  "NeScalar",   "GtScalar", "GeScalar",
        "LeScalar", "LogicalAnd", "LogicalOr", "LogicalNot", NULL};
    static const char *const curves[] = {"Silu", "SiluBackward", "Sigmoid", "SigmoidBackward",
                                         NULL};
    const emu_tensor *y = c->arg[m->out].tensor;
    if (laps_over(y)) return emu_refuse(c, "elements of the output lie at one place");
    if (is_one_of(c, asks) && y->type != EMU_BOOL) return emu_refuse(c, "the output is not BOOL");
    if (strcmp(c->op->name, "Cast") == 0 && c->arg[1].i != y->type)
        return emu_refuse(c, "the output is not of the type that is named");
    if (strcmp(c->op->name, "SWhere") == 0) {
        const int type = c->arg[0].tensor->type;
        return type == EMU_BOOL || type == EMU_UINT8 ? 0 : emu_refuse(c, "a condition not BOOL");
    }
    for (int i = 0; is_one_of(c, curves) && i < m->n_in; i++)
        if (c->arg[m->in[i]].tensor->type != y->type || !emu_is_float(y->type))
            return emu_refuse(c, "inputs and output are not of one float type");
    return 0;
}

static aclnnStatus check_map(const emu_call *c, const mapping *m)
{
    const emu_tensor *y = c->arg[m->out].tensor;
    int64_t stride[EMU_RANK];
    if (!c->arg[m->out].n)
        return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name, m->out + 1);
    for (int i = 0; i < m->n_in; i++) {
        const emu_arg *a = &c->arg[m->in[i]];
        if (!a->n)
            return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name,
                            m->in[i] + 1);
        if (a->tensor[0].type == EMU_DOUBLE)
            return emu_fail(EMU_NN_INVALID, "aclnn%s: argument %d is DOUBLE", c->op->name,
                            m->in[i] + 1);
        if (!emu_spread(&a->tensor[0], y, stride))
            return emu_fail(EMU_NN_INVALID,
                            "aclnn%s: argument %d does not spread to the output's shape",
                            c->op->name, m->in[i] + 1);
    }
    for (int i = 0; i < c->n; i++)
        if (c->arg[i].kind == 'S' && !c->arg[i].n && strcmp(c->op->name, "Clamp") != 0)
            return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name, i + 1);
    return check_types(c, m);
}

typedef struct walk {
    const mapping *map;
    emu_tensor *y, *in[INPUTS];
    int64_t stride[INPUTS][EMU_RANK];
} walk;

static void run_row(const emu_call *c, const walk *w, const int64_t at[INPUTS + 1])
{
    double x[INPUTS][PIECE], y[PIECE];
    const int last = w->y->rank - 1;
    const int64_t length = last < 0 ? 1 : w->y->dim[last];
    const int64_t step = last < 0 ? 1 : w->y->stride[last];
    for (int64_t j = 0; j < length; j += PIECE) {
        const int64_t n = length - j < PIECE ? length - j : PIECE;
        for (int i = 0; i < w->map->n_in; i++) {
            const int64_t s = last < 0 ? 0 : w->stride[i][last];
            const size_t size = emu_size_of(w->in[i]->type);
            emu_load(x[i], w->in[i]->type, w->in[i]->at + (size_t)(at[i] + j * s) * size, s, n);
        }
        w->map->fn(c, n, y, x);
        const size_t size = emu_size_of(w->y->type);
        emu_store(w->y->type, w->y->at + (size_t)(at[INPUTS] + j * step) * size, step, y, n,
                  c->device->overflow);
    }
}

static void run_map(emu_call *c, const mapping *m)
{
    walk w = {.map = m, .y = c->arg[m->out].tensor};
    if (emu_count(w.y) == 0) return;
    for (int i = 0; i < m->n_in; i++) {
        w.in[i] = c->arg[m->in[i]].tensor;
        (void)emu_spread(w.in[i], w.y, w.stride[i]);
    }
    int64_t index[EMU_RANK] = {0};
    for (bool more = true; more;) {
        int64_t at[INPUTS + 1] = {0};
        for (int d = 0; d < w.y->rank - 1; d++) {
            for (int i = 0; i < m->n_in; i++) at[i] += index[d] * w.stride[i][d];
            at[INPUTS] += index[d] * w.y->stride[d];
        }
        run_row(c, &w, at);
        int d = w.y->rank - 2;
        while (d >= 0 && ++index[d] == w.y->dim[d]) index[d--] = 0;
        more = d >= 0;
    }
}

/* ---- what they compute ---- */

#define EACH(name, expression)                                                                     \
    static void fn_##name(const emu_call *c, int64_t n, double *y, double(*x)[PIECE])              \
    {                                                                                              \
        (void)c, (void)x;                                                                          \
        for (int64_t i = 0; i < n; i++) y[i] = (expression);                                       \
    }
#define A x[0][i]
#define B x[1][i]
EACH(add, A + c->arg[2].d * B)
EACH(adds, A + c->arg[2].d * c->arg[1].d)
EACH(mul, A *B)
EACH(muls, A * c->arg[1].d)
EACH(div, A / B)
EACH(copy, A)
EACH(fill, c->arg[1].d)
EACH(zero, 0.0)
EACH(finite, isfinite(A) ? 1.0 : 0.0)
EACH(silu, A / (1.0 + exp(-A)))
EACH(sigmoid, 1.0 / (1.0 + exp(-A)))
EACH(sigmoid_backward, A *B *(1.0 - B))

EACH(less_scalar, A < c->arg[1].d ? 1.0 : 0.0)
EACH(less, A < B ? 1.0 : 0.0)
EACH(equal, A <= B && A >= B ? 1.0 : 0.0)
EACH(choose, A<0 || A> 0 ? B : x[2][i])

/* The adapter's. */
EACH(sub, A - c->arg[2].d * B)
EACH(subs, A - c->arg[2].d * c->arg[1].d)
EACH(rsubs, c->arg[1].d - c->arg[2].d * A)
EACH(divs, A / c->arg[1].d)
EACH(one, 1.0)
EACH(addcdiv, A + c->arg[3].d * B / x[2][i])
EACH(addcmul, A + c->arg[3].d * B * x[2][i])
EACH(neg, -A)
EACH(abs, fabs(A))
EACH(reciprocal, 1.0 / A)
EACH(sqrt, sqrt(A))
EACH(rsqrt, 1.0 / sqrt(A))
EACH(exp, exp(A))
EACH(log, log(A))
EACH(sin, sin(A))
EACH(cos, cos(A))
EACH(tanh, tanh(A))
EACH(relu, A < 0.0 ? 0.0 : A)
/* Either bound may be absent. */
EACH(clamp,
     c->arg[1].n &&A<c->arg[1].d ? c->arg[1].d : c->arg[2].n && A> c->arg[2].d ? c->arg[2].d : A)
EACH(power, pow(A, c->arg[1].d))
EACH(power_of, pow(c->arg[0].d, A))
EACH(larger, isnan(A) || A > B ? A : B)
EACH(smaller, isnan(A) || A < B ? A : B)
EACH(differs, A <= B && A >= B ? 0.0 : 1.0)
EACH(greater, A > B ? 1.0 : 0.0)
EACH(at_least, A >= B ? 1.0 : 0.0)
EACH(at_most, A <= B ? 1.0 : 0.0)
EACH(equal_scalar, A <= c->arg[1].d && A >= c->arg[1].d ? 1.0 : 0.0)
EACH(differs_scalar, A <= c->arg[1].d && A >= c->arg[1].d ? 0.0 : 1.0)
EACH(greater_scalar, A > c->arg[1].d ? 1.0 : 0.0)
EACH(at_least_scalar, A >= c->arg[1].d ? 1.0 : 0.0)
EACH(at_most_scalar, A <= c->arg[1].d ? 1.0 : 0.0)
EACH(both, (double)((int64_t)A &(int64_t)B))
EACH(either, (double)((int64_t)A | (int64_t)B))
EACH(round, rint(A))
EACH(floor, floor(A))
EACH(ceil, ceil(A))
EACH(logical_and, (A < 0.0 || A > 0.0) && (B < 0.0 || B > 0.0) ? 1.0 : 0.0)
EACH(logical_or, A<0.0 || A> 0.0 || B < 0.0 || B > 0.0 ? 1.0 : 0.0)
EACH(logical_not, A<0.0 || A> 0.0 ? 0.0 : 1.0)
EACH(both_scalar, (double)((int64_t)A & c->arg[1].i))
EACH(either_scalar, (double)((int64_t)A | c->arg[1].i))
EACH(lerp, A + c->arg[2].d * (B - A))
EACH(masked, B<0.0 || B> 0.0 ? c->arg[2].d : A)

static void fn_not(const emu_call *c, int64_t n, double *y, double (*x)[PIECE])
{
    const bool is_bool = c->arg[0].tensor->type == EMU_BOOL;
    for (int64_t i = 0; i < n; i++)
        y[i] = is_bool ? (A < 0.0 || A > 0.0 ? 0.0 : 1.0) : (double)~(int64_t)A;
}

/* 2 (self - target) of the gradient; of the mean (reduction 1) by the number of elements. */
static void fn_mse_backward(const emu_call *c, int64_t n, double *y, double (*x)[PIECE])
{
    const double by = c->arg[3].i == 1 ? (double)emu_count(c->arg[1].tensor) : 1.0;
    for (int64_t i = 0; i < n; i++) y[i] = A * 2.0 * (B - x[2][i]) / by;
}

static void fn_silu_backward(const emu_call *c, int64_t n, double *y, double (*x)[PIECE])
{
    (void)c;
    for (int64_t i = 0; i < n; i++) {
        const double s = 1.0 / (1.0 + exp(-B));
        y[i] = A * s * (1.0 + B * (1.0 - s));
    }
}

/* X(name, inputs, where they stand, where the output stands, function) */
#define MAP_LIST(X)                                                                                \
    X(Add, 2, 0, 1, 3, add)                                                                        \
    X(Adds, 1, 0, 0, 3, adds)                                                                      \
    X(InplaceAdd, 2, 0, 1, 0, add)                                                                 \
    X(InplaceAdds, 1, 0, 0, 0, adds)                                                               \
    X(Mul, 2, 0, 1, 2, mul)                                                                        \
    X(Muls, 1, 0, 0, 2, muls)                                                                      \
    X(Div, 2, 0, 1, 2, div)                                                                        \
    X(Cast, 1, 0, 0, 2, copy)                                                                      \
    X(InplaceCopy, 1, 1, 0, 0, copy)                                                               \
    X(InplaceFillScalar, 0, 0, 0, 0, fill)                                                         \
    X(InplaceZero, 0, 0, 0, 0, zero)                                                               \
    X(IsFinite, 1, 0, 0, 1, finite)                                                                \
    X(Silu, 1, 0, 0, 1, silu)                                                                      \
    X(SiluBackward, 2, 0, 1, 2, silu_backward)                                                     \
    X(Sigmoid, 1, 0, 0, 1, sigmoid)                                                                \
    X(SigmoidBackward, 2, 0, 1, 2, sigmoid_backward)                                               \
    X(LtScalar, 1, 0, 0, 2, less_scalar)                                                           \
    X(LtTensor, 2, 0, 1, 2, less)                                                                  \
    X(EqTensor, 2, 0, 1, 2, equal)                                                                 \
    X(SWhere, 3, 0, 1, 3, choose)                                                                  \
    X(Sub, 2, 0, 1, 3, sub)                                                                        \
    X(Subs, 1, 0, 0, 3, subs)                                                                      \
    X(Rsubs, 1, 0, 0, 3, rsubs)                                                                    \
    X(Divs, 1, 0, 0, 2, divs)                                                                      \
    X(InplaceMul, 2, 0, 1, 0, mul)                                                                 \
    X(InplaceMuls, 1, 0, 0, 0, muls)                                                               \
    X(InplaceOne, 0, 0, 0, 0, one)                                                                 \
    X(InplaceAddcdiv, 3, 0, 1, 0, addcdiv)                                                         \
    X(InplaceAddcmul, 3, 0, 1, 0, addcmul)                                                         \
    X(Neg, 1, 0, 0, 1, neg)                                                                        \
    X(Abs, 1, 0, 0, 1, abs)                                                                        \
    X(Reciprocal, 1, 0, 0, 1, reciprocal)                                                          \
    X(Sqrt, 1, 0, 0, 1, sqrt)                                                                      \
    X(Rsqrt, 1, 0, 0, 1, rsqrt)                                                                    \
    X(Exp, 1, 0, 0, 1, exp)                                                                        \
    X(Log, 1, 0, 0, 1, log)                                                                        \
    X(Sin, 1, 0, 0, 1, sin)                                                                        \
    X(Cos, 1, 0, 0, 1, cos)                                                                        \
    X(Tanh, 1, 0, 0, 1, tanh)                                                                      \
    X(Relu, 1, 0, 0, 1, relu)                                                                      \
    X(Clamp, 1, 0, 0, 3, clamp)                                                                    \
    X(PowTensorScalar, 1, 0, 0, 2, power)                                                          \
    X(PowScalarTensor, 1, 1, 0, 2, power_of)                                                       \
    X(Maximum, 2, 0, 1, 2, larger)                                                                 \
    X(Minimum, 2, 0, 1, 2, smaller)                                                                \
    X(NeTensor, 2, 0, 1, 2, differs)                                                               \
    X(GtTensor, 2, 0, 1, 2, greater)                                                               \
    X(GeTensor, 2, 0, 1, 2, at_least)                                                              \
    X(LeTensor, 2, 0, 1, 2, at_most)                                                               \
    X(EqScalar, 1, 0, 0, 2, equal_scalar)                                                          \
    X(NeScalar, 1, 0, 0, 2, differs_scalar)                                                        \
    X(GtScalar, 1, 0, 0, 2, greater_scalar)                                                        \
    X(GeScalar, 1, 0, 0, 2, at_least_scalar)                                                       \
    X(LeScalar, 1, 0, 0, 2, at_most_scalar)                                                        \
    X(BitwiseAndTensor, 2, 0, 1, 2, both)                                                          \
    X(BitwiseOrTensor, 2, 0, 1, 2, either)                                                         \
    X(BitwiseNot, 1, 0, 0, 1, not )                                                                \
    X(InplaceMaskedFillScalar, 2, 0, 1, 0, masked)                                                 \
    X(Round, 1, 0, 0, 1, round)                                                                    \
    X(Floor, 1, 0, 0, 1, floor)                                                                    \
    X(Ceil, 1, 0, 0, 1, ceil)                                                                      \
    X(LogicalAnd, 2, 0, 1, 2, logical_and)                                                         \
    X(LogicalOr, 2, 0, 1, 2, logical_or)                                                           \
    X(LogicalNot, 1, 0, 0, 1, logical_not)                                                         \
    X(BitwiseAndScalar, 1, 0, 0, 2, both_scalar)                                                   \
    X(BitwiseOrScalar, 1, 0, 0, 2, either_scalar)                                                  \
    X(Lerps, 2, 0, 1, 3, lerp)                                                                     \
    X(InplaceLerps, 2, 0, 1, 0, lerp)                                                              \
    X(InplaceFillTensor, 1, 1, 0, 0, copy)                                                         \
    X(MseLossBackward, 3, 0, 1, 4, mse_backward)

#define MAP_DEFINE(name, n, i0, i1, o, f)                                                          \
    static const mapping map_##name = {n, {i0, i1, 2}, o, fn_##f};                                 \
    static aclnnStatus check_##name(emu_call *c)                                                   \
    {                                                                                              \
        return check_map(c, &map_##name);                                                          \
    }                                                                                              \
    static void run_##name(emu_call *c)                                                            \
    {                                                                                              \
        run_map(c, &map_##name);                                                                   \
    }
MAP_LIST(MAP_DEFINE)

#define MAP_ROW(name, n, i0, i1, o, f) {#name, check_##name, run_##name},
const emu_op emu_ops_map[] = {MAP_LIST(MAP_ROW){NULL, NULL, NULL}};
