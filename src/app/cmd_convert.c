/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_convert.c - `mizan convert`: a model from a folder or a GGUF into a folder or a GGUF.
 * Floor: app. */
#include "app/commands.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "port/gguf.h"
#include "port/hf.h"
#include "port/source.h"
#include "port/words.h"
#include "train/extras.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mz_option OPTIONS[] = {
    {.name = "to",
     .kind = MZ_OPTION_TEXT,
     .value = "FORMAT",
     .help = "hf, a Hugging Face folder, or gguf, one file (needed)",
     .choices = "hf|gguf"},
    {.name = "type",
     .kind = MZ_OPTION_TEXT,
     .value = "TYPE",
     .help = "of the matrices (default: what most of IN's numbers are, f16 for blocks)",
     .choices = "f32|f16|bf16|q8_0|q4_0"},
    {.name = "shard-bytes",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "hf: at most N bytes of tensors a file (default: one file)",
     .least = 1,
     .most = 9e18},
    {.name = "tokenizer",
     .kind = MZ_OPTION_TEXT,
     .value = "FILE.gguf",
     .help = "take the tokenizer from that GGUF (one with a vocabulary alone will do)"},
    {.name = "adapter",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "a LoRA adapter in peft's files, added to the weights"},
    {0}};

typedef struct model {
    mz_device *device;
    mz_queue *q;
    mz_source *source;
    mz_gguf *tokenizer; /* of --tokenizer, or NULL */
    mz_words words;
    mz_params params;
} model;

static void clear(model *m)
{
    mz_params_clear(&m->params);
    mz_words_clear(&m->words);
    mz_gguf_close(m->tokenizer);
    mz_source_close(m->source);
    mz_queue_close(m->q);
    mz_device_close(m->device);
}

/* ---- types ---- */

static mz_ggml ggml_of(mz_dtype d)
{
    return d == MZ_F16 ? MZ_GGML_F16 : d == MZ_BF16 ? MZ_GGML_BF16 : MZ_GGML_F32;
}

/* The type of IN's embedding table, which no format keeps wider than the rest. */
static mz_ggml usual_type(const mz_source *s)
{
    const mz_gguf *gguf = mz_source_gguf(s);
    mz_dtype dtype = MZ_F16;
    if (gguf) {
        const mz_gguf_tensor *t = mz_gguf_find(gguf, "token_embd.weight");
        if (t && !mz_ggml_dtype(t->type, &dtype)) dtype = MZ_F16;
    } else {
        const mz_st_tensor *t = mz_hub_find(mz_source_hub(s), "model.embed_tokens.weight");
        dtype = t ? t->dtype : MZ_F32;
    }
    return ggml_of(dtype);
}

static mz_err wanted_type(const mz_cli *cli, const mz_source *s, mz_ggml *out)
{
    static const struct {
        const char *name;
        mz_ggml type;
    } types[] = {{"f32", MZ_GGML_F32},
                 {"f16", MZ_GGML_F16},
                 {"bf16", MZ_GGML_BF16},
                 {"q8_0", MZ_GGML_Q8_0},
                 {"q4_0", MZ_GGML_Q4_0}};
    const char *name = mz_cli_text(cli, "type", NULL);
    *out = usual_type(s);
    for (int i = 0; name && i < MZ_COUNT(types); i++)
        if (strcmp(types[i].name, name) == 0) *out = types[i].type;
    return MZ_OK;
}

/* ---- what goes along ---- */

/* A folder without generation_config.json ends its texts as config.json says; that it says so by
 * itself from then on. */
static mz_err write_missing_generation(const model *m, const char *out)
{
    char path[PATH_MAX];
    MZ_TRY(mz_path_join(path, sizeof path, out, "generation_config.json"));
    return mz_file_exists(path) ? MZ_OK : mz_generation_write(&m->words.generation, out);
}

