/* SPDX-License-Identifier: Apache-2.0 */
/* train/config_yaml.c - the YAML side of config.h.
 *
 * Merge keys are refused: what a configuration says stands where it is read. */
#include "base/file.h"
#include "base/mem.h"
#include "train/config.h"
#include "train/yaml.h"

#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 1 << 14, NAME_MAX_BYTES = 128 };

typedef struct reading {
    mz_train_config *config;
    const char *file;
    bool *seen;
    mz_place *places;
} reading;

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
        mz_place at = mz_yaml_place(list->file, fy_node_pair_key(p));
        if (at.line == 0 || !list->file[0]) at = *list;
        if (!mz_yaml_scalar(fy_node_pair_key(p), name, sizeof name) ||
            !mz_yaml_scalar(fy_node_pair_value(p), text, sizeof text))
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

mz_err mz_config_parse_ranks(mz_train_config *c, const char *text, const mz_place *at)
{
    struct fy_document *doc = NULL;
    mz_err err = mz_yaml_open(&doc, text, strlen(text), at, "ranks");
    if (err == MZ_OK) err = read_ranks(c, fy_document_root(doc), at);
    mz_yaml_close(doc);
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
        if (!mz_yaml_scalar(item, name, sizeof name) || !name[0] || strchr(name, ',')) return false;
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
    mz_place at = mz_yaml_place(r->file, value);
    if (at.line == 0) at = *key_at;
    r->places[key - mz_keys] = at;
    if (key->kind == MZ_KEY_RANKS) return read_ranks(r->config, value, key_at);
    if (key->kind == MZ_KEY_WORDS && value && fy_node_is_sequence(value)) {
        if (!names_of(value, text, sizeof text))
            return mz_config_bad(&at, key->name, "%s is not a list of short plain names",
                                 key->name);
    } else if (!mz_yaml_scalar(value, text, sizeof text)) {
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
        const mz_place at = mz_yaml_place(r->file, fy_node_pair_key(p));
        if (!mz_yaml_scalar(fy_node_pair_key(p), last, sizeof last))
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
    const mz_place at = {.file = path, .offset = -1}, top = {path, NULL, 1, 1, 0};
    const reading r = {.config = c, .file = path, .seen = seen, .places = places};
    mz_err err = mz_file_read(path, FILE_MAX, &text, &bytes);
    if (err != MZ_OK) {
        mz_note_fix("name a configuration, at most %d KiB of YAML; `mizan config schema` lists its "
                    "keys",
                    FILE_MAX >> 10);
        return err;
    }
    err = mz_yaml_open(&doc, text, bytes, &at, "");
    if (err == MZ_OK) {
        struct fy_node *root = fy_document_root(doc);
        err = root && fy_node_is_mapping(root)
                  ? read_mapping(&r, root, "")
                  : mz_config_bad(&top, "", "a configuration is a list of keys and values");
    }
    mz_yaml_close(doc);
    mz_mem_free(text);
    return err;
}
