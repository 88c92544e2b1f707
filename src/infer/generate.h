/* SPDX-License-Identifier: Apache-2.0 */
/* infer/generate.h - goes on with a text until a length, an end token or a stop text.
 *
 * Floor:  infer. May use port, model, text, chip, base.
 * Time:   blocks; on_text is called with whole characters as they come.
 * Owner:  mz_generated owns what came out; clear frees it.
 * Errors: MZ_EUSAGE where the prompt is empty, MZ_ECORRUPT where an id is out of range; those of
 *         loading. */
#ifndef MZ_INFER_GENERATE_H
#define MZ_INFER_GENERATE_H

#include "infer/answer.h"

typedef struct mz_generate_options {
    mz_dtype dtype;
    bool as_stored;      /* a GGUF's weights are used as they lie in it (port/source.h) */
    const char *adapter; /* folder of an adapter that is added to the weights, or NULL */
    mz_sampling sampling;
    int64_t max_tokens;
    const char *const *stops; /* the text ends before the first of them */
    int n_stops;
    mz_answer_text_fn *on_text; /* may be NULL */
    void *user;
} mz_generate_options;

typedef struct mz_generated {
    mz_ids ids;       /* what was added, without the end token */
    mz_str text;      /* the same as text, empty without a tokenizer */
    const char *stop; /* "length", "eos" or "stop" */
    double load_ms;   /* from the call to the first prompt token */
    int64_t prefill_tokens;
    double prefill_tokens_per_s, decode_tokens_per_s; /* NaN where there was nothing to time */
} mz_generated;

/* chips: where the network is to lie (infer/chain.h). model: a folder or a GGUF. tokenizer may be
 * NULL: ids only. */
mz_err mz_generate(mz_generated *out, mz_chips *chips, const char *model,
                   const mz_tokenizer *tokenizer, const mz_ids *prompt,
                   const mz_generate_options *options);
void mz_generated_clear(mz_generated *g);

#endif
