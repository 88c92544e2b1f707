/* SPDX-License-Identifier: Apache-2.0 */
/* infer/dialog.h - a conversation with a model: messages, and the cache that they share.
 *
 * Every turn renders the whole conversation anew and computes only what follows the longest
 * beginning that the cache already holds, so that a template may rewrite what was said before (drop
 * thoughts, say) and nothing is computed twice where it does not.
 * Floor:  infer. May use port, model, text, chip, base.
 * Time:   blocks.
 * Owner:  mz_dialog owns model and messages; device and tokenizer must outlive it.
 * Errors: MZ_EUSAGE a message that the context cannot hold; those of loading and of templates.
 * After a failed ask the conversation is as before. */
#ifndef MZ_INFER_DIALOG_H
#define MZ_INFER_DIALOG_H

#include "infer/answer.h"
#include "text/chat.h"

typedef struct mz_dialog mz_dialog;

typedef struct mz_dialog_options {
    mz_dtype dtype;
    bool as_stored;       /* a GGUF's weights are used as they lie in it (port/source.h) */
    const char *adapter;  /* folder of an adapter that is added to the weights, or NULL */
    int64_t context;      /* tokens; 0: as many as the model has positions, at most 4096 */
    mz_sampling sampling; /* NaN, and a top_k of -1: as generation_config.json wants it */
    mz_chat_template chat;
    mz_chat_thinking thinking;
    mz_answer_options answer; /* ends are added */
} mz_dialog_options;

typedef struct mz_dialog_turn {
    mz_answer answer;
    int64_t prompt_tokens; /* of the whole conversation */
    int64_t kept_tokens;   /* of those, already in the cache */
    int64_t left_out;      /* oldest messages that the context no longer holds */
    double prefill_seconds;
    bool is_full; /* the answer ended because the context did */
} mz_dialog_turn;

/* chips: where the network is to lie (infer/chain.h); they must live as long. model: a folder or a
 * GGUF. */
mz_err mz_dialog_open(mz_dialog **d, mz_chips *chips, const char *model, const mz_tokenizer *t,
                      const mz_dialog_options *options);
void mz_dialog_free(mz_dialog *d); /* NULL is legal */

/* The model's first message, which rules the rest; 0 bytes: none. Forgets the conversation. */
mz_err mz_dialog_system(mz_dialog *d, const char *text, size_t bytes);
/* Says something and takes the answer. Both become a part of the conversation, also an interrupted
 * answer, unless nothing of it was there yet. Clear the turn's answer with mz_answer_clear. */
mz_err mz_dialog_ask(mz_dialog *d, const char *text, size_t bytes, mz_dialog_turn *turn);
/* Another answer to the last message; MZ_EUSAGE if there is none. */
mz_err mz_dialog_retry(mz_dialog *d, mz_dialog_turn *turn);
void mz_dialog_think(mz_dialog *d, mz_chat_thinking thinking);
void mz_dialog_forget(mz_dialog *d); /* all but the system message */
bool mz_dialog_undo(mz_dialog *d);   /* the last message and its answer; false if there is none */
int64_t mz_dialog_messages(const mz_dialog *d);
int64_t mz_dialog_tokens(const mz_dialog *d); /* in the cache */
int64_t mz_dialog_context(const mz_dialog *d);

#endif
