/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz.h - what the fuzz targets share.
 *
 * A target is one fuzz_NAME.c with LLVMFuzzerTestOneInput: any bytes go in, and it must neither
 * crash nor leak nor take long. It checks more than that: an error has a note, what was accepted is
 * looked at whole, memory is as before. The `fuzz` preset links libFuzzer to it; every other build
 * links replay.c, which runs the corpus (tests/fuzz/corpus/NAME) and damages each file of it. */
#ifndef MZ_TESTS_FUZZ_FUZZ_H
#define MZ_TESTS_FUZZ_FUZZ_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts with a line that says where, unless ok: a find, to libFuzzer. */
#define MZF_CHECK(ok) mzf_check((ok), __FILE__, __LINE__, #ok)
void mzf_check(bool ok, const char *file, int line, const char *what);

/* A file of these bytes that a parser can open by the path; it holds until the next call. `slot`:
 * 0 .. 3, for several at a time. */
const char *mzf_file(int slot, const void *data, size_t size);
/* A folder of the target's own; and a file in it, rewritten. */
const char *mzf_folder(void);
void mzf_put(const char *name, const void *data, size_t size);

/* What a parser may answer to bad bytes: OK, or one of these two with a note. */
void mzf_answer(mz_err err, mz_err also);
/* Memory of mz_mem_new that is in use, to compare at the end of an input. */
void mzf_begin(void);
void mzf_end(void);

#endif
