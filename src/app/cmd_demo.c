/* SPDX-License-Identifier: Apache-2.0 */
/* app/cmd_demo.c - `mizan demo`: trains a small llama-family model on plain text, byte by byte,
 * writes it as a Hugging Face folder, and lets it write. Floor: app. */
#include "app/commands.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "infer/session.h"
#include "port/hf.h"
#include "train/bytes.h"
#include "train/step.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SEQ = 128, ROWS = 16, TOKENS = SEQ * ROWS, HELD_BATCHES = 4, SAMPLE = 400, PAGE = 32 };

static const char *const TEXTS[] = {"/usr/share/games/fortunes", "/usr/share/fortune",
                                    "/usr/share/games/fortune"};

static const mz_option OPTIONS[] = {
    {.name = "minutes",
     .kind = MZ_OPTION_REAL,
     .value = "N",
     .help = "how long to train (default 1.5)",
     .least = 0.01,
     .most = 1000},
    {.name = "text",
     .kind = MZ_OPTION_TEXT,
     .value = "PATH",
     .help = "a text file or a folder of them (default: the fortunes package)"},
    {.name = "out",
     .kind = MZ_OPTION_TEXT,
     .value = "DIR",
     .help = "where the model goes (default: mizan-demo)"},
    {0}};

typedef struct demo {
    mz_bytes text;
    mz_device *device;
    mz_queue *queue;
    mz_model *model;
    mz_trainer *trainer;
    mz_model_options options;
    mz_config config;
    uint64_t seed, rows; /* rows drawn so far */
    double minutes, first_loss, loss;
    bool is_terminal;
    int32_t ids[TOKENS], pos[TOKENS], targets[TOKENS], cu[ROWS + 1];
    float weight[TOKENS];
} demo;

/* 1.9 million parameters: small enough for words within a minute on two cores. */
static mz_config network(void)
{
    return (mz_config){.family = MZ_FAMILY_LLAMA,
                       .architecture = "LlamaForCausalLM",
                       .vocab = 256,
                       .width = 192,
                       .mlp_width = 512,
                       .layers = 4,
                       .heads = 6,
                       .kv_heads = 2,
                       .head_dim = 32,
                       .max_position = 1024,
                       .rms_eps = 1e-5,
                       .inner_eps = 1e-6,
                       .init_std = 0.05,
                       .tied = true,
                       .rope = {.dims = 32, .theta = 10000.0, .factor = 1.0},
                       .scale = 1.0 / sqrt(32.0),
                       .moe = {.groups = 1, .groups_kept = 1, .layer_freq = 1, .factor = 1.0},
                       .bos = -1,
                       .eos = -1,
                       .pad = -1};
}

static mz_err find_text(demo *d, const char *path)
{
    for (int i = 0; !path && i < MZ_COUNT(TEXTS); i++)
        if (mz_file_is_dir(TEXTS[i])) path = TEXTS[i];
    if (!path) {
        const mz_err err = MZ_FAIL(MZ_EIO, "no English text was found to train on");
        mz_note_fix("`scripts/setup demo` installs some, or name a file with --text");
        return err;
    }
    MZ_TRY(mz_bytes_add(&d->text, path));
    mz_bytes_hold_out(&d->text, 0.05);
    if (d->text.len - d->text.held_out <= 2 * SEQ)
        return MZ_FAIL(MZ_ECORRUPT, "%s holds %zu bytes, too few to train on", path, d->text.len);
    fprintf(stderr, "text: %.1f MB in %lld files of %s\n", (double)d->text.len / 1e6,
            (long long)d->text.files, path);
    return MZ_OK;
}

static mz_err build(demo *d)
{
    d->config = network();
    d->options = (mz_model_options){.dtype = MZ_F32,
                                    .tokens_max = TOKENS,
                                    .sequences_max = ROWS,
                                    .position_max = d->config.max_position,
                                    .train = true,
                                    .cache_pages = d->config.max_position / PAGE,
                                    .page_tokens = PAGE,
                                    .pages_per_sequence_max = d->config.max_position / PAGE};
    MZ_TRY(mz_queue_open(&d->queue, d->device));
    MZ_TRY(mz_model_new(&d->model, d->queue, &d->config, &d->options));
    MZ_TRY(mz_params_init(mz_model_params(d->model), d->queue, &d->config, d->seed));
    MZ_TRY(mz_trainer_new(&d->trainer, d->queue, d->model));
    for (int i = 0; i < TOKENS; i++) d->pos[i] = i % SEQ, d->weight[i] = 1.0f / TOKENS;
    for (int i = 0; i <= ROWS; i++) d->cu[i] = i * SEQ;
    fprintf(stderr, "model: llama, %.1f million parameters, on %s (%s, %d threads)\n",
            (double)mz_model_params(d->model)->elements / 1e6, d->device->info.name,
            d->device->info.isa, d->device->info.threads);
    return MZ_OK;
}

