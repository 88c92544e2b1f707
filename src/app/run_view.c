/* SPDX-License-Identifier: Apache-2.0 */
/* app/run_view.c - see run_view.h. */
#include "app/run_view.h"

#include "app/run_entry.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EVENTS_MOST = 1 << 26 };

const char *mz_run_state_now(const mz_run_entry *e)
{
    return mz_run_is_gone(e) ? "gone" : mz_run_state_name(e->state);
}

/* A path may be bytes that are no UTF-8, which JSON cannot have. */
static json_t *text_or_null(const char *text)
{
    char plain[MZ_RUN_PATH];
    if (!text[0]) return json_null();
    json_t *value = json_string(text);
    if (value) return value;
    size_t n = 0;
    for (; text[n] && n < sizeof plain - 1; n++)
        plain[n] = (signed char)text[n] < 0 ? '?' : text[n];
    plain[n] = '\0';
    return json_string(plain);
}

static json_t *whole_or_null(int64_t x)
{
    return x > 0 ? json_integer(x) : json_null();
}

json_t *mz_run_json(const mz_run_entry *e)
{
    json_t *o = json_object();
    int bad = json_object_set_new(o, "id", text_or_null(e->id));
    bad |= json_object_set_new(o, "name", text_or_null(e->name));
    bad |= json_object_set_new(o, "run", text_or_null(e->path));
    bad |= json_object_set_new(o, "state", json_string(mz_run_state_name(e->state)));
    bad |= json_object_set_new(o, "gone", json_boolean(mz_run_is_gone(e)));
    bad |= json_object_set_new(o, "reason", text_or_null(e->reason));
    bad |= json_object_set_new(o, "family", text_or_null(e->family));
    bad |= json_object_set_new(o, "parameters", whole_or_null(e->parameters));
    bad |= json_object_set_new(o, "config", text_or_null(e->config));
    bad |= json_object_set_new(o, "chips", text_or_null(e->chips));
    bad |= json_object_set_new(o, "host", text_or_null(e->host));
    bad |= json_object_set_new(o, "pid", whole_or_null(e->pid));
    bad |= json_object_set_new(o, "started", mz_json_number(e->started));
    bad |= json_object_set_new(o, "ended", mz_json_number(e->ended));
    bad |= json_object_set_new(o, "step", json_integer(e->step));
    bad |= json_object_set_new(o, "steps", whole_or_null(e->steps));
    bad |= json_object_set_new(o, "tokens", json_integer(e->tokens));
    bad |= json_object_set_new(o, "loss", mz_json_number(e->loss));
    bad |= json_object_set_new(o, "best_eval_loss", mz_json_number(e->best_loss));
    bad |= json_object_set_new(o, "best_eval_step", whole_or_null(e->best_step));
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

json_t *mz_run_last_record(const char *run)
{
    char path[MZ_RUN_PATH];
    mz_map map = {0};
    json_t *record = NULL;
    if (mz_path_join(path, sizeof path, run, "log.jsonl") != MZ_OK || !mz_file_exists(path) ||
        mz_map_open(&map, path) != MZ_OK)
        return NULL;
    const char *text = (const char *)map.data;
    size_t end = map.bytes;
    while (end > 0 && text[end - 1] != '\n') end--; /* a line that is being written */
    size_t from = end > 0 ? end - 1 : 0;
    while (from > 0 && text[from - 1] != '\n') from--;
    if (end > from) record = json_loadb(text + from, end - from, 0, NULL);
    mz_map_close(&map);
    return record;
}

json_t *mz_run_events(const char *run, const char *name, const char *event)
{
    char path[MZ_RUN_PATH], *text = NULL;
    size_t n = 0;
    json_t *list = json_array();
    if (mz_path_join(path, sizeof path, run, name) != MZ_OK || !mz_file_exists(path) ||
        mz_file_read(path, EVENTS_MOST, &text, &n) != MZ_OK)
        return list;
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
        json_t *o = json_loadb(at, (size_t)(end - at), 0, NULL);
        const char *kind = json_string_value(json_object_get(o, "event"));
        if (o && (!event || (kind && strcmp(kind, event) == 0))) (void)json_array_append(list, o);
        json_decref(o);
    }
    mz_mem_free(text);
    return list;
}

