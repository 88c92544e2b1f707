/* SPDX-License-Identifier: Apache-2.0 */
/* text/load.c - reads a tokenizer.json in one pass: the two big lists by a scanner that copies
 * nothing, the rest (a few kilobytes) as JSON values. Floor: text. */
#include "text/load.h"
#include "base/file.h"
#include "base/inside.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

enum { DEPTH = 64, KEYS_KEPT = 64, FILE_MAX = 1 << 30 };

typedef struct reader {
    mz_load load;
    mz_scan scan;
    mz_map map;
    char *room, *room_start; /* texts with escapes, unescaped */
    mz_vocab_token *tokens;
    mz_vocab_merge *merges;
    int64_t tokens_cap, merges_cap;
    bool has_vocab, has_merges, has_model;
} reader;

mz_err mz_load_bad(const mz_load *load, const char *field, const char *what)
{
    const mz_err err = MZ_FAIL(MZ_ECORRUPT, "%s: %s: %s", load->path, field, what);
    mz_note_where(load->path, field, -1);
    return err;
}

static mz_err text_here(reader *r, const char **text, size_t *bytes)
{
    if (!r->room) {
        /* Pages that nobody writes to cost nothing. */
        MZ_TRY(mz_mem_new(&r->room_start, (int64_t)r->map.bytes + 1, 1));
        r->room = r->room_start;
    }
    return mz_scan_text(&r->scan, &r->room, text, bytes);
}

/* What is likely enough for the list that begins here: an entry takes about as many bytes. Pages
 * that are not reached are not touched, while growing would copy. */
static int64_t next_cap(const reader *r, int64_t cap)
{
    return cap > 0 ? cap + cap / 2 : (int64_t)((r->scan.end - r->scan.at) / 14) + 16;
}

static mz_err vocab_entry(reader *r)
{
    mz_load *load = &r->load;
    if (load->vocab.n_tokens == r->tokens_cap) {
        const int64_t cap = next_cap(r, r->tokens_cap);
        MZ_TRY(mz_mem_grow(&r->tokens, cap, sizeof *r->tokens));
        r->tokens_cap = cap;
    }
    mz_vocab_token *t = &r->tokens[load->vocab.n_tokens];
    uint64_t id = 0;
    MZ_TRY(text_here(r, &t->text, &t->bytes));
    MZ_TRY(mz_scan_take(&r->scan, ':', "expected a colon"));
    MZ_TRY(mz_scan_uint(&r->scan, &id));
    t->id = (int64_t)id;
    load->vocab.n_tokens++;
    return MZ_OK;
}

static mz_err read_vocab(reader *r)
{
    r->scan.field = "model.vocab";
    if (r->has_vocab) return mz_scan_bad(&r->scan, r->scan.at, "a second vocab");
    r->has_vocab = true;
    MZ_TRY(mz_scan_take(&r->scan, '{', "expected an object"));
    if (mz_scan_have(&r->scan, '}')) return MZ_OK;
    do MZ_TRY(vocab_entry(r));
    while (mz_scan_have(&r->scan, ','));
    return mz_scan_take(&r->scan, '}', "expected , or }");
}

/* "a b" (neither contains a space), or ["a", "b"]. */
static mz_err merge_entry(reader *r)
{
    mz_load *load = &r->load;
    if (load->vocab.n_merges == r->merges_cap) {
        const int64_t cap = next_cap(r, r->merges_cap);
        MZ_TRY(mz_mem_grow(&r->merges, cap, sizeof *r->merges));
        r->merges_cap = cap;
    }
    mz_vocab_merge *m = &r->merges[load->vocab.n_merges];
    if (mz_scan_have(&r->scan, '[')) {
        MZ_TRY(text_here(r, &m->a, &m->a_bytes));
        MZ_TRY(mz_scan_take(&r->scan, ',', "expected two texts"));
        MZ_TRY(text_here(r, &m->b, &m->b_bytes));
        MZ_TRY(mz_scan_take(&r->scan, ']', "expected two texts"));
    } else {
        const size_t start = r->scan.at;
        MZ_TRY(text_here(r, &m->a, &m->a_bytes));
        const char *space = memchr(m->a, ' ', m->a_bytes);
        if (!space) return mz_scan_bad(&r->scan, start, "a merge without a space");
        m->b = space + 1;
        m->b_bytes = m->a_bytes - (size_t)(m->b - m->a);
        m->a_bytes = (size_t)(space - m->a);
        if (memchr(m->b, ' ', m->b_bytes))
            return mz_scan_bad(&r->scan, start, "a merge with more than one space");
    }
    load->vocab.n_merges++;
    return MZ_OK;
}

