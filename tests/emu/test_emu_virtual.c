/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/test_emu_virtual.c - memory that is put behind reserved addresses, handles that go from
 * process to process, which devices a process sees, and which CANN it is told of. */
#include "tests/emu/client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB2 = 2 << 20, PARAM = 107000, VECTOR_CORE = 507035, FULL = 207001, BARRED = 207006 };

static const aclrtPhysicalMemProp PROP = {.memAttr = EMU_HBM_HUGE, .location = {0, EMU_ON_DEVICE}};

static int start(void **state)
{
    (void)state;
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_DEVICES", "4", 1), 0);
    assert_int_equal(unsetenv("ASCEND_RT_VISIBLE_DEVICES"), 0);
    assert_int_equal(aclInit(NULL), 0);
    assert_int_equal(aclrtSetDevice(0), 0);
    return 0;
}

static void *reserve(size_t bytes)
{
    void *at = NULL;
    assert_int_equal(aclrtReserveMemAddress(&at, bytes, 0, NULL, 1), 0);
    assert_int_equal((uintptr_t)at % MIB2, 0);
    return at;
}

static aclrtDrvMemHandle memory(size_t bytes)
{
    aclrtDrvMemHandle handle = NULL;
    assert_int_equal(aclrtMallocPhysical(&handle, bytes, &PROP, 0), 0);
    return handle;
}

static size_t in_use(void)
{
    size_t left = 0, total = 0;
    assert_int_equal(aclrtGetMemInfo(1, &left, &total), 0);
    return total - left;
}

static void granularity_is_two_mib(void **state)
{
    size_t bytes = 0;
    aclrtPhysicalMemProp prop = PROP;
    (void)state;
    assert_int_equal(aclrtMemGetAllocationGranularity(&prop, 0, &bytes), 0);
    assert_int_equal(bytes, MIB2);
    assert_int_equal(aclrtMemGetAllocationGranularity(&prop, 7, &bytes), PARAM);
}

/* Two handles side by side are one memory, whatever lies between them; a handle keeps what is in it
 * where it is mapped again. */
static void one_memory_of_two_handles(void **state)
{
    const size_t before = in_use();
    unsigned char *at = reserve((size_t)72 << 30);
    aclrtDrvMemHandle a = memory(MIB2), between = memory(MIB2), b = memory(2 * MIB2);
    (void)state;
    assert_int_equal(in_use() - before, 4 * MIB2);
    assert_int_equal(aclrtMapMem(at + MIB2, MIB2, 0, a, 0), 0);
    assert_int_equal(aclrtMapMem(at + 2 * MIB2, 2 * MIB2, 0, b, 0), 0);
    const int64_t n = 3 * MIB2 / (int64_t)sizeof(float);
    aclTensor *x = aclCreateTensor(&n, 1, EMU_FLOAT, NULL, 0, ND, &n, 1, at + MIB2);
    float three = 3, got[2] = {0};
    CALL(InplaceFillScalar, x, aclCreateScalar(&three, EMU_FLOAT));
    assert_int_equal(aclrtSynchronizeStream(NULL), 0);
    download(got, at + 2 * MIB2 - sizeof(float), sizeof got); /* over the border */
    assert_true(is_near(got[0], 3, 0) && is_near(got[1], 3, 0));
    assert_int_equal(aclrtMemcpy(got, sizeof got, at, sizeof got, 2), PARAM);
    assert_int_equal(aclrtMemcpy(got, sizeof got, at + MIB2 - 4, sizeof got, 2), PARAM);
    assert_int_equal(aclrtUnmapMem(at + MIB2), 0);
    assert_int_equal(aclrtMapMem(at, MIB2, 0, a, 0), 0);
    download(got, at, sizeof got);
    assert_true(is_near(got[0], 3, 0));
    assert_int_equal(aclrtUnmapMem(at), 0);
    assert_int_equal(aclrtUnmapMem(at + 2 * MIB2), 0);
    assert_int_equal(aclrtFreePhysical(a), 0);
    assert_int_equal(aclrtFreePhysical(between), 0);
    assert_int_equal(aclrtFreePhysical(b), 0);
    assert_int_equal(aclrtReleaseMemAddress(at), 0);
    assert_int_equal(in_use(), before);
}

