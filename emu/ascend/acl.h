/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/acl.h - the runtime functions that the emulated driver has, declared by ourselves from
 * the public documentation, apart from the backend's own declarations: tests/abi compares the two.
 *
 * Numbers have names of ours (EMU_), so that both sides' headers fit into one file. */
#ifndef MZ_EMU_ASCEND_ACL_H
#define MZ_EMU_ASCEND_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMU_API __attribute__((visibility("default")))
/* The same of what is declared without its arguments, which nobody looks at. */
#define EMU_UNREAD EMU_API __attribute__((used))

typedef int aclError;
typedef void *aclrtStream;
typedef void *aclrtEvent;
typedef void *aclrtContext;
typedef int aclrtMemMallocPolicy, aclrtMemcpyKind, aclrtMemAttr, aclSysParamOpt,
    aclrtFloatOverflowMode, aclrtRunMode, aclrtEventRecordedStatus, aclrtStreamStatus,
    aclrtLastErrLevel, aclCompileOpt, aclDeviceInfo;
typedef uint16_t aclFloat16;
typedef void *aclrtDrvMemHandle;
typedef int aclrtMemHandleType, aclrtMemGranularityOptions, aclCANNPackageName;

typedef struct aclrtMemLocation {
    uint32_t id;
    int type;
} aclrtMemLocation;

typedef struct aclrtPhysicalMemProp {
    aclrtMemHandleType handleType;
    int allocationType;
    aclrtMemAttr memAttr;
    aclrtMemLocation location;
    uint64_t reserve;
} aclrtPhysicalMemProp;

typedef struct aclCANNPackageVersion {
    char version[128];
    char majorVersion[64];
    char minorVersion[64];
    char releaseVersion[64];
    char patchVersion[64];
    char reserved[128];
} aclCANNPackageVersion;

enum {
    EMU_INVALID_PARAM = 100000,
    EMU_UNINITIALIZE = 100001,
    EMU_REPEAT_INITIALIZE = 100002,
    EMU_INVALID_FILE = 100003,
    EMU_REPEAT_FINALIZE = 100037,
    EMU_BAD_ALLOC = 200000,
    EMU_RT_PARAM_INVALID = 107000,
    EMU_RT_INVALID_DEVICEID = 107001,
    EMU_RT_CONTEXT_NULL = 107002,
    EMU_RT_STREAM_CONTEXT = 107003,
    EMU_RT_INVALID_HANDLE = 107017,
    EMU_RT_FEATURE_NOT_SUPPORT = 207000,
    EMU_RT_MEMORY_ALLOCATION = 207001,
    EMU_RT_MEMORY_FREE = 207002,
    EMU_RT_NO_PERMISSION = 207006,
    EMU_RT_NO_STREAM = 207008,
    EMU_RT_AICORE_EXCEPTION = 507015,
    EMU_RT_VECTOR_CORE_EXCEPTION = 507035,
    EMU_RT_SYS_DMA = 507013,
    EMU_RT_STREAM_SYNC_TIMEOUT = 507046,
    EMU_RT_EVENT_SYNC_TIMEOUT = 507047,
    EMU_RT_LOST_HEARTBEAT = 507010,
    EMU_RT_HBM_ECC = 507054,
    EMU_HBM_HUGE = 4,
    EMU_HBM_NORMAL = 5,
    EMU_MEM_NORMAL = 12,
    EMU_MEM_HUGE = 13,
    EMU_ON_DEVICE = 1,
    EMU_ANY_PROCESS = 1,
    EMU_OPT_DETERMINISTIC = 0,
    EMU_SATURATION = 0,
    EMU_INFNAN = 1
};

