/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_rows.c - sums over axes, rows by index, RMS norms, AdamW: computed in double,
 * rounded once. An index that is no row ends in a fault of the vector core. */
#include "ascend/state.h"

#include <math.h>

static double get(const emu_tensor *t, int64_t at)
{
    double x = 0.0;
    emu_load(&x, t->type, t->at + at * (int64_t)emu_size_of(t->type), 1, 1);
    return x;
}

static void put(const emu_call *c, const emu_tensor *t, int64_t at, double x)
{
    emu_store(t->type, t->at + at * (int64_t)emu_size_of(t->type), 1, &x, 1, c->device->overflow);
}

/* Where element `e`, counted row by row, of axes `from` .. stands. */
static int64_t place(const emu_tensor *t, int from, int64_t e)
{
    int64_t at = 0;
    for (int i = t->rank - 1; i >= from; i--) {
        at += e % t->dim[i] * t->stride[i];
        e /= t->dim[i];
    }
    return at;
}

static int64_t row_length(const emu_tensor *t)
{
    int64_t n = 1;
    for (int i = 1; i < t->rank; i++) n *= t->dim[i];
    return n;
}

static bool is_shape(const emu_tensor *t, const emu_tensor *like)
{
    if (t->rank != like->rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] != like->dim[i]) return false;
    return true;
}

static aclnnStatus unfit(const emu_call *c)
{
    return emu_fail(EMU_NN_INVALID, "aclnn%s: shapes or types do not fit together", c->op->name);
}

static bool has_all(emu_call *c, const int *args, int n)
{
    for (int i = 0; i < n; i++)
        if (!emu_t(c, args[i])) return false;
    return true;
}

static aclnnStatus absent(const emu_call *c)
{
    return emu_fail(EMU_NN_NULLPTR, "aclnn%s: a tensor is NULL", c->op->name);
}

/* ---- ReduceSum(self, dims, keep, type, out): one axis, which the result lacks or keeps as 1 ----
 */

static aclnnStatus check_sum(emu_call *c)
{
    static const int args[] = {0, 4};
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 4);
    if (!has_all(c, args, 2)) return absent(c);
    if (c->arg[1].n != 1)
        return emu_fail(EMU_NN_INVALID, "aclnnReduceSum: the emulated driver sums over one axis");
    const int64_t axis = c->arg[1].ints[0];
    if (axis < 0 || axis >= x->rank || y->type != c->arg[3].i) return unfit(c);
    if (y->rank != x->rank - (c->arg[2].i ? 0 : 1)) return unfit(c);
    for (int i = 0; i < x->rank; i++) {
        if (i == axis) continue;
        if (y->dim[i - (i > axis && !c->arg[2].i)] != x->dim[i]) return unfit(c);
    }
    return 0;
}

static void run_sum(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 4);
    const int axis = (int)c->arg[1].ints[0];
    emu_tensor rest = *x;
    rest.dim[axis] = 1;
    for (int64_t e = 0, n = emu_count(y); e < n; e++) {
        const int64_t at = place(&rest, 0, e);
        double sum = 0.0;
        for (int64_t i = 0; i < x->dim[axis]; i++) sum += get(x, at + i * x->stride[axis]);
        put(c, y, place(y, 0, e), sum);
    }
}

/* ---- IndexSelect(self, dim, index, out), IndexAdd(self, dim, index, source, alpha, out) ---- */

static bool is_index(const emu_tensor *t)
{
    return t->rank == 1 && (t->type == EMU_INT32 || t->type == EMU_INT64);
}

static bool are_rows(const emu_tensor *rows, const emu_tensor *index, const emu_tensor *of)
{
    if (rows->rank != of->rank || rows->rank < 1 || rows->type != of->type) return false;
    for (int i = 1; i < rows->rank; i++)
        if (rows->dim[i] != of->dim[i]) return false;
    return is_index(index) && index->dim[0] == rows->dim[0];
}

static aclnnStatus check_select(emu_call *c)
{
    static const int args[] = {0, 2, 3};
    if (!has_all(c, args, 3)) return absent(c);
    if (c->arg[1].i != 0)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: the emulated driver takes axis 0", c->op->name);
    return are_rows(emu_t(c, 3), emu_t(c, 2), emu_t(c, 0)) ? 0 : unfit(c);
}

/* The row that index i names, or -1 with a fault. */
static int64_t named_row(const emu_call *c, const emu_tensor *index, int64_t i, int64_t rows)
{
    const int64_t row = (int64_t)get(index, i * index->stride[0]);
    if (row >= 0 && row < rows) return row;
    emu_stream_fault(c->stream, EMU_RT_VECTOR_CORE_EXCEPTION, "aclnn%s: index %lld of %lld rows",
                     c->op->name, (long long)row, (long long)rows);
    return -1;
}

