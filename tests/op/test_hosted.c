/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_hosted.c - wrapping chips compute what the chip behind them computes, bit for bit,
 * for every operator of the table; and hosted says what it does on the host, books it, counts it.
 */
#include "chips/cpu/cpu.h"
#include "chips/far/far.h"
#include "chips/hosted/hosted.h"
#include "chips/ref/ref.h"
#include "tests/cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct bench {
    mz_device *device;
    mz_queue *q;
} bench;

static void open_bench(bench *b, const char *spec)
{
    assert_int_equal(mz_device_open(&b->device, spec, NULL), MZ_OK);
    assert_int_equal(mz_queue_open(&b->q, b->device), MZ_OK);
}

static void close_bench(bench *b)
{
    mz_queue_close(b->q);
    assert_int_equal(mz_device_bytes_used(b->device), 0);
    mz_device_close(b->device);
}

/* Bit for bit; what is composed of other operators, within their rounding. */
static void must_match(const op_case *c, const case_image *got, const case_image *want,
                       mz_state how)
{
    const mz_op_signature *s = mz_op_signature_of(c->desc.kind);
    for (int i = 0; i < MZ_ARGS_MAX; i++) {
        if (c->arg[i].fill == CASE_ABSENT || c->arg[i].fill == CASE_SAVED) continue;
        assert_int_equal(got->n[i], want->n[i]);
        if (memcmp(got->bytes[i], want->bytes[i], got->n[i]) == 0) continue;
        if (how == MZ_STATE_COMPOSED && case_agrees(c, i, got, want)) continue;
        print_error("%s in %s: %s differs\n", s->name, mz_dtype_name(mz_desc_dtype(&c->desc)),
                    s->arg[i].name);
        fail();
    }
}

/* Runs every case on both; returns how many the first device had. */
static int compare_all(const char *spec, const char *reference, mz_dtype dtype, uint64_t seed)
{
    bench b, r;
    int n = 0;
    open_bench(&b, spec);
    open_bench(&r, reference);
    for (int i = 0; i < MZ_OP_COUNT * CASE_VARIANTS; i++) {
        op_case c;
        case_image got, want;
        mz_support s = {0};
        if (!case_make(&c, (mz_op_kind)(i / CASE_VARIANTS), dtype, i % CASE_VARIANTS)) continue;
        const mz_err err = case_do(b.q, &c, seed, &got, &s);
        if (err != MZ_OK && err != MZ_ENOTSUP)
            print_error("%s on %s: %s\n", mz_op_name(c.desc.kind), spec, mz_err_last()->message);
        assert_true(err == MZ_OK || err == MZ_ENOTSUP);
        if (err == MZ_OK) {
            assert_int_equal(case_do(r.q, &c, seed, &want, NULL), MZ_OK);
            must_match(&c, &got, &want, s.state);
            case_image_clear(&want);
            n++;
        }
        case_image_clear(&got);
    }
    close_bench(&r);
    close_bench(&b);
    return n;
}

static int all_cases(mz_dtype dtype)
{
    int n = 0;
    op_case c;
    for (int i = 0; i < MZ_OP_COUNT * CASE_VARIANTS; i++)
        n += case_make(&c, (mz_op_kind)(i / CASE_VARIANTS), dtype, i % CASE_VARIANTS);
    return n;
}

static void far_is_its_inner_chip_in_every_operator(void **state)
{
    (void)state;
    static const char *const specs[] = {"far:on=ref", "far:lazy,on=ref", "far:slow=3,on=ref"};
    static const mz_dtype dtypes[] = {MZ_F32, MZ_BF16, MZ_F16, MZ_F64};
    for (int i = 0; i < MZ_COUNT(specs); i++)
        for (int d = 0; d < MZ_COUNT(dtypes); d++)
            assert_int_equal(compare_all(specs[i], "ref", dtypes[d], 1), all_cases(dtypes[d]));
    assert_true(compare_all("far:f16", "ref", MZ_F16, 2) >= 38);
}

static void hosted_has_every_operator_of_its_host(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "hosted:on=ref,far:matmul,on=ref", "hosted:on=ref,far:matmul,lazy,on=ref",
        "hosted:on=ref,far:nobwd,on=ref", "hosted:on=ref,far:f16,on=ref"};
    static const mz_dtype dtypes[] = {MZ_F32, MZ_BF16, MZ_F16, MZ_F64};
    for (int i = 0; i < MZ_COUNT(specs); i++)
        for (int d = 0; d < MZ_COUNT(dtypes); d++)
            assert_int_equal(compare_all(specs[i], "ref", dtypes[d], 4), all_cases(dtypes[d]));
}

/* The specs that users write; whatever cpu has, far has with the same bits. */
static void the_defaults_compute_on_cpu(void **state)
{
    (void)state;
    static const mz_dtype dtypes[] = {MZ_F32, MZ_BF16, MZ_F64};
    for (int d = 0; d < MZ_COUNT(dtypes); d++) {
        const int n = compare_all("cpu", "cpu", dtypes[d], 6);
        assert_true(n > 0);
        assert_int_equal(compare_all("far", "cpu", dtypes[d], 6), n);
        assert_int_equal(compare_all("hosted:far:matmul", "cpu", dtypes[d], 6), n);
    }
}

