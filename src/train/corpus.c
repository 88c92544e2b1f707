/* SPDX-License-Identifier: Apache-2.0 */
/* train/corpus.c - see corpus.h. Documents are gathered into a batch, encoded by all threads, and
 * written in their order. */
#include "train/corpus.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/scan.h"
#include "base/thread.h"
#include "file/input.h"
#include "train/extras.h"

#include <stdio.h>
#include <string.h>

enum { BATCH = 256, BATCH_BYTES = 1 << 20, READ_BYTES = 1 << 20, DEPTH = 64 };

static const size_t LINE_MAX_BYTES = (size_t)1 << 30, TEXT_MAX_BYTES = (size_t)1 << 36;
static const uint64_t VALIDATION_STREAM = 0x76616c6964000000u;

typedef struct document {
    size_t first, bytes; /* in the batch's text */
    mz_part part;
    mz_ids ids;
    mz_err err;
    mz_err_info why;
} document;

typedef struct work {
    const mz_corpus_options *o;
    mz_corpus_count *count;
    mz_shards_writer *writer;
    mz_pool *pool;
    mz_encoder **encoders; /* [threads] */
    mz_str text;           /* of the batch */
    document *batch;       /* [BATCH] */
    int64_t n;
    int64_t drawn; /* documents of JSONL so far: what the draw counts */
    mz_str in;     /* what was read and is not a document yet */
    int64_t done_files_bytes;
} work;

/* ---- a batch ---- */

static mz_err encode(const work *w, document *d, mz_encoder *e)
{
    const mz_tokenizer *t = w->o->tokenizer;
    d->ids.count = 0;
    if (d->bytes == 0) return MZ_OK;
    const unsigned flags = mz_tokenizer_adds_bos(t) ? MZ_ENCODE_BOS : 0;
    MZ_TRY(mz_encode(e, w->text.text + d->first, d->bytes, flags, &d->ids));
    return mz_tokenizer_eos_count(t) > 0 ? mz_ids_add(&d->ids, mz_tokenizer_eos(t, 0)) : MZ_OK;
}

static void encode_part(void *arg, int64_t i, int thread)
{
    work *w = arg;
    document *d = &w->batch[i];
    d->err = encode(w, d, w->encoders[thread]);
    if (d->err != MZ_OK) d->why = *mz_err_last(); /* notes belong to their thread */
}

static mz_err write_document(work *w, document *d)
{
    mz_corpus_count *c = w->count;
    if (d->err != MZ_OK) {
        mz_err_restore(&d->why);
        return d->err;
    }
    if (d->ids.count == 0) {
        c->empty++;
        return MZ_OK;
    }
    MZ_TRY(mz_shards_writer_put(w->writer, d->part, d->ids.at, (int64_t)d->ids.count));
    c->documents++;
    c->ids += (int64_t)d->ids.count;
    c->text_bytes += (int64_t)d->bytes;
    return MZ_OK;
}

static mz_err flush(work *w)
{
    mz_pool_run(w->pool, w->n, encode_part, w);
    for (int64_t i = 0; i < w->n; i++) MZ_TRY(write_document(w, &w->batch[i]));
    w->n = 0;
    w->text.len = 0;
    for (int i = 0; i < MZ_PARTS; i++)
        mz_shards_writer_count(w->writer, (mz_part)i, &w->count->part[i]);
    if (w->o->progress) w->o->progress(w->o->user, w->count);
    return MZ_OK;
}

static mz_err add(work *w, size_t first, size_t bytes, mz_part part)
{
    document *d = &w->batch[w->n++];
    d->first = first;
    d->bytes = bytes;
    d->part = part;
    return w->n == BATCH || w->text.len >= BATCH_BYTES ? flush(w) : MZ_OK;
}

/* ---- JSONL ---- */

static mz_part draw(work *w)
{
    uint32_t word[4];
    mz_philox(w->o->seed, VALIDATION_STREAM, (uint64_t)w->drawn++, word);
    return (double)word[0] * 0x1p-32 < w->o->validation ? MZ_PART_VALIDATION : MZ_PART_TRAIN;
}

/* The field's text onto the end of the batch's; unescaped there. */
static mz_err take_text(work *w, mz_scan *s, size_t *bytes)
{
    const size_t first = w->text.len, most = s->end - s->at;
    const char *text = NULL;
    if (first + most + 1 > w->text.cap) {
        const size_t cap = 2 * (first + most + 1);
        MZ_TRY(mz_mem_grow(&w->text.text, (int64_t)cap, 1));
        w->text.cap = cap;
    }
    char *room = w->text.text + first;
    MZ_TRY(mz_scan_text(s, &room, &text, bytes));
    if (*bytes > 0) memmove(w->text.text + first, text, *bytes);
    w->text.len = first + *bytes;
    return MZ_OK;
}

