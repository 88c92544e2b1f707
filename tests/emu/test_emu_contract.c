/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_contract.c - what a client must not do: each violation by name, in a process
 * of its own, and the code that the documentation has for it. Where the documentation calls a
 * mistake undefined, the code is that of the exception which the device then has. */
#include "tests/emu/client.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRAP = 1, CHILD_ERROR = 100, SHORT_MS = 50 };

static aclTensor *at(int type, void *where)
{
    return tensor(type, 2, 2, NULL, where);
}

static aclTensor *fresh(int type)
{
    return at(type, device(64));
}

/* Phase 1 of y = silu(x), which has to be good. */
static aclOpExecutor *silu(aclTensor *x, aclTensor *y)
{
    uint64_t bytes = 0;
    aclOpExecutor *made = NULL;
    assert_int_equal(aclnnSiluGetWorkspaceSize(x, y, &bytes, &made), 0);
    return made;
}

/* Zeroes t and waits. */
static int zero(aclTensor *t)
{
    uint64_t bytes = 0;
    aclOpExecutor *made = NULL;
    int code = aclnnInplaceZeroGetWorkspaceSize(t, &bytes, &made);
    if (code == 0) code = aclnnInplaceZero(NULL, 0, made, NULL);
    return code == 0 ? aclrtSynchronizeStream(NULL) : code;
}

/* What phase 1 says, and leaves: no executor. */
#define PHASE_1(name, ...)                                                                         \
    uint64_t bytes_ = 0;                                                                           \
    aclOpExecutor *x_ = NULL;                                                                      \
    const int code_ = aclnn##name##GetWorkspaceSize(__VA_ARGS__, &bytes_, &x_);                    \
    return x_ ? -1 : code_

/* The code that the last message begins with. */
static int noted(const void *made)
{
    const char *text = aclGetRecentErrMsg();
    return !made && text && strncmp(text, "EMULATED ", 9) == 0 ? atoi(text + 9) : -1;
}

/* ---- starting, devices, contexts ---- */

static int device_before_init(void)
{
    return aclrtSetDevice(0);
}

static int init_twice(void)
{
    return aclInit(NULL);
}

static int finalize_twice(void)
{
    const int first = aclFinalize();
    return first ? -1 : aclFinalize();
}

static int init_in_a_forked_child(void)
{
    int status = 0;
    const pid_t pid = fork();
    if (pid == 0) _exit(aclInit(NULL) == 100001 ? 1 : 2);
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? 100001 : -1;
}

static void *allocate(void *code)
{
    void *where = NULL;
    *(int *)code = aclrtMalloc(&where, 64, 0);
    return NULL;
}

