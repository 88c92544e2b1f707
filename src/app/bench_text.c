/* SPDX-License-Identifier: Apache-2.0 */
/* app/bench_text.c - `mizan bench prefill MODEL` and `mizan bench decode MODEL`: a network on texts
 * that grow, with a cache, beside reading memory alone.
 *
 * Every stream has pages of its own and is filled to --positions first; a repetition of decoding
 * adds one token to each, a repetition of prefill fills one. Nothing is sampled. Floor: app. */
#include "app/bench.h"
#include "base/clock.h"
#include "base/mem.h"
#include "port/source.h"

#include <string.h>

enum { CHUNK = 512, PAGE = 32, POSITIONS = 512, PREFILLS = 3, TOKENS = 32, STRIDE = 7919 };

typedef struct bench_text {
    mz_queue *q;
    mz_source *source;
    mz_model *model;
    int64_t positions, streams, times, pages; /* pages: of a stream */
    int32_t *ids, *pos, *cu, *lens, *table, *last;
} bench_text;

static mz_err take_room(bench_text *b)
{
    const int64_t T = b->streams > CHUNK ? b->streams : CHUNK;
    MZ_TRY(mz_mem_new(&b->ids, T, sizeof *b->ids));
    MZ_TRY(mz_mem_new(&b->pos, T, sizeof *b->pos));
    MZ_TRY(mz_mem_new(&b->cu, b->streams + 1, sizeof *b->cu));
    MZ_TRY(mz_mem_new(&b->lens, b->streams, sizeof *b->lens));
    MZ_TRY(mz_mem_new(&b->last, b->streams, sizeof *b->last));
    MZ_TRY(mz_mem_new(&b->table, b->streams * b->pages, sizeof *b->table));
    for (int64_t i = 0; i < b->streams * b->pages; i++) b->table[i] = (int32_t)i;
    return MZ_OK;
}

static mz_err open_text(bench_text *b, const mz_cli *cli)
{
    mz_dtype dtype;
    MZ_TRY(mz_cli_dtype(cli, MZ_F32, &dtype));
    b->pages = (b->positions + b->times + PAGE - 1) / PAGE;
    MZ_TRY(take_room(b));
    MZ_TRY(mz_source_open(&b->source, mz_cli_argument(cli, 1)));
    const mz_model_options o = {.dtype = dtype,
                                .tokens_max = b->streams > CHUNK ? b->streams : CHUNK,
                                .sequences_max = b->streams,
                                .position_max = b->pages * PAGE,
                                .head_rows = b->streams,
                                .cache_pages = b->streams * b->pages,
                                .page_tokens = PAGE,
                                .pages_per_sequence_max = b->pages};
    return mz_source_model(&b->model, b->source, b->q, &o, !mz_cli_text(cli, "dtype", NULL));
}

static int32_t some_id(const bench_text *b, int64_t i)
{
    return (int32_t)(i * STRIDE % mz_source_config(b->source)->vocab);
}

/* One call, with logits of the last token of each sequence. */
static mz_err step(bench_text *b, int64_t sequences, int64_t stream)
{
    mz_tensor logits;
    const mz_batch batch = {.tokens = b->cu[sequences],
                            .sequences = sequences,
                            .ids = b->ids,
                            .pos = b->pos,
                            .cu = b->cu};
    const mz_cached cached = {.table = b->table + stream * b->pages, .lens = b->lens};
    for (int64_t i = 0; i < sequences; i++) b->last[i] = b->cu[i + 1] - 1;
    MZ_TRY(mz_model_cached(b->model, &batch, &cached));
    MZ_TRY(mz_model_logits_rows(b->model, b->last, sequences, &logits));
    return mz_queue_sync(b->q);
}

static mz_err fill(bench_text *b, int64_t stream)
{
    for (int64_t at = 0; at < b->positions; at += CHUNK) {
        const int64_t n = b->positions - at < CHUNK ? b->positions - at : CHUNK;
        b->cu[0] = 0, b->cu[1] = (int32_t)n, b->lens[0] = (int32_t)(at + n);
        for (int64_t i = 0; i < n; i++) {
            b->ids[i] = some_id(b, stream + at + i);
            b->pos[i] = (int32_t)(at + i);
        }
        MZ_TRY(step(b, 1, stream));
    }
    return MZ_OK;
}

static mz_err token(bench_text *b, int64_t i)
{
    for (int64_t s = 0; s < b->streams; s++) {
        b->cu[s] = (int32_t)s;
        b->ids[s] = some_id(b, s + i);
        b->pos[s] = (int32_t)(b->positions + i);
        b->lens[s] = b->pos[s] + 1;
    }
    b->cu[b->streams] = (int32_t)b->streams;
    return step(b, b->streams, 0);
}

