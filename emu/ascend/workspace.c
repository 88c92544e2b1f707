/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/workspace.c - how much workspace a call wants, and what becomes of it.
 *
 * The documentation says of no operator how much: here it is room for a dense copy of each tensor
 * that is none, and for some operators as much as their largest tensor has. All of it is written
 * over with what is no number when the call runs, so that whoever keeps something there sees it. */
#include "ascend/ops.h"

#include <string.h>

enum { UNIT = 512, ADDRESS = 32, NO_NUMBER = 0xFF };

static const char *const SCRATCH[] = {
    "ReduceSum",
    "Sort",
    "ScatterAdd",
    "IndexPutImpl",
    "IndexAdd",
    "RmsNormGrad",
    "SoftmaxBackward",
    "GroupedMatmulV4",
    "CrossEntropyLoss",
    "FlashAttentionScore",
    "FlashAttentionScoreGrad",
    "FlashAttentionScoreV2",
    "FlashAttentionScoreGradV2",
};

static bool has_scratch(const char *name)
{
    for (size_t i = 0; i < sizeof SCRATCH / sizeof *SCRATCH; i++)
        if (strcmp(SCRATCH[i], name) == 0) return true;
    return false;
}

static uint64_t rounded(uint64_t bytes)
{
    return (bytes + UNIT - 1) / UNIT * UNIT;
}

uint64_t emu_workspace_of(const emu_call *c)
{
    uint64_t sum = 0, largest = 0;
    for (int i = 0; i < c->n; i++)
        for (int k = 0; c->arg[i].tensor && k < c->arg[i].n; k++) {
            const emu_tensor *t = &c->arg[i].tensor[k];
            const uint64_t bytes = (uint64_t)emu_count(t) * emu_size_of(t->type);
            if (!emu_is_dense(t)) sum += rounded(bytes);
            if (bytes > largest) largest = bytes;
        }
    return sum + (has_scratch(c->op->name) ? rounded(largest) : 0);
}

bool emu_workspace_use(const emu_call *c, const void *workspace)
{
    if (!c->workspace) return true;
    if ((uintptr_t)workspace % ADDRESS != 0) {
        emu_stream_fault(c->stream, EMU_RT_AICORE_EXCEPTION,
                         "aclnn%s: the workspace %p is not at a multiple of %d", c->op->name,
                         workspace, ADDRESS);
        return false;
    }
    void *at = mze_memory_view(c->device->memory, workspace, (size_t)c->workspace);
    if (!at)
        emu_stream_fault(c->stream, EMU_RT_AICORE_EXCEPTION,
                         "aclnn%s: %llu bytes of workspace at %p are not device memory in use",
                         c->op->name, (unsigned long long)c->workspace, workspace);
    else
        memset(at, NO_NUMBER, (size_t)c->workspace);
    return at != NULL;
}
