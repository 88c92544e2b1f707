/* SPDX-License-Identifier: Apache-2.0 */
/* tests/e2e/small.h - whole models that are small enough to make in a test: random weights, a
 * byte-level tokenizer with ChatML's tokens, a chat template, a generation_config.json. */
#ifndef MZ_TESTS_E2E_SMALL_H
#define MZ_TESTS_E2E_SMALL_H

/* Ids of the tokenizer: bytes are 0..255, then five joins ("th", "the", "in", "er", " the"), then
 * three control tokens; the table has some rows more, as many models do. */
enum { SMALL_START = 261, SMALL_END, SMALL_TEXT_END, SMALL_VOCAB, SMALL_ROWS = 272 };

/* Folder `name` (program_path) of a family: "llama", "qwen2", "qwen3" or "deepseek_v3". Its numbers
 * are as bf16 has them. */
void small_model(const char *name, const char *family);
/* Writes text to a file in the folder; gives its path. */
const char *small_file(const char *name, const char *text);

#endif