static int thread_without_a_device(void)
{
    pthread_t thread;
    int code = 0;
    assert_int_equal(pthread_create(&thread, NULL, allocate, &code), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return code;
}

static int device_that_is_not_there(void)
{
    return aclrtSetDevice(2);
}

static int implicit_context_destroyed(void)
{
    aclrtContext here = NULL;
    assert_int_equal(aclrtGetCurrentContext(&here), 0);
    return aclrtDestroyContext(here);
}

static int no_context_made_current(void)
{
    return aclrtSetCurrentContext(NULL);
}

static int overflow_mode_of_another_chip(void)
{
    return aclrtSetDeviceSatMode(1);
}

static int overflow_mode_that_is_none(void)
{
    return aclrtSetDeviceSatMode(2);
}

static int parameter_that_is_none(void)
{
    return aclrtSetSysParamOpt(9, 1);
}

/* ---- memory ---- */

static int no_bytes(void)
{
    void *where = NULL;
    return aclrtMalloc(&where, 0, 0);
}

static int too_many_bytes(void)
{
    void *where = NULL;
    return aclrtMalloc(&where, (size_t)1 << 40, 0);
}

static int freed_twice(void)
{
    void *where = device(64);
    assert_int_equal(aclrtFree(where), 0);
    return aclrtFree(where);
}

static int host_memory_freed(void)
{
    static char host[64];
    return aclrtFree(host);
}

static int freed_from_within(void)
{
    return aclrtFree((char *)device(128) + 64);
}

static int nothing_freed(void)
{
    return aclrtFree(NULL);
}

static int device_memory_freed_as_pinned(void)
{
    return aclrtFreeHost(device(64));
}

static int host_reads_device_memory(void)
{
    const volatile char *where = device(64);
    return *where;
}

static int host_writes_device_memory(void)
{
    volatile char *where = device(64);
    *where = 1;
    return 0;
}

static int copy_without_room(void)
{
    char host[64] = {0};
    return aclrtMemcpy(device(64), 32, host, 64, 1);
}

static int copy_beyond_the_end(void)
{
    char host[4096] = {0};
    return aclrtMemcpy(device(64), sizeof host, host, sizeof host, 1);
}

static int copy_to_freed_memory(void)
{
    char host[64] = {0};
    void *where = device(64);
    assert_int_equal(aclrtFree(where), 0);
    return aclrtMemcpy(where, 64, host, 64, 1);
}

static int queued_copy_to_freed_memory(void)
{
    void *where = device(64), *from = device(64);
    assert_int_equal(aclrtFree(where), 0);
    assert_int_equal(aclrtMemcpyAsync(where, 64, from, 64, 3, NULL), 0);
    return aclrtSynchronizeStream(NULL);
}

static int queued_copy_on_the_host(void)
{
    char a[64] = {0}, b[64] = {0};
    return aclrtMemcpyAsync(a, 64, b, 64, 0, NULL);
}

static int copy_of_nothing(void)
{
    return aclrtMemcpy(device(64), 64, NULL, 64, 1);
}

/* ---- streams, events ---- */

static aclrtStream new_stream(void)
{
    aclrtStream s = NULL;
    assert_int_equal(aclrtCreateStream(&s), 0);
    return s;
}

static int stream_after_its_end(void)
{
    aclrtStream s = new_stream();
    assert_int_equal(aclrtDestroyStream(s), 0);
    return aclrtSynchronizeStream(s);
}

static int stream_destroyed_twice(void)
{
    aclrtStream s = new_stream();
    assert_int_equal(aclrtDestroyStream(s), 0);
    return aclrtDestroyStream(s);
}

static int stream_of_another_context(void)
{
    aclrtContext other = NULL;
    aclrtStream s = new_stream();
    assert_int_equal(aclrtCreateContext(&other, 0), 0);
    return aclrtSynchronizeStream(s);
}

static int stream_of_another_device(void)
{
    aclrtStream s = new_stream();
    assert_int_equal(aclrtSetDevice(1), 0);
    return aclrtSynchronizeStream(s);
}

static int default_stream_destroyed(void)
{
    return aclrtDestroyStream(NULL);
}

static int wait_of_no_time(void)
{
    return aclrtSynchronizeStreamWithTimeout(NULL, 0);
}

/* InplaceZero does not end, by the row's plan. */
static aclrtStream stuck(void)
{
    uint64_t bytes = 0;
    aclOpExecutor *made = NULL;
    aclrtStream s = new_stream();
    assert_int_equal(aclnnInplaceZeroGetWorkspaceSize(fresh(EMU_FLOAT), &bytes, &made), 0);
    assert_int_equal(aclnnInplaceZero(NULL, 0, made, s), 0);
    return s;
}

static int wait_that_runs_out(void)
{
    aclrtStream s = stuck();
    const int code = aclrtSynchronizeStreamWithTimeout(s, SHORT_MS);
    assert_int_equal(aclrtDestroyStreamForce(s), 0);
    return code;
}

static int wait_for_an_event_that_runs_out(void)
{
    aclrtEvent e = NULL;
    aclrtStream s = stuck();
    assert_int_equal(aclrtCreateEvent(&e), 0);
    assert_int_equal(aclrtRecordEvent(e, s), 0);
    const int code = aclrtSynchronizeEventWithTimeout(e, SHORT_MS);
    assert_int_equal(aclrtDestroyStreamForce(s), 0);
    return code;
}

static int event_after_its_end(void)
{
    aclrtEvent e = NULL;
    assert_int_equal(aclrtCreateEvent(&e), 0);
    assert_int_equal(aclrtDestroyEvent(e), 0);
    return aclrtRecordEvent(e, NULL);
}

static int time_of_what_was_not_recorded(void)
{
    aclrtEvent a = NULL, b = NULL;
    float ms = 0;
    assert_int_equal(aclrtCreateEvent(&a) | aclrtCreateEvent(&b), 0);
    return aclrtEventElapsedTime(&ms, a, b);
}

/* ---- descriptors ---- */

static int negative_length(void)
{
    const int64_t dims[2] = {2, -1};
    return noted(aclCreateTensor(dims, 2, EMU_FLOAT, NULL, 0, ND, dims, 0, NULL));
}

static int negative_stride(void)
{
    const int64_t dims[2] = {2, 2}, strides[2] = {2, -1};
    return noted(aclCreateTensor(dims, 2, EMU_FLOAT, strides, 0, ND, dims, 2, NULL));
}

static int type_that_is_none(void)
{
    const int64_t dims[2] = {2, 2};
    return noted(aclCreateTensor(dims, 2, 99, NULL, 0, ND, dims, 2, NULL));
}

static int tensor_destroyed_twice(void)
{
    const aclTensor *t = fresh(EMU_FLOAT);
    assert_int_equal(aclDestroyTensor(t), 0);
    return aclDestroyTensor(t);
}

static int member_of_a_list_destroyed_too(void)
{
    const aclTensor *t = fresh(EMU_FLOAT);
    assert_int_equal(aclDestroyTensorList(aclCreateTensorList(&t, 1)), 0);
    return aclDestroyTensor(t);
}

static int destroyed_tensor_in_phase_1(void)
{
    aclTensor *t = fresh(EMU_FLOAT), *y = fresh(EMU_FLOAT);
    assert_int_equal(aclDestroyTensor(t), 0);
    PHASE_1(Silu, t, y);
}

static int tensor_destroyed_before_phase_2(void)
{
    aclTensor *t = fresh(EMU_FLOAT);
    aclOpExecutor *made = silu(t, fresh(EMU_FLOAT));
    assert_int_equal(aclDestroyTensor(t), 0);
    return aclnnSilu(NULL, 0, made, NULL);
}

/* ---- executors, workspace ---- */

static int executor_used_twice(void)
{
    aclTensor *t = fresh(EMU_FLOAT);
    aclOpExecutor *made = silu(t, t);
    assert_int_equal(aclnnSilu(NULL, 0, made, NULL), 0);
    return aclnnSilu(NULL, 0, made, NULL);
}

static aclOpExecutor *destroyed(void)
{
    aclTensor *t = fresh(EMU_FLOAT);
    aclOpExecutor *made = silu(t, t);
    assert_int_equal(aclSetAclOpExecutorRepeatable(made), 0);
    assert_int_equal(aclDestroyAclOpExecutor(made), 0);
    return made;
}

static int executor_after_its_end(void)
{
    return aclnnSilu(NULL, 0, destroyed(), NULL);
}

static int executor_destroyed_twice(void)
{
    return aclDestroyAclOpExecutor(destroyed());
}

static int repeatable_too_late(void)
{
    aclTensor *t = fresh(EMU_FLOAT);
    aclOpExecutor *made = silu(t, t);
    assert_int_equal(aclnnSilu(NULL, 0, made, NULL), 0);
    return aclSetAclOpExecutorRepeatable(made);
}

static int no_executor(void)
{
    return aclnnSilu(NULL, 0, NULL, NULL);
}

static int no_place_for_the_executor(void)
{
    uint64_t bytes = 0;
    return aclnnSiluGetWorkspaceSize(fresh(EMU_FLOAT), fresh(EMU_FLOAT), &bytes, NULL);
}

/* Phase 1 of a sum, which wants workspace. */
static aclOpExecutor *sum(uint64_t *bytes)
{
    const int64_t axis = 1, two = 2;
    aclOpExecutor *made = NULL;
    aclTensor *y = aclCreateTensor(&two, 1, EMU_FLOAT, NULL, 0, ND, &two, 1, device(64));
    assert_int_equal(aclnnReduceSumGetWorkspaceSize(fresh(EMU_FLOAT), aclCreateIntArray(&axis, 1),
                                                    false, EMU_FLOAT, y, bytes, &made),
                     0);
    assert_true(*bytes > 0);
    return made;
}

static int short_workspace(void)
{
    uint64_t bytes = 0;
    aclOpExecutor *made = sum(&bytes);
    return aclnnReduceSum(device((size_t)bytes), bytes - 1, made, NULL);
}

static int no_workspace(void)
{
    uint64_t bytes = 0;
    aclOpExecutor *made = sum(&bytes);
    return aclnnReduceSum(NULL, bytes, made, NULL);
}

static int workspace_of_the_host(void)
{
    static _Alignas(64) char host[1 << 16];
    uint64_t bytes = 0;
    aclOpExecutor *made = sum(&bytes);
    assert_true(bytes <= sizeof host);
    assert_int_equal(aclnnReduceSum(host, bytes, made, NULL), 0);
    return aclrtSynchronizeStream(NULL);
}

static int workspace_freed_before(void)
{
    uint64_t bytes = 0;
    aclOpExecutor *made = sum(&bytes);
    void *where = device((size_t)bytes);
    assert_int_equal(aclrtFree(where), 0);
    assert_int_equal(aclnnReduceSum(where, bytes, made, NULL), 0);
    return aclrtSynchronizeStream(NULL);
}

/* ---- addresses ---- */

static int host_pointer(void)
{
    static _Alignas(64) float host[4];
    return zero(at(EMU_FLOAT, host));
}

static int misaligned_address(void)
{
    return zero(at(EMU_FLOAT, (char *)device(64) + 16));
}

static int view_beyond_the_end(void)
{
    return zero(tensor(EMU_FLOAT, 20, 2, NULL, device(64)));
}

static int use_after_free(void)
{
    void *where = device(64);
    assert_int_equal(aclrtFree(where), 0);
    return zero(at(EMU_FLOAT, where));
}

static int memory_of_another_device(void)
{
    assert_int_equal(aclrtSetDevice(1), 0);
    void *where = device(64);
    assert_int_equal(aclrtSetDevice(0), 0);
    return zero(at(EMU_FLOAT, where));
}

static int no_address(void)
{
    return zero(at(EMU_FLOAT, NULL));
}

/* The default stream waits for one that is stuck, so that its work is certainly still to come. */
static aclrtStream hold(void)
{
    aclrtEvent e = NULL;
    aclrtStream s = stuck();
    assert_int_equal(aclrtCreateEvent(&e), 0);
    assert_int_equal(aclrtRecordEvent(e, s), 0);
    assert_int_equal(aclrtStreamWaitEvent(NULL, e), 0);
    return s;
}

static int freed_without_a_sync(void)
{
    void *where = device(64);
    aclrtStream s = hold();
    assert_int_equal(aclnnSilu(NULL, 0, silu(at(EMU_FLOAT, where), fresh(EMU_FLOAT)), NULL), 0);
    assert_int_equal(aclrtFree(where), 0); /* it does not wait */
    assert_int_equal(aclrtDestroyStreamForce(s), 0);
    return aclrtSynchronizeStream(NULL);
}

/* No code says so: what was not waited for is not there. */
static int read_without_a_sync(void)
{
    const float x[4] = {0};
    unsigned char got[16], y[16];
    memset(y, 0xFF, sizeof y);
    void *where = upload(y, sizeof y);
    aclrtStream s = hold();
    assert_int_equal(
        aclnnSilu(NULL, 0, silu(at(EMU_FLOAT, upload(x, sizeof x)), at(EMU_FLOAT, where)), NULL),
        0);
    download(got, where, sizeof got);
    const bool is_old = memcmp(got, y, sizeof y) == 0;
    assert_int_equal(aclrtDestroyStreamForce(s), 0);
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, where, sizeof got);
    return is_old && memcmp(got, x, sizeof x) == 0 ? 0 : -1;
}

