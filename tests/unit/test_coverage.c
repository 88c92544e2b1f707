/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_coverage.c - the coverage report against devices whose gaps are known. */
#include "base/mem.h"
#include "chip/coverage.h"
#include "chips/far/far.h"
#include "chips/fault/fault.h"
#include "chips/hosted/hosted.h"
#include "chips/ref/ref.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef struct report {
    mz_device *device;
    mz_coverage_row *rows;
    int n;
} report;

static void make(report *r, const char *spec, const mz_desc *descs, int n)
{
    memset(r, 0, sizeof *r);
    assert_int_equal(mz_device_open(&r->device, spec, NULL), MZ_OK);
    assert_int_equal(mz_coverage_of(r->device, descs, n, &r->rows, &r->n), MZ_OK);
}

static void drop(report *r)
{
    mz_mem_free(r->rows);
    mz_device_close(r->device);
}

static const mz_coverage_row *row(const report *r, mz_op_kind kind, mz_dtype d, mz_pass direction)
{
    const mz_coverage_row *found = NULL;
    for (int i = 0; i < r->n; i++)
        if (r->rows[i].kind == kind && r->rows[i].dtype == d && r->rows[i].direction == direction) {
            assert_null(found); /* no row twice */
            found = &r->rows[i];
        }
    return found;
}

/* 17 operators in 4 dtypes, 4 in 2; a backward row for 9 of the first and the router; 3 operators
 * with weights in 8 block types, forward only. */
enum { BLOCKS = 3 * 8, ROWS = 17 * 4 + 4 * 2 + 9 * 4 + 2 + BLOCKS };

static int count(const report *r, mz_state state)
{
    int n = 0;
    for (int i = 0; i < r->n; i++) n += r->rows[i].state == state;
    return n;
}

static void the_oracle_has_everything(void **state)
{
    (void)state;
    report r;
    make(&r, "ref", NULL, 0);
    assert_int_equal(r.n, ROWS);
    assert_int_equal(count(&r, MZ_STATE_NATIVE), ROWS);
    for (int i = 0; i < r.n; i++) {
        assert_string_equal(r.rows[i].reason, "");
        assert_true(r.rows[i].repeats);
    }
    assert_int_equal(row(&r, MZ_OP_EXPERTS, MZ_Q6_K, MZ_FORWARD)->state, MZ_STATE_NATIVE);
    assert_null(row(&r, MZ_OP_EXPERTS, MZ_Q6_K, MZ_BACKWARD));
    assert_null(row(&r, MZ_OP_SWIGLU, MZ_Q8_0, MZ_FORWARD));
    assert_null(row(&r, MZ_OP_ROUTER, MZ_BF16, MZ_FORWARD));
    assert_null(row(&r, MZ_OP_SAMPLE, MZ_F32, MZ_BACKWARD));
    drop(&r);
}

static void a_chip_that_only_multiplies(void **state)
{
    (void)state;
    report r;
    make(&r, "far:matmul,on=ref", NULL, 0);
    assert_int_equal(r.n, ROWS);
    assert_int_equal(count(&r, MZ_STATE_NATIVE), 8);
    assert_int_equal(count(&r, MZ_STATE_COMPOSED), 8 + 4 + 4); /* experts, sumsq, reduce */
    const mz_coverage_row *experts = row(&r, MZ_OP_EXPERTS, MZ_BF16, MZ_BACKWARD);
    assert_int_equal(experts->state, MZ_STATE_COMPOSED);
    assert_true(experts->blocks_host);
    assert_non_null(strstr(experts->reason, "one matmul for each expert"));
    const mz_coverage_row *none = row(&r, MZ_OP_SWIGLU, MZ_F32, MZ_FORWARD);
    assert_int_equal(none->state, MZ_STATE_NONE);
    assert_non_null(strstr(none->reason, "only multiplies"));
    drop(&r);
    make(&r, "hosted:on=ref,far:matmul,on=ref", NULL, 0);
    assert_int_equal(count(&r, MZ_STATE_NONE), BLOCKS);
    assert_int_equal(count(&r, MZ_STATE_HOST), ROWS - 8 - 16 - BLOCKS);
    drop(&r);
}

static void directions_are_told_apart(void **state)
{
    (void)state;
    report r;
    make(&r, "far:nobwd,on=ref", NULL, 0);
    assert_int_equal(row(&r, MZ_OP_ATTENTION, MZ_F32, MZ_FORWARD)->state, MZ_STATE_NATIVE);
    assert_int_equal(row(&r, MZ_OP_ATTENTION, MZ_F32, MZ_BACKWARD)->state, MZ_STATE_NONE);
    assert_int_equal(count(&r, MZ_STATE_NONE), 4 + BLOCKS);
    assert_non_null(strstr(row(&r, MZ_OP_EMBED, MZ_Q4_K, MZ_FORWARD)->reason, "Q4_K"));
    drop(&r);
}

static void a_models_needs_give_the_worst_answer(void **state)
{
    (void)state;
    mz_desc need[3];
    memset(need, 0, sizeof need);
    for (int i = 0; i < 3; i++) {
        need[i].kind = MZ_OP_MATMUL;
        need[i].u.matmul = (mz_matmul_desc){
            .dtype = MZ_F32, .out_dtype = MZ_F32, .M_max = 4, .N_max = 4, .K_max = 4};
    }
    need[1].u.matmul.packed = true; /* the oracle has no layout of its own */
    report r;
    make(&r, "ref", need, 3);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.rows[0].state, MZ_STATE_NONE);
    assert_non_null(strstr(r.rows[0].reason, "packed"));
    drop(&r);
    make(&r, "ref", need, 1);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.rows[0].state, MZ_STATE_NATIVE);
    drop(&r);
}

static void failures_leave_nothing_behind(void **state)
{
    (void)state;
    mz_device *device = NULL;
    mz_coverage_row *rows = NULL;
    int n = 0;
    assert_int_equal(mz_coverage_of(NULL, NULL, 0, &rows, &n), MZ_EINVAL);
    assert_int_equal(mz_device_open(&device, "fault:ref", NULL), MZ_OK);
    const size_t before = mz_mem_bytes_used();
    const mz_fault fault = {
        .where = MZ_FAULT_QUERY, .kind = MZ_FAULT_ERROR, .at = 3, .any_op = true};
    assert_int_equal(mz_fault_plan(device, &fault, 1), MZ_OK);
    assert_int_equal(mz_coverage_of(device, NULL, 0, &rows, &n), MZ_ECHIP);
    assert_int_equal(mz_mem_bytes_used(), before);
    bool struck = true;
    for (int at = 1; struck; at++) {
        mz_mem_fail_at(at, false);
        const mz_err err = mz_coverage_of(device, NULL, 0, &rows, &n);
        struck = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(err, struck ? MZ_ENOMEM : MZ_OK);
        if (struck) assert_null(rows);
        mz_mem_free(rows);
        rows = NULL;
        assert_int_equal(mz_mem_bytes_used(), before);
    }
    mz_device_close(device);
}

static int setup(void **state)
{
    (void)state;
    return mz_chip_register(&mz_chip_ref) == MZ_OK && mz_chip_register(mz_far_chip()) == MZ_OK &&
                   mz_chip_register(mz_hosted_chip()) == MZ_OK &&
                   mz_chip_register(mz_fault_chip()) == MZ_OK
               ? 0
               : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_has_everything),
        cmocka_unit_test(a_chip_that_only_multiplies),
        cmocka_unit_test(directions_are_told_apart),
        cmocka_unit_test(a_models_needs_give_the_worst_answer),
        cmocka_unit_test(failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
