/* SPDX-License-Identifier: Apache-2.0 */
/* text/load.h - between load.c (the file), load_rules.c (what its rules mean) and load_config.c
 * (which tokens are special). Floor: text. Inside text/ only. */
#ifndef MZ_TEXT_LOAD_H
#define MZ_TEXT_LOAD_H

#include "base/json.h"
#include "text/whole.h"

/* What the small parts of a tokenizer.json say; bos, eos and the rest of a mz_vocab that is being
 * filled. Texts point into `rules`. */
typedef struct mz_load {
    const char *path;
    json_t *rules; /* everything but model */
    json_t *model; /* of model, everything but vocab and merges */
    mz_vocab vocab;
    mz_vocab_added *added;
    int64_t *eos;
} mz_load;

/* normalizer, pre_tokenizer, decoder, model settings, added_tokens -> load->vocab. */
mz_err mz_load_rules(mz_load *load);
/* post_processor, tokenizer_config.json, generation_config.json -> bos, eos, add_bos. */
mz_err mz_load_special(mz_load *load);
/* MZ_ECORRUPT with the file and the field. */
mz_err mz_load_bad(const mz_load *load, const char *field, const char *what);
/* The steps of that pre-tokeniser: expressions, and the constants below; ends with NULL. */
const char *const *mz_load_steps(mz_split_kind kind);
#define MZ_STEP_BYTES "ByteLevel"
#define MZ_STEP_BYTES_GPT2 "ByteLevel(use_regex)"
#define MZ_STEP_DIGITS "Digits"
/* The id of a token by its text: added ones, then the vocabulary; -1 if there is none. */
int64_t mz_load_id(const mz_load *load, const char *text);

#endif
