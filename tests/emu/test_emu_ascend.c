/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_ascend.c - a plain C client of the emulated driver: copies, order, products,
 * numbers of every type. */
#include "tests/emu/client.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static int start(void **state)
{
    (void)state;
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_SOC", "Ascend9", 1), 0);
    assert_int_equal(aclInit(NULL), 100000); /* no other chip is taken for it */
    assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_SOC"), 0);
    assert_int_equal(aclInit(NULL), 0);
    assert_int_equal(aclrtSetDevice(0), 0);
    return 0;
}

/* ---- the runtime ---- */

static void says_that_it_is_emulated(void **state)
{
    (void)state;
    assert_non_null(strstr(mizan_emulated_ascend(), "EMULATED"));
    assert_int_equal(aclInit(NULL), 100002);
    assert_non_null(strstr(aclGetRecentErrMsg(), "EMULATED"));
    assert_null(aclGetRecentErrMsg()); /* a message is told once */
    assert_string_equal(aclrtGetSocName(), "Ascend910B2");
}

static sigjmp_buf trapped;
static void on_trap(int number)
{
    siglongjmp(trapped, number);
}

static void the_host_cannot_read_device_memory(void **state)
{
    (void)state;
    struct sigaction catch = {.sa_handler = on_trap}, before;
    const volatile float *at = device(64);
    sigaction(SIGSEGV, &catch, &before);
    const int number = sigsetjmp(trapped, 1);
    if (number == 0) (void)*at;
    sigaction(SIGSEGV, &before, NULL);
    assert_int_equal(number, SIGSEGV);
    assert_int_equal(aclrtFree((void *)(uintptr_t)at), 0);
    assert_int_equal(aclrtFree((void *)(uintptr_t)at), 107000); /* twice */
}

static void memory_is_counted_and_ends(void **state)
{
    (void)state;
    size_t before = 0, after = 0, total = 0;
    void *at = NULL;
    assert_int_equal(aclrtGetMemInfo(1, &before, &total), 0);
    assert_int_equal(aclrtMalloc(&at, total + 1, 0), 207001);
    at = device(1000); /* a whole number of 32 bytes, and 32 */
    assert_int_equal(aclrtGetMemInfo(1, &after, &total), 0);
    assert_int_equal(before - after, 1024 + 32);
    assert_int_equal(aclrtMalloc(&at, 0, 0), 107000);
}

static void a_stream_goes_in_order_beside_the_host(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    aclrtStream s = NULL;
    unsigned char *pinned = NULL, *at = device(BYTES);
    assert_int_equal(aclrtCreateStream(&s), 0);
    assert_int_equal(aclrtMallocHost((void **)&pinned, BYTES), 0);
    for (int i = 0; i < 200; i++) assert_int_equal(aclrtMemsetAsync(at, BYTES, i, BYTES, s), 0);
    assert_int_equal(aclrtMemcpyAsync(pinned, BYTES, at, BYTES, 2, s), 0);
    assert_int_equal(aclrtSynchronizeStream(s), 0);
    assert_int_equal(pinned[0], 199);
    assert_int_equal(pinned[BYTES - 1], 199);
    assert_int_equal(aclrtMemcpyAsync(pinned, 1, pinned + 1, 1, 0, s), 207000); /* host to host */
    assert_int_equal(aclrtMemcpyAsync(at, 1, pinned, 2, 1, s), 107000);         /* no room */
    assert_int_equal(aclrtFreeHost(pinned), 0);
    assert_int_equal(aclrtDestroyStream(s), 0);
    assert_int_equal(aclrtSynchronizeStream(s), 107017);
}

static void an_event_joins_two_streams(void **state)
{
    (void)state;
    enum { BYTES = 4 << 20 };
    aclrtStream a = NULL, b = NULL;
    aclrtEvent e = NULL;
    int status = 0;
    unsigned char last = 0, *x = device(BYTES), *y = device(BYTES);
    assert_int_equal(aclrtCreateStream(&a), 0);
    assert_int_equal(aclrtCreateStream(&b), 0);
    assert_int_equal(aclrtCreateEventWithFlag(&e, 1), 0);
    for (int i = 1; i < 20; i++) assert_int_equal(aclrtMemsetAsync(x, BYTES, i, BYTES, a), 0);
    assert_int_equal(aclrtRecordEvent(e, a), 0);
    assert_int_equal(aclrtStreamWaitEvent(b, e), 0);
    assert_int_equal(aclrtMemcpyAsync(y, BYTES, x, BYTES, 3, b), 0);
    assert_int_equal(aclrtSynchronizeStream(b), 0);
    download(&last, y + BYTES - 1, 1);
    assert_int_equal(last, 19);
    assert_int_equal(aclrtQueryEventStatus(e, &status), 0);
    assert_int_equal(status, 1);
    assert_int_equal(aclrtDestroyEvent(e), 0);
    assert_int_equal(aclrtDestroyStream(a), 0);
    assert_int_equal(aclrtDestroyStream(b), 0);
}

