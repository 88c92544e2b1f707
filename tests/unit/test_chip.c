/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_chip.c - the chip core on a chip that is the oracle with its sync, launches and
 * answers under the test's control: registry, devices, buffers, ask-bind-run, fault reports. */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "chip/element.h"
#include "chip/profile.h"
#include "chips/ref/ref.h"
#include "tests/near.h"
#include "tests/scratch.h"

#include <jansson.h>

#include <string.h>

static mz_chip fake;
static struct {
    int syncs;
    mz_err next_sync, next_launch;
    bool is_workspace_alive_at_sync;
    const mz_buffer *watched;
    size_t workspace_bytes;
} control;

static mz_err fake_sync(mz_queue *q)
{
    control.syncs++;
    control.is_workspace_alive_at_sync = q->workspace == control.watched;
    const mz_err err = control.next_sync;
    control.next_sync = MZ_OK;
    return err == MZ_OK ? MZ_OK : MZ_FAIL(err, "driver error 507: vector core exception");
}

static mz_err fake_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    (void)desc;
    support->workspace_bytes = control.workspace_bytes;
    return MZ_OK;
}

static mz_err fake_forward(mz_op *op, const mz_args *args)
{
    (void)op;
    (void)args;
    const mz_err err = control.next_launch;
    control.next_launch = MZ_OK;
    return err == MZ_OK ? MZ_OK : MZ_FAIL(err, "launch refused");
}

static mz_err refuse_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    (void)desc;
    (void)support;
    return MZ_FAIL(MZ_ENOTSUP, "only on Tuesdays");
}

static int make_fake(void **state)
{
    (void)state;
    fake = mz_chip_ref;
    fake.name = "fake";
    fake.queue_sync = fake_sync;
    fake.op[MZ_OP_SUMSQ] = (mz_slot){.query = fake_query, .forward = fake_forward};
    fake.op[MZ_OP_FINITE] = (mz_slot){.query = fake_query, .forward = fake_forward};
    fake.op[MZ_OP_SAMPLE] = (mz_slot){0};
    fake.op[MZ_OP_DECODE].query = refuse_query;
    fake.op[MZ_OP_PERMUTE].backward = NULL;
    assert_int_equal(mz_chip_register(&fake), MZ_OK);
    return 0;
}

static mz_queue *open_queue(const mz_chip_options *options)
{
    mz_device *device = NULL;
    mz_queue *q = NULL;
    memset(&control, 0, sizeof control);
    assert_int_equal(mz_device_open(&device, "fake", options), MZ_OK);
    assert_int_equal(mz_queue_open(&q, device), MZ_OK);
    return q;
}

static void close_queue(mz_queue *q)
{
    mz_device *device = q->device;
    mz_queue_close(q);
    assert_int_equal(mz_device_bytes_used(device), 0);
    mz_device_close(device);
}

static const mz_desc SUMSQ = {.kind = MZ_OP_SUMSQ, .u.sumsq = {.dtype = MZ_F32, .N_max = 4}};
static const mz_desc FINITE = {.kind = MZ_OP_FINITE, .u.finite = {.dtype = MZ_F32, .N_max = 4}};

static mz_op *bind(mz_queue *q, const mz_desc *d)
{
    mz_op *op = NULL;
    assert_int_equal(mz_op_bind(&op, q, d), MZ_OK);
    return op;
}

static void bad_tables_are_refused(void **state)
{
    (void)state;
    static mz_chip bad;
    const int count = mz_chip_count();
    bad = fake, bad.name = "bad", bad.abi++;
    assert_int_equal(mz_chip_register(&bad), MZ_EINVAL);
    bad = fake, bad.name = "bad", bad.bytes--;
    assert_int_equal(mz_chip_register(&bad), MZ_EINVAL);
    bad = fake, bad.name = "bad", bad.download = NULL;
    assert_int_equal(mz_chip_register(&bad), MZ_EINVAL);
    bad = fake, bad.name = "bad", bad.op[MZ_OP_ROPE].query = NULL;
    assert_int_equal(mz_chip_register(&bad), MZ_EINVAL);
    bad = fake, bad.name = "b:d";
    assert_int_equal(mz_chip_register(&bad), MZ_EINVAL);
    bad = fake; /* the name again */
    assert_int_equal(mz_chip_register(&bad), MZ_EINVAL);
    assert_int_equal(mz_chip_count(), count);
    assert_ptr_equal(mz_chip_find("fake"), &fake);
    assert_null(mz_chip_find("bad"));
    assert_null(mz_chip_get(-1));
    assert_null(mz_chip_get(count));
}

