/* SPDX-License-Identifier: Apache-2.0 */
/* text/split.h - cuts text into the pieces that byte pair encoding never joins.
 *
 * Each kind is what a family's regular expressions do, written out as a matcher; split_names.c
 * recognises the expressions. Pieces follow each other without gaps and are never empty. A byte
 * that is no UTF-8 counts as a symbol (U+FFFD).
 * Floor:  text. May use base. Inside text/ only.
 * Time:   mz_split_next is O(piece), but for a run of white space, which may be read twice. */
#ifndef MZ_TEXT_SPLIT_H
#define MZ_TEXT_SPLIT_H

#include "text/unicode.h"

/* X(enum, name, names in GGUF's tokenizer.ggml.pre, families) */
#define MZ_SPLIT_LIST(X)                                                                           \
    X(GPT2, "gpt-2", "gpt-2|gpt2|default", "GPT-2")                                                \
    X(SMOLLM, "smollm", "smollm|refact|starcoder|command-r|codeshell", "SmolLM, StarCoder")        \
    X(QWEN2, "qwen2", "qwen2|deepseek-r1-qwen", "Qwen2, Qwen2.5, Qwen3, R1-Distill-Qwen")          \
    X(LLAMA3, "llama3", "llama-bpe|llama3|llama-v3", "Llama-3, R1-Distill-Llama")                  \
    X(DEEPSEEK3, "deepseek-v3", "deepseek-v3", "DeepSeek-V3, R1 and later")                        \
    X(DEEPSEEK_LLM, "deepseek-llm", "deepseek-llm", "DeepSeek-LLM, DeepSeek-V2")                   \
    X(DEEPSEEK_CODER, "deepseek-coder", "deepseek-coder", "DeepSeek-Coder")

typedef enum mz_split_kind {
#define MZ_SPLIT_ENUM(name, text, gguf, families) MZ_SPLIT_##name,
    MZ_SPLIT_LIST(MZ_SPLIT_ENUM)
#undef MZ_SPLIT_ENUM
        MZ_SPLIT_COUNT
} mz_split_kind;

enum { MZ_SPLIT_LEVELS = 6 };

typedef struct mz_split {
    mz_split_kind kind;
    const mz_unicode *unicode;
    const unsigned char *text;
    size_t at, end; /* of text, in bytes; [at,end) is to be cut */
    size_t chunk;   /* where the outer splits of the kind cut next; pieces do not cross it */
    size_t level[MZ_SPLIT_LEVELS]; /* the same for each step of split_steps.c */
} mz_split;

void mz_split_begin(mz_split *s, mz_split_kind kind, const mz_unicode *u, const char *text,
                    size_t bytes);
/* The end of the piece that begins at s->at (< s->end), which moves there. */
size_t mz_split_next(mz_split *s);
/* The same for the kinds that are a list of small splits (split_steps.c); s->at stays. */
size_t mz_split_next_step(mz_split *s);

#endif
