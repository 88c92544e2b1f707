/* SPDX-License-Identifier: Apache-2.0 */
/* base/options.h - the only reader of the environment. Floor: base. */
#ifndef MZ_BASE_OPTIONS_H
#define MZ_BASE_OPTIONS_H

#include <stdbool.h>

typedef struct mz_options {
    int threads;             /* MIZAN_THREADS; 0 = as many as there are processors */
    const char *isa;         /* MIZAN_ISA; "auto" */
    const char *chip;        /* MIZAN_CHIP; "cpu" */
    const char *driver_path; /* MIZAN_DRIVER_PATH; NULL = the system's search order */
    const char *fault_plan;  /* MIZAN_FAULT_PLAN; NULL = none */
    const char *cache_path;  /* XDG_CACHE_HOME/mizan, else HOME/.cache/mizan; NULL = none. As it was
                                at the first call */
    int device_wait_s;       /* MIZAN_DEVICE_WAIT; how long a wait for a device may take; 0 = as the
                                chip has it */
    bool sync_each;          /* MIZAN_SYNC_EACH; wait after every operator, to find a faulty one */
    bool no_color;           /* NO_COLOR */
    const char *state_home;  /* XDG_STATE_HOME, if it is a whole path; NULL: below home */
    const char *home;        /* HOME; NULL: unknown */
    const char *library_path; /* LD_LIBRARY_PATH, where the loader looks first; NULL: nowhere */
    const char *tmp;          /* TMPDIR; "/tmp" */
    int mpi_rank;             /* among several processes of mpirun or srun; -1: alone */
} mz_options;

/* Defaults, then the environment. Strings are borrowed from the environment. */
void mz_options_init(mz_options *o);
/* In a child that is about to become another program: sets a variable, or with NULL removes it. */
void mz_options_hand_on(const char *name, const char *value);

#endif
