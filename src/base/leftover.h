/* SPDX-License-Identifier: Apache-2.0 */
/* base/leftover.h - temporary files of writers that died. Inside base/.
 *
 * A writer holds a lock on its temporary file, which the system drops with the process, however it
 * ends. Whoever can take that lock has found a file that nobody will finish. */
#ifndef MZ_BASE_LEFTOVER_H
#define MZ_BASE_LEFTOVER_H

#include <stdbool.h>

enum { MZ_LEFTOVER_NAME = 48 };

/* A name that nobody else in this process uses; another process is kept out by O_EXCL. */
void mz_leftover_name(char name[MZ_LEFTOVER_NAME]);
/* Locks a temporary file that was just made. False if another process took it for a leftover in
 * between: then it is gone, or will be. True where the file system knows no locks. */
bool mz_leftover_claim(int fd);
/* Removes the leftovers in a folder; not again if it is the folder of the last call. */
void mz_leftover_sweep(int dir);

#endif
