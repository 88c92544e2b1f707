/* SPDX-License-Identifier: Apache-2.0 */
/* chip/wrap.h - what chips share that stand in front of another chip: their buffers, views and
 * workspace, seen from the chip behind.
 *
 * A wrapper's buffer keeps the inner chip's buffer as its handle. Its queue keeps an inner queue,
 * to which it lends its workspace before each bind and run: what query reported is booked once, on
 * the wrapper's books, and the inner queue never grows a block of its own. Its operations are
 * counted where the outer queue's are (chip/work.h); a wrapper's table says that it `counts`.
 *
 * Floor:  chip.   Time: as the inner chip.   Owner: the wrapper. */
#ifndef MZ_CHIP_WRAP_H
#define MZ_CHIP_WRAP_H

#include "chip/chip.h"

/* For alloc and free of the wrapper's table. */
mz_err mz_wrap_alloc(mz_device *inner, mz_buffer *buf);
void mz_wrap_free(mz_buffer *buf);
mz_buffer *mz_wrap_buffer(const mz_buffer *buf); /* the inner one; NULL for NULL or an empty one */
mz_tensor mz_wrap_view(const mz_tensor *t);

typedef struct mz_wrapped_args {
    mz_args args;
    mz_tensor view[MZ_ARGS_MAX];
} mz_wrapped_args;
/* Fills w, which must stay where it is until the call; arguments that this pass does not use become
 * NULL. */
void mz_wrap_args(mz_wrapped_args *w, const mz_desc *desc, mz_pass pass, const mz_args *args);

void mz_wrap_lend(mz_queue *inner, const mz_queue *outer); /* outer's workspace, its counter */
void mz_wrap_queue_close(mz_queue *inner);                 /* takes the loan back first */

/* Binds desc on the inner queue, with the workspace lent. */
mz_err mz_wrap_bind(mz_op **inner_op, mz_queue *inner, const mz_queue *outer, const mz_desc *desc);
/* One pass of the outer op by inner_op. The caller's mz_op_run keeps trace and report. */
mz_err mz_wrap_run(mz_op *inner_op, const mz_op *outer_op, mz_pass pass, const mz_args *args);

#endif