static mz_err read_line(work *w, mz_scan *s, size_t *bytes)
{
    char key[128];
    size_t skipped;
    bool found = false;
    MZ_TRY(mz_scan_take(s, '{', "an object"));
    if (!mz_scan_have(s, '}')) {
        do {
            MZ_TRY(mz_scan_peek(s, key, sizeof key));
            MZ_TRY(mz_scan_string(s, NULL, &skipped));
            MZ_TRY(mz_scan_take(s, ':', "a colon"));
            const bool wanted = strcmp(key, w->o->field) == 0;
            if (wanted && found) return mz_scan_bad(s, s->at, "the field stands twice");
            found = found || wanted;
            MZ_TRY(wanted ? take_text(w, s, bytes) : mz_scan_skip(s, DEPTH));
        } while (mz_scan_have(s, ','));
        MZ_TRY(mz_scan_take(s, '}', ", or }"));
    }
    if (!mz_scan_done(s)) return mz_scan_bad(s, s->at, "more than one value in a line");
    if (found) return MZ_OK;
    const mz_err err = mz_scan_bad(s, 0, "an object without the field of the text");
    mz_note_fix("--field names the field that holds a document's text; it is \"%s\" now",
                w->o->field);
    return err;
}

typedef struct place {
    const char *path;
    uint64_t offset; /* of the line, unpacked */
    int64_t line;
} place;

static mz_err add_line(work *w, const char *text, size_t n, const place *at)
{
    mz_scan s = {.text = (const unsigned char *)text,
                 .end = n,
                 .base = at->offset,
                 .path = at->path,
                 .field = w->o->field,
                 .nul = true};
    const size_t first = w->text.len;
    size_t bytes = 0;
    if (mz_scan_done(&s)) return MZ_OK; /* blank */
    const mz_err err = read_line(w, &s, &bytes);
    if (err == MZ_ECORRUPT) {
        const mz_err_info why = *mz_err_last();
        mz_note(err, why.source, why.line, "%s:%lld: %.300s", at->path, (long long)at->line,
                why.message);
        mz_note_where(at->path, w->o->field, why.offset);
        mz_note_fix("%s", why.fix);
    }
    return err == MZ_OK ? add(w, first, bytes, draw(w)) : err;
}

/* Every whole line of w->in; what follows the last stays. */
static mz_err add_lines(work *w, place *at, bool is_end)
{
    size_t done = 0;
    while (done < w->in.len) {
        const char *from = w->in.text + done;
        const char *newline = memchr(from, '\n', w->in.len - done);
        if (!newline && !is_end) break;
        const size_t n = newline ? (size_t)(newline - from) : w->in.len - done;
        at->line++;
        MZ_TRY(add_line(w, from, n, at));
        at->offset += n + 1;
        done += n + (newline ? 1 : 0);
    }
    if (done > 0) memmove(w->in.text, w->in.text + done, w->in.len - done);
    w->in.len -= done;
    return MZ_OK;
}

/* ---- files ---- */

static bool is_jsonl(const char *path)
{
    char name[1024];
    (void)snprintf(name, sizeof name, "%s", path);
    if (mz_str_ends(name, ".zst")) name[strlen(name) - 4] = '\0';
    return mz_str_ends(name, ".jsonl") || mz_str_ends(name, ".ndjson");
}

static mz_err read_more(work *w, mz_input *in, size_t most, const char *path, bool *is_end)
{
    size_t n = 0;
    if (w->in.len > most)
        return MZ_FAIL(MZ_ECORRUPT, "%s: a document of more than %zu bytes", path, most);
    if (w->in.len + READ_BYTES > w->in.cap) {
        const size_t cap = 2 * (w->in.len + READ_BYTES);
        MZ_TRY(mz_mem_grow(&w->in.text, (int64_t)cap, 1));
        w->in.cap = cap;
    }
    MZ_TRY(mz_input_read(in, w->in.text + w->in.len, READ_BYTES, &n));
    w->in.len += n;
    w->count->file_bytes = w->done_files_bytes + (int64_t)mz_input_taken(in);
    *is_end = n == 0;
    return MZ_OK;
}

/* Where the end that is held out begins: after a newline. */
static size_t cut_at(const work *w)
{
    const size_t n = w->in.len;
    size_t at = n - (size_t)((double)n * w->o->validation);
    while (at > 0 && at < n && w->in.text[at - 1] != '\n') at++;
    return at;
}

