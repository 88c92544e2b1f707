/* SPDX-License-Identifier: Apache-2.0 */
/* chips/opencl/cl.h - what Mizan uses of OpenCL 1.2's C interface, declared by ourselves: the
 * library is found when a device is opened, so that building needs no headers of anybody's.
 *
 * Names and numbers are those of the OpenCL 1.2 specification; types of objects are our own
 * incomplete structs, which are pointers there too. Floor: chips. */
#ifndef MZ_CHIPS_OPENCL_CL_H
#define MZ_CHIPS_OPENCL_CL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct mz_cl_platform *cl_platform_id;
typedef struct mz_cl_device *cl_device_id;
typedef struct mz_cl_context *cl_context;
typedef struct mz_cl_command_queue *cl_command_queue;
typedef struct mz_cl_mem *cl_mem;
typedef struct mz_cl_program *cl_program;
typedef struct mz_cl_kernel *cl_kernel;
typedef struct mz_cl_event *cl_event;

typedef struct mz_cl_region {
    size_t origin, size;
} mz_cl_region;

enum {
    CL_TRUE = 1,
    CL_SUCCESS = 0,
    CL_DEVICE_NOT_FOUND = -1,
    CL_DEVICE_NOT_AVAILABLE = -2,
    CL_MEM_OBJECT_ALLOCATION_FAILURE = -4,
    CL_OUT_OF_RESOURCES = -5,
    CL_OUT_OF_HOST_MEMORY = -6,
    CL_INVALID_CONTEXT = -34,
    CL_INVALID_COMMAND_QUEUE = -36,
    CL_INVALID_BUFFER_SIZE = -61,
    CL_PLATFORM_NOT_FOUND_KHR = -1001,
    CL_UNKNOWN_LOST = -9999, /* outside the specification: said after an illegal access */

    CL_PLATFORM_VERSION = 0x0901,
    CL_PLATFORM_NAME = 0x0902,

    CL_DEVICE_TYPE = 0x1000,
    CL_DEVICE_TYPE_CPU = 1 << 1,
    CL_DEVICE_MAX_COMPUTE_UNITS = 0x1002,
    CL_DEVICE_MAX_WORK_GROUP_SIZE = 0x1004,
    CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
    CL_DEVICE_MEM_BASE_ADDR_ALIGN = 0x1019, /* in bits */
    CL_DEVICE_SINGLE_FP_CONFIG = 0x101B,
    CL_DEVICE_GLOBAL_MEM_SIZE = 0x101F,
    CL_DEVICE_LOCAL_MEM_SIZE = 0x1023,
    CL_DEVICE_ENDIAN_LITTLE = 0x1026,
    CL_DEVICE_AVAILABLE = 0x1027,
    CL_DEVICE_COMPILER_AVAILABLE = 0x1028,
    CL_DEVICE_NAME = 0x102B,
    CL_DEVICE_VENDOR = 0x102C,
    CL_DRIVER_VERSION = 0x102D,
    CL_DEVICE_VERSION = 0x102F,

    CL_FP_ROUNDS_DIVISION = 1 << 7, /* CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT */

    CL_QUEUE_PROFILING_ENABLE = 1 << 1,
    CL_MEM_READ_WRITE = 1 << 0,
    CL_BUFFER_CREATE_TYPE_REGION = 0x1220,

    CL_PROGRAM_BINARY_SIZES = 0x1165,
    CL_PROGRAM_BINARIES = 0x1166,
    CL_PROGRAM_BUILD_LOG = 0x1183,

    CL_EVENT_COMMAND_EXECUTION_STATUS = 0x11D3,
    CL_PROFILING_COMMAND_START = 0x1282,
    CL_PROFILING_COMMAND_END = 0x1283
};

/* CL_DEVICE_TYPE_ALL: all that a platform has. */
#define CL_DEVICE_TYPE_ALL ((uint64_t)0xFFFFFFFF)

