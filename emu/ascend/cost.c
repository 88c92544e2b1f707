/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/cost.c - the FLOP and bytes of each operator's call, from its shapes.
 *
 * Products of matrices run on the cube, all else on the vector units: so many FLOP for each element
 * of the largest tensor of the call, one where the table says nothing. Bytes are those of every
 * tensor, once: what an operator reads again comes from a cache. */
#include "ascend/book.h"

#include <string.h>

static const emu_tensor *tensor_of(const emu_call *c, int i)
{
    return i < c->n && c->arg[i].tensor && c->arg[i].n ? c->arg[i].tensor : NULL;
}

static double elements_of(const emu_tensor *t)
{
    return t ? (double)emu_count(t) : 0.0;
}

static double last_of(const emu_tensor *t, int back)
{
    return t && t->rank >= back ? (double)t->dim[t->rank - back] : 0.0;
}

/* 2 M N K for each of the batch: y is [..,M,N], a [..,M,K]. */
static double product(const emu_tensor *y, const emu_tensor *a)
{
    return 2.0 * elements_of(y) * last_of(a, 1);
}

/* Scores and their weighted sum: 2 products of queries with keys, and with values. In the layouts
 * BSND and BNSD the heads of a query and its places are all elements but the last axis; a key has
 * as many places as it has elements for one head and width. */
static double attention(const emu_tensor *q, const emu_tensor *k, const emu_tensor *v)
{
    const double wide = last_of(q, 1), rows = wide > 0 ? elements_of(q) / wide : 0.0;
    double keys = 0.0;
    if (k && k->rank == 4) keys = (double)(k->dim[1] > k->dim[2] ? k->dim[1] : k->dim[2]);
    if (k && k->rank == 3) keys = (double)k->dim[0]; /* TND: of all sequences, an upper bound */
    return 2.0 * rows * keys * (wide + last_of(v, 1));
}

/* Which arguments make the product of this operator; y -1: grouped, or attention. */
typedef struct product_row {
    const char *name;
    int y, a;
} product_row;

static const product_row PRODUCTS[] = {
    {"Matmul", 2, 0},       {"Mm", 2, 0},    {"BatchMatMul", 2, 0},
    {"InplaceAddmm", 0, 1}, {"Addmm", 5, 1}, {"Baddbmm", 6, 1},
};

static double cube_of(const emu_call *c)
{
    const char *name = c->op->name;
    for (size_t i = 0; i < sizeof PRODUCTS / sizeof *PRODUCTS; i++)
        if (strcmp(PRODUCTS[i].name, name) == 0)
            return product(tensor_of(c, PRODUCTS[i].y), tensor_of(c, PRODUCTS[i].a));
    if (strncmp(name, "GroupedMatmul", 13) == 0) { /* each row with the matrix of its group */
        const emu_tensor *x = tensor_of(c, 0), *y = tensor_of(c, c->n - 3);
        const emu_tensor *w = tensor_of(c, 1);
        return 2.0 * elements_of(x) * (y && last_of(y, 1) > 0 ? last_of(w, 1) : 0.0);
    }
    if (strcmp(name, "FlashAttentionScore") == 0 || strcmp(name, "FlashAttentionScoreV2") == 0)
        return attention(tensor_of(c, 0), tensor_of(c, 1), tensor_of(c, 2));
    if (strncmp(name, "FlashAttentionScoreGrad", 23) == 0) /* scores again, and four gradients */
        return 2.5 * attention(tensor_of(c, 0), tensor_of(c, 1), tensor_of(c, 2));
    return 0.0;
}

static double vector_of_element(const char *name)
{
    static const struct {
        const char *name;
        double flop;
    } rows[] = {{"Silu", 4},          {"SiluBackward", 8},    {"Sigmoid", 3},
                {"Softmax", 5},       {"RmsNorm", 4},         {"RmsNormGrad", 8},
                {"ApplyAdamWV2", 15}, {"LogSoftmax", 5},      {"SoftmaxBackward", 4},
                {"SwiGlu", 5},        {"SwiGluGrad", 10},     {"FlashAttentionScore", 5},
                {"InplaceZero", 0},   {"InplaceCopy", 0},     {"InplaceFillScalar", 0},
                {"IndexSelect", 0},   {"CrossEntropyLoss", 5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].name, name) == 0) return rows[i].flop;
    return 1.0;
}

void emu_cost_of(const emu_call *c, emu_cost *cost)
{
    double largest = 0.0;
    *cost = (emu_cost){.cube = cube_of(c)};
    for (int i = 0; i < c->n; i++)
        for (int k = 0; c->arg[i].tensor && k < c->arg[i].n; k++) {
            const emu_tensor *t = &c->arg[i].tensor[k];
            const double n = elements_of(t);
            cost->bytes += (int64_t)n * (int64_t)emu_size_of(t->type);
            if (n > largest) largest = n, cost->is_f32 = t->type == EMU_FLOAT;
        }
    if (!(cost->cube > 0.0)) cost->vector = largest * vector_of_element(c->op->name);
}
