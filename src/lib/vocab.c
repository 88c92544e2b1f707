/* SPDX-License-Identifier: Apache-2.0 */
/* lib/vocab.c - mz_lm_vocab: text to ids and back, and what a model sees of a conversation.
 * Floor: lib. */
#include "base/mem.h"
#include "infer/prompt.h"
#include "lib/lib.h"
#include "port/text_source.h"

#include <string.h>

/* ---- opening ---- */

static mz_err fill(mz_lm_vocab *v, const char *source)
{
    MZ_TRY(mz_source_tokenizer(&v->tokenizer, source));
    MZ_TRY(mz_prompt_bos(v->tokenizer, &v->bos));
    v->chat_status = mz_source_chat(&v->chat, source);
    if (v->chat_status == MZ_ENOMEM) return MZ_ENOMEM;
    v->chat_error = *mz_err_last(); /* said when a template is asked for */
    return MZ_OK;
}

mz_lm_vocab *mz_lib_vocab_new(const char *source, mz_err *err)
{
    mz_lm_vocab *v = NULL;
    *err = mz_mem_new(&v, 1, sizeof *v);
    if (*err == MZ_OK) *err = fill(v, source);
    if (*err == MZ_OK) return v;
    mz_lm_vocab_close(v);
    return NULL;
}

mz_lm_status mz_lm_vocab_open(mz_lm_vocab **v, const char *source)
{
    mz_err err;
    MZ_LIB_NEED(v && source, "no source, or no place for a vocabulary");
    mz_lm_vocab *made = mz_lib_vocab_new(source, &err);
    if (!made) return mz_lib_status(err);
    *v = made;
    return MZ_LM_OK;
}

void mz_lm_vocab_close(mz_lm_vocab *v)
{
    if (!v) return;
    mz_tokenizer_free(v->tokenizer);
    mz_str_clear(&v->bos);
    mz_mem_free(v);
}

/* ---- what is in it ---- */

int64_t mz_lm_vocab_size(const mz_lm_vocab *v)
{
    return v ? mz_tokenizer_count(v->tokenizer) : 0;
}

const char *mz_lm_vocab_token(const mz_lm_vocab *v, int32_t id, size_t *bytes)
{
    const char *text = NULL;
    size_t n = 0;
    if (!v || !mz_tokenizer_bytes(v->tokenizer, id, &text, &n)) return NULL;
    if (bytes) *bytes = n;
    return text;
}

int32_t mz_lm_vocab_find(const mz_lm_vocab *v, const char *token, size_t bytes)
{
    return v && token ? (int32_t)mz_tokenizer_find(v->tokenizer, token, bytes) : -1;
}

int32_t mz_lm_vocab_bos(const mz_lm_vocab *v)
{
    return v ? (int32_t)mz_tokenizer_bos(v->tokenizer) : -1;
}

int32_t mz_lm_vocab_is_special(const mz_lm_vocab *v, int32_t id)
{
    return v && mz_tokenizer_is_special(v->tokenizer, id);
}

int32_t mz_lm_vocab_is_end(const mz_lm_vocab *v, int32_t id)
{
    return v && mz_tokenizer_is_eos(v->tokenizer, id);
}

/* ---- text and ids ---- */

/* Memory of their own even for none, so that NULL is never a result. */
static mz_err hand_over(mz_ids *from, int32_t **ids, size_t *count)
{
    if (!from->at) MZ_TRY(mz_mem_new(&from->at, 1, sizeof *from->at));
    *ids = from->at;
    *count = from->count;
    return MZ_OK;
}

static mz_lm_status end_ids(mz_err err, mz_ids *made, int32_t **ids, size_t *count)
{
    if (err == MZ_OK) err = hand_over(made, ids, count);
    if (err != MZ_OK) mz_ids_clear(made);
    return mz_lib_status(err);
}

mz_lm_status mz_lm_encode(const mz_lm_vocab *v, const char *text, size_t bytes, uint32_t flags,
                          int32_t **ids, size_t *count)
{
    const uint32_t known = MZ_LM_SPECIAL | MZ_LM_BOS | MZ_LM_BOS_WANTED;
    MZ_LIB_NEED(v && (text || bytes == 0) && ids && count, "an argument is NULL");
    MZ_LIB_NEED((flags & ~known) == 0, "flags are %#x, known are %#x", flags, known);
    mz_encoder *e = NULL;
    mz_ids made = {0};
    const bool wanted = (flags & MZ_LM_BOS_WANTED) && mz_tokenizer_adds_bos(v->tokenizer);
    const unsigned how = (flags & MZ_LM_SPECIAL ? MZ_ENCODE_SPECIAL : 0u) |
                         (flags & MZ_LM_BOS || wanted ? MZ_ENCODE_BOS : 0u);
    mz_err err = mz_encoder_new(&e, v->tokenizer);
    if (err == MZ_OK) err = mz_encode(e, text ? text : "", bytes, how, &made);
    mz_encoder_free(e);
    return end_ids(err, &made, ids, count);
}

