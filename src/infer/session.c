/* SPDX-License-Identifier: Apache-2.0 */
/* infer/session.c - see session.h. */
#include "infer/session.h"

#include "base/mem.h"
#include "op/op.h"

#include <string.h>

struct mz_session {
    mz_chain *chain;
    mz_queue *queue; /* of the chip with the logits */
    mz_sampling sampling;
    int64_t chunk, capacity, length, history; /* history: slots for the repeat penalty */
    uint64_t drawn;                           /* random numbers used so far */
    int32_t *text;                            /* [capacity] ids in the cache */
    int32_t *pos, *table, *recent;            /* recent [history], -1 = empty */
    mz_tensor logits;                         /* [1,V], of the model; .buf NULL before a feed */
    mz_op *sample;
    mz_buffer *chosen, *recent_chip;
};

static mz_err build(mz_session *s, const mz_model_options *o)
{
    const int64_t V = mz_model_config(mz_chain_model(s->chain))->vocab;
    const int64_t pages = o->pages_per_sequence_max;
    s->chunk = o->tokens_max;
    s->capacity = pages * o->page_tokens;
    if (s->capacity > o->position_max) s->capacity = o->position_max;
    s->history = s->sampling.repeat_last > 0 ? s->sampling.repeat_last : 1;
    MZ_TRY(mz_mem_new(&s->text, s->capacity, sizeof *s->text));
    MZ_TRY(mz_mem_new(&s->pos, s->chunk, sizeof *s->pos));
    MZ_TRY(mz_mem_new(&s->table, pages, sizeof *s->table));
    MZ_TRY(mz_mem_new(&s->recent, s->history, sizeof *s->recent));
    for (int64_t i = 0; i < pages; i++) s->table[i] = (int32_t)i;
    MZ_TRY(mz_buffer_new(&s->chosen, s->queue->device, sizeof(int32_t)));
    MZ_TRY(mz_buffer_new(&s->recent_chip, s->queue->device, (size_t)s->history * sizeof(int32_t)));
    const mz_desc d = {
        .kind = MZ_OP_SAMPLE,
        .u.sample = {mz_dtype_acc(o->dtype), 1, V, s->history},
    };
    return mz_bind(&s->sample, s->queue, &d);
}

mz_err mz_session_new(mz_session **out, mz_chain *chain, const mz_model_options *options,
                      const mz_sampling *sampling)
{
    mz_session *s = NULL;
    MZ_NEED(out && chain && chain->chips && options && sampling, "an argument is NULL");
    MZ_NEED(options->cache_pages >= options->pages_per_sequence_max && options->page_tokens > 0 &&
                options->pages_per_sequence_max > 0,
            "the model was bound without a cache");
    MZ_TRY(mz_mem_new(&s, 1, sizeof *s));
    s->chain = chain;
    s->queue = mz_chain_queue(chain);
    s->sampling = *sampling;
    const mz_err err = build(s, options);
    if (err != MZ_OK) {
        mz_session_free(s);
        return err;
    }
    mz_session_reset(s);
    *out = s;
    return MZ_OK;
}

void mz_session_free(mz_session *s)
{
    if (!s) return;
    mz_op_free(s->sample);
    mz_buffer_free(s->chosen);
    mz_buffer_free(s->recent_chip);
    mz_mem_free(s->text);
    mz_mem_free(s->pos);
    mz_mem_free(s->table);
    mz_mem_free(s->recent);
    mz_mem_free(s);
}

void mz_session_reset(mz_session *s)
{
    s->length = 0;
    s->drawn = 0;
    s->logits.buf = NULL;
}

mz_err mz_session_sample(mz_session *s, const mz_sampling *sampling)
{
    MZ_NEED(s && sampling && sampling->repeat_last <= s->history,
            "no session or sampling, or it looks back further than the session was made for");
    s->sampling = *sampling;
    s->drawn = 0;
    return MZ_OK;
}

