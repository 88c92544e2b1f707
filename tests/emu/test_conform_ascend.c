/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_conform_ascend.c - the conformance suite on the emulated device, another seed each
 * run, and what chips lack. */
#include "ascend/acl.h"
#include "base/mem.h"
#include "base/rng.h"
#include "chips/ascend/ascend.h"
#include "chips/ascend/map.h"
#include "chips/ref/ref.h"
#include "op/op.h"
#include "tests/near.h"
#include "tests/weigh/suite.h"

#include <stdlib.h>
#include <string.h>

static mzt_suite suite;

/* The folder of the emulated driver, which ctest says. */
static mz_device *open_emulated(void)
{
    mz_device *chip = NULL;
    const char *folder = getenv("MIZAN_EMU_ASCEND_FOLDER");
    const mz_chip_options options = {.driver_path = folder};
    assert_non_null(folder);
    if (mz_device_open(&chip, "ascend", &options) != MZ_OK)
        print_error("%s\n", mz_err_last()->message);
    assert_non_null(chip);
    assert_true(chip->info.emulated);
    assert_non_null(strstr(chip->info.model, "emulated"));
    return chip;
}

/* MIZAN_EMU_ASCEND_SOC names the chip; none: an A2. */
static bool is_here(const char *soc)
{
    const char *here = getenv("MIZAN_EMU_ASCEND_SOC");
    return strncmp(here ? here : "Ascend910B", soc, strlen(soc)) == 0;
}

/* Every operator that the chip's page says it has, on chips that know infinities: what one lacks is
 * refused when it is asked, which mzt_conform_run counts as skipped. */
static void agrees_with_the_reference(void **state)
{
    (void)state;
    if (is_here("Ascend910A") || is_here("Ascend310P"))
        return; /* there NaN is 0, as they have it */
    mz_device *chip = open_emulated();
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        if (mz_ascend_row_of((mz_op_kind)i)->state == MZ_STATE_NONE) continue;
        mzt_conform_run(
            &suite,
            &(mzt_conform){.spec = "ascend", .op = mz_op_name((mz_op_kind)i), .cases = suite.cases},
            chip);
    }
    mz_ascend_counts counts;
    mz_ascend_count(chip, &counts);
    if (is_here("Ascend910B")) { /* how many of few cases one operator takes is chance */
        assert_true(counts.calls > 10 * suite.cases && counts.bytes_up > 0);
        assert_true(counts.bytes_down > 0 && counts.flop > 0);
    }
    mz_device_close(chip);
}

/* As the emulated driver has it, which adds in either order without. */
static void the_order_of_sums_is_certain(void **state)
{
    int64_t mode = 0;
    (void)state;
    mz_device *chip = open_emulated();
    assert_int_equal(aclrtCtxGetSysParamOpt(EMU_OPT_DETERMINISTIC, &mode), 0);
    assert_int_equal(mode, 1);
    mz_device_close(chip);
}

/* ---- copies ---- */

/* More than the pinned memory that they go through, in pieces of many sizes, while the device is
 * busy: what an upload has read may be written over at once. */
static void uploads_are_taken(void **state)
{
    enum { PIECES = 60, LARGEST = 3 << 20, BUSY = 16 << 20 };
    (void)state;
    mz_device *chip = open_emulated();
    mz_queue *q = NULL;
    mz_buffer *busy = NULL, *buf = NULL;
    unsigned char *from = NULL, *back = NULL;
    size_t at = 0, sizes[PIECES];
    mz_rng rng;
    mz_rng_init(&rng, suite.seed, 5);
    assert_int_equal(mz_queue_open(&q, chip), MZ_OK);
    assert_true(q->takes_uploads);
    for (int i = 0; i < PIECES; i++) {
        sizes[i] = 1 + (size_t)mz_rng_below(&rng, i % 10 ? 200000 : LARGEST);
        at += sizes[i];
    }
    assert_int_equal(mz_buffer_new(&busy, chip, 2 * BUSY), MZ_OK);
    assert_int_equal(mz_buffer_new(&buf, chip, at), MZ_OK);
    assert_int_equal(mz_mem_new(&from, LARGEST, 1), MZ_OK);
    assert_int_equal(mz_mem_new(&back, (int64_t)at, 1), MZ_OK);
    for (int i = 0; i < 20; i++) /* it has something else to do first */
        assert_int_equal(mz_copy_bytes(q, busy, BUSY, busy, 0, BUSY), MZ_OK);
    at = 0;
    for (int i = 0; i < PIECES; i++) {
        const int64_t n = (int64_t)sizes[i];
        const mz_tensor piece = mz_view(buf, at, MZ_U8, 1, &n);
        memset(from, i + 1, sizes[i]);
        assert_int_equal(mz_upload(q, &piece, from), MZ_OK);
        memset(from, 0xEE, sizes[i]);
        at += sizes[i];
    }
    const int64_t all = (int64_t)at;
    const mz_tensor whole = mz_view(buf, 0, MZ_U8, 1, &all);
    assert_int_equal(mz_download(q, back, &whole), MZ_OK);
    assert_int_equal(mz_queue_sync(q), MZ_OK);
    const unsigned char *read = back;
    for (int i = 0; i < PIECES; read += sizes[i], i++)
        for (size_t k = 0; k < sizes[i]; k++)
            if (read[k] != i + 1) fail_msg("piece %d, byte %zu: %d", i, k, read[k]);
    mz_mem_free(back);
    mz_mem_free(from);
    mz_buffer_free(buf);
    mz_buffer_free(busy);
    mz_queue_close(q);
    mz_device_close(chip);
}