/* The host may not look, new memory is NaN, and what is unmapped is device memory no more. */
static void it_is_protected_and_poisoned(void **state)
{
    unsigned char *at = reserve(MIB2);
    aclrtDrvMemHandle handle = memory(MIB2);
    uint32_t word = 0;
    (void)state;
    assert_int_equal(aclrtMemcpy(&word, sizeof word, at, sizeof word, 2), PARAM);
    assert_int_equal(aclrtMapMem(at, MIB2, 0, handle, 0), 0);
    download(&word, at, sizeof word);
    assert_int_equal(word, 0xFFFFFFFFU);
    assert_int_equal(aclrtMemcpy(&word, sizeof word, at + MIB2 - 2, sizeof word, 2), PARAM);
    const pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's own would go on with the tests */
        _exit(((const volatile unsigned char *)at)[0] == 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) > 1); /* a sanitizer exits */
    const int64_t n = 4;
    aclTensor *x = aclCreateTensor(&n, 1, EMU_FLOAT, NULL, 0, ND, &n, 1, at);
    float one = 1;
    assert_int_equal(aclrtUnmapMem(at), 0);
    CALL(InplaceFillScalar, x, aclCreateScalar(&one, EMU_FLOAT));
    assert_int_equal(aclrtSynchronizeStream(NULL), VECTOR_CORE);
    assert_int_equal(aclrtFreePhysical(handle), 0);
    assert_int_equal(aclrtReleaseMemAddress(at), 0);
}

static void what_the_documents_forbid(void **state)
{
    void *none = NULL;
    unsigned char *at = reserve(4 * MIB2);
    aclrtDrvMemHandle handle = memory(MIB2), other = NULL;
    aclrtPhysicalMemProp prop = PROP;
    (void)state;
    assert_int_equal(aclrtReserveMemAddress(&none, 0, 0, NULL, 1), PARAM);
    assert_int_equal(aclrtReserveMemAddress(&none, MIB2, 64, NULL, 1), PARAM);
    assert_int_equal(aclrtReserveMemAddress(&none, MIB2, 0, at, 1), PARAM);
    assert_int_equal(aclrtMallocPhysical(&other, MIB2 + 4096, &PROP, 0), PARAM);
    assert_int_equal(aclrtMallocPhysical(&other, MIB2, &PROP, 1), PARAM);
    assert_int_equal(aclrtMallocPhysical(&other, (size_t)65 << 30, &PROP, 0), FULL);
    prop.location.id = 1;
    assert_int_equal(aclrtMallocPhysical(&other, MIB2, &prop, 0), 107001); /* nobody opened it */
    assert_int_equal(aclrtMapMem(at + 4096, MIB2, 0, handle, 0), PARAM);
    assert_int_equal(aclrtMapMem(at, 2 * MIB2, 0, handle, 0), PARAM);
    assert_int_equal(aclrtMapMem(at, MIB2, MIB2, handle, 0), PARAM);
    assert_int_equal(aclrtMapMem(at, MIB2, 0, &none, 0), PARAM);
    assert_int_equal(aclrtMapMem(at, MIB2, 0, handle, 0), 0);
    assert_int_equal(aclrtMapMem(at, MIB2, 0, handle, 0), PARAM); /* there is memory already */
    assert_int_equal(aclrtFreePhysical(handle), PARAM);           /* and it is mapped */
    assert_int_equal(aclrtReleaseMemAddress(at), PARAM);
    assert_int_equal(aclrtFree(at), PARAM);
    assert_int_equal(aclrtUnmapMem(at + MIB2), PARAM);
    assert_int_equal(aclrtUnmapMem(at), 0);
    assert_int_equal(aclrtFreePhysical(handle), 0);
    assert_int_equal(aclrtFreePhysical(handle), PARAM);
    assert_int_equal(aclrtReleaseMemAddress(at + MIB2), PARAM);
    assert_int_equal(aclrtReleaseMemAddress(at), 0);
    assert_int_equal(aclrtReleaseMemAddress(at), PARAM);
}

/* One range does not take the memory of two devices. */
static void a_range_is_of_one_device(void **state)
{
    unsigned char *at = reserve(2 * MIB2);
    aclrtPhysicalMemProp prop = PROP;
    aclrtDrvMemHandle here = memory(MIB2), there = NULL;
    (void)state;
    prop.location.id = 1;
    assert_int_equal(aclrtSetDevice(1), 0);
    assert_int_equal(aclrtMallocPhysical(&there, MIB2, &prop, 0), 0);
    assert_int_equal(aclrtMapMem(at, MIB2, 0, here, 0), 0);
    assert_int_equal(aclrtMapMem(at + MIB2, MIB2, 0, there, 0), PARAM);
    assert_int_equal(aclrtUnmapMem(at), 0);
    assert_int_equal(aclrtMapMem(at + MIB2, MIB2, 0, there, 0), 0);
    assert_int_equal(aclrtUnmapMem(at + MIB2), 0);
    assert_int_equal(aclrtFreePhysical(here), 0);
    assert_int_equal(aclrtFreePhysical(there), 0);
    assert_int_equal(aclrtReleaseMemAddress(at), 0);
    assert_int_equal(aclrtSetDevice(0), 0);
}

