/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/soc.h - what the chips of the family compute in. Floor: chips. */
#ifndef MZ_CHIPS_ASCEND_SOC_H
#define MZ_CHIPS_ASCEND_SOC_H

#include "tensor/dtype.h"

#include <stdbool.h>

typedef struct mz_ascend_soc {
    const char *prefix; /* of what aclrtGetSocName says; the longest that fits */
    const char *family; /* as CANN's documents call it */
    uint32_t dtypes;    /* bit 1 << MZ_F32 ... */
    const char *reason; /* why not all of them; NULL: all */
    bool is_next;       /* has attention's calls as V2 only, and no Gather */
} mz_ascend_soc;

/* Never NULL: a name that is not in the table is one of a newer chip, taken for an A2. */
const mz_ascend_soc *mz_ascend_soc_of(const char *name);

#endif
