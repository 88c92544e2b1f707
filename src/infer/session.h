/* SPDX-License-Identifier: Apache-2.0 */
/* infer/session.h - one text that grows: prefill in chunks, then one chosen token after the other.
 *
 * Floor:  infer. May use model, op, chip, base.
 * Time:   feed enqueues chunk by chunk and waits; next waits for its token.
 * Owner:  the caller owns the session; it borrows the chain, which is loaded, and uses the first
 *         pages of its caches: one session a chain at a time.
 * Errors: MZ_EINVAL: more tokens than the cache holds, ids out of range. */
#ifndef MZ_INFER_SESSION_H
#define MZ_INFER_SESSION_H

#include "infer/chain.h"

typedef struct mz_sampling {
    double temperature;                  /* 0 = the largest */
    double top_p, min_p, repeat_penalty; /* 1, 0, 1 = off */
    int64_t top_k;                       /* 0 = off */
    int64_t repeat_last;                 /* tokens the penalty looks back on */
    uint64_t seed;
} mz_sampling;

typedef struct mz_session mz_session;

/* options: what the chain was loaded with (cache sizes, tokens_max). */
mz_err mz_session_new(mz_session **s, mz_chain *chain, const mz_model_options *options,
                      const mz_sampling *sampling);
void mz_session_free(mz_session *s); /* NULL is legal */
void mz_session_reset(
    mz_session *s); /* an empty text again, the same random stream from its start */
/* Chooses so from now on, with the random stream from its start. repeat_last is at most what the
 * session was made with. */
mz_err mz_session_sample(mz_session *s, const mz_sampling *sampling);
/* Appends n >= 1 ids to the text and computes the logits of the last. */
mz_err mz_session_feed(mz_session *s, const int32_t *ids, int64_t n);
/* How many of these ids, from the first on, are those of the text. */
int64_t mz_session_shared(const mz_session *s, const int32_t *ids, int64_t n);
/* Forgets all but the first `length` tokens; their keys and values stay. Nothing can be chosen
 * until the next feed. The random stream goes on. */
mz_err mz_session_rewind(mz_session *s, int64_t length);
/* Chooses the next id from those logits. Does not append it: feed it to go on. MZ_ENUMERIC: none of
 * them is a number. */
mz_err mz_session_choose(mz_session *s, int32_t *id);
int64_t mz_session_length(const mz_session *s); /* tokens in the cache */
int64_t mz_session_room(const mz_session *s);   /* tokens that still fit */

#endif
