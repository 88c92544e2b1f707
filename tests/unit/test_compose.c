/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_compose.c - operators taken out of the oracle's table, built again from the rest,
 * against the oracle: every dtype, forward and backward; also behind far, which fills workspaces
 * and outputs with NaN. */
#include "chips/far/far.h"
#include "chips/ref/ref.h"
#include "tests/cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- a chip that is the oracle without what `lacks` says ---- */

static bool (*lacks)(const mz_desc *desc);

static mz_err less_query(const mz_queue *q, const mz_desc *desc, mz_support *s)
{
    if (lacks(desc)) return MZ_FAIL(MZ_ENOTSUP, "taken out");
    MZ_TRY(mz_chip_ref.op[desc->kind].query(q, desc, s));
    s->workspace_bytes += 200; /* nobody needs it, but it must not meet a composition's scratch */
    return MZ_OK;
}

/* Parts are called past the front doors: here their calls are held to the same contract. */
static mz_err less_forward(mz_op *op, const mz_args *args)
{
    MZ_TRY(mz_check_args(&op->desc, MZ_FORWARD, op->support.saved_bytes, args));
    return mz_chip_ref.op[op->desc.kind].forward(op, args);
}

static mz_err less_backward(mz_op *op, const mz_args *args)
{
    MZ_TRY(mz_check_args(&op->desc, MZ_BACKWARD, op->support.saved_bytes, args));
    return mz_chip_ref.op[op->desc.kind].backward(op, args);
}

static const mz_chip *less_chip(void)
{
    static mz_chip less;
    less = mz_chip_ref;
    less.name = "less";
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        less.op[i].query = less_query;
        less.op[i].forward = less_forward;
        if (less.op[i].backward) less.op[i].backward = less_backward;
    }
    return &less;
}

static bool is_plain(const mz_desc *desc)
{
    const mz_matmul_desc *d = &desc->u.matmul;
    return desc->kind == MZ_OP_MATMUL && !d->batch_max && !d->bias && !d->accumulate;
}

static bool lacks_all_but_plain_matmul(const mz_desc *desc)
{
    return desc->kind == MZ_OP_MATMUL && !is_plain(desc);
}

static mz_op_kind taken;

static bool lacks_taken(const mz_desc *desc)
{
    return desc->kind == taken;
}

/* A chip with plain matmuls and what moves and maps numbers. */
static bool lacks_most(const mz_desc *desc)
{
    return !is_plain(desc) && desc->kind != MZ_OP_ELEMENTWISE && desc->kind != MZ_OP_ROWS &&
           desc->kind != MZ_OP_CAST;
}

static bool lacks_everything(const mz_desc *desc)
{
    (void)desc;
    return true;
}

typedef struct bench {
    mz_device *device, *ref_device;
    mz_queue *q, *ref;
} bench;

static void open_bench(bench *b, const char *spec)
{
    assert_int_equal(mz_device_open(&b->device, spec, NULL), MZ_OK);
    assert_int_equal(mz_queue_open(&b->q, b->device), MZ_OK);
    assert_int_equal(mz_device_open(&b->ref_device, "ref", NULL), MZ_OK);
    assert_int_equal(mz_queue_open(&b->ref, b->ref_device), MZ_OK);
}

static void close_bench(bench *b)
{
    assert_int_equal(b->q->n_ops, 0);
    mz_queue_close(b->q);
    assert_int_equal(mz_device_bytes_used(b->device), 0);
    mz_device_close(b->device);
    mz_queue_close(b->ref);
    mz_device_close(b->ref_device);
}

