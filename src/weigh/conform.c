/* SPDX-License-Identifier: Apache-2.0 */
/* weigh/conform.c - see conform.h. */
#include "weigh/conform.h"

#include "base/mem.h"
#include "tensor/convert.h"
#include "weigh/trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FAILURES_EACH = 3, RMS_FROM = 16, WHAT = 256 };

static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16, MZ_F16, MZ_F64};

typedef struct suite {
    mz_conform_result *result;
    const mz_conform_options *options;
    mz_queue *chip, *reference;
    mz_queue **same;
    mz_conform_row *row;
    int64_t failures_here;
} suite;

static double unit_of(mz_dtype d)
{
    return d == MZ_F64 ? 0x1p-53 : d == MZ_F32 ? 0x1p-24 : d == MZ_F16 ? 0x1p-11 : 0x1p-8;
}

/* Bits that are copied, ids and counts are equal or wrong. */
static bool is_exact(const mz_case *c, int i)
{
    const mz_op_kind k = c->desc.kind;
    const mz_elementwise_fn fn = c->desc.u.elementwise.fn;
    if (!mz_dtype_is_float(c->arg[i].dtype)) return true;
    if (k == MZ_OP_CAST || k == MZ_OP_ROWS) return true;
    if (k == MZ_OP_ELEMENTWISE) return fn == MZ_EW_COPY;
    return (k == MZ_OP_PERMUTE && i == MZ_ARG(permute.y)) ||
           (k == MZ_OP_EMBED && i == MZ_ARG(embed.y));
}

static double limit_of(const mz_case *c, int i, double want)
{
    const mz_case_arg *a = &c->arg[i];
    const double out = unit_of(a->dtype), acc = unit_of(mz_dtype_acc(a->dtype));
    const double plain = 4.0 * out * (1.0 + fabs(want));
    const double sum = 2.0 * out * fabs(want) + acc * sqrt(a->n) * a->norms;
    return is_exact(c, i) ? 0.0 : a->n > 0.0 && sum > plain ? sum : plain;
}

/* What the dtype makes of the exact value: what must be equal, and what overflows. */
static double stored(double x, mz_dtype d)
{
    double room = 0.0, back = x;
    if (!mz_dtype_is_float(d) || mz_convert(&room, d, &x, MZ_F64, 1) != MZ_OK) return x;
    return mz_convert(&back, MZ_F64, &room, d, 1) == MZ_OK ? back : x;
}

static void fail(suite *s, int64_t number, const char *pass, const char *what)
{
    mz_conform_result *r = s->result;
    if (s->failures_here++ >= FAILURES_EACH) return;
    if (mz_mem_grow(&r->failures, r->n_failures + 1, sizeof *r->failures) != MZ_OK) return;
    mz_conform_failure *f = &r->failures[r->n_failures++];
    f->op = s->row->op;
    f->dtype = s->row->dtype;
    f->pass = pass;
    f->number = number;
    snprintf(f->what, sizeof f->what, "%s", what);
}

/* One element: false if it is wrong. *ratio: error over limit, where both are finite. */
static bool element(double got, double want, double limit, double *ratio)
{
    *ratio = 0.0;
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return isinf(got) && (got > 0.0) == (want > 0.0);
    const double error = fabs(got - want);
    if (!(error <= limit)) return false;
    if (limit > 0.0) *ratio = error / limit;
    return true;
}

