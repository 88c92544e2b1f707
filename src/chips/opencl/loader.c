/* SPDX-License-Identifier: Apache-2.0 */
/* chips/opencl/loader.c - finds the OpenCL loader and its devices; names of the driver's codes.
 *
 * Floor:  chips.   Time: the first call opens the library and the vendors' drivers. */
#include "base/file.h"
#include "base/trial.h"
#include "chips/opencl/cl.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

enum { PLATFORMS_MAX = 32, DEVICES_MAX = 64 };
static const double TRIAL_S = 30.0; /* a driver that compiles its own library takes seconds */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mz_cl table;
static pid_t opened_by; /* 0: nobody yet */

static mz_err find(void *library, const char *name, void *out)
{
    *(void **)out = dlsym(library, name);
    if (*(void **)out) return MZ_OK;
    const mz_err err =
        MZ_FAIL(MZ_ENOTSUP, "the OpenCL loader has no %s: it is older than 1.2", name);
    mz_note_fix("install ocl-icd-libopencl1");
    return err;
}

static mz_err bind(void *library)
{
#define MZ_CL_FIND(result, name, parameters) MZ_TRY(find(library, "cl" #name, (void *)&table.name));
    MZ_CL_LIST(MZ_CL_FIND)
#undef MZ_CL_FIND
    return MZ_OK;
}

/* What lies in the folder that was named is used or refused, never passed over. */
static mz_err open_library(void **library, const char *driver_path)
{
    static const char *const names[] = {"libOpenCL.so.1", "libOpenCL.so"};
    char path[PATH_MAX];
    *library = NULL;
    for (int i = 0; driver_path && i < 2; i++) {
        MZ_TRY(mz_path_join(path, sizeof path, driver_path, names[i]));
        if (!mz_file_exists(path)) continue;
        *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        return *library ? MZ_OK : MZ_FAIL(MZ_ENOTSUP, "%.300s", dlerror());
    }
    for (int i = 0; i < 2 && !*library; i++) *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (*library) return MZ_OK;
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "no OpenCL loader: %.300s", dlerror());
    mz_note_fix(
        "apt-get install ocl-icd-libopencl1, and the driver of your device (pocl-opencl-icd "
        "for the processor)");
    return err;
}

/* As far as drivers have been seen to crash: when the loader opens them, and when they look for
 * their devices. In a process of its own. */
static void open_once(const void *driver_path)
{
    void *library = NULL;
    cl_platform_id platforms[PLATFORMS_MAX];
    cl_device_id devices[DEVICES_MAX];
    uint32_t n = 0, here = 0;
    if (open_library(&library, driver_path) != MZ_OK || bind(library) != MZ_OK) return;
    if (table.GetPlatformIDs(PLATFORMS_MAX, platforms, &n) != CL_SUCCESS) return;
    for (uint32_t p = 0; p < n && p < PLATFORMS_MAX; p++)
        (void)table.GetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, DEVICES_MAX, devices, &here);
}

static mz_err load(const char *driver_path)
{
    void *library = NULL;
    if (opened_by == getpid()) return MZ_OK;
    if (opened_by) /* threads of the driver's did not come along */
        return MZ_FAIL(MZ_ENOTSUP, "OpenCL was opened before this process was forked");
    if (mz_trial("an OpenCL driver", open_once, driver_path, TRIAL_S) != MZ_OK) {
        mz_note_fix("`clinfo` opens it too; mend or remove that driver, or name the folder of "
                    "another loader: --driver-path DIR");
        return MZ_ENOTSUP;
    }
    MZ_TRY(open_library(&library, driver_path));
    MZ_TRY(bind(library));
    opened_by = getpid();
    return MZ_OK;
}

mz_err mz_cl_load(const mz_cl **cl, const char *driver_path)
{
    pthread_mutex_lock(&lock);
    const mz_err err = load(driver_path);
    pthread_mutex_unlock(&lock);
    if (err == MZ_OK) *cl = &table;
    return err;
}

static mz_err no_device(const char *what)
{
    const mz_err err = MZ_FAIL(MZ_ENOTSUP, "%s", what);
    mz_note_fix("install the driver of your device, or pocl-opencl-icd for the processor; clinfo "
                "lists what there is");
    return err;
}

