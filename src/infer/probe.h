/* SPDX-License-Identifier: Apache-2.0 */
/* infer/probe.h - numbers out of a model: logits, loss, hidden states, routers, gradients, cached
 * decode and greedy continuation, from one safetensors file into another (`mizan probe`).
 *
 * IN    ids I64 [B,T]; optional labels I64 [B,T], already shifted (position t holds the id that
 *       follows it), -100 = not counted; without labels, ids shifted by one.
 * OUT   all F32 unless said: logits [B,T,V], loss [] (mean over counted positions; NaN where none
 *       is counted, as transformers has it), hidden.I [B,T,D], router.L.ids I64 [B,T,k] ascending,
 *       router.L.weights, grad.NAME for every tensor of the checkpoint that the loss depends on,
 *       decode.logits [B,T,V], greedy.ids I64 [B,N].
 *
 * Floor:  infer. May use port, model, op, chip, file, tensor, base.
 * Time:   blocks.  Owner: everything is freed on return.
 * Errors: MZ_ECORRUPT for IN (a tensor missing, of another shape or dtype, ids out of range);
 *         MZ_EIO; MZ_ENOTSUP where the chip cannot carry the model. OUT appears whole or not at
 * all.
 */
#ifndef MZ_INFER_PROBE_H
#define MZ_INFER_PROBE_H

#include "chip/chip.h"

typedef struct mz_probe_options {
    mz_dtype dtype;
    bool as_stored; /* a GGUF's weights are used as they lie in it (port/source.h) */
    bool hidden, router_out, gradients, decode;
    int64_t greedy;      /* ids to go on with; 0 = none */
    const char *adapter; /* folder of an adapter that is added to the weights, or NULL */
    const char *forced;  /* safetensors with router.L.ids for every MoE layer, or NULL */
} mz_probe_options;

/* model: a Hugging Face folder or a GGUF file. */
mz_err mz_probe(mz_device *device, const char *model, const char *in, const char *out,
                const mz_probe_options *options);

#endif
