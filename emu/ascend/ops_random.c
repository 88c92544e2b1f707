/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_random.c - random numbers: each is made of the seed, the offset and its element's
 * number alone, so that a seed makes the same ones again. Which ones a chip makes is not
 * documented: these are others. Dropout by a mask of bits. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>

/* Scatters bits (the finaliser of splitmix64, used twice). */
static uint64_t scattered(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Number `draw` of element e; the seed stands at argument `seed`, the offset behind it. */
static uint64_t bits_of(const emu_call *c, int seed, int64_t e, int draw)
{
    const uint64_t at = (uint64_t)c->arg[seed].i + UINT64_C(0x9E3779B97F4A7C15) * (uint64_t)(e + 1);
    return scattered(scattered(at) + (uint64_t)c->arg[seed + 1].i * 2 + (uint64_t)draw);
}

static double unit(const emu_call *c, int seed, int64_t e, int draw) /* from 0 on, below 1 */
{
    return (double)(bits_of(c, seed, e, draw) >> 11) * 0x1p-53;
}

static double normal(const emu_call *c, int seed, int64_t e)
{
    const double far = sqrt(-2.0 * log(1.0 - unit(c, seed, e, 0)));
    return far * cos(2.0 * M_PI * unit(c, seed, e, 1));
}

/* ---- one number for each element ---- */

static aclnnStatus check_fill(emu_call *c)
{
    const bool is_in_place = strncmp(c->op->name, "Inplace", 7) == 0;
    const int args[] = {is_in_place ? 0 : c->n - 1};
    const aclnnStatus code = emu_want(c, args, 1);
    int64_t stride[EMU_RANK];
    if (code != 0) return code;
    const emu_tensor *y = emu_t(c, args[0]);
    for (int i = 0; i < c->n; i++) {
        if (c->arg[i].kind == 'T' && !c->arg[i].n)
            return emu_fail(EMU_NN_NULLPTR, "aclnn%s: argument %d is NULL", c->op->name, i + 1);
        if (c->arg[i].kind == 'T' && !emu_spread(c->arg[i].tensor, y, stride))
            return emu_refuse(c, "an argument does not spread to the output's shape");
        if (c->arg[i].kind == 'S' && !c->arg[i].n) return emu_refuse(c, "the number is missing");
    }
    if (strcmp(c->op->name, "InplaceRandom") == 0 && c->arg[1].i >= c->arg[2].i)
        return emu_refuse(c, "there is nothing between the bounds");
    return 0;
}

/* A parameter of element e: of a tensor, or a number. */
static double parameter(const emu_call *c, int i, const emu_tensor *y, int64_t e)
{
    if (c->arg[i].kind != 'T') return c->arg[i].d;
    return emu_get(c->arg[i].tensor, emu_spread_place(c->arg[i].tensor, y, e));
}

static void run_normal(emu_call *c)
{
    const int first = c->arg[0].kind == 'O' ? 1 : 0;
    const emu_tensor *y = emu_t(c, first ? 0 : c->n - 1);
    for (int64_t e = 0, n = emu_count(y); e < n; e++)
        emu_put(c, y, emu_place(y, 0, e),
                parameter(c, first, y, e) +
                    parameter(c, first + 1, y, e) * normal(c, first + 2, e));
}

static void run_uniform(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 0);
    const double low = c->arg[1].d, high = c->arg[2].d;
    for (int64_t e = 0, n = emu_count(y); e < n; e++) {
        double x = low + (high - low) * unit(c, 3, e, 0);
        emu_put(c, y, emu_place(y, 0, e), x);
        if (emu_get(y, emu_place(y, 0, e)) >= high &&
            high > low) /* rounded up to the end, which is none */
            emu_put(c, y, emu_place(y, 0, e), low);
    }
}

static void run_integers(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 0);
    const uint64_t span = (uint64_t)c->arg[2].i - (uint64_t)c->arg[1].i;
    for (int64_t e = 0, n = emu_count(y); e < n; e++) {
        const int64_t x = c->arg[1].i + (int64_t)(bits_of(c, 3, e, 0) % span);
        if (emu_is_float(y->type))
            emu_put(c, y, emu_place(y, 0, e), (double)x);
        else
            emu_store_whole(y->type, y->at + emu_place(y, 0, e) * (int64_t)emu_size_of(y->type), 1,
                            &x, 1);
    }
}

static void run_bernoulli(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 0);
    for (int64_t e = 0, n = emu_count(y); e < n; e++)
        emu_put(c, y, emu_place(y, 0, e), unit(c, 2, e, 0) < parameter(c, 1, y, e) ? 1.0 : 0.0);
}

/* ---- Randperm(n, seed, offset, out), Multinomial(self, samples, replacement, seed, offset, out)
 * ---- */

static aclnnStatus check_randperm(emu_call *c)
{
    static const int args[] = {3};
    const aclnnStatus code = emu_want(c, args, 1);
    if (code != 0) return code;
    return emu_t(c, 3)->rank == 1 && emu_t(c, 3)->dim[0] == c->arg[0].i
               ? 0
               : emu_refuse(c, "the output is no row of n");
}

static void run_randperm(emu_call *c)
{
    const emu_tensor *y = emu_t(c, 3);
    for (int64_t i = 0, n = y->dim[0]; i < n; i++) emu_put(c, y, i * y->stride[0], (double)i);
    for (int64_t i = y->dim[0] - 1; i > 0; i--) {
        const int64_t other = (int64_t)(bits_of(c, 1, i, 0) % (uint64_t)(i + 1));
        const double x = emu_get(y, i * y->stride[0]);
        emu_move(c, y, i * y->stride[0], y, other * y->stride[0]);
        emu_put(c, y, other * y->stride[0], x);
    }
}

