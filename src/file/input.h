/* SPDX-License-Identifier: Apache-2.0 */
/* file/input.h - a file read from front to end, unpacked where it is zstd.
 *
 * What a file is its first bytes say, not its name. Several zstd frames one after the other are one
 * text.
 * Floor:  file. May use base; libzstd unpacks.
 * Errors: MZ_ECORRUPT with the offset in the file where a frame is damaged or cut short, or asks
 *         for a window of more than 128 MiB; MZ_EIO; MZ_ENOMEM. */
#ifndef MZ_FILE_INPUT_H
#define MZ_FILE_INPUT_H

#include "base/err.h"

#include <stddef.h>

typedef struct mz_input mz_input;

mz_err mz_input_open(mz_input **in, const char *path);
void mz_input_close(mz_input *in); /* NULL is legal */
/* *n bytes, up to room; 0 at the end and not before. */
mz_err mz_input_read(mz_input *in, void *bytes, size_t room, size_t *n);
size_t mz_input_taken(const mz_input *in); /* bytes of the file, packed as they are */
size_t mz_input_size(const mz_input *in);

#endif
