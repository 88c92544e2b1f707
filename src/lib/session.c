/* SPDX-License-Identifier: Apache-2.0 */
/* lib/session.c - mz_lm_session: texts that go on, each on a queue and cache of its own, all on one
 * model's weights. Floor: lib. */
#include "base/clock.h"
#include "base/mem.h"
#include "infer/answer.h"
#include "lib/lib.h"

#include <math.h>
#include <string.h>

enum { CONTEXT_USUAL = 4096, CHUNK_USUAL = 512, TOKENS_USUAL = 128, LOOK_BACK = 64 };

struct mz_lm_session {
    mz_lm *lm;
    mz_served served;
    mz_answer answer; /* of the last call: what it gave is borrowed */
};

/* ---- opening ---- */

static mz_err load(mz_lm_session *s, const mz_lm_session_options *o)
{
    mz_lm *lm = s->lm;
    const int64_t positions = mz_source_config(lm->source)->max_position;
    const int64_t usual = positions < CONTEXT_USUAL ? positions : CONTEXT_USUAL;
    const int64_t context = o->context > 0 ? o->context : usual;
    const int64_t chunk = o->chunk > 0 ? o->chunk : CHUNK_USUAL;
    const mz_served_options how = {.dtype = lm->dtype,
                                   .positions = context,
                                   .chunk = chunk < context ? chunk : context,
                                   .weights = &lm->weights,
                                   .sampling = {.repeat_last = LOOK_BACK}};
    MZ_TRY(mz_served_join(&s->served, lm->device, lm->source, &lm->generation));
    return mz_served_load(&s->served, &how);
}

mz_lm_status mz_lm_session_new(mz_lm_session **s, mz_lm *lm, const mz_lm_session_options *options)
{
    MZ_LIB_NEED(s && lm, "no model, or no place for a session");
    mz_lm_session_options o = MZ_LM_SESSION_INIT;
    MZ_LIB_TRY(mz_lib_take(&o, sizeof o, options, "mz_lm_session_options"));
    MZ_LIB_NEED(o.context >= 0 && o.context <= INT32_MAX && o.chunk >= 0 && o.chunk <= INT32_MAX,
                "a context of %lld tokens, %lld at a time", (long long)o.context,
                (long long)o.chunk);
    mz_lm_session *made = NULL;
    MZ_LIB_TRY(mz_lib_status(mz_mem_new(&made, 1, sizeof *made)));
    made->lm = lm;
    atomic_fetch_add(&lm->holders, 1);
    pthread_mutex_lock(&lm->lock);
    const mz_err err = load(made, &o);
    pthread_mutex_unlock(&lm->lock);
    if (err != MZ_OK) {
        const mz_err_info why = *mz_err_last();
        mz_lm_session_free(made);
        mz_err_restore(&why);
        return mz_lib_status(err);
    }
    *s = made;
    return MZ_LM_OK;
}

void mz_lm_session_free(mz_lm_session *s)
{
    if (!s) return;
    mz_lm *lm = s->lm;
    pthread_mutex_lock(&lm->lock);
    mz_served_close(&s->served);
    pthread_mutex_unlock(&lm->lock);
    mz_answer_clear(&s->answer);
    mz_mem_free(s);
    mz_lib_release(lm);
}

/* ---- going on ---- */

static double or_off(double asked, double off)
{
    return asked > 0.0 ? asked : off;
}

static mz_sampling sampling_of(const mz_lm_session *s, const mz_lm_generate_options *o)
{
    const mz_sampling own = {.temperature = (double)NAN,
                             .top_p = (double)NAN,
                             .min_p = (double)NAN,
                             .repeat_penalty = (double)NAN,
                             .top_k = -1,
                             .repeat_last = LOOK_BACK,
                             .seed = o->seed};
    const mz_sampling asked = {.temperature = o->temperature,
                               .top_p = or_off(o->top_p, 1.0),
                               .min_p = o->min_p,
                               .repeat_penalty = or_off(o->repeat_penalty, 1.0),
                               .top_k = o->top_k,
                               .repeat_last = LOOK_BACK,
                               .seed = o->seed};
    return mz_served_sampling(&s->served.generation, o->as_model ? &own : &asked);
}

/* Written so that NaN is refused. */
static bool is_within(double x, double most)
{
    return x >= 0.0 && x <= most;
}

