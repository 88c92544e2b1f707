/* SPDX-License-Identifier: Apache-2.0 */
/* train/config_yaml.c - the YAML side of config.h. Only here is libfyaml seen.
 *
 * Aliases and merge keys are refused: what a configuration says stands where it is read. */
#include "base/file.h"
#include "base/mem.h"
#include "base/scan.h"
#include "train/config.h"

#include <libfyaml.h>
#include <stdio.h>
#include <string.h>

/* libfyaml's time grows with the square of the keys, so that there may not be many. */
enum { COLONS_MAX = 1000 };
enum { FILE_MAX = 1 << 14, NAME_MAX_BYTES = 128 };

typedef struct reading {
    mz_train_config *config;
    const char *file;
    bool *seen;
    mz_place *places;
} reading;

static mz_place place_of(const char *file, struct fy_node *node)
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

/* A scalar as text; false for anything else, for an alias and for text with NUL in it. */
static bool scalar(struct fy_node *node, char *out, size_t out_bytes)
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

/* ---- ranks ---- */

static mz_err read_share(mz_rank_config *rank, const char *text, const mz_place *at)
{
    rank->share = 0;
    if (strcmp(text, "auto") == 0) return MZ_OK;
    if (mz_str_to_i64(text, &rank->share) && rank->share >= 1 && rank->share <= 1000000)
        return MZ_OK;
    return mz_config_bad(at, "ranks", "share is \"%s\", want 1 to 1000000, or auto", text);
}

static mz_err read_rank(mz_rank_config *rank, struct fy_node *node, const mz_place *list)
{
    void *prev = NULL;
    bool has_chip = false, has_share = false;
    *rank = (mz_rank_config){.share = 1};
    if (!fy_node_is_mapping(node))
        return mz_config_bad(list, "ranks", "a rank is not {chip: NAME, share: N}");
    for (struct fy_node_pair *p; (p = fy_node_mapping_iterate(node, &prev)) != NULL;) {
        char name[NAME_MAX_BYTES], text[sizeof rank->chip];
        mz_place at = place_of(list->file, fy_node_pair_key(p));
        if (at.line == 0 || !list->file[0]) at = *list;
        if (!scalar(fy_node_pair_key(p), name, sizeof name) ||
            !scalar(fy_node_pair_value(p), text, sizeof text))
            return mz_config_bad(&at, "ranks", "a rank is not {chip: NAME, share: N}");
        if (strcmp(name, "chip") == 0 && text[0]) {
            memcpy(rank->chip, text, sizeof text);
            has_chip = true;
        } else if (strcmp(name, "share") == 0) {
            MZ_TRY(read_share(rank, text, &at));
            has_share = true;
        } else if (strcmp(name, "layers") == 0) {
            if (!mz_str_to_i64(text, &rank->layers) || rank->layers < 1 || rank->layers > 10000)
                return mz_config_bad(&at, "ranks", "layers is \"%s\", want 1 to 10000", text);
        } else {
            return mz_config_bad(&at, "ranks", "a rank has chip and share or layers, not %s", name);
        }
    }
    if (has_share && rank->layers > 0)
        return mz_config_bad(list, "ranks",
                             "a rank has a share of the samples or layers, not both");
    return has_chip ? MZ_OK : mz_config_bad(list, "ranks", "a rank names no chip");
}

static mz_err read_ranks(mz_train_config *c, struct fy_node *node, const mz_place *at)
{
    void *prev = NULL;
    int64_t n = 0;
    if (!node || !fy_node_is_sequence(node))
        return mz_config_bad(at, "ranks", "ranks is not a list: [{chip: cpu, share: 1}]");
    for (struct fy_node *item; (item = fy_node_sequence_iterate(node, &prev)) != NULL; n++) {
        if (n == MZ_RANKS_MAX)
            return mz_config_bad(at, "ranks", "ranks has more than %d entries", MZ_RANKS_MAX);
        MZ_TRY(read_rank(&c->ranks[n], item, at));
    }
    c->n_ranks = n;
    return MZ_OK;
}

/* ---- documents ---- */

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