/* ---- what a chip lacks ---- */

static const mz_desc PRODUCT = {
    .kind = MZ_OP_MATMUL,
    .u.matmul = {.dtype = MZ_F32, .out_dtype = MZ_F32, .M_max = 4, .N_max = 4, .K_max = 4}};
static const mz_desc PRODUCT_BF16 = {
    .kind = MZ_OP_MATMUL,
    .u.matmul = {.dtype = MZ_BF16, .out_dtype = MZ_BF16, .M_max = 4, .N_max = 4, .K_max = 4}};
static const mz_desc ROUTER = {
    .kind = MZ_OP_ROUTER,
    .u.router = {
        .acc = MZ_F32, .T_max = 4, .E = 4, .k = 2, .groups = 1, .groups_kept = 1, .factor = 1.0}};
static const mz_desc ATTENTION = {.kind = MZ_OP_ATTENTION,
                                  .u.attention = {.dtype = MZ_F32,
                                                  .T_max = 4,
                                                  .sequences_max = 1,
                                                  .H = 1,
                                                  .G = 1,
                                                  .K = 4,
                                                  .W = 4,
                                                  .scale = 0.5,
                                                  .causal = true}};
static const mz_desc NORM = {.kind = MZ_OP_RMSNORM,
                             .u.rmsnorm = {.dtype = MZ_F32, .T_max = 4, .D = 4, .eps = 1e-6}};

static void refusals_say_why(void **state)
{
    static const struct {
        const char *soc;
        const mz_desc *desc;
        const char *why; /* NULL: it is there */
    } rows[] = {
        {"Ascend910B", &PRODUCT, NULL},
        {"Ascend910B", &PRODUCT_BF16, NULL},
        {"Ascend910B", &ROUTER, NULL},
        {"Ascend910B", &ATTENTION, NULL},
        {"Ascend910B", &NORM, NULL},
        {"Ascend950", &PRODUCT_BF16, NULL},
        {"Ascend950", &NORM, NULL},
        {"Ascend950", &ROUTER, NULL},
        {"Ascend950", &ATTENTION, NULL},
        {"Ascend910A", &NORM, "aclnnRmsNorm"},
        {"Ascend910A", &PRODUCT_BF16, "multiplies no bf16"},
        {"Ascend310P", &PRODUCT, "aclnnMm"}, /* f32 factors are not kept as they are */
        {"Ascend310P", &PRODUCT_BF16, "multiplies no bf16"},
        {"Ascend310P", &NORM, NULL},
        {"Ascend310P", &ATTENTION, "aclnnFlashAttentionScore"},
    };
    mz_queue *q = NULL;
    (void)state;
    mz_device *chip = open_emulated();
    assert_int_equal(mz_queue_open(&q, chip), MZ_OK);
    for (int i = 0; i < MZ_COUNT(rows); i++) {
        mz_support support = {0};
        if (!is_here(rows[i].soc)) continue;
        const mz_err err = mz_op_query(q, rows[i].desc, &support);
        const char *said = mz_err_last()->message;
        if (err != (rows[i].why ? MZ_ENOTSUP : MZ_OK) || (err && !strstr(said, rows[i].why)))
            print_error("%s on %s: %s\n", mz_op_name(rows[i].desc->kind), rows[i].soc, said);
        assert_int_equal(err, rows[i].why ? MZ_ENOTSUP : MZ_OK);
        if (err) assert_non_null(strstr(said, rows[i].why));
    }
    mz_queue_close(q);
    mz_device_close(chip);
}

int main(void)
{
    mzt_suite_begin(&suite, 20);
    if (mz_chip_register(&mz_chip_ref) != MZ_OK || mz_chip_register(mz_ascend_chip()) != MZ_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_reference), cmocka_unit_test(the_order_of_sums_is_certain),
        cmocka_unit_test(uploads_are_taken), cmocka_unit_test(refusals_say_why)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
