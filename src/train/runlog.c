/* SPDX-License-Identifier: Apache-2.0 */
/* train/runlog.c - see runlog.h. */
#include "train/runlog.h"

#include "base/file.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the first `steps` whole lines. */
static mz_err cut_at(const mz_map *map, const char *path, int64_t steps, size_t *bytes)
{
    const char *text = (const char *)map->data;
    size_t at = 0;
    for (int64_t i = 0; i < steps; i++) {
        const char *end = map->bytes > at ? memchr(text + at, '\n', map->bytes - at) : NULL;
        if (!end) {
            const mz_err err =
                MZ_FAIL(MZ_ECORRUPT, "%s holds %lld lines, the checkpoint is of step %lld", path,
                        (long long)i, (long long)steps);
            mz_note_where(path, NULL, (int64_t)at);
            return err;
        }
        at = (size_t)(end - text) + 1;
    }
    *bytes = at;
    return MZ_OK;
}

/* A last line that said that the run was finished says so no longer when the run is made longer. */
static size_t without_done(const char *text, size_t bytes, mz_str *line)
{
    size_t from = bytes > 0 ? bytes - 1 : 0;
    while (from > 0 && text[from - 1] != '\n') from--;
    const char key[] = ", \"done\":";
    for (size_t at = from; at + sizeof key - 1 <= bytes; at++)
        if (memcmp(text + at, key, sizeof key - 1) == 0) {
            const bool is_kept = mz_str_add(line, "}\n", 2) == MZ_OK;
            return is_kept ? at : bytes;
        }
    return bytes;
}

static mz_err cut(const char *path, int64_t steps, bool goes_on)
{
    mz_map map = {0};
    mz_str tail = {0};
    mz_writer *w = NULL;
    size_t bytes = 0;
    MZ_TRY(mz_map_open(&map, path));
    mz_err err = cut_at(&map, path, steps, &bytes);
    const char *text = (const char *)map.data;
    const size_t kept = err == MZ_OK && goes_on ? without_done(text, bytes, &tail) : bytes;
    if (err == MZ_OK && (kept < map.bytes || tail.len > 0)) {
        err = mz_writer_open(&w, path);
        if (err == MZ_OK) err = mz_writer_put(w, text, kept);
        if (err == MZ_OK) err = mz_writer_put(w, tail.text, tail.len);
        if (err == MZ_OK)
            err = mz_writer_commit(w);
        else
            mz_writer_abort(w);
    }
    mz_str_clear(&tail);
    mz_map_close(&map);
    return err;
}

mz_err mz_runlog_open(mz_appender *log, const char *path, int64_t steps, bool goes_on)
{
    MZ_NEED(log && path && steps >= 0, "no log, no path or %lld steps", (long long)steps);
    /* asked of the file itself: one that cannot be looked at is not one that is not there */
    MZ_TRY(steps > 0 ? cut(path, steps, goes_on) : mz_file_write(path, "", 0));
    return mz_appender_open(log, path);
}

/* JSON has no NaN and no infinity. */
static const char *number(char out[40], double x)
{
    if (isfinite(x))
        (void)snprintf(out, 40, "%.17g", x);
    else
        (void)snprintf(out, 40, "null");
    return out;
}

/* ", \"eval_loss\": ..., \"sample\": ..." where there is any. */
static mz_err add_looks(mz_str *line, const mz_step_record *r)
{
    char text[40];
    if (!isnan(r->eval_loss))
        MZ_TRY(mz_str_addf(line, ", \"eval_loss\": %s", number(text, r->eval_loss)));
    if (!isnan(r->load)) MZ_TRY(mz_str_addf(line, ", \"expert_load\": %s", number(text, r->load)));
    if (!r->text) return MZ_OK;
    MZ_TRY(mz_str_addf(line, ", \"sample\": "));
    return mz_str_add_quoted(line, r->text);
}

mz_err mz_runlog_put(mz_appender *log, const mz_step_record *r)
{
    mz_str line = {0};
    char a[5][40];
    mz_err err = mz_str_addf(
        &line,
        "{\"step\": %lld, \"samples\": %lld, \"tokens\": %lld, \"loss\": %s, \"lr\": %s, "
        "\"grad_norm\": %s, \"tokens_per_s\": %s, \"flops_per_s\": %s, \"skipped\": %lld, "
        "\"time\": %.3f",
        (long long)r->step, (long long)r->samples, (long long)r->tokens, number(a[0], r->loss),
        number(a[1], r->lr), number(a[2], r->grad_norm), number(a[3], r->tokens_per_s),
        number(a[4], r->flops_per_s), (long long)r->skipped, r->time);
    if (err == MZ_OK) err = add_looks(&line, r);
    if (err == MZ_OK && r->is_resumed) err = mz_str_addf(&line, ", \"resumed\": true");
    if (err == MZ_OK && r->is_done)
        err = mz_str_addf(&line, ", \"done\": true, \"peak_bytes\": %zu", r->peak_bytes);
    if (err == MZ_OK) err = mz_str_add(&line, "}\n", 2);
    if (err == MZ_OK) err = mz_appender_put(log, line.text, line.len); /* in one write */
    mz_str_clear(&line);
    return err;
}
