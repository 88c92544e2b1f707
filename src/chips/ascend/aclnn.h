/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/aclnn.h - the objects and operators of aclnn that Mizan uses, declared by ourselves
 * from the public documentation.
 *
 * Every operator has two functions: aclnn<name>GetWorkspaceSize checks the arguments and says how
 * much workspace it wants, aclnn<name> enqueues.
 *
 * Floor:  chips.   Compiles as C++ too. */
#ifndef MZ_CHIPS_ASCEND_ACLNN_H
#define MZ_CHIPS_ASCEND_ACLNN_H

#include "chips/ascend/acl.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t aclnnStatus;
typedef int32_t aclDataType, aclFormat;
typedef struct aclOpExecutor aclOpExecutor;
typedef struct aclTensor aclTensor;
typedef struct aclScalar aclScalar;
typedef struct aclIntArray aclIntArray;
typedef struct aclTensorList aclTensorList;

enum {
    ACL_FLOAT = 0,
    ACL_FLOAT16 = 1,
    ACL_INT8 = 2,
    ACL_INT32 = 3,
    ACL_UINT8 = 4,
    ACL_INT64 = 9,
    ACL_BOOL = 12,
    ACL_BF16 = 27,
    ACL_FORMAT_ND = 2
};

/* ---- descriptors and executors ---- */
aclTensor *aclCreateTensor(const int64_t *dims, uint64_t n, aclDataType type,
                           const int64_t *strides, int64_t offset, aclFormat format,
                           const int64_t *storage_dims, uint64_t n_storage, void *data);
aclScalar *aclCreateScalar(void *value, aclDataType type);
aclIntArray *aclCreateIntArray(const int64_t *values, uint64_t n);
aclTensorList *aclCreateTensorList(const aclTensor *const *tensors, uint64_t n);
aclnnStatus aclDestroyTensor(const aclTensor *tensor);
aclnnStatus aclDestroyScalar(const aclScalar *scalar);
aclnnStatus aclDestroyIntArray(const aclIntArray *array);
aclnnStatus aclDestroyTensorList(const aclTensorList *list); /* and its tensors */
aclnnStatus aclSetAclOpExecutorRepeatable(aclOpExecutor *executor);
aclnnStatus aclDestroyAclOpExecutor(aclOpExecutor *executor);

/* ---- operators: shorter names for their parameters, which end with this file ---- */
#define MZ_CT const aclTensor *
#define MZ_T aclTensor *
#define MZ_CS const aclScalar *
#define MZ_CA const aclIntArray *
#define MZ_CL const aclTensorList *
#define MZ_L aclTensorList *
#define MZ_ACLNN(name, ...)                                                                        \
    aclnnStatus aclnn##name##GetWorkspaceSize(__VA_ARGS__, uint64_t *workspace,                    \
                                              aclOpExecutor **executor);                           \
    aclnnStatus aclnn##name(void *workspace, uint64_t bytes, aclOpExecutor *executor,              \
                            aclrtStream stream);

/* products */
MZ_ACLNN(Mm, MZ_CT self, MZ_CT mat2, MZ_T out, int8_t cube_type)
MZ_ACLNN(BatchMatMul, MZ_CT self, MZ_CT mat2, MZ_T out, int8_t cube_type)
MZ_ACLNN(InplaceAddmm, MZ_CT self, MZ_CT mat1, MZ_CT mat2, MZ_CS beta, MZ_CS alpha,
         int8_t cube_type)
MZ_ACLNN(GroupedMatmulV4, MZ_CL x, MZ_CL weight, MZ_CL bias, MZ_CL scale, MZ_CL offset,
         MZ_CL antiquant_scale, MZ_CL antiquant_offset, MZ_CL per_token_scale, MZ_CT group_list,
         MZ_CL activation_input, MZ_CL activation_scale, MZ_CL activation_offset,
         int64_t split_item, int64_t group_type, int64_t group_list_type, int64_t activation,
         MZ_L out, MZ_L activation_out, MZ_L dynamic_scale_out)

