/* SPDX-License-Identifier: Apache-2.0 */
/* chips/far/far.h - the chip that nobody sells: a device as unforgiving as a real one, computed by
 * another registered chip. Whatever passes on it is ready for hardware, and every build tests it.
 *
 * Spec:   "far" or "far:" and a comma-separated list of
 *           f16      activations in f16 only; f32 only where no matrix is multiplied
 *           matmul   MATMUL and copies, nothing else
 *           nobwd    no backward attention
 *           slow=S   a delay of up to 0.3 ms, seeded with S, before each command
 *           lazy     commands run when somebody waits, never earlier
 *           on=SPEC  the chip that computes; it must keep its memory on the host. Default: "cpu",
 *                    with f16 "ref"
 * Memory: a buffer has no host pointer, and its handle is an address that traps when followed. The
 *         bytes live in a second mapping that only the workers know, between guard pages and
 *         canaries. Freed memory is filled with NaN and kept out of use for a while.
 * Queue:  a worker thread and a ring of commands, in order. Uploads and downloads are commands too.
 *         A download's target is filled with NaN when it is enqueued. Outputs and workspaces are
 *         filled with NaN before an operator runs.
 * Errors: whatever a caller or the computing chip does wrong is reported by the next mz_queue_sync,
 *         the first fault first: MZ_EINVAL for what breaks chip.h's contract, MZ_ECHIP for the
 *         computing chip's failures. The outputs of a command that failed are NaN; later commands
 *         still run. What nobody waits for any more is counted by mz_far_misuses.
 * Repeat: as the chip that computes. */
#ifndef MZ_CHIPS_FAR_FAR_H
#define MZ_CHIPS_FAR_FAR_H

#include "chip/chip.h"

const mz_chip *mz_far_chip(void);

/* Mistakes found where no error can be returned (closing, freeing), in this process so far. */
int64_t mz_far_misuses(void);
void mz_far_last_misuse(char *text, size_t bytes); /* "" if there was none */

#endif
