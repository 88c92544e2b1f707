/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_data.c - `mizan data build|show`: texts to token shards, and what a sample holds. Floor:
 * app. */
#include "app/commands.h"
#include "app/progress.h"
#include "app/source.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "train/corpus.h"
#include "train/data.h"

#include <stdio.h>
#include <string.h>

/* ---- build ---- */

static const mz_option BUILD_OPTIONS[] = {
    {.name = "tokenizer",
     .kind = MZ_OPTION_TEXT,
     .value = "SRC",
     .help = "folder, tokenizer.json or GGUF file whose tokenizer is used"},
    {.name = "out", .kind = MZ_OPTION_TEXT, .value = "DIR", .help = "folder of the data set"},
    {.name = "field",
     .kind = MZ_OPTION_TEXT,
     .value = "NAME",
     .help = "field of JSONL that holds a document's text (default text)"},
    {.name = "validation",
     .kind = MZ_OPTION_REAL,
     .value = "SHARE",
     .help = "share of the documents that is held out (default 0)",
     .most = 0.9},
    {.name = "shard-tokens",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "tokens after which a new shard is begun (default 100000000)",
     .least = 1,
     .most = 1e12},
    {.name = "threads",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "threads that encode (default: all processors)",
     .least = 1,
     .most = 1024},
    {0}};

static void show_build(void *user, const mz_corpus_count *c)
{
    mz_progress_line *p = user;
    char line[200], left[32], bytes[32];
    if (!mz_progress_is_due(p)) return;
    const double seconds = (double)(mz_clock_ns() - p->begun_ns) * 1e-9;
    const double share =
        c->file_bytes_all > 0 ? (double)c->file_bytes / (double)c->file_bytes_all : 1.0;
    (void)snprintf(line, sizeof line, "%5.1f %%  %lld documents  %lld tokens  %s/s  %s left",
                   100.0 * share, (long long)c->documents, (long long)c->ids,
                   mz_str_bytes(bytes, (double)c->text_bytes / (seconds + 1e-9)),
                   mz_progress_time(left, share > 0.0 ? seconds * (1.0 - share) / share : 0.0));
    mz_progress_show(p, false, line);
}

