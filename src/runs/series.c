/* SPDX-License-Identifier: Apache-2.0 */
/* runs/series.c - see series.h. */
#include "runs/series.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

enum { DEPTH = 16, LATELY = 20, RESUMES_MOST = 1 << 22 };

static const struct {
    const char *key, *title;
} METRICS[MZ_METRIC_COUNT] = {
    [MZ_METRIC_LOSS] = {"loss", "loss"},
    [MZ_METRIC_LR] = {"lr", "learning rate"},
    [MZ_METRIC_GRAD_NORM] = {"grad_norm", "gradient norm"},
    [MZ_METRIC_SPEED] = {"tokens_per_s", "tokens per second"},
    [MZ_METRIC_EVAL] = {"eval_loss", "validation loss"},
};

const char *mz_metric_key(mz_metric m)
{
    return METRICS[m].key;
}

const char *mz_metric_title(mz_metric m)
{
    return METRICS[m].title;
}

bool mz_metric_find(const char *key, mz_metric *m)
{
    for (int i = 0; i < MZ_METRIC_COUNT; i++)
        if (strcmp(METRICS[i].key, key) == 0) {
            *m = (mz_metric)i;
            return true;
        }
    return false;
}

/* ---- one line ---- */

/* The number that stands at [from, to), NaN for anything else. */
static double number_at(const mz_scan *s, size_t from)
{
    char text[64];
    double x;
    const size_t n = s->at - from;
    if (n == 0 || n >= sizeof text) return (double)NAN;
    memcpy(text, s->text + from, n);
    text[n] = '\0';
    return mz_str_to_f64(text, &x) ? x : (double)NAN;
}

static int64_t whole(double x)
{
    return x >= 0.0 && x <= 9007199254740992.0 ? (int64_t)x : 0; /* 2^53; not for NaN */
}

static void take_member(mz_record *r, const char *key, double x, bool is_true)
{
    mz_metric m;
    if (mz_metric_find(key, &m))
        r->value[m] = x;
    else if (strcmp(key, "step") == 0)
        r->step = whole(x);
    else if (strcmp(key, "samples") == 0)
        r->samples = whole(x);
    else if (strcmp(key, "tokens") == 0)
        r->tokens = whole(x);
    else if (strcmp(key, "skipped") == 0)
        r->skipped = whole(x);
    else if (strcmp(key, "time") == 0)
        r->time = x;
    else if (strcmp(key, "done") == 0)
        r->is_done = is_true;
}

static mz_err read_line(mz_scan *s, mz_record *r)
{
    *r = (mz_record){.time = (double)NAN};
    for (int i = 0; i < MZ_METRIC_COUNT; i++) r->value[i] = (double)NAN;
    MZ_TRY(mz_scan_take(s, '{', "expected a record"));
    if (!mz_scan_have(s, '}')) {
        do {
            char key[32];
            size_t unused;
            mz_scan_space(s);
            MZ_TRY(mz_scan_peek(s, key, sizeof key));
            MZ_TRY(mz_scan_string(s, NULL, &unused));
            MZ_TRY(mz_scan_take(s, ':', "expected a colon"));
            mz_scan_space(s);
            const size_t from = s->at;
            MZ_TRY(mz_scan_skip(s, DEPTH));
            const bool is_true = s->at - from == 4 && memcmp(s->text + from, "true", 4) == 0;
            take_member(r, key, number_at(s, from), is_true);
        } while (mz_scan_have(s, ','));
        MZ_TRY(mz_scan_take(s, '}', "expected the end of a record"));
    }
    if (!mz_scan_done(s)) return mz_scan_bad(s, s->at, "more than a record stands in a line");
    return r->step > 0 ? MZ_OK : mz_scan_bad(s, 0, "a record without a step");
}

static mz_err add_line(mz_series *s, const mz_map *map, size_t from, size_t to, const char *path)
{
    mz_record r;
    mz_scan scan = {.text = map->data + from,
                    .end = to - from,
                    .base = from,
                    .path = path,
                    .field = "",
                    .nul = true};
    MZ_TRY(read_line(&scan, &r));
    if (s->n == s->cap) {
        const int64_t cap = s->cap > 0 ? 2 * s->cap : 256;
        MZ_TRY(mz_mem_grow(&s->list, cap, sizeof *s->list));
        s->cap = cap;
    }
    s->list[s->n++] = r;
    return MZ_OK;
}

/* ---- the file ---- */

static mz_err add_lines(mz_series *s, const mz_map *map, const char *path)
{
    while (s->at < map->bytes) {
        const unsigned char *end = memchr(map->data + s->at, '\n', map->bytes - s->at);
        if (!end) break; /* a line that is being written */
        const size_t to = (size_t)(end - map->data);
        MZ_TRY(add_line(s, map, s->at, to, path));
        s->at = to + 1;
    }
    return MZ_OK;
}

/* Whether the file is the one that was read, grown at most. An inode may be used again, so its last
 * bytes are looked at too. */
static bool is_same(const mz_series *s, const mz_map *map)
{
    if (s->at > map->bytes || s->device != map->device || s->inode != map->inode) return false;
    return s->n_tail == 0 || memcmp(map->data + s->at - s->n_tail, s->tail, s->n_tail) == 0;
}

