/* SPDX-License-Identifier: Apache-2.0 */
/* chips/ascend/map.h - the operator map: which calls of CANN make each operator.
 *
 * docs/ascend.md shows this table (tests/emu/test_ascend.c compares them), and a pass that plans a
 * call which its row does not name is refused.
 *
 * Floor:  chips. */
#ifndef MZ_CHIPS_ASCEND_MAP_H
#define MZ_CHIPS_ASCEND_MAP_H

#include "chip/chip.h"

typedef struct mz_ascend_row {
    mz_state state;       /* NATIVE: one call does the work; COMPOSED: several; NONE */
    const char *forward;  /* names of calls, without "aclnn", in the order of first use */
    const char *backward; /* "" where there is none */
    const char *since;    /* the oldest CANN that has them all; "" where there are none */
    const char *why;      /* it is not native, or what else is to be known; "" for nothing */
} mz_ascend_row;

const mz_ascend_row *mz_ascend_row_of(mz_op_kind kind); /* never NULL */
/* Whether the row names this call, "aclnn..." */
bool mz_ascend_row_has(const mz_ascend_row *row, const char *call);
/* The row as a line of the page's table. */
void mz_ascend_row_text(mz_op_kind kind, char *out, size_t bytes);

#endif