static mz_err add_text(work *w, const char *path)
{
    const char *nul = w->in.len > 0 ? memchr(w->in.text, 0, w->in.len) : NULL;
    if (nul) {
        const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s holds NUL bytes, so it is no text", path);
        mz_note_where(path, NULL, (int64_t)(nul - w->in.text));
        return err;
    }
    const size_t first = w->text.len, cut = cut_at(w);
    MZ_TRY(mz_str_add(&w->text, w->in.text ? w->in.text : "", w->in.len));
    const size_t rest = w->in.len - cut;
    w->in.len = 0;
    if (rest == 0) return add(w, first, cut, MZ_PART_TRAIN);
    if (w->n + 2 > BATCH) return MZ_FAIL(MZ_EINVAL, "a batch without room");
    w->batch[w->n].first = first; /* not through add: it may flush and move the text */
    w->batch[w->n].bytes = cut;
    w->batch[w->n++].part = MZ_PART_TRAIN;
    return add(w, first + cut, rest, MZ_PART_VALIDATION);
}

static mz_err add_file(work *w, const char *path)
{
    mz_input *in = NULL;
    place at = {.path = path};
    const bool lines = is_jsonl(path);
    bool is_end = false;
    mz_err err = MZ_OK;
    if (w->n + 2 > BATCH) err = flush(w);
    if (err == MZ_OK) err = mz_input_open(&in, path);
    while (err == MZ_OK && !is_end) {
        err = read_more(w, in, lines ? LINE_MAX_BYTES : TEXT_MAX_BYTES, path, &is_end);
        if (err == MZ_OK && lines) err = add_lines(w, &at, is_end);
        if (err == MZ_OK && !lines && w->o->progress) w->o->progress(w->o->user, w->count);
    }
    if (err == MZ_OK && !lines) err = add_text(w, path);
    if (err == MZ_OK) w->done_files_bytes += (int64_t)mz_input_size(in);
    mz_input_close(in);
    return err;
}

static mz_err sizes(work *w)
{
    for (int i = 0; i < w->o->n_files; i++) {
        mz_input *in = NULL; /* a file that is not there is said before the first one is read */
        MZ_TRY(mz_input_open(&in, w->o->files[i]));
        w->count->file_bytes_all += (int64_t)mz_input_size(in);
        mz_input_close(in);
    }
    return MZ_OK;
}

/* ---- the whole ---- */

static mz_err set_up(work *w)
{
    const mz_corpus_options *o = w->o;
    const mz_tokenizer *t = o->tokenizer;
    const mz_shards_options so = {.folder = o->out,
                                  .vocab = mz_tokenizer_count(t),
                                  .shard_ids = o->shard_ids,
                                  .bos = mz_tokenizer_adds_bos(t) ? mz_tokenizer_bos(t) : -1,
                                  .eos =
                                      mz_tokenizer_eos_count(t) > 0 ? mz_tokenizer_eos(t, 0) : -1,
                                  .made_by = o->tokenizer_name};
    MZ_TRY(sizes(w));
    MZ_TRY(mz_shards_writer_new(&w->writer, &so));
    MZ_TRY(mz_mem_new(&w->batch, BATCH, sizeof *w->batch));
    MZ_TRY(mz_pool_new(&w->pool, o->threads));
    MZ_TRY(mz_mem_new(&w->encoders, o->threads, sizeof(mz_encoder *)));
    for (int i = 0; i < o->threads; i++) MZ_TRY(mz_encoder_new(&w->encoders[i], t));
    return MZ_OK;
}

static void clear(work *w)
{
    mz_pool_free(w->pool);
    for (int i = 0; w->encoders && i < w->o->threads; i++) mz_encoder_free(w->encoders[i]);
    for (int i = 0; w->batch && i < BATCH; i++) mz_ids_clear(&w->batch[i].ids);
    mz_mem_free(w->encoders);
    mz_mem_free(w->batch);
    mz_str_clear(&w->text);
    mz_str_clear(&w->in);
    mz_shards_writer_abort(w->writer);
}

mz_err mz_corpus_build(const mz_corpus_options *o, mz_corpus_count *count)
{
    MZ_NEED(o && count && o->files && o->n_files > 0 && o->out && o->tokenizer && o->field &&
                o->threads > 0 && o->validation >= 0.0 && o->validation < 1.0,
            "no files, no tokenizer, no folder, or a share that is none");
    work w = {.o = o, .count = count};
    *count = (mz_corpus_count){0};
    mz_err err = set_up(&w);
    for (int i = 0; i < o->n_files && err == MZ_OK; i++) err = add_file(&w, o->files[i]);
    if (err == MZ_OK) err = flush(&w);
    if (err == MZ_OK && count->documents == 0)
        err = MZ_FAIL(MZ_ECORRUPT, "the files hold no document");
    if (err == MZ_OK) err = mz_extras_copy(o->tokenizer_name, o->out, 0, (bool[MZ_EXTRAS]){0});
    if (err == MZ_OK) {
        mz_shards_writer *writer = w.writer;
        w.writer = NULL;
        err = mz_shards_writer_commit(writer, count->text_bytes);
    }
    clear(&w);
    return err;
}
