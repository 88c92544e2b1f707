/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fault/test_chip_faults.c - the fault chip fails what it is told to and nothing else; and a
 * small client, failed at its call 1, 2, 3 ... of every kind, always gets an error and leaks
 * nothing, whichever chips stand behind. */
#include "base/clock.h"
#include "chips/far/far.h"
#include "chips/fault/fault.h"
#include "chips/hosted/hosted.h"
#include "chips/ref/ref.h"
#include "tests/cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct bench {
    mz_device *device;
    mz_queue *q;
} bench;

static void open_bench(bench *b, const char *spec, const char *plan)
{
    const mz_chip_options options = {.fault_plan = plan};
    assert_int_equal(mz_device_open(&b->device, spec, &options), MZ_OK);
    assert_int_equal(mz_queue_open(&b->q, b->device), MZ_OK);
}

static void close_bench(bench *b)
{
    mz_queue_close(b->q);
    assert_int_equal(mz_device_bytes_used(b->device), 0);
    mz_device_close(b->device);
}

static mz_err swiglu(mz_queue *q, case_image *image)
{
    op_case c;
    assert_true(case_make(&c, MZ_OP_SWIGLU, MZ_F32, 1));
    return case_do(q, &c, 5, image, NULL);
}

static void plan_one(bench *b, mz_fault fault)
{
    assert_int_equal(mz_fault_plan(b->device, &fault, 1), MZ_OK);
}

static void without_a_plan_nothing_changes(void **state)
{
    (void)state;
    bench b, r;
    case_image got, want;
    open_bench(&b, "fault:far:on=ref", NULL);
    open_bench(&r, "ref", NULL);
    assert_int_equal(swiglu(b.q, &got), MZ_OK);
    assert_int_equal(swiglu(r.q, &want), MZ_OK);
    for (int i = 0; i < 3; i++) assert_memory_equal(got.bytes[i], want.bytes[i], want.n[i]);
    assert_int_equal(mz_fault_calls(b.device, MZ_FAULT_LAUNCH), 1);
    assert_int_equal(mz_fault_calls(b.device, MZ_FAULT_UPLOAD), 6); /* all that the case places */
    assert_int_equal(mz_fault_struck(b.device), 0);
    case_image_clear(&got);
    case_image_clear(&want);
    close_bench(&r);
    close_bench(&b);
}

static void an_error_comes_at_once_and_a_late_one_at_the_sync(void **state)
{
    (void)state;
    bench b;
    op_case c;
    case_image image;
    mz_op *op = NULL;
    const mz_fault error = {
        .where = MZ_FAULT_LAUNCH, .kind = MZ_FAULT_ERROR, .at = 1, .op = MZ_OP_SWIGLU};
    open_bench(&b, "fault:far:on=ref", NULL);
    plan_one(&b, error);
    assert_int_equal(swiglu(b.q, &image), MZ_ECHIP);
    assert_non_null(strstr(mz_err_last()->message, "injected: error at launch swiglu 1"));
    case_image_clear(&image);

    mz_fault late = error;
    late.kind = MZ_FAULT_LATE;
    late.at = 2;
    plan_one(&b, late);
    assert_true(case_make(&c, MZ_OP_SWIGLU, MZ_F32, 1));
    assert_int_equal(mz_bind(&op, b.q, &c.desc), MZ_OK);
    mz_buffer *buf = NULL;
    assert_int_equal(mz_buffer_new(&buf, b.device, 64), MZ_OK);
    const mz_tensor t = mz_view(buf, 0, MZ_F32, 2, (const int64_t[]){1, 5});
    const mz_tensor y = mz_view(buf, 32, MZ_F32, 2, (const int64_t[]){1, 5});
    for (int call = 0; call < 3; call++)
        assert_int_equal(mz_forward(op, &(mz_args){.swiglu = {.y = &y, .gate = &t, .up = &t}}),
                         MZ_OK);
    assert_int_equal(mz_queue_sync(b.q), MZ_ECHIP);
    assert_non_null(strstr(mz_err_last()->message, "late error of launch swiglu 2"));
    assert_int_equal(mz_queue_sync(b.q), MZ_OK);
    mz_op_free(op);
    mz_buffer_free(buf);
    close_bench(&b);
}

