/* SPDX-License-Identifier: Apache-2.0 */
/* tests/refusal.c - see near.h: calls that a front door must refuse. */
#include "tests/near.h"

#include <stdio.h>
#include <string.h>

void mzt_refused(mz_op *op, mz_pass pass, const mz_args *args)
{
    const mz_tensor *before[MZ_ARGS_MAX] = {NULL};
    const int n = mz_op_signature_of(op->desc.kind)->n_args;
    const int64_t seq = op->queue->seq;
    for (int i = 0; i < n; i++)
        if (args->t[i] && args->t[i]->buf && args->t[i]->buf->device == op->queue->device)
            before[i] = mzt_copy(args->t[i]);
    const mz_err err = pass == MZ_FORWARD ? mz_forward(op, args) : mz_backward(op, args);
    assert_int_equal(err, MZ_EINVAL);
    assert_true(mz_err_last()->code == MZ_EINVAL && mz_err_last()->message[0]);
    assert_true(op->queue->seq == seq);
    for (int i = 0; i < n; i++)
        if (before[i]) assert_true(mzt_same_bits(before[i], args->t[i]));
}

void mzt_desc_refused(const mz_desc *desc)
{
    mz_op *op = NULL;
    assert_int_equal(mz_check_desc(desc), MZ_EINVAL);
    assert_int_equal(mz_bind(&op, mzt_reference(), desc), MZ_EINVAL);
    assert_null(op);
}

/* One argument of a good call. */
typedef struct victim {
    mz_op *op;
    mz_pass pass;
    const mz_args *good;
    int i;
    const char *name;
    unsigned role;
} victim;

static void refused_with(const victim *v, const mz_tensor *t, const char *how)
{
    mz_args bad = *v->good;
    bad.t[v->i] = t;
    if (mz_check_args(&v->op->desc, v->pass, mz_op_saved(v->op), &bad) == MZ_OK &&
        (!t || t->buf->device == v->op->queue->device))
        print_error("%s %s was taken\n", v->name, how);
    mzt_refused(v->op, v->pass, &bad);
}

static mz_dtype other_dtype(mz_dtype dtype)
{
    if (dtype == MZ_I32) return MZ_I64;
    if (dtype == MZ_U8) return MZ_I8;
    return dtype == MZ_F64 ? MZ_F32 : MZ_F64;
}

static bool is_free(const victim *v, int axis, const char *free_axes)
{
    char word[40];
    snprintf(word, sizeof word, "%s%d", v->name, axis);
    return strstr(free_axes, word) != NULL;
}

static void wrong_shapes(const victim *v, const char *free_axes)
{
    const mz_tensor *t = v->good->t[v->i];
    for (int axis = 0; axis < t->rank; axis++) {
        int64_t dim[MZ_RANK_MAX];
        memcpy(dim, t->dim, sizeof dim);
        dim[axis]++;
        if (!is_free(v, axis, free_axes))
            refused_with(v, mzt_new(t->dtype, t->rank, dim), "with one more");
    }
    char deeper_is_free[40];
    snprintf(deeper_is_free, sizeof deeper_is_free, "%s+", v->name);
    if (t->rank < MZ_RANK_MAX && !strstr(free_axes, deeper_is_free)) {
        mz_tensor deeper = *t;
        deeper.dim[deeper.rank] = 1;
        deeper.stride[deeper.rank++] = 1;
        refused_with(v, &deeper, "with one more axis");
    }
}

static void wrong_places(const victim *v, mz_device *elsewhere)
{
    mz_tensor t = *v->good->t[v->i];
    t.offset_bytes = t.buf->bytes - (mz_extent_bytes(&t) - t.offset_bytes) +
                     (t.dtype == MZ_U8 ? 64 : mz_dtype_bytes(t.dtype));
    t.offset_bytes -= t.offset_bytes % mz_dtype_bytes(t.dtype);
    refused_with(v, &t, "outside its buffer");
    t = *v->good->t[v->i];
    t.offset_bytes += 1;
    refused_with(v, &t, "off its alignment");
    t = *v->good->t[v->i];
    t.buf = NULL;
    refused_with(v, &t, "without a buffer");
    t = *v->good->t[v->i];
    assert_int_equal(mz_buffer_new(&t.buf, elsewhere, t.buf->bytes), MZ_OK);
    refused_with(v, &t, "on another device");
    mz_buffer_free(t.buf);
}

/* An output laid over another argument, one element in, so that it is not the same view. */
static void overlaps(const victim *v)
{
    const int n = mz_op_signature_of(v->op->desc.kind)->n_args;
    for (int k = 0; k < n; k++) {
        mz_tensor t = *v->good->t[v->i];
        const mz_tensor *under = v->good->t[k];
        if (k == v->i || !under || !mz_arg_role(&v->op->desc, v->pass, k)) continue;
        const size_t size = mz_dtype_bytes(t.dtype);
        const size_t skip = mz_extent_bytes(under) - under->offset_bytes > size ? size : 0;
        if (skip == 0 && t.dtype == under->dtype) continue;
        t.buf = under->buf;
        t.offset_bytes = under->offset_bytes + skip;
        if (mz_extent_bytes(&t) <= t.buf->bytes) refused_with(v, &t, "over another argument");
    }
}

/* Every argument on one device, and it is not the queue's. */
static void all_elsewhere(mz_op *op, mz_pass pass, const mz_args *args, mz_device *elsewhere)
{
    const int n = mz_op_signature_of(op->desc.kind)->n_args;
    mz_tensor moved[MZ_ARGS_MAX];
    mz_args bad = *args;
    for (int i = 0; i < n; i++) {
        if (!args->t[i]) continue;
        moved[i] = *args->t[i];
        assert_int_equal(mz_buffer_new(&moved[i].buf, elsewhere, args->t[i]->buf->bytes), MZ_OK);
        bad.t[i] = &moved[i];
    }
    mzt_refused(op, pass, &bad);
    for (int i = 0; i < n; i++)
        if (args->t[i]) mz_buffer_free(moved[i].buf);
}

void mzt_refusals(mz_op *op, mz_pass pass, const mz_args *args, const char *free_axes)
{
    const mz_op_signature *s = mz_op_signature_of(op->desc.kind);
    mz_device *elsewhere = NULL;
    assert_int_equal(mz_check_args(&op->desc, pass, mz_op_saved(op), args), MZ_OK);
    assert_int_equal(mz_device_open(&elsewhere, "ref", NULL), MZ_OK);
    for (int i = 0; i < s->n_args; i++) {
        const victim v = {op, pass, args, i, s->arg[i].name, mz_arg_role(&op->desc, pass, i)};
        if (v.role == MZ_ARG_NONE || !args->t[i]) continue;
        const mz_tensor *t = args->t[i];
        if (!(v.role & MZ_ARG_OPTIONAL)) refused_with(&v, NULL, "NULL");
        refused_with(&v, mzt_new(other_dtype(t->dtype), t->rank, t->dim), "of another dtype");
        wrong_shapes(&v, free_axes);
        wrong_places(&v, elsewhere);
        if (v.role & MZ_ARG_OUT) overlaps(&v);
    }
    all_elsewhere(op, pass, args, elsewhere);
    mz_device_close(elsewhere);
}