mz_lm_status mz_lm_decode(const mz_lm_vocab *v, const int32_t *ids, size_t count, uint32_t flags,
                          char **text, size_t *bytes)
{
    MZ_LIB_NEED(v && (ids || count == 0) && text && bytes, "an argument is NULL");
    MZ_LIB_NEED((flags & ~(uint32_t)MZ_LM_SKIP_SPECIAL) == 0, "flags are %#x, known are %#x", flags,
                (unsigned)MZ_LM_SKIP_SPECIAL);
    mz_str s = {0};
    const bool skip = (flags & MZ_LM_SKIP_SPECIAL) != 0;
    mz_err err = mz_str_add(&s, "", 0);
    if (err == MZ_OK && count > 0) err = mz_decode(v->tokenizer, ids, count, skip, &s);
    if (err != MZ_OK) {
        mz_str_clear(&s);
        return mz_lib_status(err);
    }
    *text = s.text;
    *bytes = s.len;
    return MZ_LM_OK;
}

/* ---- conversations ---- */

typedef struct chat { /* what was asked, in our words */
    mz_chat_template template_of;
    mz_chat_message *messages;
    mz_chat_options options;
} chat;

static mz_lm_status read_messages(chat *c, const mz_lm_message *messages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const mz_lm_message *m = &messages[i];
        MZ_LIB_NEED(m->role && m->content, "message %zu has no role or no content", i);
        c->messages[i] = (mz_chat_message){.role = m->role,
                                           .content = m->content,
                                           .content_bytes = strlen(m->content),
                                           .thoughts = m->thoughts,
                                           .thoughts_bytes = m->thoughts ? strlen(m->thoughts) : 0};
    }
    return MZ_LM_OK;
}

static mz_err find_template(chat *c, const mz_lm_vocab *v, const char *name)
{
    if (name) return mz_chat_find(&c->template_of, name);
    if (v->chat_status != MZ_OK) {
        mz_err_restore(&v->chat_error);
        return v->chat_status;
    }
    c->template_of = v->chat;
    return MZ_OK;
}

/* The caller frees c->messages. */
static mz_lm_status read_chat(chat *c, const mz_lm_vocab *v, const mz_lm_message *messages,
                              size_t n, const mz_lm_chat_options *options)
{
    static const mz_chat_thinking thinking[] = {MZ_CHAT_AS_USUAL, MZ_CHAT_THINKING_ON,
                                                MZ_CHAT_THINKING_OFF};
    mz_lm_chat_options o = MZ_LM_CHAT_INIT;
    MZ_LIB_NEED(v && (messages || n == 0) && n <= INT32_MAX, "no vocabulary, or no messages");
    MZ_LIB_TRY(mz_lib_take(&o, sizeof o, options, "mz_lm_chat_options"));
    MZ_LIB_NEED(o.thinking >= 0 && o.thinking < MZ_COUNT(thinking), "thinking is %d", o.thinking);
    MZ_LIB_TRY(mz_lib_status(find_template(c, v, o.chat_template)));
    MZ_LIB_TRY(mz_lib_status(mz_mem_new(&c->messages, (int64_t)n, sizeof *c->messages)));
    c->options = (mz_chat_options){
        .bos = v->bos.text, .prompt = !o.no_answer, .thinking = thinking[o.thinking]};
    return read_messages(c, messages, n);
}

mz_lm_status mz_lm_chat_encode(const mz_lm_vocab *v, const mz_lm_message *messages, size_t n,
                               const mz_lm_chat_options *options, int32_t **ids, size_t *count)
{
    MZ_LIB_NEED(ids && count, "no place for ids");
    chat c = {0};
    mz_encoder *e = NULL;
    mz_ids made = {0};
    mz_lm_status status = read_chat(&c, v, messages, n, options);
    if (status == MZ_LM_OK) {
        mz_err err = mz_encoder_new(&e, v->tokenizer);
        if (err == MZ_OK)
            err = mz_prompt_chat(e, &c.template_of, c.messages, (int64_t)n, &c.options, &made);
        status = end_ids(err, &made, ids, count);
    }
    mz_encoder_free(e);
    mz_mem_free(c.messages);
    return status;
}

mz_lm_status mz_lm_chat_text(const mz_lm_vocab *v, const mz_lm_message *messages, size_t n,
                             const mz_lm_chat_options *options, char **text, size_t *bytes)
{
    MZ_LIB_NEED(text && bytes, "no place for text");
    chat c = {0};
    mz_chat_text out = {0};
    mz_lm_status status = read_chat(&c, v, messages, n, options);
    if (status == MZ_LM_OK)
        status =
            mz_lib_status(mz_chat_render(&c.template_of, c.messages, (int64_t)n, &c.options, &out));
    if (status == MZ_LM_OK) status = mz_lib_status(mz_str_add(&out.text, "", 0));
    if (status == MZ_LM_OK) {
        *text = out.text.text;
        *bytes = out.text.len;
        out.text = (mz_str){0}; /* the caller's now */
    }
    mz_chat_clear(&out);
    mz_mem_free(c.messages);
    return status;
}
