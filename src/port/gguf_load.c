/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_load.c - the tensors of a GGUF onto a chip, expanded a few groups of rows at a time.
 * Floor:  port. */
#include "port/gguf.h"

#include "base/mem.h"
#include "base/str.h"
#include "port/disk.h"
#include "port/gguf_stored.h"
#include "tensor/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 18 }; /* numbers at a time, unless a group has more */

/* ---- checking ---- */

static void shape_text(char *out, size_t bytes, int rank, const int64_t *dim)
{
    size_t n = 0;
    out[0] = '\0';
    for (int i = 0; i < rank && n + 24 < bytes; i++)
        n += (size_t)snprintf(out + n, bytes - n, "%s%lld", i ? "," : "", (long long)dim[i]);
}

static mz_err check_part(const mz_gguf_part *part, const mz_gguf *file, const mz_gguf_tensor **out)
{
    const mz_gguf_tensor *t = mz_gguf_find(file, part->name);
    char has[100], want[100], text[256];
    if (!t) {
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: this tensor is missing", part->name);
        mz_note_where(mz_gguf_path(file), part->name, -1);
        return err;
    }
    bool fits = t->rank == part->rank;
    for (int i = 0; fits && i < t->rank; i++) fits = t->dim[i] == part->dim[i];
    if (!fits) {
        shape_text(has, sizeof has, t->rank, t->dim);
        shape_text(want, sizeof want, part->rank, part->dim);
        snprintf(text, sizeof text, "the shape is [%s], expected [%s]", has, want);
        return mz_gguf_bad_tensor(file, t, MZ_ECORRUPT, text);
    }
    if (!mz_ggml_can_expand(t->type)) {
        snprintf(text, sizeof text, "numbers of type %s are not read", mz_ggml_name(t->type));
        return mz_gguf_bad_tensor(file, t, MZ_ENOTSUP, text);
    }
    if (part->out_cols % mz_ggml_block(t->type) != 0)
        return mz_gguf_bad_tensor(file, t, MZ_ECORRUPT, "blocks that go over the end of a row");
    *out = t;
    return MZ_OK;
}

/* Of an MTP layer, which is left out here, or a table that only says what a key says too. */
static bool is_idle(const mz_gguf_tensor *t, const mz_config *c)
{
    char *end = NULL;
    if (strcmp(t->name, "rope_freqs.weight") == 0) return c->rope.scaling == MZ_ROPE_LLAMA3;
    if (!mz_str_starts(t->name, "blk.")) return false;
    const long long layer = strtoll(t->name + 4, &end, 10);
    return *end == '.' && layer >= c->layers && c->mla;
}

static int by_address(const void *pa, const void *pb)
{
    const mz_gguf_tensor *const *a = pa, *const *b = pb;
    const uintptr_t x = (uintptr_t)*a, y = (uintptr_t)*b;
    return x < y ? -1 : x > y;
}

/* used: [n], room for a sorted copy behind it */
static mz_err check_rest(const mz_config *c, const mz_gguf *file, const mz_gguf_tensor **used,
                         int64_t n)
{
    const mz_gguf_tensor **sorted = used + n;
    if (n > 0) memcpy(sorted, used, (size_t)n * sizeof *used);
    qsort(sorted, (size_t)n, sizeof *sorted, by_address);
    for (int64_t i = 0; i < mz_gguf_count(file); i++) {
        const mz_gguf_tensor *t = mz_gguf_at(file, i);
        if (n > 0 && bsearch(&t, sorted, (size_t)n, sizeof *sorted, by_address)) continue;
        if (is_idle(t, c)) continue;
        return mz_gguf_bad_tensor(file, t, MZ_ECORRUPT,
                                  "this belongs to no part of the network that the keys describe");
    }
    return MZ_OK;
}

/* parts and the tensor of each; free both. */
typedef struct plan {
    mz_gguf_part *parts;
    const mz_gguf_tensor **tensors; /* [2 n] */
    int64_t n;
} plan;

static void clear_plan(plan *l)
{
    mz_mem_free(l->tensors);
    mz_mem_free(l->parts);
}

