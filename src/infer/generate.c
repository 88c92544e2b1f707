/* SPDX-License-Identifier: Apache-2.0 */
/* infer/generate.c - see generate.h. */
#include "infer/generate.h"

#include "base/clock.h"
#include "base/mem.h"
#include "port/source.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 512, PAGE = 32 };

typedef struct writing {
    const mz_generate_options *options;
    const mz_tokenizer *tokenizer;
    const mz_config *config;
    mz_queue *queue;
    mz_source *source;
    mz_model *model;
    mz_session *session;
    mz_model_options bound;
    mz_decoder decoder;
    size_t shown; /* bytes of the text that on_text has had */
} writing;

static mz_err load(writing *w, const char *path, int64_t prompt)
{
    const int64_t positions = prompt + w->options->max_tokens;
    const int64_t pages = (positions + PAGE - 1) / PAGE;
    MZ_TRY(mz_source_open(&w->source, path));
    w->config = mz_source_config(w->source);
    w->bound = (mz_model_options){.dtype = w->options->dtype,
                                  .tokens_max = prompt < CHUNK ? prompt : CHUNK,
                                  .sequences_max = 1,
                                  .position_max = positions,
                                  .head_rows = 1,
                                  .cache_pages = pages,
                                  .page_tokens = PAGE,
                                  .pages_per_sequence_max = pages};
    MZ_TRY(mz_source_model(&w->model, w->source, w->queue, &w->bound, w->options->as_stored));
    return mz_session_new(&w->session, w->queue, w->model, &w->bound, &w->options->sampling);
}

static bool is_end(const writing *w, int32_t id)
{
    return id == w->config->eos || (w->tokenizer && mz_tokenizer_is_eos(w->tokenizer, id));
}

/* Where the first stop text begins, or -1. Only the end is new, but a stop may begin before it. */
static int64_t find_stop(const writing *w, const mz_str *text, size_t from)
{
    int64_t first = -1;
    for (int i = 0; i < w->options->n_stops; i++) {
        const size_t n = strlen(w->options->stops[i]);
        const size_t start = from > n ? from - n : 0;
        const char *at =
            n > 0 && text->text ? strstr(text->text + start, w->options->stops[i]) : NULL;
        if (at && (first < 0 || at - text->text < first)) first = at - text->text;
    }
    return first;
}

/* The longest beginning of a stop text that the text ends with must not be shown yet. */
static size_t safe_length(const writing *w, const mz_str *text)
{
    size_t keep = 0;
    for (int i = 0; i < w->options->n_stops; i++) {
        const char *stop = w->options->stops[i];
        size_t n = strlen(stop);
        for (n = n > text->len ? text->len : n; n > keep; n--)
            if (memcmp(text->text + text->len - n, stop, n) == 0) keep = n;
    }
    return text->len - keep;
}

static bool show(writing *w, const mz_str *text, size_t until)
{
    int wants_end = 0;
    if (w->options->on_text && until > w->shown)
        wants_end = w->options->on_text(w->options->user, text->text + w->shown, until - w->shown);
    if (until > w->shown) w->shown = until;
    return wants_end != 0;
}

/* One chosen token into ids and text. *stop is set where the text ends with it. */
static mz_err take(writing *w, mz_generated *out, int32_t id, const char **stop)
{
    const size_t before = out->text.len;
    if (is_end(w, id)) {
        *stop = "eos";
        return MZ_OK;
    }
    MZ_TRY(mz_ids_add(&out->ids, id));
    if (!w->tokenizer) return MZ_OK;
    MZ_TRY(mz_decoder_put(&w->decoder, id, &out->text));
    const int64_t at = find_stop(w, &out->text, before);
    if (at >= 0) {
        out->text.len = (size_t)at;
        out->text.text[at] = '\0';
        *stop = "stop";
        return MZ_OK;
    }
    if (out->text.len > 0 && show(w, &out->text, safe_length(w, &out->text))) *stop = "stop";
    return MZ_OK;
}

static mz_err go_on(writing *w, mz_generated *out)
{
    const int64_t start = mz_clock_ns();
    int64_t fed = 0;
    out->stop = NULL;
    while (!out->stop) {
        int32_t id;
        MZ_TRY(mz_session_choose(w->session, &id));
        MZ_TRY(take(w, out, id, &out->stop));
        if (!out->stop && (int64_t)out->ids.count >= w->options->max_tokens) out->stop = "length";
        if (out->stop) break;
        MZ_TRY(mz_session_feed(w->session, &id, 1));
        fed++;
    }
    const double seconds = (double)(mz_clock_ns() - start) * 1e-9;
    out->decode_tokens_per_s = fed > 0 && seconds > 0.0 ? (double)fed / seconds : (double)NAN;
    if (w->tokenizer && strcmp(out->stop, "stop") != 0)
        MZ_TRY(mz_decoder_end(&w->decoder, &out->text));
    if (out->text.len > w->shown) (void)show(w, &out->text, out->text.len);
    return MZ_OK;
}

static mz_err run(writing *w, mz_generated *out, const char *model, const mz_ids *prompt)
{
    const int64_t start = mz_clock_ns(), n = (int64_t)prompt->count;
    MZ_TRY(load(w, model, n));
    for (int64_t i = 0; i < n; i++)
        if (prompt->at[i] < 0 || prompt->at[i] >= w->config->vocab)
            return MZ_FAIL(MZ_ECORRUPT, "prompt id %d is not in 0 .. %lld", prompt->at[i],
                           (long long)w->config->vocab - 1);
    const int64_t loaded = mz_clock_ns();
    MZ_TRY(mz_session_feed(w->session, prompt->at, n));
    out->load_ms = (double)(loaded - start) * 1e-6;
    out->prefill_tokens = n;
    const double seconds = (double)(mz_clock_ns() - loaded) * 1e-9;
    out->prefill_tokens_per_s = seconds > 0.0 ? (double)n / seconds : (double)NAN;
    if (w->options->max_tokens > 0) return go_on(w, out);
    out->stop = "length";
    out->decode_tokens_per_s = (double)NAN;
    return MZ_OK;
}

mz_err mz_generate(mz_generated *out, mz_device *device, const char *model,
                   const mz_tokenizer *tokenizer, const mz_ids *prompt,
                   const mz_generate_options *options)
{
    MZ_NEED(out && device && model && prompt && options, "an argument is NULL");
    if (prompt->count == 0) return MZ_FAIL(MZ_EUSAGE, "the prompt is empty");
    writing w = {.options = options, .tokenizer = tokenizer};
    *out = (mz_generated){0};
    if (tokenizer) mz_decoder_init(&w.decoder, tokenizer, true);
    mz_err err = mz_queue_open(&w.queue, device);
    if (err == MZ_OK) err = run(&w, out, model, prompt);
    mz_session_free(w.session);
    mz_model_free(w.model);
    mz_source_close(w.source);
    mz_queue_close(w.queue);
    if (err != MZ_OK) mz_generated_clear(out);
    return err;
}

void mz_generated_clear(mz_generated *g)
{
    mz_ids_clear(&g->ids);
    mz_str_clear(&g->text);
    *g = (mz_generated){0};
}
