/* SPDX-License-Identifier: Apache-2.0 */
/* tests/weigh/test_minimal_chip.c - the chip of docs/chips.md, whose blocks are compiled into this
 * program: the conformance suite, what can be composed of two operators, and a few steps of
 * training with the rest on the host. */
#include "base/log.h"
#include "chip/coverage.h"
#include "chips/cpu/cpu.h"
#include "chips/hosted/hosted.h"
#include "tests/model/tiny_train.h"
#include "tests/near.h"
#include "tests/weigh/suite.h"

#include <string.h>

extern const mz_chip mz_minimal_chip;

enum { STEPS = 4, SEQ = 9, ROWS = 4 };

static mzt_suite suite;

/* matmul, elementwise, and in f32 what is composed of them: experts, sumsq, reduce. */
static void conforms(void **state)
{
    (void)state;
    mz_device *chip = mzt_open_device("minimal", NULL, 0);
    mzt_conform_run(&suite, &(mzt_conform){.spec = "minimal", .cases = suite.cases, .least = 1},
                    chip);
    mz_device_close(chip);
}

static mz_state state_of(const mz_coverage_row *rows, int n, mz_op_kind kind, mz_pass direction)
{
    for (int i = 0; i < n; i++)
        if (rows[i].kind == kind && rows[i].dtype == MZ_F32 && rows[i].direction == direction)
            return rows[i].state;
    fail_msg("%s has no row", mz_op_name(kind));
    return MZ_STATE_NONE;
}

static void covers(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        mz_state norm;
    } SPECS[] = {{"minimal", MZ_STATE_NONE}, {"hosted:minimal", MZ_STATE_HOST}};
    for (int i = 0; i < MZ_COUNT(SPECS); i++) {
        mz_device *chip = mzt_open_device(SPECS[i].spec, NULL, 0);
        mz_coverage_row *rows = NULL;
        int n = 0;
        assert_int_equal(mz_coverage_of(chip, NULL, 0, &rows, &n), MZ_OK);
        assert_int_equal(state_of(rows, n, MZ_OP_MATMUL, MZ_BACKWARD), MZ_STATE_NATIVE);
        assert_int_equal(state_of(rows, n, MZ_OP_EXPERTS, MZ_BACKWARD), MZ_STATE_COMPOSED);
        assert_int_equal(state_of(rows, n, MZ_OP_SUMSQ, MZ_FORWARD), MZ_STATE_COMPOSED);
        assert_int_equal(state_of(rows, n, MZ_OP_RMSNORM, MZ_BACKWARD), SPECS[i].norm);
        mz_mem_free(rows);
        mz_device_close(chip);
    }
}

static const char *const TEXT = "{\"ids\":[1,5,9,13,17,21,25,29,33,0]}\n"
                                "{\"ids\":[2,4,6,8,10,12]}\n"
                                "{\"ids\":[36,30,24,18,12,6,0,1,2,3]}\n"
                                "{\"ids\":[7,7,7,8,8,8,9]}\n";

/* Losses of each step on one chip, from the same weights; gradients of two micro-batches add up. */
static void train(const char *spec, double losses[STEPS])
{
    static tiny_train w; /* large */
    const mz_config network = tiny_v3();
    mz_train_config c = tiny_settings(ROWS, ROWS / 2, SEQ);
    c.mtp_weight = 0.3;
    c.moe_bias_rate = 0.01;
    tiny_train_open(&w, spec, &network, &c, TEXT, true);
    for (int i = 0; i < STEPS; i++) {
        tiny_ok(mz_loop_step(w.loop, &w.p, &w.r));
        assert_null(w.r.why_skipped);
        losses[i] = w.r.loss;
    }
    tiny_train_close(&w);
}

static char said[2048];

static void hear(void *user, mz_log_level level, const char *line)
{
    const size_t at = strlen(said);
    (void)user;
    if (level >= MZ_LOG_INFO) snprintf(said + at, sizeof said - at, "%s\n", line);
}

/* Nothing falls back in silence, and nothing is said twice or for nothing. */
static void tells_what_is_not_its_own(void)
{
    char *host = strstr(said, "chip hosted:minimal leaves to the host: ");
    char *own = strstr(said, "chip hosted:minimal makes of its other operators: ");
    assert_non_null(host);
    assert_non_null(own);
    assert_null(strstr(strstr(said, "rmsnorm") + 1, "rmsnorm"));
    assert_null(strstr(strstr(said, "experts") + 1, "experts"));
    *strchr(host, '\n') = *strchr(own, '\n') = '\0';
    assert_non_null(strstr(host, "rmsnorm"));
    assert_non_null(strstr(host, "attention"));
    assert_null(strstr(host, "matmul"));
    assert_non_null(strstr(own, "experts"));
}

static void trains(void **state)
{
    (void)state;
    double want[STEPS], got[STEPS];
    mz_log_to(hear, NULL);
    train("cpu", want);
    assert_string_equal(said, "");
    train("hosted:minimal", got);
    mz_log_to(NULL, NULL);
    tells_what_is_not_its_own();
    for (int i = 0; i < STEPS; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-5 * want[i]))
            fail_msg("step %d: loss %.9g, on the processor %.9g", i + 1, got[i], want[i]);
    assert_true(want[STEPS - 1] < want[0]);
}

int main(void)
{
    mzt_suite_begin(&suite, 40);
    if (mz_chip_register(&mz_chip_ref) != MZ_OK || mz_chip_register(mz_cpu_chip()) != MZ_OK ||
        mz_chip_register(mz_hosted_chip()) != MZ_OK || mz_chip_register(&mz_minimal_chip) != MZ_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(conforms), cmocka_unit_test(covers),
                                       cmocka_unit_test(trains)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