/* What libfyaml is not shown: it does not come back from some of it (a NUL in a directive). */
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
        colons += p[i] == ':';
        if (n == 0 || directive || second || colons > COLONS_MAX) {
            if (where->file[0])
                at = (mz_place){where->file, NULL, line, (int)(i - start) + 1, (int64_t)i};
            return mz_config_bad(&at, key, "not YAML: %s",
                                 n == 0      ? "a byte that is no text"
                                 : directive ? "a directive (%), which no configuration needs"
                                 : second    ? "a second document, where a configuration is one"
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

static void close_document(struct fy_document *doc, struct fy_diag *diag)
{
    if (doc) fy_document_destroy(doc);
    if (diag) fy_diag_destroy(diag);
}

mz_err mz_config_parse_ranks(mz_train_config *c, const char *text, const mz_place *at)
{
    struct fy_document *doc = NULL;
    struct fy_diag *diag = NULL;
    mz_err err = check_text(text, strlen(text), at, "ranks");
    if (err == MZ_OK) err = open_document(&doc, &diag, text, strlen(text));
    if (err == MZ_OK && !doc) err = broken(diag, at, "ranks");
    if (err == MZ_OK) err = read_ranks(c, fy_document_root(doc), at);
    close_document(doc, diag);
    return err;
}

/* ---- the file ---- */

/* Whether some key lies below this name: "optim" is a section. */
static bool is_section(const char *name)
{
    const size_t len = strlen(name);
    for (int i = 0; i < mz_key_count(); i++)
        if (strncmp(mz_keys[i].name, name, len) == 0 && mz_keys[i].name[len] == '.') return true;
    return false;
}

/* A list of plain names, as text with commas between. */
static bool names_of(struct fy_node *list, char *out, size_t out_bytes)
{
    void *prev = NULL;
    size_t len = 0;
    for (struct fy_node *item; (item = fy_node_sequence_iterate(list, &prev)) != NULL;) {
        char name[NAME_MAX_BYTES];
        if (!scalar(item, name, sizeof name) || !name[0] || strchr(name, ',')) return false;
        const int n = snprintf(out + len, out_bytes - len, "%s%s", len ? "," : "", name);
        if (n < 0 || (size_t)n >= out_bytes - len) return false;
        len += (size_t)n;
    }
    return true;
}

static mz_err read_value(const reading *r, const mz_key *key, struct fy_node *value,
                         const mz_place *key_at)
{
    char text[MZ_CONFIG_TEXT + 1] = "";
    if (r->seen[key - mz_keys])
        return mz_config_bad(key_at, key->name, "%s stands twice", key->name);
    r->seen[key - mz_keys] = true;
    mz_place at = place_of(r->file, value);
    if (at.line == 0) at = *key_at;
    r->places[key - mz_keys] = at;
    if (key->kind == MZ_KEY_RANKS) return read_ranks(r->config, value, key_at);
    if (key->kind == MZ_KEY_WORDS && value && fy_node_is_sequence(value)) {
        if (!names_of(value, text, sizeof text))
            return mz_config_bad(&at, key->name, "%s is not a list of short plain names",
                                 key->name);
    } else if (!scalar(value, text, sizeof text)) {
        return mz_config_bad(&at, key->name, "%s is not a plain value", key->name);
    }
    return mz_key_set(r->config, key, text, &at);
}

static mz_err read_mapping(const reading *r, struct fy_node *map, const char *section)
{
    void *prev = NULL;
    for (struct fy_node_pair *p; (p = fy_node_mapping_iterate(map, &prev)) != NULL;) {
        char last[NAME_MAX_BYTES], name[2 * NAME_MAX_BYTES + 2];
        struct fy_node *value = fy_node_pair_value(p);
        const mz_place at = place_of(r->file, fy_node_pair_key(p));
        if (!scalar(fy_node_pair_key(p), last, sizeof last))
            return mz_config_bad(&at, section, "a key is not a short plain name");
        (void)snprintf(name, sizeof name, "%s%s%s", section, section[0] ? "." : "", last);
        const mz_key *key = mz_key_find(name);
        if (key) {
            MZ_TRY(read_value(r, key, value, &at));
        } else if (!section[0] && is_section(name)) {
            if (value && fy_node_is_mapping(value))
                MZ_TRY(read_mapping(r, value, name));
            else
                return mz_config_bad(&at, name, "%s is a section: its keys stand below it", name);
        } else if (strcmp(last, "<<") == 0) {
            return mz_config_bad(&at, "", "merge keys (<<) are not read: write the keys out");
        } else {
            return mz_config_unknown(&at, name);
        }
    }
    return MZ_OK;
}

mz_err mz_config_read_yaml(mz_train_config *c, const char *path, bool *seen, mz_place *places)
{
    char *text = NULL;
    size_t bytes = 0;
    struct fy_document *doc = NULL;
    struct fy_diag *diag = NULL;
    const mz_place at = {.file = path, .offset = -1}, top = {path, NULL, 1, 1, 0};
    const reading r = {.config = c, .file = path, .seen = seen, .places = places};
    mz_err err = mz_file_read(path, FILE_MAX, &text, &bytes);
    if (err != MZ_OK) {
        mz_note_fix("name a configuration, at most %d KiB of YAML; `mizan config schema` lists its "
                    "keys",
                    FILE_MAX >> 10);
        return err;
    }
    err = check_text(text, bytes, &at, "");
    if (err == MZ_OK) err = open_document(&doc, &diag, text, bytes);
    if (err == MZ_OK && !doc) err = broken(diag, &at, "");
    if (err == MZ_OK) {
        struct fy_node *root = fy_document_root(doc);
        err = root && fy_node_is_mapping(root)
                  ? read_mapping(&r, root, "")
                  : mz_config_bad(&top, "", "a configuration is a list of keys and values");
    }
    close_document(doc, diag);
    mz_mem_free(text);
    return err;
}
