/* SPDX-License-Identifier: Apache-2.0 */
/* infer/answer.c - see answer.h. */
#include "infer/answer.h"

#include "base/clock.h"

#include <string.h>

typedef struct writing {
    const mz_answer_options *options;
    const mz_tokenizer *tokenizer;
    mz_decoder decoder;
    size_t shown; /* bytes of the text that on_text has had */
    bool enough;  /* on_token wants no more */
} writing;

static bool is_end(const writing *w, int32_t id)
{
    for (int64_t i = 0; i < w->options->n_ends; i++)
        if (w->options->ends[i] == id) return true;
    return w->tokenizer && mz_tokenizer_is_eos(w->tokenizer, id);
}

/* The first place of `what` from `from` on, or -1. A text may hold any bytes, zeros too. */
static int64_t find(const mz_str *text, size_t from, const char *what, size_t n)
{
    for (size_t i = from; n > 0 && i + n <= text->len; i++)
        if (memcmp(text->text + i, what, n) == 0) return (int64_t)i;
    return -1;
}

/* Where the first stop text begins, or -1. Only the end is new, but a stop may begin before it. */
static int64_t find_stop(const writing *w, const mz_str *text, size_t from)
{
    int64_t first = -1;
    for (int i = 0; i < w->options->n_stops; i++) {
        const size_t n = strlen(w->options->stops[i]);
        const int64_t at = find(text, from > n ? from - n : 0, w->options->stops[i], n);
        if (at >= 0 && (first < 0 || at < first)) first = at;
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

/* id: the token that was just taken, -1 for what is left at the end. Where somebody has had enough,
 * *stop says so. */
static void show(writing *w, const mz_str *text, size_t until, int32_t id, const char **stop)
{
    const mz_answer_options *o = w->options;
    const size_t fresh = until > w->shown ? until - w->shown : 0;
    const char *what = text->text ? text->text + w->shown : "";
    w->shown += fresh;
    if (o->on_text && fresh > 0 && o->on_text(o->user, what, fresh) != 0) *stop = "stop";
    if (!o->on_token || w->enough || (fresh == 0 && id < 0)) return;
    w->enough = o->on_token(o->user, id, what, fresh) != 0;
    if (w->enough) *stop = "interrupted";
}

/* One chosen token into ids and text. a->stop is set where the text ends with it. */
static mz_err take(writing *w, mz_answer *a, int32_t id)
{
    const size_t before = a->text.len;
    if (is_end(w, id)) {
        a->stop = "eos";
        return MZ_OK;
    }
    MZ_TRY(mz_ids_add(&a->ids, id));
    if (!w->tokenizer) {
        show(w, &a->text, 0, id, &a->stop);
        return MZ_OK;
    }
    MZ_TRY(mz_decoder_put(&w->decoder, id, &a->text));
    const int64_t at = find_stop(w, &a->text, before);
    if (at >= 0) {
        a->text.len = (size_t)at;
        a->text.text[at] = '\0';
        show(w, &a->text, a->text.len, id, &a->stop);
        a->stop = "stop";
        return MZ_OK;
    }
    show(w, &a->text, safe_length(w, &a->text), id, &a->stop);
    return MZ_OK;
}

static mz_err go_on(writing *w, mz_answer *a, mz_session *s)
{
    const int64_t start = mz_clock_ns();
    const mz_answer_options *o = w->options;
    a->stop = o->max_tokens > 0 ? NULL : "length";
    while (!a->stop) {
        int32_t id;
        if (o->is_halted && o->is_halted(o->user)) {
            a->stop = "interrupted";
            break;
        }
        MZ_TRY(mz_session_choose(s, &id));
        MZ_TRY(take(w, a, id));
        if (!a->stop && ((int64_t)a->ids.count >= o->max_tokens || mz_session_room(s) == 0))
            a->stop = "length";
        if (a->stop) break;
        MZ_TRY(mz_session_feed(s, &id, 1));
        a->fed++;
    }
    a->seconds = (double)(mz_clock_ns() - start) * 1e-9;
    if (w->tokenizer && strcmp(a->stop, "stop") != 0) MZ_TRY(mz_decoder_end(&w->decoder, &a->text));
    if (a->text.len > w->shown) {
        const char *ignored = NULL; /* it ends anyway */
        show(w, &a->text, a->text.len, -1, &ignored);
    }
    return MZ_OK;
}

mz_err mz_answer_run(mz_answer *a, mz_session *s, const mz_tokenizer *tokenizer,
                     const mz_answer_options *options)
{
    MZ_NEED(a && s && options, "an argument is NULL");
    writing w = {.options = options, .tokenizer = tokenizer};
    *a = (mz_answer){0};
    if (tokenizer) mz_decoder_init(&w.decoder, tokenizer, true);
    const mz_err err = go_on(&w, a, s);
    if (err != MZ_OK) mz_answer_clear(a);
    return err;
}

void mz_answer_clear(mz_answer *a)
{
    mz_ids_clear(&a->ids);
    mz_str_clear(&a->text);
    *a = (mz_answer){0};
}
