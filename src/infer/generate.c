/* SPDX-License-Identifier: Apache-2.0 */
/* infer/generate.c - see generate.h. */
#include "infer/generate.h"

#include "base/clock.h"
#include "infer/served.h"

#include <math.h>

enum { CHUNK = 512 };

static mz_err check_prompt(const mz_config *c, const mz_ids *prompt)
{
    for (size_t i = 0; i < prompt->count; i++)
        if (prompt->at[i] < 0 || prompt->at[i] >= c->vocab)
            return MZ_FAIL(MZ_ECORRUPT, "prompt id %d is not in 0 .. %lld", prompt->at[i],
                           (long long)c->vocab - 1);
    return MZ_OK;
}

static double rate(int64_t tokens, double seconds)
{
    return tokens > 0 && seconds > 0.0 ? (double)tokens / seconds : (double)NAN;
}

static mz_err run(mz_generated *out, mz_served *s, const mz_tokenizer *t, const mz_ids *prompt,
                  const mz_generate_options *o)
{
    const mz_answer_options how = {.max_tokens = o->max_tokens,
                                   .ends = s->generation.ends,
                                   .n_ends = s->generation.n_ends,
                                   .stops = o->stops,
                                   .n_stops = o->n_stops,
                                   .on_text = o->on_text,
                                   .user = o->user};
    const int64_t n = (int64_t)prompt->count, start = mz_clock_ns();
    mz_answer a;
    MZ_TRY(mz_session_feed(s->session, prompt->at, n));
    out->prefill_tokens = n;
    out->prefill_tokens_per_s = rate(n, (double)(mz_clock_ns() - start) * 1e-9);
    MZ_TRY(mz_answer_run(&a, s->session, t, &how));
    out->ids = a.ids;
    out->text = a.text;
    out->stop = a.stop;
    out->decode_tokens_per_s = rate(a.fed, a.seconds);
    return MZ_OK;
}

mz_err mz_generate(mz_generated *out, mz_chips *chips, const char *model,
                   const mz_tokenizer *tokenizer, const mz_ids *prompt,
                   const mz_generate_options *options)
{
    MZ_NEED(out && chips && model && prompt && options, "an argument is NULL");
    if (prompt->count == 0) return MZ_FAIL(MZ_EUSAGE, "the prompt is empty");
    const int64_t n = (int64_t)prompt->count, start = mz_clock_ns();
    const mz_served_options how = {.dtype = options->dtype,
                                   .as_stored = options->as_stored,
                                   .adapter = options->adapter,
                                   .positions = n + options->max_tokens,
                                   .chunk = n < CHUNK ? n : CHUNK,
                                   .sampling = options->sampling};
    mz_served s = {0};
    *out = (mz_generated){0};
    mz_err err = mz_served_open(&s, chips, model);
    if (err == MZ_OK) err = check_prompt(s.config, prompt);
    if (err == MZ_OK) err = mz_served_load(&s, &how);
    out->load_ms = (double)(mz_clock_ns() - start) * 1e-6;
    if (err == MZ_OK) err = run(out, &s, tokenizer, prompt, options);
    mz_served_close(&s);
    if (err != MZ_OK) mz_generated_clear(out);
    return err;
}

void mz_generated_clear(mz_generated *g)
{
    mz_ids_clear(&g->ids);
    mz_str_clear(&g->text);
    *g = (mz_generated){0};
}
