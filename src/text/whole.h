/* SPDX-License-Identifier: Apache-2.0 */
/* text/whole.h - what a tokenizer is made of. Floor: text. Inside text/ only. */
#ifndef MZ_TEXT_WHOLE_H
#define MZ_TEXT_WHOLE_H

#include "text/added.h"
#include "text/bpe.h"
#include "text/split.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

struct mz_tokenizer {
    mz_unicode unicode;
    mz_bpe bpe;
    mz_added added;
    mz_split_kind split;
    bool nfc, add_bos;
    int64_t count, bos;
    int64_t *eos;
    int64_t n_eos;
};

/* The kind that a name means (ours or GGUF's); false if it is not built in. */
bool mz_split_parse(const char *name, mz_split_kind *kind);
const char *mz_split_name(mz_split_kind kind);
/* MZ_ENOTSUP: `what` is not built in, and what is. */
mz_err mz_split_unknown(const char *what, const char *file, const char *field);

#endif
