/* SPDX-License-Identifier: Apache-2.0 */
/* port/hf.h - a model's parameters in and out of a Hugging Face folder.
 *
 * Floor:  port. May use model, file, chip, tensor, base.
 * Errors: MZ_ECORRUPT: a tensor that the config announces is missing, has another shape or a dtype
 *         that is not a float; a number that is not finite; a tensor that nobody wants (named),
 * other than what transformers ignores too (rotary inv_freq buffers, MTP copies of embedding and
 * head that are equal).
 */
#ifndef MZ_PORT_HF_H
#define MZ_PORT_HF_H

#include "file/hub.h"
#include "model/model.h"

/* config.json of the folder; mtp_layers becomes 0 where the folder has no such weights, and
 * moe.layer_freq 1 where every layer from the first with experts on has them. */
mz_err mz_hf_config(mz_config *c, const mz_hub *hub);
/* Whether the folder holds just the tensors of this network, in shapes and types that can be read:
 * before memory is booked for what a config.json of a few bytes may announce. */
mz_err mz_hf_check(const mz_config *c, const mz_hub *hub);
/* Weights in blocks of E4M3 (quantization_config of config.json) are the product, in f32, of each
 * number and its block's weight_scale_inv, whatever that scale's dtype (F32, BF16, F16, E8M0).
 *
 * Checks that the folder holds just the parameters of p, with their shapes, and copies them to the
 * chip, converted to each parameter's dtype (rounded once, from what is on disk). Waits. */
mz_err mz_hf_load(mz_params *p, mz_queue *q, const mz_config *c, const mz_hub *hub);
/* Writes folder/config.json and folder/model.safetensors, crash-safely, the weights as `dtype`
 * (f32 | bf16 | f16). Waits. */
mz_err mz_hf_save(const mz_params *p, mz_queue *q, const mz_config *c, const char *folder,
                  mz_dtype dtype);
/* The same in files of at most shard_bytes of tensors each (a larger tensor has one for itself),
 * with model.safetensors.index.json; what fits into one file is written as that. */
mz_err mz_hf_save_shards(const mz_params *p, mz_queue *q, const mz_config *c, const char *folder,
                         mz_dtype dtype, int64_t shard_bytes);

#endif
