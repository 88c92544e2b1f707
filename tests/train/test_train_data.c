/* SPDX-License-Identifier: Apache-2.0 */
/* tests/train/test_train_data.c - which ids a sample holds, in which order, and which lines are
 * refused.
 */
#include "tests/scratch.h"
#include "train/data.h"
#include "train/fill.h"
#include "train/order.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static mz_err open_with(mz_data **d, const char *text, mz_data_options o)
{
    return mz_data_open(d, scratch_write("d.jsonl", text), &o);
}

static void test_order(void **state)
{
    (void)state;
    mz_data *d = NULL;
    mz_sample s;
    const char *text =
        "{\"ids\": [1, 2]}\n\n  \n{\"ids\": [3, 4, 5], \"more\": 1}\r\n{\"ids\":[6,7]}";
    assert_int_equal(open_with(&d, text, (mz_data_options){.seq = 4, .vocab = 10}), MZ_OK);
    assert_int_equal(mz_data_count(d), 3);
    assert_int_equal(mz_data_tokens(d), 7);
    static const int64_t lines[] = {1, 4, 5}, lengths[] = {2, 3, 2};
    for (int64_t c = 0; c < 10; c++) { /* wraps round epochs */
        (void)mz_data_sample(d, c, &s);
        assert_int_equal(s.at, lines[c % 3]);
        assert_int_equal(s.n, lengths[c % 3]);
    }
    (void)mz_data_sample(d, 4, &s);
    assert_memory_equal(s.ids, ((int32_t[]){3, 4, 5}), 3 * sizeof(int32_t));
    assert_int_equal(strlen(mz_data_sha256(d)), 64);
    mz_data_close(d);
}

enum { MANY = 50 };

static void make_many(char *text, size_t bytes)
{
    size_t at = 0;
    for (int i = 0; i < MANY; i++)
        at += (size_t)snprintf(text + at, bytes - at, "{\"ids\": [%d, 0]}\n", i);
}

/* Every epoch holds every sample once, in an order of its own that seed and epoch alone decide. */
static void test_shuffle(void **state)
{
    (void)state;
    static char text[MANY * 20];
    int32_t order[3 * MANY];
    mz_data *d = NULL, *again = NULL, *other = NULL;
    mz_sample s;
    make_many(text, sizeof text);
    const mz_data_options o = {.seq = 2, .vocab = MANY, .shuffle = true, .seed = 5};
    mz_data_options o6 = o;
    o6.seed = 6;
    assert_int_equal(open_with(&d, text, o), MZ_OK);
    assert_int_equal(open_with(&again, text, o), MZ_OK);
    assert_int_equal(open_with(&other, text, o6), MZ_OK);
    for (int64_t e = 0; e < 3; e++) {
        bool seen[MANY] = {false};
        for (int64_t i = 0; i < MANY; i++) {
            (void)mz_data_sample(d, e * MANY + i, &s);
            order[e * MANY + i] = s.ids[0];
            assert_false(seen[s.ids[0]]);
            seen[s.ids[0]] = true;
        }
    }
    assert_memory_not_equal(order, order + MANY, MANY * sizeof *order);
    int same = 0, moved = 0;
    for (int64_t c = 3 * MANY - 1; c >= 0; c--) { /* backwards: only the cursor counts */
        (void)mz_data_sample(again, c, &s);
        assert_int_equal(s.ids[0], order[c]);
        (void)mz_data_sample(other, c, &s);
        same += s.ids[0] == order[c];
        moved += order[c] != c % MANY;
    }
    assert_true(same < 3 * MANY / 4 && moved > 3 * MANY / 4);
    mz_data_close(d);
    mz_data_close(again);
    mz_data_close(other);
}

/* ---- shards ---- */

enum { SEQ = 5, SHARD_IDS = 41 };

/* Documents of these lengths; ids count from 0 on. */
static const int64_t lengths[] = {3, 1, 12, 5, 6, 1, 1, 2, 10};

static const char *write_shards(void)
{
    mz_shards_writer *w = NULL;
    int32_t ids[16];
    scratch_clear();
    const char *folder = scratch_path("set");
    const mz_shards_options o = {
        .folder = folder, .vocab = 50, .shard_ids = 15, .bos = -1, .eos = -1};
    assert_int_equal(mz_shards_writer_new(&w, &o), MZ_OK);
    for (int64_t d = 0, next = 0; d < MZ_COUNT(lengths); d++) {
        for (int64_t i = 0; i < lengths[d]; i++) ids[i] = (int32_t)next++;
        assert_int_equal(mz_shards_writer_put(w, MZ_PART_TRAIN, ids, lengths[d]), MZ_OK);
    }
    assert_int_equal(mz_shards_writer_commit(w, 0), MZ_OK);
    return folder;
}

