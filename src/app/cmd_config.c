/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_config.c - `mizan config check|show|schema`: what a training configuration says. Floor:
 * app. */
#include "app/commands.h"
#include "base/mem.h"
#include "train/config.h"

#include <stdio.h>
#include <string.h>

/* Arguments with '=' are KEY=VALUE; the first without is the file. */
mz_err mz_cli_train_config(const mz_cli *cli, int first, mz_train_config *c)
{
    const char **overrides = NULL, *path = NULL;
    int n = 0;
    const int count = mz_cli_count(cli);
    MZ_TRY(mz_mem_new(&overrides, count, sizeof *overrides));
    mz_err err = MZ_OK;
    for (int i = first; i < count && err == MZ_OK; i++) {
        const char *word = mz_cli_argument(cli, i);
        if (strchr(word, '=') && i > first)
            overrides[n++] = word;
        else if (i == first)
            path = word;
        else
            err = MZ_FAIL(MZ_EUSAGE, "%s is neither the configuration's file nor KEY=VALUE", word);
    }
    if (err == MZ_OK) err = mz_config_load(c, path, overrides, n);
    mz_mem_free(overrides);
    return err;
}

static mz_err load(const mz_cli *cli, mz_train_config **c)
{
    MZ_TRY(mz_mem_new(c, 1, sizeof **c));
    const mz_err err = mz_cli_train_config(cli, 0, *c);
    if (err != MZ_OK) mz_mem_free(*c);
    return err;
}

static json_t *rank_json(const mz_rank_config *r)
{
    if (r->layers == 0 && r->share == 0)
        return json_pack("{s:s, s:s}", "chip", r->chip, "share", "auto");
    return json_pack("{s:s, s:I}", "chip", r->chip, r->layers > 0 ? "layers" : "share",
                     (json_int_t)(r->layers > 0 ? r->layers : r->share));
}

/* The value as JSON; what it is written as is a subset of YAML that JSON nearly is. */
static json_t *value_json(const mz_key *key, const mz_train_config *c, const char *text)
{
    if (key->kind == MZ_KEY_RANKS) {
        json_t *list = json_array();
        for (int64_t i = 0; i < c->n_ranks; i++)
            json_array_append_new(list, rank_json(&c->ranks[i]));
        return list;
    }
    return key->kind == MZ_KEY_CHOICE ? json_string(text) : json_loads(text, JSON_DECODE_ANY, NULL);
}

static mz_err show(const mz_cli *cli)
{
    mz_train_config *c = NULL;
    mz_str text = {0};
    MZ_TRY(load(cli, &c));
    mz_err err = MZ_OK;
    if (!mz_cli_flag(cli, "json")) {
        err = mz_config_write(c, &text);
        if (err == MZ_OK) fputs(text.text, stdout);
    } else {
        json_t *o = mz_cli_document(), *keys = json_object();
        int bad = json_object_set_new(o, "config", keys);
        for (int i = 0; i < mz_key_count() && err == MZ_OK; i++) {
            text.len = 0;
            err = mz_key_write(&mz_keys[i], c, &text);
            if (err == MZ_OK)
                bad |= json_object_set_new(keys, mz_keys[i].name,
                                           value_json(&mz_keys[i], c, text.text));
        }
        if (err == MZ_OK && bad != 0) err = mz_cli_json_failed();
        if (err == MZ_OK)
            err = mz_cli_print(o);
        else
            json_decref(o);
    }
    mz_str_clear(&text);
    mz_mem_free(c);
    return err;
}

static mz_err check(const mz_cli *cli)
{
    mz_train_config *c = NULL;
    MZ_TRY(load(cli, &c));
    mz_mem_free(c);
    if (!mz_cli_flag(cli, "json")) {
        printf("%s: good\n", mz_cli_argument(cli, 0));
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    if (json_object_set_new(o, "good", json_true()) == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

/* ---- schema ---- */

static const char *kind_name(mz_key_kind kind)
{
    static const char *const names[] = {
        [MZ_KEY_INT] = "integer", [MZ_KEY_REAL] = "number",   [MZ_KEY_BOOL] = "boolean",
        [MZ_KEY_TEXT] = "string", [MZ_KEY_CHOICE] = "string", [MZ_KEY_WORDS] = "string",
        [MZ_KEY_RANKS] = "array"};
    return names[kind];
}

static json_t *key_json(const mz_key *key)
{
    json_t *o = json_object();
    const bool is_number = key->kind == MZ_KEY_INT || key->kind == MZ_KEY_REAL;
    int bad = json_object_set_new(o, "type", json_string(kind_name(key->kind)));
    bad |= json_object_set_new(o, "default",
                               key->otherwise ? json_string(key->otherwise) : json_null());
    bad |= json_object_set_new(o, "minimum", is_number ? json_real(key->least) : json_null());
    bad |= json_object_set_new(o, "maximum", is_number ? json_real(key->most) : json_null());
    bad |=
        json_object_set_new(o, "choices", key->choices ? json_string(key->choices) : json_null());
    bad |= json_object_set_new(o, "required", json_boolean(!key->otherwise));
    bad |= json_object_set_new(o, "fixed", json_boolean(key->is_fixed));
    bad |= json_object_set_new(o, "help", json_string(key->help));
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

static mz_err schema(const mz_cli *cli)
{
    if (mz_cli_flag(cli, "json")) {
        json_t *o = mz_cli_document(), *keys = json_object();
        int bad = json_object_set_new(o, "keys", keys);
        for (int i = 0; i < mz_key_count(); i++)
            bad |= json_object_set_new(keys, mz_keys[i].name, key_json(&mz_keys[i]));
        if (bad == 0) return mz_cli_print(o);
        json_decref(o);
        return mz_cli_json_failed();
    }
    for (int i = 0; i < mz_key_count(); i++) {
        const mz_key *k = &mz_keys[i];
        printf("%-21s %s\n", k->name, k->help);
        printf("%-21s %s", "", k->choices ? k->choices : kind_name(k->kind));
        if (k->kind == MZ_KEY_INT || k->kind == MZ_KEY_REAL)
            printf(" %.16g to %.16g", k->least, k->most);
        if (!k->otherwise)
            printf(", has to be given\n");
        else
            printf(", default %s\n", *k->otherwise ? k->otherwise : "none");
    }
    return MZ_OK;
}

const mz_command mz_cmd_config_check = {
    .name = "config check",
    .arguments = "CONFIG.yaml [KEY=VALUE...]",
    .least = 1,
    .most = -1,
    .summary = "say whether a training configuration is good",
    .common = MZ_COMMON_JSON,
    .examples = "mizan config check train.yaml optim.lr=3e-4",
    .run = check,
};

const mz_command mz_cmd_config_show = {
    .name = "config show",
    .arguments = "CONFIG.yaml [KEY=VALUE...]",
    .least = 1,
    .most = -1,
    .summary = "show every key with the value it has",
    .common = MZ_COMMON_JSON,
    .examples = "mizan config show train.yaml",
    .run = show,
};

const mz_command mz_cmd_config_schema = {
    .name = "config schema",
    .arguments = "",
    .summary = "list every key of a training configuration",
    .common = MZ_COMMON_JSON,
    .examples = "mizan config schema --json",
    .run = schema,
};
