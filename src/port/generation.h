/* SPDX-License-Identifier: Apache-2.0 */
/* port/generation.h - how a model wants its texts to begin, to end and to be sampled.
 *
 * A folder says it in generation_config.json, and where that is silent in config.json, as
 * transformers has it; a GGUF in its end-of-text, end-of-turn and end-of-message tokens.
 * Floor:  port. May use file, model, base.
 * Errors: MZ_ECORRUPT, MZ_EIO from the file; MZ_ENOMEM. */
#ifndef MZ_PORT_GENERATION_H
#define MZ_PORT_GENERATION_H

#include "port/source.h"

enum { MZ_GENERATION_ENDS = 64 };

typedef struct mz_generation {
    int64_t ends[MZ_GENERATION_ENDS]; /* any of them ends a text */
    int64_t n_ends;
    int64_t bos, pad; /* -1 = none */
    bool samples;     /* do_sample; without it the likeliest token is taken */
    double temperature, top_p, min_p, repeat_penalty; /* 1, 1, 0 and 1 where nothing is said */
    int64_t top_k;                                    /* 0 = off */
} mz_generation;

mz_err mz_generation_read(mz_generation *g, const mz_source *s);
/* Of a GGUF that may hold no model: what its tokenizer's keys say. */
void mz_generation_of_gguf(mz_generation *g, const mz_gguf *file);
bool mz_generation_is_end(const mz_generation *g, int64_t id);
/* generation_config.json in a folder that was made from something else. */
mz_err mz_generation_write(const mz_generation *g, const char *folder);

#endif
