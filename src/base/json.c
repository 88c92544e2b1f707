/* SPDX-License-Identifier: Apache-2.0 */
/* base/json.c - what jansson leaves to us: a nesting limit of our own, integers wider than 64 bits
 * (transformers writes "model_max_length" as the integer 10^30), and its memory.
 *
 * jansson allocates through mz_mem_allow, so that the fault hook and the step guard reach it, but
 * gets malloc's own pointers: what another library or a caller of json_dumps frees with free() must
 * not break. */
#include "base/json.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/size.h"
#include "base/str.h"

#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 512, INT_DIGITS = 18 /* any integer of so many fits into 64 bits */ };

/* A text of n bytes may become a tree of so many: three bytes can ask for a hundred and fifty. */
enum { TREE_FREE = 8 << 20, TREE_PER_BYTE = 8, BLOCK_HEAD = 16 };
/* A member takes jansson about half a microsecond: no more of them than 30 ms a MB allow. */
enum { MEMBERS_FREE = 10000, MEMBER_BYTES = 24 };

/* What the last allocation that failed in a call of this thread came to. */
static _Thread_local mz_err refused;

/* Of the tree that this thread is reading; limit 0: none is being read. */
static _Thread_local struct {
    size_t used, limit;
} tree;

static void *allocate(size_t bytes)
{
    mz_err err = mz_mem_allow();
    const bool reads = tree.limit > 0;
    const size_t takes = bytes + BLOCK_HEAD;
    if (err == MZ_OK && reads && takes > tree.limit - tree.used)
        err = MZ_FAIL(MZ_ECORRUPT, "this JSON needs more memory than a text of its length may");
    /* jansson goes on with a token that it could not store, and asserts what then no longer holds.
     * So what is refused while it reads it gets all the same, and its text ends (feed). */
    void *p = err == MZ_OK || reads ? malloc(bytes) : NULL;
    if (err == MZ_OK && !p) err = MZ_FAIL(MZ_ENOMEM, "no %zu bytes for JSON", bytes);
    if (err != MZ_OK && (refused == MZ_OK || !reads)) refused = err;
    if (p && reads) tree.used += malloc_usable_size(p) + BLOCK_HEAD;
    if (tree.used > tree.limit) tree.used = tree.limit; /* what malloc rounded up */
    return p;
}

static void give_back(void *p)
{
    if (p && tree.limit > 0) {
        const size_t had = malloc_usable_size(p) + BLOCK_HEAD;
        tree.used -= had < tree.used ? had : tree.used;
    }
    free(p);
}

/* Before main, because the library may not be in use while its allocator changes. */
__attribute__((constructor)) static void hook_allocator(void)
{
    json_set_alloc_funcs(allocate, give_back);
}

static mz_err corrupt(const char *name, const char *text, size_t offset, const char *why)
{
    int64_t line = 1;
    for (size_t i = 0; i < offset; i++) line += text[i] == '\n';
    mz_note(MZ_ECORRUPT, __FILE__, __LINE__, "%s is not the JSON that Mizan reads: line %lld: %s",
            name, (long long)line, why);
    mz_note_where(name, NULL, (int64_t)offset);
    return MZ_ECORRUPT;
}