static mz_err read_merges(reader *r)
{
    r->scan.field = "model.merges";
    if (r->has_merges) return mz_scan_bad(&r->scan, r->scan.at, "a second list of merges");
    r->has_merges = true;
    MZ_TRY(mz_scan_take(&r->scan, '[', "expected an array"));
    if (mz_scan_have(&r->scan, ']')) return MZ_OK;
    do MZ_TRY(merge_entry(r));
    while (mz_scan_have(&r->scan, ','));
    return mz_scan_take(&r->scan, ']', "expected , or ]");
}

static bool is_needed(const char *key)
{
    static const char *const keys[] = {
        "added_tokens",      "normalizer",    "pre_tokenizer", "post_processor",
        "decoder",           "type",          "dropout",       "unk_token",
        "fuse_unk",          "byte_fallback", "ignore_merges", "continuing_subword_prefix",
        "end_of_word_suffix"};
    for (int i = 0; i < MZ_COUNT(keys); i++)
        if (strcmp(keys[i], key) == 0) return true;
    return false;
}

/* Any other value: as JSON, into `into`, unless there are many that nothing here looks at. */
static mz_err read_value(reader *r, json_t *into, const char *key)
{
    json_t *value = NULL;
    r->scan.field = key;
    mz_scan_space(&r->scan);
    const size_t start = r->scan.at;
    MZ_TRY(mz_scan_skip(&r->scan, DEPTH));
    if (json_object_size(into) >= KEYS_KEPT && !is_needed(key)) return MZ_OK;
    if (json_object_get(into, key)) return mz_scan_bad(&r->scan, start, "a key that stands twice");
    MZ_TRY(mz_json_parse(&value, (const char *)r->scan.text + start, r->scan.at - start,
                         r->load.path));
    if (json_object_set_new(into, key, value) != 0)
        return MZ_FAIL(MZ_ENOMEM, "%s: out of memory", r->load.path);
    return MZ_OK;
}

static mz_err read_model(reader *r)
{
    char key[64];
    size_t bytes = 0;
    r->scan.field = "model";
    if (r->has_model) return mz_scan_bad(&r->scan, r->scan.at, "a second model");
    r->has_model = true;
    MZ_TRY(mz_scan_take(&r->scan, '{', "expected an object"));
    if (mz_scan_have(&r->scan, '}')) return MZ_OK;
    do {
        MZ_TRY(mz_scan_peek(&r->scan, key, sizeof key));
        MZ_TRY(mz_scan_string(&r->scan, NULL, &bytes));
        MZ_TRY(mz_scan_take(&r->scan, ':', "expected a colon"));
        if (strcmp(key, "vocab") == 0)
            MZ_TRY(read_vocab(r));
        else if (strcmp(key, "merges") == 0)
            MZ_TRY(read_merges(r));
        else
            MZ_TRY(read_value(r, r->load.model, key));
    } while (mz_scan_have(&r->scan, ','));
    return mz_scan_take(&r->scan, '}', "expected , or }");
}

static mz_err read_top(reader *r)
{
    char key[64];
    size_t bytes = 0;
    MZ_TRY(mz_scan_take(&r->scan, '{', "expected an object"));
    if (!mz_scan_have(&r->scan, '}')) {
        do {
            MZ_TRY(mz_scan_peek(&r->scan, key, sizeof key));
            MZ_TRY(mz_scan_string(&r->scan, NULL, &bytes));
            MZ_TRY(mz_scan_take(&r->scan, ':', "expected a colon"));
            if (strcmp(key, "model") == 0)
                MZ_TRY(read_model(r));
            else
                MZ_TRY(read_value(r, r->load.rules, key));
            r->scan.field = "";
        } while (mz_scan_have(&r->scan, ','));
        MZ_TRY(mz_scan_take(&r->scan, '}', "expected , or }"));
    }
    if (!mz_scan_done(&r->scan)) return mz_scan_bad(&r->scan, r->scan.at, "text after the end");
    return MZ_OK;
}

static mz_err read_all(reader *r)
{
    mz_load *load = &r->load;
    load->rules = json_object();
    load->model = json_object();
    if (!load->rules || !load->model) return MZ_FAIL(MZ_ENOMEM, "%s: out of memory", load->path);
    MZ_TRY(read_top(r));
    if (!r->has_vocab) return mz_load_bad(load, "model.vocab", "is missing");
    if (!r->has_merges) return mz_load_bad(load, "model.merges", "is missing");
    load->vocab.tokens = r->tokens;
    load->vocab.merges = r->merges;
    MZ_TRY(mz_load_rules(load));
    return mz_load_special(load);
}

