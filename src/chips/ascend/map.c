/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/map.c - see map.h. Floor: chips. */
#include "chips/ascend/map.h"

#include <stdio.h>
#include <string.h>

static const mz_ascend_row ROWS[MZ_OP_COUNT] = {
    [MZ_OP_MATMUL] = {MZ_STATE_NATIVE,
                      "Mm BatchMatMul InplaceFillScalar Cast InplaceAdd InplaceCopy",
                      "Mm InplaceFillScalar Cast InplaceCopy InplaceAddmm ReduceSum InplaceAdd",
                      "8.1", "gradients of weights, f32 results and biases multiply in f32"},
    [MZ_OP_EXPERTS] = {MZ_STATE_NATIVE, "Cast GroupedMatmulV4 InplaceCopy",
                       "Cast GroupedMatmulV4 InplaceCopy InplaceFillScalar InplaceAdd", "8.1",
                       "gradients of weights multiply in f32"},
    [MZ_OP_RMSNORM] = {MZ_STATE_NATIVE, "RmsNorm InplaceCopy", "RmsNormGrad InplaceCopy InplaceAdd",
                       "8.1", ""},
    [MZ_OP_ROPE] = {MZ_STATE_NATIVE, "IndexSelect InplaceCopy Cast RotaryPositionEmbedding",
                    "IndexSelect InplaceCopy Cast Muls RotaryPositionEmbedding", "8.5",
                    "in f32; the gradient turns the other way"},
    [MZ_OP_ATTENTION] = {MZ_STATE_NATIVE,
                         "FlashAttentionScore FlashAttentionScoreV2 InplaceFillScalar InplaceCopy "
                         "Cast",
                         "FlashAttentionScore FlashAttentionScoreV2 FlashAttentionScoreGrad "
                         "FlashAttentionScoreGradV2 InplaceFillScalar InplaceCopy Cast",
                         "8.1",
                         "a sequence a call; gradients of bf16 in f32; V2 on a 950, which has no "
                         "other"},
    [MZ_OP_DECODE] = {MZ_STATE_COMPOSED,
                      "Arange Add InplaceFillScalar InplaceCopy LtTensor SWhere IndexSelect "
                      "FlashAttentionScore FlashAttentionScoreV2",
                      "", "8.1",
                      "a sequence a call; how long it is stands on the device, where CANN's paged "
                      "attention wants it on the host"},
    [MZ_OP_SWIGLU] = {MZ_STATE_COMPOSED, "Cast Silu Mul InplaceCopy",
                      "Cast Silu Mul SiluBackward InplaceCopy", "8.1",
                      "gate and up lie apart, SwiGlu wants them side by side"},
    [MZ_OP_EMBED] = {MZ_STATE_NATIVE, "IndexSelect", "Cast IndexAdd", "8.1", ""},
    [MZ_OP_ROUTER] =
        {MZ_STATE_COMPOSED,
         "Softmax Sigmoid Add Sort InplaceCopy InplaceAdd Cast LtScalar "
         "InplaceFillScalar SWhere Gather Arange EqTensor Mul ReduceSum Adds Div Muls",
         "InplaceFillScalar InplaceCopy ReduceSum Mul Div Add Cast Gather Arange EqTensor "
         "Adds Muls "
         "ScatterAdd SoftmaxBackward SigmoidBackward",
         "8.1",
         "equal scores go to the lower id, which MoeGatingTopK does not promise; Gather, or "
         "sums where a 950 has none"},
    [MZ_OP_BALANCE] = {MZ_STATE_COMPOSED,
                       "InplaceFillScalar Arange LtTensor Cast Add EqTensor ReduceSum Mm LtScalar "
                       "InplaceAdd Muls Div Mul",
                       "", "8.1", "CANN has no such call"},
    [MZ_OP_PERMUTE] = {MZ_STATE_COMPOSED,
                       "InplaceFillScalar Cast Sort Arange InplaceCopy IndexSelect LtTensor "
                       "ReduceSum",
                       "IndexSelect Cast InplaceCopy ReduceSum", "8.1",
                       "stable order and offsets, which MoeTokenPermute does not give"},
    [MZ_OP_UNPERMUTE] = {MZ_STATE_COMPOSED, "IndexSelect Cast Mul ReduceSum InplaceAdd InplaceCopy",
                         "Cast IndexSelect Mul ReduceSum Sort InplaceCopy", "8.1",
                         "summed in f32 with what is added, and rounded once"},
    [MZ_OP_XENT] = {MZ_STATE_NATIVE, "Cast CrossEntropyLoss CrossEntropyLossGrad", "", "8.1",
                    "in f32"},
    [MZ_OP_ADAMW] = {MZ_STATE_NATIVE, "InplaceFillScalar Muls ApplyAdamWV2 Cast InplaceCopy", "",
                     "8.1", ""},
    [MZ_OP_SUMSQ] = {MZ_STATE_COMPOSED, "Cast Mul ReduceSum InplaceAdd", "", "8.1",
                     "the norm that CANN has is a root"},
    [MZ_OP_FINITE] = {MZ_STATE_COMPOSED, "IsFinite Cast ReduceSum Add InplaceAdds", "", "8.1",
                      "CANN says which, not how many"},
    [MZ_OP_CAST] = {MZ_STATE_NATIVE, "Cast InplaceCopy", "", "8.1", ""},
    [MZ_OP_ELEMENTWISE] = {MZ_STATE_NATIVE, "Add Mul Cast Muls InplaceCopy InplaceFillScalar", "",
                           "8.1", ""},
    [MZ_OP_REDUCE] = {MZ_STATE_NATIVE, "Cast InplaceFillScalar ReduceSum Add InplaceCopy", "",
                      "8.1", "in f32"},
    [MZ_OP_ROWS] = {MZ_STATE_COMPOSED,
                    "LtScalar InplaceFillScalar SWhere IndexSelect InplaceCopy Cast Sort "
                    "IndexPutImpl",
                    "", "8.1", "rows of index -1 are left out, which CANN's calls do not do"},
    [MZ_OP_SAMPLE] = {MZ_STATE_NONE, "", "", "",
                      "hosted:ascend has it on the host: every chip draws to the bit alike"},
};

const mz_ascend_row *mz_ascend_row_of(mz_op_kind kind)
{
    return &ROWS[kind];
}

static bool has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

bool mz_ascend_row_has(const mz_ascend_row *row, const char *call)
{
    static const char PREFIX[] = "aclnn";
    const char *name = call + sizeof PREFIX - 1;
    return has_word(row->forward, name) || has_word(row->backward, name);
}

void mz_ascend_row_text(mz_op_kind kind, char *out, size_t bytes)
{
    const mz_ascend_row *r = &ROWS[kind];
    (void)snprintf(out, bytes, "| %s | %s | %s | %s | %s | %s |", mz_op_name(kind),
                   mz_state_name(r->state), r->since[0] ? r->since : "-",
                   r->forward[0] ? r->forward : "-", r->backward[0] ? r->backward : "-", r->why);
}