static void only_the_named_operator_counts(void **state)
{
    (void)state;
    bench b;
    case_image image;
    open_bench(&b, "fault:ref", NULL);
    plan_one(&b,
             (mz_fault){.where = MZ_FAULT_BIND, .kind = MZ_FAULT_OOM, .at = 1, .op = MZ_OP_MATMUL});
    assert_int_equal(swiglu(b.q, &image), MZ_OK);
    case_image_clear(&image);
    assert_int_equal(mz_fault_struck(b.device), 0);
    op_case c;
    assert_true(case_make(&c, MZ_OP_MATMUL, MZ_F32, 0));
    assert_int_equal(case_do(b.q, &c, 1, &image, NULL), MZ_ENOMEM);
    assert_int_equal(mz_fault_struck(b.device), 1);
    case_image_clear(&image);
    close_bench(&b);
}

/* What differs between the spoiled output and the right one: its one place, as bits. */
static void spoiled(mz_fault fault, size_t *place, uint32_t *got_bits, uint32_t *want_bits)
{
    bench b, r;
    case_image got, want;
    int n = 0;
    open_bench(&b, "fault:far:on=ref", NULL);
    open_bench(&r, "ref", NULL);
    plan_one(&b, fault);
    assert_int_equal(swiglu(b.q, &got), MZ_OK);
    assert_int_equal(swiglu(r.q, &want), MZ_OK);
    for (size_t i = 0; i < want.n[0] / 4; i++) {
        uint32_t x, y;
        memcpy(&x, got.bytes[0] + 4 * i, 4);
        memcpy(&y, want.bytes[0] + 4 * i, 4);
        if (x == y) continue;
        *place = i;
        *got_bits = x;
        *want_bits = y;
        n++;
    }
    assert_int_equal(n, 1);
    case_image_clear(&got);
    case_image_clear(&want);
    close_bench(&r);
    close_bench(&b);
}

static void nan_and_flip_spoil_one_element(void **state)
{
    (void)state;
    size_t place = 0;
    uint32_t got = 0, want = 0;
    mz_fault fault = {
        .where = MZ_FAULT_LAUNCH, .kind = MZ_FAULT_NAN, .at = 1, .any_op = true, .element = 6};
    spoiled(fault, &place, &got, &want);
    assert_int_equal(place, 5 + 3 + 1); /* element 6 of rows of 5, padded by 3 */
    assert_true(isnan(mz_f32_from_bits(got)));
    fault.kind = MZ_FAULT_FLIP;
    fault.bit = 30;
    spoiled(fault, &place, &got, &want);
    assert_int_equal(place, 5 + 3 + 1);
    assert_int_equal(got ^ want, (uint32_t)1 << 30);
}

static void a_hang_takes_its_time(void **state)
{
    (void)state;
    bench b;
    case_image image;
    open_bench(&b, "fault:ref", NULL);
    plan_one(
        &b,
        (mz_fault){
            .where = MZ_FAULT_SYNC, .kind = MZ_FAULT_HANG, .at = 2, .any_op = true, .ms = 60.0});
    const int64_t start = mz_clock_ns();
    assert_int_equal(swiglu(b.q, &image), MZ_OK);
    assert_true(mz_clock_ns() - start >= 60000000);
    assert_int_equal(mz_fault_struck(b.device), 1);
    case_image_clear(&image);
    close_bench(&b);
}

/* ---- plans in files ---- */

static char plan_path[64];

static void write_plan(const char *json)
{
    FILE *f = fopen(plan_path, "w"); /* not durable: a thousand plans are written */
    assert_non_null(f);
    assert_true(fputs(json, f) >= 0 && fclose(f) == 0);
}

static void a_plan_comes_from_a_file(void **state)
{
    (void)state;
    bench b;
    case_image image;
    write_plan("[{\"at\": 2, \"where\": \"launch\", \"op\": \"swiglu\", \"kind\": \"error\"},"
               " {\"at\": 1, \"where\": \"download\", \"kind\": \"hang_ms\", \"ms\": 1}]");
    open_bench(&b, "fault:ref", plan_path);
    assert_int_equal(swiglu(b.q, &image), MZ_OK);
    case_image_clear(&image);
    assert_int_equal(swiglu(b.q, &image), MZ_ECHIP);
    case_image_clear(&image);
    assert_int_equal(swiglu(b.q, &image), MZ_OK);
    case_image_clear(&image);
    assert_int_equal(mz_fault_struck(b.device), 2);
    close_bench(&b);
}

