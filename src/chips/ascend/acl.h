/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/acl.h - what Mizan uses of ACL, the C interface of Huawei's runtime, declared by
 * ourselves from its public documentation: the libraries are found when a device is opened.
 *
 * Floor:  chips.   Compiles as C++ too. */
#ifndef MZ_CHIPS_ASCEND_ACL_H
#define MZ_CHIPS_ASCEND_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int aclError;
typedef void *aclrtStream;
typedef void *aclrtContext;
typedef void *aclrtEvent;

enum {
    ACL_ERROR_REPEAT_INITIALIZE = 100002,
    ACL_ERROR_COMPILING_STUB_MODE = 100039,
    ACL_ERROR_RT_STREAM_SYNC_TIMEOUT = 507046,
    ACL_ERROR_RT_EVENT_SYNC_TIMEOUT = 507047,
    ACL_MEMCPY_HOST_TO_DEVICE = 1,
    ACL_MEMCPY_DEVICE_TO_HOST = 2,
    ACL_MEMCPY_DEVICE_TO_DEVICE = 3,
    ACL_MEM_MALLOC_HUGE_FIRST = 0,
    ACL_HBM_MEM = 1,
    ACL_OPT_DETERMINISTIC = 0,
    ACL_EVENT_SYNC = 1,
    ACL_EVENT_RECORDED_STATUS_COMPLETE = 1,
};

typedef int aclrtMemMallocPolicy, aclrtMemcpyKind, aclrtMemAttr, aclSysParamOpt,
    aclrtFloatOverflowMode, aclrtEventRecordedStatus;

aclError aclInit(const char *configPath);
const char *aclGetRecentErrMsg(void);
const char *aclrtGetSocName(void);
aclError aclrtGetVersion(int32_t *major, int32_t *minor, int32_t *patch);
aclError aclrtGetDeviceCount(uint32_t *count);
aclError aclrtSetDevice(int32_t device);
aclError aclrtResetDevice(int32_t device);
aclError aclrtGetCurrentContext(aclrtContext *context);
aclError aclrtSetCurrentContext(aclrtContext context);
aclError aclrtMalloc(void **at, size_t bytes, aclrtMemMallocPolicy policy);
aclError aclrtFree(void *at);
aclError aclrtMallocHost(void **at, size_t bytes);
aclError aclrtFreeHost(void *at);
aclError aclrtMemcpy(void *dst, size_t room, const void *src, size_t bytes, aclrtMemcpyKind kind);
aclError aclrtMemcpyAsync(void *dst, size_t room, const void *src, size_t bytes,
                          aclrtMemcpyKind kind, aclrtStream stream);
aclError aclrtMemset(void *at, size_t room, int32_t value, size_t bytes);
aclError aclrtMemsetAsync(void *at, size_t room, int32_t value, size_t bytes, aclrtStream stream);
aclError aclrtGetMemInfo(aclrtMemAttr attr, size_t *free, size_t *total);
aclError aclrtCreateStream(aclrtStream *stream);
aclError aclrtDestroyStream(aclrtStream stream);
aclError aclrtDestroyStreamForce(aclrtStream stream);
aclError aclrtSynchronizeStreamWithTimeout(aclrtStream stream, int32_t ms);
aclError aclrtCreateEventExWithFlag(aclrtEvent *event, uint32_t flag);
aclError aclrtDestroyEvent(aclrtEvent event);
aclError aclrtRecordEvent(aclrtEvent event, aclrtStream stream);
aclError aclrtQueryEventStatus(aclrtEvent event, aclrtEventRecordedStatus *status);
aclError aclrtSynchronizeEventWithTimeout(aclrtEvent event, int32_t ms);
aclError aclrtCtxSetSysParamOpt(aclSysParamOpt option, int64_t value);
aclError aclrtSetSysParamOpt(aclSysParamOpt option, int64_t value);
aclError aclrtGetDeviceSatMode(aclrtFloatOverflowMode *mode);

#ifdef __cplusplus
}
#endif

#endif