/* ---- between processes: children that wait from before the driver was opened ---- */

static int taker(uint64_t shared)
{
    aclrtDrvMemHandle handle = NULL;
    void *at = NULL;
    uint32_t word = 0;
    if (aclInit(NULL) != 0 || aclrtSetDevice(0) != 0) return 1;
    const int code = aclrtMemImportFromShareableHandle(shared, 0, &handle);
    if (code != 0) return code == BARRED ? 66 : 2;
    if (aclrtReserveMemAddress(&at, MIB2, 0, NULL, 1) != 0) return 3;
    if (aclrtMapMem(at, MIB2, 0, handle, 0) != 0) return 4;
    if (aclrtMemcpy(&word, sizeof word, at, sizeof word, 2) != 0 || word != 7) return 5;
    word = 8;
    if (aclrtMemcpy(at, sizeof word, &word, sizeof word, 1) != 0) return 6;
    return aclrtUnmapMem(at) == 0 && aclrtFreePhysical(handle) == 0 ? 0 : 7;
}

enum { TAKERS = 2 };
static pid_t takers[TAKERS];
static int pipes[TAKERS]; /* where each is told the handle */

static int start_takers(void)
{
    for (int i = 0; i < TAKERS; i++) {
        int ends[2];
        if (pipe(ends) != 0) return 1;
        takers[i] = fork();
        if (takers[i] < 0) return 1;
        if (takers[i] == 0) {
            uint64_t shared = 0;
            (void)close(ends[1]);
            _exit(read(ends[0], &shared, sizeof shared) == sizeof shared ? taker(shared) : 9);
        }
        (void)close(ends[0]);
        pipes[i] = ends[1];
    }
    return 0;
}

