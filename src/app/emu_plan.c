/* SPDX-License-Identifier: Apache-2.0 */
/* app/emu_plan.c - a plan of faults as a file: a list of them, each a mapping with `kind` first.
 * What a fault may say is the driver's to judge; here it gets its place. Floor: app. */
#include "app/emu.h"
#include "base/file.h"
#include "base/mem.h"
#include "train/yaml.h"

#include <stdio.h>
#include <string.h>

enum { PLAN_MAX = 1 << 16, WORD = 96, LINE = 512 };

typedef struct reading {
    const char *file;
    const mz_emu_driver *driver;
    mz_str *lines;
} reading;

static mz_err bad(const mz_place *at, const char *why)
{
    char first[256];
    const char *hint = strchr(why, '\n');
    (void)snprintf(first, sizeof first, "%.*s", (int)strcspn(why, "\n"), why);
    const mz_err err = mz_config_bad(at, "", "%s", first);
    mz_note_fix("%s", hint ? hint + 1 : "`mizan emu --help` shows what a plan may say");
    return err;
}

static mz_err read_word(const reading *r, struct fy_node *node, const mz_place *fallback,
                        char word[WORD], mz_place *at)
{
    *at = mz_yaml_place(r->file, node);
    if (at->line == 0) *at = *fallback;
    if (mz_yaml_scalar(node, word, WORD) && word[0] && !strpbrk(word, " \t\n=")) return MZ_OK;
    return bad(at, "a fault is {kind: NAME, KEY: VALUE}, with short plain words");
}

/* The whole line is wrong: the pair that alone is wrong in the same way has the place. */
static mz_err blame(const reading *r, struct fy_node *fault, const char *kind, const mz_place *top,
                    const char *judged)
{
    void *prev = NULL;
    char why[512];
    mz_place found = *top;
    (void)snprintf(why, sizeof why, "%s", judged);
    for (struct fy_node_pair *p; (p = fy_node_mapping_iterate(fault, &prev)) != NULL;) {
        char key[WORD], value[WORD], line[LINE];
        mz_place at, value_at;
        int number = 0;
        MZ_TRY(read_word(r, fy_node_pair_key(p), top, key, &at));
        MZ_TRY(read_word(r, fy_node_pair_value(p), &at, value, &value_at));
        const bool is_kind = strcmp(key, "kind") == 0;
        (void)snprintf(line, sizeof line, "%s%s%s%s%s", kind, is_kind ? "" : " ",
                       is_kind ? "" : key, is_kind ? "" : "=", is_kind ? "" : value);
        const char *alone = r->driver->judge(line, &number);
        if (!alone || strcmp(alone, why) != 0) continue;
        found = value_at;
        if (is_kind) break; /* else each pair alone lacks the same */
    }
    return bad(&found, why);
}

static mz_err read_fault(const reading *r, struct fy_node *fault, const mz_place *list)
{
    void *prev = NULL;
    char kind[WORD] = "", line[LINE] = "";
    size_t n = 0;
    int number = 0;
    mz_place top = *list, at;
    if (!fault || !fy_node_is_mapping(fault))
        return bad(&top, "a fault is {kind: NAME, KEY: VALUE}");
    for (struct fy_node_pair *p; (p = fy_node_mapping_iterate(fault, &prev)) != NULL;) {
        char key[WORD], value[WORD];
        mz_place value_at;
        MZ_TRY(read_word(r, fy_node_pair_key(p), &top, key, &at));
        if (top.line == list->line) top = at;
        MZ_TRY(read_word(r, fy_node_pair_value(p), &at, value, &value_at));
        if (strcmp(key, "kind") == 0)
            memcpy(kind, value, sizeof kind);
        else
            n += (size_t)snprintf(line + n, sizeof line - n, " %s=%s", key, value);
        if (n >= sizeof line) return bad(&at, "a fault with too many words");
    }
    if (!kind[0]) return bad(&top, "a fault without a kind\n{kind: late, call: aclnnMm, at: 3}");
    const size_t start = r->lines->len;
    MZ_TRY(mz_str_addf(r->lines, "%s%s", kind, line));
    const char *why = r->driver->judge(r->lines->text + start, &number);
    if (why) return blame(r, fault, kind, &top, why);
    return mz_str_add(r->lines, "\n", 1);
}

static mz_err read_root(const reading *r, struct fy_node *root)
{
    const mz_place top = {r->file, NULL, 1, 1, 0};
    void *prev = NULL;
    struct fy_node *list = root;
    if (root && fy_node_is_mapping(root)) {
        list = fy_node_mapping_lookup_by_string(root, "faults", (size_t)-1);
        if (fy_node_mapping_item_count(root) != 1) list = NULL;
    }
    if (!list || !fy_node_is_sequence(list))
        return bad(&top, "a plan is a list of faults, or {faults: [...]}\n"
                         "- {kind: out_of_memory, at: 3}");
    for (struct fy_node *fault; (fault = fy_node_sequence_iterate(list, &prev)) != NULL;)
        MZ_TRY(read_fault(r, fault, &top));
    return MZ_OK;
}

mz_err mz_emu_plan_read(mz_str *lines, const char *path, const mz_emu_driver *driver)
{
    char *text = NULL;
    size_t bytes = 0;
    struct fy_document *doc = NULL;
    const mz_place at = {.file = path, .offset = -1};
    const reading r = {path, driver, lines};
    mz_err err = mz_file_read(path, PLAN_MAX, &text, &bytes);
    if (err != MZ_OK) {
        mz_note_fix("--fault-plan names a file of YAML or JSON: - {kind: out_of_memory, at: 3}");
        return err;
    }
    err = mz_yaml_open(&doc, text, bytes, &at, "");
    if (err == MZ_OK) err = read_root(&r, fy_document_root(doc));
    mz_yaml_close(doc);
    mz_mem_free(text);
    return err;
}
