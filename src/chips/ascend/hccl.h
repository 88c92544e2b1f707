/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/hccl.h - what Mizan uses of HCCL, Huawei's collectives, declared by ourselves from
 * the public documentation: the library is found when ranks form a group.
 *
 * Floor:  chips.   Compiles as C++ too. */
#ifndef MZ_CHIPS_ASCEND_HCCL_H
#define MZ_CHIPS_ASCEND_HCCL_H

#include "chips/ascend/acl.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int HcclResult, HcclDataType, HcclReduceOp, HcclConfig;
typedef void *HcclComm;

#ifndef MZ_HCCL_TYPES_GIVEN /* by another header that is held against this one (tests/abi) */
typedef struct HcclRootInfoDef {
    char bytes[4108];
} HcclRootInfo;

union HcclConfigValue {
    int32_t value;
};
#endif

enum {
    HCCL_DATA_TYPE_FP32 = 4,
    HCCL_DATA_TYPE_UINT8 = 7,
    HCCL_REDUCE_SUM = 0,
    HCCL_DETERMINISTIC = 0,
};

HcclResult HcclSetConfig(HcclConfig config, union HcclConfigValue value);
HcclResult HcclGetRootInfo(HcclRootInfo *root);
HcclResult HcclCommInitRootInfo(uint32_t ranks, const HcclRootInfo *root, uint32_t rank,
                                HcclComm *comm);
HcclResult HcclCommDestroy(HcclComm comm);
HcclResult HcclGetCommAsyncError(HcclComm comm, HcclResult *error);
HcclResult HcclAllReduce(void *send, void *recv, uint64_t count, HcclDataType type, HcclReduceOp op,
                         HcclComm comm, aclrtStream stream);
HcclResult HcclBroadcast(void *at, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm,
                         aclrtStream stream);

#ifdef __cplusplus
}
#endif

#endif