/* Runs every variant of a kind that is composed; returns how many were. */
static int compare(bench *b, mz_op_kind kind, mz_dtype dtype)
{
    int n = 0;
    for (int variant = 0; variant < CASE_VARIANTS; variant++) {
        op_case c;
        case_image got, want;
        mz_support s = {0};
        if (!case_make(&c, kind, dtype, variant)) continue;
        if (kind == MZ_OP_EMBED) c.desc.u.embed.backward = false;
        const mz_err err = case_do(b->q, &c, 7, &got, &s);
        if (err != MZ_ENOTSUP) {
            if (err != MZ_OK) print_error("%s: %s\n", mz_op_name(kind), mz_err_last()->message);
            assert_int_equal(err, MZ_OK);
            assert_int_equal(s.state, MZ_STATE_COMPOSED);
            assert_true(s.reason[0] != '\0');
            assert_int_equal(s.blocks_host, kind == MZ_OP_EXPERTS);
            assert_int_equal(case_do(b->ref, &c, 7, &want, NULL), MZ_OK);
            for (int i = 0; i < MZ_ARGS_MAX; i++)
                if (c.arg[i].fill != CASE_ABSENT && c.arg[i].fill != CASE_SAVED)
                    assert_true(case_agrees(&c, i, &got, &want));
            case_image_clear(&want);
            n++;
        }
        case_image_clear(&got);
    }
    return n;
}

static const mz_dtype DTYPES[] = {MZ_F32, MZ_BF16, MZ_F16, MZ_F64};
static const char *const SPECS[] = {"less", "far:on=less", "far:lazy,on=less"};

static void matmul_from_plain_matmuls(void **state)
{
    (void)state;
    lacks = lacks_all_but_plain_matmul;
    for (int i = 0; i < MZ_COUNT(SPECS); i++) {
        bench b;
        open_bench(&b, SPECS[i]);
        for (int d = 0; d < MZ_COUNT(DTYPES); d++)
            assert_int_equal(compare(&b, MZ_OP_MATMUL, DTYPES[d]), 3);
        close_bench(&b);
    }
}

/* Accumulation into a short dtype: rounded once, after everything is added. */
static void accumulation_and_bias_meet_in_a_short_dtype(void **state)
{
    (void)state;
    lacks = lacks_all_but_plain_matmul;
    for (int d = 0; d < MZ_COUNT(DTYPES); d++) {
        bench b;
        op_case c;
        case_image got, want;
        open_bench(&b, "far:on=less");
        assert_true(case_make(&c, MZ_OP_MATMUL, DTYPES[d], 0));
        c.desc.u.matmul.backward = false;
        c.desc.u.matmul.accumulate = true;
        assert_int_equal(case_do(b.q, &c, 3, &got, NULL), MZ_OK);
        assert_int_equal(case_do(b.ref, &c, 3, &want, NULL), MZ_OK);
        assert_true(case_agrees(&c, CASE_AT(matmul.c), &got, &want));
        case_image_clear(&got);
        case_image_clear(&want);
        close_bench(&b);
    }
}

static const struct {
    mz_op_kind kind;
    int variants;
} COMPOSED[] = {{MZ_OP_EXPERTS, 2},   {MZ_OP_ROPE, 3},  {MZ_OP_EMBED, 3},
                {MZ_OP_UNPERMUTE, 2}, {MZ_OP_SUMSQ, 1}, {MZ_OP_REDUCE, 2}};

static void compare_table(bool (*without)(const mz_desc *))
{
    for (int i = 0; i < MZ_COUNT(SPECS); i++) {
        bench b;
        lacks = without;
        open_bench(&b, SPECS[i]);
        for (int k = 0; k < MZ_COUNT(COMPOSED) * MZ_COUNT(DTYPES); k++) {
            const mz_dtype d = DTYPES[k % MZ_COUNT(DTYPES)];
            taken = COMPOSED[k / MZ_COUNT(DTYPES)].kind;
            const bool never = taken == MZ_OP_ROPE && d == MZ_F64;
            assert_int_equal(compare(&b, taken, d),
                             never ? 0 : COMPOSED[k / MZ_COUNT(DTYPES)].variants);
        }
        close_bench(&b);
    }
}

static void each_from_the_rest_of_the_table(void **state)
{
    (void)state;
    compare_table(lacks_taken);
}

static void all_from_plain_matmul_and_maps(void **state)
{
    (void)state;
    compare_table(lacks_most);
}