/* ---- arguments ---- */

static int tensor_missing(void)
{
    aclTensor *f = fresh(EMU_FLOAT);
    PHASE_1(Mm, NULL, f, f, 0);
}

static int factors_of_two_types(void)
{
    aclTensor *f = fresh(EMU_FLOAT), *h = fresh(EMU_BF16);
    PHASE_1(Mm, f, h, f, 0);
}

static int wider_product(void)
{
    aclTensor *f = fresh(EMU_FLOAT), *h = fresh(EMU_BF16);
    PHASE_1(Mm, h, h, f, 0);
}

static int bf16_as_f16(void)
{
    aclTensor *h = fresh(EMU_BF16);
    PHASE_1(Mm, h, h, h, 2);
}

static int cube_type_that_is_none(void)
{
    aclTensor *f = fresh(EMU_FLOAT);
    PHASE_1(Mm, f, f, f, 9);
}

static int factors_that_do_not_fit(void)
{
    aclTensor *wide = tensor(EMU_FLOAT, 2, 3, NULL, device(64));
    PHASE_1(Mm, wide, wide, wide, 0);
}

static int result_of_another_shape(void)
{
    aclTensor *wide = tensor(EMU_FLOAT, 2, 3, NULL, device(64)), *f = fresh(EMU_FLOAT);
    PHASE_1(Silu, wide, f);
}