/* X(result, name without "cl", parameters) */
#define MZ_CL_LIST(X)                                                                              \
    X(int32_t, GetPlatformIDs, (uint32_t, cl_platform_id *, uint32_t *))                           \
    X(int32_t, GetPlatformInfo, (cl_platform_id, uint32_t, size_t, void *, size_t *))              \
    X(int32_t, GetDeviceIDs, (cl_platform_id, uint64_t, uint32_t, cl_device_id *, uint32_t *))     \
    X(int32_t, GetDeviceInfo, (cl_device_id, uint32_t, size_t, void *, size_t *))                  \
    X(cl_context, CreateContext,                                                                   \
      (const intptr_t *, uint32_t, const cl_device_id *,                                           \
       void (*)(const char *, const void *, size_t, void *), void *, int32_t *))                   \
    X(int32_t, ReleaseContext, (cl_context))                                                       \
    X(cl_command_queue, CreateCommandQueue, (cl_context, cl_device_id, uint64_t, int32_t *))       \
    X(int32_t, ReleaseCommandQueue, (cl_command_queue))                                            \
    X(cl_mem, CreateBuffer, (cl_context, uint64_t, size_t, void *, int32_t *))                     \
    X(cl_mem, CreateSubBuffer, (cl_mem, uint64_t, uint32_t, const void *, int32_t *))              \
    X(int32_t, ReleaseMemObject, (cl_mem))                                                         \
    X(cl_program, CreateProgramWithSource,                                                         \
      (cl_context, uint32_t, const char **, const size_t *, int32_t *))                            \
    X(cl_program, CreateProgramWithBinary,                                                         \
      (cl_context, uint32_t, const cl_device_id *, const size_t *, const unsigned char **,         \
       int32_t *, int32_t *))                                                                      \
    X(int32_t, BuildProgram,                                                                       \
      (cl_program, uint32_t, const cl_device_id *, const char *, void (*)(cl_program, void *),     \
       void *))                                                                                    \
    X(int32_t, GetProgramInfo, (cl_program, uint32_t, size_t, void *, size_t *))                   \
    X(int32_t, GetProgramBuildInfo,                                                                \
      (cl_program, cl_device_id, uint32_t, size_t, void *, size_t *))                              \
    X(int32_t, ReleaseProgram, (cl_program))                                                       \
    X(cl_kernel, CreateKernel, (cl_program, const char *, int32_t *))                              \
    X(int32_t, SetKernelArg, (cl_kernel, uint32_t, size_t, const void *))                          \
    X(int32_t, ReleaseKernel, (cl_kernel))                                                         \
    X(int32_t, EnqueueNDRangeKernel,                                                               \
      (cl_command_queue, cl_kernel, uint32_t, const size_t *, const size_t *, const size_t *,      \
       uint32_t, const cl_event *, cl_event *))                                                    \
    X(int32_t, EnqueueWriteBuffer,                                                                 \
      (cl_command_queue, cl_mem, uint32_t, size_t, size_t, const void *, uint32_t,                 \
       const cl_event *, cl_event *))                                                              \
    X(int32_t, EnqueueReadBuffer,                                                                  \
      (cl_command_queue, cl_mem, uint32_t, size_t, size_t, void *, uint32_t, const cl_event *,     \
       cl_event *))                                                                                \
    X(int32_t, EnqueueCopyBuffer,                                                                  \
      (cl_command_queue, cl_mem, cl_mem, size_t, size_t, size_t, uint32_t, const cl_event *,       \
       cl_event *))                                                                                \
    X(int32_t, EnqueueFillBuffer,                                                                  \
      (cl_command_queue, cl_mem, const void *, size_t, size_t, size_t, uint32_t, const cl_event *, \
       cl_event *))                                                                                \
    X(int32_t, GetEventInfo, (cl_event, uint32_t, size_t, void *, size_t *))                       \
    X(int32_t, GetEventProfilingInfo, (cl_event, uint32_t, size_t, void *, size_t *))              \
    X(int32_t, WaitForEvents, (uint32_t, const cl_event *))                                        \
    X(int32_t, ReleaseEvent, (cl_event))                                                           \
    X(int32_t, Flush, (cl_command_queue))                                                          \
    X(int32_t, Finish, (cl_command_queue))

typedef struct mz_cl {
#define MZ_CL_MEMBER(result, name, parameters) result(*name) parameters;
    MZ_CL_LIST(MZ_CL_MEMBER)
#undef MZ_CL_MEMBER
} mz_cl;

/* The process's one loader, opened at the first call and kept until the end. driver_path: a folder
 * whose libOpenCL.so.1 goes first, or NULL. MZ_ENOTSUP where there is none, or where this process
 * is a fork of one that had opened it. */
mz_err mz_cl_load(const mz_cl **cl, const char *driver_path);

typedef struct mz_cl_found {
    cl_platform_id platform;
    cl_device_id device;
} mz_cl_found;

/* Device number i of all platforms, in the loader's order; *n: how many there are. MZ_ENOTSUP where
 * there is no such number. */
mz_err mz_cl_find(const mz_cl *cl, int64_t i, mz_cl_found *found, int64_t *n);

/* "CL_OUT_OF_RESOURCES"; "an unknown code". */
const char *mz_cl_name(int32_t code);
/* The error of ours that a driver's code is, with a note: "clBuildProgram: CL_... (-11)". */
mz_err mz_cl_fail(int32_t code, const char *call);
#define MZ_CL_TRY(cl, call, arguments)                                                             \
    do {                                                                                           \
        const int32_t code_ = (cl)->call arguments;                                                \
        if (code_ != CL_SUCCESS) return mz_cl_fail(code_, "cl" #call);                             \
    } while (0)

#endif
