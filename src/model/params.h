/* SPDX-License-Identifier: Apache-2.0 */
/* model/params.h - the parameters of a network: names, shapes, and where they lie on the chip.
 *
 * A parameter has the name that transformers writes on disk. Routed experts are ONE parameter of
 * rank 3 whose name holds "{e}" ("model.layers.3.mlp.experts.{e}.up_proj.weight", [E,F,D]): on disk
 * it is E tensors, one for each expert; mz_param_disk_name gives their names.
 *
 * Floor:  model. May use base, tensor, chip.
 * Owner:  mz_params owns its list and its buffers. */
#ifndef MZ_MODEL_PARAMS_H
#define MZ_MODEL_PARAMS_H

#include "chip/chip.h"
#include "model/config.h"

typedef enum mz_param_kind {
    MZ_PARAM_MATRIX,      /* [out,in]; decays */
    MZ_PARAM_EMBED,       /* [V,D]; decays */
    MZ_PARAM_NORM,        /* [D], acc dtype; no decay */
    MZ_PARAM_BIAS,        /* [N], acc dtype; no decay */
    MZ_PARAM_ROUTER_BIAS, /* [E], acc dtype; no gradient: moved by the load of the experts */
    MZ_PARAM_ADAPTER      /* [r,in] or [out,r] (model/lora.h); decays */
} mz_param_kind;

typedef struct mz_param {
    char name[120];
    mz_param_kind kind;
    int rank;
    int64_t dim[3];
    bool by_expert; /* dim[0] counts experts, name holds "{e}" */
    bool trained;   /* has a gradient in a model that is bound for training */
    mz_dtype dtype; /* as it lies on the chip: what the model computes in, but for `stored` ones */
    bool outside; /* it has no place in `weights`: whoever loads it sets w.buf and w.offset_bytes */
    mz_tensor w;  /* on the chip */
    mz_tensor g;  /* gradient, acc dtype; .buf NULL without training or where not trained */
} mz_param;

/* Where a weight lies in another way than by default: in which dtype, and whether outside. */
typedef struct mz_stored {
    mz_dtype dtype;
    bool outside;
} mz_stored;
/* Asked for each matrix and embedding; *out comes with the default, which the function may change
 * to what the operators take as a stored weight (chip/desc.h). */
typedef mz_err mz_stored_fn(void *user, const mz_param *p, mz_stored *out);

typedef struct mz_params {
    bool is_part; /* of a network (model/part.h): files hold more than this */
    mz_param *list;
    int64_t n;
    int64_t n_base;   /* of the network itself; behind them stand the adapters, A before its B */
    int64_t elements; /* parameters in all, router biases not counted */
    mz_buffer *weights, *grads;
    mz_buffer **mapped; /* [n_mapped] of the weights that lie outside; NULL: none. Owned */
    int64_t n_mapped;
    size_t weights_bytes, grads_bytes;
} mz_params;

/* The list alone (no buffers): names, kinds, shapes, dtypes, in the order of the layers. */
mz_err mz_params_list(mz_params *p, const mz_config *c, mz_dtype dtype);
mz_err mz_params_list_stored(mz_params *p, const mz_config *c, mz_dtype dtype, mz_stored_fn *stored,
                             void *user);
/* The same list with the weights that `from` has: borrowed, and nothing is booked for them. `from`
 * is of the same network (MZ_EINVAL if not) and may hold more than it. */
mz_err mz_params_list_shared(mz_params *p, const mz_config *c, mz_dtype dtype,
                             const mz_params *from);
/* Books the buffers and sets w (and g if `train`). */
mz_err mz_params_alloc(mz_params *p, mz_device *device, bool train);
/* Makes p->mapped [n], of NULLs; what was there is freed. */
mz_err mz_params_new_mapped(mz_params *p, int64_t n);
void mz_params_clear(mz_params *p);
mz_param *mz_params_find(const mz_params *p, const char *name); /* by list name; NULL if none */
/* Number of tensors on disk for this parameter (E or 1), and their names and shapes. */
int64_t mz_param_disk_count(const mz_param *p);
mz_err mz_param_disk_name(const mz_param *p, int64_t e, char *out, size_t out_bytes);
mz_tensor mz_param_disk_view(const mz_param *p, const mz_tensor *whole, int64_t e); /* w or g */

/* The network without its adapters, as files of models have it. Borrows everything. */
mz_params mz_params_base(const mz_params *p);

/* Random start (Philox keyed by seed and the parameter's NAME, so that neither the order nor the
 * placement changes it): matrices and embeddings normal(0, init_std), norms 1, biases 0;
 * an adapter's A uniform in +-1/sqrt(in), its B 0. */
/* Each number is rounded once to each dtype: masters, of the same list, get those of p in theirs
 * where they lie in other buffers; NULL: there are none. */
mz_err mz_params_init(mz_params *p, const mz_params *masters, mz_queue *q, const mz_config *c,
                      uint64_t seed);
/* The adapters alone. */
mz_err mz_params_init_adapters(mz_params *p, const mz_params *masters, mz_queue *q,
                               const mz_config *c, uint64_t seed);

#endif
