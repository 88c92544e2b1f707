/* SPDX-License-Identifier: Apache-2.0 */
/* chips/hosted/run.c - one pass on the host: inputs down, compute, outputs up. Written once for all
 * operators: chip/desc.c says which argument is read and which is written.
 *
 * Every argument has its own staging copy, so in-place calls work as on the device: inputs are all
 * read before outputs are written.
 *
 * Floor:  chips.   Time: waits for the device before and for the host chip after computing. */
#include "chips/hosted/state.h"

typedef struct call {
    mz_hosted_queue *q;
    mz_hosted_op *op;
    const mz_desc *desc;
    mz_pass pass;
    const mz_args *args;
    mz_args host;                /* the same arguments, staged */
    mz_tensor view[MZ_ARGS_MAX]; /* what host points to */
    mz_hosted_table table;
    int64_t n_rows; /* staged rows of a table that is staged by its rows, -1 = it is staged whole */
    mz_hosted_counts counts;
} call;

static unsigned role(const call *c, int i)
{
    return mz_arg_role(c->desc, c->pass, i);
}

static bool is_table(const call *c, int i)
{
    return c->table.index >= 0 && (i == c->table.table[0] || i == c->table.table[1]);
}

static bool repeats(const mz_tensor *t, int axis)
{
    return t->stride[axis] == 0 && t->dim[axis] > 1;
}

/* A dense copy of t in place i of the staging block, with `rows` entries on its first axis; axes
 * that repeat take no room. */
static mz_err stage(call *c, int i, const mz_tensor *t, int64_t rows)
{
    mz_tensor v = *t;
    int64_t step = 1;
    size_t bytes = 0;
    v.buf = c->q->staging;
    v.offset_bytes = c->op->plan.offset[i];
    if (v.rank) v.dim[0] = rows;
    for (int axis = v.rank - 1; axis >= 0; axis--) {
        v.stride[axis] = repeats(t, axis) ? 0 : step;
        if (!repeats(t, axis)) step *= v.dim[axis];
    }
    MZ_TRY(mz_shape_bytes(v.dtype, 1, &step, &bytes));
    MZ_NEED(bytes <= c->op->plan.bytes[i], "%s of %s takes %zu bytes on the host, %zu are booked",
            mz_op_signature_of(c->desc->kind)->arg[i].name, mz_op_name(c->desc->kind), bytes,
            c->op->plan.bytes[i]);
    c->view[i] = v;
    c->host.t[i] = &c->view[i];
    return MZ_OK;
}

/* The first axis from which on both views are one dense run. */
static int dense_from(const mz_tensor *a, const mz_tensor *b)
{
    int axis = a->rank;
    for (int64_t step = 1; axis > 0; axis--) {
        const int at = axis - 1;
        const bool dense = a->dim[at] == 1 || (a->stride[at] == step && b->stride[at] == step);
        if (!dense) break;
        step *= a->dim[at];
    }
    return axis;
}

static unsigned char *host_byte(const mz_tensor *staged, size_t offset)
{
    return (unsigned char *)staged->buf->host + staged->offset_bytes + offset;
}

/* Where in two views the recursion below stands, in elements. */
typedef struct place {
    int axis, dense;
    int64_t device, staged;
} place;

/* Enqueues the copies between a device view and its staged twin. */
static mz_err move_from(call *c, const mz_tensor *device, const mz_tensor *staged, place at,
                        bool up)
{
    if (at.axis < at.dense) {
        const int64_t n = repeats(device, at.axis) ? 1 : device->dim[at.axis];
        for (int64_t k = 0; k < n; k++) {
            const place next = {at.axis + 1, at.dense, at.device + k * device->stride[at.axis],
                                at.staged + k * staged->stride[at.axis]};
            MZ_TRY(move_from(c, device, staged, next, up));
        }
        return MZ_OK;
    }
    mz_queue *q = c->q->device;
    const size_t size = mz_dtype_bytes(device->dtype);
    size_t bytes = size;
    for (int axis = at.dense; axis < device->rank; axis++) bytes *= (size_t)device->dim[axis];
    const size_t offset = device->offset_bytes + (size_t)at.device * size;
    unsigned char *host = host_byte(staged, (size_t)at.staged * size);
    c->counts.copies++;
    *(up ? &c->counts.up_bytes : &c->counts.down_bytes) += (int64_t)bytes;
    return up ? q->chip->upload(q, device->buf, offset, host, bytes)
              : q->chip->download(q, host, device->buf, offset, bytes);
}

static mz_err move(call *c, const mz_tensor *t, const mz_tensor *staged, bool up)
{
    if (mz_count(t) == 0) return MZ_OK;
    const mz_tensor device = mz_wrap_view(t);
    return move_from(c, &device, staged, (place){.dense = dense_from(t, staged)}, up);
}

/* The rows of a table that is staged by its rows. */
static mz_err move_rows(call *c, int i, bool up)
{
    for (int64_t r = 0; r < c->n_rows; r++) {
        if (c->op->rows[r] < 0) continue;
        const mz_tensor device = mz_slice(c->args->t[i], 0, c->op->rows[r], 1);
        const mz_tensor staged = mz_slice(&c->view[i], 0, r, 1);
        MZ_TRY(move(c, &device, &staged, up));
    }
    return MZ_OK;
}

static mz_err wait_for_device(call *c)
{
    c->q->pending = false;
    return c->q->device->chip->queue_sync(c->q->device);
}

