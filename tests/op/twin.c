/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/twin.c - see twin.h. */
#include "tests/op/twin.h"

#include "base/mem.h"
#include "base/rng.h"
#include "chips/cpu/cpu.h"
#include "chips/ref/ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a run left behind. */
typedef struct result {
    mz_err err;
    mz_device *device;
    mz_queue *queue;
    mz_buffer *buf[MZ_ARGS_MAX];
    mz_tensor view[MZ_ARGS_MAX];
    bool is_used[MZ_ARGS_MAX];
} result;

enum { EDGE_BYTES = 64, POISON = 0xa5 };

static int index_of(mz_op_kind kind, const char *name)
{
    const mz_op_signature *s = mz_op_signature_of(kind);
    for (int i = 0; i < s->n_args; i++)
        if (strcmp(s->arg[i].name, name) == 0) return i;
    fail_msg("%s has no argument %s", s->name, name);
    return -1;
}

static bool is_output(const mz_desc *desc, int i)
{
    const unsigned back = mz_desc_has_backward(desc) ? mz_arg_role(desc, MZ_BACKWARD, i) : 0;
    return ((mz_arg_role(desc, MZ_FORWARD, i) | back) & MZ_ARG_OUT) != 0;
}

static mz_tensor view_of(const twin_arg *a)
{
    mz_tensor t = mz_view(NULL, EDGE_BYTES + (size_t)a->skew * mz_dtype_bytes(a->dtype), a->dtype,
                          a->rank, a->dim);
    int64_t step = 1;
    for (int axis = a->rank - 1; axis >= 0; axis--) {
        t.stride[axis] = a->has_stride ? a->stride[axis] : step;
        step = t.stride[axis] * (a->dim[axis] > 0 ? a->dim[axis] : 1) + a->pad;
    }
    return t;
}

static void fill(const twin_arg *a, const mz_tensor *t, uint64_t stream)
{
    mz_rng rng;
    mz_rng_init(&rng, 20260802, stream);
    for (int64_t i = 0; i < mz_count(t) && !isnan(a->low); i++) {
        const double x = a->low + (a->high - a->low) * mz_rng_uniform(&rng);
        if (a->dtype != MZ_I32)
            mz_put(t, i, x);
        else if (a->ids)
            mz_put_int(t, i, a->ids[i]);
        else
            mz_put_int(t, i,
                       (int64_t)a->low +
                           (int64_t)mz_rng_below(&rng, (uint64_t)(a->high - a->low) + 1));
    }
    const int64_t row = a->odd_rows > 0 ? mz_count(t) / a->dim[0] : 0;
    for (int64_t i = 0; i < a->odd_rows * row; i++) mz_put(t, a->odd_first * row + i, a->odd);
}

static void place(const twin *w, result *r, mz_op *op)
{
    const mz_op_kind kind = w->desc.kind;
    for (int n = 0; n < MZ_ARGS_MAX && w->arg[n].name; n++) {
        const twin_arg *a = &w->arg[n];
        const int i = index_of(kind, a->name);
        r->is_used[i] = true;
        r->view[i] = view_of(a);
        if (a->same) {
            r->view[i] = r->view[index_of(kind, a->same)];
            for (int axis = 0; axis < a->rank; axis++) r->view[i].dim[axis] = a->dim[axis];
            continue;
        }
        const size_t bytes = mz_extent_bytes(&r->view[i]) + EDGE_BYTES;
        assert_int_equal(mz_buffer_new(&r->buf[i], r->device, bytes + EDGE_BYTES), MZ_OK);
        memset(r->buf[i]->host, POISON, bytes + EDGE_BYTES);
        r->view[i].buf = r->buf[i];
        fill(a, &r->view[i], (uint64_t)i);
    }
    const int64_t saved = (int64_t)mz_op_saved(op);
    if (saved == 0) return;
    const int i = index_of(kind, "saved");
    assert_int_equal(mz_buffer_new(&r->buf[i], r->device, (size_t)saved), MZ_OK);
    r->view[i] = mz_view(r->buf[i], 0, MZ_U8, 1, &saved);
    r->is_used[i] = true;
}

/* The arguments that have a role in a pass. */
static mz_args args_of(const twin *w, const result *r, mz_pass pass)
{
    mz_args args = w->call;
    memset(args.t, 0, sizeof args.t);
    for (int i = 0; i < mz_op_signature_of(w->desc.kind)->n_args; i++)
        if (r->is_used[i] && mz_arg_role(&w->desc, pass, i) != MZ_ARG_NONE) args.t[i] = &r->view[i];
    return args;
}

/* Forward, and backward if the description has it. err is what bind or a pass said. */
static void run(result *r, const twin *w, const char *spec, int threads, const char *isa)
{
    const mz_chip_options options = {.threads = threads, .isa = isa};
    mz_op *op = NULL;
    *r = (result){0};
    r->err = mz_device_open(&r->device, spec, &options);
    if (r->err != MZ_OK) return;
    assert_int_equal(mz_queue_open(&r->queue, r->device), MZ_OK);
    r->err = mz_bind(&op, r->queue, &w->desc);
    if (r->err != MZ_OK) return;
    /* No operator may count on a clean workspace. */
    if (r->queue->workspace) memset(r->queue->workspace->host, 0xff, r->queue->workspace->bytes);
    place(w, r, op);
    const int64_t before = mz_mem_count();
    mz_args args = args_of(w, r, MZ_FORWARD);
    r->err = mz_forward(op, &args);
    if (r->err == MZ_OK && mz_desc_has_backward(&w->desc)) {
        args = args_of(w, r, MZ_BACKWARD);
        r->err = mz_backward(op, &args);
    }
    if (r->err != MZ_OK) print_message("%s: %s\n", spec, mz_err_last()->message);
    assert_int_equal(mz_queue_sync(r->queue), MZ_OK);
    if (strcmp(spec, "cpu") == 0) assert_int_equal(mz_mem_count(), before);
    mz_op_free(op);
}