/* How that child ends. */
static int told(int i, uint64_t shared)
{
    int status = 0;
    assert_int_equal(write(pipes[i], &shared, sizeof shared), sizeof shared);
    assert_int_equal(waitpid(takers[i], &status, 0), takers[i]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_handle_goes_to_another_process(void **state)
{
    unsigned char *at = reserve(MIB2);
    aclrtDrvMemHandle handle = memory(MIB2), again = NULL;
    uint64_t shared = 0, open = 0;
    uint32_t word = 7;
    (void)state;
    assert_int_equal(aclrtMapMem(at, MIB2, 0, handle, 0), 0);
    assert_int_equal(aclrtMemcpy(at, MIB2, &word, sizeof word, 1), 0);
    assert_int_equal(aclrtMemExportToShareableHandle(handle, 0, 0, &shared), 0);
    assert_int_equal(told(0, shared), 66);
    const int32_t second = (int32_t)takers[1];
    assert_int_equal(aclrtMemSetPidToShareableHandle(shared, (int32_t[]){second}, 1), 0);
    assert_int_equal(told(1, shared), 0);
    download(&word, at, sizeof word);
    assert_int_equal(word, 8);
    assert_int_equal(aclrtMemImportFromShareableHandle(shared + 1, 0, &again), PARAM);
    assert_int_equal(aclrtMemExportToShareableHandle(&word, 0, 0, &open), PARAM);
    assert_int_equal(aclrtUnmapMem(at), 0);
    assert_int_equal(aclrtFreePhysical(handle), 0);
    assert_int_equal(aclrtReleaseMemAddress(at), 0);
}

/* ---- devices and versions ---- */

static uint32_t seen(const char *visible)
{
    uint32_t n = 99;
    assert_int_equal(setenv("ASCEND_RT_VISIBLE_DEVICES", visible, 1), 0);
    assert_int_equal(aclrtGetDeviceCount(&n), 0);
    return n;
}

static void devices_are_hidden_and_renumbered(void **state)
{
    int32_t device = -1;
    void *at = NULL;
    (void)state;
    assert_int_equal(seen("1"), 1);
    assert_int_equal(seen("0,1,2,3"), 4);
    assert_int_equal(seen("1, 2"), 1);
    assert_int_equal(seen("1,3,8"), 2);
    assert_int_equal(seen("2,-1,3"), 1);
    assert_int_equal(seen(""), 0);
    assert_int_equal(aclrtSetDevice(0), 107001);
    assert_int_equal(seen("2,3"), 2);
    assert_int_equal(aclrtSetDevice(2), 107001);
    assert_int_equal(aclrtSetDevice(1), 0);
    assert_int_equal(aclrtGetDevice(&device), 0);
    assert_int_equal(device, 1);
    assert_int_equal(aclrtMalloc(&at, 64, 0), 0);
    assert_int_equal(aclrtFree(at), 0);
    assert_int_equal(aclrtResetDevice(0), 107001); /* device 2 of the machine: nobody opened it */
    assert_int_equal(aclrtResetDevice(1), 0);
    assert_int_equal(unsetenv("ASCEND_RT_VISIBLE_DEVICES"), 0);
    assert_int_equal(aclrtResetDevice(3), 0); /* the same one */
    assert_int_equal(aclrtSetDevice(0), 0);
}

static void versions_are_told(void **state)
{
    aclCANNPackageVersion v;
    char text[128] = "", name[] = "ops_nn", wrong[] = "ops_none";
    (void)state;
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_CANN", "8.5.0.alpha003", 1), 0);
    assert_int_equal(aclsysGetCANNVersion(0, &v), 0);
    assert_string_equal(v.version, "8.5.0.alpha003");
    assert_string_equal(v.majorVersion, "8");
    assert_string_equal(v.minorVersion, "5");
    assert_string_equal(v.releaseVersion, "0");
    assert_string_equal(v.patchVersion, "alpha003");
    assert_int_equal(setenv("MIZAN_EMU_ASCEND_CANN", "8.2.RC1", 1), 0);
    assert_int_equal(aclsysGetVersionStr(name, text), 0);
    assert_string_equal(text, "8.2.RC1");
    assert_int_equal(aclsysGetVersionStr(wrong, text), 100003);
    assert_int_equal(aclsysGetCANNVersion(8, &v), 100000);
    assert_int_equal(unsetenv("MIZAN_EMU_ASCEND_CANN"), 0);
    assert_int_equal(aclsysGetCANNVersion(0, &v), 0);
    assert_string_equal(v.version, "8.5.0");
}

/* A parameter of the process is that of devices that are set later. */
static void parameters_of_the_process(void **state)
{
    int64_t value = -1;
    (void)state;
    assert_int_equal(aclrtSetSysParamOpt(0, 1), 0);
    assert_int_equal(aclrtGetSysParamOpt(0, &value), 0);
    assert_int_equal(value, 1);
    assert_int_equal(aclrtCtxSetSysParamOpt(0, 0), 0);
    assert_int_equal(aclrtGetSysParamOpt(0, &value), 0);
    assert_int_equal(value, 1);
    assert_int_equal(aclrtSetDevice(2), 0);
    assert_int_equal(aclrtCtxGetSysParamOpt(0, &value), 0);
    assert_int_equal(value, 1);
    assert_int_equal(aclrtSetSysParamOpt(9, 1), 100000);
    assert_int_equal(aclrtSetSysParamOpt(0, 0), 0);
    assert_int_equal(aclrtSetDevice(0), 0);
}

static void a_config_is_json(void **state)
{
    char path[] = "mizan-acl-XXXXXX";
    (void)state;
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(aclInit("no/such/file.json"), 100003);
    assert_int_equal(aclInit(path), 100003); /* it is empty */
    assert_int_equal(write(file, " {\"dump\":{}}", 12), 12);
    assert_int_equal(aclInit(path), 100002); /* it was called before */
    (void)close(file);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(granularity_is_two_mib),
        cmocka_unit_test(one_memory_of_two_handles),
        cmocka_unit_test(it_is_protected_and_poisoned),
        cmocka_unit_test(what_the_documents_forbid),
        cmocka_unit_test(a_range_is_of_one_device),
        cmocka_unit_test(a_handle_goes_to_another_process),
        cmocka_unit_test(devices_are_hidden_and_renumbered),
        cmocka_unit_test(versions_are_told),
        cmocka_unit_test(parameters_of_the_process),
        cmocka_unit_test(a_config_is_json),
    };
    if (start_takers() != 0) return 1;
    return cmocka_run_group_tests(tests, start, NULL);
}
