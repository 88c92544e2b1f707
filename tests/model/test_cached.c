/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model/test_cached.c - decode through the paged cache against the plain forward pass: token
 * by token, by chunks, several sequences at once, pages in no order. For MLA this is also the
 * absorbed form against the naive one. */
#include "tests/model/tiny.h"

enum { PAGE = 3, EACH = 4, PAGES = 13 };
static const double LIMIT = 1e-12;

/* Pages out of order; what a sequence does not use yet is not a page number at all. */
static const int32_t TABLE[TINY_B][EACH] = {{11, 2, -7, -7}, {5, -7, -7, -7}, {0, 12, -7, -7}};

static mz_model_options cached_options(bool train)
{
    mz_model_options o = tiny_options(MZ_F64, train);
    o.cache_pages = PAGES;
    o.page_tokens = PAGE;
    o.pages_per_sequence_max = EACH;
    return o;
}

/* One cached call: sequence i of the batch goes on with count[i] tokens from done[i] on. Its logits
 * go to the rows of `out` where the plain pass has them. Sequences without tokens stay in the call,
 * so that an empty one is seen too. */
static void step(const tiny *t, const int32_t *done, const int32_t *count, double *out)
{
    const int64_t V = t->config.vocab;
    int32_t ids[TINY_T], pos[TINY_T], cu[TINY_B + 1] = {0}, lens[TINY_B], row[TINY_T], n = 0;
    double logits[TINY_T * 64];
    for (int i = 0; i < TINY_B; i++) {
        for (int32_t j = 0; j < count[i]; j++, n++) {
            row[n] = t->b.cu[i] + done[i] + j;
            ids[n] = t->b.ids[row[n]];
            pos[n] = done[i] + j;
        }
        cu[i + 1] = n;
        lens[i] = done[i] + count[i];
    }
    const mz_batch batch = {.tokens = n, .sequences = TINY_B, .ids = ids, .pos = pos, .cu = cu};
    const mz_cached cached = {.table = &TABLE[0][0], .lens = lens};
    tiny_ok(mz_model_cached(t->model, &batch, &cached));
    tiny_logits(t, n, logits);
    for (int32_t k = 0; k < n; k++)
        memcpy(out + row[k] * V, logits + k * V, (size_t)V * sizeof *out);
}

static void plain_logits(const tiny *t, double *out)
{
    tiny_ok(mz_model_forward(t->model, &t->b.batch));
    tiny_logits(t, TINY_T, out);
}

static void check_one_by_one(const tiny_case *which, bool train)
{
    tiny t;
    const mz_config c = which->config();
    const mz_model_options o = cached_options(train);
    double want[TINY_T * 64], got[TINY_T * 64];
    int32_t done[TINY_B] = {0};
    tiny_open(&t, &c, &o);
    plain_logits(&t, want);
    for (bool more = true; more;) {
        int32_t count[TINY_B];
        more = false;
        for (int i = 0; i < TINY_B; i++) {
            count[i] = done[i] < t.b.cu[i + 1] - t.b.cu[i];
            more |= count[i] > 0;
        }
        if (!more) break;
        step(&t, done, count, got);
        for (int i = 0; i < TINY_B; i++) done[i] += count[i];
    }
    tiny_within(tiny_apart(got, want, TINY_T * c.vocab), LIMIT, which->name);
    tiny_close(&t);
}

static void decode_is_forward(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        check_one_by_one(&TINY[i], false);
        check_one_by_one(&TINY[i], true);
    }
}

static void chunks_are_forward(void **state)
{
    (void)state;
    static const int32_t chunks[4][TINY_B] = {{3, 0, 2}, {1, 1, 3}, {0, 0, 0}, {1, 0, 1}};
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        tiny t;
        const mz_config c = TINY[i].config();
        const mz_model_options o = cached_options(false);
        double want[TINY_T * 64], got[TINY_T * 64];
        int32_t done[TINY_B] = {0};
        tiny_open(&t, &c, &o);
        plain_logits(&t, want);
        for (int k = 0; k < 4; k++) {
            step(&t, done, chunks[k], got);
            for (int j = 0; j < TINY_B; j++) done[j] += chunks[k][j];
        }
        tiny_within(tiny_apart(got, want, TINY_T * c.vocab), LIMIT, TINY[i].name);
        tiny_close(&t);
    }
}