static mz_data *open_shards(bool pack, bool across)
{
    mz_data *d = NULL;
    const mz_data_options o = {.seq = SEQ, .vocab = 50, .pack = pack, .across = across};
    const mz_err err = mz_data_open(&d, write_shards(), &o);
    if (err != MZ_OK) fail_msg("%s", mz_err_last()->message);
    return d;
}

/* Rows of seq + 1 ids; the documents of one are sequences of their own unless `across`. */
static void test_packed(void **state)
{
    (void)state;
    for (int across = 0; across < 2; across++) {
        mz_data *d = open_shards(true, across == 1);
        mz_sample s;
        assert_int_equal(mz_data_count(d), (SHARD_IDS - 1) / SEQ);
        assert_int_equal(mz_data_tokens(d), SHARD_IDS);
        for (int64_t c = 0; c < 2 * mz_data_count(d); c++) {
            const int64_t at = c % mz_data_count(d) * SEQ;
            assert_int_equal(mz_data_sample(d, c, &s), MZ_OK);
            assert_int_equal(s.n, SEQ + 1);
            for (int64_t i = 0; i < s.n; i++) assert_int_equal(s.ids[i], at + i);
            int64_t k = 1, start = 0;
            assert_int_equal(s.starts[0], 0);
            for (int i = 0; i < MZ_COUNT(lengths) && !across; start += lengths[i++])
                if (start > at && start <= at + SEQ) assert_int_equal(s.starts[k++], start - at);
            assert_int_equal(s.sequences, k);
            assert_int_equal(mz_sample_positions(&s), SEQ + 1 - k);
        }
        mz_data_close(d);
    }
}

/* Documents in pieces of up to seq + 1 ids, each piece going on from the last one's end. */
static void test_pieces(void **state)
{
    (void)state;
    mz_data *d = open_shards(false, false);
    mz_sample s;
    int64_t c = 0, start = 0;
    for (int i = 0; i < MZ_COUNT(lengths); start += lengths[i++])
        for (int64_t at = 0; at + 1 < lengths[i]; at += SEQ) {
            const int64_t left = lengths[i] - at, n = left < SEQ + 1 ? left : SEQ + 1;
            assert_int_equal(mz_data_sample(d, c++, &s), MZ_OK);
            assert_int_equal(s.n, n);
            for (int64_t k = 0; k < n; k++) assert_int_equal(s.ids[k], start + at + k);
        }
    assert_int_equal(mz_data_count(d), c);
    mz_data_close(d);
}

/* What the network is fed of a row: positions from 0 on in each document, no target over a border,
 * the weights of a sample adding up to its share. */
static void test_fill(void **state)
{
    (void)state;
    mz_filler f = {0};
    mz_batch b;
    mz_data *d = open_shards(true, false);
    const mz_data_options o = {.seq = SEQ, .pack = true};
    assert_int_equal(mz_data_sequences(&o, true, 2), 2 * SEQ);
    assert_int_equal(mz_data_sequences(&o, false, 2), 2);
    assert_int_equal(mz_filler_init(&f, SEQ, 2 * SEQ, 2 * SEQ), MZ_OK);
    assert_int_equal(mz_fill(&f, d, 0, 2, 4, &b), MZ_OK); /* ids 0..5 and 5..10 */
    assert_int_equal(b.tokens, 10);
    assert_int_equal(b.sequences, 4); /* 0-2, 3, 4; 5-9 of the document 4-15 */
    static const int32_t cu[] = {0, 3, 4, 5, 10}, pos[] = {0, 1, 2, 0, 0, 0, 1, 2, 3, 4};
    static const int32_t targets[] = {1, 2, -100, -100, 5, 6, 7, 8, 9, 10};
    assert_memory_equal(b.cu, cu, sizeof cu);
    assert_memory_equal(b.pos, pos, sizeof pos);
    assert_memory_equal(b.targets, targets, sizeof targets);
    double sum[2] = {0, 0};
    for (int i = 0; i < 10; i++) {
        sum[i / 5] += (double)b.weight[i];
        assert_int_equal(b.weight[i] > 0.0f, b.targets[i] >= 0);
    }
    assert_true(sum[0] > 0.2499 && sum[0] < 0.2501 && sum[1] > 0.2499 && sum[1] < 0.2501);
    assert_int_equal(mz_fill(&f, d, 0, 3, 4, &b), MZ_EINVAL); /* more than was booked */
    mz_filler_clear(&f);
    mz_data_close(d);
}

static void test_bad_shards(void **state)
{
    (void)state;
    mz_data *d = NULL;
    mz_data_options o = {.seq = SEQ, .vocab = SHARD_IDS - 1, .pack = true};
    const char *folder = write_shards();
    assert_int_equal(mz_data_open(&d, folder, &o), MZ_ECONFIG);
    assert_non_null(strstr(mz_err_last()->message, "holds id 40"));
    o.vocab = SHARD_IDS;
    o.seq = SHARD_IDS;
    assert_int_equal(mz_data_open(&d, folder, &o), MZ_ECONFIG);
    assert_non_null(strstr(mz_err_last()->message, "no whole sample"));
    o.seq = SEQ;
    o.part = MZ_PART_VALIDATION;
    assert_int_equal(mz_data_open(&d, folder, &o), MZ_ECONFIG);
    assert_non_null(strstr(mz_err_last()->fix, "--validation"));
    assert_null(d);
}