static mz_err make_plan(plan *l, const mz_params *p, const mz_config *c, const mz_gguf *file)
{
    const bool split = c->mla && !mz_gguf_find(file, "blk.0.attn_kv_b.weight");
    MZ_TRY(mz_gguf_parts(&l->parts, &l->n, p, c, split));
    MZ_TRY(mz_mem_new(&l->tensors, 2 * l->n, sizeof *l->tensors));
    for (int64_t i = 0; i < l->n; i++) MZ_TRY(check_part(&l->parts[i], file, &l->tensors[i]));
    if (p->is_part) return MZ_OK; /* the rest is the other parts' */
    return check_rest(c, file, l->tensors, l->n);
}

mz_err mz_gguf_check(const mz_params *p, const mz_config *c, const mz_gguf *file)
{
    plan l = {0};
    const mz_err err = make_plan(&l, p, c, file);
    clear_plan(&l);
    return err;
}

/* ---- loading ---- */

typedef struct rooms {
    float *file;           /* a chunk as the tensor has it */
    float *ours;           /* as the parameter has it */
    unsigned char *result; /* in the parameter's dtype */
} rooms;

static const unsigned char *group_at(const mz_gguf_part *part, const mz_gguf_tensor *t, int64_t g)
{
    const int64_t blocks = g * part->out_rows * part->out_cols / mz_ggml_block(t->type);
    return (const unsigned char *)t->data + (size_t)blocks * mz_ggml_block_bytes(t->type);
}

static mz_err check_finite(const mz_gguf *file, const mz_gguf_tensor *t, const float *x, int64_t n)
{
    float sum = 0.0f; /* of x - x: 0 unless one of them is not finite */
    for (int64_t i = 0; i < n; i++) sum += x[i] - x[i];
    if (!(sum < 0.0f || sum > 0.0f || isnan(sum))) return MZ_OK;
    return mz_gguf_bad_tensor(file, t, MZ_ECORRUPT, "a number that is not finite");
}

/* Groups g .. g + n - 1 of one parameter, from its one or two tensors. */
static mz_err load_groups(const mz_gguf *file, const mz_gguf_part *part,
                          const mz_gguf_tensor *const *tensors, int pieces, int64_t g, int64_t n,
                          const rooms *room)
{
    for (int i = 0; i < pieces; i++) {
        const int64_t out = part[i].out_rows * part[i].out_cols,
                      in = part[i].in_rows * part[i].cols;
        const bool plain = part[i].kind == MZ_PART_PLAIN;
        float *to = plain ? room->ours : room->file;
        MZ_TRY(mz_ggml_expand(tensors[i]->type, to, group_at(&part[i], tensors[i], g), n * out));
        MZ_TRY(check_finite(file, tensors[i], to, n * out));
        for (int64_t k = 0; k < n && !plain; k++)
            mz_gguf_part_in(&part[i], room->ours + k * in, room->file + k * out);
    }
    return MZ_OK;
}

/* ---- as it lies in the file ---- */

/* Whether no word has all bits of the mask, the exponent. In runs of one length, which compilers
 * turn into vectors: a file of gigabytes is looked at before its first token. */
enum { RUN = 256 };

static bool bad_16(const uint16_t x[RUN], uint16_t mask)
{
    uint16_t bad = 0;
    for (int i = 0; i < RUN; i++) bad |= (uint16_t)((x[i] & mask) == mask);
    return bad != 0;
}

static bool bad_32(const uint32_t x[RUN])
{
    uint32_t bad = 0;
    for (int i = 0; i < RUN; i++) bad |= (x[i] & 0x7f800000u) == 0x7f800000u;
    return bad != 0;
}

static bool finite_16(const unsigned char *p, int64_t n, uint16_t mask)
{
    const bool aligned = (uintptr_t)p % sizeof(uint16_t) == 0;
    int64_t done = 0;
    bool bad = false;
    for (; aligned && done + RUN <= n; done += RUN) /* looked at where they lie */
        bad |= bad_16((const void *)(p + 2 * done), mask);
    for (; done < n; done += RUN) {
        uint16_t x[RUN] = {0};
        memcpy(x, p + 2 * done, (size_t)(n - done < RUN ? n - done : RUN) * sizeof *x);
        bad |= bad_16(x, mask);
    }
    return !bad;
}

