/* SPDX-License-Identifier: Apache-2.0 */
/* train/answers.h - conversations as training samples: what the model would see of one, and which
 * of its ids are an answer's. Only those are learnt; an answer's end token is one of them.
 *
 * An id belongs to an answer if its first byte does. Where the tokenizer normalises, what people
 * wrote is normalised first, so that every byte of the text is a byte of some id.
 *
 * Floor:  train. May use port, text, base.
 * Errors: MZ_ECORRUPT: no list of {"role", "content"}, or no answer in it; MZ_ENOTSUP: a role, a
 *         template or tools that are not built in; a tokenizer whose ids do not add up to the text;
 *         MZ_ENOMEM. The caller says in which line. */
#ifndef MZ_TRAIN_ANSWERS_H
#define MZ_TRAIN_ANSWERS_H

#include "base/json.h"
#include "text/tokenizer.h"

typedef struct mz_answers mz_answers;

/* source: a folder or GGUF file with tokenizer and template; name: a template that is built in,
 * instead of the model's own; "" for none. */
mz_err mz_answers_open(mz_answers **a, const char *source, const char *name);
void mz_answers_close(mz_answers *a); /* NULL is legal */
/* Both are borrowed until the next call. counts[i]: id i is an answer's. */
mz_err mz_answers_encode(mz_answers *a, const json_t *messages, const mz_ids **ids,
                         const uint8_t **counts);

#endif