static mz_lm_status check_options(const mz_lm_generate_options *o)
{
    MZ_LIB_NEED(is_within(o->temperature, 100.0), "temperature is %g", o->temperature);
    MZ_LIB_NEED(is_within(o->top_p, 1.0), "top_p is %g", o->top_p);
    MZ_LIB_NEED(is_within(o->min_p, 1.0), "min_p is %g", o->min_p);
    MZ_LIB_NEED(is_within(o->repeat_penalty, 100.0), "repeat_penalty is %g", o->repeat_penalty);
    MZ_LIB_NEED(o->top_k >= 0 && o->max_tokens >= 0, "top_k is %lld, max_tokens %lld",
                (long long)o->top_k, (long long)o->max_tokens);
    MZ_LIB_NEED(o->n_stops >= 0 && (o->stops || o->n_stops == 0) && o->reserved == 0,
                "%d stops, and where they are is NULL", o->n_stops);
    for (int32_t i = 0; i < o->n_stops; i++) MZ_LIB_NEED(o->stops[i], "stop %d is NULL", i);
    return MZ_LM_OK;
}

static mz_err check_prompt(const mz_lm_session *s, const int32_t *ids, int64_t n)
{
    const int64_t context =
        mz_session_length(s->served.session) + mz_session_room(s->served.session);
    if (n > context) {
        const mz_err err = MZ_FAIL(MZ_EUSAGE, "a prompt of %lld tokens in a context of %lld",
                                   (long long)n, (long long)context);
        mz_note_fix("make a session with a larger context, or a shorter prompt");
        return err;
    }
    return mz_lib_check_ids(ids, n, s->served.config->vocab, false);
}

/* Feeds what the cache does not hold; *kept receives what it did. */
static mz_err feed(const mz_lm_session *s, const int32_t *ids, int64_t n, bool reuse, int64_t *kept)
{
    mz_session *text = s->served.session;
    int64_t same = reuse ? mz_session_shared(text, ids, n) : 0;
    if (same == n) same--; /* the last one's logits are wanted */
    MZ_TRY(mz_session_rewind(text, same));
    *kept = same;
    return mz_session_feed(text, ids + same, n - same);
}

static mz_err go_on(mz_lm_session *s, const int32_t *ids, int64_t n,
                    const mz_lm_generate_options *o, mz_lm_answer *out)
{
    const mz_tokenizer *t = s->lm->vocab ? s->lm->vocab->tokenizer : NULL;
    const mz_sampling sampling = sampling_of(s, o);
    const mz_answer_options how = {.max_tokens = o->max_tokens > 0 ? o->max_tokens : TOKENS_USUAL,
                                   .ends = s->served.generation.ends,
                                   .n_ends = s->served.generation.n_ends,
                                   .stops = o->stops,
                                   .n_stops = o->n_stops,
                                   .on_token = o->on_token,
                                   .user = o->user};
    const int64_t start = mz_clock_ns();
    mz_answer_clear(&s->answer);
    MZ_TRY(check_prompt(s, ids, n));
    MZ_TRY(mz_session_sample(s->served.session, &sampling));
    MZ_TRY(feed(s, ids, n, o->reuse != 0, &out->kept_tokens));
    out->prompt_tokens = n;
    out->prompt_seconds = (double)(mz_clock_ns() - start) * 1e-9;
    return mz_answer_run(&s->answer, s->served.session, t, &how);
}

static int32_t ended_by(const char *stop)
{
    if (strcmp(stop, "eos") == 0) return MZ_LM_BY_END;
    if (strcmp(stop, "stop") == 0) return MZ_LM_BY_STOP;
    return strcmp(stop, "interrupted") == 0 ? MZ_LM_BY_CALLER : MZ_LM_BY_LENGTH;
}

mz_lm_status mz_lm_generate(mz_lm_session *s, const int32_t *ids, size_t count,
                            const mz_lm_generate_options *options, mz_lm_answer *answer)
{
    mz_lm_generate_options o = MZ_LM_GENERATE_INIT;
    mz_lm_answer out = MZ_LM_ANSWER_INIT;
    MZ_LIB_NEED(s && ids && count >= 1 && count <= INT32_MAX,
                "no session, or no ids to go on with");
    MZ_LIB_TRY(mz_lib_take(&o, sizeof o, options, "mz_lm_generate_options"));
    MZ_LIB_TRY(mz_lib_can_give(answer, "mz_lm_answer"));
    MZ_LIB_TRY(check_options(&o));
    const mz_err err = go_on(s, ids, (int64_t)count, &o, &out);
    if (err != MZ_OK) return mz_lib_status(err);
    const mz_answer *a = &s->answer;
    out.ids = a->ids.at;
    out.n_ids = a->ids.count;
    out.text = a->text.text ? a->text.text : "";
    out.text_bytes = a->text.len;
    out.ended = ended_by(a->stop);
    out.text_seconds = a->seconds;
    mz_lib_give(answer, &out, sizeof out);
    return MZ_LM_OK;
}
