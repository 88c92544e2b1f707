/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_generate.c - `mizan generate`: goes on with a text. Floor: app. */
#include "app/commands.h"
#include "app/placed.h"
#include "app/sampling.h"
#include "app/source.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "infer/generate.h"
#include "infer/prompt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { PROMPT_BYTES = 64 << 20 };

static const mz_option OPTIONS[] = {
    {.name = "prompt", .kind = MZ_OPTION_TEXT, .value = "TEXT", .help = "what to go on with"},
    {.name = "prompt-file", .kind = MZ_OPTION_TEXT, .value = "F", .help = "the same, from a file"},
    {.name = "ids",
     .kind = MZ_OPTION_TEXT,
     .value = "F.json",
     .help = "token ids instead: [1,2] or {\"ids\":[1,2]}"},
    {.name = "adapter",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "a LoRA adapter in peft's files, added to the weights"},
    {0}};

static mz_err ids_from_json(const char *path, mz_ids *ids)
{
    json_t *root = NULL;
    mz_err err = MZ_OK;
    MZ_TRY(mz_json_read(&root, path, PROMPT_BYTES));
    const json_t *list = json_is_object(root) ? json_object_get(root, "ids") : root;
    if (!json_is_array(list)) err = MZ_FAIL(MZ_ECORRUPT, "%s holds no list of ids", path);
    for (size_t i = 0; err == MZ_OK && i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        const json_int_t id = json_integer_value(x);
        if (!json_is_integer(x) || id < 0 || id > INT32_MAX)
            err = MZ_FAIL(MZ_ECORRUPT, "%s: entry %zu is not a token id", path, i);
        else
            err = mz_ids_add(ids, id);
    }
    if (err != MZ_OK) mz_note_where(path, "ids", -1);
    json_decref(root);
    return err;
}

static mz_err read_prompt(const mz_cli *cli, const mz_tokenizer *t, mz_ids *ids)
{
    const char *text = mz_cli_text(cli, "prompt", NULL),
               *file = mz_cli_text(cli, "prompt-file", NULL);
    const char *list = mz_cli_text(cli, "ids", NULL);
    char *read = NULL;
    size_t bytes = 0;
    if ((text != NULL) + (file != NULL) + (list != NULL) != 1)
        return MZ_FAIL(MZ_EUSAGE, "generate needs one of --prompt, --prompt-file and --ids");
    if (list) return ids_from_json(list, ids);
    if (text) return mz_prompt_text(t, text, strlen(text), ids);
    MZ_TRY(mz_file_read(file, PROMPT_BYTES, &read, &bytes));
    const mz_err err = mz_prompt_text(t, read, bytes, ids);
    mz_mem_free(read);
    return err;
}

static int stream(void *user, const char *text, size_t bytes)
{
    (void)user;
    (void)fwrite(text, 1, bytes, stdout);
    (void)fflush(stdout);
    return ferror(stdout);
}

/* The most memory that this process had in use, mapped files included. Not getrusage's figure: that
 * one begins with what the program had that started this one. */
static int64_t peak_bytes(void)
{
    struct rusage usage;
    char line[128];
    long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lld kB", &kib) == 1) break;
    if (f) fclose(f);
    if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0) kib = usage.ru_maxrss;
    return kib * 1024;
}

