/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_conv.c - convolutions over one to three axes, transposed ones and their gradients,
 * and pools over two. Sums in double, rounded once. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>

/* ---- Convolution(x, weight, bias?, stride, padding, dilation, transposed, output padding, groups,
 * y, type), ConvolutionBackward(dy, x, weight, bias sizes, ..., groups, mask, type, dx, dw, db)
 * ----
 *
 * A convolution joins a large side, a small side and a weight [small channels, large channels of a
 * group, places]: the small side is the output, or the input where it is transposed. Each of the
 * three is a sum of products of the two others. */

enum { SPACE = 3, LARGE = 0, SMALL = 1, WEIGHT = 2 };

typedef struct conv {
    const emu_tensor *side[3]; /* as given: of them or of their gradients' shapes */
    int64_t n, channels[2], groups;
    int64_t large[SPACE], small[SPACE], kernel[SPACE], stride[SPACE], pad[SPACE], dilation[SPACE];
} conv;

static int64_t setting(const emu_arg *a, int axis, int64_t otherwise)
{
    return a->n == 0 ? otherwise : a->ints[a->n == 1 ? 0 : axis];
}

/* first: where the strides stand. False: shapes that do not go together. */
static bool conv_of(emu_call *c, int first, const emu_tensor *x, const emu_tensor *w,
                    const emu_tensor *y, conv *v)
{
    const emu_arg *a = &c->arg[first];
    const bool is_turned = a[3].i;
    const emu_tensor *large = is_turned ? y : x, *small = is_turned ? x : y;
    *v = (conv){.side = {large, small, w}, .n = x->rank ? x->dim[0] : 0, .groups = a[5].i};
    const int space = x->rank - 2;
    if (space < 1 || space > SPACE || y->rank != x->rank || w->rank != x->rank || v->groups < 1)
        return false;
    v->channels[LARGE] = large->dim[1];
    v->channels[SMALL] = small->dim[1];
    bool fits = y->dim[0] == v->n && w->dim[0] == v->channels[SMALL] &&
                w->dim[1] * v->groups == v->channels[LARGE] && v->channels[SMALL] % v->groups == 0;
    for (int i = 0; i < SPACE; i++) {
        const int own = i - (SPACE - space);
        v->large[i] = own < 0 ? 1 : large->dim[own + 2];
        v->small[i] = own < 0 ? 1 : small->dim[own + 2];
        v->kernel[i] = own < 0 ? 1 : w->dim[own + 2];
        v->stride[i] = own < 0 ? 1 : setting(&a[0], own, 1);
        v->pad[i] = own < 0 ? 0 : setting(&a[1], own, 0);
        v->dilation[i] = own < 0 ? 1 : setting(&a[2], own, 1);
        const int64_t more = is_turned && own >= 0 ? setting(&a[4], own, 0) : 0;
        const int64_t over =
            v->large[i] + 2 * v->pad[i] - v->dilation[i] * (v->kernel[i] - 1) - 1 - more;
        fits = fits && v->stride[i] > 0 && v->dilation[i] > 0 && over >= 0 &&
               v->small[i] == over / v->stride[i] + 1;
    }
    return fits;
}

/* What one of the three is made of: all places where a window meets the large side. */
static void join(const conv *v, double *side[3], int target)
{
    const int64_t per = v->channels[LARGE] / v->groups, own = v->channels[SMALL] / v->groups;
    const int64_t small = v->small[0] * v->small[1] * v->small[2],
                  places = v->kernel[0] * v->kernel[1] * v->kernel[2];
    const int64_t all = v->n * v->channels[SMALL] * small * per * places;
    for (int64_t e = 0; e < all; e++) {
        const int64_t k = e % places, i = e / places % per, s = e / places / per;
        const int64_t channel = s / small % v->channels[SMALL], n = s / small / v->channels[SMALL];
        int64_t rest_k = k, rest_s = s % small, at = 0, step = 1;
        bool is_inside = true;
        for (int d = SPACE - 1; d >= 0; d--) {
            const int64_t x = rest_s % v->small[d] * v->stride[d] - v->pad[d] +
                              rest_k % v->kernel[d] * v->dilation[d];
            rest_s /= v->small[d], rest_k /= v->kernel[d];
            is_inside = is_inside && x >= 0 && x < v->large[d];
            at += x * step;
            step *= v->large[d];
        }
        if (!is_inside) continue;
        const int64_t place[3] = {(n * v->channels[LARGE] + channel / own * per + i) * step + at, s,
                                  (channel * per + i) * places + k};
        const int a = target == LARGE ? SMALL : LARGE, b = target == WEIGHT ? SMALL : WEIGHT;
        side[target][place[target]] += side[a][place[a]] * side[b][place[b]];
    }
}

