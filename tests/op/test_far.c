/* SPDX-License-Identifier: Apache-2.0 */
/* tests/op/test_far.c - the chip that nobody sells computes what its inner chip computes, in memory
 * that nobody can reach; and its profiles refuse what they should. The bugs that it must notice are
 * in test_far_bugs.c. */
#include "chips/far/far.h"
#include "tests/toy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { T = 3, D = 5, N = T * D };
static const int64_t TD[2] = {T, D};

typedef struct bench {
    mz_device *device;
    mz_queue *q;
    mz_buffer *buf[8];
    mz_tensor t[8];
} bench;

static void open_bench(bench *b, const char *spec)
{
    memset(b, 0, sizeof *b);
    assert_int_equal(mz_device_open(&b->device, spec, NULL), MZ_OK);
    assert_int_equal(mz_queue_open(&b->q, b->device), MZ_OK);
}

static void close_bench(bench *b)
{
    assert_int_equal(mz_queue_sync(b->q), MZ_OK);
    for (int i = 0; i < MZ_COUNT(b->buf); i++) mz_buffer_free(b->buf[i]);
    mz_queue_close(b->q);
    mz_device_close(b->device);
}

static mz_tensor *tensor(bench *b, int i, mz_dtype dtype, int rank, const int64_t *dim)
{
    size_t bytes = 0;
    assert_int_equal(mz_shape_bytes(dtype, rank, dim, &bytes), MZ_OK);
    assert_int_equal(mz_buffer_new(&b->buf[i], b->device, bytes), MZ_OK);
    b->t[i] = mz_view(b->buf[i], 0, dtype, rank, dim);
    return &b->t[i];
}

static void fill(float *x, int64_t n, float step)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)(i % 7) * step - 1.0f;
}

static void memory_is_opaque_zeroed_and_moves_bytes(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, "far:on=toy");
    assert_false(b.device->info.is_host);
    mz_tensor *x = tensor(&b, 0, MZ_F32, 2, TD), *y = tensor(&b, 1, MZ_F32, 2, TD);
    assert_null(b.buf[0]->host);
    assert_non_null(b.buf[0]->handle);
    assert_null(mz_host(x));
    float in[N], out[N], fresh[N];
    static const float zero[N];
    fill(in, N, 0.5f);
    assert_int_equal(mz_download(b.q, fresh, x), MZ_OK);
    assert_int_equal(mz_upload(b.q, x, in), MZ_OK);
    assert_int_equal(mz_copy_bytes(b.q, b.buf[1], 0, b.buf[0], 0, sizeof in), MZ_OK);
    const mz_tensor first_row = mz_slice(x, 0, 0, 1);
    assert_int_equal(mz_zero(b.q, &first_row), MZ_OK);
    assert_int_equal(mz_download(b.q, out, y), MZ_OK);
    assert_int_equal(mz_queue_sync(b.q), MZ_OK);
    assert_memory_equal(fresh, zero, sizeof zero);
    assert_memory_equal(in, out, sizeof in);
    assert_int_equal(mz_download(b.q, out, x), MZ_OK);
    assert_int_equal(mz_queue_sync(b.q), MZ_OK);
    assert_memory_equal(out, zero, D * sizeof(float));
    assert_memory_equal(out + D, in + D, (N - D) * sizeof(float));
    close_bench(&b);
}