static void devices_open_by_spec(void **state)
{
    (void)state;
    mz_device *device = NULL;
    const size_t before = mz_mem_bytes_used();
    assert_int_equal(mz_device_open(&device, "fakee", NULL), MZ_ENOTSUP);
    assert_non_null(strstr(mz_err_last()->message, "fakee"));
    assert_int_equal(mz_device_open(&device, "fake:variant", NULL), MZ_ENOTSUP); /* open says so */
    assert_int_equal(mz_device_open(&device, ":", NULL), MZ_EINVAL);
    assert_int_equal(mz_device_open(&device, "", NULL), MZ_EINVAL);
    assert_null(device);
    assert_int_equal(mz_mem_bytes_used(), before);
    assert_int_equal(mz_device_open(&device, "fake:", NULL), MZ_OK);
    assert_string_equal(device->info.name, "fake:");
    mz_device_close(device);
    mz_device_close(NULL);
    mz_queue_close(NULL);
    mz_op_free(NULL);
    mz_buffer_free(NULL);
}

static void memory_is_counted(void **state)
{
    (void)state;
    mz_queue *q = open_queue(NULL);
    mz_buffer *a = NULL, *b = NULL, *none = NULL;
    assert_int_equal(mz_buffer_new(&a, q->device, 1000), MZ_OK);
    assert_int_equal(mz_buffer_new(&b, q->device, 500), MZ_OK);
    assert_int_equal(mz_buffer_new(&none, q->device, 0), MZ_OK);
    assert_null(none->host);
    assert_int_equal(mz_device_bytes_used(q->device), 1500);
    mz_buffer_free(a);
    assert_int_equal(mz_device_bytes_used(q->device), 500);
    assert_int_equal(mz_device_bytes_peak(q->device), 1500);
    const size_t used = mz_device_bytes_used(q->device);
    mz_device_restart_peak(q->device);
    assert_int_equal(mz_device_bytes_peak(q->device), used);
    a = NULL;
    assert_int_equal(mz_buffer_new(&a, q->device, SIZE_MAX), MZ_EINVAL);
    assert_null(a);
    mz_guard_enter();
    if (mz_guard_is_on()) assert_int_equal(mz_buffer_new(&a, q->device, 8), MZ_EINVAL);
    mz_guard_leave();
    mz_buffer_free(b);
    mz_buffer_free(none);
    close_queue(q);
}

static void copies_are_checked(void **state)
{
    (void)state;
    mz_queue *q = open_queue(NULL);
    mz_buffer *buf = NULL;
    const float in[4] = {1, 2, 3, 4};
    float out[4] = {0};
    assert_int_equal(mz_buffer_new(&buf, q->device, 32), MZ_OK);
    mz_tensor t = mz_view(buf, 16, MZ_F32, 1, MZT_DIMS(4)), bad = t;
    assert_int_equal(mz_upload(q, &t, in), MZ_OK);
    assert_int_equal(mz_copy_bytes(q, buf, 0, buf, 20, 8), MZ_OK);
    bad.offset_bytes = 0;
    assert_int_equal(mz_download(q, out, &bad), MZ_OK);
    assert_true(mzt_near((double)out[0], 2.0, 0.0) && mzt_near((double)out[1], 3.0, 0.0));
    assert_int_equal(mz_zero(q, &t), MZ_OK);
    assert_true(mzt_near(mz_at(&t, 3), 0.0, 0.0) && mzt_near(mz_at(&bad, 0), 2.0, 0.0));
    bad = t, bad.offset_bytes = 20;
    assert_int_equal(mz_upload(q, &bad, in), MZ_EINVAL);
    bad = t, bad.offset_bytes = SIZE_MAX - 3;
    assert_int_equal(mz_zero(q, &bad), MZ_EINVAL);
    bad = t, bad.dim[0] = ((int64_t)1 << 62) - 1; /* offset and bytes together wrap around */
    assert_int_equal(mz_zero(q, &bad), MZ_EINVAL);
    bad = t, bad.dim[0] = 2, bad.stride[0] = 2;
    assert_int_equal(mz_download(q, out, &bad), MZ_EINVAL);
    assert_int_equal(mz_upload(q, &t, NULL), MZ_EINVAL);
    assert_int_equal(mz_copy_bytes(q, buf, 0, buf, 4, 8), MZ_EINVAL); /* overlap */
    assert_int_equal(mz_copy_bytes(q, buf, 28, buf, 0, 8), MZ_EINVAL);
    assert_int_equal(mz_copy_bytes(q, buf, 0, buf, SIZE_MAX, 8), MZ_EINVAL);
    assert_int_equal(mz_upload(mzt_reference(), &t, in), MZ_EINVAL); /* another device */
    mz_buffer_free(buf);
    close_queue(q);
}

