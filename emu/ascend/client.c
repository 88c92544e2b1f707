/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/client.c - what Huawei's PyTorch adapter links or calls and Mizan's backend does not.
 *
 * Its library is bound when it is loaded, so every name that it has must be there. Settings are
 * taken where they change nothing here. What is not emulated says so on stderr, by name, and leaves
 * the device lost: some clients go on after a failed call of the old operator interface and would
 * print what was never computed. Arguments that nobody looks at are not declared. */
#include "ascend/book.h"

#include <stdio.h>
#include <string.h>

/* ---- settings ---- */

EMU_API aclError aclSetCompileopt(aclCompileOpt option, const char *value);
EMU_API size_t aclGetCompileoptSize(aclCompileOpt option);
EMU_API aclError aclGetCompileopt(aclCompileOpt option, char *value, size_t bytes);
EMU_API aclError aclrtPeekAtLastError(aclrtLastErrLevel level);
EMU_API aclError aclrtSetOpExecuteTimeOut(uint32_t seconds);
EMU_API aclError aclrtSetOpWaitTimeout(uint32_t seconds);
EMU_API aclError aclrtSetStreamFailureMode(aclrtStream stream, uint64_t mode);

aclError aclSetCompileopt(aclCompileOpt option, const char *value)
{
    (void)option;
    return value ? 0 : emu_fail(EMU_INVALID_PARAM, "aclSetCompileopt: NULL");
}

/* Nothing is compiled: every option is empty. */
size_t aclGetCompileoptSize(aclCompileOpt option)
{
    (void)option;
    return 1;
}

aclError aclGetCompileopt(aclCompileOpt option, char *value, size_t bytes)
{
    (void)option;
    if (!value || bytes == 0)
        return emu_fail(EMU_INVALID_PARAM, "aclGetCompileopt: no room for a text");
    value[0] = 0;
    return 0;
}

aclError aclrtPeekAtLastError(aclrtLastErrLevel level)
{
    (void)level;
    return 0; /* errors are told by the calls themselves */
}

aclError aclrtSetOpExecuteTimeOut(uint32_t seconds)
{
    (void)seconds;
    return 0;
}

aclError aclrtSetOpWaitTimeout(uint32_t seconds)
{
    (void)seconds;
    return 0;
}

aclError aclrtSetStreamFailureMode(aclrtStream stream, uint64_t mode)
{
    if (mode > 1)
        return emu_fail(EMU_RT_PARAM_INVALID, "aclrtSetStreamFailureMode: mode %llu of 0 and 1",
                        (unsigned long long)mode);
    return stream ? 0 : emu_fail(EMU_RT_PARAM_INVALID, "aclrtSetStreamFailureMode: no stream");
}

/* ---- taken and dropped: profiling, logs, and what an operator of the old interface is described
 * with: it ends when it is run, where its name is known ---- */

#define EMU_DROPPED(X)                                                                             \
    X(uint64_t, MsprofGetHashId)                                                                   \
    X(int32_t, MsprofRegisterCallback)                                                             \
    X(int32_t, MsprofReportAdditionalInfo)                                                         \
    X(int32_t, MsprofReportApi)                                                                    \
    X(int32_t, MsprofReportCompactInfo)                                                            \
    X(uint64_t, MsprofSysCycleTime)                                                                \
    X(aclError, aclAppLog)                                                                         \
    X(aclError, aclSetTensorDescName)                                                              \
    X(aclError, aclDestroyTensorDesc)                                                              \
    X(aclError, aclDestroyDataBuffer)                                                              \
    X(aclError, aclopDestroyAttr)                                                                  \
    X(aclError, aclSetTensorFormat)                                                                \
    X(aclError, aclSetTensorPlaceMent)                                                             \
    X(aclError, aclSetTensorShape)                                                                 \
    X(aclError, aclGetTensorDescDimV2)                                                             \
    X(aclError, aclGetTensorDescFormat)                                                            \
    X(aclError, aclGetTensorDescNumDims)                                                           \
    X(aclError, aclGetTensorDescType)                                                              \
    X(aclError, aclopSetAttrBool)                                                                  \
    X(aclError, aclopSetAttrDataType)                                                              \
    X(aclError, aclopSetAttrFloat)                                                                 \
    X(aclError, aclopSetAttrInt)                                                                   \
    X(aclError, aclopSetAttrListBool)                                                              \
    X(aclError, aclopSetAttrListFloat)                                                             \
    X(aclError, aclopSetAttrListInt)                                                               \
    X(aclError, aclopSetAttrListListInt)                                                           \
    X(aclError, aclopSetAttrString)