static mz_batch batch_of(const demo *d)
{
    return (mz_batch){TOKENS, ROWS, d->ids, d->pos, d->cu, d->targets, d->weight};
}

/* Warm-up over the first 3 % of the time, then a cosine down to a tenth. */
static double rate_at(double share)
{
    const double peak = 3e-3;
    if (share < 0.03) return peak * (share + 1e-3) / 0.031;
    return peak * (0.1 + 0.45 * (1.0 + cos(3.14159265358979 * (share > 1.0 ? 1.0 : share))));
}

static mz_err step(demo *d, double share)
{
    const mz_optim optim = {rate_at(share), 0.9, 0.95, 1e-8, 0.1, 1.0};
    const mz_loss_options lo = {.backward = true};
    const mz_batch batch = batch_of(d);
    double norm;
    for (int r = 0; r < ROWS; r++)
        mz_bytes_row(&d->text, d->seed, d->rows++, SEQ, d->ids + r * SEQ, d->targets + r * SEQ);
    MZ_TRY(mz_trainer_begin(d->trainer));
    MZ_TRY(mz_trainer_micro(d->trainer, &batch, &lo, &d->loss));
    if (mz_trainer_step(d->trainer) == 0) d->first_loss = d->loss;
    return mz_trainer_update(d->trainer, &optim, &norm);
}

static void show(const demo *d, double share, double seconds, bool is_last)
{
    const int64_t n = mz_trainer_step(d->trainer);
    const double left = share > 0.0 && !is_last ? seconds * (1.0 - share) / share : 0.0;
    if (!d->is_terminal && !is_last && n % 50 != 0) return;
    fprintf(stderr, "%s%3.0f %%  step %lld  loss %.3f  %.0f tokens/s  %2.0f s left%s",
            d->is_terminal ? "\r" : "", 100.0 * (share < 1.0 ? share : 1.0), (long long)n, d->loss,
            (double)(n * TOKENS) / seconds, left, d->is_terminal && !is_last ? "  " : "   \n");
    fflush(stderr);
}

static mz_err learn(demo *d)
{
    const int64_t start = mz_clock_ns();
    const double wanted = d->minutes * 60.0;
    for (double share = 0.0; share < 1.0;) {
        MZ_TRY(step(d, share));
        const double seconds = (double)(mz_clock_ns() - start) * 1e-9;
        share = seconds / wanted;
        show(d, share, seconds, share >= 1.0);
    }
    return MZ_OK;
}

/* Bits a byte on text that was never trained on; NaN if it is too short for one batch. */
static mz_err evaluate(demo *d, double *bits)
{
    double sum = 0.0;
    int batches = 0;
    for (; batches < HELD_BATCHES; batches++) {
        const mz_loss_options lo = {.backward = false};
        const mz_batch batch = batch_of(d);
        double loss;
        int rows = 0;
        while (rows < ROWS && mz_bytes_held_row(&d->text, batches * ROWS + rows, SEQ,
                                                d->ids + rows * SEQ, d->targets + rows * SEQ))
            rows++;
        if (rows < ROWS) break;
        MZ_TRY(mz_trainer_micro(d->trainer, &batch, &lo, &loss));
        sum += loss;
    }
    *bits = batches > 0 ? sum / batches / log(2.0) : (double)NAN;
    return MZ_OK;
}