static void what_has_no_parts_stays_unsupported(void **state)
{
    (void)state;
    bench b;
    lacks = lacks_everything;
    open_bench(&b, "less");
    for (int i = 0; i < MZ_OP_COUNT; i++) {
        op_case c;
        mz_support s;
        assert_true(case_make(&c, (mz_op_kind)i, MZ_F32, 0));
        assert_int_equal(mz_op_query(b.q, &c.desc, &s), MZ_ENOTSUP);
        assert_string_equal(s.reason, "taken out");
        assert_int_equal(s.state, MZ_STATE_NONE);
    }
    op_case c;
    mz_support s;
    lacks = lacks_taken;
    taken = MZ_OP_EMBED;
    assert_true(case_make(&c, MZ_OP_EMBED, MZ_F32, 0)); /* its backward cannot be composed */
    assert_int_equal(mz_op_query(b.q, &c.desc, &s), MZ_ENOTSUP);
    close_bench(&b);
}

/* In place, and wrong offsets noticed by the host that reads them. */
static void offsets_that_make_no_sense_are_errors(void **state)
{
    (void)state;
    static const int32_t bad[][5] = {
        {0, 3, 2, 5, 7}, {0, 3, 3, 5, 8}, {1, 3, 3, 5, 7}, {0, 3, 3, 5, 6}};
    bench b;
    lacks = lacks_taken;
    taken = MZ_OP_EXPERTS;
    open_bench(&b, "far:on=less");
    for (int i = 0; i < MZ_COUNT(bad); i++) {
        op_case c;
        case_image image;
        assert_true(case_make(&c, MZ_OP_EXPERTS, MZ_F32, 0));
        c.arg[CASE_AT(experts.offsets)].list = bad[i];
        assert_int_equal(case_do(b.q, &c, 1, &image, NULL), MZ_ECHIP);
        case_image_clear(&image);
    }
    close_bench(&b);
}

static void every_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    const size_t before = mz_mem_bytes_used();
    lacks = lacks_most;
    for (int k = 0; k < MZ_COUNT(COMPOSED); k++) {
        bool struck = true;
        op_case c;
        if (!case_make(&c, COMPOSED[k].kind, MZ_F32, 1))
            assert_true(case_make(&c, COMPOSED[k].kind, MZ_F32, 0));
        for (int n = 1; struck; n++) {
            mz_device *device = NULL;
            mz_queue *q = NULL;
            mz_op *op = NULL;
            assert_int_equal(mz_device_open(&device, "less", NULL), MZ_OK);
            assert_int_equal(mz_queue_open(&q, device), MZ_OK);
            mz_mem_fail_at(n, false);
            const mz_err err = mz_op_bind(&op, q, &c.desc);
            struck = mz_mem_has_failed();
            mz_mem_fail_at(0, false);
            assert_int_equal(err, struck ? MZ_ENOMEM : MZ_OK);
            mz_op_free(op);
            mz_queue_close(q);
            mz_device_close(device);
            assert_int_equal(mz_mem_bytes_used(), before);
            assert_true(n < 100);
        }
    }
}

static void nothing_was_misused(void **state)
{
    (void)state;
    assert_int_equal(mz_far_misuses(), 0);
}

static int setup(void **state)
{
    (void)state;
    return mz_chip_register(&mz_chip_ref) == MZ_OK && mz_chip_register(mz_far_chip()) == MZ_OK &&
                   mz_chip_register(less_chip()) == MZ_OK
               ? 0
               : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_from_plain_matmuls),
        cmocka_unit_test(accumulation_and_bias_meet_in_a_short_dtype),
        cmocka_unit_test(each_from_the_rest_of_the_table),
        cmocka_unit_test(all_from_plain_matmul_and_maps),
        cmocka_unit_test(what_has_no_parts_stays_unsupported),
        cmocka_unit_test(offsets_that_make_no_sense_are_errors),
        cmocka_unit_test(every_failed_allocation_is_an_error_without_a_leak),
        cmocka_unit_test(nothing_was_misused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
