/* SPDX-License-Identifier: Apache-2.0 */
/* tests/weigh/test_conform_opencl.c - the conformance suite on an OpenCL device, where there is
 * one.
 *
 * Fewer cases than on the processor, since the driver compiles some dozen programs first; where it
 * keeps them, the next run has them. */
#include "base/rng.h"
#include "chip/buffer.h"
#include "chips/opencl/opencl.h"
#include "chips/ref/ref.h"
#include "op/op.h"
#include "tests/near.h"
#include "tests/weigh/suite.h"

enum { ROWS = 64, WORDS = 1000 };

static mzt_suite suite;

static void opencl_device(void **state)
{
    (void)state;
    if (mzt_is_sanitized()) {
        print_message("no OpenCL driver runs inside a sanitizer\n");
        skip();
    }
    mz_device *chip = mzt_open_device("opencl", NULL, 0);
    if (!chip) {
        print_message("no OpenCL: %s\n", mz_err_last()->message);
        skip();
    }
    print_message("%s, %s\n", chip->info.model, chip->info.driver);
    mzt_conform_run(&suite, &(mzt_conform){.spec = "opencl", .cases = suite.cases, .least = 40},
                    chip);
    mz_device_close(chip);
}

/* ids [B] of rows that take long to draw, so that several groups are under way at one time. */
static void draw(mz_device *chip, const float *logits, int32_t *ids)
{
    const mz_desc desc = {.kind = MZ_OP_SAMPLE, .u.sample = {MZ_F32, ROWS, WORDS, 1}};
    mz_args args = {.k.sample = {.seed = 5,
                                 .counter = 7,
                                 .temperature = 1.0,
                                 .top_p = 0.8,
                                 .top_k = WORDS / 2,
                                 .repeat_penalty = 1.0}};
    mz_queue *q = NULL;
    mz_op *op = NULL;
    mz_buffer *x = NULL, *y = NULL;
    assert_int_equal(mz_queue_open(&q, chip), MZ_OK);
    assert_int_equal(mz_bind(&op, q, &desc), MZ_OK);
    assert_int_equal(mz_buffer_new(&x, chip, (size_t)ROWS * WORDS * sizeof *logits), MZ_OK);
    assert_int_equal(mz_buffer_new(&y, chip, ROWS * sizeof *ids), MZ_OK);
    const mz_tensor in = mz_view(x, 0, MZ_F32, 2, (const int64_t[]){ROWS, WORDS});
    const mz_tensor out = mz_view(y, 0, MZ_I32, 1, (const int64_t[]){ROWS});
    args.sample.logits = &in;
    args.sample.ids = &out;
    assert_int_equal(mz_upload(q, &in, logits), MZ_OK);
    assert_int_equal(mz_forward(op, &args), MZ_OK);
    assert_int_equal(mz_download(q, ids, &out), MZ_OK);
    assert_int_equal(mz_queue_sync(q), MZ_OK);
    mz_op_free(op);
    mz_buffer_free(x);
    mz_buffer_free(y);
    mz_queue_close(q);
}

/* What a group keeps in local memory is its own: once all of them shared it. */
static void groups_share_nothing(void **state)
{
    (void)state;
    static float logits[ROWS * WORDS];
    int32_t want[ROWS], got[ROWS];
    mz_rng rng = {0};
    if (mzt_is_sanitized()) skip();
    mz_device *chip = mzt_open_device("opencl", NULL, 0), *ref = mzt_open_device("ref", NULL, 1);
    if (!chip) skip();
    mz_rng_init(&rng, suite.seed, 0);
    for (int i = 0; i < ROWS * WORDS; i++) logits[i] = (float)(8.0 * mz_rng_uniform(&rng));
    draw(ref, logits, want);
    for (int times = 0; times < 4; times++) {
        draw(chip, logits, got);
        for (int i = 0; i < ROWS; i++)
            if (got[i] != want[i])
                fail_msg("row %d: id %d, want %d, seed %llu", i, got[i], want[i],
                         (unsigned long long)suite.seed);
    }
    mz_device_close(chip);
    mz_device_close(ref);
}

int main(void)
{
    mzt_suite_begin(&suite, 10);
    if (mz_chip_register(&mz_chip_ref) != MZ_OK || mz_chip_register(mz_opencl_chip()) != MZ_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(opencl_device),
                                       cmocka_unit_test(groups_share_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
