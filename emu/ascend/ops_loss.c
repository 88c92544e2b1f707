/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_loss.c - the cross entropy of rows of logits and its gradient, without z-loss. A
 * target that is no class, and not the one that is ignored, ends in a fault of the vector core. */
#include "ascend/ops.h"

#include <math.h>
#include <string.h>

/* ---- what both have ---- */

static bool is_mean(const emu_arg *reduction)
{
    return strcmp(reduction->text, "mean") == 0;
}

static bool is_each(const emu_arg *reduction)
{
    return strcmp(reduction->text, "none") == 0;
}

/* Rows [N,C] of a float type, targets [N], a weight for each class or none. */
static aclnnStatus check_rows(emu_call *c, const emu_tensor *x, const emu_tensor *target,
                              const emu_tensor *weight, const emu_arg *reduction)
{
    if (x->rank != 2 || !emu_is_float(x->type)) return emu_refuse(c, "no rows of floats");
    if (target->rank != 1 || target->dim[0] != x->dim[0] || target->type != EMU_INT64)
        return emu_refuse(c, "the target is not one INT64 for each row");
    if (weight && (weight->rank != 1 || weight->dim[0] != x->dim[1] || weight->type != EMU_FLOAT))
        return emu_refuse(c, "the weight is not one FLOAT for each class");
    if (!reduction->n) return emu_fail(EMU_NN_NULLPTR, "aclnn%s: no reduction", c->op->name);
    return is_mean(reduction) || is_each(reduction) || strcmp(reduction->text, "sum") == 0
               ? 0
               : emu_refuse(c, "the reduction is neither mean, sum nor none");
}

/* One number, or one a row where nothing is reduced. */
static bool is_loss(const emu_tensor *t, const emu_tensor *x, const emu_arg *reduction)
{
    const int64_t n = is_each(reduction) ? x->dim[0] : 1;
    return t->type == x->type && t->rank == 1 && t->dim[0] == n;
}

static aclnnStatus check_smoothing(const emu_call *c, double smoothing, double square)
{
    if (!(smoothing >= 0.0 && smoothing <= 1.0)) return emu_refuse(c, "labelSmoothing is not 0..1");
    return square < 0 || square > 0 ? emu_refuse(c, "lseSquareScaleForZloss is not supported") : 0;
}

/* The class of row t; -1: it is ignored, or none, which is a fault. */
static int64_t class_of(const emu_call *c, const emu_tensor *target, int64_t t, int64_t ignored,
                        int64_t n)
{
    const int64_t at = t * target->stride[0];
    if ((int64_t)emu_get(target, at) == ignored) return -1;
    if (emu_get(target, at) >= 0) return emu_index(c, target, at, n);
    emu_stream_fault(c->stream, EMU_RT_VECTOR_CORE_EXCEPTION, "aclnn%s: target %g of row %lld",
                     c->op->name, emu_get(target, at), (long long)t);
    return -1;
}

static double weight_of(const emu_tensor *weight, int64_t class)
{
    return weight ? emu_get(weight, class * weight->stride[0]) : 1.0;
}

/* The sum of the weights of the classes that count. */
static double all_weights(const emu_call *c, const emu_tensor *target, const emu_tensor *weight,
                          int64_t ignored, int64_t n)
{
    double sum = 0.0;
    for (int64_t t = 0; t < target->dim[0]; t++) {
        const int64_t class = class_of(c, target, t, ignored, n);
        if (class >= 0) sum += weight_of(weight, class);
    }
    return sum;
}

/* ---- CrossEntropyLoss(input, target, weight?, reduction, ignore, smoothing, square, z?, loss,
 * log_prob, zloss, lse) ---- */

static aclnnStatus check_loss(emu_call *c)
{
    static const int args[] = {0, 1, 8, 9, 10, 11};
    aclnnStatus code = emu_want(c, args, 6);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0);
    const emu_arg *reduction = &c->arg[3];
    code = check_rows(c, x, emu_t(c, 1), emu_t(c, 2), reduction);
    if (code == 0) code = check_smoothing(c, c->arg[5].d, c->arg[6].d);
    if (code != 0) return code;
    if (c->arg[7].i) return emu_refuse(c, "returnZloss is not supported");
    if (!is_loss(emu_t(c, 8), x, reduction)) return emu_refuse(c, "the loss has another shape");
    return emu_same(emu_t(c, 9), x) ? 0 : emu_refuse(c, "logProb is unlike the input");
}

