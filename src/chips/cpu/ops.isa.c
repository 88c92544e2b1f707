/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/ops.isa.c - row kernels of all operators but matmul and attention.
 *
 * Each body is written once for both storage types and inlined twice, with `bf16` a constant. Sums
 * run over a few vectors of lanes, so that a sum of n terms rounds about n / (4 lanes) times; sums
 * over a whole vocabulary or parameter go on in double.
 * Sources: Zhang & Sennrich 2019, arXiv:1910.07467 (rmsnorm); Su et al. 2021, arXiv:2104.09864
 * (rope); Shazeer 2020, arXiv:2002.05202 (swiglu); Loshchilov & Hutter 2019, arXiv:1711.05101. */
#include "base/draw.h"
#include "chips/cpu/kernels.h"
#include "chips/cpu/lanes.h"

#include <math.h>

extern const mz_cpu_flash_table MZ_CPU_TABLE(mz_cpu_flash);

enum { UNROLL = 4, STEP = UNROLL * VL, BLOCK = 4096 };

/* ---- sums ---- */

/* sum a b, or sum a w b with f32 weights w. */
MZ_INLINE vf products(const void *a, const void *b, const float *w, int64_t n, bool bf16)
{
    vf acc[UNROLL] = {{0}};
    int64_t i = 0;
    for (; i + STEP <= n; i += STEP)
        for (int u = 0; u < UNROLL; u++) {
            vf x = vf_get(a, i + u * VL, VL, bf16);
            if (w) x *= vf_load(w + i + u * VL);
            acc[u] = vf_fma(x, vf_get(b, i + u * VL, VL, bf16), acc[u]);
        }
    for (; i < n; i += VL) {
        vf x = vf_get(a, i, n - i, bf16);
        if (w) x *= vf_get(w, i, n - i, false);
        acc[0] = vf_fma(x, vf_get(b, i, n - i, bf16), acc[0]);
    }
    return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

static float dot(const void *a, const void *b, int64_t n, bool bf16)
{
    return vf_sum(bf16 ? products(a, b, NULL, n, true) : products(a, b, NULL, n, false));
}

/* x^2 in double: exact, and nothing overflows. */
MZ_INLINE double squares(const void *x, int64_t n, bool bf16)
{
    vd low = {0}, high = {0};
    for (int64_t i = 0; i < n; i += VL) {
        vd a, b;
        vf_to_double(vf_get(x, i, n - i, bf16), &a, &b);
        low += a * a;
        high += b * b;
    }
    return vd_sum(low + high);
}

static double sumsq(const void *x, int64_t n, bool bf16)
{
    return bf16 ? squares(x, n, true) : squares(x, n, false);
}

/* Counts elements whose exponent is all ones. Lanes count in int32, so a block is not longer than
 * that can hold. */
MZ_INLINE int64_t all_ones(const void *x, int64_t n, bool bf16)
{
    int64_t sum = 0;
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t to = n - from > BLOCK ? from + BLOCK : n;
        vi count = {0};
        for (int64_t i = from; i < to; i += VL) {
            const vi bits = (vi)vf_get(x, i, to - i, bf16);
            count -= (bits & 0x7fffffff) > 0x7f7fffff;
        }
        for (int i = 0; i < VL; i++) sum += count[i];
    }
    return sum;
}

static int64_t not_finite(const void *x, int64_t n, bool bf16)
{
    return bf16 ? all_ones(x, n, true) : all_ones(x, n, false);
}

/* ---- rmsnorm ---- */

MZ_INLINE float norm(const mz_cpu_norm *k, void *y, const void *x, bool bf16)
{
    const float ss = vf_sum(products(x, x, NULL, k->D, bf16));
    const float r = (float)(1.0 / sqrt((double)ss / (double)k->D + k->eps));
    for (int64_t i = 0; i < k->D; i += VL) {
        const int64_t n = k->D - i;
        vf_put(y, i, n, vf_get(x, i, n, bf16) * r * vf_get(k->w, i, n, false), bf16);
    }
    return r;
}