static void run_select(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2), *y = emu_t(c, 3);
    const int64_t length = row_length(y);
    for (int64_t i = 0; i < y->dim[0]; i++) {
        const int64_t row = named_row(c, index, i, x->dim[0]);
        for (int64_t j = 0; row >= 0 && j < length; j++)
            put(c, y, i * y->stride[0] + place(y, 1, j),
                get(x, row * x->stride[0] + place(x, 1, j)));
    }
}

static aclnnStatus check_add(emu_call *c)
{
    static const int args[] = {0, 2, 3, 5};
    if (!has_all(c, args, 4) || !c->arg[4].n) return absent(c);
    if (c->arg[1].i != 0)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: the emulated driver takes axis 0", c->op->name);
    if (!is_shape(emu_t(c, 0), emu_t(c, 5)) || emu_t(c, 0)->type != emu_t(c, 5)->type)
        return unfit(c);
    return are_rows(emu_t(c, 3), emu_t(c, 2), emu_t(c, 0)) ? 0 : unfit(c);
}

static void run_add(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *index = emu_t(c, 2), *rows = emu_t(c, 3), *y = emu_t(c, 5);
    const int64_t length = row_length(rows);
    for (int64_t e = 0, n = emu_count(y); e < n; e++)
        put(c, y, place(y, 0, e), get(x, place(x, 0, e)));
    for (int64_t i = 0; i < rows->dim[0]; i++) {
        const int64_t row = named_row(c, index, i, y->dim[0]);
        for (int64_t j = 0; row >= 0 && j < length; j++) {
            const int64_t at = row * y->stride[0] + place(y, 1, j);
            const double more = get(rows, i * rows->stride[0] + place(rows, 1, j));
            put(c, y, at, get(y, at) + c->arg[4].d * more);
        }
    }
}

/* ---- RmsNorm(x, gamma, eps, y, rstd), RmsNormGrad(dy, x, rstd, gamma, dx, dgamma) ---- */

static bool is_matrix_of(const emu_tensor *t, const emu_tensor *x)
{
    return is_shape(t, x) && t->type == x->type;
}

static bool is_gamma(const emu_tensor *gamma, const emu_tensor *x)
{
    return gamma->rank == 1 && gamma->dim[0] == x->dim[1] &&
           (gamma->type == EMU_FLOAT || gamma->type == x->type);
}

static bool is_rstd(const emu_tensor *rstd, const emu_tensor *x)
{
    return rstd->type == EMU_FLOAT && rstd->rank == 2 && rstd->dim[0] == x->dim[0] &&
           rstd->dim[1] == 1;
}

static aclnnStatus check_norm(emu_call *c)
{
    static const int args[] = {0, 1, 3, 4};
    const emu_tensor *x = emu_t(c, 0);
    if (!has_all(c, args, 4)) return absent(c);
    if (x->rank != 2)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: the emulated driver takes matrices", c->op->name);
    return is_matrix_of(emu_t(c, 3), x) && is_gamma(emu_t(c, 1), x) && is_rstd(emu_t(c, 4), x)
               ? 0
               : unfit(c);
}

static void run_norm(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *gamma = emu_t(c, 1), *y = emu_t(c, 3), *r = emu_t(c, 4);
    for (int64_t t = 0; t < x->dim[0]; t++) {
        double sum = 0.0;
        for (int64_t j = 0; j < x->dim[1]; j++) {
            const double v = get(x, t * x->stride[0] + j * x->stride[1]);
            sum += v * v;
        }
        const double rstd = 1.0 / sqrt(sum / (double)x->dim[1] + c->arg[2].d);
        put(c, r, t * r->stride[0], rstd);
        for (int64_t j = 0; j < x->dim[1]; j++)
            put(c, y, t * y->stride[0] + j * y->stride[1],
                get(x, t * x->stride[0] + j * x->stride[1]) * rstd *
                    get(gamma, j * gamma->stride[0]));
    }
}

static aclnnStatus check_norm_grad(emu_call *c)
{
    static const int args[] = {0, 1, 2, 3, 4, 5};
    const emu_tensor *x = emu_t(c, 1);
    if (!has_all(c, args, 6)) return absent(c);
    if (x->rank != 2)
        return emu_fail(EMU_NN_INVALID, "aclnn%s: the emulated driver takes matrices", c->op->name);
    const emu_tensor *dgamma = emu_t(c, 5);
    const bool fits = is_matrix_of(emu_t(c, 0), x) && is_matrix_of(emu_t(c, 4), x) &&
                      is_gamma(emu_t(c, 3), x) && is_rstd(emu_t(c, 2), x) && is_gamma(dgamma, x);
    return fits && dgamma->type == EMU_FLOAT ? 0 : unfit(c);
}

