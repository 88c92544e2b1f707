/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/calls.h - names of the functions of CANN that are looked up, one list a library.
 *
 * Floor:  chips. */
#ifndef MZ_CHIPS_ASCEND_CALLS_H
#define MZ_CHIPS_ASCEND_CALLS_H

/* X(name): every CANN since 8.1 has them. */
#define MZ_ACL_LIST(X)                                                                             \
    X(aclInit)                                                                                     \
    X(aclGetRecentErrMsg)                                                                          \
    X(aclrtGetSocName)                                                                             \
    X(aclrtGetVersion)                                                                             \
    X(aclrtGetDeviceCount)                                                                         \
    X(aclrtSetDevice)                                                                              \
    X(aclrtResetDevice)                                                                            \
    X(aclrtGetCurrentContext)                                                                      \
    X(aclrtSetCurrentContext)                                                                      \
    X(aclrtMalloc)                                                                                 \
    X(aclrtFree)                                                                                   \
    X(aclrtMallocHost)                                                                             \
    X(aclrtFreeHost)                                                                               \
    X(aclrtMemcpy)                                                                                 \
    X(aclrtMemcpyAsync)                                                                            \
    X(aclrtMemset)                                                                                 \
    X(aclrtMemsetAsync)                                                                            \
    X(aclrtGetMemInfo)                                                                             \
    X(aclrtCreateStream)                                                                           \
    X(aclrtDestroyStream)                                                                          \
    X(aclrtDestroyStreamForce)                                                                     \
    X(aclrtSynchronizeStreamWithTimeout)                                                           \
    X(aclrtCreateEventExWithFlag)                                                                  \
    X(aclrtDestroyEvent)                                                                           \
    X(aclrtRecordEvent)                                                                            \
    X(aclrtQueryEventStatus)                                                                       \
    X(aclrtSynchronizeEventWithTimeout)                                                            \
    X(aclrtCtxSetSysParamOpt)                                                                      \
    X(aclrtSetSysParamOpt)                                                                         \
    X(aclrtGetDeviceSatMode)

/* X(name): of libnnopbase. */
#define MZ_ACL_BASE_LIST(X)                                                                        \
    X(aclCreateTensor)                                                                             \
    X(aclCreateScalar)                                                                             \
    X(aclCreateIntArray)                                                                           \
    X(aclCreateTensorList)                                                                         \
    X(aclDestroyTensor)                                                                            \
    X(aclDestroyScalar)                                                                            \
    X(aclDestroyIntArray)                                                                          \
    X(aclDestroyTensorList)                                                                        \
    X(aclSetAclOpExecutorRepeatable)                                                               \
    X(aclDestroyAclOpExecutor)

/* X(name): of libhccl, which only groups of NPUs want. */
#define MZ_HCCL_LIST(X)                                                                            \
    X(HcclSetConfig)                                                                               \
    X(HcclGetRootInfo)                                                                             \
    X(HcclCommInitRootInfo)                                                                        \
    X(HcclCommDestroy)                                                                             \
    X(HcclGetCommAsyncError)                                                                       \
    X(HcclAllReduce)                                                                               \
    X(HcclBroadcast)

/* X(name): operators, aclnn<name>GetWorkspaceSize and aclnn<name>. */
#define MZ_ACLNN_LIST(X)                                                                           \
    X(Mm)                                                                                          \
    X(BatchMatMul)                                                                                 \
    X(InplaceAddmm)                                                                                \
    X(Add)                                                                                         \
    X(InplaceAdd)                                                                                  \
    X(InplaceAdds)                                                                                 \
    X(Mul)                                                                                         \
    X(Muls)                                                                                        \
    X(Cast)                                                                                        \
    X(InplaceCopy)                                                                                 \
    X(InplaceFillScalar)                                                                           \
    X(ReduceSum)                                                                                   \
    X(IsFinite)                                                                                    \
    X(Silu)                                                                                        \
    X(SiluBackward)                                                                                \
    X(RmsNorm)                                                                                     \
    X(RmsNormGrad)                                                                                 \
    X(IndexSelect)                                                                                 \
    X(IndexAdd)                                                                                    \
    X(IndexPutImpl)                                                                                \
    X(Sort)                                                                                        \
    X(Gather)                                                                                      \
    X(ScatterAdd)                                                                                  \
    X(SWhere)                                                                                      \
    X(LtScalar)                                                                                    \
    X(LtTensor)                                                                                    \
    X(EqTensor)                                                                                    \
    X(Arange)                                                                                      \
    X(Div)                                                                                         \
    X(Adds)                                                                                        \
    X(Sigmoid)                                                                                     \
    X(SigmoidBackward)                                                                             \
    X(Softmax)                                                                                     \
    X(SoftmaxBackward)                                                                             \
    X(RotaryPositionEmbedding)                                                                     \
    X(GroupedMatmulV4)                                                                             \
    X(FlashAttentionScore)                                                                         \
    X(FlashAttentionScoreGrad)                                                                     \
    X(FlashAttentionScoreV2)                                                                       \
    X(FlashAttentionScoreGradV2)                                                                   \
    X(CrossEntropyLoss)                                                                            \
    X(CrossEntropyLossGrad)                                                                        \
    X(ApplyAdamWV2)

#endif
