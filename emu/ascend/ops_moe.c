/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/ops_moe.c - the router of a mixture of experts (the k largest of a softmax, or of
 * groups by a bias), and tokens in the order of their experts and back. */
#include "ascend/ops.h"

#include <math.h>
#include <stdlib.h>

enum { GROUPS_MAX = 256, EXPERTS_MAX = 2048 };

/* ---- MoeGatingTopKSoftmax(x, finished?, k, y, experts, rows) ---- */

/* The k largest of v that are not taken yet, the first of equal ones first; -inf takes part in
 * none. */
static void pick(double *v, int64_t n, int64_t k, int64_t *picked)
{
    for (int64_t j = 0; j < k; j++) {
        int64_t best = 0;
        for (int64_t i = 1; i < n; i++)
            if (v[i] > v[best]) best = i;
        picked[j] = best;
        v[best] = -HUGE_VAL;
    }
}

static void softmax(double *v, int64_t n)
{
    double most = -HUGE_VAL, sum = 0.0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, v[i]);
    for (int64_t i = 0; i < n; i++) sum += v[i] = exp(v[i] - most);
    for (int64_t i = 0; i < n; i++) v[i] /= sum;
}

/* x [..., experts], outputs [..., k]; where y stands, the experts are behind it. */
static aclnnStatus check_rows(const emu_call *c, int k, int y)
{
    const int args[] = {0, y, y + 1};
    const aclnnStatus code = emu_want(c, args, 3);
    if (code != 0) return code;
    const emu_tensor *x = c->arg[0].tensor, *out = c->arg[y].tensor,
                     *experts = c->arg[y + 1].tensor;
    const int64_t most = c->arg[k].i;
    if (x->rank < 2 || !emu_is_float(x->type) || out->rank != x->rank || out->type != x->type)
        return emu_refuse(c, "x is no float of two axes or more, or y of another type");
    const int64_t n = x->dim[x->rank - 1];
    if (most < 1 || most > n || n > EXPERTS_MAX)
        return emu_refuse(c, "k is not 1 to the number of experts");
    return out->dim[out->rank - 1] == most && emu_count(out) == emu_count(x) / n * most &&
                   experts->type == EMU_INT32 && emu_same_shape(out, experts)
               ? 0
               : emu_refuse(c, "y or the experts, which are INT32, are not k for each row");
}

static aclnnStatus check_softmax_gate(emu_call *c)
{
    static const int args[] = {5};
    aclnnStatus code = emu_want(c, args, 1);
    if (code == 0) code = check_rows(c, 2, 3);
    if (code != 0) return code;
    return emu_t(c, 5)->type == EMU_INT32 && emu_same_shape(emu_t(c, 5), emu_t(c, 3))
               ? 0
               : emu_refuse(c, "rows are not INT32 of the shape of y");
}

static void run_softmax_gate(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *finished = emu_t(c, 1), *y = emu_t(c, 3),
                     *experts = emu_t(c, 4), *places = emu_t(c, 5);
    const int64_t n = x->dim[x->rank - 1], rows = n ? emu_count(x) / n : 0, k = c->arg[2].i;
    double v[EXPERTS_MAX], kept[EXPERTS_MAX];
    int64_t picked[EXPERTS_MAX];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < n; i++) v[i] = emu_get(x, emu_place(x, 0, r * n + i));
        softmax(v, n);
        memcpy(kept, v, (size_t)n * sizeof *v);
        pick(v, n, k, picked);
        const bool is_done = finished && emu_get(finished, emu_place(finished, 0, r)) > 0.0;
        for (int64_t j = 0; j < k; j++) {
            emu_put(c, y, emu_place(y, 0, r * k + j), kept[picked[j]]);
            emu_put(c, experts, emu_place(experts, 0, r * k + j),
                    (double)(is_done ? n : picked[j]));
            emu_put(c, places, emu_place(places, 0, r * k + j), (double)(j * rows + r));
        }
    }
}

/* ---- MoeGatingTopK(x, bias?, k, k_group, groups, by two, renorm, sigmoid, all, factor, eps, y,
 * experts, scores): of the best groups, by their largest or the sum of their two largest, the k
 * largest with the bias; what comes out has none ---- */

static aclnnStatus check_gate(emu_call *c)
{
    const aclnnStatus code = check_rows(c, 2, 11);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *bias = emu_t(c, 1);
    const int64_t n = x->dim[x->rank - 1], groups = c->arg[4].i, kept = c->arg[3].i;
    if (groups < 1 || groups > GROUPS_MAX || n % groups != 0 || kept < 1 || kept > groups)
        return emu_refuse(c, "the experts are not made of so many groups");
    if (c->arg[2].i > n / groups * kept || n / groups <= c->arg[5].i)
        return emu_refuse(c,
                          "k is more than the groups that are kept have, or a group is too small");
    if (c->arg[6].i != 0 || c->arg[5].i < 0 || c->arg[5].i > 1 || c->arg[7].i < 0 ||
        c->arg[7].i > 1)
        return emu_refuse(c, "renorm is not 0, or a mode neither 0 nor 1");
    return !bias || emu_count(bias) == n ? 0
                                         : emu_refuse(c, "there is not one bias for each expert");
}

