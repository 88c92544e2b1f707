/* SPDX-License-Identifier: Apache-2.0 */
/* app/demo.h - the parts of `mizan demo`. Inside app/.
 *
 *   OUT/train.txt held.txt   the text, and a twentieth of it that is never trained on
 *   OUT/tokenizer.json shards config.json train.yaml   as the commands make and read them
 *   OUT/run                  the run        OUT/killed   it has been killed once already
 *   OUT/model model.gguf     what came out  OUT/result.json   written last: it is finished */
#ifndef MZ_APP_DEMO_H
#define MZ_APP_DEMO_H

#include "app/cli.h"

enum { MZ_DEMO_PATH = 1024, MZ_DEMO_SEQ = 128, MZ_DEMO_ROWS = 8, MZ_DEMO_VOCAB = 2048 };

typedef struct mz_demo {
    const char *out, *text;                            /* text NULL: the distribution's */
    const char *chip, *isa, *driver_path, *fault_plan; /* of the training; NULL: not given */
    int64_t threads, seed;                             /* threads 0: all */
    double minutes;
} mz_demo;

/* A path in OUT; sixty-four may be in use at a time. */
const char *mz_demo_path(const mz_demo *d, const char *name);
bool mz_demo_has(const mz_demo *d, const char *name);

/* Text of a folder or file (NULL: the distribution's) into train.txt and held.txt. */
mz_err mz_demo_text(const mz_demo *d);
mz_err mz_demo_network(const mz_demo *d); /* config.json */
/* The line of ranks: two where the second chip is usable, none ("") where it is not. */
mz_err mz_demo_ranks(mz_str *yaml, bool (*usable)(void *user, const char *spec), void *user);

/* Runs this program with `words` (NULL-terminated), its stdout in a file of OUT and its stderr in
 * OUT/commands.log; NULL: where ours go. MZ_EINTR where it was told to stop. */
mz_err mz_demo_command(const mz_demo *d, const char *const *words, const char *to);
/* Once before anything else: Ctrl-C is then asked for with mz_demo_stopped. */
void mz_demo_catch(void);
bool mz_demo_stopped(void);
/* Measures a few steps and writes train.yaml so that the schedule ends with the minutes. */
mz_err mz_demo_plan(const mz_demo *d);
/* Trains; kills the process once on the way, and goes on. */
mz_err mz_demo_train(const mz_demo *d);
/* The loss over the steps, drawn with characters to stderr. first and last: their means. */
mz_err mz_demo_curve(const mz_demo *d, double *first, double *last, int64_t *steps);
mz_err mz_demo_checkpoint(const mz_demo *d, char path[MZ_DEMO_PATH]); /* the newest */

#endif