static void what_runs_where_is_said_and_counted(void **state)
{
    (void)state;
    bench b;
    op_case c;
    case_image image;
    mz_support s;
    open_bench(&b, "hosted:on=ref,far:matmul,on=ref");
    assert_true(case_make(&c, MZ_OP_MATMUL, MZ_F32, 2));
    assert_int_equal(case_do(b.q, &c, 1, &image, &s), MZ_OK);
    case_image_clear(&image);
    assert_int_equal(s.state, MZ_STATE_NATIVE);
    assert_false(s.blocks_host);
    assert_int_equal(mz_hosted_counts_of(b.device).calls, 0);
    assert_int_equal(mz_hosted_counts_of(b.device).booked_bytes, 0);

    assert_true(case_make(&c, MZ_OP_SWIGLU, MZ_F32, 0));
    assert_int_equal(case_do(b.q, &c, 1, &image, &s), MZ_OK);
    case_image_clear(&image);
    assert_int_equal(s.state, MZ_STATE_HOST);
    assert_true(s.blocks_host);
    assert_string_equal(s.reason, "on host ref: profile matmul: the chip only multiplies matrices");
    const mz_hosted_counts n = mz_hosted_counts_of(b.device);
    const int64_t rows = CASE_T * 5 * (int64_t)sizeof(float);
    assert_int_equal(n.calls, 2);
    assert_int_equal(n.down_bytes, 2 * rows + 3 * rows); /* gate, up; and then with dy */
    assert_int_equal(n.up_bytes, rows + 2 * rows);
    assert_int_equal(n.copies, CASE_T * 8); /* padded rows go one by one */
    assert_true(s.staging_bytes >= 6 * (size_t)rows);
    assert_int_equal(n.booked_bytes, s.staging_bytes);
    close_bench(&b);
}

/* A full-width gradient of a table is not what a lookup stages. */
static void tables_are_staged_by_the_rows_named(void **state)
{
    (void)state;
    bench b;
    op_case c;
    case_image image;
    open_bench(&b, "hosted:on=ref,far:matmul,on=ref");
    assert_true(case_make(&c, MZ_OP_EMBED, MZ_F32, 1));
    assert_int_equal(case_do(b.q, &c, 1, &image, NULL), MZ_OK);
    case_image_clear(&image);
    /* 7 ids and 6 rows of 5 down: one id is outside */
    int64_t down = 7 * 4 + 6 * 5 * 4;
    assert_int_equal(mz_hosted_counts_of(b.device).down_bytes, down);
    /* A scatter reads its target's rows not at all: they are overwritten whole. */
    assert_true(case_make(&c, MZ_OP_ROWS, MZ_F32, 1));
    assert_int_equal(case_do(b.q, &c, 1, &image, NULL), MZ_OK);
    case_image_clear(&image);
    down += 7 * 4 + 7 * 4 * 4;
    assert_int_equal(mz_hosted_counts_of(b.device).down_bytes, down);
    close_bench(&b);
}

static void indices_outside_their_table_are_errors(void **state)
{
    (void)state;
    static const int32_t bad[] = {5, -1, 0, 25, 6, 1, 3}, lens[] = {5, 13},
                         pages[] = {8, 2, 0, 9, 11, 5};
    bench b;
    op_case c;
    case_image image;
    open_bench(&b, "hosted:on=ref,far:matmul,on=ref");
    for (int variant = 0; variant < 2; variant++) {
        assert_true(case_make(&c, MZ_OP_ROWS, MZ_F32, variant));
        c.arg[CASE_AT(rows.idx)].list = bad;
        assert_int_equal(case_do(b.q, &c, 1, &image, NULL), MZ_ECHIP);
        assert_non_null(strstr(mz_err_last()->message, "idx points at row 25 of 25"));
        case_image_clear(&image);
    }
    assert_true(case_make(&c, MZ_OP_ROPE, MZ_F32, 0));
    c.arg[CASE_AT(rope.pos)].low = 40;
    c.arg[CASE_AT(rope.pos)].high = 50;
    assert_int_equal(case_do(b.q, &c, 1, &image, NULL), MZ_ECHIP);
    case_image_clear(&image);
    assert_true(case_make(&c, MZ_OP_DECODE, MZ_F32, 0));
    c.arg[CASE_AT(decode.lens)].list = lens;
    assert_int_equal(case_do(b.q, &c, 1, &image, NULL), MZ_ECHIP);
    case_image_clear(&image);
    assert_true(case_make(&c, MZ_OP_DECODE, MZ_F32, 0));
    c.arg[CASE_AT(decode.table)].list = pages;
    assert_int_equal(case_do(b.q, &c, 1, &image, NULL), MZ_ECHIP);
    assert_non_null(strstr(mz_err_last()->message, "table points at row 11 of 11"));
    case_image_clear(&image);
    close_bench(&b);
}