/* Experts of groups that are not among the best take part in none. */
static void drop_groups(const emu_call *c, double *v, int64_t n)
{
    const int64_t groups = c->arg[4].i, each = n / groups;
    double worth[GROUPS_MAX];
    int64_t best[GROUPS_MAX];
    bool is_kept[GROUPS_MAX] = {false};
    for (int64_t g = 0; g < groups; g++) {
        double first = -HUGE_VAL, second = -HUGE_VAL;
        for (int64_t i = g * each; i < (g + 1) * each; i++) {
            if (v[i] > first)
                second = first, first = v[i];
            else if (v[i] > second)
                second = v[i];
        }
        worth[g] = c->arg[5].i ? first + second : first;
    }
    pick(worth, groups, c->arg[3].i, best);
    for (int64_t j = 0; j < c->arg[3].i; j++) is_kept[best[j]] = true;
    for (int64_t i = 0; i < n; i++)
        if (!is_kept[i / each]) v[i] = -HUGE_VAL;
}

static void run_gate(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *bias = emu_t(c, 1), *y = emu_t(c, 11),
                     *experts = emu_t(c, 12), *all = c->arg[8].i ? emu_t(c, 13) : NULL;
    const int64_t n = x->dim[x->rank - 1], rows = n ? emu_count(x) / n : 0, k = c->arg[2].i;
    double score[EXPERTS_MAX], v[EXPERTS_MAX];
    int64_t picked[EXPERTS_MAX];
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) score[i] = emu_get(x, emu_place(x, 0, r * n + i));
        for (int64_t i = 0; c->arg[7].i && i < n; i++) score[i] = 1.0 / (1.0 + exp(-score[i]));
        if (!c->arg[7].i) softmax(score, n);
        for (int64_t i = 0; i < n; i++) {
            v[i] = score[i] + (bias ? emu_get(bias, emu_place(bias, 0, i)) : 0.0);
            if (all) emu_put(c, all, emu_place(all, 0, r * n + i), score[i]);
        }
        drop_groups(c, v, n);
        pick(v, n, k, picked);
        for (int64_t j = 0; j < k; j++) sum += score[picked[j]];
        const double by = c->arg[9].d / (c->arg[7].i ? sum + c->arg[10].d : 1.0);
        for (int64_t j = 0; j < k; j++) {
            emu_put(c, y, emu_place(y, 0, r * k + j), score[picked[j]] * by);
            emu_put(c, experts, emu_place(experts, 0, r * k + j), (double)picked[j]);
        }
    }
}

/* ---- MoeTokenPermute(tokens, experts, most, padded, permuted, places): row places[i] of what
 * comes out is the token of choice i. MoeTokenUnpermute(permuted, places, weights?, padded, shape?,
 * tokens): the sum over a token's choices. Their gradients are each other, and the weights' ---- */

static bool is_matrix_like(const emu_tensor *a,
                           const emu_tensor *b) /* rows of one width and type */
{
    return a->rank == 2 && b->rank == 2 && a->dim[1] == b->dim[1] && a->type == b->type;
}

static aclnnStatus check_permute(emu_call *c)
{
    static const int args[] = {0, 1, 4, 5};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const emu_tensor *x = emu_t(c, 0), *experts = emu_t(c, 1), *places = emu_t(c, 5);
    if (c->arg[3].i) return emu_refuse(c, "paddedMode");
    if (!is_matrix_like(x, emu_t(c, 4)) || !emu_is_index(experts) || experts->dim[0] != x->dim[0])
        return emu_refuse(
            c, "tokens or what comes out are no rows of one width, or experts no choices of them");
    return places->type == EMU_INT32 && emu_count(places) == emu_count(experts)
               ? 0
               : emu_refuse(c, "places are not INT32, one for each choice");
}

static void run_permute(emu_call *c)
{
    const emu_tensor *x = emu_t(c, 0), *experts = emu_t(c, 1), *y = emu_t(c, 4),
                     *places = emu_t(c, 5);
    const int64_t n = emu_count(experts), each = x->dim[0] ? n / x->dim[0] : 1;
    for (int64_t i = 0; i < n;
         i++) { /* behind all of lower experts, and those of the same before it */
        const double own = emu_get(experts, emu_place(experts, 0, i));
        int64_t place = 0;
        for (int64_t j = 0; j < n; j++) {
            const double other = emu_get(experts, emu_place(experts, 0, j));
            place += other < own || (j < i && other <= own);
        }
        emu_put(c, places, emu_place(places, 0, i), (double)place);
        for (int64_t d = 0; place < y->dim[0] && d < x->dim[1]; d++)
            emu_move(c, y, place * y->stride[0] + d * y->stride[1], x,
                     i / each * x->stride[0] + d * x->stride[1]);
    }
}