static void elements_of_every_dtype(void **state)
{
    (void)state;
    static const mz_dtype dtypes[] = {MZ_F64,     MZ_F32, MZ_BF16, MZ_F16, MZ_F8_E4M3,
                                      MZ_F8_E5M2, MZ_I64, MZ_I32,  MZ_I16, MZ_I8,
                                      MZ_U64,     MZ_U32, MZ_U16,  MZ_U8};
    for (int i = 0; i < MZ_COUNT(dtypes); i++) {
        mz_tensor *t = mzt_strided(dtypes[i], 2, MZT_DIMS(2, 3), MZT_DIMS(1, 4), 1);
        for (int k = 0; k < 6; k++) mz_put(t, k, k + 2.0);
        assert_true(mzt_is(t, 0.0, (double[]){2, 3, 4, 5, 6, 7}));
        mz_put_int(t, 4, 1);
        assert_int_equal(mz_at_int(t, 4), 1);
        assert_true(mzt_near(
            mz_load(dtypes[i], (unsigned char *)mz_host(t) + 5 * mz_dtype_bytes(dtypes[i])), 1.0,
            0.0)); /* element [1,1] stands 1 + 4 in */
        assert_true(mzt_margins_untouched(t));
    }
    const unsigned char none[8] = {0};
    assert_true(isnan(mz_load(MZ_F4, none)) && isnan(mz_load(MZ_C64, none)));
}

static void queries_say_why_not(void **state)
{
    (void)state;
    mz_queue *q = open_queue(NULL);
    mz_support s = {0};
    mz_op *op = NULL;
    const mz_desc sample = {.kind = MZ_OP_SAMPLE, .u.sample = {.acc = MZ_F32, .B_max = 1, .V = 2}};
    mz_desc decode = {.kind = MZ_OP_DECODE};
    mz_desc permute = {.kind = MZ_OP_PERMUTE,
                       .u.permute = {.dtype = MZ_F32, .T_max = 1, .D = 1, .E = 1, .k = 1}};
    assert_int_equal(mz_op_query(q, &SUMSQ, &s), MZ_OK);
    assert_int_equal(s.state, MZ_STATE_NATIVE);
    assert_int_equal(mz_op_query(q, &sample, &s), MZ_ENOTSUP);
    assert_int_equal(s.state, MZ_STATE_NONE);
    assert_non_null(strstr(mz_err_last()->message, "sample"));
    assert_int_equal(mz_op_bind(&op, q, &sample), MZ_ENOTSUP);
    assert_null(op);
    if (mz_op_query(q, &decode, &s) == MZ_ENOTSUP) /* unless it can be composed */
        assert_string_equal(s.reason, "only on Tuesdays");
    assert_int_equal(mz_op_query(q, &permute, &s), MZ_OK);
    permute.u.permute.backward = true;
    assert_false(mz_op_query(q, &permute, &s) == MZ_OK && s.state == MZ_STATE_NATIVE);
    decode.kind = MZ_OP_COUNT;
    assert_int_equal(mz_op_query(q, &decode, &s), MZ_EINVAL);
    close_queue(q);
}

/* The block is shared, grows at bind, and the old one is freed only after a sync. */
static void workspace_grows_safely(void **state)
{
    (void)state;
    mz_queue *q = open_queue(NULL);
    control.workspace_bytes = 100;
    mz_op *a = bind(q, &SUMSQ);
    const mz_buffer *first = q->workspace;
    assert_int_equal(mz_op_workspace(a).dim[0], 100);
    control.workspace_bytes = 50;
    mz_op *b = bind(q, &FINITE);
    assert_ptr_equal(q->workspace, first);
    assert_ptr_equal(mz_op_workspace(b).buf, first);
    assert_int_equal(mz_op_workspace(b).dim[0], 50);
    assert_int_equal(control.syncs, 0);
    control.watched = first;
    control.workspace_bytes = 200;
    control.next_sync = MZ_ECHIP; /* work in flight failed: nothing changes */
    mz_op *c = NULL;
    assert_int_equal(mz_op_bind(&c, q, &FINITE), MZ_ECHIP);
    assert_null(c);
    assert_ptr_equal(q->workspace, first);
    c = bind(q, &FINITE);
    assert_int_equal(control.syncs, 2);
    assert_true(control.is_workspace_alive_at_sync);
    assert_int_equal(q->workspace->bytes, 200);
    assert_int_equal(mz_device_bytes_used(q->device), 200);
    control.workspace_bytes = 0;
    mz_op *d = bind(q, &FINITE);
    assert_null(mz_op_workspace(d).buf);
    assert_int_equal(q->n_ops, 4);
    mz_op_free(a), mz_op_free(b), mz_op_free(c), mz_op_free(d);
    assert_int_equal(q->n_ops, 0);
    close_queue(q);
}