static aclnnStatus check_multinomial(emu_call *c)
{
    static const int args[] = {0, 5};
    const aclnnStatus code = emu_want(c, args, 2);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *y = emu_t(c, 5);
    if (x->rank < 1 || x->rank > 2 || y->rank != x->rank || y->dim[y->rank - 1] != c->arg[1].i ||
        (x->rank == 2 && x->dim[0] != y->dim[0]) || y->type != EMU_INT64)
        return emu_refuse(c, "the output is not INT64 with so many samples for each row");
    return c->arg[2].i || c->arg[1].i <= x->dim[x->rank - 1]
               ? 0
               : emu_refuse(c, "more samples than there are elements, without replacement");
}

static void draw_row(emu_call *c, double *weight, int64_t n, int64_t row)
{
    const emu_tensor *y = emu_t(c, 5);
    for (int64_t s = 0, samples = c->arg[1].i; s < samples; s++) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) sum += weight[i];
        double left = unit(c, 3, row * samples + s, 0) * sum;
        int64_t found = -1;
        for (int64_t i = 0; i < n && (found < 0 || left >= 0.0); i++) {
            if (weight[i] <= 0.0) continue;
            found = i; /* the last that can be, where rounding leaves something */
            left -= weight[i];
        }
        emu_put(c, y, emu_place(y, 0, row * samples + s), (double)(found < 0 ? 0 : found));
        if (!c->arg[2].i && found >= 0) weight[found] = 0.0;
    }
}

static void run_multinomial(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0);
    const int64_t n = x->dim[x->rank - 1], rows = n ? emu_count(x) / n : 0;
    double *weight = malloc((size_t)(n + 1) * sizeof *weight);
    for (int64_t r = 0; weight && r < rows; r++) {
        for (int64_t i = 0; i < n; i++) weight[i] = emu_get(x, emu_place(x, 0, r * n + i));
        draw_row(c, weight, n, r);
    }
    free(weight);
}

/* ---- DropoutGenMaskV2(shape, p, seed, offset, type, mask): a bit for each element, 1 where it
 * stays. DropoutDoMask(self, mask, p, out) ---- */

static aclnnStatus check_mask(emu_call *c)
{
    const int args[] = {c->n - 1};
    const aclnnStatus code = emu_want(c, args, 1);
    int64_t n = 1;
    if (code != 0) return code;
    for (int i = 0; i < c->arg[0].n; i++) n *= c->arg[0].ints[i];
    const emu_tensor *mask = emu_t(c, c->n - 1);
    if (!(c->arg[1].d >= 0.0 && c->arg[1].d <= 1.0))
        return emu_refuse(c, "a probability not 0 to 1");
    return mask->type == EMU_UINT8 && emu_is_dense(mask) && emu_count(mask) * 8 >= n
               ? 0
               : emu_refuse(c, "the mask is not UINT8 with a bit for each element");
}

static void run_mask(emu_call *c)
{
    const emu_tensor *mask = emu_t(c, c->n - 1);
    for (int64_t e = 0, n = emu_count(mask) * 8; e < n; e++) {
        unsigned char *byte = &mask->at[e / 8];
        if (e % 8 == 0) *byte = 0;
        if (unit(c, 2, e, 0) >= c->arg[1].d) *byte |= (unsigned char)(1U << (e % 8));
    }
}

static aclnnStatus check_dropout(emu_call *c)
{
    static const int args[] = {0, 1, 3};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *mask = emu_t(c, 1);
    if (!(c->arg[2].d >= 0.0 && c->arg[2].d <= 1.0))
        return emu_refuse(c, "a probability not 0 to 1");
    if (!emu_same(x, emu_t(c, 3))) return emu_refuse(c, "the output is unlike self");
    return mask->type == EMU_UINT8 && emu_is_dense(mask) && emu_count(mask) * 8 >= emu_count(x)
               ? 0
               : emu_refuse(c, "the mask is not UINT8 with a bit for each element");
}

static void run_dropout(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *mask = emu_t(c, 1), *y = emu_t(c, 3);
    const double by = c->arg[2].d < 1.0 ? 1.0 / (1.0 - c->arg[2].d) : 0.0;
    for (int64_t e = 0, n = emu_count(x); e < n; e++) {
        const bool stays = mask->at[e / 8] >> (e % 8) & 1;
        emu_put(c, y, emu_place(y, 0, e), stays ? emu_get(x, emu_place(x, 0, e)) * by : 0.0);
    }
}

const emu_op emu_ops_random[] = {
    {"InplaceNormal", check_fill, run_normal},
    {"NormalTensorFloat", check_fill, run_normal},
    {"NormalFloatTensor", check_fill, run_normal},
    {"NormalTensorTensor", check_fill, run_normal},
    {"InplaceUniform", check_fill, run_uniform},
    {"InplaceRandom", check_fill, run_integers},
    {"InplaceBernoulli", check_fill, run_bernoulli},
    {"InplaceBernoulliTensor", check_fill, run_bernoulli},
    {"Randperm", check_randperm, run_randperm},
    {"Multinomial", check_multinomial, run_multinomial},
    {"DropoutGenMask", check_mask, run_mask},
    {"DropoutGenMaskV2", check_mask, run_mask},
    {"DropoutDoMask", check_dropout, run_dropout},
    {NULL, NULL, NULL},
};