static bool argument(suite *s, const mz_case *c, int i, const mz_trial *got, const mz_trial *want,
                     const mz_case *rc, char what[WHAT])
{
    const size_t room = WHAT;
    double errors = 0.0, limits = 0.0;
    int64_t finite = 0, zeros = 0;
    const char *name = mz_op_signature_of(c->desc.kind)->arg[i].name;
    for (int64_t j = 0; j < c->arg[i].count; j++) {
        const double x = mz_trial_value(got, c, i, j);
        const double exact = mz_trial_value(want, rc, i, j), w = stored(exact, c->arg[i].dtype);
        const double y = is_exact(c, i) || !isfinite(w) ? w : exact, limit = limit_of(c, i, exact);
        double ratio;
        if (!element(x, y, limit, &ratio)) {
            snprintf(what, room, "%s[%lld] of %lld is %.9g, want %.9g within %.3g", name,
                     (long long)j, (long long)c->arg[i].count, x, y, limit);
            return false;
        }
        if (ratio > s->row->worst) s->row->worst = ratio;
        if (!isfinite(y)) continue;
        finite++;
        zeros += !(fabs(x) > 0.0) && fabs(y) > limit;
        errors += (x - y) * (x - y);
        limits += limit * limit;
    }
    if (finite >= RMS_FROM && !(errors <= 0.25 * limits) && limits > 0.0) {
        snprintf(what, room, "%s: root mean square error %.3g of a limit of %.3g", name,
                 sqrt(errors / (double)finite), 0.5 * sqrt(limits / (double)finite));
        return false;
    }
    if (zeros > 0) snprintf(what, room, "%s: %lld zeros too many", name, (long long)zeros);
    return zeros == 0;
}

static const char *pass_of(const mz_case *c, int i)
{
    return (mz_arg_role(&c->desc, MZ_FORWARD, i) & MZ_ARG_OUT) != 0 ? "forward" : "backward";
}

static bool compare(suite *s, const mz_case *c, const mz_case *rc, const mz_trial *got,
                    const mz_trial *want, int64_t number)
{
    char what[WHAT];
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        if (!c->arg[i].present || c->arg[i].is_saved) continue;
        const int64_t stray = mz_trial_stray(got, c, i);
        if (stray >= 0) {
            snprintf(what, sizeof what, "%s: byte %lld of its memory was written, which is not its",
                     mz_op_signature_of(c->desc.kind)->arg[i].name, (long long)stray);
            return fail(s, number, pass_of(c, i), what), false;
        }
        if (mz_case_writes(c, i) && !argument(s, c, i, got, want, rc, what))
            return fail(s, number, pass_of(c, i), what), false;
    }
    return true;
}

/* Other numbers of threads: the very bytes, what is saved included. */
static mz_err same_bytes(suite *s, const mz_case *c, const mz_trial *first, int64_t number,
                         bool *same)
{
    for (int k = 0; k < s->options->n_same && *same; k++) {
        mz_trial t;
        char what[128];
        memset(&t, 0, sizeof t);
        const mz_err err = mz_trial_run(&t, s->same[k], c);
        for (int i = 0; err == MZ_OK && i < MZ_ARGS_MAX && *same; i++) {
            if (!first->after[i] || c->arg[i].is_saved) continue;
            *same = memcmp(first->after[i], t.after[i], t.bytes[i]) == 0;
            if (*same) continue;
            snprintf(what, sizeof what, "%s has other bits with %d threads",
                     mz_op_signature_of(c->desc.kind)->arg[i].name,
                     s->same[k]->device->info.threads);
            fail(s, number, pass_of(c, i), what);
        }
        mz_trial_clear(&t);
        MZ_TRY(err);
    }
    return MZ_OK;
}

static mz_err judge(suite *s, const mz_case *c, const mz_trial *got, int64_t number, bool *passed)
{
    mz_case rc;
    mz_trial want;
    memset(&want, 0, sizeof want);
    MZ_TRY(mz_case_for_reference(&rc, c));
    mz_err err = mz_trial_run(&want, s->reference, &rc);
    if (err == MZ_OK) *passed = compare(s, c, &rc, got, &want, number);
    if (err == MZ_OK && *passed) err = same_bytes(s, c, got, number, passed);
    mz_trial_clear(&want);
    mz_case_release_reference(&rc);
    return err;
}

