/* SPDX-License-Identifier: Apache-2.0 */
/* infer/dialog.c - see dialog.h. */
#include "infer/dialog.h"

#include "base/clock.h"
#include "base/mem.h"
#include "infer/prompt.h"
#include "infer/served.h"

#include <string.h>

enum { CHUNK = 512, CONTEXT_USUAL = 4096, CONTEXT_LEAST = 16 };

/* messages: the system message, if there is one; then user and assistant in turns. */
struct mz_dialog {
    mz_served served;
    mz_dialog_options options;
    const mz_tokenizer *tokenizer;
    mz_encoder *encoder;
    mz_str bos; /* the bos token's text */
    mz_chat_message *messages;
    mz_str *texts; /* of the messages */
    int64_t n, cap, context;
    bool has_system;
};

/* ---- opening ---- */

static mz_err load(mz_dialog *d, mz_chips *chips, const char *model)
{
    const mz_dialog_options *o = &d->options;
    mz_served *s = &d->served;
    MZ_TRY(mz_served_open(s, chips, model));
    const int64_t most = s->config->max_position;
    d->context = o->context > 0 ? o->context : most < CONTEXT_USUAL ? most : CONTEXT_USUAL;
    if (d->context < CONTEXT_LEAST)
        return MZ_FAIL(MZ_EUSAGE, "a context of %lld tokens holds no conversation",
                       (long long)d->context);
    const mz_served_options how = {.dtype = o->dtype,
                                   .as_stored = o->as_stored,
                                   .adapter = o->adapter,
                                   .positions = d->context,
                                   .chunk = d->context < CHUNK ? d->context : CHUNK,
                                   .sampling = mz_served_sampling(&s->generation, &o->sampling)};
    MZ_TRY(mz_served_load(s, &how));
    d->options.answer.ends = s->generation.ends;
    d->options.answer.n_ends = s->generation.n_ends;
    return MZ_OK;
}

mz_err mz_dialog_open(mz_dialog **out, mz_chips *chips, const char *model, const mz_tokenizer *t,
                      const mz_dialog_options *options)
{
    MZ_NEED(out && chips && model && t && options, "an argument is NULL");
    mz_dialog *d = NULL;
    MZ_TRY(mz_mem_new(&d, 1, sizeof *d));
    d->options = *options;
    d->tokenizer = t;
    mz_err err = mz_encoder_new(&d->encoder, t);
    if (err == MZ_OK) err = mz_prompt_bos(t, &d->bos);
    if (err == MZ_OK) err = load(d, chips, model);
    if (err != MZ_OK) {
        mz_dialog_free(d);
        return err;
    }
    *out = d;
    return MZ_OK;
}

static void cut(mz_dialog *d, int64_t n) /* the first n messages stay */
{
    while (d->n > n) mz_str_clear(&d->texts[--d->n]);
}

void mz_dialog_free(mz_dialog *d)
{
    if (!d) return;
    cut(d, 0);
    mz_served_close(&d->served);
    mz_encoder_free(d->encoder);
    mz_str_clear(&d->bos);
    mz_mem_free(d->messages);
    mz_mem_free(d->texts);
    mz_mem_free(d);
}

/* ---- messages ---- */

static mz_err add(mz_dialog *d, const char *role, const char *text, size_t bytes)
{
    if (d->n == d->cap) {
        const int64_t cap = d->cap > 0 ? 2 * d->cap : 16;
        MZ_TRY(mz_mem_grow(&d->messages, cap, sizeof *d->messages));
        MZ_TRY(mz_mem_grow(&d->texts, cap, sizeof *d->texts));
        d->cap = cap;
    }
    mz_str *copy = &d->texts[d->n];
    *copy = (mz_str){0};
    const mz_err err = mz_str_add(copy, text ? text : "", bytes);
    if (err != MZ_OK) {
        mz_str_clear(copy);
        return err;
    }
    d->messages[d->n++] =
        (mz_chat_message){.role = role, .content = copy->text, .content_bytes = copy->len};
    return MZ_OK;
}

static int64_t first_of(const mz_dialog *d)
{
    return d->has_system ? 1 : 0;
}

mz_err mz_dialog_system(mz_dialog *d, const char *text, size_t bytes)
{
    MZ_NEED(d && (text || bytes == 0), "a dialog or text is NULL");
    cut(d, 0);
    d->has_system = false;
    if (bytes == 0) return MZ_OK;
    MZ_TRY(add(d, "system", text, bytes));
    d->has_system = true;
    return MZ_OK;
}

void mz_dialog_think(mz_dialog *d, mz_chat_thinking thinking)
{
    d->options.thinking = thinking;
}

void mz_dialog_forget(mz_dialog *d)
{
    cut(d, first_of(d));
}

bool mz_dialog_undo(mz_dialog *d)
{
    if (d->n < first_of(d) + 2) return false;
    cut(d, d->n - 2);
    return true;
}

int64_t mz_dialog_messages(const mz_dialog *d)
{
    return d->n - first_of(d);
}

int64_t mz_dialog_tokens(const mz_dialog *d)
{
    return mz_session_length(d->served.session);
}

int64_t mz_dialog_context(const mz_dialog *d)
{
    return d->context;
}

/* ---- a turn ---- */