mz_err mz_cl_find(const mz_cl *cl, int64_t i, mz_cl_found *found, int64_t *n)
{
    cl_platform_id platforms[PLATFORMS_MAX];
    uint32_t n_platforms = 0;
    bool is_found = false;
    *n = 0;
    const int32_t code = cl->GetPlatformIDs(PLATFORMS_MAX, platforms, &n_platforms);
    if (code == CL_PLATFORM_NOT_FOUND_KHR || (code == CL_SUCCESS && n_platforms == 0))
        return no_device("the OpenCL loader finds no driver");
    if (code != CL_SUCCESS) return mz_cl_fail(code, "clGetPlatformIDs");
    for (uint32_t p = 0; p < n_platforms && p < PLATFORMS_MAX; p++) {
        cl_device_id devices[DEVICES_MAX];
        uint32_t here = 0;
        if (cl->GetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, DEVICES_MAX, devices, &here) !=
            CL_SUCCESS)
            continue; /* a platform without devices */
        if (here > DEVICES_MAX) here = DEVICES_MAX;
        if (!is_found && i - *n < here) {
            *found = (mz_cl_found){platforms[p], devices[i - *n]};
            is_found = true;
        }
        *n += here;
    }
    if (*n == 0) return no_device("the OpenCL drivers find no device");
    if (is_found) return MZ_OK;
    return MZ_FAIL(MZ_ENOTSUP,
                   "there %s %lld OpenCL device%s, numbered from 0: none is number %lld",
                   *n == 1 ? "is" : "are", (long long)*n, *n == 1 ? "" : "s", (long long)i);
}

/* X(code, name) of the OpenCL 1.2 specification. */
#define CODE_LIST(X)                                                                               \
    X(-1, DEVICE_NOT_FOUND)                                                                        \
    X(-2, DEVICE_NOT_AVAILABLE)                                                                    \
    X(-3, COMPILER_NOT_AVAILABLE)                                                                  \
    X(-4, MEM_OBJECT_ALLOCATION_FAILURE)                                                           \
    X(-5, OUT_OF_RESOURCES)                                                                        \
    X(-6, OUT_OF_HOST_MEMORY)                                                                      \
    X(-7, PROFILING_INFO_NOT_AVAILABLE)                                                            \
    X(-8, MEM_COPY_OVERLAP)                                                                        \
    X(-11, BUILD_PROGRAM_FAILURE)                                                                  \
    X(-12, MAP_FAILURE)                                                                            \
    X(-13, MISALIGNED_SUB_BUFFER_OFFSET)                                                           \
    X(-14, EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)                                              \
    X(-15, COMPILE_PROGRAM_FAILURE)                                                                \
    X(-16, LINKER_NOT_AVAILABLE)                                                                   \
    X(-17, LINK_PROGRAM_FAILURE)                                                                   \
    X(-30, INVALID_VALUE)                                                                          \
    X(-31, INVALID_DEVICE_TYPE)                                                                    \
    X(-32, INVALID_PLATFORM)                                                                       \
    X(-33, INVALID_DEVICE)                                                                         \
    X(-34, INVALID_CONTEXT)                                                                        \
    X(-35, INVALID_QUEUE_PROPERTIES)                                                               \
    X(-36, INVALID_COMMAND_QUEUE)                                                                  \
    X(-38, INVALID_MEM_OBJECT)                                                                     \
    X(-42, INVALID_BINARY)                                                                         \
    X(-43, INVALID_BUILD_OPTIONS)                                                                  \
    X(-44, INVALID_PROGRAM)                                                                        \
    X(-45, INVALID_PROGRAM_EXECUTABLE)                                                             \
    X(-46, INVALID_KERNEL_NAME)                                                                    \
    X(-48, INVALID_KERNEL)                                                                         \
    X(-49, INVALID_ARG_INDEX)                                                                      \
    X(-50, INVALID_ARG_VALUE)                                                                      \
    X(-51, INVALID_ARG_SIZE)                                                                       \
    X(-52, INVALID_KERNEL_ARGS)                                                                    \
    X(-53, INVALID_WORK_DIMENSION)                                                                 \
    X(-54, INVALID_WORK_GROUP_SIZE)                                                                \
    X(-55, INVALID_WORK_ITEM_SIZE)                                                                 \
    X(-56, INVALID_GLOBAL_OFFSET)                                                                  \
    X(-57, INVALID_EVENT_WAIT_LIST)                                                                \
    X(-58, INVALID_EVENT)                                                                          \
    X(-59, INVALID_OPERATION)                                                                      \
    X(-61, INVALID_BUFFER_SIZE)                                                                    \
    X(-63, INVALID_GLOBAL_WORK_SIZE)                                                               \
    X(-1001, PLATFORM_NOT_FOUND_KHR)

const char *mz_cl_name(int32_t code)
{
    switch (code) {
#define CASE(number, name)                                                                         \
    case number:                                                                                   \
        return "CL_" #name;
        CODE_LIST(CASE)
#undef CASE
    default:
        return "an unknown code";
    }
}

mz_err mz_cl_fail(int32_t code, const char *call)
{
    const bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY;
    return MZ_FAIL(memory ? MZ_ENOMEM : MZ_ECHIP, "%s: %s (%d)", call, mz_cl_name(code), (int)code);
}