/* Forward and backward on one device; out = {y, dx, dw}. */
static void norm(bench *b, float out[3][N])
{
    const mz_desc desc = {
        .kind = MZ_OP_RMSNORM,
        .u.rmsnorm = {.dtype = MZ_F32, .T_max = T, .D = D, .eps = 1e-6, .backward = true}};
    mz_op *op = NULL;
    float x[N], w[D], dy[N];
    fill(x, N, 0.25f);
    fill(w, D, 0.5f);
    fill(dy, N, 0.375f);
    assert_int_equal(mz_op_bind(&op, b->q, &desc), MZ_OK);
    const int64_t saved_bytes = (int64_t)mz_op_saved(op);
    mz_args a = {.rmsnorm = {.y = tensor(b, 0, MZ_F32, 2, TD),
                             .saved = tensor(b, 1, MZ_U8, 1, &saved_bytes),
                             .x = tensor(b, 2, MZ_F32, 2, TD),
                             .w = tensor(b, 3, MZ_F32, 1, &TD[1]),
                             .dy = tensor(b, 4, MZ_F32, 2, TD),
                             .dx = tensor(b, 5, MZ_F32, 2, TD),
                             .dw = tensor(b, 6, MZ_F32, 1, &TD[1])}};
    assert_int_equal(mz_upload(b->q, a.rmsnorm.x, x), MZ_OK);
    assert_int_equal(mz_upload(b->q, a.rmsnorm.w, w), MZ_OK);
    assert_int_equal(mz_upload(b->q, a.rmsnorm.dy, dy), MZ_OK);
    mz_args now = a; /* the queue copies: what stands here later does not matter */
    assert_int_equal(mz_op_run(op, MZ_FORWARD, &now), MZ_OK);
    memset(&now, 0xff, sizeof now);
    for (int call = 0; call < 2; call++) assert_int_equal(mz_op_run(op, MZ_BACKWARD, &a), MZ_OK);
    assert_int_equal(mz_download(b->q, out[0], a.rmsnorm.y), MZ_OK);
    assert_int_equal(mz_download(b->q, out[1], a.rmsnorm.dx), MZ_OK);
    assert_int_equal(mz_download(b->q, out[2], a.rmsnorm.dw), MZ_OK);
    assert_int_equal(mz_queue_sync(b->q), MZ_OK);
    mz_op_free(op);
}

static void computes_bit_for_bit_what_the_inner_chip_computes(void **state)
{
    (void)state;
    static const char *const specs[] = {"toy", "far:on=toy", "far:lazy,on=toy", "far:slow=7,on=toy",
                                        "far:nobwd,on=toy"};
    float want[3][N] = {{0}}, got[3][N] = {{0}};
    for (int i = 0; i < MZ_COUNT(specs); i++) {
        bench b;
        open_bench(&b, specs[i]);
        norm(&b, i ? got : want);
        if (i) assert_memory_equal(want, got, sizeof want);
        close_bench(&b);
    }
    assert_true(want[0][1] > 0.01f || want[0][1] < -0.01f);
}

static void views_keep_their_strides(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, "far:on=toy");
    const mz_desc desc = {.kind = MZ_OP_ELEMENTWISE,
                          .u.elementwise = {.dtype = MZ_F32, .fn = MZ_EW_ADD, .N_max = N}};
    mz_op *op = NULL;
    assert_int_equal(mz_op_bind(&op, b.q, &desc), MZ_OK);
    float x[N], out[N];
    fill(x, N, 0.5f);
    mz_tensor *t = tensor(&b, 0, MZ_F32, 2, TD), *y = tensor(&b, 1, MZ_F32, 2, TD);
    assert_int_equal(mz_upload(b.q, t, x), MZ_OK);
    assert_int_equal(mz_upload(b.q, y, x), MZ_OK);
    const mz_tensor left = mz_slice(t, 1, 0, 2), right = mz_slice(t, 1, 2, 2);
    const mz_tensor to = mz_slice(y, 1, 1, 2);
    assert_int_equal(
        mz_op_run(op, MZ_FORWARD, &(mz_args){.elementwise = {.y = &to, .a = &left, .b = &right}}),
        MZ_OK);
    assert_int_equal(mz_download(b.q, out, y), MZ_OK);
    assert_int_equal(mz_queue_sync(b.q), MZ_OK);
    for (int i = 0; i < T; i++)
        for (int d = 0; d < D; d++) {
            const bool inside = d == 1 || d == 2;
            const float want = inside ? x[i * D + d - 1] + x[i * D + d + 1] : x[i * D + d];
            assert_memory_equal(&out[i * D + d], &want, sizeof want);
        }
    mz_op_free(op);
    close_bench(&b);
}

static mz_err ask(const char *spec, mz_desc desc, mz_support *s)
{
    bench b;
    open_bench(&b, spec);
    const mz_err err = mz_op_query(b.q, &desc, s);
    close_bench(&b);
    return err;
}

