/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_demo.c - `mizan demo`: text, tokenizer, a small network of DeepSeek-V3's kind trained,
 * killed and gone on with, judged against an order-2 byte model, written in two formats. Floor:
 * app. */
#include "app/commands.h"
#include "app/demo.h"
#include "app/order2.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <errno.h> /* program_invocation_name */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MOST = 1 << 30 };

static const mz_option OPTIONS[] = {
    {.name = "minutes",
     .kind = MZ_OPTION_REAL,
     .value = "N",
     .help = "how long to train (default 4)",
     .least = 0.01,
     .most = 1000},
    {.name = "text",
     .kind = MZ_OPTION_TEXT,
     .value = "PATH",
     .help = "a text file or a folder of them (default: the fortunes package)"},
    {.name = "out",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "folder of everything it makes (default: mizan-demo)"},
    {0}};

/* What came out. */
typedef struct result {
    double bits, order2, first, last;
    int64_t steps;
    json_t *text;
} result;

static mz_err prepare(const mz_demo *d)
{
    char vocab[16];
    const char *train = mz_demo_path(d, "train.txt");
    const char *tokenizer = mz_demo_path(d, "tokenizer.json");
    (void)snprintf(vocab, sizeof vocab, "%d", MZ_DEMO_VOCAB);
    MZ_TRY(mz_demo_text(d));
    if (!mz_demo_has(d, "tokenizer.json")) {
        const char *words[] = {"tokenizer", "train",         train,   "--vocab", vocab,
                               "--special", "<|endoftext|>", "--out", tokenizer, NULL};
        MZ_TRY(mz_demo_command(d, words, "out"));
        fprintf(stderr, "tokenizer  %d tokens, learnt from the text\n", MZ_DEMO_VOCAB);
    }
    if (!mz_demo_has(d, "shards")) {
        const char *words[] = {
            "data", "build", train, "--tokenizer", tokenizer, "--out", mz_demo_path(d, "shards"),
            NULL};
        MZ_TRY(mz_demo_command(d, words, "out"));
    }
    if (!mz_demo_has(d, "config.json")) MZ_TRY(mz_demo_network(d));
    fprintf(stderr, "network    DeepSeek-V3's kind (MLA, experts, MTP), 4.7 M parameters\n");
    return mz_demo_has(d, "planned") ? MZ_OK : mz_demo_plan(d);
}

static mz_err judge(const mz_demo *d, result *r)
{
    char *train = NULL, *held = NULL;
    size_t n = 0, n_held = 0;
    json_t *o = NULL;
    const char *words[] = {"eval",      mz_demo_path(d, "model"),
                           "--text",    mz_demo_path(d, "held.txt"),
                           "--context", "128",
                           "--json",    NULL};
    MZ_TRY(mz_demo_command(d, words, "eval.json"));
    MZ_TRY(mz_json_read(&o, mz_demo_path(d, "eval.json"), TEXT_MOST));
    r->bits = json_number_value(json_object_get(o, "bits_per_byte"));
    json_decref(o);
    mz_err err = mz_file_read(mz_demo_path(d, "train.txt"), TEXT_MOST, &train, &n);
    if (err == MZ_OK) err = mz_file_read(mz_demo_path(d, "held.txt"), TEXT_MOST, &held, &n_held);
    if (err == MZ_OK) err = mz_order2_bits(train, n, held, n_held, &r->order2);
    mz_mem_free(train);
    mz_mem_free(held);
    return err;
}

static mz_err write_models(const mz_demo *d, result *r)
{
    char checkpoint[MZ_DEMO_PATH], seed[32];
    json_t *o = NULL;
    const char *model = mz_demo_path(d, "model"), *gguf = mz_demo_path(d, "model.gguf");
    const char *to_hf[] = {"convert", checkpoint, model, "--to", "hf", NULL};
    const char *to_gguf[] = {"convert", checkpoint, gguf, "--to", "gguf", NULL};
    (void)snprintf(seed, sizeof seed, "%lld", (long long)d->seed);
    const char *say[] = {"generate",      model, "--prompt", "The", "--max-tokens", "100",
                         "--temperature", "0.7", "--seed",   seed,  "--json",       NULL};
    MZ_TRY(mz_demo_checkpoint(d, checkpoint));
    MZ_TRY(mz_demo_command(d, to_hf, "out"));
    MZ_TRY(mz_demo_command(d, to_gguf, "out"));
    MZ_TRY(judge(d, r));
    MZ_TRY(mz_demo_command(d, say, "text.json"));
    MZ_TRY(mz_json_read(&o, mz_demo_path(d, "text.json"), TEXT_MOST));
    r->text = json_incref(json_object_get(o, "text"));
    json_decref(o);
    return r->text ? MZ_OK : MZ_FAIL(MZ_ECORRUPT, "the model wrote no text");
}

