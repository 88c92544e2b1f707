/* SPDX-License-Identifier: Apache-2.0 */
/* infer/answer.h - chosen tokens into ids and text, until a length, an end token or a stop text.
 *
 * Floor:  infer. May use text, model, chip, base.
 * Time:   blocks; on_text is called with whole characters as they come.
 * Owner:  mz_answer owns what came out; clear frees it. */
#ifndef MZ_INFER_ANSWER_H
#define MZ_INFER_ANSWER_H

#include "infer/session.h"
#include "text/tokenizer.h"

/* A non-zero answer ends the text as "stop". */
typedef int mz_answer_text_fn(void *user, const char *text, size_t bytes);
/* Each token that the text goes on with, and what can be shown since the one before (maybe
 * nothing); at the end once more with id -1 where something is left. A non-zero answer ends the
 * text as "interrupted". */
typedef int mz_answer_token_fn(void *user, int32_t id, const char *text, size_t bytes);
/* Asked before each token; true ends the text as "interrupted". */
typedef bool mz_answer_halt_fn(void *user);

typedef struct mz_answer_options {
    int64_t max_tokens;
    const int64_t *ends; /* ids that end a text, beside those of the tokenizer */
    int64_t n_ends;
    const char *const *stops; /* the text ends before the first of them */
    int n_stops;
    mz_answer_text_fn *on_text; /* these three may be NULL */
    mz_answer_token_fn *on_token;
    mz_answer_halt_fn *is_halted;
    void *user;
} mz_answer_options;

typedef struct mz_answer {
    mz_ids ids;       /* what was added, without the end token */
    mz_str text;      /* the same as text, empty without a tokenizer */
    const char *stop; /* "length", "eos", "stop" or "interrupted" */
    int64_t fed;      /* tokens computed, in so many seconds */
    double seconds;
} mz_answer;

/* Goes on with the session's text, which must have been fed. The last token is chosen and not fed.
 * A full cache ends the text as "length". tokenizer may be NULL: ids only. On failure a is empty.
 */
mz_err mz_answer_run(mz_answer *a, mz_session *s, const mz_tokenizer *tokenizer,
                     const mz_answer_options *options);
void mz_answer_clear(mz_answer *a);

#endif