int64_t mz_session_shared(const mz_session *s, const int32_t *ids, int64_t n)
{
    int64_t same = 0;
    while (same < s->length && same < n && s->text[same] == ids[same]) same++;
    return same;
}

mz_err mz_session_rewind(mz_session *s, int64_t length)
{
    MZ_NEED(s && length >= 0 && length <= mz_session_length(s), "rewound to more than there is");
    if (length == s->length) return MZ_OK;
    s->length = length;
    s->logits.buf = NULL;
    return MZ_OK;
}

static mz_err feed_chunk(mz_session *s, const int32_t *ids, int64_t n)
{
    const int32_t cu[2] = {0, (int32_t)n}, len = (int32_t)(s->length + n), last = (int32_t)n - 1;
    for (int64_t i = 0; i < n; i++) s->pos[i] = (int32_t)(s->length + i);
    const mz_batch batch = {.tokens = n, .sequences = 1, .ids = ids, .pos = s->pos, .cu = cu};
    const mz_cached cached = {.table = s->table, .lens = &len};
    MZ_TRY(mz_chain_cached(s->chain, &batch, &cached));
    MZ_TRY(mz_model_logits_rows(mz_chain_model(s->chain), &last, 1, &s->logits));
    MZ_TRY(mz_queue_sync(s->queue)); /* the batch borrows this function's arrays until here */
    memcpy(s->text + s->length, ids, (size_t)n * sizeof *ids);
    s->length += n;
    return MZ_OK;
}

mz_err mz_session_feed(mz_session *s, const int32_t *ids, int64_t n)
{
    MZ_NEED(s && ids && n >= 1, "nothing to feed");
    MZ_NEED(n <= mz_session_room(s),
            "%lld tokens do not fit in the %lld that the cache still holds", (long long)n,
            (long long)mz_session_room(s));
    for (int64_t done = 0; done < n;) {
        const int64_t now = n - done < s->chunk ? n - done : s->chunk;
        MZ_TRY(feed_chunk(s, ids + done, now));
        done += now;
    }
    return MZ_OK;
}

mz_err mz_session_choose(mz_session *s, int32_t *id)
{
    MZ_NEED(s && id && s->logits.buf, "nothing was fed yet");
    const int64_t one = 1, row[2] = {1, s->history};
    const mz_tensor ids = mz_view(s->chosen, 0, MZ_I32, 1, &one);
    const mz_tensor recent = mz_view(s->recent_chip, 0, MZ_I32, 2, row);
    const mz_sampling *p = &s->sampling;
    const bool penalised = p->repeat_penalty < 1.0 || p->repeat_penalty > 1.0;
    mz_args args = {.sample = {.ids = &ids, .logits = &s->logits},
                    .k.sample = {.temperature = p->temperature,
                                 .top_p = p->top_p,
                                 .min_p = p->min_p,
                                 .repeat_penalty = p->repeat_penalty,
                                 .top_k = p->top_k,
                                 .seed = p->seed,
                                 .counter = s->drawn}};
    if (penalised) {
        for (int64_t i = 0; i < s->history; i++)
            s->recent[i] = i < s->length ? s->text[s->length - 1 - i] : -1;
        MZ_TRY(mz_upload(s->queue, &recent, s->recent));
        args.sample.history = &recent;
    }
    int32_t drawn = -1;
    MZ_TRY(mz_forward(s->sample, &args));
    MZ_TRY(mz_download(s->queue, &drawn, &ids));
    MZ_TRY(mz_queue_sync(s->queue));
    if (drawn < 0) /* by sample's definition */
        return MZ_FAIL(MZ_ENUMERIC, "chip %s gives logits of which none is a number",
                       s->queue->device->info.name);
    *id = drawn;
    s->drawn++;
    return MZ_OK;
}

int64_t mz_session_length(const mz_session *s)
{
    return s->length;
}

int64_t mz_session_room(const mz_session *s)
{
    return s->capacity - s->length;
}