static void plans_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *field;
    } bad[] = {
        {"[{\"where\": \"launch\", \"kind\": \"error\"}]", "at"},
        {"[{\"at\": 0, \"where\": \"launch\", \"kind\": \"error\"}]", "at"},
        {"[{\"at\": 1.5, \"where\": \"launch\", \"kind\": \"error\"}]", "at"},
        {"[{\"at\": 1, \"where\": \"lunch\", \"kind\": \"error\"}]", "where"},
        {"[{\"at\": 1, \"where\": \"launch\", \"kind\": \"sad\"}]", "kind"},
        {"[{\"at\": 1, \"where\": \"launch\", \"kind\": \"oom\"}]", "kind"},
        {"[{\"at\": 1, \"where\": \"sync\", \"kind\": \"late\"}]", "kind"},
        {"[{\"at\": 1, \"where\": \"upload\", \"kind\": \"flip\"}]", "kind"},
        {"[{\"at\": 1, \"where\": \"launch\", \"kind\": \"error\", \"op\": \"warp\"}]", "op"},
        {"[{\"at\": 1, \"where\": \"sync\", \"kind\": \"error\", \"op\": \"rope\"}]", "op"},
        {"[{\"at\": 1, \"where\": \"sync\", \"kind\": \"hang_ms\", \"ms\": -1}]", "ms"},
        {"[{\"at\": 1, \"where\": \"sync\", \"kind\": \"error\", \"when\": 2}]", "when"},
        {"[{\"at\": 1, \"where\": \"sync\", \"kind\": \"error\", \"for_good\": 2}]", "for_good"},
        {"[7]", "entry"},
        {"{}", ""},
    };
    const mz_chip_options options = {.fault_plan = plan_path};
    const size_t before = mz_mem_bytes_used();
    mz_device *device = NULL;
    for (int i = 0; i < MZ_COUNT(bad); i++) {
        write_plan(bad[i].json);
        assert_int_equal(mz_device_open(&device, "fault:ref", &options), MZ_ECONFIG);
        assert_string_equal(mz_err_last()->field, bad[i].field);
        assert_string_equal(mz_err_last()->file, plan_path);
    }
    write_plan("[{");
    assert_int_equal(mz_device_open(&device, "fault:ref", &options), MZ_ECORRUPT);
    unlink(plan_path);
    assert_int_equal(mz_device_open(&device, "fault:ref", &options), MZ_EIO);
    assert_int_equal(mz_device_open(&device, "fault:", NULL), MZ_ENOTSUP);
    assert_int_equal(mz_device_open(&device, "fault:nothing", NULL), MZ_ENOTSUP);
    assert_null(device);
    assert_int_equal(mz_mem_bytes_used(), before);
}

/* ---- every call in turn ---- */

/* A client that opens, runs two operators both ways, and cleans up whatever happens. */
static mz_err client(const char *spec)
{
    const mz_chip_options options = {.fault_plan = plan_path};
    mz_device *device = NULL;
    mz_queue *q = NULL;
    op_case norm, product;
    case_image a = {0}, b = {0};
    assert_true(case_make(&norm, MZ_OP_RMSNORM, MZ_F32, 0));
    assert_true(case_make(&product, MZ_OP_MATMUL, MZ_F32, 0));
    mz_err err = mz_device_open(&device, spec, &options);
    if (err == MZ_OK) err = mz_queue_open(&q, device);
    if (err == MZ_OK) err = case_do(q, &norm, 1, &a, NULL);
    if (err == MZ_OK) err = case_do(q, &product, 1, &b, NULL);
    case_image_clear(&a);
    case_image_clear(&b);
    mz_queue_close(q);
    if (device) assert_int_equal(mz_device_bytes_used(device), 0);
    mz_device_close(device);
    return err;
}

/* Until the client gets through; returns how many calls could be failed. */
static int fail_each(const char *spec, const char *where, const char *kind, mz_err want)
{
    const size_t before = mz_mem_bytes_used();
    for (int n = 1; n < 500; n++) {
        char json[128];
        snprintf(json, sizeof json, "[{\"at\": %d, \"where\": \"%s\", \"kind\": \"%s\"}]", n, where,
                 kind);
        write_plan(json);
        const mz_err err = client(spec);
        assert_int_equal(mz_mem_bytes_used(), before);
        if (err == MZ_OK) return n - 1;
        if (err != want) print_error("%s: %s\n", json, mz_err_last()->message);
        assert_int_equal(err, want);
        assert_non_null(strstr(mz_err_last()->message, "injected"));
    }
    fail();
    return 0;
}

