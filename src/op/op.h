/* SPDX-License-Identifier: Apache-2.0 */
/* op/op.h - the checked front doors: every operator is bound and run through these three calls.
 *
 * chip/desc.h says for each operator what its description means and which tensors it takes; here
 * shapes, dtypes, strides, bounds of the views inside their buffers, forbidden overlaps and NULLs
 * are checked once, so that a chip only computes. One file a kind holds its checks
 * (op/matmul.c ...), one table joins them.
 *
 * Numbers inside tensors (ids, offsets, cu, positions, page tables, indices) are on the device and
 * are not checked here; whoever writes them checks them. What is checked besides what desc.h says:
 * tensors that it does not call strided are dense; no two elements of one tensor share an address,
 * but for axes that may repeat; `saved` starts at a multiple of 64 bytes and has exactly
 * mz_op_saved(op) of them (NULL where that is 0). A call that has nothing to write (T = 0) is
 * checked and then returns without reaching the chip; one that has (matmul with K = 0, a sum over
 * nothing that overwrites, offsets of no token) reaches it.
 *
 *   mz_desc d = {.kind = MZ_OP_RMSNORM, .u.rmsnorm = {.dtype = MZ_F32, .T_max = T, .D = D ...}};
 *   mz_bind(&op, q, &d);
 *   mz_forward(op, &(mz_args){.rmsnorm = {.y = &y, .saved = &saved, .x = &x, .w = &w}});
 *
 * Floor:  op. May use chip, tensor, base.
 * Time:   bind may block; forward and backward only enqueue. Buffers must live until mz_queue_sync;
 *         the views themselves are copied. Calls on one queue come from one thread.
 * Owner:  the caller owns *op and frees it with mz_op_free before the queue.
 * Errors: MZ_EINVAL   an argument is wrong (the note names it); nothing was written
 *         MZ_ENOTSUP  from bind only: the chip lacks the operator or the dtype (the note says why)
 *         MZ_ECHIP    the launch failed; what fails later is reported by mz_queue_sync */
#ifndef MZ_OP_OP_H
#define MZ_OP_OP_H

#include "chip/chip.h"

/* Checks the description alone: dims not negative, products that do not overflow, a dtype that the
 * operator knows, constants in range and finite. */
mz_err mz_check_desc(const mz_desc *desc);
/* Checks one call's arguments against the description the op was bound with. */
mz_err mz_check_args(const mz_desc *desc, mz_pass pass, size_t saved_bytes, const mz_args *args);

mz_err mz_bind(mz_op **op, mz_queue *q, const mz_desc *desc);
mz_err mz_forward(mz_op *op, const mz_args *args);
mz_err mz_backward(mz_op *op, const mz_args *args);

#endif