/* ---- the order ---- */

/* Every place once, whatever n; another order in another epoch and for another seed; and no place
 * that goes anywhere more often than chance has it. */
static void test_permutation(void **state)
{
    (void)state;
    static bool seen[1030];
    for (int64_t n = 1; n < 1030; n = n < 20 ? n + 1 : n * 3 / 2) {
        for (int64_t e = 0; e < 3; e++) {
            memset(seen, 0, sizeof seen);
            for (int64_t i = 0; i < n; i++) {
                const int64_t j = mz_order_at(9, e, n, i);
                assert_true(j >= 0 && j < n && !seen[j]);
                seen[j] = true;
            }
        }
    }
    int first[10] = {0}, follows = 0;
    for (int64_t e = 0; e < 2000; e++) {
        first[mz_order_at(1, e, 10, 0)]++;
        follows += mz_order_at(1, e, 10, 1) == (mz_order_at(1, e, 10, 0) + 1) % 10;
    }
    for (int i = 0; i < 10; i++) assert_true(first[i] > 140 && first[i] < 260);
    assert_true(follows > 150 && follows < 300); /* 2000 / 9 */
    const int64_t large = (int64_t)1 << 40;
    assert_true(mz_order_at(1, 0, large, 5) != mz_order_at(2, 0, large, 5));
    assert_true(mz_order_at(1, 0, large, 5) != mz_order_at(1, 1, large, 5));
}

typedef struct bad {
    const char *text;
    mz_err code;
    const char *says;
} bad;

static void test_bad(void **state)
{
    (void)state;
    static const bad list[] = {
        {"", MZ_ECORRUPT, "holds no sample"},
        {"\n\n", MZ_ECORRUPT, "holds no sample"},
        {"{\"ids\": [1, 2]}\n{\"ids\": [1, 2}\n", MZ_ECORRUPT, "d.jsonl:2: "},
        {"{\"ids\": [1, 2]} {}\n", MZ_ECORRUPT, "d.jsonl:1: "},
        {"[1, 2]\n", MZ_ECORRUPT, "d.jsonl:1: the line is not {\"ids\""},
        {"{\"id\": [1, 2]}\n", MZ_ECORRUPT, "d.jsonl:1: the line is not {\"ids\""},
        {"{\"ids\": 3}\n", MZ_ECORRUPT, "d.jsonl:1: the line is not {\"ids\""},
        {"{\"ids\": []}\n", MZ_ECORRUPT, "d.jsonl:1: a sample of fewer than two"},
        {"\n{\"ids\": [1]}\n", MZ_ECORRUPT, "d.jsonl:2: a sample of fewer than two"},
        {"{\"ids\": [1, 10]}\n", MZ_ECORRUPT, "d.jsonl:1: an id is not"},
        {"{\"ids\": [1, -1]}\n", MZ_ECORRUPT, "d.jsonl:1: an id is not"},
        {"{\"ids\": [1, 2.0]}\n", MZ_ECORRUPT, "d.jsonl:1: an id is not"},
        {"{\"ids\": [1, 4294967297]}\n", MZ_ECORRUPT, "d.jsonl:1: an id is not"},
        {"{\"ids\": [1, 2, 3, 4, 5, 6]}\n", MZ_ECORRUPT, "d.jsonl:1: the sample is longer"},
        {"{\"messages\": []}\n", MZ_ECONFIG, "d.jsonl:1: messages, and no tokenizer"},
    };
    for (int i = 0; i < MZ_COUNT(list); i++) {
        mz_data *d = NULL;
        const mz_err err = open_with(&d, list[i].text, (mz_data_options){.seq = 4, .vocab = 10});
        if (err != list[i].code || !strstr(mz_err_last()->message, list[i].says))
            fail_msg("case %d: %s (%s)", i, mz_err_name(err), mz_err_last()->message);
        assert_null(d);
    }
    mz_data *d = NULL;
    const mz_data_options o = {.seq = 4, .vocab = 10};
    assert_int_equal(mz_data_open(&d, scratch_path("."), &o), MZ_ECONFIG);
    assert_int_equal(mz_data_open(&d, scratch_path("none"), &o), MZ_EIO);
    /* seq + 1 ids: the last is a target only */
    assert_int_equal(open_with(&d, "{\"ids\": [1, 2, 3, 4, 5]}\n", o), MZ_OK);
    mz_data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),       cmocka_unit_test(test_shuffle),
        cmocka_unit_test(test_permutation), cmocka_unit_test(test_packed),
        cmocka_unit_test(test_pieces),      cmocka_unit_test(test_fill),
        cmocka_unit_test(test_bad_shards),  cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