static void profiles_refuse_with_a_reason(void **state)
{
    (void)state;
    mz_support s;
    const mz_desc norm32 = {.kind = MZ_OP_RMSNORM,
                            .u.rmsnorm = {.dtype = MZ_F32, .T_max = T, .D = D, .eps = 1e-6}};
    const mz_desc plain = {
        .kind = MZ_OP_MATMUL,
        .u.matmul = {.dtype = MZ_F32, .out_dtype = MZ_F32, .M_max = 2, .N_max = 2, .K_max = 2}};
    const mz_desc add = {.kind = MZ_OP_ELEMENTWISE,
                         .u.elementwise = {.dtype = MZ_F32, .fn = MZ_EW_ADD, .N_max = N}};
    const mz_desc attention = {.kind = MZ_OP_ATTENTION,
                               .u.attention = {.dtype = MZ_F32, .backward = true}};
    assert_int_equal(ask("far:matmul,on=toy", plain, &s), MZ_OK);
    assert_int_equal(s.state, MZ_STATE_NATIVE);
    assert_int_equal(ask("far:matmul,on=toy", norm32, &s), MZ_ENOTSUP);
    assert_int_equal(s.state, MZ_STATE_NONE);
    assert_non_null(strstr(s.reason, "only multiplies"));
    assert_int_equal(ask("far:f16,on=toy", norm32, &s), MZ_ENOTSUP);
    assert_non_null(strstr(s.reason, "profile f16: rmsnorm is not offered in F32"));
    assert_int_equal(ask("far:f16,on=toy", add, &s), MZ_OK); /* gradients are summed in f32 */
    assert_int_equal(ask("far:nobwd,on=toy", attention, &s), MZ_ENOTSUP);
    assert_non_null(strstr(s.reason, "backward"));
    assert_int_equal(ask("far:on=toy", norm32, &s), MZ_OK);
}

static void unusable_specs_are_refused(void **state)
{
    (void)state;
    static const char *const specs[] = {"far:gold", "far:on=", "far:on=nowhere", "far:slow=x",
                                        "far:on=far"};
    for (int i = 0; i < MZ_COUNT(specs); i++) {
        mz_device *device = NULL;
        const size_t before = mz_mem_bytes_used();
        assert_int_equal(mz_device_open(&device, specs[i], NULL), MZ_ENOTSUP);
        assert_null(device);
        assert_int_equal(mz_mem_bytes_used(), before);
    }
}

/* More commands than the ring holds, from two threads' point of view: the order stays. */
static void a_full_ring_waits_and_keeps_the_order(void **state)
{
    (void)state;
    static const char *const specs[] = {"far:on=toy", "far:lazy,on=toy"};
    for (int k = 0; k < MZ_COUNT(specs); k++) {
        bench b;
        open_bench(&b, specs[k]);
        const int64_t one = 1;
        mz_tensor *x = tensor(&b, 0, MZ_F32, 1, &one);
        enum { MANY = 700 };
        float in[MANY], out[MANY];
        for (int i = 0; i < MANY; i++) {
            in[i] = (float)i;
            assert_int_equal(mz_upload(b.q, x, &in[i]), MZ_OK);
            assert_int_equal(mz_download(b.q, &out[i], x), MZ_OK);
        }
        assert_int_equal(mz_queue_sync(b.q), MZ_OK);
        assert_memory_equal(in, out, sizeof in);
        close_bench(&b);
    }
}

static void a_fault_surfaces_at_sync_once_and_names_the_operator(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, "far:on=toy");
    const mz_desc desc = {.kind = MZ_OP_ELEMENTWISE,
                          .u.elementwise = {.dtype = MZ_F32, .fn = MZ_EW_ADD, .N_max = N}};
    mz_op *op = NULL;
    assert_int_equal(mz_op_bind(&op, b.q, &desc), MZ_OK);
    mz_tensor *x = tensor(&b, 0, MZ_F32, 2, TD), *y = tensor(&b, 1, MZ_F32, 2, TD);
    const mz_args a = {.elementwise = {.y = y, .a = x, .b = x}};
    float out[N];
    toy_flaw_now = TOY_FAILS;
    assert_int_equal(mz_op_run(op, MZ_FORWARD, &a), MZ_OK);
    assert_int_equal(mz_download(b.q, out, y), MZ_OK);
    assert_int_equal(mz_queue_sync(b.q), MZ_ECHIP);
    toy_flaw_now = TOY_NONE;
    assert_non_null(strstr(mz_err_last()->message, "the toy broke"));
    assert_non_null(strstr(mz_err_last()->message, "elementwise forward"));
    for (int i = 0; i < N; i++) assert_true(isnan(out[i]));
    assert_int_equal(mz_queue_sync(b.q), MZ_OK);
    assert_int_equal(mz_op_run(op, MZ_FORWARD, &a), MZ_OK);
    assert_int_equal(mz_queue_sync(b.q), MZ_OK);
    mz_op_free(op);
    close_bench(&b);
}