/* log softmax of row t, rounded as it is stored; gives what is behind its sum. */
static void log_softmax(const emu_call *c, const emu_tensor *x, const emu_tensor *y, int64_t t)
{
    const int64_t n = x->dim[1], from = t * x->stride[0];
    double most = -HUGE_VAL, sum = 0.0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, emu_get(x, from + i * x->stride[1]));
    for (int64_t i = 0; i < n; i++) sum += exp(emu_get(x, from + i * x->stride[1]) - most);
    for (int64_t i = 0; i < n; i++)
        emu_put(c, y, t * y->stride[0] + i * y->stride[1],
                emu_get(x, from + i * x->stride[1]) - most - log(sum));
}

static double loss_of(const emu_tensor *log_prob, const emu_tensor *weight, int64_t t,
                      int64_t class, double smoothing)
{
    const int64_t n = log_prob->dim[1], row = t * log_prob->stride[0];
    const double own =
        -weight_of(weight, class) * emu_get(log_prob, row + class * log_prob->stride[1]);
    double all = 0.0;
    for (int64_t i = 0; smoothing > 0 && i < n; i++)
        all -= weight_of(weight, i) * emu_get(log_prob, row + i * log_prob->stride[1]);
    return (1.0 - smoothing) * own + smoothing / (double)n * all;
}

static void run_loss(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *target = emu_t(c, 1), *weight = emu_t(c, 2);
    const emu_tensor *loss = emu_t(c, 8), *log_prob = emu_t(c, 9);
    const int64_t ignored = c->arg[4].i, T = x->dim[0], n = x->dim[1];
    double sum = 0.0;
    for (int64_t t = 0; t < T; t++) {
        log_softmax(c, x, log_prob, t);
        const int64_t class = class_of(c, target, t, ignored, n);
        const double here = class < 0 ? 0.0 : loss_of(log_prob, weight, t, class, c->arg[5].d);
        sum += here;
        if (is_each(&c->arg[3])) emu_put(c, loss, t * loss->stride[0], here);
    }
    if (is_each(&c->arg[3])) return;
    emu_put(c, loss, 0,
            is_mean(&c->arg[3]) ? sum / all_weights(c, target, weight, ignored, n) : sum);
}

/* ---- CrossEntropyLossGrad(grad_loss, log_prob, target, weight?, grad_z?, lse?, reduction,
 * ignore, smoothing, square, out) ---- */

static aclnnStatus check_loss_grad(emu_call *c)
{
    static const int args[] = {0, 1, 2, 10};
    aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const emu_tensor *log_prob = emu_t(c, 1);
    const emu_arg *reduction = &c->arg[6];
    code = check_rows(c, log_prob, emu_t(c, 2), emu_t(c, 3), reduction);
    if (code == 0) code = check_smoothing(c, c->arg[8].d, c->arg[9].d);
    if (code != 0) return code;
    if (!is_loss(emu_t(c, 0), log_prob, reduction))
        return emu_refuse(c, "the loss's gradient has another shape");
    return emu_same(emu_t(c, 10), log_prob) ? 0 : emu_refuse(c, "the output is unlike logProb");
}

static void run_loss_grad(emu_call *c)
{
    const emu_tensor *grad = emu_t(c, 0), *log_prob = emu_t(c, 1), *target = emu_t(c, 2);
    const emu_tensor *weight = emu_t(c, 3), *y = emu_t(c, 10);
    const int64_t ignored = c->arg[7].i, n = y->dim[1];
    const double smoothing = c->arg[8].d;
    const double total = is_mean(&c->arg[6]) ? all_weights(c, target, weight, ignored, n) : 1.0;
    double everyone = 0.0;
    for (int64_t i = 0; i < n; i++) everyone += weight_of(weight, i);
    for (int64_t t = 0; t < y->dim[0]; t++) {
        const int64_t class = class_of(c, target, t, ignored, n);
        const double g = emu_get(grad, is_each(&c->arg[6]) ? t * grad->stride[0] : 0) / total;
        const double own = class < 0 ? 0.0 : (1.0 - smoothing) * weight_of(weight, class);
        const double each = class < 0 ? 0.0 : smoothing / (double)n;
        for (int64_t i = 0; i < n; i++) {
            const double p =
                exp(emu_get(log_prob, t * log_prob->stride[0] + i * log_prob->stride[1]));
            const double wanted = (i == class ? own : 0.0) + each * weight_of(weight, i);
            emu_put(c, y, t * y->stride[0] + i * y->stride[1],
                    g * (p * (own + each * everyone) - wanted));
        }
    }
}

const emu_op emu_ops_loss[] = {
    {"CrossEntropyLoss", check_loss, run_loss},
    {"CrossEntropyLossGrad", check_loss_grad, run_loss_grad},
    {NULL, NULL, NULL},
};
