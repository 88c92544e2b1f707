/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/aclnn.h - the operator calls that the emulated driver has, declared by ourselves from
 * the public documentation, apart from the backend's own declarations: tests/abi compares the two.
 *
 * One list makes both phases of every operator and the table of their arguments. */
#ifndef MZ_EMU_ASCEND_ACLNN_H
#define MZ_EMU_ASCEND_ACLNN_H

#include "ascend/acl.h"

typedef int32_t aclnnStatus;
typedef int32_t aclDataType, aclFormat;
typedef struct aclOpExecutor aclOpExecutor;
typedef struct aclTensor aclTensor;
typedef struct aclScalar aclScalar;
typedef struct aclIntArray aclIntArray;
typedef struct aclBoolArray aclBoolArray;
typedef struct aclTensorList aclTensorList;
typedef struct aclScalarList aclScalarList;

enum {
    EMU_FLOAT = 0,
    EMU_FLOAT16 = 1,
    EMU_INT8 = 2,
    EMU_INT32 = 3,
    EMU_UINT8 = 4,
    EMU_INT16 = 6,
    EMU_INT64 = 9,
    EMU_UINT64 = 10,
    EMU_DOUBLE = 11,
    EMU_BOOL = 12,
    EMU_BF16 = 27,

    EMU_NN_NULLPTR = 161001,
    EMU_NN_INVALID = 161002,
    EMU_NN_FIND_KERNEL = 561003,
    EMU_NN_INNER_NULLPTR = 561103,
    EMU_NN_NOT_TRANS_EXECUTOR = 561102
};

/* X(result, name, parameters): of libnnopbase. */
#define EMU_BASE_LIST(X)                                                                           \
    X(aclTensor *, aclCreateTensor,                                                                \
      (const int64_t *dims, uint64_t n_dims, aclDataType type, const int64_t *strides,             \
       int64_t offset, aclFormat format, const int64_t *storage, uint64_t n_storage, void *data))  \
    X(aclScalar *, aclCreateScalar, (void *value, aclDataType type))                               \
    X(aclIntArray *, aclCreateIntArray, (const int64_t *values, uint64_t n))                       \
    X(aclTensorList *, aclCreateTensorList, (const aclTensor *const *tensors, uint64_t n))         \
    X(aclnnStatus, aclDestroyTensor, (const aclTensor *tensor))                                    \
    X(aclnnStatus, aclDestroyScalar, (const aclScalar *scalar))                                    \
    X(aclBoolArray *, aclCreateBoolArray, (const bool *values, uint64_t n))                        \
    X(aclnnStatus, aclDestroyBoolArray, (const aclBoolArray *array))                               \
    X(aclnnStatus, aclDestroyIntArray, (const aclIntArray *array))                                 \
    X(aclnnStatus, aclDestroyTensorList, (const aclTensorList *list))                              \
    X(aclScalarList *, aclCreateScalarList, (const aclScalar *const *scalars, uint64_t n))         \
    X(aclnnStatus, aclDestroyScalarList, (const aclScalarList *list))                              \
    X(aclnnStatus, aclGetViewShape, (const aclTensor *tensor, int64_t **dims, uint64_t *n))        \
    X(aclnnStatus, aclSetAclOpExecutorRepeatable, (aclOpExecutor * executor))                      \
    X(aclnnStatus, aclDestroyAclOpExecutor, (aclOpExecutor * executor))

#define EMU_BASE_DECLARE(result, name, parameters) EMU_API result name parameters;
EMU_BASE_LIST(EMU_BASE_DECLARE)
#undef EMU_BASE_DECLARE

/* Kinds of arguments. T tensor, O one that is written, L and M lists of those, S number, N list of
 * those, A list of integers, W of switches, Y type, B switch, C small integer, I integer, U
 * unsigned, F and D floats, Z text. */
typedef const aclTensor *emu_kind_T;
typedef aclTensor *emu_kind_O;
typedef const aclTensorList *emu_kind_L;
typedef aclTensorList *emu_kind_M;
typedef const aclScalarList *emu_kind_N;
typedef const aclScalar *emu_kind_S;
typedef const aclIntArray *emu_kind_A;
typedef const aclBoolArray *emu_kind_W;
typedef aclDataType emu_kind_Y;
typedef bool emu_kind_B;
typedef int8_t emu_kind_C;
typedef int64_t emu_kind_I;
typedef uint64_t emu_kind_U;
typedef float emu_kind_F;
typedef double emu_kind_D;
typedef char *emu_kind_Z;