static float rmsnorm(const mz_cpu_norm *k, void *y, const void *x)
{
    return k->bf16 ? norm(k, y, x, true) : norm(k, y, x, false);
}

/* dx may be dy, so dw takes its share before dx is stored. */
MZ_INLINE void norm_back(const mz_cpu_norm *k, void *dx, float *dw, const void *dy, const void *x,
                         float r, bool bf16)
{
    const float gx = vf_sum(products(dy, x, k->w, k->D, bf16));
    const float c = (float)((double)gx * (double)r * (double)r / (double)k->D);
    for (int64_t i = 0; i < k->D; i += VL) {
        const int64_t n = k->D - i;
        const vf d = vf_get(dy, i, n, bf16), v = vf_get(x, i, n, bf16);
        vf_put(dw, i, n, vf_fma(d * v, vf_set(r), vf_get(dw, i, n, false)), false);
        vf_put(dx, i, n, r * (d * vf_get(k->w, i, n, false) - c * v), bf16);
    }
}

static void rmsnorm_back(const mz_cpu_norm *k, void *dx, float *dw, const void *dy, const void *x,
                         float r)
{
    if (k->bf16)
        norm_back(k, dx, dw, dy, x, r, true);
    else
        norm_back(k, dx, dw, dy, x, r, false);
}

/* ---- rope ---- */

/* (a, b) turned by the angle: (a c - b s, b c + a s). */
MZ_INLINE void turn_halves(const mz_cpu_rotation *k, void *y, const void *x, const float *cos,
                           const float *sin, bool bf16)
{
    const int64_t half = k->K / 2;
    for (int64_t i = 0; i < half; i += VL) {
        const int64_t n = half - i;
        const vf a = vf_get(x, i, n, bf16), b = vf_get(x, half + i, n, bf16);
        const vf c = vf_get(cos, i, n, false);
        const vf s = k->inverse ? -vf_get(sin, i, n, false) : vf_get(sin, i, n, false);
        vf_put(y, i, n, a * c - b * s, bf16);
        vf_put(y, half + i, n, b * c + a * s, bf16);
    }
}

MZ_INLINE void turn_neighbours(const mz_cpu_rotation *k, void *y, const void *x, const float *cos,
                               const float *sin, bool bf16)
{
    const int64_t half = k->K / 2;
    for (int64_t i = 0; i < half; i += VL) {
        const int64_t n = half - i, low = 2 * n, high = 2 * n > VL ? 2 * n - VL : 0;
        const vf first = vf_get(x, 2 * i, low, bf16);
        const vf second = high ? vf_get(x, 2 * i + VL, high, bf16) : (vf){0};
        const vf a = vf_even(first, second), b = vf_odd(first, second);
        const vf c = vf_get(cos, i, n, false);
        const vf s = k->inverse ? -vf_get(sin, i, n, false) : vf_get(sin, i, n, false);
        const vf p = a * c - b * s, q = b * c + a * s;
        vf_put(y, 2 * i, low, vf_zip_low(p, q), bf16);
        if (high) vf_put(y, 2 * i + VL, high, vf_zip_high(p, q), bf16);
    }
}

static void rotate(const mz_cpu_rotation *k, void *y, const void *x, const float *cos,
                   const float *sin)
{
    if (k->interleaved && k->bf16)
        turn_neighbours(k, y, x, cos, sin, true);
    else if (k->interleaved)
        turn_neighbours(k, y, x, cos, sin, false);
    else if (k->bf16)
        turn_halves(k, y, x, cos, sin, true);
    else
        turn_halves(k, y, x, cos, sin, false);
}

/* ---- swiglu ---- */

/* Elements i .. i+n-1, at most a vector; the loops below know where it is a whole one. */
MZ_INLINE void gate_some(void *y, const void *gate, const void *up, int64_t i, int64_t n, bool bf16)
{
    const vf g = vf_get(gate, i, n, bf16);
    vf_put(y, i, n, g / (1.0f + vf_exp(-g)) * vf_get(up, i, n, bf16), bf16);
}

