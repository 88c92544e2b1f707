/* SPDX-License-Identifier: Apache-2.0 */
/* infer/served.c - see served.h. */
#include "infer/served.h"

#include <math.h>

enum { PAGE = 32 };

mz_err mz_served_open(mz_served *s, mz_chips *chips, const char *model)
{
    MZ_NEED(s && chips && model, "an argument is NULL");
    MZ_TRY(mz_chain_open(&s->chain, chips));
    MZ_TRY(mz_source_open(&s->source, model));
    s->config = mz_source_config(s->source);
    return mz_generation_read(&s->generation, s->source);
}

mz_err mz_served_join(mz_served *s, mz_device *device, mz_source *source,
                      const mz_generation *generation)
{
    MZ_NEED(s && device && source && generation, "an argument is NULL");
    s->one = mz_one_chip(device);
    MZ_TRY(mz_chain_open(&s->chain, &s->one));
    s->source = source;
    s->is_shared = true;
    s->config = mz_source_config(source);
    s->generation = *generation;
    return MZ_OK;
}

static double wanted(double asked, double own)
{
    return isnan(asked) ? own : asked;
}

mz_sampling mz_served_sampling(const mz_generation *g, const mz_sampling *asked)
{
    mz_sampling s = *asked;
    s.temperature = wanted(asked->temperature, g->samples ? g->temperature : 0.0);
    s.top_p = wanted(asked->top_p, g->top_p);
    s.min_p = wanted(asked->min_p, g->min_p);
    s.repeat_penalty = wanted(asked->repeat_penalty, g->repeat_penalty);
    if (asked->top_k < 0) s.top_k = g->top_k;
    return s;
}

mz_err mz_served_load(mz_served *s, const mz_served_options *options)
{
    MZ_NEED(s && s->source && options, "not open, or no options");
    MZ_NEED(options->positions > 0 && options->chunk > 0, "no room");
    const int64_t pages = (options->positions + PAGE - 1) / PAGE;
    const mz_model_options o = {.dtype = options->dtype,
                                .tokens_max = options->chunk,
                                .sequences_max = 1,
                                .position_max = options->positions,
                                .head_rows = 1,
                                .cache_pages = pages,
                                .page_tokens = PAGE,
                                .pages_per_sequence_max = pages,
                                .weights = options->weights};
    MZ_NEED(options->weights || !s->is_shared, "somebody else's source is not loaded again");
    if (!options->weights) mz_source_adapt(s->source, options->adapter);
    MZ_TRY(mz_chain_load(&s->chain, s->source, &o, options->as_stored));
    return mz_session_new(&s->session, &s->chain, &o, &options->sampling);
}

void mz_served_close(mz_served *s)
{
    mz_session_free(s->session);
    mz_chain_close(&s->chain);
    if (!s->is_shared) mz_source_close(s->source);
    *s = (mz_served){0};
}