static void norm_grad_row(emu_call *c, int64_t t)
{
    const emu_tensor *dy = emu_t(c, 0), *x = emu_t(c, 1), *gamma = emu_t(c, 3), *dx = emu_t(c, 4);
    const double rstd = get(emu_t(c, 2), t * emu_t(c, 2)->stride[0]);
    double dot = 0.0;
    for (int64_t j = 0; j < x->dim[1]; j++)
        dot += get(dy, t * dy->stride[0] + j * dy->stride[1]) * get(gamma, j * gamma->stride[0]) *
               get(x, t * x->stride[0] + j * x->stride[1]);
    dot *= rstd * rstd / (double)x->dim[1];
    for (int64_t j = 0; j < x->dim[1]; j++) {
        const double v = get(x, t * x->stride[0] + j * x->stride[1]);
        const double d = get(dy, t * dy->stride[0] + j * dy->stride[1]);
        put(c, dx, t * dx->stride[0] + j * dx->stride[1],
            rstd * (d * get(gamma, j * gamma->stride[0]) - v * dot));
    }
}

static void run_norm_grad(emu_call *c)
{
    const emu_tensor *dy = emu_t(c, 0), *x = emu_t(c, 1), *r = emu_t(c, 2), *dgamma = emu_t(c, 5);
    for (int64_t j = 0; j < x->dim[1]; j++) { /* before dx, which may lie on dy */
        double sum = 0.0;
        for (int64_t t = 0; t < x->dim[0]; t++)
            sum += get(dy, t * dy->stride[0] + j * dy->stride[1]) *
                   get(x, t * x->stride[0] + j * x->stride[1]) * get(r, t * r->stride[0]);
        put(c, dgamma, j * dgamma->stride[0], sum);
    }
    for (int64_t t = 0; t < x->dim[0]; t++) norm_grad_row(c, t);
}

/* ---- ApplyAdamWV2(var, m, v, max?, grad, step, lr, beta1, beta2, decay, eps, amsgrad, maximize)
 */

static aclnnStatus check_adamw(emu_call *c)
{
    static const int args[] = {0, 1, 2, 4, 5};
    const emu_tensor *p = emu_t(c, 0);
    if (!has_all(c, args, 5)) return absent(c);
    if (c->arg[11].i || c->arg[12].i)
        return emu_fail(EMU_NN_INVALID, "aclnnApplyAdamWV2: the emulated driver has neither "
                                        "amsgrad nor maximize");
    const bool fits = is_matrix_of(emu_t(c, 1), p) && is_matrix_of(emu_t(c, 2), p) &&
                      is_matrix_of(emu_t(c, 4), p) && emu_count(emu_t(c, 5)) == 1;
    return fits ? 0 : unfit(c);
}

static void run_adamw(emu_call *c)
{
    const emu_tensor *p = emu_t(c, 0), *m = emu_t(c, 1), *v = emu_t(c, 2), *g = emu_t(c, 4);
    const double lr = c->arg[6].d, beta1 = c->arg[7].d, beta2 = c->arg[8].d,
                 step = get(emu_t(c, 5), 0);
    const double first = 1.0 - pow(beta1, step), second = 1.0 - pow(beta2, step);
    for (int64_t e = 0, n = emu_count(p); e < n; e++) {
        const double grad = get(g, place(g, 0, e));
        const double m1 = beta1 * get(m, place(m, 0, e)) + (1.0 - beta1) * grad;
        const double v1 = beta2 * get(v, place(v, 0, e)) + (1.0 - beta2) * grad * grad;
        const double old = get(p, place(p, 0, e)) * (1.0 - lr * c->arg[9].d);
        put(c, m, place(m, 0, e), m1);
        put(c, v, place(v, 0, e), v1);
        put(c, p, place(p, 0, e), old - lr * (m1 / first) / (sqrt(v1 / second) + c->arg[10].d));
    }
}

const emu_op emu_ops_rows[] = {
    {"ReduceSum", check_sum, run_sum},
    {"IndexSelect", check_select, run_select},
    {"IndexAdd", check_add, run_add},
    {"RmsNorm", check_norm, run_norm},
    {"RmsNormGrad", check_norm_grad, run_norm_grad},
    {"ApplyAdamWV2", check_adamw, run_adamw},
    {NULL, NULL, NULL},
};