MZ_INLINE void gated(void *y, const void *gate, const void *up, int64_t N, bool bf16)
{
    int64_t i = 0;
    for (; i + VL <= N; i += VL) gate_some(y, gate, up, i, VL, bf16);
    if (i < N) gate_some(y, gate, up, i, N - i, bf16);
}

static void swiglu(void *y, const void *gate, const void *up, int64_t n, bool bf16)
{
    if (bf16)
        gated(y, gate, up, n, true);
    else
        gated(y, gate, up, n, false);
}

/* silu' = s (1 + g (1 - s)) with s = sigmoid(g) */
typedef struct gating {
    void *dgate, *dup;
    const void *dy, *gate, *up;
} gating;

MZ_INLINE void gate_some_back(const gating *x, int64_t i, int64_t n, bool bf16)
{
    const vf g = vf_get(x->gate, i, n, bf16), u = vf_get(x->up, i, n, bf16);
    const vf d = vf_get(x->dy, i, n, bf16), s = vf_sigmoid(g);
    vf_put(x->dgate, i, n, d * u * (s * vf_fma(g, 1.0f - s, vf_set(1.0f))), bf16);
    vf_put(x->dup, i, n, d * (g * s), bf16);
}

MZ_INLINE void gated_back(const gating *x, int64_t N, bool bf16)
{
    int64_t i = 0;
    for (; i + VL <= N; i += VL) gate_some_back(x, i, VL, bf16);
    if (i < N) gate_some_back(x, i, N - i, bf16);
}

static void swiglu_back(void *dgate, void *dup, const void *dy, const void *gate, const void *up,
                        int64_t n, bool bf16)
{
    const gating x = {dgate, dup, dy, gate, up};
    if (bf16)
        gated_back(&x, n, true);
    else
        gated_back(&x, n, false);
}

/* ---- cross entropy ---- */

MZ_INLINE float row_max(const void *x, int64_t n, bool bf16)
{
    vf top[UNROLL];
    int64_t i = 0;
    for (int u = 0; u < UNROLL; u++) top[u] = vf_set(-__builtin_inff());
    for (; i + STEP <= n; i += STEP)
        for (int u = 0; u < UNROLL; u++) top[u] = vf_max(vf_get(x, i + u * VL, VL, bf16), top[u]);
    for (; i < n; i += VL)
        top[0] = vf_max(vf_keep(vf_get(x, i, n - i, bf16), n - i, -__builtin_inff()), top[0]);
    return vf_top(vf_max(vf_max(top[0], top[1]), vf_max(top[2], top[3])));
}

/* sum exp(x - top), block by block in double. The powers stay in `kept` [n], which may be x, or
 * NULL. */
MZ_INLINE double sum_exp(float *kept, const void *x, int64_t n, float top, bool bf16)
{
    double sum = 0.0;
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t to = n - from > BLOCK ? from + BLOCK : n;
        vf acc = {0};
        int64_t i = from;
        for (; i + VL <= to; i += VL) {
            const vf e = vf_exp(vf_get(x, i, VL, bf16) - top);
            acc += e;
            if (kept) vf_store(kept + i, e);
        }
        if (i < to) {
            const vf e = vf_exp(vf_get(x, i, to - i, bf16) - top);
            acc += vf_keep(e, to - i, 0.0f);
            if (kept) vf_put(kept, i, to - i, e, false);
        }
        sum += (double)vf_sum(acc);
    }
    return sum;
}

/* The gradient needs the powers once more: in f32 they lie where it will be. */
MZ_INLINE float xent_row(void *dx, const void *x, int64_t V, int64_t target, float weight,
                         bool bf16)
{
    const float top = row_max(x, V, bf16), hit = vf_at(x, target, bf16);
    const double sum = !dx || bf16 ? sum_exp(NULL, x, V, top, bf16) : sum_exp(dx, x, V, top, false);
    if (dx) {
        const float scale = (float)((double)weight / sum);
        const float p = (float)(exp((double)hit - (double)top) / sum);
        for (int64_t i = 0; i < V; i += VL) {
            const vf e =
                bf16 ? vf_exp(vf_get(x, i, V - i, true) - top) : vf_get(dx, i, V - i, false);
            vf_put(dx, i, V - i, e * scale, bf16);
        }
        vf_put(dx, target, 1, vf_set(weight * (p - 1.0f)), bf16);
    }
    return (float)(log(sum) + ((double)top - (double)hit));
}