static mz_err write_result(const mz_demo *d, const result *r)
{
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "steps", json_integer(r->steps));
    bad |= json_object_set_new(o, "first_loss", mz_json_number(r->first));
    bad |= json_object_set_new(o, "loss", mz_json_number(r->last));
    bad |= json_object_set_new(o, "bits_per_byte", mz_json_number(r->bits));
    bad |= json_object_set_new(o, "order2_bits_per_byte", mz_json_number(r->order2));
    bad |= json_object_set(o, "text", r->text);
    bad |= json_object_set_new(o, "out", json_string(d->out));
    const mz_err err =
        bad == 0 ? mz_json_write(o, mz_demo_path(d, "result.json")) : mz_cli_json_failed();
    json_decref(o);
    return err;
}

/* Bytes that a terminal would obey are shown as '?'. */
static void print_text(const char *text)
{
    printf("\nThe");
    for (const char *c = text; *c; c++)
        putchar(((unsigned char)*c < ' ' && *c != '\n' && *c != '\t') || *c == 127 ? '?' : *c);
    printf("\n\n");
}

static mz_err report(const mz_cli *cli, const mz_demo *d, const result *r)
{
    json_t *o = NULL;
    if (mz_cli_flag(cli, "json")) {
        MZ_TRY(mz_json_read(&o, mz_demo_path(d, "result.json"), TEXT_MOST));
        return mz_cli_print(o);
    }
    print_text(json_string_value(r->text));
    printf("held-out text: %.3f bits a byte; an order-2 byte model: %.3f\n", r->bits, r->order2);
    printf("written: %s/model (Hugging Face), %s/model.gguf, %s/loss.svg\n\nTry next:\n", d->out,
           d->out, d->out);
    /* as it was called: after `make run` it is in no PATH */
    const char *m = program_invocation_name, *out = d->out;
    printf("  %s generate %s/model --prompt \"Love is\" --temperature 0.7\n", m, out);
    printf("  %s generate %s/model.gguf --prompt \"Love is\" --temperature 0.7\n", m, out);
    printf("  %s inspect %s/model\n", m, out);
    printf("  %s eval %s/model --text %s/held.txt --context 128\n", m, out, out);
    printf("  %s runs show %s/run\n", m, out);
    printf("  %s runs plot %s/run --term\n", m, out);
    printf("  %s help\n", m);
    return MZ_OK;
}

/* A finished one begins anew: what depends on the training goes, the rest is made again or kept. */
static mz_err begin(const mz_demo *d)
{
    static const char *const made[] = {"train.yaml", "planned", "killed", "model.gguf"};
    const char *rm[] = {"runs", "rm", mz_demo_path(d, "run"), NULL};
    MZ_TRY(mz_file_mkdirs(d->out));
    if (mz_demo_has(d, "run/train.yaml") && !mz_demo_has(d, "result.json")) {
        fprintf(stderr, "going on   with the run in %s\n", d->out);
        return MZ_OK;
    }
    if (!mz_demo_has(d, "result.json")) return MZ_OK;
    if (mz_demo_has(d, "run/train.yaml")) MZ_TRY(mz_demo_command(d, rm, "out"));
    for (int i = 0; i < MZ_COUNT(made); i++) (void)unlink(mz_demo_path(d, made[i]));
    (void)unlink(mz_demo_path(d, "result.json"));
    return MZ_OK;
}

static mz_err work(const mz_cli *cli, const mz_demo *d, result *r)
{
    MZ_TRY(begin(d));
    MZ_TRY(prepare(d));
    MZ_TRY(mz_file_write(mz_demo_path(d, "planned"), "once\n", 5));
    MZ_TRY(mz_demo_train(d));
    MZ_TRY(write_models(d, r));
    MZ_TRY(mz_demo_curve(d, &r->first, &r->last, &r->steps));
    MZ_TRY(write_result(d, r));
    return report(cli, d, r);
}

static mz_err run(const mz_cli *cli)
{
    result r = {0};
    const mz_demo d = {.out = mz_cli_text(cli, "out", "mizan-demo"),
                       .text = mz_cli_text(cli, "text", NULL),
                       .chip = mz_cli_text(cli, "chip", NULL),
                       .isa = mz_cli_text(cli, "isa", NULL),
                       .driver_path = mz_cli_text(cli, "driver-path", NULL),
                       .fault_plan = mz_cli_text(cli, "fault-plan", NULL),
                       .threads = mz_cli_int(cli, "threads", 0),
                       .seed = mz_cli_int(cli, "seed", 1),
                       .minutes = mz_cli_real(cli, "minutes", 4.0)};
    mz_demo_catch();
    const mz_err err = work(cli, &d, &r);
    json_decref(r.text);
    if (err == MZ_EINTR)
        mz_note_fix("everything is saved; `mizan demo` with the same --out goes on");
    return err;
}

const mz_command mz_cmd_demo = {
    .name = "demo",
    .arguments = "",
    .summary = "train a small model on English text and let it write",
    .description =
        "Everything from nothing: a tokenizer and a network of DeepSeek-V3's kind (MLA, experts,\n"
        "MTP). The training process is killed once on the way, and goes on. Ctrl-C leaves what\n"
        "the next call goes on with; a finished demonstration begins anew.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_SEED,
    .examples = "mizan demo\n"
                "mizan demo --minutes 10 --out bigger",
    .files = "Everything is in one folder, mizan-demo unless --out says otherwise.",
    .run = run,
};
