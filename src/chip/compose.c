/* SPDX-License-Identifier: Apache-2.0 */
/* chip/compose.c - what can be built from a chip's other operators: nothing so far.
 *
 * Floor:  chip. May use tensor, base. */
#include "chip/chip.h"

mz_err mz_compose_query(const mz_queue *q, const mz_desc *desc, mz_support *support)
{
    (void)q;
    (void)support;
    return MZ_FAIL(MZ_ENOTSUP, "there is no composition of %s", mz_op_name(desc->kind));
}

const mz_slot *mz_compose_slot(mz_op_kind kind)
{
    (void)kind;
    return NULL;
}
