/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_softmax.c - softmax and its logarithm over any axis, and their gradients: sums in
 * double, in order of the axis. */
#include "ascend/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

static int64_t rows_of(const emu_tensor *t, int axis)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= i == axis ? 1 : t->dim[i];
    return n;
}

/* Element 0 of a row. */
static unsigned char *row_at(const emu_tensor *t, int axis, int64_t row)
{
    int64_t at = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (i == axis) continue;
        at += row % t->dim[i] * t->stride[i];
        row /= t->dim[i];
    }
    return t->at + (size_t)at * emu_size_of(t->type);
}

static void load_row(double *to, const emu_tensor *t, int axis, int64_t row)
{
    emu_load(to, t->type, row_at(t, axis, row), t->stride[axis], t->dim[axis]);
}

static void store_row(const emu_call *c, const emu_tensor *t, int axis, int64_t row,
                      const double *from)
{
    emu_store(t->type, row_at(t, axis, row), t->stride[axis], from, t->dim[axis],
              c->device->overflow);
}

/* Room for n rows; NULL (and a fault) where there is no memory. */
static double *room(const emu_call *c, int64_t n, int64_t length)
{
    double *made = malloc((size_t)(n * length + 1) * sizeof *made);
    if (!made)
        emu_stream_fault(c->stream, EMU_RT_VECTOR_CORE_EXCEPTION, "aclnn%s: no host memory",
                         c->op->name);
    return made;
}

static bool same_shape(const emu_tensor *a, const emu_tensor *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

static aclnnStatus all_there(const emu_call *c)
{
    for (int i = 0; i < c->n; i++)
        if (strchr("TOSA", c->arg[i].kind) && !c->arg[i].object)
            return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name, i + 1);
    return 0;
}

static aclnnStatus refuse(const emu_call *c, const char *why)
{
    return emu_fail(EMU_NN_INVALID, "aclnn%s: %s", c->op->name, why);
}

/* ---- softmax ---- */

static int axis_of(const emu_tensor *t, int64_t dim)
{
    return (int)(dim < 0 ? dim + t->rank : dim);
}

/* `last`: where the output stands; the axis is before it. */
static aclnnStatus check_softmax(emu_call *c)
{
    const int last = c->n - 1;
    const aclnnStatus code = all_there(c);
    if (code != 0) return code;
    const emu_tensor *y = emu_t(c, last);
    const int64_t dim = c->arg[last - 1].i;
    if (dim < -y->rank || dim >= y->rank) return refuse(c, "there is no such axis");
    for (int i = 0; i < last - 1; i++)
        if (!same_shape(emu_t(c, i), y)) return refuse(c, "an input has another shape");
    return emu_is_float(y->type) ? 0 : refuse(c, "the output is no float");
}

static void forward(emu_call *c, bool is_log)
{
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 2);
    const int axis = axis_of(y, c->arg[1].i);
    const int64_t n = y->dim[axis];
    double *v = room(c, 1, n);
    for (int64_t r = 0; v && n > 0 && r < rows_of(y, axis); r++) {
        double most = -HUGE_VAL, sum = 0;
        load_row(v, x, axis, r);
        for (int64_t i = 0; i < n; i++) most = fmax(most, v[i]);
        for (int64_t i = 0; i < n; i++) {
            const double e = exp(v[i] - most);
            sum += e;
            if (!is_log) v[i] = e;
        }
        const double whole = is_log ? most + log(sum) : sum;
        for (int64_t i = 0; i < n; i++) v[i] = is_log ? v[i] - whole : v[i] / whole;
        store_row(c, y, axis, r, v);
    }
    free(v);
}

/* dx = p (dy - sum dy p), and of the logarithm dy - exp(y) sum dy. */
static void backward(emu_call *c, bool is_log)
{
    const emu_tensor *dy = emu_t(c, 0), *y = emu_t(c, 1), *dx = emu_t(c, 3);
    const int axis = axis_of(dx, c->arg[2].i);
    const int64_t n = dx->dim[axis];
    double *g = room(c, 2, n), *v = g + n;
    for (int64_t r = 0; g && n > 0 && r < rows_of(dx, axis); r++) {
        double sum = 0;
        load_row(g, dy, axis, r);
        load_row(v, y, axis, r);
        for (int64_t i = 0; i < n; i++) sum += is_log ? g[i] : g[i] * v[i];
        for (int64_t i = 0; i < n; i++)
            g[i] = is_log ? g[i] - exp(v[i]) * sum : v[i] * (g[i] - sum);
        store_row(c, dx, axis, r, g);
    }
    free(g);
}

static void run_softmax(emu_call *c)
{
    forward(c, false);
}

static void run_softmax_backward(emu_call *c)
{
    backward(c, false);
}

static void run_log_softmax(emu_call *c)
{
    forward(c, true);
}

static void run_log_softmax_backward(emu_call *c)
{
    backward(c, true);
}

const emu_op emu_ops_softmax[] = {
    {"Softmax", check_softmax, run_softmax},
    {"SoftmaxBackward", check_softmax, run_softmax_backward},
    {"LogSoftmax", check_softmax, run_log_softmax},
    {"LogSoftmaxBackward", check_softmax, run_log_softmax_backward},
    {NULL, NULL, NULL},
};
