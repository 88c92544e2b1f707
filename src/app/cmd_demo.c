/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_demo.c - `mizan demo`: text, tokenizer, a small network of DeepSeek-V3's kind trained,
 * killed and gone on with, judged against an order-2 byte model, written in two formats. Floor:
 * app. */
#include "app/commands.h"
#include "app/demo.h"
#include "app/order2.h"
#include "app/shell.h"
#include "base/file.h"
#include "base/folder.h"
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
    {.name = "steps",
     .kind = MZ_OPTION_INT,
     .value = "N",
     .help = "train so many steps, however long they take: then the bits are always the same",
     .least = 1,
     .most = 1e6},
    {.name = "second",
     .kind = MZ_OPTION_TEXT,
     .value = "CHIP",
     .help = "chip of a second rank, or none (default: opencl:0 where there is one)"},
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

static mz_err prepare(mz_demo *d)
{
    char vocab[16];
    (void)snprintf(vocab, sizeof vocab, "%d", MZ_DEMO_VOCAB);
    MZ_TRY(mz_demo_text(d));
    const char *train = mz_demo_path(d, "train.txt");
    const char *tokenizer = mz_demo_path(d, "tokenizer.json");
    if (!mz_demo_has(d, "tokenizer.json")) {
        const char *words[] = {"tokenizer", "train",         train,   "--vocab", vocab,
                               "--special", "<|endoftext|>", "--out", tokenizer, NULL};
        MZ_TRY(mz_demo_command(d, words, "out"));
        fprintf(stderr, "tokenizer  %d tokens, learnt from the text\n", MZ_DEMO_VOCAB);
    }
    if (!mz_demo_has(d, "shards/data.json")) {
        const char *words[] = {
            "data", "build", train, "--tokenizer", tokenizer, "--out", mz_demo_path(d, "shards"),
            NULL};
        MZ_TRY(mz_demo_command(d, words, "out"));
    }
    if (!mz_demo_has(d, "config.json")) MZ_TRY(mz_demo_network(d));
    fprintf(stderr, "network    DeepSeek-V3's kind (MLA, experts, MTP), 4.7 M parameters\n");
    return mz_demo_has(d, "run/train.yaml") ? MZ_OK : mz_demo_plan(d);
}

