/* SPDX-License-Identifier: Apache-2.0 */
/* infer/chain.h - a network over one or more chips of this process, each with some of its layers.
 *
 * The first chip has the embedding too, the last one the final norm and the head; a table that both
 * need lies on both. Each has the cache of its own layers. What goes from chip to chip is a hidden
 * state in the network's dtype, through host memory, so that one chip computes at a time. On one
 * chip it is that chip's model and nothing else.
 *
 * Floor:  infer. May use port, model, chip, base.
 * Owner:  the caller closes it, whichever step failed; zero it before the first. Chips, their
 *         devices, and a source that is loaded, must outlive it.
 * Time:   over several chips every call waits.
 * Repeat: on chips of one kind the bits of one chip.
 * Errors: MZ_EUSAGE where the layers are not those of the network; those of port/source.h and
 *         model/model.h, which name the layers and the chip that they come from. */
#ifndef MZ_INFER_CHAIN_H
#define MZ_INFER_CHAIN_H

#include "model/model.h"
#include "port/source.h"

enum { MZ_CHIPS_MAX = 64 };

/* Where a network is to lie. layers 0: an even share of those that the others leave, which loading
 * fills in. */
typedef struct mz_placed {
    mz_device *device;
    int64_t layers;
} mz_placed;
typedef struct mz_chips {
    int64_t n;
    mz_placed at[MZ_CHIPS_MAX];
} mz_chips;
mz_chips mz_one_chip(mz_device *device);

typedef struct mz_link {
    mz_queue *queue;
    mz_model *model;
} mz_link;
typedef struct mz_chain {
    mz_chips *chips;
    mz_link link[MZ_CHIPS_MAX];
    void *hidden[2]; /* [tokens_max, width] each, host */
} mz_chain;

/* Queues; no weights yet. */
mz_err mz_chain_open(mz_chain *c, mz_chips *chips);
/* The network with the source's weights in it, as mz_source_model gives it; with options->weights,
 * which is for one chip, a network on those. */
mz_err mz_chain_load(mz_chain *c, const mz_source *s, const mz_model_options *options,
                     bool as_stored);
void mz_chain_close(mz_chain *c);

/* As mz_model_forward and mz_model_cached; afterwards the last model is as after those. */
mz_err mz_chain_forward(mz_chain *c, const mz_batch *batch);
mz_err mz_chain_cached(mz_chain *c, const mz_batch *batch, const mz_cached *cached);

/* Of the last chip, which has the logits. */
mz_model *mz_chain_model(const mz_chain *c);
mz_queue *mz_chain_queue(const mz_chain *c);

#endif