static float xent(void *dlogits, const void *logits, int64_t V, int64_t target, float weight,
                  bool bf16)
{
    return bf16 ? xent_row(dlogits, logits, V, target, weight, true)
                : xent_row(dlogits, logits, V, target, weight, false);
}

/* ---- adamw ---- */

static void adamw(const mz_cpu_adamw_step *k, float *p, float *m, float *v, const float *g,
                  void *copy, int64_t N)
{
    for (int64_t i = 0; i < N; i += VL) {
        const int64_t n = N - i;
        const vf d = vf_get(g, i, n, false) * k->grad_scale;
        const vf m1 = k->beta1 * vf_get(m, i, n, false) + k->one_minus_beta1 * d;
        const vf v1 = k->beta2 * vf_get(v, i, n, false) + k->one_minus_beta2 * d * d;
        const vf step = k->step_size * m1 / (vf_sqrt(v1 * k->v_scale) + k->eps);
        const vf p1 = vf_get(p, i, n, false) * k->decay - step;
        vf_put(m, i, n, m1, false);
        vf_put(v, i, n, v1, false);
        vf_put(p, i, n, p1, false);
        if (copy && k->copy_bf16)
            vf_put(copy, i, n, p1, true);
        else if (copy)
            vf_put(copy, i, n, p1, false);
    }
}

/* ---- element by element ---- */

MZ_INLINE void cast_row(void *y, bool y_bf16, const void *x, bool x_bf16, int64_t N)
{
    int64_t i = 0;
    for (; i + VL <= N; i += VL) vf_put(y, i, VL, vf_get(x, i, VL, x_bf16), y_bf16);
    if (i < N) vf_put(y, i, N - i, vf_get(x, i, N - i, x_bf16), y_bf16);
}

static void cast(void *y, bool y_bf16, const void *x, bool x_bf16, int64_t N)
{
    if (y_bf16 && x_bf16)
        cast_row(y, true, x, true, N);
    else if (y_bf16)
        cast_row(y, true, x, false, N);
    else if (x_bf16)
        cast_row(y, false, x, true, N);
    else
        cast_row(y, false, x, false, N);
}

/* y = p + q, p q or p + alpha q, by the letter in the middle. */
MZ_INLINE vf combined(char how, vf p, vf q, vf alpha)
{
    return how == '+' ? p + q : how == '*' ? p * q : vf_fma(alpha, q, p);
}

MZ_INLINE void mapped(char how, void *y, const void *a, const void *b, vf alpha, int64_t N,
                      bool bf16)
{
    int64_t i = 0;
    for (; i + VL <= N; i += VL) {
        const vf q = b ? vf_get(b, i, VL, bf16) : alpha;
        vf_put(y, i, VL, combined(how, vf_get(a, i, VL, bf16), q, alpha), bf16);
    }
    if (i < N) {
        const vf q = b ? vf_get(b, i, N - i, bf16) : alpha;
        vf_put(y, i, N - i, combined(how, vf_get(a, i, N - i, bf16), q, alpha), bf16);
    }
}

MZ_INLINE void map_of(const mz_cpu_map *f, void *y, const void *a, const void *b, int64_t N,
                      bool bf16)
{
    const vf alpha = vf_set(f->alpha);
    switch (f->fn) {
    case MZ_EW_ADD:
        mapped('+', y, a, b, alpha, N, bf16);
        break;
    case MZ_EW_MUL:
        mapped('*', y, a, b, alpha, N, bf16);
        break;
    case MZ_EW_SCALE:
        mapped('*', y, a, NULL, alpha, N, bf16);
        break;
    case MZ_EW_AXPY:
        mapped('x', y, a, b, alpha, N, bf16);
        break;
    case MZ_EW_COPY:
    case MZ_EW_FILL:
    case MZ_EW_COUNT:
        for (int64_t i = 0; i < N; i += VL)
            vf_put(y, i, N - i, a ? vf_get(a, i, N - i, bf16) : alpha, bf16);
    }
}