/* X(result, name, parameters) */
#define EMU_ACL_LIST(X)                                                                            \
    X(aclError, aclInit, (const char *config))                                                     \
    X(aclError, aclFinalize, (void))                                                               \
    X(const char *, aclGetRecentErrMsg, (void))                                                    \
    X(const char *, aclrtGetSocName, (void))                                                       \
    X(aclError, aclrtGetVersion, (int32_t * major, int32_t * minor, int32_t * patch))              \
    X(aclError, aclrtGetDeviceCount, (uint32_t * count))                                           \
    X(aclError, aclrtSetDevice, (int32_t device))                                                  \
    X(aclError, aclrtResetDevice, (int32_t device))                                                \
    X(aclError, aclrtGetDevice, (int32_t * device))                                                \
    X(aclError, aclrtGetRunMode, (aclrtRunMode * mode))                                            \
    X(aclError, aclrtCreateContext, (aclrtContext * context, int32_t device))                      \
    X(aclError, aclrtDestroyContext, (aclrtContext context))                                       \
    X(aclError, aclrtSetCurrentContext, (aclrtContext context))                                    \
    X(aclError, aclrtGetCurrentContext, (aclrtContext * context))                                  \
    X(aclError, aclrtSynchronizeDevice, (void))                                                    \
    X(aclError, aclrtSynchronizeDeviceWithTimeout, (int32_t ms))                                   \
    X(aclError, aclrtMalloc, (void **at, size_t bytes, aclrtMemMallocPolicy policy))               \
    X(aclError, aclrtMallocAlign32, (void **at, size_t bytes, aclrtMemMallocPolicy policy))        \
    X(aclError, aclrtFree, (void *at))                                                             \
    X(aclError, aclrtMallocHost, (void **at, size_t bytes))                                        \
    X(aclError, aclrtFreeHost, (void *at))                                                         \
    X(aclError, aclrtMemcpy,                                                                       \
      (void *dst, size_t room, const void *src, size_t bytes, aclrtMemcpyKind kind))               \
    X(aclError, aclrtMemcpyAsync,                                                                  \
      (void *dst, size_t room, const void *src, size_t bytes, aclrtMemcpyKind kind,                \
       aclrtStream stream))                                                                        \
    X(aclError, aclrtMemset, (void *at, size_t room, int32_t value, size_t bytes))                 \
    X(aclError, aclrtMemsetAsync,                                                                  \
      (void *at, size_t room, int32_t value, size_t bytes, aclrtStream stream))                    \
    X(aclError, aclrtGetMemInfo, (aclrtMemAttr attr, size_t * free_bytes, size_t * total))         \
    X(aclError, aclrtCreateStream, (aclrtStream * stream))                                         \
    X(aclError, aclrtCreateStreamWithConfig,                                                       \
      (aclrtStream * stream, uint32_t priority, uint32_t flag))                                    \
    X(aclError, aclrtDestroyStream, (aclrtStream stream))                                          \
    X(aclError, aclrtDestroyStreamForce, (aclrtStream stream))                                     \
    X(aclError, aclrtSynchronizeStream, (aclrtStream stream))                                      \
    X(aclError, aclrtSynchronizeStreamWithTimeout, (aclrtStream stream, int32_t ms))               \
    X(aclError, aclrtStreamQuery, (aclrtStream stream, aclrtStreamStatus * status))                \
    X(aclError, aclrtStreamWaitEvent, (aclrtStream stream, aclrtEvent event))                      \
    X(aclError, aclrtCreateEvent, (aclrtEvent * event))                                            \
    X(aclError, aclrtCreateEventWithFlag, (aclrtEvent * event, uint32_t flag))                     \
    X(aclError, aclrtCreateEventExWithFlag, (aclrtEvent * event, uint32_t flag))                   \
    X(aclError, aclrtDestroyEvent, (aclrtEvent event))                                             \
    X(aclError, aclrtRecordEvent, (aclrtEvent event, aclrtStream stream))                          \
    X(aclError, aclrtQueryEventStatus, (aclrtEvent event, aclrtEventRecordedStatus * status))      \
    X(aclError, aclrtSynchronizeEvent, (aclrtEvent event))                                         \
    X(aclError, aclrtSynchronizeEventWithTimeout, (aclrtEvent event, int32_t ms))                  \
    X(aclError, aclrtEventElapsedTime, (float *ms, aclrtEvent start, aclrtEvent end))              \
    X(aclError, aclrtCtxSetSysParamOpt, (aclSysParamOpt option, int64_t value))                    \
    X(aclError, aclrtCtxGetSysParamOpt, (aclSysParamOpt option, int64_t * value))                  \
    X(aclError, aclrtSetSysParamOpt, (aclSysParamOpt option, int64_t value))                       \
    X(aclError, aclrtGetSysParamOpt, (aclSysParamOpt option, int64_t * value))                     \
    X(aclError, aclrtSetDeviceSatMode, (aclrtFloatOverflowMode mode))                              \
    X(aclError, aclrtGetDeviceSatMode, (aclrtFloatOverflowMode * mode))                            \
    X(aclError, aclrtReserveMemAddress,                                                            \
      (void **at, size_t bytes, size_t align, void *wish, uint64_t flags))                         \
    X(aclError, aclrtReleaseMemAddress, (void *at))                                                \
    X(aclError, aclrtMallocPhysical,                                                               \
      (aclrtDrvMemHandle * handle, size_t bytes, const aclrtPhysicalMemProp *prop,                 \
       uint64_t flags))                                                                            \
    X(aclError, aclrtFreePhysical, (aclrtDrvMemHandle handle))                                     \
    X(aclError, aclrtMapMem,                                                                       \
      (void *at, size_t bytes, size_t offset, aclrtDrvMemHandle handle, uint64_t flags))           \
    X(aclError, aclrtUnmapMem, (void *at))                                                         \
    X(aclError, aclrtMemGetAllocationGranularity,                                                  \
      (aclrtPhysicalMemProp * prop, aclrtMemGranularityOptions option, size_t * bytes))            \
    X(aclError, aclrtMemExportToShareableHandle,                                                   \
      (aclrtDrvMemHandle handle, aclrtMemHandleType type, uint64_t flags, uint64_t * shared))      \
    X(aclError, aclrtMemSetPidToShareableHandle, (uint64_t shared, int32_t * pids, size_t n))      \
    X(aclError, aclrtMemImportFromShareableHandle,                                                 \
      (uint64_t shared, int32_t device, aclrtDrvMemHandle * handle))                               \
    X(aclError, aclrtDeviceGetBareTgid, (int32_t * pid))                                           \
    X(aclError, aclsysGetCANNVersion,                                                              \
      (aclCANNPackageName package, aclCANNPackageVersion * version))                               \
    X(aclError, aclsysGetVersionStr, (char *package, char *version))

#define EMU_ACL_DECLARE(result, name, parameters) EMU_API result name parameters;
EMU_ACL_LIST(EMU_ACL_DECLARE)
#undef EMU_ACL_DECLARE

/* Clients ask for this name to learn that no NPU is here. */
EMU_API const char *mizan_emulated_ascend(void);
/* For `mizan emu`: the chips there are, with blanks between them; and what is wrong with a plan of
 * faults, or NULL. *line: which of its lines, from 1. */
EMU_API const char *mizan_emulated_ascend_socs(void);
EMU_API const char *mizan_emulated_ascend_judge(const char *plan, int *line);

#endif
