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
    EMU_HCCL_SUSPENDING = 22,

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
    X(HcclResult, HcclBarrier, (HcclComm comm, aclrtStream stream))                                \
    X(HcclResult, HcclSend,                                                                        \
      (void *at, uint64_t count, HcclDataType type, uint32_t to, HcclComm comm,                    \
       aclrtStream stream))                                                                        \
    X(HcclResult, HcclRecv,                                                                        \
      (void *at, uint64_t count, HcclDataType type, uint32_t from, HcclComm comm,                  \
       aclrtStream stream))                                                                        \
    X(HcclResult, HcclBatchSendRecv,                                                               \
      (HcclSendRecvItem * items, uint32_t n, HcclComm comm, aclrtStream stream))                   \
    X(HcclResult, HcclAlltoAll,                                                                    \
      (const void *send, uint64_t n_send, HcclDataType send_type, const void *recv,                \
       uint64_t n_recv, HcclDataType recv_type, HcclComm comm, aclrtStream stream))                \
    X(HcclResult, HcclAlltoAllV,                                                                   \
      (const void *send, const void *send_counts, const void *send_at, HcclDataType send_type,     \
       const void *recv, const void *recv_counts, const void *recv_at, HcclDataType recv_type,     \
       HcclComm comm, aclrtStream stream))                                                         \
    X(HcclResult, HcclAlltoAllVC,                                                                  \
      (const void *send, const void *matrix, HcclDataType send_type, const void *recv,             \
       HcclDataType recv_type, HcclComm comm, aclrtStream stream))                                 \
    X(HcclResult, HcclAllGatherV,                                                                  \
      (void *send, uint64_t n_send, void *recv, const void *counts, const void *at,                \
       HcclDataType type, HcclComm comm, aclrtStream stream))                                      \
    X(HcclResult, HcclReduceScatterV,                                                              \
      (void *send, const void *counts, const void *at, void *recv, uint64_t n_recv,                \
       HcclDataType type, HcclReduceOp op, HcclComm comm, aclrtStream stream))                     \
    X(HcclResult, HcclGroupStart, (void))                                                          \
    X(HcclResult, HcclGroupEnd, (void))                                                            \
    X(HcclResult, HcclCreateSubCommConfig,                                                         \
      (HcclComm * comm, uint32_t n, uint32_t * ids, uint64_t id, uint32_t rank,                    \
       HcclCommConfig * config, HcclComm * sub))                                                   \
    X(HcclResult, HcclCommSuspend, (HcclComm comm))                                                \
    X(HcclResult, HcclCommResume, (HcclComm comm))                                                 \
    X(HcclResult, HcclSetCommConfig, (HcclComm comm, HcclConfig config, HcclConfigValue value))    \
    X(HcclResult, HcclGetCommConfig, (HcclComm comm, HcclConfig config, HcclConfigValue * value))  \
    X(HcclResult, HcclGetRootInfoScalable, (HcclRootInfo * root))

/* Not emulated: each says so. */
#define EMU_HCCL_LACKING(X)                                                                        \
    X(HcclCommActivateCommMemory, (HcclComm comm, void *at, size_t bytes, size_t offset,           \
                                   aclrtDrvMemHandle handle, uint64_t flags))                      \
    X(HcclCommDeactivateCommMemory, (HcclComm comm, void *at))                                     \
    X(HcclCommDeregister, (HcclComm comm, void *handle))                                           \
    X(HcclCommExchangeMem, (HcclComm comm, void *handle, uint32_t *peers, uint32_t n))             \
    X(HcclCommInitClusterInfo, (const char *table, uint32_t rank, HcclComm *comm))                 \
    X(HcclCommInitClusterInfoConfig,                                                               \
      (const char *table, uint32_t rank, HcclCommConfig *config, HcclComm *comm))                  \
    X(HcclCommInitRootInfoScalable,                                                                \
      (uint32_t n, uint32_t rank, const HcclRootInfo *roots, uint32_t n_roots, uint32_t root,      \
       const HcclCommConfig *config, HcclComm *comm))                                              \
    X(HcclCommRegister, (HcclComm comm, void *at, uint64_t bytes, void **handle, uint32_t flags))  \
    X(HcclCommSetMemoryRange,                                                                      \
      (HcclComm comm, void *at, size_t bytes, size_t alignment, uint64_t flags))                   \
    X(HcclCommUnsetMemoryRange, (HcclComm comm, void *at))                                         \
    X(HcclCommWorkingDevNicSet, (HcclComm comm, uint32_t * ranks, bool *spare, uint32_t n))

#define EMU_HCCL_DECLARE(result, name, parameters) EMU_API result name parameters;
EMU_HCCL_LIST(EMU_HCCL_DECLARE)
#undef EMU_HCCL_DECLARE
#define EMU_HCCL_DECLARE(name, parameters) EMU_API HcclResult name parameters;
EMU_HCCL_LACKING(EMU_HCCL_DECLARE)
#undef EMU_HCCL_DECLARE

#endif