/* Ids of the conversation without the `skip` messages that follow the system message. */
static mz_err encode(mz_dialog *d, int64_t skip, mz_ids *ids)
{
    const int64_t system = first_of(d), n = d->n - skip;
    const mz_chat_options o = {.bos = d->bos.text, .prompt = true, .thinking = d->options.thinking};
    mz_chat_message *list = NULL;
    MZ_TRY(mz_mem_new(&list, n, sizeof *list));
    for (int64_t i = 0; i < n; i++) list[i] = d->messages[i < system ? i : i + skip];
    const mz_err err = mz_prompt_chat(d->encoder, &d->options.chat, list, n, &o, ids);
    mz_mem_free(list);
    return err;
}

/* Room that an answer wants at least. */
static int64_t reserve(const mz_dialog *d)
{
    const int64_t quarter = d->context / 4, most = d->options.answer.max_tokens;
    return most < quarter ? most : quarter;
}

/* Ids of as much of the conversation as fits; the oldest exchanges go first. */
static mz_err fit(mz_dialog *d, mz_ids *ids, int64_t *left_out)
{
    const int64_t most = d->context - reserve(d);
    for (int64_t skip = 0;; skip += 2) {
        mz_ids_clear(ids);
        MZ_TRY(encode(d, skip, ids));
        *left_out = skip;
        if ((int64_t)ids->count <= most) return MZ_OK;
        if (skip + 2 < mz_dialog_messages(d)) continue;
        const mz_err err = MZ_FAIL(
            MZ_EUSAGE, "this message makes %lld tokens, and the context of %lld has room for %lld",
            (long long)ids->count, (long long)d->context, (long long)most);
        mz_note_fix("shorten it, or start with a larger --context");
        return err;
    }
}

static bool is_halted(const mz_dialog *d)
{
    const mz_answer_options *o = &d->options.answer;
    return o->is_halted && o->is_halted(o->user);
}

/* What the cache does not hold yet, a chunk at a time; *done is false where it was interrupted. */
static mz_err prefill(mz_dialog *d, const mz_ids *ids, mz_dialog_turn *turn, bool *done)
{
    mz_session *s = d->served.session;
    const int64_t n = (int64_t)ids->count, start = mz_clock_ns();
    int64_t same = mz_session_shared(s, ids->at, n);
    if (same == n) same--; /* the last one's logits are wanted */
    MZ_TRY(mz_session_rewind(s, same));
    turn->prompt_tokens = n;
    turn->kept_tokens = same;
    for (int64_t at = same; at < n && !is_halted(d);) {
        const int64_t now = n - at < CHUNK ? n - at : CHUNK;
        MZ_TRY(mz_session_feed(s, ids->at + at, now));
        at += now;
    }
    turn->prefill_seconds = (double)(mz_clock_ns() - start) * 1e-9;
    *done = mz_session_length(s) == n;
    return MZ_OK;
}

/* The conversation ends with a message of the user. */
static mz_err take_answer(mz_dialog *d, mz_dialog_turn *turn)
{
    mz_ids ids = {0};
    bool done = false;
    mz_err err = fit(d, &ids, &turn->left_out);
    for (int64_t i = 0; err == MZ_OK && i < (int64_t)ids.count; i++)
        if (ids.at[i] >= d->served.config->vocab)
            err = MZ_FAIL(MZ_ECORRUPT, "the tokenizer has id %d, the model %lld tokens", ids.at[i],
                          (long long)d->served.config->vocab);
    if (err == MZ_OK) err = prefill(d, &ids, turn, &done);
    if (err == MZ_OK && done)
        err = mz_answer_run(&turn->answer, d->served.session, d->tokenizer, &d->options.answer);
    else if (err == MZ_OK)
        turn->answer.stop = "interrupted";
    mz_ids_clear(&ids);
    if (err != MZ_OK) return err;
    turn->is_full = mz_session_room(d->served.session) == 0;
    err = add(d, "assistant", turn->answer.text.text, turn->answer.text.len);
    if (err != MZ_OK) mz_answer_clear(&turn->answer);
    return err;
}

mz_err mz_dialog_ask(mz_dialog *d, const char *text, size_t bytes, mz_dialog_turn *turn)
{
    MZ_NEED(d && (text || bytes == 0) && turn, "a dialog, a text or the place for a turn is NULL");
    const int64_t before = d->n;
    *turn = (mz_dialog_turn){0};
    MZ_TRY(add(d, "user", text, bytes));
    const mz_err err = take_answer(d, turn);
    const bool nothing =
        err == MZ_OK && turn->answer.text.len == 0 && strcmp(turn->answer.stop, "interrupted") == 0;
    if (err != MZ_OK || nothing) cut(d, before);
    return err;
}

mz_err mz_dialog_retry(mz_dialog *d, mz_dialog_turn *turn)
{
    MZ_NEED(d && turn, "no dialog, or no place for a turn");
    *turn = (mz_dialog_turn){0};
    if (d->n < first_of(d) + 2) return MZ_FAIL(MZ_EUSAGE, "nothing was said yet");
    cut(d, d->n - 1);
    const mz_err err = take_answer(d, turn);
    if (err != MZ_OK) cut(d, d->n - 1); /* a question without an answer goes too */
    return err;
}
