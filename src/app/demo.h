/* SPDX-License-Identifier: Apache-2.0 */
/* app/demo.h - the parts of `mizan demo`. Inside app/.
 *
 *   OUT/train.txt held.txt   the text, and a twentieth of it that is never trained on
 *   OUT/tokenizer.json shards config.json train.yaml   as the commands make and read them
 *   OUT/plan.json            what it was begun with: a run that goes on is asked for the same
 *   OUT/run                  the run        OUT/killed    it has been killed once already
 *   OUT/commands.log         each command that it ran, and what it said
 *   OUT/trained              the training is over, by its steps or by the clock
 *   OUT/model model.gguf     what came out  OUT/result.json   written last: it is finished */
#ifndef MZ_APP_DEMO_H
#define MZ_APP_DEMO_H

#include "app/cli.h"

enum {
    MZ_DEMO_PATH = 1024,
    MZ_DEMO_SEQ = 128,
    MZ_DEMO_ROWS = 8,
    MZ_DEMO_VOCAB = 2048,
    MZ_DEMO_WORDS = 40,
    MZ_DEMO_CHIP_WORDS = 10
};

/* Texts are NULL where they were not given. */
typedef struct mz_demo {
    const char *out, *text;                            /* text NULL: the distribution's */
    const char *chip, *isa, *driver_path, *fault_plan; /* of every command that computes */
    const char *second;  /* the chip of a second rank, "none"; NULL: opencl:0 if it is usable */
    const char *ranks;   /* of the plan: the line of train.yaml, "" for one rank */
    int64_t threads;     /* 0: all */
    int64_t seed, steps; /* steps 0: as many as the minutes allow */
    double minutes;
    json_t *plan; /* holds what of the above came out of plan.json */
} mz_demo;

/* ---- demo_run.c: paths and processes ---- */

/* A path in OUT; sixty-four may be in use at a time. */
const char *mz_demo_path(const mz_demo *d, const char *name);
bool mz_demo_has(const mz_demo *d, const char *name);
/* Puts --chip and its kin behind words[0..n-1] and a NULL behind them. With ranks their chips are
 * the configuration's: without_chip leaves --chip out. */
void mz_demo_chip_words(const mz_demo *d, const char *words[MZ_DEMO_WORDS], int n,
                        bool without_chip);
/* Runs this program with `words` (NULL-terminated), its stdout in the file `to` of OUT (NULL: where
 * ours goes) and its stderr in OUT/commands.log. MZ_EINTR where it was told to stop. */
mz_err mz_demo_command(const mz_demo *d, const char *const *words, const char *to);
/* The same in two parts: `ended` makes an error of how it ended. */
mz_err mz_demo_start(const mz_demo *d, const char *const *words, const char *to, int *pid);
mz_err mz_demo_ended(const mz_demo *d, const char *const *words, int status);
/* Once before anything else: Ctrl-C is then asked for with mz_demo_stopped. */
void mz_demo_catch(void);
bool mz_demo_stopped(void);

/* ---- demo_text.c ---- */

const char *mz_demo_text_place(void); /* the distribution's English; NULL: none is installed */
/* Text of a folder or file (NULL: the distribution's) into train.txt and held.txt. */
mz_err mz_demo_text(const mz_demo *d);
mz_err mz_demo_network(const mz_demo *d); /* config.json */

/* ---- demo_plan.c ---- */

/* What of an unfinished run's plan was not given again is taken from it; MZ_EUSAGE where something
 * else is asked for now. Does nothing where no run has begun. */
mz_err mz_demo_recall(mz_demo *d, const mz_cli *cli);
/* Measures a few steps, shares them among two chips where there are two, and writes plan.json and
 * train.yaml so that the schedule ends with the minutes. */
mz_err mz_demo_plan(mz_demo *d);
/* The configuration for so many steps. */
mz_err mz_demo_yaml(const mz_demo *d, const char *ranks, int64_t steps);
mz_err mz_demo_planned(const mz_demo *d, int64_t *steps); /* those of train.yaml */
/* `mizan train` with paths of OUT, whatever the current folder is. The words' paths live for a
 * short time. */
void mz_demo_train_words(const mz_demo *d, const char *run, const char *words[MZ_DEMO_WORDS]);

/* ---- demo_train.c ---- */

/* Trains; kills the process once on the way, and goes on. Ends early where the minutes are over. */
mz_err mz_demo_train(const mz_demo *d);
/* The loss over the steps, drawn with characters to stderr, and as OUT/loss.svg. first and last:
 * their means; steps: those that were made. */
mz_err mz_demo_curve(const mz_demo *d, double *first, double *last, int64_t *steps);
mz_err mz_demo_checkpoint(const mz_demo *d, char path[MZ_DEMO_PATH]); /* the newest */

#endif