static mz_err print_count(const mz_corpus_count *c, const char *out, bool as_json)
{
    const double each = c->ids > 0 ? (double)c->text_bytes / (double)c->ids : 0.0;
    if (!as_json) {
        printf("documents        %lld\ntokens           %lld\nbytes per token  %.3f\n",
               (long long)c->documents, (long long)c->ids, each);
        for (int i = 0; i < MZ_PARTS; i++)
            printf("%-16s %lld document%s, %lld tokens in %lld shard%s\n", mz_part_name((mz_part)i),
                   (long long)c->part[i].documents, c->part[i].documents == 1 ? "" : "s",
                   (long long)c->part[i].ids, (long long)c->part[i].shards,
                   c->part[i].shards == 1 ? "" : "s");
        if (c->empty > 0) printf("left out         %lld empty documents\n", (long long)c->empty);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "out", json_string(out));
    bad |= json_object_set_new(o, "documents", json_integer(c->documents));
    bad |= json_object_set_new(o, "empty", json_integer(c->empty));
    bad |= json_object_set_new(o, "tokens", json_integer(c->ids));
    bad |= json_object_set_new(o, "text_bytes", json_integer(c->text_bytes));
    bad |= json_object_set_new(o, "bytes_per_token", mz_json_number(each));
    for (int i = 0; i < MZ_PARTS; i++)
        bad |= json_object_set_new(
            o, mz_part_name((mz_part)i),
            json_pack("{s:I, s:I, s:I}", "documents", (json_int_t)c->part[i].documents, "tokens",
                      (json_int_t)c->part[i].ids, "shards", (json_int_t)c->part[i].shards));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err need_text(const mz_cli *cli, const char *name)
{
    if (mz_cli_text(cli, name, NULL)) return MZ_OK;
    return MZ_FAIL(MZ_EUSAGE, "--%s is not given", name);
}

static mz_err build(const mz_cli *cli)
{
    mz_tokenizer *tokenizer = NULL;
    mz_progress_line line;
    mz_corpus_count count;
    const char **files = NULL;
    MZ_TRY(need_text(cli, "tokenizer"));
    MZ_TRY(need_text(cli, "out"));
    MZ_TRY(mz_app_open_tokenizer(&tokenizer, mz_cli_text(cli, "tokenizer", "")));
    mz_progress_begin(&line);
    mz_err err = mz_mem_new(&files, mz_cli_count(cli), sizeof *files);
    for (int i = 0; err == MZ_OK && i < mz_cli_count(cli); i++) files[i] = mz_cli_argument(cli, i);
    const mz_corpus_options o = {.files = files,
                                 .n_files = mz_cli_count(cli),
                                 .out = mz_cli_text(cli, "out", NULL),
                                 .tokenizer = tokenizer,
                                 .tokenizer_name = mz_cli_text(cli, "tokenizer", ""),
                                 .field = mz_cli_text(cli, "field", "text"),
                                 .validation = mz_cli_real(cli, "validation", 0.0),
                                 .seed = (uint64_t)mz_cli_int(cli, "seed", 0),
                                 .shard_ids = mz_cli_int(cli, "shard-tokens", 100000000),
                                 .threads =
                                     (int)mz_cli_int(cli, "threads", mz_thread_default_count()),
                                 .user = &line,
                                 .progress = show_build};
    if (err == MZ_OK) err = mz_corpus_build(&o, &count);
    mz_progress_end(&line);
    mz_mem_free(files);
    mz_tokenizer_free(tokenizer);
    if (err != MZ_OK) return err;
    if (o.validation > 0.0 && count.part[MZ_PART_VALIDATION].documents == 0)
        fprintf(stderr, "mizan: no document fell to validation: the share is small for %lld\n",
                (long long)count.documents);
    return print_count(&count, o.out, mz_cli_flag(cli, "json"));
}

/* ---- show ---- */

static const mz_option SHOW_OPTIONS[] = {
    {.name = "from",
     .kind = MZ_OPTION_INT,
     .value = "SAMPLE",
     .help = "the first (default 0)",
     .most = 9e15},
    {.name = "count",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "how many (default 1)",
     .most = 1e9},
    {.name = "seq",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "data.seq: a sample holds up to N + 1 ids (default 1024)",
     .least = 1,
     .most = 16777216},
    {.name = "part",
     .kind = MZ_OPTION_TEXT,
     .choices = "train|validation",
     .help = "of the data set (default train)"},
    {.name = "shuffle", .help = "as data.shuffle: true with --seed as run.seed"},
    {.name = "no-pack", .help = "as data.pack: false"},
    {.name = "across", .help = "as data.across: true"},
    {0}};

static json_t *sample_json(const mz_sample *s, int64_t cursor)
{
    json_t *ids = json_array(), *starts = json_array();
    int bad = 0;
    for (int64_t i = 0; i < s->n; i++) bad |= json_array_append_new(ids, json_integer(s->ids[i]));
    for (int64_t i = 0; i < s->sequences; i++)
        bad |= json_array_append_new(starts, json_integer(s->starts[i]));
    json_t *o =
        json_pack("{s:I, s:o, s:o}", "sample", (json_int_t)cursor, "ids", ids, "starts", starts);
    if (bad == 0) return o;
    json_decref(o);
    return NULL;
}

static void print_sample(const mz_sample *s, int64_t cursor)
{
    printf("sample %lld:", (long long)cursor);
    for (int64_t i = 0, k = 0; i < s->n; i++) {
        const bool starts = k < s->sequences && s->starts[k] == i;
        printf("%s%d", starts && i > 0 ? " | " : " ", s->ids[i]);
        k += starts;
    }
    printf("\n");
}

static mz_err print_samples(const mz_cli *cli, mz_data *data)
{
    const int64_t from = mz_cli_int(cli, "from", 0), count = mz_cli_int(cli, "count", 1);
    const bool as_json = mz_cli_flag(cli, "json");
    json_t *list = as_json ? json_array() : NULL;
    mz_err err = MZ_OK;
    for (int64_t i = from; i < from + count && err == MZ_OK; i++) {
        mz_sample s;
        err = mz_data_sample(data, i, &s);
        if (err == MZ_OK && !as_json) print_sample(&s, i);
        if (err == MZ_OK && as_json && json_array_append_new(list, sample_json(&s, i)) != 0)
            err = mz_cli_json_failed();
    }
    if (!as_json || err != MZ_OK) {
        json_decref(list);
        return err;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "epoch_samples", json_integer(mz_data_count(data)));
    bad |= json_object_set_new(o, "epoch_tokens", json_integer(mz_data_tokens(data)));
    bad |= json_object_set_new(o, "sha256", json_string(mz_data_sha256(data)));
    bad |= json_object_set_new(o, "samples", list);
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err show(const mz_cli *cli)
{
    mz_data *data = NULL;
    const bool validation = strcmp(mz_cli_text(cli, "part", "train"), "validation") == 0;
    const mz_data_options o = {.seq = mz_cli_int(cli, "seq", 1024),
                               .vocab = INT32_MAX,
                               .shuffle = mz_cli_flag(cli, "shuffle"),
                               .seed = (uint64_t)mz_cli_int(cli, "seed", 0),
                               .part = validation ? MZ_PART_VALIDATION : MZ_PART_TRAIN,
                               .pack = !mz_cli_flag(cli, "no-pack"),
                               .across = mz_cli_flag(cli, "across")};
    MZ_TRY(mz_data_open(&data, mz_cli_argument(cli, 0), &o));
    const mz_err err = print_samples(cli, data);
    mz_data_close(data);
    return err;
}

const mz_command mz_cmd_data_build = {
    .name = "data build",
    .arguments = "FILES...",
    .least = 1,
    .most = -1,
    .summary = "text, JSONL and zstd files to token shards",
    .description = "A .jsonl or .ndjson file holds a document a line, any other file is one "
                   "document. Files packed with zstd are unpacked.",
    .options = BUILD_OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_SEED,
    .examples = "mizan data build texts/*.jsonl --tokenizer tokenizer.json --out shards",
    .run = build,
};

const mz_command mz_cmd_data_show = {
    .name = "data show",
    .arguments = "DIR",
    .least = 1,
    .most = 1,
    .summary = "which ids the samples of a data set hold",
    .description = "What `mizan train` is fed: the last of seq + 1 ids is a target only. Samples "
                   "past the first epoch are those of the epochs after it. DIR may be a JSONL "
                   "file of ids too.",
    .options = SHOW_OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_SEED,
    .examples = "mizan data show shards --from 0 --count 2 --seq 128",
    .run = show,
};
