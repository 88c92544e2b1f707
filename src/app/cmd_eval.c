/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_eval.c - `mizan eval`: perplexity of a text. Floor: app. */
#include "app/commands.h"
#include "app/placed.h"
#include "app/source.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "file/safetensors.h"
#include "infer/eval.h"
#include "infer/outputs.h"
#include "tensor/convert.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 1 << 30 };

static const mz_option OPTIONS[] = {
    {.name = "text", .kind = MZ_OPTION_TEXT, .value = "FILE", .help = "the text"},
    {.name = "ids",
     .kind = MZ_OPTION_TEXT,
     .value = "FILE.safetensors",
     .help = "or its tokens: a tensor ids, I64"},
    {.name = "context",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "tokens of a window (default 512)",
     .least = 2,
     .most = 1 << 20},
    {.name = "logprobs",
     .kind = MZ_OPTION_TEXT,
     .value = "OUT.safetensors",
     .help = "each token's log-probability, NaN where it is not counted"},
    {.name = "adapter",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "a LoRA adapter in peft's files, added to the weights"},
    {0}};

static mz_err ids_of_file(const char *path, mz_ids *ids)
{
    mz_st_file *file = NULL;
    mz_err err = MZ_OK;
    MZ_TRY(mz_st_open(&file, path));
    const mz_st_tensor *t = mz_st_find(file, "ids");
    if (!t || !mz_convert_can(MZ_I32, t->dtype)) {
        err = MZ_FAIL(MZ_ECORRUPT, "%s has no tensor ids of token ids", path);
        mz_note_where(path, "ids", -1);
    }
    if (err == MZ_OK) err = mz_mem_new(&ids->at, t->count, sizeof *ids->at);
    if (err == MZ_OK) err = mz_convert(ids->at, MZ_I32, t->data, t->dtype, t->count);
    if (err == MZ_OK) ids->count = ids->cap = (size_t)t->count;
    mz_st_close(file);
    return err;
}

static mz_err ids_of_text(const mz_cli *cli, const char *path, mz_tokenizer **t, mz_ids *ids)
{
    mz_encoder *e = NULL;
    char *text = NULL;
    size_t bytes = 0;
    MZ_TRY(mz_app_open_tokenizer(t, mz_cli_argument(cli, 0)));
    MZ_TRY(mz_file_read(path, TEXT_BYTES, &text, &bytes));
    mz_err err = mz_encoder_new(&e, *t);
    if (err == MZ_OK) err = mz_encode(e, text, bytes, 0, ids);
    mz_encoder_free(e);
    mz_mem_free(text);
    return err;
}

/* Bytes of the tokens that are counted: those that are first in no window. */
static double bytes_of(const mz_tokenizer *t, const mz_ids *ids, int64_t context)
{
    double sum = 0.0;
    for (size_t i = 0; t && i < ids->count; i++) {
        const char *bytes;
        size_t n;
        if ((int64_t)i % context != 0 && mz_tokenizer_bytes(t, ids->at[i], &bytes, &n))
            sum += (double)n;
    }
    return sum;
}

static mz_err write_logprobs(const char *path, const float *logprobs, int64_t n)
{
    mz_outputs out = {0};
    float *data = NULL;
    mz_err err = mz_outputs_add(&out, "logprobs", MZ_F32, 1, &n, &data);
    if (err == MZ_OK) memcpy(data, logprobs, (size_t)n * sizeof *data);
    if (err == MZ_OK) err = mz_outputs_write(&out, path);
    mz_outputs_clear(&out);
    return err;
}

static mz_err print(const mz_cli *cli, const mz_eval *e, double bytes, const mz_chips *chips)
{
    const double mean = e->nll / (double)e->tokens;
    const double bits = bytes > 0.0 ? e->nll / log(2.0) / bytes : (double)NAN;
    if (!mz_cli_flag(cli, "json")) {
        printf("tokens %lld  nll %.4f (%.4f a token)  perplexity %.4f", (long long)e->tokens,
               e->nll, mean, exp(mean));
        if (isfinite(bits)) printf("  bits per byte %.4f", bits);
        printf("\n");
        mz_app_tell_chips(chips);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "tokens", json_integer(e->tokens));
    bad |= json_object_set_new(o, "nll", mz_json_number(e->nll));
    bad |= json_object_set_new(o, "perplexity", mz_json_number(exp(mean)));
    bad |= json_object_set_new(o, "bits_per_byte", mz_json_number(bits));
    bad |= json_object_set_new(o, "ranks", mz_app_chips_json(chips));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static void show_progress(void *user, int64_t done, int64_t of)
{
    (void)user;
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, done < of ? "\r%3.0f %%" : "\r     \r", 100.0 * (double)done / (double)of);
    fflush(stderr);
}

static mz_err evaluate(const mz_cli *cli, const mz_tokenizer *t, const mz_ids *ids)
{
    const char *where = mz_cli_text(cli, "logprobs", NULL);
    const int64_t n = (int64_t)ids->count;
    mz_eval_options o = {.context = mz_cli_int(cli, "context", 512),
                         .adapter = mz_cli_text(cli, "adapter", NULL),
                         .progress = show_progress};
    mz_chips chips = {0};
    float *logprobs = NULL;
    mz_eval e = {0};
    if (n < 2) return MZ_FAIL(MZ_ECORRUPT, "%lld tokens are too few to judge", (long long)n);
    MZ_TRY(mz_cli_dtype(cli, MZ_F32, &o.dtype));
    o.as_stored = !mz_cli_text(cli, "dtype", NULL);
    if (where) MZ_TRY(mz_mem_new(&logprobs, n, sizeof *logprobs));
    mz_err err = mz_app_open_chips(cli, &chips);
    if (err == MZ_OK)
        err = mz_eval_run(&e, &chips, mz_cli_argument(cli, 0), ids->at, n, logprobs, &o);
    if (err == MZ_OK && where) err = write_logprobs(where, logprobs, n);
    if (err == MZ_OK) err = print(cli, &e, bytes_of(t, ids, o.context), &chips);
    mz_app_close_chips(&chips);
    mz_mem_free(logprobs);
    return err;
}

static mz_err run(const mz_cli *cli)
{
    const char *text = mz_cli_text(cli, "text", NULL), *list = mz_cli_text(cli, "ids", NULL);
    mz_tokenizer *t = NULL;
    mz_ids ids = {0};
    if ((text != NULL) + (list != NULL) != 1)
        return MZ_FAIL(MZ_EUSAGE, "eval needs one of --text and --ids");
    mz_err err = text ? ids_of_text(cli, text, &t, &ids) : ids_of_file(list, &ids);
    if (err == MZ_OK) err = evaluate(cli, t, &ids);
    mz_ids_clear(&ids);
    mz_tokenizer_free(t);
    return err;
}

const mz_command mz_cmd_eval = {
    .name = "eval",
    .arguments = "MODEL",
    .least = 1,
    .most = 1,
    .summary = "perplexity of a text",
    .description =
        "Non-overlapping windows; every position but a window's first is counted. nll is\n"
        "the sum over all counted tokens, in nats.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_RANKS | MZ_COMMON_DTYPE,
    .examples = "mizan eval MODEL --text book.txt --context 512",
    .run = run,
};
