/* SPDX-License-Identifier: Apache-2.0 */
/* tests/emu/shims/stub_hccl.c - libhccl as one links against it where CANN's is not installed:
 * every function is there and answers with 100039. */
#include "chips/ascend/calls.h"

enum { STUB = 100039 };

#define STUB_OF(name)                                                                              \
    __attribute__((visibility("default"))) int name(void);                                         \
    int name(void)                                                                                 \
    {                                                                                              \
        return STUB;                                                                               \
    }
MZ_HCCL_LIST(STUB_OF)
