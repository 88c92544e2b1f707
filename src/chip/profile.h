/* SPDX-License-Identifier: Apache-2.0 */
/* chip/profile.h - where the time of a queue's operators goes, as a file for a trace viewer.
 *
 * A queue with a profile notes each operator that runs on it: kind, direction, begin, end, and the
 * shapes of its first tensors. The newest spans stay, older ones are overwritten. Parts of a
 * composition are spans inside that of the composition. On a chip that computes later, a span is
 * what the host spends on handing the work over; with MIZAN_SYNC_EACH it is the work.
 *
 * Source: the Chrome trace event format ("X" events, microseconds), which chrome://tracing,
 *         Perfetto and speedscope read.
 * Floor:  chip. May use tensor, base.
 * Time:   noting a span reads the clock twice and copies some 100 bytes; it allocates nothing.
 * Owner:  the caller frees the profile, after the queue has let go of it. */
#ifndef MZ_CHIP_PROFILE_H
#define MZ_CHIP_PROFILE_H

#include "chip/chip.h"

/* Room for the newest n > 0 spans. */
mz_err mz_profile_new(mz_profile **profile, int64_t n);
void mz_profile_free(mz_profile *profile); /* NULL is legal */
/* A span that ends now. */
void mz_profile_op(mz_profile *profile, const mz_op *op, mz_pass pass, const mz_args *args,
                   int64_t begun_ns);
/* One that is no operator's; `name` must live as long as the profile. */
void mz_profile_note(mz_profile *profile, const char *name, int64_t number, int64_t begun_ns);
int64_t mz_profile_count(const mz_profile *profile); /* spans that stay */
/* The whole file or none of it, as base/file.h has it; `rank` becomes the process id in the trace.
 */
mz_err mz_profile_write(const mz_profile *profile, const char *path, int rank);

#endif
