/* SPDX-License-Identifier: Apache-2.0 */
/* port/adapter.h - low-rank adapters in the files of huggingface/peft.
 *
 *   adapter_config.json          peft_type LORA, r, lora_alpha, target_modules, use_rslora
 *   adapter_model.safetensors    base_model.model.MODULE.lora_A.weight [r,in], lora_B.weight
 * [out,r]
 *
 * Floor:  port. May use model, file, chip, tensor, base.
 * Owner:  an adapter owns its open files.
 * Errors: MZ_ECORRUPT: a tensor that is missing, has another shape, or belongs to no linear map of
 *         the network; MZ_ENOTSUP: another kind of adapter, biases or whole modules in it, ranks
 *         that differ; MZ_ECONFIG from load: it is not the adapter that the run describes; MZ_EIO.
 *         merge and load may have changed some of the weights when they fail. */
#ifndef MZ_PORT_ADAPTER_H
#define MZ_PORT_ADAPTER_H

#include "model/params.h"

typedef struct mz_adapter mz_adapter;

mz_err mz_adapter_open(mz_adapter **a, const char *folder);
void mz_adapter_close(mz_adapter *a); /* NULL is legal */
/* W += scale B A in double, rounded once, wherever the adapter has a pair. Waits. */
mz_err mz_adapter_merge(const mz_adapter *a, mz_params *p, mz_queue *q);
/* open, merge and close. folder NULL or "": nothing. */
mz_err mz_adapter_apply(const char *folder, mz_params *p, const mz_config *c, mz_queue *q);
/* Into the adapters of a network that is bound with them: just these, all of them. Waits. */
mz_err mz_adapter_load(const mz_adapter *a, mz_params *p, mz_queue *q, const mz_lora_config *c);
/* Writes both files, crash-safely, as f32. base: for the config, the model's name. Waits. */
mz_err mz_adapter_save(const mz_params *p, mz_queue *q, const mz_config *c, const char *base,
                       const char *folder);

#endif
