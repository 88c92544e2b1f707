/* SPDX-License-Identifier: Apache-2.0 */
/* port/gguf_stored.h - how the tensors of a GGUF lie in a model that uses them as they are. Private
 * to port/.
 *
 *   as in the file, mapped   the chip computes on host memory, and the tensor's rows stand in the
 *                            parameter's order
 *   as in the file, copied   the chip has memory of its own, or rows of q and k change places
 *   unpacked                 the chip does not take such weights (said aloud, once a type), or the
 *                            parameter is not one of the tensor's rows: kv_b, which the absorbed
 *                            form of MLA cuts by head
 * Floor:  port.   Errors: MZ_ENOMEM; MZ_ECHIP from the chip's answers. */
#ifndef MZ_PORT_GGUF_STORED_H
#define MZ_PORT_GGUF_STORED_H

#include "port/gguf_parts.h"
#include "port/lie.h"

typedef struct mz_gguf_lie {
    const mz_gguf *file;
    mz_lie lie;
} mz_gguf_lie;

/* An mz_stored_fn; user is an mz_gguf_lie. */
mz_err mz_gguf_stored(void *user, const mz_param *p, mz_stored *out);
/* Whether the rows of the parameter are rows of one tensor, and in the same order. */
bool mz_gguf_part_is_rows(const mz_gguf_part *part, bool *in_order);
/* The dtype of a tensor that can be a stored weight. */
bool mz_gguf_stored_dtype(mz_ggml type, mz_dtype *out);

#endif
