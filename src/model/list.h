/* SPDX-License-Identifier: Apache-2.0 */
/* model/list.h - how a part of the network names its parameters. Private to model/.
 * Floor: model. Errors: MZ_ENOMEM; MZ_EINVAL for shapes that overflow and names that are too long.
 */
#ifndef MZ_MODEL_LIST_H
#define MZ_MODEL_LIST_H

#include "model/params.h"

typedef struct mz_lister {
    mz_params *params;
    const mz_config *config;
    mz_dtype dtype; /* of matrices and embeddings; norms and biases get its acc */
    int64_t cap;
    mz_stored_fn *stored; /* NULL = everything by default */
    void *stored_user;
} mz_lister;

mz_err mz_list_add(mz_lister *l, mz_param_kind kind, const char *name, int rank,
                   const int64_t *dim);
/* "prefix.name.weight" [out,in], and "prefix.name.bias" [out] if `bias`. */
mz_err mz_list_linear(mz_lister *l, const char *prefix, const char *name, const int64_t dim[2],
                      bool bias);
/* "prefix.name.weight" [width] */
mz_err mz_list_norm(mz_lister *l, const char *prefix, const char *name, int64_t width);

/* The parts; names as transformers writes them. */
mz_err mz_gqa_list(mz_lister *l, int64_t layer);
mz_err mz_mla_list(mz_lister *l, int64_t layer);
/* prefix: "model.layers.3.mlp" or "model.layers.3.mlp.shared_experts" */
mz_err mz_mlp_list(mz_lister *l, const char *prefix, int64_t hidden);
mz_err mz_moe_list(mz_lister *l, int64_t layer);
mz_err mz_block_list(mz_lister *l, int64_t layer);
mz_err mz_mtp_list(mz_lister *l, int64_t layer);

#endif