/* ---- operators ---- */

static void multiplies_views(void **state)
{
    (void)state;
    const float a[6] = {1, 2, 3, 4, 5, 6}, b[12] = {1, 0, 2, 0, 1, 3, 1, 1, 1, 2, 0, -1};
    const float want[8] = {7, 11, 6, -1, 16, 23, 15, 2};
    const int64_t across[2] = {1, 3}; /* b is [4,3], seen as [3,4] */
    float got[8];
    void *y = device(sizeof got);
    aclTensor *ta = tensor(EMU_FLOAT, 2, 3, NULL, upload(a, sizeof a));
    aclTensor *tb = tensor(EMU_FLOAT, 3, 4, across, upload(b, sizeof b));
    aclTensor *ty = tensor(EMU_FLOAT, 2, 4, NULL, y);
    CALL(Mm, ta, tb, ty, 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, y, sizeof got);
    for (int i = 0; i < 8; i++) assert_true(is_near(got[i], want[i], 0));
    float one = 1, half = 0.5F;
    aclScalar *beta = aclCreateScalar(&one, EMU_FLOAT), *alpha = aclCreateScalar(&half, EMU_FLOAT);
    CALL(InplaceAddmm, ty, ta, tb, beta, alpha, 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, y, sizeof got);
    for (int i = 0; i < 8; i++) assert_true(is_near(got[i], 1.5F * want[i], 0));
}

static void rounds_to_the_nearest_even(void **state)
{
    (void)state;
    const float x[8] = {1.00390625F, 1.01171875F,   -3.5F,         65519.0F,
                        65520.0F,    5.9604645e-8F, 2.9802322e-8F, NAN};
    const uint16_t bf16[8] = {0x3F80, 0x3F82, 0xC060, 0x4780, 0x4780, 0x3380, 0x3300, 0x7FC0};
    const uint16_t f16[8] = {0x3C04, 0x3C0C, 0xC300, 0x7BFF, 0x7C00, 0x0001, 0x0000, 0x7E00};
    const uint16_t *const want[2] = {bf16, f16};
    const int type[2] = {EMU_BF16, EMU_FLOAT16};
    uint16_t got[8];
    aclTensor *tx = tensor(EMU_FLOAT, 2, 4, NULL, upload(x, sizeof x));
    for (int k = 0; k < 2; k++) {
        void *y = device(sizeof got);
        CALL(Cast, tx, type[k], tensor(type[k], 2, 4, NULL, y));
        assert_int_equal(aclrtSynchronizeStream(NULL), 0);
        download(got, y, sizeof got);
        for (int i = 0; i < 8; i++) assert_int_equal(got[i], want[k][i]);
    }
}

static void spreads_and_adds_in_place(void **state)
{
    (void)state;
    const float x[6] = {1, 2, 3, 4, 5, 6}, row[3] = {10, 20, 30},
                want[6] = {21, 42, 63, 24, 45, 66};
    float got[6], two = 2;
    void *y = upload(x, sizeof x);
    aclTensor *ty = tensor(EMU_FLOAT, 2, 3, NULL, y);
    aclTensor *tr = tensor(EMU_FLOAT, 1, 3, NULL, upload(row, sizeof row));
    CALL(InplaceAdd, ty, tr, aclCreateScalar(&two, EMU_FLOAT));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, y, sizeof got);
    for (int i = 0; i < 6; i++) assert_true(is_near(got[i], want[i], 0));
}

/* By hand: mean square 12.5 and r = 0.2828427; with dy = {1, 2} and gamma = {1, 2}: g x = 3 + 16 =
 * 19, dx = r (g - x r^2 19/2) = {0.2828427 - 0.6448814, ...}. */
static void norms_a_row_and_back(void **state)
{
    (void)state;
    const float x[2] = {3, 4}, gamma[2] = {1, 2}, dy[2] = {1, 2};
    const float want[3] = {0.8485281F, 2.2627417F, 0.2828427F};
    const float want_d[4] = {-0.3620387F, 0.2715290F, 0.8485281F, 2.2627417F};
    float got[2], r, d[2];
    void *y = device(64), *rstd = device(64), *dx = device(64), *dg = device(64);
    const int64_t two = 2;
    aclTensor *tx = tensor(EMU_FLOAT, 1, 2, NULL, upload(x, sizeof x));
    aclTensor *tg =
        aclCreateTensor(&two, 1, EMU_FLOAT, NULL, 0, ND, &two, 1, upload(gamma, sizeof gamma));
    aclTensor *tr = tensor(EMU_FLOAT, 1, 1, NULL, rstd);
    CALL(RmsNorm, tx, tg, 0.0, tensor(EMU_FLOAT, 1, 2, NULL, y), tr);
    CALL(RmsNormGrad, tensor(EMU_FLOAT, 1, 2, NULL, upload(dy, sizeof dy)), tx, tr, tg,
         tensor(EMU_FLOAT, 1, 2, NULL, dx),
         aclCreateTensor(&two, 1, EMU_FLOAT, NULL, 0, ND, &two, 1, dg));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, y, sizeof got);
    download(&r, rstd, sizeof r);
    for (int i = 0; i < 2; i++) assert_true(is_near(got[i], want[i], 1e-6));
    assert_true(is_near(r, want[2], 1e-6));
    download(d, dx, sizeof d);
    for (int i = 0; i < 2; i++) assert_true(is_near(d[i], want_d[i], 1e-6));
    download(d, dg, sizeof d);
    for (int i = 0; i < 2; i++) assert_true(is_near(d[i], want_d[2 + i], 1e-6));
}