static const mz_args NO_ARGS;

static void faults_name_the_operators_between_two_syncs(void **state)
{
    (void)state;
    mz_queue *q = open_queue(NULL);
    mz_op *sumsq = bind(q, &SUMSQ), *finite = bind(q, &FINITE);
    q->rank = 3;
    assert_int_equal(mz_op_run(finite, MZ_FORWARD, &NO_ARGS), MZ_OK);
    assert_int_equal(mz_queue_sync(q), MZ_OK);
    assert_int_equal(q->trace.first_seq, 0);
    assert_int_equal(mz_op_run(sumsq, MZ_FORWARD, &NO_ARGS), MZ_OK);
    assert_int_equal(mz_op_run(sumsq, MZ_FORWARD, &NO_ARGS), MZ_OK);
    assert_int_equal(mz_op_run(finite, MZ_FORWARD, &NO_ARGS), MZ_OK);
    for (int again = 0; again < 2; again++) { /* a failed sync is no good sync */
        control.next_sync = MZ_ECHIP;
        assert_int_equal(mz_queue_sync(q), MZ_ECHIP);
        assert_int_equal(mz_err_last()->code, MZ_ECHIP);
        assert_string_equal(mz_err_last()->message,
                            "ECHIP, rank 3, chip fake: driver error 507: vector core exception; "
                            "operators since the last good sync: first sumsq forward (2), last "
                            "finite forward (4)");
    }
    assert_int_equal(mz_queue_sync(q), MZ_OK);
    control.next_sync = MZ_ETIMEOUT;
    assert_int_equal(mz_queue_sync(q), MZ_ETIMEOUT);
    assert_non_null(strstr(mz_err_last()->message, "no operator since"));
    control.next_launch = MZ_ECHIP;
    assert_int_equal(mz_op_run(sumsq, MZ_FORWARD, &NO_ARGS), MZ_ECHIP);
    assert_non_null(strstr(mz_err_last()->message, "launch refused"));
    assert_non_null(strstr(mz_err_last()->message, "last sumsq forward (5)"));
    assert_int_equal(mz_op_run(sumsq, MZ_BACKWARD, &NO_ARGS), MZ_EINVAL); /* it has none */
    mz_op_free(sumsq), mz_op_free(finite);
    close_queue(q);
}

static void sync_each_narrows_it_to_the_operator(void **state)
{
    (void)state;
    mz_queue *q = open_queue(&(mz_chip_options){.sync_each = true});
    mz_op *sumsq = bind(q, &SUMSQ), *finite = bind(q, &FINITE);
    assert_int_equal(mz_op_run(finite, MZ_FORWARD, &NO_ARGS), MZ_OK);
    assert_int_equal(control.syncs, 1);
    control.next_sync = MZ_ECHIP;
    assert_int_equal(mz_op_run(sumsq, MZ_FORWARD, &NO_ARGS), MZ_ECHIP);
    assert_int_equal(control.syncs, 2);
    assert_non_null(
        strstr(mz_err_last()->message, "first sumsq forward (2), last sumsq forward (2)"));
    mz_op_free(sumsq), mz_op_free(finite);
    close_queue(q);
}

/* One host allocation after the other fails: an error, nothing half made, nothing leaked. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    const size_t before = mz_mem_bytes_used();
    bool has_failed = true;
    for (int64_t n = 1; has_failed; n++) {
        mz_device *device = NULL;
        mz_queue *q = NULL;
        mz_op *op = NULL;
        memset(&control, 0, sizeof control);
        control.workspace_bytes = 64;
        mz_mem_fail_at(n, false);
        mz_err err = mz_device_open(&device, "fake", NULL);
        if (err == MZ_OK) err = mz_queue_open(&q, device);
        if (err == MZ_OK) err = mz_op_bind(&op, q, &SUMSQ);
        has_failed = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(err, has_failed ? MZ_ENOMEM : MZ_OK);
        assert_true((op != NULL) == (err == MZ_OK));
        mz_op_free(op);
        mz_queue_close(q);
        mz_device_close(device);
        assert_int_equal(mz_mem_bytes_used(), before);
        assert_true(n < 20);
    }
}

/* ---- profile ---- */