static mz_err write_hf(const model *m, const char *out, mz_ggml type, int64_t shard_bytes)
{
    mz_dtype dtype;
    const bool plain = mz_ggml_dtype(type, &dtype);
    if (!plain)
        return MZ_FAIL(MZ_EUSAGE, "a Hugging Face folder holds f32, f16 or bf16, not %s",
                       mz_ggml_name(type));
    MZ_TRY(
        mz_hf_save_shards(&m->params, m->q, mz_source_config(m->source), out, dtype, shard_bytes));
    if (mz_source_hub(m->source))
        MZ_TRY(mz_extras_copy(mz_source_path(m->source), out, 0, (bool[MZ_EXTRAS]){0}));
    if (!m->words.vocab) mz_log(MZ_LOG_WARN, "%s brings no tokenizer", mz_source_path(m->source));
    if (mz_source_hub(m->source)) return write_missing_generation(m, out);
    return mz_words_to_folder(&m->words, out, mz_source_config(m->source)->max_position);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static mz_err write_gguf(const model *m, const char *out, mz_ggml type)
{
    const mz_gguf_export o = {.type = type,
                              .name = last_part(mz_source_path(m->source)),
                              .words = m->tokenizer || mz_source_gguf(m->source) ? NULL : &m->words,
                              .tokenizer = m->tokenizer ? m->tokenizer : mz_source_gguf(m->source)};
    if (!o.tokenizer && !m->words.vocab)
        mz_log(MZ_LOG_WARN, "%s brings no tokenizer", mz_source_path(m->source));
    return mz_gguf_save_params(&m->params, m->q, mz_source_config(m->source), out, &o);
}

/* A kind of tokenizer that Mizan does not know holds no weights back; from one GGUF to another its
 * keys are copied unread. */
static mz_err read_words(model *m, bool to_hf)
{
    if (mz_source_gguf(m->source) && !to_hf) return MZ_OK;
    const mz_err err = mz_words_read(&m->words, m->source);
    if (err != MZ_ENOTSUP) return err;
    mz_log(MZ_LOG_WARN, "the tokenizer stays behind: %s", mz_err_last()->message);
    return mz_generation_read(&m->words.generation, m->source);
}

/* IN is mapped while OUT is written, and a folder's files are replaced one by one. */
static mz_err check_apart(const char *in, const char *out)
{
    char a[PATH_MAX], b[PATH_MAX];
    if (!realpath(in, a) || !realpath(out, b) || strcmp(a, b) != 0) return MZ_OK;
    return MZ_FAIL(MZ_EUSAGE, "IN and OUT are the same");
}

static bool has_tokenizer(const model *m)
{
    const mz_gguf *from = m->tokenizer ? m->tokenizer : mz_source_gguf(m->source);
    return m->words.vocab || (from && mz_gguf_key_find(from, "tokenizer.ggml.tokens"));
}

static mz_err print(const mz_cli *cli, const model *m, mz_ggml type)
{
    if (!mz_cli_flag(cli, "json")) return MZ_OK;
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "out", json_string(mz_cli_argument(cli, 1)));
    bad |= json_object_set_new(o, "format", json_string(mz_cli_text(cli, "to", "")));
    bad |= json_object_set_new(o, "type", json_string(mz_ggml_name(type)));
    bad |= json_object_set_new(o, "family",
                               json_string(mz_family_name(mz_source_config(m->source)->family)));
    bad |= json_object_set_new(o, "parameters", json_integer(m->params.elements));
    bad |= json_object_set_new(o, "tokenizer", json_boolean(has_tokenizer(m)));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err run(const mz_cli *cli)
{
    const char *in = mz_cli_argument(cli, 0), *out = mz_cli_argument(cli, 1);
    const char *to = mz_cli_text(cli, "to", NULL);
    model m = {0};
    mz_ggml type = MZ_GGML_F32;
    if (!to) return MZ_FAIL(MZ_EUSAGE, "convert needs --to hf or --to gguf");
    MZ_TRY(check_apart(in, out));
    mz_err err = mz_source_open(&m.source, in);
    if (err == MZ_OK) mz_source_adapt(m.source, mz_cli_text(cli, "adapter", NULL));
    if (err == MZ_OK) err = wanted_type(cli, m.source, &type);
    if (err == MZ_OK && mz_cli_text(cli, "tokenizer", NULL))
        err = mz_gguf_open(&m.tokenizer, mz_cli_text(cli, "tokenizer", NULL));
    if (err == MZ_OK) err = read_words(&m, strcmp(to, "hf") == 0);
    if (err == MZ_OK) err = mz_cli_open_chip(cli, &m.device);
    if (err == MZ_OK) err = mz_queue_open(&m.q, m.device);
    if (err == MZ_OK) err = mz_params_list(&m.params, mz_source_config(m.source), MZ_F32);
    if (err == MZ_OK) err = mz_params_alloc(&m.params, m.device, false);
    if (err == MZ_OK) err = mz_source_load(m.source, &m.params, m.q);
    if (err == MZ_OK)
        err = strcmp(to, "hf") == 0
                  ? write_hf(&m, out, type, mz_cli_int(cli, "shard-bytes", INT64_MAX))
                  : write_gguf(&m, out, type);
    if (err == MZ_OK) err = print(cli, &m, type);
    clear(&m);
    return err;
}

const mz_command mz_cmd_convert = {
    .name = "convert",
    .arguments = "IN OUT",
    .least = 2,
    .most = 2,
    .summary = "write a model in another format or type",
    .description =
        "IN is a Hugging Face folder or a GGUF file. Norms, biases and routers of a GGUF "
        "stay f32 whatever --type is. The tokenizer, its chat template and the tokens that\n"
        "end a text go along in either direction.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP,
    .examples = "mizan convert MODEL model.gguf --to gguf --type q8_0\n"
                "mizan convert model.gguf folder --to hf --type bf16",
    .run = run,
};