static void remember(mz_series *s, const mz_map *map)
{
    s->device = map->device, s->inode = map->inode;
    s->n_tail = s->at < sizeof s->tail ? s->at : sizeof s->tail;
    if (s->n_tail > 0) memcpy(s->tail, map->data + s->at - s->n_tail, s->n_tail);
}

static mz_err map_log(mz_map *map, char path[MZ_RUN_PATH], const char *run, bool *is_there)
{
    MZ_TRY(mz_path_join(path, MZ_RUN_PATH, run, "log.jsonl"));
    *is_there = mz_file_exists(path);
    return *is_there ? mz_map_open(map, path) : MZ_OK;
}

/* ---- restarts ---- */

/* The record after this step is the first of a process; what later ones began was made again. */
static void mark(mz_series *s, int64_t after)
{
    for (int64_t i = 0; i < s->n; i++) {
        if (s->list[i].step <= after) continue;
        s->list[i].is_resumed = s->list[i].step == after + 1;
    }
}

/* {"after_step": N, ...} a line; a last one without its end, or one that is none, says nothing. */
static mz_err mark_restarts(mz_series *s, const char *run)
{
    static const char key[] = "{\"after_step\": ";
    char path[MZ_RUN_PATH], *text = NULL;
    size_t bytes = 0;
    MZ_TRY(mz_path_join(path, sizeof path, run, "resumed.jsonl"));
    if (!mz_file_exists(path)) return MZ_OK;
    MZ_TRY(mz_file_read(path, RESUMES_MOST, &text, &bytes));
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
        int64_t after = 0;
        if (!mz_str_starts(at, key)) continue;
        char *number = at + sizeof key - 1;
        number[strcspn(number, ",}\n")] = '\0';
        if (mz_str_to_i64(number, &after)) mark(s, after);
    }
    mz_mem_free(text);
    return MZ_OK;
}

mz_err mz_series_read(mz_series *s, const char *run)
{
    char path[MZ_RUN_PATH];
    mz_map map = {0};
    bool is_there = false;
    MZ_NEED(s && run, "no series or no run");
    MZ_TRY(map_log(&map, path, run, &is_there));
    if (!is_there || !is_same(s, &map)) s->n = 0, s->at = 0, s->n_tail = 0;
    if (!is_there) return MZ_OK;
    const mz_err err = add_lines(s, &map, path);
    remember(s, &map);
    mz_map_close(&map);
    return err == MZ_OK ? mark_restarts(s, run) : err;
}

mz_err mz_series_read_tail(mz_series *s, const char *run, int64_t most)
{
    char path[MZ_RUN_PATH];
    mz_map map = {0};
    bool is_there = false;
    MZ_NEED(s && run && most > 0, "no series, no run, or no line");
    MZ_TRY(map_log(&map, path, run, &is_there));
    if (!is_there) return MZ_OK;
    size_t at = map.bytes;
    while (at > 0 && map.data[at - 1] != '\n') at--;
    for (; at > 0 && most > 0; most--)
        for (at--; at > 0 && map.data[at - 1] != '\n';) at--;
    s->n = 0, s->at = at;
    const mz_err err = add_lines(s, &map, path);
    mz_map_close(&map);
    return err;
}

void mz_series_clear(mz_series *s)
{
    if (!s) return;
    mz_mem_free(s->list);
    *s = (mz_series){0};
}

/* ---- what it says ---- */

const mz_record *mz_series_last(const mz_series *s)
{
    return s->n > 0 ? &s->list[s->n - 1] : NULL;
}

/* Of the last steps that were made in one go: a pause between two processes is no step. */
double mz_series_pace(const mz_series *s)
{
    int64_t from = s->n - 1;
    while (from > 0 && s->n - from <= LATELY && !s->list[from].is_resumed) from--;
    if (s->n < 2 || from == s->n - 1) return (double)NAN;
    const mz_record *a = &s->list[from], *b = &s->list[s->n - 1];
    const double each = (b->time - a->time) / (double)(b->step - a->step);
    return b->step > a->step && isfinite(each) && each >= 0.0 ? each : (double)NAN;
}

double mz_series_speed(const mz_series *s)
{
    double sum = 0.0;
    int64_t n = 0;
    for (int64_t i = s->n > LATELY ? s->n - LATELY : 0; i < s->n; i++) {
        const double x = s->list[i].value[MZ_METRIC_SPEED];
        if (!isfinite(x)) continue;
        sum += x;
        n++;
    }
    return n > 0 ? sum / (double)n : (double)NAN;
}

double mz_series_best(const mz_series *s, int64_t *step)
{
    double best = (double)NAN;
    *step = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const double x = s->list[i].value[MZ_METRIC_EVAL];
        if (!isfinite(x) || x >= best) continue; /* false beside NaN */
        best = x;
        *step = s->list[i].step;
    }
    return best;
}

bool mz_series_skipped(const mz_series *s, int64_t i)
{
    return s->list[i].skipped > (i > 0 ? s->list[i - 1].skipped : 0);
}