static double *dense(const emu_tensor *t, bool is_taken)
{
    const int64_t n = emu_count(t);
    double *v = calloc((size_t)(n + 1), sizeof *v);
    for (int64_t e = 0; v && is_taken && e < n; e++) v[e] = emu_get(t, emu_place(t, 0, e));
    return v;
}

/* Side `target` from the two others, into `out`; bias: one number more for each channel, or NULL.
 */
static void run_side(emu_call *c, const conv *v, const emu_tensor *const given[3], int target,
                     const emu_tensor *out, const emu_tensor *bias)
{
    double *side[3];
    for (int i = 0; i < 3; i++) side[i] = dense(i == target ? out : given[i], i != target);
    if (side[0] && side[1] && side[2]) join(v, side, target);
    int64_t each = 1;
    for (int i = 2; i < out->rank; i++) each *= out->dim[i];
    for (int64_t e = 0, n = emu_count(out); side[target] && e < n; e++) {
        const double b = bias ? emu_get(bias, emu_place(bias, 0, e / each % out->dim[1])) : 0.0;
        emu_put(c, out, emu_place(out, 0, e), side[target][e] + b);
    }
    for (int i = 0; i < 3; i++) free(side[i]);
}

static aclnnStatus check_conv(emu_call *c)
{
    static const int args[] = {0, 1, 9};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    conv v;
    const emu_tensor *x = emu_t(c, 0), *bias = emu_t(c, 2), *y = emu_t(c, 9);
    if (!conv_of(c, 3, x, emu_t(c, 1), y, &v))
        return emu_refuse(c, "the shapes do not go together");
    if (!emu_is_float(x->type) || x->type == EMU_DOUBLE || emu_t(c, 1)->type != x->type)
        return emu_refuse(c, "no floats, or of several types");
    return !bias || emu_count(bias) == y->dim[1]
               ? 0
               : emu_refuse(c, "there is not one bias for each channel");
}

static void run_conv(emu_call *c)
{
    conv v;
    const bool is_turned = c->arg[6].i;
    (void)conv_of(c, 3, emu_t(c, 0), emu_t(c, 1), emu_t(c, 9), &v);
    run_side(c, &v, v.side, is_turned ? LARGE : SMALL, emu_t(c, 9), emu_t(c, 2));
}

static aclnnStatus check_conv_back(emu_call *c)
{
    static const int args[] = {0, 1, 2};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    conv v;
    if (c->arg[10].n != 3) return emu_refuse(c, "the mask has not three switches");
    if (!conv_of(c, 4, emu_t(c, 1), emu_t(c, 2), emu_t(c, 0), &v))
        return emu_refuse(c, "the shapes do not go together");
    for (int i = 0; i < 2; i++)
        if (c->arg[10].ints[i] &&
            (!emu_t(c, 12 + i) || !emu_same_shape(emu_t(c, 12 + i), emu_t(c, 1 + i))))
            return emu_refuse(c, "a gradient is unlike what it is the gradient of");
    return !c->arg[10].ints[2] || (emu_t(c, 14) && emu_count(emu_t(c, 14)) == emu_t(c, 0)->dim[1])
               ? 0
               : emu_refuse(c, "there is not one bias for each channel");
}

