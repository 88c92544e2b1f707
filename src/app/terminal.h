/* SPDX-License-Identifier: Apache-2.0 */
/* app/terminal.h - what the terminal can show. Floor: app. */
#ifndef MZ_APP_TERMINAL_H
#define MZ_APP_TERMINAL_H

#include <stdbool.h>

/* Of stdout. columns: 80 where it is no terminal; colour: only on one, and not with NO_COLOR;
 * unicode: the locale's characters are UTF-8. */
typedef struct mz_terminal {
    int columns, rows;
    bool is_terminal, unicode, colour;
} mz_terminal;
mz_terminal mz_terminal_of_stdout(void);

#endif