static mz_err one_case(suite *s, mz_case *c, int64_t number)
{
    mz_trial got;
    bool passed = false;
    memset(&got, 0, sizeof got);
    mz_err err = mz_trial_run(&got, s->chip, c);
    s->row->cases++;
    if (err == MZ_ENOTSUP) {
        s->row->skipped++;
        snprintf(s->row->reason, sizeof s->row->reason, "%.159s", mz_err_last()->message);
        err = MZ_OK;
    } else if (err == MZ_ENOMEM) {
        /* ours to report: nothing is known about the chip */
    } else if (err != MZ_OK) {
        fail(s, number, "run", mz_err_last()->message);
        err = MZ_OK;
    } else {
        err = judge(s, c, &got, number, &passed);
        s->row->passed += passed;
    }
    mz_trial_clear(&got);
    return err;
}

static mz_err one_row(suite *s, mz_op_kind kind, mz_dtype dtype)
{
    for (int64_t i = 0; i < s->options->cases; i++) {
        mz_case *c = NULL;
        MZ_TRY(mz_mem_new(&c, 1, sizeof *c));
        mz_rng_init(&c->rng, s->options->seed,
                    (uint64_t)i * 4096 + (uint64_t)kind * 64 + (uint64_t)dtype);
        mz_err err = mz_case_make(c, kind, dtype);
        const bool is_no_case = err == MZ_ENOTSUP;
        if (err == MZ_OK) err = one_case(s, c, i);
        mz_case_clear(c);
        mz_mem_free(c);
        if (is_no_case) return MZ_OK;
        MZ_TRY(err);
    }
    return MZ_OK;
}

static mz_err all_rows(suite *s, mz_conform_progress *progress, void *user)
{
    mz_conform_result *r = s->result;
    const int64_t of = (int64_t)MZ_OP_COUNT * MZ_COUNT(DTYPES);
    MZ_TRY(mz_mem_new(&r->rows, of, sizeof *r->rows));
    for (int64_t i = 0; i < of; i++) {
        const mz_op_kind kind = (mz_op_kind)(i / MZ_COUNT(DTYPES));
        const mz_dtype dtype = DTYPES[i % MZ_COUNT(DTYPES)];
        if (s->options->op && strcmp(s->options->op, mz_op_name(kind)) != 0) continue;
        s->row = &r->rows[r->n_rows];
        s->row->op = mz_op_name(kind);
        s->row->dtype = mz_dtype_name(dtype);
        s->failures_here = 0;
        MZ_TRY(one_row(s, kind, dtype));
        if (s->row->cases == 0) continue; /* no such dtype for this operator */
        r->n_rows++;
        r->cases += s->row->cases;
        r->passed += s->row->passed;
        r->skipped += s->row->skipped;
        if (progress) progress(user, s->row, i + 1, of);
    }
    return MZ_OK;
}

static mz_err run(suite *s, mz_device *chip, mz_device *reference, mz_conform_progress *progress,
                  void *user)
{
    MZ_TRY(mz_queue_open(&s->chip, chip));
    MZ_TRY(mz_queue_open(&s->reference, reference));
    MZ_TRY(mz_mem_new(&s->same, s->options->n_same, sizeof(mz_queue *)));
    for (int i = 0; i < s->options->n_same; i++)
        MZ_TRY(mz_queue_open(&s->same[i], s->options->same[i]));
    return all_rows(s, progress, user);
}

mz_err mz_conform(mz_conform_result *result, mz_device *chip, mz_device *reference,
                  const mz_conform_options *options, mz_conform_progress *progress, void *user)
{
    suite s = {.result = result, .options = options};
    MZ_NEED(result && chip && reference && options, "an argument is NULL");
    memset(result, 0, sizeof *result);
    const mz_err err = run(&s, chip, reference, progress, user);
    for (int i = 0; s.same && i < options->n_same; i++) mz_queue_close(s.same[i]);
    mz_mem_free(s.same);
    mz_queue_close(s.reference);
    mz_queue_close(s.chip);
    if (err != MZ_OK) mz_conform_clear(result);
    return err;
}

void mz_conform_clear(mz_conform_result *result)
{
    mz_mem_free(result->rows);
    mz_mem_free(result->failures);
    memset(result, 0, sizeof *result);
}
