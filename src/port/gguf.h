/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf.h - a model's parameters in and out of a GGUF file, under the names, the order of rows
 * and the keys of llama.cpp's architectures llama, qwen2, qwen3 and deepseek2.
 *
 * llama     rows of q and k are interleaved in each head (2j is our j, 2j+1 our j + K/2); llama3
 *           rope scaling is a tensor of divisors, rope_freqs.weight
 * deepseek2 kv_b is two tensors: its key rows of each head transposed, and its value rows; experts
 *           are stacked; rope is interleaved, so a network whose rope is not has its rows moved,
 *           and yarn's factor on cosines and sines is multiplied into the rows that are rotated
 * Source:   ggml, docs/gguf.md; llama.cpp's names and keys of these architectures.
 * Floor:  port. May use model, file, chip, tensor, base.
 * Errors: MZ_ECORRUPT with file, key or tensor, and byte offset: a key is missing, of another type
 *         or out of range, a tensor is missing, has another shape, or belongs to nothing, a number
 *         that is not finite; MZ_ENOTSUP: an architecture, a feature or a type of numbers that is
 *         not here, or, when writing, what the format cannot say. */
#ifndef MZ_PORT_GGUF_H
#define MZ_PORT_GGUF_H

#include "file/gguf.h"
#include "model/params.h"

/* Reads the keys, and checks that the file has just the tensors of that network, so that what is
 * booked for it is no more than the file accounts for. Nothing of the data is read. */
mz_err mz_gguf_to_config(mz_config *c, const mz_gguf *file);
/* Copies the tensors to the chip, expanded, each number rounded once to the parameter's dtype; one
 * whose dtype is a block type is copied as it is, row by row, and one that lies outside becomes a
 * view of the mapped file, which then must stay open for as long as the parameters live. Waits. */
mz_err mz_gguf_load_params(mz_params *p, mz_queue *q, const mz_config *c, const mz_gguf *file);

typedef struct mz_gguf_export {
    mz_ggml type;     /* of the matrices: F32 | F16 | BF16 | Q8_0 | Q4_0; rows that are no
                         whole number of blocks become F16. Norms, biases and routers are
                         F32 */
    const char *name; /* general.name; NULL for none */
    const struct mz_words *words; /* a tokenizer, of a folder say (port/words.h); or NULL */
    const mz_gguf *tokenizer;     /* without words: its tokenizer.* keys are copied; NULL: none */
} mz_gguf_export;
/* MTP layers are left out: llama.cpp's deepseek2 has no place for them. Waits. */
mz_err mz_gguf_save_params(const mz_params *p, mz_queue *q, const mz_config *c, const char *path,
                           const mz_gguf_export *o);

#endif