static mz_err judge(const mz_demo *d, result *r)
{
    char *train = NULL, *held = NULL;
    size_t n = 0, n_held = 0;
    json_t *o = NULL;
    const char *words[MZ_DEMO_WORDS] = {"eval",      mz_demo_path(d, "model"),
                                        "--text",    mz_demo_path(d, "held.txt"),
                                        "--context", "128",
                                        "--json",    NULL};
    mz_demo_chip_words(d, words, 7, false);
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

/* The newest checkpoint as a folder, or a file, that other programs read. */
static mz_err convert(const mz_demo *d, const char *checkpoint, const char *to, const char *name)
{
    const char *words[MZ_DEMO_WORDS] = {"convert", checkpoint, mz_demo_path(d, name),
                                        "--to",    to,         NULL};
    mz_demo_chip_words(d, words, 5, false);
    return mz_demo_command(d, words, "out");
}

static mz_err write_models(const mz_demo *d, result *r)
{
    char checkpoint[MZ_DEMO_PATH], seed[32];
    json_t *o = NULL;
    (void)snprintf(seed, sizeof seed, "%lld", (long long)d->seed);
    MZ_TRY(mz_demo_checkpoint(d, checkpoint));
    fprintf(stderr, "writing    a Hugging Face folder and a GGUF; judging the model\n");
    MZ_TRY(convert(d, checkpoint, "hf", "model"));
    MZ_TRY(convert(d, checkpoint, "gguf", "model.gguf"));
    MZ_TRY(judge(d, r));
    const char *say[MZ_DEMO_WORDS] = {"generate",      mz_demo_path(d, "model"),
                                      "--prompt",      "The",
                                      "--max-tokens",  "100",
                                      "--temperature", "0.7",
                                      "--seed",        seed,
                                      "--json",        NULL};
    mz_demo_chip_words(d, say, 11, false);
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

/* One line that works as it stands: this program, the words with paths of OUT in place of a leading
 * '@', and the chip where the command computes. */
static mz_err offer(const mz_demo *d, const char *const *words, bool computes)
{
    const char *chip[MZ_DEMO_WORDS] = {NULL};
    mz_str s = {0};
    mz_err err = mz_shell_word(&s, program_invocation_name); /* after `make run` it is in no PATH */
    if (computes) mz_demo_chip_words(d, chip, 0, false);
    for (int part = 0; part < 2; part++) {
        for (const char *const *w = part ? chip : words; *w && err == MZ_OK; w++) {
            const bool is_path = !part && (*w)[0] == '@';
            err = mz_str_add(&s, " ", 1);
            if (err == MZ_OK) err = mz_shell_word(&s, is_path ? mz_demo_path(d, *w + 1) : *w);
        }
    }
    if (err == MZ_OK) printf("  %s\n", s.text);
    mz_str_clear(&s);
    return err;
}

static mz_err try_next(const mz_demo *d)
{
    static const struct {
        bool computes;
        const char *words[8];
    } lines[] = {{true, {"generate", "@model", "--prompt", "Love is", "--temperature", "0.7"}},
                 {true, {"generate", "@model.gguf", "--prompt", "Love is", "--temperature", "0.7"}},
                 {true, {"eval", "@model", "--text", "@held.txt", "--context", "128"}},
                 {false, {"inspect", "@model"}},
                 {false, {"runs", "show", "@run"}},
                 {false, {"runs", "plot", "@run", "--term"}},
                 {false, {"help"}}};
    printf("Try next:\n");
    for (int i = 0; i < MZ_COUNT(lines); i++) MZ_TRY(offer(d, lines[i].words, lines[i].computes));
    return MZ_OK;
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
    printf("written, in %s: model (Hugging Face), model.gguf, loss.svg\n\n", d->out);
    return try_next(d);
}

/* A finished one begins anew: what depends on the training goes, the rest is made again or kept. */
static mz_err begin(const mz_demo *d)
{
    static const char *const made[] = {"train.yaml", "plan.json",  "killed",
                                       "trained",    "model.gguf", "commands.log"};
    const char *rm[] = {"runs", "rm", mz_demo_path(d, "run"), NULL};
    if (mz_demo_has(d, "run/train.yaml") && !mz_demo_has(d, "result.json")) {
        fprintf(stderr, "going on   with the run in %s\n", d->out);
        return MZ_OK;
    }
    if (!mz_demo_has(d, "result.json")) return MZ_OK;
    if (mz_demo_has(d, "run/train.yaml")) MZ_TRY(mz_demo_command(d, rm, "out"));
    for (int i = 0; i < MZ_COUNT(made); i++) MZ_TRY(mz_folder_remove(mz_demo_path(d, made[i])));
    return mz_folder_remove(mz_demo_path(d, "result.json"));
}

static mz_err work(const mz_cli *cli, mz_demo *d, result *r)
{
    MZ_TRY(begin(d));
    MZ_TRY(mz_demo_recall(d, cli));
    MZ_TRY(prepare(d));
    MZ_TRY(mz_demo_train(d));
    MZ_TRY(write_models(d, r));
    MZ_TRY(mz_demo_curve(d, &r->first, &r->last, &r->steps));
    MZ_TRY(write_result(d, r));
    return report(cli, d, r);
}

/* One demonstration at a time works in a folder. */
static mz_err work_alone(const mz_cli *cli, mz_demo *d, result *r)
{
    mz_lock lock = {.fd = -1};
    MZ_TRY(mz_file_mkdirs(d->out));
    mz_err err = mz_lock_take(&lock, mz_demo_path(d, "demo.lock"));
    if (err == MZ_EBUSY) {
        err = MZ_FAIL(MZ_EBUSY, "another `mizan demo` works in %s", d->out);
        mz_note_fix("wait for it, or name another folder with --out");
    }
    if (err == MZ_OK) err = work(cli, d, r);
    mz_lock_drop(&lock);
    return err;
}

static void say_how_to_go_on(const mz_cli *cli)
{
    enum { ROOM = 200 }; /* of an error's advice, beside the other words */
    mz_str s = {0};
    if (mz_shell_again(&s, cli) == MZ_OK && s.len < ROOM)
        mz_note_fix("everything is saved; this goes on: %s", s.text);
    else
        mz_note_fix("everything is saved; the same command goes on");
    mz_str_clear(&s);
}

static mz_err run(const mz_cli *cli)
{
    enum { LONGEST = 200 }; /* of a name below OUT, with those of temporary files */
    char out[MZ_DEMO_PATH];
    result r = {0};
    mz_demo d = {.out = out,
                 .text = mz_cli_text(cli, "text", NULL),
                 .chip = mz_cli_text(cli, "chip", NULL),
                 .isa = mz_cli_text(cli, "isa", NULL),
                 .driver_path = mz_cli_text(cli, "driver-path", NULL),
                 .fault_plan = mz_cli_text(cli, "fault-plan", NULL),
                 .second = mz_cli_text(cli, "second", NULL),
                 .threads = mz_cli_int(cli, "threads", 0),
                 .seed = mz_cli_int(cli, "seed", 1),
                 .steps = mz_cli_int(cli, "steps", 0),
                 .minutes = mz_cli_real(cli, "minutes", 4.0)};
    const char *name = mz_cli_text(cli, "out", "mizan-demo");
    if (strlen(name) == 0 || strlen(name) > MZ_DEMO_PATH - LONGEST)
        return MZ_FAIL(MZ_EUSAGE, "--out is no name of a folder, or too long a one");
    /* a path that begins with a dash would be an option of the commands that it is given to */
    (void)snprintf(out, sizeof out, "%s%s", name[0] == '-' ? "./" : "", name);
    mz_demo_catch();
    const mz_err err = work_alone(cli, &d, &r);
    if (err == MZ_EINTR) say_how_to_go_on(cli);
    json_decref(r.text);
    json_decref(d.plan);
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
                "mizan demo --minutes 10 --out bigger\n"
                "mizan demo --steps 200 --threads 1",
    .files = "Everything is in one folder, mizan-demo unless --out says otherwise.",
    .run = run,
};