const char *mz_run_size(char out[16], int64_t parameters)
{
    static const struct {
        double unit;
        char letter;
    } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'k'}};
    (void)snprintf(out, 16, "%lld", (long long)parameters);
    for (int i = 0; i < MZ_COUNT(units); i++) {
        const double x = (double)parameters / units[i].unit;
        if (x < 0.9995) continue;
        (void)snprintf(out, 16, x < 9.95 ? "%.1f%c" : "%.0f%c", x, units[i].letter);
        break;
    }
    if (parameters <= 0) (void)snprintf(out, 16, "-");
    return out;
}

const char *mz_run_age(char out[16], double since)
{
    static const struct {
        double seconds;
        const char *unit;
    } units[] = {{86400.0, "d"}, {3600.0, "h"}, {60.0, "min"}, {1.0, "s"}};
    const double gone = fmin(fmax(mz_clock_wall_s() - since, 0.0), 8.64e9);
    (void)snprintf(out, 16, "%s", isfinite(since) ? "now" : "");
    for (int i = 0; i < MZ_COUNT(units) && isfinite(since); i++) {
        if (gone < units[i].seconds) continue;
        (void)snprintf(out, 16, "%.0f%s", floor(gone / units[i].seconds), units[i].unit);
        break;
    }
    return out;
}

const char *mz_run_number(char out[16], double x)
{
    (void)snprintf(out, 16, isfinite(x) ? "%.4f" : "-", x);
    if (isfinite(x) && !(fabs(x) < 1e4)) (void)snprintf(out, 16, "%.3g", x);
    return out;
}

const char *mz_run_plain(char *out, size_t bytes, const char *text)
{
    size_t n = 0;
    for (; text[n] && n < bytes - 1; n++) {
        const unsigned char c = (unsigned char)text[n];
        out[n] = c < 0x20 || c == 0x7f ? '?' : text[n];
    }
    out[n] = '\0';
    return out;
}

/* ---- columns ---- */

/* Length of the character at text, 0 where it is none, and what it takes: the wide ones are those
 * of East Asia, and pictures. */
static int character(const char *text, int *columns)
{
    static const unsigned wide[][2] = {{0x1100, 0x115f},   {0x2e80, 0xa4cf},  {0xac00, 0xd7a3},
                                       {0xf900, 0xfaff},   {0xfe30, 0xfe6f},  {0xff00, 0xff60},
                                       {0x1f300, 0x1faff}, {0x20000, 0x3fffd}};
    const unsigned char *b = (const unsigned char *)text;
    const int n = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    unsigned code = n == 1 ? b[0] : b[0] & (0x7fu >> n);
    *columns = 1;
    if (n == 0 || b[0] > 0xf4) return 0;
    for (int i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (b[i] & 0x3fu);
    }
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return 0; /* moves the cursor, or may */
    for (int i = 0; i < MZ_COUNT(wide); i++)
        if (code >= wide[i][0] && code <= wide[i][1]) *columns = 2;
    return n;
}

int mz_run_columns(const char *text)
{
    int sum = 0;
    while (*text) {
        int columns;
        const int n = character(text, &columns);
        sum += columns;
        text += n > 0 ? n : 1;
    }
    return sum;
}

const char *mz_run_cell(char *out, size_t bytes, const char *text, int columns)
{
    size_t at = 0;
    int done = 0;
    while (*text) {
        int wide;
        const int n = character(text, &wide);
        if (done + wide > columns || at + 5 + (size_t)(columns - done) > bytes) break;
        if (n > 0) memcpy(out + at, text, (size_t)n);
        if (n == 0) out[at] = '?';
        at += n > 0 ? (size_t)n : 1;
        text += n > 0 ? n : 1;
        done += wide;
    }
    for (; done < columns && at + 1 < bytes; done++) out[at++] = ' ';
    out[at] = '\0';
    return out;
}