/* elementwise, sums */
MZ_ACLNN(Add, MZ_CT self, MZ_CT other, MZ_CS alpha, MZ_T out)
MZ_ACLNN(InplaceAdd, MZ_CT self, MZ_CT other, MZ_CS alpha)
MZ_ACLNN(Adds, MZ_CT self, MZ_CS other, MZ_CS alpha, MZ_T out)
MZ_ACLNN(InplaceAdds, MZ_CT self, MZ_CS other, MZ_CS alpha)
MZ_ACLNN(Mul, MZ_CT self, MZ_CT other, MZ_T out)
MZ_ACLNN(Muls, MZ_CT self, MZ_CS other, MZ_T out)
MZ_ACLNN(Div, MZ_CT self, MZ_CT other, MZ_T out)
MZ_ACLNN(Cast, MZ_CT self, const aclDataType type, MZ_T out)
MZ_ACLNN(InplaceCopy, MZ_T self, MZ_CT src)
MZ_ACLNN(InplaceFillScalar, MZ_T self, MZ_CS value)
MZ_ACLNN(ReduceSum, MZ_CT self, MZ_CA dims, bool keep_dims, aclDataType type, MZ_T out)
MZ_ACLNN(IsFinite, MZ_CT self, MZ_T out)
MZ_ACLNN(LtScalar, MZ_CT self, MZ_CS other, MZ_T out)
MZ_ACLNN(LtTensor, MZ_CT self, MZ_CT other, MZ_T out)
MZ_ACLNN(EqTensor, MZ_CT self, MZ_CT other, MZ_T out)
MZ_ACLNN(SWhere, MZ_CT condition, MZ_CT self, MZ_CT other, MZ_T out)
MZ_ACLNN(Arange, MZ_CS start, MZ_CS end, MZ_CS step, MZ_T out)

/* activations, norms, losses */
MZ_ACLNN(Silu, MZ_CT self, MZ_T out)
MZ_ACLNN(SiluBackward, MZ_CT grad, MZ_CT self, MZ_T out)
MZ_ACLNN(Sigmoid, MZ_CT self, MZ_T out)
MZ_ACLNN(SigmoidBackward, MZ_CT grad, MZ_CT output, MZ_T out)
MZ_ACLNN(Softmax, MZ_CT self, int64_t dim, MZ_T out)
MZ_ACLNN(SoftmaxBackward, MZ_CT grad, MZ_CT output, int64_t dim, MZ_T out)
MZ_ACLNN(RmsNorm, MZ_CT x, MZ_CT gamma, double eps, MZ_CT y, MZ_CT rstd)
MZ_ACLNN(RmsNormGrad, MZ_CT dy, MZ_CT x, MZ_CT rstd, MZ_CT gamma, MZ_CT dx, MZ_CT dgamma)
MZ_ACLNN(CrossEntropyLoss, MZ_CT input, MZ_CT target, MZ_CT weight, char *reduction,
         int64_t ignore_index, double label_smoothing, double lse_square_scale, bool return_zloss,
         MZ_CT loss, MZ_CT log_prob, MZ_CT zloss, MZ_CT lse_for_zloss)
MZ_ACLNN(CrossEntropyLossGrad, MZ_CT grad_loss, MZ_CT log_prob, MZ_CT target, MZ_CT weight,
         MZ_CT grad_zloss, MZ_CT lse_for_zloss, char *reduction, int64_t ignore_index,
         double label_smoothing, double lse_square_scale, MZ_CT out)
MZ_ACLNN(ApplyAdamWV2, MZ_T var, MZ_T m, MZ_T v, MZ_T max_grad_norm, MZ_CT grad, MZ_CT step,
         float lr, float beta1, float beta2, float weight_decay, float eps, bool amsgrad,
         bool maximize)

