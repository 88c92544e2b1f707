/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/hccl.h - the collective functions that the emulated driver has, declared by ourselves
 * from the public documentation, apart from the backend's own declarations. */
#ifndef MZ_EMU_ASCEND_HCCL_H
#define MZ_EMU_ASCEND_HCCL_H

#include "ascend/acl.h"

typedef int HcclResult, HcclDataType, HcclReduceOp, HcclConfig;
typedef void *HcclComm;
typedef struct HcclRootInfo HcclRootInfo; /* EMU_HCCL_ROOT_BYTES */
typedef struct HcclCommConfigDef HcclCommConfig;
typedef struct HcclSendRecvItemDef HcclSendRecvItem;
typedef union HcclConfigValue {
    int32_t value;
} HcclConfigValue;

enum {
    EMU_HCCL_ROOT_BYTES = 4108,
    EMU_HCCL_NAME = 128, /* of a communicator, with its end */

    EMU_HCCL_PARA = 1,
    EMU_HCCL_PTR = 2,
    EMU_HCCL_MEMORY = 3,
    EMU_HCCL_INTERNAL = 4,
    EMU_HCCL_NOT_SUPPORT = 5,
    EMU_HCCL_NOT_FOUND = 6,
    EMU_HCCL_SYSCALL = 8,
    EMU_HCCL_TIMEOUT = 9,
    EMU_HCCL_RUNTIME = 15,
    EMU_HCCL_REMOTE = 21,

    EMU_HCCL_SUM = 0,
    EMU_HCCL_PROD = 1,
    EMU_HCCL_MAX = 2,
    EMU_HCCL_MIN = 3,

    EMU_HCCL_INT8 = 0,
    EMU_HCCL_INT16 = 1,
    EMU_HCCL_INT32 = 2,
    EMU_HCCL_FP16 = 3,
    EMU_HCCL_FP32 = 4,
    EMU_HCCL_INT64 = 5,
    EMU_HCCL_UINT64 = 6,
    EMU_HCCL_UINT8 = 7,
    EMU_HCCL_UINT16 = 8,
    EMU_HCCL_UINT32 = 9,
    EMU_HCCL_FP64 = 10,
    EMU_HCCL_BFP16 = 11
};

/* X(result, name, parameters) */
#define EMU_HCCL_LIST(X)                                                                           \
    X(HcclResult, HcclGetRootInfo, (HcclRootInfo * root))                                          \
    X(HcclResult, HcclCommInitRootInfo,                                                            \
      (uint32_t n, const HcclRootInfo *root, uint32_t rank, HcclComm *comm))                       \
    X(HcclResult, HcclCommInitRootInfoConfig,                                                      \
      (uint32_t n, const HcclRootInfo *root, uint32_t rank, const HcclCommConfig *config,          \
       HcclComm *comm))                                                                            \
    X(HcclResult, HcclCommInitAll, (uint32_t n, int32_t * devices, HcclComm * comms))              \
    X(HcclResult, HcclCommDestroy, (HcclComm comm))                                                \
    X(HcclResult, HcclGetRankId, (HcclComm comm, uint32_t * rank))                                 \
    X(HcclResult, HcclGetRankSize, (HcclComm comm, uint32_t * n))                                  \
    X(HcclResult, HcclGetCommName, (HcclComm comm, char *name))                                    \
    X(HcclResult, HcclGetCommAsyncError, (HcclComm comm, HcclResult * error))                      \
    X(const char *, HcclGetErrorString, (HcclResult code))                                         \
    X(uint32_t, HcclGetCommConfigCapability, (void))                                               \
    X(HcclResult, HcclSetConfig, (HcclConfig config, HcclConfigValue value))                       \
    X(HcclResult, HcclGetConfig, (HcclConfig config, HcclConfigValue * value))                     \
    X(HcclResult, HcclAllReduce,                                                                   \
      (void *send, void *recv, uint64_t count, HcclDataType type, HcclReduceOp op, HcclComm comm,  \
       aclrtStream stream))                                                                        \
    X(HcclResult, HcclAllGather,                                                                   \
      (void *send, void *recv, uint64_t count, HcclDataType type, HcclComm comm,                   \
       aclrtStream stream))                                                                        \
    X(HcclResult, HcclReduceScatter,                                                               \
      (void *send, void *recv, uint64_t count, HcclDataType type, HcclReduceOp op, HcclComm comm,  \
       aclrtStream stream))                                                                        \
    X(HcclResult, HcclBroadcast,                                                                   \
      (void *at, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm,                  \
       aclrtStream stream))                                                                        \
    X(HcclResult, HcclReduce,                                                                      \
      (void *send, void *recv, uint64_t count, HcclDataType type, HcclReduceOp op, uint32_t root,  \
       HcclComm comm, aclrtStream stream))                                                         \
    X(HcclResult, HcclScatter,                                                                     \
      (void *send, void *recv, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm,    \
       aclrtStream stream))                                                                        \
    X(HcclResult, HcclBarrier, (HcclComm comm, aclrtStream stream))

#define EMU_HCCL_DECLARE(result, name, parameters) EMU_API result name parameters;
EMU_HCCL_LIST(EMU_HCCL_DECLARE)
#undef EMU_HCCL_DECLARE

#endif