static void every_call_failed_in_turn_is_an_error_without_a_leak(void **state)
{
    (void)state;
    static const char *const specs[] = {"fault:ref", "fault:far:on=ref",
                                        "hosted:on=ref,fault:far:matmul,on=ref",
                                        "fault:hosted:on=ref,far:matmul,on=ref"};
    static const struct {
        const char *where, *kind;
        mz_err want;
    } what[] = {{"alloc", "oom", MZ_ENOMEM},    {"queue", "error", MZ_ECHIP},
                {"upload", "error", MZ_ECHIP},  {"download", "error", MZ_ECHIP},
                {"query", "error", MZ_ECHIP},   {"bind", "oom", MZ_ENOMEM},
                {"launch", "error", MZ_ECHIP},  {"sync", "error", MZ_ECHIP},
                {"launch", "late", MZ_ECHIP},   {"upload", "late", MZ_ECHIP},
                {"download", "late", MZ_ECHIP}, {"bind", "error", MZ_ECHIP}};
    for (int i = 0; i < MZ_COUNT(specs); i++)
        for (int k = 0; k < MZ_COUNT(what); k++)
            assert_true(fail_each(specs[i], what[k].where, what[k].kind, what[k].want) > 0);
}

static void a_plan_is_for_the_outermost(void **state)
{
    (void)state;
    bench b;
    case_image image;
    write_plan("[{\"at\": 1, \"where\": \"launch\", \"kind\": \"nan\"}]");
    open_bench(&b, "fault:fault:ref", plan_path);
    assert_int_equal(swiglu(b.q, &image), MZ_OK);
    assert_int_equal(mz_fault_calls(b.device, MZ_FAULT_UPLOAD), 6); /* the NaN is its own */
    case_image_clear(&image);
    assert_int_equal(mz_fault_plan(b.device, NULL, 0), MZ_OK);
    assert_int_equal(swiglu(b.q, &image), MZ_OK);
    case_image_clear(&image);
    close_bench(&b);
    write_plan("[{\"at\": 1, \"where\": \"queue\", \"kind\": \"error\"}]");
    const mz_chip_options options = {.fault_plan = plan_path};
    const size_t before = mz_mem_bytes_used();
    mz_queue *q = NULL;
    /* hosted hands its plan on: the queue behind it fails, behind an outer fault chip too */
    assert_int_equal(mz_device_open(&b.device, "hosted:on=ref,fault:ref", &options), MZ_OK);
    assert_int_equal(mz_queue_open(&q, b.device), MZ_ECHIP);
    mz_device_close(b.device);
    assert_int_equal(mz_device_open(&b.device, "fault:fault:ref", &options), MZ_OK);
    assert_int_equal(mz_queue_open(&q, b.device), MZ_ECHIP);
    assert_int_equal(mz_queue_open(&q, b.device), MZ_OK); /* struck once, by the outer one */
    mz_queue_close(q);
    mz_device_close(b.device);
    assert_int_equal(mz_mem_bytes_used(), before);
}

static void every_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    const size_t before = mz_mem_bytes_used();
    bool struck = true;
    for (int n = 1; struck; n++) {
        mz_device *device = NULL;
        mz_queue *q = NULL;
        case_image image = {0};
        mz_mem_fail_at(n, false);
        const bool whole = mz_device_open(&device, "fault:far:on=ref", NULL) == MZ_OK &&
                           mz_queue_open(&q, device) == MZ_OK && swiglu(q, &image) == MZ_OK;
        struck = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(whole, !struck);
        case_image_clear(&image);
        mz_queue_close(q);
        mz_device_close(device);
        assert_int_equal(mz_mem_bytes_used(), before);
        assert_true(n < 200);
    }
}

static void nothing_was_misused(void **state)
{
    (void)state;
    char text[256];
    mz_far_last_misuse(text, sizeof text);
    assert_string_equal(text, "");
}

static int setup(void **state)
{
    (void)state;
    snprintf(plan_path, sizeof plan_path, "/tmp/mizan-fault-plan-%ld.json", (long)getpid());
    return mz_chip_register(&mz_chip_ref) == MZ_OK && mz_chip_register(mz_far_chip()) == MZ_OK &&
                   mz_chip_register(mz_hosted_chip()) == MZ_OK &&
                   mz_chip_register(mz_fault_chip()) == MZ_OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    unlink(plan_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_plan_nothing_changes),
        cmocka_unit_test(an_error_comes_at_once_and_a_late_one_at_the_sync),
        cmocka_unit_test(only_the_named_operator_counts),
        cmocka_unit_test(nan_and_flip_spoil_one_element),
        cmocka_unit_test(a_hang_takes_its_time),
        cmocka_unit_test(a_plan_comes_from_a_file),
        cmocka_unit_test(plans_that_make_no_sense_are_refused),
        cmocka_unit_test(every_call_failed_in_turn_is_an_error_without_a_leak),
        cmocka_unit_test(a_plan_is_for_the_outermost),
        cmocka_unit_test(every_failed_allocation_is_an_error_without_a_leak),
        cmocka_unit_test(nothing_was_misused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