static bool finite_32(const unsigned char *p, int64_t n)
{
    const bool aligned = (uintptr_t)p % sizeof(uint32_t) == 0;
    int64_t done = 0;
    bool bad = false;
    for (; aligned && done + RUN <= n; done += RUN) /* looked at where they lie */
        bad |= bad_32((const void *)(p + 4 * done));
    for (; done < n; done += RUN) {
        uint32_t x[RUN] = {0};
        memcpy(x, p + 4 * done, (size_t)(n - done < RUN ? n - done : RUN) * sizeof *x);
        bad |= bad_32(x);
    }
    return !bad;
}

/* The scales, and the minima of those types that have them. */
static bool finite_blocks(const unsigned char *p, int64_t n, mz_dtype d)
{
    const bool has_least = d == MZ_Q4_1 || d == MZ_Q5_1 || d == MZ_Q4_K || d == MZ_Q5_K;
    const size_t each = mz_dtype_block_bytes(d);
    bool finite = true;
    p += d == MZ_Q6_K ? 208 : 0;
    for (int64_t i = 0; i < n; i++, p += each) {
        finite &= (p[1] & 0x7c) != 0x7c;
        if (has_least) finite &= (p[3] & 0x7c) != 0x7c;
    }
    return finite;
}

/* The same promise that unpacking gives: no number of the file is infinite or none at all. */
static mz_err check_raw(const mz_gguf *file, const mz_gguf_tensor *t, mz_dtype dtype)
{
    const int64_t n = (int64_t)t->bytes / (int64_t)mz_dtype_block_bytes(dtype);
    const bool finite = mz_dtype_is_blocks(dtype) ? finite_blocks(t->data, n, dtype)
                        : dtype == MZ_F32
                            ? finite_32(t->data, n)
                            : finite_16(t->data, n, dtype == MZ_BF16 ? 0x7f80 : 0x7c00);
    if (finite) return MZ_OK;
    return mz_gguf_bad_tensor(file, t, MZ_ECORRUPT, "a number that is not finite");
}

/* A parameter whose dtype is the tensor's, group by group where rows change places. */
static mz_err load_rows(mz_queue *q, const mz_gguf_part *part, const mz_gguf_tensor *t,
                        const rooms *room)
{
    const mz_tensor *w = &part->param->w;
    const size_t row = (size_t)t->bytes / (size_t)(part->groups * part->in_rows);
    const unsigned char *from = t->data;
    if (part->kind != MZ_PART_TURNED) {
        MZ_TRY(mz_upload(q, w, from));
        return mz_queue_sync(q);
    }
    for (int64_t g = 0; g < part->groups; g++, from += (size_t)part->in_rows * row) {
        const mz_tensor rows = mz_slice(w, 0, g * part->in_rows, part->in_rows);
        unsigned char *to = mz_host(&rows);
        if (!to) to = room->result;
        for (int64_t i = 0; i < part->in_rows; i++)
            memcpy(to + (size_t)i * row, from + (size_t)mz_gguf_part_row(part, i) * row, row);
        if (to != room->result) continue;
        MZ_TRY(mz_upload(q, &rows, to));
        MZ_TRY(mz_queue_sync(q)); /* the room is written again */
    }
    return MZ_OK;
}

/* The bytes of the file are the parameter. */
static void map_param(mz_params *p, const mz_gguf_part *part, const mz_gguf_tensor *t)
{
    mz_param *own = &p->list[part->param - p->list];
    own->w.buf = p->mapped[0];
    own->w.offset_bytes = (size_t)t->offset;
}

static mz_err map_file(mz_params *p, mz_queue *q, const mz_gguf *file)
{
    size_t bytes = 0;
    const void *data = mz_gguf_bytes(file, &bytes);
    bool any = false;
    for (int64_t i = 0; i < p->n; i++) any |= p->list[i].outside;
    if (!any || p->mapped) return MZ_OK;
    MZ_TRY(mz_params_new_mapped(p, 1));
    return mz_buffer_wrap(&p->mapped[0], q->device, data, bytes);
}

