/* SPDX-License-Identifier: Apache-2.0 */
/* train/extras.h - the tokenizer, chat template and generation settings that go along with shards
 * and checkpoints, so that what was trained can also write.
 *
 * Floor:  train. May use port, file, base.
 * Errors: those of reading and writing; MZ_ENOTSUP: a GGUF whose tokenizer is not known. */
#ifndef MZ_TRAIN_EXTRAS_H
#define MZ_TRAIN_EXTRAS_H

#include "train/config.h"

enum { MZ_EXTRAS = 8 };
extern const char *const mz_extras[MZ_EXTRAS]; /* names of the files, tokenizer.json first */

/* Whether a tokenizer lies there: in a folder, as a tokenizer.json, or in a GGUF. */
bool mz_extras_has(const char *tokenizer);
/* Which tokenizer a run reads and writes texts with: data.tokenizer, else the model's, else that of
 * the shards; "" where there is none. Borrowed from c. */
const char *mz_extras_of(const mz_train_config *c);
/* Writes what is there into folder, a GGUF's as files; nothing where no tokenizer is. positions: of
 * the model, 0 = unknown. has: which files there are now. */
mz_err mz_extras_copy(const char *tokenizer, const char *folder, int64_t positions,
                      bool has[MZ_EXTRAS]);

#endif
