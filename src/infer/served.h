/* SPDX-License-Identifier: Apache-2.0 */
/* infer/served.h - a model that is open for one text that grows: its files, the network on
 * its chips with a cache, and a session.
 *
 * Two steps, because how long a text may be is known only after its model's config was read.
 * Floor:  infer. May use port, model, chip, base.
 * Time:   blocks.
 * Owner:  the caller closes it, whichever step failed; zero it before the first. */
#ifndef MZ_INFER_SERVED_H
#define MZ_INFER_SERVED_H

#include "infer/session.h"
#include "port/generation.h"

typedef struct mz_served {
    mz_chain chain;
    mz_chips one; /* of a joined one */
    mz_source *source;
    const mz_config *config; /* of the source */
    mz_generation generation;
    mz_session *session;
    bool is_shared; /* source and weights are somebody else's */
} mz_served;

/* chips: where the network is to lie; they must live as long. model: a folder or a GGUF. No weights
 * yet. */
mz_err mz_served_open(mz_served *s, mz_chips *chips, const char *model);
/* The same on a source that is open already, as others are on it; it must outlive s. Load then
 * wants `weights`, and touches neither source nor weights. */
mz_err mz_served_join(mz_served *s, mz_device *device, mz_source *source,
                      const mz_generation *generation);
/* Weights, and a cache for `positions` tokens, of which at most `chunk` are computed at a time. */
typedef struct mz_served_options {
    mz_dtype dtype;
    bool as_stored;      /* a GGUF's weights are used as they lie in it (port/source.h) */
    const char *adapter; /* folder of an adapter that is added to the weights, or NULL */
    int64_t positions, chunk;
    mz_sampling sampling;
    const mz_params *weights; /* of the source, loaded, in dtype; NULL: its own */
} mz_served_options;
/* What is asked, and where that is NaN (top_k: -1) what the model wants. */
mz_sampling mz_served_sampling(const mz_generation *g, const mz_sampling *asked);
mz_err mz_served_load(mz_served *s, const mz_served_options *options);
void mz_served_close(mz_served *s);

#endif