/* Whatever is read, tables apart: their rows are known only afterwards. */
static mz_err bring_inputs(call *c)
{
    const int n = mz_op_signature_of(c->desc->kind)->n_args;
    for (int i = 0; i < n; i++) {
        const mz_tensor *t = c->args->t[i];
        if (!t || !(role(c, i) & MZ_ARG_INOUT) || is_table(c, i)) continue;
        MZ_TRY(stage(c, i, t, t->rank ? t->dim[0] : 1));
        if (role(c, i) & (MZ_ARG_IN | MZ_ARG_PARTIAL)) MZ_TRY(move(c, t, &c->view[i], false));
    }
    return wait_for_device(c);
}

static mz_err outside(const call *c, int64_t index, int64_t rows)
{
    return MZ_FAIL(MZ_ECHIP, "%s: %s points at row %lld of %lld", mz_op_name(c->desc->kind),
                   mz_op_signature_of(c->desc->kind)->arg[c->table.index].name, (long long)index,
                   (long long)rows);
}

/* One row for each index; the indices then count 0, 1, 2 ... -1 stays: it means "no row", and for
 * embed so does everything outside the table. */
static mz_err number_rows(call *c, const mz_tensor *index, int64_t rows)
{
    const bool may_skip = c->desc->kind == MZ_OP_ROWS;
    c->n_rows = mz_count(index);
    for (int64_t r = 0; r < c->n_rows; r++) {
        const int64_t at = mz_at_int(index, r);
        const bool inside = at >= 0 && at < rows;
        if (!inside && c->desc->kind != MZ_OP_EMBED && !(may_skip && at == -1))
            return outside(c, at, rows);
        c->op->rows[r] = inside ? (int32_t)at : -1;
        mz_put_int(index, r, inside ? r : -1);
    }
    return MZ_OK;
}

/* The pages that hold keys, in the order of the table. */
static mz_err number_pages(call *c, const mz_tensor *table, int64_t pages)
{
    const int64_t page = c->desc->u.decode.page, per_seq = table->dim[1];
    c->n_rows = 0;
    for (int64_t b = 0; b < table->dim[0]; b++) {
        const int64_t keys = mz_at_int(c->host.decode.lens, b);
        if (!(keys >= 0 && keys <= per_seq * page))
            return MZ_FAIL(MZ_ECHIP, "decode: lens[%lld] is %lld, the table holds %lld",
                           (long long)b, (long long)keys, (long long)(per_seq * page));
        for (int64_t j = 0; j < per_seq; j++) {
            const bool used = j * page < keys;
            const int64_t at = used ? mz_at_int(table, b * per_seq + j) : 0;
            if (!(at >= 0 && at < pages)) return outside(c, at, pages);
            if (used) c->op->rows[c->n_rows] = (int32_t)at;
            mz_put_int(table, b * per_seq + j, used ? c->n_rows++ : 0);
        }
    }
    return MZ_OK;
}

/* Stages the tables: whole if they have no more rows than there are indices, else the rows named.
 */
static mz_err bring_tables(call *c)
{
    if (c->table.index < 0) return MZ_OK;
    const mz_tensor *index = c->host.t[c->table.index];
    const int64_t rows = c->args->t[c->table.table[0]]->dim[0];
    c->n_rows = -1;
    if (rows > mz_count(index))
        MZ_TRY(c->desc->kind == MZ_OP_DECODE ? number_pages(c, index, rows)
                                             : number_rows(c, index, rows));
    for (int k = 0; k < 2 && c->table.table[k] >= 0; k++) {
        const int i = c->table.table[k];
        const mz_tensor *t = c->args->t[i];
        const bool by_rows = c->n_rows >= 0;
        MZ_TRY(stage(c, i, t, by_rows ? c->n_rows : t->dim[0]));
        /* Rows that are written are written whole; what they held does not matter. */
        if (by_rows && (role(c, i) & MZ_ARG_OUT)) continue;
        MZ_TRY(by_rows ? move_rows(c, i, false) : move(c, t, &c->view[i], false));
    }
    return wait_for_device(c);
}

static mz_err send_outputs(call *c)
{
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        if (!c->host.t[i] || !(role(c, i) & MZ_ARG_OUT)) continue;
        c->q->pending = true;
        MZ_TRY(is_table(c, i) && c->n_rows >= 0 ? move_rows(c, i, true)
                                                : move(c, c->args->t[i], &c->view[i], true));
    }
    return MZ_OK;
}

static mz_err compute(call *c)
{
    MZ_TRY(mz_op_run(c->op->host, c->pass, &c->host));
    return mz_queue_sync(c->q->host);
}

mz_err mz_hosted_run(mz_op *op, mz_pass pass, const mz_args *args)
{
    mz_hosted_queue *q = op->queue->state;
    call c = {.q = q, .op = op->state, .desc = &op->desc, .pass = pass, .args = args};
    q->host->work = op->queue->work;
    c.host.k = args->k;
    c.table = mz_hosted_table_of(c.desc, pass);
    c.counts.calls = 1;
    /* The staging block is still the source of the last call's uploads. */
    if (q->pending) MZ_TRY(wait_for_device(&c));
    MZ_TRY(bring_inputs(&c));
    MZ_TRY(bring_tables(&c));
    MZ_TRY(compute(&c));
    MZ_TRY(send_outputs(&c));
    pthread_mutex_lock(&q->hosted->lock);
    mz_hosted_counts *sum = &q->hosted->counts;
    sum->calls += c.counts.calls;
    sum->copies += c.counts.copies;
    sum->down_bytes += c.counts.down_bytes;
    sum->up_bytes += c.counts.up_bytes;
    pthread_mutex_unlock(&q->hosted->lock);
    return MZ_OK;
}