int64_t mz_load_id(const mz_load *load, const char *text)
{
    const size_t n = strlen(text);
    const mz_vocab *v = &load->vocab;
    for (int64_t i = 0; i < v->n_added; i++)
        if (v->added[i].bytes == n && memcmp(v->added[i].text, text, n) == 0) return v->added[i].id;
    for (int64_t i = 0; i < v->n_tokens; i++)
        if (v->tokens[i].bytes == n && memcmp(v->tokens[i].text, text, n) == 0)
            return v->tokens[i].id;
    return -1;
}

/* Most checks know a field and no position; here it is found. */
static void find_place(const char *path)
{
    const mz_err_info *info = mz_err_last();
    char name[sizeof info->field];
    char index[24] = "";
    if (info->offset >= 0 || strcmp(info->file, path) != 0 || !info->field[0]) return;
    const size_t n = strcspn(info->field, "["), end = strcspn(info->field, "]");
    memcpy(name, info->field, n);
    name[n] = '\0';
    if (end > n + 1 && end - n < sizeof index)
        (void)snprintf(index, sizeof index, "#%.*s", (int)(end - n - 1), info->field + n + 1);
    const bool dotted = mz_str_starts(name, "model.");
    const char *const whole[] = {name, index}, *const part[] = {"model", name, index},
                      *const inner[] = {"model", name + 6};
    const int more = index[0] != '\0';
    int64_t at = dotted ? mz_json_offset(path, inner, 2) : mz_json_offset(path, whole, 1 + more);
    if (at < 0) at = mz_json_offset(path, part, 2 + more);
    if (at < 0 && dotted) at = mz_json_offset(path, part, 1);
    mz_note_where(NULL, NULL, at);
}

static void clear(reader *r)
{
    json_decref(r->load.rules);
    json_decref(r->load.model);
    mz_mem_free(r->load.added);
    mz_mem_free(r->load.eos);
    mz_mem_free(r->tokens);
    mz_mem_free(r->merges);
    mz_mem_free(r->room_start);
    mz_map_close(&r->map);
}

/* ---- */

struct mz_vocab_file {
    reader r;
    char path[MZ_INSIDE_BYTES];
};

void mz_vocab_close(mz_vocab_file *f)
{
    if (!f) return;
    clear(&f->r);
    mz_mem_free(f);
}

static mz_err open_file(mz_vocab_file *f)
{
    reader *r = &f->r;
    MZ_TRY(mz_map_open(&r->map, f->path));
    if (r->map.bytes > FILE_MAX) return mz_load_bad(&r->load, "size", "more than 1 GiB");
    r->scan = (mz_scan){.text = r->map.data, .end = r->map.bytes, .path = f->path, .field = ""};
    return read_all(r);
}

mz_err mz_vocab_open(mz_vocab_file **out, const char *path)
{
    MZ_NEED(out && path, "no path, or no place for a vocabulary");
    mz_vocab_file *f = NULL;
    MZ_TRY(mz_mem_new(&f, 1, sizeof *f));
    mz_err err = MZ_OK;
    if (mz_file_is_dir(path)) {
        err = mz_path_join(f->path, sizeof f->path, path, "tokenizer.json");
        if (err == MZ_OK && mz_file_exists(f->path))
            err = mz_inside(f->path, path, "tokenizer.json", path);
    } else {
        err = mz_path_join(f->path, sizeof f->path, "", path);
    }
    f->r.load.path = f->path;
    f->r.load.vocab = (mz_vocab){.file = f->path, .bos = -1, .unknown = -1};
    if (err == MZ_OK) err = open_file(f);
    if (err == MZ_OK) err = mz_map_intact(&f->r.map, f->path);
    if (err != MZ_OK) {
        find_place(f->path);
        mz_vocab_close(f);
        return err;
    }
    *out = f;
    return MZ_OK;
}

const mz_vocab *mz_vocab_of(const mz_vocab_file *f)
{
    return &f->r.load.vocab;
}

mz_err mz_tokenizer_open(mz_tokenizer **t, const char *path)
{
    mz_vocab_file *f = NULL;
    MZ_NEED(t && path, "tokenizer or path is NULL");
    MZ_TRY(mz_vocab_open(&f, path));
    const mz_err err = mz_tokenizer_from_vocab(t, mz_vocab_of(f));
    if (err != MZ_OK) find_place(f->path);
    mz_vocab_close(f);
    return err;
}