#define EMU_DROP(result, name)                                                                     \
    EMU_UNREAD result name(void);                                                                  \
    result name(void)                                                                              \
    {                                                                                              \
        return 0;                                                                                  \
    }
EMU_DROPPED(EMU_DROP)

/* ---- not emulated ---- */

/* Says so, and leaves the device of this thread lost. */
static int lacking(const char *name, const char *what)
{
    emu_context *here = emu_here();
    (void)fprintf(stderr, "EMULATED Ascend: %s%s%s is not emulated\n", name, what ? " of " : "",
                  what ? what : "");
    if (here) emu_lose(here->device, EMU_RT_FEATURE_NOT_SUPPORT);
    return emu_fail(EMU_RT_FEATURE_NOT_SUPPORT, "%s%s%s is not emulated", name, what ? " of " : "",
                    what ? what : "");
}

/* The operator interface before aclnn; its first argument is the operator's name. */
EMU_UNREAD aclError aclopCompileAndExecute(const char *name);
EMU_UNREAD aclError aclopCompileAndExecuteV2(const char *name);
aclError aclopCompileAndExecute(const char *name)
{
    return lacking("aclopCompileAndExecute", name);
}
aclError aclopCompileAndExecuteV2(const char *name)
{
    return lacking("aclopCompileAndExecuteV2", name);
}

/* That there is none of these is a normal answer. */
EMU_API aclError aclGetDeviceCapability(uint32_t device, aclDeviceInfo what, int64_t *value);
EMU_API aclError aclrtDeviceCanAccessPeer(int32_t *can, int32_t device, int32_t peer);
aclError aclGetDeviceCapability(uint32_t device, aclDeviceInfo what, int64_t *value)
{
    (void)device;
    (void)value;
    return emu_fail(EMU_RT_FEATURE_NOT_SUPPORT, "aclGetDeviceCapability: %d is not emulated", what);
}
aclError aclrtDeviceCanAccessPeer(int32_t *can, int32_t device, int32_t peer)
{
    if (!can) return emu_fail(EMU_RT_PARAM_INVALID, "aclrtDeviceCanAccessPeer: NULL");
    *can = device == peer;
    return 0;
}

#define EMU_LACKING(X)                                                                             \
    X(aclmdlFinalizeDump)                                                                          \
    X(aclmdlInitDump)                                                                              \
    X(aclmdlSetDump)                                                                               \
    X(aclrtBinaryGetFunction)                                                                      \
    X(aclrtBinaryLoadFromData)                                                                     \
    X(aclrtDeviceEnablePeerAccess)                                                                 \
    X(aclrtGetFunctionAddr)                                                                        \
    X(aclrtProcessReport)                                                                          \
    X(aclrtResetEvent)                                                                             \
    X(rtDevBinaryRegister)                                                                         \
    X(rtFunctionRegister)                                                                          \
    X(rtGetC2cCtrlAddr)                                                                            \
    X(rtKernelLaunch)

#define EMU_LACK(name)                                                                             \
    EMU_UNREAD aclError name(void);                                                                \
    aclError name(void)                                                                            \
    {                                                                                              \
        return lacking(#name, NULL);                                                               \
    }
EMU_LACKING(EMU_LACK)

/* Objects of that interface, which nobody looks into. */
static char nothing[64];
#define EMU_NOTHING(name)                                                                          \
    EMU_UNREAD void *name(void);                                                                   \
    void *name(void)                                                                               \
    {                                                                                              \
        return nothing;                                                                            \
    }
EMU_NOTHING(aclCreateDataBuffer)
EMU_NOTHING(aclCreateTensorDesc)
EMU_NOTHING(aclopCreateAttr)
