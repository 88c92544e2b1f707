/* SPDX-License-Identifier: Apache-2.0 */
/* port/hf_stored.h - how the tensors of a Hugging Face folder lie in a model that uses them as they
 * are. Private to port/.
 *
 *   as in the file, mapped   F32, F16 and BF16, where the chip computes on host memory and the
 *                            tensor begins where its numbers may
 *   as in the file, copied   the chip has memory of its own; routed experts, which are a tensor
 * each on disk and one here in the model's dtype     the chip does not take such weights (said
 * aloud, once a dtype), or the parameter is kv_b, which the absorbed form of MLA cuts by head
 * Floor:  port.   Errors: MZ_ECHIP from the chip's answers. */
#ifndef MZ_PORT_HF_STORED_H
#define MZ_PORT_HF_STORED_H

#include "file/hub.h"
#include "port/lie.h"

typedef struct mz_hf_lie {
    const mz_hub *hub;
    mz_lie lie;
} mz_hf_lie;

/* An mz_stored_fn; user is an mz_hf_lie. */
mz_err mz_hf_stored(void *user, const mz_param *p, mz_stored *out);
/* Makes t the parameter, of which mz_hf_stored said that it lies outside; i is its place in p. */
mz_err mz_hf_map(mz_params *p, int64_t i, mz_queue *q, const mz_st_tensor *t);

#endif