/* Running allocates nothing on the caller's side, and dx may stand on dy. */
static void in_place_and_without_allocation(void **state)
{
    (void)state;
    bench b;
    mz_op *op = NULL;
    mz_buffer *buf = NULL;
    const int64_t n = 6;
    const mz_desc desc = {.kind = MZ_OP_ELEMENTWISE,
                          .u.elementwise = {.dtype = MZ_F32, .fn = MZ_EW_ADD, .N_max = n}};
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6];
    static const float want[6] = {4, 8, 12, 16, 20, 24};
    open_bench(&b, "hosted:on=ref,far:matmul,lazy,on=ref");
    assert_int_equal(mz_bind(&op, b.q, &desc), MZ_OK);
    assert_int_equal(mz_buffer_new(&buf, b.device, sizeof x), MZ_OK);
    const mz_tensor t = mz_view(buf, 0, MZ_F32, 1, &n);
    assert_int_equal(mz_upload(b.q, &t, x), MZ_OK);
    const int64_t before = mz_mem_count();
    for (int i = 0; i < 2; i++)
        assert_int_equal(mz_forward(op, &(mz_args){.elementwise = {.y = &t, .a = &t, .b = &t}}),
                         MZ_OK);
    assert_int_equal(mz_download(b.q, y, &t), MZ_OK);
    assert_int_equal(mz_queue_sync(b.q), MZ_OK);
    assert_int_equal(mz_mem_count(), before);
    assert_memory_equal(y, want, sizeof want);
    mz_op_free(op);
    mz_buffer_free(buf);
    close_bench(&b);
}

static void what_nobody_has_is_refused_with_both_reasons(void **state)
{
    (void)state;
    bench b;
    mz_support s;
    const mz_desc desc = {.kind = MZ_OP_MATMUL,
                          .u.matmul = {.dtype = MZ_F32,
                                       .out_dtype = MZ_F32,
                                       .M_max = 1,
                                       .N_max = 1,
                                       .K_max = 1,
                                       .packed = true}};
    mz_device *device = NULL;
    open_bench(&b, "hosted:on=ref,far:on=ref");
    assert_int_equal(mz_op_query(b.q, &desc, &s), MZ_ENOTSUP);
    assert_non_null(strstr(s.reason, "packed"));
    assert_null(strstr(s.reason, "host")); /* the layout is the device's own: no host can do it */
    close_bench(&b);
    assert_int_equal(mz_device_open(&device, "hosted:", NULL), MZ_ENOTSUP);
    assert_int_equal(mz_device_open(&device, "hosted:on=,ref", NULL), MZ_ENOTSUP);
    assert_int_equal(mz_device_open(&device, "hosted:on=ref,nothing", NULL), MZ_ENOTSUP);
    assert_int_equal(mz_device_open(&device, "hosted:on=far:on=ref,ref", NULL), MZ_ENOTSUP);
    assert_null(device);
}

static void every_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    const size_t before = mz_mem_bytes_used();
    op_case c;
    assert_true(case_make(&c, MZ_OP_ROPE, MZ_F32, 0));
    bool struck = true;
    for (int n = 1; struck; n++) {
        mz_device *device = NULL;
        mz_queue *q = NULL;
        case_image image = {0};
        mz_mem_fail_at(n, false);
        const bool whole =
            mz_device_open(&device, "hosted:on=ref,far:matmul,on=ref", NULL) == MZ_OK &&
            mz_queue_open(&q, device) == MZ_OK && case_do(q, &c, 1, &image, NULL) == MZ_OK;
        struck = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        case_image_clear(&image);
        mz_queue_close(q);
        mz_device_close(device);
        assert_int_equal(whole, !struck);
        assert_int_equal(mz_mem_bytes_used(), before);
        assert_true(n < 200);
    }
}

static int setup(void **state)
{
    (void)state;
    return mz_chip_register(&mz_chip_ref) == MZ_OK && mz_chip_register(mz_far_chip()) == MZ_OK &&
                   mz_chip_register(mz_hosted_chip()) == MZ_OK &&
                   mz_chip_register(mz_cpu_chip()) == MZ_OK
               ? 0
               : -1;
}

/* The last test: none of the others did anything that far could not report. */
static void nothing_was_misused(void **state)
{
    (void)state;
    char text[256];
    mz_far_last_misuse(text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(mz_far_misuses(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(far_is_its_inner_chip_in_every_operator),
        cmocka_unit_test(hosted_has_every_operator_of_its_host),
        cmocka_unit_test(the_defaults_compute_on_cpu),
        cmocka_unit_test(what_runs_where_is_said_and_counted),
        cmocka_unit_test(tables_are_staged_by_the_rows_named),
        cmocka_unit_test(indices_outside_their_table_are_errors),
        cmocka_unit_test(in_place_and_without_allocation),
        cmocka_unit_test(what_nobody_has_is_refused_with_both_reasons),
        cmocka_unit_test(every_failed_allocation_is_an_error_without_a_leak),
        cmocka_unit_test(nothing_was_misused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
