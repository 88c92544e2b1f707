/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/soc.c - the table of chips, by the name that the runtime gives. Floor: chips. */
#include "chips/ascend/soc.h"

#include <string.h>

#define BOTH (1u << MZ_F32 | 1u << MZ_BF16)
#define F32_ONLY (1u << MZ_F32)

static const char NO_BF16[] = "its cube unit multiplies no bf16, and an overflow gives the "
                              "largest number instead of an infinity";

/* Longer prefixes before those that begin them. */
static const mz_ascend_soc SOCS[] = {
    {"Ascend910B", "A2", BOTH, NULL, false},
    {"Ascend910_93", "A3", BOTH, NULL, false},
    {"Ascend910C", "A3", BOTH, NULL, false},
    {"Ascend950", "950", BOTH, NULL, true},
    {"Ascend310P", "310P", F32_ONLY, NO_BF16, false},
    {"Ascend910", "910A", F32_ONLY, NO_BF16, false},
};

const mz_ascend_soc *mz_ascend_soc_of(const char *name)
{
    for (int i = 0; i < MZ_COUNT(SOCS); i++)
        if (strncmp(name, SOCS[i].prefix, strlen(SOCS[i].prefix)) == 0) return &SOCS[i];
    return &SOCS[0];
}
