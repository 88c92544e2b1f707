/* SPDX-License-Identifier: Apache-2.0 */
/* emu/ascend/aclnn.c - both phases of every operator of the list, as entry points. */
#include "ascend/aclnn.h"

#include "ascend/state.h"

/* An argument as a value, by its kind. */
#define EMU_VALUE(kind, number) EMU_VALUE_##kind(a##number)
#define EMU_VALUE_P(x)                                                                             \
    {                                                                                              \
        .p = (x)                                                                                   \
    }
#define EMU_VALUE_INT(x)                                                                           \
    {                                                                                              \
        .i = (int64_t)(x)                                                                          \
    }
#define EMU_VALUE_REAL(x)                                                                          \
    {                                                                                              \
        .d = (double)(x)                                                                           \
    }
#define EMU_VALUE_T EMU_VALUE_P
#define EMU_VALUE_O EMU_VALUE_P
#define EMU_VALUE_L EMU_VALUE_P
#define EMU_VALUE_M EMU_VALUE_P
#define EMU_VALUE_S EMU_VALUE_P
#define EMU_VALUE_A EMU_VALUE_P
#define EMU_VALUE_W EMU_VALUE_P
#define EMU_VALUE_N EMU_VALUE_P
#define EMU_VALUE_Z EMU_VALUE_P
#define EMU_VALUE_Y EMU_VALUE_INT
#define EMU_VALUE_B EMU_VALUE_INT
#define EMU_VALUE_C EMU_VALUE_INT
#define EMU_VALUE_I EMU_VALUE_INT
#define EMU_VALUE_U EMU_VALUE_INT
#define EMU_VALUE_F EMU_VALUE_REAL
#define EMU_VALUE_D EMU_VALUE_REAL

#define EMU_LETTER(kind, number) #kind[0]

#define EMU_DEFINE(name, ...)                                                                      \
    aclnnStatus aclnn##name##GetWorkspaceSize(EMU_EACH(EMU_PARAMETER, __VA_ARGS__),                \
                                              uint64_t *workspace, aclOpExecutor **executor)       \
    {                                                                                              \
        static const char kinds[] = {EMU_EACH(EMU_LETTER, __VA_ARGS__), 0};                        \
        const emu_value values[] = {EMU_EACH(EMU_VALUE, __VA_ARGS__)};                             \
        return emu_phase1(#name, kinds, values, workspace, executor);                              \
    }                                                                                              \
    aclnnStatus aclnn##name(void *workspace, uint64_t bytes, aclOpExecutor *executor,              \
                            aclrtStream stream)                                                    \
    {                                                                                              \
        return emu_phase2(workspace, bytes, executor, stream);                                     \
    }
EMU_ACLNN_LIST(EMU_DEFINE)