static int cast_to_another_type_than_named(void)
{
    aclTensor *f = fresh(EMU_FLOAT), *h = fresh(EMU_BF16);
    PHASE_1(Cast, f, EMU_FLOAT16, h);
}

static int comparison_into_floats(void)
{
    aclTensor *f = fresh(EMU_FLOAT);
    PHASE_1(LtTensor, f, f, f);
}

static int ids_that_are_floats(void)
{
    aclTensor *f = fresh(EMU_FLOAT);
    PHASE_1(IndexSelect, f, 0, f, f);
}

static int softmax_over_no_axis(void)
{
    aclTensor *f = fresh(EMU_FLOAT);
    PHASE_1(Softmax, f, 2, f);
}

static int bf16_on_a_chip_without(void)
{
    aclTensor *h = fresh(EMU_BF16);
    PHASE_1(Silu, h, h);
}

static int exact_f32_on_a_chip_without(void)
{
    aclTensor *f = fresh(EMU_FLOAT);
    PHASE_1(Mm, f, f, f, 0);
}

static int operator_that_the_chip_lacks(void)
{
    aclTensor *f = fresh(EMU_FLOAT);
    PHASE_1(SiluBackward, f, f, f);
}

/* ---- the table ---- */

#define STUCK "MIZAN_EMU_ASCEND_FAULTS"
#define SOC "MIZAN_EMU_ASCEND_SOC"
#define ENDLESS "endless call=aclnnInplaceZero"