static void run_conv_back(emu_call *c)
{
    conv v;
    const emu_tensor *dy = emu_t(c, 0), *x = emu_t(c, 1), *w = emu_t(c, 2), *db = emu_t(c, 14);
    const bool is_turned = c->arg[7].i;
    const int64_t *mask = c->arg[10].ints;
    (void)conv_of(c, 4, x, w, dy, &v);
    const emu_tensor *given[3] = {is_turned ? dy : x, is_turned ? x : dy, w};
    if (mask[0]) run_side(c, &v, given, is_turned ? SMALL : LARGE, emu_t(c, 12), NULL);
    if (mask[1]) run_side(c, &v, given, WEIGHT, emu_t(c, 13), NULL);
    int64_t each = 1;
    for (int i = 2; i < dy->rank; i++) each *= dy->dim[i];
    for (int64_t k = 0; mask[2] && k < dy->dim[1]; k++) {
        double sum = 0.0;
        for (int64_t n = 0; n < dy->dim[0]; n++)
            for (int64_t e = 0; e < each; e++)
                sum += emu_get(dy, emu_place(dy, 0, (n * dy->dim[1] + k) * each + e));
        emu_put(c, db, emu_place(db, 0, k), sum);
    }
}

/* ---- pools: MaxPool2dWithMask(x, kernel, stride, padding, dilation, up, y, mask), AvgPool2d(x,
 * kernel, stride, padding, up, pads count, divisor, y, type), AdaptiveAvgPool2d(x, size, y), and
 * their gradients (dy, x, ...). What the mask holds is the device's own: here it is not looked at.
 * ---- */

typedef struct pool {
    const emu_tensor *x, *y; /* y: the output, or what comes from above */
    const emu_arg *kernel, *stride, *pad, *dilation;
    bool is_max, is_adaptive, is_back, pads_count;
    int64_t divisor;
} pool;

static pool pool_of(emu_call *c)
{
    const char *name = c->op->name;
    pool p = {.is_max = name[0] == 'M',
              .is_adaptive = strncmp(name, "Ada", 3) == 0,
              .is_back = strstr(name, "Backward") != NULL};
    const int x = p.is_back ? 1 : 0, first = p.is_max && p.is_back ? 3 : x + 1;
    p.x = emu_t(c, x);
    p.y = emu_t(c, p.is_back ? 0 : p.is_max ? 6 : p.is_adaptive ? 2 : 8);
    if (p.is_adaptive) return p;
    p.kernel = &c->arg[first], p.stride = &c->arg[first + 1], p.pad = &c->arg[first + 2];
    if (p.is_max)
        p.dilation = &c->arg[first + 3];
    else
        p.pads_count = c->arg[first + 4].i, p.divisor = c->arg[first + 5].i;
    return p;
}

/* Where the window of output `at` begins and ends along an axis, pads too. */
static void window_of(const pool *p, int axis, int64_t at, int64_t w[2])
{
    const int64_t length = p->x->dim[p->x->rank - 2 + axis], out = p->y->dim[p->y->rank - 2 + axis];
    if (p->is_adaptive) {
        w[0] = at * length / out;
        w[1] = ((at + 1) * length + out - 1) / out;
        return;
    }
    const int64_t kernel = setting(p->kernel, axis, 1),
                  by = p->dilation ? setting(p->dilation, axis, 1) : 1;
    w[0] = at * setting(p->stride, axis, kernel) - setting(p->pad, axis, 0);
    w[1] = w[0] + (kernel - 1) * by + 1;
    const int64_t end = length + setting(p->pad, axis, 0);
    if (w[1] > end && !p->is_max) w[1] = end;
}