static mz_err write_text(demo *d, char *out)
{
    const char *prompt = "The ";
    const mz_sampling how = {
        .temperature = 0.7, .top_p = 0.95, .repeat_penalty = 1.0, .top_k = 40, .seed = d->seed};
    mz_session *s = NULL;
    int32_t id;
    mz_err err;
    size_t n = strlen(prompt);
    memcpy(out, prompt, n);
    MZ_TRY(mz_session_new(&s, d->queue, d->model, &d->options, &how));
    for (size_t i = 0; i < n; i++) {
        id = (unsigned char)prompt[i];
        MZ_TRY_GOTO(err, mz_session_feed(s, &id, 1), done);
    }
    while (n < SAMPLE) {
        MZ_TRY_GOTO(err, mz_session_choose(s, &id), done);
        out[n++] = (char)id;
        MZ_TRY_GOTO(err, mz_session_feed(s, &id, 1), done);
    }
    err = MZ_OK;
done:
    mz_session_free(s);
    out[n] = '\0';
    return err;
}

/* Bytes that a terminal would obey, or that are half a character, are shown as '?'. */
static void make_printable(char *text)
{
    for (char *c = text; *c; c++)
        if ((*c < ' ' && *c != '\n' && *c != '\t') || *c == 127) *c = '?';
}

static mz_err report(const mz_cli *cli, const demo *d, double bits, const char *sample,
                     const char *out)
{
    if (!mz_cli_flag(cli, "json")) {
        printf("\n%s\n\n", sample);
        printf("The model above never saw a word before; it read %.1f MB of text, byte by byte.\n",
               (double)mz_trainer_step(d->trainer) * TOKENS / 1e6);
        printf("loss %.3f -> %.3f, held-out text: %.3f bits a byte (8 without a model)\n",
               d->first_loss, d->loss, bits);
        printf("\nTry next:\n  mizan inspect %s --tensors\n  mizan chips\n"
               "  mizan demo --minutes 10\n",
               out);
        return MZ_OK;
    }
    json_t *o = mz_cli_document();
    int bad = json_object_set_new(o, "steps", json_integer(mz_trainer_step(d->trainer)));
    bad |= json_object_set_new(o, "first_loss", json_real(d->first_loss));
    bad |= json_object_set_new(o, "loss", json_real(d->loss));
    bad |= json_object_set_new(o, "bits_per_byte", isfinite(bits) ? json_real(bits) : json_null());
    bad |= json_object_set_new(o, "text", json_string(sample));
    bad |= json_object_set_new(o, "out", json_string(out));
    if (bad == 0) return mz_cli_print(o);
    json_decref(o);
    return mz_cli_json_failed();
}

static mz_err run_demo(const mz_cli *cli, demo *d)
{
    char sample[SAMPLE + 1];
    double bits;
    const char *out = mz_cli_text(cli, "out", "mizan-demo");
    MZ_TRY(find_text(d, mz_cli_text(cli, "text", NULL)));
    MZ_TRY(mz_cli_open_chip(cli, &d->device));
    MZ_TRY(build(d));
    MZ_TRY(learn(d));
    MZ_TRY(evaluate(d, &bits));
    MZ_TRY(mz_file_mkdirs(out));
    MZ_TRY(mz_hf_save(mz_model_params(d->model), d->queue, &d->config, out, MZ_F32));
    fprintf(stderr, "written: %s (config.json, model.safetensors)\n", out);
    MZ_TRY(write_text(d, sample));
    make_printable(sample);
    return report(cli, d, bits, sample, out);
}

static mz_err run(const mz_cli *cli)
{
    demo *d = NULL;
    MZ_TRY(mz_mem_new(&d, 1, sizeof *d));
    d->seed = (uint64_t)mz_cli_int(cli, "seed", 1);
    d->minutes = mz_cli_real(cli, "minutes", 1.5);
    d->is_terminal = isatty(STDERR_FILENO) != 0;
    const mz_err err = run_demo(cli, d);
    mz_trainer_free(d->trainer);
    mz_model_free(d->model);
    mz_queue_close(d->queue);
    mz_device_close(d->device);
    mz_bytes_clear(&d->text);
    mz_mem_free(d);
    return err;
}

const mz_command mz_cmd_demo = {
    .name = "demo",
    .arguments = "",
    .summary = "train a small model on English text and let it write",
    .description = "Everything from nothing: no tokenizer, no weights. Text is read byte by byte.",
    .options = OPTIONS,
    .common = MZ_COMMON_JSON | MZ_COMMON_CHIP | MZ_COMMON_SEED,
    .examples = "mizan demo\n"
                "mizan demo --minutes 10 --out bigger",
    .run = run,
};