static void clear(result *r)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++) mz_buffer_free(r->buf[i]);
    mz_queue_close(r->queue);
    mz_device_close(r->device);
    *r = (result){0};
}

static double limit_of(const twin *w, mz_dtype dtype, double want)
{
    const double unit = dtype == MZ_BF16  ? 0x1p-8
                        : dtype == MZ_F16 ? 0x1p-11
                        : dtype == MZ_F64 ? 0x1p-53
                                          : 0x1p-24;
    const double out = w->units > unit ? w->units : unit;
    return 4.0 * out * (1.0 + fabs(want)) + w->reach * 0x1p-24;
}

static bool near(const twin *w, mz_dtype dtype, double got, double want)
{
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return isinf(got) && (got > 0.0) == (want > 0.0);
    return fabs(got - want) <= limit_of(w, dtype, want);
}

static void compare(const twin *w, const result *got, const result *want)
{
    const mz_op_signature *s = mz_op_signature_of(w->desc.kind);
    for (int i = 0; i < s->n_args; i++) {
        const mz_tensor *g = &got->view[i], *x = &want->view[i];
        if (!got->is_used[i] || !is_output(&w->desc, i) || g->dtype == MZ_U8) continue;
        for (int64_t e = 0; e < mz_count(g); e++) {
            if (g->dtype == MZ_I32) {
                if (mz_at_int(g, e) != mz_at_int(x, e))
                    fail_msg("%s.%s[%lld] is %lld, want %lld", s->name, s->arg[i].name,
                             (long long)e, (long long)mz_at_int(g, e), (long long)mz_at_int(x, e));
            } else if (!near(w, g->dtype, mz_at(g, e), mz_at(x, e))) {
                fail_msg("%s.%s[%lld] is %.9g, want %.9g within %.3g", s->name, s->arg[i].name,
                         (long long)e, mz_at(g, e), mz_at(x, e),
                         limit_of(w, g->dtype, mz_at(x, e)));
            }
        }
    }
}

/* Buffers hold poison wherever no element of a view lies. */
static void check_edges(const twin *w, const result *r)
{
    const mz_op_signature *s = mz_op_signature_of(w->desc.kind);
    for (int i = 0; i < s->n_args; i++) {
        if (!r->buf[i] || r->view[i].dtype == MZ_U8) continue;
        const size_t width = mz_dtype_bytes(r->view[i].dtype), bytes = r->buf[i]->bytes;
        unsigned char *copy = malloc(bytes);
        assert_non_null(copy);
        memcpy(copy, r->buf[i]->host, bytes);
        mz_buffer shadow = *r->buf[i];
        mz_tensor view = r->view[i];
        shadow.host = copy;
        view.buf = &shadow;
        for (int64_t e = 0; e < mz_count(&view); e++) {
            int64_t at = 0, rest = e;
            for (int axis = view.rank - 1; axis >= 0; axis--) {
                at += rest % view.dim[axis] * view.stride[axis];
                rest /= view.dim[axis];
            }
            memset(copy + view.offset_bytes + (size_t)at * width, POISON, width);
        }
        for (size_t b = 0; b < bytes; b++)
            if (copy[b] != POISON)
                fail_msg("%s.%s: byte %zu of %zu is no element but was written", s->name,
                         s->arg[i].name, b, bytes);
        free(copy);
    }
}

static void same_bits(const twin *w, const result *a, const result *b)
{
    const mz_op_signature *s = mz_op_signature_of(w->desc.kind);
    for (int i = 0; i < s->n_args; i++)
        if (a->buf[i] && memcmp(a->buf[i]->host, b->buf[i]->host, a->buf[i]->bytes) != 0)
            fail_msg("%s.%s depends on the number of threads", s->name, s->arg[i].name);
}

/* The oracle and every instruction set of this machine, with 1, 2, 3 and 8 threads. */
void twin_check(const twin *w)
{
    static const char *const isas[] = {"portable", "neon", "avx2", "avx512", "amx"};
    static const int threads[] = {2, 3, 8};
    result want, got, other;
    run(&want, w, "ref", 1, NULL);
    assert_int_equal(want.err, MZ_OK);
    for (int i = 0; i < MZ_COUNT(isas); i++) {
        run(&got, w, "cpu", 1, isas[i]);
        if (!got.queue) {
            assert_int_equal(got.err, MZ_ENOTSUP); /* this machine lacks the set */
            continue;
        }
        assert_int_equal(got.err, MZ_OK);
        compare(w, &got, &want);
        check_edges(w, &got);
        for (int k = 0; k < MZ_COUNT(threads); k++) {
            run(&other, w, "cpu", threads[k], isas[i]);
            assert_int_equal(other.err, MZ_OK);
            same_bits(w, &got, &other);
            clear(&other);
        }
        clear(&got);
    }
    clear(&want);
}

int twin_setup(void **state)
{
    (void)state;
    return mz_chip_register(mz_cpu_chip()) == MZ_OK && mz_chip_register(&mz_chip_ref) == MZ_OK ? 0
                                                                                               : -1;
}