static void softmax_of_a_column_and_back(void **state)
{
    (void)state;
    const float x[4] = {0, 5, 1.0986123F, 5}, want[4] = {0.25F, 0.5F, 0.75F, 0.5F};
    const float dy[4] = {1, 1, 0, 1}, want_d[4] = {0.1875F, 0, -0.1875F, 0};
    float got[4];
    void *p = device(64), *dx = device(64);
    aclTensor *tp = tensor(EMU_FLOAT, 2, 2, NULL, p);
    CALL(Softmax, tensor(EMU_FLOAT, 2, 2, NULL, upload(x, sizeof x)), 0, tp);
    CALL(SoftmaxBackward, tensor(EMU_FLOAT, 2, 2, NULL, upload(dy, sizeof dy)), tp, -2,
         tensor(EMU_FLOAT, 2, 2, NULL, dx));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, p, sizeof got);
    for (int i = 0; i < 4; i++) assert_true(is_near(got[i], want[i], 1e-6));
    download(got, dx, sizeof got);
    for (int i = 0; i < 4; i++) assert_true(is_near(got[i], want_d[i], 1e-6));
}

static void chooses_by_comparing(void **state)
{
    (void)state;
    const float a[4] = {1, 5, 3, 2}, b[4] = {2, 4, 3, 9}, want[4] = {1, 4, 3, 2};
    float got[4];
    void *mask = device(64), *y = device(64);
    aclTensor *ta = tensor(EMU_FLOAT, 2, 2, NULL, upload(a, sizeof a));
    aclTensor *tb = tensor(EMU_FLOAT, 2, 2, NULL, upload(b, sizeof b));
    aclTensor *tm = tensor(EMU_BOOL, 2, 2, NULL, mask);
    CALL(LtTensor, ta, tb, tm);
    CALL(SWhere, tm, ta, tb, tensor(EMU_FLOAT, 2, 2, NULL, y));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, y, sizeof got);
    for (int i = 0; i < 4; i++) assert_true(is_near(got[i], want[i], 0));
}

/* ---- calls ---- */

/* What a client must not do is in test_emu_contract.c. */
static void an_executor_may_be_kept(void **state)
{
    (void)state;
    const float x[4] = {1, 2, 3, 4};
    uint64_t bytes = 0;
    aclOpExecutor *often = NULL;
    aclTensor *t = tensor(EMU_FLOAT, 2, 2, NULL, upload(x, sizeof x));
    assert_int_equal(aclnnSiluGetWorkspaceSize(t, t, &bytes, &often), 0);
    assert_int_equal(aclSetAclOpExecutorRepeatable(often), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(aclnnSilu(NULL, 0, often, NULL), 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    assert_int_equal(aclDestroyAclOpExecutor(often), 0);
}

/* What failed is told once, with the operator's name; what comes after it runs. */
static void a_fault_is_told_at_the_wait(void **state)
{
    (void)state;
    unsigned char *at = device(64);
    CALL(InplaceZero, tensor(EMU_FLOAT, 2, 2, NULL, at + 16));
    assert_int_equal(aclrtSynchronizeStream(NULL), 507015);
    assert_non_null(strstr(aclGetRecentErrMsg(), "aclnnInplaceZero"));
    CALL(InplaceZero, tensor(EMU_FLOAT, 2, 2, NULL, at));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_that_it_is_emulated),
        cmocka_unit_test(the_host_cannot_read_device_memory),
        cmocka_unit_test(memory_is_counted_and_ends),
        cmocka_unit_test(a_stream_goes_in_order_beside_the_host),
        cmocka_unit_test(an_event_joins_two_streams),
        cmocka_unit_test(multiplies_views),
        cmocka_unit_test(rounds_to_the_nearest_even),
        cmocka_unit_test(spreads_and_adds_in_place),
        cmocka_unit_test(norms_a_row_and_back),
        cmocka_unit_test(softmax_of_a_column_and_back),
        cmocka_unit_test(chooses_by_comparing),
        cmocka_unit_test(an_executor_may_be_kept),
        cmocka_unit_test(a_fault_is_told_at_the_wait),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