typedef struct row {
    const char *name;
    int (*run)(void);
    int code;
    const char *variable, *value; /* of its environment, or NULL */
} row;

#define ROW(run, code)                                                                             \
    {                                                                                              \
#run, run, code, NULL, NULL                                                                \
    }

static const row ROWS[] = {
    ROW(device_before_init, 100001),
    ROW(init_twice, 100002),
    ROW(finalize_twice, 100037),
    ROW(init_in_a_forked_child, 100001),
    ROW(thread_without_a_device, 107002),
    ROW(device_that_is_not_there, 107001),
    ROW(implicit_context_destroyed, 107000),
    ROW(no_context_made_current, 107000),
    {"overflow_mode_of_another_chip", overflow_mode_of_another_chip, 207000, SOC, "Ascend310P3"},
    ROW(overflow_mode_that_is_none, 100000),
    ROW(parameter_that_is_none, 100000),
    ROW(no_bytes, 107000),
    ROW(too_many_bytes, 207001),
    ROW(freed_twice, 107000),
    ROW(host_memory_freed, 107000),
    ROW(freed_from_within, 107000),
    ROW(nothing_freed, 107000),
    ROW(device_memory_freed_as_pinned, 107000),
    ROW(host_reads_device_memory, TRAP),
    ROW(host_writes_device_memory, TRAP),
    ROW(copy_without_room, 107000),
    ROW(copy_beyond_the_end, 107000),
    ROW(copy_to_freed_memory, 107000),
    ROW(queued_copy_to_freed_memory, 507013),
    ROW(queued_copy_on_the_host, 207000),
    ROW(copy_of_nothing, 107000),
    ROW(stream_after_its_end, 107017),
    ROW(stream_destroyed_twice, 107017),
    ROW(stream_of_another_context, 107003),
    ROW(stream_of_another_device, 107003),
    ROW(default_stream_destroyed, 107000),
    ROW(wait_of_no_time, 107000),
    {"wait_that_runs_out", wait_that_runs_out, 507046, STUCK, ENDLESS},
    {"wait_for_an_event_that_runs_out", wait_for_an_event_that_runs_out, 507047, STUCK, ENDLESS},
    ROW(event_after_its_end, 107017),
    ROW(time_of_what_was_not_recorded, 107000),
    ROW(negative_length, 161002),
    ROW(negative_stride, 161002),
    ROW(type_that_is_none, 161002),
    ROW(tensor_destroyed_twice, 161002),
    ROW(member_of_a_list_destroyed_too, 161002),
    ROW(destroyed_tensor_in_phase_1, 161002),
    ROW(tensor_destroyed_before_phase_2, 161002),
    ROW(executor_used_twice, 561102),
    ROW(executor_after_its_end, 561102),
    ROW(executor_destroyed_twice, 561103),
    ROW(repeatable_too_late, 561103),
    ROW(no_executor, 561103),
    ROW(no_place_for_the_executor, 161001),
    ROW(short_workspace, 161002),
    ROW(no_workspace, 161002),
    ROW(workspace_of_the_host, 507015),
    ROW(workspace_freed_before, 507015),
    ROW(host_pointer, 507035),
    ROW(misaligned_address, 507015),
    ROW(view_beyond_the_end, 507035),
    ROW(use_after_free, 507035),
    ROW(memory_of_another_device, 507035),
    ROW(no_address, 507035),
    {"freed_without_a_sync", freed_without_a_sync, 507035, STUCK, ENDLESS},
    {"read_without_a_sync", read_without_a_sync, 0, STUCK, ENDLESS},
    ROW(tensor_missing, 161001),
    ROW(factors_of_two_types, 161002),
    ROW(wider_product, 161002),
    ROW(bf16_as_f16, 161002),
    ROW(cube_type_that_is_none, 161002),
    ROW(factors_that_do_not_fit, 161002),
    ROW(result_of_another_shape, 161002),
    ROW(cast_to_another_type_than_named, 161002),
    ROW(comparison_into_floats, 161002),
    ROW(ids_that_are_floats, 161002),
    ROW(softmax_over_no_axis, 161002),
    {"bf16_on_a_chip_without", bf16_on_a_chip_without, 161002, SOC, "Ascend910A"},
    {"exact_f32_on_a_chip_without", exact_f32_on_a_chip_without, 161002, SOC, "Ascend310P3"},
    {"operator_that_the_chip_lacks", operator_that_the_chip_lacks, 561003, SOC, "Ascend310P3"},
};

