/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/ops_kernels.h - the kernels of all operators but matmul, per instruction set.
 *
 * Filled by ops.isa.c. Each kernel treats one row (or one run of elements) on one thread; rows are
 * f32, or bf16 where its `bf16` says so; arithmetic is f32. Outputs may be exactly the same address
 * as an input of the same position, never otherwise overlapping.
 * Floor: chips. */
#ifndef MZ_CHIPS_CPU_OPS_KERNELS_H
#define MZ_CHIPS_CPU_OPS_KERNELS_H

#include "chip/desc.h"
#include "chips/cpu/flash_kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mz_cpu_norm {
    const float *w; /* [D] */
    int64_t D;
    double eps;
    bool bf16;
} mz_cpu_norm;

typedef struct mz_cpu_rotation {
    int64_t K; /* even */
    bool interleaved, inverse, bf16;
} mz_cpu_rotation;

typedef struct mz_cpu_adamw_step {
    float grad_scale, decay; /* decay = 1 - lr weight_decay */
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float step_size;    /* lr / (1 - beta1^step) */
    float v_scale, eps; /* v_scale = 1 / (1 - beta2^step) */
    bool copy_bf16;     /* else the copy is f32 */
} mz_cpu_adamw_step;

/* y = fn(a, b) */
typedef struct mz_cpu_map {
    mz_elementwise_fn fn;
    float alpha;
    bool bf16;
} mz_cpu_map;

typedef struct mz_cpu_ops_table {
    int lanes; /* floats of one vector */
    const mz_cpu_flash_table *flash;
    /* y = x r w; returns r = 1 / sqrt(mean x^2 + eps) */
    float (*rmsnorm)(const mz_cpu_norm *n, void *y, const void *x);
    /* with g = dy w: dx = r (g - x r^2 mean(g x)), dw += dy x r */
    void (*rmsnorm_back)(const mz_cpu_norm *n, void *dx, float *dw, const void *dy, const void *x,
                         float r);
    /* one head of one token; cos, sin [K/2] */
    void (*rotate)(const mz_cpu_rotation *r, void *y, const void *x, const float *cos,
                   const float *sin);
    void (*swiglu)(void *y, const void *gate, const void *up, int64_t n, bool bf16);
    void (*swiglu_back)(void *dgate, void *dup, const void *dy, const void *gate, const void *up,
                        int64_t n, bool bf16);
    /* returns logsumexp - logit[target]; dlogits may be NULL. 0 <= target < V */
    float (*xent)(void *dlogits, const void *logits, int64_t V, int64_t target, float weight,
                  bool bf16);
    void (*adamw)(const mz_cpu_adamw_step *s, float *p, float *m, float *v, const float *g,
                  void *copy, int64_t n);
    double (*sumsq)(const void *x, int64_t n, bool bf16);
    int64_t (*not_finite)(const void *x, int64_t n, bool bf16);
    void (*cast)(void *y, bool y_bf16, const void *x, bool x_bf16, int64_t n);
    void (*map)(const mz_cpu_map *f, void *y, const void *a, const void *b, int64_t n);
    /* acc += x;  acc += w x;  y = w x;  sum a b */
    void (*add)(float *acc, const void *x, int64_t n, bool bf16);
    void (*add_scaled)(float *acc, const void *x, float w, int64_t n, bool bf16);
    void (*scale)(void *y, const void *x, float w, int64_t n, bool bf16);
    float (*dot)(const void *a, const void *b, int64_t n, bool bf16);
    /* w = mz_draw_weight of (l - max) inverse, each step rounded to f32 (base/draw.h) */
    void (*draw_weights)(uint32_t *w, const double *l, int64_t n, float max, float inverse);
} mz_cpu_ops_table;

#endif
