/* SPDX-License-Identifier: Apache-2.0 */
/* infer/served.c - see served.h. */
#include "infer/served.h"

enum { PAGE = 32 };

mz_err mz_served_open(mz_served *s, mz_device *device, const char *model)
{
    MZ_NEED(s && device && model, "an argument is NULL");
    MZ_TRY(mz_queue_open(&s->queue, device));
    MZ_TRY(mz_source_open(&s->source, model));
    s->config = mz_source_config(s->source);
    return mz_generation_read(&s->generation, s->source);
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
                                .pages_per_sequence_max = pages};
    mz_source_adapt(s->source, options->adapter);
    MZ_TRY(mz_source_model(&s->model, s->source, s->queue, &o, options->as_stored));
    return mz_session_new(&s->session, s->queue, s->model, &o, &options->sampling);
}

void mz_served_close(mz_served *s)
{
    mz_session_free(s->session);
    mz_model_free(s->model);
    mz_source_close(s->source);
    mz_queue_close(s->queue);
    *s = (mz_served){0};
}
