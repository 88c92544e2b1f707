/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_tokenizer_train.c - `mizan tokenizer train`: a vocabulary from plain text. Floor: app. */
#include "app/commands.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const mz_option OPTIONS[] = {
    {.name = "vocab",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "tokens, special ones and the 256 bytes included (30000)",
     .least = 1,
     .most = 1 << 24},
    {.name = "min-frequency",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "join only what is seen at least so often (0)",
     .most = 1e15},
    {.name = "special",
     .kind = MZ_OPTION_TEXT,
     .value = "TOKEN",
     .help = "a special token; they get the first ids, in this order",
     .many = true},
    {.name = "out",
     .kind = MZ_OPTION_TEXT,
     .value = "FILE",
     .help = "the tokenizer.json to write (tokenizer.json)"},
    {0}};

static mz_err feed_file(mz_bpe_trainer *t, const char *path)
{
    mz_map map = {0};
    MZ_TRY(mz_map_open(&map, path));
    const char *text = (const char *)map.data;
    mz_err err = MZ_OK;
    for (size_t at = 0; err == MZ_OK && at < map.bytes;) {
        const char *end = memchr(text + at, '\n', map.bytes - at);
        const size_t n = end ? (size_t)(end - (text + at)) + 1 : map.bytes - at;
        err = mz_bpe_trainer_feed(t, text + at, n);
        if (err == MZ_ECORRUPT) mz_note_where(path, "", (int64_t)at);
        at += n;
    }
    mz_map_close(&map);
    return err;
}

static mz_err report(const mz_cli *cli, const mz_bpe_trainer *t, const char *out)
{
    const int64_t tokens = mz_bpe_trainer_tokens(t), merges = mz_bpe_trainer_merges(t);
    if (!mz_cli_flag(cli, "json")) {
        printf("%s: %" PRId64 " tokens, %" PRId64 " merges, from %" PRId64 " different words\n",
               out, tokens, merges, mz_bpe_trainer_words(t));
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "file", json_string(out));
    bad |= json_object_set_new(o, "tokens", json_integer(tokens));
    bad |= json_object_set_new(o, "merges", json_integer(merges));
    bad |= json_object_set_new(o, "words", json_integer(mz_bpe_trainer_words(t)));
    if (bad != 0) {
        json_decref(o);
        return mz_cli_json_failed();
    }
    return mz_cli_print(o);
}

static mz_err train(const mz_cli *cli, mz_bpe_trainer *t, const char **special)
{
    const char *out = mz_cli_text(cli, "out", "tokenizer.json");
    const int n = mz_cli_texts(cli, "special");
    for (int i = 0; i < n; i++) {
        special[i] = mz_cli_text_at(cli, "special", i);
        if (!special[i][0]) return MZ_FAIL(MZ_EUSAGE, "--special: an empty token");
    }
    for (int i = 0; i < mz_cli_count(cli); i++) MZ_TRY(feed_file(t, mz_cli_argument(cli, i)));
    const mz_bpe_train_options o = {.vocab = mz_cli_int(cli, "vocab", 30000),
                                    .min_frequency = mz_cli_int(cli, "min-frequency", 0),
                                    .special = special,
                                    .n_special = n};
    MZ_TRY(mz_bpe_trainer_run(t, &o));
    MZ_TRY(mz_bpe_trainer_write(t, out));
    return report(cli, t, out);
}

static mz_err run(const mz_cli *cli)
{
    mz_bpe_trainer *t = NULL;
    const char **special = NULL;
    MZ_TRY(mz_mem_new(&special, mz_cli_texts(cli, "special"), sizeof *special));
    mz_err err = mz_bpe_trainer_new(&t);
    if (err == MZ_OK) err = train(cli, t, special);
    mz_bpe_trainer_free(t);
    mz_mem_free(special);
    return err;
}

const mz_command mz_cmd_tokenizer_train = {
    .name = "tokenizer train",
    .arguments = "FILES...",
    .least = 1,
    .most = -1,
    .summary = "learn a byte-level BPE vocabulary from text files",
    .description = "Each line is text of its own. The vocabulary is the one that the tokenizers "
                   "library learns.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON,
    .examples = "mizan tokenizer train book.txt --vocab 4096 --out tokenizer.json",
    .run = run,
};