/* What another sequence wrote must not be seen: the same sequence decodes alike in a cache full of
 * other numbers. */
static void cache_keeps_sequences_apart(void **state)
{
    (void)state;
    for (int i = 0; i < MZ_COUNT(TINY); i++) {
        tiny t;
        const mz_config c = TINY[i].config();
        const mz_model_options o = cached_options(false);
        static const int32_t none[TINY_B] = {0}, all[TINY_B] = {5, 1, 6}, some[TINY_B] = {5, 0, 0};
        double first[TINY_T * 64] = {0}, second[TINY_T * 64] = {0};
        tiny_open(&t, &c, &o);
        step(&t, none, some, first);
        step(&t, none, all, second);
        step(&t, none, some, second);
        assert_memory_equal(first, second, (size_t)(5 * c.vocab) * sizeof *first);
        tiny_close(&t);
    }
}

static void latent_is_all_that_is_cached(void **state)
{
    (void)state;
    mz_memory_plan plan;
    tiny t;
    const mz_config c = tiny_mla();
    const mz_model_options o = cached_options(false);
    tiny_open(&t, &c, &o);
    tiny_ok(mz_model_plan(&plan, t.queue, &c, &o));
    const size_t each = PAGES * PAGE * (size_t)(c.kv_rank + c.rope_dim) * sizeof(double);
    assert_true(plan.cache >= 2 * each && plan.cache < 2 * (each + 256));
    tiny_close(&t);
}

static mz_err refused(const tiny *t, const mz_batch *b, const int32_t *table, int32_t len)
{
    const mz_err err = mz_model_cached(t->model, b, &(mz_cached){.table = table, .lens = &len});
    if (err == MZ_OK) fail_msg("a wrong cached call went through");
    return err;
}

static void wrong_calls_enqueue_nothing(void **state)
{
    (void)state;
    tiny t;
    const mz_config c = tiny_mla();
    mz_model_options o = cached_options(false);
    int32_t ids[2] = {1, 2}, pos[2] = {0, 1}, cu[2] = {0, 2}, table[EACH] = {1, 2, 3, 4};
    const mz_batch b = {.tokens = 2, .sequences = 1, .ids = ids, .pos = pos, .cu = cu};
    tiny_open(&t, &c, &o);
    const int64_t seq = t.queue->seq;
    assert_int_equal(refused(&t, &b, table, 1), MZ_EINVAL); /* fewer keys than new tokens */
    assert_int_equal(refused(&t, &b, table, 3), MZ_EINVAL); /* pos would be 1, 2 */
    assert_int_equal(refused(&t, &b, table, EACH * PAGE + 1), MZ_EINVAL);
    table[0] = PAGES;
    assert_int_equal(refused(&t, &b, table, 2), MZ_EINVAL);
    table[0] = -1;
    assert_int_equal(refused(&t, &b, table, 2), MZ_EINVAL);
    table[0] = 0, ids[1] = (int32_t)c.vocab;
    assert_int_equal(refused(&t, &b, table, 2), MZ_EINVAL);
    assert_true(t.queue->seq == seq);
    tiny_close(&t);
    o.cache_pages = 0;
    tiny_open(&t, &c, &o);
    ids[1] = 0;
    assert_int_equal(refused(&t, &b, table, 2), MZ_EINVAL);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_is_forward),
        cmocka_unit_test(chunks_are_forward),
        cmocka_unit_test(cache_keeps_sequences_apart),
        cmocka_unit_test(latent_is_all_that_is_cached),
        cmocka_unit_test(wrong_calls_enqueue_nothing),
    };
    return cmocka_run_group_tests(tests, tiny_setup, NULL);
}