/* X(name without "aclnn", kinds of its arguments before (uint64_t *workspace, aclOpExecutor **)) */
#define EMU_ACLNN_LIST(X)                                                                          \
    X(Matmul, T, T, O, C)                                                                          \
    X(Mm, T, T, O, C)                                                                              \
    X(BatchMatMul, T, T, O, C)                                                                     \
    X(InplaceAddmm, T, T, T, S, S, C)                                                              \
    X(Add, T, T, S, O)                                                                             \
    X(Adds, T, S, S, O)                                                                            \
    X(InplaceAdd, T, T, S)                                                                         \
    X(InplaceAdds, T, S, S)                                                                        \
    X(Mul, T, T, O)                                                                                \
    X(Muls, T, S, O)                                                                               \
    X(Div, T, T, O)                                                                                \
    X(Cast, T, Y, O)                                                                               \
    X(InplaceCopy, O, T)                                                                           \
    X(InplaceFillScalar, O, S)                                                                     \
    X(ReduceSum, T, A, B, Y, O)                                                                    \
    X(IndexSelect, T, I, T, O)                                                                     \
    X(IndexAdd, T, I, T, T, S, O)                                                                  \
    X(RmsNorm, T, T, D, T, T)                                                                      \
    X(RmsNormGrad, T, T, T, T, T, T)                                                               \
    X(ApplyAdamWV2, O, O, O, O, T, T, F, F, F, F, F, B, B)                                         \
    X(InplaceZero, O)                                                                              \
    X(IsFinite, T, O)                                                                              \
    X(Silu, T, O)                                                                                  \
    X(SiluBackward, T, T, O)                                                                       \
    X(Sigmoid, T, O)                                                                               \
    X(SigmoidBackward, T, T, O)                                                                    \
    X(Softmax, T, I, O)                                                                            \
    X(SoftmaxBackward, T, T, I, O)                                                                 \
    X(LtScalar, T, S, O)                                                                           \
    X(LtTensor, T, T, O)                                                                           \
    X(EqTensor, T, T, O)                                                                           \
    X(SWhere, T, T, T, O)                                                                          \
    X(GroupedMatmulV4, L, L, L, L, L, L, L, L, T, L, L, L, I, I, I, I, M, M, M)                    \
    X(Sort, T, B, I, B, O, O)                                                                      \
    X(Gather, T, I, T, O)                                                                          \
    X(ScatterAdd, T, I, T, T, O)                                                                   \
    X(IndexPutImpl, O, L, T, B, B)                                                                 \
    X(Arange, S, S, S, O)                                                                          \
    X(RotaryPositionEmbedding, T, T, T, I, O)                                                      \
    X(FlashAttentionScore, T, T, T, T, T, T, T, A, D, D, I, I, I, Z, I, I, T, T, T, T)             \
    X(FlashAttentionScoreGrad, T, T, T, T, T, T, T, T, T, T, T, T, A, D, D, I, I, I, Z, I, I, T,   \
      T, T, T)                                                                                     \
    X(FlashAttentionScoreV2, T, T, T, T, T, T, T, A, A, A, D, D, I, I, I, Z, I, I, I, T, T, T, T)  \
    X(FlashAttentionScoreGradV2, T, T, T, T, T, T, T, T, T, T, T, T, A, A, A, D, D, I, I, I, Z, I, \
      I, I, T, T, T, T)                                                                            \
    X(CrossEntropyLoss, T, T, T, Z, I, D, D, B, T, T, T, T)                                        \
    X(CrossEntropyLossGrad, T, T, T, T, T, T, Z, I, D, D, T)                                       \
    /* those that Huawei's PyTorch adapter calls and Mizan does not */                             \
    X(Addmm, T, T, T, S, S, O, C)                                                                  \
    X(Sub, T, T, S, O)                                                                             \
    X(Subs, T, S, S, O)                                                                            \
    X(Rsubs, T, S, S, O)                                                                           \
    X(Divs, T, S, O)                                                                               \
    X(InplaceMul, O, T)                                                                            \
    X(InplaceMuls, O, S)                                                                           \
    X(InplaceOne, O)                                                                               \
    X(InplaceAddcdiv, O, T, T, S)                                                                  \
    X(InplaceAddcmul, O, T, T, S)                                                                  \
    X(Neg, T, O)                                                                                   \
    X(Abs, T, O)                                                                                   \
    X(Reciprocal, T, O)                                                                            \
    X(Sqrt, T, O)                                                                                  \
    X(Rsqrt, T, O)                                                                                 \
    X(Exp, T, O)                                                                                   \
    X(Log, T, O)                                                                                   \
    X(Sin, T, O)                                                                                   \
    X(Cos, T, O)                                                                                   \
    X(Tanh, T, O)                                                                                  \
    X(Relu, T, O)                                                                                  \
    X(Clamp, T, S, S, O)                                                                           \
    X(PowTensorScalar, T, S, O)                                                                    \
    X(PowScalarTensor, S, T, O)                                                                    \
    X(Maximum, T, T, O)                                                                            \
    X(Minimum, T, T, O)                                                                            \
    X(NeTensor, T, T, O)                                                                           \
    X(GtTensor, T, T, O)                                                                           \
    X(GeTensor, T, T, O)                                                                           \
    X(LeTensor, T, T, O)                                                                           \
    X(EqScalar, T, S, O)                                                                           \
    X(NeScalar, T, S, O)                                                                           \
    X(GtScalar, T, S, O)                                                                           \
    X(GeScalar, T, S, O)                                                                           \
    X(LeScalar, T, S, O)                                                                           \
    X(BitwiseAndTensor, T, T, O)                                                                   \
    X(BitwiseOrTensor, T, T, O)                                                                    \
    X(BitwiseNot, T, O)                                                                            \
    X(InplaceMaskedFillScalar, O, T, S)                                                            \
    X(Round, T, O)                                                                                 \
    X(Floor, T, O)                                                                                 \
    X(Ceil, T, O)                                                                                  \
    X(LogicalAnd, T, T, O)                                                                         \
    X(LogicalOr, T, T, O)                                                                          \
    X(LogicalNot, T, O)                                                                            \
    X(BitwiseAndScalar, T, S, O)                                                                   \
    X(BitwiseOrScalar, T, S, O)                                                                    \
    X(Embedding, T, T, O)                                                                          \
    X(EmbeddingDenseBackward, T, T, U, U, B, O)                                                    \
    X(Cat, L, I, O)                                                                                \
    X(Triu, T, I, O)                                                                               \
    X(LogSoftmax, T, I, O)                                                                         \
    X(LogSoftmaxBackward, T, T, I, O)                                                              \
    X(NLLLoss, T, T, T, I, I, O, O)                                                                \
    X(NLLLossBackward, T, T, T, T, I, I, T, O)                                                     \
    X(Lerps, T, T, S, O)                                                                           \
    X(InplaceLerps, O, T, S)                                                                       \
    X(Stack, L, I, O)                                                                              \
    X(Max, T, O)                                                                                   \
    X(ArgMax, T, I, B, O)                                                                          \
    X(Cumsum, T, I, Y, O)                                                                          \
    X(Any, T, A, B, O)                                                                             \
    X(All, T, A, B, O)                                                                             \
    X(LinalgVectorNorm, T, S, A, B, Y, O)                                                          \
    X(ForeachAddScalarV2, L, S, M)                                                                 \
    X(ForeachMulScalarV2, L, S, M)                                                                 \
    X(ForeachDivScalarList, L, N, M)                                                               \
    X(ForeachMulScalarList, L, N, M)                                                               \
    X(ForeachLerpScalar, L, L, S, M)                                                               \
    X(ForeachAddcmulScalarV2, L, L, L, S, M)                                                       \
    X(ForeachAddcdivScalarList, L, L, L, N, M)                                                     \
    X(ForeachSqrt, L, M)                                                                           \
    X(ForeachNorm, L, S, M)                                                                        \
    X(InplaceFillTensor, O, T)                                                                     \
    X(ConstantPadNd, T, A, S, O)                                                                   \
    X(Index, T, L, O)                                                                              \
    X(Mean, T, A, B, Y, O)                                                                         \
    X(MseLoss, T, T, I, O)                                                                         \
    X(MseLossBackward, T, T, T, I, O)                                                              \
    X(InplaceSub, T, T, S)                                                                         \
    X(InplaceSubs, T, S, S)                                                                        \
    X(InplaceDiv, O, T)                                                                            \
    X(InplaceDivs, O, S)                                                                           \
    X(DivMod, T, T, I, O)                                                                          \
    X(DivMods, T, S, I, O)                                                                         \
    X(InplaceDivMod, O, T, I)                                                                      \
    X(InplaceDivMods, O, S, I)                                                                     \
    X(FloorDivide, T, T, O)                                                                        \
    X(FloorDivides, T, S, O)                                                                       \
    X(InplaceFloorDivide, O, T)                                                                    \
    X(InplaceFloorDivides, O, S)                                                                   \
    X(RemainderTensorTensor, T, T, O)                                                              \
    X(RemainderTensorScalar, T, S, O)                                                              \
    X(RemainderScalarTensor, S, T, O)                                                              \
    X(InplaceRemainderTensorTensor, O, T)                                                          \
    X(InplaceRemainderTensorScalar, O, S)                                                          \
    X(FmodTensor, T, T, O)                                                                         \
    X(FmodScalar, T, S, O)                                                                         \
    X(InplaceFmodTensor, O, T)                                                                     \
    X(InplaceFmodScalar, O, S)                                                                     \
    X(Sign, T, O)                                                                                  \
    X(Signbit, T, O)                                                                               \
    X(Addcdiv, T, T, T, S, O)                                                                      \
    X(Addcmul, T, T, T, S, O)                                                                      \
    X(Lerp, T, T, T, O)                                                                            \
    X(InplaceLerp, O, T, T)                                                                        \
    X(PowTensorTensor, T, T, O)                                                                    \
    X(InplacePowTensorScalar, O, S)                                                                \
    X(InplacePowTensorTensor, O, T)                                                                \
    X(ClampMin, T, S, O)                                                                           \
    X(ClampMax, T, S, O)                                                                           \
    X(InplaceClampMax, O, S)                                                                       \
    X(ClampMinTensor, T, T, O)                                                                     \
    X(ClampMaxTensor, T, T, O)                                                                     \
    X(InplaceClampMinTensor, O, T)                                                                 \
    X(InplaceClampMaxTensor, O, T)                                                                 \
    X(ClampTensor, T, T, T, O)                                                                     \
    X(InplaceEqTensor, O, T)                                                                       \
    X(InplaceNeTensor, O, T)                                                                       \
    X(InplaceLtTensor, O, T)                                                                       \
    X(InplaceGtTensor, O, T)                                                                       \
    X(InplaceGeTensor, O, T)                                                                       \
    X(InplaceLeTensor, O, T)                                                                       \
    X(InplaceEqScalar, O, S)                                                                       \
    X(InplaceNeScalar, O, S)                                                                       \
    X(InplaceLtScalar, O, S)                                                                       \
    X(InplaceGtScalar, O, S)                                                                       \
    X(InplaceGeScalar, O, S)                                                                       \
    X(InplaceLeScalar, O, S)                                                                       \
    X(IsPosInf, T, O)                                                                              \
    X(IsNegInf, T, O)                                                                              \
    X(IsClose, T, T, D, D, B, O)                                                                   \
    X(InplaceMaskedFillTensor, O, T, T)                                                            \
    X(LogicalXor, T, T, O)                                                                         \
    X(InplaceLogicalAnd, O, T)                                                                     \
    X(InplaceLogicalOr, O, T)                                                                      \
    X(InplaceLogicalNot, O)                                                                        \
    X(BitwiseXorTensor, T, T, O)                                                                   \
    X(BitwiseXorScalar, T, S, O)                                                                   \
    X(InplaceBitwiseAndTensor, O, T)                                                               \
    X(InplaceBitwiseXorTensor, O, T)                                                               \
    X(InplaceBitwiseAndScalar, O, S)                                                               \
    X(InplaceBitwiseXorScalar, O, S)                                                               \
    X(LeftShift, T, T, O)                                                                          \
    X(LeftShifts, T, S, O)                                                                         \
    X(RightShift, T, T, O)                                                                         \
    X(RoundDecimals, T, I, O)                                                                      \
    X(InplaceRoundDecimals, O, I)                                                                  \
    X(InplaceFloor, O)                                                                             \
    X(InplaceCeil, O)                                                                              \
    X(Trunc, T, O)                                                                                 \
    X(Frac, T, O)                                                                                  \
    X(InplaceFrac, O)                                                                              \
    X(NanToNum, T, F, F, F, O)                                                                     \
    X(InplaceNanToNum, O, F, F, F)                                                                 \
    X(InplaceSigmoid, O)                                                                           \
    X(InplaceTanh, O)                                                                              \
    X(TanhBackward, T, T, O)                                                                       \
    X(InplaceRelu, O)                                                                              \
    X(InplaceReciprocal, O)                                                                        \
    X(InplaceSqrt, O)                                                                              \
    X(InplaceRsqrt, O)                                                                             \
    X(InplaceExp, O)                                                                               \
    X(Exp2, T, O)                                                                                  \
    X(InplaceExp2, O)                                                                              \
    X(Expm1, T, O)                                                                                 \
    X(InplaceExpm1, O)                                                                             \
    X(InplaceLog, O)                                                                               \
    X(Log2, T, O)                                                                                  \
    X(InplaceLog2, O)                                                                              \
    X(Log10, T, O)                                                                                 \
    X(InplaceLog10, O)                                                                             \
    X(Log1p, T, O)                                                                                 \
    X(InplaceLog1p, O)                                                                             \
    X(InplaceSin, O)                                                                               \
    X(InplaceCos, O)                                                                               \
    X(Tan, T, O)                                                                                   \
    X(InplaceTan, O)                                                                               \
    X(Sinh, T, O)                                                                                  \
    X(InplaceSinh, O)                                                                              \
    X(Cosh, T, O)                                                                                  \
    X(InplaceCosh, O)                                                                              \
    X(Asin, T, O)                                                                                  \
    X(InplaceAsin, O)                                                                              \
    X(Acos, T, O)                                                                                  \
    X(InplaceAcos, O)                                                                              \
    X(Atan, T, O)                                                                                  \
    X(InplaceAtan, O)                                                                              \
    X(Asinh, T, O)                                                                                 \
    X(InplaceAsinh, O)                                                                             \
    X(Acosh, T, O)                                                                                 \
    X(InplaceAcosh, O)                                                                             \
    X(Atanh, T, O)                                                                                 \
    X(InplaceAtanh, O)                                                                             \
    X(Erf, T, O)                                                                                   \
    X(InplaceErf, O)                                                                               \
    X(Erfc, T, O)                                                                                  \
    X(InplaceErfc, O)                                                                              \
    X(Erfinv, T, O)                                                                                \
    X(InplaceErfinv, O)                                                                            \
    X(Sinc, T, O)                                                                                  \
    X(InplaceSinc, O)                                                                              \
    X(Gelu, T, O)                                                                                  \
    X(GeluBackward, T, T, O)                                                                       \
    X(GeluV2, T, I, O)                                                                             \
    X(GeluBackwardV2, T, T, Z, O)                                                                  \
    X(Mish, T, O)                                                                                  \
    X(InplaceMish, O)                                                                              \
    X(MishBackward, T, T, O)                                                                       \
    X(Hardswish, T, O)                                                                             \
    X(InplaceHardswish, O)                                                                         \
    X(HardswishBackward, T, T, O)                                                                  \
    X(Hardsigmoid, T, O)                                                                           \
    X(InplaceHardsigmoid, O)                                                                       \
    X(HardsigmoidBackward, T, T, O)                                                                \
    X(Hardtanh, T, S, S, O)                                                                        \
    X(InplaceHardtanh, O, S, S)                                                                    \
    X(HardtanhBackward, T, T, S, S, O)                                                             \
    X(LeakyRelu, T, S, O)                                                                          \
    X(InplaceLeakyRelu, O, S)                                                                      \
    X(LeakyReluBackward, T, T, S, B, O)                                                            \
    X(Elu, T, S, S, S, O)                                                                          \
    X(InplaceElu, O, S, S, S)                                                                      \
    X(EluBackward, T, S, S, S, B, T, O)                                                            \
    X(Celu, T, S, O)                                                                               \
    X(InplaceCelu, O, S)                                                                           \
    X(Softplus, T, S, S, O)                                                                        \
    X(SoftplusBackward, T, T, S, S, O)                                                             \
    X(Threshold, T, S, S, O)                                                                       \
    X(InplaceThreshold, O, S, S)                                                                   \
    X(ThresholdBackward, T, T, S, O)                                                               \
    X(Softshrink, T, S, O)                                                                         \
    X(SoftshrinkBackward, T, T, S, O)                                                              \
    X(Hardshrink, T, S, O)                                                                         \
    X(HardshrinkBackward, T, T, S, O)                                                              \
    X(LogSigmoidForward, T, O, O)                                                                  \
    X(LogSigmoid, T, O)                                                                            \
    X(LogSigmoidBackward, T, T, T, O)                                                              \
    X(Logit, T, D, O)                                                                              \
    X(Atan2, T, T, O)                                                                              \
    X(LogAddExp, T, T, O)                                                                          \
    X(XLogYTensor, T, T, O)                                                                        \
    X(L1LossBackward, T, T, T, I, O)                                                               \
    X(KlDivBackward, T, T, T, I, B, O)                                                             \
    X(SmoothL1LossBackward, T, T, T, I, F, O)                                                      \
    X(BinaryCrossEntropyBackward, T, T, T, T, I, O)                                                \
    X(BinaryCrossEntropyWithLogitsBackward, T, T, T, T, T, I, O)                                   \
    X(ReduceNansum, T, A, B, Y, O)                                                                 \
    X(Prod, T, Y, O)                                                                               \
    X(ProdDim, T, I, B, Y, O)                                                                      \
    X(Min, T, O)                                                                                   \
    X(Amax, T, A, B, O)                                                                            \
    X(Amin, T, A, B, O)                                                                            \
    X(MaxDim, T, I, B, O, O)                                                                       \
    X(MinDim, T, I, B, O, O)                                                                       \
    X(ArgMin, T, I, B, O)                                                                          \
    X(Aminmax, T, A, B, O, O)                                                                      \
    X(AminmaxDim, T, I, B, O, O)                                                                   \
    X(AminmaxAll, T, O, O)                                                                         \
    X(VarCorrection, T, A, I, B, O)                                                                \
    X(VarMean, T, A, I, B, O, O)                                                                   \
    X(Std, T, A, I, B, O)                                                                          \
    X(StdMeanCorrection, T, A, I, B, O, O)                                                         \
    X(LogSumExp, T, A, B, O)                                                                       \
    X(Norm, T, S, A, B, O)                                                                         \
    X(Median, T, O)                                                                                \
    X(NanMedian, T, O)                                                                             \
    X(MedianDim, T, I, B, O, O)                                                                    \
    X(Kthvalue, T, I, I, B, O, O)                                                                  \
    X(L1Loss, T, T, I, O)                                                                          \
    X(SmoothL1Loss, T, T, I, F, O)                                                                 \
    X(KlDiv, T, T, I, B, O)                                                                        \
    X(BinaryCrossEntropy, T, T, T, I, O)                                                           \
    X(BinaryCrossEntropyWithLogits, T, T, T, T, I, O)                                              \
    X(Scatter, T, I, T, T, I, O)                                                                   \
    X(ScatterValue, T, I, T, S, I, O)                                                              \
    X(InplaceScatter, O, I, T, T, I)                                                               \
    X(InplaceScatterValue, O, I, T, S, I)                                                          \
    X(IndexFill, T, I, T, S, O)                                                                    \
    X(IndexFillTensor, T, I, A, S, O)                                                              \
    X(InplaceIndexFill, O, I, T, S)                                                                \
    X(InplaceIndexFillTensor, O, I, A, S)                                                          \
    X(IndexCopy, T, I, T, T, O)                                                                    \
    X(InplaceIndexCopy, O, I, T, T)                                                                \
    X(Take, T, T, O)                                                                               \
    X(InplacePut, O, T, T, B)                                                                      \
    X(Repeat, T, A, O)                                                                             \
    X(Roll, T, A, A, O)                                                                            \
    X(Flip, T, A, O)                                                                               \
    X(RepeatInterleave, T, T, I, O)                                                                \
    X(RepeatInterleaveInt, T, I, I, O)                                                             \
    X(RepeatInterleaveWithDim, T, T, I, I, O)                                                      \
    X(RepeatInterleaveIntWithDim, T, I, I, I, O)                                                   \
    X(Tril, T, I, O)                                                                               \
    X(InplaceTriu, O, I)                                                                           \
    X(InplaceTril, O, I)                                                                           \
    X(Eye, I, I, O)                                                                                \
    X(Trace, T, O)                                                                                 \
    X(OneHot, T, I, T, T, I, O)                                                                    \
    X(Bincount, T, T, I, O)                                                                        \
    X(SearchSorted, T, T, B, B, T, O)                                                              \
    X(SearchSorteds, T, S, B, B, T, O)                                                             \
    X(Linspace, S, S, I, O)                                                                        \
    X(Range, S, S, S, O)                                                                           \
    X(Equal, T, T, O)                                                                              \
    X(RotaryPositionEmbeddingGrad, T, T, T, T, I, O, O, O)                                         \
    X(SwiGlu, T, I, O)                                                                             \
    X(SwiGluGrad, T, T, I, O)                                                                      \
    X(Topk, T, I, I, B, B, O, O)                                                                   \
    X(Cumprod, T, S, Y, O)                                                                         \
    X(Cummax, T, I, O, O)                                                                          \
    X(Cummin, T, I, O, O)                                                                          \
    X(Nonzero, T, O)                                                                               \
    X(MaskedSelect, T, T, O)                                                                       \
    X(InplaceMaskedScatter, O, T, T)                                                               \
    X(Unique2, T, B, B, B, O, O, O)                                                                \
    X(UniqueConsecutive, T, B, B, I, O, O, O)                                                      \
    X(UniqueDim, T, B, B, I, O, O, O)                                                              \
    X(NonzeroV2, T, O)                                                                             \
    X(LayerNorm, T, A, T, T, D, O, O, O)                                                           \
    X(LayerNormBackward, T, T, A, T, T, T, T, W, O, O, O)                                          \
    X(GroupNorm, T, T, T, I, I, I, I, D, O, O, O)                                                  \
    X(GroupNormBackward, T, T, T, T, T, I, I, I, I, W, O, O, O)                                    \
    X(BatchNorm, T, T, T, O, O, B, D, D, O, O, O)                                                  \
    X(BatchNormBackward, T, T, T, T, T, T, T, B, D, W, O, O, O)                                    \
    X(InplaceNormal, O, F, F, I, I)                                                                \
    X(NormalTensorFloat, T, F, I, I, O)                                                            \
    X(NormalFloatTensor, F, T, I, I, O)                                                            \
    X(NormalTensorTensor, T, T, I, I, O)                                                           \
    X(InplaceUniform, O, D, D, U, U)                                                               \
    X(InplaceRandom, O, I, I, I, I)                                                                \
    X(InplaceBernoulli, O, S, I, I)                                                                \
    X(InplaceBernoulliTensor, O, T, I, I)                                                          \
    X(Randperm, I, I, I, O)                                                                        \
    X(Multinomial, T, I, B, I, I, O)                                                               \
    X(DropoutGenMask, A, D, I, I, O)                                                               \
    X(DropoutGenMaskV2, A, D, I, I, Y, O)                                                          \
    X(DropoutDoMask, T, T, D, O)                                                                   \
    X(Baddbmm, T, T, T, S, S, O, C)                                                                \
    X(Mv, T, T, O, C)                                                                              \
    X(Addmv, T, T, T, S, S, O, C)                                                                  \
    X(Dot, T, T, O)                                                                                \
    X(Addr, T, T, T, S, S, O)                                                                      \
    X(Addbmm, T, T, T, S, S, O, C)                                                                 \
    X(ForeachAddScalarList, L, N, M)                                                               \
    X(ForeachAddScalar, L, T, M)                                                                   \
    X(ForeachSubScalarV2, L, S, M)                                                                 \
    X(ForeachSubScalarList, L, N, M)                                                               \
    X(ForeachSubScalar, L, T, M)                                                                   \
    X(ForeachMulScalar, L, T, M)                                                                   \
    X(ForeachDivScalarV2, L, S, M)                                                                 \
    X(ForeachDivScalar, L, T, M)                                                                   \
    X(ForeachPowScalarV2, L, S, M)                                                                 \
    X(ForeachPowScalarList, L, N, M)                                                               \
    X(ForeachPowScalar, L, T, M)                                                                   \
    X(ForeachMaximumScalarV2, L, S, M)                                                             \
    X(ForeachMaximumScalarList, L, N, M)                                                           \
    X(ForeachMaximumScalar, L, T, M)                                                               \
    X(ForeachMinimumScalarV2, L, S, M)                                                             \
    X(ForeachMinimumScalarList, L, N, M)                                                           \
    X(ForeachMinimumScalar, L, T, M)                                                               \
    X(ForeachMulList, L, L, M)                                                                     \
    X(ForeachDivList, L, L, M)                                                                     \
    X(ForeachPowList, L, L, M)                                                                     \
    X(ForeachMaximumList, L, L, M)                                                                 \
    X(ForeachMinimumList, L, L, M)                                                                 \
    X(ForeachAddList, L, L, T, M)                                                                  \
    X(ForeachAddListV2, L, L, S, M)                                                                \
    X(ForeachSubList, L, L, T, M)                                                                  \
    X(ForeachSubListV2, L, L, S, M)                                                                \
    X(ForeachLerpList, L, L, L, M)                                                                 \
    X(ForeachAddcmulScalarList, L, L, L, N, M)                                                     \
    X(ForeachAddcmulScalar, L, L, L, T, M)                                                         \
    X(ForeachAddcdivScalarV2, L, L, L, S, M)                                                       \
    X(ForeachAddcdivScalar, L, L, L, T, M)                                                         \
    X(ForeachCopy, L, M)                                                                           \
    X(ForeachNeg, L, M)                                                                            \
    X(ForeachAbs, L, M)                                                                            \
    X(ForeachReciprocal, L, M)                                                                     \
    X(ForeachSign, L, M)                                                                           \
    X(ForeachExp, L, M)                                                                            \
    X(ForeachExpm1, L, M)                                                                          \
    X(ForeachLog, L, M)                                                                            \
    X(ForeachLog2, L, M)                                                                           \
    X(ForeachLog10, L, M)                                                                          \
    X(ForeachLog1p, L, M)                                                                          \
    X(ForeachSin, L, M)                                                                            \
    X(ForeachCos, L, M)                                                                            \
    X(ForeachTan, L, M)                                                                            \
    X(ForeachSinh, L, M)                                                                           \
    X(ForeachCosh, L, M)                                                                           \
    X(ForeachTanh, L, M)                                                                           \
    X(ForeachAsin, L, M)                                                                           \
    X(ForeachAcos, L, M)                                                                           \
    X(ForeachAtan, L, M)                                                                           \
    X(ForeachErf, L, M)                                                                            \
    X(ForeachErfc, L, M)                                                                           \
    X(ForeachSigmoid, L, M)                                                                        \
    X(ForeachZeroInplace, L)                                                                       \
    X(ForeachPowScalarAndTensor, S, L, M)                                                          \
    X(ForeachNonFiniteCheckAndUnscale, L, T, T)                                                    \
    X(AmpUpdateScale, T, T, T, D, D, I, O, O)                                                      \
    X(InplaceRound, O)                                                                             \
    X(InplaceTrunc, O)                                                                             \
    X(Convolution, T, T, T, A, A, A, B, A, I, O, C)                                                \
    X(ConvolutionBackward, T, T, T, A, A, A, A, B, A, I, W, C, O, O, O)                            \
    X(MaxPool2dWithMask, T, A, A, A, A, B, O, O)                                                   \
    X(MaxPool2dWithMaskBackward, T, T, T, A, A, A, A, B, O)                                        \
    X(AvgPool2d, T, A, A, A, B, B, I, C, O)                                                        \
    X(AvgPool2dBackward, T, T, A, A, A, B, B, I, C, O)                                             \
    X(AdaptiveAvgPool2d, T, A, O)                                                                  \
    X(AdaptiveAvgPool2dBackward, T, T, O)                                                          \
    X(MoeGatingTopKSoftmax, T, T, I, O, O, O)                                                      \
    X(MoeGatingTopK, T, T, I, I, I, I, I, I, B, D, D, O, O, O)                                     \
    X(MoeTokenPermute, T, T, I, B, O, O)                                                           \
    X(MoeTokenPermuteGrad, T, T, I, B, O)                                                          \
    X(MoeTokenUnpermute, T, T, T, B, A, O)                                                         \
    X(MoeTokenUnpermuteGrad, T, T, T, T, B, A, O, O)                                               \
    X(KlDivTargetBackward, T, T, T, I, B, O)