static aclnnStatus check_pool(emu_call *c)
{
    const pool p = pool_of(c);
    const int args[] = {0, p.is_back ? 1 : 0, c->n - 1};
    const aclnnStatus code = emu_want(c, args, p.is_back ? 3 : 1);
    if (code != 0) return code;
    if (!p.y || p.x->rank != p.y->rank || p.x->rank < 3 || p.x->type != p.y->type ||
        !emu_is_float(p.x->type))
        return emu_refuse(c, "the output has other axes or another type than self");
    for (int i = 0; i < p.x->rank - 2; i++)
        if (p.x->dim[i] != p.y->dim[i])
            return emu_refuse(c, "the output has another batch or other channels");
    return !p.is_back || emu_same_shape(emu_t(c, c->n - 1), p.x)
               ? 0
               : emu_refuse(c, "the gradient is unlike self");
}

/* One window of a plane: its number, or in `gradient` what goes back to its elements. */
static double pool_window(const pool *p, const int64_t w[2][2], int64_t plane, double *gradient,
                          double above)
{
    const int64_t H = p->x->dim[p->x->rank - 2], W = p->x->dim[p->x->rank - 1];
    const int64_t by[2] = {p->dilation ? setting(p->dilation, 0, 1) : 1,
                           p->dilation ? setting(p->dilation, 1, 1) : 1};
    double sum = 0.0, most = -HUGE_VAL;
    int64_t inside = 0, best = -1;
    for (int pass = 0; pass < 2; pass++) {
        const int64_t all = (w[0][1] - w[0][0]) * (w[1][1] - w[1][0]);
        const double n = (double)(p->divisor ? p->divisor : p->pads_count ? all : inside);
        for (int64_t y = w[0][0]; y < w[0][1]; y += by[0])
            for (int64_t x = w[1][0]; x < w[1][1]; x += by[1]) {
                if (y < 0 || y >= H || x < 0 || x >= W) continue;
                const int64_t e = plane * H * W + y * W + x;
                const double v = pass == 0 ? emu_get(p->x, emu_place(p->x, 0, e)) : 0.0;
                if (pass == 1 && gradient && !p->is_max) gradient[e] += above / n;
                if (pass == 1) continue;
                inside++;
                sum += v;
                if (best < 0 || v > most || isnan(v)) most = v, best = e;
            }
        if (pass == 1 && gradient && p->is_max && best >= 0) gradient[best] += above;
        if (pass == 1) return p->is_max ? most : sum / n;
    }
    return 0.0;
}

static void run_pool(emu_call *c)
{
    const pool p = pool_of(c);
    const int64_t H = p.y->dim[p.y->rank - 2], W = p.y->dim[p.y->rank - 1];
    double *gradient = p.is_back ? dense(p.x, false) : NULL;
    for (int64_t e = 0, n = emu_count(p.y); (gradient || !p.is_back) && e < n; e++) {
        int64_t w[2][2];
        window_of(&p, 0, e / W % H, w[0]);
        window_of(&p, 1, e % W, w[1]);
        const int64_t at = emu_place(p.y, 0, e);
        const double v = pool_window(&p, (const int64_t(*)[2])w, e / W / H, gradient,
                                     p.is_back ? emu_get(p.y, at) : 0.0);
        if (!p.is_back) emu_put(c, p.y, at, v);
    }
    const emu_tensor *dx = p.is_back ? emu_t(c, c->n - 1) : NULL;
    for (int64_t e = 0, n = dx ? emu_count(dx) : 0; gradient && e < n; e++)
        emu_put(c, dx, emu_place(dx, 0, e), gradient[e]);
    free(gradient);
}

const emu_op emu_ops_conv[] = {
    {"Convolution", check_conv, run_conv},
    {"ConvolutionBackward", check_conv_back, run_conv_back},
    {"MaxPool2dWithMask", check_pool, run_pool},
    {"MaxPool2dWithMaskBackward", check_pool, run_pool},
    {"AvgPool2d", check_pool, run_pool},
    {"AvgPool2dBackward", check_pool, run_pool},
    {"AdaptiveAvgPool2d", check_pool, run_pool},
    {"AdaptiveAvgPool2dBackward", check_pool, run_pool},
    {NULL, NULL, NULL},
};
