/* SPDX-License-Identifier: Apache-2.0 */
/* chip/profile.c - see profile.h. Spans lie in a ring; text is made when the file is written.
 * Floor: chip. */
#include "chip/profile.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { SHAPES = 4 }; /* tensors whose shapes a span keeps */

typedef struct shape {
    int rank, arg; /* rank 0: there is none; arg: its place in the operator's signature */
    mz_dtype dtype;
    int32_t dim[MZ_RANK_MAX];
} shape;

typedef struct span {
    const char *name; /* NULL: an operator's */
    int64_t begun_ns, ended_ns, number;
    mz_op_kind kind;
    mz_pass pass;
    shape shape[SHAPES];
} span;

struct mz_profile {
    int64_t room, seen; /* span i lies at i % room */
    span *spans;        /* [room] */
};

mz_err mz_profile_new(mz_profile **profile, int64_t n)
{
    mz_profile *p = NULL;
    MZ_NEED(profile && n > 0, "profile is NULL, or room for %lld spans", (long long)n);
    MZ_TRY(mz_mem_new(&p, 1, sizeof *p));
    const mz_err err = mz_mem_new(&p->spans, n, sizeof *p->spans);
    if (err != MZ_OK) {
        mz_mem_free(p);
        return err;
    }
    p->room = n;
    *profile = p;
    return MZ_OK;
}

void mz_profile_free(mz_profile *p)
{
    if (!p) return;
    mz_mem_free(p->spans);
    mz_mem_free(p);
}

static span *next_span(mz_profile *p, int64_t begun_ns)
{
    span *s = &p->spans[p->seen++ % p->room];
    memset(s, 0, sizeof *s);
    s->begun_ns = begun_ns;
    s->ended_ns = mz_clock_ns();
    return s;
}

void mz_profile_op(mz_profile *p, const mz_op *op, mz_pass pass, const mz_args *args,
                   int64_t begun_ns)
{
    span *s = next_span(p, begun_ns);
    int n = 0;
    s->kind = op->desc.kind;
    s->pass = pass;
    s->number = op->queue->seq;
    for (int i = 0; i < mz_op_signature_of(s->kind)->n_args && n < SHAPES; i++) {
        const mz_tensor *t = args->t[i];
        if (!t || !t->buf || mz_arg_role(&op->desc, pass, i) == MZ_ARG_NONE) continue;
        shape *to = &s->shape[n++];
        to->rank = t->rank;
        to->arg = i;
        to->dtype = t->dtype;
        for (int d = 0; d < t->rank; d++)
            to->dim[d] = t->dim[d] < INT32_MAX ? (int32_t)t->dim[d] : INT32_MAX;
    }
}

void mz_profile_note(mz_profile *p, const char *name, int64_t number, int64_t begun_ns)
{
    span *s = next_span(p, begun_ns);
    s->name = name;
    s->number = number;
}

int64_t mz_profile_count(const mz_profile *p)
{
    return p->seen < p->room ? p->seen : p->room;
}

/* ---- the file ---- */

typedef struct line {
    char text[768];
    size_t at;
} line;

static void add(line *l, const char *text)
{
    const size_t n = strlen(text), room = sizeof l->text - 1 - l->at;
    const size_t some = n < room ? n : room;
    memcpy(l->text + l->at, text, some);
    l->at += some;
    l->text[l->at] = '\0';
}

static void add_number(line *l, const char *before, int64_t x)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)x);
    add(l, before);
    add(l, text);
}

/* Nanoseconds as microseconds with three places: exact, and no locale's comma. */
static void add_us(line *l, const char *before, int64_t ns)
{
    char text[48];
    (void)snprintf(text, sizeof text, "%lld.%03lld", (long long)(ns / 1000),
                   (long long)(ns % 1000));
    add(l, before);
    add(l, text);
}

static void add_shape(line *l, const span *s, const shape *x)
{
    add(l, ", \"");
    add(l, mz_op_signature_of(s->kind)->arg[x->arg].name);
    add(l, "\": \"");
    add(l, mz_dtype_name(x->dtype));
    for (int d = 0; d < x->rank; d++) add_number(l, d == 0 ? " [" : ",", x->dim[d]);
    add(l, "]\"");
}

static void format(line *l, const span *s, int64_t origin_ns, int rank)
{
    l->at = 0;
    add(l, ",\n{\"ph\": \"X\", \"name\": \"");
    add(l, s->name ? s->name : mz_op_name(s->kind));
    add(l, "\", \"cat\": \"");
    add(l, s->name ? "phase" : s->pass == MZ_FORWARD ? "forward" : "backward");
    add_number(l, "\", \"pid\": ", rank);
    add_us(l, ", \"tid\": 0, \"ts\": ", s->begun_ns - origin_ns);
    add_us(l, ", \"dur\": ", s->ended_ns - s->begun_ns);
    add_number(l, ", \"args\": {\"number\": ", s->number);
    for (int i = 0; i < SHAPES && s->shape[i].rank > 0; i++) add_shape(l, s, &s->shape[i]);
    add(l, "}}");
}

static int64_t origin_of(const mz_profile *p)
{
    const int64_t n = mz_profile_count(p);
    int64_t origin = n > 0 ? p->spans[0].begun_ns : 0;
    for (int64_t i = 0; i < n; i++)
        if (p->spans[i].begun_ns < origin) origin = p->spans[i].begun_ns;
    return origin;
}

static mz_err put_all(const mz_profile *p, mz_writer *w, int rank)
{
    const int64_t n = mz_profile_count(p), first = p->seen - n, origin = origin_of(p);
    line l = {.at = 0};
    add_number(&l,
               "{\"displayTimeUnit\": \"ms\", \"otherData\": {\"schema\": 1, \"lost\": ", first);
    add_number(
        &l, "}, \"traceEvents\": [\n{\"ph\": \"M\", \"name\": \"process_name\", \"pid\": ", rank);
    add_number(&l, ", \"tid\": 0, \"args\": {\"name\": \"rank ", rank);
    add(&l, "\"}}");
    MZ_TRY(mz_writer_put(w, l.text, l.at));
    for (int64_t i = first; i < p->seen; i++) {
        format(&l, &p->spans[i % p->room], origin, rank);
        MZ_TRY(mz_writer_put(w, l.text, l.at));
    }
    return mz_writer_put(w, "\n]}\n", 4);
}

mz_err mz_profile_write(const mz_profile *p, const char *path, int rank)
{
    mz_writer *w = NULL;
    MZ_NEED(p && path, "profile or path is NULL");
    MZ_TRY(mz_writer_open(&w, path));
    const mz_err err = put_all(p, w, rank);
    if (err == MZ_OK) return mz_writer_commit(w);
    mz_writer_abort(w);
    return err;
}
