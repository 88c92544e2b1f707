/* SPDX-License-Identifier: Apache-2.0 */
/* train/yaml.c - documents that are read by libfyaml, and what it is not shown. */
#include "train/yaml.h"

#include "base/scan.h"

#include <string.h>

/* libfyaml's time grows with the square of the keys, so that there may not be many. */
enum { COLONS_MAX = 1000 };

mz_place mz_yaml_place(const char *file, struct fy_node *node)
{
    mz_place at = {.file = file, .offset = -1};
    struct fy_token *token = node ? fy_node_get_scalar_token(node) : NULL;
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    if (!mark) return at;
    at.line = mark->line + 1;
    at.column = mark->column + 1;
    at.offset = (int64_t)mark->input_pos;
    return at;
}

bool mz_yaml_scalar(struct fy_node *node, char *out, size_t out_bytes)
{
    size_t len = 0;
    const char *text = NULL;
    if (!node || !fy_node_is_scalar(node) || fy_node_is_alias(node)) return false;
    text = fy_node_get_scalar(node, &len);
    if (!text) len = 0;
    if (len >= out_bytes || (len > 0 && memchr(text, 0, len))) return false;
    if (len > 0) memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

/* The first message that libfyaml collected, with its position. */
static mz_err broken(struct fy_diag *diag, const mz_place *where, const char *key)
{
    void *prev = NULL;
    mz_place at = *where;
    const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &prev);
    if (where->file[0]) {
        at.line = e && e->line > 0 ? e->line : 1;
        at.column = e && e->column > 0 ? e->column : 1;
    }
    return mz_config_bad(&at, key, "not YAML: %s", e && e->msg ? e->msg : "nothing in it");
}

/* Bytes of the character at p that may stand in a configuration: YAML's printable ones, in UTF-8; 0
 * if it may not. */
static size_t printable(const unsigned char *p, size_t left)
{
    if (p[0] >= 0x20 && p[0] != 0x7f) return mz_scan_utf8(p, left);
    return p[0] == '\t' || p[0] == '\n' || p[0] == '\r';
}

/* How far a file has come: libfyaml would read its first document and pass over the rest. */
typedef struct documents {
    bool has_marker, has_content, has_end;
} documents;

/* Whether the line at p begins with this marker. */
static bool is_marker(const char *p, const char *end, const char *marker)
{
    return end - p >= 3 && memcmp(p, marker, 3) == 0 && (end - p == 3 || strchr(" \t\r\n", p[3]));
}

/* Whether the line at p belongs to a second document. */
static bool is_second(documents *d, const char *p, const char *end)
{
    if (is_marker(p, end, "---")) {
        const bool again = d->has_marker || d->has_content || d->has_end;
        d->has_marker = true;
        return again;
    }
    if (is_marker(p, end, "...")) {
        d->has_end = true;
        return false;
    }
    while (p < end && strchr(" \t\r", *p)) p++;
    if (p == end || *p == '\n' || *p == '#') return false;
    d->has_content = true;
    return d->has_end;
}

/* Whether a line that begins with `?` as a key's mark is at p, behind marks of lists and keys. */
static bool is_explicit(const char *p, const char *end)
{
    for (; p < end && strchr(" \t-:?", *p); p++)
        if (*p == '?' && (p + 1 == end || strchr(" \t\r\n", p[1]))) return true;
    return false;
}

/* What libfyaml is not shown: it does not come back from some of it (a NUL in a directive; a tab
 * behind the value of an explicit key, before another mark). */
static mz_err check_text(const char *text, size_t bytes, const mz_place *where, const char *key)
{
    const unsigned char *p = (const unsigned char *)text;
    mz_place at = *where;
    documents d = {false};
    int line = 1, colons = 0;
    size_t start = 0; /* of the line */
    for (size_t i = 0; i < bytes;) {
        const size_t n = printable(p + i, bytes - i);
        const bool directive = p[i] == '%' && i == start;
        const bool second = i == start && n > 0 && is_second(&d, text + i, text + bytes);
        const bool begins = i == 0 || p[i - 1] == '\n' || p[i - 1] == '\r';
        const bool explicit_key = begins && n > 0 && is_explicit(text + i, text + bytes);
        colons += p[i] == ':';
        if (n == 0 || directive || second || explicit_key || colons > COLONS_MAX) {
            if (where->file[0])
                at = (mz_place){where->file, NULL, line, (int)(i - start) + 1, (int64_t)i};
            return mz_config_bad(&at, key, "not YAML: %s",
                                 n == 0      ? "a byte that is no text"
                                 : directive ? "a directive (%), which no configuration needs"
                                 : second    ? "a second document, where a configuration is one"
                                 : explicit_key
                                     ? "a key behind a question mark, which no configuration needs"
                                     : "more keys than a configuration can have");
        }
        i += n;
        if (p[i - 1] != '\n') continue;
        line++;
        start = i;
    }
    return MZ_OK;
}

static mz_err open_document(struct fy_document **doc, struct fy_diag **diag, const char *text,
                            size_t bytes)
{
    struct fy_diag_cfg how;
    *doc = NULL;
    fy_diag_cfg_default(&how);
    how.fp = NULL;
    how.colorize = false;
    *diag = fy_diag_create(&how);
    if (!*diag) return MZ_FAIL(MZ_ENOMEM, "no memory for YAML");
    fy_diag_set_collect_errors(*diag, true);
    const struct fy_parse_cfg cfg = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE,
        .diag = *diag,
    };
    struct fy_parser *parser = fy_parser_create(&cfg);
    if (!parser) return MZ_FAIL(MZ_ENOMEM, "no memory for YAML");
    if (fy_parser_set_string(parser, text, bytes) == 0) *doc = fy_parse_load_document(parser);
    struct fy_document *more = *doc ? fy_parse_load_document(parser) : NULL;
    if (*doc && (more || fy_parser_get_stream_error(parser))) { /* what follows it is not for us */
        fy_document_destroy(*doc);
        *doc = NULL;
    }
    if (more) fy_document_destroy(more);
    fy_parser_destroy(parser);
    return MZ_OK;
}

mz_err mz_yaml_open(struct fy_document **doc, const char *text, size_t bytes, const mz_place *where,
                    const char *key)
{
    struct fy_diag *diag = NULL;
    *doc = NULL;
    mz_err err = check_text(text, bytes, where, key);
    if (err == MZ_OK) err = open_document(doc, &diag, text, bytes);
    if (err == MZ_OK && !*doc) err = broken(diag, where, key);
    if (diag) fy_diag_destroy(diag); /* the document keeps what it needs of it */
    return err;
}

void mz_yaml_close(struct fy_document *doc)
{
    if (doc) fy_document_destroy(doc);
}
