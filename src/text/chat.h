/* SPDX-License-Identifier: Apache-2.0 */
/* text/chat.h - the text that a model sees of a conversation.
 *
 * Templates are built in and known by name; a model's own template text is recognised, never run.
 * What the template writes is trusted (its special tokens are special), what people wrote is not:
 * the spans say which is which, mz_encode_spans takes them.
 * Floor:  text. May use base.
 * Errors: MZ_ENOTSUP a template that is not built in, a role or a thinking mode that it does not
 *         have (the note lists what there is); MZ_ECORRUPT, MZ_EIO from files. */
#ifndef MZ_TEXT_CHAT_H
#define MZ_TEXT_CHAT_H

#include "base/str.h"
#include "text/tokenizer.h"

typedef enum mz_chat_kind {
    MZ_CHAT_DEEPSEEK,     /* V3, R1 */
    MZ_CHAT_DEEPSEEK_V31, /* V3.1 and later */
    MZ_CHAT_CHATML,       /* Qwen2, Qwen2.5, SmolLM2 */
    MZ_CHAT_QWEN3,
    MZ_CHAT_LLAMA3,
} mz_chat_kind;

typedef struct mz_chat_template {
    const char *name;
    mz_chat_kind kind;
    const char *system;  /* what stands in for a missing system message, or NULL */
    bool joins_system;   /* several system messages are joined; else the last counts */
    bool drops_thoughts; /* of earlier answers */
    bool always_thinks;
    bool always_prompts; /* the answer's beginning is written even if not asked for */
} mz_chat_template;

/* "deepseek-v3, ...": what is built in. */
const char *mz_chat_names(void);
mz_err mz_chat_find(mz_chat_template *t, const char *name);
/* text: a model's chat_template. */
mz_err mz_chat_recognise(mz_chat_template *t, const char *text, const char *file);
/* folder: of a model, or a file in it. Reads chat_template.jinja, else tokenizer_config.json. */
mz_err mz_chat_open(mz_chat_template *t, const char *folder);

typedef struct mz_chat_message {
    const char *role, *content;
    size_t content_bytes;
    const char *thoughts; /* "reasoning_content", or NULL */
    size_t thoughts_bytes;
} mz_chat_message;

typedef enum mz_chat_thinking {
    MZ_CHAT_AS_USUAL,
    MZ_CHAT_THINKING_ON,
    MZ_CHAT_THINKING_OFF
} mz_chat_thinking;

typedef struct mz_chat_options {
    const char *bos; /* the bos token's text, "" for none */
    bool prompt;     /* end with the beginning of an answer */
    mz_chat_thinking thinking;
} mz_chat_options;

typedef struct mz_chat_text {
    mz_str text;
    mz_span *trusted; /* ascending, apart */
    int64_t n_trusted, cap;
    /* what answering models wrote themselves, each with its end token: what one learns from */
    mz_span *answers;
    int64_t n_answers, answers_cap;
} mz_chat_text;

/* Overwrites out (clear it first if it holds something). */
mz_err mz_chat_render(const mz_chat_template *t, const mz_chat_message *messages, int64_t n,
                      const mz_chat_options *o, mz_chat_text *out);
void mz_chat_clear(mz_chat_text *out);

#endif
