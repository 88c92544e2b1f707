/* SPDX-License-Identifier: Apache-2.0 */
/* chips/cpu/decode.c - see chip/desc.h; the arithmetic is in flash.isa.c.
 *
 * The rows of a block are the new tokens of one sequence, each with all heads of one key head: they
 * meet the same cached keys, so one token of a model with few key heads still fills vectors. Where
 * there are too few blocks to keep a machine busy (one long sequence), the keys are cut into
 * chunks; blocks of different chunks are merged in order. How many chunks, depends on the shapes
 * alone. Floor: chips. */
#include "chips/cpu/flash.h"
#include "chips/cpu/split.h"

#include <string.h>

enum {
    ROWS = MZ_FLASH_ROWS,
    KEYS = MZ_FLASH_KEYS,
    STATES = 64,           /* most blocks times chunks, when keys are cut */
    CHUNK_LEAST = 6 * KEYS /* keys that are worth a merge */
};

/* ---- memory ---- */

static mz_attention_desc block_desc(const mz_decode_desc *d)
{
    return (mz_attention_desc){.dtype = d->dtype, .K = d->K, .W = d->W, .scale = d->scale};
}

/* Floats of what a block has seen: maxima, sums, outputs. */
static int64_t state_floats(const mz_decode_desc *d)
{
    return ROWS * (mz_flash_padded(d->W) + 2);
}

/* Shared: numbers of blocks [B_max + 1], then the states. */
static mz_cpu_room room_of(const mz_decode_desc *d)
{
    mz_cpu_flash f;
    const mz_attention_desc block = block_desc(d);
    return (mz_cpu_room){
        .shared_bytes = (size_t)(d->B_max + 1) * sizeof(int64_t) +
                        (size_t)(STATES * state_floats(d)) * sizeof(float),
        .thread_bytes = (size_t)mz_cpu_flash_lay_out(&f, &block, NULL) * sizeof(float),
    };
}

static mz_err query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    const mz_decode_desc *d = &desc->u.decode;
    MZ_TRY(mz_cpu_flash_need(desc->kind, d->dtype, d->K, d->W));
    support->repeats = true;
    support->workspace_bytes = mz_cpu_room_bytes(q, room_of(d));
    return MZ_OK;
}

/* ---- a call ---- */

typedef struct job {
    const mz_op *op;
    const mz_decode_desc *d;
    const mz_args *args;
    const mz_cpu_flash_table *flash;
    mz_cpu_room room;
    int64_t B, group; /* heads that share a key head */
    int64_t chunks;   /* of a block's keys */
    int64_t *blocks;  /* [B + 1] those of one key head before each sequence */
    float *states;
} job;

/* A block: rows first .. first+n-1 of sequence b, whose new tokens start at token `start`; its
 * token i stands at position `from` + i. */
typedef struct block {
    int64_t b, g, start, from, first, n, len;
} block;

static int64_t new_tokens(const job *j, int64_t b)
{
    return mz_cpu_id_at(j->args->decode.cu, b + 1, 0) - mz_cpu_id_at(j->args->decode.cu, b, 0);
}

/* i counts (block, key head). */
static block block_at(const job *j, int64_t i)
{
    const int64_t at = i / j->d->G;
    const int64_t low = mz_cpu_owner(j->blocks, j->B, at);
    const int64_t rows = new_tokens(j, low) * j->group, first = (at - j->blocks[low]) * ROWS;
    const int64_t len = mz_cpu_id_at(j->args->decode.lens, low, 0);
    return (block){.b = low,
                   .g = i % j->d->G,
                   .start = mz_cpu_id_at(j->args->decode.cu, low, 0),
                   .from = len - new_tokens(j, low),
                   .first = first,
                   .n = rows - first < ROWS ? rows - first : ROWS,
                   .len = len};
}

/* Sequences hold their new tokens, and the pages that hold keys exist. */
static mz_err check(const job *j)
{
    const mz_tensor *table = j->args->decode.table;
    const int64_t pages = j->args->decode.k_cache->dim[0], columns = table->dim[1];
    MZ_TRY(mz_cpu_check_cu(j->args->decode.cu, j->args->decode.q->dim[0]));
    for (int64_t b = 0; b < j->B; b++) {
        const int64_t len = mz_cpu_id_at(j->args->decode.lens, b, 0);
        if (len < new_tokens(j, b) || len > columns * j->d->page)
            return MZ_FAIL(MZ_ECHIP, "lens[%lld] is %lld, with %lld new tokens and room for %lld",
                           (long long)b, (long long)len, (long long)new_tokens(j, b),
                           (long long)(columns * j->d->page));
        for (int64_t i = 0; i * j->d->page < len; i++) {
            const int64_t page = mz_cpu_id_at(table, b, i);
            if (page < 0 || page >= pages)
                return MZ_FAIL(MZ_ECHIP, "table[%lld,%lld] is page %lld of %lld", (long long)b,
                               (long long)i, (long long)page, (long long)pages);
        }
    }
    return MZ_OK;
}