static json_t *spans_of(const mz_profile *p, int64_t *n)
{
    char *text = NULL;
    size_t bytes = 0;
    json_error_t why;
    const char *path = scratch_path("profile.json");
    assert_int_equal(mz_profile_write(p, path, 3), MZ_OK);
    assert_int_equal(mz_file_read(path, 1 << 20, &text, &bytes), MZ_OK);
    json_t *all = json_loadb(text, bytes, 0, &why);
    mz_mem_free(text);
    if (!all) fail_msg("%s", why.text);
    *n = (int64_t)json_array_size(json_object_get(all, "traceEvents")) - 1; /* one names the rank */
    return all;
}

static const json_t *span_at(const json_t *all, int64_t i)
{
    return json_array_get(json_object_get(all, "traceEvents"), (size_t)i + 1);
}

static void check_span(const json_t *span, const char *name, json_int_t number)
{
    assert_string_equal(json_string_value(json_object_get(span, "name")), name);
    const json_t *args = json_object_get(span, "args");
    assert_int_equal(json_integer_value(json_object_get(args, "number")), number);
    assert_int_equal(json_integer_value(json_object_get(span, "pid")), 3);
    assert_int_equal(json_integer_value(json_object_get(span, "tid")), 0);
    assert_true(json_number_value(json_object_get(span, "ts")) >= 0.0);
    assert_true(json_number_value(json_object_get(span, "dur")) >= 0.0);
}

/* Five calls and a note into room for four: the newest stay, in order, with the shapes they had. */
static void profiles_keep_the_newest_spans(void **state)
{
    (void)state;
    const int64_t n = 4, one = 1;
    int64_t count = 0;
    mz_queue *q = open_queue(NULL);
    mz_op *op = bind(q, &SUMSQ);
    mz_buffer *buf = NULL;
    assert_int_equal(mz_buffer_new(&buf, q->device, 64), MZ_OK);
    const mz_tensor x = mz_view(buf, 0, MZ_F32, 1, &n), out = mz_view(buf, 32, MZ_F32, 1, &one);
    const mz_args args = {.sumsq = {.out = &out, .x = &x}};
    assert_int_equal(mz_profile_new(&q->profile, 0), MZ_EINVAL);
    assert_int_equal(mz_profile_new(&q->profile, 4), MZ_OK);
    for (int i = 0; i < 5; i++) assert_int_equal(mz_op_run(op, MZ_FORWARD, &args), MZ_OK);
    control.next_launch = MZ_ECHIP; /* one that failed is none */
    assert_int_equal(mz_op_run(op, MZ_FORWARD, &args), MZ_ECHIP);
    mz_profile_note(q->profile, "step", 7, mz_clock_ns());
    assert_int_equal(mz_profile_count(q->profile), 4);
    json_t *all = spans_of(q->profile, &count);
    assert_int_equal(count, 4);
    for (int64_t i = 0; i < 3; i++) check_span(span_at(all, i), "sumsq", i + 3);
    check_span(span_at(all, 3), "step", 7);
    const json_t *shapes = json_object_get(span_at(all, 0), "args");
    assert_string_equal(json_string_value(json_object_get(shapes, "x")), "F32 [4]");
    assert_string_equal(json_string_value(json_object_get(shapes, "out")), "F32 [1]");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(all, "otherData"), "lost")),
                     2);
    json_decref(all);
    assert_int_equal(mz_profile_write(q->profile, scratch_path("none/profile.json"), 0), MZ_EIO);
    mz_profile_free(q->profile);
    mz_profile_free(NULL);
    mz_buffer_free(buf);
    mz_op_free(op);
    close_queue(q);
}

static int set_up(void **state)
{
    return make_fake(state) == 0 ? scratch_make(state) : -1;
}

static int tear_down(void **state)
{
    (void)scratch_remove(state);
    return mzt_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_tables_are_refused),
        cmocka_unit_test(devices_open_by_spec),
        cmocka_unit_test(memory_is_counted),
        cmocka_unit_test(copies_are_checked),
        cmocka_unit_test(elements_of_every_dtype),
        cmocka_unit_test(queries_say_why_not),
        cmocka_unit_test(workspace_grows_safely),
        cmocka_unit_test(faults_name_the_operators_between_two_syncs),
        cmocka_unit_test(sync_each_narrows_it_to_the_operator),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(profiles_keep_the_newest_spans),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