/* In the child: 0 if the code is the one that was wanted. */
static int violate(const row *r)
{
    (void)setenv("MIZAN_EMU_ASCEND_DEVICES", "2", 1);
    if (r->variable) (void)setenv(r->variable, r->value, 1);
    if (r->run != device_before_init) {
        assert_int_equal(aclInit(NULL), 0);
        assert_int_equal(aclrtSetDevice(0), 0);
    }
    if (r->code == TRAP) (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would end it otherwise */
    const int got = r->run();
    if (got != r->code) print_error("%s: %d, not %d\n", r->name, got, r->code);
    return got == r->code ? 0 : CHILD_ERROR;
}

static void each_violation_is_caught(void **state)
{
    int bad = 0;
    (void)state;
    for (int i = 0; i < MZ_COUNT(ROWS); i++) {
        int status = 0;
        (void)fflush(NULL);
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) _exit(violate(&ROWS[i]));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        const bool is_caught = ROWS[i].code == TRAP
                                   ? WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV
                                   : WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (!is_caught) print_error("%s: not caught (status %d)\n", ROWS[i].name, status);
        bad += !is_caught;
    }
    assert_int_equal(bad, 0);
    assert_true(MZ_COUNT(ROWS) >= 40);
    print_message("%d violations of the contract, each caught with its code\n",
                  (int)MZ_COUNT(ROWS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_violation_is_caught)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
