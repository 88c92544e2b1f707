/* SPDX-License-Identifier: Apache-2.0 */
/* infer/outputs.c - see outputs.h. */
#include "infer/outputs.h"

#include "base/mem.h"
#include "file/safetensors.h"
#include "tensor/convert.h"

#include <stdio.h>
#include <string.h>

mz_err mz_outputs_add(mz_outputs *o, const char *name, mz_dtype dtype, int rank, const int64_t *dim,
                      void *data)
{
    mz_output *x = NULL;
    MZ_NEED(rank >= 0 && rank <= MZ_RANK_MAX, "rank %d", rank);
    MZ_TRY(mz_mem_grow(&o->list, o->n + 1, sizeof *o->list));
    MZ_TRY(mz_mem_new(&x, 1, sizeof *x));
    o->list[o->n++] = x;
    const int len = snprintf(x->name, sizeof x->name, "%s", name);
    MZ_NEED(len > 0 && (size_t)len < sizeof x->name, "name %s is too long", name);
    x->dtype = dtype;
    x->rank = rank;
    for (int i = 0; i < rank; i++) x->dim[i] = dim[i];
    MZ_TRY(mz_shape_count(rank, dim, &x->count));
    MZ_TRY(mz_mem_new(&x->data, x->count, mz_dtype_bytes(dtype)));
    memcpy(data, &x->data, sizeof(void *)); /* data is the address of a typed pointer */
    return MZ_OK;
}

static mz_err fetch(mz_queue *q, const mz_tensor *t, void *out, mz_dtype to)
{
    void *raw = NULL;
    mz_err err;
    const int64_t n = mz_count(t);
    MZ_TRY(mz_mem_new(&raw, n, mz_dtype_bytes(t->dtype)));
    MZ_TRY_GOTO(err, mz_download(q, raw, t), done);
    MZ_TRY_GOTO(err, mz_queue_sync(q), done);
    err = mz_convert(out, to, raw, t->dtype, n);
done:
    mz_mem_free(raw);
    return err;
}

mz_err mz_fetch_f32(mz_queue *q, const mz_tensor *t, float *out)
{
    return fetch(q, t, out, MZ_F32);
}

mz_err mz_fetch_i64(mz_queue *q, const mz_tensor *t, int64_t *out)
{
    return fetch(q, t, out, MZ_I64);
}

static const mz_output *find(const mz_outputs *o, const char *name)
{
    for (int64_t i = 0; i < o->n; i++)
        if (strcmp(o->list[i]->name, name) == 0) return o->list[i];
    return NULL;
}

mz_err mz_outputs_write(const mz_outputs *o, const char *path)
{
    mz_st_writer *w = NULL;
    mz_err err;
    MZ_TRY(mz_st_writer_new(&w, path));
    MZ_TRY_GOTO(err, mz_st_writer_meta(w, "format", "pt"), fail);
    for (int64_t i = 0; i < o->n; i++) {
        const mz_output *x = o->list[i];
        MZ_TRY_GOTO(err, mz_st_writer_declare(w, x->name, x->dtype, x->rank, x->dim), fail);
    }
    MZ_TRY_GOTO(err, mz_st_writer_begin(w), fail);
    for (int64_t i = 0; i < mz_st_writer_count(w); i++) {
        const mz_output *x = find(o, mz_st_writer_at(w, i)->name);
        if (!x) {
            err = MZ_FAIL(MZ_EINVAL, "%s was never added", mz_st_writer_at(w, i)->name);
            goto fail;
        }
        const size_t bytes = (size_t)x->count * mz_dtype_bytes(x->dtype);
        MZ_TRY_GOTO(err, mz_st_writer_put(w, x->data, bytes), fail);
    }
    return mz_st_writer_commit(w);
fail:
    mz_st_writer_abort(w);
    return err;
}

void mz_outputs_clear(mz_outputs *o)
{
    for (int64_t i = 0; i < o->n; i++) {
        mz_mem_free(o->list[i]->data);
        mz_mem_free(o->list[i]);
    }
    mz_mem_free(o->list);
    *o = (mz_outputs){0};
}