/* Past the string that begins at `at`; the end of the text if it is not closed. */
static size_t skip_string(const char *text, size_t bytes, size_t at)
{
    for (at++; at < bytes && text[at] != '"'; at++)
        if (text[at] == '\\') at++;
    return at < bytes ? at + 1 : bytes;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Past the number that begins at `at`, a digit. *is_wide: a long integer, not a real. */
static size_t skip_number(const char *text, size_t bytes, size_t at, bool *is_wide)
{
    const size_t start = at;
    while (at < bytes && is_digit(text[at])) at++;
    *is_wide = at - start > INT_DIGITS;
    if (at == bytes || !strchr(".eE", text[at]) || text[at] == '\0') return at;
    *is_wide = false;
    while (at < bytes && text[at] != '\0' && strchr("0123456789.eE+-", text[at])) at++;
    return at;
}

/* Whether the integer text[start..end-1], perhaps after a '-', fits into 64 bits. */
static bool fits_i64(const char *text, size_t start, size_t end)
{
    const bool negative = start > 0 && text[start - 1] == '-';
    int64_t n = 0;
    for (; start < end; start++) {
        const int64_t digit = text[start] - '0';
        if (!mz_mul_i64(n, 10, &n) || !mz_add_i64(n, negative ? -digit : digit, &n)) return false;
    }
    return true;
}

/* Where the integers end that need to be read as reals; n of them, the first `cap` stored in `end`.
 */
typedef struct {
    size_t *end;
    size_t n, cap;
} wide_list;

/* One pass over the text, blind to grammar: jansson judges that. */
static mz_err scan(const char *text, size_t bytes, const char *name, wide_list *wide)
{
    int depth = 0;
    size_t members = 0;
    for (size_t i = 0; i < bytes;) {
        const char c = text[i];
        if (c == '"') {
            i = skip_string(text, bytes, i);
        } else if (is_digit(c)) {
            bool is_wide;
            const size_t start = i;
            i = skip_number(text, bytes, i, &is_wide);
            if (!is_wide || fits_i64(text, start, i)) continue;
            if (wide->n < wide->cap) wide->end[wide->n] = i;
            wide->n++;
        } else {
            depth += (c == '[' || c == '{') - (c == ']' || c == '}');
            if (depth > DEPTH_MAX) return corrupt(name, text, i, "nested deeper than 512");
            members += c == ':';
            if (members > MEMBERS_FREE + bytes / MEMBER_BYTES)
                return corrupt(name, text, i, "more members than a text of its length may have");
            if (depth < 0) break; /* an error already, which jansson words */
            /* which jansson takes for the end of a number */
            if (c == '\0') return corrupt(name, text, i, "a NUL outside a string");
            i++;
        }
    }
    return MZ_OK;
}

static int64_t clamp_position(const json_error_t *error, size_t bytes)
{
    const size_t at = error->position > 0 ? (size_t)error->position : 0;
    return (int64_t)(at < bytes ? at : bytes);
}

typedef struct {
    const char *text;
    size_t left;
} unread;

/* A piece of the text, for jansson. */
static size_t feed(void *to, size_t room, void *user)
{
    unread *u = user;
    const size_t n = refused != MZ_OK ? 0 : u->left < room ? u->left : room;
    memcpy(to, u->text, n);
    u->text += n;
    u->left -= n;
    return n;
}

static mz_err load(json_t **out, const char *text, size_t bytes, const char *name,
                   json_error_t *error)
{
    unread u = {text, bytes};
    refused = MZ_OK;
    tree.used = 0;
    tree.limit = TREE_FREE + TREE_PER_BYTE * bytes;
    json_t *value = json_load_callback(feed, &u, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, error);
    tree.limit = tree.used = 0;
    if (refused != MZ_OK) { /* even with a value: what was refused may have been its last */
        json_decref(value);
        mz_note_where(name, NULL, refused == MZ_ECORRUPT ? clamp_position(error, bytes) : -1);
        return refused;
    }
    if (!value) return MZ_ECORRUPT;
    *out = value;
    return MZ_OK;
}

/* The same text with ".0" after each wide integer. */
static mz_err load_widened(json_t **out, const char *text, size_t bytes, const char *name,
                           const wide_list *wide)
{
    char *copy;
    size_t from = 0, len = 0;
    json_error_t error;
    MZ_TRY(mz_mem_new(&copy, (int64_t)(bytes + 2 * wide->n), 1));
    for (size_t k = 0; k < wide->n; k++) {
        memcpy(copy + len, text + from, wide->end[k] - from);
        len += wide->end[k] - from;
        memcpy(copy + len, ".0", 2);
        len += 2;
        from = wide->end[k];
    }
    memcpy(copy + len, text + from, bytes - from);
    len += bytes - from;
    mz_err err = load(out, copy, len, name, &error);
    if (err == MZ_ECORRUPT && refused == MZ_OK) {
        size_t at = (size_t)clamp_position(&error, len);
        for (size_t k = wide->n; k-- > 0;)
            if (at >= wide->end[k] + 2 * (k + 1)) {
                at -= 2 * (k + 1);
                break;
            }
        err = corrupt(name, text, at < bytes ? at : bytes, error.text);
    }
    mz_mem_free(copy);
    return err;
}

mz_err mz_json_parse(json_t **out, const char *text, size_t bytes, const char *name)
{
    wide_list wide = {0};
    json_error_t error;
    MZ_NEED(out && (text || bytes == 0) && name, "out, text or name is NULL");
    if (bytes == 0) return corrupt(name, "", 0, "it is empty");
    MZ_TRY(scan(text, bytes, name, &wide));
    if (wide.n == 0) {
        const mz_err err = load(out, text, bytes, name, &error);
        if (err != MZ_ECORRUPT || refused != MZ_OK) return err;
        return corrupt(name, text, (size_t)clamp_position(&error, bytes), error.text);
    }
    wide.cap = wide.n;
    wide.n = 0;
    MZ_TRY(mz_mem_new(&wide.end, (int64_t)wide.cap, sizeof *wide.end));
    mz_err err = scan(text, bytes, name, &wide);
    if (err == MZ_OK) err = load_widened(out, text, bytes, name, &wide);
    mz_mem_free(wide.end);
    return err;
}

mz_err mz_json_read(json_t **out, const char *path, size_t max_bytes)
{
    char *text;
    size_t bytes;
    MZ_NEED(out && path, "out or path is NULL");
    MZ_TRY(mz_file_read(path, max_bytes, &text, &bytes));
    const mz_err err = mz_json_parse(out, text, bytes, path);
    mz_mem_free(text);
    return err;
}

typedef struct {
    mz_writer *w;
    mz_err err;
} dump;

static int put(const char *bytes, size_t n, void *user)
{
    dump *d = user;
    d->err = mz_writer_put(d->w, bytes, n);
    return d->err == MZ_OK ? 0 : -1;
}

mz_err mz_json_write(const json_t *value, const char *path)
{
    dump d = {0};
    MZ_NEED(value && path, "value or path is NULL");
    MZ_TRY(mz_writer_open(&d.w, path));
    refused = MZ_OK;
    if (json_dump_callback(value, put, &d, JSON_INDENT(2) | JSON_ENCODE_ANY) != 0 &&
        d.err == MZ_OK && refused == MZ_OK)
        d.err = MZ_FAIL(MZ_EINVAL, "%s: text that is not UTF-8, or a circle", path);
    if (d.err == MZ_OK) d.err = refused;
    if (d.err == MZ_OK) d.err = mz_writer_put(d.w, "\n", 1);
    if (d.err == MZ_OK) return mz_writer_commit(d.w);
    mz_writer_abort(d.w);
    return d.err;
}

/* From the start of a value to that of the one which the step names. */
static bool enter(mz_scan *s, const char *step)
{
    char name[256];
    int64_t wanted = -1;
    size_t bytes = 0;
    if (step[0] == '#' && !mz_str_to_i64(step + 1, &wanted)) return false;
    const bool named = mz_scan_have(s, '{');
    if (!named && !mz_scan_have(s, '[')) return false;
    for (int64_t i = 0;; i++) {
        bool found = i == wanted;
        if (named) {
            mz_scan_space(s);
            if (mz_scan_peek(s, name, sizeof name) != MZ_OK) return false;
            found = found || (wanted < 0 && strcmp(name, step) == 0);
            if (mz_scan_string(s, NULL, &bytes) != MZ_OK || !mz_scan_have(s, ':')) return false;
        }
        mz_scan_space(s);
        if (found) return s->at < s->end;
        if (mz_scan_skip(s, DEPTH_MAX) != MZ_OK || !mz_scan_have(s, ',')) return false;
    }
}

int64_t mz_json_offset(const char *path, const char *const *steps, int n)
{
    const mz_err_info note = *mz_err_last();
    mz_map map = {0};
    int64_t offset = -1;
    if (path && mz_map_open(&map, path) == MZ_OK) {
        mz_scan s = {.text = map.data, .end = map.bytes, .path = path, .field = "", .nul = true};
        int i = 0;
        while (i < n && enter(&s, steps[i])) i++;
        if (i == n && n > 0) offset = (int64_t)s.at;
    }
    mz_map_close(&map);
    mz_err_restore(&note);
    return offset;
}

json_t *mz_json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}
