/* SPDX-License-Identifier: Apache-2.0 */
/* tests/gradient.c - central differences for any operator, driven by its signature: the gradient of
 * an argument N is called dN. Loss = sum(c * y) over the outputs with uneven c, so that no wrong
 * gradient can hide behind a right one. */
#include "tests/near.h"

#include <string.h>

static const double STEP = 1e-5, LIMIT = 1e-8;

/* One operator under test. */
typedef struct trial {
    mz_op *op;
    const mz_op_signature *signature;
    mz_args *args;
    int gradient_of[MZ_ARGS_MAX]; /* index of dN for argument N, -1 if there is none */
} trial;

static int index_of_gradient(const mz_op_signature *s, int i)
{
    for (int k = 0; k < s->n_args; k++)
        if (s->arg[k].name[0] == 'd' && strcmp(s->arg[k].name + 1, s->arg[i].name) == 0) return k;
    return -1;
}

static unsigned role(const trial *t, mz_pass pass, int i)
{
    return mz_arg_role(&t->op->desc, pass, i) & MZ_ARG_INOUT;
}

/* Whether argument i is an output whose gradient backward reads. */
static bool is_upstream(const trial *t, int i)
{
    const int g = t->gradient_of[i];
    return g >= 0 && t->args->t[i] && role(t, MZ_FORWARD, i) == MZ_ARG_OUT &&
           role(t, MZ_BACKWARD, g) == MZ_ARG_IN;
}

/* Whether argument i is an input whose gradient backward gives. */
static bool is_wanted(const trial *t, int i)
{
    const int g = t->gradient_of[i];
    return g >= 0 && t->args->t[i] && role(t, MZ_FORWARD, i) == MZ_ARG_IN &&
           (role(t, MZ_BACKWARD, g) & MZ_ARG_OUT);
}

static double loss(const trial *t)
{
    double sum = 0.0;
    assert_int_equal(mz_forward(t->op, t->args), MZ_OK);
    for (int i = 0; i < t->signature->n_args; i++) {
        if (!is_upstream(t, i)) continue;
        const mz_tensor *y = t->args->t[i], *c = t->args->t[t->gradient_of[i]];
        for (int64_t e = 0; e < mz_count(y); e++) sum += mz_at(c, e) * mz_at(y, e);
    }
    return sum;
}

static double slope(const trial *t, const mz_tensor *p, int64_t e)
{
    const double p0 = mz_at(p, e);
    mz_put(p, e, p0 + STEP);
    const double up = loss(t);
    mz_put(p, e, p0 - STEP);
    const double down = loss(t);
    mz_put(p, e, p0);
    return (up - down) / (2.0 * STEP);
}

/* times: how often backward ran, for gradients that add up. */
static void check_gradient(const trial *t, int i, int times)
{
    const int g = t->gradient_of[i];
    const mz_tensor *gradient = t->args->t[g];
    const double n = role(t, MZ_BACKWARD, g) == MZ_ARG_INOUT ? times : 1.0;
    for (int64_t e = 0; e < mz_count(gradient); e++) {
        const bool is_near = mzt_near(mz_at(gradient, e) / n, slope(t, t->args->t[i], e), LIMIT);
        if (!is_near) print_error("d%s at element %lld\n", t->signature->arg[i].name, (long long)e);
        assert_true(is_near);
    }
    assert_true(mzt_margins_untouched(gradient));
}

static void prepare(trial *t)
{
    const int n = t->signature->n_args;
    for (int i = 0; i < n; i++) t->gradient_of[i] = index_of_gradient(t->signature, i);
    for (int i = 0; i < n; i++)
        if (strcmp(t->signature->arg[i].name, "saved") == 0) t->args->t[i] = mzt_saved(t->op);
    for (int i = 0; i < n; i++) {
        const int g = t->gradient_of[i];
        if (g < 0 || !t->args->t[i]) continue;
        mz_tensor *d = mzt_like(t->args->t[i]);
        if (is_upstream(t, i))
            mzt_fill(d, 1000 + (uint64_t)i);
        else if (role(t, MZ_BACKWARD, g) == MZ_ARG_OUT)
            mzt_fill(d, 7); /* must be overwritten */
        t->args->t[g] = d;
    }
}

void mzt_gradient(const mz_desc *desc, mz_args *args)
{
    trial t = {.op = mzt_bind(mzt_reference(), desc),
               .signature = mz_op_signature_of(desc->kind),
               .args = args};
    int checked = 0;
    assert_non_null(t.op);
    prepare(&t);
    loss(&t);
    for (int times = 0; times < 2; times++) assert_int_equal(mz_backward(t.op, args), MZ_OK);
    for (int i = 0; i < t.signature->n_args; i++) {
        if (!is_wanted(&t, i)) continue;
        check_gradient(&t, i, 2);
        checked++;
    }
    assert_true(checked > 0);
    mz_op_free(t.op);
}