/* rows, order */
MZ_ACLNN(IndexSelect, MZ_CT self, int64_t dim, MZ_CT index, MZ_T out)
MZ_ACLNN(IndexAdd, MZ_CT self, const int64_t dim, MZ_CT index, MZ_CT source, MZ_CS alpha, MZ_T out)
MZ_ACLNN(IndexPutImpl, MZ_T self, MZ_CL indices, MZ_CT values, const bool accumulate,
         const bool is_unsafe)
MZ_ACLNN(Gather, MZ_CT self, const int64_t dim, MZ_CT index, MZ_T out)
MZ_ACLNN(ScatterAdd, MZ_CT self, int64_t dim, MZ_CT index, MZ_CT src, MZ_T out)
MZ_ACLNN(Sort, MZ_CT self, bool stable, int64_t dim, bool descending, MZ_T values, MZ_T indices)

/* positions, attention */
MZ_ACLNN(RotaryPositionEmbedding, MZ_CT x, MZ_CT cos, MZ_CT sin, int64_t mode, MZ_T out)
MZ_ACLNN(FlashAttentionScore, MZ_CT query, MZ_CT key, MZ_CT value, MZ_CT real_shift,
         MZ_CT drop_mask, MZ_CT padding_mask, MZ_CT atten_mask, MZ_CA prefix, double scale,
         double keep_prob, int64_t pre_tokens, int64_t next_tokens, int64_t heads, char *layout,
         int64_t inner_precise, int64_t sparse_mode, MZ_CT softmax_max, MZ_CT softmax_sum,
         MZ_CT softmax_out, MZ_CT attention_out)
MZ_ACLNN(FlashAttentionScoreGrad, MZ_CT query, MZ_CT key, MZ_CT value, MZ_CT dy, MZ_CT pse_shift,
         MZ_CT drop_mask, MZ_CT padding_mask, MZ_CT atten_mask, MZ_CT softmax_max,
         MZ_CT softmax_sum, MZ_CT softmax_in, MZ_CT attention_in, MZ_CA prefix, double scale,
         double keep_prob, int64_t pre_tokens, int64_t next_tokens, int64_t heads, char *layout,
         int64_t inner_precise, int64_t sparse_mode, MZ_CT dq, MZ_CT dk, MZ_CT dv, MZ_CT dpse)

/* the same with where queries and keys begin, and the kind of shift: all that a 950 has */
MZ_ACLNN(FlashAttentionScoreV2, MZ_CT query, MZ_CT key, MZ_CT value, MZ_CT real_shift,
         MZ_CT drop_mask, MZ_CT padding_mask, MZ_CT atten_mask, MZ_CA prefix, MZ_CA q_start,
         MZ_CA kv_start, double scale, double keep_prob, int64_t pre_tokens, int64_t next_tokens,
         int64_t heads, char *layout, int64_t inner_precise, int64_t sparse_mode, int64_t pse_type,
         MZ_CT softmax_max, MZ_CT softmax_sum, MZ_CT softmax_out, MZ_CT attention_out)
MZ_ACLNN(FlashAttentionScoreGradV2, MZ_CT query, MZ_CT key, MZ_CT value, MZ_CT dy, MZ_CT pse_shift,
         MZ_CT drop_mask, MZ_CT padding_mask, MZ_CT atten_mask, MZ_CT softmax_max,
         MZ_CT softmax_sum, MZ_CT softmax_in, MZ_CT attention_in, MZ_CA prefix, MZ_CA q_start,
         MZ_CA kv_start, double scale, double keep_prob, int64_t pre_tokens, int64_t next_tokens,
         int64_t heads, char *layout, int64_t inner_precise, int64_t sparse_mode, int64_t pse_type,
         MZ_CT dq, MZ_CT dk, MZ_CT dv, MZ_CT dpse)

#undef MZ_CT
#undef MZ_T
#undef MZ_CS
#undef MZ_CA
#undef MZ_CL
#undef MZ_L
#undef MZ_ACLNN

#ifdef __cplusplus
}
#endif

#endif