static mz_err add_ns(json_t *list, int64_t since)
{
    return json_array_append_new(list, json_integer(mz_clock_ns() - since)) == 0
               ? MZ_OK
               : mz_cli_json_failed();
}

static mz_err prefill(bench_text *b, json_t *list)
{
    MZ_TRY(fill(b, 0)); /* touches memory and wakes threads */
    for (int64_t i = 0; i < b->times; i++) {
        const int64_t start = mz_clock_ns();
        MZ_TRY(fill(b, 0));
        MZ_TRY(add_ns(list, start));
    }
    return MZ_OK;
}

static mz_err decode(bench_text *b, json_t *list)
{
    for (int64_t s = 0; s < b->streams; s++) MZ_TRY(fill(b, s));
    for (int64_t i = 0; i < b->times; i++) {
        const int64_t start = mz_clock_ns();
        MZ_TRY(token(b, i));
        MZ_TRY(add_ns(list, start));
    }
    return MZ_OK;
}

/* Of all weights that a token reads whole: matrices, and the embedding where it is the head too. */
static int64_t bytes_read(const bench_text *b)
{
    const mz_params *p = mz_model_params(b->model);
    int64_t bytes = 0;
    for (int64_t i = 0; i < p->n; i++) {
        const mz_param *one = &p->list[i];
        if (one->kind == MZ_PARAM_EMBED && !mz_source_config(b->source)->tied) continue;
        bytes += mz_count(&one->w) / mz_dtype_block(one->dtype) *
                 (int64_t)mz_dtype_block_bytes(one->dtype);
    }
    return bytes;
}

static mz_err describe(const bench_text *b, json_t *o, const char *kind)
{
    const mz_device_info *info = &b->q->device->info;
    int bad = json_object_set_new(o, "kind", json_string(kind));
    bad |= json_object_set_new(o, "chip", json_string(info->name));
    bad |= json_object_set_new(o, "isa", json_string(info->isa));
    bad |= json_object_set_new(o, "threads", json_integer(info->threads));
    bad |= json_object_set_new(o, "positions", json_integer(b->positions));
    bad |= json_object_set_new(o, "streams", json_integer(b->streams));
    bad |= json_object_set_new(o, "weight_bytes", json_integer(bytes_read(b)));
    return bad == 0 ? MZ_OK : mz_cli_json_failed();
}

/* How fast the weights went by, of how fast memory was read alone, both at their best. */
static mz_err add_share(json_t *o, const json_t *list)
{
    const double read = (double)json_integer_value(json_object_get(o, "bytes")) /
                        (double)mz_bench_best(json_object_get(o, "read_ns"));
    const double went = (double)json_integer_value(json_object_get(o, "weight_bytes"));
    return json_object_set_new(o, "read_share",
                               json_real(went / (double)mz_bench_best(list) / read)) == 0
               ? MZ_OK
               : mz_cli_json_failed();
}

static mz_err run(const mz_cli *cli, const char *kind, bool decodes)
{
    mz_device *device = NULL;
    bench_text b = {.positions = mz_cli_int(cli, "positions", POSITIONS),
                    .streams = decodes ? mz_cli_int(cli, "streams", 1) : 1,
                    .times = mz_bench_repetitions(cli, decodes ? TOKENS : PREFILLS)};
    json_t *o = mz_cli_document(), *list = json_array();
    mz_err err = o && list ? mz_cli_open_chip(cli, &device) : mz_cli_json_failed();
    if (err == MZ_OK) err = mz_queue_open(&b.q, device);
    if (err == MZ_OK) err = open_text(&b, cli);
    if (err == MZ_OK) err = describe(&b, o, kind);
    if (err == MZ_OK) err = decodes ? decode(&b, list) : prefill(&b, list);
    if (err == MZ_OK && json_object_set(o, decodes ? "decode_ns" : "prefill_ns", list) != 0)
        err = mz_cli_json_failed();
    if (err == MZ_OK) err = mz_bench_read(b.q, PREFILLS, o);
    if (err == MZ_OK && decodes) err = add_share(o, list);
    json_decref(list);
    mz_model_free(b.model);
    mz_source_close(b.source);
    mz_queue_close(b.q);
    mz_device_close(device);
    void *const room[] = {b.ids, b.pos, b.cu, b.lens, b.last, b.table};
    for (int i = 0; i < MZ_COUNT(room); i++) mz_mem_free(room[i]);
    if (err == MZ_OK) return mz_bench_print(cli, o);
    json_decref(o);
    return err;
}

mz_err mz_bench_prefill(const mz_cli *cli)
{
    return run(cli, "prefill", false);
}

mz_err mz_bench_decode(const mz_cli *cli)
{
    return run(cli, "decode", true);
}