/* Nothing on the caller's side may allocate inside a step, whatever the ring does. */
static void running_allocates_nothing(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, "far:on=toy");
    const mz_desc desc = {.kind = MZ_OP_ELEMENTWISE,
                          .u.elementwise = {.dtype = MZ_F32, .fn = MZ_EW_ADD, .N_max = N}};
    mz_op *op = NULL;
    assert_int_equal(mz_op_bind(&op, b.q, &desc), MZ_OK);
    mz_tensor *x = tensor(&b, 0, MZ_F32, 2, TD), *y = tensor(&b, 1, MZ_F32, 2, TD);
    const int64_t before = mz_mem_count();
    for (int i = 0; i < 300; i++)
        assert_int_equal(
            mz_op_run(op, MZ_FORWARD, &(mz_args){.elementwise = {.y = y, .a = x, .b = x}}), MZ_OK);
    assert_int_equal(mz_queue_sync(b.q), MZ_OK);
    assert_int_equal(mz_mem_count(), before);
    mz_op_free(op);
    close_bench(&b);
}

/* Opening, a buffer, a queue, an op: each allocation fails in turn, nothing is left behind. */
static void every_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    const size_t before = mz_mem_bytes_used();
    const mz_desc desc = {
        .kind = MZ_OP_RMSNORM,
        .u.rmsnorm = {.dtype = MZ_F32, .T_max = T, .D = D, .eps = 1e-6, .backward = true}};
    bool struck = true;
    for (int n = 1; struck; n++) {
        mz_device *device = NULL;
        mz_queue *q = NULL;
        mz_buffer *buf = NULL;
        mz_op *op = NULL;
        mz_mem_fail_at(n, false);
        const bool whole = mz_device_open(&device, "far:on=toy", NULL) == MZ_OK &&
                           mz_buffer_new(&buf, device, 1000) == MZ_OK &&
                           mz_queue_open(&q, device) == MZ_OK && mz_op_bind(&op, q, &desc) == MZ_OK;
        struck = mz_mem_has_failed();
        mz_mem_fail_at(0, false);
        assert_int_equal(whole, !struck);
        mz_op_free(op);
        mz_queue_close(q);
        mz_buffer_free(buf);
        mz_device_close(device);
        assert_int_equal(mz_mem_bytes_used(), before);
        assert_true(n < 100);
    }
}

static void what_does_not_fit_is_refused_without_a_leak(void **state)
{
    (void)state;
    enum { MOST = 64 };
    mz_device *device = NULL;
    mz_buffer *buf = NULL;
    mz_queue *q[MOST] = {NULL}, *more = NULL;
    assert_int_equal(mz_device_open(&device, "far:on=toy", NULL), MZ_OK);
    const size_t before = mz_mem_bytes_used();
    assert_int_equal(mz_buffer_new(&buf, device, SIZE_MAX / 2), MZ_ENOMEM);
    assert_int_equal(mz_buffer_new(&buf, device, (size_t)1 << 46), MZ_ENOMEM);
    assert_null(buf);
    assert_int_equal(mz_device_bytes_used(device), 0);
    for (int i = 0; i < MOST; i++) assert_int_equal(mz_queue_open(&q[i], device), MZ_OK);
    assert_int_equal(mz_queue_open(&more, device), MZ_ENOTSUP);
    for (int i = 0; i < MOST; i++) mz_queue_close(q[i]);
    assert_int_equal(mz_mem_bytes_used(), before);
    mz_device_close(device);
}

static int setup(void **state)
{
    (void)state;
    return mz_chip_register(toy_chip()) == MZ_OK && mz_chip_register(mz_far_chip()) == MZ_OK ? 0
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
        cmocka_unit_test(memory_is_opaque_zeroed_and_moves_bytes),
        cmocka_unit_test(computes_bit_for_bit_what_the_inner_chip_computes),
        cmocka_unit_test(views_keep_their_strides),
        cmocka_unit_test(profiles_refuse_with_a_reason),
        cmocka_unit_test(unusable_specs_are_refused),
        cmocka_unit_test(a_full_ring_waits_and_keeps_the_order),
        cmocka_unit_test(a_fault_surfaces_at_sync_once_and_names_the_operator),
        cmocka_unit_test(running_allocates_nothing),
        cmocka_unit_test(what_does_not_fit_is_refused_without_a_leak),
        cmocka_unit_test(every_failed_allocation_is_an_error_without_a_leak),
        cmocka_unit_test(nothing_was_misused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