/* Where permuted, places, weights and the tokens stand; the gradient of permuting is unpermuting.
 */
typedef struct back {
    const emu_tensor *rows, *places, *weights, *tokens;
} back;

static back back_of(emu_call *c)
{
    const char *name = c->op->name;
    back b = {emu_t(c, 0), emu_t(c, 1), NULL, emu_t(c, c->n - 1)};
    if (strcmp(name, "MoeTokenUnpermuteGrad") == 0)
        b.tokens = emu_t(c, 1), b.places = emu_t(c, 2), b.weights = emu_t(c, 3);
    else if (strcmp(name, "MoeTokenUnpermute") == 0)
        b.weights = emu_t(c, 2);
    return b;
}

static aclnnStatus check_unpermute(emu_call *c)
{
    const bool is_grad = strcmp(c->op->name, "MoeTokenUnpermuteGrad") == 0;
    const int args[] = {0, 1, is_grad ? 2 : 0, is_grad ? 6 : c->n - 1};
    const aclnnStatus code = emu_want(c, args, 4);
    if (code != 0) return code;
    const back b = back_of(c);
    if (!is_matrix_like(b.rows, b.tokens) || b.places->type != EMU_INT32)
        return emu_refuse(c, "rows of several widths or types, or places that are not INT32");
    if (b.weights && emu_count(b.weights) != emu_count(b.places))
        return emu_refuse(c, "there is not one weight for each choice");
    if (b.tokens->dim[0] < 1 || emu_count(b.places) % b.tokens->dim[0] != 0)
        return emu_refuse(c, "tokens have not as many choices each");
    return !is_grad || emu_same(b.rows, emu_t(c, 6))
               ? 0
               : emu_refuse(c, "the gradient is unlike the rows");
}

static void run_unpermute(emu_call *c)
{
    const back b = back_of(c);
    const int64_t n = emu_count(b.places), each = n / b.tokens->dim[0], most = b.rows->dim[0];
    for (int64_t t = 0; t < b.tokens->dim[0]; t++)
        for (int64_t d = 0; d < b.rows->dim[1]; d++) {
            double sum = 0.0;
            for (int64_t i = t * each; i < (t + 1) * each; i++) {
                const int64_t row = (int64_t)emu_get(b.places, emu_place(b.places, 0, i));
                if (row < 0 || row >= most) continue; /* of a choice that was left out */
                const double w = b.weights ? emu_get(b.weights, emu_place(b.weights, 0, i)) : 1.0;
                sum += w * emu_get(b.rows, row * b.rows->stride[0] + d * b.rows->stride[1]);
            }
            emu_put(c, b.tokens, t * b.tokens->stride[0] + d * b.tokens->stride[1], sum);
        }
}

static void run_unpermute_grad(emu_call *c)
{
    const back b = back_of(c);
    const emu_tensor *d_rows = emu_t(c, 6), *d_weights = b.weights ? emu_t(c, 7) : NULL;
    const int64_t n = emu_count(b.places), each = n / b.tokens->dim[0];
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = (int64_t)emu_get(b.places, emu_place(b.places, 0, i));
        const double w = b.weights ? emu_get(b.weights, emu_place(b.weights, 0, i)) : 1.0;
        double sum = 0.0;
        for (int64_t d = 0; row >= 0 && row < b.rows->dim[0] && d < b.rows->dim[1]; d++) {
            const double g =
                emu_get(b.tokens, i / each * b.tokens->stride[0] + d * b.tokens->stride[1]);
            emu_put(c, d_rows, row * d_rows->stride[0] + d * d_rows->stride[1], w * g);
            sum += g * emu_get(b.rows, row * b.rows->stride[0] + d * b.rows->stride[1]);
        }
        if (d_weights && emu_count(d_weights) == n)
            emu_put(c, d_weights, emu_place(d_weights, 0, i), sum);
    }
}

const emu_op emu_ops_moe[] = {
    {"MoeGatingTopKSoftmax", check_softmax_gate, run_softmax_gate},
    {"MoeGatingTopK", check_gate, run_gate},
    {"MoeTokenPermute", check_permute, run_permute},
    {"MoeTokenPermuteGrad", check_unpermute, run_unpermute},
    {"MoeTokenUnpermute", check_unpermute, run_unpermute},
    {"MoeTokenUnpermuteGrad", check_unpermute, run_unpermute_grad},
    {NULL, NULL, NULL},
};