/* f(kind, number) for each kind, numbers falling to 1. */
#define EMU_EACH(f, ...) EMU_EACH_(EMU_COUNT(__VA_ARGS__), f, __VA_ARGS__)
#define EMU_EACH_(n, f, ...) EMU_EACH__(n, f, __VA_ARGS__)
#define EMU_EACH__(n, f, ...) EMU_EACH_##n(f, __VA_ARGS__)
#define EMU_EACH_1(f, a) f(a, 1)
#define EMU_EACH_2(f, a, ...) f(a, 2), EMU_EACH_1(f, __VA_ARGS__)
#define EMU_EACH_3(f, a, ...) f(a, 3), EMU_EACH_2(f, __VA_ARGS__)
#define EMU_EACH_4(f, a, ...) f(a, 4), EMU_EACH_3(f, __VA_ARGS__)
#define EMU_EACH_5(f, a, ...) f(a, 5), EMU_EACH_4(f, __VA_ARGS__)
#define EMU_EACH_6(f, a, ...) f(a, 6), EMU_EACH_5(f, __VA_ARGS__)
#define EMU_EACH_7(f, a, ...) f(a, 7), EMU_EACH_6(f, __VA_ARGS__)
#define EMU_EACH_8(f, a, ...) f(a, 8), EMU_EACH_7(f, __VA_ARGS__)
#define EMU_EACH_9(f, a, ...) f(a, 9), EMU_EACH_8(f, __VA_ARGS__)
#define EMU_EACH_10(f, a, ...) f(a, 10), EMU_EACH_9(f, __VA_ARGS__)
#define EMU_EACH_11(f, a, ...) f(a, 11), EMU_EACH_10(f, __VA_ARGS__)
#define EMU_EACH_12(f, a, ...) f(a, 12), EMU_EACH_11(f, __VA_ARGS__)
#define EMU_EACH_13(f, a, ...) f(a, 13), EMU_EACH_12(f, __VA_ARGS__)
#define EMU_EACH_14(f, a, ...) f(a, 14), EMU_EACH_13(f, __VA_ARGS__)
#define EMU_EACH_15(f, a, ...) f(a, 15), EMU_EACH_14(f, __VA_ARGS__)
#define EMU_EACH_16(f, a, ...) f(a, 16), EMU_EACH_15(f, __VA_ARGS__)
#define EMU_EACH_17(f, a, ...) f(a, 17), EMU_EACH_16(f, __VA_ARGS__)
#define EMU_EACH_18(f, a, ...) f(a, 18), EMU_EACH_17(f, __VA_ARGS__)
#define EMU_EACH_19(f, a, ...) f(a, 19), EMU_EACH_18(f, __VA_ARGS__)
#define EMU_EACH_20(f, a, ...) f(a, 20), EMU_EACH_19(f, __VA_ARGS__)
#define EMU_EACH_21(f, a, ...) f(a, 21), EMU_EACH_20(f, __VA_ARGS__)
#define EMU_EACH_22(f, a, ...) f(a, 22), EMU_EACH_21(f, __VA_ARGS__)
#define EMU_EACH_23(f, a, ...) f(a, 23), EMU_EACH_22(f, __VA_ARGS__)
#define EMU_EACH_24(f, a, ...) f(a, 24), EMU_EACH_23(f, __VA_ARGS__)
#define EMU_EACH_25(f, a, ...) f(a, 25), EMU_EACH_24(f, __VA_ARGS__)
#define EMU_EACH_26(f, a, ...) f(a, 26), EMU_EACH_25(f, __VA_ARGS__)
#define EMU_EACH_27(f, a, ...) f(a, 27), EMU_EACH_26(f, __VA_ARGS__)
#define EMU_EACH_28(f, a, ...) f(a, 28), EMU_EACH_27(f, __VA_ARGS__)
#define EMU_COUNT(...)                                                                             \
    EMU_COUNT_(__VA_ARGS__, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12,    \
               11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define EMU_COUNT_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z,   \
                   aa, ab, number, ...)                                                            \
    number

#define EMU_PARAMETER(kind, number) emu_kind_##kind a##number
#define EMU_ACLNN_DECLARE(name, ...)                                                               \
    EMU_API aclnnStatus aclnn##name##GetWorkspaceSize(                                             \
        EMU_EACH(EMU_PARAMETER, __VA_ARGS__), uint64_t *workspace, aclOpExecutor **executor);      \
    EMU_API aclnnStatus aclnn##name(void *workspace, uint64_t bytes, aclOpExecutor *executor,      \
                                    aclrtStream stream);
EMU_ACLNN_LIST(EMU_ACLNN_DECLARE)
#undef EMU_ACLNN_DECLARE

#endif