/* Whether the parameter is the tensor's rows in its dtype. */
static bool lies_so(const mz_gguf_part *part, const mz_gguf_tensor *t)
{
    mz_dtype dtype;
    bool in_order;
    return mz_gguf_part_is_rows(part, &in_order) && mz_gguf_stored_dtype(t->type, &dtype) &&
           dtype == part->param->dtype;
}

static mz_err load_param(mz_queue *q, const mz_gguf *file, const mz_gguf_part *part,
                         const mz_gguf_tensor *const *tensors, int pieces, const rooms *room)
{
    const mz_tensor *w = &part->param->w;
    const int64_t each = part->in_rows * part->cols;
    const int64_t step = each < CHUNK ? CHUNK / each : 1;
    for (int64_t g = 0; g < part->groups; g += step) {
        const int64_t n = part->groups - g < step ? part->groups - g : step, count = n * each;
        const mz_tensor run = mz_disk_run(w, g * each, count);
        MZ_TRY(load_groups(file, part, tensors, pieces, g, n, room));
        void *host = mz_host(&run);
        MZ_TRY(mz_convert(host ? host : room->result, w->dtype, room->ours, MZ_F32, count));
        if (host) continue;
        MZ_TRY(mz_upload(q, &run, room->result));
        MZ_TRY(mz_queue_sync(q)); /* the room is written again */
    }
    return MZ_OK;
}

static mz_err new_rooms(rooms *room, const plan *l)
{
    int64_t most = CHUNK;
    for (int64_t i = 0; i < l->n; i++) {
        const mz_gguf_part *part = &l->parts[i];
        const int64_t in = part->in_rows * part->cols, out = part->out_rows * part->out_cols;
        if (in > most) most = in;
        if (out > most) most = out;
    }
    MZ_TRY(mz_mem_new(&room->file, most, sizeof *room->file));
    MZ_TRY(mz_mem_new(&room->ours, most, sizeof *room->ours));
    return mz_mem_new(&room->result, most, sizeof(double));
}

static mz_err load_all(mz_params *p, mz_queue *q, const mz_gguf *file, const plan *l,
                       const rooms *room)
{
    MZ_TRY(map_file(p, q, file));
    for (int64_t i = 0; i < l->n;) {
        const mz_param *param = l->parts[i].param;
        const mz_gguf_tensor *t = l->tensors[i];
        int pieces = 1;
        if (i + 1 < l->n && l->parts[i + 1].param == param) pieces = 2;
        if (pieces == 1 && lies_so(&l->parts[i], t)) {
            MZ_TRY(check_raw(file, t, param->dtype));
            if (param->outside)
                map_param(p, &l->parts[i], t);
            else
                MZ_TRY(load_rows(q, &l->parts[i], t, room));
            i++;
            continue;
        }
        MZ_NEED(!param->outside && !mz_dtype_is_blocks(param->dtype),
                "%s was to lie as in another file", param->name);
        MZ_TRY(load_param(q, file, &l->parts[i], &l->tensors[i], pieces, room));
        i += pieces;
    }
    return mz_queue_sync(q);
}

mz_err mz_gguf_load_params(mz_params *p, mz_queue *q, const mz_config *c, const mz_gguf *file)
{
    MZ_NEED(p && q && c && file && p->weights, "no parameters with buffers, queue, config or file");
    plan l = {0};
    rooms room = {0};
    mz_err err = mz_queue_sync(q); /* nothing may still use what is overwritten */
    if (err == MZ_OK) err = make_plan(&l, p, c, file);
    if (err == MZ_OK) err = new_rooms(&room, &l);
    if (err == MZ_OK) err = load_all(p, q, file, &l, &room);
    if (err == MZ_OK) err = mz_gguf_intact(file);
    mz_mem_free(room.result);
    mz_mem_free(room.ours);
    mz_mem_free(room.file);
    clear_plan(&l);
    return err;
}
