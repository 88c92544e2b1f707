/* SPDX-License-Identifier: Apache-2.0 */
/* train/answers.c - see answers.h. */
#include "train/answers.h"

#include "base/mem.h"
#include "port/text_source.h"
#include "text/unicode.h"

#include <string.h>

struct mz_answers {
    mz_tokenizer *tokenizer;
    mz_encoder *encoder;
    mz_chat_template template;
    mz_str bos;
    mz_unicode *unicode; /* NULL until something had to be normalised */
    mz_chat_message *messages;
    mz_str *normal; /* [messages_cap] contents, normalised */
    int64_t n, messages_cap;
    mz_ids ids;
    uint8_t *counts;
    size_t counts_cap;
};

static mz_err open_all(mz_answers *a, const char *source, const char *name)
{
    const char *bytes;
    size_t n;
    MZ_TRY(mz_source_tokenizer(&a->tokenizer, source));
    MZ_TRY(mz_encoder_new(&a->encoder, a->tokenizer));
    MZ_TRY(name[0] ? mz_chat_find(&a->template, name) : mz_source_chat(&a->template, source));
    MZ_TRY(mz_str_add(&a->bos, "", 0));
    if (mz_tokenizer_bytes(a->tokenizer, mz_tokenizer_bos(a->tokenizer), &bytes, &n))
        MZ_TRY(mz_str_add(&a->bos, bytes, n));
    return MZ_OK;
}

mz_err mz_answers_open(mz_answers **out, const char *source, const char *name)
{
    mz_answers *a = NULL;
    MZ_NEED(out && source && name, "an argument is NULL");
    MZ_TRY(mz_mem_new(&a, 1, sizeof *a));
    const mz_err err = open_all(a, source, name);
    if (err != MZ_OK) {
        mz_answers_close(a);
        return err;
    }
    *out = a;
    return MZ_OK;
}

void mz_answers_close(mz_answers *a)
{
    if (!a) return;
    for (int64_t i = 0; i < a->messages_cap; i++) mz_str_clear(&a->normal[i]);
    mz_mem_free(a->normal);
    mz_mem_free(a->messages);
    mz_mem_free(a->unicode);
    mz_mem_free(a->counts);
    mz_ids_clear(&a->ids);
    mz_str_clear(&a->bos);
    mz_encoder_free(a->encoder);
    mz_tokenizer_free(a->tokenizer);
    mz_mem_free(a);
}

/* Texts are borrowed from the JSON. */
static mz_err read_messages(mz_answers *a, const json_t *list)
{
    a->n = (int64_t)json_array_size(list);
    if (!json_is_array(list) || a->n == 0)
        return MZ_FAIL(MZ_ECORRUPT, "messages is no list of {\"role\", \"content\"}");
    if (a->n > a->messages_cap) {
        MZ_TRY(mz_mem_grow(&a->messages, a->n, sizeof *a->messages));
        MZ_TRY(mz_mem_grow(&a->normal, a->n, sizeof *a->normal));
        a->messages_cap = a->n;
    }
    for (int64_t i = 0; i < a->n; i++) {
        const json_t *one = json_array_get(list, (size_t)i);
        const json_t *role = json_object_get(one, "role"), *text = json_object_get(one, "content");
        const json_t *thoughts = json_object_get(one, "reasoning_content");
        if (!json_is_string(role) || !json_is_string(text))
            return MZ_FAIL(MZ_ECORRUPT, "message %lld has no role or no content that is text",
                           (long long)i);
        if (json_object_get(one, "tool_calls"))
            return MZ_FAIL(MZ_ENOTSUP, "message %lld calls tools, which no template here writes",
                           (long long)i);
        a->messages[i] = (mz_chat_message){.role = json_string_value(role),
                                           .content = json_string_value(text),
                                           .content_bytes = json_string_length(text),
                                           .thoughts = json_string_value(thoughts),
                                           .thoughts_bytes = json_string_length(thoughts)};
    }
    return MZ_OK;
}

static mz_err normalise(mz_answers *a)
{
    if (!a->unicode) {
        MZ_TRY(mz_mem_new(&a->unicode, 1, sizeof *a->unicode));
        mz_unicode_init(a->unicode);
    }
    for (int64_t i = 0; i < a->n; i++) {
        mz_chat_message *m = &a->messages[i];
        mz_str *s = &a->normal[i];
        bool same = true;
        s->len = 0;
        MZ_TRY(mz_nfc(a->unicode, m->content, m->content_bytes, s, &same));
        if (same) continue;
        m->content = s->text;
        m->content_bytes = s->len;
    }
    return MZ_OK;
}

/* Marks the ids whose first byte lies in an answer. *fits: the ids' bytes are those of the text. */
static mz_err mark(mz_answers *a, const mz_chat_text *text, bool *fits, int64_t *answers)
{
    size_t at = 0;
    int64_t k = 0;
    if (a->ids.count > a->counts_cap) {
        MZ_TRY(mz_mem_grow(&a->counts, (int64_t)a->ids.cap, 1));
        a->counts_cap = a->ids.cap;
    }
    *fits = true;
    *answers = 0;
    for (size_t i = 0; i < a->ids.count && *fits; i++) {
        const char *bytes = NULL;
        size_t n = 0;
        *fits = mz_tokenizer_bytes(a->tokenizer, a->ids.at[i], &bytes, &n) &&
                n <= text->text.len - at && memcmp(text->text.text + at, bytes, n) == 0;
        while (k < text->n_answers && at >= text->answers[k].end) k++;
        a->counts[i] = k < text->n_answers && at >= text->answers[k].first;
        *answers += a->counts[i];
        at += n;
    }
    *fits = *fits && at == text->text.len;
    return MZ_OK;
}

static mz_err encode(mz_answers *a, bool *fits, int64_t *answers)
{
    const mz_chat_options o = {.bos = a->bos.text};
    mz_chat_text text = {0};
    a->ids.count = 0;
    MZ_TRY(mz_chat_render(&a->template, a->messages, a->n, &o, &text));
    mz_err err = mz_encode_spans(a->encoder, text.text.text, text.text.len, text.trusted,
                                 text.n_trusted, &a->ids);
    if (err == MZ_OK) err = mark(a, &text, fits, answers);
    mz_chat_clear(&text);
    return err;
}

mz_err mz_answers_encode(mz_answers *a, const json_t *messages, const mz_ids **ids,
                         const uint8_t **counts)
{
    MZ_NEED(a && ids && counts, "an argument is NULL");
    bool fits = false;
    int64_t answers = 0;
    MZ_TRY(read_messages(a, messages));
    MZ_TRY(encode(a, &fits, &answers));
    if (!fits) {
        MZ_TRY(normalise(a));
        MZ_TRY(encode(a, &fits, &answers));
    }
    if (!fits)
        return MZ_FAIL(MZ_ENOTSUP, "this tokenizer changes the text, so that it cannot be said "
                                   "which ids are an answer's");
    if (answers == 0) return MZ_FAIL(MZ_ECORRUPT, "no message of an assistant to learn from");
    *ids = &a->ids;
    *counts = a->counts;
    return MZ_OK;
}