static mz_err job_of(job *j, const mz_op *op, const mz_args *args)
{
    const mz_decode_desc *d = &op->desc.u.decode;
    *j = (job){.op = op,
               .d = d,
               .args = args,
               .flash = mz_cpu_ops_of(op)->flash,
               .room = room_of(d),
               .B = args->decode.lens->dim[0],
               .group = d->H / d->G,
               .blocks = mz_cpu_room_shared(op)};
    j->states = (float *)(void *)(j->blocks + d->B_max + 1);
    MZ_TRY(check(j));
    j->blocks[0] = 0;
    for (int64_t b = 0; b < j->B; b++)
        j->blocks[b + 1] = j->blocks[b] + (new_tokens(j, b) * j->group + ROWS - 1) / ROWS;
    const int64_t all = j->blocks[j->B] * d->G;
    j->chunks = all > 0 && all <= STATES / 2 ? STATES / all : 1;
    return MZ_OK;
}

/* Keys of each chunk of a block, a multiple of KEYS. */
static int64_t chunk_keys(const job *j, block b)
{
    const int64_t even = (b.len + j->chunks - 1) / j->chunks;
    return even <= CHUNK_LEAST ? CHUNK_LEAST : (even + KEYS - 1) / KEYS * KEYS;
}

static void aim_at_rows(mz_cpu_flash *f, const job *j, block b, void **out)
{
    const mz_tensor *q = j->args->decode.q, *o = j->args->decode.out;
    f->rows = b.n;
    for (int64_t i = 0; i < b.n; i++) {
        const int64_t token = (b.first + i) / j->group;
        const int64_t t = b.start + token, h = b.g * j->group + (b.first + i) % j->group;
        f->q[i] = mz_cpu_elem(q, t * q->stride[0] + h * q->stride[1]);
        f->limit[i] = b.from + token + 1;
        out[i] = mz_cpu_elem(o, t * o->stride[0] + h * o->stride[1]);
    }
}

static const void *cached(const mz_tensor *cache, int64_t page, int64_t row, int64_t g)
{
    return mz_cpu_elem(cache,
                       page * cache->stride[0] + row * cache->stride[1] + g * cache->stride[2]);
}

static void aim_at_keys(mz_cpu_keys *keys, const job *j, block b, int64_t first, int64_t n)
{
    keys->first = first;
    keys->n = n;
    int64_t column = first / j->d->page, row = first % j->d->page;
    for (int64_t i = 0; i < n; i++) {
        const int64_t page = mz_cpu_id_at(j->args->decode.table, b.b, column);
        keys->k[i] = cached(j->args->decode.k_cache, page, row, b.g);
        keys->v[i] = cached(j->args->decode.v_cache, page, row, b.g);
        if (++row < j->d->page) continue;
        row = 0;
        column++;
    }
}

static void see(mz_cpu_flash *f, const job *j, block b, int64_t first, int64_t end)
{
    mz_cpu_keys keys;
    j->flash->start(f);
    for (int64_t i = first; i < end; i += KEYS) {
        aim_at_keys(&keys, j, b, i, end - i < KEYS ? end - i : KEYS);
        j->flash->tile(f, &keys);
    }
}

/* The part-th (block, chunk). A block of one chunk is finished here. */
static void chunk_part(void *arg, int64_t part, int thread)
{
    const job *j = arg;
    const block b = block_at(j, part / j->chunks);
    const mz_attention_desc desc = block_desc(j->d);
    const int64_t keys = chunk_keys(j, b), first = part % j->chunks * keys;
    mz_cpu_flash f;
    void *out[ROWS];
    mz_cpu_flash_lay_out(&f, &desc, mz_cpu_room_thread(j->op, j->room, thread));
    aim_at_rows(&f, j, b, out);
    const int64_t end = f.limit[b.n - 1];
    if (first >= end) return; /* the merge knows that, too */
    see(&f, j, b, first, end - first < keys ? end : first + keys);
    if (first == 0 && end <= keys) {
        j->flash->finish(&f, out, NULL);
        return;
    }
    float *state = j->states + part * state_floats(j->d);
    memcpy(state, f.m, ROWS * sizeof *state);
    memcpy(state + ROWS, f.l, ROWS * sizeof *state);
    memcpy(state + 2 * ROWS, f.ot, (size_t)mz_flash_ot_floats(&f) * sizeof *state);
}

/* The states of a block's chunks become one, in order. */
static void merge_part(void *arg, int64_t part, int thread)
{
    const job *j = arg;
    const block b = block_at(j, part);
    const mz_attention_desc desc = block_desc(j->d);
    const int64_t keys = chunk_keys(j, b);
    mz_cpu_flash f;
    void *out[ROWS];
    mz_cpu_flash_lay_out(&f, &desc, mz_cpu_room_thread(j->op, j->room, thread));
    aim_at_rows(&f, j, b, out);
    const int64_t end = f.limit[b.n - 1];
    if (end <= keys) return;
    f.m = j->states + part * j->chunks * state_floats(j->d);
    f.l = f.m + ROWS;
    f.ot = f.l + ROWS;
    for (int64_t c = 1; c * keys < end; c++) {
        const float *state = f.m + c * state_floats(j->d);
        j->flash->merge(&f, state + 2 * ROWS, state, state + ROWS);
    }
    j->flash->finish(&f, out, NULL);
}

static mz_err forward(mz_op *op, const mz_args *args)
{
    job j;
    MZ_TRY(job_of(&j, op, args));
    const int64_t blocks = j.blocks[j.B] * j.d->G;
    mz_cpu_run(op->queue, blocks * j.chunks, chunk_part, &j);
    if (j.chunks > 1) mz_cpu_run(op->queue, blocks, merge_part, &j);
    return MZ_OK;
}

const mz_slot mz_cpu_decode = {.query = query, .forward = forward};
