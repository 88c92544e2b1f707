/* SPDX-License-Identifier: Apache-2.0 */
/* model/lora.h - low-rank adapters beside frozen linear maps.
 *
 *   y = x W^T + bias + scale (x A^T) B^T       A [r,in], B [out,r]
 *
 * Linear maps of the blocks whose last name is a target have one: attention, dense MLPs and shared
 * experts; routers, routed experts, MTP layers and the head have none. With adapters they alone
 * have gradients. A starts uniform in +-1/sqrt(in), B with zeros, so that nothing changes at first.
 * An adapter is for training; to serve one it is added to the weights (port/adapter.h).
 *
 * Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685;
 * names, start and scale as huggingface/peft has them.
 * Floor:  model. May use op, chip, tensor, base.
 * Errors: MZ_ECONFIG: a target that no linear map is called. */
#ifndef MZ_MODEL_LORA_H
#define MZ_MODEL_LORA_H

#include "model/params.h"

/* "model.layers.0.self_attn.q_proj.weight" -> "q_proj"; NULL where the parameter is no linear map
 * that can have an adapter. */
const char *mz_lora_target_of(const mz_config *c, const mz_param *p, char out[64]);
/* Whether this parameter has an adapter under c->lora. */
bool mz_lora_adapts(const mz_config *c, const mz_param *p);
/* Every target named in c->lora.targets has to be one of the list's. */
mz_err mz_lora_check(const mz_config *c, const mz_params *p);

#endif