static mz_err print_json(const mz_generated *g, const mz_chips *chips)
{
    json_t *o = mz_cli_document(), *ids = json_array();
    int bad = 0;
    for (size_t i = 0; i < g->ids.count; i++)
        bad |= json_array_append_new(ids, json_integer(g->ids.at[i]));
    bad |= json_object_set_new(o, "ids", ids);
    bad |=
        json_object_set_new(o, "text", json_stringn(g->text.text ? g->text.text : "", g->text.len));
    bad |= json_object_set_new(o, "stop", json_string(g->stop));
    bad |= json_object_set_new(o, "load_ms", mz_json_number(g->load_ms));
    bad |= json_object_set_new(o, "prefill_tokens", json_integer(g->prefill_tokens));
    bad |= json_object_set_new(o, "prefill_tokens_per_s", mz_json_number(g->prefill_tokens_per_s));
    bad |= json_object_set_new(o, "decode_tokens_per_s", mz_json_number(g->decode_tokens_per_s));
    bad |= json_object_set_new(o, "peak_bytes", json_integer((json_int_t)peak_bytes()));
    bad |= json_object_set_new(o, "ranks", mz_app_chips_json(chips));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static void print_end(const mz_generated *g, bool has_text)
{
    if (has_text)
        printf("\n");
    else
        for (size_t i = 0; i < g->ids.count; i++)
            printf("%d%c", g->ids.at[i], i + 1 < g->ids.count ? ' ' : '\n');
    if (ferror(stdout)) return; /* nobody listens */
    fprintf(stderr, "%zu tokens (%s); loaded in %.0f ms, prefill %lld tokens", g->ids.count,
            g->stop, g->load_ms, (long long)g->prefill_tokens);
    if (isfinite(g->prefill_tokens_per_s)) fprintf(stderr, " at %.0f/s", g->prefill_tokens_per_s);
    if (isfinite(g->decode_tokens_per_s))
        fprintf(stderr, ", decode %.1f/s", g->decode_tokens_per_s);
    fprintf(stderr, "\n");
}

static mz_err generate(const mz_cli *cli, mz_chips *chips, const mz_tokenizer *t,
                       const mz_ids *prompt)
{
    static const mz_sampling plain = {.top_p = 1.0, .repeat_penalty = 1.0, .repeat_last = 64};
    const char *stops[MZ_STOPS_MAX];
    const bool json = mz_cli_flag(cli, "json");
    mz_generated g;
    mz_generate_options o = {.max_tokens = mz_cli_int(cli, "max-tokens", 128),
                             .adapter = mz_cli_text(cli, "adapter", NULL),
                             .stops = stops,
                             .on_text = json ? NULL : stream,
                             .sampling = mz_cli_sampling(cli, &plain)};
    MZ_TRY(mz_cli_stops(cli, stops, &o.n_stops));
    MZ_TRY(mz_cli_dtype(cli, MZ_F32, &o.dtype));
    o.as_stored = !mz_cli_text(cli, "dtype", NULL);
    MZ_TRY(mz_generate(&g, chips, mz_cli_argument(cli, 0), t, prompt, &o));
    mz_err err = MZ_OK;
    if (json)
        err = print_json(&g, chips);
    else
        print_end(&g, t != NULL);
    if (!json) mz_app_tell_chips(chips);
    mz_generated_clear(&g);
    return err;
}

static mz_err run(const mz_cli *cli)
{
    mz_tokenizer *t = NULL;
    mz_chips chips = {0};
    mz_ids prompt = {0};
    mz_err err = mz_app_open_tokenizer(&t, mz_cli_argument(cli, 0));
    /* ids need no tokenizer; then there is no text either */
    if (err != MZ_OK && err != MZ_ENOMEM && mz_cli_text(cli, "ids", NULL)) err = MZ_OK;
    if (err == MZ_OK) err = read_prompt(cli, t, &prompt);
    if (err == MZ_OK) err = mz_app_open_chips(cli, &chips);
    if (err == MZ_OK) err = generate(cli, &chips, t, &prompt);
    mz_app_close_chips(&chips);
    mz_ids_clear(&prompt);
    mz_tokenizer_free(t);
    return err;
}

const mz_command mz_cmd_generate = {
    .name = "generate",
    .arguments = "MODEL",
    .least = 1,
    .most = 1,
    .summary = "go on with a text",
    .description =
        "MODEL is a Hugging Face folder or a GGUF file. Special tokens in the prompt are\n"
        "only text; the model's begin token is put first where it wants one.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_RANKS | MZ_COMMON_SEED | MZ_COMMON_DTYPE |
              MZ_COMMON_SAMPLING,
    .examples = "mizan generate MODEL --prompt \"Once upon a time\"\n"
                "mizan generate model.gguf --prompt Hello --temperature 0.8 --json",
    .run = run,
};
