/* SPDX-License-Identifier: Apache-2.0 */
/* infer/eval.h - how likely a model finds a text: non-overlapping windows, every position but a
 * window's first counted.
 *
 * Floor:  infer. May use port, model, chip, base.   Time: blocks.
 * Units:  nll is the sum of natural logarithms over all counted tokens. */
#ifndef MZ_INFER_EVAL_H
#define MZ_INFER_EVAL_H

#include "infer/chain.h"

typedef struct mz_eval {
    int64_t tokens; /* counted */
    double nll;
} mz_eval;

typedef void mz_eval_progress(void *user, int64_t done, int64_t of);

typedef struct mz_eval_options {
    mz_dtype dtype;
    bool as_stored;             /* a GGUF's weights are used as they lie in it (port/source.h) */
    const char *adapter;        /* folder of an adapter that is added to the weights, or NULL */
    int64_t context;            /* tokens of a window, >= 2 */
    mz_eval_progress *progress; /* may be NULL */
    void *user;
} mz_eval_options;

/* chips: where the network is to lie (infer/chain.h). ids [n], host; logprobs [n] receives each
 * token's log-probability, NaN where it is not counted; may be NULL. model: a folder or a GGUF. */
mz_err mz_eval_run(mz_eval *out, mz_chips *chips, const char *model, const int32_t *ids, int64_t n,
                   float *logprobs, const mz_eval_options *options);

#endif