static void map(const mz_cpu_map *f, void *y, const void *a, const void *b, int64_t n)
{
    if (f->bf16)
        map_of(f, y, a, b, n, true);
    else
        map_of(f, y, a, b, n, false);
}

MZ_INLINE void axpy(float *acc, const void *x, float w, int64_t N, bool bf16)
{
    for (int64_t i = 0; i < N; i += VL) {
        const int64_t n = N - i;
        const vf sum = vf_fma(vf_set(w), vf_get(x, i, n, bf16), vf_get(acc, i, n, false));
        vf_put(acc, i, n, sum, false);
    }
}

static void add_scaled(float *acc, const void *x, float w, int64_t n, bool bf16)
{
    if (bf16)
        axpy(acc, x, w, n, true);
    else
        axpy(acc, x, w, n, false);
}

static void add(float *acc, const void *x, int64_t n, bool bf16)
{
    add_scaled(acc, x, 1.0f, n, bf16); /* a product with 1 is exact */
}

static void scale(void *y, const void *x, float w, int64_t n, bool bf16)
{
    map(&(mz_cpu_map){.fn = MZ_EW_SCALE, .alpha = w, .bf16 = bf16}, y, x, NULL, n);
}

/* ---- drawing ---- */

/* Bit for bit mz_draw_weight: this file is compiled without fused products and sums. */
MZ_INLINE vu weights_of(vf d)
{
    static const float c[] = MZ_DRAW_POLY;
    const vf wide = d * vf_set(MZ_DRAW_LOG2E);
    const vi in = wide >= vf_set(-31.0f);
    const vf y = vf_pick(in, wide, vf_set(0.0f));
    const vf cut = __builtin_convertvector(__builtin_convertvector(y, vi), vf);
    const vf below = vf_pick(cut > y, cut - vf_set(1.0f), cut), f = y - below;
    vf p = vf_set(c[0]);
    for (int i = 1; i < 7; i++) p = p * f + vf_set(c[i]);
    const vu w = (vu) __builtin_convertvector(p * vf_set(0x1p30f), vi);
    return (w >> (vu) __builtin_convertvector(-below, vi)) & (vu)in;
}

static void draw_weights(uint32_t *w, const double *l, int64_t n, float max, float inverse)
{
    for (int64_t i = 0; i < n; i += VF_LANES) {
        const int64_t some = n - i < VF_LANES ? n - i : VF_LANES;
        float x[VF_LANES] = {0};
        if (some == VF_LANES)
            for (int j = 0; j < VF_LANES; j++) x[j] = (float)l[i + j];
        for (int64_t j = 0; j < some && some < VF_LANES; j++) x[j] = (float)l[i + j];
        const vu v = weights_of((vf_load(x) - vf_set(max)) * vf_set(inverse));
        memcpy(w + i, &v, (size_t)some * sizeof *w);
    }
}

const mz_cpu_ops_table MZ_CPU_TABLE(mz_cpu_ops) = {
    .lanes = VL,
    .flash = &MZ_CPU_TABLE(mz_cpu_flash),
    .rmsnorm = rmsnorm,
    .rmsnorm_back = rmsnorm_back,
    .rotate = rotate,
    .swiglu = swiglu,
    .swiglu_back = swiglu_back,
    .xent = xent,
    .adamw = adamw,
    .sumsq = sumsq,
    .not_finite = not_finite,
    .cast = cast,
    .map = map,
    .add = add,
    .add_scaled = add_scaled,
    .scale = scale,
    .dot = dot,
    .draw_weights = draw_weights,
};
